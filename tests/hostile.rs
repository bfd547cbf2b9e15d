//! Memory of a scan of small files that declare large images.

use std::{
    fs::{self, File},
    io::BufWriter,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use jpeg_encoder::{ColorType, Encoder};

/// Kilobytes that the process may have.
const MEMORY: u64 = 1_000_000;
/// Largest side of a square image within the default `max_pixels`.
const SIDE: u16 = 13_377;

fn png(path: &Path, (width, height): (u32, u32), kind: ExtendedColorType) {
    let n_bytes = usize::from(kind.bits_per_pixel() / 8) * width as usize * height as usize;
    let file = BufWriter::new(File::create(path).unwrap());
    PngEncoder::new_with_quality(file, CompressionType::Best, FilterType::NoFilter)
        .write_image(&vec![0; n_bytes], width, height, kind)
        .unwrap();
}

fn jpeg(path: &Path, kind: ColorType, change: impl FnOnce(&mut Encoder<BufWriter<File>>)) {
    let mut encoder = Encoder::new(BufWriter::new(File::create(path).unwrap()), 20);
    change(&mut encoder);
    let n_channels = if kind == ColorType::Cmyk { 4 } else { 3 };
    let n_bytes = n_channels * usize::from(SIDE) * usize::from(SIDE);
    encoder.encode(&vec![0; n_bytes], SIDE, SIDE, kind).unwrap();
}

/// EXIF metadata with the orientation 6: the stored image is turned by a quarter.
const TURNED: &[u8] = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";

fn run_length_bmp() -> Vec<u8> {
    let palette = [0; 1024];
    let start = 14 + 40 + palette.len() as u32;
    let mut bytes = b"BM\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(start.to_le_bytes());
    let side = u32::from(SIDE);
    for word in [40, side, side, 1 | 8 << 16, 1, 0, 0, 0, 0, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(palette);
    // The end of the image.
    bytes.extend([0, 1]);
    bytes
}

/// Runs a command to its end; returns the most memory that it had, in kilobytes. (What the system reports after the end includes the
/// memory of this process when it started the other.)
fn peak_memory(mut command: Command) -> u64 {
    let mut child = command.spawn().unwrap();
    let mut peak = 0;
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak = peak.max(value.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{command:?}");
            assert!(peak > 0, "no memory of {command:?}");
            return peak;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Scans a folder of one image; returns its size and its error or `read`.
fn scanned(name: &str, make: impl FnOnce(&Path)) -> String {
    let project = tempfile::tempdir().unwrap();
    let images = project.path().join("images");
    fs::create_dir(&images).unwrap();
    let file = images.join(name);
    make(&file);
    assert!(file.metadata().unwrap().len() < 10_000_000, "{name}");
    let config = project.path().join("pipeline.toml");
    let settings = "[images]\ndir = \"images\"\nlabels = \"none\"\nmax_bad_fraction = 1.0\n";
    fs::write(&config, settings).unwrap();
    let prospect = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_prospect"));
        command.args(arguments).arg("--config").arg(&config);
        command
    };
    let peak = peak_memory(prospect(&["run", "scan", "--quiet"]));
    assert!(peak < MEMORY, "{name}: {peak} kB");
    let query = "select width, height, coalesce(error, 'read') as outcome from images";
    let output = prospect(&["query", query, "--format", "csv"])
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    table.lines().last().unwrap().to_string()
}

#[test]
fn a_small_file_takes_less_than_a_gigabyte() {
    let square = (SIDE.into(), SIDE.into());
    let wide = scanned("grey16.png", |path| {
        png(path, square, ExtendedColorType::L16)
    });
    assert_eq!(wide, "13377,13377,read");
    for (size, outcome) in [
        ((1, 1 << 20), "1,1048576,read"),
        ((1 << 20, 1), "1048576,1,read"),
        ((170, 1 << 20), "170,1048576,read"),
        ((1 << 20, 170), "1048576,170,read"),
        (
            (1, 178_000_000),
            ",,unsupported png: 1x178000000 pixels: a side has at most 1048576",
        ),
    ] {
        let found = scanned("long.png", |path| png(path, size, ExtendedColorType::L8));
        assert_eq!(found, outcome);
    }
    let cmyk = scanned("cmyk.jpg", |path| jpeg(path, ColorType::Cmyk, |_| {}));
    assert_eq!(cmyk, "13377,13377,read");
    let turned = scanned("turned.jpg", |path| {
        jpeg(path, ColorType::Rgb, |encoder| {
            encoder.add_exif_metadata(TURNED).unwrap();
        })
    });
    assert_eq!(turned, "13377,13377,read");
    let progressive = scanned("progressive.jpg", |path| {
        jpeg(path, ColorType::Rgb, |encoder| {
            encoder.set_progressive(true)
        })
    });
    assert!(
        progressive.contains("more memory than a file of its size"),
        "{progressive}"
    );
    let bmp = scanned("run-length.bmp", |path| {
        fs::write(path, run_length_bmp()).unwrap()
    });
    assert_eq!(bmp, "13377,13377,read");
}
