//! `learner reproduce`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use common::config::Config;
use logs::{Log, Split};
use sim::OpenWorld;

use super::{Outcome, bar, count::count, print_lines, say, scale, threads};
use crate::{
    baselines::{Clickless, InteractionLog},
    engine::choice::NEEDS_TORCH,
    reproduce::{
        Budget, Cell, CellResult, Experiment, Scale, Summary, cost,
        experiment::{self, Variant},
        logged,
        methods::{self, Method, SUBJECT},
        pool,
        tables::{self, Section},
    },
    run_dir::{report::reproduction as report, write_whole},
    scaling::{Study, cluster::Programs},
    train::Interrupt,
    world::World,
};

const EXAMPLES: &str = "\
Examples:
  learner reproduce all                        every table and figure in half an hour on two cores: shows that it works, not more
  learner reproduce fig7 --budget full         what a claim is made from (says what it costs before it begins)
  learner reproduce fig7 --methods logging,history-greedy,tuned --seeds 5
  learner reproduce fig8 --env logs/taobao     on an imported log with fitted simulators
  learner reproduce all --out runs/reproduce   go on: cells that are there are not run again

Every method has the same environment steps to learn from and is judged on the same test users; training is in lockstep on
one thread, so that equal seeds give equal tables (but for fig7-seconds and scaling, which are the clock's).";

/// The paper's tables and figures.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Which: `all`, or some of table1, table2, fig6, fig7, fig8, fig9, caveats, controls, scaling, ablation (the last is not in `all`).
    #[arg(value_name = "WHAT", required = true)]
    what: Vec<String>,
    /// `shopworld[:VARIANT]`, or the folder of an imported log with fitted simulators.
    #[arg(long, value_name = "ENV", default_value = "shopworld")]
    env: String,
    /// How much every method may spend, and how thoroughly it is judged.
    #[arg(long, value_name = "B", value_enum, default_value_t = Scale::Quick)]
    budget: Scale,
    /// Seeds of everything that is trained [default: the budget's].
    #[arg(long, value_name = "K", value_parser = count::<u64>)]
    seeds: Option<u64>,
    /// Environment steps of a training [default: the budget's].
    #[arg(long, value_name = "N", value_parser = count::<u64>)]
    steps: Option<u64>,
    /// Test sessions of each length [default: the budget's].
    #[arg(long, value_name = "N", value_parser = count::<usize>)]
    sessions: Option<usize>,
    /// Methods of Table 2 and Fig 7, by id [default: all].
    #[arg(long, value_name = "ID,..", value_delimiter = ',')]
    methods: Vec<String>,
    /// Cells at once [default: all cores].
    #[arg(long, value_name = "N", value_parser = count::<usize>)]
    jobs: Option<usize>,
    /// Where it all goes: cells, tables (Markdown, CSV, JSON), figures (SVG), report.html.
    #[arg(long, value_name = "DIR", default_value = "runs/reproduce")]
    out: PathBuf,
}

/// The argument of a cell's process.
#[derive(Debug, clap::Args)]
pub(super) struct CellArgs {
    /// Its folder.
    folder: PathBuf,
}

/// Runs one cell.
pub(super) fn cell(args: &CellArgs) -> Result<Outcome> {
    pool::work(&args.folder)?;
    Ok(Outcome::Done)
}

/// Runs what is missing, then writes tables, figures and the report.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    ensure!(cfg!(feature = "torch"), "some of the methods to compare need libtorch, and {NEEDS_TORCH}");
    let (experiments, budget) = (experiments(&args.what)?, budget(args)?);
    let known: Vec<&str> = methods::all().iter().map(|method| method.id).collect();
    for id in &args.methods {
        ensure!(Method::find(id).is_some(), "--methods: there is no `{id}`; there are {}", known.join(", "));
    }
    let plan: Vec<(Experiment, Vec<Variant>)> = experiments
        .iter()
        .map(|&experiment| (experiment, experiment::variants(experiment, args.budget, &args.methods)))
        .map(|(experiment, variants)| Ok((experiment, known_to(&args.env, variants)?)))
        .collect::<Result<_>>()?;
    let mut cells: Vec<Cell> = Vec::new();
    for variant in plan.iter().flat_map(|(_, variants)| variants) {
        for cell in variant.cells(&args.env, &budget) {
            // Several tables and figures show the same one.
            if !cells.contains(&cell) {
                cells.push(cell);
            }
        }
    }
    // Whatever is wrong with a setting is said now, not by a process.
    for cell in &cells {
        cell.config().with_context(|| format!("the settings of {} are refused", cell.name()))?;
    }
    // A missing program is said now, too, and not after hours.
    let scaling = experiments.contains(&Experiment::Scaling);
    let programs = scaling.then(Programs::find).transpose()?;
    let missing = pool::missing(&args.out, &cells);
    let jobs = args.jobs.unwrap_or_else(threads).max(1);
    say(&announcement(&cells, &missing, jobs)?);
    if scaling {
        say(&format!(
            "then clusters of {:?} actors, {} seeds, {} environment steps each, one after the other",
            experiment::actors(args.budget),
            budget.seeds,
            budget.steps
        ));
    }
    let interrupt =
        Interrupt::on_ctrl_c(|| eprintln!("\nending all processes; the same command goes on later"));
    let progress = bar("cells");
    progress.set_length(missing.len() as u64);
    let finished = pool::run(&args.out, &cells, jobs, &interrupt, |done| progress.set_position(done as u64))?;
    progress.finish_and_clear();
    if !finished {
        return Ok(Outcome::Interrupted);
    }
    let mut study = None;
    if let Some(programs) = programs {
        // After the cells: clusters have the machine to themselves.
        study = scaling_study(args, &budget, &programs, &interrupt)?;
        if study.is_none() {
            return Ok(Outcome::Interrupted);
        }
    }
    let mut sections = Vec::new();
    for (experiment, variants) in plan {
        if experiment == Experiment::Table1 {
            sections.push(statistics(args, &budget)?);
            continue;
        }
        if let (Experiment::Scaling, Some(study)) = (experiment, &study) {
            sections.push(tables::scaling(study));
            continue;
        }
        let summaries =
            variants.iter().map(|variant| summary(args, variant, &budget)).collect::<Result<Vec<_>>>()?;
        sections.push(match experiment {
            Experiment::Table2 => tables::ranking(&summaries, &test_sessions(args, &budget)?),
            Experiment::Controls => tables::controls(&summaries, &budget, &test_sessions(args, &budget)?),
            _ => tables::section(experiment, &summaries, &budget),
        });
    }
    let caveats = caveats(args, &budget)?;
    for table in sections.iter_mut().flat_map(|section| &mut section.tables) {
        table.notes.extend_from_slice(&caveats);
    }
    write(args, &sections, &budget, caveats)?;
    Ok(Outcome::Done)
}

/// What a reader of any table must know: of the world, and of a single seed.
fn caveats(args: &Args, budget: &Budget) -> Result<Vec<String>> {
    let config = Config::load(None, &[("environment.name", args.env.as_str().into())])?;
    let mut caveats = World::open(&config)?.caveats().to_vec();
    if budget.seeds == 1 {
        caveats.push(
            "One seed: what is said of a trained method, intervals and verdicts too, is of this run of it. Another seed may \
             come out otherwise."
                .to_owned(),
        );
    }
    Ok(caveats)
}

fn experiments(what: &[String]) -> Result<Vec<Experiment>> {
    let mut chosen = Vec::new();
    for word in what {
        match (word.as_str(), Experiment::EVERY.into_iter().find(|experiment| experiment.id() == word)) {
            ("all", _) => chosen.extend(Experiment::EVERY.into_iter().filter(|e| e.is_in_all())),
            (_, Some(experiment)) => chosen.push(experiment),
            _ => {
                let known = Experiment::EVERY.map(Experiment::id).join(", ");
                bail!("`{word}` is neither `all` nor one of {known}");
            }
        }
    }
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

fn budget(args: &Args) -> Result<Budget> {
    let mut budget = Budget::of(args.budget);
    budget.seeds = args.seeds.unwrap_or(budget.seeds);
    if let Some(steps) = args.steps {
        // As many updates a step as without it.
        budget.updates = (budget.updates as f64 * steps as f64 / budget.steps as f64).ceil() as u64;
        budget.steps = steps;
    }
    budget.sessions = args.sessions.unwrap_or(budget.sessions);
    ensure!((1..=1000).contains(&budget.seeds), "--seeds {} is outside 1 to 1000", budget.seeds);
    ensure!(budget.steps >= 5_000, "--steps {} is below 5000: no method learns anything", budget.steps);
    ensure!(budget.sessions >= 2, "--sessions {} is below 2: there would be no interval", budget.sessions);
    Ok(budget)
}

/// Without the references that the world does not know. The controls' worlds are ShopWorld's: of another world only
/// the random scorer is left.
fn known_to(env: &str, variants: Vec<Variant>) -> Result<Vec<Variant>> {
    let config = Config::load(None, &[("environment.name", env.into())])?;
    let references = World::open(&config)?.references()?;
    let is_shopworld = OpenWorld::shopworld(env)?.is_some();
    let is_known = |variant: &Variant| {
        variant.method.reference().is_none_or(|reference| references.contains(&reference))
            && (is_shopworld || variant.env.is_none())
    };
    Ok(variants.into_iter().filter(is_known).collect())
}

/// What is about to be done and what it costs.
fn announcement(cells: &[Cell], missing: &[Cell], jobs: usize) -> Result<String> {
    // The sum of none is -0.
    let seconds = missing.iter().map(cost::seconds).sum::<Result<f64>>()?.abs();
    Ok(format!(
        "{} cells, {} of them to run, {jobs} at once: some {} on cores of 2026 that have nothing else to do",
        cells.len(),
        missing.len(),
        duration(seconds / jobs as f64)
    ))
}

fn duration(seconds: f64) -> String {
    if seconds < 5400.0 {
        format!("{:.0} minutes", (seconds / 60.0).ceil())
    } else {
        format!("{:.1} hours", seconds / 3600.0)
    }
}

/// Table 1.
fn statistics(args: &Args, budget: &Budget) -> Result<Section> {
    let config = Config::load(None, &[("environment.name", args.env.as_str().into())])?;
    let folder = Path::new(&args.env);
    if folder.is_dir() {
        // All of it, where Table 2 leaves out some and methods learn from sessions with a click.
        let log = Log::open(folder)?;
        let [train, test] = [Split::Train, Split::Test]
            .map(|split| InteractionLog::of_log(&log, split, config.model.window, Clickless::Kept));
        return Ok(tables::statistics(&train, &test));
    }
    let train = logged::training(&World::open(&config)?, &config, budget, config.seed)?;
    Ok(tables::statistics(&train, &test_sessions(args, budget)?))
}

/// The logged sessions that all methods rank.
fn test_sessions(args: &Args, budget: &Budget) -> Result<InteractionLog> {
    let config = Config::load(None, &[("environment.name", args.env.as_str().into())])?;
    logged::test(&World::open(&config)?, &config, budget)
}

/// The clusters of the scaling study; `None` if interrupted.
fn scaling_study(
    args: &Args,
    budget: &Budget,
    programs: &Programs,
    interrupt: &Interrupt,
) -> Result<Option<Study>> {
    let method = Method::find(SUBJECT).expect("the table of methods has its subject");
    let env = [("environment.name".to_owned(), args.env.as_str().into())];
    let mut config = method.config(&env)?.expect("the subject is trained by a run");
    budget.apply(&mut config);
    config.validate()?;
    let actors = experiment::actors(args.budget);
    scale::Runs { out: &args.out.join("scaling"), config: &config, actors, seeds: budget.seeds }
        .study(programs, interrupt)
}

fn summary(args: &Args, variant: &Variant, budget: &Budget) -> Result<Summary> {
    let read = |cell: Cell| {
        CellResult::read(&pool::folder(&args.out, &cell), &cell)
            .with_context(|| format!("the result of {} is gone", cell.name()))
    };
    Ok(Summary {
        name: variant.name.clone(),
        method: variant.method.id.to_owned(),
        results: variant.cells(&args.env, budget).into_iter().map(read).collect::<Result<_>>()?,
    })
}

fn write(args: &Args, sections: &[Section], budget: &Budget, caveats: Vec<String>) -> Result<()> {
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    for table in sections.iter().flat_map(|section| &section.tables) {
        table.write(&args.out)?;
        print_lines(&table.markdown());
    }
    for (name, svg) in report::pictures(sections)? {
        write_whole(&args.out.join(name), svg.as_bytes())?;
    }
    let mut about = vec![
        format!(
            "learner {} on {} with {} cores, {} {}; world {}; {} environment steps, at most {} updates, {} seeds, {} test \
             sessions of each length.",
            env!("CARGO_PKG_VERSION"),
            kernels::Level::best(),
            threads(),
            std::env::consts::OS,
            std::env::consts::ARCH,
            args.env,
            budget.steps,
            budget.updates,
            budget.seeds,
            budget.sessions
        ),
        format!("Command: {}", std::env::args().collect::<Vec<_>>().join(" ")),
    ];
    about.extend(caveats);
    let path = args.out.join("report.html");
    write_whole(&path, report::page(sections, &about)?.as_bytes())?;
    print_lines(&format!("report  {}", path.display()));
    Ok(())
}
