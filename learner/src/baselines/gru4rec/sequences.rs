//! Click sequences, many side by side.
//!
//! In: a log; out: minibatches of (clicked item, next clicked item) that walk B sequences at once, each replaced by the next
//! one where it ends (Hidasi et al. 2016, Sec 3.1).

use common::{
    ItemId,
    history::{Kind, window},
    seed::Streams,
};
use rand::seq::SliceRandom;

use crate::baselines::InteractionLog;

/// A clicked item, and its reward as the weight of having predicted it; 0 for what precedes the session.
pub(super) type Event = (ItemId, f32);

/// The clicks of every session, after those of the window it starts from. Sessions with nothing to predict are left out;
/// at most `most` events, of sessions drawn by the seed where there are more.
pub(super) fn of_log(log: &InteractionLog, most: usize, seed: u64) -> Vec<Vec<Event>> {
    let mut order: Vec<usize> = (0..log.n_sessions()).collect();
    order.shuffle(&mut Streams::new(seed, "gru4rec/sequences").sequential());
    let mut sequences = Vec::new();
    let mut n_events = 0;
    for session in order.into_iter().map(|s| log.session(s)) {
        let before = window(session.start_windows, Kind::Clicked).iter();
        let mut events: Vec<Event> =
            before.filter(|item| !item.is_padding()).map(|&item| (item, 0.0)).collect();
        let clicked = session.steps.iter().filter(|step| step.feedback.clicked());
        events.extend(clicked.map(|step| (step.item, step.feedback.reward())));
        if events.iter().skip(1).any(|&(_, weight)| weight > 0.0) {
            n_events += events.len();
            if n_events > most && !sequences.is_empty() {
                break;
            }
            sequences.push(events);
        }
    }
    sequences
}

/// B sequences at one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Minibatch {
    /// `[B]` rows of the minibatch before whose hidden states these continue.
    pub(super) rows: Vec<i64>,
    /// `[B]` 1 where they do, 0 where a sequence begins.
    pub(super) keep: Vec<f32>,
    /// `[B]` what was clicked.
    pub(super) inputs: Vec<ItemId>,
    /// `[B]` what was clicked next.
    pub(super) targets: Vec<ItemId>,
    /// `[B]` what that was worth.
    pub(super) weights: Vec<f32>,
}

/// Where in its sequence a row stands.
#[derive(Clone, Copy, Debug)]
struct Lane {
    sequence: usize,
    position: usize,
}

/// A walk through all sequences in a given order.
pub(super) struct Walk<'a> {
    sequences: &'a [Vec<Event>],
    /// Those that have not begun.
    waiting: std::vec::IntoIter<usize>,
    lanes: Vec<Lane>,
    started: bool,
}

impl<'a> Walk<'a> {
    /// Walks `width` sequences at once.
    pub(super) fn new(sequences: &'a [Vec<Event>], order: Vec<usize>, width: usize) -> Self {
        let mut waiting = order.into_iter();
        let lanes = waiting.by_ref().take(width).map(|sequence| Lane { sequence, position: 0 }).collect();
        Self { sequences, waiting, lanes, started: false }
    }
}

impl Iterator for Walk<'_> {
    type Item = Minibatch;

    /// The last sequences end alone: rows without a successor fall away.
    fn next(&mut self) -> Option<Minibatch> {
        let mut batch = Minibatch::default();
        let mut lanes = Vec::with_capacity(self.lanes.len());
        for (row, &lane) in self.lanes.iter().enumerate() {
            let moved = Lane { position: lane.position + 1, ..lane };
            let (lane, keep) = if !self.started {
                (lane, 0.0)
            } else if moved.position + 1 < self.sequences[lane.sequence].len() {
                (moved, 1.0)
            } else if let Some(sequence) = self.waiting.next() {
                (Lane { sequence, position: 0 }, 0.0)
            } else {
                continue;
            };
            let events = &self.sequences[lane.sequence];
            batch.rows.push(row as i64);
            batch.keep.push(keep);
            batch.inputs.push(events[lane.position].0);
            batch.targets.push(events[lane.position + 1].0);
            batch.weights.push(events[lane.position + 1].1);
            lanes.push(lane);
        }
        self.lanes = lanes;
        self.started = true;
        (!self.lanes.is_empty()).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use common::Feedback;

    use super::*;
    use crate::baselines::Step;

    #[test]
    fn sequences_follow_one_another_in_their_lanes() {
        let ids = |ids: &[u32]| ids.iter().map(|&id| (ItemId(id), 1.0)).collect::<Vec<Event>>();
        let sequences = [ids(&[1, 2, 3]), ids(&[11, 12]), ids(&[21, 22, 23]), ids(&[31, 32])];
        let batches: Vec<Minibatch> = Walk::new(&sequences, vec![0, 1, 2, 3], 2).collect();
        let seen = |batch: &Minibatch| {
            let pairs = batch.inputs.iter().zip(&batch.targets).map(|(a, b)| (a.0, b.0));
            (pairs.collect::<Vec<_>>(), batch.keep.clone(), batch.rows.clone())
        };
        let expected = [
            (vec![(1, 2), (11, 12)], vec![0.0, 0.0], vec![0, 1]),
            (vec![(2, 3), (21, 22)], vec![1.0, 0.0], vec![0, 1]),
            (vec![(31, 32), (22, 23)], vec![0.0, 1.0], vec![0, 1]),
        ];
        assert_eq!(batches.iter().map(seen).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn clicks_before_the_session_are_read_and_not_predicted() {
        let step = |item, feedback| Step { item: ItemId(item), feedback, propensity: None };
        let pad = ItemId::PADDING;
        let mut log = InteractionLog::new(2);
        let start = [pad, pad, pad, ItemId(7), pad, pad];
        log.push(0, &start, [step(1, Feedback::Skip), step(2, Feedback::Order), step(3, Feedback::Click)]);
        // Nothing before its only click; nothing clicked.
        log.push(1, &[pad; 6], [step(2, Feedback::Order)]);
        log.push(2, &start, [step(2, Feedback::Skip)]);
        let sequences = of_log(&log, 100, 0);
        assert_eq!(sequences, [vec![(ItemId(7), 0.0), (ItemId(2), 5.0), (ItemId(3), 1.0)]]);
    }
}
