//! The state s (Eqs 3, 6). In: packed windows, two in the paper; out: `[B, w]`.

use tch::Tensor;

use super::{
    assert_shape,
    gru::{self, Gru},
    gru_stack,
    layout::N_GRU_BLOCKS,
    parameters::Parameters,
    window::{PackedWindow, PaddedWindow, Windows},
};

/// What the backward pass needs from the forward pass.
#[derive(Debug)]
pub struct Tape {
    grus: Grus,
    /// `[B, k w]` the last hidden states of the k GRUs, rows in the batch's order.
    joined: Tensor,
}

/// The tapes of an encoder's GRUs.
#[derive(Debug)]
enum Grus {
    /// One a window, packed.
    Packed(Vec<gru::Tape>),
    /// Of all of them, which ran side by side.
    SideBySide(gru_stack::Tape),
}

/// The GRUs of an encoder, one a window.
fn grus<'a>(parameters: &'a Parameters, windows: &Windows) -> Vec<Gru<'a>> {
    let n_windows = parameters.layout().n_windows;
    assert_eq!(windows.0.len(), n_windows, "an encoder reads a window a GRU");
    let gru = |blocks: &'a [Tensor]| {
        let [weight_ih, weight_hh, bias_ih, bias_hh] = blocks else {
            unreachable!("a GRU has four blocks, see the layout")
        };
        Gru { weight_ih, weight_hh, bias_ih, bias_hh }
    };
    parameters.blocks().chunks_exact(N_GRU_BLOCKS).take(n_windows).map(gru).collect()
}

/// Weight `[w, k w]` and bias `[w]` behind the k GRUs.
fn merge(parameters: &Parameters) -> (&Tensor, &Tensor) {
    let first = parameters.layout().n_windows * N_GRU_BLOCKS;
    (&parameters.blocks()[first], &parameters.blocks()[first + 1])
}

/// `s = W [h_first; h_second] + b`, no activation (Eqs 3, 6): `[B, w]`, of each of several networks that read the same windows.
/// Padded windows: all of their GRUs run side by side.
///
/// The paper's W_1 and W_2 lie side by side in W, so would a third one.
pub fn forward(networks: &[&Parameters], windows: &Windows) -> Vec<(Tensor, Tape)> {
    let padded: Option<Vec<&PaddedWindow>> = windows.0.iter().map(|window| window.padded.as_ref()).collect();
    let Some(padded) = padded else {
        return networks.iter().map(|parameters| forward_packed(parameters, windows)).collect();
    };
    let all: Vec<Gru<'_>> = networks.iter().flat_map(|parameters| grus(parameters, windows)).collect();
    let tape = gru_stack::forward(&all, &padded.repeat(networks.len()));
    let n_windows = padded.len() as i64;
    let of_network = |(number, parameters): (i64, &&Parameters)| {
        let part = tape.part(number * n_windows, n_windows);
        let w = merge(parameters).0.size()[0];
        let joined = part.last().transpose(0, 1).reshape([windows.n_rows(), n_windows * w]);
        join(parameters, joined, Grus::SideBySide(part))
    };
    (0..).zip(networks).map(of_network).collect()
}

fn forward_packed(parameters: &Parameters, windows: &Windows) -> (Tensor, Tape) {
    let tapes: Vec<gru::Tape> =
        grus(parameters, windows).iter().zip(&windows.0).map(|(gru, window)| gru.forward(window)).collect();
    let last = |(tape, window): (&gru::Tape, &PackedWindow)| tape.last(window).index_select(0, &window.rank);
    let joined = Tensor::cat(&tapes.iter().zip(&windows.0).map(last).collect::<Vec<_>>(), 1);
    join(parameters, joined, Grus::Packed(tapes))
}

fn join(parameters: &Parameters, joined: Tensor, grus: Grus) -> (Tensor, Tape) {
    let (merge, bias) = merge(parameters);
    // Eqs 3, 6
    let s = joined.linear(merge, Some(bias));
    (s, Tape { grus, joined })
}

/// Gradients of the encoder's blocks in the order of the layout, given that of s, `[B, w]`.
pub fn backward(parameters: &Parameters, windows: &Windows, tape: &Tape, d_s: &Tensor) -> Vec<Tensor> {
    let (merge, _) = merge(parameters);
    let w = merge.size()[0];
    assert_shape("d_s", d_s, &[windows.n_rows(), w]);
    let d_joined = d_s.mm(merge);
    let grus = grus(parameters, windows);
    let mut gradients = Vec::with_capacity(parameters.layout().n_encoder_blocks());
    match &tape.grus {
        Grus::Packed(tapes) => {
            for (k, gru) in grus.iter().enumerate() {
                let window = &windows.0[k];
                let d_last = d_joined.narrow(1, k as i64 * w, w).index_select(0, &window.order);
                gradients.extend(gru.backward(window, &tapes[k], &d_last));
            }
        }
        Grus::SideBySide(tape) => {
            let d_last = d_joined.view([windows.n_rows(), grus.len() as i64, w]).transpose(0, 1);
            gradients.extend(gru_stack::backward(&grus, tape, &d_last).into_iter().flatten());
        }
    }
    gradients.push(d_s.tr().mm(&tape.joined));
    gradients.push(d_s.sum_dim_intlist([0_i64].as_slice(), false, None));
    gradients
}

#[cfg(test)]
mod tests {
    use common::{
        ItemId,
        config::{Config, CriticOutput, Preset},
        seed::Streams,
    };
    use rand::RngExt;
    use tch::{Device, Kind};

    use super::*;
    use crate::algorithm::{
        initial,
        layout::{Layout, Role},
        settings::{LevelKind, Settings},
        window::Packing,
    };

    const N: usize = 5;
    const V: i64 = 20;

    fn forward(parameters: &Parameters, windows: &Windows) -> (Tensor, Tape) {
        super::forward(&[parameters], windows).remove(0)
    }

    fn parameters() -> Parameters {
        let mut config = Config::preset(Preset::Paper);
        (config.model.n_dims, config.model.encoder_width) = (6, 7);
        let layout = Layout::new(&Settings::new(&config), LevelKind::Low, Role::Actor);
        let streams = Streams::new(1, "test");
        let values = initial::values(&layout, CriticOutput::Linear, &streams, 0);
        Parameters::of(layout, &values, Kind::Double, Device::Cpu)
    }

    fn items() -> Tensor {
        let mut rng = Streams::new(2, "items").sequential();
        let values: Vec<f64> = (0..V * 6).map(|_| rng.random::<f64>() * 4.0 - 2.0).collect();
        Tensor::from_slice(&values).view([V, 6])
    }

    fn ragged(batch: usize, seed: u64) -> Vec<Vec<ItemId>> {
        let mut rng = Streams::new(seed, "windows").sequential();
        let mut window = || {
            let length = rng.random_range(0..=N);
            let mut ids = vec![ItemId::PADDING; N - length];
            ids.extend((0..length).map(|_| ItemId(rng.random_range(0..V as u32))));
            ids
        };
        (0..batch).map(|_| window()).collect()
    }

    fn packed(first: &[Vec<ItemId>], second: &[Vec<ItemId>], items: &Tensor) -> Windows {
        let pack = |windows: &[Vec<ItemId>]| Packing::new(N, windows.iter().map(Vec::as_slice)).gather(items);
        Windows(vec![pack(first), pack(second)])
    }

    fn padded(first: &[Vec<ItemId>], second: &[Vec<ItemId>], items: &Tensor) -> Windows {
        let pad = |windows: &[Vec<ItemId>]| {
            Packing::new(N, windows.iter().map(Vec::as_slice)).gather_padded(N, items)
        };
        Windows(vec![pad(first), pad(second)])
    }

    /// The same by autograd, a row at a time, step by step with the mask of the padding rule.
    fn plain(blocks: &[Tensor], items: &Tensor, first: &[Vec<ItemId>], second: &[Vec<ItemId>]) -> Tensor {
        let gru = |p: &[Tensor], windows: &[Vec<ItemId>]| {
            let mut h = Tensor::zeros([windows.len() as i64, 7], (Kind::Double, Device::Cpu));
            for t in 0..N {
                let at = |w: &Vec<ItemId>| if w[t].is_padding() { 0 } else { i64::from(w[t].0) };
                let ids: Vec<i64> = windows.iter().map(at).collect();
                let real: Vec<f64> =
                    windows.iter().map(|w| if w[t].is_padding() { 0.0 } else { 1.0 }).collect();
                let m = Tensor::from_slice(&real).unsqueeze(1);
                let x = items.index_select(0, &Tensor::from_slice(&ids));
                let next = x.gru_cell(&h, &p[0], &p[1], Some(&p[2]), Some(&p[3]));
                h = &m * next + (1.0 - &m) * h;
            }
            h
        };
        Tensor::cat(&[gru(&blocks[..4], first), gru(&blocks[4..8], second)], 1)
            .linear(&blocks[8], Some(&blocks[9]))
    }

    #[track_caller]
    fn assert_close(name: &str, a: &Tensor, b: &Tensor) {
        let error = (a - b).abs().max().double_value(&[]);
        assert!(error < 1e-13 * b.abs().max().double_value(&[]).max(1.0), "{name}: {error:e}");
    }

    #[test]
    fn forward_and_backward_agree_with_autograd() {
        let (parameters, items) = (parameters(), items());
        for (first, second) in [
            (ragged(17, 3), ragged(17, 4)),
            (ragged(1, 5), ragged(1, 6)),
            // An order window that is empty in every row.
            (ragged(9, 7), vec![vec![ItemId::PADDING; N]; 9]),
        ] {
            let leaves: Vec<Tensor> = parameters.blocks()[..parameters.layout().n_encoder_blocks()]
                .iter()
                .map(|p| p.detach().copy().set_requires_grad(true))
                .collect();
            let expected = plain(&leaves, &items, &first, &second);
            let loss = (&expected * expected.sin()).sum(None);
            let expected_gradients = Tensor::run_backward(&[loss], &leaves, false, false);
            for windows in [packed(&first, &second, &items), padded(&first, &second, &items)] {
                let (s, tape) = forward(&parameters, &windows);
                assert_close("s", &s, &expected.detach());
                let d_s = {
                    let leaf = s.detach().set_requires_grad(true);
                    let loss = (&leaf * leaf.sin()).sum(None);
                    Tensor::run_backward(&[loss], &[leaf], false, false).remove(0)
                };
                let gradients = backward(&parameters, &windows, &tape, &d_s);
                for ((a, b), block) in
                    gradients.iter().zip(&expected_gradients).zip(&parameters.layout().blocks)
                {
                    assert_close(block.name, a, b);
                }
            }
        }
    }

    #[test]
    fn several_networks_side_by_side_are_the_same_as_each_by_itself() {
        let (one, items) = (parameters(), items());
        let other = one.copy();
        let _ = other.flat().shallow_clone().g_mul_scalar_(-0.7);
        let (first, second) = (ragged(17, 3), ragged(17, 4));
        let (packed, padded) = (packed(&first, &second, &items), padded(&first, &second, &items));
        let together = super::forward(&[&one, &other], &padded);
        for (parameters, (s, tape)) in [&one, &other].into_iter().zip(&together) {
            let (expected, alone) = forward(parameters, &packed);
            assert_close("s", s, &expected);
            let d_s = expected.sin();
            let expected = backward(parameters, &packed, &alone, &d_s);
            for (a, b) in backward(parameters, &padded, tape, &d_s).iter().zip(&expected) {
                assert_close("gradient", a, b);
            }
        }
    }

    #[test]
    fn padding_is_neutral() {
        let (parameters, items) = (parameters(), items());
        let three = [ItemId(3), ItemId(9), ItemId(4)];
        let s = |n: usize| {
            let mut window = vec![ItemId::PADDING; n - 3];
            window.extend(three);
            let pack = || Packing::new(n, std::iter::once(window.as_slice())).gather(&items);
            forward(&parameters, &Windows(vec![pack(), pack()])).0
        };
        assert_eq!(s(3), s(5));
        assert_eq!(s(3), s(10));
    }

    #[test]
    fn a_row_does_not_depend_on_its_batch() {
        let (parameters, items) = (parameters(), items());
        let (first, second) = (ragged(33, 8), ragged(33, 9));
        let (all, _) = forward(&parameters, &packed(&first, &second, &items));
        for row in 0..33 {
            let alone = packed(&first[row..=row], &second[row..=row], &items);
            let (one, _) = forward(&parameters, &alone);
            assert_close("s", &one, &all.narrow(0, row as i64, 1));
        }
    }
}
