//! A learner's run directory and the shards it meets belong to one run.

use std::fs;

use system_tests::{
    cluster::{Cluster, START},
    process::Process,
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
    fs::remove_dir_all(&own).unwrap();
    fs::rename(&kept, &own).unwrap();
    start(&mut cluster);
    goes_on(&cluster, 0, Some(&before), "the run goes on in its own directory");
}
