//! `learner scale`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use common::config::{Config, Mode};

use super::{Outcome, bar, count::count, print_lines, say};
use crate::{
    run_dir::{report::scaling as report, write_whole},
    scaling::{
        Case, Row, Study, Target, case,
        cluster::{Order, Programs},
        measure::RunFigures,
        study::SINGLE_NODE,
        tables,
    },
    train::{self, Interrupt},
};

const EXAMPLES: &str = "\
Examples:
  learner scale --actors 1,2,4,8 --steps 400000     four clusters, one after the other; table, plot, scaling.json
  learner scale --actors 1,4 --seeds 5 --target 4.5 five seeds each, held to a return of 4.5
  learner scale --actors 0,2 --shards 2 --seeds 5   does a cluster arrive where the single node (0) does?
  learner scale --out runs/scale                    go on with a study: finished rows are not run again
  learner scale --collect runs/a1 runs/a8 --actors 1,8   the same table from runs elsewhere (Kubernetes)
  learner scale --model                             1 to 4096 actors, from the costs that the study measured
  learner scale --model --assume shards=32 --assume update_s=0.002 --assume weights_bytes=150e3

How to read it: docs/scaling.md. Equal budgets and an equal update ratio make rows comparable; where they differ by more
than 5%, the table says so. A row whose target was not reached says that, and has no number.";

/// Time and environment steps to a given evaluation return, against the number of actors.
///
/// Starts a real cluster on this machine for every number of actors (the programs `replay` and `actor` beside this one,
/// and itself as the learner, over loopback; no Redis), one after the other, and ends all processes it started.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Actor processes of each row; 0 is the single node, `learner train`, that clusters are then held against.
    #[arg(long, value_name = "A,B,..", value_delimiter = ',', default_value = "1,2,4,8", value_parser = count::<u64>)]
    actors: Vec<u64>,
    /// Replay shards of every row (replay.shards).
    #[arg(long, value_name = "N", value_parser = count::<i64>)]
    shards: Option<i64>,
    /// Environment steps of every run (train.steps).
    #[arg(long, value_name = "N", value_parser = count::<i64>)]
    steps: Option<i64>,
    /// Evaluation return that counts as arrived: a number, or `auto` (nine tenths of the way from the first evaluations
    /// to the end of the row that ended lowest).
    #[arg(long, value_name = "R|auto", default_value = "auto", allow_hyphen_values = true)]
    target: Target,
    /// Runs of every row: seeds 0, 1, ... from the setting `seed` on.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = count::<u64>)]
    seeds: u64,
    /// Where it all goes: a folder for each run with its logs, scaling.json, scaling.csv, scaling.svg, scaling.html.
    #[arg(long, value_name = "DIR", default_value = "runs/scale")]
    out: PathBuf,
    /// A TOML file of settings (docs/configuration.md).
    #[arg(long, value_name = "FILE", env = "MAHRL_CONFIG")]
    config: Option<PathBuf>,
    /// One more setting, e.g. `train.evaluate_every=50000`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Run nothing: take these run directories, in the order of --actors (several of one number are its seeds).
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with = "model")]
    collect: Vec<PathBuf>,
    /// Cores that the rows of --collect had.
    #[arg(long, value_name = "N", requires = "collect")]
    cores: Option<f64>,
    /// Run nothing: predict 1 to 4096 actors, every process on a machine of its own.
    #[arg(long)]
    model: bool,
    /// Study or case (JSON) with the costs for --model [default: scaling.json in --out].
    #[arg(long, value_name = "FILE", requires = "model")]
    costs: Option<PathBuf>,
    /// --model: another cost or setup, e.g. `shards=16`; shared_cores=2 puts everything on one machine of two cores.
    #[arg(long, value_name = "KEY=NUMBER", requires = "model")]
    assume: Vec<String>,
}

/// Runs, collects or predicts.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    if args.model {
        return predict(args);
    }
    ensure!(!args.actors.is_empty(), "--actors names no number");
    for &actors in &args.actors {
        ensure!(actors <= 1024, "--actors {actors} is outside 0 to 1024");
    }
    if !args.collect.is_empty() {
        return collect(args);
    }
    let mut actors = args.actors.clone();
    actors.sort_unstable();
    actors.dedup();
    ensure!((1..=1000).contains(&args.seeds), "--seeds {} is outside 1 to 1000", args.seeds);
    let config = config(args)?;
    let runs = Runs { out: &args.out, config: &config, actors: &actors, seeds: args.seeds };
    let interrupt =
        Interrupt::on_ctrl_c(|| eprintln!("\nending all processes; the same command goes on later"));
    match runs.study(&Programs::find()?, &interrupt)? {
        Some(study) => conclude(args, &study),
        None => Ok(Outcome::Interrupted),
    }
}

/// The runs of a study, one after the other.
pub(super) struct Runs<'a> {
    /// A folder for each of them, and what is kept of it.
    pub(super) out: &'a Path,
    /// Settings but for the seed.
    pub(super) config: &'a Config,
    /// Actor processes, ascending; [`SINGLE_NODE`] is one.
    pub(super) actors: &'a [u64],
    /// From the setting on.
    pub(super) seeds: u64,
}

impl Runs<'_> {
    /// Runs what is missing; `None` if interrupted.
    pub(super) fn study(&self, programs: &Programs, interrupt: &Interrupt) -> Result<Option<Study>> {
        let Self { out, config, actors, seeds } = *self;
        fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        let cores = super::threads() as f64;
        let mut rows = Vec::new();
        for seed in (0..seeds).map(|k| config.seed + k) {
            for &actors in actors {
                let config = Config { seed, ..config.clone() };
                let name = format!("actors-{actors}-seed-{seed}");
                let Some(row) = row(out, programs, &config, (actors, &name, cores), interrupt)? else {
                    return Ok(None);
                };
                rows.push(row);
            }
        }
        let clusters: Vec<Row> = rows.iter().filter(|row| row.actors != SINGLE_NODE).cloned().collect();
        let case = match actors.iter().find(|&&actors| actors != SINGLE_NODE) {
            Some(actors) => {
                case::of(&out.join(format!("actors-{actors}-seed-{}", config.seed)).join("run"), &clusters)?
            }
            None => None,
        };
        let about = vec![
            format!(
                "learner {} on {} with {cores} cores, {} {}; {}, {} shards, {} steps, {} updates a step; all processes \
                 on this machine",
                env!("CARGO_PKG_VERSION"),
                kernels::Level::best(),
                std::env::consts::OS,
                std::env::consts::ARCH,
                config.environment.name,
                config.replay.shards,
                config.train.steps,
                config.train.updates_per_step,
            ),
            format!("command: {}", std::env::args().collect::<Vec<_>>().join(" ")),
        ];
        Ok(Some(Study::new(about, rows, case)?))
    }
}

/// The settings of every run but for actors and seed.
fn config(args: &Args) -> Result<Config> {
    let mut flags = node::cli::parse_set(&args.settings)?;
    flags.extend(args.steps.map(|n| ("train.steps".to_owned(), n.into())));
    flags.extend(args.shards.map(|n| ("replay.shards".to_owned(), n.into())));
    let flags: Vec<_> = flags.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let config = Config::load(args.config.as_deref(), &flags)?;
    ensure!(
        config.train.mode == Mode::Async,
        "train.mode is lockstep, which a cluster cannot be: set it to async"
    );
    ensure!(
        config.train.evaluate_every <= config.train.steps,
        "train.evaluate_every ({}) is beyond train.steps ({}): no run would be evaluated",
        config.train.evaluate_every,
        config.train.steps
    );
    // A world that cannot be opened is said now, and not by every process.
    train::prepare(&config)?;
    Ok(config)
}

/// One run, or what is kept of it; `None` if interrupted.
fn row(
    out: &Path,
    programs: &Programs,
    config: &Config,
    (actors, name, cores): (u64, &str, f64),
    interrupt: &Interrupt,
) -> Result<Option<Row>> {
    let folder = out.join(name);
    let (kept, settings) = (folder.join("row.json"), folder.join("settings.toml"));
    if let Ok(text) = fs::read_to_string(&kept) {
        let same = fs::read_to_string(&settings).is_ok_and(|text| text == config.to_toml());
        ensure!(
            same,
            "{} holds a run of other settings: give another --out, or the same settings",
            folder.display()
        );
        say(&format!("{name}: finished before"));
        return serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("{} is damaged", kept.display()));
    }
    if folder.exists() {
        // A run that did not end: its time would say nothing.
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    write_whole(&settings, config.to_toml().as_bytes())?;
    say(&format!("{name}: {} steps", config.train.steps));
    let steps = bar("environment steps");
    steps.set_length(config.train.steps);
    let order = Order { config, actors, folder: &folder };
    let ran = order.run(programs, interrupt, |done| steps.set_position(done));
    steps.finish_and_clear();
    let Some(cpu) = ran.with_context(|| format!("{name} failed"))? else { return Ok(None) };
    let run = RunFigures::read(&order.run_path())?;
    let row = Row { actors, shards: config.replay.shards as u64, cores: Some(cores), run, cpu };
    write_whole(&kept, to_json(&row).as_bytes())?;
    Ok(Some(row))
}

fn collect(args: &Args) -> Result<Outcome> {
    ensure!(
        args.actors.len() == args.collect.len(),
        "--collect names {} run directories, --actors {} numbers: one is needed for each",
        args.collect.len(),
        args.actors.len()
    );
    let settings = |path: &PathBuf| -> Result<Config> {
        Ok(Config::load_run(&crate::run_dir::RunDir::open(path)?.config_path(), &[])?)
    };
    let configs: Vec<Config> = args.collect.iter().map(settings).collect::<Result<_>>()?;
    for (path, config) in args.collect.iter().zip(&configs).skip(1) {
        check_alike((&args.collect[0], &configs[0]), (path, config))?;
    }
    let mut rows = Vec::new();
    for ((path, config), &actors) in args.collect.iter().zip(&configs).zip(&args.actors) {
        let run = RunFigures::read(path)?;
        rows.push(Row { actors, shards: config.replay.shards as u64, cores: args.cores, run, cpu: None });
    }
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    let names: Vec<String> = args.collect.iter().map(|path| path.display().to_string()).collect();
    conclude(args, &Study::new(vec![format!("collected from {}", names.join(", "))], rows, None)?)
}

/// Refuses runs that learned something else: a study is of one run on more or fewer actors.
fn check_alike((one, ours): (&Path, &Config), (other, theirs): (&Path, &Config)) -> Result<()> {
    // Budgets, update ratios and shards are looked at by the study, which says what they make of the comparison.
    let of_study =
        |key: &str| matches!(key, "seed" | "train.updates_per_step") || train::may_change(Mode::Async, key);
    if let Some(differs) = common::config::difference(&ours.to_toml(), &theirs.to_toml(), of_study)? {
        bail!(
            "{} and {} are no rows of one study: {} is {} and {}",
            one.display(),
            other.display(),
            differs.key,
            differs.ours,
            differs.theirs
        );
    }
    Ok(())
}

/// Writes the files and prints the table.
fn conclude(args: &Args, study: &Study) -> Result<Outcome> {
    let target = study.target(args.target);
    let table = tables::study(study, target);
    let model = study.case.map(|case| tables::model(&apart(case)));
    let file = |name: &str| args.out.join(name);
    write_whole(&file("scaling.json"), to_json(study).as_bytes())?;
    write_whole(&file("scaling.csv"), tables::csv(study, target).as_bytes())?;
    if let Some(svg) = report::picture(study, target)? {
        write_whole(&file("scaling.svg"), svg.as_bytes())?;
    }
    let page = report::page(study, target, &table, model.as_ref())?;
    write_whole(&file("scaling.html"), page.as_bytes())?;
    match target {
        Some(target) => print_lines(&format!("target: an evaluation return of {target:.3}")),
        None => print_lines("no target: the runs did not end higher than they began; give one by --target"),
    }
    print_lines(&table.text());
    for line in tables::against_single_node(study) {
        print_lines(&line);
    }
    let unfair = study.unfair();
    for reason in &unfair {
        print_lines(&format!("NOT COMPARABLE: {reason}"));
    }
    if unfair.is_empty() {
        print_lines("comparable: equal budgets and shards, update ratios within 5%");
    }
    print_lines(&format!("report  {}", file("scaling.html").display()));
    Ok(Outcome::Done)
}

/// Every process on a machine of its own.
fn apart(case: Case) -> Case {
    Case { setup: crate::scaling::Setup { shared_cores: 0.0, ..case.setup }, ..case }
}

fn predict(args: &Args) -> Result<Outcome> {
    let path = args.costs.clone().unwrap_or_else(|| args.out.join("scaling.json"));
    let case = apart(read_case(&path)?).with(&args.assume)?;
    print_lines(&format!("from {}:\n{}", path.display(), to_json(&case)));
    print_lines(&tables::model(&case).text());
    Ok(Outcome::Done)
}

/// The case of a study's file, or of a file that holds nothing else.
fn read_case(path: &Path) -> Result<Case> {
    let text = fs::read_to_string(path).with_context(|| {
        format!("cannot read {}: run `learner scale` first, or name a file by --costs", path.display())
    })?;
    if let Ok(case) = serde_json::from_str(&text) {
        return Ok(case);
    }
    let study: Study =
        serde_json::from_str(&text).with_context(|| format!("{} is no study", path.display()))?;
    match study.case {
        Some(case) => Ok(case),
        None => bail!(
            "{} has no measured costs: it was collected, or made on a system without /proc",
            path.display()
        ),
    }
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain structs, strings and numbers")
}
