//! `actor`: rolls out the learner's policy and streams what happens to the replay shards. `actor --help` says how.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = actor::cli::Cli::parse();
    match actor::cli::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            node::cli::report_failure(&error);
            ExitCode::FAILURE
        }
    }
}
