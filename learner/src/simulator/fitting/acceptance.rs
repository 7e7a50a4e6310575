//! Judging a simulator.
//!
//! In: its predictions for impressions that it has not learned from; out: the [`AcceptanceReport`]. What is judged is
//! the inference that will run (`sim::learned`), not the network in torch.

use common::{Feedback, history::N_WINDOWS};

use super::{
    Options,
    groups::Groups,
    metrics::{self, Probabilities},
    predictor::Predictor,
    report::{AcceptanceReport, ClassReport, MemberReport, VERSION},
    rollout::{self, RolloutSettings},
    samples::Samples,
    verdict::Criteria,
};

/// Rows that are predicted together.
const ROWS: usize = 1024;
/// Bins of the reliability table.
const DECILES: usize = 10;
/// Sessions of the rollouts at most, and how often each is played.
const ROLLOUT: (usize, usize) = (2000, 4);
/// Names of the classes, in the order of [`Feedback::ALL`].
const CLASSES: [&str; 3] = ["skip", "click", "order"];

/// What a report is about.
pub(super) struct Subject<'a> {
    pub(super) split: &'static str,
    pub(super) items_sha256: String,
    pub(super) options: &'a Options,
    pub(super) criteria: Criteria,
    pub(super) samples: &'a Samples,
    pub(super) groups: &'a Groups,
    pub(super) members: Vec<MemberReport>,
    pub(super) notes: Vec<String>,
}

/// Judges an ensemble.
pub(super) fn judge(predictor: &mut dyn Predictor, subject: Subject<'_>) -> AcceptanceReport {
    let Subject { samples, groups, options, .. } = subject;
    let rows = Groups::rows(samples, &groups.judge);
    let happened = samples.feedback(&rows);
    let sessions = Groups::sessions(samples, &groups.judge);
    let by_member: Vec<Vec<Probabilities>> =
        (0..predictor.n_members()).map(|member| predict(predictor, member, samples, &rows)).collect();
    let mean = mean_of(&by_member);
    let member_losses = by_member.iter().map(|predicted| metrics::log_loss(predicted, &happened));
    let rates = metrics::rates(&happened);
    let rollout_settings = RolloutSettings { seed: options.seed, sessions: ROLLOUT.0, repeats: ROLLOUT.1 };
    let mut report = AcceptanceReport {
        version: VERSION,
        accepted: false,
        reasons: Vec::new(),
        notes: subject.notes,
        split: subject.split.to_owned(),
        items_sha256: subject.items_sha256,
        options: options.clone(),
        criteria: subject.criteria,
        held_out_by: groups.unit,
        n_fit: Groups::rows(samples, &groups.fit).len(),
        n_calibrate: Groups::rows(samples, &groups.calibrate).len(),
        n_judged: rows.len(),
        n_judged_sessions: groups.judge.len(),
        log_loss: metrics::log_loss(&mean, &happened),
        member_log_loss: member_losses.sum::<f64>() / by_member.len() as f64,
        base_rate_entropy: metrics::entropy(rates),
        accuracy: metrics::accuracy(&mean, &happened),
        majority_rate: rates.into_iter().fold(0.0, f64::max),
        classes: class_reports(&mean, &happened, &sessions),
        rollout: rollout::roll_out(predictor, samples, &groups.judge, &rollout_settings),
        members: subject.members,
    };
    report.judge();
    report
}

/// Probabilities `[rows][3]` of one member.
fn predict(
    predictor: &mut dyn Predictor,
    member: usize,
    samples: &Samples,
    rows: &[usize],
) -> Vec<Probabilities> {
    let mut predicted = Vec::with_capacity(rows.len());
    let mut windows = Vec::with_capacity(ROWS * N_WINDOWS * samples.window);
    let mut items = Vec::with_capacity(ROWS);
    for rows in rows.chunks(ROWS) {
        windows.clear();
        items.clear();
        for &row in rows {
            samples.append_windows(&samples.rows[row], &mut windows);
            items.push(samples.rows[row].item);
        }
        predictor.predict(member, &windows, &items, &mut predicted);
    }
    predicted
}

fn mean_of(by_member: &[Vec<Probabilities>]) -> Vec<Probabilities> {
    let n_rows = by_member.first().map_or(0, Vec::len);
    (0..n_rows)
        .map(|row| {
            [0, 1, 2].map(|class| {
                by_member.iter().map(|predicted| predicted[row][class]).sum::<f32>() / by_member.len() as f32
            })
        })
        .collect()
}

/// Every class against the others; the mean of the members is what a session meets on average. `sessions` is the session
/// of each row, ascending.
fn class_reports(predicted: &[Probabilities], happened: &[Feedback], sessions: &[usize]) -> Vec<ClassReport> {
    let all: Vec<usize> = (0..happened.len()).collect();
    let (logged, means) = (metrics::rates(happened), metrics::mean_prediction(predicted));
    Feedback::ALL
        .into_iter()
        .map(|class| {
            let index = class as usize;
            let scores: Vec<f32> = predicted.iter().map(|p| p[index]).collect();
            let positive: Vec<bool> = happened.iter().map(|&f| f == class).collect();
            let deciles = metrics::reliability(&scores, &positive, sessions, DECILES);
            let (calibration_chance, calibration_deviation) = metrics::calibration_by_chance(&deciles);
            ClassReport {
                class: CLASSES[index].to_owned(),
                n: positive.iter().filter(|&&p| p).count(),
                logged_rate: logged[index],
                predicted_rate: means[index],
                rate_error: metrics::rate_error(&scores, &positive, sessions, &all),
                roc_auc: metrics::roc_auc(&scores, &positive),
                pr_auc: metrics::pr_auc(&scores, &positive),
                calibration_error: metrics::calibration_error(&deciles),
                calibration_chance,
                calibration_deviation,
                deciles,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use common::{ItemId, seed::Streams};
    use rand::RngExt;

    use super::*;

    /// Predicts by item: item 0 is rarely clicked, item 1 often.
    struct ByItem([Probabilities; 2]);

    impl Predictor for ByItem {
        fn n_members(&self) -> usize {
            2
        }

        fn predict(&mut self, _: usize, _: &[ItemId], items: &[ItemId], out: &mut Vec<Probabilities>) {
            out.extend(items.iter().map(|item| self.0[item.row()]));
        }
    }

    /// 300 users of 20 impressions drawn from the given probabilities.
    fn planted(truth: [Probabilities; 2]) -> Samples {
        let mut samples = Samples::new(3);
        let streams = Streams::new(5, "test");
        for user in 0..300 {
            let mut rng = streams.at(user, 0);
            let mut draw = || {
                let item = rng.random_range(0..2_u32);
                let p = truth[item as usize];
                let draw: f32 = rng.random();
                let class = usize::from(draw > p[0]) + usize::from(draw > p[0] + p[1]);
                (ItemId(item), Feedback::ALL[class])
            };
            let impressions: Vec<_> = (0..20).map(|_| draw()).collect();
            samples.add_session(user, true, impressions);
        }
        samples
    }

    fn report(truth: [Probabilities; 2], claimed: [Probabilities; 2]) -> AcceptanceReport {
        let samples = planted(truth);
        let options = Options { held_out: 0.3, ..Options::default() };
        let groups = Groups::split(&samples, options.held_out, 0);
        let subject = Subject {
            split: "train",
            items_sha256: String::new(),
            options: &options,
            criteria: Criteria { rate_error: 0.1, ..Criteria::default() },
            samples: &samples,
            groups: &groups,
            members: Vec::new(),
            notes: Vec::new(),
        };
        judge(&mut ByItem(claimed), subject)
    }

    const TRUTH: [Probabilities; 2] = [[0.95, 0.04, 0.01], [0.5, 0.3, 0.2]];

    #[test]
    fn the_true_model_is_accepted() {
        let report = report(TRUTH, TRUTH);
        assert!(report.accepted, "{:?}", report.reasons);
        assert!(report.log_loss < report.base_rate_entropy && report.information_gain() > 0.1);
        assert_eq!(report.n_fit + report.n_calibrate + report.n_judged, 6000);
        assert!(report.classes[1].calibration_error < 0.05);
        assert!(report.classes[2].roc_auc.is_some_and(|auc| auc > 0.7));
    }

    #[test]
    fn a_model_that_knows_only_the_rates_is_refused() {
        let rates = [0.725, 0.17, 0.105];
        let report = report(TRUTH, [rates; 2]);
        assert!(!report.accepted);
        assert!(report.reasons.iter().any(|r| r.starts_with("ROC-AUC of click is 0.500")), "{report:?}");
        assert!(report.log_loss >= report.base_rate_entropy);
        assert!(report.reasons.iter().any(|reason| reason.contains("base-rate entropy")));
    }

    #[test]
    fn a_model_of_the_right_rates_that_is_too_unsure_is_refused_as_unreliable() {
        let report = report(TRUTH, [[0.87, 0.12, 0.01], [0.58, 0.22, 0.2]]);
        let [reason] = &report.reasons[..] else { panic!("{:?}", report.reasons) };
        // The true distance is .08 at both items, .17 are clicked.
        assert!(reason.starts_with("probabilities of click are 0.0"), "{reason}");
        assert!(report.classes[1].calibration_error > 0.06, "{:?}", report.classes[1]);
    }

    #[test]
    fn an_error_counts_only_beyond_what_chance_explains() {
        let accepted = report(TRUTH, TRUTH);
        let judged = |change: &dyn Fn(&mut AcceptanceReport)| {
            let mut report = accepted.clone();
            change(&mut report);
            report.judge();
            report.reasons
        };
        let base_rate = |rate_error| {
            move |report: &mut AcceptanceReport| {
                let class = &mut report.classes[1];
                (class.predicted_rate, class.rate_error) = (1.2 * class.logged_rate, rate_error);
            }
        };
        assert!(judged(&base_rate(0.02)).is_empty());
        assert!(judged(&base_rate(0.001))[0].contains("base rate of click"));
        let first_positions = |click_error| {
            move |report: &mut AcceptanceReport| {
                let bin = &mut report.rollout.by_position[0];
                (bin.click.simulated, bin.click_error) = (0.7 * bin.click.logged, click_error);
            }
        };
        assert!(judged(&first_positions(0.1)).is_empty());
        let reasons = judged(&first_positions(0.001));
        assert!(reasons[0].starts_with("free-running click rate by position: 0."), "{reasons:?}");
        assert!(reasons[0].contains(" at 0 to 4, logged 0."), "{reasons:?}");
    }

    #[test]
    fn a_model_with_wrong_rates_is_refused_even_if_it_ranks_well() {
        let report = report(TRUTH, [[0.9, 0.09, 0.01], [0.2, 0.6, 0.2]]);
        assert!(report.classes[1].roc_auc.is_some_and(|auc| auc > 0.6));
        assert!(report.reasons.iter().any(|reason| reason.starts_with("base rate of click")));
        assert!(report.reasons.iter().any(|reason| reason.starts_with("free-running click rate")));
    }
}
