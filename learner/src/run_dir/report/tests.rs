//! A report of a made-up run, read back as a parser of HTML would.

use serde_json::{Value, json};

use super::*;
use crate::{
    baselines::history_greedy,
    evaluation::{
        Anchors, Estimate, EvaluationResult, EvaluationSettings, LevelReturn, MonteCarloReturns, Users,
        comparison::Row,
    },
    run_dir::metrics::{EvaluationRecord, LevelMeans, Record, TimingRecord, TrainRecord},
};

/// What the made-up run's settings are called.
const AGENT: &str = "MaHRL";

fn around(value: f64) -> Estimate {
    Estimate { value, low: value - 0.1, high: value + 0.1 }
}

fn level(n_heads: usize, q: f64) -> LevelMeans {
    let heads = vec![q; n_heads];
    LevelMeans {
        critic_loss: heads.clone(),
        actor_loss: heads.clone(),
        mean_q: heads.clone(),
        mean_target: heads.clone(),
        mean_reward: heads,
        critic_gradient_norm: 2.0,
        actor_gradient_norm: 1.0,
        saturated_share: 0.1,
        dead_share: 0.0,
    }
}

fn train(k: u64) -> Record {
    Record::Train(TrainRecord {
        env_steps: 1000 * k,
        updates: 10 * k,
        reward_per_step: 0.1,
        ctr: 0.08,
        cvr: 0.05,
        random_share: 0.1,
        noise_share: 0.7,
        internal_reward: Some(0.3),
        staleness: Some(1.5),
        staleness_p50: Some(1.0),
        staleness_p99: Some(4.0),
        high: Some(level(2, 0.1 * k as f64)),
        low: Some(level(1, 0.2 * k as f64)),
    })
}

fn evaluation(k: u64) -> Record {
    let both =
        LevelReturn { from_start: around(0.6), from_every_step: around(0.5), extrapolated: around(0.55) };
    Record::Evaluation(Box::new(EvaluationRecord {
        env_steps: 1000 * k,
        updates: 10 * k,
        total: around(4.0 + 0.2 * k as f64),
        click: around(3.0),
        order: around(1.0),
        expected: Some(around(4.1)),
        ctr: around(0.09),
        cvr: around(0.05),
        returns: MonteCarloReturns { low_external: both, low: both, high: vec![both; 2] },
        rank_agreement: Some(around(0.3)),
    }))
}

fn timing(k: u64) -> TimingRecord {
    TimingRecord {
        env_steps: 1000 * k,
        updates: 10 * k,
        seconds: k as f64,
        steps_per_second: 1000.0,
        updates_per_second: 10.0,
        update_share: 0.9,
        actor_forward_share: 0.4,
        actor_wait_share: 0.5,
        ..TimingRecord::default()
    }
}

fn row(name: &str, total: f64) -> Row {
    let result = EvaluationResult {
        name: name.to_owned(),
        total: around(total),
        click: around(0.8 * total),
        order: around(0.2 * total),
        expected: Some(around(total)),
        expected_order: None,
        ctr: around(0.1),
        cvr: around(0.05),
        length: 50.0,
        left: 0.0,
        coverage: 0.5,
        cumulative_order: Vec::new(),
        cumulative_total: Vec::new(),
        sessions: Vec::new(),
    };
    Row { result, difference: Some(around(0.5)), normalised: Some(around(0.2)), lead: None, lead_p: None }
}

fn comparison(agent: f64, length: usize) -> Comparison {
    let totals = [
        ("random", 3.4),
        ("<b>\"mine\" & others</b>", 3.9),
        ("logging", 5.0),
        (history_greedy::NAME, 6.0),
        (AGENT, agent),
        ("lookahead oracle", 19.0),
    ];
    Comparison {
        environment: "shopworld".to_owned(),
        settings: EvaluationSettings {
            users: Users::Test,
            sessions: 2000,
            length,
            seed: 0,
            slots: 64,
            threads: 1,
        },
        anchors: Anchors {
            baseline: Some("logging".to_owned()),
            scale: Some(("random".to_owned(), "lookahead oracle".to_owned())),
            subject: Some(AGENT.to_owned()),
        },
        rows: totals
            .map(|(name, total)| Row {
                lead: Some(around(agent - total)).filter(|_| name != AGENT),
                lead_p: (name != AGENT).then_some(if total == 5.0 { 0.0004 } else { 0.02 }),
                ..row(name, total)
            })
            .into(),
        caveats: vec!["A <caveat>.".to_owned()],
    }
}

struct MadeUp {
    _folder: tempfile::TempDir,
    run_dir: RunDir,
    config: Config,
}

fn made_up(metrics: &[Value], timing: &[TimingRecord]) -> MadeUp {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::default();
    let run_dir = RunDir::create(&folder.path().join("a <run> & co"), &config).unwrap();
    let text: String = metrics.iter().map(|line| format!("{line}\n")).collect();
    fs::write(run_dir.metrics_path(), text).unwrap();
    let text: String = timing.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
    fs::write(run_dir.timing_path(), text).unwrap();
    MadeUp { _folder: folder, run_dir, config }
}

fn whole_run() -> MadeUp {
    let records = (1..=5).flat_map(|k| [train(k), evaluation(k)]).map(|record| json!(record));
    // The second process begins at 0 s again.
    let timings =
        [1, 2, 3, 1, 2].into_iter().zip(1..).map(|(s, k)| TimingRecord { seconds: s as f64, ..timing(k) });
    made_up(&records.collect::<Vec<_>>(), &timings.collect::<Vec<_>>())
}

impl MadeUp {
    fn page(&self, comparison: Option<&Comparison>) -> String {
        let path = write(&self.run_dir, &self.config, comparison).unwrap();
        let page = fs::read_to_string(path).unwrap();
        assert_well_formed(&page);
        page
    }
}

/// Every tag is closed, in order; nothing is fetched; every id is there once.
fn assert_well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    let mut ids = std::collections::BTreeSet::new();
    while let Some((_, from_tag)) = rest.split_once('<') {
        let (tag, behind) = from_tag.split_once('>').unwrap();
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()), "<{tag}>");
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        if let Some((_, id)) = tag.split_once(" id=\"") {
            assert!(ids.insert(id.split('"').next().unwrap()), "<{tag}>");
        }
        rest = behind;
    }
    assert!(open.is_empty(), "{open:?}");
    for fetched in ["http:", "https:", "src=", "@import", "url(", "<script", "<link"] {
        assert!(!page.contains(fetched), "{fetched}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf "), "a number that is none");
}

fn plots(page: &str) -> usize {
    page.matches("<svg ").count()
}

#[test]
fn a_whole_run_has_every_plot_described() {
    let page = whole_run().page(Some(&comparison(6.5, 50)));
    for id in [
        "final-bars",
        "reward",
        "click",
        "order",
        "ctr",
        "cvr",
        "q-low",
        "q-high-1",
        "q-high-2",
        "critic-loss",
        "actor-loss",
        "critic-gradient",
        "actor-gradient",
        "saturated",
        "agreement",
        "internal-reward",
        "steps-rate",
        "update-rate",
        "time-learner",
        "time-rollouts",
        "samples-per-insert",
        "staleness",
        "noise",
        "rollout-reward",
    ] {
        assert!(page.contains(&format!("<title id=\"{id}-title\">")), "no plot {id}");
        assert!(page.contains(&format!("<desc id=\"{id}-text\">")), "{id} is not described");
    }
    assert_eq!(plots(&page), 24);
    // The oracle has a scale of its own, above the cut.
    assert!(page.contains("scale cut"));
    assert!(page.contains("MaHRL: 4.20 at step 1000, 5.00 at step 5000."), "the reward in words");
    assert!(page.contains("resumed once") && page.contains("<dd>5 s, resumed once</dd>"));
}

#[test]
fn a_success_and_a_defeat_are_said_plainly() {
    let run = whole_run();
    let page = run.page(Some(&comparison(5.5, 50)));
    assert!(page.contains("<li class=\"above\">MaHRL is above logging: 5.50 (5.40 to 5.60) against 5.00"));
    assert!(page.contains("<li class=\"below\">MaHRL is below history-greedy: 5.50"));
    assert!(
        page.contains("intervals apart; session by session +0.50 (+0.40 to +0.60)"),
        "the paired difference"
    );
    assert!(page.contains("<p class=\"caveat\">A &lt;caveat&gt;.</p>"));
    // The oracle is no competitor.
    assert!(page.contains("<tr class=\"best\"><th scope=\"row\">history-greedy"), "the best row");
    assert!(run.page(Some(&comparison(7.0, 50))).contains("<tr class=\"agent best\">"));
}

#[test]
fn the_table_has_coverage_and_the_corrected_p_value_of_each_lead() {
    let page = whole_run().page(Some(&comparison(5.5, 50)));
    assert!(page.contains("<th scope=\"col\">coverage %</th>") && page.contains("<td>50.0</td>"));
    assert!(page.contains("<th scope=\"col\">MaHRL minus it</th>"));
    let logging = page.split("<th scope=\"row\">logging").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(logging.contains("<td>0.50<br/><small>0.40 to 0.60<br/>p &lt; 0.001</small></td>"), "{logging}");
    let agent = page.split("<th scope=\"row\">MaHRL").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(agent.contains("<td></td>") && !agent.contains("p = "), "{agent}");
    assert_eq!(page.matches("<br/>p = 0.020</small>").count(), 4, "the other rows");
}

#[test]
fn names_and_paths_are_escaped() {
    let page = whole_run().page(Some(&comparison(6.5, 50)));
    assert!(page.contains("a &lt;run&gt; &amp; co"));
    assert!(page.contains("&lt;b&gt;&quot;mine&quot; &amp; others&lt;/b&gt;") && !page.contains("<b>"));
}

#[test]
fn a_run_without_anything_has_a_report_that_says_so() {
    let run = made_up(&[], &[]);
    let page = run.page(None);
    assert_eq!(plots(&page), 0);
    for said in ["There is no final table yet", "was not evaluated during training", "algorithm.discount"] {
        assert!(page.contains(said), "{said}");
    }
}

#[test]
fn a_single_record_is_a_dot() {
    let page = made_up(&[json!(train(1)), json!(evaluation(1))], &[timing(1)]).page(None);
    assert!(page.contains("<circle") && plots(&page) > 15);
}

#[test]
fn numbers_that_are_none_are_gaps_and_broken_lines_are_counted() {
    let mut records: Vec<Value> = (1..=5).map(|k| json!(train(k))).collect();
    records[2]["low"]["mean_q"] = json!([null]);
    records[3]["high"] = Value::Null;
    records.push(json!("no object"));
    let page = made_up(&records, &[]).page(None);
    let (_, q) = page.split_once("id=\"q-low-title\"").unwrap();
    let (q, _) = q.split_once("</svg>").unwrap();
    // Q before and behind the gap, the target in one piece.
    assert_eq!(q.matches("stroke-width=\"4\" points").count(), 3, "{q}");
    assert!(page.contains("that cannot be read: 1."));
}

#[test]
fn a_table_of_longer_sessions_stands_behind_the_final_one() {
    let run = whole_run();
    let json = comparison(6.5, 50).to_json();
    fs::write(run.run_dir.evaluation_path(), json).unwrap();
    let page = run.page(Some(&comparison(20.0, 200)));
    assert!(page.contains("test sessions of 50 steps") && page.contains("test sessions of 200 steps"));
    assert!(page.find("sessions of 50 steps") < page.find("sessions of 200 steps"));
    fs::write(run.run_dir.evaluation_path(), "{").unwrap();
    assert!(run.page(None).contains("evaluation.json cannot be read"));
}

#[test]
fn the_table_of_an_older_policy_is_said_to_be_one() {
    let run = whole_run();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    fs::write(run.run_dir.policy_path(), "weights").unwrap();
    fs::write(run.run_dir.evaluation_path(), comparison(6.5, 50).to_json()).unwrap();
    assert!(!run.page(None).contains("of an older policy"));
    fs::File::options().append(true).open(run.run_dir.evaluation_path()).unwrap().set_modified(old).unwrap();
    assert!(run.page(None).contains("of an older policy"));
}
