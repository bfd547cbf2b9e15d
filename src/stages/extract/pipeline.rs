//! Decode workers → bounded channel → batches → network → bounded channel → writer, each of them timed.
//!
//! The feeder hands every image to the workers and, in order, a promise of its result to the batcher, so results come
//! back in image order whatever the workers do, and never more than the channels hold are in memory. A batch never
//! spans two parts: what a part holds does not depend on what ran before it.

use std::{
    fs, mem,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use arrow::{
    array::{Array, AsArray},
    datatypes::UInt32Type,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::{Value, json};

use super::{
    super::{Context, explain::rows::Rows},
    columns::{PartTables, Tables},
    inline::Inline,
};
use crate::{
    error::{Error, Result},
    image::{self, DecodeOptions, InputSpec},
    model::forward::{Batch, Forward},
    progress::{Bar, Cancel},
    store::StageWriter,
    text,
};

/// Batches that may wait for the writer.
const WRITE_AHEAD: usize = 2;

/// An image of the run, as far as extraction needs it.
#[derive(Clone, Debug)]
pub struct ImageRow {
    pub image_id: u32,
    pub path: String,
    pub digest: String,
    pub label_name: Option<String>,
}

/// How fast extraction was and which part of it held it up.
#[derive(Clone, Debug)]
pub struct Report {
    pub images: u64,
    pub elapsed: Duration,
    pub workers: usize,
    /// Summed over workers.
    pub decode: Duration,
    pub forward: Duration,
    pub write: Duration,
}

impl Report {
    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Share of the time that decoding (mean over its workers), the network and the writer were busy.
    fn busy(&self) -> [(&'static str, f64); 3] {
        let wall = self.elapsed.as_secs_f64().max(1e-9);
        [
            (
                "decode",
                self.decode.as_secs_f64() / wall / self.workers as f64,
            ),
            ("forward", self.forward.as_secs_f64() / wall),
            ("write", self.write.as_secs_f64() / wall),
        ]
    }

    fn bottleneck(&self) -> &'static str {
        let mut busiest = ("forward", 0.0);
        for stage in self.busy() {
            if stage.1 > busiest.1 {
                busiest = stage;
            }
        }
        busiest.0
    }

    pub fn busy_text(&self) -> String {
        let shares: Vec<String> = self
            .busy()
            .iter()
            .map(|(name, share)| format!("{name} {:.0} %", 100.0 * share))
            .collect();
        format!(
            "bottleneck {} (busy: {})",
            self.bottleneck(),
            shares.join(", ")
        )
    }

    pub fn summary(&self) -> Value {
        let [decode, forward, write] = self
            .busy()
            .map(|(_, share)| (share * 1000.0).round() / 1000.0);
        json!({
            "images": self.images,
            "seconds": self.elapsed.as_secs_f64(),
            "images_per_second": self.images_per_second(),
            "bottleneck": self.bottleneck(),
            "busy": {"decode": decode, "forward": forward, "write": write},
        })
    }
}

/// Busy time of the three stages, in nanoseconds.
#[derive(Default)]
struct Clocks {
    decode: AtomicU64,
    forward: AtomicU64,
    write: AtomicU64,
    images: AtomicU64,
}

fn timed<T>(clock: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    clock.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
    result
}

impl Clocks {
    fn report(&self, started: Instant, workers: usize) -> Report {
        let duration = |clock: &AtomicU64| Duration::from_nanos(clock.load(Ordering::Relaxed));
        Report {
            images: self.images.load(Ordering::Relaxed),
            elapsed: started.elapsed(),
            workers,
            decode: duration(&self.decode),
            forward: duration(&self.forward),
            write: duration(&self.write),
        }
    }
}

/// What runs on every batch.
pub struct Network<'a> {
    pub forward: &'a Forward,
    pub inline: Option<&'a Inline>,
}

impl Network<'_> {
    fn run(&self, images: &[ImageRow], pixels: &[u8]) -> Result<(Batch, Vec<Rows>)> {
        let mut batch = self.forward.run(pixels, images.len())?;
        let rows = match self.inline {
            Some(inline) => inline.explain(images, &mut batch)?,
            None => Vec::new(),
        };
        Ok((batch, rows))
    }
}

/// One image on its way through a worker.
struct Job {
    row: ImageRow,
    reply: Sender<Result<Vec<u8>, String>>,
}

/// What the batcher gets, in image order.
enum Pending {
    Image {
        row: ImageRow,
        pixels: Receiver<Result<Vec<u8>, String>>,
    },
    /// Run what has been collected.
    EndOfBatch,
    EndOfPart(usize),
}

/// What the writer gets.
enum Done {
    Batch(Vec<ImageRow>, Batch, Vec<Rows>),
    /// The part is complete, unless images of it could not be read again.
    EndOfPart {
        part: usize,
        whole: bool,
    },
}

/// An image that was fine when the folder was scanned and is not now.
struct Changed {
    path: String,
    reason: String,
}

pub fn run(
    ctx: &Context,
    writer: &StageWriter,
    network: &Network,
    spec: &InputSpec,
    decode: &DecodeOptions,
    tables: &Tables,
) -> Result<Report> {
    let manifest = ctx.run.manifest()?;
    let part_size = ctx.config.extract.part_size;
    let batch_size = ctx.config.model.batch_size;
    let n_images = ctx.run.read(&manifest, "images").rows() as usize;
    let parts = n_images.div_ceil(part_size).max(1);
    writer.set_parts_total(parts)?;
    let bar = ctx.progress.stage("extract", n_images as u64, "images");
    let before = (0..parts).filter(|&part| writer.has_part(part));
    let before: usize = before
        .map(|part| part_size.min(n_images - part * part_size))
        .sum();
    bar.set_done(before as u64);

    let workers = ctx.config.extract.decode_threads();
    let clocks = Clocks::default();
    let started = Instant::now();
    // Set when any of the threads fails, so that the others stop, too.
    let stop = Cancel::default();
    let (job_sender, jobs) = bounded::<Job>(batch_size);
    let (pending_sender, pending) = bounded::<Pending>(batch_size + workers);
    let (done_sender, done) = bounded::<Done>(WRITE_AHEAD);
    let changed = thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            let senders = (job_sender, pending_sender);
            feed(ctx, writer, &manifest, parts, &stop, &senders, &bar)
        });
        for _ in 0..workers {
            let jobs = jobs.clone();
            let clocks = &clocks;
            scope.spawn(move || {
                for job in jobs {
                    let pixels = timed(&clocks.decode, || {
                        prepare(&ctx.config.images.dir, &job.row, spec, decode)
                    });
                    // Nobody waits any more when the run is being stopped.
                    let _ = job.reply.send(pixels);
                }
            });
        }
        drop(jobs);
        let written = scope.spawn(|| write(writer, tables, done, &clocks, &bar, started, workers));
        let computed = compute(network, pending, done_sender, batch_size, &clocks);
        if computed.is_err() {
            stop.request();
        }
        let fed = feeder
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let written = written
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // The writer's error is the cause where the network could not hand a batch on.
        written?;
        let changed = computed?;
        fed?;
        Ok::<_, Error>(changed)
    })?;
    ctx.cancel.check()?;
    let report = clocks.report(started, workers);
    bar.finish(&format!(
        "{:.1} images/s, {}",
        report.images_per_second(),
        report.busy_text()
    ));
    match changed.first() {
        None => Ok(report),
        Some(first) => Err(Error::invalid(
            ctx.config.images.dir.join(&first.path),
            "the images as they were scanned",
            format!(
                "{} image(s) that changed since, this one first: {}",
                changed.len(),
                first.reason
            ),
            "the other parts are kept; run the same command again to scan the folder anew and go on",
        )),
    }
}

/// Hands out the images of every part that is not there yet.
fn feed(
    ctx: &Context,
    writer: &StageWriter,
    manifest: &crate::store::Manifest,
    parts: usize,
    stop: &Cancel,
    (jobs, pending): &(Sender<Job>, Sender<Pending>),
    bar: &Bar,
) -> Result<()> {
    let part_size = ctx.config.extract.part_size;
    let batch_size = ctx.config.model.batch_size;
    let columns = ["image_id", "path", "digest", "label_name", "error"];
    let mut rows = ctx.run.read(manifest, "images").columns(&columns);
    let n_images = rows.rows() as usize;
    let mut waiting: Vec<ImageRow> = Vec::new();
    for part in 0..parts {
        let end = (part + 1) * part_size;
        // Image ids are ranks, so a part's rows come one after another.
        while waiting
            .last()
            .is_none_or(|row| (row.image_id as usize) < end)
        {
            let Some(batch) = rows.next() else { break };
            waiting.extend(image_rows(&batch?));
        }
        let split = waiting.partition_point(|row| (row.image_id as usize) < end);
        let rest = waiting.split_off(split);
        let mine = mem::replace(&mut waiting, rest);
        if writer.has_part(part) {
            continue;
        }
        // Unreadable images are done with.
        bar.advance((end.min(n_images) - part * part_size - mine.len()) as u64);
        for (index, row) in mine.into_iter().enumerate() {
            // Ctrl-C drops the current part; what it had begun leaves nothing behind.
            if ctx.cancel.requested() || stop.requested() {
                return Ok(());
            }
            if index > 0 && index % batch_size == 0 && pending.send(Pending::EndOfBatch).is_err() {
                return Ok(());
            }
            let (reply, pixels) = bounded(1);
            let promise = Pending::Image {
                row: row.clone(),
                pixels,
            };
            // A closed channel means that another thread failed and tells why.
            if pending.send(promise).is_err() || jobs.send(Job { row, reply }).is_err() {
                return Ok(());
            }
        }
        if pending.send(Pending::EndOfPart(part)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The readable images of a batch of the `images` table.
fn image_rows(batch: &arrow::array::RecordBatch) -> Vec<ImageRow> {
    let ids = batch.column(0).as_primitive::<UInt32Type>();
    let [path, digest, label, error] =
        [1, 2, 3, 4].map(|index| batch.column(index).as_string::<i32>());
    (0..batch.num_rows())
        .filter(|&row| error.is_null(row))
        .map(|row| ImageRow {
            image_id: ids.value(row),
            path: path.value(row).to_string(),
            digest: digest.value(row).to_string(),
            label_name: label.is_valid(row).then(|| label.value(row).to_string()),
        })
        .collect()
}

/// Reads, checks and decodes one image to the network's input bytes.
fn prepare(
    folder: &Path,
    row: &ImageRow,
    spec: &InputSpec,
    decode: &DecodeOptions,
) -> Result<Vec<u8>, String> {
    let bytes = fs::read(folder.join(&row.path)).map_err(|error| error.to_string())?;
    if blake3::hash(&bytes).to_hex().as_str() != row.digest {
        return Err("its content is another than when it was scanned".into());
    }
    let image = image::decode(&bytes, decode).map_err(|error| error.to_string())?;
    let (pixels, _) = image::preprocess(&image, spec).map_err(|error| error.to_string())?;
    Ok(pixels)
}

/// Collects batches and runs them.
fn compute(
    network: &Network,
    pending: Receiver<Pending>,
    done: Sender<Done>,
    batch_size: usize,
    clocks: &Clocks,
) -> Result<Vec<Changed>> {
    let mut changed = Vec::new();
    let mut whole = true;
    let mut rows: Vec<ImageRow> = Vec::with_capacity(batch_size);
    let mut pixels: Vec<u8> = Vec::new();
    for next in pending {
        let end = match next {
            Pending::Image {
                row,
                pixels: promise,
            } => {
                match promise.recv() {
                    Ok(Ok(image)) => {
                        pixels.extend_from_slice(&image);
                        rows.push(row);
                    }
                    Ok(Err(reason)) => {
                        tracing::warn!("{}: {reason}", text::escaped(&row.path));
                        whole = false;
                        changed.push(Changed {
                            path: row.path,
                            reason,
                        });
                    }
                    // The workers are gone: the run is being stopped.
                    Err(_) => break,
                }
                continue;
            }
            Pending::EndOfBatch => None,
            Pending::EndOfPart(part) => Some(part),
        };
        if !rows.is_empty() {
            let (batch, cams) = timed(&clocks.forward, || network.run(&rows, &pixels))?;
            pixels.clear();
            let batch = Done::Batch(mem::take(&mut rows), batch, cams);
            if done.send(batch).is_err() {
                break;
            }
        }
        if let Some(part) = end {
            let whole = mem::replace(&mut whole, true);
            if done.send(Done::EndOfPart { part, whole }).is_err() {
                break;
            }
        }
    }
    Ok(changed)
}

/// Turns batches into rows and commits part after part.
fn write(
    writer: &StageWriter,
    tables: &Tables,
    done: Receiver<Done>,
    clocks: &Clocks,
    bar: &Bar,
    started: Instant,
    workers: usize,
) -> Result<()> {
    let mut open: Option<PartTables> = None;
    for next in done {
        timed(&clocks.write, || match next {
            Done::Batch(rows, batch, cams) => {
                clocks
                    .images
                    .fetch_add(rows.len() as u64, Ordering::Relaxed);
                bar.advance(rows.len() as u64);
                open.get_or_insert_with(|| PartTables::new(tables))
                    .push(&rows, batch, cams);
                Ok(())
            }
            Done::EndOfPart { part, whole } => {
                let filled = open.take().unwrap_or_else(|| PartTables::new(tables));
                if !whole {
                    return Ok(());
                }
                let mut files = writer.part(part)?;
                filled.write(&mut files, part == 0)?;
                writer.commit(files)
            }
        })?;
        bar.note(&clocks.report(started, workers).busy_text());
    }
    Ok(())
}
