//! Collaborative filtering, user-based and item-based.
//!
//! In: votes of users on items (0 skipped, 1 clicked, 5 ordered); out: the vote that the active user is predicted to give,
//! which is an expected reward. What the user-based form cannot predict falls back to the item-based one, and that to
//! the item's mean vote.
//!
//! | module | what it holds |
//! |---|---|
//! | `votes` | who voted what, by user and by item |
//! | `user_based` | Pearson correlation with other users |
//! | `item_based` | cosine between items |
//! | `means` | weighted means of many items |

mod item_based;
mod means;
#[cfg(test)]
mod tests;
mod user_based;
mod votes;

use std::{path::Path, sync::Arc};

use common::{ItemId, ItemTable};

use super::{
    Error, Fitted, Method, OnProgress, Progress, Ranker, SessionState, TrainingData, file::MethodFile,
    method::report,
};
use item_based::ItemBased;
use means::WeightedMeans;
use user_based::UserBased;
use votes::{Ballot, Sparse, Votes};

/// Settings of both forms.
#[derive(Clone, Debug, PartialEq)]
pub struct CfSettings {
    /// Nearest users of the active user, nearest items of an item.
    pub neighbours: usize,
    /// Exponent of case amplification.
    pub amplification: f64,
}

impl Default for CfSettings {
    fn default() -> Self {
        Self { neighbours: 200, amplification: 2.5 }
    }
}

/// Which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CfForm {
    /// Users like the active one (Breese et al. 1998).
    User,
    /// Items like those the active user voted on (Sarwar et al. 2001).
    Item,
}

/// Collaborative filtering. Has no budget: it is fitted in one pass.
#[derive(Clone, Debug)]
pub struct Cf {
    form: CfForm,
    settings: CfSettings,
}

impl Cf {
    /// A form of it.
    pub fn new(form: CfForm, settings: CfSettings) -> Self {
        Self { form, settings }
    }

    fn over(&self, votes: Votes) -> Box<dyn Fitted> {
        let item_based = ItemBased::new(&votes, &self.settings);
        Box::new(FittedCf {
            name: self.name(),
            form: self.form,
            settings: self.settings.clone(),
            known: Arc::new((votes, item_based)),
            user_based: UserBased::default(),
            from_users: WeightedMeans::default(),
            from_items: WeightedMeans::default(),
        })
    }
}

impl Method for Cf {
    fn name(&self) -> &'static str {
        match self.form {
            CfForm::User => "cf-user",
            CfForm::Item => "cf-item",
        }
    }

    fn fit(&self, data: &TrainingData<'_>, progress: &mut OnProgress<'_>) -> Result<Box<dyn Fitted>, Error> {
        let method = self.name();
        if !data.log.steps().iter().any(|step| step.feedback.clicked()) {
            return Err(Error::Data { method, problem: "nothing was clicked".into() });
        }
        let fitted = self.over(Votes::of_log(data.log, data.items.n_items()));
        report(method, progress, Progress { done: 1, total: 1, loss: 0.0 })?;
        Ok(fitted)
    }

    fn load(&self, path: &Path, items: &Arc<ItemTable>) -> Result<Box<dyn Fitted>, Error> {
        let file = MethodFile::load(path, self.name())?;
        let n_items: usize = file.read_text("n_items")?;
        if n_items != items.n_items() {
            return Err(
                file.refuse(format!("it knows {n_items} items, the catalogue has {}", items.n_items()))
            );
        }
        let users: Vec<u64> = file.read_list("users")?;
        let starts: Vec<u64> = file.read("starts", &[users.len() + 1])?;
        let by_user = Sparse {
            starts: starts.into_iter().map(|start| start as usize).collect(),
            columns: file.read_list("items")?,
            values: file.read_list("votes")?,
        };
        let n_votes = by_user.columns.len();
        let sound = users.is_sorted()
            && by_user.starts.is_sorted()
            && (by_user.starts[0], by_user.starts[users.len()]) == (0, n_votes)
            && by_user.values.len() == n_votes
            && by_user.columns.iter().all(|&item| (item as usize) < n_items);
        if !sound {
            return Err(file.refuse("its votes are no matrix of users and items"));
        }
        Ok(self.over(Votes::new(users, by_user, n_items)))
    }
}

/// The votes of a log and what follows from them.
#[derive(Clone, Debug)]
struct FittedCf {
    name: &'static str,
    form: CfForm,
    settings: CfSettings,
    known: Arc<(Votes, ItemBased)>,
    user_based: UserBased,
    from_users: WeightedMeans,
    from_items: WeightedMeans,
}

impl Fitted for FittedCf {
    fn ranker(&self) -> Box<dyn Ranker> {
        self.fork()
    }

    fn save(&self, path: &Path) -> Result<(), Error> {
        let (votes, _) = &*self.known;
        let Sparse { starts, columns, values } = &votes.by_user;
        let starts: Vec<u64> = starts.iter().map(|&start| start as u64).collect();
        MethodFile::new(self.name)
            .text("n_items", votes.n_items())
            .tensor("users", &[votes.n_users()], &votes.users)
            .tensor("starts", &[starts.len()], &starts)
            .tensor("items", &[columns.len()], columns)
            .tensor("votes", &[values.len()], values)
            .save(path)
    }
}

impl Ranker for FittedCf {
    fn name(&self) -> &str {
        self.name
    }

    fn scores(&mut self, state: &SessionState<'_>, candidates: &[ItemId], scores: &mut [f32]) {
        let (votes, item_based) = &*self.known;
        let active = votes.active(state);
        item_based.predict(&active, &mut self.from_items);
        self.from_users.start(votes.n_items());
        if self.form == CfForm::User {
            let myself = votes.row_of(state.user);
            self.user_based.predict(votes, &self.settings, &active, myself, &mut self.from_users);
        }
        let mean = mean_vote(&active);
        for (score, &item) in scores.iter_mut().zip(candidates) {
            let by_users = self.from_users.mean(item.0).map(|above| mean + above);
            let predicted = by_users.or_else(|| self.from_items.mean(item.0));
            *score = predicted.map_or(votes.popularity[item.row()], |vote| vote as f32);
        }
    }

    fn fork(&self) -> Box<dyn Ranker> {
        Box::new(self.clone())
    }
}

/// Mean vote of a user, 0 without votes.
fn mean_vote(ballot: &Ballot) -> f64 {
    ballot.values().map(|&vote| f64::from(vote)).sum::<f64>() / ballot.len().max(1) as f64
}
