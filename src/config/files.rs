//! Whether the files and folders are there that the configuration names.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use prospect_common::{Complaint, Complaints, Result, text::did_you_mean};

use super::pipeline::Config;

impl Config {
    /// # Errors
    /// Every file and folder that is named and not there, with the nearest name that is.
    pub fn check_files(&self) -> Result<()> {
        let (file, folder) = (false, true);
        let named: [([&'static str; 2], Option<&PathBuf>, bool, &str); 7] = [
            (
                ["run", "previous"],
                self.run.previous.as_ref(),
                folder,
                "name an earlier run's folder, or leave the key out",
            ),
            (
                ["images", "dir"],
                Some(&self.images.dir),
                folder,
                "name the folder of images",
            ),
            (
                ["images", "metadata"],
                self.images.metadata.as_ref(),
                file,
                "name the table of the images, or leave the key out",
            ),
            (
                ["model", "path"],
                self.model.path.as_ref(),
                file,
                "name a torch.export archive (.pt2); `python jobs/export_model.py` makes one",
            ),
            (
                ["model", "sidecar"],
                self.model.sidecar.as_ref(),
                file,
                "name the JSON that belongs to the model",
            ),
            (
                ["project", "onto"],
                self.project.onto.as_ref(),
                folder,
                "name an earlier run's folder, or leave the key out",
            ),
            (
                ["explain", "boxes"],
                self.explain.boxes.as_ref(),
                file,
                "name the table of boxes, or leave the key out",
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

/// Why there is no such file, or no such folder; `None` where there is.
fn wrong(path: &Path, folder: bool) -> Option<String> {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(found) if found.is_dir() == folder => None,
        Ok(_) if folder => Some(format!("{shown} is not a folder")),
        Ok(_) => Some(format!("{shown} is a folder, not a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let kind = if folder { "folder" } else { "file" };
            Some(format!("there is no {kind} {shown}{}", nearest(path)))
        }
        Err(error) => Some(format!("{shown} cannot be read: {error}")),
    }
}

/// " (did you mean `x`?)", where the first part of the path that is not there is nearly one that is.
fn nearest(path: &Path) -> String {
    let is_there = |folder: &&Path| folder.as_os_str().is_empty() || folder.is_dir();
    let Some(parent) = path.ancestors().skip(1).find(is_there) else {
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
