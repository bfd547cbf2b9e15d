//! What is wrong with the command line or the configuration, with the option or setting that it is about.

use std::fmt;

/// One thing that is wrong with the command line or the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// What the user gave that is wrong; none where it is no single option or setting.
    pub origin: Option<Origin>,
    /// The complaint in words; it names its origin.
    pub text: String,
    /// Where the origin stands, once the configuration has been searched for it.
    pub place: Option<Place>,
}

/// How the user gives a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `key = …` below `[section]`, or `--set section.key=…`.
    Setting {
        section: &'static str,
        key: &'static str,
    },
    /// An option of the command line, such as `--layer`.
    Option(&'static str),
}

/// Where a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `pipeline.toml:3:20`, the file with line and column from 1; the file alone where the section is not in it; or `--set`.
    pub name: String,
    /// The line and, below the setting, carets; nothing where there is no such line.
    pub excerpt: String,
}

impl Complaint {
    /// About the command line as a whole, or about nothing that has a name.
    pub fn new(text: impl Into<String>) -> Complaint {
        Complaint {
            origin: None,
            text: text.into(),
            place: None,
        }
    }

    /// About one setting: `[section] key: message`.
    pub fn setting(
        section: &'static str,
        key: &'static str,
        message: impl fmt::Display,
    ) -> Complaint {
        Origin::Setting { section, key }.complaint(message)
    }

    /// About one setting, the subject of a sentence that `predicate` completes: `[section] key must be …`.
    pub fn predicate(
        section: &'static str,
        key: &'static str,
        predicate: impl fmt::Display,
    ) -> Complaint {
        let origin = Origin::Setting { section, key };
        Complaint {
            origin: Some(origin),
            ..Complaint::new(format!("{origin} {predicate}"))
        }
    }

    /// The complaint with the place of its origin.
    pub fn at(self, place: Place) -> Complaint {
        Complaint {
            place: Some(place),
            ..self
        }
    }
}

impl Origin {
    /// `[section] key: message`, or `--option: message`.
    pub fn complaint(self, message: impl fmt::Display) -> Complaint {
        Complaint {
            origin: Some(self),
            ..Complaint::new(format!("{self}: {message}"))
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Setting { section, key } => write!(f, "[{section}] {key}"),
            Origin::Option(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else {
            return f.write_str(&self.text);
        };
        write!(f, "{}: {}", place.name, self.text)?;
        match place.excerpt.as_str() {
            "" => Ok(()),
            excerpt => write!(f, "\n{excerpt}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_names_what_it_is_about_and_where_that_stands() {
        let text = |complaint: Complaint| complaint.to_string();
        let crop = Complaint::setting("input", "crop", "too large");
        assert_eq!(text(crop.clone()), "[input] crop: too large");
        let place = |excerpt: &str| Place {
            name: "a.toml:2:8".into(),
            excerpt: excerpt.into(),
        };
        assert_eq!(
            text(crop.clone().at(place("  2 | crop = 9"))),
            "a.toml:2:8: [input] crop: too large\n  2 | crop = 9"
        );
        assert_eq!(
            text(crop.at(place(""))),
            "a.toml:2:8: [input] crop: too large"
        );
        assert_eq!(
            text(Complaint::predicate("input", "crop", "must be smaller")),
            "[input] crop must be smaller"
        );
        assert_eq!(
            text(Origin::Option("--layer").complaint("no such layer")),
            "--layer: no such layer"
        );
    }
}
