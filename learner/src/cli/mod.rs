//! The command line: arguments in, one clear line out when something is wrong.
//!
//! Exit codes: 0 done, 1 failed (the reason is the last line of standard error), 2 wrong usage, 130 interrupted with a
//! checkpoint.

mod count;
mod evaluate;
mod evaluator;
mod export;
mod logs;
mod of_run;
mod rank;
mod recommend;
mod reproduce;
mod scale;
mod simulator;
mod train;
mod world;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use common::telemetry;

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All done.
    Done,
    /// Stopped by Ctrl-C, cleanly.
    Interrupted,
}

const EXAMPLES: &str = "\
Examples:
  learner                                   train on the built-in world with the preset `best`
  learner --steps 200000 --seed 3           a shorter run with another seed
  learner --preset tuned                    the paper's structure and nothing beyond it
  learner --preset paper                    every value as in the paper (hardly learns, see docs/deviations.md)
  learner --env shopworld:dense             another variant of the built-in world
  learner --run-dir runs/a --resume         go on where runs/a stopped
  learner evaluate runs/a --length 200      the final table again, on longer sessions
  learner reproduce fig7 --budget quick     the paper's figure, every method beside the others
  learner rank runs/a                       Table 2: logged sessions ranked by the critic
  learner export runs/a --out policy        the policy for other programs
  learner world                             the reference policies of the built-in world
  learner import --format taobao --input UserBehavior.csv --output logs/taobao
  learner embed logs/taobao && learner simulator fit logs/taobao && learner --env logs/taobao";

/// Trains MaHRL, a hierarchical recommender that learns from clicks and sparse orders.
///
/// Without a subcommand it trains: simulator, actors, replay service and learner run in this one process, on the built-in
/// world unless --env names another, and end with a table, a report and a policy in a run directory.
#[derive(Debug, Parser)]
#[command(name = "learner", version = node::VERSION, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    train: train::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a policy (the default without a subcommand).
    Train(train::Args),
    /// Evaluate a run's policy beside the references, without exploration, on test users; the run's report.html is written anew.
    Evaluate(evaluate::Args),
    /// Evaluate the policies of a running cluster one after the other, as they come.
    Evaluator(evaluator::Args),
    /// Rank the test sessions of a log with a run's critic: MAP, NDCG, off-policy estimates (Table 2).
    Rank(rank::Args),
    /// Write a run's policy for other programs: safetensors, JSON, TorchScript (docs/export.md).
    Export(export::Args),
    /// Print what a run's policy recommends after given histories.
    Recommend(recommend::Args),
    /// Convergence against the number of actors: a study on this machine, and a model beyond it (docs/scaling.md).
    Scale(scale::Args),
    /// Make the paper's tables and figures anew: every method, equal budgets, with intervals.
    Reproduce(reproduce::Args),
    /// One cell of a reproduction; `reproduce` starts it.
    #[command(hide = true)]
    Cell(reproduce::CellArgs),
    /// Print the reference policies of the built-in world.
    World(world::Args),
    /// Import a public log into the canonical form.
    Import(logs::ImportArgs),
    /// Print Table 1's row of a log.
    Stats(logs::StatsArgs),
    /// Compute (or take from a file) the item embeddings of a log.
    Embed(logs::EmbedArgs),
    /// Fit the learned simulator of a log (Sec 4.2.1), or print its acceptance report.
    Simulator(simulator::Args),
    #[command(flatten)]
    Operate(node::operate::Operate),
}

/// Threads for evaluations and history-greedy: all cores.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Prints text that may be long to standard output, or as lines of the logs where these are for machines. Whoever reads it
/// may stop early (`| head`): that is no failure.
fn print_lines(text: &str) {
    use std::io::{ErrorKind, Write};
    if telemetry::is_json() {
        return text.lines().for_each(|line| tracing::info!("{line}"));
    }
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        // As println! does where there is nowhere to print to.
        written => written.expect("standard output can be written to"),
    }
}

/// Says on standard error what is being done now, for whoever waits; a terminal has bars besides.
fn say(what: &str) {
    if telemetry::is_json() {
        tracing::info!("{}", what.trim());
    } else {
        eprintln!("{what}");
    }
}

/// A bar for work that takes a while; hidden unless standard error is a terminal.
fn bar(what: &'static str) -> indicatif::ProgressBar {
    let style = indicatif::ProgressStyle::with_template("{msg} {bar:30.cyan/dim} {pos}/{len}  eta {eta}")
        .expect("the template is a constant");
    indicatif::ProgressBar::new(1).with_style(style).with_message(what)
}

/// Parses the arguments of this process and runs the command.
pub fn main() -> ExitCode {
    // Two spinning OpenMP threads cost 15 times on shared cores; one owner thread computes.
    #[cfg(feature = "torch")]
    tch::set_num_threads(1);
    let cli = match Cli::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let command = cli.command.unwrap_or(Command::Train(cli.train));
    match &command {
        // Their logs say which run they are of: they start with the settings.
        Command::Train(args) if args.is_cluster() => {}
        Command::Evaluator(_) => {}
        Command::Train(args) => {
            args.start_logs();
            node::cli::warn_of_unread_variables();
        }
        // Started by others, which have said it, or now and again, as probes.
        Command::Cell(_) | Command::Operate(_) => telemetry::init(telemetry::Format::Pretty, "warn"),
        _ => {
            telemetry::init(telemetry::Format::Pretty, "warn");
            node::cli::warn_of_unread_variables();
        }
    }
    let outcome = match command {
        Command::Train(args) => train::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Evaluator(args) => evaluator::run(&args),
        Command::Rank(args) => rank::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Recommend(args) => recommend::run(&args),
        Command::Scale(args) => scale::run(&args),
        Command::Reproduce(args) => reproduce::run(&args),
        Command::Cell(args) => reproduce::cell(&args),
        Command::World(args) => world::run(&args),
        Command::Import(args) => logs::import(&args),
        Command::Stats(args) => logs::stats(&args),
        Command::Embed(args) => logs::embed(&args),
        Command::Simulator(args) => simulator::run(&args),
        Command::Operate(operate) => node::operate::run(&operate).map(|()| Outcome::Done),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(error) => {
            node::cli::report_failure(&error);
            ExitCode::FAILURE
        }
    }
}
