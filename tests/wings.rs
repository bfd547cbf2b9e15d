//! The house: which folders `src/` holds, which wing builds on which, and that no file of a wing imports another in a
//! circle. What a file names is read from its text; a `pub use` is followed to the file that defines the item, and
//! what is compiled for tests alone does not count.

#[path = "wings/imports.rs"]
mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use imports::{Graph, circle, graph};

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

/// The wings in the order of the root Cargo.toml's `members`, the lowest first.
fn wings() -> Vec<String> {
    let manifest = read(&root().join("Cargo.toml"));
    let members = manifest.split("members = [").nth(1).unwrap();
    members[..members.find(']').unwrap()]
        .split('"')
        .filter_map(|member| member.strip_prefix("src/"))
        .map(str::to_owned)
        .collect()
}

/// The wings that `manifest` builds on, those of its tests left out.
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

/// Every Rust file below `folder` by its path from there.
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

/// One line for each import of a circle.
fn told(wing: &str, graph: &Graph, circle: &[String]) -> String {
    let mut text = format!("the files of src/{wing} import each other in a circle:");
    for (file, next) in circle.iter().zip(circle.iter().cycle().skip(1)) {
        let name = &graph[file][next];
        text += &format!("\n  {file} names `{name}` of {next}");
    }
    text
}

#[test]
fn src_holds_the_wings_alone() {
    let expected: BTreeSet<String> = wings()
        .into_iter()
        .chain(["lib.rs", "main.rs"].map(str::to_owned))
        .collect();
    assert_eq!(names_in(&root().join("src")), expected);
}

#[test]
fn a_wing_builds_on_those_below_it() {
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
fn no_files_import_each_other_in_a_circle() {
    let mut complaints = Vec::new();
    for wing in wings() {
        let graph = graph(&sources(&root().join("src").join(&wing)));
        complaints.extend(circle(&graph).map(|circle| told(&wing, &graph, &circle)));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn dependencies_of_tests_are_left_out() {
    let manifest = "[package]\nname = \"prospect-a\"\n[dependencies]\nprospect-b.workspace = true\nserde = \"1\"\n\
                    [dev-dependencies]\nprospect-c.workspace = true\n[build-dependencies]\nprospect-d = \"1\"\n";
    assert_eq!(dependencies(manifest), ["b", "d"]);
}
