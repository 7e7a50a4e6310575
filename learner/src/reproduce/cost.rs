//! What a cell costs, before it is run.
//!
//! In: a [`Cell`]; out: seconds of one core. Rates are those of one AVX2 core of 2026 with nothing else to do, measured on the cells of
//! `reproduce all --budget quick`; a core with AVX-512 takes half as long or little more. They are for an announcement: a
//! machine may be off by two.

use anyhow::Result;
use common::config::{Config, Mode};

use super::{
    Cell,
    budget::CURVE_POINTS,
    methods::{How, Method},
};

/// Microseconds a step that is learned from, and a step of a judged session with the ordering of logged ones in proportion.
struct Rates {
    id: &'static str,
    fit: f64,
    judged: f64,
}

/// Methods that are no runs. What is not here costs [`OTHER`].
const RATES: [Rates; 11] = [
    Rates { id: "history-greedy", fit: 120.0, judged: 40.0 },
    Rates { id: "cf-user", fit: 35.0, judged: 150.0 },
    Rates { id: "cf-item", fit: 30.0, judged: 80.0 },
    Rates { id: "fm", fit: 60.0, judged: 50.0 },
    Rates { id: "wide-deep", fit: 130.0, judged: 2_800.0 },
    Rates { id: "gru", fit: 80.0, judged: 200.0 },
    Rates { id: "gru4rec", fit: 80.0, judged: 90.0 },
    Rates { id: "deers", fit: 400.0, judged: 250.0 },
    Rates { id: "deers-squared", fit: 400.0, judged: 250.0 },
    Rates { id: "window-belief", fit: 0.0, judged: 3_000.0 },
    Rates { id: "belief", fit: 0.0, judged: 15_000.0 },
];
const OTHER: Rates = Rates { id: "", fit: 0.0, judged: 80.0 };

/// A rollout's step, and what a rescored item adds to it.
const ROLLOUT_MICROSECONDS: f64 = 35.0;
const RESCORED_MICROSECONDS: f64 = 0.6;
/// A row of a minibatch in an update of one critic and one actor.
const ROW_MICROSECONDS: f64 = 75.0;
/// Twin critics, in updates of one.
const TWINS: f64 = 1.2;

/// Seconds of a core.
///
/// # Errors
/// Settings that are refused.
pub fn seconds(cell: &Cell) -> Result<f64> {
    let config = cell.config()?;
    let judged = (cell.budget.sessions * cell.budget.lengths.iter().sum::<usize>()) as f64;
    let microseconds = match Method::find(&cell.method).map(|method| method.how) {
        Some(How::Run(_)) => run(&config, judged),
        _ => {
            let rates = RATES.iter().find(|rates| rates.id == cell.method).unwrap_or(&OTHER);
            rates.fit * cell.budget.steps as f64 + rates.judged * judged
        }
    };
    Ok(microseconds / 1e6)
}

fn run(config: &Config, judged: f64) -> f64 {
    let train = &config.train;
    debug_assert_eq!(train.mode, Mode::Lockstep, "a cell's rollouts and updates take turns");
    let on_the_way =
        CURVE_POINTS as f64 * (train.evaluation_sessions * config.environment.session_length) as f64;
    let step = ROLLOUT_MICROSECONDS + RESCORED_MICROSECONDS * config.model.rescored_items as f64;
    let rows = |table: &common::config::TableConfig| table.batch.rows(table.capacity) as f64;
    let rows = rows(&config.replay.low)
        + if config.model.has_high_level() { rows(&config.replay.high) } else { 0.0 };
    let critics = if config.algorithm.twin_critics { TWINS } else { 1.0 };
    let updates = train.steps as f64 * train.updates_per_step;
    (train.steps as f64 + on_the_way + judged) * step + updates * rows * ROW_MICROSECONDS * critics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::{Budget, Experiment, Scale, experiment};

    fn total(experiments: &[Experiment], budget: &Budget) -> f64 {
        let mut cells: Vec<Cell> = Vec::new();
        for &experiment in experiments {
            for variant in experiment::variants(experiment, budget.scale, &[]) {
                for cell in variant.cells("shopworld", budget) {
                    if !cells.contains(&cell) {
                        cells.push(cell);
                    }
                }
            }
        }
        cells.iter().map(|cell| seconds(cell).unwrap()).sum()
    }

    #[test]
    fn a_quick_look_at_everything_is_the_hour_of_a_core_that_it_took() {
        let all: Vec<Experiment> = Experiment::EVERY.into_iter().filter(|e| e.is_in_all()).collect();
        let minutes = total(&all, &Budget::of(Scale::Quick)) / 60.0;
        assert!((45.0..110.0).contains(&minutes), "{minutes} minutes of a core");
    }

    #[test]
    fn ten_times_the_steps_and_sessions_cost_ten_times_as_much_or_little_less() {
        let quick = Budget::of(Scale::Quick);
        let more = Budget {
            steps: 10 * quick.steps,
            updates: 10 * quick.updates,
            sessions: 10 * quick.sessions,
            ..quick.clone()
        };
        let factor = total(&[Experiment::Fig7], &more) / total(&[Experiment::Fig7], &quick);
        assert!((7.0..=10.5).contains(&factor), "{factor}");
    }
}
