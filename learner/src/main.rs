//! `learner`: trains, evaluates, imports. `learner --help` says how.

use std::process::ExitCode;

fn main() -> ExitCode {
    learner::cli::main()
}
