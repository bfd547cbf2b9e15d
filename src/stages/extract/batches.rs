//! Images to batches, batches through the network, and on to the writer, part by part.

use std::mem;

use crossbeam_channel::{Receiver, Sender};
use prospect_common::{Result, text};

use super::{
    clocks::{Clocks, timed},
    image_row::ImageRow,
    messages::{Changed, Done, End, Pending},
    network::Network,
};

/// Collects batches and runs them; gives the images that could not be read again.
pub fn compute(
    network: &Network,
    pending: Receiver<Pending>,
    done: Sender<Done>,
    clocks: &Clocks,
) -> Result<Vec<Changed>> {
    let mut changed = Vec::new();
    let mut whole = true;
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
                Ok(Err(reason)) => {
                    tracing::warn!("{}: {reason}", text::escaped(&row.path));
                    whole = false;
                    changed.push(Changed {
                        path: row.path,
                        reason,
                    });
                }
                // The workers are gone: the run is being stopped.
                Err(_) => return Ok(changed),
            },
            Pending::EndOfPart(end) => {
                let whole = mem::replace(&mut whole, true);
                waiting.ends.push((waiting.rows.len(), end, whole));
            }
        }
        if waiting.is_due(network.batch_size) && !waiting.run(network, &done, clocks)? {
            return Ok(changed);
        }
    }
    // Of an interrupted part, nothing counts.
    if !waiting.ends.is_empty() {
        waiting.run(network, &done, clocks)?;
    }
    Ok(changed)
}

/// Images that wait for their batch to be full, and the ends of parts among them.
#[derive(Default)]
struct Waiting {
    rows: Vec<ImageRow>,
    pixels: Vec<u8>,
    /// How many of the images stand before it, and whether all of the part's could be read.
    ends: Vec<(usize, End, bool)>,
}

impl Waiting {
    fn is_due(&self, batch_size: usize) -> bool {
        let alone = (self.ends.last()).is_some_and(|(_, end, _)| end.taken.is_empty());
        let nothing_to_run = self.rows.is_empty() && !self.ends.is_empty();
        self.rows.len() >= batch_size || alone || nothing_to_run
    }

    /// Runs what has been collected and hands it on, part by part; says whether anybody takes it.
    fn run(&mut self, network: &Network, done: &Sender<Done>, clocks: &Clocks) -> Result<bool> {
        let Waiting {
            rows,
            mut pixels,
            ends,
        } = mem::take(self);
        let mut left = None;
        if !rows.is_empty() {
            let (batch, cams) = timed(&clocks.forward, || network.run(&rows, &mut pixels))?;
            left = Some((rows, batch, cams));
        }
        let mut sent = 0;
        for (place, end, whole) in ends {
            if let Some((mut rows, mut batch, mut cams)) = left.take() {
                let at = place - sent;
                sent = place;
                if at < rows.len() {
                    let next = rows[at].image_id;
                    let rest = cams.iter_mut().map(|cams| {
                        cams.split_off(cams.image_ids.partition_point(|&id| id < next))
                    });
                    left = Some((rows.split_off(at), batch.split_off(at), rest.collect()));
                }
                if !rows.is_empty() && done.send(Done::Batch(rows, batch, cams)).is_err() {
                    return Ok(false);
                }
            }
            if done.send(Done::EndOfPart { end, whole }).is_err() {
                return Ok(false);
            }
        }
        Ok(match left {
            Some((rows, batch, cams)) => done.send(Done::Batch(rows, batch, cams)).is_ok(),
            None => true,
        })
    }
}
