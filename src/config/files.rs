//! Checks that the configured files and folders exist.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use prospect_common::{Complaint, Complaints, Result, text::did_you_mean};

use super::pipeline::Config;

impl Config {
    /// # Errors
    /// Every missing file and folder, with a similar existing name.
    pub fn check_files(&self) -> Result<()> {
        let (file, folder) = (false, true);
        let named: [([&'static str; 2], Option<&PathBuf>, bool, &str); 7] = [
            (
                ["run", "previous"],
                self.run.previous.as_ref(),
                folder,
                "set it to an earlier run's folder, or remove the key",
            ),
            (
                ["images", "dir"],
                Some(&self.images.dir),
                folder,
                "set it to the image folder",
            ),
            (
                ["images", "metadata"],
                self.images.metadata.as_ref(),
                file,
                "set it to the image metadata, or remove the key",
            ),
            (
                ["model", "path"],
                self.model.path.as_ref(),
                file,
                "set it to a torch.export archive (.pt2), made with `python jobs/export_model.py`",
            ),
            (
                ["model", "sidecar"],
                self.model.sidecar.as_ref(),
                file,
                "set it to the model's JSON file",
            ),
            (
                ["project", "onto"],
                self.project.onto.as_ref(),
                folder,
                "set it to an earlier run's folder, or remove the key",
            ),
            (
                ["explain", "boxes"],
                self.explain.boxes.as_ref(),
                file,
                "set it to a table of boxes, or remove the key",
            ),
        ];
        let complaints: Complaints = (named.into_iter())
            .filter_map(|([section, key], path, folder, next)| {
                let message = format!("{}; {next}", wrong(path?, folder)?);
                Some(Complaint::setting(section, key, message))
            })
            .collect();
        complaints.into_result()
    }
}

/// Why the path is not a file or folder; `None` if it is.
fn wrong(path: &Path, folder: bool) -> Option<String> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(found) if found.is_dir() == folder => None,
        Ok(_) if folder => Some(format!("{shown} is not a folder")),
        Ok(_) => Some(format!("{shown} is a folder, not a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let kind = if folder { "folder" } else { "file" };
            Some(format!("{kind} {shown} does not exist{}", similar(path)))
        }
        Err(error) => Some(format!("{shown} cannot be read: {error}")),
    }
}

/// " (did you mean `x`?)" if the path's first missing component is similar to an existing one.
fn similar(path: &Path) -> String {
    let exists = |folder: &&Path| folder.as_os_str().is_empty() || folder.is_dir();
    let Some(parent) = path.ancestors().skip(1).find(exists) else {
        return String::new();
    };
    let missing = path
        .strip_prefix(parent)
        .ok()
        .and_then(|rest| rest.iter().next());
    let folder = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    let (Some(missing), Ok(entries)) =
        (missing.and_then(|name| name.to_str()), fs::read_dir(folder))
    else {
        return String::new();
    };
    let names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    did_you_mean(missing, &names)
}
