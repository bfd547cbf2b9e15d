//! Decode workers → batches → streams → writer, over bounded channels, each timed.
//!
//! The feeder sends each image to the workers and, in order, the receiver of its pixels to the batcher. That sends each batch to the
//! streams and, in order, the receiver of its results to the writer. So results arrive in image order, and the channels bound the
//! memory. Each stream runs the network on its own batch with one thread: operators with several threads wait for the slowest, which
//! costs most where layers are small or other processes use the cores.
//!
//! Images with reusable rows skip the network; the writer copies their rows when it finishes the part. New images may then be
//! rare, so batches span parts with reused rows. A part without reused rows ends with its own batch, so that its content does
//! not depend on earlier parts.

use std::{mem, path::Path, sync::atomic::Ordering, thread, time::Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use prospect_common::Result;
use prospect_dataset::image::{self, DecodeOptions, InputSpec};
use prospect_engine::{
    Context, progress::Bar, reuse::Source, schema::images, tables::sources::read_as_scanned,
};
use prospect_model::device::{OneThread, use_one_thread};
use prospect_store::{Manifest, StageWriter};

use super::{
    batches::{Done, gather, split},
    clocks::{Clocks, Report, timed},
    columns::{PartTables, Tables},
    image_row::ImageRow,
    messages::{Computed, End, Failure, Job, Pending, Promised},
    network::Network,
    reuse::{EarlierRows, Reused, fetch},
};

/// Batches queued for the writer, besides those in the streams.
const WRITE_AHEAD: usize = 2;

/// How images are processed.
pub struct Work<'a> {
    pub network: &'a Network,
    /// Number of streams; each uses one thread. If it is none, there is one stream, and the device's library chooses its threads.
    pub streams: Option<usize>,
    pub spec: &'a InputSpec,
    pub decode: &'a DecodeOptions,
    pub tables: &'a Tables,
}

/// An image for a decode worker.
struct Image {
    row: ImageRow,
    reply: Sender<Result<Vec<u8>, Failure>>,
}

pub fn run(
    ctx: &Context,
    writer: &StageWriter,
    work: &Work,
    earlier: EarlierRows,
) -> Result<Report> {
    let &Work {
        network,
        streams,
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
    let n_streams = streams.unwrap_or(1);
    let (image_sender, images) = bounded::<Image>(batch_size);
    let (pending_sender, pending) = bounded::<Pending>(batch_size + workers);
    let (job_sender, jobs) = bounded::<Job>(1);
    let (promised_sender, promised) = bounded::<Promised>(n_streams + WRITE_AHEAD);
    let sources = earlier.sources();
    let _one_thread = streams.map(|_| OneThread::new());
    thread::scope(|scope| {
        let feeder = scope.spawn(|| {
            let feeder = Feeder {
                ctx,
                writer,
                tables,
                earlier,
                images: image_sender,
                pending: pending_sender,
                bar: &bar,
            };
            feeder.feed(&manifest, parts)
        });
        for _ in 0..workers {
            let images = images.clone();
            let clocks = &clocks;
            scope.spawn(move || {
                for image in images {
                    let pixels = timed(&clocks.decode, || {
                        prepare(&ctx.config.images.dir, &image.row, spec, decode)
                    });
                    // The receiver is gone if the run is ending.
                    let _ = image.reply.send(pixels);
                }
            });
        }
        drop(images);
        for _ in 0..n_streams {
            let (jobs, network, clocks) = (jobs.clone(), network.share(), &clocks);
            scope.spawn(move || {
                if streams.is_some() {
                    use_one_thread();
                }
                for Job {
                    rows,
                    mut pixels,
                    reply,
                } in jobs
                {
                    let results = timed(&clocks.forward, || network.run(&rows, &mut pixels));
                    let results = results.map(|(batch, cams)| Computed { rows, batch, cams });
                    let _ = reply.send(results);
                }
            });
        }
        drop(jobs);
        scope.spawn(|| {
            gather(
                pending,
                job_sender,
                promised_sender,
                batch_size,
                &ctx.unread,
            )
        });
        let output = Output {
            writer,
            tables,
            sources: &sources,
            clocks: &clocks,
            bar: &bar,
        };
        // If it fails, its end of the channel closes, and so, one after the other, do those of all threads before it.
        let written = output.write(promised, || clocks.report(started, workers, n_streams));
        let fed = feeder
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written?;
        fed
    })?;
    ctx.cancel.check()?;
    let report = clocks.report(started, workers, n_streams);
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
    images: Sender<Image>,
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

    /// Returns whether to continue: false after Ctrl-C, which drops the current part, and if another thread has ended.
    fn send(&mut self, part: usize, rows: Vec<ImageRow>) -> bool {
        let mut reused = Vec::new();
        for row in rows {
            if self.ctx.cancel.requested() {
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
            if self.pending.send(promise).is_err()
                || self.images.send(Image { row, reply }).is_err()
            {
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

impl<'o> Output<'o> {
    fn write(&self, promised: Receiver<Promised>, report: impl Fn() -> Report) -> Result<()> {
        let mut open: Option<PartTables> = None;
        for Promised { batch, ends } in promised {
            let batch = match batch.map(|results| results.recv()) {
                None => None,
                Some(Ok(results)) => Some(results?),
                // The streams have stopped: the run is ending.
                Some(Err(_)) => return Ok(()),
            };
            timed(&self.clocks.write, || {
                let mut parts = split(batch, ends).into_iter();
                parts.try_for_each(|part| self.take(part, &mut open))
            })?;
            self.bar.note(&report().busy_text());
        }
        Ok(())
    }

    fn take(&self, next: Done, open: &mut Option<PartTables<'o>>) -> Result<()> {
        match next {
            Done::Batch(Computed { rows, batch, cams }) => {
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
        }
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
