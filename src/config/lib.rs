//! `pipeline.toml`: every setting, its default and what it may be, each stated once, in the `read` function of its section.
//!
//! All keys are checked before anything runs, and all complaints come at once, each with its line.

mod audit;
mod explain;
mod files;
mod methods;
mod reader;
mod report;
mod sidecar;
mod source;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod values;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use prospect_analysis::space::neighbors::Metric;
use prospect_common::{Error, Result};
use prospect_dataset::{
    boxes::Boxes,
    image::{InputOverrides, Size},
};
use prospect_model::{LayerChoice, device::DeviceChoice};
use serde::Serialize;

use reader::SectionReader;
use source::Settings;

pub use audit::AuditConfig;
pub use explain::{BackpropConfig, ExplainConfig};
pub use methods::{ProbabilitySource, ProjectionMethod, SearchMethod};
pub use report::ReportConfig;
pub use sidecar::{open_model, read_sidecar};
pub use source::KeyInfo;
pub use template::{Setting, written};
pub use values::{ClassChoice, Dtype, Labels, MapStorage, UnitChoice};

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
            // The characters that stand for what is no UTF-8 come after the place.
            let text = String::from_utf8_lossy(error.as_bytes());
            let source = source::Source {
                file: Some(path),
                text: &text,
            };
            let message = "this is not UTF-8; save the file as UTF-8";
            Error::Config(vec![source.complaint(&(at..at + 1), message)])
        })?;
        Config::parse(path, text.strip_prefix('\u{feff}').unwrap_or(&text), set)
    }

    /// As [`Config::load`], with the file's text at hand; `path` is for messages and relative paths.
    pub fn parse(path: &Path, text: &str, set: &[String]) -> Result<Config> {
        let mut settings = Settings::new(path, text, set);
        let config = Config::read(path, &mut settings);
        settings.finish()?;
        Ok(config)
    }

    /// Complaints that came up after the settings were loaded (`[section] key …`), with the lines that they are about.
    pub fn placed(path: &Path, set: &[String], complaints: Vec<String>) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        source::placed(path, text, set, complaints)
    }

    /// Every key with its default, in the order of the sections.
    pub fn keys() -> Result<Vec<KeyInfo>> {
        let text = "[images]\ndir = \"images\"\n";
        let mut settings = Settings::new(Path::new(""), text, &[]);
        Config::read(Path::new(""), &mut settings);
        settings.finish()
    }

    /// The sidecar's path: the one that is named, else the model's with the extension `json`.
    pub fn sidecar_path(&self) -> Option<PathBuf> {
        let beside = || Some(self.model.path.as_ref()?.with_extension("json"));
        self.model.sidecar.clone().or_else(beside)
    }

    /// The boxes that the settings name: the table `[explain] boxes`, else those in the metadata, if it has any.
    ///
    /// # Errors
    /// As [`Boxes::read`].
    pub fn boxes(&self) -> Result<Option<Boxes>> {
        match (&self.explain.boxes, &self.images.metadata) {
            (Some(path), _) => Boxes::read(path).map(Some),
            (None, Some(path)) => Boxes::of_metadata(path),
            (None, None) => Ok(None),
        }
    }

    /// Where the decisions of reviewers stand: `[audit] reviews`, else beside the run folder.
    pub fn reviews_path(&self) -> PathBuf {
        let beside = || self.run.dir.with_file_name("reviews.csv");
        self.audit.reviews.clone().unwrap_or_else(beside)
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
            device: section.worded(
                "device",
                DeviceChoice::Auto,
                "\"auto\", \"cpu\" or a CUDA device such as \"cuda:0\"",
                &["auto", "cpu", "cuda:0"],
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
            methods: section.worded(
                "methods",
                vec![Pca, Tsne, Umap],
                "a list of different methods of \"pca\", \"tsne\", \"umap\", \"pca-linfa\" and \"tsne-linfa\"",
                &["pca", "tsne", "umap", "pca-linfa", "tsne-linfa"],
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

fn all_different<T: PartialEq>(list: &[T]) -> bool {
    (list.iter().enumerate()).all(|(at, one)| !list[..at].contains(one))
}
