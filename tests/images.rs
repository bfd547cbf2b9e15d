//! Decoding and preprocessing against Pillow and torchvision (tests/golden/make_preprocess.py), and truncated files.

use std::{collections::HashMap, path::Path};

use prospect::dataset::image::{
    DecodeOptions, Header, ImageError, InputSpec, RgbImage, decode, preprocess, read_header,
};
use serde_json::Value;

const STORED: DecodeOptions = DecodeOptions {
    max_pixels: 1 << 20,
    exif_orientation: false,
};
const UPRIGHT: DecodeOptions = DecodeOptions {
    exif_orientation: true,
    ..STORED
};

/// Shape and bytes of the 8-bit tensors of a safetensors file.
fn tensors(bytes: &[u8]) -> HashMap<String, (Vec<u32>, Vec<u8>)> {
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let (header, data) = bytes[8..].split_at(length);
    let header: HashMap<String, Value> = serde_json::from_slice(header).unwrap();
    let numbers = |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
    let tensors = header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, about)| {
            assert_eq!(about["dtype"], "U8");
            let range = numbers(&about["data_offsets"]);
            (
                name,
                (
                    numbers(&about["shape"]),
                    data[range[0] as usize..range[1] as usize].to_vec(),
                ),
            )
        });
    tensors.collect()
}

struct Golden {
    tensors: HashMap<String, (Vec<u32>, Vec<u8>)>,
    description: Value,
}

fn golden() -> Golden {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let pictures = std::fs::read(folder.join("images.safetensors")).unwrap();
    let description = std::fs::read(folder.join("images.json")).unwrap();
    Golden {
        tensors: tensors(&pictures),
        description: serde_json::from_slice(&description).unwrap(),
    }
}

impl Golden {
    fn bytes(&self, name: &str) -> Vec<u8> {
        self.tensors[name].1.clone()
    }

    /// Width, height and pixels.
    fn picture(&self, name: &str) -> (u32, u32, Vec<u8>) {
        let (shape, pixels) = &self.tensors[name];
        (shape[1], shape[0], pixels.clone())
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let names = self.description["files"].as_array().unwrap().iter();
        let names = names.map(|name| name.as_str().unwrap().to_string());
        names
            .map(|name| (name.clone(), self.bytes(&format!("file/{name}"))))
            .collect()
    }
}

/// Mean and largest absolute difference.
fn difference(a: &[u8], b: &[u8]) -> (f64, u8) {
    assert_eq!(a.len(), b.len());
    let each = a.iter().zip(b).map(|(&a, &b)| a.abs_diff(b));
    let sum: u64 = each.clone().map(u64::from).sum();
    (sum as f64 / a.len() as f64, each.max().unwrap_or(0))
}

fn agree(name: &str, image: &RgbImage, (width, height, pixels): (u32, u32, Vec<u8>)) {
    assert_eq!((image.width, image.height), (width, height), "{name}");
    let (mean, largest) = difference(&image.pixels, &pixels);
    // Decoders of lossy formats may round differently, most at edges of subsampled chroma; lossless ones must agree.
    let allowed = match name {
        "webp-lossy" => (0.1, 2),
        name if name.starts_with("jpeg") => (0.5, 12),
        _ => (0.0, 0),
    };
    assert!(
        mean <= allowed.0 && largest <= allowed.1,
        "{name}: mean {mean:.3}, largest {largest}"
    );
}

#[test]
fn files_decode_as_in_pillow() {
    let golden = golden();
    for (name, bytes) in golden.files() {
        let image = decode(&bytes, &STORED).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            image.header,
            read_header(&bytes, &STORED).unwrap(),
            "{name}"
        );
        assert_eq!(image.header.format, name.split('-').next().unwrap());
        assert_eq!(image.header.orientation, 1);
        // Pillow always applies the orientation of TIFF.
        if name != "tiff-exif-3" {
            agree(&name, &image, golden.picture(&format!("rgb/{name}")));
        }
        if let Some((_, orientation)) = name.split_once("exif-") {
            let image = decode(&bytes, &UPRIGHT).unwrap();
            assert_eq!(image.header.orientation.to_string(), orientation, "{name}");
            agree(&name, &image, golden.picture(&format!("upright/{name}")));
        }
    }
}

#[test]
fn preprocessing_equals_torchvision_bit_for_bit() {
    let golden = golden();
    for (index, case) in golden.description["preprocess"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let spec: InputSpec = serde_json::from_value(case["spec"].clone()).unwrap();
        let (width, height, pixels) =
            golden.picture(&format!("source/{}", case["source"].as_str().unwrap()));
        let header = Header {
            format: "png",
            width,
            height,
            orientation: 1,
        };
        let image = RgbImage {
            width,
            height,
            pixels,
            header,
        };
        let (input, geometry) = preprocess(&image, &spec).unwrap();
        let (width, height, expected) = golden.picture(&format!("preprocess/{index}"));
        assert_eq!(geometry.input_size(), (height, width), "{spec:?}");
        assert_eq!(difference(&input, &expected), (0.0, 0), "{spec:?}");
    }
}

/// As in Pillow, every proper prefix of a JPEG is an error: the end marker is missing.
#[test]
fn truncated_jpegs_are_errors() {
    let golden = golden();
    for name in [
        "jpeg-420",
        "jpeg-progressive",
        "jpeg-grey",
        "jpeg-cmyk",
        "jpeg-restart",
    ] {
        let bytes = golden.bytes(&format!("file/{name}"));
        for length in 0..bytes.len() {
            assert!(
                decode(&bytes[..length], &STORED).is_err(),
                "{name} cut to {length}"
            );
        }
        let half = decode(&bytes[..bytes.len() / 2], &STORED).unwrap_err();
        assert!(half.to_string().starts_with("truncated jpeg"), "{half}");
    }
}

/// Other formats may end in padding or a trailer, but no pixels are invented.
#[test]
fn other_truncated_files_are_errors_or_complete() {
    let golden = golden();
    for name in [
        "png-rgb",
        "webp-lossless",
        "webp-lossy",
        "bmp-rgb",
        "gif-first",
        "tiff-rgb",
        "tiff-lzw",
    ] {
        let bytes = golden.bytes(&format!("file/{name}"));
        let complete = decode(&bytes, &STORED).unwrap();
        let mut errors = 0;
        for length in 0..bytes.len() {
            match decode(&bytes[..length], &STORED) {
                Ok(image) => assert_eq!(
                    image.pixels,
                    complete.pixels,
                    "{name} cut to {length} of {}",
                    bytes.len()
                ),
                Err(_) => errors += 1,
            }
        }
        assert!(
            errors * 10 >= bytes.len() * 4,
            "{name}: {errors} of {}",
            bytes.len()
        );
    }
}

#[test]
fn damaged_files_never_panic() {
    let golden = golden();
    for (name, bytes) in golden.files() {
        for at in (0..bytes.len()).step_by(3) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xA5;
            if let Ok(image) = decode(&damaged, &UPRIGHT) {
                let expected = image.width as usize * image.height as usize * 3;
                assert_eq!(image.pixels.len(), expected, "{name}, byte {at}");
            }
        }
    }
}

#[test]
fn size_limit_applies_before_decoding() {
    let golden = golden();
    let options = DecodeOptions {
        max_pixels: 37 * 26 - 1,
        ..STORED
    };
    for name in [
        "jpeg-420",
        "png-rgb",
        "webp-lossy",
        "bmp-rgb",
        "gif-first",
        "tiff-rgb",
    ] {
        let bytes = golden.bytes(&format!("file/{name}"));
        for result in [
            read_header(&bytes, &options).map(|_| ()),
            decode(&bytes, &options).map(|_| ()),
        ] {
            let expected = ImageError::TooLarge {
                width: 37,
                height: 26,
                max_pixels: 37 * 26 - 1,
            };
            assert_eq!(result, Err(expected), "{name}");
        }
    }
}

#[test]
fn invalid_bytes_are_described() {
    for (bytes, words) in [
        (&b""[..], "empty file"),
        (b"hello, world", "not an image: starts with \"hello, w\""),
        (b"\x00\xff\n", "not an image: starts with \"\\x00\\xff\\n\""),
        (b"\xff\xd8\xff", "truncated jpeg"),
        (
            b"\xff\xd8\xff\xd9",
            "corrupt jpeg: the end marker comes before any image data",
        ),
    ] {
        let error = decode(bytes, &STORED).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}
