//! The noise of the targets' actions (D22; Fujimoto et al. 2018, Eq 14). In: an update's number and a level; out: draws.

use common::seed::{Rng, Streams};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

use super::settings::{LevelKind, Settings};

/// `clip(N(0, deviation^2), -limit, limit)`, one after the other. The draws are the generator's alone.
pub fn draws(deviation: f64, limit: f64, mut rng: Rng) -> impl Iterator<Item = f64> {
    std::iter::repeat_with(move || {
        let normal: f64 = StandardNormal.sample(&mut rng);
        (deviation * normal).clamp(-limit, limit)
    })
}

/// Those of an update of a level, in the order of its actions `[B, H, n]`; `None` where they are not smoothed.
pub fn smoothing(
    settings: &Settings,
    streams: &Streams,
    update: u64,
    level: LevelKind,
) -> Option<impl Iterator<Item = f64> + use<>> {
    let Settings { bound, algorithm, .. } = settings;
    if algorithm.target_noise == 0.0 {
        return None;
    }
    // A generator of its own: so many normals need more words than an address holds.
    let mut address = streams.at(update, u64::from(level == LevelKind::Low));
    let rng = Rng::from_seed(address.random());
    Some(draws(algorithm.target_noise * bound, algorithm.target_noise_limit * bound, rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_its_deviation_and_its_limit() {
        let streams = Streams::new(1, "test");
        let noise = |limit| draws(0.3, limit, streams.at(7, 0)).take(20_000).collect::<Vec<_>>();
        let free = noise(100.0);
        let mean = free.iter().sum::<f64>() / 20_000.0;
        let deviation = (free.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 19_999.0).sqrt();
        // The standard errors are 0.002 and 0.0015.
        assert!(mean.abs() < 0.01 && (deviation - 0.3).abs() < 0.01);
        // The same draws, cut: what lies within stays as it is.
        let cut: Vec<f64> = free.iter().map(|x| x.clamp(-0.2, 0.2)).collect();
        assert_eq!(noise(0.2), cut);
    }
}
