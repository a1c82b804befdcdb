//! `fraud-stream`: see `fraud-stream --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
#[cfg(feature = "kafka")]
use fraud_stream::kafka;
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
    /// Scores transactions from a Kafka topic to another, exactly once, until it is ended by a signal.
    #[cfg(feature = "kafka")]
    Run(kafka::RunArgs),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, everything else is a wrong use.
            let wrong = error.use_stderr();
            let _ = error.print();
            return ExitCode::from(if wrong { USAGE } else { 0 });
        }
    };
    match arguments.command {
        Command::Replay(arguments) => end(replay::from_arguments(*arguments), replay::ReplayError::exit_code),
        #[cfg(feature = "kafka")]
        Command::Run(arguments) => end(kafka::run_command(&arguments), kafka::StreamError::exit_code),
    }
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
