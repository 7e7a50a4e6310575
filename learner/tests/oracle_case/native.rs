//! A case of the oracle for the native engine. In: its tensors; out: batches of ids, states by name.

use common::{
    ItemId, ItemTable,
    history::{self, Kind as WindowKind},
    transition::{HighBatch, LowBatch},
};
use learner::{
    algorithm::settings::LevelKind,
    checkpoint::{Data, Tensors},
    engine::{Engine, native::NativeEngine},
};
use tch::{Kind, Tensor};

use super::{Case, Worst};

fn f32s(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_kind(Kind::Float).contiguous().view([-1])).unwrap()
}

fn i64s(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor.contiguous().view([-1])).unwrap()
}

/// Feedback worth these rewards.
fn feedback(rewards: &Tensor) -> Vec<u8> {
    let code = |reward: &f32| match reward {
        0.0 => 0,
        1.0 => 1,
        5.0 => 2,
        other => panic!("no feedback is worth {other}"),
    };
    f32s(rewards).iter().map(code).collect()
}

impl Case {
    /// The engine with the case's initial parameters.
    pub(crate) fn native(&self, level: kernels::Level) -> NativeEngine {
        let table = f32s(self.tensor("items"));
        let n = self.settings.model.n_dims;
        let n_items = table.len() / n;
        let items =
            ItemTable::new(n, self.settings.bound as f32, table, vec![0; n_items], vec![0.0; n_items]);
        let mut engine =
            NativeEngine::with_settings(self.settings.clone(), &items.unwrap().into(), 0, 1, level).unwrap();
        let mut state = engine.state();
        for (name, array) in &mut state {
            if let Some(value) = self.tensors.get(&format!("init/{name}")) {
                array.data = Data::F32(f32s(value));
            }
        }
        engine.load_state(&state).unwrap();
        engine
    }

    /// `[B, 3, N]` windows with those that the level reads.
    fn ids(&self, prefix: &str, when: &str, level: LevelKind) -> Vec<ItemId> {
        let n = self.settings.model.window;
        let read = ["first", "second"].map(|which| i64s(self.tensor(&format!("{prefix}/{when}{which}"))));
        let n_rows = read[0].len() / n;
        let mut ids = vec![ItemId::PADDING; n_rows * history::N_WINDOWS * n];
        let kinds: &[WindowKind] = self.settings.windows(level);
        for (row, windows) in ids.chunks_exact_mut(history::N_WINDOWS * n).enumerate() {
            for (&kind, read) in kinds.iter().zip(&read) {
                for (id, &read) in windows[kind as usize * n..][..n].iter_mut().zip(&read[row * n..]) {
                    *id = u32::try_from(read).map_or(ItemId::PADDING, ItemId);
                }
            }
        }
        ids
    }

    pub(crate) fn high_batch(&self, u: usize) -> HighBatch {
        let prefix = format!("batch/{u}/high");
        let column = |name: &str| self.tensor(&format!("{prefix}/{name}"));
        let terminated: Vec<u8> = f32s(column("terminated")).iter().map(|&x| x as u8).collect();
        HighBatch {
            windows: self.ids(&prefix, "", LevelKind::High),
            next_windows: self.ids(&prefix, "next_", LevelKind::High),
            goals: f32s(column("goals")),
            feedback: feedback(column("rewards")),
            terminated,
            ..HighBatch::default()
        }
    }

    pub(crate) fn low_batch(&self, u: usize) -> LowBatch {
        let prefix = format!("batch/{u}/low");
        let column = |name: &str| self.tensor(&format!("{prefix}/{name}"));
        LowBatch {
            windows: self.ids(&prefix, "", LevelKind::Low),
            next_windows: self.ids(&prefix, "next_", LevelKind::Low),
            goals: f32s(column("goals")),
            items: i64s(column("action_id")).into_iter().map(|id| ItemId(id as u32)).collect(),
            feedback: feedback(column("reward_external")),
            positions: i64s(column("position")).into_iter().map(|p| p as u8).collect(),
            terminated: f32s(column("terminated")).iter().map(|&x| x as u8).collect(),
            ..LowBatch::default()
        }
    }

    /// Means over the batch of an expectation `[B, H]` or `[B]`, against those measured, `[H]`.
    pub(crate) fn compare_means(&self, worst: &mut Worst, name: &str, found: &[f64]) {
        let expected = self.tensor(name).to_kind(Kind::Double).view([-1, found.len() as i64]);
        let means = expected.mean_dim([0_i64].as_slice(), false, None);
        worst.note(name, &Tensor::from_slice(found), &means);
        self.compared.borrow_mut().insert(name.to_owned());
    }

    /// First gradients, which Adam's running means are a tenth of.
    pub(crate) fn compare_first_means(&self, worst: &mut Worst, state: &Tensors) {
        for name in
            self.tensors.keys().filter(|name| name.starts_with("expect/0/") && name.contains("/grad/"))
        {
            let [level, network, parameter] =
                name.trim_start_matches("expect/0/").splitn(3, "/").collect::<Vec<_>>()[..]
            else {
                panic!("{name}")
            };
            let (network, parameter) = if network == "grad" {
                parameter.split_once('/').unwrap()
            } else {
                (network, parameter.trim_start_matches("grad/"))
            };
            let Data::F32(mean) = &state[&format!("adam/{level}/{network}/mean/{parameter}")].data else {
                panic!("f32")
            };
            let gradient: Vec<f64> = mean.iter().map(|x| f64::from(*x) * 10.0).collect();
            self.compare_values(worst, name, &gradient);
        }
    }

    /// Final parameters; fails if any expectation of the file was never looked at.
    pub(crate) fn compare_final_state(&self, worst: &mut Worst, state: &Tensors) {
        for (name, array) in state.iter().filter(|(name, _)| !name.starts_with("adam/")) {
            if let Data::F32(values) = &array.data {
                let values: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
                self.compare_values(worst, &format!("expect/final/{name}"), &values);
            }
        }
        self.check_all_compared();
    }
}
