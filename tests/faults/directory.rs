//! A learner's run directory and the shards it meets belong to one run.

use std::fs;

use system_tests::{
    cluster::{Cluster, START},
    process::{Process, wait_until},
};

use crate::cluster::goes_on;

#[test]
fn a_new_run_directory_is_refused_by_shards_that_hold_the_run_which_goes_on_in_its_own() {
    let mut cluster = Cluster::new(1, false, |_| {});
    cluster.add_actor(&[]);
    cluster.add_learner();
    let start = |cluster: &mut Cluster| {
        cluster.learners[0].start();
        cluster.actors[0].start();
    };
    cluster.shards.iter_mut().for_each(Process::start);
    start(&mut cluster);
    let before = goes_on(&cluster, 0, None, "training begins");
    cluster.actors[0].kill();
    cluster.learners[0].kill();

    let (own, kept) = (cluster.run_dir(), cluster.folder().join("kept"));
    fs::rename(&own, &kept).unwrap();
    // Started again, as an operator or Kubernetes would, it does not take the folder that it made for the run's.
    for _ in 0..2 {
        cluster.learners[0].start();
        let status = cluster.learners[0].wait_for_end(START);
        let said = cluster.learners[0].log_since_start();
        assert!(!status.success() && said.contains("is new: give the run directory"), "{said}");
    }
    // Left by a learner that shards under load had not answered at once.
    let _none = fs::remove_dir_all(&own);
    fs::rename(&kept, &own).unwrap();
    start(&mut cluster);
    goes_on(&cluster, 0, Some(&before), "the run goes on in its own directory");
}

#[test]
fn a_learner_that_is_refused_leaves_the_one_that_leads_alone() {
    let mut cluster = Cluster::new(1, false, |_| {});
    cluster.add_actor(&[]);
    cluster.add_learner();
    let elsewhere = cluster.folder().join("elsewhere");
    let (new, of_another) = (cluster.add_learner_in(&elsewhere), cluster.add_learner());
    for learner in [new, of_another] {
        cluster.learners[learner].push_argument("--set", "cluster.learner_listen=127.0.0.1:0");
    }
    cluster.learners[of_another].push_argument("--set", "cluster.run=another");
    cluster.shards.iter_mut().for_each(Process::start);
    cluster.learners[0].start();
    cluster.actors[0].start();
    let before = goes_on(&cluster, 0, None, "training begins");
    for (learner, said) in [
        (new, "is new: give the run directory"),
        (of_another, "is the folder of the run `faults`, cluster.run is `another`"),
    ] {
        cluster.learners[learner].start();
        let status = cluster.learners[learner].wait_for_end(START);
        let log = cluster.learners[learner].log();
        assert!(!status.success() && log.contains(said), "{log}");
    }
    assert!(!elsewhere.exists(), "nothing is left of it");
    goes_on(&cluster, 0, Some(&before), "the first one leads on");
    assert!(!cluster.learners[0].log().contains("a newer learner leads"));
}

#[test]
fn a_shard_with_other_settings_than_the_run_is_none_of_its_shards() {
    let mut cluster = Cluster::new(1, false, |_| {});
    cluster.add_learner();
    cluster.shards[0].push_argument("--set", "replay.sampling=fifo");
    cluster.shards[0].start();
    cluster.learners[0].start();
    let said = "it has replay.sampling = fifo, here it is uniform: start it with the run's settings";
    wait_until("the learner says what differs", START, cluster.folder(), || {
        cluster.learners[0].log().contains(said).then_some(())
    });
}
