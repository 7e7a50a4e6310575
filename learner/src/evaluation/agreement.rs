//! Whether the low-level critic ranks a session's candidates as the world's truth does.
//!
//! In: frozen agents with critics, a world that knows its truth; out: Spearman's rank correlation, over some candidates
//! of a session in its middle, of Q^l(s, item) (Eq 8) and the expected reward of showing the item now, p_click (1 + 4
//! p_order|click): 1 is the same order, 0 none in common. Q also counts what comes later, so that 1 is not to be
//! expected; a critic that stays near 0 gives its actor nothing to climb.

use std::sync::Arc;

use agent::{Guidance, NO_GOAL, Policy, Scratch, Sessions};
use common::{Feedback, ItemId, PeriodLayout, history::N_WINDOWS, transition::Ending};
use sim::{Environment, Outcome, Truth};

use super::{
    AgentPolicy, Error, Estimate, EvaluatedPolicy, EvaluationSettings, Hierarchy, Worlds,
    statistics::{mean, ranks::spearman},
};

/// Sessions that are looked at.
const SESSIONS: usize = 64;
/// Candidates of each that are ranked, evenly spread over those not shown yet.
const CANDIDATES: usize = 64;
/// Name in errors.
const NAME: &str = "MaHRL's critic";

/// Mean rank agreement over sessions of `settings`' users; `None` where the world does not know its truth.
pub fn rank_agreement(
    policy: &Arc<Policy>,
    layout: PeriodLayout,
    worlds: &Worlds<'_>,
    settings: &EvaluationSettings,
) -> Result<Option<Estimate>, Error> {
    let settings = EvaluationSettings { slots: SESSIONS, ..settings.clone() };
    let failed = |source| Error::World { policy: NAME.into(), source };
    let mut world = worlds(&settings).map_err(failed)?;
    if world.truth().is_none() {
        return Ok(None);
    }
    let mut player = AgentPolicy::new(NAME, Arc::clone(policy), layout);
    let first = settings.users.first_session();
    (0..SESSIONS).for_each(|slot| world.begin(slot, first + slot as u64));
    let mut actions = vec![ItemId::PADDING; SESSIONS];
    let mut outcomes = vec![Outcome { feedback: Feedback::Skip, ending: Ending::None }; SESSIONS];
    for _ in 0..settings.length / 2 {
        player.choose(&*world, &mut actions)?;
        world.step(&actions, &mut outcomes).map_err(failed)?;
        for slot in (0..SESSIONS).filter(|&slot| outcomes[slot].ending != Ending::None) {
            // A user who left: another, who is then younger than the others.
            let session = world.session(slot) + SESSIONS as u64;
            world.begin(slot, session);
        }
    }
    // Sets the goals of the periods that begin now.
    player.choose(&*world, &mut actions)?;
    let hierarchy = player.hierarchy().unwrap_or(Hierarchy { layout, goals: &[] });
    let truth = world.truth().expect("it was there before");
    let mut agreements = Vec::with_capacity(SESSIONS);
    for slot in 0..SESSIONS {
        agreements.extend(of_session(policy, hierarchy, &*world, truth, slot)?);
    }
    Ok((!agreements.is_empty()).then(|| mean(&agreements, settings.seed)))
}

/// The agreement in one slot; `None` where all candidates are worth the same to one of the two.
fn of_session(
    policy: &Policy,
    hierarchy: Hierarchy<'_>,
    world: &dyn Environment,
    truth: &dyn Truth,
    slot: usize,
) -> Result<Option<f64>, Error> {
    let recall = &world.recall()[slot];
    let candidates = recall.candidates().iter().enumerate();
    let left: Vec<ItemId> = candidates.filter(|(k, _)| !recall.is_shown(*k)).map(|(_, &item)| item).collect();
    let n = left.len().min(CANDIDATES);
    let items: Vec<ItemId> = (0..n).map(|k| left[k * left.len() / n]).collect();
    let value = |&item: &ItemId| {
        let (p_click, p_order) = truth.probability(slot, item);
        f64::from(p_click) * (1.0 + 4.0 * f64::from(p_order))
    };
    let worth: Vec<f64> = items.iter().map(value).collect();

    let Hierarchy { layout, goals } = hierarchy;
    let position = (world.step_number(slot) % layout.n_steps as u64) as usize;
    let active = vec![layout.sub_period(position).map_or(NO_GOAL, |i| i as u8); n];
    let of_slot = |all: &[f32], width: usize| all[slot * width..][..width].repeat(n);
    let goals = of_slot(goals, layout.n_goals * policy.model().n_dims);
    let width = N_WINDOWS * world.window();
    let windows = world.windows()[slot * width..][..width].repeat(n);
    let embeddings: Vec<f32> =
        items.iter().flat_map(|&item| world.items().embedding(item)).copied().collect();
    let (guidance, mut q) = (Guidance { goals: &goals, active: &active }, vec![0.0; n]);
    policy
        .low_q(Sessions::all(&windows), guidance, &embeddings, &mut Scratch::default(), &mut q)
        .map_err(|error| Error::Policy { policy: NAME.into(), problem: error.to_string() })?;
    Ok(spearman(&q.iter().map(|&q| f64::from(q)).collect::<Vec<_>>(), &worth))
}
