//! What a map shows and says.

/// What the colours say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colouring {
    /// Each group's own; with more groups than colours, groups of one colour lie apart.
    Groups,
    /// Group 0 is right and recedes, group 1 is wrong and lies on top.
    Correctness,
}

/// A map and what is said about it. Texts may be anything: they are cut to their room, control characters made visible.
#[derive(Debug, Clone, Copy)]
pub struct Scatter<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    /// x to the right, y upwards, both on the same scale. A point that is no number is left out.
    pub points: &'a [[f32; 2]],
    /// Each point's group, an index of `names`; `None`: grey, beneath the others.
    pub groups: &'a [Option<u32>],
    /// In the order of the legend. With at most 20 names the colour is that of the place in this list, so that pictures with one
    /// list have one scheme.
    pub names: &'a [String],
    /// What the groups are, above the legend: `label`.
    pub by: &'a str,
    /// What a grey point is: `no label`.
    pub unknown: &'a str,
    /// Names of the axes; `None` where they mean nothing.
    pub axes: Option<[&'a str; 2]>,
    pub colouring: Colouring,
}
