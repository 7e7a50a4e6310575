//! The parameters of one network, in one flat tensor. In: a layout; out: views of it by block and by name.
//!
//! One flat tensor makes Adam and the soft update a handful of operations however many parameters there are. The views
//! share its memory: whoever writes to the flat tensor in place has written to all of them. Owner: the engine's thread.

use tch::{Device, Kind, Tensor};

use super::layout::{Block, Layout};

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

    /// These values, in the layout's order.
    pub fn of(layout: Layout, values: &[f64], kind: Kind, device: Device) -> Self {
        let parameters = Self::zeros(layout, kind, device);
        parameters.flat.shallow_clone().copy_(&Tensor::from_slice(values));
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
