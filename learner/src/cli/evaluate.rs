//! `learner evaluate RUN`, and the final table of a training run.

use std::{ops::ControlFlow, path::PathBuf, sync::Arc};

use agent::Policy;
use anyhow::{Context, Result, bail};
use common::{ItemTable, config::Config};
use sim::{Reference, ReferencePolicy};

use super::{Outcome, count::count, of_run::OfRun, say, threads};
use crate::{
    baselines::history_greedy::{self, HistoryGreedy},
    evaluation::{
        AgentPolicy, Comparison, EvaluatedPolicy, EvaluationSettings, Users, comparison::Anchors,
        evaluate_watched,
    },
    run_dir::{self, RunDir, report},
    world::World,
};

/// Arguments of `learner evaluate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    of: OfRun,
    /// Sessions of each policy.
    #[arg(long, default_value_t = DEFAULT_SESSIONS, value_name = "N", value_parser = count::<usize>)]
    sessions: usize,
    /// Steps of a session, e.g. 50 or 200 [default: the run's].
    #[arg(long, value_name = "T", value_parser = count::<usize>)]
    length: Option<usize>,
    /// Learned simulators: temperature of the users' feedback, instead of the run's `environment.temperature`.
    #[arg(long, value_name = "X")]
    temperature: Option<f32>,
    /// Learned simulators: share of steps whose feedback follows the base rates, instead of the run's `environment.flip_share`.
    #[arg(long, value_name = "SHARE")]
    flip_share: Option<f32>,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
}

const DEFAULT_SESSIONS: usize = 2000;

/// Most candidates among which oracles are played: a learned simulator tells the probabilities of so many in a millisecond.
const ORACLE_CANDIDATES: usize = 10_000;

/// What is compared.
pub(super) struct Scope {
    sessions: usize,
    length: usize,
}

impl Scope {
    /// The final table of a run: sessions as long as in training.
    pub(super) fn final_table(config: &Config) -> Self {
        Self { sessions: DEFAULT_SESSIONS, length: config.environment.session_length }
    }
}

/// Evaluates a run beside the references.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let (run_dir, mut config) = args.of.open()?;
    let own = config.environment.clone();
    config.environment.temperature = args.temperature.unwrap_or(own.temperature);
    config.environment.flip_share = args.flip_share.unwrap_or(own.flip_share);
    config.validate()?;
    let is_own = config.environment == own;
    if !is_own && !run_dir.history_greedy_path().is_file() {
        bail!(
            "history-greedy is not trained yet, and must not be in other noise than the run's: first run learner evaluate {}",
            args.of.run.display()
        );
    }
    let scope =
        Scope { sessions: args.sessions, length: args.length.unwrap_or(config.environment.session_length) };
    let comparison = compare(&config, &run_dir, &scope)?;
    // Before anything is written: a folder that cannot be written to costs no result.
    if args.json {
        super::print_lines(&comparison.clone().without_sessions().to_json());
    } else {
        show(&comparison);
    }
    if !is_own {
        // Another world than the run's: not its table.
        return Ok(Outcome::Done);
    }
    let report = keep(&config, &run_dir, &comparison)?;
    if !args.json {
        super::print_lines(&format!("report  {}", report.display()));
    }
    Ok(Outcome::Done)
}

/// Stores a table of the run's own session length, unless one of more sessions of the same policy is there, and writes
/// the report; tells where it is.
pub(super) fn keep(config: &Config, run_dir: &RunDir, comparison: &Comparison) -> Result<PathBuf> {
    let path = run_dir.evaluation_path();
    let written = |path: PathBuf| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let before = std::fs::read_to_string(&path).ok().and_then(|text| Comparison::from_json(&text).ok());
    let is_larger = |before: &Comparison| {
        before.settings.sessions > comparison.settings.sessions
            && written(path.clone()) >= written(run_dir.policy_path())
    };
    let is_final = comparison.settings.length == config.environment.session_length;
    if is_final && before.as_ref().is_some_and(is_larger) {
        say("the run's table has more sessions than this one: report and evaluation.json keep it");
        return Ok(report::write(run_dir, config, None)?);
    }
    if is_final {
        let json = comparison.clone().without_sessions().to_json();
        run_dir::write_whole(&path, json.as_bytes())?;
    }
    Ok(report::write(run_dir, config, Some(comparison))?)
}

/// Plays every policy on the same test users: what the world knows, history-greedy, the run's policy.
pub(super) fn compare(config: &Config, run_dir: &RunDir, scope: &Scope) -> Result<Comparison> {
    let world = World::open(config)?;
    let n_candidates = config.environment.candidates.min(world.items().n_items());
    let settings = EvaluationSettings {
        users: Users::Test,
        sessions: scope.sessions,
        length: scope.length,
        seed: 0,
        slots: slots(n_candidates),
        threads: threads(),
    };
    // Before history-greedy is trained.
    settings.validate()?;
    let agent = load_agent(config, run_dir, &world)?;
    let reference = |reference| -> Box<dyn EvaluatedPolicy> { Box::new(ReferencePolicy::new(reference, 0)) };
    let (plain, oracles, left_out) = references(world.references()?, n_candidates);
    let caveats = world.caveats().iter().cloned().chain(left_out).collect();
    let mut policies: Vec<Box<dyn EvaluatedPolicy>> = plain.into_iter().map(reference).collect();
    policies.push(Box::new(history_greedy(config, run_dir, &world)?));
    policies.push(Box::new(agent));
    policies.extend(oracles.into_iter().map(reference));
    let mut results = Vec::new();
    let count = policies.len();
    say(&format!(
        "playing {} test sessions of {} steps with each of {count} policies",
        scope.sessions, scope.length
    ));
    let bar = super::bar("sessions");
    bar.set_length((count * scope.sessions) as u64);
    let played = |sessions| bar.inc(sessions as u64);
    for mut policy in policies {
        results.push(evaluate_watched(&mut *policy, &world.for_evaluation(), &settings, &played)?);
    }
    bar.finish_and_clear();
    let anchors = Anchors { subject: Some(config.method().to_owned()), ..Anchors::of(&results) };
    let comparison = Comparison::new(world.name(), &settings, results, anchors)?;
    Ok(Comparison { caveats, ..comparison })
}

/// Prints the table and what it says.
pub(super) fn show(comparison: &Comparison) {
    let mut text = format!(
        "{}: {} test sessions of {} steps; mean reward a session (an order is worth 5, a click 1), 95% intervals\n{}",
        comparison.environment,
        comparison.settings.sessions,
        comparison.settings.length,
        comparison.table()
    );
    for verdict in report::verdicts(comparison) {
        text = text + "\n" + &verdict.text;
    }
    for caveat in &comparison.caveats {
        text = text + "\nNote: " + caveat;
    }
    super::print_lines(&text);
}

/// Sessions side by side in a thread, which change no result: the logging policy keeps a weight of every candidate for each.
fn slots(n_candidates: usize) -> usize {
    const MOST_WEIGHTS: usize = 16_000_000;
    (MOST_WEIGHTS / n_candidates.max(1)).clamp(1, 64)
}

/// The references of the table, oracles apart, and a note where these are left out because the candidates are too many.
fn references(
    known: Vec<Reference>,
    n_candidates: usize,
) -> (Vec<Reference>, Vec<Reference>, Option<String>) {
    // Slow ones are for `learner reproduce`.
    let (oracles, plain): (Vec<_>, Vec<_>) = known
        .into_iter()
        .filter(|reference| !reference.is_slow())
        .partition(|reference| reference.is_oracle());
    if n_candidates <= ORACLE_CANDIDATES || oracles.is_empty() {
        return (plain, oracles, None);
    }
    let note = format!(
        "no oracle was played: each looks at all {n_candidates} candidates at every step, which takes too long above {ORACLE_CANDIDATES}"
    );
    (plain, Vec::new(), Some(note))
}

fn load_agent(config: &Config, run_dir: &RunDir, world: &World) -> Result<AgentPolicy> {
    let policy = load_policy(config, run_dir, world.items())?;
    Ok(AgentPolicy::new(config.method(), policy, config.period_layout()))
}

/// The run's newest weights.
pub(super) fn load_policy(config: &Config, run_dir: &RunDir, items: &Arc<ItemTable>) -> Result<Arc<Policy>> {
    run_dir.check_items(items, &config.environment.name)?;
    let path = run_dir.policy_path();
    let bytes = std::fs::read(&path).with_context(|| {
        format!("cannot read the policy {}; has the run come to its first checkpoint?", path.display())
    })?;
    let policy = Policy::from_safetensors(&bytes, &config.model, Arc::clone(items))
        .with_context(|| format!("{} does not fit this run", path.display()))?;
    Ok(Arc::new(policy))
}

/// The supervised reference: the run's own, trained the first time it is needed.
fn history_greedy(config: &Config, run_dir: &RunDir, world: &World) -> Result<HistoryGreedy> {
    let path = run_dir.history_greedy_path();
    if path.is_file() {
        return Ok(HistoryGreedy::load(&path, Arc::clone(world.items()), config.model.item_search)?);
    }
    say(
        "training history-greedy, the supervised policy to compare with (half a minute or a whole one, among a million items two; once a run)",
    );
    let mut environment = world.build(Users::Training, 256, config.environment.session_length)?;
    let bar = super::bar("history-greedy");
    let settings = history_greedy::Settings {
        item_search: config.model.item_search,
        threads: threads(),
        ..history_greedy::Settings::default()
    };
    let policy = history_greedy::train(&mut *environment, &settings, &mut |progress| {
        bar.set_length(progress.n_fits as u64);
        bar.set_position(progress.fits as u64);
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();
    policy.save(&path)?;
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_side_by_side_are_fewer_the_more_candidates_they_have() {
        assert_eq!([0, 1_000, 250_000, 1_000_000, 100_000_000].map(slots), [64, 64, 64, 16, 1]);
    }

    #[test]
    fn oracles_are_left_out_of_large_catalogues_and_that_is_said() {
        use Reference::{Belief, Logging, Lookahead, Myopic, Random};
        let known = || vec![Random, Logging, Myopic, Belief, Lookahead];
        let played = (vec![Random, Logging], vec![Myopic, Lookahead], None);
        assert_eq!(references(known(), ORACLE_CANDIDATES), played);
        let (plain, oracles, note) = references(known(), 1_000_000);
        assert_eq!((plain, oracles), (vec![Random, Logging], vec![]));
        assert!(note.unwrap().contains("all 1000000 candidates"));
        assert_eq!(references(vec![Random], 1_000_000), (vec![Random], vec![], None));
    }
}
