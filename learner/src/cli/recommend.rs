//! `learner recommend RUN`: a look at what a policy shows after given histories.

mod history;

use std::{path::PathBuf, sync::Arc};

use agent::{Guidance, NO_GOAL, Policy, Scratch, Sessions};
use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use common::{ItemId, PeriodLayout};
use serde::Serialize;

use self::history::{Names, Past};
use super::{Outcome, count::at_least_one, evaluate::load_policy, export::own_log, of_run::OfRun};
use crate::world::World;

const HISTORY_HELP: &str = "\
The history is a CSV file with a header and at least the columns `user_id`, `item_id` and `feedback` (0 skip, 1 click, 2 order),
as in a canonical log; rows of a user in the order of time, users in any order. Items have the ids of the run's log, or in the
built-in world 0, 1, ...; where the log has keys, a column `key` will do instead of `item_id`. The recommendations are those for a
session that begins now; what a user has seen is left out.

  user_id,item_id,feedback        user_id,key,feedback
  7,4711,0                        7,SKU-kettle,0
  7,42,1                          7,SKU-mug,1

With --json, a line a user, best first; `key` and `category` are null where the log has none:

  {\"user\":\"7\",\"items\":[{\"item\":101,\"key\":\"SKU-blue-shoe\",\"cosine\":0.913,\"q\":1.27,\"category\":3},...]}";

/// Arguments of `learner recommend`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = HISTORY_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    of: OfRun,
    /// What the users saw and did: CSV with user_id,item_id,feedback or user_id,key,feedback (see --help).
    #[arg(long, value_name = "FILE")]
    history: PathBuf,
    /// Items to print for each user.
    #[arg(long, default_value_t = 10, value_name = "K", value_parser = at_least_one::<usize>)]
    top_k: usize,
    /// Print JSON instead of the table, a line a user.
    #[arg(long)]
    json: bool,
}

/// What is shown to a user, best first; a line of JSON.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    user: &'a str,
    items: Vec<ShownItem<'a>>,
}

#[derive(Debug, Serialize)]
struct ShownItem<'a> {
    item: u64,
    key: Option<&'a str>,
    cosine: f32,
    q: f32,
    category: Option<u32>,
}

/// Prints items, cosines, values and categories.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    let (run_dir, config) = args.of.open()?;
    let world = World::open(&config)?;
    let log = own_log(&config)?;
    let names = match &log {
        Some(log) => Names::new(log.item_ids().to_vec(), log.item_keys()),
        None => Names::new((0..world.items().n_items() as u64).collect(), None),
    };
    let policy = load_policy(&config, &run_dir, world.items())?;
    let pasts = history::read(&args.history, config.model.window, &names)?;
    let item = |choice: &Choice| {
        let row = choice.item.row();
        ShownItem {
            item: names.id(row),
            key: names.key(row),
            cosine: choice.cosine,
            q: choice.value,
            category: match &log {
                Some(log) => log.categories()[row],
                None => Some(world.items().categories()[row]),
            },
        }
    };
    let mut shown = Vec::new();
    for past in &pasts {
        let choices = choices(&policy, config.period_layout(), past, args.top_k)?;
        shown.push(Shown { user: &past.user, items: choices.iter().map(item).collect() });
    }
    super::print_lines(&if args.json {
        let line = |shown| serde_json::to_string(shown).expect("plain structs, strings and numbers");
        shown.iter().map(line).collect::<Vec<_>>().join("\n")
    } else {
        format!(
            "{}, best first: cosine with the virtual action (Eq 9), the critic's value Q (Eq 8)\n{}",
            config.method(),
            table(&shown, names.has_keys())
        )
    });
    Ok(Outcome::Done)
}

/// A row an item; a column of keys where the log has them.
fn table(shown: &[Shown<'_>], has_keys: bool) -> Table {
    let mut table = Table::new();
    let keys = has_keys.then_some("key");
    let header = ["user", "rank", "item"].into_iter().chain(keys).chain(["cosine", "Q", "category"]);
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for Shown { user, items } in shown {
        for (rank, item) in items.iter().enumerate() {
            let mut row = vec![(*user).to_owned(), (rank + 1).to_string(), item.item.to_string()];
            row.extend(item.key.map(str::to_owned));
            row.extend([
                format!("{:.4}", item.cosine),
                format!("{:.3}", item.q),
                item.category.map_or_else(String::new, |category| category.to_string()),
            ]);
            table.add_row(row);
        }
    }
    table
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
    use common::{Feedback, ItemTable, RecallSet, config::Config, history, seed::Streams};
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
    fn keys_have_a_column_where_there_are_some() {
        let printed = |key: Option<&str>| {
            let item = ShownItem { item: 101, key, cosine: 0.5, q: 1.25, category: None };
            table(&[Shown { user: "anna", items: vec![item] }], key.is_some()).to_string()
        };
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let rows = |text: String| [0, 2].map(|k| cells(text.lines().nth(k).unwrap()).join("|"));
        assert_eq!(
            rows(printed(Some("SKU-mug"))),
            ["|user|rank|item|key|cosine|Q|category|", "|anna|1|101|SKU-mug|0.5000|1.250||"]
        );
        assert_eq!(rows(printed(None)), ["|user|rank|item|cosine|Q|category|", "|anna|1|101|0.5000|1.250||"]);
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
