//! The layers, methods and classes to explain, and the rows of a batch of maps, for `explain` and, inline, for `extract`.

use prospect_common::{Complaint, Complaints, Result};
use prospect_config::{ClassChoice, ExplainConfig};
use prospect_model::{
    CamMethod, Layer, ModelInfo,
    device::{self, DeviceChoice},
    explain::Explainer,
};
use serde_json::{Value, json};

/// The checked settings of `[explain]` for one network.
#[derive(Clone)]
pub struct Choice {
    pub layers: Vec<ExplainedLayer>,
    classes: Vec<Class>,
    /// Methods left out at a layer, with reasons.
    pub left_out: Vec<String>,
}

/// A layer with the methods that apply to it.
#[derive(Clone)]
pub struct ExplainedLayer {
    pub layer: Layer,
    pub methods: Vec<CamMethod>,
    /// The layers whose maps the explanation needs, this one first.
    pub needs: Vec<Layer>,
}

impl ExplainedLayer {
    /// Rows and columns of its maps.
    pub fn map_size(&self, model: &ModelInfo) -> (usize, usize) {
        match model.graph.shape(self.layer.value) {
            Some([_, _, Some(rows), Some(cols)]) => (*rows as usize, *cols as usize),
            _ => (0, 0),
        }
    }
}

#[derive(Clone)]
enum Class {
    Predicted,
    Labelled,
    /// Rank of the logit, from 0.
    Ranked(usize),
    Fixed(usize),
}

impl Choice {
    /// # Errors
    /// All layers and classes that the network does not have.
    pub fn new(config: &ExplainConfig, model: &ModelInfo) -> Result<Choice> {
        let mut complaints = Complaints::default();
        let mut classes = Vec::new();
        for class in &config.classes {
            match class {
                ClassChoice::Predicted => classes.push(Class::Predicted),
                ClassChoice::Labelled => classes.push(Class::Labelled),
                ClassChoice::Top(n) => classes.push(Class::Ranked(n - 1)),
                ClassChoice::Fixed(name) => match model.class_index(name) {
                    Ok(index) => classes.push(Class::Fixed(index)),
                    Err(why) => complaints.push(Complaint::setting("explain", "classes", why)),
                },
            }
        }
        let (mut layers, mut left_out) = (Vec::new(), Vec::new());
        let named = complaints.keep(model.explanation_layers(&config.layers))?;
        for layer in named.unwrap_or_default() {
            let (methods, why) = model.methods_at(&layer, &config.methods);
            left_out.extend(why);
            if let Some(needs) = complaints.keep(model.head_inputs(&layer))? {
                layers.push(ExplainedLayer {
                    layer,
                    methods,
                    needs,
                });
            }
        }
        complaints.into_result()?;
        Ok(Choice {
            layers,
            classes,
            left_out,
        })
    }

    /// The settings that affect the rows.
    pub fn parameters(&self) -> Value {
        let layers = self.layers.iter().map(|layer| {
            json!({
                "layer": layer.layer.name,
                "methods": layer.methods,
            })
        });
        let classes = self.classes.iter().map(Class::name);
        json!({ "layers": layers.collect::<Vec<_>>(), "classes": classes.collect::<Vec<_>>() })
    }

    /// Maximum number of classes explained per image.
    pub fn n_classes(&self) -> usize {
        self.classes.len()
    }

    /// Whether the rows of an image depend on its label.
    pub fn by_label(&self) -> bool {
        let mut classes = self.classes.iter();
        classes.any(|class| matches!(class, Class::Labelled))
    }

    /// The layers whose maps are needed, without duplicates.
    pub fn maps(&self) -> Vec<Layer> {
        let mut maps: Vec<Layer> = Vec::new();
        for need in self.layers.iter().flat_map(|layer| &layer.needs) {
            if !maps.iter().any(|known| known.name == need.name) {
                maps.push(need.clone());
            }
        }
        maps
    }

    /// One per layer, in float32 whatever the dtype of the backbone.
    pub fn explainers(&self, model: &ModelInfo, device: DeviceChoice) -> Result<Vec<Explainer>> {
        let layers = self.layers.iter().map(|layer| &layer.layer);
        let network = model.load_heads(layers, device::choose(device)?)?;
        let new =
            |layer: &ExplainedLayer| Explainer::new(&network, model, &layer.layer, &layer.methods);
        self.layers.iter().map(new).collect()
    }

    /// Explains a batch at one layer and appends the rows, by image, class in the order of the settings, and method. `maps` are
    /// those of the layer's [`ExplainedLayer::needs`], each `[images, …]`. The head runs for at least `min_jobs` pairs of image
    /// and class, repeating the first one as needed.
    pub fn explain(
        &self,
        layer: &ExplainedLayer,
        explainer: &Explainer,
        images: &[Subject],
        maps: &[&[f32]],
        min_jobs: usize,
        rows: &mut Rows,
    ) -> Result<()> {
        let mut jobs: Vec<(usize, usize)> = Vec::new();
        let mut wanted = Vec::new();
        for (place, image) in images.iter().enumerate() {
            let first = jobs.len();
            for (class, kind) in self.classes_of(image) {
                // A class that is both the prediction and the label is computed once.
                let known = jobs[first..].iter().position(|&(_, other)| other == class);
                let job = known.map_or(jobs.len(), |at| first + at);
                if known.is_none() {
                    jobs.push((place, class));
                }
                wanted.push((image, job, class, kind));
            }
        }
        if layer.methods.is_empty() {
            return Ok(());
        }
        if let Some(&first) = jobs.first() {
            jobs.resize(jobs.len().max(min_jobs), first);
        }
        let explained = explainer.run(maps, images.len(), &jobs)?;
        for (image, job, class, kind) in wanted {
            let explained = &explained[job];
            for (&method, map) in layer.methods.iter().zip(&explained.maps) {
                let logit = image.logits[class];
                let is_cam = method == CamMethod::Cam;
                let residual = explained.cam_logit.filter(|_| is_cam);
                rows.image_ids.push(image.id);
                rows.methods.push(method);
                rows.classes.push(class as i32);
                rows.kinds.push(kind.clone());
                rows.logits.push(logit);
                rows.residuals.push(residual.map(|found| logit - found));
                rows.maps.extend_from_slice(map);
            }
        }
        Ok(())
    }

    fn classes_of(&self, image: &Subject) -> Vec<(usize, String)> {
        let mut classes = Vec::with_capacity(self.classes.len());
        for class in &self.classes {
            let index = match class {
                Class::Predicted => ranked(image.logits, 0),
                Class::Labelled => image.label,
                Class::Ranked(rank) => ranked(image.logits, *rank),
                Class::Fixed(index) => Some(*index),
            };
            classes.extend(index.map(|index| (index, class.kind())));
        }
        classes
    }
}

impl Class {
    /// The value of the column `class_kind`.
    fn kind(&self) -> String {
        match self {
            Class::Predicted => "predicted".into(),
            Class::Labelled => "label".into(),
            Class::Ranked(rank) => format!("top-{}", rank + 1),
            Class::Fixed(_) => "fixed".into(),
        }
    }

    fn name(&self) -> String {
        match self {
            Class::Fixed(index) => format!("class #{index}"),
            other => other.kind(),
        }
    }
}

/// The class with the given rank, from 0, by descending logit; ties go to the first.
fn ranked(logits: &[f32], rank: usize) -> Option<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    if rank >= order.len() {
        return None;
    }
    let better = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
    let (_, class, _) = order.select_nth_unstable_by(rank, better);
    Some(*class)
}

/// An image to explain.
pub struct Subject<'a> {
    pub id: u32,
    /// Logits of the whole network.
    pub logits: &'a [f32],
    /// The network's class of the image's label.
    pub label: Option<usize>,
}

/// Raw rows of one layer, column by column.
#[derive(Default)]
pub struct Rows {
    pub image_ids: Vec<u32>,
    pub methods: Vec<CamMethod>,
    pub classes: Vec<i32>,
    pub kinds: Vec<String>,
    /// Logit of the class, from the whole network.
    pub logits: Vec<f32>,
    /// For CAM, the logit minus `mean(CAM) + bias`.
    pub residuals: Vec<Option<f32>>,
    /// `[rows, cells]`
    pub maps: Vec<f32>,
}

impl Rows {
    pub fn append(&mut self, more: Rows) {
        self.image_ids.extend(more.image_ids);
        self.methods.extend(more.methods);
        self.classes.extend(more.classes);
        self.kinds.extend(more.kinds);
        self.logits.extend(more.logits);
        self.residuals.extend(more.residuals);
        self.maps.extend(more.maps);
    }

    /// Splits off the rows from `at` on.
    pub fn split_off(&mut self, at: usize) -> Rows {
        let cells = self.maps.len() / self.len().max(1);
        Rows {
            image_ids: self.image_ids.split_off(at),
            methods: self.methods.split_off(at),
            classes: self.classes.split_off(at),
            kinds: self.kinds.split_off(at),
            logits: self.logits.split_off(at),
            residuals: self.residuals.split_off(at),
            maps: self.maps.split_off(at * cells),
        }
    }

    pub fn len(&self) -> usize {
        self.image_ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.image_ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_rank_by_class() {
        let logits = [1.0, 3.0, 3.0, -1.0];
        let order: Vec<Option<usize>> = (0..5).map(|rank| ranked(&logits, rank)).collect();
        assert_eq!(order, [Some(1), Some(2), Some(0), Some(3), None]);
    }
}
