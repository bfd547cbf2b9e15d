//! Columns with the images' paths, labels and splits under other names.

use prospect_common::{Error, Result, text::escaped};

use super::table::{Attribute, FILE_NAME, LABEL, SPLIT, UserTable};
use crate::votes::LabelColumns;

/// Names, in lower case and without punctuation, that stand for a role if no column has its usual name; the best first.
const FILES: [&str; 8] = [
    "filename",
    "filepath",
    "imagepath",
    "imagefile",
    "imagename",
    "file",
    "image",
    "path",
];
const LABELS: [&str; 4] = ["label", "class", "classname", "category"];
const SPLITS: [&str; 1] = ["split"];

impl UserTable<'_> {
    /// Renames the columns of the images' paths, the labels (if wanted) and the splits to their usual names, and notes what it renamed.
    ///
    /// # Errors
    /// No column of a name in `columns`.
    pub(super) fn with_roles(mut self, columns: &LabelColumns) -> Result<Self> {
        let others: &[&str] = if columns.label { &LABELS } else { &[] };
        self.assign(FILE_NAME, ("file_column", columns.file_column), &FILES)?;
        self.assign(LABEL, ("label_column", columns.label_column), others)?;
        self.assign(SPLIT, ("split_column", columns.split_column), &SPLITS)?;
        Ok(self)
    }

    fn assign(
        &mut self,
        role: &str,
        (key, set): (&str, Option<&str>),
        others: &[&str],
    ) -> Result<()> {
        let named = |name: &str| self.columns.iter().position(|column| column.name == name);
        let simple = |name: &str| -> String {
            let letters = name.chars().filter(|c| c.is_alphanumeric());
            letters.flat_map(char::to_lowercase).collect()
        };
        let found = match set {
            Some(name) => match named(name) {
                Some(at) => Some(at),
                None if rename_list(&mut self.others, name, role) => None,
                None => {
                    return Err(Error::invalid(
                        self.path,
                        format!("a column {name}, because of [images] {key}"),
                        format!("the columns {}", self.names()),
                        "correct the setting or the column",
                    ));
                }
            },
            None if named(role).is_some() || rename_list(&mut self.others, role, role) => None,
            None => {
                let mut simple_names = others.iter().map(|other| {
                    let mut columns = self.columns.iter();
                    columns.position(|column| simple(&column.name) == *other)
                });
                simple_names.find_map(|at| at)
            }
        };
        let Some(at) = found.filter(|&at| self.columns[at].name != role) else {
            return Ok(());
        };
        if let Some(other) = named(role) {
            self.columns[other].name = format!("metadata_{role}");
        }
        let name = std::mem::replace(&mut self.columns[at].name, role.to_string());
        if set.is_none() {
            let name = escaped(&name);
            (self.notes).push(format!(
                "no column {role}; its column {name} is taken for it"
            ));
        }
        Ok(())
    }
}

/// Renames a column of lists, which is refused where one value is needed. Returns whether there is one.
fn rename_list(others: &mut [Attribute], name: &str, role: &str) -> bool {
    let column = others.iter_mut().find(|column| column.name == name);
    column
        .map(|column| column.name = role.to_string())
        .is_some()
}
