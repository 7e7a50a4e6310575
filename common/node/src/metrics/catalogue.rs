//! The catalogue: name, kind, labels and help of every metric. docs/metrics.md has the same table; a test compares them.
//!
//! Names are `mahrl_ROLE_WHAT[_UNIT][_total]`. Values of labels come from small fixed sets, never from a peer.

use super::{Counter, Gauge, Histogram, Kind, Metric};

macro_rules! catalogue {
    ($(#[doc = $help:literal] $name:ident: $kind:ident = $key:literal [$($label:literal),*];)+) => {
        $(
            #[doc = $help]
            pub const $name: $kind<{ <[&str]>::len(&[$($label),*]) }> = $kind::new($key, [$($label),*]);
        )+

        /// All of them, in the order of docs/metrics.md.
        pub const CATALOGUE: &[Metric] = &[$(Metric {
            name: $key,
            kind: Kind::$kind,
            help: $help.trim_ascii(),
            labels: &[$($label),*],
        }),+];
    };
}

catalogue! {
    // Every process.
    /// 1; its labels say who this is
    PROCESS_INFO: Gauge = "mahrl_process_info" ["role", "version"];
    /// 1 if the process is ready, 0 if not
    READY: Gauge = "mahrl_ready" [];
    /// connections open now, by listener (`grpc`, `metrics`)
    CONNECTIONS: Gauge = "mahrl_connections" ["listener"];
    /// connections closed at once because of the limit, by listener
    CONNECTIONS_REFUSED: Counter = "mahrl_connections_refused_total" ["listener"];
    /// requests refused for their token (`missing`, `wrong`) and connections for their TLS handshake (`tls`), by reason
    AUTH_FAILURES: Counter = "mahrl_auth_failures_total" ["reason"];

    // A shard of the replay service.
    /// transitions held, by table (`low`, `high`)
    REPLAY_SIZE: Gauge = "mahrl_replay_size" ["table"];
    /// transitions that may be held, by table
    REPLAY_CAPACITY: Gauge = "mahrl_replay_capacity" ["table"];
    /// memory of the records held and of the tables
    REPLAY_BYTES: Gauge = "mahrl_replay_bytes" [];
    /// memory that they may take; 0: no limit
    REPLAY_CAPACITY_BYTES: Gauge = "mahrl_replay_capacity_bytes" [];
    /// transitions stored, by table
    REPLAY_INSERTED: Counter = "mahrl_replay_inserted_total" ["table"];
    /// rows sent in minibatches, by table
    REPLAY_SAMPLED: Counter = "mahrl_replay_sampled_total" ["table"];
    /// age of the oldest goals in a batch when it is stored: versions of the weights published since
    REPLAY_INSERTED_AGE_VERSIONS: Histogram = "mahrl_replay_inserted_age_versions" [];
    /// transitions that gave way to newer ones, by table
    REPLAY_EVICTED: Counter = "mahrl_replay_evicted_total" ["table"];
    /// batches that came again after a lost acknowledgement, and were not stored again
    REPLAY_DUPLICATES: Counter = "mahrl_replay_duplicates_total" [];
    /// requests and batches refused, by reason (`invalid`, `precondition`, `full`, `unreadable`)
    REPLAY_REJECTED: Counter = "mahrl_replay_rejected_total" ["reason"];
    /// writers with an open stream
    REPLAY_WRITERS: Gauge = "mahrl_replay_writers" [];
    /// writers that wait for the rate limiter
    REPLAY_WAITING_WRITERS: Gauge = "mahrl_replay_waiting_writers" [];
    /// time from a batch's arrival to its acknowledgement
    REPLAY_APPEND_SECONDS: Histogram = "mahrl_replay_append_seconds" [];
    /// time of a minibatch, waits included
    REPLAY_SAMPLE_SECONDS: Histogram = "mahrl_replay_sample_seconds" [];
    /// bytes written to the journal
    REPLAY_JOURNAL_BYTES: Counter = "mahrl_replay_journal_bytes_total" [];
    /// operations on the data directory that failed, by operation (`write`, `sync`, `create`, `snapshot`)
    REPLAY_JOURNAL_FAILURES: Counter = "mahrl_replay_journal_failures_total" ["operation"];
    /// time of an fdatasync of the journal
    REPLAY_SYNC_SECONDS: Histogram = "mahrl_replay_sync_seconds" [];
    /// time of a snapshot
    REPLAY_SNAPSHOT_SECONDS: Histogram = "mahrl_replay_snapshot_seconds" [];
    /// time that the last start took to bring the contents back
    REPLAY_RECOVERY_SECONDS: Gauge = "mahrl_replay_recovery_seconds" [];

    // The learner.
    /// updates of both levels, over the whole run
    LEARNER_STEP: Gauge = "mahrl_learner_step" [];
    /// updates of both levels by this process
    LEARNER_UPDATES: Counter = "mahrl_learner_updates_total" [];
    /// environment steps, over the whole run and all actors
    LEARNER_ENV_STEPS: Gauge = "mahrl_learner_env_steps" [];
    /// rows sampled for every transition inserted, by table, over the whole run
    LEARNER_SAMPLES_PER_INSERT: Gauge = "mahrl_learner_samples_per_insert" ["table"];
    /// mean of the weight broadcasts between the choice of the goals and the update, over recent minibatches
    LEARNER_STALENESS_VERSIONS: Gauge = "mahrl_learner_staleness_versions" [];
    /// age of the goals of each low-level row of the minibatches: versions of the weights published since; in updates about `train.publish_every` times as many
    LEARNER_SAMPLED_AGE_VERSIONS: Histogram = "mahrl_learner_sampled_age_versions" [];
    /// share of the Q values that are exactly 0 behind a ReLU and pass no gradient, by level
    LEARNER_DEAD_SHARE: Gauge = "mahrl_learner_dead_share" ["level"];
    /// time of an update of both levels
    LEARNER_UPDATE_SECONDS: Histogram = "mahrl_learner_update_seconds" [];
    /// time that the learner waits for a minibatch
    LEARNER_SAMPLE_WAIT_SECONDS: Histogram = "mahrl_learner_sample_wait_seconds" [];
    /// 1 if this process leads, 0 if it stands by
    LEARNER_LEADER: Gauge = "mahrl_learner_leader" [];
    /// 1 if all steps of the run are done and learned from
    LEARNER_FINISHED: Gauge = "mahrl_learner_finished" [];
    /// actors that hold a stream of weights
    LEARNER_ACTORS: Gauge = "mahrl_learner_actors" [];
    /// shards by state (`live`, `down`)
    LEARNER_SHARDS: Gauge = "mahrl_learner_shards" ["state"];
    /// actors that were not admitted, by reason
    LEARNER_JOINS_REFUSED: Counter = "mahrl_learner_joins_refused_total" ["reason"];
    /// updates in the last checkpoint
    CHECKPOINT_STEP: Gauge = "mahrl_checkpoint_step" [];
    /// time of a checkpoint
    CHECKPOINT_SECONDS: Histogram = "mahrl_checkpoint_seconds" [];
    /// tries to write a checkpoint that failed; for want of room the run waits and tries again
    CHECKPOINT_FAILURES: Counter = "mahrl_checkpoint_failures_total" [];
    // The learner and the evaluator.
    /// mean total reward of a session in the last evaluation, by the learner or by the evaluator
    EVALUATION_RETURN: Gauge = "mahrl_evaluation_return" [];
    /// environment steps at the last evaluation, by the learner
    EVALUATION_ENV_STEPS: Gauge = "mahrl_evaluation_env_steps" [];
    /// updates behind the policy of the last evaluation
    EVALUATION_STEP: Gauge = "mahrl_evaluation_step" [];

    // Weights.
    /// newest version that the learner has published
    WEIGHTS_VERSION: Gauge = "mahrl_weights_version" [];
    /// versions published
    WEIGHTS_PUBLISHED: Counter = "mahrl_weights_published_total" [];
    /// bytes of weights sent to subscribers
    WEIGHTS_SENT_BYTES: Counter = "mahrl_weights_sent_bytes_total" [];
    /// age of the policy that the actor acts by
    WEIGHTS_STALENESS_SECONDS: Gauge = "mahrl_weights_staleness_seconds" [];

    // An actor.
    /// time from the publication of a version to its first use by a rollout thread; all but the first of an incarnation
    ACTOR_WEIGHTS_DELAY_SECONDS: Histogram = "mahrl_actor_weights_delay_seconds" [];
    /// age of the policy at each step of a rollout thread, once the world has answered: since when it may not have been the newest; never above `actor.max_staleness_seconds`
    ACTOR_POLICY_AGE_SECONDS: Histogram = "mahrl_actor_policy_age_seconds" [];
    /// choices of a rollout thread that were given up because their weights became too old meanwhile: before they were acted by (`choice`: made again), or before the world had answered (`answer`: the actor joins again)
    ACTOR_STALE_CHOICES: Counter = "mahrl_actor_stale_choices_total" ["stage"];
    /// environment steps
    ACTOR_STEPS: Counter = "mahrl_actor_steps_total" [];
    /// sessions that ended
    ACTOR_SESSIONS: Counter = "mahrl_actor_sessions_total" [];
    /// sessions that were abandoned, or had ended with steps that were not stored, because their shard was lost
    ACTOR_SESSIONS_LOST: Counter = "mahrl_actor_sessions_lost_total" [];
    /// version of the policy that it acts by
    ACTOR_POLICY_VERSION: Gauge = "mahrl_actor_policy_version" [];
    /// pauses of a rollout thread, by reason (`staleness`, `replay`, `learner`); their time is the sum
    ACTOR_PAUSED_SECONDS: Histogram = "mahrl_actor_paused_seconds" ["reason"];
    /// streams opened again after a failure, by peer (`learner`, `replay`)
    ACTOR_RECONNECTS: Counter = "mahrl_actor_reconnects_total" ["peer"];
    /// batches sent again after a reconnect
    ACTOR_RESENT_BATCHES: Counter = "mahrl_actor_resent_batches_total" [];
}
