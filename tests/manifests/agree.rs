//! The manifests say what the code does: settings, ports, files, probes, times, metrics.

use std::collections::{BTreeMap, BTreeSet};

use node::{metrics::CATALOGUE, operate::SECRET_FILES};
use serde_json::Value;
use system_tests::root;

use crate::read::{Manifest, containers, find, main_container, processes, settings, settings_toml, strings};

fn port_of(address: &str) -> u64 {
    address.rsplit_once(':').unwrap().1.parse().unwrap()
}

fn container_port(manifest: &Manifest, name: &str) -> Option<u64> {
    let ports = main_container(manifest)["ports"].as_array().unwrap();
    ports.iter().find(|port| port["name"] == name)?["containerPort"].as_u64()
}

/// Name and value of a container's plain variables; the field's path for others.
fn environment(container: &Value) -> BTreeMap<String, String> {
    let value = |variable: &Value| {
        let text = variable["value"].as_str().or(variable["valueFrom"]["fieldRef"]["fieldPath"].as_str());
        (variable["name"].as_str().unwrap().to_owned(), text.unwrap().to_owned())
    };
    container["env"].as_array().into_iter().flatten().map(value).collect()
}

/// Where a mount with this name lies.
fn mount<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let mounts = container["volumeMounts"].as_array()?;
    mounts.iter().find(|mount| mount["name"] == name)?["mountPath"].as_str()
}

#[test]
fn the_settings_load_and_fit_the_pods() {
    let settings = settings();
    let replay = find("StatefulSet", "replay");
    assert_eq!(replay.value["spec"]["replicas"], settings.replay.shards);
    let data = mount(main_container(&replay), "data").unwrap();
    assert!(settings.replay.data_dir.starts_with(&format!("{data}/")), "{}", settings.replay.data_dir);
    let limit = main_container(&replay)["resources"]["limits"]["memory"].as_str().unwrap();
    let limit = limit.strip_suffix("Gi").expect("a shard's limit is in Gi").parse::<u64>().unwrap() * 1024;
    assert!(settings.replay.memory_mib > 0 && 2 * settings.replay.memory_mib <= limit, "of {limit} MiB");
    assert!(settings.replay.data_dir.ends_with(&settings.cluster.run), "a folder a run");
    for manifest in processes() {
        let grace = manifest.pod().unwrap()["terminationGracePeriodSeconds"].as_f64().unwrap();
        assert!(grace > settings.cluster.grace_seconds, "{}: {grace} s", manifest.label());
        let hook = strings(&main_container(&manifest)["lifecycle"]["preStop"]["exec"]["command"]);
        if let Some(at) = hook.iter().position(|word| word == "--seconds") {
            let drains: f64 = hook[at + 1].parse().unwrap();
            assert!(
                (settings.cluster.grace_seconds..grace).contains(&drains),
                "{}: {drains}",
                manifest.label()
            );
        }
    }
    let toml: toml::Table = settings_toml().parse().unwrap();
    assert_eq!(toml["preset"].as_str(), Some("best"), "the preset is said, not left to the default");
}

#[test]
fn the_ports_of_pods_services_and_settings_are_the_same() {
    let cluster = settings().cluster;
    let listen = BTreeMap::from([("replay", &cluster.replay_listen), ("learner", &cluster.learner_listen)]);
    for manifest in processes() {
        let name = manifest.name().to_owned();
        assert_eq!(container_port(&manifest, "metrics"), Some(port_of(&cluster.metrics_listen)), "{name}");
        assert_eq!(
            container_port(&manifest, "grpc"),
            listen.get(name.as_str()).map(|a| port_of(a)),
            "{name}"
        );
        if let Some(listen) = listen.get(name.as_str()) {
            let advertised = &environment(main_container(&manifest))["MAHRL__CLUSTER__ADVERTISE"];
            assert_eq!(advertised, &format!("$(POD_IP):{}", port_of(listen)), "{name}");
            let service = find("Service", &name).value["spec"]["ports"][0].clone();
            assert_eq!(
                (service["port"].as_u64(), &service["targetPort"]),
                (Some(port_of(listen)), &"grpc".into())
            );
        }
    }
    let redis = find("StatefulSet", "redis");
    let address = cluster.redis.strip_prefix("rediss://").expect("TLS");
    assert_eq!(address, format!("redis:{}", container_port(&redis, "redis").unwrap()));
    let conf = find("ConfigMap", "redis").value["data"]["redis.conf"].as_str().unwrap().to_owned();
    assert!(conf.contains(&format!("tls-port {}\n", port_of(address))), "{conf}");
    assert!(
        conf.contains("port 0\n") && conf.contains("tls-auth-clients yes\n"),
        "plain text is closed: {conf}"
    );
}

#[test]
fn every_file_that_is_named_is_a_mounted_secret_or_setting() {
    let cluster = settings().cluster;
    let tls = cluster.tls;
    let named = [cluster.token_file, cluster.redis_password_file, tls.ca, tls.certificate, tls.key];
    let mut used: BTreeSet<String> = BTreeSet::new();
    for manifest in processes() {
        let folder = mount(main_container(&manifest), "secrets").unwrap().to_owned();
        for path in &named {
            let file =
                path.strip_prefix(&format!("{folder}/")).unwrap_or_else(|| panic!("{path} is not mounted"));
            assert!(SECRET_FILES.contains(&file), "{path} is none of {SECRET_FILES:?}");
            used.insert(file.to_owned());
        }
        let container = main_container(&manifest);
        let config = format!("{}/mahrl.toml", mount(container, "config").unwrap());
        let given = environment(container).get("MAHRL_CONFIG").is_some_and(|path| *path == config);
        assert!(given || strings(&container["args"]).contains(&config), "{}", manifest.label());
    }
    // What is left of the secrets is Redis's.
    let redis = find("ConfigMap", "redis").value["data"]["redis.conf"].as_str().unwrap().to_owned();
    used.extend(
        SECRET_FILES.iter().filter(|file| redis.contains(&format!("/{file}\n"))).map(|f| (*f).to_owned()),
    );
    assert_eq!(
        used,
        SECRET_FILES.map(str::to_owned).into(),
        "a secret that nobody uses, or one that nobody makes"
    );
}

#[test]
fn pods_wait_for_their_secrets_and_say_what_they_wait_for() {
    let mut pods = processes();
    pods.push(find("StatefulSet", "redis"));
    for manifest in pods {
        let pod = manifest.pod().unwrap();
        let waits = &pod["initContainers"][0];
        let folder = mount(waits, "secrets").unwrap();
        assert_eq!(strings(&waits["args"]), ["secrets", "wait", folder], "{}", manifest.label());
        let volumes = pod["volumes"].as_array().unwrap();
        let secret = volumes.iter().find(|volume| volume["name"] == "secrets").unwrap();
        assert_eq!(secret["secret"]["secretName"], "mahrl-secrets");
        assert_eq!(secret["secret"]["optional"], true, "a pod without secrets starts, and says so");
    }
    let makes = find("Job", "secrets");
    assert_eq!(strings(&main_container(&makes)["args"]), ["secrets", "kubernetes", "mahrl-secrets"]);
}

#[test]
fn every_process_has_three_probes_that_ask_its_own_health() {
    for manifest in processes() {
        let (container, label) = (main_container(&manifest), manifest.label());
        let environment = environment(container);
        for (probe, asks_life) in [("startupProbe", true), ("livenessProbe", true), ("readinessProbe", false)]
        {
            let command = strings(&container[probe]["exec"]["command"]);
            assert_eq!(command[1], "health", "{label}: {probe}");
            assert_eq!(command.contains(&"--live".to_owned()), asks_life, "{label}: {probe}");
            let given = command.iter().position(|word| word == "--address").map(|at| command[at + 1].clone());
            let address = given.or_else(|| environment.get("MAHRL_HEALTH_LISTEN").cloned()).unwrap();
            let listens = match manifest.name() {
                "replay" => port_of(&settings().cluster.replay_listen),
                _ => port_of(&environment["MAHRL_HEALTH_LISTEN"]),
            };
            assert_eq!(address, format!("127.0.0.1:{listens}"), "{label}: {probe}");
            // An answer takes up to 4 s; the probe must not give up before the question does.
            assert!(container[probe]["timeoutSeconds"].as_u64().unwrap() >= 5, "{label}: {probe}");
        }
    }
}

#[test]
fn programs_are_started_by_their_path_in_the_images_and_log_json() {
    let dockerfile = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
    let stage = |name: &str| {
        let begin = dockerfile.find(&format!(" AS {name}\n")).unwrap_or_else(|| panic!("no target {name}"));
        let rest = &dockerfile[begin..];
        rest[..rest[1..].find("\nFROM ").map_or(rest.len(), |end| end + 1)].to_owned()
    };
    let version = env!("CARGO_PKG_VERSION");
    for manifest in processes().into_iter().chain([find("StatefulSet", "redis"), find("Job", "secrets")]) {
        for container in containers(manifest.pod().unwrap()) {
            let image = container["image"].as_str().unwrap();
            let Some((target, tag)) = image.strip_prefix("mahrl/").and_then(|rest| rest.split_once(':'))
            else {
                continue;
            };
            assert_eq!(tag, version, "{}: {image}", manifest.label());
            let stage = stage(target);
            let programs = ["startupProbe", "livenessProbe", "readinessProbe"]
                .iter()
                .map(|probe| strings(&container[probe]["exec"]["command"]))
                .chain([strings(&container["command"])]);
            for program in programs.filter_map(|command| command.first().cloned()) {
                let name = program.strip_prefix("/usr/local/bin/").unwrap_or_else(|| panic!("{program}"));
                assert!(stage.contains(&format!("/out/{name} ")), "{image} has no {program}:\n{stage}");
            }
        }
    }
    for manifest in processes() {
        let environment = environment(main_container(&manifest));
        assert_eq!(environment.get("MAHRL_LOG").map(String::as_str), Some("json"), "{}", manifest.label());
        for name in environment.keys().filter(|name| name.starts_with("MAHRL__")) {
            let key = name["MAHRL__".len()..].to_lowercase().replace("__", ".");
            let known = common::config::dotted(&settings().to_toml()).unwrap();
            assert!(known.contains_key(&key), "{}: {name} is no setting", manifest.label());
        }
    }
}

/// Names of metrics in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c)).filter(|word| word.starts_with("mahrl_"));
    words.map(str::to_owned).collect()
}

#[test]
fn alerts_and_dashboard_name_metrics_and_labels_that_exist() {
    let folder = root().join("k8s/overlays/monitoring");
    for file in ["alerts.yaml", "mahrl.json"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let named = metrics_in(&text);
        assert!(named.len() > 5, "{file} names {named:?}");
        for name in named {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let known = CATALOGUE.iter().any(|metric| metric.name == name || Some(metric.name) == base);
            assert!(known, "{file}: no process has a metric {name}");
        }
        for metric in CATALOGUE {
            for (at, _) in text.match_indices(metric.name) {
                let rest = &text[at + metric.name.len()..];
                let Some(labels) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
                    continue;
                };
                let labels = labels.0.replace('\\', "");
                let name = |pair: &'_ str| pair.split_once('=').unwrap().0.trim_end_matches('!').to_owned();
                for label in labels.split(',').map(name) {
                    let label = label.as_str();
                    let known = ["namespace", "pod"].contains(&label) || metric.labels.contains(&label);
                    assert!(known, "{file}: {} has no label {label}", metric.name);
                }
            }
        }
    }
}
