//! Localisation: agreement of a class activation map with annotated bounding boxes.

use prospect_dataset::image::Geometry;

/// Localisation measures of one map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Localisation {
    /// Fraction of the rectified map's energy inside the union of the boxes, in 0..=1.
    pub energy_in_box: f32,
    /// Whether the centre of the first maximum is in a box: the pointing game of Zhang et al. 2018, without their tolerance of
    /// 15 pixels around the box.
    pub pointing_hit: bool,
}

/// Compares a raw map of `rows` × `cols` finite values, row-major, with boxes `x0, y0, x1, y1` in pixels of the upright file.
///
/// Cell (i, j) covers `[j·W/cols, (j+1)·W/cols)` × `[i·H/rows, (i+1)·H/rows)` of the network's H×W input. Its energy, the
/// positive part of its value, is distributed uniformly over the region of the file that it covers, through resizing and
/// crop; overlapping boxes count once. Pixels outside the crop have no energy, and cells in the padding of a small image are
/// in no box.
///
/// `None` for a map without positive values or an image without boxes.
pub fn localisation(
    map: &[f32],
    rows: usize,
    cols: usize,
    geometry: &Geometry,
    boxes: &[[f64; 4]],
) -> Option<Localisation> {
    let total: f64 = map.iter().map(|&value| energy(value)).sum();
    if total <= 0.0 || boxes.is_empty() {
        return None;
    }
    let (height, width) = geometry.input_size();
    let column = |edge: usize| edge as f64 * f64::from(width) / cols as f64;
    let row = |edge: usize| edge as f64 * f64::from(height) / rows as f64;
    let parts = disjoint(boxes);
    let mut inside = 0.0;
    let mut highest = 0;
    for (index, &value) in map.iter().enumerate() {
        if value > map[highest] {
            highest = index;
        }
        if energy(value) == 0.0 {
            continue;
        }
        let (i, j) = (index / cols, index % cols);
        let (cell, _) = geometry.upright_edges([column(j), row(i), column(j + 1), row(i + 1)]);
        let covered: f64 = parts.iter().map(|part| overlap(part, &cell)).sum();
        let area = overlap(&cell, &cell);
        if area > 0.0 {
            inside += energy(value) * (covered / area).min(1.0);
        }
    }
    let (x, y) = (
        column(highest % cols) + column(1) / 2.0,
        row(highest / cols) + row(1) / 2.0,
    );
    let ([x, y, _, _], is_padding) = geometry.upright_edges([x, y, x, y]);
    let contains = |[x0, y0, x1, y1]: &[f64; 4]| *x0 <= x && x <= *x1 && *y0 <= y && y <= *y1;
    Some(Localisation {
        energy_in_box: (inside / total).min(1.0) as f32,
        pointing_hit: !is_padding && boxes.iter().any(contains),
    })
}

fn energy(value: f32) -> f64 {
    f64::from(value.max(0.0))
}

/// Area of the intersection of two boxes.
fn overlap(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let along = |low: usize| (a[low + 2].min(b[low + 2]) - a[low].max(b[low])).max(0.0);
    along(0) * along(1)
}

/// Disjoint boxes with the same union: merged intervals between consecutive vertical edges.
fn disjoint(boxes: &[[f64; 4]]) -> Vec<[f64; 4]> {
    let mut edges: Vec<f64> = boxes.iter().flat_map(|one| [one[0], one[2]]).collect();
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    let mut sorted = boxes.to_vec();
    sorted.sort_by(|a, b| a[1].total_cmp(&b[1]));
    let mut parts: Vec<[f64; 4]> = Vec::new();
    for strip in edges.windows(2) {
        let (left, right) = (strip[0], strip[1]);
        let first = parts.len();
        for &[x0, y0, x1, y1] in &sorted {
            if x0 > left || x1 < right {
                continue;
            }
            match parts[first..].last_mut() {
                Some(last) if y0 <= last[3] => last[3] = last[3].max(y1),
                _ => parts.push([left, y0, right, y1]),
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use prospect_dataset::image::{Header, InputSpec, Interpolation, Resize};

    fn geometry(width: u32, height: u32, resize: Resize, crop: Option<(u32, u32)>) -> Geometry {
        let header = Header {
            format: "",
            width,
            height,
            orientation: 1,
        };
        let spec = InputSpec {
            resize,
            crop,
            interpolation: Interpolation::Bilinear,
            mean: [0.0; 3],
            std: [1.0; 3],
        };
        Geometry::new(&header, &spec)
    }

    fn assert_near(found: f32, expected: f64) {
        assert!(
            (f64::from(found) - expected).abs() < 1e-6,
            "{found}, not {expected}"
        );
    }

    #[test]
    fn one_cell_of_a_wide_photo() {
        // 60x20 resized to 12x10; each of 2x2 cells covers 30x10 file pixels.
        let geometry = geometry(
            60,
            20,
            Resize::Exact {
                height: 10,
                width: 12,
            },
            None,
        );
        let found = |map: &[f32], boxes: &[[f64; 4]]| localisation(map, 2, 2, &geometry, boxes);
        // The energy of the bottom right cell is in [30, 60) x [10, 20).
        let map = [-5.0, 0.0, -1.0, 3.0];
        let quarter = [30.0, 10.0, 45.0, 15.0];
        let one = found(&map, &[quarter]).unwrap();
        assert_near(one.energy_in_box, 0.25);
        assert!(one.pointing_hit, "45, 15 is a corner of the box");
        assert_near(
            found(&map, &[quarter, quarter]).unwrap().energy_in_box,
            0.25,
        );
        let overlapping = [30.0, 10.0, 37.5, 20.0];
        let two = found(&map, &[quarter, overlapping]).unwrap();
        assert_near(two.energy_in_box, 0.375);
        let beside = found(&map, &[[0.0, 0.0, 30.0, 20.0]]).unwrap();
        assert_eq!((beside.energy_in_box, beside.pointing_hit), (0.0, false));
        // Negative cells have no energy; the first of equal cells is the maximum.
        let left = [0.0, 0.0, 30.0, 20.0];
        let tie = found(&[1.0, 1.0, 0.0, -1.0], &[left]).unwrap();
        assert_near(tie.energy_in_box, 0.5);
        assert!(tie.pointing_hit);
    }

    #[test]
    fn pixels_outside_the_crop_have_no_energy() {
        // 500x375 resized to 341x256; the crop keeps columns 58..282 and rows 16..240.
        let geometry = geometry(500, 375, Resize::Short(256), Some((224, 224)));
        let map = [1.0; 49];
        let found = |one: [f64; 4]| localisation(&map, 7, 7, &geometry, &[one]).unwrap();
        assert_near(found([0.0, 0.0, 500.0, 375.0]).energy_in_box, 1.0);
        let scale = 500.0 / 341.0;
        let outside = found([0.0, 0.0, 58.0 * scale, 375.0]);
        assert_eq!((outside.energy_in_box, outside.pointing_hit), (0.0, false));
        let half = found([0.0, 0.0, 250.0, 375.0]);
        assert_near(half.energy_in_box, (250.0 - 58.0 * scale) / (224.0 * scale));
        assert!(half.pointing_hit, "the first cell is at the top left");
    }

    #[test]
    fn padding_is_in_no_box() {
        // 4x4 pixels padded to 8x8: of 4x4 cells, the inner four cover the image.
        let geometry = geometry(4, 4, Resize::None, Some((8, 8)));
        let whole = [[0.0, 0.0, 4.0, 4.0]];
        let mut map = [0.0; 16];
        map[0] = 3.0;
        map[5] = 1.0;
        let found = localisation(&map, 4, 4, &geometry, &whole).unwrap();
        assert_near(found.energy_in_box, 0.25);
        assert!(!found.pointing_hit);
    }

    #[test]
    fn maps_without_energy_or_boxes_have_none() {
        let geometry = geometry(8, 8, Resize::None, None);
        let one = [[0.0, 0.0, 4.0, 4.0]];
        assert_eq!(localisation(&[0.0, -1.0], 1, 2, &geometry, &one), None);
        assert_eq!(localisation(&[0.0, 1.0], 1, 2, &geometry, &[]), None);
    }

    proptest! {
        /// Boxes and cells of whole pixels, counted one by one.
        #[test]
        fn counting_pixels_gives_the_same(
            (cols, rows) in (1usize..5, 1usize..5),
            (cell_width, cell_height) in (1u32..4, 1u32..4),
            (shrink_x, shrink_y) in (1u32..4, 1u32..4),
            // The resized image differs from the crop by an even number of pixels.
            (more_x, more_y) in (-3i64..4, -3i64..4),
            values in prop::collection::vec(-2i8..5, 16),
            corners in prop::collection::vec((0u32..50, 0u32..50, 1u32..30, 1u32..30), 1..5),
        ) {
            let crop = (rows as u32 * cell_height, cols as u32 * cell_width);
            let resized = |side: u32, more: i64| (i64::from(side) + 2 * more).max(2 - i64::from(side % 2)) as u32;
            let (resized_width, resized_height) = (resized(crop.1, more_x), resized(crop.0, more_y));
            let (width, height) = (resized_width * shrink_x, resized_height * shrink_y);
            let resize = Resize::Exact { height: resized_height, width: resized_width };
            let geometry = geometry(width, height, resize, Some(crop));
            let boxes: Vec<[f64; 4]> = corners.iter().map(|&(x, y, w, h)| {
                let (x, y) = (x % width, y % height);
                [x, y, (x + w).min(width), (y + h).min(height)].map(f64::from)
            }).collect();
            let map: Vec<f32> = values[..rows * cols].iter().map(|&value| value.into()).collect();
            // Start of the crop; the differences are even, so no rounding occurs.
            let left = (i64::from(resized_width) - i64::from(crop.1)) / 2;
            let top = (i64::from(resized_height) - i64::from(crop.0)) / 2;
            let cell_of = |x: u32, y: u32| {
                let (x, y) = (i64::from(x / shrink_x) - left, i64::from(y / shrink_y) - top);
                let is_seen = (0..i64::from(crop.1)).contains(&x) && (0..i64::from(crop.0)).contains(&y);
                is_seen.then(|| y as usize / cell_height as usize * cols + x as usize / cell_width as usize)
            };
            let (mut pixels, mut inside) = (vec![0u32; map.len()], vec![0u32; map.len()]);
            for y in 0..height {
                for x in 0..width {
                    let Some(cell) = cell_of(x, y) else { continue };
                    pixels[cell] += 1;
                    let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
                    let is_inside = boxes.iter().any(|one| one[0] < x && x < one[2] && one[1] < y && y < one[3]);
                    inside[cell] += u32::from(is_inside);
                }
            }
            let total: f64 = map.iter().map(|value| f64::from(value.max(0.0))).sum();
            let found = localisation(&map, rows, cols, &geometry, &boxes);
            prop_assert_eq!(found.is_some(), total > 0.0);
            if let Some(found) = found {
                let expected: f64 = (0..map.len()).filter(|&cell| pixels[cell] > 0).map(|cell| {
                    f64::from(map[cell].max(0.0)) * f64::from(inside[cell]) / f64::from(pixels[cell])
                }).sum();
                prop_assert!((f64::from(found.energy_in_box) - expected / total).abs() < 1e-5, "{found:?}, not {}", expected / total);
            }
        }

        /// The parts are disjoint, and their areas sum to that of the union.
        #[test]
        fn parts_are_disjoint_and_complete(
            corners in prop::collection::vec((0u8..12, 0u8..12, 1u8..8, 1u8..8), 0..7),
        ) {
            let boxes: Vec<[f64; 4]> = corners.iter()
                .map(|&(x, y, w, h)| [x, y, x + w, y + h].map(f64::from))
                .collect();
            let parts = disjoint(&boxes);
            for (at, part) in parts.iter().enumerate() {
                prop_assert!(parts[..at].iter().all(|other| overlap(part, other) == 0.0));
            }
            let area: f64 = parts.iter().map(|part| overlap(part, part)).sum();
            let contains = |x: f64, y: f64| boxes.iter().any(|one| one[0] < x && x < one[2] && one[1] < y && y < one[3]);
            let counted = (0..20).flat_map(|y| (0..20).map(move |x| (f64::from(x) + 0.5, f64::from(y) + 0.5)))
                .filter(|&(x, y)| contains(x, y)).count();
            prop_assert_eq!(area, counted as f64);
        }
    }
}
