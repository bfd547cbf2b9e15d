//! A problem with the command line or configuration, and the option or setting at fault.

use std::fmt;

/// One problem with the command line or configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The option or setting at fault, if it is a single one.
    pub origin: Option<Origin>,
    /// The message, which names the origin.
    pub text: String,
    /// The origin's location, once looked up in the configuration.
    pub place: Option<Place>,
}

/// The setting or option that a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `key = …` under `[section]`, or `--set section.key=…`.
    Setting {
        section: &'static str,
        key: &'static str,
    },
    /// A command-line option, such as `--layer`.
    Option(&'static str),
}

/// The location of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `pipeline.toml:3:20` (line and column count from 1), the file alone if it lacks the section, or `--set`.
    pub name: String,
    /// The line, with carets under the setting; empty if there is no such line.
    pub excerpt: String,
}

impl Complaint {
    /// About no particular option or setting.
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

    /// About one setting, as a sentence: `[section] key must be …`.
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

    /// Adds the location of the origin.
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
    fn complaints_name_their_origin_and_its_location() {
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
