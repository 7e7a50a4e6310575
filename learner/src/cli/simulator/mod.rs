//! `learner simulator fit LOG` and `learner simulator report LOG`.

#[cfg(feature = "torch")]
mod fit;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use logs::Split;
use sim::simulator_path;

use super::Outcome;
use crate::simulator::{AcceptanceReport, other_items};

/// Arguments of `learner simulator`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fit a simulator to the training days of a log, to train policies in, and one to its test days, to evaluate them
    /// in. Written to LOG/simulator/{train,test} with an acceptance report on held-out users.
    #[cfg(feature = "torch")]
    Fit(fit::Args),
    /// Not in this build: it has no libtorch.
    #[cfg(not(feature = "torch"))]
    Fit {
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Print the acceptance reports of a log's simulators again.
    Report(ReportArgs),
}

#[derive(Debug, clap::Args)]
struct ReportArgs {
    /// The folder of a log with fitted simulators.
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// Which days.
    #[arg(long, value_enum, default_value_t = Which::Both)]
    split: Which,
    /// Print JSON instead, one object a simulator.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The training days.
    Train,
    /// The test days.
    Test,
    /// Both, one after the other.
    Both,
}

impl Which {
    fn splits(self) -> &'static [Split] {
        match self {
            Self::Train => &[Split::Train],
            Self::Test => &[Split::Test],
            Self::Both => &[Split::Train, Split::Test],
        }
    }
}

/// Fits or reports.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    match &args.action {
        #[cfg(feature = "torch")]
        Action::Fit(args) => fit::run(args),
        #[cfg(not(feature = "torch"))]
        Action::Fit { rest } => {
            bail!("cannot fit {}: {}", rest.join(" "), crate::engine::choice::NEEDS_TORCH)
        }
        Action::Report(args) => report(args),
    }
}

fn report(args: &ReportArgs) -> Result<Outcome> {
    for &split in args.split.splits() {
        let which = split.name();
        let folder = simulator_path(&args.log, which);
        if !AcceptanceReport::exists(&folder) {
            let log = args.log.display();
            bail!("{log} has no fitted {which} simulator; fit it with: learner simulator fit {log}");
        }
        let report = AcceptanceReport::load(&folder)?;
        if let Some(items) = other_items(&args.log, &folder, &report)? {
            super::say(&format!(
                "this {which} simulator was fitted to other embeddings than those of {} now; fit it anew with: learner simulator \
                 fit {}",
                items.display(),
                args.log.display()
            ));
        }
        if args.json {
            let json = serde_json::to_string_pretty(&report).context("cannot write the report as JSON")?;
            super::print_lines(&json);
        } else {
            super::print_lines(&report.to_markdown());
        }
    }
    Ok(Outcome::Done)
}
