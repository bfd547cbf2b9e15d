//! Named SQL queries: the files of `jobs/audits`, their headers and parameter binding.
//!
//! A file is one `select` after a header of `--` lines. DuckDB reads it too, and its clients bind the same `$name`:
//!
//! ```sql
//! -- Which labels does the probe not believe?
//! --
//! -- How to read the result.
//! --
//! -- param class class = '' : label of the images; '' for all
//! -- param rows integer = 50 : maximum number of rows
//! -- needs images, probe
//! select … where $class = '' or i.label_name = $class limit $rows
//! ```
//!
//! The first line is the question. `param NAME KIND = DEFAULT : DESCRIPTION` declares a parameter of kind `text`, `class` (the
//! name of a class), `finding` (the name of a kind of finding), `integer` or `number`; `needs` lists the tables.

mod catalog;
mod placeholders;
#[cfg(test)]
mod tests;

use std::fmt;

use prospect_common::{Complaint, Complaints, Result, names, text::did_you_mean};
use prospect_findings::Kind as Finding;
use serde::{Serialize, Serializer};

use placeholders::placeholders;

pub use catalog::{Catalog, is_name};

/// A statement and the declarations in its header.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    pub name: String,
    /// The question, in one line; empty without a header.
    pub title: String,
    pub parameters: Vec<Parameter>,
    /// Tables that it reads.
    pub needs: Vec<String>,
    /// The text, header included.
    #[serde(skip)]
    pub text: String,
}

/// A parameter, `$name` in the statement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameter {
    pub name: String,
    pub kind: Kind,
    pub default: Value,
    pub about: String,
}

names! {
    /// Kinds of parameters.
    pub enum Kind {
        Text = "text",
        /// The name of a class, or empty.
        Class = "class",
        /// The name of a kind of finding, or empty.
        Finding = "finding",
        Integer = "integer",
        Number = "number",
    }
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Integer(i64),
    /// Always finite.
    Number(f64),
}

/// A runnable statement, with every parameter replaced by its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    pub sql: String,
    /// Parameters that name a class: the parameter's name and the class's.
    pub classes: Vec<(String, String)>,
}

impl Kind {
    /// Parses a value from the command line.
    fn parse(self, text: &str) -> Result<Value, String> {
        let number = || text.parse().ok().filter(|number: &f64| number.is_finite());
        match self {
            Kind::Finding if !text.is_empty() => match text.parse::<Finding>() {
                Ok(kind) => Ok(Value::Text(kind.to_string())),
                Err(known) => Err(format!("a kind of finding ({known})")),
            },
            Kind::Text | Kind::Class if text.contains('\0') => Err("text without NUL".into()),
            Kind::Text | Kind::Class | Kind::Finding => Ok(Value::Text(text.to_string())),
            Kind::Integer => {
                let integer = text.parse().map(Value::Integer);
                integer.map_err(|_| "a whole number".into())
            }
            Kind::Number => number().map(Value::Number).ok_or("a number".into()),
        }
    }

    /// Parses a default in a header: an SQL literal.
    fn parse_literal(self, literal: &str) -> Result<Value, String> {
        match self {
            Kind::Text | Kind::Class | Kind::Finding => {
                let inner = (literal.strip_prefix('\'')).and_then(|rest| rest.strip_suffix('\''));
                let inner = inner.filter(|inner| !inner.replace("''", "").contains('\''));
                self.parse(&inner.ok_or("text in single quotes")?.replace("''", "'"))
            }
            Kind::Integer | Kind::Number => self.parse(literal),
        }
    }
}

/// An SQL literal, safe against injection.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Value::Integer(number) if *number < 0 => write!(f, "({number})"),
            Value::Integer(number) => write!(f, "{number}"),
            // With a decimal point and without an exponent, so that no engine reads an integer.
            Value::Number(number) => {
                let digits = format!("{number}");
                let point = if digits.contains('.') { "" } else { ".0" };
                match digits.starts_with('-') {
                    true => write!(f, "({digits}{point})"),
                    false => write!(f, "{digits}{point}"),
                }
            }
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Text(text) => serializer.serialize_str(text),
            Value::Integer(number) => serializer.serialize_i64(*number),
            Value::Number(number) => serializer.serialize_f64(*number),
        }
    }
}

/// `class class = ''`, as in a header.
impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Parameter { name, default, .. } = self;
        write!(f, "{name} {} = {default}", self.kind.name())
    }
}

impl Audit {
    /// Reads the header of a statement.
    ///
    /// # Errors
    /// All errors in the header.
    pub fn parse(name: &str, text: &str) -> Result<Audit, Vec<String>> {
        let header = text
            .lines()
            .map_while(|line| line.trim().strip_prefix("--"));
        let header: Vec<&str> = header.map(str::trim).collect();
        let mut audit = Audit {
            name: name.to_string(),
            title: header.first().unwrap_or(&"").to_string(),
            parameters: Vec::new(),
            needs: Vec::new(),
            text: text.to_string(),
        };
        let mut problems = Vec::new();
        for line in &header {
            if let Some(declared) = line.strip_prefix("param ") {
                match parameter(declared) {
                    Ok(new) if audit.parameters.iter().any(|old| old.name == new.name) => {
                        problems.push(format!("parameter {} is declared twice", new.name));
                    }
                    Ok(new) => audit.parameters.push(new),
                    Err(expected) => {
                        problems.push(format!("`-- {line}`: expected {expected}"));
                    }
                }
            } else if let Some(tables) = line.strip_prefix("needs ") {
                let tables = tables.split(',').map(|table| table.trim().to_string());
                audit.needs.extend(tables);
            }
        }
        let used: Vec<&str> = placeholders(text)
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        for name in &used {
            if !audit.parameters.iter().any(|known| known.name == *name) {
                problems.push(format!(
                    "${name} is not declared: declare it with `-- param {name} text = '' : DESCRIPTION`"
                ));
            }
        }
        for declared in &audit.parameters {
            // DuckDB rejects a value for an unused parameter.
            if !used.contains(&&*declared.name) {
                problems.push(format!("parameter {} is unused", declared.name));
            }
        }
        problems.dedup();
        match problems.is_empty() {
            true => Ok(audit),
            false => Err(problems),
        }
    }

    /// Binds the given `NAME=VALUE` arguments, and defaults for the other parameters.
    ///
    /// # Errors
    /// All unknown parameters and invalid values.
    pub fn bind(&self, given: &[String]) -> Result<Bound> {
        let mut problems = Vec::new();
        let mut values: Vec<Option<Value>> = vec![None; self.parameters.len()];
        for argument in given {
            let Some((name, text)) = argument.split_once('=') else {
                problems.push(format!("-p {argument}: expected NAME=VALUE"));
                continue;
            };
            let at = (self.parameters.iter()).position(|known| known.name == name);
            let Some(at) = at else {
                problems.push(self.unknown(name));
                continue;
            };
            match self.parameters[at].kind.parse(text) {
                Ok(_) if values[at].is_some() => problems.push(format!("-p {name} is given twice")),
                Ok(value) => values[at] = Some(value),
                Err(expected) => problems.push(format!(
                    "-p {name}: expected {expected}, found {text:?} ({})",
                    self.parameters[at].about
                )),
            }
        }
        let complaints = problems.into_iter().map(Complaint::new);
        complaints.collect::<Complaints>().into_result()?;
        let mut classes = Vec::new();
        for (parameter, value) in self.parameters.iter().zip(&values) {
            if let (Kind::Class, Some(Value::Text(class))) = (parameter.kind, value)
                && !class.is_empty()
            {
                classes.push((parameter.name.clone(), class.clone()));
            }
        }
        let value_of = |name: &str| {
            let at = (self.parameters.iter()).position(|known| known.name == name)?;
            let value = values[at].as_ref().unwrap_or(&self.parameters[at].default);
            Some(value.to_string())
        };
        let mut sql = String::with_capacity(self.text.len());
        let mut done = 0;
        for (place, name) in placeholders(&self.text) {
            sql += &self.text[done..place.start];
            sql += &value_of(name).unwrap_or_else(|| self.text[place.clone()].to_string());
            done = place.end;
        }
        sql += &self.text[done..];
        Ok(Bound { sql, classes })
    }

    fn unknown(&self, name: &str) -> String {
        let names: Vec<&str> = (self.parameters.iter()).map(|known| &*known.name).collect();
        let near = did_you_mean(name, &names);
        let of = match self.name.as_str() {
            "" => "the statement".to_string(),
            name => format!("query {name}"),
        };
        let known: Vec<String> = self.parameters.iter().map(Parameter::to_string).collect();
        match known.is_empty() {
            true => format!("-p {name}: {of} has no parameters"),
            false => format!(
                "-p {name}: {of} has no such parameter{near}; it has {}",
                known.join(", ")
            ),
        }
    }
}

/// Parses `NAME KIND = DEFAULT : DESCRIPTION`; the error is what was expected.
fn parameter(declared: &str) -> Result<Parameter, String> {
    const FORM: &str = "`-- param NAME KIND = DEFAULT : DESCRIPTION`";
    let (head, about) = declared.split_once(" : ").ok_or(FORM)?;
    let (head, default) = head.split_once('=').ok_or(FORM)?;
    let words: Vec<&str> = head.split_whitespace().collect();
    let [name, kind] = words[..] else {
        return Err(FORM.into());
    };
    if !placeholders::is_identifier(name) {
        return Err("a name of the letters a-z, 0-9 and _".into());
    }
    let kind: Kind = (kind.parse())
        .map_err(|_| format!("a kind, one of {}, found {kind}", Kind::NAMES.join(", ")))?;
    let default = kind.parse_literal(default.trim())?;
    Ok(Parameter {
        name: name.to_string(),
        kind,
        default,
        about: about.trim().to_string(),
    })
}
