//! Reads one configuration file and the `--set` options over it, key by key, and gathers every complaint with its place.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use crate::{
    error::{Error, Result},
    text::{escaped, shortened},
};

/// Text that settings came from: the file, or one `--set` option.
struct Source<'a> {
    /// The file's path as the user wrote it; `None` for a `--set` option.
    file: Option<&'a Path>,
    text: &'a str,
}

impl Source<'_> {
    /// `message` under the place it is about, with the line and a caret.
    fn complaint(&self, span: &Range<usize>, message: &str) -> String {
        let start = floor_boundary(self.text, span.start);
        let end = floor_boundary(self.text, span.end.max(start));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |at| start + at);
        let line = &self.text[line_start..line_end].trim_end_matches('\r');
        let before = shown(&self.text[line_start..start]);
        let marked = shown(&self.text[start..end.min(line_start + line.len()).max(start)]);
        let caret = format!(
            "{}{}",
            " ".repeat(before.chars().count()),
            "^".repeat(marked.chars().count().max(1))
        );
        let (place, number) = match self.file {
            Some(path) => {
                let number = self.text[..start].matches('\n').count() + 1;
                let column = self.text[line_start..start].chars().count() + 1;
                let path = escaped(&path.display().to_string()).into_owned();
                (format!("{path}:{number}:{column}"), number.to_string())
            }
            None => ("--set".to_string(), String::new()),
        };
        let margin = " ".repeat(number.len());
        format!(
            "{place}: {message}\n  {number} | {}\n  {margin} | {caret}",
            shown(line)
        )
    }
}

/// The greatest character boundary at or before `index`.
fn floor_boundary(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// A piece of a line as it can be shown above a caret: tabs as one space, control characters escaped.
fn shown(text: &str) -> String {
    escaped(&text.replace('\t', " ")).into_owned()
}

/// A value and where it stands.
struct Found<'a> {
    /// Index into [`Settings::sources`]; orders complaints.
    source: usize,
    key_span: Range<usize>,
    value: Spanned<DeValue<'a>>,
    used: bool,
}

/// One section as it was found.
#[derive(Default)]
struct FoundSection<'a> {
    /// The header's place, for what is missing in it.
    span: Option<Range<usize>>,
    keys: BTreeMap<String, Found<'a>>,
    known: bool,
}

/// A documented key: what a test and the help hold against `pipeline.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyInfo {
    pub section: &'static str,
    pub key: &'static str,
    /// `None` where the key has no default: it is required, or absent means "not given".
    pub default: Option<toml::Value>,
}

/// All settings of the file with the `--set` options laid over them, and the complaints so far.
pub(super) struct Settings<'a> {
    sources: Vec<Source<'a>>,
    sections: BTreeMap<String, FoundSection<'a>>,
    base: PathBuf,
    complaints: Vec<(usize, usize, String)>,
    keys: Vec<KeyInfo>,
}

impl<'a> Settings<'a> {
    /// Parses `text` (the contents of `path`) and the `--set` options. Fails only if the file is not TOML at all:
    /// what its settings are is then anybody's guess.
    pub(super) fn new(path: &'a Path, text: &'a str, set: &'a [String]) -> Result<Settings<'a>> {
        let mut settings = Settings {
            sources: vec![Source {
                file: Some(path),
                text,
            }],
            sections: BTreeMap::new(),
            base: path.parent().unwrap_or(Path::new("")).to_path_buf(),
            complaints: Vec::new(),
            keys: Vec::new(),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let complaint = |error: &toml::de::Error| {
                let span = error.span().unwrap_or(0..0);
                settings.sources[0].complaint(&span, error.message().trim())
            };
            return Err(Error::Config(errors.iter().map(complaint).collect()));
        }
        settings.add_file(table.into_inner());
        for option in set {
            settings.sources.push(Source {
                file: None,
                text: option,
            });
            settings.add_option(option);
        }
        Ok(settings)
    }

    fn add_file(&mut self, table: DeTable<'a>) {
        for (name, section) in table {
            let span = name.span();
            let value_span = section.span();
            match section.into_inner() {
                DeValue::Table(keys) => {
                    let found = self
                        .sections
                        .entry(name.into_inner().into_owned())
                        .or_default();
                    found.span = Some(span);
                    for (key, value) in keys {
                        found.keys.insert(
                            key.get_ref().to_string(),
                            Found {
                                source: 0,
                                key_span: key.span(),
                                value,
                                used: false,
                            },
                        );
                    }
                }
                other => {
                    let message = format!(
                        "settings stand in sections: expected `[{}]` and keys below it, found {} outside of any section",
                        name.get_ref(),
                        article(other.type_str())
                    );
                    self.complain(0, &(span.start..value_span.end), &message);
                }
            }
        }
    }

    /// One `SECTION.KEY=VALUE`.
    fn add_option(&mut self, option: &'a str) {
        let source = self.sources.len() - 1;
        let parts = option
            .split_once('=')
            .and_then(|(name, value)| name.split_once('.').map(|(s, k)| (s, k, value)));
        let Some((section, key, raw)) = parts else {
            self.complain(
                source,
                &(0..option.len()),
                "expected SECTION.KEY=VALUE, e.g. --set model.batch_size=64",
            );
            return;
        };
        let (section, key) = (section.trim(), key.trim());
        let offset = option.len() - raw.len();
        let value = match DeValue::parse(raw) {
            Ok(value) => Spanned::new(
                offset + value.span().start..offset + value.span().end,
                value.into_inner(),
            ),
            // A list or a quoted string that does not parse is a slip; any other text is a bare word.
            Err(error) if raw.trim_start().starts_with(['[', '{', '"', '\'']) => {
                let span = error.span().unwrap_or(0..raw.len());
                let message = format!(
                    "{}; a value is written as in TOML, with quotes around each text in a list: [\"a\", \"b\"]",
                    error.message().trim()
                );
                self.complain(source, &(offset + span.start..offset + span.end), &message);
                return;
            }
            Err(_) => Spanned::new(offset..option.len(), DeValue::String(raw.into())),
        };
        self.sections
            .entry(section.to_string())
            .or_default()
            .keys
            .insert(
                key.to_string(),
                Found {
                    source,
                    key_span: 0..offset - 1,
                    value,
                    used: false,
                },
            );
    }

    fn complain(&mut self, source: usize, span: &Range<usize>, message: &str) {
        let text = self.sources[source].complaint(span, message);
        self.complaints.push((source, span.start, text));
    }

    /// Begins to read a section.
    pub(super) fn section<'s>(&'s mut self, name: &'static str) -> SectionReader<'s, 'a> {
        self.sections.entry(name.to_string()).or_default().known = true;
        SectionReader {
            settings: self,
            name,
        }
    }

    /// After all sections were read: what nobody asked for is unknown. Fails with every complaint in order of place.
    pub(super) fn finish(mut self) -> Result<Vec<KeyInfo>> {
        let sections: Vec<&str> = self
            .sections
            .iter()
            .filter(|(_, section)| section.known)
            .map(|(name, _)| name.as_str())
            .collect();
        let mut unknown = Vec::new();
        for (name, section) in &self.sections {
            if !section.known {
                let message = format!(
                    "unknown section [{}]{}; sections are {}",
                    escaped(name),
                    did_you_mean(name, &sections),
                    sections.join(", ")
                );
                match &section.span {
                    Some(span) => unknown.push((0, span.clone(), message.clone())),
                    None => unknown.extend(
                        (section.keys.values())
                            .map(|found| (found.source, found.key_span.clone(), message.clone())),
                    ),
                }
                continue;
            }
            let known: Vec<&str> = (self.keys.iter())
                .filter(|key| key.section == name)
                .map(|key| key.key)
                .collect();
            for (key, found) in section.keys.iter().filter(|(_, found)| !found.used) {
                let message = format!(
                    "unknown key `{}` in [{name}]{}; its keys are {}",
                    escaped(key),
                    did_you_mean(key, &known),
                    known.join(", ")
                );
                unknown.push((found.source, found.key_span.clone(), message));
            }
        }
        for (source, span, message) in unknown {
            self.complain(source, &span, &message);
        }
        if self.complaints.is_empty() {
            return Ok(self.keys);
        }
        self.complaints.sort();
        Err(Error::Config(
            self.complaints
                .into_iter()
                .map(|(_, _, text)| text)
                .collect(),
        ))
    }
}

/// Reads the keys of one section; every key it is asked for is a known key.
pub(super) struct SectionReader<'s, 'a> {
    settings: &'s mut Settings<'a>,
    name: &'static str,
}

impl SectionReader<'_, '_> {
    /// The value of `key`, or its default. `allowed` completes "must be …"; `check` says whether a value of the right type is in range.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        default: T,
        allowed: &str,
        check: impl Fn(&T) -> bool,
    ) -> T
    where
        T: DeserializeOwned + Serialize,
    {
        let documented = toml::Value::try_from(&default).ok();
        self.read(key, documented, allowed, &[], check)
            .unwrap_or(default)
    }

    /// A key that may be absent.
    pub(super) fn optional<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        allowed: &str,
        check: impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.read(key, None, allowed, &[], check)
    }

    /// One of a few words.
    pub(super) fn choice<T>(&mut self, key: &'static str, default: T, words: &[&str]) -> T
    where
        T: DeserializeOwned + Serialize,
    {
        let documented = toml::Value::try_from(&default).ok();
        self.optional_choice(key, documented, words)
            .unwrap_or(default)
    }

    /// One of a few words, or absent.
    pub(super) fn optional_choice<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        documented: Option<toml::Value>,
        words: &[&str],
    ) -> Option<T> {
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        self.read(key, documented, &quoted.join(" or "), words, |_| true)
    }

    /// A path that may be absent, relative to the file's folder.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let path: Option<String> =
            self.read(key, None, "a path", &[], |path: &String| !path.is_empty());
        path.map(|path| self.settings.base.join(path))
    }

    /// A path with a default.
    pub(super) fn path_or(&mut self, key: &'static str, default: &str) -> PathBuf {
        let path = self.value(key, default.to_string(), "a path", |path| !path.is_empty());
        self.settings.base.join(path)
    }

    /// A path that must be given; `purpose` completes "dir is missing: name …".
    pub(super) fn required_path(&mut self, key: &'static str, purpose: &str) -> PathBuf {
        if !self.has(key) {
            let name = self.name;
            let message = format!("[{name}] {key} is missing: name {purpose}");
            let span = self.settings.sections[name].span.clone();
            self.settings.complain(0, &span.unwrap_or(0..0), &message);
        }
        self.path(key).unwrap_or_default()
    }

    /// Whether `key` is given.
    pub(super) fn has(&self, key: &str) -> bool {
        self.settings.sections[self.name].keys.contains_key(key)
    }

    /// A complaint about a key whose own value is fine but does not go with the others.
    pub(super) fn complain(&mut self, key: &str, message: &str) {
        let (source, span) = match self.settings.sections[self.name].keys.get(key) {
            Some(found) => (found.source, found.key_span.clone()),
            None => (0, 0..0),
        };
        let message = format!("[{}] {key} {message}", self.name);
        self.settings.complain(source, &span, &message);
    }

    fn read<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        default: Option<toml::Value>,
        allowed: &str,
        words: &[&str],
        check: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let name = self.name;
        self.settings.keys.push(KeyInfo {
            section: name,
            key,
            default,
        });
        let section = self.settings.sections.get_mut(name)?;
        let found = section.keys.get_mut(key)?;
        found.used = true;
        let source = found.source;
        let value = found.value.clone();
        let span = value.span();
        let raw = &self.settings.sources[source].text[span.clone()];
        let is_option = self.settings.sources[source].file.is_none();
        let word = value.get_ref().as_str().map(str::to_string);
        let parsed = T::deserialize(ValueDeserializer::from(value)).or_else(|error| {
            // `--set run.dir=2026-11-23`: TOML reads a date, the key wants text.
            let text = Spanned::new(span.clone(), DeValue::String(raw.into()));
            match T::deserialize(ValueDeserializer::from(text)) {
                Ok(value) if is_option && word.is_none() => Ok(value),
                _ => Err(error),
            }
        });
        let wrong = match parsed {
            Ok(value) if check(&value) => return Some(value),
            Ok(_) => span.clone(),
            // In a list, the element that is wrong; the value as a whole where serde does not know.
            Err(error) => (error.span())
                .filter(|inner| span.start <= inner.start && inner.end <= span.end)
                .unwrap_or(span.clone()),
        };
        let hint = word.map_or(String::new(), |word| did_you_mean(&word, words));
        let message = format!(
            "[{name}] {key} must be {allowed}, found {}{hint}",
            escaped(&shortened(raw, 60))
        );
        self.settings.complain(source, &wrong, &message);
        None
    }
}

/// " (did you mean `x`?)" where one of `known` is near enough to be meant.
pub(crate) fn did_you_mean(word: &str, known: &[&str]) -> String {
    nearest(word, known).map_or(String::new(), |near| format!(" (did you mean `{near}`?)"))
}

/// The nearest of `known` to `word`, if it is near enough for a slip of the pen.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(&word.to_lowercase(), name), *name))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// `a string`, `an integer`.
fn article(kind: &str) -> String {
    let an = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if an { "an" } else { "a" })
}
