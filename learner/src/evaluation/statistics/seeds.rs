//! Methods that were trained several times, on one task or several.
//!
//! In: a [`Scores`] for each method, `[seeds, tasks]`; out: aggregates with 95% intervals. A resample draws, for each
//! task on its own, as many of its seeds as there are (stratified bootstrap): tasks are given, seeds are chance. As in
//! Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021), and its library rliable.

use common::seed::{Rng, Streams};
use rand::RngExt;

use super::{Estimate, RESAMPLES, estimate};

/// The results of one method: a number for each seed and task, e.g. mean reward a session in worlds of two lengths.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    n_tasks: usize,
    /// `[seeds, tasks]`
    values: Vec<f64>,
}

impl Scores {
    /// Scores `[seeds, tasks]`, row-major.
    ///
    /// # Panics
    /// If there is no score, or the rows are not all of `n_tasks`.
    pub fn new(n_tasks: usize, values: Vec<f64>) -> Self {
        assert!(!values.is_empty() && values.len().is_multiple_of(n_tasks), "scores are [seeds, {n_tasks}]");
        Self { n_tasks, values }
    }

    /// Scores on one task, one a seed.
    ///
    /// # Panics
    /// If there is none.
    pub fn of_seeds(values: Vec<f64>) -> Self {
        Self::new(1, values)
    }

    /// Number of seeds.
    pub fn n_seeds(&self) -> usize {
        self.values.len() / self.n_tasks
    }

    /// Number of tasks.
    pub fn n_tasks(&self) -> usize {
        self.n_tasks
    }

    /// `[seeds, tasks]`.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The scores of all seeds on a task.
    fn of_task(&self, task: usize) -> impl Iterator<Item = f64> {
        self.values[task..].iter().step_by(self.n_tasks).copied()
    }

    /// Draws seeds anew, on each task for itself.
    fn resample(&self, rng: &mut Rng, into: &mut Self) {
        for task in 0..self.n_tasks {
            for seed in 0..self.n_seeds() {
                let drawn = rng.random_range(0..self.n_seeds());
                into.values[seed * self.n_tasks + task] = self.values[drawn * self.n_tasks + task];
            }
        }
    }
}

/// The interquartile mean: the mean of the middle half of all scores, a quarter (rounded down) cut off at each end.
/// Nearly as robust as the median, and far less noisy.
pub fn interquartile_mean(scores: &Scores, seed: u64) -> Estimate {
    stratified([scores], seed, |[scores]| middle_mean(&scores.values))
}

/// The mean over all seeds and tasks.
pub fn mean(scores: &Scores, seed: u64) -> Estimate {
    stratified([scores], seed, |[scores]| scores.values.iter().sum::<f64>() / scores.values.len() as f64)
}

/// P(a run of `method` scores more than a run of `other`), a tie counting half; the mean over tasks. Seeds of the two
/// are drawn independently of each other.
///
/// # Panics
/// If the two differ in their number of tasks.
pub fn probability_of_improvement(method: &Scores, other: &Scores, seed: u64) -> Estimate {
    assert_eq!(method.n_tasks, other.n_tasks, "the same tasks");
    stratified([method, other], seed, |[method, other]| {
        let of_task = |task| {
            let (mut wins, mut pairs) = (0.0, 0.0);
            for x in method.of_task(task) {
                for y in other.of_task(task) {
                    wins += f64::from(u8::from(x > y)) + 0.5 * f64::from(u8::from(x == y));
                    pairs += 1.0;
                }
            }
            wins / pairs
        };
        (0..method.n_tasks).map(of_task).sum::<f64>() / method.n_tasks as f64
    })
}

/// Estimates a statistic of `K` methods by the stratified bootstrap.
pub fn stratified<const K: usize>(
    methods: [&Scores; K],
    seed: u64,
    statistic: impl Fn([&Scores; K]) -> f64,
) -> Estimate {
    let streams = Streams::new(seed, "evaluation/stratified-bootstrap");
    let mut drawn = methods.map(Scores::clone);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .map(|resample| {
            let mut rng = streams.at(resample as u64, 0);
            for (scores, into) in methods.iter().zip(&mut drawn) {
                scores.resample(&mut rng, into);
            }
            statistic(drawn.each_ref())
        })
        .collect();
    estimate(statistic(methods), &mut resampled)
}

fn middle_mean(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let cut = sorted.len() / 4;
    let middle = &sorted[cut..sorted.len() - cut];
    middle.iter().sum::<f64>() / middle.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interquartile_mean_leaves_out_a_quarter_at_each_end() {
        assert_eq!(middle_mean(&[100.0, 1.0, 2.0, 3.0, -90.0]), 2.0);
        assert_eq!(middle_mean(&[4.0, 1.0, 2.0]), 7.0 / 3.0, "of three a quarter is none");
        assert_eq!(middle_mean(&[8.0, 1.0, 3.0, 4.0, 5.0, 6.0, 7.0, 2.0]), 4.5);
    }

    #[test]
    fn an_interval_counts_the_draws_of_two_seeds() {
        // Of two seeds 0 and 1 the resampled mean is 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
        let estimate = mean(&Scores::of_seeds(vec![0.0, 1.0]), 0);
        assert_eq!(estimate, Estimate { value: 0.5, low: 0.0, high: 1.0 });
        // A constant has no interval, whatever the number of tasks.
        let constant = interquartile_mean(&Scores::new(2, vec![1.0, 5.0, 1.0, 5.0]), 0);
        assert_eq!(constant, Estimate { value: 3.0, low: 3.0, high: 3.0 });
    }

    #[test]
    fn tasks_are_not_mixed() {
        // Task 0 has scores near 0, task 1 near 10: their own spread only, not that between tasks.
        let scores = Scores::new(2, vec![0.0, 10.0, 1.0, 11.0, 0.5, 10.5, 0.2, 10.1]);
        let estimate = mean(&scores, 0);
        assert!(estimate.margin() < 0.5, "{estimate:?}");
    }

    #[test]
    fn the_probability_of_improvement_counts_pairs_and_halves_ties() {
        let (x, y) = (Scores::of_seeds(vec![1.0, 2.0, 3.0]), Scores::of_seeds(vec![0.0, 2.0]));
        let estimate = probability_of_improvement(&x, &y, 0);
        // 1 beats 0; 2 beats 0 and ties with 2; 3 beats both.
        assert_eq!(estimate.value, 4.5 / 6.0);
        assert!((estimate.value + probability_of_improvement(&y, &x, 0).value - 1.0).abs() < 1e-12);
        let same = probability_of_improvement(&x, &x, 0);
        assert_eq!(same.value, 0.5);
        assert!(same.low < 0.5 && same.high > 0.5);
    }
}
