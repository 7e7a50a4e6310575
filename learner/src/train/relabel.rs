//! What sampled low-level rows are made into before an update: returns of several steps (D26), goals in hindsight (D27).
//!
//! In: a minibatch with the whole periods of its rows; out: the same rows with steps ahead and other goals. Plain memory, so that
//! every engine gets the same. The high level's minibatch is left alone.

use std::borrow::Cow;

use common::{
    Feedback, ItemId, ItemTable, PeriodLayout,
    config::{AlgorithmConfig, Config},
    history::{self, N_WINDOWS},
    seed::{Rng, Streams},
    transition::{LowBatch, NO_STEP},
};
use rand::RngExt;

/// Whether minibatches must come with whole periods.
pub(super) fn needs_periods(config: &Config) -> bool {
    let AlgorithmConfig { low_steps, hindsight_share, .. } = config.algorithm;
    low_steps > 1 || (hindsight_share > 0.0 && config.model.has_high_level())
}

/// The rows of update `number` as the settings want them.
pub(super) fn relabel<'a>(
    batch: &'a LowBatch,
    config: &Config,
    items: &ItemTable,
    number: u64,
) -> Cow<'a, LowBatch> {
    if !needs_periods(config) || batch.is_empty() {
        return Cow::Borrowed(batch);
    }
    let mut batch = batch.clone();
    let layout = config.period_layout();
    look_ahead(&mut batch, layout.n_steps, config.algorithm.low_steps);
    if config.model.has_high_level() {
        let mut rng = Streams::new(config.seed, "learner/hindsight").at(number, 0);
        hindsight(&mut batch, &layout, items, config.algorithm.hindsight_share, &mut rng);
    }
    Cow::Owned(batch)
}

/// Takes up to `low_steps - 1` steps behind each row's own into its return: those of the same period (c steps) that are
/// known. The row then ends after the last of them.
fn look_ahead(batch: &mut LowBatch, period_steps: usize, low_steps: usize) {
    let (n_rows, most) = (batch.len(), low_steps - 1);
    let width = batch.next_windows.len() / n_rows;
    batch.ahead_items = vec![ItemId::PADDING; n_rows * most];
    batch.ahead_feedback = vec![NO_STEP; n_rows * most];
    for row in 0..n_rows {
        let period = row * period_steps..(row + 1) * period_steps;
        let (items, feedback) = (&batch.periods.items[period.clone()], &batch.periods.feedback[period]);
        let length = feedback.iter().take_while(|&&code| code != NO_STEP).count();
        let behind = usize::from(batch.positions[row]) + 1;
        let end = length.min(behind + most);
        for (k, position) in (behind..end).enumerate() {
            let Some(said) = Feedback::from_code(feedback[position]) else { break };
            batch.ahead_items[row * most + k] = items[position];
            batch.ahead_feedback[row * most + k] = feedback[position];
            history::push(&mut batch.next_windows[row * width..][..width], items[position], said);
        }
        if end > behind && end == length {
            batch.terminated[row] = batch.periods.terminated[row];
        }
    }
}

/// For a share of the rows the goals of sub-periods in which something was ordered, or else clicked, become that item's
/// embedding (of several the last). A row in whose own sub-period nothing was clicked keeps its goals.
fn hindsight(batch: &mut LowBatch, layout: &PeriodLayout, items: &ItemTable, share: f64, rng: &mut Rng) {
    let (m, n, c) = (layout.n_goals, items.n_dims(), layout.n_steps);
    debug_assert_eq!(batch.windows.len() % (batch.len() * N_WINDOWS), 0, "rows of windows");
    for row in 0..batch.len() {
        // Drawn for every row, so that a row's draw does not depend on the others.
        let chosen = rng.random::<f64>() < share;
        let period = row * c..(row + 1) * c;
        let (shown, feedback) = (&batch.periods.items[period.clone()], &batch.periods.feedback[period]);
        let mut reached: Vec<Option<(u8, ItemId)>> = vec![None; m];
        for position in (0..c).filter(|&position| feedback[position] != NO_STEP) {
            let Some(i) = layout.sub_period(position) else { continue };
            let is_click = Feedback::from_code(feedback[position]).is_some_and(Feedback::clicked);
            if is_click && reached[i].is_none_or(|(best, _)| feedback[position] >= best) {
                reached[i] = Some((feedback[position], shown[position]));
            }
        }
        let own = layout.sub_period(usize::from(batch.positions[row]));
        if !chosen || own.is_none_or(|i| reached[i].is_none()) {
            continue;
        }
        let goals = &mut batch.goals[row * m * n..][..m * n];
        for (goal, reached) in goals.chunks_exact_mut(n).zip(reached) {
            if let Some((_, item)) = reached {
                goal.copy_from_slice(items.embedding(item));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use Feedback::{Click, Order, Skip};
    use common::Remainder;

    use super::*;

    const C: usize = 4;

    fn items() -> ItemTable {
        let embeddings = (0..10).flat_map(|k| [0.1 * k as f32 + 0.1, 1.0]).collect();
        ItemTable::new(2, 1.94, embeddings, vec![0; 10], vec![0.0; 10]).unwrap()
    }

    /// A row a step of one period, windows of 3 that were empty before it, goals (-1, -1).
    fn rows(steps: &[Feedback], terminated: bool) -> LowBatch {
        let mut batch = LowBatch::default();
        let mut windows = vec![ItemId::PADDING; 9];
        for (position, &feedback) in steps.iter().enumerate() {
            batch.windows.extend_from_slice(&windows);
            history::push(&mut windows, ItemId(position as u32), feedback);
            batch.next_windows.extend_from_slice(&windows);
            batch.goals.extend([-1.0; 4]);
            batch.items.push(ItemId(position as u32));
            batch.feedback.push(feedback.code());
            batch.positions.push(position as u8);
            let is_last = position + 1 == steps.len();
            batch.terminated.push(u8::from(is_last && terminated));
            batch.policy_versions.push(1);
            for k in 0..C {
                let step = steps.get(k);
                let item = step.map_or(ItemId::PADDING, |_| ItemId(k as u32));
                batch.periods.items.push(item);
                batch.periods.feedback.push(step.map_or(NO_STEP, |feedback| feedback.code()));
            }
            batch.periods.terminated.push(u8::from(terminated));
        }
        batch
    }

    #[test]
    fn a_return_takes_in_the_following_steps_of_its_period_and_no_others() {
        let mut batch = rows(&[Skip, Click, Order, Skip], false);
        let after: Vec<Vec<ItemId>> = batch.next_windows.chunks_exact(9).map(<[_]>::to_vec).collect();
        look_ahead(&mut batch, C, 3);
        let pad = ItemId::PADDING;
        let [one, two, three] = [1, 2, 3].map(ItemId);
        assert_eq!(batch.ahead_items, [one, two, two, three, three, pad, pad, pad]);
        assert_eq!(batch.ahead_feedback, [1, 2, 2, 0, 0, NO_STEP, NO_STEP, NO_STEP]);
        let next: Vec<&[ItemId]> = batch.next_windows.chunks_exact(9).collect();
        assert_eq!(next, [&after[2], &after[3], &after[3], &after[3]]);
        assert_eq!(batch.terminated, [0; 4]);
    }

    #[test]
    fn a_return_that_reaches_the_end_of_a_session_knows_how_it_ended() {
        let mut batch = rows(&[Skip, Skip, Click], true);
        look_ahead(&mut batch, C, 2);
        assert_eq!(batch.terminated, [0, 1, 1], "the second row's return ends with the third step");
        let mut cut = rows(&[Skip, Skip, Click], false);
        look_ahead(&mut cut, C, 9);
        assert_eq!(cut.terminated, [0; 3], "a session cut at its length bootstraps");
    }

    #[test]
    fn one_step_leaves_a_batch_as_it_is() {
        let batch = rows(&[Skip, Click], true);
        let mut same = batch.clone();
        look_ahead(&mut same, C, 1);
        assert_eq!(same, batch);
        let config = Config::default();
        assert!(matches!(relabel(&batch, &config, &items(), 0), Cow::Borrowed(_)));
    }

    fn in_hindsight(steps: &[Feedback], share: f64, seed: u64) -> LowBatch {
        let mut batch = rows(steps, false);
        let layout = PeriodLayout { n_goals: 2, n_steps: C, remainder: Remainder::Last };
        hindsight(&mut batch, &layout, &items(), share, &mut Streams::new(seed, "test").sequential());
        batch
    }

    #[test]
    fn a_goal_becomes_what_was_ordered_or_clicked_in_its_sub_period() {
        let table = items();
        let item = |k| table.embedding(ItemId(k)).to_vec();
        // Order before click, whichever came first; of equals the last.
        let batch = in_hindsight(&[Order, Click, Click, Click], 1.0, 0);
        for goals in batch.goals.chunks_exact(4) {
            assert_eq!(goals, [item(0), item(3)].concat());
        }
        // Rows of the second sub-period, where nothing was clicked, keep both goals.
        let batch = in_hindsight(&[Skip, Click, Skip, Skip], 1.0, 0);
        let changed = [item(1), vec![-1.0; 2]].concat();
        assert_eq!(batch.goals, [changed.clone(), changed, vec![-1.0; 8]].concat());
        let plain = rows(&[Skip, Click, Skip, Skip], false);
        assert_eq!(LowBatch { goals: plain.goals.clone(), ..batch }, plain, "goals alone");
    }

    #[test]
    fn a_share_of_the_rows_is_seen_in_hindsight() {
        let changed: usize = (0..1000)
            .map(|seed| {
                in_hindsight(&[Click; C], 0.3, seed).goals.chunks_exact(4).filter(|g| g[0] > 0.0).count()
            })
            .sum();
        // Binomial(4000, 0.3): a standard error of 29; five of them.
        assert!((changed as f64 - 1200.0).abs() < 145.0, "{changed}");
        assert_eq!(in_hindsight(&[Click; C], 0.0, 1), rows(&[Click; C], false));
    }
}
