//! Progress of a run, and requests to stop it.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use prospect_common::{Error, Result, text};

/// Time before the first plain line. The intervals grow, to keep logs of long runs short.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);
/// The longest time between two plain lines.
const PLAIN_PAUSE: Duration = Duration::from_secs(600);

/// How progress is shown, always on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressKind {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    Bars,
    /// Occasional lines, for logs.
    Plain,
    /// Nothing.
    Quiet,
}

/// Creates progress bars. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Progress {
    shown: Display,
    run: Arc<Mutex<RunState>>,
}

/// State shared by the bars.
#[derive(Debug, Default)]
struct RunState {
    /// Number of the stage, and the total.
    nth: Option<(usize, usize)>,
    /// The remark of the last finished bar.
    remark: Option<String>,
}

#[derive(Debug, Clone)]
enum Display {
    Bars(MultiProgress),
    Plain,
    Quiet,
}

impl Progress {
    pub fn new(kind: ProgressKind) -> Progress {
        let shown = match kind {
            ProgressKind::Auto if io::stderr().is_terminal() => Display::Bars(MultiProgress::new()),
            ProgressKind::Bars => Display::Bars(MultiProgress::new()),
            ProgressKind::Auto | ProgressKind::Plain => Display::Plain,
            ProgressKind::Quiet => Display::Quiet,
        };
        Progress {
            shown,
            run: Arc::default(),
        }
    }

    /// Starts the n-th stage of the total; later bars belong to it.
    pub fn begin(&self, nth: (usize, usize)) {
        *lock(&self.run) = RunState {
            nth: Some(nth),
            remark: None,
        };
    }

    /// The remark of the stage's last finished bar.
    pub fn remark(&self) -> Option<String> {
        lock(&self.run).remark.clone()
    }

    /// A bar for `total` items of `unit` ("images", "layers").
    pub fn stage(&self, name: &str, total: u64, unit: &str) -> Bar {
        let kind = match &self.shown {
            Display::Bars(bars) => {
                let bar = bars.add(ProgressBar::new(total).with_style(style(unit)));
                let nth = lock(&self.run).nth;
                bar.set_prefix(
                    nth.map_or(name.to_string(), |(n, of)| format!("{n:>2}/{of} {name}")),
                );
                // Keep the clock running during slow parts.
                bar.enable_steady_tick(Duration::from_millis(500));
                BarKind::Drawn(bar)
            }
            Display::Plain => BarKind::Plain(Arc::new(PlainBar::new(name, total, unit))),
            Display::Quiet => BarKind::Quiet,
        };
        let run = Arc::clone(&self.run);
        let counted = (unit == "images").then_some(total);
        Bar { kind, run, counted }
    }

    /// Runs `write` with the bars hidden, so that its output stays intact.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.shown {
            Display::Bars(bars) => bars.suspend(write),
            Display::Plain | Display::Quiet => write(),
        }
    }
}

fn style(unit: &str) -> ProgressStyle {
    // Braces in a unit would be read as a placeholder.
    let unit: String = unit.chars().filter(|c| !matches!(c, '{' | '}')).collect();
    // Short enough that a note fits on 80 columns.
    let template = format!(
        "{{prefix:<16}} {{bar:12.cyan/dim}} {{human_pos}}/{{human_len}} {unit}{{pace}}  {{wide_msg:.dim}}"
    );
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
        .with_key("pace", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let pace = pace(state.per_sec(), state.elapsed(), state.eta());
            let _ = out.write_str(&pace);
        })
}

/// `  312/s  19 s left`, or the elapsed time while the rate is unknown.
fn pace(per_second: f64, elapsed: Duration, left: Duration) -> String {
    if per_second < 1e-4 || left.is_zero() {
        return match elapsed.as_secs() {
            0 => String::new(),
            _ => format!("  {}", whole(elapsed)),
        };
    }
    let rate = match per_second {
        10.0.. => format!("{per_second:.0}/s"),
        0.95.. => format!("{per_second:.1}/s"),
        _ => format!("{:.1}/min", per_second * 60.0),
    };
    format!("  {rate}  {} left", whole(left.max(Duration::from_secs(1))))
}

/// A duration without tenths of a second, which would flicker.
fn whole(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => text::duration(Duration::from_secs(seconds)),
    }
}

fn lock<T>(state: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The progress of one stage. Cheap to clone; any thread may advance it.
#[derive(Debug, Clone)]
pub struct Bar {
    kind: BarKind,
    run: Arc<Mutex<RunState>>,
    /// The total, if the bar counts images.
    counted: Option<u64>,
}

#[derive(Debug, Clone)]
enum BarKind {
    Drawn(ProgressBar),
    Plain(Arc<PlainBar>),
    Quiet,
}

impl Bar {
    /// Sets `n` items as done before this run; they count for the position, not for the rate.
    pub fn set_done(&self, n: u64) {
        match &self.kind {
            BarKind::Drawn(bar) => {
                bar.set_position(n);
                bar.reset_eta();
            }
            BarKind::Plain(bar) => {
                bar.before.store(n, Ordering::Relaxed);
                bar.done.store(n, Ordering::Relaxed);
            }
            BarKind::Quiet => {}
        }
    }

    pub fn advance(&self, n: u64) {
        match &self.kind {
            BarKind::Drawn(bar) => bar.inc(n),
            BarKind::Plain(bar) => bar.advance(n),
            BarKind::Quiet => {}
        }
    }

    /// A live note after the bar, such as the bottleneck.
    pub fn note(&self, note: &str) {
        let note = text::escaped(note);
        match &self.kind {
            BarKind::Drawn(bar) => bar.set_message(note.into_owned()),
            BarKind::Plain(bar) => {
                *lock(&bar.note) = note.into_owned();
            }
            BarKind::Quiet => {}
        }
    }

    /// Removes the bar and keeps a non-empty `remark` for [`Progress::remark`].
    pub fn finish(&self, remark: &str) {
        if let BarKind::Drawn(bar) = &self.kind {
            bar.finish_and_clear();
        }
        lock(&self.run).remark = match (remark, self.counted) {
            ("", _) => None,
            (_, Some(n)) => Some(format!("{} images; {remark}", text::count(n))),
            _ => Some(remark.to_string()),
        };
    }
}

#[derive(Debug)]
struct PlainBar {
    name: String,
    unit: String,
    total: u64,
    before: AtomicU64,
    done: AtomicU64,
    started: Instant,
    /// Milliseconds after `started` at which the next line is due.
    due: AtomicU64,
    note: Mutex<String>,
}

impl PlainBar {
    fn new(name: &str, total: u64, unit: &str) -> PlainBar {
        PlainBar {
            name: name.to_string(),
            unit: unit.to_string(),
            total,
            before: AtomicU64::new(0),
            done: AtomicU64::new(0),
            started: Instant::now(),
            due: AtomicU64::new(PLAIN_INTERVAL.as_millis() as u64),
            note: Mutex::new(String::new()),
        }
    }

    fn advance(&self, n: u64) {
        self.done.fetch_add(n, Ordering::Relaxed);
        let elapsed = self.started.elapsed().as_millis() as u64;
        let due = self.due.load(Ordering::Relaxed);
        let next = elapsed + elapsed.min(PLAIN_PAUSE.as_millis() as u64);
        let due_now = elapsed >= due
            && (self.due)
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if due_now {
            say(&self.line());
        }
    }

    fn line(&self) -> String {
        let done = self.done.load(Ordering::Relaxed);
        let before = self.before.load(Ordering::Relaxed);
        let note = lock(&self.note);
        let fresh = done.saturating_sub(before);
        plain_line(self, done, fresh, self.started.elapsed(), &note)
    }
}

/// `extract: 4,096 of 10,000 images (40 %), 312 images/s, 19 s left; decoding is the bottleneck`.
fn plain_line(bar: &PlainBar, done: u64, fresh: u64, elapsed: Duration, note: &str) -> String {
    let PlainBar {
        name, unit, total, ..
    } = bar;
    let mut line = format!(
        "{name}: {} of {} {unit}",
        text::count(done),
        text::count(*total)
    );
    if let Some(percent) = (done * 100).checked_div(*total) {
        line += &format!(" ({percent} %)");
    }
    let rate = fresh as f64 / elapsed.as_secs_f64().max(1e-3);
    if fresh > 0 {
        let digits = if rate < 10.0 { 1 } else { 0 };
        line += &format!(", {rate:.digits$} {unit}/s");
        let left = total.saturating_sub(done) as f64 / rate;
        if left > 0.0 && left < 1e7 {
            line += &format!(", {} left", text::duration(Duration::from_secs_f64(left)));
        }
    }
    if !note.is_empty() {
        line += &format!("; {note}");
    }
    line
}

/// Writes a line to standard error, ignoring errors.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{}", text::escaped(line));
}

/// A request to stop, shared by all threads; stages check it between parts.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    requested: Arc<AtomicBool>,
}

impl Cancel {
    /// Requests a stop. Returns whether this is the first request.
    pub fn request(&self) -> bool {
        !self.requested.swap(true, Ordering::SeqCst)
    }

    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Fails with [`Error::Interrupted`] after a request.
    pub fn check(&self) -> Result<()> {
        if self.requested() {
            return Err(Error::Interrupted);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_line_counts_only_fresh_work_in_the_rate() {
        let bar = PlainBar::new("extract", 10_000, "images");
        assert_eq!(
            plain_line(
                &bar,
                4_096,
                1_000,
                Duration::from_secs(10),
                "decoding is the bottleneck"
            ),
            "extract: 4,096 of 10,000 images (40 %), 100 images/s, 59 s left; decoding is the bottleneck"
        );
        assert_eq!(
            plain_line(&bar, 0, 0, Duration::from_secs(3), ""),
            "extract: 0 of 10,000 images (0 %)"
        );
        let nothing = PlainBar::new("scan", 0, "images");
        assert_eq!(
            plain_line(&nothing, 0, 0, Duration::ZERO, ""),
            "scan: 0 of 0 images"
        );
    }

    #[test]
    fn clones_share_one_count() {
        let progress = Progress::new(ProgressKind::Plain);
        let bar = progress.stage("scan", 100, "images");
        bar.set_done(40);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let bar = bar.clone();
                scope.spawn(move || (0..10).for_each(|_| bar.advance(1)));
            }
        });
        let BarKind::Plain(plain) = &bar.kind else {
            panic!("plain progress makes plain bars");
        };
        assert_eq!(plain.done.load(Ordering::Relaxed), 80);
        assert_eq!(plain.before.load(Ordering::Relaxed), 40);
    }

    #[test]
    fn bars_have_a_valid_template_for_any_unit() {
        for unit in ["images", "{weird} units"] {
            let progress = Progress::new(ProgressKind::Bars);
            let bar = progress.stage("extract", 10, unit);
            bar.set_done(2);
            bar.note("decoding \u{1b}[2J");
            bar.advance(1);
            let BarKind::Drawn(drawn) = &bar.kind else {
                panic!("bars make drawn bars");
            };
            assert_eq!(drawn.position(), 3);
            assert!(!drawn.message().contains('\u{1b}'));
            bar.finish("");
        }
    }

    #[test]
    fn pace_shows_rate_and_time_left_once_known() {
        let seconds = Duration::from_secs;
        assert_eq!(pace(0.0, Duration::from_millis(900), seconds(0)), "");
        assert_eq!(pace(0.0, seconds(75), seconds(0)), "  1 min 15 s");
        assert_eq!(pace(312.4, seconds(3), seconds(9)), "  312/s  9 s left");
        assert_eq!(
            pace(0.05, seconds(60), seconds(200)),
            "  3.0/min  3 min 20 s left"
        );
    }

    #[test]
    fn remark_of_the_last_bar_is_the_stage_s() {
        let progress = Progress::new(ProgressKind::Plain);
        progress.begin((1, 2));
        progress
            .stage("scan", 2000, "images")
            .finish("3 cannot be read");
        assert_eq!(progress.remark().unwrap(), "2,000 images; 3 cannot be read");
        progress.stage("scan", 5, "parts").finish("160 units");
        assert_eq!(progress.remark().unwrap(), "160 units");
        progress.begin((2, 2));
        assert_eq!(progress.remark(), None);
    }

    #[test]
    fn cancel_is_shared_by_clones_and_reports_the_first_request() {
        let cancel = Cancel::default();
        let other = cancel.clone();
        assert!(other.check().is_ok());
        assert!(cancel.request());
        assert!(!other.request());
        assert!(matches!(other.check(), Err(Error::Interrupted)));
    }
}
