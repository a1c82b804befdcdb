//! How far a replay is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use parking_lot::Mutex;

/// Time between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(5);

/// Shows how far a replay is, on standard error.
pub(super) struct Progress {
    bar: ProgressBar,
    /// When the last line was written, and what is going on; `None` where nothing is shown or a bar is.
    lines: Option<Mutex<(Instant, &'static str)>>,
}

impl Progress {
    pub(super) fn new(shown: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if shown && terminal { ProgressBar::new(1) } else { ProgressBar::hidden() };
        let template = "{msg:>10} {wide_bar} {percent:>3} %  {prefix} transactions, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let lines = (shown && !terminal).then(|| Mutex::new((Instant::now(), "")));
        Self { bar, lines }
    }

    /// Begins a part of the work.
    pub(super) fn begin(&self, what: &'static str) {
        self.bar.reset();
        self.bar.set_message(what);
        if let Some(lines) = &self.lines {
            lines.lock().1 = what;
        }
    }

    /// `done` of `total` of the part's work, `rows` transactions so far.
    pub(super) fn update(&self, (done, total): (u64, u64), rows: u64) {
        match &self.lines {
            None => {
                self.bar.set_length(total.max(1));
                self.bar.set_position(done);
                self.bar.set_prefix(HumanCount(rows).to_string());
            }
            Some(lines) => {
                let mut lines = lines.lock();
                if lines.0.elapsed() >= PAUSE {
                    lines.0 = Instant::now();
                    let percent = done as f64 * 100.0 / total.max(1) as f64;
                    eprintln!("{}: {percent:.0} %, {} transactions", lines.1, HumanCount(rows));
                }
            }
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
