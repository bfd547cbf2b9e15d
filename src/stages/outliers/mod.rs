//! Outliers of the dataset and of each class, by the mean distance to the nearest neighbours relative to the median.
//!
//! Bad photos are reported here too. They need no separate table: the columns of `images` suffice.

mod distances;
mod findings;
mod tables;
#[cfg(test)]
mod tests;

use prospect_analysis::audit::outliers::{CUTOFF, deviations, deviations_in_classes, score};
use prospect_common::{Result, text};
use prospect_engine::{Context, Needs, Outcome, Stage, TableEstimate, schema::outliers};
use prospect_store::StageWriter;
use serde_json::{Value, json};

use self::{distances::Distances, findings::findings, tables::Row};

pub const STAGE: Stage = Stage {
    name: "outliers",
    version: 3,
    about: "find outliers of the dataset or of their class, and bad photos",
    needs: Needs::Named(&["scan", "extract", "neighbors"]),
    writes: &[&outliers::TABLE],
    findings: Some(findings),
    reuse: None,
    parameters,
    estimate,
    run,
};

fn parameters(_: &Context) -> Result<Value> {
    Ok(json!({ "cut": CUTOFF }))
}

fn estimate(_: &Context, images: u64) -> Result<Vec<TableEstimate>> {
    Ok(vec![TableEstimate::of(&outliers::TABLE, images)])
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    writer.set_parts_total(1)?;
    if !writer.has_part(0) {
        let manifest = ctx.run.manifest()?;
        let rows = rows(&Distances::measure(ctx, &manifest)?);
        let mut part = writer.part(0)?;
        part.write(outliers::NAME, &tables::outliers(&rows)?)?;
        writer.commit(part)?;
    }
    let rows = tables::read(ctx.run, &ctx.run.manifest()?)?;
    let count = |keep: fn(&Row) -> bool| rows.iter().filter(|row| keep(row)).count();
    let of_class = count(|row| row.class_score.is_some_and(|score| score < 0.5));
    let summary = json!({
        "images": rows.len(),
        "outliers": count(|row| row.score < 0.5),
        "outliers_of_their_class": of_class,
        "flagged": count(Row::flagged),
    });
    tracing::info!(
        "outliers: {} of {} images flagged",
        summary["flagged"],
        text::count(rows.len() as u64)
    );
    Ok(Outcome {
        result: None,
        summary,
    })
}

fn rows(found: &Distances) -> Vec<Row> {
    let overall = deviations(&found.overall);
    let with_class = (found.of_class.iter().enumerate())
        .filter_map(|(row, own)| own.map(|(class, distance)| (row, class, distance)));
    let (mut places, mut classes, mut distances) = (Vec::new(), Vec::new(), Vec::new());
    for (row, class, distance) in with_class {
        places.push(row);
        classes.push(class);
        distances.push(distance);
    }
    let in_class = deviations_in_classes(&classes, &distances);
    let mut class_scores = vec![None; found.image_ids.len()];
    for (place, deviations) in places.into_iter().zip(in_class) {
        class_scores[place] = Some(score(deviations));
    }
    (0..found.image_ids.len())
        .map(|row| Row {
            image_id: found.image_ids[row],
            distance: found.overall[row],
            score: score(overall[row]),
            class_distance: found.of_class[row].map(|(_, distance)| distance),
            class_score: class_scores[row],
        })
        .collect()
}
