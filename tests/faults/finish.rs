//! Behind the last step: a run that is over is served on; everybody may be restarted and is ready again; made longer, it goes on.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use system_tests::{
    cluster::{Cluster, START},
    process::{Process, free_port, program, wait_until},
    redis,
};

/// Longest time for everything there is to do.
const OVER: Duration = Duration::from_secs(120);
const STEPS: u64 = 1_500;

/// Whether a probe finds a process ready.
fn is_ready(port: u16) -> bool {
    let address = format!("127.0.0.1:{port}");
    let asked = Command::new(program("actor")).args(["health", "--address", &address]).output();
    asked.is_ok_and(|answer| answer.status.success())
}

/// Asks for probes, and to stay behind the last step; the probes' port.
fn probed(process: &mut Process) -> u16 {
    let port = free_port();
    process.push_argument("--health", &format!("127.0.0.1:{port}"));
    process.push_flag("--stay");
    port
}

fn said(process: &Process, words: &str, cluster: &Cluster) {
    wait_until(&format!("{} says `{words}`", process.name()), OVER, cluster.folder(), || {
        process.log_since_start().contains(words).then_some(())
    });
}

fn becomes_ready(name: &str, port: u16, cluster: &Cluster) {
    wait_until(&format!("{name} is ready"), START, cluster.folder(), || is_ready(port).then_some(()));
}

#[test]
fn a_finished_run_is_served_on_whoever_is_restarted_and_goes_on_when_it_is_made_longer() {
    if !redis::is_installed() {
        return;
    }
    let mut cluster = Cluster::new(1, true, |config| config.train.steps = STEPS);
    cluster.add_actor(&[]);
    cluster.add_learner();
    let ports = [probed(&mut cluster.learners[0]), probed(&mut cluster.actors[0])];
    cluster.shards[0].start();
    cluster.learners[0].start();
    cluster.actors[0].start();
    said(&cluster.learners[0], "waiting for SIGTERM", &cluster);
    said(&cluster.actors[0], "waiting for SIGTERM", &cluster);
    assert!(
        ports.into_iter().all(is_ready),
        "who stays behind the last step stays ready\n{}",
        cluster.tails()
    );

    // As a rollout restart of both does, in either order.
    for learner_first in [true, false] {
        let Cluster { learners, actors, .. } = &mut cluster;
        let mut both = [&mut learners[0], &mut actors[0]];
        both.iter_mut().for_each(|process| {
            process.signal(Signal::TERM);
            process.wait_for_end(START);
        });
        if !learner_first {
            both.reverse();
        }
        both.iter_mut().for_each(|process| process.start());
        becomes_ready("the learner", ports[0], &cluster);
        becomes_ready("the actor", ports[1], &cluster);
        said(&cluster.actors[0], "waiting for SIGTERM", &cluster);
    }

    let Cluster { learners, actors, .. } = &mut cluster;
    for process in [&mut learners[0], &mut actors[0]] {
        process.signal(Signal::TERM);
        process.wait_for_end(START);
        process.push_argument("--set", &format!("train.steps={}", 2 * STEPS));
        process.start();
    }
    wait_until("the longer run goes on", OVER, cluster.folder(), || {
        cluster.metric("learner-0", "mahrl_learner_env_steps").filter(|steps| *steps > 1.5 * STEPS as f64)
    });
    said(&cluster.learners[0], "waiting for SIGTERM", &cluster);
}

#[test]
fn everybody_waits_for_redis_that_is_started_last() {
    if !redis::is_installed() {
        return;
    }
    let mut cluster = Cluster::new(1, true, |_| {});
    cluster.redis.as_mut().unwrap().process.kill();
    cluster.add_actor(&[]);
    cluster.add_learner();
    cluster.shards[0].start();
    cluster.learners[0].start();
    cluster.actors[0].start();
    said(&cluster.learners[0], "waiting for Redis", &cluster);
    // Longer than a single attempt takes.
    std::thread::sleep(Duration::from_secs(6));
    let Cluster { learners, actors, shards, .. } = &mut cluster;
    for process in learners.iter_mut().chain(actors).chain(shards) {
        assert!(process.runs(), "{} did not wait\n{}", process.name(), process.log());
    }
    cluster.redis.as_mut().unwrap().start_again();
    wait_until("training begins", START, cluster.folder(), || {
        cluster.metric("learner-0", "mahrl_learner_step").filter(|updates| *updates > 0.0)
    });
}

#[test]
fn a_learner_in_the_middle_of_a_long_evaluation_is_cut_off_in_time() {
    const GRACE: f64 = 2.0;
    let mut cluster = Cluster::new(1, false, |config| {
        // Minutes.
        (config.train.evaluate_every, config.train.evaluation_sessions) = (400, 3_000_000);
        config.cluster.grace_seconds = GRACE;
    });
    cluster.add_actor(&[]);
    cluster.add_learner();
    cluster.shards[0].start();
    cluster.learners[0].start();
    cluster.actors[0].start();
    wait_until("the evaluation begins", START, cluster.folder(), || {
        cluster.metric("actor-0", "mahrl_actor_steps_total").filter(|steps| *steps > 400.0)
    });
    std::thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    cluster.learners[0].signal(Signal::TERM);
    let status = cluster.learners[0].wait_for_end(OVER);
    let (took, said) = (begun.elapsed().as_secs_f64(), cluster.learners[0].log());
    assert!(took < GRACE + 0.5, "{took} s\n{said}");
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("the time for the end is over"), "{said}");
}
