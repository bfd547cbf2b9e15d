//! Decoding, resizing and cropping on one thread against Pillow, in alternating rounds.
//!
//!     BENCH_IMAGES=photos BENCH_PYTHON=python3 cargo bench --bench decode
//!
//! The best round of each counts, since other processes disturb it least.

use std::{
    env, fs,
    hint::black_box,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use prospect::dataset::{
    image::{DecodeOptions, Depth, InputSpec, Interpolation, Resize, decode, preprocess, quality},
    listing,
};

const ROUNDS: usize = 9;
const MAX_FILES: usize = 200;

const OPTIONS: DecodeOptions = DecodeOptions {
    max_pixels: 1 << 28,
    exif_orientation: false,
    depth: Depth::Scale,
};

/// Seconds for decoding, resizing with cropping, and the quality figures.
fn round(files: &[Vec<u8>], spec: &InputSpec) -> [f64; 3] {
    let mut seconds = [0.0; 3];
    for bytes in files {
        let start = Instant::now();
        let image = decode(bytes, &OPTIONS).expect("checked before");
        let decoded = Instant::now();
        black_box(preprocess(&image, spec).expect("any size can be resized"));
        let prepared = Instant::now();
        black_box(quality(&image));
        let measured = Instant::now();
        let steps = [start, decoded, prepared, measured];
        for (sum, step) in seconds.iter_mut().zip(steps.windows(2)) {
            *sum += (step[1] - step[0]).as_secs_f64();
        }
    }
    seconds
}

struct Peer {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    version: String,
}

impl Peer {
    fn start(python: &str, list: &Path) -> Peer {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer_decode.py");
        let mut process = Command::new(python)
            .arg(script)
            .arg(list)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("BENCH_PYTHON is a Python with Pillow");
        let ask = process.stdin.take().expect("piped");
        let mut answers = BufReader::new(process.stdout.take().expect("piped"));
        let mut version = String::new();
        answers
            .read_line(&mut version)
            .expect("the peer prints its version");
        Peer {
            process,
            ask,
            answers,
            version: version.trim().to_string(),
        }
    }

    fn round(&mut self) -> [f64; 2] {
        writeln!(self.ask, "go").expect("the peer listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the peer answers");
        let numbers: Vec<f64> = line
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        numbers.try_into().expect("two numbers")
    }
}

fn keep_best<const N: usize>(best: &mut [f64; N], new: [f64; N]) {
    for (best, new) in best.iter_mut().zip(new) {
        *best = best.min(new);
    }
}

fn main() {
    let Some(folder) = env::var_os("BENCH_IMAGES").map(PathBuf::from) else {
        println!(
            "set BENCH_IMAGES to a folder of photos, and BENCH_PYTHON to a Python with Pillow"
        );
        return;
    };
    let spec = InputSpec {
        resize: Resize::Short(256),
        crop: Some((224, 224)),
        interpolation: Interpolation::Bilinear,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let listing = listing::walk(&folder, Path::new("runs"), listing::Links::Follow)
        .expect("BENCH_IMAGES is a folder");
    let (mut names, mut files) = (Vec::new(), Vec::new());
    for entry in listing.entries.iter().take(MAX_FILES) {
        let bytes = fs::read(&entry.file).expect("a file that was listed");
        if decode(&bytes, &OPTIONS).is_ok() {
            names.push(entry.file.display().to_string());
            files.push(bytes);
        }
    }
    let list = env::temp_dir().join(format!("prospect-bench-{}", std::process::id()));
    fs::write(&list, names.join("\n")).expect("the temporary folder is writable");
    let mut peer = env::var("BENCH_PYTHON")
        .ok()
        .map(|python| Peer::start(&python, &list));
    let (mut ours, mut theirs) = ([f64::MAX; 3], [f64::MAX; 2]);
    for _ in 0..ROUNDS {
        keep_best(&mut ours, round(&files, &spec));
        if let Some(peer) = &mut peer {
            keep_best(&mut theirs, peer.round());
        }
    }
    let per_image = |seconds: f64| seconds / files.len() as f64 * 1e3;
    println!(
        "{} images, one thread, ms per image, best of {ROUNDS} rounds",
        files.len()
    );
    println!("                decode  resize+crop  both");
    let line = |name: &str, decode: f64, prepare: f64| {
        let [decode, prepare] = [per_image(decode), per_image(prepare)];
        println!(
            "{name:<14} {decode:>7.3} {prepare:>12.3} {:>6.3}  {:.0} images/s",
            decode + prepare,
            1e3 / (decode + prepare)
        );
    };
    line("prospect", ours[0], ours[1]);
    if let Some(Peer {
        process,
        ask,
        version,
        ..
    }) = &mut peer
    {
        line(version, theirs[0], theirs[1]);
        println!(
            "times faster  {:>7.2} {:>12.2} {:>6.2}",
            theirs[0] / ours[0],
            theirs[1] / ours[1],
            (theirs[0] + theirs[1]) / (ours[0] + ours[1])
        );
        ask.flush().ok();
        process.kill().ok();
        process.wait().ok();
    }
    println!(
        "quality figures, which only scan computes: {:.3} ms",
        per_image(ours[2])
    );
    fs::remove_file(&list).ok();
}
