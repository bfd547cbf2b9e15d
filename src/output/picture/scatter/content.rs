//! The contents of a map.

/// The meaning of the colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colouring {
    /// A colour per group; with more groups than colours, groups of the same colour are far apart.
    Groups,
    /// Group 0 is right and subdued, group 1 is wrong and on top.
    Correctness,
}

/// A map with its texts, which may be untrusted: they are escaped and cut to fit.
#[derive(Debug, Clone, Copy)]
pub struct Scatter<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    /// x to the right, y upwards, both on the same scale. Non-finite points are not drawn.
    pub points: &'a [[f32; 2]],
    /// Each point's group, an index into `names`; `None` for grey, below the others.
    pub groups: &'a [Option<u32>],
    /// In legend order. Up to 20 names are coloured by their index, so that pictures with the same list have the same colours.
    pub names: &'a [String],
    /// Heading of the legend: `label`.
    pub by: &'a str,
    /// Name of the grey points: `no label`.
    pub unknown: &'a str,
    /// Names of the axes; `None` if they have no meaning.
    pub axes: Option<[&'a str; 2]>,
    pub colouring: Colouring,
}
