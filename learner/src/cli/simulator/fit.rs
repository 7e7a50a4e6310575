//! `learner simulator fit LOG`.

use std::{
    io::IsTerminal,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Result;
use common::config::Config;
use logs::{Log, Split};
use sim::simulator_path;

use super::{super::count::count, Which};
use crate::{
    cli::{self, Outcome},
    simulator::{self, AcceptanceReport, Criteria, FittedSimulator, Options, Progress},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder of an imported log with embeddings.
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// Which days.
    #[arg(long, value_enum, default_value_t = Which::Both)]
    split: Which,
    /// Two members, passes over 50,000 impressions, larger steps: to try things. Single options still win.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    options: OptionArgs,
}

/// What is not given stays as in [`Options::default`].
#[derive(Debug, clap::Args)]
struct OptionArgs {
    /// Seed of groups, initial parameters, shuffles and rollouts [default: 0].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Length of a history window; that of the policy's model [default: 10].
    #[arg(long, value_name = "N", value_parser = count::<usize>)]
    window: Option<usize>,
    /// Members of the ensemble [default: 5].
    #[arg(long, value_name = "N", value_parser = count::<usize>)]
    ensemble: Option<usize>,
    /// Width of the encoders [default: 32].
    #[arg(long, value_name = "N", value_parser = count::<usize>)]
    width: Option<usize>,
    /// Width of the hidden layer [default: 64].
    #[arg(long, value_name = "N", value_parser = count::<usize>)]
    hidden: Option<usize>,
    /// Size of a category's embedding, 0 leaves categories out [default: 8].
    #[arg(long, value_name = "N", value_parser = count::<usize>)]
    category_dims: Option<usize>,
    /// Leave prices out.
    #[arg(long)]
    no_features: bool,
    /// Most passes over the impressions [default: 10].
    #[arg(long, value_name = "N", value_parser = count::<usize>)]
    epochs: Option<usize>,
    /// Passes without a better held-out log loss that end the training [default: 2].
    #[arg(long, value_name = "N", value_parser = count::<usize>)]
    patience: Option<usize>,
    /// Impressions of a minibatch [default: 1024].
    #[arg(long, value_name = "N", value_parser = count::<usize>)]
    batch: Option<usize>,
    /// Adam's learning rate [default: 0.002].
    #[arg(long, value_name = "X")]
    learning_rate: Option<f64>,
    /// Most impressions a member learns from in a pass; of more, others are drawn for every pass [default: 100000].
    #[arg(long, value_name = "N", value_parser = count::<usize>)]
    max_samples: Option<usize>,
    /// Share of the users held out to stop and calibrate, and once more to judge [default: 0.1].
    #[arg(long, value_name = "X")]
    held_out: Option<f32>,
    /// Learn from sessions without a click too (the paper drops them).
    #[arg(long)]
    keep_clickless: bool,
}

impl OptionArgs {
    /// These options over the defaults, or over the quick ones.
    fn options(&self, quick: bool) -> Options {
        let base = if quick { Options::quick() } else { Options::default() };
        Options {
            seed: self.seed.unwrap_or(base.seed),
            window: self.window.unwrap_or(base.window),
            ensemble: self.ensemble.unwrap_or(base.ensemble),
            width: self.width.unwrap_or(base.width),
            hidden: self.hidden.unwrap_or(base.hidden),
            category_dims: self.category_dims.unwrap_or(base.category_dims),
            features: base.features && !self.no_features,
            epochs: self.epochs.unwrap_or(base.epochs),
            patience: self.patience.unwrap_or(base.patience),
            batch: self.batch.unwrap_or(base.batch),
            learning_rate: self.learning_rate.unwrap_or(base.learning_rate),
            max_samples: self.max_samples.unwrap_or(base.max_samples),
            held_out: self.held_out.unwrap_or(base.held_out),
            drop_clickless: base.drop_clickless && !self.keep_clickless,
        }
    }
}

/// Fits, saves and judges.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let options = args.options.options(args.quick);
    options.validate()?;
    let log = Log::open(&args.log)?;
    let mut verdicts = Vec::new();
    let mut next = String::new();
    // Before the first is fitted, which takes minutes.
    for &split in args.split.splits().iter().skip(1) {
        simulator::check(&log, split, &options)?;
    }
    for &split in args.split.splits() {
        let folder = simulator_path(&args.log, split.name());
        let start = Instant::now();
        let fitted = with_progress(&log, split, &options)?;
        fitted.save(&folder)?;
        let acceptance = fitted.acceptance();
        cli::print_lines(&acceptance.to_markdown());
        let seconds = start.elapsed().as_secs();
        let advice = match acceptance.accepted {
            true => "",
            false if args.quick => "; this was --quick: fit without it",
            false => "; what that means, and what to do: docs/logs.md",
        };
        verdicts.push(format!("{}  {} ({seconds} s){advice}", folder.display(), acceptance.verdict()));
        next = next_step(&args.log, &fitted);
    }
    cli::print_lines(&format!("{}\nnext: {next}", verdicts.join("\n")));
    Ok(Outcome::Done)
}

/// Fits, with a bar on a terminal and a line a pass elsewhere: a fit takes minutes.
fn with_progress(log: &Log, split: Split, options: &Options) -> Result<FittedSimulator> {
    let bar = cli::bar(bar_text(split));
    bar.set_length((options.ensemble * options.epochs) as u64);
    let on_terminal = std::io::stderr().is_terminal();
    let mut passes = vec![0; options.ensemble];
    let fitted = simulator::fit(log, split, options, Criteria::default(), &mut |progress: Progress| {
        // A member that stops early has come to its end.
        passes[progress.member] = if progress.ended { options.epochs } else { progress.pass };
        bar.set_position(passes.iter().sum::<usize>() as u64);
        if !on_terminal {
            cli::say(&pass_line(split, options, &progress));
        }
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    Ok(fitted)
}

fn pass_line(split: Split, options: &Options, progress: &Progress) -> String {
    format!(
        "{}, member {} of {}, pass {} of at most {}: log loss {:.4}, held out {:.4}",
        bar_text(split),
        progress.member + 1,
        options.ensemble,
        progress.pass,
        options.epochs,
        progress.loss,
        progress.held_out_loss
    )
}

/// What to run now: training, with the settings that these simulators ask for, once the days of both splits are there.
fn next_step(log: &Path, fitted: &FittedSimulator) -> String {
    let missing =
        Split::ALL.into_iter().find(|split| !AcceptanceReport::exists(&simulator_path(log, split.name())));
    if let Some(split) = missing {
        return format!("learner simulator fit {} --split {}", log.display(), split.name());
    }
    let (model, items) = (Config::default().model, fitted.model().items());
    let mut command = format!("learner --env {}", log.display());
    let settings = [
        ("n_dims", items.n_dims() != model.n_dims, items.n_dims().to_string()),
        ("bound", items.bound() != model.bound, items.bound().to_string()),
        ("window", fitted.statistics().window() != model.window, fitted.statistics().window().to_string()),
    ];
    for (key, _, value) in settings.into_iter().filter(|(_, differs, _)| *differs) {
        command.push_str(&format!(" --set model.{key}={value}"));
    }
    command
}

fn bar_text(split: Split) -> &'static str {
    match split {
        Split::Train => "simulator of the training days",
        Split::Test => "simulator of the test days",
    }
}
