//! The `fraud-api` command.
#![allow(clippy::doc_markdown)] // FRAUD_CONFIG is not code in a help text.

use std::process::ExitCode;

use clap::Parser;
use fraud_api::server;
use fraud_api::settings::{ApiSettings, ServerSettings};
use fraud_core::service::probe;
use fraud_core::service::settings::process_environment;
use fraud_core::service::telemetry;

mod cli;
mod store_command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What `sysexits.h` calls a usage error.
const BAD_SETTINGS: u8 = 64;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(problem) => {
            // Standard output or error may be closed; there is nobody to tell then.
            drop(problem.print());
            return if problem.use_stderr() { BAD_SETTINGS.into() } else { ExitCode::SUCCESS };
        }
    };
    let settings = match cli.sources(process_environment()).load::<ApiSettings>() {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("fraud-api: {error}");
            return BAD_SETTINGS.into();
        }
    };
    if let Some(cli::Command::Store(command)) = &cli.command {
        return command.run(&settings.settings);
    }
    if cli.print_config {
        print!("{}", settings.settings.masked());
        return ExitCode::SUCCESS;
    }
    if cli.check_config {
        println!("the settings are in order");
        return ExitCode::SUCCESS;
    }
    if cli.check_health {
        return check_health(&settings.settings.server);
    }
    telemetry::start_log(&settings.settings.telemetry, std::io::stderr);
    match server::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "fraud-api cannot go on");
            error.exit_code().into()
        }
    }
}

fn check_health(server: &ServerSettings) -> ExitCode {
    match probe::ready(server.bind, server.tls_cert_file.is_some()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fraud-api: {error}");
            ExitCode::FAILURE
        }
    }
}
