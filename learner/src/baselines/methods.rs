//! The list of all methods, with their budgets.

use super::{
    Method,
    cf::{Cf, CfForm, CfSettings},
    fm::{Fm, FmSettings},
    history_greedy::HistoryGreedyMethod,
    references::ReferenceMethod,
};
#[cfg(feature = "torch")]
use super::{
    deers::DeersMethod,
    gru::{GruSettings, PointwiseGru},
    gru4rec::{Gru4Rec, Gru4RecSettings},
    wide_deep::{WideDeep, WideDeepSettings},
};

/// How much work the fits may take. The same for all methods of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// A first look: under a minute a method on one core, with [`Budget::log_sessions`] sessions of 50 steps in ShopWorld.
    Quick,
    /// The tables.
    Full,
}

impl Budget {
    /// Most rows of a log that those learn from which take one row after the other.
    pub fn most_rows(self) -> usize {
        match self {
            Self::Quick => 200_000,
            Self::Full => 3_000_000,
        }
    }

    /// Sessions of the log to roll out where a world writes it.
    pub fn log_sessions(self) -> u64 {
        match self {
            Self::Quick => 2_000,
            Self::Full => 20_000,
        }
    }
}

/// All methods of this build in the order of the tables, with their settings at a budget.
pub fn all(budget: Budget) -> Vec<Box<dyn Method>> {
    all_of(budget, 0)
}

/// The same, none of which leaves out what it could learn of so many rows.
fn all_of(budget: Budget, rows: usize) -> Vec<Box<dyn Method>> {
    let mut methods: Vec<Box<dyn Method>> = Vec::new();
    methods.extend(ReferenceMethod::ALL.map(|method| Box::new(method) as Box<dyn Method>));
    methods.push(Box::new(HistoryGreedyMethod::new(budget)));
    for form in [CfForm::User, CfForm::Item] {
        methods.push(Box::new(Cf::new(form, CfSettings::default())));
    }
    methods.push(Box::new(Fm::new(FmSettings::of(budget).with_rows(rows))));
    #[cfg(feature = "torch")]
    methods.extend(on_torch(budget, rows));
    methods
}

/// Those whose networks are trained with libtorch.
#[cfg(feature = "torch")]
fn on_torch(budget: Budget, rows: usize) -> [Box<dyn Method>; 5] {
    [
        Box::new(WideDeep::new(WideDeepSettings::of(budget).with_rows(rows))),
        Box::new(PointwiseGru::new(GruSettings::of(budget).with_rows(rows))),
        Box::new(Gru4Rec::new(Gru4RecSettings::of(budget).with_rows(rows))),
        Box::new(DeersMethod::new(budget)),
        Box::new(DeersMethod::new(budget).squared()),
    ]
}

/// The method of a name; `None` for any other text.
pub fn by_name(name: &str, budget: Budget) -> Option<Box<dyn Method>> {
    by_name_of(name, budget, 0)
}

/// The same, which leaves out nothing of so many rows.
pub fn by_name_of(name: &str, budget: Budget, rows: usize) -> Option<Box<dyn Method>> {
    all_of(budget, rows).into_iter().find(|method| method.name() == name)
}
