//! The named queries, built-in and from a folder.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use prospect_common::{Error, Result, text::did_you_mean};

use super::Audit;

/// Largest size of a query, in bytes.
const MAX_BYTES: u64 = 1 << 20;

macro_rules! built_in {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../jobs/audits/", $name, ".sql")))),*]
    };
}

/// Names and texts of `jobs/audits`.
const BUILT_IN: &[(&str, &str)] = built_in![
    "attribute_label_lift"
    "background_by_class"
    "blank_maps_by_class"
    "both_detectors_agree"
    "calibration"
    "classes_by_split"
    "classes_confused"
    "classes_overlapping"
    "confident_contradictions"
    "copies_to_remove"
    "dead_units"
    "duplicate_groups"
    "exclusive_units"
    "findings"
    "findings_by_kind"
    "hard_classes"
    "hubs"
    "label_noise_by_class"
    "label_swaps"
    "labels_against_neighbors"
    "leaks"
    "memorised_labels"
    "neighbor_health"
    "new_since_last_night"
    "outliers_not_bad_photos"
    "photo_problems_by_class"
    "review_budget"
    "right_for_the_wrong_reason"
    "same_picture_two_labels"
    "scattered_classes"
    "shortcut_units"
    "suspicious_per_class"
    "troubled_images"
    "units_for_attribute_and_class"
    "unreadable_files"
    "worklist"
    "worst_groups"
];

/// The named queries.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Its files `NAME.sql` take precedence over built-in queries.
    folder: Option<PathBuf>,
}

impl Catalog {
    /// The built-in queries and those of a folder, which take precedence.
    pub fn new(folder: Option<PathBuf>) -> Catalog {
        Catalog { folder }
    }

    /// All names, sorted.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names: BTreeSet<String> = (BUILT_IN.iter())
            .map(|(name, _)| name.to_string())
            .collect();
        if let Some(folder) = &self.folder {
            let read = |error| Error::io(folder, "listing the queries")(error);
            for entry in fs::read_dir(folder).map_err(read)? {
                let file = entry.map_err(read)?.path();
                let is_sql = file.extension().is_some_and(|extension| extension == "sql");
                let stem = file.file_stem().and_then(|stem| stem.to_str());
                names.extend(
                    stem.filter(|stem| is_sql && is_name(stem))
                        .map(String::from),
                );
            }
        }
        Ok(names.into_iter().collect())
    }

    /// The query of that name.
    ///
    /// # Errors
    /// The query is unknown or its header invalid.
    pub fn find(&self, name: &str) -> Result<Audit> {
        let file = (self.folder.as_ref()).map(|folder| folder.join(format!("{name}.sql")));
        if let Some(file) = file.filter(|file| is_name(name) && file.exists()) {
            let text = read(&file)?;
            return Audit::parse(name, &text).map_err(|problems| {
                Error::invalid(
                    &file,
                    "the header of a named query",
                    problems.join("; "),
                    "see `prospect query --show worklist` for an example",
                )
            });
        }
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Audit::parse(name, text)
                .map_err(|problems| Error::internal(name, problems.join("; "))),
            None => {
                let names = self.names()?;
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                Err(Error::usage(format!(
                    "unknown query {name}{}; list all with `prospect query --list`, or write an SQL statement \
                     (\"select …\")",
                    did_you_mean(name, &names)
                )))
            }
        }
    }
}

/// Whether `text` is a name rather than a statement.
pub fn is_name(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    !text.is_empty() && text != "-" && text.chars().all(letter)
}

fn read(file: &Path) -> Result<String> {
    let bytes = fs::metadata(file)
        .map_err(Error::io(file, "reading"))?
        .len();
    if bytes > MAX_BYTES {
        return Err(Error::invalid(
            file,
            "a query of at most a megabyte",
            format!("{bytes} bytes"),
            "remove it from the folder",
        ));
    }
    fs::read_to_string(file).map_err(Error::io(file, "reading"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../jobs/audits");
        let names = Catalog::default().names().unwrap();
        assert_eq!(Catalog::new(Some(folder)).names().unwrap(), names);
        let built_in: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        assert!(built_in.is_sorted() && built_in == names);
    }

    #[test]
    fn folder_adds_to_and_overrides_the_built_in_queries() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("hubs.sql", "-- Mine\nselect 1 as one from images");
        write("more.sql", "-- More\nselect 2 as two from images");
        write("wrong.sql", "-- Wrong\nselect $what from images");
        write("not a name.sql", "");
        write("readme.txt", "");
        let catalog = Catalog::new(Some(folder.path().to_path_buf()));
        assert_eq!(catalog.names().unwrap().len(), BUILT_IN.len() + 2);
        assert_eq!(catalog.find("hubs").unwrap().title, "Mine");
        assert_eq!(catalog.find("more").unwrap().title, "More");
        assert!(catalog.find("leaks").unwrap().title.contains("splits"));
        let error = catalog.find("wrong").unwrap_err().to_string();
        assert!(
            error.contains("wrong.sql") && error.contains("$what"),
            "{error}"
        );
        let error = catalog.find("mroe").unwrap_err().to_string();
        assert!(error.contains("did you mean `more`"), "{error}");
        let gone = Catalog::new(Some(folder.path().join("gone")));
        assert!(gone.names().unwrap_err().to_string().contains("gone"));
    }

    #[test]
    fn names_are_single_words() {
        for name in ["hubs", "both_detectors_agree", "my-own-2"] {
            assert!(is_name(name), "{name}");
        }
        for text in [
            "", "-", "select 1", "../hubs", "hubs.sql", "(select)", "a;b",
        ] {
            assert!(!is_name(text), "{text}");
        }
    }
}
