//! Decode workers → bounded channel → batches → network → bounded channel → writer, each timed.
//!
//! The feeder sends each image to the workers and, in order, the receiver of its pixels to the batcher. So results arrive in
//! image order, and the channels bound the memory.
//!
//! Images with reusable rows skip the network; the writer copies their rows when it finishes the part. New images may then be
//! rare, so batches span parts with reused rows. A part without reused rows ends with its own batch, so that its content does
//! not depend on earlier parts.

use std::{mem, path::Path, sync::atomic::Ordering, thread, time::Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use prospect_common::Result;
use prospect_dataset::image::{self, DecodeOptions, InputSpec};
use prospect_engine::{
    Context,
    progress::{Bar, Cancel},
    reuse::Source,
    schema::images,
    tables::sources::read_as_scanned,
};
use prospect_store::{Manifest, StageWriter};

use super::{
    batches::compute,
    clocks::{Clocks, Report, timed},
    columns::{PartTables, Tables},
    image_row::ImageRow,
    messages::{Done, End, Failure, Pending},
    network::Network,
    reuse::{EarlierRows, Reused, fetch},
};

/// Batches queued for the writer.
const WRITE_AHEAD: usize = 2;

/// How images are processed.
pub struct Work<'a> {
    pub network: &'a Network<'a>,
    pub spec: &'a InputSpec,
    pub decode: &'a DecodeOptions,
    pub tables: &'a Tables,
}

/// An image for a decode worker.
struct Job {
    row: ImageRow,
    reply: Sender<Result<Vec<u8>, Failure>>,
}

pub fn run(
    ctx: &Context,
    writer: &StageWriter,
    work: &Work,
    earlier: EarlierRows,
) -> Result<Report> {
    // The network stays on this thread.
    let &Work {
        network,
        spec,
        decode,
        tables,
    } = work;
    let manifest = ctx.run.manifest()?;
    let part_size = ctx.config.extract.part_size;
    let batch_size = network.batch_size;
    let n_images = ctx.run.read(&manifest, images::NAME).rows() as usize;
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
    // Set when a thread fails, to stop the others.
    let stop = Cancel::default();
    let (job_sender, jobs) = bounded::<Job>(batch_size);
    let (pending_sender, pending) = bounded::<Pending>(batch_size + workers);
    let (done_sender, done) = bounded::<Done>(WRITE_AHEAD);
    let sources = earlier.sources();
    thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            let feeder = Feeder {
                ctx,
                writer,
                tables,
                earlier,
                stop: &stop,
                jobs: job_sender,
                pending: pending_sender,
                bar: &bar,
            };
            feeder.feed(&manifest, parts)
        });
        for _ in 0..workers {
            let jobs = jobs.clone();
            let clocks = &clocks;
            scope.spawn(move || {
                for job in jobs {
                    let pixels = timed(&clocks.decode, || {
                        prepare(&ctx.config.images.dir, &job.row, spec, decode)
                    });
                    // The receiver is gone if the run is ending.
                    let _ = job.reply.send(pixels);
                }
            });
        }
        drop(jobs);
        let written = scope.spawn(|| {
            let output = Output {
                writer,
                tables,
                sources: &sources,
                clocks: &clocks,
                bar: &bar,
            };
            output.write(done, || clocks.report(started, workers))
        });
        let computed = compute(network, pending, done_sender, &clocks, &ctx.unread);
        if computed.is_err() {
            stop.request();
        }
        let fed = feeder
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let written = written
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // An error of the writer also closes its channel: report the cause first.
        written?;
        computed?;
        fed
    })?;
    ctx.cancel.check()?;
    let report = clocks.report(started, workers);
    bar.finish(&format!(
        "{:.1} images/s, {}",
        report.images_per_second(),
        report.busy_text()
    ));
    Ok(report)
}

/// Sends the images of all missing parts, except those with reusable rows, to the workers and the batcher.
struct Feeder<'f> {
    ctx: &'f Context<'f>,
    writer: &'f StageWriter,
    tables: &'f Tables,
    earlier: EarlierRows,
    stop: &'f Cancel,
    jobs: Sender<Job>,
    pending: Sender<Pending>,
    bar: &'f Bar,
}

impl Feeder<'_> {
    fn feed(mut self, manifest: &Manifest, parts: usize) -> Result<()> {
        let part_size = self.ctx.config.extract.part_size;
        let columns = (
            images::image_id,
            images::path,
            images::digest,
            images::label_name,
            images::error,
        );
        let mut rows = self.ctx.run.rows(manifest, columns);
        let n_images = rows.rows() as usize;
        let mut waiting: Vec<ImageRow> = Vec::new();
        for part in 0..parts {
            let end = (part + 1) * part_size;
            // Image ids are ranks, so the rows of a part are consecutive.
            while waiting
                .last()
                .is_none_or(|row| (row.image_id as usize) < end)
            {
                let Some(batch) = rows.next() else { break };
                for (image_id, path, digest, label_name, error) in batch?.iter() {
                    if error.is_none() {
                        waiting.push(ImageRow {
                            image_id,
                            path: path.to_string(),
                            digest: digest.unwrap_or_default().to_string(),
                            label_name: label_name.map(str::to_string),
                        });
                    }
                }
            }
            let split = waiting.partition_point(|row| (row.image_id as usize) < end);
            let rest = waiting.split_off(split);
            let mine = mem::replace(&mut waiting, rest);
            if self.writer.has_part(part) {
                continue;
            }
            // Unreadable images need no work.
            self.bar
                .advance((end.min(n_images) - part * part_size - mine.len()) as u64);
            if !self.send(part, mine) {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether to continue: false after Ctrl-C, which drops the current part, and if another thread failed.
    fn send(&mut self, part: usize, rows: Vec<ImageRow>) -> bool {
        let mut reused = Vec::new();
        for row in rows {
            if self.ctx.cancel.requested() || self.stop.requested() {
                return false;
            }
            if let Some(location) = self.earlier.find(&row, self.tables.class_of(&row)) {
                reused.push((row, location));
                continue;
            }
            let (reply, pixels) = bounded(1);
            let promise = Pending::Image {
                row: row.clone(),
                pixels,
            };
            if self.pending.send(promise).is_err() || self.jobs.send(Job { row, reply }).is_err() {
                return false;
            }
        }
        let end = End { part, reused };
        self.pending.send(Pending::EndOfPart(end)).is_ok()
    }
}

/// Reads, checks and decodes an image to the network's input bytes.
fn prepare(
    folder: &Path,
    row: &ImageRow,
    spec: &InputSpec,
    decode: &DecodeOptions,
) -> Result<Vec<u8>, Failure> {
    let failure = |reason: String, unread: bool| Failure { reason, unread };
    let bytes = read_as_scanned(&folder.join(&row.path), &row.digest)
        .map_err(|reason| failure(reason, true))?;
    let decoded = image::decode(&bytes, decode);
    let prepared = decoded.and_then(|image| image::preprocess(&image, spec));
    let (pixels, _) = prepared.map_err(|error| failure(error.to_string(), false))?;
    Ok(pixels)
}

/// Turns batches into rows and commits them by part.
struct Output<'o> {
    writer: &'o StageWriter,
    tables: &'o Tables,
    sources: &'o [Source],
    clocks: &'o Clocks,
    bar: &'o Bar,
}

impl Output<'_> {
    fn write(&self, done: Receiver<Done>, report: impl Fn() -> Report) -> Result<()> {
        let mut open: Option<PartTables> = None;
        for next in done {
            timed(&self.clocks.write, || match next {
                Done::Batch(rows, batch, cams) => {
                    let n = rows.len() as u64;
                    self.clocks.images.fetch_add(n, Ordering::Relaxed);
                    self.bar.advance(n);
                    open.get_or_insert_with(|| PartTables::new(self.tables))
                        .push(rows, batch, cams);
                    Ok(())
                }
                Done::EndOfPart { end, unread } => {
                    let filled = open.take().unwrap_or_else(|| PartTables::new(self.tables));
                    self.finish(end, filled, unread)
                }
            })?;
            self.bar.note(&report().busy_text());
        }
        Ok(())
    }

    fn finish(&self, end: End, filled: PartTables, unread: u64) -> Result<()> {
        let mut files = self.writer.part(end.part)?;
        let n = end.reused.len() as u64;
        let reused = match end.reused {
            none if none.is_empty() => Reused::default(),
            reused => {
                let (layers, n_classes) = (self.tables.layer_names(), self.tables.n_classes());
                fetch(self.sources, reused, &layers, n_classes)?
            }
        };
        filled.write(reused, &mut files, end.part == 0)?;
        files.set_reused(n);
        files.set_unread(unread);
        self.writer.commit(files)?;
        self.bar.advance(n);
        Ok(())
    }
}
