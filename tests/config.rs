//! Invalid configurations and their error messages: each `tests/config/NAME.toml` with its `NAME.txt`. A first line
//! `# prospect …` gives the command; the default is `prospect plan`. `BLESS=1 cargo test --test config` rewrites the messages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

/// A folder with the files of the configurations: a photo, a network with its sidecar, and other sidecars.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("photos")).unwrap();
    image::RgbImage::new(8, 8).save(at("photos/a.png")).unwrap();
    for end in ["pt2", "json"] {
        let golden = cases()
            .with_file_name("golden")
            .join(format!("residual.{end}"));
        fs::copy(golden, at(&format!("net.{end}"))).unwrap();
    }
    for name in ["sidecar.json", "invalid-json-sidecar.json"] {
        fs::copy(cases().join(name), at(name)).unwrap();
    }
    folder
}

/// The program's output and exit status.
fn output(folder: &Path, case: &Path) -> String {
    let config = fs::read(case).unwrap();
    fs::write(folder.join("pipeline.toml"), &config).unwrap();
    let text = String::from_utf8_lossy(&config);
    let command = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# prospect "));
    let output = Command::new(env!("CARGO_BIN_EXE_prospect"))
        .current_dir(folder)
        .args(command.unwrap_or("plan").split(' '))
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8(output.stderr).unwrap();
    format!("{out}{err}exit status {}\n", output.status.code().unwrap())
}

#[test]
fn invalid_configurations_are_reported_with_line_key_and_fix() {
    let folder = folder();
    let mut n = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(cases()).unwrap() {
        let case = entry.unwrap().path();
        if case.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let found = output(folder.path(), &case);
        let golden = case.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&golden, &found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if found != expected {
            wrong.push(format!(
                "{}: expected\n{expected}\nfound\n{found}",
                case.display()
            ));
        }
        assert!(
            found.ends_with("exit status 2\n"),
            "{}: {found}",
            case.display()
        );
        n += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(n >= 20, "{n}");
    assert!(
        !folder.path().join("runs").exists(),
        "a run folder was created"
    );
}
