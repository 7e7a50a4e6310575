//! Settings as dotted keys and printed values, to compare two files of them key by key.

use std::collections::BTreeMap;

use super::Error;

/// Every setting of a TOML text: `train.steps` → `1000`. Equal settings print alike, however they were written.
pub fn dotted(text: &str) -> Result<BTreeMap<String, String>, Error> {
    let table: toml::Table = toml::from_str(text).map_err(|e| Error::Stored(Box::new(e)))?;
    let mut out = BTreeMap::new();
    flatten("", &table, &mut out);
    Ok(out)
}

fn flatten(prefix: &str, table: &toml::Table, out: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(table) => flatten(&key, table, out),
            value => drop(out.insert(key, value.to_string())),
        }
    }
}

/// A setting in which two files differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Dotted key.
    pub key: String,
    /// Our value; `absent` where we have no such setting.
    pub ours: String,
    /// Theirs.
    pub theirs: String,
}

/// The first setting, by key, that differs and is not one that `may_differ`.
pub fn difference(
    ours: &str,
    theirs: &str,
    may_differ: impl Fn(&str) -> bool,
) -> Result<Option<Difference>, Error> {
    let (ours, theirs) = (dotted(ours)?, dotted(theirs)?);
    let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    keys.sort_unstable();
    let value = |of: &BTreeMap<String, String>, key| of.get(key).cloned().unwrap_or("absent".into());
    let differs = |key: &&String| ours.get(*key) != theirs.get(*key) && !may_differ(key);
    Ok(keys.into_iter().find(differs).map(|key| Difference {
        key: key.clone(),
        ours: value(&ours, key),
        theirs: value(&theirs, key),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_compared_by_value_and_in_the_order_of_their_keys() {
        let ours = "b = 2\na = 1.0\n[c]\nd = \"x\"\ne = 1\n";
        let theirs = "a   = 1.00\nb = 3\nc = { d = 'x' }\n";
        let first = difference(ours, theirs, |_| false).unwrap().unwrap();
        assert_eq!(first, Difference { key: "b".into(), ours: "2".into(), theirs: "3".into() });
        let second = difference(ours, theirs, |key| key == "b").unwrap().unwrap();
        assert_eq!(second, Difference { key: "c.e".into(), ours: "1".into(), theirs: "absent".into() });
        assert_eq!(difference(ours, theirs, |key| key != "a").unwrap(), None);
        assert!(difference("a = ", theirs, |_| false).is_err());
    }
}
