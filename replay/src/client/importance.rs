//! What corrects for drawing by priority.
//!
//! In: the parts of a minibatch, each with its shard's share of the whole; out: the names of its rows and their weights
//! w = (N P)^-beta / max w (Schaul et al. 2016, section 3.4), where N counts the rows of all shards and P is the
//! probability of a row over all of them: its shard's share of the mass x its probability within the shard.

use common::transition::RowKey;

use super::draw::Part;
use crate::{Error, wire::columns};

/// Names and weights of all rows, in order; nothing unless all parts were drawn by priority. `n_rows` is N.
pub(super) fn of(parts: &[Part], n_rows: u64, exponent: f64) -> Result<(Vec<RowKey>, Vec<f32>), Error> {
    let is_uniform = |part: &Part| part.rows.keys.is_empty() && part.rows.probabilities.is_empty();
    if parts.iter().any(is_uniform) {
        return Ok((Vec::new(), Vec::new()));
    }
    let (mut keys, mut weights) = (Vec::new(), Vec::new());
    for part in parts {
        let n = part.rows.rows as usize;
        let row_keys: Vec<u64> = columns::column("keys", &part.rows.keys, n)?;
        let probabilities: Vec<f64> = columns::column("probabilities", &part.rows.probabilities, n)?;
        keys.extend(row_keys.into_iter().map(|key| RowKey { shard: part.uid, key }));
        for p in probabilities {
            if !(p > 0.0 && p <= 1.0 + 1e-9) {
                return Err(Error::invalid("probabilities", format!("{p} is outside (0, 1]")));
            }
            weights.push((n_rows as f64 * part.share * p).powf(-exponent));
        }
    }
    let largest = weights.iter().copied().fold(0.0, f64::max);
    Ok((keys, weights.into_iter().map(|weight| (weight / largest) as f32).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(uid: u64, share: f64, probabilities: &[f64]) -> Part {
        let keys: Vec<u64> = (0..probabilities.len() as u64).collect();
        Part {
            uid,
            share,
            rows: proto::v1::SampleResponse {
                rows: keys.len() as u32,
                keys: bytemuck::cast_slice(&keys).to_vec().into(),
                probabilities: bytemuck::cast_slice(probabilities).to_vec().into(),
                ..Default::default()
            },
        }
    }

    #[test]
    fn a_rare_row_weighs_most_and_a_row_of_average_probability_one_over_it() {
        // P: .25 x .5, .75 x .1. N = 8: N P = 1, .6.
        let parts = [part(7, 0.25, &[0.5]), part(9, 0.75, &[0.1])];
        let (keys, weights) = of(&parts, 8, 0.5).unwrap();
        assert_eq!(keys, [RowKey { shard: 7, key: 0 }, RowKey { shard: 9, key: 0 }]);
        assert!((weights[0] - 0.6_f32.sqrt()).abs() < 1e-6 && weights[1] == 1.0, "{weights:?}");
        assert_eq!(of(&parts, 8, 0.0).unwrap().1, [1.0, 1.0]);
        assert!(of(&[part(7, 1.0, &[0.0])], 8, 0.5).is_err());
        assert_eq!(of(&[part(7, 1.0, &[])], 8, 0.5).unwrap(), (vec![], vec![]));
    }
}
