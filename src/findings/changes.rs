//! What is different between two runs' findings: what is new since last night, what is gone, what got worse or better.

use std::collections::BTreeMap;

use prospect_common::names;
use serde::Serialize;

/// A finding as two runs can compare it: by its image's path, since ids are ranks and shift with every file that comes.
#[derive(Debug, Clone, PartialEq)]
pub struct FindingByPath {
    pub path: String,
    /// As [`crate::Kind::name`] spells it.
    pub kind: String,
    /// The other image, where the finding is about two.
    pub other_path: Option<String>,
    /// 0 (worst) to 1 (fine).
    pub score: f32,
    /// Bad enough to be told.
    pub flagged: bool,
    /// What a person has decided about it: `ok` or `fix`.
    pub reviewed: Option<String>,
    pub evidence: String,
}

names! {
    /// What became of a finding.
    pub enum Became {
        /// Told now and not before.
        New = "new",
        /// Told in both runs, its score lower by [`Rules::least`] or more.
        Worse = "worse",
        /// Told in both runs, its score higher by as much.
        Better = "better",
        /// Told before and not now: repaired, deleted, or no longer remarkable.
        Resolved = "resolved",
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    pub path: String,
    pub kind: String,
    pub other_path: Option<String>,
    pub change: Became,
    /// In the earlier run, if it was listed there.
    pub score_before: Option<f32>,
    /// In the later run, if it is listed there.
    pub score: Option<f32>,
    /// The later run's sentence, if it is listed there, else the earlier one's.
    pub evidence: String,
}

/// What counts as a difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// The least difference of scores that makes a finding worse or better.
    pub least: f32,
    /// Tell also of what a person has judged.
    pub reviewed: bool,
}

impl Default for Rules {
    /// A tenth of the scale: scores move a little with every image that comes.
    fn default() -> Rules {
        Rules {
            least: 0.1,
            reviewed: false,
        }
    }
}

type Subject<'f> = (&'f str, &'f str, Option<&'f str>);

/// The differences between the findings of an earlier and a later run, by kind of change, kind of finding, score (the worst
/// first) and path. Of several findings about the same thing in a run, the worst one counts.
pub fn diff(before: &[FindingByPath], now: &[FindingByPath], rules: Rules) -> Vec<Change> {
    let (before, now) = (by_subject(before), by_subject(now));
    let mut changes = Vec::new();
    for (subject, found) in &now {
        let old = before.get(subject).copied();
        changes
            .extend(became(old, Some(found), rules).map(|change| told(change, old, Some(found))));
    }
    for (subject, old) in &before {
        if !now.contains_key(subject) {
            changes
                .extend(became(Some(old), None, rules).map(|change| told(change, Some(old), None)));
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

/// How many changes there are of each kind, in the order of [`Became::ALL`].
pub fn counts(changes: &[Change]) -> [usize; 4] {
    Became::ALL.map(|kind| {
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

/// What became of a finding that at least one of the runs lists.
fn became(
    old: Option<&FindingByPath>,
    now: Option<&FindingByPath>,
    rules: Rules,
) -> Option<Became> {
    let judged = |found: &FindingByPath, verdict: &str| found.reviewed.as_deref() == Some(verdict);
    // Who has judged an image needs not be told of it: of what is to be repaired only that it has been.
    let quiet = match now {
        Some(found) => found.reviewed.is_some(),
        None => old.is_some_and(|found| judged(found, "ok")),
    };
    if quiet && !rules.reviewed {
        return None;
    }
    let is_told = |found: Option<&FindingByPath>| {
        found.is_some_and(|found| found.flagged && (rules.reviewed || !judged(found, "ok")))
    };
    match (is_told(old), is_told(now)) {
        (false, true) => Some(Became::New),
        (true, false) => Some(Became::Resolved),
        (false, false) => None,
        (true, true) => {
            let moved = now?.score - old?.score;
            if moved.abs() < rules.least || moved == 0.0 {
                return None;
            }
            Some(if moved < 0.0 {
                Became::Worse
            } else {
                Became::Better
            })
        }
    }
}

fn told(change: Became, old: Option<&FindingByPath>, now: Option<&FindingByPath>) -> Change {
    let either = now.or(old);
    let text =
        |of: fn(&FindingByPath) -> &String| either.map_or(String::new(), |found| of(found).clone());
    Change {
        path: text(|found| &found.path),
        kind: text(|found| &found.kind),
        other_path: either.and_then(|found| found.other_path.clone()),
        change,
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
    fn new_gone_and_moved_findings_are_told_the_worst_first() {
        let before = [
            found("gone", 0.2),
            found("same", 0.3),
            found("worse", 0.5),
            found("better", 0.1),
            FindingByPath {
                flagged: false,
                ..found("candidate", 0.6)
            },
            found("calmed", 0.4),
        ];
        let now = [
            found("same", 0.35),
            found("worse", 0.3),
            found("better", 0.3),
            found("candidate", 0.2),
            found("fresh", 0.1),
            FindingByPath {
                flagged: false,
                ..found("calmed", 0.7)
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
                ("calmed", "resolved"),
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
        assert_eq!(changes[5].evidence, "calmed at 0.7");
        assert_eq!(diff(&now, &now, Rules::default()), []);
    }

    #[test]
    fn another_kind_or_partner_is_another_finding() {
        let with = |kind: &str, other: Option<&str>| FindingByPath {
            kind: kind.to_string(),
            other_path: other.map(str::to_string),
            ..found("a", 0.1)
        };
        let before = [with("label", None), with("duplicate_near", Some("b"))];
        let now = [with("outlier", None), with("duplicate_near", Some("c"))];
        let changes = diff(&before, &now, Rules::default());
        assert_eq!(counts(&changes), [2, 0, 0, 2]);
        // Twice in one run: the worse one counts, a flagged one before any candidate.
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
    fn what_was_judged_stays_quiet() {
        let judged = |path: &str, verdict: &str| FindingByPath {
            reviewed: Some(verdict.to_string()),
            ..found(path, 0.1)
        };
        let all = Rules {
            reviewed: true,
            ..Rules::default()
        };
        // Judged since: neither resolved nor anything else.
        let before = [found("fine", 0.1), found("bad", 0.1)];
        let now = [judged("fine", "ok"), judged("bad", "fix")];
        assert_eq!(diff(&before, &now, Rules::default()), []);
        assert_eq!(diff(&before, &now, all), []);
        assert_eq!(diff(&[], &now, Rules::default()), []);
        assert_eq!(counts(&diff(&[], &now, all)), [2, 0, 0, 0]);
        // Repaired: that is news. What was fine before it was deleted is none.
        assert_eq!(
            short(&diff(&now, &[], Rules::default())),
            [("bad", "resolved")]
        );
        // The image has changed since it was judged.
        assert_eq!(
            short(&diff(&now, &before, Rules::default())),
            [("fine", "new")]
        );
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_opposite(
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
            let there = diff(&before, &now, Rules::default());
            let back = diff(&now, &before, Rules::default());
            let [new, worse, better, resolved] = counts(&there);
            prop_assert_eq!(counts(&back), [resolved, better, worse, new]);
            prop_assert_eq!(new + worse + better + resolved, there.len());
        }
    }
}
