//! Kinds of findings and their ranking, the contract of table `issues`.

use prospect_common::{names, text::plural};

names! {
    /// What a finding is about, which decides how it is shown.
    pub enum Subject {
        /// The image's label: shown with the suggested label and the nearest images, including candidates.
        Label = "label",
        /// The image compared to all others: shown with the nearest images.
        Neighbors = "neighbors",
        /// Two images: shown side by side.
        Pair = "pair",
        /// The image alone.
        Image = "image",
        /// The file: nothing to show.
        File = "file",
    }
}

names! {
    /// The report page that lists a kind of finding, by file name. The overview and the gallery show all kinds.
    pub enum ReportPage {
        Labels = "labels",
        Duplicates = "duplicates",
        Files = "files",
    }
}

impl ReportPage {
    /// The kinds on this page.
    pub fn kinds(self) -> impl Iterator<Item = Kind> {
        let all = Kind::ALL.into_iter();
        all.filter(move |kind| kind.info().page == self)
    }
}

/// How a kind of finding is presented.
#[derive(Debug)]
pub struct Info {
    /// Its name in the singular and the plural.
    pub words: [&'static str; 2],
    pub subject: Subject,
    pub page: ReportPage,
}

/// Defines [`Kind`] from one declaration per kind, in the order of the rows of `issues` and of all output.
macro_rules! kinds {
    ($($(#[$about:meta])* $Kind:ident = $name:literal { $($info:tt)* })*) => {
        names! {
            /// The kind of a finding.
            pub enum Kind {
                $($(#[$about])* $Kind = $name,)*
            }
        }

        impl Kind {
            /// How it is presented.
            pub fn info(self) -> &'static Info {
                match self {
                    $(Kind::$Kind => &Info { $($info)* },)*
                }
            }
        }
    };
}

kinds! {
    /// The label is probably wrong: classifier and neighbours agree on another class.
    Label = "label" {
        words: ["suspicious label", "suspicious labels"],
        subject: Subject::Label,
        page: ReportPage::Labels,
    }
    /// The label is doubtful, but no other class is agreed on: the image may show two classes, or something between them.
    Ambiguous = "ambiguous" {
        words: ["ambiguous label", "ambiguous labels"],
        subject: Subject::Label,
        page: ReportPage::Labels,
    }
    /// A byte-identical copy of another image.
    DuplicateExact = "duplicate_exact" {
        words: ["exact duplicate", "exact duplicates"],
        subject: Subject::Pair,
        page: ReportPage::Duplicates,
    }
    /// The same picture as another image, re-encoded, scaled, cropped, mirrored or rotated.
    DuplicateNear = "duplicate_near" {
        words: ["near-duplicate", "near-duplicates"],
        subject: Subject::Pair,
        page: ReportPage::Duplicates,
    }
    /// The same picture as another image, with a different label.
    DuplicateLabel = "duplicate_label" {
        words: ["duplicate with a different label", "duplicates with different labels"],
        subject: Subject::Pair,
        page: ReportPage::Duplicates,
    }
    /// The same picture as an image in another split.
    Leak = "leak" {
        words: ["leak between splits", "leaks between splits"],
        subject: Subject::Pair,
        page: ReportPage::Duplicates,
    }
    /// Far from all other images.
    Outlier = "outlier" {
        words: ["outlier", "outliers"],
        subject: Subject::Neighbors,
        page: ReportPage::Files,
    }
    Dark = "dark" {
        words: ["dark photo", "dark photos"],
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    Bright = "bright" {
        words: ["bright photo", "bright photos"],
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Almost uniform.
    Blank = "blank" {
        words: ["blank photo", "blank photos"],
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    Blurred = "blurred" {
        words: ["blurred photo", "blurred photos"],
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Much wider or taller than the others.
    OddAspect = "odd_aspect" {
        words: ["photo with an unusual aspect ratio", "photos with unusual aspect ratios"],
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Much smaller than the others.
    Tiny = "tiny" {
        words: ["unusually small photo", "unusually small photos"],
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// Grayscale among colour photos.
    Grayscale = "grayscale" {
        words: ["unexpected grayscale photo", "unexpected grayscale photos"],
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// The file is cut or corrupt, and was read as far as it goes.
    Damaged = "damaged" {
        words: ["damaged file", "damaged files"],
        subject: Subject::Image,
        page: ReportPage::Files,
    }
    /// The file could not be decoded.
    Unreadable = "unreadable" {
        words: ["unreadable file", "unreadable files"],
        subject: Subject::File,
        page: ReportPage::Files,
    }
}

impl Kind {
    /// The plural as a heading: `Outliers`.
    pub fn heading(self) -> String {
        let many = self.info().words[1];
        many[..1].to_uppercase() + &many[1..]
    }

    /// The sentence for zero findings: `No outliers.`
    pub fn none(self) -> String {
        format!("No {}.", self.info().words[1])
    }

    /// `1 outlier`, `1,234 outliers`.
    pub fn counted(self, n: u64) -> String {
        let [one, many] = self.info().words;
        plural(n, one, many)
    }
}

/// A possible problem with an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub image_id: u32,
    pub kind: Kind,
    /// 0 (worst) to 1 (fine); comparable within a kind.
    pub score: f32,
    /// Bad enough to be reported; others are candidates.
    pub flagged: bool,
    /// The class that the image probably belongs to, if known.
    pub suggested_label: Option<i32>,
    /// The other image, if the finding is about two.
    pub other_id: Option<u32>,
    /// One readable sentence with the reason, in verifiable figures.
    pub evidence: String,
}

/// Ranks findings from 1, worst first within each kind (kinds in the order of [`Kind::ALL`]). Keeps all flagged findings, and
/// candidates up to `keep` findings per kind. Ties are broken by image, then by the other image.
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
    fn kinds_have_names() {
        for kind in Kind::ALL {
            let Info { words, .. } = kind.info();
            assert!(words[0] != words[1] && words[1].starts_with(|c: char| c.is_ascii_lowercase()));
        }
        assert_eq!(Kind::Leak.heading(), "Leaks between splits");
        assert_eq!(Kind::Leak.none(), "No leaks between splits.");
        assert_eq!(Kind::Dark.counted(1), "1 dark photo");
        assert_eq!(Kind::Dark.counted(1200), "1,200 dark photos");
    }

    #[test]
    fn kinds_of_a_page_are_in_order() {
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
    fn flagged_findings_come_first_and_are_all_kept() {
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
