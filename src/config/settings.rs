//! The settings of a configuration file, overridden by `--set` options, and all complaints about them.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use prospect_common::{
    Complaint, Error, Place, Result,
    text::{did_you_mean, escaped},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{source::Source, syntax};

/// A value and its location.
pub(super) struct FoundValue<'a> {
    /// Index into [`Settings::sources`]; orders complaints.
    pub(super) source: usize,
    pub(super) key_span: Range<usize>,
    pub(super) value: Spanned<DeValue<'a>>,
    /// Offset in the source of the spans inside the value.
    pub(super) inner: usize,
    pub(super) used: bool,
}

/// A section of the sources.
#[derive(Default)]
pub(super) struct FoundSection<'a> {
    /// The header, for complaints about missing keys.
    pub(super) span: Option<Range<usize>>,
    pub(super) keys: BTreeMap<String, FoundValue<'a>>,
    known: bool,
}

/// A top-level item that is not a section.
struct Stray {
    name: String,
    /// From the name to the end of the value.
    span: Range<usize>,
    /// `[[name]]`
    doubled: bool,
}

/// A documented key: checked against `pipeline.toml` by a test and by the help.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyInfo {
    pub section: &'static str,
    pub key: &'static str,
    /// `None` if the key is required or optional without a default.
    pub default: Option<toml::Value>,
}

/// All settings of the file, overridden by the `--set` options, and the complaints so far.
pub(super) struct Settings<'a> {
    pub(super) sources: Vec<Source<'a>>,
    pub(super) sections: BTreeMap<String, FoundSection<'a>>,
    strays: Vec<Stray>,
    /// The folder that paths are relative to.
    pub(super) base: PathBuf,
    /// With the index of the source and the offset in it.
    complaints: Vec<(usize, usize, Complaint)>,
    /// Parts of the file that are invalid TOML: the settings parsed there are unreliable.
    invalid: Vec<Range<usize>>,
    pub(super) keys: Vec<KeyInfo>,
}

impl<'a> Settings<'a> {
    /// Parses `text` (the contents of `path`) and the `--set` options.
    pub(super) fn new(path: &'a Path, text: &'a str, set: &'a [String]) -> Settings<'a> {
        let mut settings = Settings::empty(path, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        settings.add_file(table.into_inner());
        let errors = syntax::errors(text, &settings.places(), &errors);
        for error in &errors {
            settings.complain(0, &error.span, Complaint::new(&error.message));
        }
        settings.invalid = errors.into_iter().map(|error| error.invalid).collect();
        for option in set {
            settings.sources.push(Source {
                file: None,
                text: option,
            });
            settings.add_option(option);
        }
        settings
    }

    /// No settings, but a source for complaints.
    pub(super) fn empty(path: &'a Path, text: &'a str) -> Settings<'a> {
        Settings {
            sources: vec![Source {
                file: Some(path),
                text,
            }],
            sections: BTreeMap::new(),
            strays: Vec::new(),
            base: path.parent().unwrap_or(Path::new("")).to_path_buf(),
            complaints: Vec::new(),
            invalid: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// The locations of the file's settings.
    fn places(&self) -> Vec<syntax::Place> {
        let keys = self
            .sections
            .values()
            .flat_map(|section| section.keys.values());
        keys.map(|found| syntax::Place {
            key: found.key_span.clone(),
            value: found.value.span(),
        })
        .collect()
    }

    fn add_file(&mut self, table: DeTable<'a>) {
        for (name, section) in table {
            let span = name.span();
            let value_span = section.span();
            let name = name.into_inner().into_owned();
            match section.into_inner() {
                DeValue::Table(keys) => {
                    self.sections.entry(name.clone()).or_default().span = Some(span);
                    for (key, value) in keys {
                        let key_span = key.span();
                        self.put(&name, &key.into_inner(), 0, key_span, value, 0);
                    }
                }
                other => {
                    let doubled = self.sources[0].text[..span.start].ends_with("[[");
                    self.strays.push(Stray {
                        name,
                        span: match doubled {
                            true => span.start - 2..span.end + 2,
                            false => span.start..value_span.end,
                        },
                        doubled: doubled && matches!(other, DeValue::Array(_)),
                    });
                }
            }
        }
    }

    /// Adds a value, replacing an existing one.
    pub(super) fn put(
        &mut self,
        section: &str,
        key: &str,
        source: usize,
        key_span: Range<usize>,
        value: Spanned<DeValue<'a>>,
        inner: usize,
    ) {
        let found = FoundValue {
            source,
            key_span,
            value,
            inner,
            used: false,
        };
        let section = self.sections.entry(section.to_string()).or_default();
        section.keys.insert(key.to_string(), found);
    }

    /// One `SECTION.KEY=VALUE`.
    fn add_option(&mut self, option: &'a str) {
        let source = self.sources.len() - 1;
        let parts = option
            .split_once('=')
            .and_then(|(name, value)| name.split_once('.').map(|(s, k)| (s, k, value)));
        let Some((section, key, raw)) = parts else {
            let message = "expected SECTION.KEY=VALUE, e.g. --set model.batch_size=64";
            self.complain(source, &(0..option.len()), Complaint::new(message));
            return;
        };
        let (section, key) = (section.trim(), key.trim());
        let offset = option.len() - raw.len();
        let value = match DeValue::parse(raw) {
            Ok(value) => Spanned::new(
                offset + value.span().start..offset + value.span().end,
                value.into_inner(),
            ),
            // A list or a quoted string that does not parse is an error; any other text is a bare word.
            Err(error) if raw.trim_start().starts_with(['[', '{', '"', '\'']) => {
                let span = error.span().unwrap_or(0..raw.len());
                let message = "invalid TOML; put the elements of a list in quotes: [\"a\", \"b\"]";
                let span = offset + span.start..offset + span.end;
                self.complain(source, &span, Complaint::new(message));
                return;
            }
            Err(_) => Spanned::new(offset..option.len(), DeValue::String(raw.into())),
        };
        self.put(section, key, source, 0..offset - 1, value, offset);
    }

    /// Adds a complaint, unless it is inside invalid TOML, which has its own.
    pub(super) fn complain(&mut self, source: usize, span: &Range<usize>, complaint: Complaint) {
        let inside = |part: &Range<usize>| part.start <= span.start && span.start <= part.end;
        if source == 0 && self.invalid.iter().any(inside) {
            return;
        }
        let place = self.sources[source].place(span);
        (self.complaints).push((source, span.start, complaint.at(place)));
    }

    /// Whether the whole file was parsed: only then can missing keys be known.
    pub(super) fn is_whole(&self) -> bool {
        self.invalid.is_empty() && self.strays.is_empty()
    }

    /// Marks a section as known and returns it, creating it if the user lacks it.
    pub(super) fn known(&mut self, name: &str) -> &mut FoundSection<'a> {
        let section = self.sections.entry(name.to_string()).or_default();
        section.known = true;
        section
    }

    /// After all sections have been read: unused keys are unknown. Fails with all complaints, in order of location.
    pub(super) fn finish(mut self) -> Result<Vec<KeyInfo>> {
        let mut complaints: Vec<(usize, Range<usize>, String)> = Vec::new();
        let strays = self.strays.iter();
        complaints.extend(strays.map(|stray| (0, stray.span.clone(), self.stray(stray))));
        for (name, section) in &self.sections {
            if !section.known {
                let message = self.unknown_section(name);
                match &section.span {
                    Some(span) => complaints.push((0, span.clone(), message)),
                    None => complaints.extend(
                        (section.keys.values())
                            .map(|found| (found.source, found.key_span.clone(), message.clone())),
                    ),
                }
                continue;
            }
            for (key, found) in section.keys.iter().filter(|(_, found)| !found.used) {
                let message = self.unknown_key(name, key);
                complaints.push((found.source, found.key_span.clone(), message));
            }
        }
        for (source, span, message) in complaints {
            self.complain(source, &span, Complaint::new(message));
        }
        self.check()?;
        Ok(self.keys)
    }

    /// Fails with the complaints so far, in order of location.
    pub(super) fn check(&mut self) -> Result<()> {
        if self.complaints.is_empty() {
            return Ok(());
        }
        let mut complaints = std::mem::take(&mut self.complaints);
        complaints.sort_by_cached_key(|(source, start, complaint)| {
            (*source, *start, complaint.to_string())
        });
        let complaints = complaints.into_iter();
        Err(Error::Config(
            complaints.map(|(_, _, complaint)| complaint).collect(),
        ))
    }

    /// The location of a setting; of its section's header if it is not set.
    pub(super) fn place(&self, section: &str, key: &str) -> Place {
        let section = self.sections.get(section);
        let found = section.and_then(|section| section.keys.get(key));
        let heading = section.and_then(|section| section.span.clone());
        match (found, heading) {
            (Some(found), _) => self.sources[found.source].place(&found.value.span()),
            (None, Some(heading)) => self.sources[0].place(&heading),
            (None, None) => self.sources[0].whole(),
        }
    }

    fn known_sections(&self) -> Vec<&str> {
        let known = self.sections.iter().filter(|(_, section)| section.known);
        known.map(|(name, _)| name.as_str()).collect()
    }

    fn unknown_section(&self, name: &str) -> String {
        let known = self.known_sections();
        format!(
            "unknown section [{}]{}; known sections: {}",
            escaped(name),
            did_you_mean(name, &known),
            known.join(", ")
        )
    }

    /// The sections that have this key.
    fn sections_with(&self, key: &str) -> Vec<String> {
        let keys = self.keys.iter().filter(|known| known.key == key);
        keys.map(|known| format!("[{}]", known.section)).collect()
    }

    fn unknown_key(&self, section: &str, key: &str) -> String {
        let known = self.keys.iter().filter(|known| known.section == section);
        let known: Vec<&str> = known.map(|known| known.key).collect();
        let hint = match self.sections_with(key).as_slice() {
            [] => did_you_mean(key, &known),
            sections => format!(" (it belongs to {})", sections.join(" or ")),
        };
        format!(
            "unknown key `{}` in [{section}]{hint}; known keys: {}",
            escaped(key),
            known.join(", ")
        )
    }

    fn stray(&self, stray: &Stray) -> String {
        let name = escaped(&stray.name);
        let known = self.known_sections();
        if stray.doubled {
            return format!("section headers have single brackets; write [{name}]");
        }
        if known.contains(&&*stray.name) {
            return format!(
                "{name} is a section; write [{name}] on its own line and its keys under it"
            );
        }
        let header = match self.sections_with(&stray.name).as_slice() {
            [] => format!("its section: [{}]", known.join("], [")),
            sections => sections.join(" or "),
        };
        format!("`{name}` is outside any section; put it under {header}")
    }
}
