//! Where the network looked: class activation maps of every image, from the layers' maps and the head of the network alone.
//!
//! Part i explains the images of `extract`'s part i: from the stored table `maps` or, where `extract` explained inline, from
//! the rows that it left in `cams`. Both ways give the same numbers.

mod images;
pub mod pictures;
pub mod rows;
pub(super) mod tables;

use serde_json::{Value, json};

use self::{
    images::Images,
    rows::{Choice, ExplainedLayer, Rows, Subject},
    tables::Counts,
};
use super::{Context, Outcome, Stage, columns::Columns, estimate, layers};
use crate::{
    boxes::Boxes,
    config::MapStorage,
    error::{Error, Result},
    model::explain::Explainer,
    store::{Manifest, PartWriter, StageWriter, TableReader},
};

pub const STAGE: Stage = Stage {
    name: "explain",
    version: 1,
    about: "where the network looked: Grad-CAM and CAM of every image; writes explanations",
    needs: &["scan", "extract"],
    parameters,
    estimate: estimate::explain,
    run,
};

/// Map values held before they are written as a row group: 64 MiB.
const MAX_HELD_VALUES: usize = 16 << 20;

fn parameters(ctx: &Context) -> Result<Value> {
    let choice = Choice::new(&ctx.config.explain, ctx.model()?)?;
    let mut parameters = choice.parameters();
    parameters["maps"] = json!(ctx.config.explain.maps);
    parameters["boxes"] = json!(Boxes::of_config(ctx.config)?.map(|boxes| boxes.digest()));
    Ok(parameters)
}

fn run(ctx: &Context, writer: &mut StageWriter) -> Result<Outcome> {
    let model = ctx.model()?;
    let choice = Choice::new(&ctx.config.explain, model)?;
    for why in &choice.refused {
        tracing::warn!("{why}");
    }
    let manifest = ctx.run.manifest()?;
    let n_parts = (manifest.stages.get("extract"))
        .and_then(|stage| stage.parts_total)
        .unwrap_or(0);
    writer.set_parts_total(n_parts)?;
    let n_images = ctx.run.read(&manifest, "predictions").rows();
    let bar = ctx.progress.stage("explain", n_images, "images");
    if (0..n_parts).any(|part| !writer.has_part(part)) {
        let spec = layers::input_spec(&manifest)?;
        let images = Images::read(ctx, &manifest, model, &spec)?;
        let explainers = match ctx.config.explain.maps {
            MapStorage::Inline => Vec::new(),
            MapStorage::Stored => choice.explainers(model, ctx.config.model.device)?,
        };
        let source = Source {
            ctx,
            manifest: &manifest,
            choice: &choice,
            explainers: &explainers,
            images: &images,
        };
        let mut counts = Counts::default();
        for part in 0..n_parts {
            let n = (ctx.run.read(&manifest, "predictions").part(part)).rows();
            if !writer.has_part(part) {
                let mut files = writer.part(part)?;
                source.explain_part(part, &mut files, &mut counts)?;
                writer.commit(files)?;
            }
            bar.advance(n);
        }
        if counts.not_finite > 0 {
            tracing::warn!(
                "{} maps held numbers that are not finite; they are stored as zeros with zero_map = true",
                counts.not_finite
            );
        }
    }
    let mut summary = summary(ctx)?;
    summary["left_out"] = json!(choice.refused);
    bar.finish(&line(&summary));
    Ok(Outcome {
        result: None,
        summary,
    })
}

/// Where a part's rows come from.
struct Source<'a> {
    ctx: &'a Context<'a>,
    manifest: &'a Manifest,
    choice: &'a Choice,
    /// One for each layer; none where `extract` has explained already.
    explainers: &'a [Explainer],
    images: &'a Images,
}

impl Source<'_> {
    fn explain_part(&self, part: usize, files: &mut PartWriter, counts: &mut Counts) -> Result<()> {
        // The table is there even if nothing is explained.
        let nothing = tables::explanations("", (1, 1), Rows::default(), self.images, counts)?;
        files.write("explanations", &nothing)?;
        match self.ctx.config.explain.maps {
            MapStorage::Stored => self.explain_maps(part, files, counts),
            MapStorage::Inline => self.explain_cams(part, files, counts),
        }
    }

    fn write(
        &self,
        layer: &ExplainedLayer,
        rows: Rows,
        files: &mut PartWriter,
        counts: &mut Counts,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let sides = layer.sides(self.ctx.model()?);
        let name = &layer.layer.name;
        let batch = tables::explanations(name, sides, rows, self.images, counts)?;
        files.write("explanations", &batch)
    }

    fn explain_cams(&self, part: usize, files: &mut PartWriter, counts: &mut Counts) -> Result<()> {
        for layer in &self.choice.layers {
            let (height, width) = layer.sides(self.ctx.model()?);
            let rows = (self.ctx.run.read(self.manifest, "cams"))
                .part(part)
                .only("layer", &layer.layer.name);
            for batch in rows {
                self.ctx.cancel.check()?;
                let batch = batch?;
                let columns = Columns {
                    run: self.ctx.run,
                    table: "cams",
                    batch: &batch,
                };
                let rows = tables::read_cams(&columns, height * width)?;
                self.write(layer, rows, files, counts)?;
            }
        }
        Ok(())
    }

    fn explain_maps(&self, part: usize, files: &mut PartWriter, counts: &mut Counts) -> Result<()> {
        let predictions = self.predictions(part)?;
        for (layer, explainer) in self.choice.layers.iter().zip(self.explainers) {
            let mut maps = Vec::new();
            for need in &layer.needs {
                maps.push(MapReader::new(self, part, &need.name));
            }
            let mut rows = Rows::default();
            // In the batches of extract: explaining inline gives the same numbers.
            for ids in predictions.ids.chunks(self.ctx.config.model.batch_size) {
                self.ctx.cancel.check()?;
                let mut values = Vec::with_capacity(maps.len());
                for map in &mut maps {
                    values.push(map.next(ids)?);
                }
                let values: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
                let subjects: Vec<Subject> = ids
                    .iter()
                    .map(|&id| Subject {
                        id,
                        logits: predictions.logits(id),
                        label: self.images.label(id),
                    })
                    .collect();
                (self.choice).explain(layer, explainer, &subjects, &values, &mut rows)?;
                if rows.maps.len() > MAX_HELD_VALUES {
                    self.write(layer, std::mem::take(&mut rows), files, counts)?;
                }
            }
            self.write(layer, rows, files, counts)?;
        }
        Ok(())
    }

    fn predictions(&self, part: usize) -> Result<Predictions> {
        let classes = self.ctx.model()?.graph.n_classes() as usize;
        let mut predictions = Predictions {
            classes,
            ids: Vec::new(),
            logits: Vec::new(),
        };
        let rows = (self.ctx.run.read(self.manifest, "predictions"))
            .part(part)
            .columns(&["image_id", "logits"]);
        for batch in rows {
            let batch = batch?;
            let columns = Columns {
                run: self.ctx.run,
                table: "predictions",
                batch: &batch,
            };
            predictions.ids.extend(columns.image_ids()?);
            predictions
                .logits
                .extend(columns.float_lists("logits", classes)?);
        }
        Ok(predictions)
    }
}

/// A part's images, ascending, and their logits `[images, classes]`.
struct Predictions {
    classes: usize,
    ids: Vec<u32>,
    logits: Vec<f32>,
}

impl Predictions {
    fn logits(&self, id: u32) -> &[f32] {
        let row = self.ids.partition_point(|&other| other < id);
        &self.logits[row * self.classes..][..self.classes]
    }
}

/// Reads a layer's maps of one part in batches of any length.
struct MapReader<'a> {
    source: &'a Source<'a>,
    layer: String,
    rows: TableReader,
    /// Read and not yet asked for.
    ids: Vec<u32>,
    values: Vec<f32>,
}

impl<'a> MapReader<'a> {
    fn new(source: &'a Source<'a>, part: usize, layer: &str) -> MapReader<'a> {
        let rows = (source.ctx.run.read(source.manifest, "maps"))
            .part(part)
            .only("layer", layer)
            .columns(&["image_id", "map"])
            .batch_rows(source.ctx.config.model.batch_size);
        MapReader {
            source,
            layer: layer.to_string(),
            rows,
            ids: Vec::new(),
            values: Vec::new(),
        }
    }

    /// The maps of these images, which must come next.
    fn next(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        while self.ids.len() < ids.len() {
            let Some(batch) = self.rows.next() else { break };
            let batch = batch?;
            let columns = Columns {
                run: self.source.ctx.run,
                table: "maps",
                batch: &batch,
            };
            let length = columns.list_length("map")?;
            self.values.extend(columns.float_lists("map", length)?);
            self.ids.extend(columns.image_ids()?);
        }
        if !self.ids.starts_with(ids) {
            return Err(Error::Missing {
                what: format!(
                    "the map of image {} at {} in the table maps",
                    ids.first().copied().unwrap_or_default(),
                    self.layer
                ),
                next: "run `prospect verify`, then `prospect run extract` again".into(),
            });
        }
        let length = self.values.len() / self.ids.len().max(1);
        let rest = self.values.split_off(length * ids.len());
        self.ids.drain(..ids.len());
        Ok(std::mem::replace(&mut self.values, rest))
    }
}

/// Figures over the whole table, also of parts that an earlier run wrote.
fn summary(ctx: &Context) -> Result<Value> {
    let manifest = ctx.run.manifest()?;
    let (mut rows, mut zero_maps) = (0u64, 0u64);
    let (mut worst, mut worst_relative) = (None::<f64>, None::<f64>);
    let names = ["class_kind", "zero_map", "logit", "residual"];
    for batch in ctx.run.read(&manifest, "explanations").columns(&names) {
        let batch = batch?;
        let columns = Columns {
            run: ctx.run,
            table: "explanations",
            batch: &batch,
        };
        rows += batch.num_rows() as u64;
        let kinds = columns.texts("class_kind")?;
        let zero = columns.integers("zero_map")?;
        zero_maps += zero.iter().flatten().filter(|&zero| zero != 0).count() as u64;
        let (logits, residuals) = (columns.numbers("logit")?, columns.numbers("residual")?);
        for row in 0..batch.num_rows() {
            let Some(residual) = super::columns::number(&residuals, row) else {
                continue;
            };
            let residual = residual.abs();
            worst = Some(worst.unwrap_or(0.0).max(residual));
            // Relative to the largest logit: another class's may be next to 0.
            if kinds.value(row) == "predicted" {
                let relative = residual / logits.value(row).abs().max(f64::MIN_POSITIVE);
                worst_relative = Some(worst_relative.unwrap_or(0.0).max(relative));
            }
        }
    }
    Ok(json!({
        "rows": rows,
        "zero_maps": zero_maps,
        "worst_cam_residual": worst,
        "worst_cam_residual_relative": worst_relative,
    }))
}

fn line(summary: &Value) -> String {
    let mut line = format!("{} maps", summary["rows"]);
    if summary["zero_maps"] != 0 {
        line += &format!(", {} of them zero", summary["zero_maps"]);
    }
    if let (Some(worst), Some(relative)) = (
        summary["worst_cam_residual"].as_f64(),
        summary["worst_cam_residual_relative"].as_f64(),
    ) {
        line += &format!(
            "; CAM misses a logit by {worst:.1e} at most ({relative:.1e} of the predicted class's)"
        );
    }
    line
}
