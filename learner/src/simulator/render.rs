//! The acceptance report for people: a Markdown text, readable on a terminal as well.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};

use super::report::{AcceptanceReport, Pair, Unit};

impl AcceptanceReport {
    /// The report as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("# Learned simulator, {} days: {}\n\n", self.split, self.verdict());
        for reason in &self.reasons {
            text.push_str(&format!("- not accepted because: {reason}\n"));
        }
        for note in &self.notes {
            text.push_str(&format!("- note: {note}\n"));
        }
        let unit = match self.held_out_by {
            Unit::User => "users",
            Unit::Session => "sessions (too few users to hold some out)",
        };
        text.push_str(&format!(
            "\nAn ensemble of {} networks, fitted to {} impressions, stopped and calibrated on {}, judged on {} \
             impressions of {} sessions that the networks have not seen; groups are split by {unit}.\n\n",
            self.members.len(),
            self.n_fit,
            self.n_calibrate,
            self.n_judged,
            self.n_judged_sessions,
        ));
        text.push_str(&format!("## Summary\n\n{}\n\n", self.summary()));
        text.push_str(&format!("## Classes on the judged impressions\n\n{}\n\n", self.classes_table()));
        text.push_str(&format!("## Base rates of the judged impressions\n\n{}\n\n", self.base_rates_table()));
        text.push_str(&format!(
            "## Reliability by tenths of the judged impressions (predicted / observed)\n\n{}\n\n",
            self.reliability_table()
        ));
        text.push_str(&format!(
            "## Free-running rollouts: {}, {} sessions, {} times each\n\n{}\n\n",
            self.rollout.items,
            self.rollout.sessions,
            self.rollout.repeats,
            self.rollout_table()
        ));
        text.push_str(&format!("## Members\n\n{}\n", self.members_table()));
        text
    }

    /// `accepted` or `NOT accepted`.
    pub fn verdict(&self) -> &'static str {
        if self.accepted { "accepted" } else { "NOT accepted" }
    }

    fn summary(&self) -> Table {
        let mut table = table(&["measure", "value", "to compare with"]);
        let mut row = |name: &str, value: String, beside: String| {
            table.add_row([name.to_owned(), value, beside]);
        };
        row("log loss", nats(self.log_loss), format!("{} base-rate entropy", nats(self.base_rate_entropy)));
        row("log loss of a member", nats(self.member_log_loss), "the mean of the ensemble is above".into());
        row("entropy explained", percent(self.information_gain()), "0 % for knowing the rates only".into());
        row(
            "accuracy",
            percent(self.accuracy),
            format!("{} for always naming the majority", percent(self.majority_rate)),
        );
        table
    }

    fn classes_table(&self) -> Table {
        let mut table =
            table(&["class", "impressions", "ROC-AUC", "PR-AUC", "calibration error", "by chance"]);
        for class in &self.classes {
            table.add_row([
                class.class.clone(),
                class.n.to_string(),
                area(class.roc_auc),
                area(class.pr_auc),
                percent(class.calibration_error),
                percent(class.calibration_chance),
            ]);
        }
        table
    }

    fn base_rates_table(&self) -> Table {
        let mut table = table(&["class", "logged", "predicted", "relative error", "standard error"]);
        for class in &self.classes {
            let relative = |error: f64| format!("{:.2} %", 100.0 * error / class.logged_rate);
            let error = class.relative_error();
            table.add_row([
                class.class.clone(),
                percent(class.logged_rate),
                percent(class.predicted_rate),
                error.map_or("-".to_owned(), |error| format!("{:+.2} %", 100.0 * error)),
                error.map_or("-".to_owned(), |_| relative(class.rate_error)),
            ]);
        }
        table
    }

    fn reliability_table(&self) -> Table {
        let mut table = table(&["tenth", "skip", "click", "order"]);
        let rows = self.classes.iter().map(|class| class.deciles.len()).max().unwrap_or(0);
        for tenth in 0..rows {
            let mut cells = vec![(tenth + 1).to_string()];
            cells.extend(self.classes.iter().map(|class| {
                class.deciles.get(tenth).map_or("-".to_owned(), |bin| {
                    format!("{:.2} / {:.2} %", 100.0 * bin.predicted, 100.0 * bin.observed)
                })
            }));
            table.add_row(cells);
        }
        table
    }

    fn rollout_table(&self) -> Table {
        let rollout = &self.rollout;
        let mut table =
            table(&["positions", "impressions", "click log", "click sim", "+-", "order log", "order sim"]);
        let mut row = |name: String, impressions: usize, click: Pair, click_error: f64, order: Pair| {
            table.add_row([
                name,
                impressions.to_string(),
                percent(click.logged),
                percent(click.simulated),
                percent(click_error),
                percent(order.logged),
                percent(order.simulated),
            ]);
        };
        for bin in &rollout.by_position {
            row(bin.positions(), bin.impressions, bin.click, bin.click_error, bin.order);
        }
        let all: usize = rollout.by_position.iter().map(|bin| bin.impressions).sum();
        row("all".into(), all, rollout.click, rollout.click_error, rollout.order);
        table
    }

    fn members_table(&self) -> Table {
        let mut table = table(&["member", "passes", "best pass", "held-out log loss", "temperature"]);
        for (number, member) in self.members.iter().enumerate() {
            table.add_row([
                number.to_string(),
                member.passes.to_string(),
                member.best_pass.to_string(),
                nats(member.held_out_loss),
                format!("{:.3}", member.temperature),
            ]);
        }
        table
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn nats(value: f64) -> String {
    format!("{value:.4}")
}

fn area(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |area| format!("{area:.3}"))
}
