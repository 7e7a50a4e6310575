//! Where the parameters of a network lie. In: sizes; out: blocks of one flat vector, and their names.
//!
//! A block is one parameter, or the same parameter of all heads one after the other, so that all heads of a network are
//! one matrix product. Names are those of the weight broadcast and of the oracle: `encoder.first.cell.weight_ih`,
//! `heads.0.state.bias`, ...

use std::ops::Range;

use agent::layout::AFFINITY_FORMS;
use common::history::N_WINDOWS;

use super::settings::{LevelKind, Settings};

/// Which network of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Eqs 4, 7.
    Actor,
    /// Eqs 5, 8.
    Critic,
}

impl Role {
    /// `actor` or `critic`, as in the names of parameters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Actor => "actor",
            Self::Critic => "critic",
        }
    }
}

/// One parameter, or one of every head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Name; for a block of heads what follows `heads.i.`.
    pub name: &'static str,
    /// Heads in the block; `None` for a parameter of the encoder.
    pub n_heads: Option<usize>,
    /// Shape of one of them.
    pub shape: Vec<i64>,
    /// First place in the flat vector.
    pub offset: usize,
    /// Initial values are uniform in +-1/sqrt of it (PyTorch's default), where [`super::initial`] has no others.
    pub fan_in: usize,
}

impl Block {
    /// Numbers in one parameter of the block.
    pub fn size(&self) -> usize {
        self.shape.iter().product::<i64>() as usize
    }

    /// Numbers in the block.
    pub fn len(&self) -> usize {
        self.size() * self.n_heads.unwrap_or(1)
    }

    /// Whether the block is empty. It never is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `[H, ...]` for a block of heads, the parameter's own shape in the encoder.
    pub fn block_shape(&self) -> Vec<i64> {
        self.n_heads.map(|n| n as i64).into_iter().chain(self.shape.iter().copied()).collect()
    }

    /// The place of one head's parameter.
    fn head(&self, head: usize) -> Range<usize> {
        let start = self.offset + head * self.size();
        start..start + self.size()
    }
}

/// A parameter by its full name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// E.g. `heads.1.out.bias`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
    /// Its place in the flat vector.
    pub range: Range<usize>,
}

/// The parameters of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Which network.
    pub role: Role,
    /// Item embedding size, n.
    pub n_dims: i64,
    /// Encoder width, w.
    pub width: i64,
    /// GRUs of the encoder, one a window.
    pub n_windows: usize,
    /// Heads, H.
    pub n_heads: usize,
    /// Blocks in the order of the flat vector: those of the encoder, then those of the heads.
    pub blocks: Vec<Block>,
}

/// Blocks of a GRU: weights and biases of its inputs and of its hidden state.
pub const N_GRU_BLOCKS: usize = 4;

/// Name of the block of logarithms by which the affinity weighs the items of windows by their place (D30).
pub const AFFINITY_PLACE: &str = "affinity.place";

/// Names of the blocks of an encoder's GRUs, in the order of its windows.
const GRUS: [[&str; N_GRU_BLOCKS]; N_WINDOWS] = [
    [
        "encoder.first.cell.weight_ih",
        "encoder.first.cell.weight_hh",
        "encoder.first.cell.bias_ih",
        "encoder.first.cell.bias_hh",
    ],
    [
        "encoder.second.cell.weight_ih",
        "encoder.second.cell.weight_hh",
        "encoder.second.cell.bias_ih",
        "encoder.second.cell.bias_hh",
    ],
    [
        "encoder.third.cell.weight_ih",
        "encoder.third.cell.weight_hh",
        "encoder.third.cell.bias_ih",
        "encoder.third.cell.bias_hh",
    ],
];

impl Layout {
    /// The layout of a level's actor or critic (and of their targets).
    pub fn new(settings: &Settings, level: LevelKind, role: Role) -> Self {
        let model = &settings.model;
        let (n, w, k) = (model.n_dims, model.encoder_width, model.head_width);
        let n_heads = settings.n_heads(level);
        let d = w + settings.n_features(level);
        let n_windows = settings.windows(level).len();
        let blocks = Vec::new();
        let mut layout = Self { role, n_dims: n as i64, width: w as i64, n_windows, n_heads, blocks };
        for [weight_ih, weight_hh, bias_ih, bias_hh] in GRUS.into_iter().take(n_windows) {
            layout.push(weight_ih, None, &[3 * w, n], w);
            layout.push(weight_hh, None, &[3 * w, w], w);
            layout.push(bias_ih, None, &[3 * w], w);
            layout.push(bias_hh, None, &[3 * w], w);
        }
        let joined = n_windows * w;
        layout.push("encoder.merge.weight", None, &[w, joined], joined);
        layout.push("encoder.merge.bias", None, &[w], joined);
        let heads = Some(n_heads);
        match role {
            Role::Actor => {
                layout.push("weight", heads, &[n, d], d);
                layout.push("bias", heads, &[n], d);
            }
            Role::Critic => {
                layout.push("state.weight", heads, &[k, d], d);
                layout.push("state.bias", heads, &[k], d);
                layout.push("action.weight", heads, &[k, n], n);
                layout.push("out.weight", heads, &[1, k], k);
                layout.push("out.bias", heads, &[1], k);
                let affinity = settings.affinity(level);
                if affinity > 0 {
                    layout.push("affinity.projection", heads, &[affinity, n], n);
                    layout.push(AFFINITY_PLACE, heads, &[n_windows, model.window], 1);
                    let n_features = AFFINITY_FORMS * n_windows;
                    layout.push("affinity.weight", heads, &[k, n_features], n_features);
                }
            }
        }
        layout
    }

    fn push(&mut self, name: &'static str, n_heads: Option<usize>, shape: &[usize], fan_in: usize) {
        let shape = shape.iter().map(|&x| x as i64).collect();
        self.blocks.push(Block { name, n_heads, shape, offset: self.len(), fan_in });
    }

    /// Numbers in the flat vector.
    pub fn len(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.offset + block.len())
    }

    /// Whether there is no parameter at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every parameter by name, in the order of the flat vector.
    pub fn named(&self) -> Vec<Named> {
        let of = |block: &Block| match block.n_heads {
            None => {
                vec![Named { name: block.name.to_owned(), shape: block.shape.clone(), range: block.head(0) }]
            }
            Some(n_heads) => (0..n_heads)
                .map(|head| Named {
                    name: format!("heads.{head}.{}", block.name),
                    shape: block.shape.clone(),
                    range: block.head(head),
                })
                .collect(),
        };
        self.blocks.iter().flat_map(of).collect()
    }

    /// Blocks of the encoder: those of its GRUs, weight and bias of the merge.
    pub fn n_encoder_blocks(&self) -> usize {
        self.n_windows * N_GRU_BLOCKS + 2
    }

    /// The encoder's part of the flat vector.
    pub fn encoder_range(&self) -> Range<usize> {
        0..self.blocks[self.n_encoder_blocks()].offset
    }

    /// The parts of the flat vector that belong to one head.
    pub fn head_ranges(&self, head: usize) -> Vec<Range<usize>> {
        self.blocks[self.n_encoder_blocks()..].iter().map(|block| block.head(head)).collect()
    }
}

#[cfg(test)]
mod tests {
    use common::config::{Config, Preset};

    use super::*;

    #[test]
    fn encoder_and_heads_cover_the_flat_vector_once() {
        let settings = Settings::new(&Config::preset(Preset::Paper));
        for role in [Role::Actor, Role::Critic] {
            let layout = Layout::new(&settings, LevelKind::High, role);
            let mut count = vec![0; layout.len()];
            for range in (0..2).flat_map(|head| layout.head_ranges(head)).chain([layout.encoder_range()]) {
                range.for_each(|i| count[i] += 1);
            }
            assert!(count.iter().all(|&c| c == 1));
            let named: usize = layout.named().iter().map(|p| p.range.len()).sum();
            assert_eq!(named, layout.len());
        }
    }

    #[test]
    fn names_are_those_of_the_oracle() {
        let settings = Settings::new(&Config::preset(Preset::Paper));
        let names: Vec<_> = Layout::new(&settings, LevelKind::High, Role::Critic)
            .named()
            .into_iter()
            .map(|p| (p.name, p.shape))
            .collect();
        assert!(names.contains(&("encoder.second.cell.weight_ih".into(), vec![192, 50])));
        assert!(names.contains(&("heads.1.action.weight".into(), vec![64, 50])));
        assert!(names.contains(&("heads.0.out.bias".into(), vec![1])));
    }
}
