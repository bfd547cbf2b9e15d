//! Possible shortcuts: attributes correlated with labels, and units of the network that fire for a mark.
//!
//! Part 0 compares the images' attributes with labels and accuracy: `associations` and `groups`. Parts 1..=L search the layers for
//! units that fire in one small place for one class (`shortcut_candidates`). The last part searches the pictures for fixed patterns and
//! colour casts of one class, ranks them together with the candidates and the units that the classifier relies on, measures the effect of ablating them, and draws contact sheets of the best (`shortcuts`).

mod ablation;
mod association;
mod attributes;
mod boxes;
mod casts;
mod estimate;
mod evaluation;
mod layer;
mod patterns;
mod sheets;
mod suspects;
mod tables;
#[cfg(test)]
mod tests;

use prospect_analysis::audit::groups::{correct, groups};
use prospect_common::{
    Result,
    text::{escaped, percent},
};
use prospect_engine::{
    Context, Needs, Outcome, Stage,
    schema::{associations, groups, layers, shortcuts, units},
    tables::layers::{Layer, input_spec, read_layers},
};
use prospect_store::{PartWriter, StageWriter};
use serde_json::{Value, json};

use self::{
    association::{Association, MIN_IMAGES, rank},
    attributes::{Attribute, Attributes},
    boxes::ObjectBoxes,
    evaluation::Evaluation,
    patterns::View,
    tables::shortcut_candidates,
};

/// Minimum permutations per attribute.
const PERMUTATIONS_PER_ATTRIBUTE: usize = 40;

pub const STAGE: Stage = Stage {
    name: "shortcuts",
    version: 3,
    about: "find attributes and units that may be shortcuts to labels",
    needs: Needs::Named(&["scan", "extract", "patches", "explain", "probe"]),
    writes: &[
        &associations::TABLE,
        &groups::TABLE,
        &shortcuts::TABLE,
        &shortcut_candidates::TABLE,
    ],
    findings: None,
    reuse: None,
    parameters,
    estimate: estimate::estimate,
    run,
};

fn parameters(ctx: &Context) -> Result<Value> {
    let audit = &ctx.config.audit;
    Ok(json!({
        "attributes": audit.attributes,
        // The result of `scan` does not depend on the metadata's attributes.
        "metadata": ctx.metadata(|metadata| metadata.digest.clone())?,
        "permutations": audit.permutations,
        "seed": audit.seed,
        "whole": audit.whole,
    }))
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let manifest = ctx.run.manifest()?;
    let evaluation = Evaluation::read(ctx, &manifest)?;
    let has_units = manifest.has(layers::NAME) && manifest.has(units::NAME);
    let layers: Vec<Layer> = if has_units && evaluation.classes.len() > 1 {
        read_layers(ctx.run, &manifest)?
    } else {
        Vec::new()
    };
    let last = layers.len() + 1;
    writer.set_parts_total(last + 1)?;
    let bar = (ctx.progress).stage("shortcuts", last as u64 + 1, "parts");
    bar.set_done(writer.parts_done() as u64);
    if !writer.has_part(0) {
        bar.note("attributes");
        let attributes = Attributes::read(ctx, &manifest)?;
        for (name, reason) in &attributes.left_out {
            tracing::info!(
                "attribute {} is left out: {}",
                escaped(name),
                escaped(reason)
            );
        }
        let mut part = writer.part(0)?;
        associate(ctx, &attributes.list, &evaluation, &mut part)?;
        writer.commit(part)?;
        bar.advance(1);
    }
    let boxes = match layers.is_empty() {
        true => None,
        false => ObjectBoxes::read(ctx, &manifest)?,
    };
    for (part, layer) in (1..).zip(&layers) {
        if writer.has_part(part) {
            continue;
        }
        bar.note(&layer.name);
        let found = layer::candidates(ctx, &manifest, layer, &evaluation, boxes.as_ref())?;
        let mut files = writer.part(part)?;
        if !found.is_empty() {
            files.write(
                shortcut_candidates::NAME,
                &tables::candidates(&found, &evaluation)?,
            )?;
        }
        writer.commit(files)?;
        bar.advance(1);
    }
    if !writer.has_part(last) {
        bar.note("ranking");
        let manifest = ctx.run.manifest()?;
        let mut files = writer.part(last)?;
        if !layers.is_empty() {
            let candidates = tables::read_candidates(ctx.run, &manifest, &evaluation)?;
            let spec = input_spec(&manifest)?;
            let view = View::new(ctx.config.audit.whole, &spec);
            let patterns = patterns::search(ctx, &manifest, &evaluation, &view)?;
            let casts = casts::search(ctx, &manifest, &evaluation)?;
            let found = suspects::suspects(
                ctx,
                &manifest,
                &layers,
                &evaluation,
                suspects::Marks {
                    candidates,
                    patterns,
                    casts,
                },
                &view,
                boxes.as_ref(),
            )?;
            let pictures = sheets::draw(
                ctx,
                &manifest,
                &layers,
                &view,
                &evaluation,
                &found,
                &mut files,
            )?;
            if !found.is_empty() {
                files.write(
                    shortcuts::NAME,
                    &tables::shortcuts(&found, &evaluation, &pictures)?,
                )?;
            }
        }
        writer.commit(files)?;
        bar.advance(1);
    }
    let summary = summary(ctx)?;
    bar.finish(&line(&summary));
    Ok(Outcome {
        result: None,
        summary,
    })
}

/// Writes `associations`, strongest first, and `groups`.
fn associate(
    ctx: &Context,
    attributes: &[Attribute],
    evaluation: &Evaluation,
    part: &mut PartWriter,
) -> Result<()> {
    let audit = &ctx.config.audit;
    // Few permutations give no p-value that is small enough among many attributes.
    let permutations = match audit.permutations {
        0 => 0,
        n => n.max(PERMUTATIONS_PER_ATTRIBUTE * attributes.len()),
    };
    let mut found = Vec::new();
    let mut all_groups = Vec::new();
    for attribute in attributes {
        ctx.cancel.check()?;
        let association = Association::of(attribute, evaluation, permutations, audit.seed);
        let Some(association) = association else {
            continue;
        };
        let images = (attribute.of_image.iter())
            .zip(&evaluation.label)
            .zip(&evaluation.correct)
            .filter_map(|((value, label), correct)| Some(((*value)?, (*label)?, *correct)));
        all_groups.push((attribute, groups(images, MIN_IMAGES)));
        found.push((attribute, association));
    }
    correct(all_groups.iter_mut().flat_map(|(_, groups)| groups));
    for (attribute, groups) in &all_groups {
        part.write(
            groups::NAME,
            &tables::groups(attribute, groups, evaluation)?,
        )?;
    }
    rank(&mut found);
    if !found.is_empty() {
        part.write(
            associations::NAME,
            &tables::associations(&found, evaluation)?,
        )?;
    }
    Ok(())
}

/// Reads the tables back: after a resume, earlier rows are not in memory.
fn summary(ctx: &Context) -> Result<Value> {
    let manifest = ctx.run.manifest()?;
    let mut strongest = Value::Null;
    let mut attributes = 0;
    if manifest.has(associations::NAME) {
        let columns = (
            associations::attribute,
            associations::ami,
            associations::q_value,
        );
        for batch in ctx.run.rows(&manifest, columns) {
            for (attribute, ami, q_value) in batch?.iter() {
                if attributes == 0 {
                    strongest = json!({ "attribute": attribute, "ami": ami, "q_value": q_value });
                }
                attributes += 1;
            }
        }
    }
    let (mut suspects, mut flagged) = (0, 0);
    let mut classes: Vec<String> = Vec::new();
    if manifest.has(shortcuts::NAME) {
        let columns = (shortcuts::class_name, shortcuts::flagged);
        for batch in ctx.run.rows(&manifest, columns) {
            for (class, is_flagged) in batch?.iter() {
                suspects += 1;
                flagged += u32::from(is_flagged);
                if is_flagged && !classes.iter().any(|known| known == class) {
                    classes.push(class.to_string());
                }
            }
        }
    }
    let unseen = match manifest.has(layers::NAME) {
        true => patterns::unseen(ctx, &manifest, &input_spec(&manifest)?)?,
        false => None,
    };
    Ok(json!({
        "attributes": attributes,
        "strongest_association": strongest,
        "suspects": suspects,
        "flagged": flagged,
        "flagged_classes": classes,
        "unseen": unseen,
        "whole": ctx.config.audit.whole,
    }))
}

fn line(summary: &Value) -> String {
    let classes = summary["flagged_classes"].as_array();
    let classes: Vec<&str> = classes
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut line = format!("{} attributes", summary["attributes"]);
    if classes.is_empty() {
        line += "; no mark or cast on the pictures of one class";
    } else {
        line += &format!(
            "; marks or casts on the pictures of {}",
            escaped(&classes.join(", "))
        );
    }
    if let Some(unseen) = summary["unseen"].as_f64().filter(|unseen| *unseen >= 0.001) {
        line += &format!(
            "; {} of the pictures lies outside the crop",
            percent(unseen)
        );
        line += match summary["whole"].as_bool() {
            Some(true) => ", and was searched too",
            _ => ", where no mark is seen",
        };
    }
    line
}
