//! The labels of several annotators per image: votes or probabilities of each class, or one column per annotator.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use prospect_common::{Error, Result, text};

use crate::user_table::UserTable;

/// The metadata's columns with labels. Names of columns may contain one `*`.
#[derive(Debug, Clone, Copy, Default)]
pub struct LabelColumns<'c> {
    /// Whether the column `label` holds the labels; otherwise it is an attribute.
    pub label: bool,
    /// Columns with the votes for a class, or its probability. The class is the text at the `*`, or the whole name.
    pub votes: &'c [String],
    /// Columns with the label by one annotator.
    pub annotators: &'c [String],
    /// The columns of the images' paths, the labels and the splits, if they have other names than usual.
    pub file_column: Option<&'c str>,
    pub label_column: Option<&'c str>,
    pub split_column: Option<&'c str>,
}

/// The votes of each row of the metadata.
#[derive(Debug, Clone, Default)]
pub struct Votes {
    /// Positive votes, by class.
    rows: Vec<BTreeMap<String, f64>>,
}

/// A summary of an image's votes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement<'v> {
    /// Sum of the votes.
    pub votes: f64,
    /// The class with the most votes, the first by name of several.
    pub majority: &'v str,
    /// Fraction of the votes for it.
    pub majority_share: f64,
    /// Fraction of the votes for the image's label.
    pub agreement: Option<f64>,
    /// Of the votes, in bits.
    pub entropy: f64,
}

impl LabelColumns<'_> {
    /// Whether a column's cells are text whatever they look like.
    pub(crate) fn is_text(&self, name: &str) -> bool {
        (self.annotators.iter()).any(|pattern| at_star(pattern, name).is_some())
    }
}

impl Votes {
    /// Removes the columns from the table and returns their votes; `None` if none are set.
    ///
    /// # Errors
    /// No column of such a name; votes that are not numbers from 0.
    pub(crate) fn take(table: &mut UserTable, columns: &LabelColumns) -> Result<Option<Votes>> {
        let mut rows = Vec::new();
        for pattern in columns.votes {
            for (name, class) in matching(table, pattern)? {
                read_votes(table, &name, &class, &mut rows)?;
            }
        }
        for pattern in columns.annotators {
            for (name, _) in matching(table, pattern)? {
                if let Some(labels) = table.take_text(&name)? {
                    let classes = labels.iter().map(|label| Some((label?.trim(), 1.0)));
                    add(&mut rows, classes);
                }
            }
        }
        let is_set = !columns.votes.is_empty() || !columns.annotators.is_empty();
        Ok(is_set.then_some(Votes { rows }))
    }

    /// The class with the most votes, the first by name of several.
    pub(crate) fn majority(&self, row: usize) -> Option<&str> {
        let votes = self.rows.get(row)?.iter();
        let most = votes.reduce(|most, next| if next.1 > most.1 { next } else { most });
        most.map(|(class, _)| class.as_str())
    }

    /// The votes of a row compared with the image's label; `None` without votes.
    pub fn agreement(&self, row: u32, label: Option<&str>) -> Option<Agreement<'_>> {
        let majority = self.majority(row as usize)?;
        let votes = &self.rows[row as usize];
        let sum: f64 = votes.values().sum();
        let shares = votes.values().map(|votes| votes / sum);
        Some(Agreement {
            votes: sum,
            majority,
            majority_share: votes.get(majority).copied().unwrap_or(0.0) / sum,
            agreement: label.map(|label| votes.get(label).copied().unwrap_or(0.0) / sum),
            entropy: shares
                .map(|share| -share * share.log2())
                .sum::<f64>()
                .max(0.0),
        })
    }
}

/// Names of the matching columns, each with the text at the `*`.
fn matching(table: &UserTable, pattern: &str) -> Result<Vec<(String, String)>> {
    let matching = table.columns.iter().filter_map(|column| {
        let class = at_star(pattern, &column.name)?;
        Some((column.name.clone(), class.to_string()))
    });
    let found: Vec<(String, String)> = matching.collect();
    if found.is_empty() {
        return Err(Error::invalid(
            table.path,
            format!("columns {pattern}, because of [images] votes or annotators"),
            format!("the columns {}", table.names()),
            "correct the setting or the columns",
        ));
    }
    Ok(found)
}

/// The text at the `*` of the pattern, or the whole name if there is none; `None` for other names.
fn at_star<'n>(pattern: &str, name: &'n str) -> Option<&'n str> {
    match pattern.split_once('*') {
        None => (pattern == name).then_some(name),
        Some((start, end)) => name.strip_prefix(start)?.strip_suffix(end),
    }
}

fn read_votes(
    table: &mut UserTable,
    name: &str,
    class: &str,
    rows: &mut Vec<BTreeMap<String, f64>>,
) -> Result<()> {
    let path = table.path;
    let refuse = |found: String| {
        Error::invalid(
            path,
            format!(
                "votes or probabilities from 0 in column {}",
                text::escaped(name)
            ),
            found,
            "correct the column, or [images] votes",
        )
    };
    let Some(at) = table.columns.iter().position(|column| column.name == name) else {
        return Ok(());
    };
    let values = &table.columns[at].values;
    if !values.data_type().is_numeric() && values.null_count() < values.len() {
        return Err(refuse("text".into()));
    }
    let values = cast(values, &DataType::Float64).map_err(|error| refuse(error.to_string()))?;
    let values = values.as_primitive::<Float64Type>();
    for (row, votes) in values.iter().enumerate() {
        if votes.is_some_and(|votes| !(0.0..f64::INFINITY).contains(&votes)) {
            let votes = votes.unwrap_or_default();
            return Err(refuse(format!("{votes} in {}", table.place(row))));
        }
    }
    add(rows, values.iter().map(|votes| Some((class, votes?))));
    table.columns.remove(at);
    Ok(())
}

fn add<'c>(
    rows: &mut Vec<BTreeMap<String, f64>>,
    votes: impl ExactSizeIterator<Item = Option<(&'c str, f64)>>,
) {
    rows.resize(votes.len(), BTreeMap::new());
    for (row, vote) in rows.iter_mut().zip(votes) {
        if let Some((class, votes)) =
            vote.filter(|(class, votes)| !class.is_empty() && *votes > 0.0)
        {
            *row.entry(class.to_string()).or_default() += votes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(csv: &str, votes: &[&str], annotators: &[&str]) -> Result<(Votes, String)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metadata.csv");
        fs::write(&path, csv).unwrap();
        let own = |names: &[&str]| {
            names
                .iter()
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
        };
        let (votes, annotators) = (own(votes), own(annotators));
        let columns = LabelColumns {
            label: true,
            votes: &votes,
            annotators: &annotators,
            ..LabelColumns::default()
        };
        let mut table = UserTable::read(&path, &columns)?;
        let votes = Votes::take(&mut table, &columns)?.unwrap_or_default();
        Ok((votes, table.names()))
    }

    #[test]
    fn votes_are_counted_by_class() {
        let csv =
            "file_name,n_cat,n_dog,n_owl,age\na,3,1,0,2\nb,,2,2,3\nc,0,0,,4\nd,0.25,0.5,.25,5\n";
        let (votes, names) = read(csv, &["n_*"], &[]).unwrap();
        assert_eq!(names, "file_name, age");
        let found = votes.agreement(0, Some("cat")).unwrap();
        assert_eq!((found.votes, found.majority), (4.0, "cat"));
        assert_eq!((found.majority_share, found.agreement), (0.75, Some(0.75)));
        let expected = 0.75 * (4.0f64 / 3.0).log2() + 0.25 * 2.0;
        assert!((found.entropy - expected).abs() < 1e-12);
        // A tie goes to the first name; a label without votes has no agreement.
        let found = votes.agreement(1, Some("cat")).unwrap();
        assert_eq!(
            (found.majority, found.agreement, found.entropy),
            ("dog", Some(0.0), 1.0)
        );
        assert_eq!(votes.agreement(2, Some("cat")), None);
        let found = votes.agreement(3, None).unwrap();
        assert_eq!(
            (found.votes, found.majority, found.agreement),
            (1.0, "dog", None)
        );
        assert_eq!(votes.agreement(4, None), None);

        let (votes, names) = read(csv, &["n_cat", "n_dog"], &[]).unwrap();
        assert_eq!(votes.majority(0), Some("n_cat"));
        assert_eq!(names, "file_name, n_owl, age");
    }

    #[test]
    fn annotators_have_a_vote_each() {
        let csv = "file_name,by_1,by_2,by_3\na,07,7,07\nb,7,,\nc,,,\n";
        let (votes, names) = read(csv, &[], &["by_*"]).unwrap();
        assert_eq!(names, "file_name");
        let found = votes.agreement(0, Some("07")).unwrap();
        assert_eq!((found.votes, found.majority), (3.0, "07"));
        assert_eq!(found.agreement, Some(2.0 / 3.0));
        let found = votes.agreement(1, Some("7")).unwrap();
        assert_eq!((found.agreement, found.entropy), (Some(1.0), 0.0));
        assert_eq!(votes.majority(2), None);
    }

    #[test]
    fn other_columns_are_refused() {
        let csv = "file_name,n_cat,n_dog\na,1,-2\n";
        for (csv, pattern, words) in [
            (csv, "m_*", "expected columns m_*"),
            (csv, "n_*", "found -2 in line 2"),
            (
                "file_name,n_cat\na,many\n",
                "n_*",
                "in column n_cat, found text",
            ),
        ] {
            let error = read(csv, &[pattern], &[]).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
