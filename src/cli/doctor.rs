//! `prospect doctor`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
};

use clap::Args;
use prospect_common::{Complaint, Complaints, Error, Origin, text};
use prospect_config::Config;
use prospect_model::{
    ModelInfo,
    device::{self, Device},
    executor::Precision,
};
use prospect_stages::explain::rows::Choice;
use prospect_store::{existing_ancestor, free_space};
use serde::Serialize;

use super::{Global, output};

/// Image files are counted up to this number, to stay fast.
const MAX_COUNTED: usize = 100_000;

/// Bytes of free space below which to warn.
const LITTLE_SPACE: u64 = 1 << 30;

/// Check that everything a run needs is in place
///
/// Reads the configuration, the model, the file names in the image folder and the free disk space; writes nothing. Exit
/// status 2 if something would stop a run.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prospect doctor
  prospect doctor --set model.device=cuda:0
  prospect doctor --json")]
pub(super) struct DoctorArgs {
    /// One JSON object: the overall result and every check
    #[arg(long)]
    json: bool,
}

/// Result of one check.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    /// The finding, and the fix if it is a problem.
    found: String,
    /// The complaints in `found`, if it is about settings.
    #[serde(skip)]
    complaints: Vec<Complaint>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Fine,
    Warning,
    Wrong,
}

impl Check {
    fn fine(name: &'static str, found: impl Into<String>) -> Check {
        Check {
            name,
            state: State::Fine,
            found: found.into(),
            complaints: Vec::new(),
        }
    }

    fn warning(name: &'static str, found: impl Into<String>) -> Check {
        Check {
            state: State::Warning,
            ..Check::fine(name, found)
        }
    }

    fn wrong(name: &'static str, found: impl Into<String>) -> Check {
        Check {
            state: State::Wrong,
            ..Check::fine(name, found)
        }
    }

    fn failed(name: &'static str, error: Error) -> Check {
        let check = Check::wrong(name, error.to_string());
        match error {
            Error::Config(complaints) => Check {
                complaints,
                ..check
            },
            _ => check,
        }
    }
}

pub(super) fn doctor(global: &Global, args: &DoctorArgs) -> anyhow::Result<u8> {
    let mut checks = match global.config() {
        Ok(config) => examine(&config),
        Err(error) => vec![Check::failed("configuration", error)],
    };
    for check in (checks.iter_mut()).filter(|check| !check.complaints.is_empty()) {
        let complaints = std::mem::take(&mut check.complaints);
        let placed = Config::placed(&global.config, &global.set, complaints);
        check.found = Error::Config(placed).to_string();
    }
    let wrong = checks.iter().any(|check| check.state == State::Wrong);
    match args.json {
        true => output::print_json(&serde_json::json!({ "ok": !wrong, "checks": checks }))?,
        false => output::print(&page(&checks))?,
    }
    Ok(if wrong { 2 } else { 0 })
}

fn page(checks: &[Check]) -> String {
    let rows: Vec<Vec<String>> = checks
        .iter()
        .map(|check| {
            let state = match check.state {
                State::Fine => "ok",
                State::Warning => "warning",
                State::Wrong => "WRONG",
            };
            vec![state.to_string(), check.name.to_string()]
        })
        .collect();
    let mut page = String::new();
    for (head, check) in output::columns(&rows, &[false, false]).lines().zip(checks) {
        // Indent further lines of a complaint.
        let found = text::escaped_lines(&check.found).replace('\n', "\n           ");
        page += &format!("{head:<24} {found}\n");
    }
    page
}

/// Every check, in the order of a run.
fn examine(config: &Config) -> Vec<Check> {
    let mut checks = vec![Check::fine(
        "configuration",
        config.path.display().to_string(),
    )];
    checks.push(run_folder(&config.run.dir));
    checks.push(images(&config.images.dir));
    if let Some(metadata) = &config.images.metadata {
        checks.push(
            match File::open(metadata).and_then(|file| file.metadata()) {
                Ok(status) if status.is_file() => {
                    Check::fine("metadata", metadata.display().to_string())
                }
                Ok(_) => Check::wrong("metadata", format!("{} is not a file", metadata.display())),
                Err(error) => Check::wrong("metadata", format!("{}: {error}", metadata.display())),
            },
        );
    }
    checks.extend(boxes(config));
    checks.push(libtorch(config));
    checks.push(network(config));
    if let Err(Error::Config(complaints)) = config.check_files() {
        replace_file_checks(&mut checks, complaints);
    }
    checks
}

/// Replaces the results for missing files by complaints that name the key.
fn replace_file_checks(checks: &mut Vec<Check>, complaints: Vec<Complaint>) {
    let mut by_name: BTreeMap<&'static str, Vec<Complaint>> = BTreeMap::new();
    for complaint in complaints {
        let name = match complaint.origin {
            Some(Origin::Setting { section, key }) => match (section, key) {
                ("images", "dir") => "images",
                ("images", _) => "metadata",
                ("explain", _) => "boxes",
                ("model", _) => "model",
                _ => "earlier run",
            },
            _ => "configuration",
        };
        by_name.entry(name).or_default().push(complaint);
    }
    for (name, complaints) in by_name {
        let failed = Check::failed(name, Error::Config(complaints));
        match checks.iter_mut().find(|check| check.name == name) {
            Some(check) => *check = failed,
            None => checks.push(failed),
        }
    }
}

/// Whether the run folder is writable, and its free space.
fn run_folder(dir: &Path) -> Check {
    const NAME: &str = "run folder";
    let shown = dir.display();
    let existing = existing_ancestor(dir);
    if !existing.is_dir() {
        return Check::wrong(
            NAME,
            format!(
                "{} is not a folder; choose another [run] dir",
                existing.display()
            ),
        );
    }
    if let Err(error) = tempfile_in(existing) {
        return Check::wrong(
            NAME,
            format!(
                "{} is not writable: {error}; choose another [run] dir",
                existing.display()
            ),
        );
    }
    match free_space(existing) {
        Ok(free) if free < LITTLE_SPACE => {
            Check::warning(NAME, format!("{shown}: only {} free", text::bytes(free)))
        }
        Ok(free) => Check::fine(NAME, format!("{shown}, {} free", text::bytes(free))),
        Err(error) => Check::warning(NAME, format!("{shown}: free space unknown: {error}")),
    }
}

/// Creates and removes a file.
fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".prospect-doctor-{}", std::process::id()));
    File::create_new(&path)?;
    fs::remove_file(&path)
}

/// Whether there are images.
fn images(dir: &Path) -> Check {
    const NAME: &str = "images";
    let shown = dir.display();
    if let Err(error) = fs::read_dir(dir) {
        return Check::wrong(NAME, format!("{shown}: {error}; set [images] dir"));
    }
    let n = walkdir::WalkDir::new(dir)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file() && looks_like_an_image(entry.path()))
        .take(MAX_COUNTED)
        .count();
    match n {
        0 => Check::wrong(NAME, format!("{shown}: no image files; set [images] dir")),
        MAX_COUNTED => Check::fine(
            NAME,
            format!("{shown}: over {} images", text::count(n as u64)),
        ),
        _ => Check::fine(
            NAME,
            format!("{shown}: {}", text::counted(n as u64, "image")),
        ),
    }
}

fn looks_like_an_image(path: &Path) -> bool {
    const EXTENSIONS: [&str; 10] = [
        "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff",
    ];
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.to_lowercase().as_str()))
}

/// Whether the boxes, if any, are readable.
fn boxes(config: &Config) -> Option<Check> {
    const NAME: &str = "boxes";
    match config.boxes() {
        // Unreadable metadata has a separate check.
        Err(_) if config.explain.boxes.is_none() => None,
        Err(error) => Some(Check::failed(NAME, error)),
        Ok(boxes) => boxes.map(|boxes| {
            let (n, images) = (boxes.n_boxes() as u64, boxes.n_images() as u64);
            let n = text::count(n);
            Check::fine(NAME, format!("{n} in {}", text::counted(images, "image")))
        }),
    }
}

/// libtorch's version, and whether the requested device is available.
fn libtorch(config: &Config) -> Check {
    const NAME: &str = "libtorch";
    match device::choose(config.model.device) {
        Ok(chosen) => Check::fine(
            NAME,
            format!("{}; runs on {}", device::describe(), device::name(chosen)),
        ),
        Err(error) => Check::failed(NAME, error),
    }
}

/// Whether the network can be read, runs and matches the settings.
fn network(config: &Config) -> Check {
    const NAME: &str = "model";
    let Some(path) = &config.model.path else {
        let unset = Complaint::predicate("model", "path", "is not set: only scan can run");
        return Check {
            state: State::Warning,
            ..Check::failed(NAME, unset.into())
        };
    };
    let model = match prospect_config::open_model(path, config.model.sidecar.as_deref()) {
        Ok(model) => model,
        Err(error) => return Check::failed(NAME, error),
    };
    if let Err(error) = check_settings(config, &model) {
        return Check::failed(NAME, error);
    }
    if let Err(error) = model.load(Device::Cpu, Precision::Float32) {
        return Check::failed(NAME, error);
    }
    let (height, width) = model.graph.input_size();
    Check::fine(
        NAME,
        format!(
            "{}: input 3x{height}x{width}, {} classes",
            path.display(),
            model.graph.n_classes()
        ),
    )
}

/// Checks the settings against the network.
fn check_settings(config: &Config, model: &ModelInfo) -> Result<(), Error> {
    let mut complaints = Complaints::default();
    complaints.keep(model.input_spec(&config.input))?;
    complaints.keep(model.layers(&config.extract.layers))?;
    complaints.keep(Choice::new(&config.explain, model))?;
    complaints.keep(model.feature(&config.extract.feature_layer))?;
    complaints.into_result()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_reports_its_problem() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(run_folder(&at("new/run")).state, State::Fine);
        fs::write(at("file"), "text").unwrap();
        assert_eq!(run_folder(&at("file/run")).state, State::Wrong);
        assert_eq!(images(&at("nowhere")).state, State::Wrong);
        assert_eq!(images(folder.path()).state, State::Wrong);
        fs::write(at("a.JPG"), "").unwrap();
        assert!(images(folder.path()).found.ends_with("1 image"));
        let with = |set: String| {
            Config::parse(
                Path::new("pipeline.toml"),
                "[images]\ndir = \"x\"\n",
                &[set],
            )
            .unwrap()
        };
        let unset = with("model.device=cpu".to_string());
        assert_eq!(network(&unset).state, State::Warning);
        assert_eq!(libtorch(&unset).state, State::Fine);
        assert!(boxes(&unset).is_none());
        fs::write(at("boxes.csv"), "file_name,x,y,width,height\na,0,0,1,1\n").unwrap();
        let with_boxes = with(format!("explain.boxes={}", at("boxes.csv").display()));
        assert_eq!(boxes(&with_boxes).unwrap().found, "1 in 1 image");
        fs::write(at("boxes.csv"), "file_name\na\n").unwrap();
        assert_eq!(boxes(&with_boxes).unwrap().state, State::Wrong);
        let broken = with(format!("model.path={}", at("file").display()));
        assert_eq!(network(&broken).state, State::Wrong);
    }
}
