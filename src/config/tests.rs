use std::path::{Path, PathBuf};

use prospect_common::{Complaint, Error, Result};
use prospect_dataset::image::{InputOverrides, Size};
use prospect_model::{LayerChoice, device::DeviceChoice, sidecar::Sidecar};

use super::{Config, Labels, sidecar::parse_sidecar, template};

const MINIMAL: &str = "[images]\ndir = \"photos\"\n";

fn parse(text: &str, set: &[&str]) -> Result<Config> {
    let set: Vec<String> = set.iter().map(|option| option.to_string()).collect();
    Config::parse(Path::new("set/up/pipeline.toml"), text, &set)
}

fn complaints(text: &str, set: &[&str]) -> Vec<String> {
    match parse(text, set) {
        Err(Error::Config(complaints)) => complaints.iter().map(Complaint::to_string).collect(),
        other => panic!("expected complaints, got {other:?}"),
    }
}

#[test]
fn paths_are_relative_to_the_file() {
    let text = "[run]\ndir = \"out\"\n[images]\ndir = \"/photos\"\nmetadata = \"m.csv\"\n[model]\npath = \"net.pt2\"\n";
    let config = parse(text, &[]).unwrap();
    assert_eq!(config.run.dir, PathBuf::from("set/up/out"));
    assert_eq!(config.images.dir, PathBuf::from("/photos"));
    assert_eq!(config.images.metadata, Some(PathBuf::from("set/up/m.csv")));
    assert_eq!(
        config.sidecar_path(),
        Some(PathBuf::from("set/up/net.json"))
    );
    let config = Config::parse(Path::new("pipeline.toml"), text, &[]).unwrap();
    assert_eq!(config.run.dir, PathBuf::from("out"));
}

#[test]
fn all_complaints_are_reported_at_once_with_line_and_caret() {
    let text = "\
[images]
dir = \"photos\"
max_bad_fraction = 1.5
[model]
\tbatchsize = 64
device = \"gpu\"
[extract]
layers = [\"layer1\", 2]
[modell]
path = \"x\"
";
    let found = complaints(text, &[]);
    assert_eq!(found.len(), 5, "{found:#?}");
    assert_eq!(
        found[0],
        "set/up/pipeline.toml:3:20: [images] max_bad_fraction must be a number from 0 to 1, found 1.5\n  3 | max_bad_fraction = 1.5\n    |                    ^^^"
    );
    assert!(
        found[1].starts_with("set/up/pipeline.toml:5:2: unknown key `batchsize` in [model] (did you mean `batch_size`?); known keys: path, "),
        "{}",
        found[1]
    );
    assert!(
        found[1].ends_with("  5 |  batchsize = 64\n    |  ^^^^^^^^^"),
        "{}",
        found[1]
    );
    assert!(found[2].contains(
        "device must be \"auto\", \"cpu\" or a CUDA device such as \"cuda:0\", found \"gpu\""
    ));
    assert!(
        found[3].contains(":8:21: [extract] layers must be"),
        "{}",
        found[3]
    );
    assert!(
        found[4].contains("unknown section [modell] (did you mean `model`?); known sections: "),
        "{}",
        found[4]
    );
}

#[test]
fn misspelt_words_get_suggestions() {
    let found = complaints("[images]\ndir = \"x\"\nlabels = \"foldr\"\n", &[]);
    assert!(
        found[0].contains("labels must be \"folder\", \"metadata\" or \"none\", found \"foldr\" (did you mean `folder`?)"),
        "{found:?}"
    );
}

#[test]
fn missing_and_conflicting_settings_are_reported() {
    let found = complaints("", &[]);
    assert!(
        found[0].contains("[images] dir is missing; set it to the image folder"),
        "{found:?}"
    );
    let found = complaints("[images]\ndir = \"x\"\nlabels = \"metadata\"\n", &[]);
    assert!(
        found[0].contains(":3:1: [images] labels is \"metadata\", but"),
        "{found:?}"
    );
}

#[test]
fn values_out_of_range_are_refused() {
    for bad in [
        "[images]\ndir = \"\"",
        "[images]\ndir = 3",
        "[images]\ndir = \"x\"\nmax_pixels = 0",
        "[images]\ndir = \"x\"\nmax_pixels = -1",
        "[images]\ndir = \"x\"\nmax_bad_fraction = nan",
        "[images]\ndir = \"x\"\n[model]\nbatch_size = 0",
        "[images]\ndir = \"x\"\n[model]\nbatch_size = 2.5",
        "[images]\ndir = \"x\"\n[model]\ndevice = \"cuda:x\"",
        "[images]\ndir = \"x\"\n[input]\nresize = 0",
        "[images]\ndir = \"x\"\n[input]\nresize = [1, 2, 3]",
        "[images]\ndir = \"x\"\n[input]\ncrop = \"all\"",
        "[images]\ndir = \"x\"\n[input]\nstd = [1, 1, 0]",
        "[images]\ndir = \"x\"\n[input]\nmean = [0.5, 0.5]",
        "[images]\ndir = \"x\"\n[extract]\nlayers = [\"a\", \"a\"]",
        "[images]\ndir = \"x\"\n[extract]\npart_size = 0",
        "[images]\ndir = \"x\"\n[patches]\nunits = [-1]",
        "[images]\ndir = \"x\"\n[patches]\nunits = \"some\"",
        "[images]\ndir = \"x\"\n[patches]\nk = 0",
        "images = 3",
        "dir = \"x\"",
    ] {
        assert!(!complaints(bad, &[]).is_empty(), "{bad}");
    }
}

#[test]
fn invalid_toml_is_reported_with_its_line() {
    let found = complaints("[images]\ndir = \"x\nlabels = \"none\"\n", &[]);
    assert!(found[0].starts_with("set/up/pipeline.toml:2:"), "{found:?}");
    let found = complaints("[images]\ndir = \"x\"\ndir = \"y\"\n", &[]);
    assert!(
        found[0]
            .starts_with("set/up/pipeline.toml:3:1: [images] dir is set twice, first on line 2;"),
        "{found:?}"
    );
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn set_options_override_the_file_and_take_toml_or_plain_text() {
    let text = "[images]\ndir = \"photos\"\n[model]\nbatch_size = 8\n";
    let set = [
        "model.batch_size=64",
        "model.device=cuda:1",
        "run.dir=2026-11-23",
        "extract.layers=[\"layer3\", \"layer4\"]",
        "explain.layers=layer4",
        "input.resize=[240, 320]",
        "input.crop=none",
        "images.exif_orientation=false",
        "report.title=1.10",
    ];
    let config = parse(text, &set).unwrap();
    assert_eq!(config.model.batch_size, 64);
    assert_eq!(config.model.device, DeviceChoice::Cuda(1));
    assert_eq!(config.run.dir, PathBuf::from("set/up/2026-11-23"));
    assert_eq!(
        config.extract.layers,
        LayerChoice::Named(vec!["layer3".into(), "layer4".into()])
    );
    assert_eq!(
        config.explain.layers,
        LayerChoice::Named(vec!["layer4".into()])
    );
    assert_eq!(
        config.input.resize,
        Some(Size::Exact {
            height: 240,
            width: 320
        })
    );
    assert_eq!(config.input.crop, Some(Size::None));
    assert!(!config.images.exif_orientation);
    assert_eq!(config.report.title, "1.10");
}

#[test]
fn invalid_set_options_are_reported() {
    for (option, expected) in [
        (
            "model.batch_size=many",
            "[model] batch_size must be an integer",
        ),
        ("model.batchsize=3", "did you mean `batch_size`"),
        ("modle.batch_size=3", "did you mean `model`"),
        ("batch_size=3", "expected SECTION.KEY=VALUE"),
        ("model.batch_size", "expected SECTION.KEY=VALUE"),
        ("extract.layers=[layer3]", "elements of a list in quotes"),
    ] {
        let found = complaints(MINIMAL, &[option]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("--set: "), "{found:?}");
        assert!(found[0].contains(expected), "{found:?}");
        assert!(found[0].contains(option), "{found:?}");
    }
    let found = complaints(MINIMAL, &["model.batch_size=many"]);
    assert!(
        found[0].ends_with("   | model.batch_size=many\n   |                  ^^^^"),
        "{}",
        found[0]
    );
}

#[test]
fn invalid_elements_are_located_anywhere_in_a_list() {
    let list = format!("[{}\"é{}\", \"ü\"]", " ".repeat(40), "é".repeat(40));
    for key in ["extract.part_size", "explain.methods", "input.mean"] {
        let found = complaints(MINIMAL, &[&format!("{key}={list}")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(" must be "), "{found:?}");
    }
}

#[test]
fn control_characters_in_the_file_do_not_reach_the_terminal() {
    let found = complaints("[images]\ndir = \"x\"\n\"a\\u001b[2J\" = 1\n", &[]);
    assert!(!found.concat().contains('\u{1b}'), "{found:?}");
    let found = complaints("[images]\ndir = \"x\"\nlabels = \"grüße日本\"\n", &[]);
    assert!(
        found[0].ends_with("   |          ^^^^^^^^^"),
        "{}",
        found[0]
    );
}

#[test]
fn input_settings_override_the_sidecar() {
    let base = InputOverrides {
        resize: Some(Size::Short(256)),
        crop: Some(Size::Short(224)),
        ..InputOverrides::default()
    };
    let config = parse(
        MINIMAL,
        &["input.resize=[10, 20]", "input.interpolation=bicubic"],
    )
    .unwrap();
    let merged = config.input.or(&base);
    assert_eq!(
        merged.resize,
        Some(Size::Exact {
            height: 10,
            width: 20
        })
    );
    assert_eq!(merged.crop, Some(Size::Short(224)));
    let json = serde_json::to_string(&merged).unwrap();
    assert_eq!(
        json,
        r#"{"resize":[10,20],"crop":224,"interpolation":"bicubic"}"#
    );
    let sidecar = format!("{{ \"classes\" : [\"a\\/b\"],\n\"input\": {json} }}");
    let Sidecar {
        input: read,
        classes,
    } = parse_sidecar(Path::new("net.json"), &sidecar).unwrap();
    assert_eq!((read, classes), (merged, vec!["a/b".to_string()]));
    // Keys to be ignored, and null for "not set".
    let loose = r#"{"input": {"resize": 256, "crop": null, "channels": "RGB"}, "by": [{}]}"#;
    let Sidecar {
        input: read,
        classes,
    } = parse_sidecar(Path::new("net.json"), loose).unwrap();
    assert_eq!((read.resize, read.crop), (Some(Size::Short(256)), None));
    assert!(classes.is_empty());
}

/// The `key = value` lines of the demo's pipeline.toml, commented or not, with their sections.
fn documented() -> Vec<(String, String, toml::Value, bool)> {
    let text = include_str!("../../pipeline.toml");
    let mut section = String::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = name.to_string();
        }
        let commented = line.starts_with("# ");
        let Some(key) = template::key_of(line) else {
            continue;
        };
        let table: toml::Table = toml::from_str(line.trim_start_matches("# ")).unwrap();
        lines.push((
            section.clone(),
            key.to_string(),
            table[key].clone(),
            commented,
        ));
    }
    lines
}

#[test]
fn pipeline_toml_documents_every_key_and_default() {
    let documented = documented();
    let keys = Config::keys().unwrap();
    for key in &keys {
        let lines: Vec<_> = (documented.iter())
            .filter(|(section, name, ..)| section == key.section && name == key.key)
            .collect();
        assert!(
            !lines.is_empty(),
            "[{}] {} is not documented",
            key.section,
            key.key
        );
        if let Some(default) = &key.default {
            let stated = lines.iter().find(|(.., commented)| *commented);
            let (.., value, _) = stated
                .unwrap_or_else(|| panic!("[{}] {}: no default stated", key.section, key.key));
            assert_eq!(value, default, "[{}] {}", key.section, key.key);
        }
    }
    for (section, name, ..) in &documented {
        assert!(
            keys.iter()
                .any(|key| key.section == section && key.key == name),
            "[{section}] {name} is documented but unknown"
        );
    }
}

#[test]
fn the_examples_in_pipeline_toml_are_valid() {
    let text = include_str!("../../pipeline.toml");
    let config = Config::parse(Path::new("pipeline.toml"), text, &[]).unwrap();
    assert_eq!(config.run.dir, PathBuf::from("runs/demo"));
    assert_eq!(config.images.labels, Labels::Metadata);
    // The commented lines alone, with the required folder, are also valid.
    let commented: String = text
        .lines()
        .filter(|line| {
            line.starts_with('[') || line.starts_with('#') && template::key_of(line).is_some()
        })
        .map(|line| format!("{}\n", line.trim_start_matches("# ")))
        .collect();
    Config::parse(
        Path::new("pipeline.toml"),
        &commented,
        &["images.dir=x".to_string()],
    )
    .unwrap();
}

#[test]
fn a_missing_file_is_reported_with_a_fix() {
    let error = Config::load(Path::new("/nowhere/pipeline.toml"), &[]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("with -c"), "{error}");
}
