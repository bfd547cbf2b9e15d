//! What is wrong with a dataset, one row a finding: the contract of table `issues`.

use std::fmt;

use prospect_common::text::plural;
use serde::{Serialize, Serializer};

/// How a kind of finding is told, wherever it is shown.
#[derive(Debug)]
pub struct Info {
    /// As tables and commands spell it.
    pub name: &'static str,
    /// What one of them is called, and several are.
    pub words: [&'static str; 2],
    /// The sentence where there is none.
    pub none: &'static str,
    pub subject: Subject,
    pub page: ReportPage,
}

/// What a finding is about, and so what is shown with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The image's label: shown with the label that it should have, and the nearest images. Candidates are shown too.
    Label,
    /// The image among all others: shown with the nearest images.
    Neighbors,
    /// Two images: shown with the other one.
    Pair,
    /// The image by itself.
    Image,
    /// The file: there is nothing to be seen.
    File,
}

/// The page of the report that lists a kind of finding. Every finding is on the overview and in the gallery, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportPage {
    Labels,
    Duplicates,
    Files,
}

impl ReportPage {
    /// The page's name in links, without `.html`.
    pub fn name(self) -> &'static str {
        match self {
            ReportPage::Labels => "labels",
            ReportPage::Duplicates => "duplicates",
            ReportPage::Files => "files",
        }
    }

    /// The kinds that it lists.
    pub fn kinds(self) -> impl Iterator<Item = Kind> {
        let all = Kind::ALL.into_iter();
        all.filter(move |kind| kind.info().page == self)
    }
}

/// Makes [`Kind`] of one declaration a kind. Their order is that of the rows of `issues`, and of everything that is told.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident { $($told:tt)* })*) => {
        /// What is wrong with an image.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            pub const ALL: [Kind; [$(Kind::$kind),*].len()] = [$(Kind::$kind),*];

            /// How it is told.
            pub fn info(self) -> &'static Info {
                match self {
                    $(Kind::$kind => &Info { $($told)* },)*
                }
            }
        }
    };
}

kinds! {
    /// It shows something else than its label says.
    Label {
        name: "label",
        words: ["probably wrong label", "probably wrong labels"],
        none: "No label is probably wrong.",
        subject: Subject::Label,
        page: ReportPage::Labels,
    }
    /// The same file as another image.
    DuplicateExact {
        name: "duplicate_exact",
        words: ["exact duplicate", "exact duplicates"],
        none: "No file is there twice.",
        subject: Subject::Pair,
        page: ReportPage::Duplicates,
    }
    /// The same picture as another image, saved, scaled or cropped in another way.
    DuplicateNear {
        name: "duplicate_near",
        words: ["near-duplicate", "near-duplicates"],
        none: "No picture is there twice in different files.",
        subject: Subject::Pair,
        page: ReportPage::Duplicates,
    }
    /// The same picture as another image, with another label.
    DuplicateLabel {
        name: "duplicate_label",
        words: ["duplicate with another label", "duplicates with another label"],
        none: "No picture has two labels.",
        subject: Subject::Pair,
        page: ReportPage::Duplicates,
    }
    /// The same picture as an image of another split.
    Leak {
        name: "leak",
        words: ["leak between splits", "leaks between splits"],
        none: "No picture is in two splits.",
        subject: Subject::Pair,
        page: ReportPage::Duplicates,
    }
    /// Unlike all others.
    Outlier {
        name: "outlier",
        words: ["outlier", "outliers"],
        none: "No image is unlike all others.",
        subject: Subject::Neighbors,
        page: ReportPage::Files,
    }
    Dark {
        name: "dark",
        words: ["dark photo", "dark photos"],
        none: "No photo is too dark.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    Bright {
        name: "bright",
        words: ["bright photo", "bright photos"],
        none: "No photo is too bright.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Hardly anything to be seen.
    Blank {
        name: "blank",
        words: ["blank photo", "blank photos"],
        none: "No photo is blank.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    Blurred {
        name: "blurred",
        words: ["blurred photo", "blurred photos"],
        none: "No photo is blurred.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Much wider or taller than the others.
    OddAspect {
        name: "odd_aspect",
        words: ["photo of odd shape", "photos of odd shape"],
        none: "No photo is much wider or taller than the others.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Much smaller than the others.
    Tiny {
        name: "tiny",
        words: ["tiny photo", "tiny photos"],
        none: "No photo is much smaller than the others.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Without colour among coloured ones.
    Grayscale {
        name: "grayscale",
        words: ["photo without colour", "photos without colour"],
        none: "No photo lacks the colour of the others.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Its file could not be decoded.
    Unreadable {
        name: "unreadable",
        words: ["unreadable file", "unreadable files"],
        none: "Every file could be read.",
        subject: Subject::File,
        page: ReportPage::Files,
    }
}

impl Kind {
    /// As tables and commands spell it.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What several are called, as a heading.
    pub fn heading(self) -> String {
        let many = self.info().words[1];
        many[..1].to_uppercase() + &many[1..]
    }

    /// `1 outlier`, `1,234 outliers`.
    pub fn counted(self, n: u64) -> String {
        let [one, many] = self.info().words;
        plural(n, one, many)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
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
            let Info { words, none, .. } = kind.info();
            assert!(words[0] != words[1] && words[1].starts_with(|c: char| c.is_ascii_lowercase()));
            assert!(none.ends_with('.'), "{none}");
        }
        assert_eq!(Kind::named("nothing"), None);
        assert_eq!(Kind::Leak.heading(), "Leaks between splits");
        assert_eq!(Kind::Dark.counted(1), "1 dark photo");
        assert_eq!(Kind::Dark.counted(1200), "1,200 dark photos");
    }

    #[test]
    fn a_pages_kinds_are_in_order() {
        let kinds: Vec<&str> = ReportPage::Duplicates.kinds().map(Kind::name).collect();
        let expected = [
            "duplicate_exact",
            "duplicate_near",
            "duplicate_label",
            "leak",
        ];
        assert_eq!(kinds, expected);
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
