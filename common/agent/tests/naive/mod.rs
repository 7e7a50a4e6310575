//! The equations in plain f64, one row at a time, as literally as possible. Shares no code with the crate.

use agent::Weights;
use common::{
    ItemId,
    config::{CriticAction, CriticOutput, History, ModelConfig},
};

/// Weights, settings and items `[V, n]`.
pub(crate) struct Naive<'a> {
    pub(crate) weights: &'a Weights<'a>,
    pub(crate) model: &'a ModelConfig,
    pub(crate) items: &'a [f32],
}

impl Naive<'_> {
    fn tensor(&self, name: &str) -> Vec<f64> {
        let data = self.weights.get(name).unwrap_or_else(|| panic!("no tensor {name}"));
        data.iter().map(|x| f64::from(*x)).collect()
    }

    /// `y = W x + b` for W `[out, in]`.
    fn linear(&self, weight: &str, bias: Option<&str>, x: &[f64]) -> Vec<f64> {
        let weight = self.tensor(weight);
        let mut y: Vec<f64> =
            weight.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect();
        if let Some(bias) = bias {
            y.iter_mut().zip(self.tensor(bias)).for_each(|(y, b)| *y += b);
        }
        y
    }

    fn gru(&self, prefix: &str, window: &[ItemId]) -> Vec<f64> {
        let (n, w) = (self.model.n_dims, self.model.encoder_width);
        let name = |part: &str| format!("{prefix}.cell.{part}");
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut h = vec![0.0; w];
        for item in window {
            let (mask, row) = if item.is_padding() { (0.0, 0) } else { (1.0, item.row()) };
            let x: Vec<f64> = self.items[row * n..][..n].iter().map(|x| f64::from(*x)).collect();
            let i = self.linear(&name("weight_ih"), Some(&name("bias_ih")), &x);
            let u = self.linear(&name("weight_hh"), Some(&name("bias_hh")), &h);
            for j in 0..w {
                let r = sigmoid(i[j] + u[j]);
                let z = sigmoid(i[w + j] + u[w + j]);
                let new = (i[2 * w + j] + r * u[2 * w + j]).tanh();
                h[j] = mask * ((1.0 - z) * new + z * h[j]) + (1.0 - mask) * h[j];
            }
        }
        h
    }

    /// Which windows an encoder reads.
    fn read(&self, history: History) -> &'static [usize] {
        match history {
            History::SkipsClicks => &[0, 1],
            History::ClicksOrders => &[1, 2],
            History::Clicks => &[1],
            History::SkipsClicksOrders => &[0, 1, 2],
        }
    }

    /// s of a session's `[3, N]` windows; `goal` is its goals `[M, n]` and the active one.
    fn state(&self, network: &str, windows: &[ItemId], goal: Option<(&[f32], Option<usize>)>) -> Vec<f64> {
        let window = |k: usize| &windows[k * self.model.window..][..self.model.window];
        let Self { model, .. } = self;
        let history = if network.starts_with("high") { model.high_history } else { model.low_history };
        // Windows lie in the order skipped, clicked, ordered.
        let read = self.read(history);
        let grus = ["first", "second", "third"].iter().zip(read);
        let joined: Vec<f64> =
            grus.flat_map(|(gru, &k)| self.gru(&format!("{network}/encoder.{gru}"), window(k))).collect();
        let (weight, bias) =
            (format!("{network}/encoder.merge.weight"), format!("{network}/encoder.merge.bias"));
        let mut s = self.linear(&weight, Some(&bias), &joined);
        if let Some((goals, active)) = goal {
            let n = self.model.n_dims;
            let of = |i: usize| goals[i * n..][..n].iter().map(|x| f64::from(*x)).collect();
            s.extend(active.map_or(vec![0.0; n], of));
            s.extend((0..self.model.n_goals).map(|i| f64::from(u8::from(active == Some(i)))));
        }
        s
    }

    fn guided<'b>(&self, goals: &'b [f32], active: Option<usize>) -> Option<(&'b [f32], Option<usize>)> {
        self.model.goal_conditioning.in_state().then_some((goals, active))
    }

    fn actor_head(&self, network: &str, i: usize, s: &[f64]) -> Vec<f64> {
        let (weight, bias) = (format!("{network}/heads.{i}.weight"), format!("{network}/heads.{i}.bias"));
        let bound = f64::from(self.model.bound);
        self.linear(&weight, Some(&bias), s).into_iter().map(|x| bound * x.tanh()).collect()
    }

    /// D30, of the low-level critic: W3 f, f_kt = sum_j e^(p_kj) form_t(cos(P a, P i_kj)), j = 0 the newest item of window k.
    fn affinity(&self, windows: &[ItemId], action: &[f32]) -> Vec<f64> {
        let (n, length) = (self.model.n_dims, self.model.window);
        let project = |vector: &[f32]| {
            let vector: Vec<f64> = vector.iter().map(|x| f64::from(*x)).collect();
            self.linear("low/critic/heads.0.affinity.projection", None, &vector)
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (places, of_action) = (self.tensor("low/critic/heads.0.affinity.place"), project(action));
        let mut features = Vec::new();
        for (number, &k) in self.read(self.model.low_history).iter().enumerate() {
            let mut forms = [0.0; 4];
            let window = &windows[k * length..][..length];
            for (age, item) in window.iter().rev().enumerate().filter(|(_, item)| !item.is_padding()) {
                let of_item = project(&self.items[item.row() * n..][..n]);
                let lengths = dot(&of_action, &of_action).sqrt() * dot(&of_item, &of_item).sqrt();
                let c = dot(&of_action, &of_item) / lengths.max(1e-12);
                let place = places[number * length + age].exp();
                let of_item = [c, c.max(0.0), (3.0 * (c - 1.0)).exp(), (8.0 * (c - 1.0)).exp()];
                forms.iter_mut().zip(of_item).for_each(|(sum, form)| *sum += place * form);
            }
            features.extend(forms);
        }
        self.linear("low/critic/heads.0.affinity.weight", None, &features)
    }

    fn critic_head(&self, network: &str, i: usize, s: &[f64], action: &[f32], affinity: &[f64]) -> f64 {
        let name = |part: &str| format!("{network}/heads.{i}.{part}");
        let mut a: Vec<f64> = action.iter().map(|x| f64::from(*x)).collect();
        let norm = a.iter().map(|x| x * x).sum::<f64>().sqrt();
        if self.model.critic_action == CriticAction::Direction && norm > 0.0 {
            a.iter_mut().for_each(|x| *x *= 7.0 / norm);
        }
        let from_state = self.linear(&name("state.weight"), Some(&name("state.bias")), s);
        let from_action = self.linear(&name("action.weight"), None, &a);
        let mut v: Vec<f64> = from_state.iter().zip(&from_action).map(|(a, b)| a + b).collect();
        v.iter_mut().zip(affinity).for_each(|(v, x)| *v += x);
        if self.model.head_norm {
            let mean = v.iter().sum::<f64>() / v.len() as f64;
            let squares: f64 = v.iter().map(|x| (x - mean) * (x - mean)).sum();
            let deviation = (squares / v.len() as f64 + 1e-5).sqrt();
            v.iter_mut().for_each(|x| *x = (*x - mean) / deviation);
        }
        v.iter_mut().for_each(|x| *x = x.max(0.0));
        let q = self.linear(&name("out.weight"), Some(&name("out.bias")), &v)[0];
        match self.model.critic_output {
            CriticOutput::Relu => q.max(0.0),
            CriticOutput::Softplus => (1.0 + q.exp()).ln(),
            CriticOutput::Linear => q,
            CriticOutput::Exponential => q.min(8.0).exp() * (1.0 + (q - 8.0).max(0.0)),
        }
    }

    /// Eqs 3, 4: `[M n]`.
    pub(crate) fn goals(&self, windows: &[ItemId]) -> Vec<f64> {
        if self.model.n_goals == 0 {
            return Vec::new();
        }
        let s = self.state("high/actor", windows, None);
        (0..self.model.n_goals).flat_map(|i| self.actor_head("high/actor", i, &s)).collect()
    }

    /// Eq 5: `[M]`.
    pub(crate) fn high_q(&self, windows: &[ItemId], goals: &[f32]) -> Vec<f64> {
        if self.model.n_goals == 0 {
            return Vec::new();
        }
        let s = self.state("high/critic", windows, None);
        let goals = goals.chunks_exact(self.model.n_dims);
        goals.enumerate().map(|(i, goal)| self.critic_head("high/critic", i, &s, goal, &[])).collect()
    }

    /// Eqs 6, 7: `[n]`.
    pub(crate) fn virtual_action(
        &self,
        windows: &[ItemId],
        goals: &[f32],
        active: Option<usize>,
    ) -> Vec<f64> {
        let s = self.state("low/actor", windows, self.guided(goals, active));
        self.actor_head("low/actor", 0, &s)
    }

    /// Eq 8.
    pub(crate) fn low_q(
        &self,
        windows: &[ItemId],
        goals: &[f32],
        active: Option<usize>,
        action: &[f32],
    ) -> f64 {
        let s = self.state("low/critic", windows, self.guided(goals, active));
        let affinity =
            if self.model.critic_affinity > 0 { self.affinity(windows, action) } else { Vec::new() };
        self.critic_head("low/critic", 0, &s, action, &affinity)
    }
}
