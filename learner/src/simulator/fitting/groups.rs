//! Who is learned from, who decides when to stop and how to calibrate, and who judges.
//!
//! In: sessions; out: three groups of them. Users are split, not impressions: neighbouring impressions of one user would
//! tell each other's answers. A user's group depends on the seed and the user's number only. Logs of few users are split
//! by session instead.

use common::seed::Streams;
use rand::RngExt;

use super::{Unit, samples::Samples};

/// Fewest users that are split by user.
const FEWEST_USERS: usize = 30;

/// Sessions by group, as indices of [`Samples::sessions`], ascending.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    /// What was split.
    pub(super) unit: Unit,
    /// The networks learn from these.
    pub(super) fit: Vec<usize>,
    /// These stop the training early and set the calibration.
    pub(super) calibrate: Vec<usize>,
    /// The acceptance report is about these: the networks have not seen them. Item embeddings may have been computed
    /// from them, which the report notes.
    pub(super) judge: Vec<usize>,
}

impl Groups {
    /// Splits the sessions; `share` of them (0 to 0.5) each to calibrate and to judge.
    pub(super) fn split(samples: &Samples, share: f32, seed: u64) -> Self {
        let mut users: Vec<u64> = samples.sessions.iter().map(|session| session.user).collect();
        users.dedup();
        let unit = if users.len() >= FEWEST_USERS { Unit::User } else { Unit::Session };
        let streams = Streams::new(seed, "simulator/groups");
        let mut groups = Self { unit, fit: Vec::new(), calibrate: Vec::new(), judge: Vec::new() };
        for (index, session) in samples.sessions.iter().enumerate() {
            let key = match unit {
                Unit::User => session.user,
                Unit::Session => index as u64,
            };
            let draw: f32 = streams.at(key, 0).random();
            let group = if draw < share {
                &mut groups.judge
            } else if draw < 2.0 * share {
                &mut groups.calibrate
            } else {
                &mut groups.fit
            };
            group.push(index);
        }
        groups
    }

    /// Rows of some sessions, ascending.
    pub(super) fn rows(samples: &Samples, sessions: &[usize]) -> Vec<usize> {
        sessions.iter().flat_map(|&index| samples.sessions[index].rows.clone()).collect()
    }

    /// The session of each of those rows.
    pub(super) fn sessions(samples: &Samples, sessions: &[usize]) -> Vec<usize> {
        sessions.iter().flat_map(|&index| samples.sessions[index].rows.clone().map(move |_| index)).collect()
    }
}

#[cfg(test)]
mod tests {
    use common::{Feedback, ItemId};

    use super::*;

    fn samples(n_users: u64) -> Samples {
        let mut samples = Samples::new(2);
        for user in 0..n_users {
            for _ in 0..2 {
                samples.add_session(user, true, [(ItemId(0), Feedback::Skip)]);
            }
        }
        samples
    }

    #[test]
    fn no_user_is_in_two_groups_and_the_shares_are_about_right() {
        let samples = samples(1000);
        let groups = Groups::split(&samples, 0.1, 0);
        let users = |sessions: &[usize]| -> Vec<u64> {
            let mut users: Vec<u64> = sessions.iter().map(|&s| samples.sessions[s].user).collect();
            users.dedup();
            users
        };
        let [fit, calibrate, judge] = [&groups.fit, &groups.calibrate, &groups.judge].map(|g| users(g));
        assert_eq!(fit.len() + calibrate.len() + judge.len(), 1000);
        assert!(judge.iter().all(|user| !fit.contains(user) && !calibrate.contains(user)));
        assert!((70..130).contains(&judge.len()) && (70..130).contains(&calibrate.len()));
    }

    #[test]
    fn few_users_are_split_by_session() {
        assert_eq!(Groups::split(&samples(29), 0.1, 0).unit, Unit::Session);
    }
}
