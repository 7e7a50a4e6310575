//! Counts on the command line. In: `2000000`, `2_000_000`, `2e6`, `1.5e6`; out: a whole number.

/// From it on floating point leaves whole numbers out, 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value parser for arguments that count things.
pub(super) fn count<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let digits = text.replace('_', "");
    let scientific = || {
        let is_count = |number: &f64| number.fract() == 0.0 && (0.0..EXACT).contains(number);
        // Words of floating point, such as `inf`, are none.
        let number = digits.parse().ok().filter(|_| digits.starts_with(|c: char| c.is_ascii_digit()));
        number.filter(is_count).map(|number| number as u64)
    };
    let number = digits.parse().ok().or_else(scientific);
    let number = number.ok_or("expected a whole number, e.g. 2000000, 2_000_000 or 2e6")?;
    T::try_from(number).map_err(|_| "too large".to_owned())
}

/// The same of something of which none would be nothing.
pub(super) fn at_least_one<T: TryFrom<u64> + PartialEq + Default>(text: &str) -> Result<T, String> {
    let number = count::<T>(text)?;
    if number == T::default() { Err("at least 1 is needed".to_owned()) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_people_write_them() {
        for (text, number) in [
            ("0", 0),
            ("2000000", 2_000_000),
            ("2_000_000", 2_000_000),
            ("1e6", 1_000_000),
            ("1.5e6", 1_500_000),
            ("1E+3", 1_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(count(text), Ok(number), "{text}");
        }
        assert_eq!(count("3e9"), Ok(3_000_000_000_i64));
    }

    #[test]
    fn what_is_no_count_is_refused_with_examples() {
        for text in ["", "_", "many", "2M", "1.5", "1e-3", "-1", "-0.0", "1e6.5", "inf", "nan", "1e300", "e6"]
        {
            let problem = count::<u64>(text).unwrap_err();
            assert_eq!(problem, "expected a whole number, e.g. 2000000, 2_000_000 or 2e6", "{text}");
        }
        assert_eq!(count::<u32>("5e9"), Err("too large".to_owned()));
        assert_eq!(count::<i64>("18446744073709551615"), Err("too large".to_owned()));
        assert_eq!(at_least_one::<u64>("0"), Err("at least 1 is needed".to_owned()));
        assert_eq!(at_least_one("1"), Ok(1_u64));
    }
}
