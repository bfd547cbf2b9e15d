//! The memory of all decoders of the process, so that a few huge images on many threads do not take it all.

use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that decoders may hold at once. A larger image is decoded alone.
const TOTAL: u64 = 1 << 30;

static USED: Mutex<u64> = Mutex::new(0);
static RELEASED: Condvar = Condvar::new();

/// A share of the memory, given back when dropped.
pub(super) struct Share(u64);

/// Waits until `bytes` are free. A thread must not ask for a second share while it has one.
pub(super) fn reserve(bytes: u64) -> Share {
    let used = USED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_full = |used: &mut u64| *used > 0 && used.saturating_add(bytes) > TOTAL;
    let waited = RELEASED.wait_while(used, is_full);
    *waited.unwrap_or_else(PoisonError::into_inner) += bytes;
    Share(bytes)
}

impl Drop for Share {
    fn drop(&mut self) {
        *USED.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        RELEASED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    #[test]
    fn a_huge_image_waits_for_the_others_and_the_others_for_it() {
        let (said, heard) = mpsc::channel();
        let first = reserve(2 * TOTAL);
        let second = thread::spawn(move || {
            let share = reserve(TOTAL / 2);
            said.send(()).unwrap();
            drop(share);
        });
        let early = heard.recv_timeout(Duration::from_millis(50));
        assert!(
            early.is_err(),
            "decoded beside an image that fills the memory"
        );
        drop(first);
        heard.recv_timeout(Duration::from_secs(20)).unwrap();
        second.join().unwrap();
    }
}
