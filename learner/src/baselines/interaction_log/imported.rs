//! The sessions of an imported log.

use common::{
    ItemId,
    history::{self, N_WINDOWS},
};
use logs::{Log, Split};

use super::{InteractionLog, Step};

/// What becomes of an imported log's sessions without a click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clickless {
    /// They are sessions like others.
    Kept,
    /// They are not there, as in the paper (Sec 4.1.1).
    LeftOut,
    /// They are there, but move no window: for methods that learned where they were left out.
    Aside,
}

impl InteractionLog {
    /// The `split` days of a log with windows of N = `window` items. Windows start from the user's earlier sessions: those
    /// of test days from the training days' too, though nothing else is taken from there.
    pub fn of_log(log: &Log, split: Split, window: usize, clickless: Clickless) -> Self {
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
            if later || clickless == Clickless::LeftOut && !session.has_click() {
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
            if clickless == Clickless::Aside && !session.has_click() {
                continue;
            }
            for shown in session.impressions {
                history::push(&mut windows, shown.item, shown.feedback);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use common::history::Kind;

    use super::*;

    #[test]
    fn a_session_without_a_click_is_kept_left_out_or_moves_no_window() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("items.csv"), "item_id,category,price\n1,,\n2,,\n3,,\n").unwrap();
        let rows = "7,0,0,0,1,1,train\n7,1,0,1000,2,0,train\n7,2,0,2000,3,0,test\n7,3,0,3000,1,2,test\n";
        let header = "user_id,session_id,position,timestamp,item_id,feedback,split\n";
        std::fs::write(folder.path().join("log.csv"), header.to_owned() + rows).unwrap();
        let log = Log::open_without_embeddings(folder.path()).unwrap();
        let starts = |split, clickless| -> Vec<[Vec<u32>; 2]> {
            let of = |windows: &[ItemId], kind| -> Vec<u32> {
                let window = history::window(windows, kind);
                window.iter().filter(|item| !item.is_padding()).map(|item| item.0).collect()
            };
            let found = InteractionLog::of_log(&log, split, 3, clickless);
            found
                .sessions()
                .map(|session| [Kind::Skipped, Kind::Clicked].map(|kind| of(session.start_windows, kind)))
                .collect()
        };
        let (clicked, nothing) = (|skips: &[u32]| [skips.to_vec(), vec![0]], [vec![], vec![]]);
        use Clickless::{Aside, Kept, LeftOut};
        assert_eq!(starts(Split::Train, Kept), [nothing.clone(), clicked(&[])]);
        assert_eq!(starts(Split::Train, LeftOut), std::slice::from_ref(&nothing));
        assert_eq!(starts(Split::Train, Aside), [nothing, clicked(&[])]);
        assert_eq!(starts(Split::Test, Kept), [clicked(&[1]), clicked(&[1, 2])]);
        assert_eq!(starts(Split::Test, LeftOut), [clicked(&[])]);
        assert_eq!(starts(Split::Test, Aside), [clicked(&[]), clicked(&[])]);
    }
}
