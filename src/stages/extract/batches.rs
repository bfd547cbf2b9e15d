//! Groups images into batches, runs the network on them and sends the results to the writer by part.

use std::mem;

use crossbeam_channel::{Receiver, Sender};
use prospect_common::{Result, text};
use prospect_engine::Unread;

use super::{
    clocks::{Clocks, timed},
    image_row::ImageRow,
    messages::{Done, End, Pending},
    network::Network,
};

/// Runs the network on batches. Images that cannot be read as scanned are left out.
pub fn compute(
    network: &Network,
    pending: Receiver<Pending>,
    done: Sender<Done>,
    clocks: &Clocks,
    unread: &Unread,
) -> Result<()> {
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
                Err(_) => return Ok(()),
            },
            Pending::EndOfPart(end) => {
                let unread = mem::take(&mut unread_in_part);
                waiting.ends.push((waiting.rows.len(), end, unread));
            }
        }
        if waiting.is_due(network.batch_size) && !waiting.run(network, &done, clocks)? {
            return Ok(());
        }
    }
    // An interrupted part is dropped.
    if !waiting.ends.is_empty() {
        waiting.run(network, &done, clocks)?;
    }
    Ok(())
}

/// Images waiting for a full batch, and the ends of parts among them.
#[derive(Default)]
struct Waiting {
    rows: Vec<ImageRow>,
    pixels: Vec<u8>,
    /// Each end with the number of images before it, and that of the part's images that could not be read.
    ends: Vec<(usize, End, u64)>,
}

impl Waiting {
    fn is_due(&self, batch_size: usize) -> bool {
        let ends_new_part = (self.ends.last()).is_some_and(|(_, end, _)| end.reused.is_empty());
        let has_only_ends = self.rows.is_empty() && !self.ends.is_empty();
        self.rows.len() >= batch_size || ends_new_part || has_only_ends
    }

    /// Runs the network on the waiting images and sends the results by part; returns whether the writer still receives.
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
        for (place, end, unread) in ends {
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
            if done.send(Done::EndOfPart { end, unread }).is_err() {
                return Ok(false);
            }
        }
        Ok(match left {
            Some((rows, batch, cams)) => done.send(Done::Batch(rows, batch, cams)).is_ok(),
            None => true,
        })
    }
}
