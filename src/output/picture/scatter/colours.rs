//! Which group has which colour.

use crate::picture::palette::{Rgb, chart::GROUPS};

/// The colour of each of `names` groups. Those `present` (in order of importance, with their places on the map) get, where there are
/// more of them than colours, the colour whose groups lie farthest away so far.
pub fn of_groups(names: usize, present: &[(usize, [f32; 2])]) -> Vec<Rgb> {
    let mut colours: Vec<Rgb> = (0..names).map(|name| GROUPS[name % GROUPS.len()]).collect();
    if names <= GROUPS.len() {
        return colours;
    }
    let mut taken: [Vec<[f32; 2]>; GROUPS.len()] = Default::default();
    for &(group, [x, y]) in present {
        let nearest = |places: &Vec<[f32; 2]>| {
            let apart = places
                .iter()
                .map(|[u, v]| (u - x).powi(2) + (v - y).powi(2));
            apart.fold(f32::INFINITY, f32::min)
        };
        // The first of several, as max_by would take the last.
        let colour = (0..GROUPS.len()).fold((0, f32::NEG_INFINITY), |best, colour| {
            let apart = nearest(&taken[colour]);
            if apart > best.1 {
                (colour, apart)
            } else {
                best
            }
        });
        taken[colour.0].push([x, y]);
        colours[group] = GROUPS[colour.0];
    }
    colours
}
