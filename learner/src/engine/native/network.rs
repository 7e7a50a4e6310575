//! The parameters of one network, and their optimiser. In: a layout; out: weights as the products read them.
//!
//! A weight `[out, in]` of the layout is kept turned, `[in, out]`, in the same place of the flat vector: a product over the
//! inputs then reads whole rows, forward and for the weight's own gradient. The way back to the inputs reads the other
//! form, which an online network keeps besides.

use std::ops::Range;

use common::config::EncoderUpdate;
use kernels::{AdamState, AdamStep, Level, adam, reduce};

use crate::algorithm::{
    groups::{self, BETA_1, BETA_2, EPSILON},
    layout::{Layout, N_GRU_BLOCKS},
};

/// Places of a GRU's parameters.
#[derive(Clone, Debug)]
pub struct GruPlaces {
    /// `[n, 3w]`
    pub weight_ih: Range<usize>,
    /// `[w, 3w]`
    pub weight_hh: Range<usize>,
    /// `[3w]`
    pub bias_ih: Range<usize>,
    /// `[3w]`
    pub bias_hh: Range<usize>,
}

/// Places of an actor's head.
#[derive(Clone, Debug)]
pub struct ActorPlaces {
    /// `[D, n]`
    pub weight: Range<usize>,
    /// `[n]`
    pub bias: Range<usize>,
}

/// Places of a critic's head.
#[derive(Clone, Debug)]
pub struct CriticPlaces {
    /// `[D, k]`
    pub state: Range<usize>,
    /// `[k]`
    pub bias: Range<usize>,
    /// `[n, k]`
    pub action: Range<usize>,
    /// `[k]`
    pub out: Range<usize>,
    /// `[1]`
    pub out_bias: Range<usize>,
    /// D30
    pub affinity: Option<AffinityPlaces>,
}

/// Places of a critic's affinity.
#[derive(Clone, Debug)]
pub struct AffinityPlaces {
    /// `[n, K]`
    pub projection: Range<usize>,
    /// `[N, windows]`
    pub place: Range<usize>,
    /// `[4 windows, k]`
    pub weight: Range<usize>,
}

/// Places of a network's parameters in its flat vector.
#[derive(Clone, Debug)]
pub struct Places {
    /// One a window.
    pub grus: Vec<GruPlaces>,
    /// `[k w, w]` behind the k GRUs.
    pub merge: Range<usize>,
    /// `[w]`
    pub merge_bias: Range<usize>,
    /// Heads of an actor; none of a critic.
    pub actor: Vec<ActorPlaces>,
    /// Heads of a critic; none of an actor.
    pub critic: Vec<CriticPlaces>,
    /// Every matrix: its place and its sizes in the layout, `[out, in]`.
    matrices: Vec<(Range<usize>, [usize; 2])>,
}

impl Places {
    fn new(layout: &Layout) -> Self {
        let mut encoder = layout.blocks[..layout.n_encoder_blocks()]
            .iter()
            .map(|block| block.offset..block.offset + block.len());
        let mut next = || encoder.next().expect("the layout has the encoder's blocks");
        let mut grus = Vec::new();
        for _ in 0..layout.n_windows {
            const { assert!(N_GRU_BLOCKS == 4) };
            let [weight_ih, weight_hh, bias_ih, bias_hh] = [next(), next(), next(), next()];
            grus.push(GruPlaces { weight_ih, weight_hh, bias_ih, bias_hh });
        }
        let (merge, merge_bias) = (next(), next());
        let (mut actor, mut critic) = (Vec::new(), Vec::new());
        for head in 0..layout.n_heads {
            match &layout.head_ranges(head)[..] {
                [weight, bias] => actor.push(ActorPlaces { weight: weight.clone(), bias: bias.clone() }),
                [state, bias, action, out, out_bias, affinity @ ..] => critic.push(CriticPlaces {
                    state: state.clone(),
                    bias: bias.clone(),
                    action: action.clone(),
                    out: out.clone(),
                    out_bias: out_bias.clone(),
                    affinity: match affinity {
                        [projection, place, weight] => Some(AffinityPlaces {
                            projection: projection.clone(),
                            place: place.clone(),
                            weight: weight.clone(),
                        }),
                        _ => None,
                    },
                }),
                other => unreachable!("a head of {} blocks", other.len()),
            }
        }
        let matrices = layout.named().into_iter().filter_map(|named| match named.shape[..] {
            [out, n_in] => Some((named.range, [out as usize, n_in as usize])),
            _ => None,
        });
        let matrices = matrices.collect();
        Self { grus, merge, merge_bias, actor, critic, matrices }
    }
}

/// An actor or a critic, online or target.
#[derive(Clone, Debug)]
pub struct Network {
    layout: Layout,
    places: Places,
    values: Vec<f32>,
}

impl Network {
    /// A network with these parameters, in the layout's form.
    pub fn new(layout: Layout, values: &[f64]) -> Self {
        let places = Places::new(&layout);
        let mut network = Self { values: vec![0.0; layout.len()], places, layout };
        network.set(values);
        network
    }

    /// Names, shapes and places.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where its parameters are.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// A parameter.
    pub fn part(&self, place: &Range<usize>) -> &[f32] {
        &self.values[place.clone()]
    }

    /// All parameters, in the layout's form.
    pub fn values(&self) -> Vec<f32> {
        self.outer(&self.values)
    }

    fn set(&mut self, values: &[f64]) {
        self.values = self.inner(values);
    }

    /// From the layout's form to ours.
    fn inner(&self, values: &[f64]) -> Vec<f32> {
        let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
        let mut out = values.clone();
        for (range, [n_out, n_in]) in &self.places.matrices {
            reduce::transpose_into(
                Level::best(),
                (*n_out, *n_in),
                &values[range.clone()],
                &mut out[range.clone()],
            );
        }
        out
    }

    /// From our form to the layout's.
    fn outer(&self, values: &[f32]) -> Vec<f32> {
        let mut out = values.to_vec();
        for (range, [n_out, n_in]) in &self.places.matrices {
            reduce::transpose_into(
                Level::best(),
                (*n_in, *n_out),
                &values[range.clone()],
                &mut out[range.clone()],
            );
        }
        out
    }
}

/// An online network, its target and its optimiser.
#[derive(Debug)]
pub struct Trained {
    network: Network,
    target: Network,
    /// The weights that a way back reads, in the layout's form, in their places.
    turned: Vec<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
    groups: Vec<Vec<Range<usize>>>,
    steps: Vec<i64>,
    learning_rate: f64,
    /// Share of the learning rate in force.
    scale: f64,
    level: Level,
}

/// What the way back through a network reads and writes.
#[derive(Debug)]
pub struct Back<'a> {
    /// The network.
    pub network: &'a Network,
    /// Its weights in the layout's form, `[out, in]`, in their places.
    pub turned: &'a [f32],
    /// Added to.
    pub gradient: &'a mut [f32],
}

impl Trained {
    /// A network with these parameters, in the layout's form; its target starts as a copy.
    pub fn new(
        layout: Layout,
        values: &[f64],
        update: EncoderUpdate,
        learning_rate: f64,
        level: Level,
    ) -> Self {
        let groups = groups::of(&layout, update);
        let network = Network::new(layout, values);
        let n = network.values.len();
        let mut trained = Self {
            target: network.clone(),
            network,
            turned: vec![0.0; n],
            mean: vec![0.0; n],
            square: vec![0.0; n],
            steps: vec![0; groups.len()],
            groups,
            learning_rate,
            scale: 1.0,
            level,
        };
        trained.turn();
        trained
    }

    /// The online network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Its target.
    pub fn target(&self) -> &Network {
        &self.target
    }

    /// A weight in the layout's form, `[out, in]`.
    pub fn turned(&self, place: &Range<usize>) -> &[f32] {
        &self.turned[place.clone()]
    }

    /// The way back, adding to a gradient in our form.
    pub fn back<'a>(&'a self, gradient: &'a mut [f32]) -> Back<'a> {
        Back { network: &self.network, turned: &self.turned, gradient }
    }

    /// From now on the learning rate is this share of the one given at the start.
    pub fn scale_learning_rate(&mut self, share: f64) {
        self.scale = share;
    }

    /// Steps done, a group.
    pub fn steps(&self) -> &[i64] {
        &self.steps
    }

    /// Online parameters, target, and the running means of the gradient and its square, in the layout's form.
    pub fn vectors(&self) -> [Vec<f32>; 4] {
        let outer = |values| self.network.outer(values);
        [outer(&self.network.values), outer(&self.target.values), outer(&self.mean), outer(&self.square)]
    }

    /// Takes over what [`Self::vectors`] and [`Self::steps`] gave.
    pub fn restore(&mut self, vectors: &[Vec<f64>; 4], steps: &[i64]) {
        let [online, target, mean, square] = vectors;
        self.network.set(online);
        self.target.set(target);
        (self.mean, self.square) = (self.network.inner(mean), self.network.inner(square));
        self.steps.copy_from_slice(steps);
        self.turn();
    }

    /// Moves the groups along the gradient, in our form, of at most `clip` (0: any), which is zero there afterwards; returns
    /// its norm before clipping. The targets of the groups `follow` says move by tau behind them.
    pub fn step(
        &mut self,
        gradient: &mut [f32],
        groups: &[usize],
        clip: f64,
        tau: Option<f32>,
        follow: impl Fn(usize) -> bool,
    ) -> f64 {
        let squares = |range: &Range<usize>| reduce::sum_of_squares(self.level, &gradient[range.clone()]);
        let of_group = |&group: &usize| self.groups[group].iter().map(squares).sum::<f64>();
        let norm = groups.iter().map(of_group).sum::<f64>().sqrt();
        let scale = if clip > 0.0 { (clip / (norm + 1e-12)).min(1.0) } else { 1.0 };
        for &group in groups {
            self.steps[group] += 1;
            let steps = self.steps[group] as i32;
            let step = AdamStep {
                rate: (self.learning_rate * self.scale / (1.0 - BETA_1.powi(steps))) as f32,
                correction: (1.0 / (1.0 - BETA_2.powi(steps)).sqrt()) as f32,
                scale: scale as f32,
                beta_1: BETA_1 as f32,
                beta_2: BETA_2 as f32,
                epsilon: EPSILON as f32,
            };
            let tau = tau.filter(|_| follow(group));
            for range in &self.groups[group] {
                let state = AdamState {
                    parameters: &mut self.network.values[range.clone()],
                    gradient: &mut gradient[range.clone()],
                    mean: &mut self.mean[range.clone()],
                    square: &mut self.square[range.clone()],
                };
                let target = tau.map(|tau| (&mut self.target.values[range.clone()], tau));
                adam(self.level, step, state, target);
            }
        }
        self.turn();
        norm
    }

    /// Brings the turned weights up to date.
    fn turn(&mut self) {
        let Places { grus, merge, actor, critic, .. } = &self.network.places;
        let read = |place: &Range<usize>| {
            grus.iter().any(|gru| gru.weight_hh == *place)
                || merge == place
                || actor.iter().any(|head| head.weight == *place)
                || critic.iter().any(|head| {
                    let by_affinity = |of: &AffinityPlaces| of.projection == *place || of.weight == *place;
                    head.state == *place
                        || head.action == *place
                        || head.affinity.as_ref().is_some_and(by_affinity)
                })
        };
        for (range, [n_out, n_in]) in &self.network.places.matrices {
            if read(range) {
                let (from, to) = (&self.network.values[range.clone()], &mut self.turned[range.clone()]);
                reduce::transpose_into(self.level, (*n_in, *n_out), from, to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use common::config::{Config, Preset};

    use super::*;
    use crate::algorithm::{
        layout::Role,
        settings::{LevelKind, Settings},
    };

    #[test]
    fn parameters_come_back_as_they_were() {
        let settings = Settings::new(&Config::preset(Preset::Paper));
        for role in [Role::Actor, Role::Critic] {
            let layout = Layout::new(&settings, LevelKind::High, role);
            let values: Vec<f64> = (0..layout.len()).map(|i| i as f64).collect();
            let network = Network::new(layout, &values);
            let back: Vec<f64> = network.values().into_iter().map(f64::from).collect();
            assert_eq!(back, values);
            let gru = &network.places().grus[0];
            // Row 1 of the turned weight is column 1 of the layout's.
            assert_eq!(f64::from(network.part(&gru.weight_ih)[192]), values[1]);
        }
    }
}
