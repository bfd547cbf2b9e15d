//! Logging: warnings (more with -v) to standard error as text, everything from INFO up to the run folder as JSON lines.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use prospect_common::{Error, text};
use prospect_engine::progress::Progress;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::Global;

/// Beginning of our targets: the names of our crates.
const OWN: &str = "prospect";
/// Target of messages that the user sees otherwise.
pub(super) const FILE_ONLY: &str = "prospect_file";

/// Starts logging, to a new file in `folder` if given; returns its path. Called once per process.
pub(super) fn start(
    global: &Global,
    progress: &Progress,
    folder: Option<&Path>,
    command: &str,
) -> Result<Option<PathBuf>, Error> {
    let level = match (global.quiet, global.verbose) {
        (true, _) | (_, 0) => LevelFilter::WARN,
        (_, 1) => LevelFilter::INFO,
        (_, 2) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let to_people = fmt::layer()
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_writer(BetweenBars(progress.clone()))
        .with_filter(
            Targets::new()
                .with_target(OWN, level)
                .with_target(FILE_ONLY, LevelFilter::OFF),
        );
    let (path, to_file) = match folder {
        None => (None, None),
        Some(folder) => {
            let (path, file) = create(folder, command)?;
            let targets = Targets::new()
                .with_target(OWN, level.max(LevelFilter::INFO))
                .with_target(FILE_ONLY, LevelFilter::INFO);
            let layer = fmt::layer()
                .json()
                .with_current_span(false)
                .with_span_list(false)
                .with_writer(Mutex::new(file))
                .with_filter(targets);
            (Some(path), Some(layer))
        }
    };
    // Only tests call this twice in one process; the first subscriber is kept.
    let _ = Registry::default().with(to_people).with(to_file).try_init();
    Ok(path)
}

/// A new file `20261123T052530Z-run.jsonl`; a second one in the same second gets a number.
fn create(folder: &Path, command: &str) -> Result<(PathBuf, File), Error> {
    fs::create_dir_all(folder).map_err(Error::io(folder, "creating the log folder"))?;
    let time = chrono::Utc::now().format("%Y%m%dT%H%M%SZ");
    let mut attempt = 1;
    loop {
        let name = match attempt {
            1 => format!("{time}-{command}.jsonl"),
            n => format!("{time}-{command}-{n}.jsonl"),
        };
        let path = folder.join(name);
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {
                attempt += 1;
            }
            Err(error) => return Err(Error::io(&path, "creating the log file")(error)),
        }
    }
}

/// Standard error, with progress bars suspended and control characters escaped.
struct BetweenBars(Progress);

impl<'a> MakeWriter<'a> for BetweenBars {
    type Writer = Message<'a>;

    fn make_writer(&'a self) -> Message<'a> {
        Message {
            progress: &self.0,
            text: Vec::new(),
        }
    }
}

/// One message, written when complete.
struct Message<'a> {
    progress: &'a Progress,
    text: Vec<u8>,
}

impl Write for Message<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        let message = String::from_utf8_lossy(&self.text);
        let message = text::escaped_lines(&message);
        self.progress.suspend(|| {
            let _ = io::stderr().write_all(message.as_bytes());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_files_of_one_second_do_not_overwrite_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = create(folder.path(), "run").unwrap();
        let (second, _) = create(folder.path(), "run").unwrap();
        assert_ne!(first, second);
        let name = first.file_name().unwrap().to_str().unwrap();
        assert!(
            name.ends_with("Z-run.jsonl") && name.len() == "20261123T052530Z-run.jsonl".len(),
            "{name}"
        );
    }
}
