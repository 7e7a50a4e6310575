//! Dates of the published files.
//!
//! In: `2020-05-06 00:10:20`, `2020-05-06T07:08:09.123Z`, `2021-02-03 04:05:06.789012+00:00`, `2021-02-03 02`,
//! `2020-02-03` or `2021-02-03 04:05:06 UTC`; out: milliseconds since 1970-01-01 UTC.

const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// East of UTC, ms: for files that say nothing else.
pub(super) const UTC: i64 = 0;
/// China's local time, UTC+8 all year, ms: what Alibaba's and JD's files without a zone are in.
pub(super) const CHINA: i64 = 8 * HOUR;

/// Time of a date, ms since 1970-01-01 UTC; `zone` where the text names none. None: no such date.
pub(super) fn parse(text: &str, zone: i64) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let day = day(date)?;
    if rest.is_empty() {
        return Some(day * DAY - zone);
    }
    let rest = rest.strip_prefix([' ', 'T'])?;
    let (clock, zone) = split_zone(rest, zone)?;
    Some(day * DAY + time_of_day(clock)? - zone)
}

/// Splits `10:51:09+08:00` into the time and the offset, ms.
fn split_zone(text: &str, default: i64) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix('Z').or_else(|| text.strip_suffix(" UTC")) {
        return Some((clock, UTC));
    }
    let Some(at) = text.find(['+', '-']) else { return Some((text, default)) };
    let (clock, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    Some((clock, sign * time_of_day(offset.get(1..)?)?))
}

/// `HH[:MM[:SS[.fraction]]]` as ms since midnight.
fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let hour = number(parts.next()?, 0..=23)?;
    let minute = parts.next().map_or(Some(0), |part| number(part, 0..=59))?;
    let seconds = parts.next().unwrap_or("0");
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    if parts.next().is_some() || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let ms = fraction.bytes().chain(*b"00").take(3).fold(0, |ms, digit| ms * 10 + i64::from(digit - b'0'));
    // 60 is a leap second.
    Some(hour * HOUR + minute * 60 * SECOND + number(whole, 0..=60)? * SECOND + ms)
}

/// Days since 1970-01-01 of `YYYY-MM-DD`.
fn day(date: &str) -> Option<i64> {
    let mut parts = date.split('-');
    let year = parts.next().filter(|year| year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()))?;
    let year: i64 = year.parse().ok()?;
    let month = number(parts.next()?, 1..=12)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let february = if leap { 29 } else { 28 };
    let longest = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let day = number(parts.next()?, 1..=*longest.get(usize::try_from(month - 1).ok()?)?)?;
    // Civil date to days, with years that begin in March so that the leap day is the last one (H. Hinnant,
    // "chrono-compatible low-level date algorithms", days_from_civil).
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

/// One or two digits within `range`.
fn number(text: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    if !matches!(text.len(), 1 | 2) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| range.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_forms_are_read() {
        for (text, zone, ms) in [
            ("2020-05-06 00:10:20", UTC, 1_588_723_820_000),
            ("2020-05-06 00:10:20", CHINA, 1_588_695_020_000),
            ("2020-05-06T07:08:09.123Z", CHINA, 1_588_748_889_123),
            ("2021-02-03 04:05:06.789012+00:00", UTC, 1_612_325_106_789),
            ("2021-02-03 12:05:06+08:00", UTC, 1_612_325_106_000),
            ("2021-02-03 02", CHINA, 1_612_288_800_000),
            ("2020-02-29", UTC, 1_582_934_400_000),
            ("2021-02-03 04:05:06 UTC", CHINA, 1_612_325_106_000),
            ("1970-01-01", UTC, 0),
        ] {
            assert_eq!(parse(text, zone), Some(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2021",
            "2021-13-01",
            "2021-02-29",
            "2021-02-00",
            "2021-03-01x",
            "2021-03-01 24:00:00",
            "2021-03-01 1:60",
            "2021-03-01 00:00:61",
            "2021-03-01 00:00:00.x",
            "1588723820",
            "2021-03-0é",
            "2021-03-01 00:00:00:00",
            "+021-03-01",
        ] {
            assert_eq!(parse(text, UTC), None, "{text}");
        }
    }
}
