//! Logits, losses and gradients against an independent program.

use serde::Deserialize;

use super::{
    model::{Model, Partial, factor_gradient, log_loss},
    *,
};

/// What learner/tests/golden/fm.py wrote.
#[derive(Deserialize)]
struct Golden {
    factors: usize,
    bias: f32,
    linear: Vec<f32>,
    factorised: Vec<f32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    features: Vec<Feature>,
    label: bool,
    logit: f32,
    loss: f32,
    d_bias: f32,
    d_linear: Vec<f32>,
    d_factorised: Vec<f32>,
}

#[track_caller]
fn assert_close(name: &str, found: &[f32], expected: &[f32]) {
    for (k, (found, expected)) in found.iter().zip(expected).enumerate() {
        // f32 here, f64 there.
        let allowed = 1e-5 * expected.abs().max(1.0);
        assert!((found - expected).abs() < allowed, "{name}[{k}]: {found}, expected {expected}");
    }
}

#[test]
fn logits_and_gradients_are_those_of_an_independent_program() {
    let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/fm.json")).unwrap();
    let Golden { factors, bias, linear, factorised, cases } = golden;
    let model = Model { factors, bias, linear, factorised };
    for case in cases {
        let mut all = Partial::default();
        model.sum_up(&case.features, &mut all);
        // A pair of groups adds up to the same as all features at once.
        let (first, second) = case.features.split_at(2);
        let (mut a, mut b) = (Partial::default(), Partial::default());
        model.sum_up(first, &mut a);
        model.sum_up(second, &mut b);
        let logit = model.bias + all.logit;
        assert_close("logit", &[logit, model.join(&a, &b)], &[case.logit; 2]);
        let (loss, slope) = log_loss(logit, case.label);
        assert_close("loss, d_bias", &[loss, slope], &[case.loss, case.d_bias]);
        let mut d_linear = vec![0.0; model.linear.len()];
        let mut d_factorised = vec![0.0; model.factorised.len()];
        for &(index, x) in &case.features {
            d_linear[index as usize] = slope * x;
            for f in 0..factors {
                let at = index as usize * factors + f;
                d_factorised[at] = slope * factor_gradient(x, all.sum[f], model.factorised[at]);
            }
        }
        assert_close("d_linear", &d_linear, &case.d_linear);
        assert_close("d_factorised", &d_factorised, &case.d_factorised);
    }
}

#[test]
fn a_setting_outside_its_range_is_named() {
    let bad = FmSettings { decay: -1.0, ..FmSettings::of(Budget::Full) };
    assert_eq!(bad.validate().unwrap_err().to_string(), "fm: `decay` is -1, expected 0 to 1");
}
