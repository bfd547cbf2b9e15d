//! The nearest neighbours of many clustered vectors, exact and by an index, against faiss-cpu's IndexFlatL2 and against hnsw_rs
//! with parallel insertion, as it is commonly used.
//!
//!     BENCH_PYTHON=python3 BENCH_ROWS=20000 BENCH_DIMENSION=512 cargo bench --bench neighbors
//!
//! Exact search and faiss alternate for BENCH_ROUNDS (3) rounds; the best round of each counts. BENCH_INDEX=0 skips the index.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use hnsw_rs::{anndists::dist::DistL2, hnsw::Hnsw};
use prospect::{
    analysis::space::neighbors::{
        Metric, audit,
        exact::{Block, graph},
        hnsw::{FILES, Index},
    },
    model::device::Device,
};
use rayon::prelude::*;

const K: usize = 10;
const CLUSTERS: usize = 100;

fn number(name: &str, default: usize) -> usize {
    let text = env::var(name).ok();
    text.map_or(default, |text| text.parse().expect("a whole number"))
}

/// Points around [`CLUSTERS`] centres, all at about the same distance from their centre, from a fixed seed.
fn clustered(rows: usize, dimension: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let centres: Vec<f32> = (0..CLUSTERS * dimension).map(|_| 2.0 * next()).collect();
    (0..rows)
        .flat_map(|row| {
            let centre = &centres[row % CLUSTERS * dimension..][..dimension];
            centre.iter().map(|x| x + next()).collect::<Vec<f32>>()
        })
        .collect()
}

fn seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let value = work();
    (start.elapsed().as_secs_f64(), value)
}

fn main() {
    let (rows, dimension) = (number("BENCH_ROWS", 20_000), number("BENCH_DIMENSION", 512));
    let values = clustered(rows, dimension);
    let python = env::var("BENCH_PYTHON").unwrap_or("python3".into());
    let file = env::temp_dir().join(format!("prospect-bench-{}.f32", std::process::id()));
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    fs::write(&file, &bytes).expect("room for the vectors");
    drop(bytes);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer_neighbors.py");
    let mut peer = Command::new(&python)
        .arg(script)
        .arg(&file)
        .arg(dimension.to_string())
        .arg(K.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("BENCH_PYTHON is a Python with faiss");
    let mut ask = peer.stdin.take().expect("piped");
    let mut answers = BufReader::new(peer.stdout.take().expect("piped")).lines();
    let mut answer = move || answers.next().expect("an answer").expect("text");
    let version = answer();
    println!(
        "{rows} x {dimension}, k = {K}, {} threads",
        rayon::current_num_threads()
    );

    let (mut ours, mut theirs) = (f64::INFINITY, f64::INFINITY);
    let mut found = None;
    for _ in 0..number("BENCH_ROUNDS", 3) {
        let (took, graph) = seconds(|| {
            graph(&values, dimension, K, Metric::L2, Device::Cpu, &|_, _| {
                Ok(())
            })
            .expect("finite vectors")
        });
        ours = ours.min(took);
        found = Some(graph);
        writeln!(ask, "go").expect("the peer listens");
        theirs = theirs.min(answer().parse().expect("seconds"));
    }
    let found = found.expect("at least one round");
    println!("exact                      {ours:8.2} s");
    println!(
        "{version:<26} {theirs:8.2} s   exact is {:.2} times as fast",
        theirs / ours
    );

    if number("BENCH_INDEX", 1) == 1 {
        let reach: Vec<f32> = (0..rows)
            .map(|row| found.row(row)[K - 1].distance)
            .collect();
        let (took, (recall, lost)) = seconds(|| hnsw_rs_alone(&values, dimension, &reach));
        println!(
            "hnsw_rs, all threads       {took:8.2} s   exact is {:.2} times as fast; recall {recall:.4}, {lost} do not find themselves",
            took / ours
        );
        with_audit(&values, dimension, &reach);
    }
    drop(ask);
    peer.wait().expect("the peer ends");
    fs::remove_file(&file).expect("our own file");
}

/// Inserts in parallel, then searches for all rows. Returns the recall, and the number of rows that do not find themselves.
fn hnsw_rs_alone(values: &[f32], dimension: usize, reach: &[f32]) -> (f64, usize) {
    let rows: Vec<(&[f32], usize)> = values.chunks(dimension).zip(0..).collect();
    let mut index = Hnsw::<f32, DistL2>::new(16, rows.len(), 16, 200, DistL2 {});
    index.parallel_insert_slice(&rows);
    index.set_searching_mode(true);
    let found: Vec<(usize, bool)> = (rows.par_iter())
        .map(|(row, id)| {
            let near = index.search(row, K + 1, 64);
            let hits = near
                .iter()
                .filter(|one| one.d_id != *id && one.distance <= reach[*id] * 1.00001);
            (hits.count().min(K), near.iter().any(|one| one.d_id == *id))
        })
        .collect();
    let hits: usize = found.iter().map(|(hits, _)| hits).sum();
    let lost = found.iter().filter(|(_, itself)| !itself).count();
    (hits as f64 / (K * rows.len()) as f64, lost)
}

/// Our index: built in a fixed order, audited, repaired, saved and loaded.
fn with_audit(values: &[f32], dimension: usize, reach: &[f32]) {
    let rows = values.len() / dimension;
    let ids = (0..rows as u32).collect();
    let block = Block::new(ids, values, dimension, Metric::L2, Device::Cpu).expect("finite");
    let (build, index) = seconds(|| Index::build(&block, &|_, _| Ok(())).expect("built"));
    let (search, graph) = seconds(|| {
        let ef = audit::choose_ef(&index, &block, K, 0.99).expect("searched");
        audit::graph(&index, &block, K, ef, &|_, _| Ok(())).expect("searched")
    });
    let hits: usize = (graph.nearest.iter().zip(reach))
        .map(|(near, reach)| {
            near.items()
                .iter()
                .filter(|one| one.distance <= *reach)
                .count()
        })
        .sum();
    println!("index: built in {build:.2} s, searched and audited in {search:.2} s");
    println!("       {:?}", graph.audit);
    println!(
        "       recall over all rows {:.4}",
        hits as f64 / (K * rows) as f64
    );
    let folder = env::temp_dir().join(format!("prospect-bench-index-{}", std::process::id()));
    fs::create_dir(&folder).expect("a folder of our own");
    index.save(&folder).expect("saved");
    let (load, again) = seconds(|| Index::load(&folder).expect("read"));
    let queries = block
        .pick(&(0..rows.min(1000)).collect::<Vec<_>>())
        .expect("rows");
    let same = index.search(&queries, K, 64) == again.search(&queries, K, 64);
    let bytes: u64 = (FILES.iter())
        .map(|file| fs::metadata(folder.join(file)).expect("saved").len())
        .sum();
    println!("       {bytes} bytes, loaded in {load:.2} s, same results: {same}");
    fs::remove_dir_all(&folder).expect("our own folder");
}
