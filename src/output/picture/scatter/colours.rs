//! Assigns colours to groups.

use crate::picture::palette::{Rgb, chart::GROUPS};

/// The colours of `names` groups. With more groups than colours, each group `present` (in order of importance, with its centre on
/// the map) gets the colour whose groups are farthest away so far.
pub fn of_groups(names: usize, present: &[(usize, [f32; 2])]) -> Vec<Rgb> {
    let mut colours: Vec<Rgb> = (0..names).map(|name| GROUPS[name % GROUPS.len()]).collect();
    if names <= GROUPS.len() {
        return colours;
    }
    let mut centres: [Vec<[f32; 2]>; GROUPS.len()] = Default::default();
    for &(group, [x, y]) in present {
        let nearest = |centres: &Vec<[f32; 2]>| {
            let distances = centres
                .iter()
                .map(|[u, v]| (u - x).powi(2) + (v - y).powi(2));
            distances.fold(f32::INFINITY, f32::min)
        };
        // The first maximum; max_by would return the last.
        let colour = (0..GROUPS.len()).fold((0, f32::NEG_INFINITY), |best, colour| {
            let distance = nearest(&centres[colour]);
            if distance > best.1 {
                (colour, distance)
            } else {
                best
            }
        });
        centres[colour.0].push([x, y]);
        colours[group] = GROUPS[colour.0];
    }
    colours
}
