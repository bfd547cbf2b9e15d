//! Busy times of decoding, the network and the writer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Throughput and bottleneck.
#[derive(Clone, Debug)]
pub struct Report {
    pub images: u64,
    pub elapsed: Duration,
    pub workers: usize,
    pub streams: usize,
    /// Summed over workers.
    pub decode: Duration,
    /// Summed over streams.
    pub forward: Duration,
    pub write: Duration,
}

impl Report {
    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Fraction of the elapsed time that decoding (mean over workers), the network (mean over streams) and the writer were busy.
    fn busy(&self) -> [(&'static str, f64); 3] {
        let wall = self.elapsed.as_secs_f64().max(1e-9);
        [
            (
                "decode",
                self.decode.as_secs_f64() / wall / self.workers as f64,
            ),
            (
                "forward",
                self.forward.as_secs_f64() / wall / self.streams as f64,
            ),
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
            "seconds": self.elapsed.as_secs_f64(),
            // Null if no image went through the network.
            "images_per_second": (self.images > 0).then(|| self.images_per_second()),
            "bottleneck": self.bottleneck(),
            "busy": {"decode": decode, "forward": forward, "write": write},
        })
    }
}

/// Busy time of the three stages, in nanoseconds.
#[derive(Default)]
pub struct Clocks {
    pub decode: AtomicU64,
    pub forward: AtomicU64,
    pub write: AtomicU64,
    pub images: AtomicU64,
}

pub fn timed<T>(clock: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    clock.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
    result
}

impl Clocks {
    pub fn report(&self, started: Instant, workers: usize, streams: usize) -> Report {
        let duration = |clock: &AtomicU64| Duration::from_nanos(clock.load(Ordering::Relaxed));
        Report {
            images: self.images.load(Ordering::Relaxed),
            elapsed: started.elapsed(),
            workers,
            streams,
            decode: duration(&self.decode),
            forward: duration(&self.forward),
            write: duration(&self.write),
        }
    }
}
