//! The kernels of training at every level of this CPU against plain f64, over odd sizes; gradients against differences.

mod support;

use kernels::{AdamState, AdamStep, Level, RowMajor, RowMajorMut, adam, critic, gru::training, reduce};
use proptest::prelude::*;
use support::{close, numbers};

/// Half the distance of a central difference in f64.
const STEP: f64 = 1e-5;

/// h' of one unit from its four parts before their nonlinearities (r, z, W_hn h + b_hn, n) and h.
fn unit([r, z, hidden, new, h]: [f64; 5]) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let n = (new + sigmoid(r) * hidden).tanh();
    (1.0 - sigmoid(z)) * n + sigmoid(z) * h
}

fn rows_of(data: &mut [f32], stride: usize) -> RowMajorMut<'_> {
    RowMajorMut { data, stride }
}

/// The gradient of `f` at `x` by central differences.
fn differences<const N: usize>(f: impl Fn([f64; N]) -> f64, x: [f64; N]) -> [f64; N] {
    std::array::from_fn(|i| {
        let (mut above, mut below) = (x, x);
        (above[i], below[i]) = (x[i] + STEP, x[i] - STEP);
        (f(above) - f(below)) / (2.0 * STEP)
    })
}

/// Mean 0, variance 1, then a loss that weighs the numbers.
fn normalised_loss(x: &[f64], weights: &[f32], epsilon: f64) -> f64 {
    let k = x.len() as f64;
    let mean = x.iter().sum::<f64>() / k;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / k;
    x.iter().zip(weights).map(|(x, w)| (x - mean) / (variance + epsilon).sqrt() * f64::from(*w)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_gru_step_and_its_gradient_are_those_of_the_equations(
        rows in 0usize..9, w in 1usize..40, gap in 0usize..3, seed: u64,
    ) {
        let stride = 4 * w + gap;
        let parts: Vec<f32> = numbers(seed, rows * stride).iter().map(|x| 3.0 * x).collect();
        let (h, d) = (numbers(seed ^ 1, rows * w), numbers(seed ^ 2, rows * w));
        for level in Level::available() {
            let (mut gates, mut hidden, mut before) = (parts.clone(), h.clone(), vec![0.0; rows * w]);
            training::step_forward(level, (rows, w), rows_of(&mut gates, stride), &mut hidden, Some(&mut before));
            prop_assert_eq!(&before, &h);
            let (mut unsaved, mut again) = (parts.clone(), h.clone());
            training::step_forward(level, (rows, w), rows_of(&mut unsaved, stride), &mut again, None);
            prop_assert_eq!((&again, &unsaved), (&hidden, &gates), "keeping changes nothing");
            let mut d_hidden = d.clone();
            training::step_backward(level, (rows, w), rows_of(&mut gates, stride), &before, &mut d_hidden);
            for i in 0..rows {
                for j in 0..w {
                    let at = i * w + j;
                    let part = |p: usize| i * stride + p * w + j;
                    let x = [parts[part(0)], parts[part(1)], parts[part(2)], parts[part(3)], h[at]].map(f64::from);
                    prop_assert!(close(hidden[at], unit(x), 1.0), "{}: {} {}", level, hidden[at], unit(x));
                    let expected = differences(unit, x).map(|g| g * f64::from(d[at]));
                    let found = [gates[part(0)], gates[part(1)], gates[part(2)], gates[part(3)], d_hidden[at]];
                    for (found, expected) in found.into_iter().zip(expected) {
                        prop_assert!(close(found, expected, 3.0), "{} row {i} unit {j}: {found} {expected}", level);
                    }
                }
                prop_assert_eq!(&gates[i * stride + 4 * w..][..gap], &parts[i * stride + 4 * w..][..gap]);
            }
        }
    }

    #[test]
    fn adam_follows_the_published_recursion(n in 0usize..70, scale in 0.1f32..1.0, tau in 0.0f32..=1.0, seed: u64) {
        let start = numbers(seed, n);
        for level in Level::available() {
            let [mut p, mut m, mut v, mut target] = [start.clone(), vec![0.0; n], vec![0.0; n], numbers(seed ^ 1, n)];
            let mut exact: Vec<[f64; 4]> =
                start.iter().zip(&target).map(|(p, t)| [f64::from(*p), 0.0, 0.0, f64::from(*t)]).collect();
            for t in 1..=5 {
                let mut g = numbers(seed ^ (t as u64 + 2), n);
                for (g, [p, m, v, target]) in g.iter().zip(&mut exact) {
                    let g = f64::from(*g) * f64::from(scale);
                    *m = 0.9 * *m + 0.1 * g;
                    *v = 0.999 * *v + 0.001 * g * g;
                    let (m_hat, v_hat) = (*m / (1.0 - 0.9f64.powi(t)), *v / (1.0 - 0.999f64.powi(t)));
                    *p -= 1e-2 * m_hat / (v_hat.sqrt() + 1e-8);
                    *target = f64::from(tau) * *p + (1.0 - f64::from(tau)) * *target;
                }
                let step = AdamStep {
                    rate: (1e-2 / (1.0 - 0.9f64.powi(t))) as f32,
                    correction: (1.0 / (1.0 - 0.999f64.powi(t)).sqrt()) as f32,
                    scale, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8,
                };
                let state = AdamState { parameters: &mut p, gradient: &mut g, mean: &mut m, square: &mut v };
                adam(level, step, state, Some((&mut target, tau)));
                prop_assert!(g.iter().all(|g| *g == 0.0));
            }
            for (i, [exact, _, _, exact_target]) in exact.into_iter().enumerate() {
                prop_assert!(close(p[i], exact, 10.0), "{}: {} {exact}", level, p[i]);
                prop_assert!(close(target[i], exact_target, 10.0), "{}: {} {exact_target}", level, target[i]);
            }
        }
    }

    #[test]
    fn sums_and_the_transpose_are_the_naive_ones(m in 0usize..40, n in 0usize..90, gap in 0usize..3, seed: u64) {
        let (stride, before) = (n + gap, numbers(seed ^ 1, n));
        let a = numbers(seed, m * stride);
        for level in Level::available() {
            let mut sums = before.clone();
            reduce::add_column_sums(level, (m, n), RowMajor { data: &a, stride }, &mut sums);
            for j in 0..n {
                let expected = f64::from(before[j]) + (0..m).map(|i| f64::from(a[i * stride + j])).sum::<f64>();
                prop_assert!(close(sums[j], expected, 1.0 + m as f64));
            }
            let squares: f64 = a.iter().map(|x| f64::from(*x).powi(2)).sum();
            prop_assert!((reduce::sum_of_squares(level, &a) - squares).abs() <= 2e-6 * (1.0 + squares));
        }
        for level in Level::available() {
            let mut out = vec![0.0; m * stride];
            reduce::transpose_into(level, (m, stride), &a, &mut out);
            for i in 0..m {
                for j in 0..stride {
                    prop_assert_eq!(out[j * m + i], a[i * stride + j]);
                }
            }
        }
    }

    #[test]
    fn the_way_back_through_a_tanh_is_its_slope(m in 0usize..6, n in 1usize..40, seed: u64) {
        let (t, d) = (numbers(seed, m * n), numbers(seed ^ 1, m * n));
        for level in Level::available() {
            let mut x = d.clone();
            let matrix = RowMajorMut { data: &mut x, stride: n };
            reduce::tanh_backward(level, (m, n), 1.94, RowMajor { data: &t, stride: n }, matrix);
            for i in 0..m * n {
                let (t, d) = (f64::from(t[i]), f64::from(d[i]));
                prop_assert!(close(x[i], d * 1.94 * (1.0 - t * t), 2.0));
            }
        }
    }

    #[test]
    fn a_critics_output_and_its_gradients_are_the_naive_ones(
        m in 0usize..20, k in 1usize..40, gap in 0usize..3, seed: u64,
    ) {
        let stride = k + gap;
        let (start, weights, d_out) = (numbers(seed, m * stride), numbers(seed ^ 1, k), numbers(seed ^ 2, m));
        let before = numbers(seed ^ 3, k);
        for level in Level::available() {
            let (mut hidden, mut out, mut d_weights) = (start.clone(), vec![0.0; m], before.clone());
            critic::output(level, RowMajorMut { data: &mut hidden, stride }, &weights, &mut out);
            let after = hidden.clone();
            let matrix = RowMajorMut { data: &mut hidden, stride };
            critic::output_backward(level, matrix, &d_out, &weights, Some(&mut d_weights));
            for i in 0..m {
                let row = &start[i * stride..][..stride];
                let value: f64 =
                    row.iter().zip(&weights).map(|(x, w)| f64::from(x.max(0.0)) * f64::from(*w)).sum();
                prop_assert!(close(out[i], value, k as f64));
                for j in 0..stride {
                    let at = i * stride + j;
                    let expected = if j >= k { row[j] } else if row[j] > 0.0 { d_out[i] * weights[j] } else { 0.0 };
                    prop_assert_eq!(hidden[at], expected);
                    prop_assert_eq!(after[at], if j >= k { row[j] } else { row[j].max(0.0) });
                }
            }
            for j in 0..k {
                let sum = |i: usize| f64::from(d_out[i]) * f64::from(start[i * stride + j].max(0.0));
                let expected = f64::from(before[j]) + (0..m).map(sum).sum::<f64>();
                prop_assert!(close(d_weights[j], expected, 1.0 + m as f64));
            }
        }
    }

    #[test]
    fn normalised_rows_and_their_gradient_are_those_of_the_definition(
        m in 0usize..5, k in 2usize..40, gap in 0usize..3, seed: u64,
    ) {
        let (stride, epsilon) = (k + gap, 1e-2);
        let (start, d) = (numbers(seed, m * stride), numbers(seed ^ 1, m * stride));
        for level in Level::available() {
            let (mut hidden, mut deviation, mut gradient) = (start.clone(), vec![0.0; m], d.clone());
            let matrix = RowMajorMut { data: &mut hidden, stride };
            critic::normalise(level, k, epsilon as f32, matrix, &mut deviation);
            let normalised = RowMajor { data: &hidden, stride };
            let matrix = RowMajorMut { data: &mut gradient, stride };
            critic::normalise_backward(level, k, normalised, &deviation, matrix);
            for i in 0..m {
                let x: Vec<f64> = start[i * stride..][..k].iter().map(|x| f64::from(*x)).collect();
                let weights = &d[i * stride..][..k];
                for j in 0..k {
                    let mut one = vec![0.0; k];
                    one[j] = 1.0;
                    let y = normalised_loss(&x, &one, epsilon);
                    prop_assert!(close(hidden[i * stride + j], y, 10.0), "{}: {}, {y}", level, hidden[i * stride + j]);
                    let (mut above, mut below) = (x.clone(), x.clone());
                    (above[j], below[j]) = (x[j] + STEP, x[j] - STEP);
                    let expected = (normalised_loss(&above, weights, epsilon)
                        - normalised_loss(&below, weights, epsilon)) / (2.0 * STEP);
                    let found = gradient[i * stride + j];
                    prop_assert!(close(found, expected, 50.0), "{}: {found}, {expected}", level);
                }
                prop_assert_eq!(&hidden[i * stride + k..][..gap], &start[i * stride + k..][..gap]);
            }
        }
    }
}

#[test]
fn a_rate_of_zero_holds_the_parameters_and_a_tau_of_one_copies_them() {
    for level in Level::available() {
        let (mut p, mut g) = (numbers(1, 37), numbers(2, 37));
        let (mut m, mut v, mut target) = (numbers(3, 37), vec![1.0; 37], numbers(4, 37));
        let step =
            AdamStep { rate: 0.0, correction: 1.0, scale: 1.0, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };
        let state = AdamState { parameters: &mut p, gradient: &mut g, mean: &mut m, square: &mut v };
        adam(level, step, state, Some((&mut target, 1.0)));
        assert_eq!((&p, &target), (&numbers(1, 37), &numbers(1, 37)), "{level}");
    }
}

#[test]
fn nan_stays_nan() {
    for level in Level::available() {
        let (mut hidden, mut out) = (vec![f32::NAN; 5], vec![0.0; 1]);
        critic::output(level, RowMajorMut { data: &mut hidden, stride: 5 }, &[1.0; 5], &mut out);
        assert!(out[0].is_nan(), "{level}");
        let mut all = [vec![0.5; 3], vec![f32::NAN; 3], vec![0.0; 3], vec![0.0; 3]];
        let [parameters, gradient, mean, square] = all.each_mut().map(Vec::as_mut_slice);
        let step =
            AdamStep { rate: 0.1, correction: 1.0, scale: 1.0, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };
        adam(level, step, AdamState { parameters, gradient, mean, square }, None);
        assert!(all[0].iter().all(|p| p.is_nan()), "{level}");
    }
}

#[test]
#[should_panic(expected = "[3, 8] does not fit in 23")]
fn gates_that_are_too_short_are_refused() {
    let (mut gates, mut hidden) = (vec![0.0; 23], vec![0.0; 6]);
    let gates = RowMajorMut { data: &mut gates, stride: 8 };
    training::step_forward(Level::best(), (3, 2), gates, &mut hidden, None);
}

#[test]
#[should_panic(expected = "hidden: [4, 2] does not fit in 7")]
fn hidden_states_that_are_too_short_are_refused() {
    let (mut gates, mut hidden) = (vec![0.0; 32], vec![0.0; 7]);
    let gates = RowMajorMut { data: &mut gates, stride: 8 };
    training::step_forward(Level::best(), (4, 2), gates, &mut hidden, None);
}

#[test]
#[should_panic(expected = "a row of gates can be addressed")]
fn a_width_whose_gates_no_number_counts_is_refused() {
    let gates = RowMajorMut { data: &mut [], stride: 0 };
    training::step_forward(Level::best(), (4, 1 << 62), gates, &mut [], None);
}

#[test]
#[should_panic(expected = "A is [4294967296, 4294967296]")]
fn a_matrix_whose_size_no_number_counts_is_refused() {
    reduce::transpose_into(Level::best(), (1 << 32, 1 << 32), &[], &mut []);
}
