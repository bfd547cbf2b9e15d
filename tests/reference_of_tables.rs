//! README.md's table reference equals the tables' declarations.

use std::{env, fs};

use prospect::{engine::schema, stages::STAGES};

#[test]
fn readme_lists_the_declared_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(path).unwrap();
    let declared = schema::reference(STAGES.iter().flat_map(|stage| stage.writes).copied());
    let heading = declared.lines().next().unwrap();
    let start = readme
        .find(heading)
        .expect("README.md contains the table reference");
    let end = start + readme[start..].find("\n\n").unwrap() + 1;
    if readme[start..end] == declared {
        return;
    }
    if env::var_os("UPDATE_README").is_some() {
        fs::write(path, [&readme[..start], &declared, &readme[end..]].concat()).unwrap();
        return;
    }
    let listed: Vec<&str> = readme[start..end].lines().collect();
    let missing = declared.lines().find(|line| !listed.contains(line));
    panic!(
        "README.md's table reference is out of date ({}): regenerate it with \
         `UPDATE_README=1 cargo test --test reference_of_tables`",
        missing.unwrap_or("extra rows or another order")
    );
}
