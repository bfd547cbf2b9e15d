//! A small dataset with a configuration, and runs of the binary on it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::golden;

/// A dataset of small images of shapes and seeded noise, with a configuration.
pub struct Project {
    pub folder: TempDir,
}

pub const CLASSES: [&str; 3] = ["disc", "stripes", "noise"];

/// Draws image number `index`, of class `index % 3`.
pub fn draw(path: &Path, index: usize) {
    let class = CLASSES[index % 3];
    let mut state = 7 + 1000 * index as u64;
    let mut random = move || {
        // xorshift64; any fixed sequence will do.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (width, height) = (14 + index as u32 % 9, 12 + index as u32 % 7);
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        let noise = (random() % 60) as u8;
        let value = match class {
            "disc" if (x as i32 - 7).pow(2) + (y as i32 - 6).pow(2) < 20 => 180,
            "stripes" if x % 4 < 2 => 160,
            _ => 20,
        };
        image::Rgb([value + noise, value / 2 + noise, noise])
    });
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

impl Project {
    pub fn new() -> Project {
        let folder = tempfile::tempdir().unwrap();
        for index in 0..90 {
            let path = format!("images/{}/{index:03}.png", CLASSES[index % 3]);
            draw(&folder.path().join(path), index);
        }
        fs::write(folder.path().join("images/disc/bad.png"), "not a picture").unwrap();
        let config = format!(
            "[images]\ndir = \"images\"\nlabels = \"folder\"\n[model]\npath = {:?}\ndevice = \"cpu\"\nbatch_size = 3\n\
             [extract]\npart_size = 8\n[explain]\nlayers = [\"layer1\"]\n[patches]\nk = 4\n\
             [neighbors]\nk = 5\nblock_size = 32\n",
            golden("residual.pt2")
        );
        fs::write(folder.path().join("pipeline.toml"), config).unwrap();
        Project { folder }
    }

    pub fn prospect(&self, run: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prospect"));
        command
            .args(arguments)
            .arg("-c")
            .arg(self.folder.path().join("pipeline.toml"))
            .args(["--set", &format!("run.dir={run:?}"), "-q"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the command successfully and returns standard output.
    pub fn finish(&self, run: &str, arguments: &[&str]) -> String {
        let output = self.prospect(run, arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn start(&self, run: &str, arguments: &[&str]) -> Child {
        self.prospect(run, arguments).spawn().unwrap()
    }

    pub fn run_folder(&self, run: &str) -> PathBuf {
        self.folder.path().join(run)
    }

    /// Digest of every table and picture, by path.
    pub fn contents(&self, run: &str) -> BTreeMap<PathBuf, String> {
        let root = self.run_folder(run);
        let mut found = BTreeMap::new();
        let tops = ["tables", "pictures", "index"].map(|top| root.join(top));
        for top in tops.iter().filter(|top| top.exists()) {
            for entry in walkdir::WalkDir::new(top) {
                let entry = entry.unwrap();
                if entry.file_type().is_file() {
                    let bytes = fs::read(entry.path()).unwrap();
                    let path = entry.path().strip_prefix(&root).unwrap().to_path_buf();
                    found.insert(path, blake3::hash(&bytes).to_hex().to_string());
                }
            }
        }
        found
    }

    pub fn decisions(&self, run: &str, set: &[&str]) -> BTreeMap<String, String> {
        let plan = self.finish(run, &[&["plan", "--json"], set].concat());
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_string();
        let stages = plan["stages"].as_array().unwrap();
        stages
            .iter()
            .map(|stage| (text(&stage["stage"]), text(&stage["decision"])))
            .collect()
    }

    pub fn rows(&self, run: &str, sql: &str) -> String {
        self.finish(run, &["query", sql, "--format", "csv"])
    }

    /// The numbers in a stage's summary.
    pub fn summary(&self, run: &str, stage: &str) -> BTreeMap<String, u64> {
        let status: Value = serde_json::from_str(&self.finish(run, &["status", "--json"])).unwrap();
        let stages = status["stages"].as_array().unwrap().iter();
        let mut found = stages.filter(|one| one["stage"] == stage);
        let summary = found.next().unwrap()["summary"]
            .as_object()
            .unwrap()
            .clone();
        let numbers = summary.into_iter();
        numbers
            .filter_map(|(name, value)| Some((name, value.as_u64()?)))
            .collect()
    }
}
