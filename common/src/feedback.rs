//! What a user does with a shown item, and what it is worth.

use serde::{Deserialize, Serialize};

/// Feedback to one shown item. An order implies a click; its reward is 5, not 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Feedback {
    /// Shown, not clicked: reward 0.
    Skip = 0,
    /// Clicked, not ordered: reward 1.
    Click = 1,
    /// Clicked and ordered: reward 5.
    Order = 2,
}

impl Feedback {
    /// All classes in the order of their codes.
    pub const ALL: [Self; 3] = [Self::Skip, Self::Click, Self::Order];

    /// External reward r_ex of the step (Sec 4.1.1).
    pub fn reward(self) -> f32 {
        [0.0, 1.0, 5.0][self as usize]
    }

    /// The one-byte code of logs and of the wire: 0 skip, 1 click, 2 order.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The feedback of a code; `None` for any other byte.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether the item was clicked (an order is a click too).
    pub fn clicked(self) -> bool {
        self >= Self::Click
    }

    /// Whether the item was ordered.
    pub fn ordered(self) -> bool {
        self == Self::Order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_worth_five_and_is_a_click() {
        assert_eq!(Feedback::ALL.map(Feedback::reward), [0.0, 1.0, 5.0]);
        assert!(Feedback::Order.clicked() && !Feedback::Skip.clicked());
    }

    #[test]
    fn codes_round_trip_and_others_are_refused() {
        for feedback in Feedback::ALL {
            assert_eq!(Feedback::from_code(feedback.code()), Some(feedback));
        }
        assert_eq!(Feedback::from_code(3), None);
    }
}
