//! The labels to review next.

use prospect_analysis::audit::label_issues::precision::Estimate;
use prospect_common::{Error, Result};
use prospect_config::Config;
use prospect_engine::{
    schema::label_scores,
    tables::{
        classes::{ClassNames, name_of},
        files::files,
    },
};
use prospect_findings::{
    Kind,
    review::{Review, Reviews, Verdict},
};
use prospect_stages::labels::reviews::{self, Ranking};
use prospect_store::RunFolder;
use serde::Serialize;

/// What to review next, and what is known so far.
#[derive(Debug, Serialize)]
pub struct Next {
    pub images: Vec<Image>,
    /// `None` without reviews.
    pub estimate: Option<Estimate>,
    /// The estimate in words.
    pub messages: Vec<String>,
}

/// An image with the label to review.
#[derive(Debug, Serialize)]
pub struct Image {
    pub image_id: u32,
    pub path: String,
    pub label: String,
    /// More likely class.
    pub suggested: Option<String>,
    /// 0 worst to 1.
    pub score: f32,
    pub suspicious: bool,
    /// Of the random sample; otherwise the worst.
    pub sampled: bool,
    #[serde(skip)]
    digest: Option<String>,
}

/// The next `n` labels to review. The reviews record which images of the random sample were asked for.
///
/// # Errors
/// The labels have not been scored.
pub fn next(config: &Config, n: usize, today: &str) -> Result<Next> {
    let run = RunFolder::open(&config.run.dir)?;
    let manifest = run.manifest()?;
    if !manifest.has(label_scores::NAME) {
        return Err(Error::Missing {
            what: format!("table {} in {}", label_scores::NAME, run.root().display()),
            next: "create it with `prospect run labels`".to_string(),
        });
    }
    let ranking = Ranking::read(config, &run, &manifest)?;
    let names = ClassNames::read(&run, &manifest)?.dataset;
    let files = files(&run, &manifest, |_, _| true)?;
    let image = |(place, sampled): (usize, bool)| {
        let image_id = ranking.image_ids[place];
        let file = files.get(&image_id)?;
        Some(Image {
            image_id,
            path: file.path.clone(),
            label: name_of(&names, ranking.labels[place]),
            suggested: ranking.suggested[place].map(|class| name_of(&names, class)),
            score: ranking.scores[place],
            suspicious: ranking.is_suspicious(place),
            sampled,
            digest: file.digest.clone(),
        })
    };
    let images: Vec<Image> = ranking.next(n).into_iter().filter_map(image).collect();
    Reviews::update(&config.reviews_path(), |reviews| {
        for image in images.iter().filter(|image| image.sampled) {
            let known = reviews.about(&image.path, Kind::Label);
            if known.is_none_or(|review| !review.holds_for(image.digest.as_deref())) {
                reviews.set(Review {
                    date: today.to_string(),
                    digest: image.digest.clone(),
                    sampled: true,
                    ..Review::new(&image.path, Kind::Label, Verdict::Asked)
                });
            }
        }
        Ok(())
    })?;
    let estimate = ranking.estimate();
    let messages = estimate.iter().flat_map(|estimate| {
        [
            reviews::precision(estimate),
            Some(reviews::further(estimate)),
        ]
    });
    Ok(Next {
        images,
        estimate,
        messages: messages.flatten().collect(),
    })
}
