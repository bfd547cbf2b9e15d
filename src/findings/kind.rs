//! What is wrong with a dataset, one row a finding: the contract of table `issues`.

use prospect_common::{names, text::plural};

names! {
    /// What a finding is about, and so what is shown with it.
    pub enum Subject {
        /// The image's label: shown with the label that it should have, and the nearest images. Candidates are shown too.
        Label = "label",
        /// The image among all others: shown with the nearest images.
        Neighbors = "neighbors",
        /// Two images: shown with the other one.
        Pair = "pair",
        /// The image by itself.
        Image = "image",
        /// The file: there is nothing to be seen.
        File = "file",
    }
}

names! {
    /// The page of the report that lists a kind of finding, by the name of its file. Every finding is on the overview and in the
    /// gallery, too.
    pub enum ReportPage {
        Labels = "labels",
        Duplicates = "duplicates",
        Files = "files",
    }
}

impl ReportPage {
    /// The kinds that it lists.
    pub fn kinds(self) -> impl Iterator<Item = Kind> {
        let all = Kind::ALL.into_iter();
        all.filter(move |kind| kind.info().page == self)
    }
}

/// How a kind of finding is told, wherever it is shown.
#[derive(Debug)]
pub struct Info {
    /// What one of them is called, and several are.
    pub words: [&'static str; 2],
    /// The sentence where there is none.
    pub none: &'static str,
    pub subject: Subject,
    pub page: ReportPage,
}

/// Makes [`Kind`] of one declaration a kind. Their order is that of the rows of `issues`, and of everything that is told.
macro_rules! kinds {
    ($($(#[$about:meta])* $Kind:ident = $name:literal { $($told:tt)* })*) => {
        names! {
            /// What is wrong with an image.
            pub enum Kind {
                $($(#[$about])* $Kind = $name,)*
            }
        }

        impl Kind {
            /// How it is told.
            pub fn info(self) -> &'static Info {
                match self {
                    $(Kind::$Kind => &Info { $($told)* },)*
                }
            }
        }
    };
}

kinds! {
    /// It shows something else than its label says.
    Label = "label" {
        words: ["probably wrong label", "probably wrong labels"],
        none: "No label is probably wrong.",
        subject: Subject::Label,
        page: ReportPage::Labels,
    }
    /// The same file as another image.
    DuplicateExact = "duplicate_exact" {
        words: ["exact duplicate", "exact duplicates"],
        none: "No file is there twice.",
        subject: Subject::Pair,
        page: ReportPage::Duplicates,
    }
    /// The same picture as another image, saved, scaled or cropped in another way.
    DuplicateNear = "duplicate_near" {
        words: ["near-duplicate", "near-duplicates"],
        none: "No picture is there twice in different files.",
        subject: Subject::Pair,
        page: ReportPage::Duplicates,
    }
    /// The same picture as another image, with another label.
    DuplicateLabel = "duplicate_label" {
        words: ["duplicate with another label", "duplicates with another label"],
        none: "No picture has two labels.",
        subject: Subject::Pair,
        page: ReportPage::Duplicates,
    }
    /// The same picture as an image of another split.
    Leak = "leak" {
        words: ["leak between splits", "leaks between splits"],
        none: "No picture is in two splits.",
        subject: Subject::Pair,
        page: ReportPage::Duplicates,
    }
    /// Unlike all others.
    Outlier = "outlier" {
        words: ["outlier", "outliers"],
        none: "No image is unlike all others.",
        subject: Subject::Neighbors,
        page: ReportPage::Files,
    }
    Dark = "dark" {
        words: ["dark photo", "dark photos"],
        none: "No photo is too dark.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    Bright = "bright" {
        words: ["bright photo", "bright photos"],
        none: "No photo is too bright.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Hardly anything to be seen.
    Blank = "blank" {
        words: ["blank photo", "blank photos"],
        none: "No photo is blank.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    Blurred = "blurred" {
        words: ["blurred photo", "blurred photos"],
        none: "No photo is blurred.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Much wider or taller than the others.
    OddAspect = "odd_aspect" {
        words: ["photo of odd shape", "photos of odd shape"],
        none: "No photo is much wider or taller than the others.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Much smaller than the others.
    Tiny = "tiny" {
        words: ["tiny photo", "tiny photos"],
        none: "No photo is much smaller than the others.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Without colour among coloured ones.
    Grayscale = "grayscale" {
        words: ["photo without colour", "photos without colour"],
        none: "No photo lacks the colour of the others.",
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Its file could not be decoded.
    Unreadable = "unreadable" {
        words: ["unreadable file", "unreadable files"],
        none: "Every file could be read.",
        subject: Subject::File,
        page: ReportPage::Files,
    }
}

impl Kind {
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
    fn kinds_are_told_in_words() {
        for kind in Kind::ALL {
            let Info { words, none, .. } = kind.info();
            assert!(words[0] != words[1] && words[1].starts_with(|c: char| c.is_ascii_lowercase()));
            assert!(none.ends_with('.'), "{none}");
        }
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
