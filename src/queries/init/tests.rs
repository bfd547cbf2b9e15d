use std::fs;

use prospect_config::{Config, Labels};

use super::*;

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    fs::canonicalize(folder).unwrap().join(name)
}

fn dataset(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    folder
}

fn init(folder: &Path, model: Option<&Path>) -> (Draft, String, Config) {
    let draft = Draft::inspect(folder, &folder.join("photos"), None, model).unwrap();
    let text = draft.to_toml("2026-11-23");
    let config = Config::parse(&folder.join("pipeline.toml"), &text, &[])
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    config.check_files().unwrap();
    (draft, text, config)
}

#[test]
fn folders_determine_labels_and_splits() {
    let files = [
        "train/hat/a.jpg",
        "train/dress/b.jpg",
        "test/hat/c.jpg",
        "notes.txt",
    ];
    let folder = dataset(
        &files
            .map(|file| format!("photos/{file}"))
            .each_ref()
            .map(String::as_str),
    );
    let (draft, text, config) = init(folder.path(), None);
    assert_eq!(config.images.labels, Labels::Folder);
    assert_eq!(config.images.dir, folder.path().join("photos"));
    assert!(text.contains("\ndir = \"photos\"\n"), "{text}");
    assert!(
        text.contains(
            "# Found: 2 classes by the folders' names: hat 2, dress 1.\nlabels = \"folder\"\n"
        ),
        "{text}"
    );
    assert!(
        draft
            .facts
            .contains(&("splits", "train 2, test 1".to_string())),
        "{draft:?}"
    );
    assert_eq!(config.model.path, None);
}

#[test]
fn labels_come_from_a_table_next_to_the_image_folder() {
    let folder = dataset(&["photos/a.jpg", "photos/b.jpg"]);
    let table = folder.path().join("metadata.csv");
    fs::write(
        &table,
        "file_name,label,camera\na.jpg,\"a\nb\",x\nb.jpg,c,y\n",
    )
    .unwrap();
    let (_, text, config) = init(folder.path(), None);
    assert_eq!(
        (config.images.labels, config.images.metadata),
        (Labels::Metadata, Some(table.clone()))
    );
    assert!(text.contains("a\\nb 1, c 1"), "{text}");
    fs::write(&table, "photo,label\na.jpg,x\n").unwrap();
    let (draft, _, config) = init(folder.path(), None);
    assert_eq!(config.images.labels, Labels::None);
    assert!(
        draft.warnings[0].contains("metadata.csv") && draft.warnings[0].contains("file_name"),
        "{draft:?}"
    );
}

#[test]
fn network_is_described_and_missing_preprocessing_added() {
    let folder = dataset(&["photos/a/1.jpg", "photos/b/2.jpg"]);
    let (_, text, config) = init(folder.path(), Some(&golden("residual.pt2")));
    assert_eq!(config.model.path, Some(golden("residual.pt2")));
    assert!(text.contains("# Found: \"auto\" selects layer"), "{text}");
    assert_eq!(config.input, InputOverrides::default());
    // Without a sidecar, [input] is filled in.
    let alone = folder.path().join("alone.pt2");
    fs::copy(golden("residual.pt2"), &alone).unwrap();
    let (draft, _, config) = init(folder.path(), Some(&alone));
    let info = prospect_config::open_model(&alone, None).unwrap();
    info.input_spec(&config.input).unwrap();
    assert!(draft.warnings[0].contains("check [input]"), "{draft:?}");
}

#[test]
fn every_key_is_documented_and_only_detected_settings_are_set() {
    let folder = dataset(&["photos/a.jpg"]);
    let (_, text, config) = init(folder.path(), None);
    for key in Config::keys().unwrap() {
        let line = format!("{} = ", key.key);
        assert!(
            text.contains(&format!("# {line}")) || text.contains(&format!("\n{line}")),
            "{key:?}"
        );
    }
    let set: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(" = ") && !line.starts_with('#'))
        .collect();
    assert_eq!(set, ["dir = \"photos\"", "labels = \"none\""]);
    assert!(
        text.lines().all(|line| line.chars().count() <= 130),
        "{text}"
    );
    assert_eq!(config.run.dir, folder.path().join("runs/default"));
}

#[test]
fn classes_in_deeper_folders_are_pointed_out() {
    let folder = dataset(&["photos/all/a/1.jpg", "photos/all/b/2.jpg"]);
    let (draft, _, config) = init(folder.path(), None);
    assert_eq!(config.images.labels, Labels::None);
    assert!(
        draft.warnings[0].contains("photos/all has several folders"),
        "{draft:?}"
    );
}

#[test]
fn folder_without_images_is_an_error() {
    let folder = dataset(&["photos/a.txt"]);
    let error =
        Draft::inspect(folder.path(), &folder.path().join("photos"), None, None).unwrap_err();
    assert!(error.to_string().contains("--images"), "{error}");
}
