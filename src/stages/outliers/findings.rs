//! Findings of outliers and bad photos.

use std::collections::BTreeMap;

use prospect_analysis::audit::bad_photos::{self, Photo};
use prospect_common::{
    Result,
    statistics::upper_median,
    text::{escaped, figure},
};
use prospect_engine::{
    Context,
    schema::{images, outliers},
    tables::classes::{ClassNames, labels, name_of},
};
use prospect_findings::{Finding, Kind};
use prospect_store::Manifest;

use super::tables::{self, Row};

/// Highest score reported; flagged images score below 0.5.
const MAX_SCORE: f32 = 0.7;

pub fn findings(ctx: &Context, manifest: &Manifest) -> Result<Vec<Finding>> {
    let mut found = of_outliers(ctx, manifest)?;
    found.extend(of_bad_photos(ctx, manifest)?);
    Ok(found)
}

fn of_outliers(ctx: &Context, manifest: &Manifest) -> Result<Vec<Finding>> {
    if !manifest.has(outliers::NAME) {
        return Ok(Vec::new());
    }
    let rows = tables::read(ctx.run, manifest)?;
    let labels = labels(ctx.run, manifest)?;
    let names = ClassNames::read(ctx.run, manifest)?;
    let label = |row: &Row| labels.get(row.image_id as usize).copied().flatten();
    let usual = usual_distance(rows.iter().map(|row| row.distance).collect());
    let mut of_class: BTreeMap<i32, Vec<f32>> = BTreeMap::new();
    for row in &rows {
        if let Some((class, distance)) = label(row).zip(row.class_distance) {
            of_class.entry(class).or_default().push(distance);
        }
    }
    let usual_of: BTreeMap<i32, f32> = (of_class.into_iter())
        .map(|(class, distances)| (class, usual_distance(distances)))
        .collect();
    let found = rows.iter().filter_map(|row| {
        let class_score = row.class_score.unwrap_or(1.0);
        let score = row.score.min(class_score);
        let of_class = label(row).zip(row.class_distance);
        let mut parts = Vec::new();
        if row.score <= MAX_SCORE {
            parts.push(format!(
                "its nearest images are {} away (cosine distance), {:.2} times the usual {}",
                figure(row.distance.into()),
                row.distance / usual,
                figure(usual.into())
            ));
        }
        if let Some((class, distance)) = of_class.filter(|_| class_score <= MAX_SCORE) {
            let usual = usual_of.get(&class).copied().unwrap_or(distance);
            parts.push(format!(
                "the nearest of class {} are {} away (cosine distance), {:.2} times what is usual there",
                escaped(&name_of(&names.dataset, class)),
                figure(distance.into()),
                distance / usual
            ));
        }
        (score <= MAX_SCORE).then(|| Finding {
            image_id: row.image_id,
            kind: Kind::Outlier,
            score,
            flagged: row.flagged(),
            suggested_label: None,
            other_id: None,
            evidence: parts.join("; "),
        })
    });
    Ok(found.collect())
}

/// The upper median; NaN if empty.
fn usual_distance(mut distances: Vec<f32>) -> f32 {
    distances.sort_by(f32::total_cmp);
    upper_median(&distances).unwrap_or(f32::NAN)
}

fn of_bad_photos(ctx: &Context, manifest: &Manifest) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let (mut ids, mut photos) = (Vec::new(), Vec::new());
    let columns = (
        images::image_id,
        images::error,
        images::width,
        images::height,
        images::orientation,
        images::brightness,
        images::contrast,
        images::sharpness,
        images::saturation,
        images::warning,
    );
    for batch in ctx.run.rows(manifest, columns) {
        for cells in batch?.iter() {
            let (image_id, error, width, height, orientation, ..) = cells;
            let (.., brightness, contrast, sharpness, saturation, warning) = cells;
            let of_file = |kind, evidence| Finding {
                image_id,
                kind,
                score: 0.0,
                flagged: true,
                suggested_label: None,
                other_id: None,
                evidence,
            };
            if let Some(error) = error {
                let evidence = format!("cannot be read: {}", escaped(error));
                found.push(of_file(Kind::Unreadable, evidence));
                continue;
            }
            if let Some(warning) = warning {
                let evidence = format!("read as far as it goes: {}", escaped(warning));
                found.push(of_file(Kind::Damaged, evidence));
            }
            let photo = || {
                let side = |side: Option<i32>| u32::try_from(side?).ok();
                let (mut width, mut height) = (side(width)?, side(height)?);
                if orientation.is_some_and(|turned| turned >= 5) {
                    std::mem::swap(&mut width, &mut height);
                }
                Some(Photo {
                    width,
                    height,
                    brightness: brightness?,
                    contrast: contrast?,
                    sharpness: sharpness?,
                    saturation: saturation?,
                })
            };
            if let Some(photo) = photo() {
                ids.push(image_id);
                photos.push(photo);
            }
        }
    }
    let problems = bad_photos::problems(&photos).into_iter();
    found.extend(problems.map(|(place, problem)| Finding {
        image_id: ids[place],
        kind: problem.kind,
        score: problem.score,
        flagged: problem.flagged,
        suggested_label: None,
        other_id: None,
        evidence: problem.evidence,
    }));
    Ok(found)
}
