//! Explains one part, from `maps` or `cams`.

use half::f16;
use prospect_common::{Error, Result};
use prospect_config::MapStorage;
use prospect_engine::{
    Context,
    schema::{explanations, maps, predictions},
};
use prospect_model::explain::Explainer;
use prospect_store::{
    self as store, Manifest, PartWriter,
    declare::{Column, List},
};

use super::{
    images::Images,
    rows::{Choice, ExplainedLayer, Rows, Subject},
    tables::{self, Counts},
};

/// Map values in memory before a row group is written: 64 MiB.
const MAX_BUFFERED_VALUES: usize = 16 << 20;

/// Explains parts.
pub struct PartExplainer<'a> {
    pub ctx: &'a Context<'a>,
    pub manifest: &'a Manifest,
    pub choice: &'a Choice,
    /// One per layer; empty if `extract` explained inline.
    pub explainers: &'a [Explainer],
    pub images: &'a Images,
}

impl PartExplainer<'_> {
    /// Writes the rows of a part.
    pub fn explain(&self, part: usize, files: &mut PartWriter, counts: &mut Counts) -> Result<()> {
        // The table exists even without rows.
        let empty = tables::explanations("", (1, 1), Rows::default(), self.images, counts)?;
        files.write(explanations::NAME, &empty)?;
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
        let size = layer.map_size(self.ctx.model()?);
        let name = &layer.layer.name;
        let batch = tables::explanations(name, size, rows, self.images, counts)?;
        files.write(explanations::NAME, &batch)
    }

    fn explain_cams(&self, part: usize, files: &mut PartWriter, counts: &mut Counts) -> Result<()> {
        for layer in &self.choice.layers {
            let (height, width) = layer.map_size(self.ctx.model()?);
            let name = &layer.layer.name;
            for rows in tables::read_cams(self.ctx.run, self.manifest, part, name, height * width) {
                self.ctx.cancel.check()?;
                self.write(layer, rows?, files, counts)?;
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
            // The same batches as inline, for the same results.
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
                (self.choice).explain(layer, explainer, &subjects, &values, 0, &mut rows)?;
                if rows.maps.len() > MAX_BUFFERED_VALUES {
                    self.write(layer, std::mem::take(&mut rows), files, counts)?;
                }
            }
            self.write(layer, rows, files, counts)?;
        }
        Ok(())
    }

    fn predictions(&self, part: usize) -> Result<Predictions> {
        let classes = self.ctx.model()?.graph.n_classes() as usize;
        let mut found = Predictions {
            classes,
            ids: Vec::new(),
            logits: Vec::new(),
        };
        let columns = (predictions::image_id, predictions::logits);
        for batch in self.ctx.run.rows(self.manifest, columns).part(part) {
            let batch = batch?;
            let (ids, logits) = batch.columns();
            batch.check_length(logits, classes)?;
            found.ids.extend(ids.values());
            found.logits.extend(logits.values());
        }
        Ok(found)
    }
}

/// Image ids of a part, ascending, and their logits `[images, classes]`.
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

/// Reads a layer's maps of one part in batches of any size.
struct MapReader {
    layer: String,
    rows: store::Rows<(Column<u32>, Column<List<f16>>)>,
    /// Read but not yet returned, like `values`.
    ids: Vec<u32>,
    values: Vec<f32>,
}

impl MapReader {
    fn new(explainer: &PartExplainer, part: usize, layer: &str) -> MapReader {
        let PartExplainer { ctx, manifest, .. } = explainer;
        let rows = (ctx.run.rows(manifest, (maps::image_id, maps::map)))
            .part(part)
            .only(maps::layer, layer)
            .batch_rows(ctx.config.model.batch_size);
        MapReader {
            layer: layer.to_string(),
            rows,
            ids: Vec::new(),
            values: Vec::new(),
        }
    }

    /// The maps of the next images, which must have these ids.
    fn next(&mut self, ids: &[u32]) -> Result<Vec<f32>> {
        while self.ids.len() < ids.len() {
            let Some(batch) = self.rows.next() else { break };
            let batch = batch?;
            let (ids, maps) = batch.columns();
            self.values.extend(maps.to_f32());
            self.ids.extend(ids.values());
        }
        if !self.ids.starts_with(ids) {
            return Err(Error::Missing {
                what: format!(
                    "the map of image {} at {} in table maps",
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
