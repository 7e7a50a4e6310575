//! How good probabilities are: ranking, log loss, reliability.
//!
//! In: predicted probabilities `[n]` of one class (or `[n][3]` of all) and what happened; out: numbers. Sums are taken
//! in f64 and in the order of the rows, sorting is stable, so that a report is reproducible bit for bit.

use common::Feedback;
use serde::{Deserialize, Serialize};

/// Probabilities of skip, click and order, in the order of [`Feedback::ALL`].
pub type Probabilities = [f32; 3];

/// Smallest probability that enters a logarithm: one certain mistake costs 27.6 nats, not infinity.
const SMALLEST: f64 = 1e-12;

/// Area under the ROC curve: the chance that a positive row scores above a negative one, ties counted half
/// (Mann-Whitney). `None` if either kind is absent.
pub fn roc_auc(scores: &[f32], positive: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), positive.len(), "one label a score");
    let n_positive = positive.iter().filter(|&&p| p).count() as f64;
    let n_negative = positive.len() as f64 - n_positive;
    if n_positive == 0.0 || n_negative == 0.0 {
        return None;
    }
    let mut wins = 0.0;
    let mut negatives_below = 0.0;
    for tie in ties(scores, positive).into_iter().rev() {
        wins += tie.n_positive * (negatives_below + 0.5 * tie.n_negative);
        negatives_below += tie.n_negative;
    }
    Some(wins / (n_positive * n_negative))
}

/// Area under the precision-recall curve as average precision: the sum over distinct scores, highest first, of the
/// recall they add times the precision down to them. The base rate is what chance gets. `None` without a positive row.
pub fn pr_auc(scores: &[f32], positive: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), positive.len(), "one label a score");
    let all_positive = positive.iter().filter(|&&p| p).count() as f64;
    if all_positive == 0.0 {
        return None;
    }
    let (mut n_positive, mut n_rows, mut area) = (0.0, 0.0, 0.0);
    for tie in ties(scores, positive) {
        n_positive += tie.n_positive;
        n_rows += tie.n_positive + tie.n_negative;
        area += tie.n_positive / all_positive * (n_positive / n_rows);
    }
    Some(area)
}

/// Rows of one score.
struct Tie {
    n_positive: f64,
    n_negative: f64,
}

/// Rows by score, highest first, equal scores together.
fn ties(scores: &[f32], positive: &[bool]) -> Vec<Tie> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
        .chunk_by(|&a, &b| scores[a] == scores[b])
        .map(|rows| {
            let n_positive = rows.iter().filter(|&&row| positive[row]).count() as f64;
            Tie { n_positive, n_negative: rows.len() as f64 - n_positive }
        })
        .collect()
}

/// Mean of -ln p(what happened), in nats. 0 rows give 0.
pub fn log_loss(predicted: &[Probabilities], happened: &[Feedback]) -> f64 {
    assert_eq!(predicted.len(), happened.len(), "one feedback a prediction");
    let sum: f64 =
        predicted.iter().zip(happened).map(|(p, &f)| -f64::from(p[f as usize]).max(SMALLEST).ln()).sum();
    sum / predicted.len().max(1) as f64
}

/// Entropy of class rates in nats: the log loss of whoever knows the rates and nothing else.
pub fn entropy(rates: [f64; 3]) -> f64 {
    rates.iter().filter(|&&rate| rate > 0.0).map(|&rate| -rate * rate.ln()).sum()
}

/// Share of each class, in the order of [`Feedback::ALL`]. 0 rows give zeros.
pub fn rates(happened: &[Feedback]) -> [f64; 3] {
    let n = happened.len().max(1) as f64;
    Feedback::ALL.map(|class| happened.iter().filter(|&&f| f == class).count() as f64 / n)
}

/// Mean predicted probability of each class. 0 rows give zeros.
pub fn mean_prediction(predicted: &[Probabilities]) -> [f64; 3] {
    let n = predicted.len().max(1) as f64;
    [0, 1, 2].map(|class| predicted.iter().map(|p| f64::from(p[class])).sum::<f64>() / n)
}

/// Share of rows whose most probable class happened. Means nothing without the majority rate beside it: a model that
/// always says "skip" has an accuracy of 90% on the paper's data (docs/deviations.md, D17).
pub fn accuracy(predicted: &[Probabilities], happened: &[Feedback]) -> f64 {
    let right = predicted.iter().zip(happened).filter(|(p, f)| most_probable(p) == **f as usize).count();
    right as f64 / predicted.len().max(1) as f64
}

/// Index of the largest probability, the first of equal ones.
fn most_probable(p: &Probabilities) -> usize {
    (0..p.len()).fold(0, |best, class| if p[class] > p[best] { class } else { best })
}

/// One bin of a reliability table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Rows in it.
    pub n: usize,
    /// Their mean predicted probability.
    pub predicted: f64,
    /// Share of them where it happened.
    pub observed: f64,
    /// Standard error of predicted - observed, over sessions.
    pub error: f64,
}

/// Rows by predicted probability, lowest first, in `n_bins` bins of (nearly) equal size; fewer bins if there are fewer
/// rows. In a calibrated model predicted and observed agree in each. `sessions` is the session of each row, ascending.
pub fn reliability(scores: &[f32], positive: &[bool], sessions: &[usize], n_bins: usize) -> Vec<Bin> {
    assert_eq!(scores.len(), positive.len(), "one label a score");
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let n_rows = order.len();
    (0..n_bins)
        .map(|bin| &order[bin * n_rows / n_bins..(bin + 1) * n_rows / n_bins])
        .filter(|rows| !rows.is_empty())
        .map(|rows| {
            let n = rows.len() as f64;
            Bin {
                n: rows.len(),
                predicted: rows.iter().map(|&row| f64::from(scores[row])).sum::<f64>() / n,
                observed: rows.iter().filter(|&&row| positive[row]).count() as f64 / n,
                error: rate_error(scores, positive, sessions, rows),
            }
        })
        .collect()
}

/// Expected calibration error of a reliability table: mean distance of predicted and observed, by rows.
pub fn calibration_error(bins: &[Bin]) -> f64 {
    let n: usize = bins.iter().map(|bin| bin.n).sum();
    bins.iter().map(|bin| bin.n as f64 * (bin.predicted - bin.observed).abs()).sum::<f64>() / n.max(1) as f64
}

/// Mean and standard deviation of the calibration error that chance alone gives a calibrated model: the distances of the
/// bins are then those of normal variables |N(0, s)|, of mean s sqrt(2/pi) and variance s^2 (1 - 2/pi).
pub fn calibration_by_chance(bins: &[Bin]) -> (f64, f64) {
    let n = bins.iter().map(|bin| bin.n).sum::<usize>().max(1) as f64;
    let share = std::f64::consts::FRAC_2_PI;
    let mean: f64 = bins.iter().map(|bin| bin.n as f64 / n * bin.error * share.sqrt()).sum();
    let variance: f64 = bins.iter().map(|bin| (bin.n as f64 / n * bin.error).powi(2) * (1.0 - share)).sum();
    (mean, variance.sqrt())
}

/// Standard error of the mean of score - label over some rows when sessions are drawn anew; `sessions` is the session of
/// each row, ascending.
pub fn rate_error(scores: &[f32], positive: &[bool], sessions: &[usize], rows: &[usize]) -> f64 {
    assert_eq!(scores.len(), sessions.len(), "one session a score");
    let mut rows = rows.to_vec();
    rows.sort_unstable();
    let by_session: Vec<f64> = rows
        .chunk_by(|&a, &b| sessions[a] == sessions[b])
        .map(|of_session| {
            of_session.iter().map(|&row| f64::from(scores[row]) - f64::from(u8::from(positive[row]))).sum()
        })
        .collect();
    standard_error(&by_session, rows.len() as f64)
}

/// Standard error of (sum over sessions) / impressions when sessions are drawn anew. One session tells none: 0.
pub fn standard_error(by_session: &[f64], impressions: f64) -> f64 {
    let n = by_session.len() as f64;
    let mean = by_session.iter().sum::<f64>() / n.max(1.0);
    let variance = by_session.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (variance * n).sqrt() / impressions.max(1.0)
}

#[cfg(test)]
mod tests {
    use common::seed::Streams;
    use rand::RngExt;

    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-7, "{a} is not {b}");
    }

    #[test]
    fn roc_auc_counts_ties_half() {
        // Pairs (positive, negative): .9>.5, .9>.5, .9>.1; .5=.5, .5=.5, .5>.1: (3 + 2 * .5 + 1) / 6.
        let scores = [0.9, 0.5, 0.5, 0.5, 0.1];
        let positive = [true, true, false, false, false];
        close(roc_auc(&scores, &positive).unwrap(), 5.0 / 6.0);
        close(roc_auc(&[0.3; 4], &[true, false, true, false]).unwrap(), 0.5);
        close(roc_auc(&[0.1, 0.9], &[true, false]).unwrap(), 0.0);
        assert_eq!(roc_auc(&[0.1, 0.9], &[true, true]), None);
    }

    #[test]
    fn pr_auc_is_average_precision_with_ties_taken_together() {
        // Ranks + - + -: recall 1/2 at precision 1, recall 1/2 at precision 2/3.
        let distinct = pr_auc(&[0.9, 0.8, 0.7, 0.6], &[true, false, true, false]).unwrap();
        close(distinct, 0.5 * 1.0 + 0.5 * 2.0 / 3.0);
        // One positive alone, then a tie of one positive and two negatives: 1/2 * 1 + 1/2 * 2/4.
        close(pr_auc(&[0.9, 0.5, 0.5, 0.5], &[true, false, true, false]).unwrap(), 0.75);
        // All tied: chance, the base rate.
        close(pr_auc(&[0.5; 4], &[true, false, false, false]).unwrap(), 0.25);
        assert_eq!(pr_auc(&[0.5], &[false]), None);
    }

    #[test]
    fn log_loss_and_entropy_agree_for_a_model_that_knows_only_the_rates() {
        use Feedback::{Click, Order, Skip};
        let happened = [Skip, Skip, Click, Order];
        close(
            log_loss(&[[0.5, 0.25, 0.25], [0.8, 0.1, 0.1]], &[Click, Skip]),
            (4.0_f64.ln() + 1.25_f64.ln()) / 2.0,
        );
        assert_eq!(rates(&happened), [0.5, 0.25, 0.25]);
        close(entropy(rates(&happened)), 0.5 * 2.0_f64.ln() + 0.5 * 4.0_f64.ln());
        close(log_loss(&[[0.5, 0.25, 0.25]; 4], &happened), entropy(rates(&happened)));
        close(entropy([1.0, 0.0, 0.0]), 0.0);
        assert!(log_loss(&[[1.0, 0.0, 0.0]], &[Order]).is_finite());
    }

    #[test]
    fn accuracy_takes_the_first_of_equal_probabilities() {
        use Feedback::{Click, Skip};
        close(
            accuracy(&[[0.4, 0.4, 0.2], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]], &[Skip, Click, Click]),
            2.0 / 3.0,
        );
    }

    #[test]
    fn reliability_bins_hold_equal_shares_of_the_rows() {
        let scores = [0.4, 0.1, 0.3, 0.2];
        let bins = reliability(&scores, &[true, false, false, true], &[0, 1, 2, 3], 2);
        assert_eq!(bins.len(), 2);
        close(bins[0].predicted, 0.15);
        close(bins[0].observed, 0.5);
        close(bins[1].predicted, 0.35);
        close(bins[1].observed, 0.5);
        close(calibration_error(&bins), (0.35 + 0.15) / 2.0);
        // Differences .1 and -.8 of two sessions: deviation .9 / sqrt(2), of the sum .9, of the mean .45.
        close(bins[0].error, 0.45);
        assert_eq!(reliability(&scores, &[true, false, false, true], &[0, 1, 2, 3], 10).len(), 4);
    }

    #[test]
    fn a_calibrated_model_has_the_calibration_error_of_chance() {
        let mut rng = Streams::new(1, "test").sequential();
        let scores: Vec<f32> = (0..5000).map(|_| rng.random_range(0.0..0.3)).collect();
        let positive: Vec<bool> = scores.iter().map(|&p| rng.random::<f32>() < p).collect();
        let sessions: Vec<usize> = (0..5000).map(|row| row / 10).collect();
        let bins = reliability(&scores, &positive, &sessions, 10);
        let (mean, deviation) = calibration_by_chance(&bins);
        // Ten bins of 500 rows at p of about .15: sqrt(.15 * .85 / 500) * sqrt(2 / pi) = .0127, or a little less.
        assert!((0.010..0.014).contains(&mean) && (0.2..0.3).contains(&(deviation / mean)), "{mean}");
        let error = calibration_error(&bins);
        assert!((error - mean).abs() < 3.0 * deviation, "{error}, by chance {mean} +- {deviation}");
    }

    #[test]
    fn sessions_whose_errors_go_together_give_a_larger_standard_error() {
        let scores = [0.5; 8];
        let positive = [true, true, false, false, true, true, false, false];
        let rows: Vec<usize> = (0..8).collect();
        let alone = rate_error(&scores, &positive, &rows, &rows);
        let together = rate_error(&scores, &positive, &[0, 0, 1, 1, 2, 2, 3, 3], &rows);
        close(together / alone, (2.0_f64 * 7.0 / 6.0).sqrt());
    }
}
