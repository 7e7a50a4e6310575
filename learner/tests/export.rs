//! An exported policy against the one that acts: TorchScript, the numpy example where python3 has numpy
//! (`MAHRL_REQUIRE_NUMPY=1` fails without it), and TorchScript from Python where `MAHRL_PYTHON_TORCH` names a virtual
//! environment with torch, or python3 has it.

#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

mod support;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use agent::{Guidance, NO_GOAL, Policy, Scratch, Sessions, Weights};
use common::{
    ItemId, ItemTable,
    config::{Config, CriticAction, CriticOutput, GoalConditioning, Preset},
    history::N_WINDOWS,
    seed::Streams,
};
use learner::export::{Description, export};
use rand::RngExt;
use serde_json::{Value, json};
use support::Runs;
use tch::{CModule, Kind, Tensor};

const N_ITEMS: usize = 40;
const N_SESSIONS: usize = 9;
const N_JUDGED: usize = 6;
/// Of f32 against f32, on values of magnitude 1 to 10.
const TOLERANCE: f32 = 1e-5;

/// A policy that has learnt nothing and sessions with ragged histories.
struct Case {
    config: Config,
    items: Arc<ItemTable>,
    weights: Weights<'static>,
    /// `[E, 3, N]`, twice: now, and when the period began.
    windows: [Vec<ItemId>; 2],
    active: Vec<u8>,
    /// `[E, C]`
    judged: Vec<ItemId>,
}

/// What the agent computes, and what others are to compute.
struct Outputs {
    goals: Vec<f32>,
    actions: Vec<f32>,
    /// `[E, C]`
    values: Vec<f32>,
}

impl Case {
    fn new(preset: Preset, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::preset(preset);
        (config.model.n_dims, config.model.window) = (5, 4);
        (config.model.encoder_width, config.model.head_width) = (6, 7);
        change(&mut config);
        let mut rng = Streams::new(8, "test").sequential();
        let embeddings = (0..N_ITEMS * 5).map(|_| rng.random_range(-1.9..1.9)).collect();
        let (categories, prices) = ((0..N_ITEMS as u32).map(|i| i % 7).collect(), vec![0.0; N_ITEMS]);
        let items = ItemTable::new(5, config.model.bound, embeddings, categories, prices).unwrap();
        let mut ragged = || {
            let mut windows = Vec::new();
            for _ in 0..N_SESSIONS * N_WINDOWS {
                let length = rng.random_range(0..=4);
                windows.resize(windows.len() + 4 - length, ItemId::PADDING);
                windows.extend((0..length).map(|_| ItemId(rng.random_range(0..N_ITEMS as u32))));
            }
            windows
        };
        let windows = [ragged(), ragged()];
        let mut weights = Weights::random(&config.model, 3);
        // All places start alike.
        let place = "low/critic/heads.0.affinity.place".to_owned();
        if let Some(values) = weights.get(&place) {
            let values: Vec<f32> = values.iter().map(|_| rng.random_range(-1.0..1.0)).collect();
            weights.insert(place, vec![values.len() / config.model.window, config.model.window], values);
        }
        let n_goals = config.model.n_goals;
        let mut goal = || if n_goals == 0 { NO_GOAL } else { rng.random_range(0..=n_goals) as u8 };
        let active =
            (0..N_SESSIONS).map(|_| goal()).map(|i| if usize::from(i) == n_goals { NO_GOAL } else { i });
        let active = active.collect();
        let judged =
            (0..N_SESSIONS * N_JUDGED).map(|_| ItemId(rng.random_range(0..N_ITEMS as u32))).collect();
        Self { config, items: Arc::new(items), weights, windows, active, judged }
    }

    /// By the crate that acts.
    fn expected(&self) -> Outputs {
        let policy = Policy::new(&self.weights, &self.config.model, Arc::clone(&self.items)).unwrap();
        let mut scratch = Scratch::default();
        let [now, before] = &self.windows;
        let mut goals = vec![0.0; N_SESSIONS * self.config.model.n_goals * 5];
        policy.goals(Sessions::all(before), &mut scratch, &mut goals);
        let guidance = Guidance { goals: &goals, active: &self.active };
        let mut actions = vec![0.0; N_SESSIONS * 5];
        policy.virtual_actions(Sessions::all(now), guidance, &mut scratch, &mut actions);
        let mut values = vec![0.0; N_SESSIONS * N_JUDGED];
        for k in 0..N_JUDGED {
            let items = self.judged.iter().skip(k).step_by(N_JUDGED);
            let embeddings: Vec<f32> = items.flat_map(|&item| self.items.embedding(item)).copied().collect();
            let mut q = vec![0.0; N_SESSIONS];
            policy.low_q(Sessions::all(now), guidance, &embeddings, &mut scratch, &mut q).unwrap();
            values.iter_mut().skip(k).step_by(N_JUDGED).zip(q).for_each(|(value, q)| *value = q);
        }
        Outputs { goals, actions, values }
    }

    fn export(&self, folder: &Path) {
        export(folder, &self.config, &self.weights, &self.items, None).unwrap();
    }

    /// Rows with -1 for padding.
    fn ids(items: &[ItemId]) -> Vec<i64> {
        items.iter().map(|item| if item.is_padding() { -1 } else { item.row() as i64 }).collect()
    }

    fn active(&self) -> Vec<i64> {
        self.active.iter().map(|&i| if i == NO_GOAL { -1 } else { i64::from(i) }).collect()
    }

    /// Cosines of all items `[E, V]`.
    fn cosines(&self, actions: &[f32]) -> Vec<f32> {
        let mut cosines = Vec::new();
        for action in actions.chunks_exact(5) {
            let length = action.iter().map(|a| a * a).sum::<f32>().sqrt();
            let units = self.items.unit_embeddings().chunks_exact(5);
            cosines
                .extend(units.map(|unit| unit.iter().zip(action).map(|(u, a)| u * a).sum::<f32>() / length));
        }
        cosines
    }
}

/// The forms of the networks that settings can ask for.
fn cases() -> Vec<Case> {
    let goals_in_state = |config: &mut Config| {
        config.model.goal_conditioning = GoalConditioning::Both;
        config.model.critic_action = CriticAction::Direction;
        config.model.critic_output = CriticOutput::Linear;
        config.model.n_goals = 3;
        config.model.head_norm = true;
    };
    vec![
        Case::new(Preset::Paper, |_| {}),
        Case::new(Preset::Tuned, |config| config.model.critic_output = CriticOutput::Softplus),
        Case::new(Preset::Tuned, |config| config.model.critic_output = CriticOutput::Exponential),
        Case::new(Preset::Paper, goals_in_state),
        Case::new(Preset::DdpgO, |_| {}),
        Case::new(Preset::DdpgO, |config| config.model.critic_affinity = 3),
        Case::new(Preset::Best, |_| {}),
    ]
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_kind(Kind::Float).contiguous().view([-1])).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap() as f32],
    }
}

#[track_caller]
fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < TOLERANCE * expected.abs().max(1.0),
            "{what}: {found}, not {expected}"
        );
    }
}

#[test]
fn torchscript_computes_what_the_agent_computes() {
    for (number, case) in cases().iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        case.export(folder.path());
        let (expected, n) = (case.expected(), N_SESSIONS as i64);
        let windows = case.windows.each_ref().map(|w| Tensor::from_slice(&Case::ids(w)).view([n, 3, 4]));
        let active = Tensor::from_slice(&case.active());
        let load = |name: &str| CModule::load(folder.path().join(name)).unwrap();
        let [goals, policy, critic] = ["goals.pt", "policy.pt", "critic.pt"].map(load);
        let judged = Tensor::from_slice(&Case::ids(&case.judged)).view([n, N_JUDGED as i64]);
        // The whole batch, and a session alone: no size of a batch is in a module.
        for (first, rows) in [(0, n), (3, 1)] {
            let part = |tensor: &Tensor| tensor.narrow(0, first, rows);
            let goals = goals.forward_ts(&[part(&windows[1])]).unwrap();
            let now = [part(&windows[0]), goals.shallow_clone(), part(&active)];
            let cosines = policy.forward_ts(&now).unwrap();
            let [windows, goals_again, active] = now;
            let values = critic.forward_ts(&[windows, goals_again, active, part(&judged)]).unwrap();
            let of = |all: &[f32]| {
                let width = all.len() / N_SESSIONS;
                all[first as usize * width..][..rows as usize * width].to_vec()
            };
            assert_close(&format!("{number}: goals"), &flat(&goals), &of(&expected.goals));
            let of_actions = of(&case.cosines(&expected.actions));
            assert_close(&format!("{number}: cosines"), &flat(&cosines), &of_actions);
            assert_close(&format!("{number}: values"), &flat(&values), &of(&expected.values));
        }
    }
}

/// A python with torch; one that was named must have it.
fn python_with_torch() -> Option<PathBuf> {
    let has_torch = |python: &Path| {
        let output = Command::new(python).args(["-c", "import torch"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    if let Some(environment) = std::env::var_os("MAHRL_PYTHON_TORCH") {
        let python = Path::new(&environment).join("bin/python3");
        assert!(has_torch(&python), "MAHRL_PYTHON_TORCH: {} cannot import torch", python.display());
        return Some(python);
    }
    Some(PathBuf::from("python3")).filter(|python| has_torch(python))
}

#[test]
fn python_loads_the_torchscript_modules_and_computes_the_same() {
    let Some(python) = python_with_torch() else {
        // Past the capture of a passing test's output: whoever reads the tests' log should know.
        let said = "SKIPPED: TorchScript from Python: no Python torch; \
                    MAHRL_PYTHON_TORCH=VENV names a virtual environment with torch\n";
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return;
    };
    for (number, case) in cases().iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        case.export(folder.path());
        let expected = case.expected();
        let windows = |windows: &[ItemId]| -> Vec<Vec<Vec<i64>>> {
            let session = |session: &[ItemId]| session.chunks_exact(4).map(Case::ids).collect();
            windows.chunks_exact(N_WINDOWS * 4).map(session).collect()
        };
        let rows = |values: &[f32]| -> Vec<Vec<f32>> {
            let width = values.len() / N_SESSIONS;
            (0..N_SESSIONS).map(|e| values[e * width..][..width].to_vec()).collect()
        };
        let [now, before] = case.windows.each_ref().map(|w| windows(w));
        let items: Vec<Vec<i64>> = case.judged.chunks_exact(N_JUDGED).map(Case::ids).collect();
        let asked = json!({
            "windows": now,
            "period_windows": before,
            "active": case.active(),
            "items": items,
            "goals": rows(&expected.goals),
            "cosines": rows(&case.cosines(&expected.actions)),
            "values": rows(&expected.values),
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torchscript/parity.py");
        let found = ask(&python, &script, folder.path(), &asked);
        assert_eq!(found["sessions"], N_SESSIONS);
        for name in ["goals", "cosines", "values"] {
            let largest = found[name].as_f64().unwrap();
            assert!(largest <= f64::from(TOLERANCE), "{number}: {name} differ by {largest}");
        }
    }
}

/// What a Python program answers about an exported policy.
fn ask(python: &Path, script: &Path, folder: &Path, asked: &Value) -> Value {
    let (stdin, stdout) = (Stdio::piped(), Stdio::piped());
    let mut program = Command::new(python);
    // A libtorch of another version on the path would be loaded instead of Python's own.
    program.arg(script).arg(folder).env_remove("LD_LIBRARY_PATH");
    let mut child = program.stdin(stdin).stdout(stdout).spawn().unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{} failed", script.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn plain_numpy_computes_what_the_agent_computes() {
    let has_numpy = |python: &&str| {
        Command::new(python).args(["-c", "import numpy"]).output().is_ok_and(|output| output.status.success())
    };
    let Some(python) = ["python3", "/usr/bin/python3"].into_iter().find(has_numpy) else {
        let required = std::env::var_os("MAHRL_REQUIRE_NUMPY").is_some();
        assert!(!required, "python3 has no numpy: apt-get install python3-numpy");
        eprintln!("python3 has no numpy: the numpy example is not tested");
        return;
    };
    for (number, case) in cases().iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        case.export(folder.path());
        let real = |windows: &[ItemId]| -> Vec<Vec<i64>> {
            windows
                .chunks_exact(4)
                .map(|w| Case::ids(w).into_iter().filter(|&id| id >= 0).collect())
                .collect()
        };
        let session = |e: usize| {
            let [now, before] = case.windows.each_ref().map(|w| real(&w[e * 12..][..12]));
            let items = Case::ids(&case.judged[e * N_JUDGED..][..N_JUDGED]);
            json!({"windows": now, "period_windows": before, "active": case.active()[e], "items": items})
        };
        let sessions: Vec<Value> = (0..N_SESSIONS).map(session).collect();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/exported_policy.py");
        let answers = ask(Path::new(python), &script, folder.path(), &json!(sessions));
        let answers = answers.as_array().unwrap();
        let all =
            |key: &str| -> Vec<f32> { answers.iter().flat_map(|answer| numbers(&answer[key])).collect() };
        let expected = case.expected();
        assert_close(&format!("{number}: goals"), &all("goals"), &expected.goals);
        assert_close(&format!("{number}: actions"), &all("action"), &expected.actions);
        assert_close(&format!("{number}: values"), &all("values"), &expected.values);
        let cosines = case.cosines(&expected.actions);
        let judged =
            case.judged.iter().enumerate().map(|(k, item)| cosines[k / N_JUDGED * N_ITEMS + item.row()]);
        assert_close(&format!("{number}: cosines"), &all("cosines"), &judged.collect::<Vec<_>>());
    }
}

/// No file may be longer than 300 blocks of 512 bytes: the weights fit, the items do not.
fn assert_nothing_is_left_of_an_export_without_room(runs: &Runs) {
    let script = "trap '' XFSZ; ulimit -f 300; exec \"$0\" export \"$1\" --out \"$2\"";
    let out = runs.path("small");
    let ended = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_learner")])
        .args([runs.path("run"), out.clone()])
        .output()
        .unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success() && stderr.contains("items.safetensors"), "{stderr}");
    assert_eq!(std::fs::read_dir(out).unwrap().count(), 0);
}

#[test]
fn a_run_is_exported_ranked_and_asked_for_recommendations() {
    let runs = Runs::new();
    runs.begin("run", &[]).succeed();
    let said = runs.spawn(&["export", "run", "--out", "policy"]).succeed().stdout;
    assert!(said.contains("TorchScript"), "{said}");
    let folder = runs.path("policy");
    let description: Description =
        serde_json::from_str(&std::fs::read_to_string(folder.join("policy.json")).unwrap()).unwrap();
    let names: Vec<&str> = description.networks.iter().map(|network| network.prefix.as_str()).collect();
    assert_eq!(names, ["high/actor/", "high/critic/", "low/actor/", "low/critic/"]);
    let bytes = std::fs::read(folder.join("policy.safetensors")).unwrap();
    let items = Arc::new(ItemTable::load(&folder.join("items.safetensors")).unwrap());
    assert_eq!((items.n_items(), items.n_dims()), (description.n_items, description.model.n_dims));
    Policy::from_safetensors(&bytes, &description.model, items).unwrap();
    let names = std::fs::read_to_string(folder.join("items.csv")).unwrap();
    assert_eq!(names.lines().count(), description.n_items + 1);
    // Nothing is overwritten.
    let ended = runs.spawn(&["export", "run", "--out", "policy"]).end();
    assert!(!ended.status.success() && ended.stderr.contains("is not empty"), "{}", ended.stderr);

    assert_nothing_is_left_of_an_export_without_room(&runs);

    std::fs::write(runs.path("history.csv"), "user_id,item_id,feedback\n7,3,0\nanna,17,2\n7,4,1\n").unwrap();
    let said = runs.spawn(&["recommend", "run", "--history", "history.csv", "--top-k", "4"]).succeed().stdout;
    let rows: Vec<&str> =
        said.lines().filter(|line| line.starts_with("| 7 ") || line.starts_with("| anna ")).collect();
    assert_eq!(rows.len(), 8, "{said}");
    let json =
        runs.spawn(&["recommend", "run", "--history", "history.csv", "--top-k", "4", "--json"]).succeed();
    let lines: Vec<Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!([&lines[0]["user"], &lines[1]["user"]], ["7", "anna"]);
    for (line, rows) in lines.iter().zip(rows.chunks(4)) {
        for (item, row) in line["items"].as_array().unwrap().iter().zip(rows) {
            assert!(
                row.contains(&format!(" {} ", item["item"])) && item["key"].is_null(),
                "{item} is not {row}"
            );
        }
    }
    std::fs::write(runs.path("history.csv"), "user_id,item_id,feedback\n7,3,0\n7,99999999,1\n").unwrap();
    let said = runs.spawn(&["recommend", "run", "--history", "history.csv"]).end().stderr;
    assert!(said.contains("history.csv, line 3: item 99999999 is not in the catalogue"), "{said}");

    std::fs::write(runs.path("history.csv"), "user_id,item_id,feedback\n7,3,click\n").unwrap();
    let ended = runs.spawn(&["recommend", "run", "--history", "history.csv"]).end();
    assert!(ended.stderr.contains("line 2: `feedback` is \"click\", expected 0 (skip)"), "{}", ended.stderr);

    for mode in ["static", "sequential"] {
        let args = ["rank", "run", "--mode", mode, "--sessions", "60"];
        let said = runs.spawn(&args).succeed().stdout;
        for name in ["random", "logged order", "popularity", "MaHRL"] {
            assert!(said.contains(&format!("| {name} ")), "no {name} in\n{said}");
        }
        let table = std::fs::read_to_string(runs.path("run").join(format!("ranking-{mode}.json"))).unwrap();
        let table: Value = serde_json::from_str(&table).unwrap();
        assert_eq!(table["rows"].as_array().unwrap().len(), 4);
        assert_eq!(runs.spawn(&args).succeed().stdout, said, "the same again");
    }
}
