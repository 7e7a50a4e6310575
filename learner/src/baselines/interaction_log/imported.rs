//! The sessions of an imported log.

use common::{
    ItemId,
    history::{self, N_WINDOWS},
};
use logs::{Log, Split};

use super::{InteractionLog, Step};

impl InteractionLog {
    /// The `split` days of a log with windows of N = `window` items. Windows start from the user's earlier sessions: those
    /// of test days from the training days' too, though nothing else is taken from there. With `drop_clickless`, sessions
    /// without a click are left out, as in the paper (Sec 4.1.1).
    pub fn of_log(log: &Log, split: Split, window: usize, drop_clickless: bool) -> Self {
        let mut found = Self::new(window);
        let mut windows = vec![ItemId::PADDING; N_WINDOWS * window];
        let mut user = None;
        // By (user, time).
        for session in log.sessions() {
            if user != Some(session.user) {
                user = Some(session.user);
                windows.fill(ItemId::PADDING);
            }
            let later = split == Split::Train && session.split == Split::Test;
            if later || drop_clickless && !session.has_click() {
                continue;
            }
            if session.split == split {
                let step = |shown: &logs::Impression| Step {
                    item: shown.item,
                    feedback: shown.feedback,
                    propensity: shown.propensity,
                };
                found.push(session.user, &windows, session.impressions.iter().map(step));
            }
            for shown in session.impressions {
                history::push(&mut windows, shown.item, shown.feedback);
            }
        }
        found
    }
}
