//! The architecture: the folders of `src/`, the dependencies between its crates, the wings, and no import cycles between the files
//! of a wing. Imports are read from the source text; a `pub use` is followed to the file that defines the item, and test-only code
//! is ignored.

#[path = "wings/imports.rs"]
mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use imports::{Graph, graph, shortest_cycle};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The wings in the order of `members` in the root Cargo.toml, lowest first.
fn wings() -> Vec<String> {
    let manifest = read(&root().join("Cargo.toml"));
    let members = manifest.split("members = [").nth(1).unwrap();
    members[..members.find(']').unwrap()]
        .split('"')
        .filter_map(|member| member.strip_prefix("src/"))
        .map(str::to_owned)
        .collect()
}

/// The wings that `manifest` depends on, except dev-dependencies.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && section != "[dev-dependencies]" {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            found.extend(name.strip_prefix("prospect-"));
        }
    }
    found
}

/// All Rust files under `folder` by relative path.
fn sources(folder: &Path) -> BTreeMap<String, String> {
    walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
            (name.replace('\\', "/"), read(&path))
        })
        .collect()
}

/// One line per import of a cycle.
fn description(wing: &str, graph: &Graph, cycle: &[String]) -> String {
    let mut text = format!("import cycle in src/{wing}:");
    for (file, next) in cycle.iter().zip(cycle.iter().cycle().skip(1)) {
        let name = &graph[file][next];
        text += &format!("\n  {file} imports `{name}` from {next}");
    }
    text
}

#[test]
fn src_contains_only_the_wings() {
    let expected: BTreeSet<String> = wings()
        .into_iter()
        .chain(["lib.rs", "main.rs"].map(str::to_owned))
        .collect();
    assert_eq!(names_in(&root().join("src")), expected);
}

#[test]
fn wings_depend_only_on_lower_ones() {
    let wings = wings();
    for (height, wing) in wings.iter().enumerate() {
        let manifest = read(&root().join("src").join(wing).join("Cargo.toml"));
        for needed in dependencies(&manifest) {
            assert!(
                wings[..height].iter().any(|below| below == needed),
                "src/{wing}/Cargo.toml depends on prospect-{needed}, which is not below it in the members of Cargo.toml"
            );
        }
    }
}

#[test]
fn files_have_no_import_cycles() {
    let mut cycles = Vec::new();
    for wing in wings() {
        let graph = graph(&sources(&root().join("src").join(&wing)));
        cycles.extend(shortest_cycle(&graph).map(|cycle| description(&wing, &graph, &cycle)));
    }
    assert!(cycles.is_empty(), "{}", cycles.join("\n"));
}

#[test]
fn dev_dependencies_are_ignored() {
    let manifest = "[package]\nname = \"prospect-a\"\n[dependencies]\nprospect-b.workspace = true\nserde = \"1\"\n\
                    [dev-dependencies]\nprospect-c.workspace = true\n[build-dependencies]\nprospect-d = \"1\"\n";
    assert_eq!(dependencies(manifest), ["b", "d"]);
}
