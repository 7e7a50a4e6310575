//! `learner recommend RUN`: a look at what a policy shows after given histories.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use agent::{Guidance, NO_GOAL, Policy, Scratch, Sessions};
use anyhow::{Context, Result, bail};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use common::{Feedback, ItemId, PeriodLayout, history};
use serde::Deserialize;

use super::{Outcome, evaluate::load_policy, export::own_log, of_run::OfRun};
use crate::world::World;

const HISTORY_HELP: &str = "\
The history is a CSV file with a header and at least the columns `user_id`, `item_id` and `feedback` (0 skip, 1 click, 2 order),
as in a canonical log; rows of a user in the order of time, users in any order. Items have the ids of the run's log, or in the
built-in world 0, 1, ... The recommendations are those for a session that begins now; what a user has seen is left out.

  user_id,item_id,feedback
  7,4711,0
  7,42,1";

/// Arguments of `learner recommend`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HISTORY_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    of: OfRun,
    /// What the users saw and did: CSV with user_id,item_id,feedback (see --help).
    #[arg(long, value_name = "FILE")]
    history: PathBuf,
    /// Items to print for each user.
    #[arg(long, default_value_t = 10, value_name = "K")]
    top_k: usize,
}

/// A row of the history; other columns are passed over.
#[derive(Debug, Deserialize)]
struct Event {
    user_id: String,
    item_id: String,
    feedback: String,
}

/// A user's past.
struct Past {
    user: String,
    /// `[3, N]`
    windows: Vec<ItemId>,
    seen: Vec<ItemId>,
}

/// Prints items, cosines, values and categories.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let (run_dir, config) = args.of.open()?;
    let world = World::open(&config)?;
    let log = own_log(&config)?;
    let ids: Vec<u64> = match &log {
        Some(log) => log.item_ids().to_vec(),
        None => (0..world.items().n_items() as u64).collect(),
    };
    let policy = load_policy(&config, &run_dir, world.items())?;
    let pasts = read(&args.history, config.model.window, &ids)?;
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(["user", "rank", "item", "cosine", "Q", "category"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for past in &pasts {
        for (rank, choice) in choices(&policy, config.period_layout(), past, args.top_k)?.iter().enumerate() {
            let category = match &log {
                Some(log) => log.categories()[choice.item.row()],
                None => Some(world.items().categories()[choice.item.row()]),
            };
            table.add_row([
                past.user.clone(),
                (rank + 1).to_string(),
                ids[choice.item.row()].to_string(),
                format!("{:.4}", choice.cosine),
                format!("{:.3}", choice.value),
                category.map_or_else(String::new, |category| category.to_string()),
            ]);
        }
    }
    super::print_lines(&format!(
        "{}, best first: cosine with the virtual action (Eq 9), the critic's value Q (Eq 8)\n{table}",
        config.method()
    ));
    Ok(Outcome::Done)
}

/// The users of a history, in the order of their first rows.
fn read(path: &Path, window: usize, ids: &[u64]) -> Result<Vec<Past>> {
    let rows: HashMap<u64, usize> = ids.iter().enumerate().map(|(row, &id)| (id, row)).collect();
    let mut pasts: Vec<Past> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut reader =
        csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
    for (number, event) in reader.deserialize().enumerate() {
        // The header is line 1.
        let at = || format!("{}, line {}", path.display(), number + 2);
        let Event { user_id, item_id, feedback } = event.with_context(at)?;
        let item_id: u64 = item_id
            .parse()
            .with_context(|| format!("{}: `item_id` is {item_id:?}, expected a whole number", at()))?;
        let Some(&row) = rows.get(&item_id) else {
            bail!("{}: item {item_id} is not in the catalogue of the run", at());
        };
        let code = feedback.parse().ok().and_then(Feedback::from_code);
        let feedback = code.with_context(|| {
            format!("{}: `feedback` is {feedback:?}, expected 0 (skip), 1 (click) or 2 (order)", at())
        })?;
        let place = *places.entry(user_id.clone()).or_insert_with(|| {
            let windows = vec![ItemId::PADDING; history::N_WINDOWS * window];
            pasts.push(Past { user: user_id, windows, seen: Vec::new() });
            pasts.len() - 1
        });
        let item = ItemId(row as u32);
        history::push(&mut pasts[place].windows, item, feedback);
        pasts[place].seen.push(item);
    }
    if pasts.is_empty() {
        bail!("{} holds no row", path.display());
    }
    Ok(pasts)
}

struct Choice {
    item: ItemId,
    cosine: f32,
    value: f32,
}

/// The `k` items that the policy would show first, best first.
fn choices(policy: &Arc<Policy>, layout: PeriodLayout, past: &Past, k: usize) -> Result<Vec<Choice>> {
    let (items, model) = (policy.items(), policy.model());
    let sessions = Sessions::all(&past.windows);
    let mut scratch = Scratch::default();
    let mut goals = vec![0.0; model.n_goals * model.n_dims];
    policy.goals(sessions, &mut scratch, &mut goals);
    let active = [layout.sub_period(0).map_or(NO_GOAL, |i| i as u8)];
    let guidance = Guidance { goals: &goals, active: &active };
    let mut direction = vec![0.0; model.n_dims];
    policy.virtual_actions(sessions, guidance, &mut scratch, &mut direction);
    let mut left: Vec<(f32, ItemId)> = (0..items.n_items() as u32)
        .map(ItemId)
        .filter(|item| !past.seen.contains(item))
        .map(|item| (cosine(&direction, items.unit_embedding(item)), item))
        .collect();
    // Ties to the lowest id, as Eq 9 is read.
    left.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    // Among the nearest the critic chooses (`model.rescored_items`, D23).
    let rescored = if model.rescored_items > 1 { model.rescored_items.min(left.len()) } else { 0 };
    left.truncate(k.max(rescored));
    let embeddings: Vec<f32> = left.iter().flat_map(|&(_, item)| items.embedding(item)).copied().collect();
    let mut values = vec![0.0; left.len()];
    policy.low_q_of_actions(&past.windows, guidance, &embeddings, &mut scratch, &mut values)?;
    let choice = |(&(cosine, item), &value): (&(f32, ItemId), &f32)| Choice { item, cosine, value };
    let mut choices: Vec<Choice> = left.iter().zip(&values).map(choice).collect();
    choices[..rescored].sort_by(|a, b| b.value.total_cmp(&a.value));
    choices.truncate(k);
    Ok(choices)
}

/// Of a direction with one of length 1; 0 without direction.
fn cosine(direction: &[f32], unit: &[f32]) -> f32 {
    let dot: f32 = direction.iter().zip(unit).map(|(a, b)| a * b).sum();
    let length = direction.iter().map(|a| a * a).sum::<f32>().sqrt();
    if length > 0.0 { dot / length } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use agent::{Chooser, Weights};
    use common::{ItemTable, RecallSet, config::Config, seed::Streams};
    use rand::RngExt;

    use super::*;

    const N_ITEMS: u32 = 60;

    fn policy(rescored_items: usize) -> Arc<Policy> {
        let mut model = Config::default().model;
        (model.n_dims, model.encoder_width, model.head_width) = (6, 8, 8);
        model.rescored_items = rescored_items;
        let mut rng = Streams::new(2, "test").sequential();
        let embeddings = (0..N_ITEMS * 6).map(|_| rng.random_range(-1.9..1.9)).collect();
        let (categories, prices) = (vec![0; N_ITEMS as usize], vec![0.0; N_ITEMS as usize]);
        let items = ItemTable::new(6, model.bound, embeddings, categories, prices).unwrap();
        Arc::new(Policy::new(&Weights::random(&model, 7), &model, Arc::new(items)).unwrap())
    }

    fn past() -> Past {
        let mut past = Past {
            user: "anna".to_owned(),
            windows: vec![ItemId::PADDING; history::N_WINDOWS * Config::default().model.window],
            seen: Vec::new(),
        };
        for (item, feedback) in [(5, Feedback::Skip), (9, Feedback::Click), (31, Feedback::Order)] {
            history::push(&mut past.windows, ItemId(item), feedback);
            past.seen.push(ItemId(item));
        }
        past
    }

    fn listed(rescored_items: usize, k: usize) -> Vec<Choice> {
        choices(&policy(rescored_items), Config::default().period_layout(), &past(), k).unwrap()
    }

    fn ids(choices: &[Choice]) -> Vec<ItemId> {
        choices.iter().map(|choice| choice.item).collect()
    }

    #[test]
    fn the_nearest_items_are_put_in_the_order_of_their_values_and_the_others_stay() {
        let (plain, rescored) = (listed(0, 20), listed(8, 20));
        assert!(plain.is_sorted_by(|a, b| a.cosine >= b.cosine), "Eq 9");
        let mut nearest: Vec<&Choice> = plain[..8].iter().collect();
        nearest.sort_by(|a, b| b.value.total_cmp(&a.value));
        let expected: Vec<ItemId> =
            nearest.into_iter().chain(&plain[8..]).map(|choice| choice.item).collect();
        assert_eq!(ids(&rescored), expected);
        assert_ne!(ids(&rescored), ids(&plain));
        // A shorter list is the beginning of the longer one, though all eight are valued.
        assert_eq!(ids(&listed(8, 3)), expected[..3]);
        assert!(plain.iter().all(|choice| !past().seen.contains(&choice.item)));
    }

    #[test]
    fn the_first_item_is_the_one_that_the_policy_shows() {
        for rescored_items in [0, 8] {
            let (policy, past) = (policy(rescored_items), past());
            let mut recall = RecallSet::new((0..N_ITEMS).map(ItemId).collect());
            past.seen.iter().for_each(|&item| assert!(recall.show(item)));
            let (sessions, mut scratch) = (Sessions::all(&past.windows), Scratch::default());
            let model = policy.model();
            let mut goals = vec![0.0; model.n_goals * model.n_dims];
            policy.goals(sessions, &mut scratch, &mut goals);
            let guidance = Guidance { goals: &goals, active: &[0] };
            let mut action = vec![0.0; model.n_dims];
            policy.virtual_actions(sessions, guidance, &mut scratch, &mut action);
            let mut chooser = Chooser::new(Arc::clone(policy.items()), policy.model().item_search);
            chooser.begin(&policy, sessions, guidance);
            let shown = chooser.choose(&policy, 0, &action, &recall);
            assert_eq!(shown, ids(&listed(rescored_items, 1)).first().copied(), "{rescored_items} rescored");
        }
    }
}
