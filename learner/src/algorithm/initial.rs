//! Initial values of a network's parameters. In: a layout; out: one flat vector in its order.

use common::{config::CriticOutput, seed::Streams};
use rand::RngExt;

use super::{
    layout::{AFFINITY_PLACE, Layout, Role},
    settings::LevelKind,
};

/// The number of a network's random stream: 0 to 3 whether there are second critics or not, which are 4 and 5.
pub fn stream(level: LevelKind, role: Role, is_second: bool) -> u64 {
    let low = u64::from(level == LevelKind::Low);
    if is_second { 4 + low } else { 2 * low + u64::from(role == Role::Critic) }
}

/// PyTorch's default initialisation: uniform in +-1/sqrt(fan in), for GRUs in +-1/sqrt(w). `[len]`
///
/// The draws come from `streams` alone (session = `stream` x 1,000 + parameter). With a ReLU on the critic's output its
/// bias starts at +1, else about half of all inputs give exactly 0 (D2); an exponential one's at -2, for values of the size
/// of a step's reward (D29). The places of an affinity start at 0, so that all items count alike (D30).
pub fn values(layout: &Layout, output: CriticOutput, streams: &Streams, stream: u64) -> Vec<f64> {
    let mut values = vec![0.0_f64; layout.len()];
    for (number, block) in layout.blocks.iter().enumerate() {
        let mut rng = streams.at(stream * 1_000 + number as u64, 0);
        let limit = 1.0 / (block.fan_in as f64).sqrt();
        let is_output_bias = layout.role == Role::Critic && block.name == "out.bias";
        let given = match block.name {
            AFFINITY_PLACE => Some(0.0),
            _ => output.initial_bias().filter(|_| is_output_bias).map(f64::from),
        };
        for value in &mut values[block.offset..][..block.len()] {
            *value = given.unwrap_or_else(|| limit * (2.0 * rng.random::<f64>() - 1.0));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use common::config::{Config, Preset};

    use super::*;
    use crate::algorithm::settings::Settings;

    fn critic(seed: u64, output: CriticOutput) -> (Layout, Vec<f64>) {
        let settings = Settings::new(&Config::preset(Preset::Paper));
        let layout = Layout::new(&settings, LevelKind::High, Role::Critic);
        let values = values(&layout, output, &Streams::new(seed, "test"), 3);
        (layout, values)
    }

    #[test]
    fn initial_values_depend_on_the_seed_alone() {
        let of = |seed| critic(seed, CriticOutput::Linear).1;
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
    }

    #[test]
    fn initial_values_fill_pytorchs_range() {
        let (layout, values) = critic(5, CriticOutput::Linear);
        for block in &layout.blocks {
            let values = &values[block.offset..][..block.len()];
            let limit = 1.0 / (block.fan_in as f64).sqrt();
            let most = values.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            assert!(most <= limit, "{} reaches {most}", block.name);
            if block.len() > 1_000 {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                assert!(most > 0.98 * limit && mean.abs() < 0.1 * limit);
            }
        }
    }

    #[test]
    fn the_form_of_the_output_says_where_its_bias_starts() {
        let bias = |output| {
            let (layout, values) = critic(5, output);
            let block = layout.blocks.last().unwrap();
            values[block.offset..][..block.len()].to_vec()
        };
        assert_eq!(bias(CriticOutput::Relu), [1.0, 1.0]);
        assert_eq!(bias(CriticOutput::Exponential), [-2.0, -2.0]);
        assert_ne!(bias(CriticOutput::Linear), [1.0, 1.0]);
    }

    #[test]
    fn every_network_has_a_stream_of_its_own() {
        let networks = [LevelKind::High, LevelKind::Low].into_iter().flat_map(|level| {
            [(Role::Actor, false), (Role::Critic, false), (Role::Critic, true)]
                .map(|(role, is_second)| stream(level, role, is_second))
        });
        assert_eq!(networks.collect::<Vec<_>>(), [0, 1, 4, 2, 3, 5]);
    }
}
