//! The probe's five folds at one penalty, and over all penalties, against scikit-learn's LogisticRegression(lbfgs) with the same
//! rows, folds, penalty and number of threads.
//!
//!     BENCH_PYTHON=python3 cargo bench --bench probe
//!     BENCH_FEATURES=features.f32 BENCH_DIMENSION=1280 BENCH_LABELS=labels.u32 cargo bench --bench probe
//!
//! Your own features are `[rows, dimension]` in float32 with a class per row in uint32, both little-endian without a header. The
//! default is 10,000 x 1280 synthetic features of 10 classes: rectified, with a spectrum like that of a network. Prospect and
//! scikit-learn alternate for BENCH_ROUNDS (3) rounds; the best round of each counts. BENCH_SEARCH=0 skips the search over
//! penalties.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use prospect::{
    analysis::{
        audit::folds::folds,
        space::linalg::logistic::{Features, Fit, L2, Problem, Settings, Visit, fit},
    },
    model::device::Device,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rand_distr::StandardNormal;

const FOLDS: u16 = 5;
/// scikit-learn's tolerance and maximum iterations: its defaults, its tolerance with enough iterations, and a looser one.
const THEIRS: [(&str, &str); 3] = [("1e-4", "100"), ("1e-4", "10000"), ("1e-2", "10000")];

fn number(name: &str, default: usize) -> usize {
    let text = env::var(name).ok();
    text.map_or(default, |text| text.parse().expect("a whole number"))
}

/// `[rows, dimension]` around the centres of `classes` clusters, and each row's class.
fn synthetic(rows: usize, dimension: usize, classes: usize) -> (Vec<f32>, Vec<u32>) {
    let mut random = StdRng::seed_from_u64(3);
    let mut normal = move || -> f32 { random.sample(StandardNormal) };
    // All features mix 64 shared directions of decreasing variance, plus independent noise.
    let shared = 64;
    let mix: Vec<f32> = (0..shared * dimension).map(|_| normal()).collect();
    let centres: Vec<f32> = (0..classes * shared).map(|_| 0.7 * normal()).collect();
    let labels: Vec<u32> = (0..rows).map(|row| (row % classes) as u32).collect();
    let values = labels.iter().flat_map(|label| {
        let centre = &centres[*label as usize * shared..][..shared];
        let place = centre.iter().enumerate();
        let place = place.map(|(at, c)| (c + normal()) / (1.0 + at as f32).powf(0.6));
        let place: Vec<f32> = place.collect();
        let row: Vec<f32> = (0..dimension)
            .map(|x| {
                let along = place
                    .iter()
                    .enumerate()
                    .map(|(at, p)| p * mix[at * dimension + x]);
                (0.12 * along.sum::<f32>() + 0.25 * normal()).max(0.0)
            })
            .collect();
        row
    });
    (values.collect(), labels)
}

fn read<const N: usize, T>(path: &str, of: fn([u8; N]) -> T) -> Vec<T> {
    let bytes = fs::read(path).expect("a file of numbers");
    bytes.as_chunks().0.iter().map(|bytes| of(*bytes)).collect()
}

/// Seconds for centring, covariance and all folds, and the fit.
fn ours(values: &[f32], dimension: usize, problem: &Problem, l2: L2) -> (f64, Fit) {
    let start = Instant::now();
    let blocks = |visit: &mut Visit| visit(0, values);
    let features = Features::new(&blocks, dimension, Device::Cpu, 4 << 30).expect("finite");
    let settings = Settings {
        l2,
        ..Settings::default()
    };
    let fit = fit(&features, problem, &settings, &|_| Ok(())).expect("fitted");
    (start.elapsed().as_secs_f64(), fit)
}

fn main() {
    let dimension = number("BENCH_DIMENSION", 1280);
    let (values, labels) = match (env::var("BENCH_FEATURES"), env::var("BENCH_LABELS")) {
        (Ok(features), Ok(labels)) => (
            read(&features, f32::from_le_bytes),
            read(&labels, u32::from_le_bytes),
        ),
        _ => synthetic(10_000, dimension, 10),
    };
    let rows = labels.len();
    assert_eq!(values.len(), rows * dimension, "a label for each row");
    let classes = labels.iter().max().map_or(0, |last| *last as usize + 1);
    let of_rows: Vec<Option<u32>> = labels.iter().copied().map(Some).collect();
    let alone: Vec<u32> = (0..rows as u32).collect();
    let folds = folds(&of_rows, &alone, FOLDS, 42);
    let problem = Problem {
        classes,
        labels: &labels,
        weights: None,
        folds: &folds,
        n_folds: FOLDS,
    };
    let threads = rayon::current_num_threads();
    println!("{rows} x {dimension}, {classes} classes, {FOLDS} folds, {threads} threads");

    let dir = env::temp_dir().join(format!("prospect-bench-{}", std::process::id()));
    fs::create_dir(&dir).expect("a folder of our own");
    let write = |name: &str, bytes: Vec<u8>| {
        let path = dir.join(name);
        fs::write(&path, bytes).expect("room for the rows");
        path
    };
    let files = [
        write(
            "features.f32",
            values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ),
        write(
            "labels.u32",
            labels.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ),
        write(
            "folds.u16",
            folds.iter().flat_map(|x| x.to_le_bytes()).collect(),
        ),
    ];
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer_probe.py");
    let mut peer = Command::new(env::var("BENCH_PYTHON").unwrap_or("python3".into()))
        .arg(script)
        .arg(&files[0])
        .arg(dimension.to_string())
        .args(&files[1..])
        .arg(threads.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("BENCH_PYTHON is a Python with scikit-learn");
    let mut ask = peer.stdin.take().expect("piped");
    let mut answers = BufReader::new(peer.stdout.take().expect("piped")).lines();
    let mut answer = move || answers.next().expect("an answer").expect("text");
    println!("{}", answer());
    let mut theirs = |request: &str| -> [f64; 4] {
        writeln!(ask, "{request}").expect("the peer listens");
        let numbers = answer();
        let mut numbers = numbers
            .split_whitespace()
            .map(|n| n.parse().expect("a number"));
        [(); 4].map(|()| numbers.next().expect("four numbers"))
    };

    let (took, search) = ours(&values, dimension, &problem, L2::Search);
    let l2 = search.l2;
    let passes: usize = search.trials.iter().map(|tried| tried.passes).sum();
    println!(
        "search: {took:.2} s, {} penalties, {passes} passes",
        search.trials.len()
    );
    for tried in &search.trials {
        println!("        {tried:?}");
    }
    let rounds = number("BENCH_ROUNDS", 3);
    let mut best: Option<(f64, Fit)> = None;
    let mut best_of_theirs = [[f64::INFINITY; 4]; THEIRS.len()];
    for _ in 0..rounds {
        let (took, fit) = ours(&values, dimension, &problem, L2::Fixed(l2));
        if best.as_ref().is_none_or(|best| took < best.0) {
            best = Some((took, fit));
        }
        for ((tolerance, max_iter), best) in THEIRS.iter().zip(&mut best_of_theirs) {
            let found = theirs(&format!("{l2} {tolerance} {max_iter}"));
            if found[0] < best[0] {
                *best = found;
            }
        }
    }
    let (took, fit) = best.expect("at least one round");
    let tried = &fit.trials[0];
    println!(
        "penalty {l2:.3e}: {took:.2} s, log-loss {:.5}, accuracy {:.4}, {} passes",
        tried.log_loss, tried.accuracy, tried.passes
    );
    for ((tolerance, max_iter), [theirs, loss, accuracy, iterations]) in
        THEIRS.iter().zip(best_of_theirs)
    {
        println!(
            "theirs, tol {tolerance}, max_iter {max_iter}: {theirs:.2} s, log-loss {loss:.5} ({:+.2} %), accuracy {accuracy:.4}, {iterations} \
             iterations; ours is {:.1} times as fast",
            100.0 * (loss / tried.log_loss - 1.0),
            theirs / took
        );
    }
    if number("BENCH_SEARCH", 1) == 1 {
        let (took, search) = ours(&values, dimension, &problem, L2::Search);
        let penalties: Vec<String> = search.trials.iter().map(|t| t.l2.to_string()).collect();
        let [theirs, ..] = theirs(&format!("search {}", penalties.join(" ")));
        println!(
            "{} penalties: {took:.2} s, theirs {theirs:.2} s; ours is {:.1} times as fast",
            penalties.len(),
            theirs / took
        );
    }
    drop(ask);
    peer.wait().expect("the peer ends");
    fs::remove_dir_all(&dir).expect("our own folder");
}
