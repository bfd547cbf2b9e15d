//! Differences between the findings of two runs: new, resolved, worse and better ones.

use std::collections::BTreeMap;

use prospect_common::names;
use serde::Serialize;

/// A finding identified by its image's path, comparable across runs: image ids are ranks and shift with every new file.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingByPath {
    pub path: String,
    /// The name of a [`crate::Kind`].
    pub kind: String,
    /// The other image, if the finding is about two.
    pub other_path: Option<String>,
    /// 0 (worst) to 1 (fine).
    pub score: f32,
    /// Bad enough to be reported.
    pub flagged: bool,
    /// A person's verdict: `ok` or `fix`.
    pub reviewed: Option<String>,
    pub evidence: String,
}

names! {
    /// How a finding changed.
    pub enum ChangeKind {
        /// Reported only in the later run.
        New = "new",
        /// Reported in both runs, with a score lower by at least [`Rules::min_score_change`].
        Worse = "worse",
        /// Reported in both runs, with a score higher by at least [`Rules::min_score_change`].
        Better = "better",
        /// Reported only in the earlier run: fixed, deleted, or no longer flagged.
        Resolved = "resolved",
    }
}

/// A difference between two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    pub path: String,
    pub kind: String,
    pub other_path: Option<String>,
    pub change: ChangeKind,
    /// In the earlier run, if it was listed there.
    pub score_before: Option<f32>,
    /// In the later run, if it is listed there.
    pub score: Option<f32>,
    /// The later run's sentence if it is listed there, otherwise the earlier one's.
    pub evidence: String,
}

/// Which differences are reported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// The minimum score difference of worse and better findings.
    pub min_score_change: f32,
    /// Include findings that a person has reviewed.
    pub include_reviewed: bool,
}

impl Default for Rules {
    /// A tenth of the scale: scores shift slightly with every new image.
    fn default() -> Rules {
        Rules {
            min_score_change: 0.1,
            include_reviewed: false,
        }
    }
}

type Subject<'f> = (&'f str, &'f str, Option<&'f str>);

/// The differences between the findings of an earlier and a later run, by kind of change, kind of finding, score (worst first) and
/// path. Of a run's duplicate findings, the worst counts.
pub fn diff(before: &[FindingByPath], now: &[FindingByPath], rules: Rules) -> Vec<Change> {
    let (before, now) = (by_subject(before), by_subject(now));
    let mut changes = Vec::new();
    for (subject, found) in &now {
        let old = before.get(subject).copied();
        changes
            .extend(classify(old, Some(found), rules).map(|kind| change(kind, old, Some(found))));
    }
    for (subject, old) in &before {
        if !now.contains_key(subject) {
            changes
                .extend(classify(Some(old), None, rules).map(|kind| change(kind, Some(old), None)));
        }
    }
    let score = |change: &Change| change.score.or(change.score_before).unwrap_or(1.0);
    changes.sort_by(|a, b| {
        (a.change, &a.kind)
            .cmp(&(b.change, &b.kind))
            .then(score(a).total_cmp(&score(b)))
            .then((&a.path, &a.other_path).cmp(&(&b.path, &b.other_path)))
    });
    changes
}

/// The number of changes of each kind, in the order of [`ChangeKind::ALL`].
pub fn counts(changes: &[Change]) -> [usize; 4] {
    ChangeKind::ALL.map(|kind| {
        let of_kind = changes.iter().filter(|change| change.change == kind);
        of_kind.count()
    })
}

fn by_subject(findings: &[FindingByPath]) -> BTreeMap<Subject<'_>, &FindingByPath> {
    let mut subjects: BTreeMap<Subject, &FindingByPath> = BTreeMap::new();
    for found in findings {
        let subject = (
            found.path.as_str(),
            found.kind.as_str(),
            found.other_path.as_deref(),
        );
        let known = subjects.entry(subject).or_insert(found);
        if (found.flagged, -found.score) > (known.flagged, -known.score) {
            *known = found;
        }
    }
    subjects
}

/// The change of a finding that at least one run lists.
fn classify(
    old: Option<&FindingByPath>,
    now: Option<&FindingByPath>,
    rules: Rules,
) -> Option<ChangeKind> {
    let has_verdict =
        |found: &FindingByPath, verdict: &str| found.reviewed.as_deref() == Some(verdict);
    // Reviewed findings are not news; of those to fix, only that they have been fixed.
    let is_reviewed = match now {
        Some(found) => found.reviewed.is_some(),
        None => old.is_some_and(|found| has_verdict(found, "ok")),
    };
    if is_reviewed && !rules.include_reviewed {
        return None;
    }
    let is_reported = |found: Option<&FindingByPath>| {
        found.is_some_and(|found| {
            found.flagged && (rules.include_reviewed || !has_verdict(found, "ok"))
        })
    };
    match (is_reported(old), is_reported(now)) {
        (false, true) => Some(ChangeKind::New),
        (true, false) => Some(ChangeKind::Resolved),
        (false, false) => None,
        (true, true) => {
            let difference = now?.score - old?.score;
            if difference.abs() < rules.min_score_change || difference == 0.0 {
                return None;
            }
            Some(if difference < 0.0 {
                ChangeKind::Worse
            } else {
                ChangeKind::Better
            })
        }
    }
}

fn change(kind: ChangeKind, old: Option<&FindingByPath>, now: Option<&FindingByPath>) -> Change {
    let either = now.or(old);
    let text =
        |of: fn(&FindingByPath) -> &String| either.map_or(String::new(), |found| of(found).clone());
    Change {
        path: text(|found| &found.path),
        kind: text(|found| &found.kind),
        other_path: either.and_then(|found| found.other_path.clone()),
        change: kind,
        score_before: old.map(|found| found.score),
        score: now.map(|found| found.score),
        evidence: text(|found| &found.evidence),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(path: &str, score: f32) -> FindingByPath {
        FindingByPath {
            path: path.to_string(),
            kind: "label".to_string(),
            other_path: None,
            score,
            flagged: true,
            reviewed: None,
            evidence: format!("{path} at {score}"),
        }
    }

    fn short(changes: &[Change]) -> Vec<(&str, &str)> {
        let changes = changes.iter();
        changes
            .map(|change| (change.path.as_str(), change.change.name()))
            .collect()
    }

    #[test]
    fn new_resolved_and_rescored_findings_are_listed_worst_first() {
        let before = [
            found("gone", 0.2),
            found("same", 0.3),
            found("worse", 0.5),
            found("better", 0.1),
            FindingByPath {
                flagged: false,
                ..found("candidate", 0.6)
            },
            found("unflagged", 0.4),
        ];
        let now = [
            found("same", 0.35),
            found("worse", 0.3),
            found("better", 0.3),
            found("candidate", 0.2),
            found("fresh", 0.1),
            FindingByPath {
                flagged: false,
                ..found("unflagged", 0.7)
            },
        ];
        let changes = diff(&before, &now, Rules::default());
        assert_eq!(
            short(&changes),
            [
                ("fresh", "new"),
                ("candidate", "new"),
                ("worse", "worse"),
                ("better", "better"),
                ("gone", "resolved"),
                ("unflagged", "resolved"),
            ]
        );
        assert_eq!(counts(&changes), [2, 1, 1, 2]);
        assert_eq!(
            (changes[1].score_before, changes[1].score),
            (Some(0.6), Some(0.2))
        );
        assert_eq!(
            (changes[4].score_before, changes[4].score),
            (Some(0.2), None)
        );
        assert_eq!(changes[4].evidence, "gone at 0.2");
        assert_eq!(changes[5].evidence, "unflagged at 0.7");
        assert_eq!(diff(&now, &now, Rules::default()), []);
    }

    #[test]
    fn findings_differ_by_kind_and_other_image() {
        let with = |kind: &str, other: Option<&str>| FindingByPath {
            kind: kind.to_string(),
            other_path: other.map(str::to_string),
            ..found("a", 0.1)
        };
        let before = [with("label", None), with("duplicate_near", Some("b"))];
        let now = [with("outlier", None), with("duplicate_near", Some("c"))];
        let changes = diff(&before, &now, Rules::default());
        assert_eq!(counts(&changes), [2, 0, 0, 2]);
        // Duplicates in one run: the worst counts, flagged ones before candidates.
        let now = [
            found("a", 0.5),
            found("a", 0.3),
            FindingByPath {
                flagged: false,
                ..found("a", 0.1)
            },
        ];
        let changes = diff(&[], &now, Rules::default());
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].score, Some(0.3));
    }

    #[test]
    fn reviewed_findings_are_not_reported() {
        let reviewed = |path: &str, verdict: &str| FindingByPath {
            reviewed: Some(verdict.to_string()),
            ..found(path, 0.1)
        };
        let all = Rules {
            include_reviewed: true,
            ..Rules::default()
        };
        // Reviewed since: not a change.
        let before = [found("fine", 0.1), found("bad", 0.1)];
        let now = [reviewed("fine", "ok"), reviewed("bad", "fix")];
        assert_eq!(diff(&before, &now, Rules::default()), []);
        assert_eq!(diff(&before, &now, all), []);
        assert_eq!(diff(&[], &now, Rules::default()), []);
        assert_eq!(counts(&diff(&[], &now, all)), [2, 0, 0, 0]);
        // A fixed finding is a change; deleting an image that was ok is not.
        assert_eq!(
            short(&diff(&now, &[], Rules::default())),
            [("bad", "resolved")]
        );
        // The image has changed since its review.
        assert_eq!(
            short(&diff(&now, &before, Rules::default())),
            [("fine", "new")]
        );
    }

    proptest! {
        #[test]
        fn swapping_the_runs_reverses_the_changes(
            before in prop::collection::vec((0u8..12, 0u8..=10, any::<bool>()), 0..20),
            now in prop::collection::vec((0u8..12, 0u8..=10, any::<bool>()), 0..20),
        ) {
            let findings = |list: &[(u8, u8, bool)]| -> Vec<FindingByPath> {
                let list = list.iter();
                list.map(|&(path, score, flagged)| FindingByPath {
                    flagged,
                    ..found(&path.to_string(), f32::from(score) / 10.0)
                })
                .collect()
            };
            let (before, now) = (findings(&before), findings(&now));
            let forward = diff(&before, &now, Rules::default());
            let back = diff(&now, &before, Rules::default());
            let [new, worse, better, resolved] = counts(&forward);
            prop_assert_eq!(counts(&back), [resolved, better, worse, new]);
            prop_assert_eq!(new + worse + better + resolved, forward.len());
        }
    }
}
