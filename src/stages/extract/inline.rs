//! Inline explanation of each batch, without storing maps.

use std::collections::HashMap;

use half::{f16, slice::HalfFloatSliceExt};
use prospect_common::Result;
use prospect_model::{ModelInfo, explain::Explainer, forward::Batch};

use super::{
    super::explain::rows::{Choice, Rows, Subject},
    columns::half,
    image_row::ImageRow,
};

pub struct Inline {
    choice: Choice,
    explainers: Vec<Explainer>,
    classes: HashMap<String, usize>,
    n_classes: usize,
}

impl Inline {
    pub fn new(choice: Choice, explainers: Vec<Explainer>, model: &ModelInfo) -> Inline {
        Inline {
            choice,
            explainers,
            classes: model.class_by_name(),
            n_classes: model.graph.n_classes() as usize,
        }
    }

    /// The same, for another thread; the weights are shared.
    pub fn share(&self) -> Inline {
        Inline {
            choice: self.choice.clone(),
            explainers: self.explainers.iter().map(Explainer::share).collect(),
            classes: self.classes.clone(),
            n_classes: self.n_classes,
        }
    }

    /// The rows of a batch, one set per explained layer. Consumes the batch's maps, rounded to half floats as stored maps are.
    ///
    /// The head always runs for `batch_size` images with all classes, so that results do not depend on the batch.
    pub fn explain(
        &self,
        images: &[ImageRow],
        batch: &mut Batch,
        batch_size: usize,
    ) -> Result<Vec<Rows>> {
        let maps: Vec<Vec<f32>> = std::mem::take(&mut batch.maps)
            .into_iter()
            .map(|mut map| {
                let stored: Vec<f16> = map.iter().map(half).collect();
                stored.convert_to_f32_slice(&mut map);
                map
            })
            .collect();
        let layers = self.choice.maps();
        let subjects: Vec<Subject> = images
            .iter()
            .zip(batch.logits.chunks_exact(self.n_classes))
            .map(|(image, logits)| Subject {
                id: image.image_id,
                logits,
                label: (image.label_name.as_ref()).and_then(|name| self.classes.get(name).copied()),
            })
            .collect();
        let mut all = Vec::with_capacity(self.explainers.len());
        for (layer, explainer) in self.choice.layers.iter().zip(&self.explainers) {
            let needed: Vec<&[f32]> = (layer.needs.iter())
                .filter_map(|need| layers.iter().position(|map| map.name == need.name))
                .filter_map(|index| maps.get(index).map(Vec::as_slice))
                .collect();
            let mut rows = Rows::default();
            let min_jobs = batch_size * self.choice.n_classes();
            (self.choice).explain(layer, explainer, &subjects, &needed, min_jobs, &mut rows)?;
            all.push(rows);
        }
        Ok(all)
    }

    /// Whether the rows of an image depend on its label.
    pub fn by_label(&self) -> bool {
        self.choice.by_label()
    }

    /// Name and number of cells of each explained layer.
    pub fn layers(&self) -> Vec<(String, usize)> {
        let layers = self.choice.layers.iter().zip(&self.explainers);
        layers
            .map(|(layer, explainer)| {
                let [_, rows, cols] = explainer.shape();
                (layer.layer.name.clone(), rows * cols)
            })
            .collect()
    }
}
