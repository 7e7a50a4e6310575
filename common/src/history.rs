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

/// Appends the `[3, N]` windows that `windows` become when all `steps` are pushed into them ([`push`]), at the cost of one
/// copy.
pub fn extend_after(
    out: &mut Vec<ItemId>,
    windows: &[ItemId],
    steps: impl Iterator<Item = (ItemId, Feedback)> + Clone,
) {
    let n = windows.len() / N_WINDOWS;
    debug_assert_eq!(windows.len(), n * N_WINDOWS, "windows are [3, N]");
    let mut said = [0; 3];
    steps.clone().for_each(|(_, feedback)| said[usize::from(feedback.code())] += 1);
    let [skips, clicks, orders] = said;
    for (kind, n_pushed) in
        [(Kind::Skipped, skips), (Kind::Clicked, clicks + orders), (Kind::Ordered, orders)]
    {
        out.extend_from_slice(&window(windows, kind)[n_pushed.min(n)..]);
        if n_pushed > 0 {
            let enters = |(_, feedback): &(ItemId, Feedback)| match kind {
                Kind::Skipped => !feedback.clicked(),
                Kind::Clicked => feedback.clicked(),
                Kind::Ordered => feedback.ordered(),
            };
            // Those that have fallen out again are passed over.
            let last = steps.clone().filter(enters).skip(n_pushed.saturating_sub(n));
            out.extend(last.map(|(item, _)| item));
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

    proptest::proptest! {
        #[test]
        fn all_steps_at_once_are_the_same_as_one_after_the_other(
            n in 1_usize..5,
            steps in proptest::collection::vec((0_u32..50, 0_u8..3), 0..12),
        ) {
            let steps: Vec<_> =
                steps.into_iter().map(|(item, code)| (ItemId(item), Feedback::from_code(code).unwrap())).collect();
            let start: Vec<_> = (0..(N_WINDOWS * n) as u32).map(|item| ItemId(100 + item)).collect();
            let mut pushed = start.clone();
            steps.iter().for_each(|(item, feedback)| push(&mut pushed, *item, *feedback));
            let mut out = vec![ItemId(7)];
            extend_after(&mut out, &start, steps.iter().copied());
            proptest::prop_assert_eq!(&out[1..], pushed);
        }
    }

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
