//! What the action codes of a data set mean.
//!
//! In: a format's table of codes and the user's `--click-map`; out: for each code of a row, the feedback or why the row
//! is dropped. `--click-map` lists the codes that count as clicks instead of the format's own.

use common::Feedback;

use super::table::Row;
use crate::Error;
use crate::source::Input;

/// What a code makes of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A record with this feedback.
    Is(Feedback),
    /// Nothing, and why.
    Dropped(&'static str),
}

pub(super) const SKIP: Meaning = Meaning::Is(Feedback::Skip);
pub(super) const CLICK: Meaning = Meaning::Is(Feedback::Click);
pub(super) const ORDER: Meaning = Meaning::Is(Feedback::Order);
/// What is left of a click that `--click-map` does not list, where the data has actions only.
pub(super) const UNLISTED: Meaning = Meaning::Dropped("action not in --click-map");

/// A code of a data set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code {
    /// As written in the files.
    pub(super) code: &'static str,
    /// In words; empty where the code is one.
    pub(super) name: &'static str,
    pub(super) meaning: Meaning,
}

/// A code in a format's table.
pub(super) const fn code(code: &'static str, name: &'static str, meaning: Meaning) -> Code {
    Code { code, name, meaning }
}

/// The codes of an import, `--click-map` applied.
pub(super) struct Actions(Vec<Code>);

impl Actions {
    /// Applies `--click-map`; clicks that it does not list become `unlisted`. A code it names that the data set does
    /// not have is refused.
    pub(super) fn new(codes: &'static [Code], unlisted: Meaning, input: &Input) -> Result<Self, Error> {
        let mut codes = codes.to_vec();
        let Some(clicks) = &input.click_map else { return Ok(Self(codes)) };
        let is = |code: &Code, word: &str| code.code == word || code.name == word;
        if let Some(unknown) = clicks.iter().find(|word| !codes.iter().any(|code| is(code, word))) {
            let expected = format!("codes of the data set: {}", listed(&codes));
            return Err(Error::Option { key: "click-map", value: format!("{unknown:?}"), expected });
        }
        for code in &mut codes {
            if clicks.iter().any(|word| is(code, word)) {
                code.meaning = CLICK;
            } else if code.meaning == CLICK {
                code.meaning = unlisted;
            }
        }
        Ok(Self(codes))
    }

    /// The meaning of a code; none for one that the data set does not have.
    pub(super) fn meaning(&self, code: &str) -> Option<Meaning> {
        self.0.iter().find(|known| known.code == code).map(|known| known.meaning)
    }

    /// The meaning of the code in a column of a row.
    pub(super) fn of(&self, row: &Row<'_>, column: usize) -> Result<Meaning, Error> {
        self.meaning(row.text(column)?).ok_or_else(|| row.wrong(column, self.expected()))
    }

    /// `one of 1 (browse), 2 (order)`, for errors.
    pub(super) fn expected(&self) -> String {
        format!("one of {}", listed(&self.0))
    }
}

/// A format's table as the manifest shows it.
pub(super) fn mapping(codes: &[Code]) -> Vec<(String, String)> {
    let row = |code: &Code| {
        let to = match code.meaning {
            Meaning::Is(Feedback::Skip) => "skip".to_owned(),
            Meaning::Is(Feedback::Click) => "click".to_owned(),
            Meaning::Is(Feedback::Order) => "order".to_owned(),
            Meaning::Dropped(reason) => format!("dropped: {reason}"),
        };
        (label(code), to)
    };
    codes.iter().map(row).collect()
}

fn label(code: &Code) -> String {
    if code.name.is_empty() { code.code.to_owned() } else { format!("{} ({})", code.code, code.name) }
}

fn listed(codes: &[Code]) -> String {
    codes.iter().map(label).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: &[Code] = &[code("1", "browse", CLICK), code("2", "order", ORDER), code("3", "cart", CLICK)];

    fn actions(clicks: &[&str]) -> Result<Actions, Error> {
        let click_map = Some(clicks.iter().map(|&word| word.to_owned()).collect());
        Actions::new(CODES, UNLISTED, &Input { path: "x".into(), lenient: false, click_map })
    }

    #[test]
    fn a_click_map_replaces_the_clicks_and_leaves_the_orders() {
        let actions = actions(&["cart"]).unwrap();
        assert_eq!(actions.meaning("1"), Some(UNLISTED));
        assert_eq!(actions.meaning("2"), Some(ORDER));
        assert_eq!(actions.meaning("3"), Some(CLICK));
        assert_eq!(actions.meaning("browse"), None);
    }

    #[test]
    fn an_unknown_code_in_a_click_map_is_refused_with_the_known_ones() {
        let error = actions(&["1", "buy"]).err().unwrap().to_string();
        assert!(error.contains("\"buy\"") && error.contains("1 (browse), 2 (order), 3 (cart)"), "{error}");
    }
}
