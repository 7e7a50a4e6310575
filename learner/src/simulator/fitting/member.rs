//! Training one member of the ensemble.
//!
//! In: samples, who is learned from and who decides; out: the parameters with the best held-out log loss, calibrated.
//! Minibatches are made of shuffled runs of neighbouring impressions: neighbours share windows, and a run is short enough
//! not to dominate a batch. Cross-entropy without class weights, because the probabilities must be true.

use std::ops::ControlFlow;

use common::seed::Streams;
use rand::seq::SliceRandom;
use tch::Tensor;

use super::{
    Error, Options, Progress,
    batch::Batch,
    calibrate::Calibration,
    catalogue::Catalogue,
    dataset::positive_rates,
    metrics::{self, Probabilities},
    network::{Network, OUTPUT, Sizes},
    report::MemberReport,
    samples::Samples,
};
use crate::algorithm::adam::Adam;

/// Neighbouring impressions that stay together in a shuffle.
const RUN: usize = 8;
/// Rows of a forward pass without gradient.
const INFERENCE_ROWS: usize = 4096;

/// What every member learns from.
pub(super) struct Task<'a> {
    pub(super) samples: &'a Samples,
    pub(super) sizes: Sizes,
    pub(super) options: &'a Options,
    /// Rows to learn from, ascending.
    pub(super) fit: Vec<usize>,
    /// Rows to stop and calibrate by, ascending.
    pub(super) calibrate: Vec<usize>,
}

/// A trained member: its parameters as they are written, in the order of [`Sizes::blocks`].
pub(super) struct Member {
    pub(super) tensors: Vec<Vec<f32>>,
    pub(super) report: MemberReport,
}

impl Task<'_> {
    /// Trains member `number`. `progress` is called after every pass and may stop the fit.
    pub(super) fn train(
        &self,
        catalogue: &Catalogue,
        number: usize,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Member, Error> {
        let options = self.options;
        let initial = Streams::new(options.seed, "simulator/initial");
        let shuffles = Streams::new(options.seed, "simulator/shuffle");
        let network = Network::initial(&self.sizes, &initial, number as u64);
        let mut adam = Adam::single(options.learning_rate, network.flat());
        let held_out = self.samples.feedback(&self.calibrate);
        let mut runs: Vec<&[usize]> =
            self.fit.chunk_by(|a, b| a + 1 == *b).flat_map(|neighbours| neighbours.chunks(RUN)).collect();
        let mut best = (f64::INFINITY, 0, network.flat().copy());
        let mut passes = 0;
        while passes < options.epochs && passes < best.1 + options.patience {
            runs.shuffle(&mut shuffles.long(number as u64, passes as u64));
            let loss = self.pass(catalogue, &network, &mut adam, &runs);
            passes += 1;
            let logits = self.logits(catalogue, &network, &self.calibrate);
            let held_out_loss = metrics::log_loss(&probabilities(&logits), &held_out);
            if held_out_loss < best.0 {
                best = (held_out_loss, passes, network.flat().copy());
            }
            let ended = passes >= options.epochs || passes >= best.1 + options.patience;
            let report = Progress { member: number, pass: passes, ended, loss, held_out_loss };
            tracing::debug!(?report, "a pass over the log");
            if progress(report).is_break() {
                return Err(Error::Interrupted);
            }
            if !loss.is_finite() {
                return Err(Error::Diverged { member: number, pass: passes });
            }
        }
        let (held_out_loss, best_pass, flat) = best;
        let network = Network::from_flat(&self.sizes, flat);
        let calibration = self.calibrate(catalogue, &network);
        Ok(Member {
            tensors: calibrated(&network, &calibration),
            report: MemberReport {
                passes,
                best_pass,
                held_out_loss,
                temperature: 1.0 / calibration.scale,
                bias: calibration.bias,
            },
        })
    }

    /// One pass over shuffled runs, as many as `max_samples` allows; returns the mean loss.
    fn pass(&self, catalogue: &Catalogue, network: &Network, adam: &mut Adam, runs: &[&[usize]]) -> f64 {
        let (mut loss_sum, mut n_rows) = (0.0, 0);
        let mut rows = Vec::with_capacity(self.options.batch + RUN);
        let mut runs = runs.iter().peekable();
        while let Some(run) = runs.next() {
            rows.extend_from_slice(run);
            let is_last = runs.peek().is_none() || n_rows + rows.len() >= self.options.max_samples;
            if rows.len() < self.options.batch && !is_last {
                continue;
            }
            let batch = Batch::gather(self.samples, &rows, &catalogue.embeddings);
            let (loss, gradient) = network.gradient(catalogue, &batch);
            adam.step(0, network.flat(), &gradient);
            loss_sum += loss * rows.len() as f64;
            n_rows += rows.len();
            rows.clear();
            if is_last {
                break;
            }
        }
        loss_sum / n_rows.max(1) as f64
    }

    /// Logits of some rows.
    fn logits(&self, catalogue: &Catalogue, network: &Network, rows: &[usize]) -> Vec<Probabilities> {
        let mut logits = vec![[0.0; 3]; rows.len()];
        tch::no_grad(|| {
            for (rows, logits) in rows.chunks(INFERENCE_ROWS).zip(logits.chunks_mut(INFERENCE_ROWS)) {
                let batch = Batch::gather(self.samples, rows, &catalogue.embeddings);
                let of_batch = network.logits(catalogue, &batch).contiguous();
                of_batch.copy_data(logits.as_flattened_mut(), 3 * rows.len());
            }
        });
        logits
    }

    fn calibrate(&self, catalogue: &Catalogue, network: &Network) -> Calibration {
        let held_out = self.logits(catalogue, network, &self.calibrate);
        let happened = self.samples.feedback(&self.calibrate);
        // Not the judged rows: their rates are what the report compares with.
        let mut seen_rows = [&self.fit[..], &self.calibrate].concat();
        seen_rows.sort_unstable();
        let seen = self.logits(catalogue, network, &seen_rows);
        let rates = positive_rates(&self.samples.feedback(&seen_rows));
        Calibration::fit((&held_out, &happened), &seen, rates)
    }
}

fn probabilities(logits: &[Probabilities]) -> Vec<Probabilities> {
    let uncalibrated = Calibration { scale: 1.0, bias: [0.0; 3] };
    logits.iter().map(|row| uncalibrated.apply(row).map(|p| p as f32)).collect()
}

/// The parameters with the calibration folded into the output layer.
fn calibrated(network: &Network, calibration: &Calibration) -> Vec<Vec<f32>> {
    let values = |tensor: &Tensor| -> Vec<f32> {
        let mut values = vec![0.0; tensor.numel()];
        tensor.contiguous().copy_data(&mut values, tensor.numel());
        values
    };
    let mut tensors: Vec<Vec<f32>> = network.views().iter().map(values).collect();
    let scale = calibration.scale as f32;
    tensors[OUTPUT].iter_mut().for_each(|weight| *weight *= scale);
    for (bias, shift) in tensors[OUTPUT + 1].iter_mut().zip(calibration.bias) {
        *bias = scale * *bias + shift as f32;
    }
    tensors
}
