//! `fraud-loadgen`: makes transactions, and load of them.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fraud_core::files::write::FileError;
use fraud_loadgen::drill::{self, DrillError};
use fraud_loadgen::fail_if::Finding;
use fraud_loadgen::report;
use fraud_loadgen::run::{self, RunError};
use fraud_loadgen::simulate::{self, SimulateError};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// sysexits.h: the command was used the wrong way.
const USAGE: u8 = 64;
/// sysexits.h: a service is unavailable.
const UNAVAILABLE: u8 = 69;
/// sysexits.h: an error while doing input or output.
const INPUT_OUTPUT: u8 = 74;

/// Make transactions: simulated ones into a file, or load for a service.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Simulate(simulate::Arguments),
    Run(Box<run::Arguments>),
    Drill(Box<drill::Arguments>),
}

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(problem) => {
            // Standard output or error may be closed; there is nobody to tell then.
            drop(problem.print());
            return if problem.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match command {
        Command::Simulate(arguments) => simulate(&arguments),
        Command::Run(arguments) => load(&arguments),
        Command::Drill(arguments) => alarm(&arguments),
    }
}

fn simulate(arguments: &simulate::Arguments) -> ExitCode {
    match simulate::run(arguments) {
        Ok(summary) => {
            let mut out = io::stdout().lock();
            match summary.print(arguments, &mut out).and_then(|()| out.flush()) {
                // The file is complete; whoever read the summary has left.
                Ok(()) | Err(_) => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            eprintln!("fraud-loadgen simulate: {error}");
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &SimulateError) -> u8 {
    match error {
        SimulateError::File(FileError::Extension { .. }) => USAGE,
        SimulateError::File(_) => INPUT_OUTPUT,
        _ => USAGE,
    }
}

fn load(arguments: &run::Arguments) -> ExitCode {
    match run::run(arguments) {
        Ok(outcome) => {
            let mut text = outcome.record.as_ref().map_or(String::new(), report::summary_text);
            text += &findings(&outcome.findings);
            // Whoever read the summary may have left.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::from(outcome.exit_code())
        }
        Err(error) => {
            eprintln!("fraud-loadgen run: {error}");
            ExitCode::from(run_code(&error))
        }
    }
}

fn alarm(arguments: &drill::Arguments) -> ExitCode {
    match drill::run(arguments) {
        Ok(outcome) => {
            let mut text = report::summary_text(&outcome.record) + &findings(&outcome.findings);
            if let Some(drill) = &outcome.record.drill {
                // Writing into a text does not fail.
                for (link, reached) in &drill.links {
                    let reached = reached.map_or_else(|| "never".to_owned(), |at| format!("after {at:.0} s"));
                    let _ = writeln!(text, "{link:<40} {reached}");
                }
                let _ = writeln!(text, "drill: {}", drill.result);
            }
            let _ = io::stdout().write_all(text.as_bytes());
            let holds = outcome.findings.iter().any(|finding| matches!(finding.1, Finding::Failed(_)));
            match outcome.succeeded && !holds {
                _ if outcome.record.verdict.interrupted => ExitCode::from(130),
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            eprintln!("fraud-loadgen drill: {error}");
            ExitCode::from(match &error {
                DrillError::Run(error) => run_code(error),
                DrillError::Monitoring(_) | DrillError::NoCapacity => UNAVAILABLE,
                _ => USAGE,
            })
        }
    }
}

fn findings(findings: &[(String, Finding)]) -> String {
    let line = |(condition, finding): &(String, Finding)| {
        let finding = match finding {
            Finding::Passed => "passed: does not hold".to_owned(),
            Finding::Failed(value) => format!("FAILED: holds, it is {value}"),
            Finding::Unknown(reason) => format!("NOT KNOWN: {reason}"),
        };
        format!("fail if {condition}: {finding}\n")
    };
    findings.iter().map(line).collect()
}

fn run_code(error: &RunError) -> u8 {
    match error {
        RunError::Unreachable { .. } => UNAVAILABLE,
        RunError::File { .. } | RunError::Stream(_) | RunError::Engine(_) => INPUT_OUTPUT,
        _ => USAGE,
    }
}
