use std::path::Path;

use prospect_dataset::image::{Interpolation, Size};

use super::*;

fn read(json: &str) -> Sidecar {
    parse_sidecar(Path::new("net.json"), json).unwrap()
}

fn refused(json: &str) -> String {
    let error = parse_sidecar(Path::new("net.json"), json).unwrap_err();
    error.to_string()
}

fn square(side: u32) -> Option<Size> {
    Some(Size::Exact {
        height: side,
        width: side,
    })
}

/// The CLIP-like processor of a checkpoint on the Hub.
const CLIP: &str = r#"{
    "crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true,
    "do_rescale": true, "do_resize": true, "image_mean": [0.48, 0.45, 0.40], "image_std": [0.26, 0.26, 0.27],
    "image_processor_type": "CLIPImageProcessor", "resample": 3, "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 224}
}"#;

#[test]
fn hugging_face_s_words_are_read() {
    let clip = read(CLIP).input;
    assert_eq!(
        (clip.resize, clip.crop),
        (Some(Size::Short(224)), square(224))
    );
    assert_eq!(clip.interpolation, Some(Interpolation::Bicubic));
    assert_eq!(clip.mean, Some([0.48, 0.45, 0.40]));
    assert_eq!(clip.std, Some([0.26, 0.26, 0.27]));
    // As ViT's processor writes it: a square without a crop.
    let vit = read(
        r#"{"do_normalize": true, "do_resize": true, "image_mean": 0.5, "image_std": 0.5, "resample": 2, "size": 224}"#,
    );
    assert_eq!((vit.input.resize, vit.input.crop), (square(224), None));
    assert_eq!(vit.input.interpolation, Some(Interpolation::Bilinear));
    assert_eq!(
        (vit.input.mean, vit.input.std),
        (Some([0.5; 3]), Some([0.5; 3]))
    );
    // ConvNeXt's crop_pct: a crop below 384 pixels, a square from there.
    for (edge, resize, crop) in [
        (224, Some(Size::Short(256)), Some(Size::Short(224))),
        (384, square(384), None),
    ] {
        let json = format!(
            r#"{{"size": {{"shortest_edge": {edge}}}, "crop_pct": 0.875, "resample": 3, "image_mean": 0.5, "image_std": 0.5}}"#
        );
        let input = read(&json).input;
        assert_eq!((input.resize, input.crop), (resize, crop));
    }
    let raw = read(r#"{"do_resize": false, "do_normalize": false, "crop_size": 32, "image_mean": [0.5, 0.5, 0.5]}"#).input;
    assert_eq!(
        (raw.resize, raw.crop),
        (Some(Size::None), Some(Size::Short(32)))
    );
    assert_eq!((raw.mean, raw.std), (Some([0.0; 3]), Some([1.0; 3])));
    let codes = [
        Interpolation::Nearest,
        Interpolation::Lanczos,
        Interpolation::Bilinear,
        Interpolation::Bicubic,
        Interpolation::Box,
        Interpolation::Hamming,
    ];
    for (code, filter) in codes.into_iter().enumerate() {
        let json = format!(r#"{{"input": {{"interpolation": {code}}}}}"#);
        assert_eq!(read(&json).input.interpolation, Some(filter));
    }
    for word in [
        "BICUBIC",
        "InterpolationMode.BICUBIC",
        "Image.Resampling.bicubic",
    ] {
        let json = format!(r#"{{"input": {{"interpolation": "{word}"}}}}"#);
        assert_eq!(
            read(&json).input.interpolation,
            Some(Interpolation::Bicubic)
        );
    }
}

#[test]
fn timm_s_words_are_read() {
    let json = r#"{"architecture": "resnet50", "num_classes": 2, "pretrained_cfg": {
        "tag": "a1_in1k", "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "label_names": ["cat", "dog"]}}"#;
    let Sidecar { input, classes } = read(json);
    assert_eq!(
        (input.resize, input.crop),
        (Some(Size::Short(235)), square(224))
    );
    assert_eq!(input.interpolation, Some(Interpolation::Bicubic));
    assert_eq!(input.mean, Some([0.485, 0.456, 0.406]));
    assert_eq!(classes, ["cat", "dog"]);
    let squash = read(&json.replace("center", "squash")).input;
    assert_eq!((squash.resize, squash.crop), (square(235), square(224)));
    let none = refused(&json.replace("\"crop_pct\": 0.95,", ""));
    assert!(
        none.contains("crop_pct is missing beside input_size"),
        "{none}"
    );
    assert!(refused(&json.replace("center", "border")).contains("crop_mode"));
    assert!(refused(&json.replace("[3, 224, 224]", "[3, 224, 192]")).contains("not square"));
}

#[test]
fn class_names_by_index_and_indices_by_name() {
    for names in [
        r#""id2label": {"1": "dog", "0": "cat", "2": "eel"}, "label2id": {"x": 0}"#,
        r#""label2id": {"dog": 1, "cat": 0, "eel": 2}"#,
        r#""class_to_idx": {"dog": 1, "cat": 0, "eel": 2}"#,
        r#""classes": {"1": "dog", "0": "cat", "2": "eel"}"#,
        r#""label_names": ["cat", "dog", "eel"]"#,
    ] {
        assert_eq!(
            read(&format!("{{{names}}}")).classes,
            ["cat", "dog", "eel"],
            "{names}"
        );
    }
    for names in [r#"{"1": "cat"}"#, r#"{"0": 7.5}"#, "7", r#"{"a": "b"}"#] {
        let message = refused(&format!(r#"{{"id2label": {names}}}"#));
        assert!(
            message.contains("id2label must be a list of names"),
            "{message}"
        );
    }
}

#[test]
fn what_would_be_silently_wrong_is_refused() {
    for (json, expected) in [
        (
            r#"{"input": {"mean": [123.7, 116.3, 103.5]}}"#,
            "divide those of 0..255 by 255",
        ),
        (
            r#"{"input": {"std": [58.4, 57.1, 57.4]}}"#,
            "divide those of 0..255 by 255",
        ),
        (
            r#"{"image_mean": [123.7, 116.3, 103.5]}"#,
            "divide those of 0..255 by 255",
        ),
        (r#"{"input": {"mean": [0.5]}}"#, "or one for all"),
        (
            r#"{"input": {"channels": "BGR"}}"#,
            "reverse the input channels",
        ),
        (
            r#"{"input": {"color_space": "bgr"}}"#,
            "reverse the input channels",
        ),
        (
            r#"{"do_flip_channel_order": true}"#,
            "reverse the input channels",
        ),
        (r#"{"input": {"range": "0..255"}}"#, "pixels are in 0..1"),
        (r#"{"input": {"range": [-1, 1]}}"#, "pixels are in 0..1"),
        (r#"{"input": {"range": "0..10"}}"#, "pixels are in 0..1"),
        (r#"{"rescale_factor": 0.00784}"#, "pixels are in 0..1"),
        (r#"{"do_rescale": false}"#, "pixels are in 0..1"),
        (
            r#"{"size": 256, "crop_size": 224, "resample": 3}"#,
            "shortest_edge",
        ),
        (
            r#"{"size": {"longest_edge": 224}, "resample": 3}"#,
            "shortest_edge",
        ),
        (
            r#"{"size": {"shortest_edge": 224}}"#,
            "the interpolation is missing",
        ),
        (r#"{"do_pad": true}"#, "this step is not supported"),
        (
            r#"{"input": {"means": [0.5, 0.5, 0.5]}}"#,
            "an unknown key; known are resize",
        ),
        (
            r#"{"transforms": [{"resize": 224}]}"#,
            r#"write it as "input""#,
        ),
        (
            r#"{"size": {"height": 0, "width": 224}, "resample": 3}"#,
            "1 to 16384",
        ),
    ] {
        let message = refused(json);
        assert!(message.contains(expected), "{json}: {message}");
        assert!(message.lines().next().unwrap().len() < 400, "{message}");
    }
    // What says the same as the default is no reason to refuse.
    for range in [
        r#""0..1 before mean/std""#,
        r#""[0, 1]""#,
        "[0, 1]",
        "[0.0, 1.0]",
    ] {
        let json = format!(
            r#"{{"input": {{"Mean": 0.5, "range": {range}, "channels": "rgb"}}, "size": "3 MB"}}"#
        );
        assert_eq!(read(&json).input.mean, Some([0.5; 3]));
    }
}

#[test]
fn byte_order_marks_are_skipped_and_other_encodings_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.json");
    std::fs::write(&path, b"\xef\xbb\xbf{\"classes\": [\"a\"]}").unwrap();
    assert_eq!(read_sidecar(&path).unwrap().classes, ["a"]);
    std::fs::write(&path, b"\xff\xfe{\0}\0").unwrap();
    let message = read_sidecar(&path).err().unwrap().to_string();
    assert!(message.contains("save the file as UTF-8"), "{message}");
}
