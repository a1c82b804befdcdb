//! `fraud-stream`: see `fraud-stream --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
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
    let Command::Replay(arguments) = arguments.command;
    match replay::from_arguments(*arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
