//! `learner rank RUN`: logged sessions ranked anew by a run's critic (Table 2 of the paper).

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use common::{ItemTable, config::Config};
use logs::{Log, Split, source::Impressions};
use sim::Reference;

use super::{Outcome, count::at_least_one, evaluate::load_policy, of_run::OfRun, say, threads};
use crate::{
    baselines::{
        Budget, Clickless, InteractionLog, Progress, Ranker, TrainingData,
        methods::{all, by_name},
    },
    evaluation::{
        Users,
        offline::{
            AgentRanker, ItemMeans, Mode, OffPolicyEstimate, Ranking, RankingTable, decisions,
            ranking::{RANDOM, Random},
        },
    },
    run_dir::{self, RunDir},
    world::{self, World},
};

/// Sessions side by side while a world writes a log.
const SLOTS: usize = 64;

/// Arguments of `learner rank`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    of: OfRun,
    /// A log whose test sessions are ranked; it must have the items that the run learned with [default: the run's own log,
    /// or sessions of the built-in world's logging policy].
    #[arg(long, value_name = "LOG")]
    log: Option<PathBuf>,
    /// Place all items in the state before the session, or one by one with their feedback revealed.
    #[arg(long, value_enum, default_value = "static")]
    mode: CliMode,
    /// Other methods to rank with, fitted to the training sessions first.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = "popularity")]
    methods: Vec<String>,
    /// Test sessions to rank, at most, at equal distances in the log; those without a click have no measures.
    #[arg(long, default_value_t = 5000, value_name = "N", value_parser = at_least_one::<usize>)]
    sessions: usize,
    /// Seed of ties, of the bootstrap and of the fits.
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum CliMode {
    Static,
    Sequential,
}

/// Training and test sessions of a log.
struct Data {
    name: String,
    items: Arc<ItemTable>,
    train: InteractionLog,
    test: InteractionLog,
    /// In the run's own world; methods that act while they learn need it.
    world: Option<World>,
    caveats: Vec<String>,
}

/// Ranks and prints.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let (run_dir, config) = args.of.open()?;
    let mode = match args.mode {
        CliMode::Static => Mode::Static,
        CliMode::Sequential => Mode::Sequential,
    };
    let data = open(&config, args)?;
    let policy = load_policy(&config, &run_dir, &data.items)?;
    let agent = AgentRanker::new(config.method(), policy, config.period_layout())?;
    let mut rankers = fit(args, &data)?;
    rankers.push(Box::new(agent));
    say(&format!("ranking {} sessions with {} methods", data.test.n_sessions(), rankers.len()));
    let table = compare(&data, mode, args.seed, &rankers, config.method())?;
    let name = file_name(&config, args, mode);
    let [json, csv] = ["json", "csv"].map(|form| run_dir.path().join(format!("{name}.{form}")));
    if args.json {
        super::print_lines(&table.to_json());
    } else {
        show(&table);
    }
    if is_larger(&json, &table, &run_dir) {
        say(&format!("{} has more sessions than this table: it stays", json.display()));
        return Ok(Outcome::Done);
    }
    run_dir::write_whole(&json, table.to_json().as_bytes())?;
    run_dir::write_whole(&csv, table.to_csv().as_bytes())?;
    if !args.json {
        super::print_lines(&format!("written  {} and .csv", json.display()));
    }
    Ok(Outcome::Done)
}

/// What a table's files are called: one of another log than the run's own does not take its place.
fn file_name(config: &Config, args: &Args, mode: Mode) -> String {
    let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let own = resolved(Path::new(&config.environment.name));
    let other = args.log.as_deref().map(resolved).filter(|log| *log != own);
    let folder = other.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
    format!("ranking-{}{}", mode.name(), folder.map(|folder| format!("-{folder}")).unwrap_or_default())
}

/// Whether the table of a file has more sessions of the same log, and all these methods, under the same policy.
fn is_larger(path: &Path, table: &RankingTable, run_dir: &RunDir) -> bool {
    #[derive(serde::Deserialize)]
    struct Before {
        log: String,
        sessions: usize,
        rows: Vec<Method>,
    }
    #[derive(serde::Deserialize)]
    struct Method {
        name: String,
    }
    let written = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let before = std::fs::read_to_string(path).ok();
    let before: Option<Before> = before.and_then(|text| serde_json::from_str(&text).ok());
    before.is_some_and(|before| {
        let has = |name: &str| before.rows.iter().any(|method| method.name == name);
        before.log == table.log
            && before.sessions > table.sessions
            && table.rows.iter().all(|row| has(&row.name))
            && written(path) >= written(&run_dir.policy_path())
    })
}

/// The sessions: of `--log`, of the run's log, or of its world's logging policy.
fn open(config: &Config, args: &Args) -> Result<Data> {
    let window = config.model.window;
    let own = PathBuf::from(&config.environment.name);
    let own = own.is_dir().then_some(own);
    if let Some(folder) = args.log.as_ref().or(own.as_ref()) {
        let log = Log::open(folder)?;
        let items = log.items()?;
        let is_own = own.as_ref() == Some(folder);
        if !is_own && *World::open(config)?.items() != items {
            bail!(
                "{} has other items than `{}`, which the run learned with: it cannot rank them",
                folder.display(),
                config.environment.name
            );
        }
        // Ranking needs no simulator; methods that learn by acting say so themselves.
        let world = match is_own.then(|| World::open(config)) {
            Some(Err(error @ world::Error::Embeddings { .. })) => return Err(error.into()),
            opened => opened.and_then(Result::ok),
        };
        let all = InteractionLog::of_log(&log, Split::Test, window, Clickless::Kept);
        let test = all.evenly(args.sessions);
        let train = InteractionLog::of_log(&log, Split::Train, window, Clickless::Kept);
        let name = folder.display().to_string();
        let mut caveats = caveats(&log);
        if let Some(cut) = cut(&all, &test) {
            caveats.push(cut);
        }
        let of_world = world.iter().flat_map(World::caveats).cloned();
        caveats.extend(of_world);
        return Ok(Data { name, items, train, test, world, caveats });
    }
    let world = World::open(config)?;
    say("playing sessions of the logging policy, to be ranked");
    let roll_out = |users: Users, sessions: u64| -> Result<InteractionLog> {
        let mut world = world.build(users, SLOTS, config.environment.session_length)?;
        let first = users.first_session();
        Ok(InteractionLog::roll_out(&mut *world, Reference::Logging, first..first + sessions, args.seed)?)
    };
    Ok(Data {
        name: format!("{} under its logging policy", world.name()),
        items: Arc::clone(world.items()),
        train: roll_out(Users::Training, Budget::Quick.log_sessions())?,
        test: without_propensities(&roll_out(Users::Test, args.sessions as u64)?),
        caveats: Vec::new(),
        world: Some(world),
    })
}

/// What a reader must know of a log.
fn caveats(log: &Log) -> Vec<String> {
    let mut caveats = Vec::new();
    if log.manifest().impressions != Impressions::Logged {
        caveats.push(format!(
            "the log does not say what was shown ({}): skips are made up, and so is a part of every measure",
            log.manifest().impressions.name()
        ));
    }
    if log.sessions().all(|session| session.impressions.len() == 1) {
        caveats.push(
            "every session is a single impression: there is nothing to rank, all orders are the same"
                .to_owned(),
        );
    }
    caveats
}

/// Says how many of all test sessions were taken, if not all.
fn cut(all: &InteractionLog, taken: &InteractionLog) -> Option<String> {
    let (all, taken) = (all.n_sessions(), taken.n_sessions());
    (taken < all)
        .then(|| format!("{taken} of the log's {all} test sessions, at equal distances (--sessions)"))
}

/// A session of a world chooses among recalled candidates of its own, not among the catalogue: off-policy estimates over
/// the catalogue would be wrong, and the world itself can be asked (`learner evaluate`).
fn without_propensities(log: &InteractionLog) -> InteractionLog {
    let mut plain = InteractionLog::new(log.window());
    for session in log.sessions() {
        let steps = session.steps.iter().map(|&step| crate::baselines::Step { propensity: None, ..step });
        plain.push(session.user, session.start_windows, steps);
    }
    plain
}

/// The other methods, fitted. Random order is always there.
fn fit(args: &Args, data: &Data) -> Result<Vec<Box<dyn Ranker>>> {
    let mut rankers = Vec::new();
    for name in args.methods.iter().filter(|name| *name != RANDOM) {
        let method = by_name(name, Budget::Quick).with_context(|| {
            let known: Vec<_> = all(Budget::Quick).iter().map(|method| method.name()).collect();
            let others =
                if cfg!(feature = "torch") { "" } else { " (others need libtorch, which this build lacks)" };
            format!("no method `{name}`; there are {}{others}", known.join(", "))
        })?;
        say(&format!("fitting {name} to {} training sessions", data.train.n_sessions()));
        let training = TrainingData {
            log: &data.train,
            items: &data.items,
            world: data.world.as_ref(),
            seed: args.seed,
        };
        let bar = super::bar("fit");
        let fitted = method.fit(&training, &mut |Progress { done, total, .. }| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            ControlFlow::Continue(())
        })?;
        bar.finish_and_clear();
        rankers.push(fitted.ranker());
    }
    Ok(rankers)
}

/// Random and logged order beside the rankers; off-policy estimates where the log holds propensities.
fn compare(
    data: &Data,
    mode: Mode,
    seed: u64,
    rankers: &[Box<dyn Ranker>],
    subject: &str,
) -> Result<RankingTable> {
    let (test, threads) = (&data.test, threads());
    let mut rankings = vec![Ranking::random(test, seed, threads), Ranking::logged_order(test)];
    rankings.extend(rankers.iter().map(|ranker| Ranking::by_ranker(&**ranker, test, mode, seed, threads)));
    let mut table = RankingTable::new((&data.name, test), (mode, seed), &rankings, subject)?;
    let model = ItemMeans::fit(&data.train, data.items.n_items());
    let random: Box<dyn Ranker> = Box::new(Random);
    // The logged order, which is no policy of its own, stands between.
    let places = std::iter::once(0).chain(2..);
    for (ranker, place) in std::iter::once(&random).chain(rankers).zip(places) {
        if let Some(decisions) = decisions(&mut *ranker.fork(), test, &model) {
            table.rows[place].off_policy = Some(OffPolicyEstimate::new(&decisions, seed));
        }
    }
    table.caveats.clone_from(&data.caveats);
    Ok(table)
}

fn show(table: &RankingTable) {
    let mut text = format!(
        "{}: {} test sessions with a click ({} with an order), {:.1} items each; {} re-ranking, 95% intervals\n{}",
        table.log,
        table.sessions,
        table.order_sessions,
        table.items,
        table.mode.name(),
        table.table()
    );
    if let Some(estimates) = table.off_policy_table() {
        text += &format!(
            "\nReward a session that each method, greedy, would have earned; `effective`: sessions that its weights \
             amount to; a mean weight far from 1 says that propensities or candidates are wrong\n{estimates}"
        );
    }
    for caveat in &table.caveats {
        text = text + "\nNote: " + caveat;
    }
    super::print_lines(&text);
}
