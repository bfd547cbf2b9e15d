//! Explains one image: the network's predictions, class activation maps and their picture.

use std::collections::BTreeSet;

use prospect_analysis::{
    space::linalg::softmax,
    units::saliency::{self, MapSummary},
};
use prospect_common::{Complaint, Complaints, Error, Origin, Result, text};
use prospect_config::Config;
use prospect_dataset::image::{self, DecodeOptions, Geometry, ImageError, InputSpec, RgbImage};
use prospect_model::{
    CamMethod, Layer, LayerChoice, ModelInfo, ReluRule,
    backprop::Backprop,
    device,
    executor::Precision,
    explain::Explainer,
    forward::{Forward, Wanted},
};
use prospect_output::picture::{
    COLUMNS, Panel, Picture, PictureError, PixelBox, gradient_picture,
    heat::{Heat, Scene, upsample},
    side_by_side,
};

/// Longest side of a panel's photo in pixels.
const SIDE: u32 = 512;

/// Explains images one by one.
pub struct ImageExplainer {
    spec: InputSpec,
    decode: DecodeOptions,
    layer: Layer,
    names: Vec<String>,
    class_by_name: std::collections::HashMap<String, usize>,
    forward: Forward,
    cam: Explainer,
    /// Methods with separate panels.
    methods: Vec<CamMethod>,
    /// Guided backpropagation from the logits, and the index of Grad-CAM among the methods of `cam`.
    guided: Option<(Backprop, usize)>,
}

/// The explanation of one image.
pub struct Explanation {
    about: Vec<String>,
    image: RgbImage,
    geometry: Geometry,
    pub classes: Vec<ClassExplanation>,
}

/// The explanation for one class.
pub struct ClassExplanation {
    name: String,
    /// "predicted", "label" or both.
    kind: Option<&'static str>,
    pub logit: f32,
    pub p: f32,
    /// Per shown method, `[rows, columns]`.
    pub maps: Vec<Vec<f32>>,
    /// The logit's guided gradient `[3, height, width]` at the input, and the Grad-CAM map.
    guided: Option<(Vec<f32>, Vec<f32>)>,
}

impl ClassExplanation {
    /// `tench (predicted)`.
    pub fn title(&self) -> String {
        match self.kind {
            Some(kind) => format!("{} ({kind})", self.name),
            None => self.name.clone(),
        }
    }
}

impl ImageExplainer {
    /// Loads the network and compiles the parts it needs.
    ///
    /// # Errors
    /// A layer that is not spatial or does not lead to the logits; a method that is not exact there; a model that cannot run.
    pub fn new(
        config: &Config,
        model: &ModelInfo,
        layer: Option<&str>,
        methods: &[CamMethod],
        guided: bool,
    ) -> Result<ImageExplainer> {
        let spec = model.input_spec(&config.input)?;
        let layer = match layer {
            None => model.explanation_layers(&LayerChoice::Auto)?,
            Some(name) => model.named_layers(&[name.to_string()], Origin::Option("--layer"))?,
        };
        let layer = layer.into_iter().next().ok_or_else(|| {
            Error::usage(format!(
                "{} has no spatial layer before its head; choose a layer with --layer",
                model.path.display()
            ))
        })?;
        let (_, refused) = model.methods_at(&layer, methods);
        let refused = refused.into_iter().map(Complaint::new);
        refused.collect::<Complaints>().into_result()?;
        let mut computed = methods.to_vec();
        if guided && !computed.contains(&CamMethod::GradCam) {
            computed.push(CamMethod::GradCam);
        }
        let network = model.load(device::choose(config.model.device)?, Precision::Float32)?;
        let cam = Explainer::new(&network, model, &layer, &computed)?;
        let wanted = Wanted {
            feature: layer.clone(),
            units: Vec::new(),
            maps: cam.inputs().to_vec(),
        };
        let guided = match computed
            .iter()
            .position(|&method| method == CamMethod::GradCam)
        {
            Some(grad_cam) if guided => {
                let target = model.graph.logits;
                let back = Backprop::new(&network, target, ReluRule::Guided, spec.mean, spec.std)?;
                if !back.smooth().is_empty() {
                    tracing::warn!(
                        "the guided rule is undefined for {}: using their plain gradients",
                        back.smooth().join(", ")
                    );
                }
                Some((back, grad_cam))
            }
            _ => None,
        };
        Ok(ImageExplainer {
            decode: config.images.decode_options(),
            names: model.classes(),
            class_by_name: model.class_by_name(),
            forward: Forward::new(&network, &wanted, spec.mean, spec.std)?,
            spec,
            layer,
            cam,
            methods: methods.to_vec(),
            guided,
        })
    }

    pub fn methods(&self) -> &[CamMethod] {
        &self.methods
    }

    pub fn summary(&self, map: &[f32]) -> MapSummary {
        let [_, rows, cols] = self.cam.shape();
        saliency::summary(map, rows, cols)
    }

    /// The upright image, the network's input and the mapping between them.
    pub fn decode(&self, bytes: &[u8]) -> Result<(RgbImage, Vec<u8>, Geometry), ImageError> {
        let image = image::decode(bytes, &self.decode)?;
        let (pixels, geometry) = image::preprocess(&image, &self.spec)?;
        Ok((image, pixels, geometry))
    }

    /// Explains an image for `classes`; if empty, for the predicted class and the label's.
    pub fn explain(
        &self,
        name: &str,
        image: RgbImage,
        pixels: &[u8],
        geometry: Geometry,
        classes: &BTreeSet<usize>,
        label: Option<&str>,
    ) -> Result<Explanation> {
        let batch = self.forward.run(pixels, 1)?;
        let logits: Vec<f64> = batch.logits.iter().map(|&logit| logit.into()).collect();
        let p = softmax(&logits);
        let predicted = argmax(&batch.logits);
        let labelled = label.and_then(|label| self.class_by_name.get(label).copied());
        let mut wanted: Vec<usize> = classes.iter().copied().collect();
        if wanted.is_empty() {
            wanted.push(predicted);
            wanted.extend(labelled.filter(|&class| class != predicted));
        }
        let maps: Vec<&[f32]> = batch.maps.iter().map(Vec::as_slice).collect();
        let jobs: Vec<(usize, usize)> = wanted.iter().map(|&class| (0, class)).collect();
        let found = self.cam.run(&maps, 1, &jobs)?;
        let mut explained = Vec::with_capacity(wanted.len());
        for (&class, mut found) in wanted.iter().zip(found) {
            for map in &mut found.maps {
                if saliency::clear_if_not_finite(map) {
                    tracing::warn!("{}: a map is not finite; using zeros", text::escaped(name));
                }
            }
            let guided = match &self.guided {
                None => None,
                Some((back, grad_cam)) => {
                    Some((back.run(pixels, &[class])?, found.maps[*grad_cam].clone()))
                }
            };
            found.maps.truncate(self.methods.len());
            explained.push(ClassExplanation {
                name: self.names[class].clone(),
                kind: match (class == predicted, Some(class) == labelled) {
                    (true, true) => Some("predicted, label"),
                    (true, false) => Some("predicted"),
                    (false, true) => Some("label"),
                    (false, false) => None,
                },
                logit: batch.logits[class],
                p: p[class] as f32,
                maps: found.maps,
                guided,
            });
        }
        let mut about = vec![
            name.to_string(),
            format!("{} x {} pixels", image.width, image.height),
        ];
        about.extend(label.map(|label| format!("label {label}")));
        Ok(Explanation {
            about,
            image,
            geometry,
            classes: explained,
        })
    }
}

impl Explanation {
    /// The photo and a panel per class and method. If they do not fit in a row, each class starts a new row.
    pub fn picture(&self, explainer: &ImageExplainer) -> Result<Picture, PictureError> {
        let scene = Scene::new(&self.image, &self.geometry, SIDE)?;
        let [_, rows, cols] = explainer.cam.shape();
        let (height, width) = self.geometry.input_size();
        let layer = &explainer.layer.name;
        let mut panels: Vec<Panel> = vec![scene.photo(self.about.clone())];
        let per_class = explainer.methods.len() + usize::from(explainer.guided.is_some());
        let one_row = self.classes.len() * per_class < COLUMNS;
        let columns = if one_row || per_class == 1 {
            COLUMNS
        } else {
            1 + per_class
        };
        for (row, class) in self.classes.iter().enumerate() {
            if row > 0 && columns == 1 + per_class {
                panels.push(Panel::empty());
            }
            let lines = |what: &str| {
                vec![
                    class.title(),
                    format!(
                        "logit {}, p {:.3}",
                        text::figure(class.logit.into()),
                        class.p
                    ),
                    format!("{what} at {layer}"),
                ]
            };
            for (method, map) in explainer.methods.iter().zip(&class.maps) {
                panels.push(scene.heat(&Heat {
                    map,
                    rows,
                    cols,
                    lines: lines(method.name()),
                })?);
            }
            if let Some((gradient, map)) = &class.guided {
                let size = (height as usize, width as usize);
                let guided = guided_grad_cam(gradient, size, map, (rows, cols))?;
                let whole = PixelBox::whole(width, height);
                let picture = gradient_picture(&guided, size, whole, (width, height))?;
                panels.push(scene.input(&picture, lines("guided gradcam"))?);
            }
        }
        side_by_side(&panels, columns)
    }
}

/// Selvaraju et al. 2017: the guided gradient `[3, height, width]` times the rectified Grad-CAM `[rows, cols]`, enlarged.
fn guided_grad_cam(
    gradient: &[f32],
    size: (usize, usize),
    map: &[f32],
    cells: (usize, usize),
) -> Result<Vec<f32>, PictureError> {
    let rectified: Vec<f32> = map.iter().map(|value| value.max(0.0)).collect();
    let weights = upsample(&rectified, cells, size)?;
    let product = gradient.iter().zip(weights.iter().cycle());
    Ok(product.map(|(value, weight)| value * weight).collect())
}

/// Index of the first maximum.
fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (at, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guided_grad_cam_multiplies_gradient_and_map() {
        let gradient = [1.0, -2.0, 3.0, 4.0, 5.0, 6.0];
        // Two cells, the left one negative: rectified 0 and 2 at their centres, which are those of the two pixels.
        let product = guided_grad_cam(&gradient, (1, 2), &[-7.0, 2.0], (1, 2)).unwrap();
        assert_eq!(product, [0.0, -4.0, 0.0, 8.0, 0.0, 12.0]);
        assert!(guided_grad_cam(&gradient, (1, 2), &[1.0], (1, 2)).is_err());
    }

    #[test]
    fn argmax_takes_the_first_of_ties() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
    }
}
