//! `learner world`: the reference policies of a world.

use anyhow::Result;
use common::config::Config;
use sim::{Catalogue, ReferencePolicy, Variant, shopworld};

use super::{Outcome, count::count, threads};
use crate::{
    evaluation::{Comparison, EvaluationSettings, Users, comparison::Anchors, evaluate_watched},
    world::World,
};

/// Arguments of `learner world`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// `shopworld`, `shopworld:VARIANT`, or the folder of a log with fitted simulators.
    #[arg(long, default_value = "shopworld", value_name = "ENV")]
    env: String,
    /// Sessions of each policy.
    #[arg(long, default_value_t = 2000, value_name = "N", value_parser = count::<usize>)]
    sessions: usize,
    /// Steps of a session.
    #[arg(long, default_value_t = 50, value_name = "T", value_parser = count::<usize>)]
    length: usize,
    /// Steps of the logging policy before a session counts (training and evaluation use 20).
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = count::<i64>)]
    warmup: i64,
    /// Let users leave before the end of a session.
    #[arg(long)]
    leave: bool,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Recompute the constants of a variant of ShopWorld from its target rates (about a minute) and print them.
    #[arg(long)]
    calibrate: bool,
}

/// Sessions behind `--calibrate`, as for the constants in the code.
const CALIBRATION_SESSIONS: u64 = 40_000;

/// Plays every reference policy that the world knows on the same sessions.
pub(super) fn run(args: &Args) -> Result<Outcome> {
    if args.calibrate {
        return calibrate(&args.env);
    }
    let flags = [
        ("environment.name", args.env.clone().into()),
        ("environment.warmup_steps", args.warmup.into()),
        ("environment.leave", args.leave.into()),
    ];
    let config = Config::load(None, &flags)?;
    let world = World::open(&config)?;
    let settings = EvaluationSettings {
        users: Users::Test,
        sessions: args.sessions,
        length: args.length,
        seed: config.seed,
        slots: 64,
        threads: threads(),
    };
    let mut references = world.references()?;
    references.retain(|reference| !reference.is_slow());
    let bar = super::bar("sessions");
    bar.set_length((references.len() * args.sessions) as u64);
    let played = |sessions| bar.inc(sessions as u64);
    let mut results = Vec::new();
    for reference in references {
        let mut policy = ReferencePolicy::new(reference, config.seed);
        results.push(evaluate_watched(&mut policy, &world.for_evaluation(), &settings, &played)?);
    }
    bar.finish_and_clear();
    let anchors = Anchors::of(&results);
    let comparison = Comparison::new(world.name(), &settings, results, anchors)?;
    if args.json {
        super::print_lines(&comparison.without_sessions().to_json());
    } else {
        super::print_lines(&format!(
            "{}: {} sessions of {} steps, {} warm-up steps; mean reward a session, 95% intervals",
            args.env, args.sessions, args.length, args.warmup
        ));
        super::print_lines(&format!("{}", comparison.table()));
    }
    Ok(Outcome::Done)
}

fn calibrate(env: &str) -> Result<Outcome> {
    let variant = Variant::of_world(env)?
        .ok_or_else(|| anyhow::anyhow!("--calibrate is for shopworld[:VARIANT], not for `{env}`"))?;
    let catalogue = std::sync::Arc::new(Catalogue::new(0, variant.dynamics().rho)?);
    let found = shopworld::calibrate(&catalogue, variant, CALIBRATION_SESSIONS, 0)?;
    let now = variant.calibration();
    super::print_lines(&format!(
        "shopworld:{}   b0 {:.3}  w0 {:.3}  h0 {:.5}",
        variant.name(),
        found.click_bias,
        found.order_bias,
        found.hazard
    ));
    super::print_lines(&format!(
        "in the code    b0 {:.3}  w0 {:.3}  h0 {:.5}",
        now.click_bias, now.order_bias, now.hazard
    ));
    Ok(Outcome::Done)
}
