//! The parameters of one network, in one flat tensor. In: a layout; out: views of it by block and by name.
//!
//! One flat tensor makes Adam and the soft update a handful of operations however many parameters there are. The views
//! share its memory: whoever writes to the flat tensor in place has written to all of them. Owner: the engine's thread.

use common::{config::CriticOutput, seed::Streams};
use rand::RngExt;
use tch::{Device, Kind, Tensor};

use super::layout::{Block, Layout, Role};

/// One network's parameters.
#[derive(Debug)]
pub struct Parameters {
    layout: Layout,
    flat: Tensor,
    blocks: Vec<Tensor>,
}

/// A view `[...]` of a part of a flat vector.
fn view(flat: &Tensor, block: &Block) -> Tensor {
    flat.narrow(0, block.offset as i64, block.len() as i64).view(block.block_shape().as_slice())
}

impl Parameters {
    /// All zero.
    pub fn zeros(layout: Layout, kind: Kind, device: Device) -> Self {
        let flat = Tensor::zeros([layout.len() as i64], (kind, device));
        let blocks = layout.blocks.iter().map(|block| view(&flat, block)).collect();
        Self { layout, flat, blocks }
    }

    /// PyTorch's default initialisation: uniform in +-1/sqrt(fan in), for GRUs in +-1/sqrt(w).
    ///
    /// The draws come from `streams` alone (session = `stream` x 1,000 + parameter), never from torch's generator. With
    /// a ReLU on the critic's output its bias starts at +1, else about half of all inputs give exactly 0 (D2).
    pub fn initial(
        layout: Layout,
        output: CriticOutput,
        streams: &Streams,
        stream: u64,
        kind: Kind,
        device: Device,
    ) -> Self {
        let mut values = vec![0.0_f64; layout.len()];
        for (number, block) in layout.blocks.iter().enumerate() {
            let mut rng = streams.at(stream * 1_000 + number as u64, 0);
            let limit = 1.0 / (block.fan_in as f64).sqrt();
            let alive =
                layout.role == Role::Critic && output == CriticOutput::Relu && block.name == "out.bias";
            for value in &mut values[block.offset..][..block.len()] {
                *value = if alive { 1.0 } else { limit * (2.0 * rng.random::<f64>() - 1.0) };
            }
        }
        let parameters = Self::zeros(layout, kind, device);
        parameters.flat.shallow_clone().copy_(&Tensor::from_slice(&values));
        parameters
    }

    /// Parameters of their own with the same values.
    pub fn copy(&self) -> Self {
        let copy = Self::zeros(self.layout.clone(), self.flat.kind(), self.flat.device());
        copy.flat.shallow_clone().copy_(&self.flat);
        copy
    }

    /// Names, shapes and places.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// `[len]`, all of them; writing to it in place changes every view.
    pub fn flat(&self) -> &Tensor {
        &self.flat
    }

    /// The views, in the order of [`Layout::blocks`].
    pub fn blocks(&self) -> &[Tensor] {
        &self.blocks
    }
}

#[cfg(test)]
mod tests {
    use common::config::{Config, Preset};

    use super::*;
    use crate::algorithm::settings::{LevelKind, Settings};

    fn critic(seed: u64, output: CriticOutput) -> Parameters {
        let settings = Settings::new(&Config::preset(Preset::Paper));
        let layout = Layout::new(&settings, LevelKind::High, Role::Critic);
        Parameters::initial(layout, output, &Streams::new(seed, "test"), 3, Kind::Double, Device::Cpu)
    }

    #[test]
    fn initial_values_depend_on_the_seed_alone() {
        tch::manual_seed(1);
        let one = critic(5, CriticOutput::Linear);
        tch::manual_seed(2);
        assert_eq!(one.flat(), critic(5, CriticOutput::Linear).flat());
        assert_ne!(one.flat(), critic(6, CriticOutput::Linear).flat());
    }

    #[test]
    fn initial_values_fill_pytorchs_range() {
        let parameters = critic(5, CriticOutput::Linear);
        for (block, view) in parameters.layout().blocks.iter().zip(parameters.blocks()) {
            let limit = 1.0 / (block.fan_in as f64).sqrt();
            let most = view.abs().max().double_value(&[]);
            assert!(most <= limit, "{} reaches {most}", block.name);
            if block.len() > 1_000 {
                assert!(most > 0.98 * limit && view.mean(None).double_value(&[]).abs() < 0.1 * limit);
            }
        }
    }

    #[test]
    fn relu_critics_start_with_an_output_bias_of_one() {
        let bias = |output| critic(5, output).blocks()[14].shallow_clone();
        assert_eq!(bias(CriticOutput::Relu), Tensor::ones([2, 1], (Kind::Double, Device::Cpu)));
        assert!(bias(CriticOutput::Linear).abs().max().double_value(&[]) < 1.0);
        assert!(bias(CriticOutput::Softplus).abs().max().double_value(&[]) < 1.0);
    }

    #[test]
    fn a_copy_has_memory_of_its_own() {
        let one = critic(5, CriticOutput::Linear);
        let copy = one.copy();
        let _ = one.flat().shallow_clone().zero_();
        assert!(copy.flat().abs().max().double_value(&[]) > 0.0);
        assert_eq!(one.blocks()[0].abs().max().double_value(&[]), 0.0);
    }
}
