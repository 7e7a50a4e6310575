//! The three history windows of a session: the last N skipped, clicked and ordered items.
//!
//! A window is `N` item ids, oldest first, padded **on the left** with [`ItemId::PADDING`]. The windows of a session
//! lie one after the other, `[3, N]` in the order of [`Kind`]; those of E sessions are `[E, 3, N]`, contiguous.

use crate::{Feedback, ItemId};

/// Number of windows of a session.
pub const N_WINDOWS: usize = 3;

/// Which window; the value is its index in `[3, N]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// Items shown and not clicked.
    Skipped = 0,
    /// Items clicked, ordered ones included.
    Clicked = 1,
    /// Items ordered.
    Ordered = 2,
}

/// The window `kind` of a session's `[3, N]` windows.
pub fn window(windows: &[ItemId], kind: Kind) -> &[ItemId] {
    let n = windows.len() / N_WINDOWS;
    &windows[kind as usize * n..][..n]
}

/// Pushes a shown item into a session's `[3, N]` windows: a click goes to the clicked window, an order to the
/// clicked and the ordered window, a skip to the skipped one. The oldest item of a full window falls out.
pub fn push(windows: &mut [ItemId], item: ItemId, feedback: Feedback) {
    let n = windows.len() / N_WINDOWS;
    debug_assert_eq!(windows.len(), n * N_WINDOWS, "windows are [3, N]");
    let mut push_into = |kind: Kind| {
        let window = &mut windows[kind as usize * n..][..n];
        window.copy_within(1.., 0);
        window[n - 1] = item;
    };
    match feedback {
        Feedback::Skip => push_into(Kind::Skipped),
        Feedback::Click => push_into(Kind::Clicked),
        Feedback::Order => {
            push_into(Kind::Clicked);
            push_into(Kind::Ordered);
        }
    }
}

/// Number of real items of a window (padding is on the left).
pub fn length(window: &[ItemId]) -> usize {
    window.iter().rev().take_while(|item| !item.is_padding()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_enters_two_windows_and_the_oldest_falls_out() {
        let mut windows = vec![ItemId::PADDING; 6];
        push(&mut windows, ItemId(1), Feedback::Skip);
        push(&mut windows, ItemId(2), Feedback::Order);
        push(&mut windows, ItemId(3), Feedback::Click);
        push(&mut windows, ItemId(4), Feedback::Click);
        assert_eq!(window(&windows, Kind::Skipped), [ItemId::PADDING, ItemId(1)]);
        assert_eq!(window(&windows, Kind::Clicked), [ItemId(3), ItemId(4)]);
        assert_eq!(window(&windows, Kind::Ordered), [ItemId::PADDING, ItemId(2)]);
        assert_eq!(length(window(&windows, Kind::Ordered)), 1);
    }
}
