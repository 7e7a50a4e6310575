//! Scripted policies to compare with.
//!
//! In: a world; out: item ids `[E]`, each a candidate that is left. The oracles are privileged: they read the hidden
//! truth, which no learned policy sees, and so bound what is possible; two of them know the world but not the user, and bound
//! what can be possible on a policy's inputs. Ties go to the lowest id.

use common::{
    Feedback, ItemId, RecallSet, SessionId,
    history::{Kind, N_WINDOWS, window},
    seed::Streams,
};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::{Environment, Error, Truth, draw::WeightedDraw, kept::Kept, shopworld::Belief};

/// Candidates that [`Reference::Popularity`] puts in order at the start of a session: as a rule more than it has steps.
const LEADERS: usize = 128;

/// The value of an order on top of its click.
pub(crate) const ORDER_EXTRA: f32 = 4.0;

/// A scripted policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// Any candidate that is left, equally likely.
    Random,
    /// The most popular one: argmax of attractiveness in ShopWorld, of the log's clicks in a learned simulator.
    Popularity,
    /// The policy that wrote the log.
    Logging,
    /// argmax p_click.
    ClickGreedy,
    /// argmax p_click (1 + 4 p_order): the expected reward of this step.
    Myopic,
    /// argmax p_click p_order.
    OrderGreedy,
    /// argmax of this step's expected reward given the windows: what a policy on the same inputs can come to without looking
    /// ahead.
    WindowBelief,
    /// The same given all that the session has shown.
    Belief,
    /// argmax p_click (1 + 4 p_order + bonus), with what the item brings later: .5 quality in ShopWorld.
    Lookahead,
}

impl Reference {
    /// All of them, in the order of the tables.
    pub const ALL: [Self; 9] = [
        Self::Random,
        Self::Popularity,
        Self::Logging,
        Self::ClickGreedy,
        Self::Myopic,
        Self::OrderGreedy,
        Self::WindowBelief,
        Self::Belief,
        Self::Lookahead,
    ];

    /// What the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Popularity => "popularity",
            Self::Logging => "logging",
            Self::ClickGreedy => "click-greedy oracle",
            Self::Myopic => "myopic oracle",
            Self::OrderGreedy => "order-greedy oracle",
            Self::WindowBelief => "window belief",
            Self::Belief => "belief",
            Self::Lookahead => "lookahead oracle",
        }
    }

    /// Whether it knows what no learned policy does: the users' hidden state, or the world's equations.
    pub fn is_oracle(self) -> bool {
        !matches!(self, Self::Random | Self::Popularity | Self::Logging)
    }

    /// Whether it takes milliseconds a step of a session: for tables that may take their time.
    pub fn is_slow(self) -> bool {
        matches!(self, Self::WindowBelief | Self::Belief)
    }

    /// Whether a world knows what this policy needs. A world has at least one slot, and so has its truth.
    pub fn is_known_to(self, environment: &dyn Environment) -> bool {
        let mut scores = Vec::new();
        let knows = |question: fn(&dyn Truth, &mut Vec<f32>) -> bool, scores: &mut Vec<f32>| {
            environment.truth().is_some_and(|truth| question(truth, scores))
        };
        match self {
            Self::Random => true,
            Self::Popularity => knows(|truth, scores| truth.popularity(0, scores), &mut scores),
            Self::Logging => knows(|truth, scores| truth.logging_scores(0, scores), &mut scores),
            Self::ClickGreedy | Self::Myopic | Self::OrderGreedy => environment.truth().is_some(),
            Self::WindowBelief | Self::Belief => {
                let rng = Streams::new(0, "reference/known").sequential();
                environment.truth().is_some_and(|truth| truth.belief(rng).is_some())
            }
            Self::Lookahead => knows(|truth, scores| truth.lookahead_bonus(0, scores), &mut scores),
        }
    }

    fn unknown(self) -> Error {
        Error::Reference { reference: self.name() }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A reference at work. What it chooses for a session depends on the seed, the session, its step and the world alone,
/// never on the slot or on what was chosen before: it needs no `begin`. [`Reference::Belief`] does depend on what was chosen
/// before; it must be asked at every step, and notices by itself when another session begins.
#[derive(Clone, Debug)]
pub struct ReferencePolicy {
    reference: Reference,
    streams: Streams,
    p_click: Vec<f32>,
    p_order: Vec<f32>,
    scores: Vec<f32>,
    /// Of [`Reference::Logging`].
    draws: Kept<WeightedDraw>,
    /// Of [`Reference::Popularity`]: positions of the most popular candidates, the best first.
    leaders: Kept<Vec<u32>>,
    /// Positions of all candidates.
    order: Vec<u32>,
    /// `[E]` of [`Reference::Belief`].
    acquaintances: Vec<Option<Acquaintance>>,
}

/// A session in progress, and what is known of its user.
#[derive(Clone, Debug)]
struct Acquaintance {
    session: SessionId,
    /// The step that `shown` was chosen for.
    step: u64,
    shown: ItemId,
    belief: Belief,
}

impl ReferencePolicy {
    /// The policy, with the seed of its own draws (random and logging have some).
    pub fn new(reference: Reference, seed: u64) -> Self {
        Self {
            reference,
            streams: Streams::new(seed, &format!("reference/{}", reference.name())),
            p_click: Vec::new(),
            p_order: Vec::new(),
            scores: Vec::new(),
            draws: Kept::default(),
            leaders: Kept::default(),
            order: Vec::new(),
            acquaintances: Vec::new(),
        }
    }

    /// Which one it is.
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// Chooses an item for every slot. Where a session has shown all its candidates, the choice is padding, which no
    /// world accepts.
    ///
    /// # Errors
    /// [`Error::Length`] where `actions` are not `[E]`; [`Error::Reference`] where the world does not know what the
    /// policy needs.
    pub fn choose(&mut self, environment: &dyn Environment, actions: &mut [ItemId]) -> Result<(), Error> {
        let n_slots = environment.n_slots();
        if actions.len() != n_slots {
            return Err(Error::Length { found: actions.len(), expected: n_slots });
        }
        for (slot, action) in actions.iter_mut().enumerate() {
            let recall = &environment.recall()[slot];
            let position = match self.reference {
                Reference::Random => self.random(environment, slot),
                Reference::Logging => self.logging(environment, slot)?,
                Reference::Popularity => self.popularity(environment, slot)?,
                _ => {
                    self.score(environment, slot)?;
                    best_left(recall, &self.scores)
                }
            };
            *action = position.map_or(ItemId::PADDING, |position| recall.candidates()[position]);
            if let Some(Some(acquaintance)) = self.acquaintances.get_mut(slot) {
                acquaintance.shown = *action;
            }
        }
        Ok(())
    }

    fn random(&self, environment: &dyn Environment, slot: usize) -> Option<usize> {
        let recall = &environment.recall()[slot];
        let mut rng = self.streams.at(environment.session(slot), environment.step_number(slot));
        match recall.n_left() {
            0 => None,
            n_left => recall.nth_left(rng.random_range(0..n_left)),
        }
    }

    fn logging(&mut self, environment: &dyn Environment, slot: usize) -> Result<Option<usize>, Error> {
        let truth = self.truth(environment)?;
        let (recall, scores, reference) = (&environment.recall()[slot], &mut self.scores, self.reference);
        let draw = self.draws.of(environment, slot, |draw| {
            if !truth.logging_scores(slot, scores) {
                return Err(reference.unknown());
            }
            draw.reset(recall, scores);
            Ok(())
        })?;
        draw.remove_shown(recall);
        let mut rng = self.streams.at(environment.session(slot), environment.step_number(slot));
        Ok(draw.draw(rng.random()))
    }

    fn popularity(&mut self, environment: &dyn Environment, slot: usize) -> Result<Option<usize>, Error> {
        let truth = self.truth(environment)?;
        let Self { scores, order, reference, .. } = self;
        let recall = &environment.recall()[slot];
        let score = |scores: &mut Vec<f32>| match truth.popularity(slot, scores) {
            true => Ok(()),
            false => Err(reference.unknown()),
        };
        let leaders = self.leaders.of(environment, slot, |leaders| {
            score(scores)?;
            lead(scores, order, leaders);
            Ok(())
        })?;
        let mut leaders = leaders.iter().map(|&leader| leader as usize);
        if let Some(leader) = leaders.find(|&leader| !recall.is_shown(leader)) {
            return Ok(Some(leader));
        }
        score(scores)?;
        Ok(best_left(recall, scores))
    }

    /// Fills `scores` for the policies that take the best.
    fn score(&mut self, environment: &dyn Environment, slot: usize) -> Result<(), Error> {
        if matches!(self.reference, Reference::WindowBelief | Reference::Belief) {
            return self.believe(environment, slot);
        }
        let truth = self.truth(environment)?;
        if self.reference == Reference::Lookahead && !truth.lookahead_bonus(slot, &mut self.scores) {
            return Err(self.reference.unknown());
        }
        truth.probabilities(slot, &mut self.p_click, &mut self.p_order);
        self.scores.resize(self.p_click.len(), 0.0);
        let probabilities = std::iter::zip(&self.p_click, &self.p_order);
        for (score, (click, order)) in self.scores.iter_mut().zip(probabilities) {
            *score = match self.reference {
                Reference::ClickGreedy => *click,
                Reference::OrderGreedy => click * order,
                Reference::Lookahead => click * (1.0 + ORDER_EXTRA * order + *score),
                _ => click * (1.0 + ORDER_EXTRA * order),
            };
        }
        Ok(())
    }

    /// Fills `scores` with the rewards that are expected of a user known from what was shown.
    fn believe(&mut self, environment: &dyn Environment, slot: usize) -> Result<(), Error> {
        let size = N_WINDOWS * environment.window();
        let windows = &environment.windows()[slot * size..][..size];
        let (session, step) = (environment.session(slot), environment.step_number(slot));
        self.acquaintances.resize_with(environment.n_slots(), || None);
        let known = self.acquaintances[slot].take().filter(|known| {
            self.reference == Reference::Belief && (known.session, known.step + 1) == (session, step)
        });
        let mut belief = match known {
            Some(Acquaintance { mut belief, shown, .. }) => {
                belief.observe(shown, feedback_of(shown, windows));
                belief
            }
            None => {
                let rng = self.streams.at(session, step);
                let mut belief =
                    self.truth(environment)?.belief(rng).ok_or_else(|| self.reference.unknown())?;
                belief.observe_windows(windows);
                belief
            }
        };
        belief.expected_rewards(environment.recall()[slot].candidates(), &mut self.scores);
        self.acquaintances[slot] = Some(Acquaintance { session, step, shown: ItemId::PADDING, belief });
        Ok(())
    }

    fn truth<'a>(&self, environment: &'a dyn Environment) -> Result<&'a dyn Truth, Error> {
        environment.truth().ok_or_else(|| self.reference.unknown())
    }
}

/// What came of the item shown last, by the windows `[3, N]`: items are shown once a session.
fn feedback_of(shown: ItemId, windows: &[ItemId]) -> Feedback {
    let is_last = |kind| window(windows, kind).last() == Some(&shown);
    match (is_last(Kind::Clicked), is_last(Kind::Ordered)) {
        (_, true) => Feedback::Order,
        (true, false) => Feedback::Click,
        (false, false) => Feedback::Skip,
    }
}

/// Fills `leaders` with the positions of the [`LEADERS`] best candidates, the best first, of equals the first.
fn lead(scores: &[f32], order: &mut Vec<u32>, leaders: &mut Vec<u32>) {
    // -0 becomes 0, its equal.
    let score = |position: u32| scores[position as usize] + 0.0;
    let better = |a: &u32, b: &u32| score(*b).total_cmp(&score(*a)).then(a.cmp(b));
    order.clear();
    order.extend(0..scores.len() as u32);
    if LEADERS < order.len() {
        order.select_nth_unstable_by(LEADERS, better);
        order.truncate(LEADERS);
    }
    order.sort_unstable_by(better);
    leaders.clone_from(order);
}

/// Position of the best candidate that is left; the first of equals.
fn best_left(recall: &RecallSet, scores: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (position, &score) in scores.iter().enumerate() {
        if best.is_none_or(|(_, highest)| score > highest) && !recall.is_shown(position) {
            best = Some((position, score));
        }
    }
    best.map(|(position, _)| position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_are_the_first_of_a_full_sort() {
        let scores: Vec<f32> =
            (0..300).map(|i| [0.0, -0.0, 3.0, 1.0, 2.0][i * 7 % 5] - (i % 11) as f32).collect();
        let mut expected: Vec<u32> = (0..300).collect();
        // A stable sort: of equals the first.
        expected.sort_by(|&a, &b| scores[b as usize].partial_cmp(&scores[a as usize]).unwrap());
        let (mut order, mut leaders) = (Vec::new(), vec![9; 400]);
        lead(&scores, &mut order, &mut leaders);
        assert_eq!(leaders, expected[..LEADERS]);
        lead(&scores[..3], &mut order, &mut leaders);
        assert_eq!(leaders.len(), 3);
    }

    #[test]
    fn the_best_that_is_left_wins_and_ties_go_to_the_lowest_id() {
        let mut recall = RecallSet::new([2, 4, 6, 8].map(ItemId).to_vec());
        let scores = [-3.0, -1.0, -2.0, -1.0];
        assert_eq!(best_left(&recall, &scores), Some(1));
        recall.show(ItemId(4));
        assert_eq!(best_left(&recall, &scores), Some(3));
        assert!([2, 6, 8].into_iter().all(|item| recall.show(ItemId(item))));
        assert_eq!(best_left(&recall, &scores), None);
    }
}
