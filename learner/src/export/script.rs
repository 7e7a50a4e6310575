//! The forward pass as operations that torch can trace: no loop over rows, no size of a batch in the graph.
//!
//! In: weights by name and the item table; out: three TorchScript modules. Windows are rows of the item table `[B, 3, N]`
//! (skipped, clicked, ordered; oldest first), -1 on the left where a window has no item yet: an item that is not there leaves
//! the state of the GRU as it is. Batches of any size B >= 1; N, M and the items are those of the run.

use agent::{Network, Weights, layout::GRUS};
use common::{
    ItemTable,
    config::{CriticAction, CriticOutput, ModelConfig},
    history::{self, N_WINDOWS},
};
use tch::{CModule, Kind, TchError, Tensor};

use crate::algorithm::{
    affinity::{directions, forms},
    heads::{DIRECTION_LENGTH, action, exponential, normalised},
};

/// Networks and items as tensors.
pub struct Networks {
    model: ModelConfig,
    /// `[V, n]`
    embeddings: Tensor,
    /// `[V, n]`, rows of length one.
    unit: Tensor,
    /// `None` without goals.
    high_actor: Option<Part>,
    low_actor: Part,
    low_critic: Part,
}

/// One network: its tensors by name, and the windows that its encoder reads.
struct Part {
    windows: &'static [history::Kind],
    tensors: Vec<(String, Tensor)>,
}

impl Part {
    /// Every tensor of the layout.
    fn new(network: Network, weights: &Weights<'_>, model: &ModelConfig) -> Result<Self, agent::Error> {
        let tensor = |parameter: agent::layout::Parameter| {
            let name = format!("{}{}", network.prefix(), parameter.name);
            let values = weights
                .get(&name)
                .ok_or_else(|| agent::Error::Missing { name, expected: parameter.shape.clone() })?;
            let shape: Vec<i64> = parameter.shape.iter().map(|&size| size as i64).collect();
            Ok((parameter.name, Tensor::from_slice(values).view(&shape[..])))
        };
        let tensors = network.parameters(model).into_iter().map(tensor).collect::<Result<_, _>>()?;
        Ok(Self { windows: network.windows(model), tensors })
    }

    fn get(&self, name: &str) -> &Tensor {
        let found = self.tensors.iter().find(|(found, _)| found == name);
        &found.expect("the layout was checked and names this tensor").1
    }

    /// Eqs 3, 6: s `[B, w]` of windows `[B, 3, N]`.
    fn state(&self, windows: &Tensor, embeddings: &Tensor) -> Tensor {
        let of_window = |(&kind, gru): (&history::Kind, &str)| {
            let ids = windows.select(1, kind as i64);
            let cell = |part: &str| self.get(&format!("encoder.{gru}.cell.{part}"));
            let width = cell("weight_hh").size()[1];
            let is_there = ids.ge(0).to_kind(Kind::Float);
            // Zeros of as many rows as there are windows.
            let mut h =
                is_there.narrow(1, 0, 1).matmul(&Tensor::zeros([1, width], (Kind::Float, ids.device())));
            for step in 0..windows.size()[2] {
                let x = embeddings.index_select(0, &ids.select(1, step).clamp_min(0));
                let (w_ih, w_hh) = (cell("weight_ih"), cell("weight_hh"));
                let next = x.gru_cell(&h, w_ih, w_hh, Some(cell("bias_ih")), Some(cell("bias_hh")));
                // h_t = m_t GRU(x_t, h_{t-1}) + (1 - m_t) h_{t-1}
                h = next.where_self(&is_there.narrow(1, step, 1).gt(0.5), &h);
            }
            h
        };
        let grus = self.windows.iter().zip(GRUS);
        let joined = Tensor::cat(&grus.map(of_window).collect::<Vec<_>>(), 1);
        joined.linear(self.get("encoder.merge.weight"), Some(self.get("encoder.merge.bias")))
    }

    /// Eqs 4, 7: `[B, n]` of a head.
    fn act(&self, state: &Tensor, head: usize, bound: f64) -> Tensor {
        let of = |part: &str| self.get(&format!("heads.{head}.{part}"));
        action(&state.linear(of("weight"), Some(of("bias"))), bound)
    }
}

impl Networks {
    /// Both actors and the low-level critic.
    ///
    /// # Errors
    /// A tensor that is missing, misshapen or not finite; items of another embedding size.
    pub fn new(weights: &Weights<'_>, model: &ModelConfig, items: &ItemTable) -> Result<Self, agent::Error> {
        // Its checks are ours.
        agent::Policy::new(weights, model, std::sync::Arc::new(items.clone()))?;
        let table = |values: &[f32]| Tensor::from_slice(values).view([-1, items.n_dims() as i64]);
        let part = |network| Part::new(network, weights, model);
        Ok(Self {
            model: model.clone(),
            embeddings: table(items.embeddings()),
            unit: table(items.unit_embeddings()),
            high_actor: model.has_high_level().then(|| part(Network::HighActor)).transpose()?,
            low_actor: part(Network::LowActor)?,
            low_critic: part(Network::LowCritic)?,
        })
    }

    /// Eqs 3, 4: goals `[B, M, n]` of windows `[B, 3, N]`; M = 0 without a high-level agent.
    pub fn goals(&self, windows: &Tensor) -> Tensor {
        let Some(actor) = &self.high_actor else {
            // The shape follows the input's, so that the traced module takes batches of any size.
            let rows = windows.narrow(2, 0, 1).to_kind(Kind::Float);
            return rows.narrow(1, 0, 0).repeat([1, 1, self.model.n_dims as i64]);
        };
        let s = actor.state(windows, &self.embeddings);
        let goal = |head| actor.act(&s, head, f64::from(self.model.bound));
        Tensor::stack(&(0..self.model.n_goals).map(goal).collect::<Vec<_>>(), 1)
    }

    /// Eqs 6, 7: virtual actions `[B, n]` of windows `[B, 3, N]`, goals `[B, M, n]` and active goals `[B]`, -1 for none.
    pub fn actions(&self, windows: &Tensor, goals: &Tensor, active: &Tensor) -> Tensor {
        let s = self.low_state(&self.low_actor, windows, goals, active);
        self.low_actor.act(&s, 0, f64::from(self.model.bound))
    }

    /// Eq 8: values `[B, C]` of items `[B, C]`.
    pub fn values(&self, windows: &Tensor, goals: &Tensor, active: &Tensor, items: &Tensor) -> Tensor {
        let critic = &self.low_critic;
        let s = self.low_state(critic, windows, goals, active);
        let of = |part: &str| critic.get(&format!("heads.0.{part}"));
        let seen = match self.model.critic_action {
            CriticAction::Raw => self.embeddings.shallow_clone(),
            CriticAction::Direction => &self.unit * DIRECTION_LENGTH,
        };
        // A look-up leaves no number of items in the graph.
        let a = Tensor::embedding(&seen, items, -1, false, false);
        // v = ReLU(W1 s + W2 a + b), q = f(w v + b')
        let of_state = s.linear(of("state.weight"), Some(of("state.bias"))).unsqueeze(1);
        let mut hidden = of_state + a.matmul(&of("action.weight").tr());
        if self.model.critic_affinity > 0 {
            hidden += self.affinities(windows, items).linear(of("affinity.weight"), None::<&Tensor>);
        }
        if self.model.head_norm {
            hidden = normalised(&hidden, self.model.head_width as i64);
        }
        let v = hidden.relu();
        let q = v.linear(of("out.weight"), Some(of("out.bias"))).squeeze_dim(2);
        match self.model.critic_output {
            CriticOutput::Relu => q.relu(),
            CriticOutput::Softplus => q.softplus(),
            CriticOutput::Linear => q,
            CriticOutput::Exponential => exponential(&q),
        }
    }

    /// f `[B, C, 4 windows]` of items `[B, C]` (D30).
    fn affinities(&self, windows: &Tensor, items: &Tensor) -> Tensor {
        let critic = &self.low_critic;
        let of_items = directions(&self.embeddings, critic.get("heads.0.affinity.projection"));
        let look_up = |ids: &Tensor| Tensor::embedding(&of_items, ids, -1, false, false);
        let candidates = look_up(items);
        // Of each place in a window, the oldest first.
        let places = critic.get("heads.0.affinity.place").exp().flip([1]);
        let of_window = |(place, &kind): (i64, &history::Kind)| {
            let ids = windows.select(1, kind as i64);
            let weight = ids.ge(0).to_kind(Kind::Float) * places.select(0, place);
            let cosine = candidates.matmul(&look_up(&ids.clamp_min(0)).transpose(1, 2));
            let of_pairs = forms(&cosine.unsqueeze(3)) * weight.unsqueeze(1).unsqueeze(3);
            of_pairs.sum_dim_intlist([2_i64].as_slice(), false, None)
        };
        Tensor::cat(&(0..).zip(critic.windows).map(of_window).collect::<Vec<_>>(), 2)
    }

    /// s, or `[s; g; one-hot i]` where goals are part of the state.
    fn low_state(&self, part: &Part, windows: &Tensor, goals: &Tensor, active: &Tensor) -> Tensor {
        let s = part.state(windows, &self.embeddings);
        if !self.model.goal_conditioning.in_state() {
            return s;
        }
        let numbers = Tensor::arange(self.model.n_goals as i64, (Kind::Int64, windows.device()));
        let one_hot = active.unsqueeze(1).eq_tensor(&numbers).to_kind(Kind::Float);
        let goal = (goals * one_hot.unsqueeze(2)).sum_dim_intlist([1_i64].as_slice(), false, None);
        Tensor::cat(&[s, goal, one_hot], 1)
    }

    /// `forward(windows)` to goals `[B, M, n]`: asked before the first step of a period.
    pub fn trace_goals(&self) -> Result<CModule, TchError> {
        trace("Goals", &[self.example()], |inputs| self.goals(&inputs[0]))
    }

    /// `forward(windows, goals, active)` to cosines `[B, V]` of the virtual action with all items; `active` is the number of
    /// the active goal or -1.
    pub fn trace_policy(&self) -> Result<CModule, TchError> {
        let windows = self.example();
        let goals = self.goals(&windows);
        trace("Policy", &[windows, goals, Tensor::from_slice(&[0_i64, -1])], |inputs| {
            let [windows, goals, active] = inputs else { unreachable!("three were given") };
            let actions = self.actions(windows, goals, active);
            // Eq 9
            let length = actions.norm_scalaropt_dim(2, [1_i64].as_slice(), true).clamp_min(1e-12);
            (&actions / length).matmul(&self.unit.tr())
        })
    }

    /// `forward(windows, goals, active, items)` to values `[B, C]` of items `[B, C]`.
    pub fn trace_critic(&self) -> Result<CModule, TchError> {
        let windows = self.example();
        let goals = self.goals(&windows);
        let items = Tensor::zeros([2, 3], (Kind::Int64, tch::Device::Cpu));
        let inputs = [windows, goals, Tensor::from_slice(&[0_i64, -1]), items];
        trace("Critic", &inputs, |inputs| {
            let [windows, goals, active, items] = inputs else { unreachable!("four were given") };
            self.values(windows, goals, active, items)
        })
    }

    /// Windows of two sessions without a history: tracing reads their shape only.
    fn example(&self) -> Tensor {
        let shape = [2, N_WINDOWS as i64, self.model.window as i64];
        Tensor::full(shape, -1, (Kind::Int64, tch::Device::Cpu))
    }
}

/// Traces without gradients, so that the module needs none. One output: a traced module with several cannot be saved.
fn trace(name: &str, inputs: &[Tensor], forward: impl Fn(&[Tensor]) -> Tensor) -> Result<CModule, TchError> {
    let mut forward = |inputs: &[Tensor]| vec![forward(inputs)];
    tch::no_grad(|| CModule::create_by_tracing(name, "forward", inputs, &mut forward))
}
