//! Decoding and preprocessing against Pillow and torchvision (tests/golden/make_preprocess.py), and damaged files.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use prospect::dataset::image::{
    DecodeOptions, Depth, Header, ImageError, InputSpec, RgbImage, decode, preprocess, read_header,
};
use serde_json::Value;

const STORED: DecodeOptions = DecodeOptions {
    max_pixels: 1 << 20,
    exif_orientation: false,
    depth: Depth::Scale,
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
    // Decoders of lossy WebP may round differently; all others must agree.
    let allowed = match name {
        "webp-lossy" => (0.1, 2),
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

/// Files that decoders read differently: many scans, odd sampling, contradicting markers, lost restarts, orientations in every
/// place and type, frames beside their screen (tests/golden/make_photos.py).
#[test]
fn odd_files_decode_as_in_pillow_bit_for_bit() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let tensors = tensors(&std::fs::read(folder.join("photos.safetensors")).unwrap());
    let names = tensors.keys().filter_map(|name| name.strip_prefix("file/"));
    let mut names: Vec<&str> = names.collect();
    names.sort();
    assert!(names.len() > 100);
    let wrong = names.iter().filter_map(|name| {
        let (shape, pixels) = &tensors[&format!("upright/{name}")];
        match decode(&tensors[&format!("file/{name}")].1, &UPRIGHT) {
            Ok(image) if (image.height, image.width) != (shape[0], shape[1]) => {
                Some(format!("{name}: {}x{}", image.width, image.height))
            }
            Ok(image) if image.pixels != *pixels => {
                let (mean, largest) = difference(&image.pixels, pixels);
                Some(format!("{name}: mean {mean:.3}, largest {largest}"))
            }
            Ok(_) => None,
            Err(error) => Some(format!("{name}: {error}")),
        }
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Compares every file of the folder PHOTOS with Pillow's pixels in the folder PILLOW, which
/// `python tests/golden/read_with_pillow.py PHOTOS PILLOW` makes:
/// `PHOTOS=... PILLOW=... cargo test --release --test images -- --ignored --nocapture`.
#[test]
#[ignore = "needs a folder of photos"]
fn files_of_a_folder_decode_as_in_pillow() {
    let folder = |name: &str| PathBuf::from(std::env::var(name).unwrap());
    let (photos, pillow) = (folder("PHOTOS"), folder("PILLOW"));
    let options = DecodeOptions {
        max_pixels: 178_956_970,
        ..UPRIGHT
    };
    let listing = std::fs::read_to_string(pillow.join("files.json")).unwrap();
    let listing: Value = serde_json::from_str(&listing).unwrap();
    let (mut n_equal, mut n_refused, mut n_other) = (0, 0, 0);
    for (name, answer) in listing.as_object().unwrap() {
        let bytes = std::fs::read(photos.join(name)).unwrap();
        let image = decode(&bytes, &options);
        let said = match &image {
            Ok(image) => image.loss.clone().unwrap_or("read".into()),
            Err(error) => format!("refused: {error}"),
        };
        let line = match (image, answer["pixels"].as_str()) {
            (Err(_), None) => {
                n_refused += 1;
                continue;
            }
            (Ok(image), Some(file)) => {
                let expected = std::fs::read(pillow.join(file)).unwrap();
                if image.pixels == expected {
                    n_equal += 1;
                    continue;
                }
                match image.pixels.len() == expected.len() {
                    true => format!("{:?} off: {said}", difference(&image.pixels, &expected)),
                    false => format!("{}x{}: {said}", image.width, image.height),
                }
            }
            (Ok(_), None) => format!("{said}; Pillow: {}", answer["error"]),
            (Err(_), Some(_)) => said,
        };
        n_other += 1;
        println!("{name}: {line}");
    }
    println!("{n_equal} equal, {n_refused} refused by both, {n_other} other");
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
            loss: None,
        };
        let (input, geometry) = preprocess(&image, &spec).unwrap();
        let (width, height, expected) = golden.picture(&format!("preprocess/{index}"));
        assert_eq!(geometry.input_size(), (height, width), "{spec:?}");
        assert_eq!(difference(&input, &expected), (0.0, 0), "{spec:?}");
    }
}

/// Every proper prefix of a file is refused, or is complete, or says what is lost.
#[test]
fn nothing_is_lost_in_silence_from_a_cut_file() {
    let golden = golden();
    for name in [
        "jpeg-420",
        "jpeg-progressive",
        "jpeg-grey",
        "jpeg-cmyk",
        "jpeg-restart",
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
        assert_eq!(complete.loss, None, "{name}");
        for length in 0..bytes.len() {
            if let Ok(image) = decode(&bytes[..length], &STORED) {
                assert!(
                    image.loss.is_some() || image.pixels == complete.pixels,
                    "{name} cut to {length} of {}",
                    bytes.len()
                );
            }
        }
    }
}

/// What is there of a cut file is read: the rows above the cut are the complete file's.
#[test]
fn a_cut_file_is_read_down_to_the_cut() {
    let golden = golden();
    for (name, words) in [
        ("jpeg-420", "the file ends early"),
        ("png-rgb", "black from row "),
        ("bmp-rgb", "the file ends early: "),
        ("gif-first", "Unexpected End of File"),
    ] {
        let bytes = golden.bytes(&format!("file/{name}"));
        let complete = decode(&bytes, &STORED).unwrap();
        let cut = (0..bytes.len()).rev().find_map(|length| {
            let image = decode(&bytes[..length], &STORED).ok()?;
            (image.pixels != complete.pixels).then_some(image)
        });
        let cut = cut.unwrap();
        let loss = cut.loss.unwrap();
        assert!(loss.contains(words), "{name}: {loss}");
        let same = |row: &usize| {
            let range = row * 37 * 3..(row + 1) * 37 * 3;
            cut.pixels[range.clone()] == complete.pixels[range]
        };
        let n_same = (0..26).filter(same).count();
        assert!((4..26).contains(&n_same), "{name}: {n_same} rows");
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
            "truncated jpeg: the file ends before the image data starts",
        ),
    ] {
        let error = decode(bytes, &STORED).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}
