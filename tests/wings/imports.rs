//! The imports between the files of a crate.

mod tokens;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use tokens::tokens;

/// For each file, the files it imports from, each with one imported name.
pub type Graph = BTreeMap<String, BTreeMap<String, String>>;

/// Longer chains of re-exports are taken for cycles.
const MAX_DEPTH: usize = 8;

/// The imports between the files of a crate, given by path relative to its lib.rs.
pub fn graph(sources: &BTreeMap<String, String>) -> Graph {
    let mut wing = Wing {
        sources,
        modules: Vec::new(),
    };
    wing.add_file("lib.rs", None, "");
    let mut graph = Graph::new();
    for (id, module) in wing.modules.iter().enumerate() {
        let imported = module.uses.iter().filter(|found| !found.public);
        for path in imported.map(|found| &found.path).chain(&module.mentioned) {
            if let Some(definer) = wing.definer(id, path, 0)
                && definer != module.file
            {
                let names = graph.entry(module.file.clone()).or_default();
                names.entry(definer.to_owned()).or_insert(path.join("::"));
            }
        }
    }
    graph
}

/// The shortest import cycle: each file imports the next, and the last one the first.
pub fn shortest_cycle(graph: &Graph) -> Option<Vec<String>> {
    graph
        .keys()
        .filter_map(|start| shortest_cycle_from(graph, start))
        .min_by_key(Vec::len)
}

fn shortest_cycle_from(graph: &Graph, start: &str) -> Option<Vec<String>> {
    let mut came_from = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for next in graph.get(file).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let mut path = vec![file.to_owned()];
                while let Some(&before) = came_from.get(path.last()?.as_str()) {
                    path.push(String::from(before));
                }
                path.reverse();
                return Some(path);
            }
            if !came_from.contains_key(next.as_str()) {
                came_from.insert(next.as_str(), file);
                queue.push_back(next);
            }
        }
    }
    None
}

type Names = Vec<String>;

/// A file, or a `mod name { … }` in one.
struct Module {
    file: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    uses: Vec<Use>,
    /// Paths in code outside `use`.
    mentioned: Vec<Names>,
}

/// A name imported by a `use`, `*` for all.
struct Use {
    name: String,
    path: Names,
    public: bool,
}

struct Wing<'a> {
    sources: &'a BTreeMap<String, String>,
    modules: Vec<Module>,
}

impl Wing<'_> {
    fn add_file(&mut self, file: &str, parent: Option<usize>, folder: &str) -> usize {
        let tokens = without_tests(&tokens(&self.sources[file]));
        self.add_module(file, parent, folder, &tokens)
    }

    /// Adds a module whose children are in `folder`, which is empty or ends in a slash.
    fn add_module(
        &mut self,
        file: &str,
        parent: Option<usize>,
        folder: &str,
        tokens: &[&str],
    ) -> usize {
        let id = self.modules.len();
        self.modules.push(Module {
            file: file.to_owned(),
            parent,
            children: BTreeMap::new(),
            items: BTreeSet::new(),
            uses: Vec::new(),
            mentioned: Vec::new(),
        });
        let mut rest = tokens;
        while !rest.is_empty() {
            let (item, after) = rest.split_at(item_length(rest));
            self.add_item(id, folder, item);
            rest = after;
        }
        id
    }

    fn add_item(&mut self, id: usize, folder: &str, item: &[&str]) {
        let declared = &item[prefix_length(item)..];
        if let ["mod", name, body @ ..] = declared {
            let folder_of_child = format!("{folder}{name}/");
            let child = if let ["{", body @ .., "}"] = body {
                let file = self.modules[id].file.clone();
                self.add_module(&file, Some(id), &folder_of_child, body)
            } else {
                let file = [
                    format!("{folder}{name}.rs"),
                    format!("{folder}{name}/mod.rs"),
                ]
                .into_iter()
                .find(|file| self.sources.contains_key(file))
                .unwrap_or_else(|| panic!("no file for `mod {name}` in {folder}"));
                self.add_file(&file, Some(id), &folder_of_child)
            };
            self.modules[id].children.insert(String::from(*name), child);
            return;
        }
        let module = &mut self.modules[id];
        let public = item.contains(&"pub");
        match declared {
            ["use", tree @ .., ";"] => read_use(tree, &[], public, &mut module.uses),
            ["macro_rules", "!", name, ..] => {
                module.items.insert(String::from(*name));
            }
            // Items defined by a macro are read from its arguments.
            [_, "!", given @ ..] => module.items.extend(defined_names(given)),
            _ => module.items.extend(defined_names(declared).take(1)),
        }
        if declared.first() != Some(&"use") {
            read_code(item, module);
        }
    }

    /// The file that defines the item `path` in module `id`; `None` for modules and items of other crates.
    fn definer(&self, id: usize, path: &[String], depth: usize) -> Option<&str> {
        let module = &self.modules[id];
        let (name, rest) = path.split_first()?;
        // A module and an item may have the same name.
        if !rest.is_empty()
            && let Some(inner) = self.step(id, name)
        {
            return self.definer(inner, rest, depth);
        }
        if module.items.contains(name) {
            return Some(&module.file);
        }
        module.uses.iter().find_map(|found| {
            if depth == MAX_DEPTH {
                None
            } else if found.name == *name {
                self.definer(id, &[&found.path, rest].concat(), depth + 1)
            } else if found.name == "*" {
                let mut steps = found.path.iter();
                let exported = steps.try_fold(id, |id, name| self.step(id, name))?;
                self.definer(exported, path, depth + 1)
            } else {
                None
            }
        })
    }

    /// The module that `name` refers to in module `id`.
    fn step(&self, id: usize, name: &str) -> Option<usize> {
        match name {
            "crate" => Some(0),
            "self" => Some(id),
            "super" => self.modules[id].parent,
            _ => self.modules[id].children.get(name).copied(),
        }
    }
}

/// Reads a `use` tree after the prefix `before`.
fn read_use(tree: &[&str], before: &[String], public: bool, uses: &mut Vec<Use>) {
    let mut path = before.to_vec();
    let mut rest = tree;
    loop {
        match rest {
            ["::", after @ ..] => rest = after,
            ["{", inner @ .., "}"] => {
                for branch in split_at_commas(inner) {
                    read_use(branch, &path, public, uses);
                }
                return;
            }
            ["self"] if !path.is_empty() => rest = &[],
            ["as", alias] => {
                let name = String::from(*alias);
                uses.push(Use { name, path, public });
                return;
            }
            ["*"] => {
                let name = String::from("*");
                uses.push(Use { name, path, public });
                return;
            }
            [name, after @ ..] => {
                path.push(String::from(*name));
                rest = after;
            }
            [] => {
                if let Some(name) = path.last().cloned() {
                    uses.push(Use { name, path, public });
                }
                return;
            }
        }
    }
}

fn split_at_commas<'a, 'b>(tokens: &'b [&'a str]) -> Vec<&'b [&'a str]> {
    let mut depth = 0;
    tokens
        .split(|&token| {
            depth += nesting(token);
            token == "," && depth == 0
        })
        .collect()
}

/// Reads the paths in `code` and the `use`s in its blocks, which count as the module's.
fn read_code(code: &[&str], module: &mut Module) {
    let mut at = 0;
    while at < code.len() {
        let before = at.checked_sub(1).map_or("", |before| code[before]);
        if code[at] == "use" && code.get(at + 1) != Some(&"<") {
            let length = item_length(&code[at..]);
            read_use(&code[at + 1..at + length - 1], &[], false, &mut module.uses);
            at += length;
            continue;
        }
        if !is_word(code[at]) || ["::", "fn", "mod"].contains(&before) {
            at += 1;
            continue;
        }
        let is_member = before == "." && code.get(at.wrapping_sub(2)) != Some(&".");
        let mut path = vec![String::from(code[at])];
        at += 1;
        while let ["::", name, ..] = code[at..]
            && is_word(name)
        {
            path.push(String::from(name));
            at += 2;
        }
        // Single lower-case words are mostly variables, unless called.
        let names_an_item = path.len() > 1
            || path[0].starts_with(|letter: char| letter.is_ascii_uppercase())
            || matches!(code.get(at), Some(&("(" | "!" | "::")));
        if names_an_item && !is_member {
            module.mentioned.push(path);
        }
    }
}

/// The names after keywords that define items.
fn defined_names(tokens: &[&str]) -> impl Iterator<Item = String> {
    const KEYWORDS: [&str; 8] = [
        "const", "enum", "fn", "static", "struct", "trait", "type", "union",
    ];
    tokens
        .windows(2)
        .filter(|pair| KEYWORDS.contains(&pair[0]) && is_word(pair[1]))
        .filter(|pair| !["async", "extern", "fn", "mut", "unsafe"].contains(&pair[1]))
        .map(|pair| String::from(pair[1]))
}

/// Length in tokens of the item at the start of `tokens`, with its attributes.
fn item_length(tokens: &[&str]) -> usize {
    let prefix = prefix_length(tokens);
    let ends_in_semicolon = match &tokens[prefix..] {
        ["use" | "static" | "type" | "let", ..] => true,
        ["const", name, ..] => !["async", "extern", "fn", "unsafe"].contains(name),
        _ => false,
    };
    let mut depth = 0;
    for (at, &token) in tokens.iter().enumerate().skip(prefix) {
        depth += nesting(token);
        if depth == 0 && (token == ";" || token == "}" && !ends_in_semicolon) {
            return at + 1;
        }
    }
    tokens.len()
}

/// Length in tokens of the attributes and `pub` at the start of an item.
fn prefix_length(tokens: &[&str]) -> usize {
    let mut at = 0;
    loop {
        at += match &tokens[at..] {
            ["#", "!", group @ ..] => 2 + group_length(group),
            ["#", group @ ..] => 1 + group_length(group),
            ["pub", "(", ..] => 1 + group_length(&tokens[at + 1..]),
            ["pub", ..] => 1,
            _ => return at,
        };
    }
}

/// Length in tokens of the bracketed group at the start of `tokens`.
fn group_length(tokens: &[&str]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        depth += nesting(token);
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

fn nesting(token: &str) -> i32 {
    match token {
        "(" | "[" | "{" => 1,
        ")" | "]" | "}" => -1,
        _ => 0,
    }
}

/// Removes items under `#[cfg(test)]` at any depth.
fn without_tests<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let [token, after @ ..] = rest {
        if rest.starts_with(&["#", "[", "cfg", "(", "test", ")", "]"]) {
            rest = &rest[item_length(rest)..];
        } else {
            kept.push(*token);
            rest = after;
        }
    }
    kept
}

fn is_word(token: &str) -> bool {
    token.starts_with(|letter: char| letter == '_' || letter.is_alphabetic())
}

#[test]
fn cycles_are_found() {
    let found = shortest_cycle(&read(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        (
            "b.rs",
            "use super::c; pub struct B; fn f() { c::g::<B>(); }",
        ),
        ("c.rs", "pub fn g<T>() { let _: &'static crate::a::A; }"),
    ]));
    assert_eq!(found.unwrap(), ["a.rs", "b.rs", "c.rs"]);
}

#[test]
fn the_shortest_cycle_is_found() {
    let found = shortest_cycle(&read(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c.rs", "use crate::{a::A, d::D}; pub struct C;"),
        ("d.rs", "use super::c::C as Other; pub struct D;"),
    ]));
    assert_eq!(found.unwrap(), ["c.rs", "d.rs"]);
}

#[test]
fn chains_are_not_cycles() {
    let graph = read(&[
        ("lib.rs", "mod a; pub mod b; pub use a::A;"),
        ("a.rs", "use crate::b; pub struct A(b::B);"),
        ("b/mod.rs", "mod c; pub enum B { C(c::C) }"),
        ("b/c.rs", "pub struct C; // crate::A, super::B\n"),
    ]);
    assert_eq!(edges(&graph), ["a.rs > b/mod.rs", "b/mod.rs > b/c.rs"]);
    assert_eq!(shortest_cycle(&graph), None);
}

#[test]
fn re_exports_are_followed_to_the_definition() {
    let graph = read(&[
        ("lib.rs", "mod a; pub mod b; pub use b::*;"),
        ("a.rs", "use crate::{C, b::d::D as E}; fn f(_: C, _: E) {}"),
        (
            "b/mod.rs",
            "mod c; pub mod d; pub use self::c::C; pub use c::g;",
        ),
        (
            "b/c.rs",
            "use super::super::d::D; pub struct C; pub fn g() {}",
        ),
        ("b/d.rs", "pub struct D;"),
    ]);
    assert_eq!(
        edges(&graph),
        ["a.rs > b/c.rs", "a.rs > b/d.rs", "b/c.rs > b/d.rs"]
    );
}

#[test]
fn uses_of_re_exported_names_count() {
    let graph = read(&[
        (
            "lib.rs",
            "mod a; pub use a::{A, f}; fn g() { f(A::NEW); let a = x.f(); }",
        ),
        ("a.rs", "pub struct A; pub fn f() { super::g(); }"),
    ]);
    assert_eq!(shortest_cycle(&graph).unwrap(), ["a.rs", "lib.rs"]);
}

#[test]
fn tests_are_ignored() {
    let graph = read(&[
        ("lib.rs", "mod a; mod b;"),
        (
            "a.rs",
            "use crate::b::B; pub struct A; #[cfg(test)] mod tests;",
        ),
        ("a/tests.rs", "use crate::b::B;"),
        (
            "b.rs",
            "pub struct B; impl B { #[cfg(test)] fn f() { crate::a::A; } fn g() {} }\n\
             #[cfg(test)] use crate::a::{A}; #[cfg(test)] mod tests { use crate::a::A; fn f() { A; } }",
        ),
    ]);
    assert_eq!(edges(&graph), ["a.rs > b.rs"]);
}

fn read(sources: &[(&str, &str)]) -> Graph {
    let owned = sources
        .iter()
        .map(|&(file, text)| (file.to_owned(), text.to_owned()));
    graph(&owned.collect())
}

fn edges(graph: &Graph) -> Vec<String> {
    graph
        .iter()
        .flat_map(|(file, named)| named.keys().map(move |next| format!("{file} > {next}")))
        .collect()
}
