//! Reads the keys of a section and complains about invalid values.

use std::{ops::Range, path::PathBuf};

use prospect_common::{
    Complaint,
    text::{did_you_mean, escaped, shortened},
};
use prospect_model::LayerChoice;
use serde::{Serialize, de::DeserializeOwned};
use toml::{
    Spanned,
    de::{DeValue, ValueDeserializer},
};

use super::settings::{KeyInfo, Settings};

/// Reads the keys of a section; every key read is a known key.
pub(super) struct SectionReader<'s, 'a> {
    settings: &'s mut Settings<'a>,
    name: &'static str,
}

impl<'s, 'a> SectionReader<'s, 'a> {
    /// Starts reading a section.
    pub(super) fn new(settings: &'s mut Settings<'a>, name: &'static str) -> SectionReader<'s, 'a> {
        settings.known(name);
        SectionReader { settings, name }
    }

    /// The value of `key`, or its default. `allowed` completes "must be …"; `check` tests a value of the right type.
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
        self.worded(key, default, allowed, &[], check)
    }

    /// Like [`SectionReader::value`], suggesting one of `words` for a similar value.
    pub(super) fn worded<T>(
        &mut self,
        key: &'static str,
        default: T,
        allowed: &str,
        words: &[&str],
        check: impl Fn(&T) -> bool,
    ) -> T
    where
        T: DeserializeOwned + Serialize,
    {
        let documented = toml::Value::try_from(&default).ok();
        self.read(key, documented, allowed, words, check)
            .unwrap_or(default)
    }

    /// An optional key.
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

    /// One of a few words, optional.
    pub(super) fn optional_choice<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        documented: Option<toml::Value>,
        words: &[&str],
    ) -> Option<T> {
        self.read(key, documented, &enumerated(words), words, |_| true)
    }

    /// A list of distinct words, which are `noun`.
    pub(super) fn choices<T>(
        &mut self,
        key: &'static str,
        noun: &str,
        default: Vec<T>,
        words: &[&str],
        check: impl Fn(&[T]) -> bool,
    ) -> Vec<T>
    where
        T: DeserializeOwned + Serialize + PartialEq,
    {
        let allowed = format!("a list of distinct {noun}, each {}", enumerated(words));
        self.worded(key, default, &allowed, words, |list| {
            check(list) && all_distinct(list)
        })
    }

    /// An optional path, relative to the file's folder.
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

    /// A required path; `purpose` completes "dir is missing; set it to …".
    pub(super) fn required_path(&mut self, key: &'static str, purpose: &str) -> PathBuf {
        if !self.has(key) && self.settings.is_whole() {
            let span = self.settings.known(self.name).span.clone();
            let predicate = format!("is missing; set it to {purpose}");
            let complaint = Complaint::predicate(self.name, key, predicate);
            (self.settings).complain(0, &span.unwrap_or(0..0), complaint);
        }
        self.path(key).unwrap_or_default()
    }

    /// Module paths of layers, or `auto`.
    pub(super) fn layers(&mut self, key: &'static str) -> LayerChoice {
        self.value(
            key,
            LayerChoice::Auto,
            "\"auto\" or a list of distinct module paths such as [\"layer3\", \"layer4\"]",
            |layers| match layers {
                LayerChoice::Auto => true,
                LayerChoice::Named(names) => {
                    names.iter().all(|name| !name.is_empty()) && all_distinct(names)
                }
            },
        )
    }

    /// Whether `key` is set.
    pub(super) fn has(&mut self, key: &str) -> bool {
        self.settings.known(self.name).keys.contains_key(key)
    }

    /// Complains about a key whose value conflicts with others.
    pub(super) fn complain(&mut self, key: &'static str, predicate: &str) {
        if !self.settings.is_whole() {
            return;
        }
        let (source, span) = match self.settings.known(self.name).keys.get(key) {
            Some(found) => (found.source, found.key_span.clone()),
            None => (0, 0..0),
        };
        let complaint = Complaint::predicate(self.name, key, predicate);
        self.settings.complain(source, &span, complaint);
    }

    fn read<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        default: Option<toml::Value>,
        allowed: &str,
        words: &[&str],
        check: impl Fn(&T) -> bool,
    ) -> Option<T> {
        self.settings.keys.push(KeyInfo {
            section: self.name,
            key,
            default,
        });
        let found = self.settings.known(self.name).keys.get_mut(key)?;
        found.used = true;
        let (source, start) = (found.source, found.inner);
        let value = found.value.clone();
        let span = value.span();
        let raw = &self.settings.sources[source].text[span.clone()];
        let is_option = self.settings.sources[source].file.is_none();
        let word = value.get_ref().as_str().map(str::to_string);
        let parsed = T::deserialize(ValueDeserializer::from(value)).or_else(|error| {
            // `--set run.dir=2026-11-23`: a date in TOML, but the key expects text.
            let text = Spanned::new(span.clone(), DeValue::String(raw.into()));
            match T::deserialize(ValueDeserializer::from(text)) {
                Ok(value) if is_option && word.is_none() => Ok(value),
                _ => Err(error),
            }
        });
        let (inner, is_type) = match parsed {
            Ok(value) if check(&value) => return Some(value),
            Ok(_) => (None, true),
            Err(error) => (error.span(), false),
        };
        // The span of the whole value is absolute; spans inside it are relative to its start.
        let inner = inner.map(|inner| match inner == span {
            true => inner,
            false => start + inner.start..start + inner.end,
        });
        let accepted = |text: &str| parse::<T>(text).is_some_and(|value| check(&value));
        // In a list, the invalid element; the whole value if that is unknown.
        let element = wrong_element(raw, accepted);
        let wrong = (element.as_ref())
            .map(|(inner, _)| span.start + inner.start..span.start + inner.end)
            .or(inner.filter(|inner| span.start <= inner.start && inner.end <= span.end))
            .unwrap_or(span.clone());
        let shown = &self.settings.sources[source].text[wrong.clone()];
        let bare = shown.trim_matches(['"', '\'']);
        let mut hint = match element {
            Some((_, true)) => " twice".to_string(),
            _ => did_you_mean(bare, words),
        };
        if hint.is_empty() && !is_type && wrong == span && !raw.starts_with(['[', '{']) {
            let text = quoted(bare);
            let others = [
                bare.to_string(),
                text.clone(),
                format!("[{raw}]"),
                format!("[{text}]"),
            ];
            let valid = (others.into_iter()).find(|other| other != raw && accepted(other));
            hint = valid.map_or(hint, |other| format!("; write {}", escaped(&other)));
        }
        let found = escaped(&shortened(shown, 60)).into_owned();
        let predicate = format!("must be {allowed}, found {found}{hint}");
        let complaint = Complaint::predicate(self.name, key, predicate);
        self.settings.complain(source, &wrong, complaint);
        None
    }
}

/// `"a", "b" or "c"`.
fn enumerated(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Whether the elements are distinct.
pub(super) fn all_distinct<T: PartialEq>(list: &[T]) -> bool {
    (list.iter().enumerate()).all(|(at, one)| !list[..at].contains(one))
}

/// Parses a value.
fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    let value = DeValue::parse(text).ok()?;
    T::deserialize(ValueDeserializer::from(value)).ok()
}

/// Text as a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_string()).to_string()
}

/// The span of a list's first invalid element among valid ones, or of its first duplicate (true), relative to the list's start.
/// `accepted` tests the text of a list.
fn wrong_element(list: &str, accepted: impl Fn(&str) -> bool) -> Option<(Range<usize>, bool)> {
    let value = DeValue::parse(list).ok()?;
    let DeValue::Array(elements) = value.get_ref() else {
        return None;
    };
    let text = |at: usize| &list[elements[at].span()];
    let good: Vec<bool> = (0..elements.len())
        .map(|at| accepted(&format!("[{}]", text(at))))
        .collect();
    let is_duplicate = good.iter().all(|good| *good);
    let wrong = match is_duplicate {
        true => (0..good.len()).find(|&at| (0..at).any(|other| text(other) == text(at))),
        false if good.len() == 1 => Some(0),
        false if good.contains(&true) => good.iter().position(|good| !good),
        false => None,
    };
    wrong.map(|at| (elements[at].span(), is_duplicate))
}
