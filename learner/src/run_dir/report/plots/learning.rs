//! What was learned: rewards and rates over the run, the critics' Q beside the returns they estimate, the updates.

use common::config::{CriticLoss, CriticOutput, HighDiscount};

use super::{
    super::{
        Error,
        axis::number,
        plot::{Scale, Series},
        records::curve,
        style::{BLUE, GREEN, INK, MUTED, ORANGE},
    },
    Figure, Sources, cycled, dotted, figures, line,
};

impl Sources<'_> {
    /// Evaluation rewards over the run, with the references.
    pub(in super::super) fn rewards(&self) -> Result<String, Error> {
        let evaluations = &self.records.evaluations;
        let reward = |field: &str| curve(evaluations, &format!("/{field}"), 1.0);
        // Its interval is narrower, and one band is enough.
        let expected = curve(evaluations, "/expected/value", 1.0);
        let sessions = self.config.train.evaluation_sessions;
        let agent = self.config.method();
        let mut total = self.plot(
            "reward",
            "Evaluation reward",
            "mean reward a session",
            Scale::Fit,
            vec![dotted(agent, BLUE, reward("total")), line(&format!("{agent}, expected"), INK, expected)],
        );
        total.wide = true;
        total.references = self.references(true, |row| row.result.total.value);
        let note = match self.comparison {
            Some(_) => " The horizontal lines are the references of the final table, which are test users.",
            None => "",
        };
        let caption = format!(
            "{sessions} sessions of validation users, frozen weights, no exploration; the band is the 95% interval over \
             sessions.{note}"
        );
        let mut click = self.plot(
            "click",
            "Click reward",
            "a session",
            Scale::Fit,
            vec![dotted(agent, BLUE, reward("click"))],
        );
        click.references = self.references(false, |row| row.result.click.value);
        let mut order = self.plot(
            "order",
            "Order reward",
            "a session",
            Scale::Fit,
            vec![dotted(agent, BLUE, reward("order"))],
        );
        order.references = self.references(false, |row| row.result.order.value);
        figures(vec![
            Figure::new(total, caption),
            Figure::new(click, "Clicks without an order, worth 1 each."),
            Figure::new(order, "Orders, worth 5 each. Order reward and click reward add up to the total."),
        ])
    }

    /// Click and conversion rates, in rollouts and in evaluations.
    pub(in super::super) fn rates(&self) -> Result<String, Error> {
        let both = |field: &str| {
            let pointer = format!("/{field}");
            vec![
                line("rollouts", MUTED, curve(&self.records.train, &pointer, 100.0)),
                dotted("evaluation", BLUE, curve(&self.records.evaluations, &pointer, 100.0)),
            ]
        };
        let mut ctr = self.plot("ctr", "CTR", "% of impressions clicked", Scale::Fit, both("ctr"));
        let mut cvr = self.plot("cvr", "CVR", "% of clicks that end in an order", Scale::Fit, both("cvr"));
        ctr.references = self.references(false, |row| 100.0 * row.result.ctr.value);
        cvr.references = self.references(false, |row| 100.0 * row.result.cvr.value);
        figures(vec![
            Figure::new(ctr, "An order counts as a click. Rollouts explore, evaluations do not."),
            Figure::new(cvr, "Orders are sparse: the rate of one record of rollouts is noisy."),
        ])
    }

    /// Average Q a head beside the Monte-Carlo return of the same reward.
    pub(in super::super) fn values(&self) -> Result<String, Error> {
        let pair = |q: &str, target: &str, returns: &str| {
            vec![
                line("target y", MUTED, curve(&self.records.train, target, 1.0)),
                line("Q", BLUE, curve(&self.records.train, q, 1.0)),
                dotted("return", ORANGE, curve(&self.records.evaluations, returns, 1.0)),
            ]
        };
        let low = self.plot(
            "q-low",
            "Low level",
            "mean Q, discounted reward",
            Scale::Fit,
            pair("/low/mean_q/0", "/low/mean_target/0", "/returns/low/extrapolated"),
        );
        let caption = "Q of the minibatches' actions; return: discounted rewards of the evaluated policy from every \
                       step on, as if its sessions went on as they were.";
        let mut all = vec![Figure::new(low, caption)];
        for head in 0..self.n_heads() {
            let plot = self.plot(
                &format!("q-high-{}", head + 1),
                &format!("High level, head {}", head + 1),
                "mean Q, discounted reward of periods",
                Scale::Fit,
                pair(
                    &format!("/high/mean_q/{head}"),
                    &format!("/high/mean_target/{head}"),
                    &format!("/returns/high/{head}/extrapolated"),
                ),
            );
            all.push(Figure::new(plot, format!("Goal {} of a period. {}", head + 1, self.high_horizon())));
        }
        figures(all)
    }

    /// How much of the high level's returns is not seen.
    fn high_horizon(&self) -> String {
        let (model, algorithm) = (&self.config.model, &self.config.algorithm);
        let discount = match algorithm.high_discount {
            HighDiscount::Gamma => algorithm.discount,
            HighDiscount::GammaPowC => algorithm.discount.powi(model.period_steps as i32),
        };
        let periods = self.config.environment.session_length.div_ceil(model.period_steps);
        format!(
            "Q looks 1/(1 - discount) = {} periods ahead, sessions end after {periods}: what would come behind is taken to be as \
             what came.",
            number(1.0 / (1.0 - discount))
        )
    }

    /// Losses, gradients, and what tells that a network no longer learns.
    pub(in super::super) fn updates(&self) -> Result<String, Error> {
        let train = &self.records.train;
        let of = |pointer: &str, scale: f64| curve(train, pointer, scale);
        let heads = |field: &str| -> Vec<Series> {
            let low = line("low", INK, of(&format!("/low/{field}/0"), 1.0));
            let head = |k: usize| {
                line(&format!("high {}", k + 1), cycled(k), of(&format!("/high/{field}/{k}"), 1.0))
            };
            std::iter::once(low).chain((0..self.n_heads()).map(head)).collect()
        };
        let levels = |field: &str, scale: f64| {
            vec![
                line("low", INK, of(&format!("/low/{field}"), scale)),
                line("high", BLUE, of(&format!("/high/{field}"), scale)),
            ]
        };
        let plot = |id, title, unit, scale, series| self.plot(id, title, unit, scale, series);
        let loss = match self.config.algorithm.critic_loss {
            CriticLoss::Squared => "mean squared error",
            CriticLoss::Poisson => "mean of Q - y ln Q",
        };
        figures(vec![
            Figure::new(
                plot("critic-loss", "Critic loss", loss, Scale::Wide, heads("critic_loss")),
                "Of each head, before the step.",
            ),
            Figure::new(
                plot("actor-loss", "Actor loss", "minus mean Q", Scale::Fit, heads("actor_loss")),
                "Minus the mean Q of the actor's own actions, penalties included: falling is learning.",
            ),
            Figure::new(
                plot(
                    "critic-gradient",
                    "Critic gradient",
                    "norm",
                    Scale::Wide,
                    levels("critic_gradient_norm", 1.0),
                ),
                "Before clipping.",
            ),
            Figure::new(
                plot(
                    "actor-gradient",
                    "Actor gradient",
                    "norm",
                    Scale::Wide,
                    levels("actor_gradient_norm", 1.0),
                ),
                "Before clipping. Near 0 the actor has stopped.",
            ),
            Figure::new(
                plot(
                    "saturated",
                    "Saturated actor outputs",
                    "% of components",
                    Scale::FromZero,
                    levels("saturated_share", 100.0),
                ),
                "Components of goals and virtual actions beyond 95% of their bound.",
            ),
            match self.config.model.critic_output {
                CriticOutput::Relu => Figure::new(
                    plot(
                        "dead",
                        "Dead Q",
                        "% of the minibatches",
                        Scale::FromZero,
                        levels("dead_share", 100.0),
                    ),
                    "Q that are exactly 0 behind the ReLU and have no gradient.",
                ),
                _ => Figure::new(
                    plot(
                        "agreement",
                        "Rank agreement of the low-level critic",
                        "Spearman's correlation",
                        Scale::Fit,
                        vec![dotted(
                            "Q and worth",
                            BLUE,
                            curve(&self.records.evaluations, "/rank_agreement/value", 1.0),
                        )],
                    ),
                    "How well Q ranks a session's candidates by the expected reward of showing them now, which the world \
                     knows; 0 is chance.",
                ),
            },
            Figure::new(
                plot(
                    "internal-reward",
                    "Internal reward",
                    "mean cosine of goal and item",
                    Scale::Fit,
                    vec![line("r_in", GREEN, of("/internal_reward", 1.0))],
                ),
                "Eq 11, over the minibatches: how closely the items shown follow their goals.",
            ),
        ])
    }
}
