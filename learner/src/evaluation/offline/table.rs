//! Rankings side by side: the rows of Table 2.
//!
//! In: [`Ranking`]s of the same sessions; out: means over the sessions with a click, 95% intervals by the bootstrap over
//! sessions, and how far the subject is ahead of each other method in AP: paired, resampled by user, p-values corrected by
//! Holm for the number of methods.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde::{Deserialize, Serialize};

use super::{Mode, OffPolicyEstimate, Quality, Ranking};
use crate::{
    baselines::InteractionLog,
    evaluation::{
        Error, Estimate,
        statistics::{holm::holm, mean, paired::by_user},
    },
};

/// What the subject is ahead by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lead {
    /// Mean difference of AP, subject minus this method.
    pub ap: Estimate,
    /// Two-sided, corrected by Holm over the table.
    pub p_value: f64,
}

/// A method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingRow {
    /// The method.
    pub name: String,
    /// Mean average precision.
    pub map: Estimate,
    /// Mean NDCG@20.
    pub ndcg_20: Estimate,
    /// Mean NDCG@40.
    pub ndcg_40: Estimate,
    /// Mean reciprocal rank of the first order, over sessions with one; `None` without any.
    pub order_mrr: Option<Estimate>,
    /// `None` for the subject itself.
    pub lead: Option<Lead>,
    /// Where the log holds propensities; `None` for the logged order, whose reward is `logged` in every other row.
    pub off_policy: Option<OffPolicyEstimate>,
}

/// Methods on the same sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingTable {
    /// The log, or the world that wrote it.
    pub log: String,
    /// What rankers know.
    pub mode: Mode,
    /// Seed of ties and of the bootstrap.
    pub seed: u64,
    /// Sessions with a click: those that are scored.
    pub sessions: usize,
    /// Of them, those with an order.
    pub order_sessions: usize,
    /// Mean items of a scored session.
    pub items: f64,
    /// One a method, in the order given.
    pub rows: Vec<RankingRow>,
    /// What a reader must know of the log.
    pub caveats: Vec<String>,
}

impl RankingTable {
    /// Compares rankings of all sessions of `log`, the method `subject` with each other one. Two methods of a name are
    /// told apart by their place.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such method, [`Error::NoClick`] if no session of the log has a click.
    ///
    /// # Panics
    /// If a ranking is not of this log's sessions.
    pub fn new(
        (name, log): (&str, &InteractionLog),
        (mode, seed): (Mode, u64),
        rankings: &[Ranking],
        subject: &str,
    ) -> Result<Self, Error> {
        let lengths = rankings.iter().map(|ranking| ranking.sessions.len());
        assert!(lengths.clone().all(|length| length == log.n_sessions()), "rankings of {}", log.n_sessions());
        let of_subject = rankings.iter().find(|ranking| ranking.name == subject);
        let of_subject = of_subject.ok_or_else(|| Error::Missing(subject.to_owned()))?;
        let scored: Vec<usize> =
            (0..log.n_sessions()).filter(|&s| of_subject.sessions[s].is_some()).collect();
        if scored.is_empty() {
            return Err(Error::NoClick { log: name.to_owned() });
        }
        let users: Vec<u64> = scored.iter().map(|&s| log.session(s).user).collect();
        let values = |ranking: &Ranking, of: fn(&Quality) -> Option<f64>| -> Vec<f64> {
            ranking.sessions.iter().flatten().filter_map(of).collect()
        };
        let subject_ap = values(of_subject, |q| Some(q.ap));
        let row = |ranking: &Ranking| {
            let estimate = |of| mean(&values(ranking, of), seed);
            let orders = values(ranking, |q| q.order_rr);
            let ahead = || -> Vec<f64> {
                subject_ap.iter().zip(values(ranking, |q| Some(q.ap))).map(|(a, b)| a - b).collect()
            };
            RankingRow {
                name: ranking.name.clone(),
                map: estimate(|q| Some(q.ap)),
                ndcg_20: estimate(|q| Some(q.ndcg_20)),
                ndcg_40: estimate(|q| Some(q.ndcg_40)),
                order_mrr: (!orders.is_empty()).then(|| mean(&orders, seed)),
                lead: (ranking.name != subject).then(|| {
                    let paired = by_user(&ahead(), &users, seed);
                    Lead { ap: paired.mean, p_value: paired.p_value }
                }),
                off_policy: None,
            }
        };
        let mut rows: Vec<RankingRow> = rankings.iter().map(row).collect();
        let leads: Vec<&mut Lead> = rows.iter_mut().filter_map(|row| row.lead.as_mut()).collect();
        let corrected = holm(&leads.iter().map(|lead| lead.p_value).collect::<Vec<_>>());
        leads.into_iter().zip(corrected).for_each(|(lead, p_value)| lead.p_value = p_value);
        let items: usize = scored.iter().map(|&s| log.session(s).steps.len()).sum();
        Ok(Self {
            log: name.to_owned(),
            mode,
            seed,
            sessions: scored.len(),
            order_sessions: values(of_subject, |q| q.order_rr).len(),
            items: items as f64 / scored.len() as f64,
            rows,
            caveats: Vec::new(),
        })
    }

    /// The measures, in valid Markdown.
    pub fn table(&self) -> Table {
        let subject = self.rows.iter().find(|row| row.lead.is_none()).map_or("", |row| row.name.as_str());
        let ahead = format!("{subject} ahead in MAP");
        let mut table = markdown(&["method", "MAP", "NDCG@20", "NDCG@40", "order MRR", &ahead, "p (Holm)"]);
        for row in &self.rows {
            let mut cells = vec![row.name.clone()];
            let measures = [Some(row.map), Some(row.ndcg_20), Some(row.ndcg_40), row.order_mrr];
            cells.extend(measures.map(|estimate| estimate.map_or_else(String::new, with_margin)));
            cells.push(row.lead.map_or_else(String::new, |lead| {
                format!("{:+.3} ({:+.3} to {:+.3})", lead.ap.value, lead.ap.low, lead.ap.high)
            }));
            cells.push(row.lead.map_or_else(String::new, |lead| format!("{:.3}", lead.p_value)));
            table.add_row(cells);
        }
        table
    }

    /// The off-policy estimates, in valid Markdown; `None` where the log holds no propensities.
    pub fn off_policy_table(&self) -> Option<Table> {
        let mut table =
            markdown(&["method", "IPS", "SNIPS", "doubly robust", "logged", "effective", "mean weight"]);
        for row in &self.rows {
            let Some(off_policy) = row.off_policy else { continue };
            let OffPolicyEstimate { logged, ips, snips, doubly_robust, .. } = off_policy;
            let mut cells = vec![row.name.clone()];
            cells.extend([ips, snips, doubly_robust, logged].map(with_margin_4));
            cells.push(format!("{:.0} of {}", off_policy.effective_sessions, off_policy.sessions));
            cells.push(format!("{:.3}", off_policy.mean_weight));
            table.add_row(cells);
        }
        (table.row_count() > 0).then_some(table)
    }

    /// One JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a table is plain structs, strings and numbers")
    }

    /// One line a method and measure: `method,measure,value,low,high`.
    pub fn to_csv(&self) -> String {
        let mut text = "method,measure,value,low,high\n".to_owned();
        for row in &self.rows {
            let off_policy = row.off_policy;
            for (measure, estimate) in [
                ("map", Some(row.map)),
                ("ndcg_20", Some(row.ndcg_20)),
                ("ndcg_40", Some(row.ndcg_40)),
                ("order_mrr", row.order_mrr),
                ("lead_in_map", row.lead.map(|lead| lead.ap)),
                ("logged_reward", off_policy.map(|o| o.logged)),
                ("ips", off_policy.map(|o| o.ips)),
                ("snips", off_policy.map(|o| o.snips)),
                ("doubly_robust", off_policy.map(|o| o.doubly_robust)),
            ] {
                if let Some(Estimate { value, low, high }) = estimate {
                    // Names of methods hold neither commas nor quotes.
                    text += &format!("{},{measure},{value},{low},{high}\n", row.name);
                }
            }
        }
        text
    }
}

/// An empty table whose columns but the first are aligned to the right.
fn markdown(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn with_margin(estimate: Estimate) -> String {
    format!("{:.3} ± {:.3}", estimate.value, estimate.margin())
}

/// Rewards of off-policy logs are small: clicks are a few in a thousand.
fn with_margin_4(estimate: Estimate) -> String {
    format!("{:.4} ± {:.4}", estimate.value, estimate.margin())
}

#[cfg(test)]
mod tests {
    use Feedback::{Click, Order, Skip};
    use common::{Feedback, ItemId};

    use super::*;
    use crate::baselines::{SessionState, Step};
    use crate::evaluation::offline::order::tests::By;

    /// 200 sessions of 40 users; the larger of two ids is the better item.
    fn log() -> InteractionLog {
        let mut log = InteractionLog::new(1);
        let shown = [Skip, Skip, Click, Skip, Order];
        for session in 0..200 {
            let step = |k: usize| {
                let item = (k * 2 + session) % 5;
                Step { item: ItemId(item as u32), feedback: shown[item], propensity: None }
            };
            log.push(session as u64 % 40, &[ItemId::PADDING; 3], (0..5).map(step));
        }
        log
    }

    fn table() -> RankingTable {
        let log = log();
        let best = By(|_: &SessionState<'_>, item: ItemId| item.0 as f32);
        let rankings = [
            Ranking::random(&log, 0, 2),
            Ranking::logged_order(&log),
            Ranking::by_ranker(&best, &log, Mode::Static, 0, 2),
        ];
        RankingTable::new(("toy", &log), (Mode::Static, 0), &rankings, "by").unwrap()
    }

    #[test]
    fn the_better_method_is_ahead_beyond_chance() {
        let table = table();
        let [random, _, best] = &table.rows[..] else { panic!("three rows") };
        assert_eq!((table.sessions, table.order_sessions, table.items), (200, 200, 5.0));
        assert_eq!(best.order_mrr, Some(Estimate { value: 1.0, low: 1.0, high: 1.0 }));
        assert_eq!(best.lead, None);
        let lead = random.lead.unwrap();
        assert!((lead.ap.value - (best.map.value - random.map.value)).abs() < 1e-12);
        // The least of two comparisons: twice 2/2001.
        assert!((lead.p_value - 4.0 / 2001.0).abs() < 1e-12, "{lead:?}");
    }

    #[test]
    fn tables_round_trip_and_name_every_method() {
        let table = table();
        let back: RankingTable = serde_json::from_str(&table.to_json()).unwrap();
        assert!(back == table, "a number changed on its way through JSON");
        let (text, csv) = (table.table().to_string(), table.to_csv());
        for name in ["random", "logged order", "by"] {
            assert!(text.contains(name) && csv.contains(&format!("\n{name},ndcg_40,")), "{text}\n{csv}");
        }
        assert!(table.off_policy_table().is_none());
    }

    #[test]
    fn no_click_and_no_subject_are_named() {
        let log = crate::evaluation::offline::order::tests::log(&[Skip, Skip]);
        let random = [Ranking::random(&log, 0, 1)];
        let make =
            |subject| RankingTable::new(("toy", &log), (Mode::Static, 0), &random, subject).unwrap_err();
        assert!(make("random").to_string().contains("no session of toy"));
        assert!(make("MaHRL").to_string().contains("MaHRL"));
    }
}
