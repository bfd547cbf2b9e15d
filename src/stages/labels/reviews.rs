//! What people's reviews say about the suspicious labels, and which to review next.

use prospect_analysis::audit::label_issues::precision::{self, Estimate, FEW, Label, Verdict};
use prospect_common::{
    Result,
    text::{count, counted, plural},
};
use prospect_config::Config;
use prospect_engine::{
    schema::{images, label_scores},
    tables::reviewed::reviewed_labels,
};
use prospect_findings::review;
use prospect_store::{Manifest, RunFolder};

/// The labels of a run, worst first.
#[derive(Debug, Default)]
pub struct Ranking {
    pub image_ids: Vec<u32>,
    /// 0 worst to 1, one per image.
    pub scores: Vec<f32>,
    pub labels: Vec<i32>,
    pub suggested: Vec<Option<i32>>,
    reviews: Vec<Label>,
}

impl Ranking {
    /// From the tables of the last run and the reviews of today. Empty without the table `label_scores`.
    pub fn read(config: &Config, run: &RunFolder, manifest: &Manifest) -> Result<Ranking> {
        let mut ranking = Ranking::default();
        if !manifest.has(label_scores::NAME) {
            return Ok(ranking);
        }
        let columns = (
            label_scores::rank,
            label_scores::image_id,
            label_scores::score,
            label_scores::label,
            label_scores::suggested_label,
            label_scores::suspicious,
        );
        let mut rows = Vec::new();
        for batch in run.rows(manifest, columns) {
            rows.extend(batch?.iter());
        }
        rows.sort_by_key(|(rank, ..)| *rank);
        let reviewed = reviewed_labels(config, run, manifest)?;
        let keys = keys(config.audit.seed, run, manifest)?;
        for (_, image_id, score, label, suggested, suspicious) in rows {
            ranking.image_ids.push(image_id);
            ranking.scores.push(score);
            ranking.labels.push(label);
            ranking.suggested.push(suggested);
            let review = reviewed.get(&image_id).map(|review| Verdict {
                wrong: review.verdict != review::Verdict::Ok,
                sampled: review.sampled,
            });
            ranking.reviews.push(Label {
                suspicious,
                key: keys.get(image_id as usize).copied().unwrap_or(0),
                review,
            });
        }
        Ok(ranking)
    }

    /// `None` without reviews.
    pub fn estimate(&self) -> Option<Estimate> {
        precision::estimate(&self.reviews)
    }

    /// The labels to review next, as places in the ranking, and whether each is of a random sample.
    pub fn next(&self, n: usize) -> Vec<(usize, bool)> {
        precision::next(&self.reviews, n)
    }

    pub fn is_suspicious(&self, place: usize) -> bool {
        self.reviews[place].suspicious
    }
}

/// A random number for each image, by image id; it depends on the content only, so a new run asks in the same order.
fn keys(seed: u64, run: &RunFolder, manifest: &Manifest) -> Result<Vec<u64>> {
    let mut keys = Vec::new();
    for batch in run.rows(manifest, (images::digest,)) {
        for (digest,) in batch?.iter() {
            let text = format!("{seed} {}", digest.unwrap_or_default());
            let hash = blake3::hash(text.as_bytes());
            let first = hash.as_bytes().first_chunk().copied();
            keys.push(u64::from_le_bytes(first.unwrap_or_default()));
        }
    }
    Ok(keys)
}

/// "62 to 81 % of the 312 suspicious labels are wrong (95 % interval, 50 of them reviewed)". `None` if none of them is reviewed.
pub fn precision(estimate: &Estimate) -> Option<String> {
    let Estimate {
        suspicious,
        reviewed,
        precision,
        ..
    } = estimate;
    let (all, n) = (*suspicious as u64, count(*reviewed as u64));
    Some(match *reviewed {
        0 => return None,
        reviewed if reviewed == *suspicious => format!(
            "{} of the {} wrong; all are reviewed",
            count((precision.mean * *suspicious as f64).round() as u64),
            plural(all, "suspicious label is", "suspicious labels are"),
        ),
        _ => format!(
            "{:.0} to {:.0} % of the {} are wrong (95 % interval, {n} of them reviewed)",
            (100.0 * precision.low).floor(),
            (100.0 * precision.high).ceil(),
            counted(all, "suspicious label"),
        ),
    })
}

/// "a further 50 reviews are expected to find fewer than 2 wrong labels"
pub fn further(estimate: &Estimate) -> String {
    let reviews = match estimate.further {
        0 => return "all labels are reviewed".to_string(),
        1 => "one further review is".to_string(),
        n => format!("a further {} reviews are", count(n as u64)),
    };
    let wrong = estimate.further_wrong;
    if estimate.is_enough {
        format!("{reviews} expected to find fewer than {FEW} wrong labels")
    } else {
        format!(
            "{reviews} expected to find {:.0} to {:.0} wrong labels",
            wrong.low, wrong.high
        )
    }
}
