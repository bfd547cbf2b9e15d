//! The complete `pipeline.toml`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use prospect_common::{Complaint, Error, Origin, Result};
use prospect_dataset::{boxes::Boxes, image::InputOverrides};
use serde::Serialize;

use super::{
    audit::AuditConfig,
    explain::{BackpropConfig, ExplainConfig},
    features::{NeighborsConfig, PatchesConfig, ProjectConfig},
    images::{ImagesConfig, RunConfig},
    network::{ExtractConfig, ModelConfig, read_input},
    report::ReportConfig,
    settings::{KeyInfo, Settings},
    source::Source,
};

/// The checked settings of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// The path of the file, as given by the user.
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

impl Config {
    /// Reads and checks the file, overridden by the `SECTION.KEY=VALUE` options.
    pub fn load(path: &Path, set: &[String]) -> Result<Config> {
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::usage(format!(
                "{}: file not found; set the configuration with -c, or run in the folder of pipeline.toml",
                path.display()
            )),
            _ => Error::io(path, "reading")(error),
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            // Replacement characters come only after the location.
            let text = String::from_utf8_lossy(error.as_bytes());
            let source = Source {
                file: Some(path),
                text: &text,
            };
            let complaint = Complaint::new("invalid UTF-8; save the file as UTF-8");
            Error::from(complaint.at(source.place(&(at..at + 1))))
        })?;
        Config::parse(path, text.strip_prefix('\u{feff}').unwrap_or(&text), set)
    }

    /// Like [`Config::load`], for the contents of a file; `path` is for messages and relative paths.
    pub fn parse(path: &Path, text: &str, set: &[String]) -> Result<Config> {
        let mut settings = Settings::new(path, text, set);
        let config = Config::read(path, &mut settings);
        settings.finish()?;
        Ok(config)
    }

    /// Adds locations to complaints about settings that arose after loading.
    pub fn placed(path: &Path, set: &[String], complaints: Vec<Complaint>) -> Vec<Complaint> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let settings = Settings::new(path, text, set);
        let place = |complaint: Complaint| match complaint.origin {
            Some(Origin::Setting { section, key }) if complaint.place.is_none() => {
                complaint.at(settings.place(section, key))
            }
            _ => complaint,
        };
        complaints.into_iter().map(place).collect()
    }

    /// All keys with their defaults, by section.
    pub fn keys() -> Result<Vec<KeyInfo>> {
        let text = "[images]\ndir = \"images\"\n";
        let mut settings = Settings::new(Path::new(""), text, &[]);
        Config::read(Path::new(""), &mut settings);
        settings.finish()
    }

    /// The sidecar's path: the configured one, or the model's with the extension `json`.
    pub fn sidecar_path(&self) -> Option<PathBuf> {
        let beside = || Some(self.model.path.as_ref()?.with_extension("json"));
        self.model.sidecar.clone().or_else(beside)
    }

    /// The boxes: from the table `[explain] boxes`, or else from the metadata, if it has any.
    ///
    /// # Errors
    /// Those of [`Boxes::read`].
    pub fn boxes(&self) -> Result<Option<Boxes>> {
        match (&self.explain.boxes, &self.images.metadata) {
            (Some(path), _) => Boxes::read(path).map(Some),
            (None, Some(path)) => Boxes::of_metadata(path, &self.images.label_columns()),
            (None, None) => Ok(None),
        }
    }

    /// The path of the reviews: `[audit] reviews`, or else next to the run folder.
    pub fn reviews_path(&self) -> PathBuf {
        let beside = || self.run.dir.with_file_name("reviews.csv");
        self.audit.reviews.clone().unwrap_or_else(beside)
    }

    fn read(path: &Path, settings: &mut Settings) -> Config {
        Config {
            path: path.to_path_buf(),
            run: RunConfig::read(settings),
            images: ImagesConfig::read(settings),
            model: ModelConfig::read(settings),
            input: read_input(settings),
            extract: ExtractConfig::read(settings),
            patches: PatchesConfig::read(settings),
            neighbors: NeighborsConfig::read(settings),
            project: ProjectConfig::read(settings),
            explain: ExplainConfig::read(settings),
            backprop: BackpropConfig::read(settings),
            audit: AuditConfig::read(settings),
            report: ReportConfig::read(settings),
        }
    }
}
