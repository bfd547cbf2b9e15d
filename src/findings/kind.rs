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

/// Worst first within each kind (kinds in order of [`Kind::ALL`]), with ranks from 1: everything that is flagged, and of the
/// other candidates as many as `keep` findings of the kind leave room for. Ties go by image, then by the other image.
pub fn ranked(mut findings: Vec<Finding>, keep: usize) -> Vec<(i32, Finding)> {
    findings.sort_by(|a, b| {
        (a.kind.cmp(&b.kind))
            .then(b.flagged.cmp(&a.flagged))
            .then(a.score.total_cmp(&b.score))
            .then(a.image_id.cmp(&b.image_id))
            .then(a.other_id.cmp(&b.other_id))
    });
    let mut kept = Vec::with_capacity(findings.len());
    let (mut kind, mut rank) = (None, 0usize);
    for finding in findings {
        if kind != Some(finding.kind) {
            (kind, rank) = (Some(finding.kind), 0);
        }
        rank += 1;
        if finding.flagged || rank <= keep {
            kept.push((i32::try_from(rank).unwrap_or(i32::MAX), finding));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(image_id: u32, kind: Kind, score: f32, flagged: bool) -> Finding {
        Finding {
            image_id,
            kind,
            score,
            flagged,
            suggested_label: None,
            other_id: None,
            evidence: String::new(),
        }
    }

    #[test]
    fn names_are_told_apart() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), Some(kind));
        }
        assert_eq!(Kind::named("nothing"), None);
    }

    #[test]
    fn flagged_ones_come_first_and_all_of_them_are_kept() {
        let found = ranked(
            vec![
                finding(5, Kind::Label, 0.1, false),
                finding(4, Kind::Label, 0.2, true),
                finding(3, Kind::Label, 0.2, true),
                finding(2, Kind::Label, 0.05, true),
                finding(1, Kind::Label, 0.3, false),
                finding(9, Kind::Dark, 0.4, false),
                finding(8, Kind::Dark, 0.3, false),
            ],
            1,
        );
        let short: Vec<(i32, u32)> = (found.iter())
            .map(|(rank, one)| (*rank, one.image_id))
            .collect();
        assert_eq!(short, [(1, 2), (2, 3), (3, 4), (1, 8)]);
        let all = ranked(found.into_iter().map(|(_, one)| one).collect(), 10);
        assert_eq!(all.len(), 4);
    }
}
