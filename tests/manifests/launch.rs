//! The pods of the manifests as processes of this machine: their very commands, arguments, environment, files and probes.
//!
//! What differs from a pod: a pod's address is one of the loopback network, paths of mounts are folders of the test, and
//! the tables are smaller, so that learning begins within seconds. Redis is this machine's `redis-server`.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use system_tests::{
    cluster::scrape,
    process::{Process, free_port, program, wait_until},
    redis,
};

use crate::read::{Manifest, alone, find, main_container, settings_toml, strings};

/// In which all pods must be ready after `kubectl apply`.
const READY: Duration = Duration::from_secs(120);
/// In which the test's learner must have learned something.
const LEARNED: Duration = Duration::from_secs(180);
/// What is smaller than in the manifests.
const SMALLER: [(&str, &str); 5] = [
    ("MAHRL__REPLAY__LOW__MIN_SIZE", "2000"),
    ("MAHRL__REPLAY__HIGH__MIN_SIZE", "200"),
    ("MAHRL__EXPLORATION__RANDOM_STEPS", "2000"),
    ("MAHRL__TRAIN__EVALUATE_EVERY", "20000"),
    ("MAHRL__TRAIN__CHECKPOINT_EVERY", "5000"),
];

/// What the pods share.
struct Site {
    folder: tempfile::TempDir,
    redis_port: u16,
    /// Third part of the pods' addresses.
    network: u8,
}

impl Site {
    /// Makes the secrets as the Job would.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self { folder, redis_port: free_port(), network: std::process::id().to_le_bytes()[0] };
        let made =
            Command::new(program("replay")).args(["secrets", "files"]).arg(site.secrets()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        site
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn secrets(&self) -> PathBuf {
        self.path().join("secrets")
    }
}

/// A pod of a manifest.
struct Pod {
    manifest: Manifest,
    name: String,
    address: String,
    folder: PathBuf,
    /// Texts of the manifest and what stands for them here.
    here: Vec<(String, String)>,
    process: Process,
}

impl Pod {
    fn new(site: &Site, (kind, workload): (&str, &str), number: u8) -> Self {
        let manifest = find(kind, workload);
        let name = format!("{workload}-{number}");
        let position =
            ["redis", "replay", "learner", "actor", "evaluator"].iter().position(|n| *n == workload);
        let address = format!("127.77.{}.{}", site.network, 10 * position.unwrap() as u8 + number + 1);
        let folder = site.path().join(&name);
        fs::create_dir_all(folder.join("data")).unwrap();
        let text = |path: PathBuf| path.display().to_string();
        let mut here = vec![
            ("/etc/mahrl/secrets".to_owned(), text(site.secrets())),
            ("/etc/mahrl/config".to_owned(), text(folder.clone())),
            ("/etc/redis/redis.conf".to_owned(), text(folder.join("redis.conf"))),
            ("\"/data/".to_owned(), format!("\"{}/", text(folder.join("data")))),
            ("0.0.0.0:".to_owned(), format!("{address}:")),
            ("127.0.0.1:".to_owned(), format!("{address}:")),
            ("$(POD_IP)".to_owned(), address.clone()),
            ("rediss://redis:6379".to_owned(), format!("rediss://localhost:{}", site.redis_port)),
            ("-h localhost".to_owned(), format!("-h localhost -p {}", site.redis_port)),
        ];
        let programs = program("actor").parent().unwrap().display().to_string();
        here.push(("/usr/local/bin".to_owned(), programs));
        // Not started.
        let process = Process::new(&name, PathBuf::new(), [""; 0], site.path());
        let mut pod = Self { manifest, name, address, folder, here, process };
        fs::write(pod.folder.join("mahrl.toml"), pod.said_here(&settings_toml())).unwrap();
        pod.process = pod.container(site);
        pod
    }

    /// A text of the manifest as it is true here.
    fn said_here(&self, text: &str) -> String {
        self.here.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }

    /// The main container: its command, arguments, environment, folder.
    fn container(&self, site: &Site) -> Process {
        let container = main_container(&self.manifest);
        let words: Vec<String> = ["command", "args"]
            .iter()
            .flat_map(|key| strings(&container[key]))
            .map(|word| self.said_here(&word))
            .collect();
        let mut process =
            Process::new(&self.name, PathBuf::from(&words[0]), words[1..].iter().cloned(), site.path());
        process = process.with_env("HOSTNAME", &self.name);
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.name") => self.name.clone(),
                Some("status.podIP") => self.address.clone(),
                Some(other) => panic!("{}: {other} is not known here", self.name),
                None => self.said_here(variable["value"].as_str().unwrap()),
            };
            process = process.with_env(variable["name"].as_str().unwrap(), value);
        }
        if container["workingDir"].is_string() {
            process = process.in_folder(&self.folder.join("data"));
        }
        SMALLER.iter().fold(process, |process, (name, value)| process.with_env(name, *value))
    }

    fn probe(&self, probe: &str) -> bool {
        self.execute(&strings(&main_container(&self.manifest)[probe]["exec"]["command"]))
    }

    /// Runs a command as the kubelet would, in the container's environment; whether it succeeds.
    fn execute(&self, command: &[String]) -> bool {
        let container = main_container(&self.manifest);
        let words: Vec<String> = command.iter().map(|word| self.said_here(word)).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        for variable in container["env"].as_array().into_iter().flatten() {
            if let Some(value) = variable["value"].as_str() {
                command.env(variable["name"].as_str().unwrap(), self.said_here(value));
            }
        }
        command.output().unwrap().status.success()
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let address: SocketAddr = format!("{}:9400", self.address).parse().unwrap();
        scrape(address).get(name).copied()
    }

    /// Waits until a metric is at least so much.
    fn reaches(&self, name: &str, least: f64) -> f64 {
        let what = format!("{name} of {} is {least} or more", self.name);
        wait_until(&what, LEARNED, &self.process.log_folder(), || {
            self.metric(name).filter(|now| *now >= least)
        })
    }

    fn becomes_ready(&self, deadline: Duration) {
        let what = format!("{} is ready", self.name);
        wait_until(&what, deadline, &self.process.log_folder(), || {
            self.probe("readinessProbe").then_some(())
        });
        assert!(
            self.probe("livenessProbe") && self.probe("startupProbe"),
            "{} is ready, but not alive",
            self.name
        );
    }

    /// The lines of its log as JSON; all of them are.
    fn log_lines(&self) -> Vec<Value> {
        let log = self.process.log();
        let lines = log.lines().filter(|line| !line.starts_with("=== "));
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", self.name));
        lines.map(parse).collect()
    }
}

fn redis_of(site: &Site) -> Pod {
    let pod = Pod::new(site, ("StatefulSet", "redis"), 0);
    let conf = find("ConfigMap", "redis").value["data"]["redis.conf"].as_str().unwrap().to_owned();
    let data = pod.folder.join("data").display().to_string();
    let conf = pod.said_here(&conf).replace("dir /data", &format!("dir {data}"));
    let conf = conf.replace("tls-port 6379", &format!("bind 127.0.0.1\ntls-port {}", site.redis_port));
    fs::write(pod.folder.join("redis.conf"), conf).unwrap();
    pod
}

#[test]
fn the_pods_become_ready_learn_scale_and_come_back_with_what_they_had() {
    if !redis::is_installed() {
        return;
    }
    let _alone = alone();
    let site = Site::new();
    let mut redis = redis_of(&site);
    let mut shards = [0, 1].map(|number| Pod::new(&site, ("StatefulSet", "replay"), number));
    let mut learner = Pod::new(&site, ("Deployment", "learner"), 0);
    let mut actors = [0, 1].map(|number| Pod::new(&site, ("Deployment", "actor"), number));
    let mut evaluator = Pod::new(&site, ("Deployment", "evaluator"), 0);

    // All at once, as `kubectl apply` does; who needs others comes first.
    let begun = Instant::now();
    for pod in
        [&mut actors[0], &mut evaluator, &mut learner].into_iter().chain(&mut shards).chain([&mut redis])
    {
        pod.process.start();
    }
    for pod in [&redis, &shards[0], &shards[1], &learner, &actors[0], &evaluator] {
        pod.becomes_ready(READY.saturating_sub(begun.elapsed()));
    }

    // It learns, and the evaluator says how good the policy is.
    learner.reaches("mahrl_learner_step", 3.0);
    evaluator.reaches("mahrl_evaluation_return", 0.1);
    assert_eq!(learner.metric("mahrl_learner_actors"), Some(1.0), "the evaluator is no actor");

    // kubectl scale deployment/actor --replicas=2
    actors[1].process.start();
    actors[1].becomes_ready(READY);
    learner.reaches("mahrl_learner_actors", 2.0);

    // A shard dies and comes back with its volume.
    let held = shards[0].reaches("mahrl_replay_size{table=\"low\"}", 500.0);
    shards[0].process.kill();
    shards[0].process.start();
    shards[0].becomes_ready(READY);
    let back = shards[0].reaches("mahrl_replay_size{table=\"low\"}", held);
    assert!(back >= held, "{back} rows of {held}");

    // kubectl rollout restart deployment/learner
    let before = learner.reaches("mahrl_checkpoint_step", 1.0);
    learner.process.signal(Signal::TERM);
    learner.process.wait_for_end(Duration::from_secs(60));
    learner.process.start();
    learner.becomes_ready(READY);
    let resumed = learner.reaches("mahrl_learner_step", 1.0);
    assert!(resumed >= before, "the learner began at {resumed}, but a checkpoint had {before}");
    learner.reaches("mahrl_learner_step", resumed + 1.0);

    // Plain text is no way in, and a probe of another cluster neither.
    for pod in [&learner, &shards[0], &actors[0], &evaluator] {
        let port = if pod.name.starts_with("replay") { 7410 } else { 7420 };
        let asked = Command::new(program("actor"))
            .args(["health", "--live", "--address", &format!("{}:{port}", pod.address)])
            .output()
            .unwrap();
        assert!(!asked.status.success(), "{} answered in plain text", pod.name);
    }

    // kubectl delete: actors hand over before they are told to end, and end well.
    for actor in &mut actors {
        let hook = main_container(&actor.manifest)["lifecycle"]["preStop"]["exec"]["command"].clone();
        let id = actor.process.id().unwrap().to_string();
        let mut command = strings(&hook);
        command.extend(["--process".to_owned(), id]);
        assert!(actor.execute(&command), "{} drains", actor.name);
        assert!(actor.process.runs(), "{} waits for the order to end", actor.name);
        actor.process.signal(Signal::TERM);
        assert!(actor.process.wait_for_end(Duration::from_secs(40)).success(), "{}", actor.process.log());
    }
    for pod in [&shards[0], &shards[1], &learner, &actors[0], &evaluator] {
        let lines = pod.log_lines();
        let whose: BTreeSet<String> =
            lines.iter().map(|line| format!("{} {} {}", line["run"], line["role"], line["pod"])).collect();
        let role = pod.manifest.name();
        assert_eq!(whose, [format!("\"mahrl\" \"{role}\" \"{}\"", pod.name)].into());
        assert!(lines.len() < 200, "{} has {} lines: no line a step", pod.name, lines.len());
    }
    let evaluated = evaluator.log_lines();
    assert!(evaluated.iter().any(|line| line["fields"]["message"] == "evaluated"), "{evaluated:?}");
}
