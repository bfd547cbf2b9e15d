//! A part's files other than tables: pictures, pages, indices.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use prospect_common::{Error, Result};

use super::{super::disk, FileRecord, PartWriter};

impl PartWriter {
    /// Adds a file at `relative`, outside `tables/`.
    pub fn file(&mut self, relative: &str, bytes: &[u8]) -> Result<()> {
        let temp = self.enter_file(relative)?;
        let mut file = disk::create_new(&temp)?;
        file.write_all(bytes).map_err(Error::io(&temp, "writing"))?;
        self.add_file(relative, bytes.len() as u64, blake3::hash(bytes));
        Ok(())
    }

    /// Adds files of one folder, outside `tables/`, for libraries that write files themselves: `write` is given the folder and
    /// creates the files there under their final names.
    pub fn files_by(
        &mut self,
        relatives: &[&str],
        write: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let temps: Vec<PathBuf> = (relatives.iter())
            .map(|relative| self.enter_file(relative))
            .collect::<Result<_>>()?;
        // Under their final names they look like the user's files, so they are listed to be found after a crash.
        self.shared.update(|record| {
            let listed = relatives.iter().map(|relative| relative.to_string());
            record.pending.extend(listed);
            Ok(true)
        })?;
        let run = self.shared.run.clone();
        for relative in relatives {
            disk::remove_file(&disk::resolve(&run, relative)?)?;
        }
        let Some(first) = relatives.first() else {
            return Ok(());
        };
        write(&run.path(disk::parent(first)))?;
        for (relative, temp) in relatives.iter().zip(temps) {
            let path = disk::resolve(&run, relative)?;
            disk::rename(&path, &temp)?;
            let file = File::open(&temp).map_err(Error::io(&path, "opening"))?;
            let bytes = (file.metadata().map_err(Error::io(&path, "reading"))?).len();
            let mut hasher = blake3::Hasher::new();
            (hasher.update_reader(file)).map_err(Error::io(&path, "reading"))?;
            self.add_file(relative, bytes, hasher.finalize());
        }
        Ok(())
    }

    /// The temporary name of a file to be added.
    fn enter_file(&mut self, relative: &str) -> Result<PathBuf> {
        const EXPECTED: &str = "a file path in a folder other than tables/";
        let shared = &self.shared;
        if let Err(found) = disk::check_relative_file(relative) {
            return Err(shared.misuse(EXPECTED, found));
        }
        if relative.starts_with("tables/") {
            return Err(shared.misuse(EXPECTED, relative));
        }
        if self.files.contains_key(relative) || shared.state().listed.contains(relative) {
            return Err(shared.misuse("each file once", format!("{relative} twice")));
        }
        shared.enter_folder(disk::parent(relative))?;
        let temp = disk::temp_path(&disk::resolve(&shared.run, relative)?);
        self.temporary.insert(temp.clone());
        Ok(temp)
    }

    fn add_file(&mut self, relative: &str, bytes: u64, hash: blake3::Hash) {
        let record = FileRecord {
            table: None,
            path: relative.to_string(),
            rows: 0,
            bytes,
            blake3: hash.to_hex().to_string(),
        };
        self.files.insert(relative.to_string(), record);
    }
}
