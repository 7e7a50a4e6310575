//! One version of the weights, ready to act. In: windows `[E, 3, N]` and goals of E sessions; out: goals, virtual
//! actions and Q values, a row each session.
//!
//! Immutable and shared between threads; working memory is the caller's [`Scratch`].

use std::{fmt, sync::Arc};

use common::{ItemId, ItemTable, config::ModelConfig, history::N_WINDOWS};
use kernels::{Level, RowMajorMut, Strided};

use crate::{
    Error, Guidance, NO_GOAL, Network, Scratch, Sessions, Weights,
    actor_network::ActorNetwork,
    affinity::Affinity,
    critic_network::CriticNetwork,
    encoder::Encoder,
    scratch::{EncoderScratch, sized},
};

/// Numbers of a table of projected items at most (128 MiB): a larger catalogue's nearest items are projected as they come.
const MOST_PROJECTED: usize = 1 << 25;

/// Actors and, where the weights carry them, critics of both levels.
pub struct Policy {
    level: Level,
    model: ModelConfig,
    items: Arc<ItemTable>,
    /// `None` without goals.
    high_actor: Option<ActorNetwork>,
    low_actor: ActorNetwork,
    high_critic: Option<CriticNetwork>,
    low_critic: Option<CriticNetwork>,
    /// `[items, k]` see [`CriticNetwork::project`]; `None` where the critic does not choose, or cannot by such a table.
    projected: Option<Vec<f32>>,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let critics = [&self.high_critic, &self.low_critic].map(Option::is_some);
        f.debug_struct("Policy")
            .field("level", &self.level)
            .field("critics", &critics)
            .finish_non_exhaustive()
    }
}

impl Policy {
    /// The policy of a weights file; critics may be absent.
    pub fn from_safetensors(bytes: &[u8], model: &ModelConfig, items: Arc<ItemTable>) -> Result<Self, Error> {
        Self::new(&Weights::from_safetensors(bytes)?, model, items)
    }

    /// A policy that has learnt nothing, see [`Weights::random`].
    pub fn random(model: &ModelConfig, items: Arc<ItemTable>, seed: u64) -> Result<Self, Error> {
        Self::new(&Weights::random(model, seed), model, items)
    }

    /// The policy of some weights.
    ///
    /// # Errors
    /// A tensor that is missing, misshapen, not finite or not of this model; items of another embedding size. A model
    /// without goals has no high level, and none may be there; one that rescores items needs its low-level critic.
    pub fn new(weights: &Weights<'_>, model: &ModelConfig, items: Arc<ItemTable>) -> Result<Self, Error> {
        if items.n_dims() != model.n_dims {
            return Err(Error::Embeddings { found: items.n_dims(), expected: model.n_dims });
        }
        let actor = |network| Ok(ActorNetwork::new(network, weights.network(network, model)?, model));
        let critic = |network| {
            let present = weights.contains(network).then(|| weights.network(network, model)).transpose()?;
            Ok(present.map(|weights| CriticNetwork::new(network, weights, model)))
        };
        if model.rescored_items > 1 && !weights.contains(Network::LowCritic) {
            return Err(Error::NoCritic(Network::LowCritic));
        }
        let has_high_level = model.has_high_level();
        if !has_high_level {
            // Nothing of it is known to the layout: any tensor is refused.
            weights.network(Network::HighActor, model)?;
            weights.network(Network::HighCritic, model)?;
        }
        let policy = Self {
            level: Level::best(),
            model: model.clone(),
            items,
            high_actor: has_high_level.then(|| actor(Network::HighActor)).transpose()?,
            low_actor: actor(Network::LowActor)?,
            high_critic: critic(Network::HighCritic)?,
            low_critic: critic(Network::LowCritic)?,
            projected: None,
        };
        Ok(policy.with_level(Level::best()))
    }

    /// The same policy on other instructions, e.g. the portable ones.
    pub fn with_level(mut self, level: Level) -> Self {
        self.level = level;
        let is_small = self.items.n_items() * self.model.head_width <= MOST_PROJECTED;
        if let Some(affinity) = self.low_critic.as_mut().and_then(|critic| critic.affinity.as_mut())
            && is_small
            && self.model.rescored_items > 1
        {
            affinity.project(level, &self.items);
        }
        self.projected = self
            .rescoring()
            .filter(|critic| is_small && !critic.is_normalised())
            .map(|critic| critic.project(level, &self.items));
        self
    }

    /// The item table its windows point into.
    pub fn items(&self) -> &Arc<ItemTable> {
        &self.items
    }

    /// The settings it was built with.
    pub fn model(&self) -> &ModelConfig {
        &self.model
    }

    /// Eqs 3, 4: the goals of a period, `[E, M, n]`, every component strictly inside (-B, B); nothing where M = 0.
    ///
    /// # Panics
    /// If `goals` is not `[E, M, n]` or a window names an item outside the table.
    pub fn goals(&self, sessions: Sessions<'_>, scratch: &mut Scratch, goals: &mut [f32]) {
        match &self.high_actor {
            Some(actor) => self.act(actor, sessions, Guidance::NONE, scratch, goals),
            None => assert!(goals.is_empty(), "goals: without a high-level agent there are none"),
        }
    }

    /// Eqs 6, 7: the virtual actions of a step, `[E, n]`, every component strictly inside (-B, B).
    ///
    /// # Panics
    /// If `actions` is not `[E, n]`, the guidance does not fit where the state holds the goal, or a window names an
    /// item outside the table.
    pub fn virtual_actions(
        &self,
        sessions: Sessions<'_>,
        guidance: Guidance<'_>,
        scratch: &mut Scratch,
        actions: &mut [f32],
    ) {
        self.act(&self.low_actor, sessions, guidance, scratch, actions);
    }

    /// Eq 5: the values `[E, M]` of goals `[E, M, n]`.
    ///
    /// # Errors
    /// [`Error::NoCritic`] if the weights carry actors only.
    pub fn high_q(
        &self,
        sessions: Sessions<'_>,
        goals: &[f32],
        scratch: &mut Scratch,
        q: &mut [f32],
    ) -> Result<(), Error> {
        let critic = self.high_critic.as_ref().ok_or(Error::NoCritic(Network::HighCritic))?;
        self.judge(critic, (sessions, Guidance::NONE), goals, scratch, q);
        Ok(())
    }

    /// Eq 8: the values `[E]` of actions `[E, n]`, virtual ones or items' embeddings.
    ///
    /// # Errors
    /// [`Error::NoCritic`] if the weights carry actors only.
    pub fn low_q(
        &self,
        sessions: Sessions<'_>,
        guidance: Guidance<'_>,
        actions: &[f32],
        scratch: &mut Scratch,
        q: &mut [f32],
    ) -> Result<(), Error> {
        let critic = self.low_critic.as_ref().ok_or(Error::NoCritic(Network::LowCritic))?;
        self.judge(critic, (sessions, guidance), actions, scratch, q);
        Ok(())
    }

    /// The critic that chooses among the nearest items; `None` where the nearest one is shown.
    pub(crate) fn rescoring(&self) -> Option<&CriticNetwork> {
        self.low_critic.as_ref().filter(|_| self.model.rescored_items > 1)
    }

    /// See [`CriticNetwork::project`].
    pub(crate) fn projected(&self) -> Option<&[f32]> {
        self.projected.as_deref()
    }

    /// The instructions in use.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// Eq 8 for several actions in one state: the values `[C]` of actions `[C, n]` in the session of windows `[3, N]`,
    /// with the bits that [`Self::low_q`] has. The state is encoded once.
    ///
    /// # Errors
    /// [`Error::NoCritic`] if the weights carry actors only.
    ///
    /// # Panics
    /// If the windows or the guidance are not those of one session, or `q` is not `[C]`.
    pub fn low_q_of_actions(
        &self,
        windows: &[ItemId],
        guidance: Guidance<'_>,
        actions: &[f32],
        scratch: &mut Scratch,
        q: &mut [f32],
    ) -> Result<(), Error> {
        let critic = self.low_critic.as_ref().ok_or(Error::NoCritic(Network::LowCritic))?;
        let session = Sessions::all(windows);
        assert_eq!(session.n_sessions(self.model.window), 1, "the windows of one session");
        assert_eq!(actions.len(), q.len() * self.model.n_dims, "actions are [{}, n]", q.len());
        self.states(critic.network, &critic.encoder, session, guidance, scratch);
        let Scratch { state, heads, actions: seen, affinity, met, .. } = scratch;
        affinity.clear();
        if let Some(of_critic) = &critic.affinity {
            of_critic.meet(self.level, &self.items, windows, met);
            of_critic.of_actions(self.level, actions, met, affinity);
        }
        let affinity = Strided::transposed(affinity, q.len());
        let size = state.len();
        state.resize(q.len() * size, 0.0);
        // A row for each action.
        (1..q.len()).for_each(|row| state.copy_within(..size, row * size));
        seen.clear();
        seen.extend_from_slice(actions);
        critic.see(seen);
        let hidden = sized(heads, q.len() * critic.hidden_width());
        critic.heads(self.level, (state, seen), affinity, hidden, |row, _, value| q[row] = value);
        Ok(())
    }

    /// Whether the weights hold this network.
    pub fn has(&self, network: Network) -> bool {
        match network {
            Network::HighActor => self.high_actor.is_some(),
            Network::LowActor => true,
            Network::HighCritic => self.high_critic.is_some(),
            Network::LowCritic => self.low_critic.is_some(),
        }
    }

    fn act(
        &self,
        actor: &ActorNetwork,
        sessions: Sessions<'_>,
        guidance: Guidance<'_>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let width = actor.network.n_heads(&self.model) * self.model.n_dims;
        self.assert_rows(sessions, "out", out.len(), width);
        self.states(actor.network, &actor.encoder, sessions, guidance, scratch);
        let heads = sized(&mut scratch.heads, scratch.rows.len() * width);
        actor.heads(self.level, &scratch.state, heads);
        for (&row, values) in scratch.rows.iter().zip(heads.chunks_exact(width)) {
            out[row * width..][..width].copy_from_slice(values);
        }
    }

    fn judge(
        &self,
        critic: &CriticNetwork,
        (sessions, guidance): (Sessions<'_>, Guidance<'_>),
        actions: &[f32],
        scratch: &mut Scratch,
        q: &mut [f32],
    ) {
        let (n_heads, width) = (critic.n_heads(), critic.n_heads() * self.model.n_dims);
        self.assert_rows(sessions, "actions", actions.len(), width);
        self.assert_rows(sessions, "q", q.len(), n_heads);
        self.states(critic.network, &critic.encoder, sessions, guidance, scratch);
        let Scratch { rows, state, heads, actions: seen, affinity, met, .. } = scratch;
        seen.clear();
        affinity.clear();
        let length = N_WINDOWS * self.model.window;
        for &row in rows.iter() {
            let action = &actions[row * width..][..width];
            seen.extend_from_slice(action);
            if let Some(of_critic) = &critic.affinity {
                of_critic.meet(self.level, &self.items, &sessions.windows[row * length..][..length], met);
                of_critic.of_actions(self.level, action, met, affinity);
            }
        }
        critic.see(seen);
        let hidden = sized(heads, rows.len() * critic.hidden_width());
        let affinity = Strided::rows(affinity, critic.affinity.as_ref().map_or(0, Affinity::n_features));
        critic.heads(self.level, (state, seen), affinity, hidden, |row, head, value| {
            q[rows[row] * n_heads + head] = value;
        });
    }

    /// Fills `scratch.rows` and `scratch.state`: `[s]`, or `[s; g; one-hot i]` where the network sees the goal.
    pub(crate) fn states(
        &self,
        network: Network,
        encoder: &Encoder,
        sessions: Sessions<'_>,
        guidance: Guidance<'_>,
        scratch: &mut Scratch,
    ) {
        let (n, n_goals) = (self.model.n_dims, self.model.n_goals);
        let (window, w) = (self.model.window, self.model.encoder_width);
        let size = network.state_size(&self.model);
        let Scratch { rows, encoder: encoder_scratch, state, .. } = scratch;
        sessions.rows(window, rows);
        state.resize(rows.len() * size, 0.0);
        self.encode(encoder, sessions, rows, RowMajorMut { data: state, stride: size }, encoder_scratch);
        if !network.sees_goal(&self.model) {
            return;
        }
        self.assert_rows(sessions, "goals", guidance.goals.len(), n_goals * n);
        self.assert_rows(sessions, "active goals", guidance.active.len(), 1);
        for (&row, state) in rows.iter().zip(state.chunks_exact_mut(size)) {
            let (goal, one_hot) = state[w..].split_at_mut(n);
            goal.fill(0.0);
            one_hot.fill(0.0);
            let active = guidance.active[row];
            if active != NO_GOAL {
                let i = usize::from(active);
                assert!(i < n_goals, "goal {i} of {n_goals} in row {row}");
                goal.copy_from_slice(&guidance.goals[(row * n_goals + i) * n..][..n]);
                one_hot[i] = 1.0;
            }
        }
    }

    fn encode(
        &self,
        encoder: &Encoder,
        sessions: Sessions<'_>,
        rows: &[usize],
        out: RowMajorMut<'_>,
        scratch: &mut EncoderScratch,
    ) {
        let windows = (sessions.windows, self.model.window);
        encoder.encode((self.level, &self.items), windows, rows, out, scratch);
    }

    fn assert_rows(&self, sessions: Sessions<'_>, what: &str, found: usize, width: usize) {
        let n_sessions = sessions.n_sessions(self.model.window);
        assert_eq!(found, n_sessions * width, "{what}: [{n_sessions}, {width}] expected");
    }
}
