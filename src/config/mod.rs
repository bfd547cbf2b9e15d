//! `pipeline.toml`: every setting, its default and what it may be, each stated once, in the `read` function of its section.
//!
//! All keys are checked before anything runs, and all complaints come at once, each with its line.

mod audit;
mod methods;
mod report;
mod source;
#[cfg(test)]
mod tests;
mod values;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

pub use audit::AuditConfig;
pub use methods::{CamMethod, Metric, ProbabilitySource, ProjectionMethod, ReluRule, SearchMethod};
pub use report::ReportConfig;
pub use source::KeyInfo;
pub(crate) use source::did_you_mean;
use source::{SectionReader, Settings};
pub use values::{
    ClassChoice, DeviceChoice, Dtype, InputOverrides, Labels, LayerChoice, MapStorage, Size,
    UnitChoice,
};

use crate::error::{Error, Result};

/// The checked settings of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// The file they came from, as the user wrote it.
    pub path: PathBuf,
    pub run: RunConfig,
    pub images: ImagesConfig,
    pub model: ModelConfig,
    pub input: InputOverrides,
    pub extract: ExtractConfig,
    pub patches: PatchesConfig,
    pub neighbors: NeighborsConfig,
    pub project: ProjectConfig,
    pub explain: ExplainConfig,
    pub backprop: BackpropConfig,
    pub audit: AuditConfig,
    pub report: ReportConfig,
}

/// `[run]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunConfig {
    /// The run folder.
    pub dir: PathBuf,
    /// An earlier run's folder: rows of images that have not changed are taken from it, and findings are compared with its.
    pub previous: Option<PathBuf>,
}

/// `[images]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImagesConfig {
    /// The folder of images, searched with its subfolders.
    pub dir: PathBuf,
    /// CSV with one row per image.
    pub metadata: Option<PathBuf>,
    pub labels: Labels,
    /// An image with more pixels than this is an error row, not an allocation.
    pub max_pixels: u64,
    /// Turn photos upright as their EXIF tag says.
    pub exif_orientation: bool,
    /// In 0..=1; more unreadable images than this stop the run.
    pub max_bad_fraction: f64,
}

/// `[model]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelConfig {
    /// The `.pt2` archive. Commands that need no network run without it.
    pub path: Option<PathBuf>,
    /// JSON beside the model: class names and input. Default: the model's path with the extension `json`.
    pub sidecar: Option<PathBuf>,
    pub device: DeviceChoice,
    pub dtype: Dtype,
    /// Images per forward pass.
    pub batch_size: usize,
}

/// `[extract]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExtractConfig {
    pub layers: LayerChoice,
    /// Module path, or `auto`: the input of the final linear layer.
    pub feature_layer: String,
    /// Images per part.
    pub part_size: usize,
    /// 0 means one per core; [`ExtractConfig::decode_threads`] resolves it.
    pub decode_threads: usize,
}

impl ExtractConfig {
    /// Threads that decode, at least 1.
    pub fn decode_threads(&self) -> usize {
        match self.decode_threads {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        }
    }
}

/// `[patches]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PatchesConfig {
    /// Patches per unit.
    pub k: usize,
    pub units: UnitChoice,
}

/// `[neighbors]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NeighborsConfig {
    /// Neighbours per image.
    pub k: usize,
    pub metric: Metric,
    pub method: SearchMethod,
    /// Share of the true neighbours that an approximate search must find, in 0..=1.
    pub min_recall: f64,
    /// Images per block of an exact search, which holds two blocks of features in memory.
    pub block_size: usize,
}

/// `[project]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProjectConfig {
    pub methods: Vec<ProjectionMethod>,
    pub seed: u64,
    /// Principal components that are stored, and that t-SNE works on.
    pub components: usize,
    /// t-SNE's effective number of neighbours.
    pub perplexity: f64,
    /// UMAP's neighbours of an image, the image itself among them.
    pub n_neighbors: usize,
    /// How closely UMAP packs alike images; its embedding is some ten units wide.
    pub min_dist: f64,
    /// Another run's folder, whose map is kept: only images that it does not have are placed anew.
    pub onto: Option<PathBuf>,
}

/// `[explain]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainConfig {
    /// Layers at which images are explained; `auto` is the last spatial layer before the head.
    pub layers: LayerChoice,
    pub methods: Vec<CamMethod>,
    pub classes: Vec<ClassChoice>,
    pub maps: MapStorage,
    /// Table of boxes, one a row.
    pub boxes: Option<PathBuf>,
    /// Overlays drawn for each class.
    pub pictures: usize,
}

/// `[backprop]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackpropConfig {
    /// The most selective units of each layer whose patches are traced back to pixels.
    pub units_per_layer: usize,
    pub rules: Vec<ReluRule>,
}

impl Config {
    /// Reads and checks the file, with the `SECTION.KEY=VALUE` options laid over it.
    pub fn load(path: &Path, set: &[String]) -> Result<Config> {
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Config(vec![format!(
                "{}: there is no such file; name the configuration with -c, or start in the folder that holds pipeline.toml",
                path.display()
            )]),
            _ => Error::io(path, "reading")(error),
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at]
                .iter()
                .filter(|b| **b == b'\n')
                .count()
                + 1;
            Error::Config(vec![format!(
                "{}:{line}: the file is not UTF-8; save it as UTF-8",
                path.display()
            )])
        })?;
        Config::parse(path, &text, set)
    }

    /// As [`Config::load`], with the file's text at hand; `path` is for messages and relative paths.
    pub fn parse(path: &Path, text: &str, set: &[String]) -> Result<Config> {
        let mut settings = Settings::new(path, text, set)?;
        let config = Config::read(path, &mut settings);
        settings.finish()?;
        Ok(config)
    }

    /// Every key with its default, in the order of the sections.
    pub fn keys() -> Result<Vec<KeyInfo>> {
        let text = "[images]\ndir = \"images\"\n";
        let mut settings = Settings::new(Path::new(""), text, &[])?;
        Config::read(Path::new(""), &mut settings);
        settings.finish()
    }

    /// The sidecar's path: the one that is named, else the model's with the extension `json`.
    pub fn sidecar_path(&self) -> Option<PathBuf> {
        let beside = || Some(self.model.path.as_ref()?.with_extension("json"));
        self.model.sidecar.clone().or_else(beside)
    }

    fn read(path: &Path, settings: &mut Settings) -> Config {
        Config {
            path: path.to_path_buf(),
            run: RunConfig::read(&mut settings.section("run")),
            images: ImagesConfig::read(&mut settings.section("images")),
            model: ModelConfig::read(&mut settings.section("model")),
            input: read_input(&mut settings.section("input")),
            extract: ExtractConfig::read(&mut settings.section("extract")),
            patches: PatchesConfig::read(&mut settings.section("patches")),
            neighbors: NeighborsConfig::read(&mut settings.section("neighbors")),
            project: ProjectConfig::read(&mut settings.section("project")),
            explain: ExplainConfig::read(&mut settings.section("explain")),
            backprop: BackpropConfig::read(&mut settings.section("backprop")),
            audit: AuditConfig::read(&mut settings.section("audit")),
            report: ReportConfig::read(&mut settings.section("report")),
        }
    }
}

const LAYERS: &str =
    "\"auto\" or a list of different module paths such as [\"layer3\", \"layer4\"]";

fn sensible_layers(layers: &LayerChoice) -> bool {
    match layers {
        LayerChoice::Auto => true,
        LayerChoice::Named(names) => (names.iter().enumerate())
            .all(|(at, name)| !name.is_empty() && !names[..at].contains(name)),
    }
}

impl RunConfig {
    fn read(section: &mut SectionReader) -> RunConfig {
        RunConfig {
            dir: section.path_or("dir", "runs/default"),
            previous: section.path("previous"),
        }
    }
}

impl ImagesConfig {
    fn read(section: &mut SectionReader) -> ImagesConfig {
        let images = ImagesConfig {
            dir: section.required_path("dir", "the folder of images, e.g. dir = \"photos\""),
            metadata: section.path("metadata"),
            labels: section.choice("labels", Labels::Folder, &["folder", "metadata", "none"]),
            // Pillow's limit against decompression bombs: twice 1024^3 / 4 / 3 pixels.
            max_pixels: section.value(
                "max_pixels",
                178_956_970,
                "a whole number of pixels from 1 to 4294967296",
                |n| (1..=1 << 32).contains(n),
            ),
            exif_orientation: section.value("exif_orientation", true, "true or false", |_| true),
            max_bad_fraction: section.value("max_bad_fraction", 0.1, "a number from 0 to 1", |f| {
                (0.0..=1.0).contains(f)
            }),
        };
        if images.labels == Labels::Metadata && !section.has("metadata") {
            section.complain(
                "labels",
                "is \"metadata\", but [images] metadata names no file; name it, or take labels = \"folder\"",
            );
        }
        images
    }
}

impl ModelConfig {
    fn read(section: &mut SectionReader) -> ModelConfig {
        ModelConfig {
            path: section.path("path"),
            sidecar: section.path("sidecar"),
            device: section.value(
                "device",
                DeviceChoice::Auto,
                "\"auto\", \"cpu\" or a CUDA device such as \"cuda:0\"",
                |_| true,
            ),
            dtype: section.choice("dtype", Dtype::Float32, &["float32", "bfloat16"]),
            batch_size: section.value("batch_size", 32, "a whole number from 1 to 65536", |n| {
                (1..=65_536).contains(n)
            }),
        }
    }
}

fn read_input(section: &mut SectionReader) -> InputOverrides {
    const SIDES: &str = "of 1 to 16384 pixels";
    InputOverrides {
        resize: section.optional(
            "resize",
            &format!("the shorter side, [height, width] or \"none\", sides {SIDES}"),
            Size::in_range,
        ),
        crop: section.optional(
            "crop",
            &format!("a square's side, [height, width] or \"none\", sides {SIDES}"),
            Size::in_range,
        ),
        interpolation: section.optional_choice(
            "interpolation",
            None,
            &[
                "nearest", "bilinear", "bicubic", "lanczos", "box", "hamming",
            ],
        ),
        mean: section.optional(
            "mean",
            "three numbers, for red, green and blue",
            |mean: &[f32; 3]| mean.iter().all(|value| value.is_finite()),
        ),
        std: section.optional(
            "std",
            "three numbers over 0, for red, green and blue",
            |std: &[f32; 3]| std.iter().all(|value| value.is_finite() && *value > 0.0),
        ),
    }
}

impl ExtractConfig {
    fn read(section: &mut SectionReader) -> ExtractConfig {
        ExtractConfig {
            layers: section.value("layers", LayerChoice::Auto, LAYERS, sensible_layers),
            feature_layer: section.value(
                "feature_layer",
                "auto".to_string(),
                "\"auto\" or a module path",
                |layer| !layer.is_empty(),
            ),
            part_size: section.value("part_size", 1024, "a whole number from 1 to 1000000", |n| {
                (1..=1_000_000).contains(n)
            }),
            decode_threads: section.value(
                "decode_threads",
                0,
                "a whole number from 0 (one per core) to 1024",
                |n| *n <= 1024,
            ),
        }
    }
}

impl PatchesConfig {
    fn read(section: &mut SectionReader) -> PatchesConfig {
        PatchesConfig {
            // `patches.rank` is a 16-bit column; no one looks at thousands of patches of one unit.
            k: section.value("k", 9, "a whole number from 1 to 1024", |k| {
                (1..=1024).contains(k)
            }),
            units: section.value(
                "units",
                UnitChoice::All,
                "\"all\", \"selective\" or a list of different channel indices such as [0, 17]",
                |units| match units {
                    UnitChoice::Listed(list) => {
                        !list.is_empty()
                            && (list.iter().enumerate())
                                .all(|(at, unit)| !list[..at].contains(unit))
                    }
                    _ => true,
                },
            ),
        }
    }
}

impl NeighborsConfig {
    fn read(section: &mut SectionReader) -> NeighborsConfig {
        NeighborsConfig {
            k: section.value("k", 20, "a whole number from 1 to 1000", |k| {
                (1..=1000).contains(k)
            }),
            metric: section.choice("metric", Metric::L2, &["l2", "cosine"]),
            method: section.choice("method", SearchMethod::Auto, &["auto", "exact", "hnsw"]),
            min_recall: section.value("min_recall", 0.99, "a number from 0 to 1", |f| {
                (0.0..=1.0).contains(f)
            }),
            block_size: section.value(
                "block_size",
                32_768,
                "a whole number from 1 to 1000000",
                |n| (1..=1_000_000).contains(n),
            ),
        }
    }
}

impl ProjectConfig {
    fn read(section: &mut SectionReader) -> ProjectConfig {
        use ProjectionMethod::{Pca, Tsne, Umap};
        ProjectConfig {
            methods: section.value(
                "methods",
                vec![Pca, Tsne, Umap],
                "a list of different methods of \"pca\", \"tsne\", \"umap\", \"pca-linfa\" and \"tsne-linfa\"",
                |methods| all_different(methods),
            ),
            seed: section.value("seed", 42, "a whole number from 0", |_| true),
            components: section.value("components", 50, "a whole number from 2 to 1000", |n| {
                (2..=1000).contains(n)
            }),
            perplexity: section.value("perplexity", 30.0, "a number from 2 to 300", |p| {
                (2.0..=300.0).contains(p)
            }),
            n_neighbors: section.value("n_neighbors", 15, "a whole number from 2 to 1000", |n| {
                (2..=1000).contains(n)
            }),
            min_dist: section.value("min_dist", 0.1, "a number from 0 to 1", |d| {
                (0.0..=1.0).contains(d)
            }),
            onto: section.path("onto"),
        }
    }
}

impl ExplainConfig {
    fn read(section: &mut SectionReader) -> ExplainConfig {
        ExplainConfig {
            layers: section.value("layers", LayerChoice::Auto, LAYERS, sensible_layers),
            methods: section.value(
                "methods",
                vec![CamMethod::GradCam, CamMethod::Cam],
                "a list of different methods of \"gradcam\", \"cam\", \"gradcam++\", \"layercam\" and \"hirescam\"",
                |methods| all_different(methods),
            ),
            classes: section.value(
                "classes",
                vec![ClassChoice::Predicted, ClassChoice::Labelled],
                "a list of \"predicted\", \"labelled\", \"top-2\" to \"top-100\", and \"class NAME\" or \"class #INDEX\"",
                |classes| !classes.is_empty() && all_different(classes),
            ),
            maps: section.choice("maps", MapStorage::Stored, &["stored", "inline"]),
            boxes: section.path("boxes"),
            pictures: section.value("pictures", 2, "a whole number from 0 to 1000", |n| {
                *n <= 1000
            }),
        }
    }
}

impl BackpropConfig {
    fn read(section: &mut SectionReader) -> BackpropConfig {
        BackpropConfig {
            units_per_layer: section.value(
                "units_per_layer",
                4,
                "a whole number from 0 to 1000",
                |n| *n <= 1000,
            ),
            rules: section.value(
                "rules",
                vec![ReluRule::Guided],
                "a list of different rules of \"plain\", \"deconv\" and \"guided\"",
                |rules| !rules.is_empty() && all_different(rules),
            ),
        }
    }
}

fn all_different<T: PartialEq>(list: &[T]) -> bool {
    (list.iter().enumerate()).all(|(at, one)| !list[..at].contains(one))
}
