//! Several methods on the same sessions: paired differences, normalised scores, the table, JSON.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use serde::{Deserialize, Serialize};
use sim::Reference;

use super::{
    Error, Estimate, EvaluationResult, EvaluationSettings,
    result::{difference, normalised, p_value},
    statistics::holm::holm,
};

/// The methods that the others are measured against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchors {
    /// Differences are taken from this method, e.g. `logging`.
    pub baseline: Option<String>,
    /// Methods with normalised scores 0 and 1, e.g. `random` and the lookahead oracle.
    pub scale: Option<(String, String)>,
    /// The method that each other one is held against, e.g. the trained policy.
    #[serde(default)]
    pub subject: Option<String>,
}

impl Anchors {
    /// What these results offer: the logging policy as baseline, random and the lookahead oracle as scale.
    pub fn of(results: &[EvaluationResult]) -> Self {
        let find = |reference: Reference| {
            results.iter().find(|r| r.name == reference.name()).map(|r| r.name.clone())
        };
        Self {
            baseline: find(Reference::Logging),
            scale: find(Reference::Random).zip(find(Reference::Lookahead)),
            subject: None,
        }
    }
}

/// A method among the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its result.
    pub result: EvaluationResult,
    /// Mean paired difference of the total reward from the baseline's; `None` for the baseline itself.
    pub difference: Option<Estimate>,
    /// (R - R_0) / (R_1 - R_0) of the total reward on the scale.
    pub normalised: Option<Estimate>,
    /// Mean paired difference of the subject's total reward from this method's; `None` for the subject itself.
    #[serde(default)]
    pub lead: Option<Estimate>,
    /// Two-sided p-value of that lead, corrected by Holm over the rows of the table.
    #[serde(default)]
    pub lead_p: Option<f64>,
}

/// Methods compared on the same sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// The world, e.g. `shopworld`.
    pub environment: String,
    /// Users, number and length of the sessions.
    pub settings: EvaluationSettings,
    /// What the differences and the scores refer to.
    pub anchors: Anchors,
    /// One a method, in the order given.
    pub rows: Vec<Row>,
    /// What a reader must know of the world before he believes the rows.
    #[serde(default)]
    pub caveats: Vec<String>,
}

impl Comparison {
    /// Compares results over the same sessions.
    pub fn new(
        environment: &str,
        settings: &EvaluationSettings,
        results: Vec<EvaluationResult>,
        anchors: Anchors,
    ) -> Result<Self, Error> {
        let find = |name: &String| {
            results.iter().find(|r| r.name == *name).ok_or_else(|| Error::Missing(name.clone()))
        };
        let baseline = anchors.baseline.as_ref().map(find).transpose()?;
        let subject = anchors.subject.as_ref().map(find).transpose()?;
        let scale = match &anchors.scale {
            Some((low, high)) => Some((find(low)?, find(high)?)),
            None => None,
        };
        if let Some(other) = results.iter().find(|r| !r.is_paired_with(&results[0])) {
            return Err(Error::NotPaired { first: results[0].name.clone(), second: other.name.clone() });
        }
        let seed = settings.seed;
        let compared = |result: &EvaluationResult| Row {
            difference: baseline.filter(|b| b.name != result.name).map(|b| difference(result, b, seed)),
            normalised: scale.map(|(low, high)| normalised(result, low, high, seed)),
            lead: subject.filter(|s| s.name != result.name).map(|s| difference(s, result, seed)),
            lead_p: subject.filter(|s| s.name != result.name).map(|s| p_value(s, result, seed)),
            result: result.clone(),
        };
        let mut rows: Vec<Row> = results.iter().map(compared).collect();
        let leads = || rows.iter().filter_map(|row| row.lead_p);
        let mut corrected = holm(&leads().collect::<Vec<_>>()).into_iter();
        for row in rows.iter_mut().filter(|row| row.lead_p.is_some()) {
            row.lead_p = corrected.next();
        }
        let (environment, settings) = (environment.to_owned(), settings.clone());
        Ok(Self { environment, settings, anchors, rows, caveats: Vec::new() })
    }

    /// The row of the method that each other one is held against.
    pub fn subject(&self) -> Option<&Row> {
        self.anchors.subject.as_ref().and_then(|name| self.row(name))
    }

    /// Whether it is the method of this name.
    pub fn is_subject(&self, name: &str) -> bool {
        self.anchors.subject.as_deref() == Some(name)
    }

    /// The row of a method.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.result.name == name)
    }

    /// The table, in valid Markdown. Intervals are 95%, bootstrap over sessions. On a terminal too narrow for it, without
    /// the columns that are rates or expectations: the report has them.
    pub fn table(&self) -> Table {
        let table = self.columns(true);
        let width = table.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        match table.width() {
            Some(terminal) if usize::from(terminal) < width => self.columns(false),
            _ => table,
        }
    }

    fn columns(&self, all: bool) -> Table {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN);
        let has_truth = all && self.rows.iter().any(|row| row.result.expected.is_some());
        let mut header = vec!["policy".to_owned(), "total".to_owned(), "95% interval".to_owned()];
        header.extend(has_truth.then(|| "expected".to_owned()));
        header.extend(["click", "order"].map(str::to_owned));
        header.extend(self.anchors.baseline.as_ref().map(|name| format!("minus {name}")));
        header.extend(self.anchors.scale.as_ref().map(|_| "normalised".to_owned()));
        if all {
            header.extend(["CTR %", "CVR %", "coverage %"].map(str::to_owned));
        }
        table.set_header(header);
        for Row { result, difference, normalised, .. } in &self.rows {
            let total = result.total;
            let mut cells = vec![
                result.name.clone(),
                format!("{:.2}", total.value),
                format!("{:.2} to {:.2}", total.low, total.high),
            ];
            cells.extend(has_truth.then(|| with_margin(result.expected, 1.0)));
            cells.extend([with_margin(Some(result.click), 1.0), with_margin(Some(result.order), 1.0)]);
            cells.extend(self.anchors.baseline.as_ref().map(|_| with_margin(*difference, 1.0)));
            cells.extend(self.anchors.scale.as_ref().map(|_| with_margin(*normalised, 1.0)));
            if all {
                cells.extend([with_margin(Some(result.ctr), 100.0), with_margin(Some(result.cvr), 100.0)]);
                cells.push(format!("{:.1}", 100.0 * result.coverage));
            }
            table.add_row(cells);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// The same without the single sessions: short enough for a screen.
    #[must_use]
    pub fn without_sessions(mut self) -> Self {
        self.rows.iter_mut().for_each(|row| row.result.sessions.clear());
        self
    }

    /// One JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a comparison is plain structs, strings and numbers")
    }

    /// Reads what [`Self::to_json`] gave.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(Error::Json)
    }
}

/// `value ± half the interval` in units of 1/scale; empty for `None`.
fn with_margin(estimate: Option<Estimate>, scale: f64) -> String {
    estimate.map_or_else(String::new, |e| format!("{:.2} ± {:.2}", scale * e.value, scale * e.margin()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{evaluate, test_world};

    fn comparison() -> Comparison {
        let settings = test_world::settings(60);
        let results = ["first", "last"].map(|name| {
            let mut policy = test_world::EndPolicy::named(name);
            evaluate(&mut policy, &test_world::worlds(0.0), &settings).unwrap()
        });
        let anchors = Anchors {
            baseline: Some("first".to_owned()),
            scale: Some(("first".to_owned(), "last".to_owned())),
            subject: Some("last".to_owned()),
        };
        Comparison::new("toy", &settings, results.into(), anchors).unwrap()
    }

    #[test]
    fn the_ends_of_the_scale_score_zero_and_one() {
        let comparison = comparison();
        let score = |name| comparison.row(name).unwrap().normalised.unwrap();
        assert_eq!(score("first"), Estimate { value: 0.0, low: 0.0, high: 0.0 });
        assert_eq!(score("last"), Estimate { value: 1.0, low: 1.0, high: 1.0 });
    }

    #[test]
    fn a_paired_difference_is_the_difference_of_the_means_and_narrower_than_an_unpaired_one() {
        let comparison = comparison();
        let [first, last] = [0, 1].map(|i| comparison.rows[i].result.total);
        let paired = comparison.row("last").unwrap().difference.unwrap();
        assert!((paired.value - (last.value - first.value)).abs() < 1e-12);
        assert!(paired.margin() < first.margin().hypot(last.margin()));
        assert!(comparison.row("first").unwrap().difference.is_none());
        assert_eq!(comparison.row("first").unwrap().lead, Some(paired), "the subject is `last`");
        assert!(
            comparison.row("last").unwrap().lead.is_none()
                && comparison.row("last").unwrap().lead_p.is_none()
        );
        let p_value = comparison.row("first").unwrap().lead_p.unwrap();
        assert_eq!(
            p_value < 0.05,
            paired.low > 0.0,
            "one comparison needs no correction: {p_value}, {paired:?}"
        );
    }

    #[test]
    fn json_round_trips() {
        let comparison = comparison();
        let back = Comparison::from_json(&comparison.to_json()).unwrap();
        assert!(back == comparison, "a number changed on its way through JSON");
        let short = comparison.without_sessions();
        assert!(!short.to_json().contains("clicks_only"));
        assert!(Comparison::from_json(&short.to_json()).is_ok());
    }

    #[test]
    fn the_table_names_every_method_and_column() {
        let text = comparison().table().to_string();
        for part in
            ["first", "last", "minus first", "normalised", "CTR %", "CVR %", "coverage %", "expected", " to "]
        {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }

    #[test]
    fn results_over_other_sessions_and_missing_anchors_are_refused() {
        let settings = test_world::settings(10);
        let play = |settings: &EvaluationSettings| {
            let mut policy = test_world::EndPolicy::named("first");
            evaluate(&mut policy, &test_world::worlds(0.0), settings).unwrap()
        };
        let anchors = Anchors { baseline: None, scale: None, subject: None };
        let results = vec![play(&settings), play(&test_world::settings(11))];
        let error = Comparison::new("toy", &settings, results, anchors).unwrap_err();
        assert!(matches!(error, Error::NotPaired { .. }));
        let anchors = Anchors { baseline: Some("logging".to_owned()), scale: None, subject: None };
        let error = Comparison::new("toy", &settings, vec![play(&settings)], anchors).unwrap_err();
        assert!(error.to_string().contains("logging"));
    }
}
