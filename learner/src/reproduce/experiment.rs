//! Tables and figures of the paper, and the cells each of them needs.
//!
//! In: an experiment, a scale, a budget; out: [`Cell`]s. Cells that several experiments need are the same cells, and are
//! trained once.

use std::ops::RangeInclusive;

use common::config::{Config, Preset, dotted};

use super::{
    Budget, Cell, Scale, caveats, controls,
    methods::{self, How, Method, SUBJECT},
};

/// What can be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Experiment {
    /// What the world's logged sessions hold.
    Table1,
    /// How well all methods order the logged test sessions.
    Table2,
    /// Average Q, its Monte-Carlo return and the evaluation return over training: MaHRL and HRL-G.
    Fig6,
    /// All methods online, in short and long sessions.
    Fig7,
    /// Sensitivity to alpha, the weight of the internal reward.
    Fig8,
    /// Sensitivity to M, the number of goals, with periods of 10 and of 12 steps.
    Fig9,
    /// Ours: what the paper's comparisons leave open: average Q, encoder updates, the remainder of a period.
    Caveats,
    /// Ours: the preset `best` without each of its settings. Not part of `all`.
    Ablation,
    /// Ours: negative controls, where nothing must be found.
    Controls,
    /// Ours: time to a return against the number of actors.
    Scaling,
}

impl Experiment {
    /// Every one, in the order of the report.
    pub const EVERY: [Self; 10] = [
        Self::Table1,
        Self::Table2,
        Self::Fig6,
        Self::Fig7,
        Self::Fig8,
        Self::Fig9,
        Self::Caveats,
        Self::Ablation,
        Self::Controls,
        Self::Scaling,
    ];

    /// Whether it is part of `all`.
    pub fn is_in_all(self) -> bool {
        self != Self::Ablation
    }

    /// `fig6` and so on, for files.
    pub fn id(self) -> &'static str {
        match self {
            Self::Table1 => "table1",
            Self::Table2 => "table2",
            Self::Fig6 => "fig6",
            Self::Fig7 => "fig7",
            Self::Fig8 => "fig8",
            Self::Fig9 => "fig9",
            Self::Caveats => "caveats",
            Self::Ablation => "ablation",
            Self::Controls => "controls",
            Self::Scaling => "scaling",
        }
    }

    /// What it shows.
    pub fn title(self) -> &'static str {
        match self {
            Self::Table1 => "Table 1: the logged sessions",
            Self::Table2 => "Table 2: logged sessions ordered anew, all methods",
            Self::Fig6 => "Fig 6: average Q and return over training",
            Self::Fig7 => "Fig 7: rewards online, all methods",
            Self::Fig8 => "Fig 8: sensitivity to alpha",
            Self::Fig9 => "Fig 9: sensitivity to the number of goals M",
            Self::Caveats => "Caveats: average Q, encoder updates, the remainder",
            Self::Ablation => "Ablation: the preset `best` without each of its settings",
            Self::Controls => "Negative controls: what must not be found",
            Self::Scaling => "Scaling: time to a return against the number of actors",
        }
    }
}

/// One curve or row: a method with settings of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// What the table calls it.
    pub name: String,
    /// The method.
    pub method: Method,
    /// Settings over the method's own.
    pub settings: Vec<(String, toml::Value)>,
    /// Its world, where it is another than the report's.
    pub env: Option<&'static str>,
    /// How many seeds it takes: the budget's, but no fewer and no more than these. What is not trained takes one.
    pub seeds: RangeInclusive<u64>,
    /// Its most updates, in those of the budget.
    pub updates: u64,
}

impl Variant {
    /// The method as it is, in the report's world.
    pub(super) fn of(method: Method) -> Self {
        let name = method.name.to_owned();
        Self { name, method, settings: Vec::new(), env: None, seeds: 1..=u64::MAX, updates: 1 }
    }

    /// Its cells, one a seed.
    pub fn cells(&self, env: &str, budget: &Budget) -> Vec<Cell> {
        let seeds = budget.seeds.clamp(*self.seeds.start(), *self.seeds.end());
        let seeds = if self.method.is_trained() { seeds } else { 1 };
        let cell = |seed| Cell {
            method: self.method.id.to_owned(),
            settings: self.settings.clone(),
            env: self.env.unwrap_or(env).to_owned(),
            seed,
            budget: Budget { seeds: 0, updates: self.updates * budget.updates, ..budget.clone() },
        };
        (0..seeds).map(cell).collect()
    }
}

/// Values of alpha.
pub fn alphas(scale: Scale) -> &'static [f64] {
    match scale {
        Scale::Quick => &[0.1, 0.5, 0.9],
        Scale::Full => &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    }
}

/// (M, c).
pub fn goals(scale: Scale) -> &'static [(usize, usize)] {
    match scale {
        Scale::Quick => &[(1, 10), (2, 10), (4, 10), (3, 12)],
        Scale::Full => &[(1, 10), (2, 10), (3, 10), (4, 10), (1, 12), (2, 12), (3, 12), (4, 12)],
    }
}

/// Numbers of actors of the scaling study.
pub fn actors(scale: Scale) -> &'static [u64] {
    match scale {
        Scale::Quick => &[1, 2, 4],
        Scale::Full => &[1, 2, 4, 8],
    }
}

/// Settings beyond the paper that `best` leaves off, with a value to try.
const BEYOND_BEST: [(&str, &str); 4] = [
    ("algorithm.hindsight_share", "0.2"),
    ("algorithm.low_steps", "3"),
    ("model.head_norm", "true"),
    ("train.warm_start_sessions", "4000"),
];

/// What takes the high-level agent away, and the goals with it.
const WITHOUT_HIGH_LEVEL: [(&str, &str); 3] =
    [("algorithm.internal_weight", "0.0"), ("model.goal_conditioning", "\"reward\""), ("model.n_goals", "0")];

/// `tuned`, `best`, for each setting in which they differ `best` with the value of `tuned`, and `best` with what it leaves
/// off, and without a high level.
fn ablation(budget: &Budget) -> Vec<Variant> {
    let find = |id| Method::find(id).expect("the presets are methods");
    let (plain, best) = (find(SUBJECT), find(Preset::Best.name()));
    // Without what follows from the number of steps, which is the budget's.
    let [of_plain, of_best] = [Preset::Tuned, Preset::Best].map(|preset| {
        let mut config = Config::preset(preset);
        budget.apply(&mut config);
        dotted(&config.to_toml()).expect("settings are TOML")
    });
    let of = |word: &str, key: &str, value: toml::Value| Variant {
        name: format!("best {word} {}", key.rsplit('.').next().unwrap_or(key)),
        settings: vec![(key.to_owned(), value)],
        ..Variant::of(best)
    };
    let differing = of_best.keys().filter(|key| *key != "preset" && of_best[*key] != of_plain[*key]);
    let mut variants = vec![Variant::of(plain), Variant::of(best)];
    variants.extend(differing.map(|key| {
        let mut variant = of("without", key, value(&of_plain[key]));
        // The loss of `best` takes the logarithm of values, which only its own output keeps above 0.
        if key == "model.critic_output" {
            let loss = "algorithm.critic_loss";
            variant.settings.push((loss.to_owned(), value(&of_plain[loss])));
        }
        variant
    }));
    variants.extend(BEYOND_BEST.map(|(key, text)| of("with", key, value(text))));
    variants.push(best_without_high_level());
    variants
}

/// DDPG-O with all that `best` has besides: what the hierarchy itself brings.
pub(super) fn best_without_high_level() -> Variant {
    let best = Method::find(Preset::Best.name()).expect("the presets are methods");
    let settings = WITHOUT_HIGH_LEVEL.map(|(key, text)| (key.to_owned(), value(text))).to_vec();
    Variant { name: "best without a high level".to_owned(), settings, ..Variant::of(best) }
}

/// A setting's value as TOML has it.
fn value(text: &str) -> toml::Value {
    let table: toml::Table = toml::from_str(&format!("value = {text}")).expect("a setting is TOML");
    table["value"].clone()
}

fn is_change(method: &Method, setting: &(String, toml::Value)) -> bool {
    let config = |settings: &[(String, toml::Value)]| method.config(settings).ok().flatten();
    config(std::slice::from_ref(setting)) != config(&[])
}

/// The variants of an experiment, in the order of its table. `only`: methods by id, all if empty (Table 2, Fig 7).
pub fn variants(experiment: Experiment, scale: Scale, only: &[String]) -> Vec<Variant> {
    let subject = Method::find(SUBJECT).expect("the table of methods has its subject");
    let with = |name: String, settings: Vec<(&str, toml::Value)>| {
        let mut settings: Vec<_> = settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        // What changes nothing is left out, so that the method itself is the same cell everywhere.
        settings.retain(|setting| is_change(&subject, setting));
        Variant { name, settings, ..Variant::of(subject) }
    };
    match experiment {
        Experiment::Fig6 => {
            ["hrl-g", SUBJECT].into_iter().filter_map(Method::find).map(Variant::of).collect()
        }
        // Of sessions and of clusters; no cells.
        Experiment::Table1 | Experiment::Scaling => Vec::new(),
        Experiment::Controls => controls::variants(scale),
        Experiment::Caveats => caveats::variants(scale),
        Experiment::Ablation => ablation(&Budget::of(scale)),
        Experiment::Table2 | Experiment::Fig7 => methods::all()
            .into_iter()
            .filter(|method| experiment == Experiment::Fig7 || !matches!(method.how, How::Oracle(_)))
            .filter(|method| match only {
                [] => scale == Scale::Full || !method.is_slow(),
                only => only.iter().any(|id| id == method.id),
            })
            .map(Variant::of)
            .collect(),
        Experiment::Fig8 => alphas(scale)
            .iter()
            .map(|&alpha| with(format!("alpha = {alpha}"), vec![("algorithm.internal_weight", alpha.into())]))
            .collect(),
        Experiment::Fig9 => goals(scale)
            .iter()
            .map(|&(goals, steps)| {
                let settings = vec![
                    ("model.n_goals", toml::Value::from(goals as i64)),
                    ("model.period_steps", (steps as i64).into()),
                ];
                with(format!("M = {goals}, c = {steps}"), settings)
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_is_a_valid_configuration() {
        for scale in [Scale::Quick, Scale::Full] {
            for experiment in Experiment::EVERY {
                for variant in variants(experiment, scale, &[]) {
                    variant.method.config(&variant.settings).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_reference_has_one_cell_and_a_run_one_a_seed() {
        let budget = Budget::of(Scale::Quick);
        let cells = |id: &str| Variant::of(Method::find(id).unwrap()).cells("shopworld", &budget).len();
        assert_eq!((cells("random"), cells(SUBJECT)), (1, budget.seeds as usize));
    }

    #[test]
    fn the_method_itself_is_the_same_cell_in_every_experiment() {
        let of =
            |experiment| variants(experiment, Scale::Full, &[]).into_iter().map(|variant| variant.settings);
        assert_eq!(of(Experiment::Fig8).filter(Vec::is_empty).count(), 1, "alpha = 0.1");
        assert_eq!(of(Experiment::Fig9).filter(Vec::is_empty).count(), 1, "M = 2, c = 10");
    }

    #[test]
    fn the_ablation_has_a_row_without_each_setting_of_best() {
        let variants = variants(Experiment::Ablation, Scale::Quick, &[]);
        let names: Vec<_> = variants.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names[..2], ["MaHRL (tuned)", "MaHRL (best)"]);
        for setting in [
            "twin_critics",
            "goal_conditioning",
            "rescored_items",
            "discount",
            "critic_output",
            "critic_loss",
        ] {
            assert!(names.contains(&format!("best without {setting}").as_str()), "{names:?}");
        }
        for name in ["best with warm_start_sessions", "best without a high level"] {
            assert!(names.contains(&name), "{names:?}");
        }
        let best = Config::preset(Preset::Best);
        for variant in &variants[2..] {
            assert_ne!(variant.method.config(&variant.settings).unwrap().unwrap(), best, "{}", variant.name);
        }
    }

    #[test]
    fn methods_can_be_chosen() {
        let only = ["random".to_owned(), "hrl-g".to_owned()];
        let names: Vec<_> =
            variants(Experiment::Fig7, Scale::Quick, &only).into_iter().map(|v| v.name).collect();
        assert_eq!(names, ["random", "HRL-G"]);
    }
}
