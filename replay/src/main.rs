//! `replay`: one shard of the replay service. `replay --help` says how.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = replay::cli::Cli::parse();
    match replay::cli::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            node::cli::report_failure(&error);
            ExitCode::FAILURE
        }
    }
}
