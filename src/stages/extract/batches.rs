//! Groups images into batches for the streams, and gives each part of the results what belongs to it.

use std::mem;

use crossbeam_channel::{Receiver, Sender, bounded};
use prospect_common::text;
use prospect_engine::Unread;

use super::{
    image_row::ImageRow,
    messages::{Computed, End, Job, Pending, Promised},
};

/// Sends full batches to the streams and, in order, the receivers of their results to the writer. Images that cannot be read as
/// scanned are left out. Ends early if the streams or the writer do.
pub fn gather(
    pending: Receiver<Pending>,
    jobs: Sender<Job>,
    promised: Sender<Promised>,
    batch_size: usize,
    unread: &Unread,
) {
    let mut unread_in_part = 0;
    let mut waiting = Waiting::default();
    for next in pending {
        match next {
            Pending::Image {
                row,
                pixels: promise,
            } => match promise.recv() {
                Ok(Ok(image)) => {
                    waiting.pixels.extend_from_slice(&image);
                    waiting.rows.push(row);
                }
                Ok(Err(failure)) => {
                    tracing::warn!("{}: {}", text::escaped(&row.path), failure.reason);
                    if failure.unread {
                        unread_in_part += 1;
                        unread.add(row.image_id);
                    }
                }
                // The workers have stopped: the run is ending.
                Err(_) => return,
            },
            Pending::EndOfPart(end) => {
                let unread = mem::take(&mut unread_in_part);
                waiting.ends.push((waiting.rows.len(), end, unread));
            }
        }
        if waiting.is_due(batch_size) && !waiting.send(&jobs, &promised) {
            return;
        }
    }
    // An interrupted part is dropped.
    if !waiting.ends.is_empty() {
        waiting.send(&jobs, &promised);
    }
}

/// Images waiting for a full batch, and the ends of parts among them.
#[derive(Default)]
struct Waiting {
    rows: Vec<ImageRow>,
    pixels: Vec<u8>,
    ends: Vec<(usize, End, u64)>,
}

impl Waiting {
    fn is_due(&self, batch_size: usize) -> bool {
        let ends_new_part = (self.ends.last()).is_some_and(|(_, end, _)| end.reused.is_empty());
        let has_only_ends = self.rows.is_empty() && !self.ends.is_empty();
        self.rows.len() >= batch_size || ends_new_part || has_only_ends
    }

    /// Returns whether the streams and the writer still receive.
    fn send(&mut self, jobs: &Sender<Job>, promised: &Sender<Promised>) -> bool {
        let Waiting { rows, pixels, ends } = mem::take(self);
        let mut batch = None;
        if !rows.is_empty() {
            let (reply, results) = bounded(1);
            batch = Some(results);
            let job = Job {
                rows,
                pixels,
                reply,
            };
            if jobs.send(job).is_err() {
                return false;
            }
        }
        promised.send(Promised { batch, ends }).is_ok()
    }
}

/// What the writer does next.
pub enum Done {
    Batch(Computed),
    /// `unread`: number of images of the part that could not be read as scanned.
    EndOfPart {
        end: End,
        unread: u64,
    },
}

/// Splits a batch at the ends of parts.
pub fn split(batch: Option<Computed>, ends: Vec<(usize, End, u64)>) -> Vec<Done> {
    let mut left = batch;
    let mut sent = 0;
    let mut all = Vec::with_capacity(2 * ends.len() + 1);
    for (place, end, unread) in ends {
        if let Some(mut batch) = left.take() {
            left = batch.split_off(place - sent);
            sent = place;
            if !batch.rows.is_empty() {
                all.push(Done::Batch(batch));
            }
        }
        all.push(Done::EndOfPart { end, unread });
    }
    all.extend(left.map(Done::Batch));
    all
}

impl Computed {
    /// Splits at image `at` and returns the second part, if it has images.
    fn split_off(&mut self, at: usize) -> Option<Computed> {
        let next = self.rows.get(at)?.image_id;
        let cams = self.cams.iter_mut();
        let cams = cams.map(|cams| cams.split_off(cams.image_ids.partition_point(|&id| id < next)));
        Some(Computed {
            cams: cams.collect(),
            rows: self.rows.split_off(at),
            batch: self.batch.split_off(at),
        })
    }
}
