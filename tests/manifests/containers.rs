//! The manifests' pods as containers: images of the Dockerfile, commands, environment, files, user ids, limits and read-only
//! roots of the manifests, on a private network; killed, cut off, and seen to go on.
//!
//! Needs root, and a Docker engine or dockerd to start one (scripts/container-engine.sh); says so where there is none. Images
//! are tagged `:test`; those of the same name that are there stay.

use std::{
    io::Write,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use serde_json::Value;
use system_tests::{
    process::{programs, wait_until},
    root,
};

use crate::read::{alone, find, main_container, settings_toml, strings};

const READY: Duration = Duration::from_secs(120);
const GOES_ON: Duration = Duration::from_secs(240);
/// Between two looks: each asks the engine.
const LOOK: Duration = Duration::from_millis(500);
/// Of the images that this builds.
const TAG: &str = "test";
/// Of every container, by which those of a test that was interrupted are found.
const LABEL: &str = "mahrl-test";
const SUBNET: &str = "10.177.66";
/// What is smaller than in the manifests, so that learning begins within seconds.
const SMALLER: [(&str, &str); 4] = [
    ("MAHRL__REPLAY__LOW__MIN_SIZE", "2000"),
    ("MAHRL__REPLAY__HIGH__MIN_SIZE", "200"),
    ("MAHRL__EXPLORATION__RANDOM_STEPS", "2000"),
    ("MAHRL__TRAIN__CHECKPOINT_EVERY", "5000"),
];

/// An engine with images, a network and the containers on it; all of these end with it.
struct Engine {
    host: String,
    folder: tempfile::TempDir,
    files: PathBuf,
    /// Whether its kernel can hold containers to shares of cores.
    limits_cpu: bool,
}

impl Engine {
    /// `None`, saying why, where there is none.
    fn start() -> Option<Self> {
        // Volumes are given to the pods' user.
        if !rustix::process::getuid().is_root() {
            let _ = writeln!(std::io::stderr(), "NOT TESTED in containers: only root can give volumes away");
            return None;
        }
        let files = Path::new(env!("CARGO_TARGET_TMPDIR")).join("engine");
        let script = root().join("scripts/container-engine.sh");
        let started = Command::new(script).arg(&files).output().unwrap();
        let reason = String::from_utf8_lossy(&started.stderr).into_owned();
        if started.status.code() == Some(3) {
            // Not `eprintln`, which the test harness swallows.
            let _ = writeln!(std::io::stderr(), "NOT TESTED in containers: {reason}");
            return None;
        }
        assert!(started.status.success(), "{reason}");
        let said = String::from_utf8(started.stdout).unwrap();
        let host = said.trim().strip_prefix("DOCKER_HOST=").unwrap().to_owned();
        let mut engine = Self { host, folder: tempfile::tempdir().unwrap(), files, limits_cpu: false };
        engine.limits_cpu = engine.docker(&["info", "--format", "{{.CPUCfsQuota}}"]).trim() == "true";
        if !engine.limits_cpu {
            let _ = writeln!(
                std::io::stderr(),
                "NOT TESTED in containers: limits of CPU, which this kernel has not"
            );
        }
        engine.remove();
        engine.images();
        engine.docker(&[
            "network",
            "create",
            "--internal",
            "--subnet",
            &format!("{SUBNET}.0/24"),
            "mahrl-test",
        ]);
        Some(engine)
    }

    /// Builds the images of the programs beside this test.
    fn images(&self) {
        let mut command = Command::new(root().join("scripts/images.sh"));
        command.env("PROGRAMS", programs()).env("ENGINE", "docker").env("COMMIT", LABEL).env("VERSION", TAG);
        let built = self.with_host(&mut command).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        // Earlier ones have lost their names to these, and would pile up. In an engine that was there only those that are labelled as ours.
        let ours = ["--filter", "label=org.opencontainers.image.revision=mahrl-test"];
        let filter = if self.host.is_empty() { &ours[..] } else { &[] };
        self.docker(&[&["image", "prune", "--force"], filter].concat());
    }

    fn with_host<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if !self.host.is_empty() {
            command.env("DOCKER_HOST", &self.host);
        }
        command
    }

    fn try_docker(&self, arguments: &[&str]) -> Output {
        self.with_host(Command::new("docker").args(arguments)).output().unwrap()
    }

    fn docker(&self, arguments: &[&str]) -> String {
        let output = self.try_docker(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Ends what this test or an earlier one has left.
    fn remove(&self) {
        let left = self.docker(&["ps", "-aq", "--filter", &format!("label={LABEL}")]);
        for id in left.split_whitespace() {
            self.try_docker(&["rm", "--force", id]);
        }
        self.try_docker(&["network", "rm", "mahrl-test"]);
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.remove();
        if !self.host.is_empty() {
            let script = root().join("scripts/container-engine.sh");
            let _ended = Command::new(script).arg(&self.files).arg("down").output();
        }
    }
}

/// A folder that belongs to the pods' user, as `fsGroup` makes of a volume.
fn volume(path: &Path) -> PathBuf {
    std::fs::create_dir_all(path).unwrap();
    chown(path, Some(10_001), Some(10_001)).unwrap();
    path.to_owned()
}

/// The image of a container; of ours, those that this test has built.
fn image(container: &Value) -> String {
    let named = container["image"].as_str().unwrap();
    match named.strip_prefix("mahrl/") {
        Some(ours) => format!("mahrl/{}:{TAG}", ours.split(':').next().unwrap()),
        None => named.to_owned(),
    }
}

/// Cores that a limit names, as far as this machine has them.
fn cores(limit: &str) -> f64 {
    let cores = match limit.strip_suffix('m') {
        Some(thousandths) => thousandths.parse::<f64>().unwrap() / 1000.0,
        None => limit.parse().unwrap(),
    };
    cores.min(std::thread::available_parallelism().unwrap().get() as f64)
}

/// A pod as a container.
struct Pod<'a> {
    engine: &'a Engine,
    name: String,
    container: Value,
    address: String,
}

impl<'a> Pod<'a> {
    fn run(engine: &'a Engine, (kind, workload): (&str, &str), number: u8, place: u8) -> Self {
        let manifest = find(kind, workload);
        let pod = manifest.pod().unwrap();
        let container = main_container(&manifest).clone();
        let name = format!("{workload}-{number}");
        let address = format!("{SUBNET}.{place}");
        let user = &pod["securityContext"];
        let mut words: Vec<String> =
            ["run", "--detach", "--label", LABEL, "--name", &name].map(str::to_owned).into();
        let mut flag = |name: &str, value: String| words.extend([name.to_owned(), value]);
        flag("--hostname", name.clone());
        flag("--network", "mahrl-test".into());
        flag("--network-alias", workload.into());
        flag("--ip", address.clone());
        flag("--user", format!("{}:{}", user["runAsUser"], user["runAsGroup"]));
        flag("--cap-drop", "ALL".into());
        flag("--security-opt", "no-new-privileges".into());
        flag(
            "--memory",
            container["resources"]["limits"]["memory"].as_str().unwrap().to_lowercase().replace("i", ""),
        );
        if engine.limits_cpu {
            let limit = container["resources"]["limits"]["cpu"].as_str().unwrap();
            flag("--cpus", cores(limit).to_string());
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.name") => name.clone(),
                Some("status.podIP") => address.clone(),
                Some(other) => panic!("{other} is not known here"),
                None => variable["value"].as_str().unwrap().replace("$(POD_IP)", &address),
            };
            flag("--env", format!("{}={value}", variable["name"].as_str().unwrap()));
        }
        for (name, value) in SMALLER {
            flag("--env", format!("{name}={value}"));
        }
        for mount in container["volumeMounts"].as_array().unwrap() {
            let (volume_name, at) = (mount["name"].as_str().unwrap(), mount["mountPath"].as_str().unwrap());
            match volume_name {
                "tmp" => flag("--tmpfs", format!("{at}:size=64m")),
                "data" => {
                    let data = volume(&engine.path().join(&name));
                    flag("--volume", format!("{}:{at}", data.display()));
                }
                // Settings and secrets.
                other => {
                    let from = if workload == "redis" && other == "config" { "redis-config" } else { other };
                    flag("--volume", format!("{}:{at}:ro", engine.path().join(from).display()));
                }
            }
        }
        if let Some(folder) = container["workingDir"].as_str() {
            flag("--workdir", folder.into());
        }
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        words.push("--read-only".into());
        let command = strings(&container["command"]);
        words.extend(["--entrypoint".into(), command[0].clone()]);
        words.push(image(&container));
        words.extend(command[1..].iter().cloned().chain(strings(&container["args"])));
        engine.docker(&words.iter().map(String::as_str).collect::<Vec<_>>());
        Self { engine, name, container, address }
    }

    fn probe(&self, probe: &str) -> bool {
        let words = strings(&self.container[probe]["exec"]["command"]);
        let mut arguments = vec!["exec", self.name.as_str()];
        arguments.extend(words.iter().map(String::as_str));
        self.engine.try_docker(&arguments).status.success()
    }

    fn log(&self) -> String {
        let output = self.engine.try_docker(&["logs", &self.name]);
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
    }

    fn waits_for<T>(&self, what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
        let shown = self.engine.path().join(format!("{}.log", self.name));
        wait_until(&format!("{} {what}", self.name), deadline, self.engine.path(), || {
            look().or_else(|| {
                // For the message of a failure.
                std::fs::write(&shown, self.log()).unwrap();
                std::thread::sleep(LOOK);
                None
            })
        })
    }

    fn becomes_ready(&self) {
        self.waits_for("is ready", READY, || self.probe("readinessProbe").then_some(()));
        assert!(self.probe("livenessProbe"), "{}", self.name);
    }

    fn kill_and_start(&self) {
        self.engine.docker(&["kill", &self.name]);
        self.engine.docker(&["start", &self.name]);
    }

    /// The highest value of a field of lines with this message.
    fn highest(&self, message: &str, field: &str) -> Option<f64> {
        let lines = self.log();
        let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let fields = lines.map(|line| line["fields"].clone()).filter(|fields| fields["message"] == message);
        fields.filter_map(|fields| fields[field].as_f64()).reduce(f64::max)
    }

    /// Waits until the learner's log names more environment steps and updates than before.
    fn trains_on(&self) {
        let now = |field: &str| self.highest("training", field).unwrap_or(0.0);
        let before = (now("env_steps"), now("updates"));
        self.waits_for("trains on", GOES_ON, || {
            (now("env_steps") > before.0 && now("updates") > before.1).then_some(())
        });
    }
}

/// Settings and secrets as volumes.
fn files(engine: &Engine) {
    let write = |folder: &str, name: &str, text: &str| {
        std::fs::create_dir_all(engine.path().join(folder)).unwrap();
        std::fs::write(engine.path().join(folder).join(name), text).unwrap();
    };
    std::fs::set_permissions(engine.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    write("config", "mahrl.toml", &settings_toml());
    let redis = find("ConfigMap", "redis").value["data"]["redis.conf"].as_str().unwrap().to_owned();
    write("redis-config", "redis.conf", &redis);
    // As the Job makes them, by its image.
    let made = volume(&engine.path().join("made"));
    let image = image(&find("Job", "secrets").pod().unwrap()["containers"][0]);
    let mount = format!("{}:/made", made.display());
    engine.docker(&[
        "run",
        "--rm",
        "--read-only",
        "--volume",
        &mount,
        &image,
        "secrets",
        "files",
        "/made/secrets",
    ]);
    std::fs::rename(made.join("secrets"), engine.path().join("secrets")).unwrap();
}

#[test]
fn the_pods_train_in_containers_whoever_is_killed_or_cut_off() {
    let _alone = alone();
    let Some(engine) = Engine::start() else { return };
    for target in ["replay", "actor", "learner"] {
        let image = format!("mahrl/{target}:{TAG}");
        let said = engine.docker(&["run", "--rm", "--read-only", &image, "--version"]);
        assert!(said.starts_with(&format!("{target} {}", env!("CARGO_PKG_VERSION"))), "{said}");
        let user = engine.docker(&["image", "inspect", "--format", "{{.Config.User}}", &image]);
        assert_eq!(user.trim(), "10001:10001");
        let size = |image: &str| -> u64 {
            engine.docker(&["image", "inspect", "--format", "{{.Size}}", image]).trim().parse().unwrap()
        };
        if target != "learner" {
            let above = size(&image) - size("debian:bookworm-slim");
            assert!(above < 60_000_000, "{image} is {above} bytes above its base");
        }
    }
    files(&engine);
    let redis = Pod::run(&engine, ("StatefulSet", "redis"), 0, 10);
    let shards = [0, 1].map(|number| Pod::run(&engine, ("StatefulSet", "replay"), number, 20 + number));
    let learner = Pod::run(&engine, ("Deployment", "learner"), 0, 30);
    let actors = [0, 1].map(|number| Pod::run(&engine, ("Deployment", "actor"), number, 40 + number));
    for pod in [&redis, &shards[0], &shards[1], &learner, &actors[0], &actors[1]] {
        pod.becomes_ready();
    }
    learner.trains_on();

    for victim in [&actors[0], &shards[0], &redis, &learner] {
        victim.kill_and_start();
        victim.becomes_ready();
        learner.trains_on();
    }

    // A shard is cut off; the other one goes on. It comes back with what it had.
    engine.docker(&["network", "disconnect", "mahrl-test", &shards[1].name]);
    learner.trains_on();
    let address = shards[1].address.clone();
    engine.docker(&["network", "connect", "--ip", &address, "mahrl-test", &shards[1].name]);
    shards[1].becomes_ready();
    learner.trains_on();
}
