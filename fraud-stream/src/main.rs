//! `fraud-stream`: see `fraud-stream --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
#[cfg(feature = "kafka")]
use fraud_stream::kafka;
use fraud_stream::latency::{self, LatencyArgs};
use fraud_stream::replay::{self, ReplayArgs};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Arguments that cannot be used (`EX_USAGE`).
const USAGE: u8 = 64;

/// Scores streams of card and account payments.
#[derive(Debug, Parser)]
#[command(name = "fraud-stream", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Scores a file of past transactions, each as if it arrived at its event time.
    Replay(Box<ReplayArgs>),
    /// Measures how long models take to assess one transaction of a file, side by side.
    Latency(LatencyArgs),
    /// Scores transactions from a Kafka topic to another, exactly once, until it is ended by a signal.
    #[cfg(feature = "kafka")]
    Run(kafka::RunArgs),
    /// Simulates, streams and scores, with a broker inside this process: nothing to set up.
    #[cfg(feature = "kafka")]
    Demo(kafka::DemoArgs),
    /// Puts chosen dead letters back where they came from.
    #[cfg(feature = "kafka")]
    Redrive(kafka::RedriveArgs),
}

fn main() -> ExitCode {
    #[cfg(feature = "kafka")]
    if let Some(arguments) = kafka::wants_topic(&std::env::args().collect::<Vec<_>>()) {
        return match kafka::AgainArgs::try_parse_from(arguments) {
            Ok(arguments) => end(kafka::replay_topic(&arguments), kafka::StreamError::exit_code),
            Err(error) => not_run(&error),
        };
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return not_run(&error),
    };
    match arguments.command {
        Command::Replay(arguments) => end(replay::from_arguments(*arguments), replay::ReplayError::exit_code),
        Command::Latency(arguments) => end(latency::from_arguments(&arguments), replay::ReplayError::exit_code),
        #[cfg(feature = "kafka")]
        Command::Demo(arguments) => end(kafka::demo(&arguments), kafka::StreamError::exit_code),
        #[cfg(feature = "kafka")]
        Command::Redrive(arguments) => end(kafka::redrive(&arguments), kafka::StreamError::exit_code),
        #[cfg(feature = "kafka")]
        Command::Run(arguments) => end(kafka::run_command(&arguments), kafka::StreamError::exit_code),
    }
}

/// Help and version are answers, everything else is a wrong use.
fn not_run(error: &clap::Error) -> ExitCode {
    let wrong = error.use_stderr();
    let _ = error.print();
    ExitCode::from(if wrong { USAGE } else { 0 })
}

fn end<E: std::fmt::Display>(result: Result<(), E>, exit_code: impl Fn(&E) -> u8) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(exit_code(&error))
        }
    }
}
