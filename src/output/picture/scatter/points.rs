//! The points of a map: positions in the frame, drawing order, and group centres.

use prospect_common::statistics::upper_median;

use super::content::Scatter;
use crate::picture::chart::Rect;

/// Between the frame and the outermost point, in units.
const PADDING: f32 = 26.0;
/// Fraction of points at either end of an axis that count as outliers.
const OUTLIERS: f64 = 0.001;
/// The frame extends at most this far beyond the other points, relative to their extent, so that outliers do not squeeze the rest
/// into a corner.
const MAX_EXTENSION: f64 = 1.0;

/// The visible ranges of x and y.
pub struct Extents([(f64, f64); 2]);

impl Extents {
    pub fn of(points: &[[f32; 2]]) -> Extents {
        Extents([0, 1].map(|axis| extent(points, axis)))
    }

    fn size(&self) -> [f64; 2] {
        self.0.map(|(low, high)| high - low)
    }

    /// The height in units of a frame `across` units wide without empty bands above and below; at most square.
    pub fn height(&self, across: f32) -> f32 {
        let [width, height] = self.size();
        if height >= width {
            return across;
        }
        (height / width) as f32 * (across - 2.0 * PADDING) + 2.0 * PADDING
    }
}

/// From a map's coordinates to units: one scale for both axes, y upwards.
pub struct View {
    scale: f64,
    /// The map's coordinates at the frame's centre, and that centre in units.
    middle: [f64; 2],
    centre: [f64; 2],
}

impl View {
    pub fn new(extents: &Extents, frame: &Rect) -> View {
        let [width, height] = extents.size();
        let fit = |extent: f64, room: f32| f64::from(room - 2.0 * PADDING) / extent;
        let scale = fit(width, frame.width()).min(fit(height, frame.height()));
        View {
            scale: if scale.is_finite() { scale } else { 1.0 },
            middle: extents.0.map(|(low, high)| low + (high - low) / 2.0),
            centre: [
                f64::from(frame.x0 + frame.x1) / 2.0,
                f64::from(frame.y0 + frame.y1) / 2.0,
            ],
        }
    }

    /// The position of a point in units; NaN stays NaN.
    pub fn place(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [u, v] = [
            (f64::from(x) - self.middle[0]) * self.scale,
            (f64::from(y) - self.middle[1]) * self.scale,
        ];
        [(self.centre[0] + u) as f32, (self.centre[1] - v) as f32]
    }
}

/// The visible range of an axis.
fn extent(points: &[[f32; 2]], axis: usize) -> (f64, f64) {
    let is_number = |point: &&[f32; 2]| point.iter().all(|value| value.is_finite());
    let mut values: Vec<f32> = (points.iter().filter(is_number))
        .map(|point| point[axis])
        .collect();
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let ends = |values: &[f32], from, to| {
        let (low, high) = (f64::from(values[from]), f64::from(values[to]));
        (low, high)
    };
    values.sort_by(f32::total_cmp);
    let last = values.len() - 1;
    let cut = (values.len() as f64 * OUTLIERS)
        .ceil()
        .min(last as f64 / 2.0) as usize;
    let (low, high) = ends(&values, cut, last - cut);
    let (lowest, highest) = ends(&values, 0, last);
    let extension = (high - low) * MAX_EXTENSION;
    if extension > 0.0 {
        (lowest.max(low - extension), highest.min(high + extension))
    } else {
        (lowest, highest)
    }
}

/// A group with at least one point.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub index: usize,
    /// Number of points, including those outside the frame.
    pub n: usize,
    /// In units: the point nearest to the median of both coordinates.
    pub centre: [f32; 2],
}

/// Number of groups with at least one point.
pub fn present(scatter: &Scatter) -> usize {
    let mut is_present = vec![false; scatter.names.len()];
    for group in scatter.groups.iter().flatten() {
        is_present[*group as usize] = true;
    }
    is_present.into_iter().filter(|&present| present).count()
}

/// Groups by descending size, then in the order of the names.
pub fn groups(scatter: &Scatter, view: &View) -> Vec<Group> {
    let mut members: Vec<Vec<[f32; 2]>> = vec![Vec::new(); scatter.names.len()];
    for (group, &point) in scatter.groups.iter().zip(scatter.points) {
        if let Some(group) = group {
            members[*group as usize].push(view.place(point));
        }
    }
    let mut groups: Vec<Group> = (members.iter().enumerate())
        .filter(|(_, places)| !places.is_empty())
        .map(|(index, places)| Group {
            index,
            n: places.len(),
            centre: centre(places),
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.n));
    groups
}

fn centre(places: &[[f32; 2]]) -> [f32; 2] {
    let median = |axis: usize| {
        let mut values: Vec<f32> = places.iter().map(|place| place[axis]).collect();
        values.sort_by(f32::total_cmp);
        upper_median(&values).unwrap_or_default()
    };
    let [x, y] = [median(0), median(1)];
    let distance = |place: &&[f32; 2]| (place[0] - x).powi(2) + (place[1] - y).powi(2);
    let nearest = places
        .iter()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    nearest.copied().unwrap_or([x, y])
}

/// A fixed permutation of 0..n that mixes the images' order, so that no class covers the others; any prefix is a sample.
pub fn shuffled(n: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.sort_by_cached_key(|&point| splitmix64(point.into()));
    order
}

/// Steele, Lea & Flood 2014; a bijection.
fn splitmix64(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
