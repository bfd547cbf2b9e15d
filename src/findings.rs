//! What is wrong with a dataset, one row a finding: the contract of table `issues`.

/// What is wrong with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It shows something else than its label says.
    Label,
    /// The same file as another image.
    DuplicateExact,
    /// The same picture as another image, saved, scaled or cropped in another way.
    DuplicateNear,
    /// The same picture as another image, with another label.
    DuplicateLabel,
    /// The same picture as an image of another split.
    Leak,
    /// Unlike all others.
    Outlier,
    Dark,
    Bright,
    /// Hardly anything to be seen.
    Blank,
    Blurred,
    /// Much wider or taller than the others.
    OddAspect,
    /// Much smaller than the others.
    Tiny,
    /// Without colour among coloured ones.
    Grayscale,
    /// Its file could not be decoded.
    Unreadable,
}

impl Kind {
    pub const ALL: [Kind; 14] = [
        Kind::Label,
        Kind::DuplicateExact,
        Kind::DuplicateNear,
        Kind::DuplicateLabel,
        Kind::Leak,
        Kind::Outlier,
        Kind::Dark,
        Kind::Bright,
        Kind::Blank,
        Kind::Blurred,
        Kind::OddAspect,
        Kind::Tiny,
        Kind::Grayscale,
        Kind::Unreadable,
    ];

    /// As tables and commands spell it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Label => "label",
            Kind::DuplicateExact => "duplicate_exact",
            Kind::DuplicateNear => "duplicate_near",
            Kind::DuplicateLabel => "duplicate_label",
            Kind::Leak => "leak",
            Kind::Outlier => "outlier",
            Kind::Dark => "dark",
            Kind::Bright => "bright",
            Kind::Blank => "blank",
            Kind::Blurred => "blurred",
            Kind::OddAspect => "odd_aspect",
            Kind::Tiny => "tiny",
            Kind::Grayscale => "grayscale",
            Kind::Unreadable => "unreadable",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One thing that is wrong with one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub image_id: u32,
    pub kind: Kind,
    /// 0 (worst) to 1 (fine); comparable within a kind.
    pub score: f32,
    /// Bad enough to be told; others are candidates.
    pub flagged: bool,
    /// The dataset's class that the image should have, where that is known.
    pub suggested_label: Option<i32>,
    /// The other image, where the finding is about two.
    pub other_id: Option<u32>,
    /// One readable sentence: why, in figures that a person can check.
    pub evidence: String,
}
