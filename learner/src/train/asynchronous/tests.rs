//! Failures beside the learner's thread end the run with their reason, and never hang it.

use std::{
    sync::mpsc,
    thread::{sleep, spawn},
};

use common::{
    SessionId,
    config::{Batch, Config, Mode, TableConfig, TargetAction},
    transition::{PeriodStart, Step},
};

use super::*;
use crate::{
    run_dir::RunDir,
    train::{Interrupt, prepare},
};

/// No run of these tests may take longer.
const DEADLINE: Duration = Duration::from_secs(60);

fn config() -> Config {
    let mut config = Config::default();
    let model = &mut config.model;
    (model.window, model.encoder_width, model.head_width, model.period_steps) = (3, 8, 8, 4);
    let environment = &mut config.environment;
    (environment.session_length, environment.candidates, environment.warmup_steps) = (9, 20, 3);
    config.algorithm.target_action = TargetAction::Virtual;
    config.replay.low = TableConfig { capacity: 500, batch: Batch::Rows(8), min_size: 30 };
    config.replay.high = TableConfig { capacity: 100, batch: Batch::Rows(4), min_size: 4 };
    (config.actor.actors, config.actor.sessions) = (2, 3);
    config.train.mode = Mode::Async;
    config.train.device = "cpu".into();
    config.train.updates_per_step = 0.01;
    config
}

/// Hands on to a writer and panics at a step.
struct Panicking(Writer, u32);

impl TransitionSink for Panicking {
    fn begin_period(&mut self, start: &PeriodStart) -> Result<(), replay::Error> {
        self.0.begin_period(start)
    }

    fn step(&mut self, session: SessionId, step: Step) -> Result<(), replay::Error> {
        assert_ne!(self.1, 0, "the test's sink breaks down");
        self.1 -= 1;
        self.0.step(session, step)
    }

    fn submit(&mut self) -> Result<(), replay::Error> {
        self.0.submit()
    }

    fn flush(&mut self) -> Result<(), replay::Error> {
        self.0.flush()
    }

    fn discard(&mut self) {
        self.0.discard();
    }
}

/// Runs in a thread of its own, so that a hanging run is a failed test; the run's error, and whether it left a
/// checkpoint.
fn outcome(run: impl FnOnce(&mut Trainer<'_>, &Runtime) -> Result<()> + Send + 'static) -> (String, bool) {
    let (sender, receiver) = mpsc::channel();
    spawn(move || {
        let folder = tempfile::tempdir().unwrap();
        let (config, runtime) = (config(), Runtime::new().unwrap());
        let world = prepare(&config).unwrap();
        let run_dir = RunDir::create(&folder.path().join("run"), &config).unwrap();
        let interrupt = Interrupt::default();
        let (mut trainer, _) = Trainer::new(&config, &world, &run_dir, &interrupt, false).unwrap();
        let error = run(&mut trainer, &runtime).map_err(|error| format!("{error:#}")).unwrap_err();
        let saved = run_dir.policy_path().exists();
        sender.send((error, saved)).unwrap();
    });
    receiver.recv_timeout(DEADLINE).expect("the run hangs, or its thread has failed")
}

#[test]
fn an_actor_thread_that_panics_ends_the_run_with_a_checkpoint_and_its_reason() {
    let (error, saved) = outcome(|trainer, runtime| {
        let services = Services::start(trainer, runtime, None, &|writer| Box::new(Panicking(writer, 2000)))?;
        conduct(trainer, runtime, services)
    });
    assert!(error.contains("the rollouts failed: rollout thread"), "{error}");
    assert!(error.contains("panicked") && error.contains("the test's sink breaks down"), "{error}");
    assert!(saved);
}

#[test]
fn a_replay_service_that_ends_ends_the_run_with_its_name() {
    let (error, _) = outcome(|trainer, runtime| {
        let mut services = Services::start(trainer, runtime, None, &|writer| Box::new(writer))?;
        let replay = services.replay.take();
        spawn(move || {
            sleep(Duration::from_millis(300));
            drop(replay);
        });
        conduct(trainer, runtime, services)
    });
    assert!(error.contains("replay"), "{error}");
}

#[test]
fn a_broadcast_that_fails_is_named() {
    let (error, _) = outcome(|trainer, runtime| {
        let mut services = Services::start(trainer, runtime, None, &|writer| Box::new(writer))?;
        // No policy: the subscription cannot decode it.
        services.publisher.publish(1000, 0, b"nonsense".to_vec())?;
        trainer.state.version = 1000;
        services.prefetch = services.shards.sampler(LONG).prefetch(0, 1, |number| request(&config(), number));
        conduct(trainer, runtime, services)
    });
    assert!(error.contains("the weight broadcast failed: weights version 1000 cannot be used"), "{error}");
}
