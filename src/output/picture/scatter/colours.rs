//! Which group has which colour.

use crate::picture::chart::Rgb;

/// Chosen one after another among colours of middling lightness and colourfulness, each as far as possible from those before it, from
/// white and from grey, in OKLab (Ottosson 2020), 30 % of the distance as red- or green-blind people see it (Machado et al. 2009);
/// the first ten put in an order in which neighbours differ.
pub const COLOURS: [Rgb; 20] = [
    [0x30, 0x70, 0xc0],
    [0xf0, 0x88, 0x20],
    [0x10, 0x90, 0x58],
    [0xd0, 0x38, 0x40],
    [0x68, 0x10, 0x60],
    [0x00, 0xb0, 0xd8],
    [0xd8, 0x80, 0xf8],
    [0x88, 0x60, 0x00],
    [0x70, 0xb0, 0x00],
    [0xf8, 0x68, 0x98],
    [0x00, 0x50, 0x00],
    [0x18, 0xe0, 0x88],
    [0x88, 0x20, 0x00],
    [0x00, 0x40, 0x90],
    [0xd0, 0xc8, 0x00],
    [0xa8, 0x38, 0x98],
    [0x00, 0x68, 0x68],
    [0x60, 0xd8, 0xe0],
    [0x98, 0x80, 0xb8],
    [0xf0, 0xa8, 0xd8],
];

pub const GREY: Rgb = [0xb4, 0xb9, 0xc2];
pub const RIGHT: Rgb = [0x8f, 0xb4, 0xdc];
pub const WRONG: Rgb = [0xd0, 0x28, 0x30];

/// The colour of each of `names` groups. Those `present` (in order of importance, with their places on the map) get, where there are
/// more of them than colours, the colour whose groups lie farthest away so far.
pub fn of_groups(names: usize, present: &[(usize, [f32; 2])]) -> Vec<Rgb> {
    let mut colours: Vec<Rgb> = (0..names)
        .map(|name| COLOURS[name % COLOURS.len()])
        .collect();
    if names <= COLOURS.len() {
        return colours;
    }
    let mut taken: [Vec<[f32; 2]>; COLOURS.len()] = Default::default();
    for &(group, [x, y]) in present {
        let nearest = |places: &Vec<[f32; 2]>| {
            let apart = places
                .iter()
                .map(|[u, v]| (u - x).powi(2) + (v - y).powi(2));
            apart.fold(f32::INFINITY, f32::min)
        };
        // The first of several, as max_by would take the last.
        let colour = (0..COLOURS.len()).fold((0, f32::NEG_INFINITY), |best, colour| {
            let apart = nearest(&taken[colour]);
            if apart > best.1 {
                (colour, apart)
            } else {
                best
            }
        });
        taken[colour.0].push([x, y]);
        colours[group] = COLOURS[colour.0];
    }
    colours
}
