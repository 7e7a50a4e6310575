//! Fitting by AdaGrad, a row at a time.
//!
//! In: rows; out: the model that minimises the log loss of "clicked" over them, orders weighing 5, plus L2 on what a row
//! touches. Plain Rust, one thread, rows in an order fixed by the seed.

use common::{Feedback, ItemTable, seed::Streams};

use super::{
    FmSettings, NAME,
    features::Fields,
    model::{Feature, Model, Partial, factor_gradient, log_loss},
};
use crate::baselines::{Error, OnProgress, Progress, method::report, rows::Rows};

/// Keeps the first steps of AdaGrad finite.
const EPSILON: f32 = 1e-8;

/// Sums of squared gradients, in the layout of [`Model`].
struct AdaGrad {
    rate: f32,
    bias: f32,
    linear: Vec<f32>,
    factorised: Vec<f32>,
}

/// One step of AdaGrad (Duchi et al. 2011) on one parameter.
fn move_by(parameter: &mut f32, gradient: f32, squares: &mut f32, rate: f32) {
    *squares += gradient * gradient;
    *parameter -= rate * gradient / (squares.sqrt() + EPSILON);
}

/// Fits a model.
pub(super) fn fit(
    rows: &Rows,
    fields: &Fields,
    settings: &FmSettings,
    seed: u64,
    progress: &mut OnProgress<'_>,
) -> Result<Model, Error> {
    let n_features = fields.n_features();
    let streams = Streams::new(seed, "fm/initial");
    let mut model = Model::new(n_features, settings.factors, settings.deviation, &streams);
    let mut adagrad = AdaGrad {
        rate: settings.learning_rate,
        bias: 0.0,
        linear: vec![0.0; n_features],
        factorised: vec![0.0; n_features * settings.factors],
    };
    let shuffles = Streams::new(seed, "fm/shuffle");
    let mut partial = Partial::default();
    let mut features: Vec<Feature> = Vec::new();
    for pass in 0..settings.passes {
        let mut loss_sum = 0.0;
        for row in rows.shuffled(&shuffles, pass) {
            features.clear();
            fields.of_state(Some(rows.users[row]), rows.windows(row), &mut features);
            fields.of_item(rows.items[row], &mut features);
            let feedback = rows.feedback[row];
            loss_sum +=
                f64::from(adagrad.step(&mut model, &features, feedback, settings.decay, &mut partial));
        }
        let loss = loss_sum / rows.len() as f64;
        report(NAME, progress, Progress { done: pass + 1, total: settings.passes, loss })?;
    }
    Ok(model)
}

impl AdaGrad {
    /// Learns from a row; its weighted loss before the step.
    fn step(
        &mut self,
        model: &mut Model,
        features: &[Feature],
        feedback: Feedback,
        decay: f32,
        partial: &mut Partial,
    ) -> f32 {
        model.sum_up(features, partial);
        let weight = feedback.reward().max(1.0);
        let (loss, slope) = log_loss(model.bias + partial.logit, feedback.clicked());
        let slope = weight * slope;
        move_by(&mut model.bias, slope, &mut self.bias, self.rate);
        let k = model.factors;
        for &(index, x) in features {
            let i = index as usize;
            let gradient = slope * x + decay * model.linear[i];
            move_by(&mut model.linear[i], gradient, &mut self.linear[i], self.rate);
            let factors = model.factorised[i * k..][..k].iter_mut();
            let squares = self.factorised[i * k..][..k].iter_mut();
            for ((v, square), sum) in factors.zip(squares).zip(&partial.sum) {
                let gradient = slope * factor_gradient(x, *sum, *v) + decay * *v;
                move_by(v, gradient, square, self.rate);
            }
        }
        weight * loss
    }
}

/// `[V]` what each item adds up to.
pub(super) fn sum_up_items(model: &Model, fields: &Fields, items: &ItemTable) -> Vec<Partial> {
    let mut features = Vec::new();
    let of_item = |item| {
        features.clear();
        fields.of_item(common::ItemId(item), &mut features);
        let mut partial = Partial::default();
        model.sum_up(&features, &mut partial);
        partial
    };
    (0..items.n_items() as u32).map(of_item).collect()
}
