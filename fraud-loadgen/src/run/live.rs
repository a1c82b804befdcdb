//! Figures while the load is running: a bar on a terminal, lines elsewhere.

use std::io::{self, IsTerminal};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::load::clock::{MILLISECOND, SECOND};
use crate::report::{Plan, PlannedPhase, Second};

/// Without a terminal, so many seconds make a line.
const LINE_SECONDS: u64 = 5;

pub(super) struct Live {
    bar: ProgressBar,
    on_terminal: bool,
    quiet: bool,
    phases: Vec<PlannedPhase>,
    /// Seconds since the last line.
    lines: Vec<Second>,
}

impl Live {
    #[allow(clippy::cast_possible_truncation)] // Saturates.
    pub(super) fn new(plan: &Plan, quiet: bool) -> Self {
        let on_terminal = io::stderr().is_terminal();
        let target = if on_terminal && !quiet { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let length: f64 = plan.phases.iter().map(|phase| phase.seconds).sum();
        let bar = ProgressBar::with_draw_target(Some((length * 1_000.0) as u64), target);
        // The template is a constant; were it refused, the default bar would do.
        if let Ok(style) = ProgressStyle::with_template("{prefix:<12} {wide_bar} {percent:>3} %\n{msg}") {
            bar.set_style(style);
        }
        Self { bar, on_terminal, quiet, phases: plan.phases.clone(), lines: Vec::new() }
    }

    pub(super) fn tick(&self, now: u64) {
        self.bar.set_position(now / MILLISECOND);
        self.bar.set_prefix(self.phase(now as f64 / SECOND as f64).to_owned());
    }

    pub(super) fn second(&mut self, second: &Second) {
        if self.on_terminal {
            self.bar.set_message(figures(std::slice::from_ref(second)));
            return;
        }
        if self.quiet {
            return;
        }
        self.lines.push(second.clone());
        if self.lines.len() as u64 >= LINE_SECONDS {
            self.line();
        }
    }

    fn line(&mut self) {
        if let Some(first) = self.lines.first() {
            eprintln!("{:>5} s  {:<12} {}", first.second, self.phase(first.second as f64), figures(&self.lines));
            self.lines.clear();
        }
    }

    pub(super) fn finish(&mut self) {
        self.line();
        self.bar.finish_and_clear();
    }

    fn phase(&self, second: f64) -> &str {
        let mut end = 0.0;
        let phase = self.phases.iter().find(|phase| {
            end += phase.seconds;
            second < end
        });
        phase.map_or("finishing", |phase| &phase.name)
    }
}

/// Averages and worst values of some seconds.
fn figures(seconds: &[Second]) -> String {
    let per_second = |of: fn(&Second) -> f64| seconds.iter().map(of).sum::<f64>() / seconds.len().max(1) as f64;
    let worst = |of: fn(&Second) -> Option<f64>| {
        seconds.iter().filter_map(of).reduce(f64::max).map_or_else(|| "–".to_owned(), |worst| format!("{worst:.1} ms"))
    };
    let sum = |of: fn(&Second) -> u64| HumanCount(seconds.iter().map(of).sum());
    format!(
        "asked {:.0}/s, answered {:.0}/s, p50 {}, p99 {}, shed {}, errors {}, own lateness {}",
        per_second(|second| second.asked),
        per_second(|second| second.answered as f64),
        worst(|second| second.p50_ms),
        worst(|second| second.p99_ms),
        sum(|second| second.shed),
        sum(|second| second.errors),
        worst(|second| Some(second.schedule_error_p99_ms)),
    )
}
