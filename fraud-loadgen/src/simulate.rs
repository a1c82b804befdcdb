//! `fraud-loadgen simulate`: simulated transactions into a file.

use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use fraud_core::files::write::{FileError, Written, format_of};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::civil::Date;
use jiff::tz::Offset;

use crate::simulator::{Drift, Payment, Scenario, Settings, SettingsError, Simulator};

mod table;

use table::Table;

/// Without a terminal, progress is a line now and then instead of a bar.
const LINE_EVERY: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Columns: transaction_id, tx_datetime (UTC; the event time), customer_id, terminal_id, tx_amount,
tx_time_seconds and tx_time_days (both since --start), tx_fraud, tx_fraud_scenario.
Rows are in order of time. The same options give the same bytes.

Fraud: 1, every amount above 220; 2, two terminals drawn each day, everything there for 28 days;
3, three customers drawn each day, a third of their payments for 14 days, with five times the
amount. The draws do not grow with the population: see the third example.

Memory: about 100 MB, and 40 bytes a customer, 24 a terminal, 32 for each transaction of three
days for each thread; never the whole simulation.

Examples:
  The handbook's size, about 1.76 million transactions
    fraud-loadgen simulate --output transactions.parquet
  A small one to look at
    fraud-loadgen simulate --customers 100 --terminals 200 --days 30 --output small.csv
  Ten times the customers and terminals, and from day 0 on ten times the draws of scenarios 2 and 3
    fraud-loadgen simulate --customers 50000 --terminals 100000 --seed 7 \\
        --drift-day 0 --drift-fraud-factor 10 --output big.parquet
  New behaviour after the first 120 days, which a model trained on them does not know
    fraud-loadgen simulate --drift-day 120 --drift-amount-factor 1.5 --output drift.parquet

Exit codes: 0 done, 64 bad arguments, 74 the file could not be written.";

/// Simulate card payments with three kinds of fraud (the generator of the handbook "Reproducible Machine
/// Learning for Credit Card Fraud Detection"), seeded.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Number of customers
    #[arg(long, default_value_t = 5_000)]
    pub customers: u32,
    /// Number of terminals
    #[arg(long, default_value_t = 10_000)]
    pub terminals: u32,
    /// Number of days
    #[arg(long, default_value_t = 183)]
    pub days: u32,
    /// First day (UTC), YYYY-MM-DD
    #[arg(long, default_value = "2018-04-01")]
    pub start: Date,
    /// Customers pay at terminals nearer than this, on a plane of 100 × 100
    #[arg(long, default_value_t = 5.0)]
    pub radius: f64,
    /// Everything random follows from it
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// First day (counted from 0) of a change of behaviour; none by default
    #[arg(long, value_name = "DAY")]
    pub drift_day: Option<u32>,
    /// From the drift day on, multiply amounts and the limit of the first scenario by this
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, requires = "drift_day")]
    pub drift_amount_factor: f64,
    /// From the drift day on, compromise so many times the terminals and customers
    #[arg(long, value_name = "FACTOR", default_value_t = 1, requires = "drift_day")]
    pub drift_fraud_factor: u32,
    /// Threads that simulate; the result does not depend on it [default: one per processor]
    #[arg(long)]
    pub threads: Option<NonZeroUsize>,
    /// The file to write; its ending chooses the format: .parquet, .csv or .jsonl
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

/// Why a simulation did not come to a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// Settings that make no simulation.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A first day outside of the calendar's range.
    #[error("--start {start}: this day has no place in Unix time: {problem}")]
    Start {
        /// The day.
        start: Date,
        /// What the calendar said.
        problem: String,
    },
    /// The table was not written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Arguments {
    /// # Errors
    /// [`SimulateError::Start`] for a day outside of Unix time.
    fn settings(&self) -> Result<Settings, SimulateError> {
        let midnight = Offset::UTC.to_timestamp(self.start.at(0, 0, 0, 0));
        let wrong = |error: jiff::Error| SimulateError::Start { start: self.start, problem: error.to_string() };
        Ok(Settings {
            customers: self.customers,
            terminals: self.terminals,
            days: self.days,
            start: midnight.map_err(wrong)?.as_second(),
            radius: self.radius,
            seed: self.seed,
            drift: self.drift_day.map(|day| Drift {
                day,
                amount_factor: self.drift_amount_factor,
                fraud_factor: self.drift_fraud_factor,
            }),
        })
    }
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Summary {
    /// What it is a simulation of.
    pub settings: Settings,
    /// Rows and bytes of the file.
    pub written: Written,
    /// Frauds of the scenarios 1 to 3.
    pub frauds: [u64; 3],
    /// Time it took, on the wall.
    pub elapsed: Duration,
}

/// Simulates into the file; progress goes to standard error.
///
/// # Errors
/// [`SimulateError`]; the file is then what it was before.
pub fn run(arguments: &Arguments) -> Result<Summary, SimulateError> {
    let began = Instant::now();
    format_of(&arguments.output)?;
    let settings = arguments.settings()?;
    let simulator = Simulator::new(settings.clone())?;
    let mut table = Table::create(&arguments.output, &settings)?;
    let mut progress = Progress::new(settings.days);
    let mut frauds = [0; 3];
    simulator.try_for_each_day(threads(arguments), |payments| {
        for scenario in payments.iter().filter_map(|payment: &Payment| payment.fraud) {
            frauds[usize::from(scenario.number() - 1)] += 1;
        }
        table.write(&payments)?;
        progress.day(table.rows());
        Ok::<(), FileError>(())
    })?;
    let written = table.finish()?;
    progress.finish();
    Ok(Summary { settings, written, frauds, elapsed: began.elapsed() })
}

fn threads(arguments: &Arguments) -> NonZeroUsize {
    let processors = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    arguments.threads.unwrap_or_else(processors)
}

impl Summary {
    /// Writes it for a person.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn print(&self, arguments: &Arguments, out: &mut impl Write) -> io::Result<()> {
        let rows = self.written.rows;
        let share = |count: u64| if rows == 0 { 0.0 } else { count as f64 / rows as f64 * 100.0 };
        let count = |count: u64| HumanCount(count).to_string();
        let all = self.frauds.iter().sum();
        let (customers, terminals) = (self.settings.customers, self.settings.terminals);
        writeln!(
            out,
            "{} transactions of {} customers at {} terminals, {} days from {}, seed {}",
            count(rows),
            count(customers.into()),
            count(terminals.into()),
            self.settings.days,
            arguments.start,
            self.settings.seed
        )?;
        writeln!(out, "fraud                        {:>9}  {:.3} %", count(all), share(all))?;
        for (scenario, number) in Scenario::ALL.into_iter().zip(self.frauds) {
            let name = scenario.to_string();
            writeln!(out, "  {} {name:<24} {:>9}  {:.3} %", scenario.number(), count(number), share(number))?;
        }
        let seconds = self.elapsed.as_secs_f64();
        writeln!(
            out,
            "{}: {} in {seconds:.2} s ({} rows/s)",
            arguments.output.display(),
            HumanBytes(self.written.bytes),
            count((rows as f64 / seconds.max(1e-9)) as u64)
        )
    }
}

/// A bar on a terminal, lines elsewhere.
struct Progress {
    bar: ProgressBar,
    lines: Option<Instant>,
}

impl Progress {
    fn new(days: u32) -> Self {
        let on_terminal = io::stderr().is_terminal();
        let target = if on_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(days.into()), target);
        // The template is a constant; were it refused, the default bar would do.
        if let Ok(style) = ProgressStyle::with_template("simulating {wide_bar} day {pos} of {len}, {msg}, {eta} left") {
            bar.set_style(style);
        }
        Self { bar, lines: (!on_terminal).then(Instant::now) }
    }

    fn day(&mut self, rows: u64) {
        self.bar.inc(1);
        if let Some(last) = &mut self.lines {
            if last.elapsed() >= LINE_EVERY {
                *last = Instant::now();
                let (day, days) = (self.bar.position(), self.bar.length().unwrap_or_default());
                eprintln!("simulating: day {day} of {days}, {} transactions", HumanCount(rows));
            }
        } else {
            self.bar.set_message(format!("{} transactions", HumanCount(rows)));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
