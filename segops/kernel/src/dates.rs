//! Instants: the common forms of ISO 8601. Whatever else may be a date is Python's to read.

const DAY_MS: i64 = 86_400_000;

/// What is known of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Milliseconds since the epoch.
    At(i64),
    /// It is no date in any notation.
    NoDate,
    /// Python has to read it.
    Unsure,
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1 - 719_468
}

fn date(text: &[u8]) -> Option<i64> {
    let (year, month, day) = (number(text.get(..4)?)?, number(text.get(5..7)?)?, number(text.get(8..10)?)?);
    let fits = text[4] == b'-' && text[7] == b'-' && (1970..=9000).contains(&year) && (1..=12).contains(&month);
    (fits && day >= 1 && day <= days_in_month(year, month)).then(|| days_of(year, month, day) * DAY_MS)
}

fn time(text: &[u8]) -> Option<i64> {
    let (hour, minute, second) = (number(text.get(..2)?)?, number(text.get(3..5)?)?, number(text.get(6..8)?)?);
    let fits = text[2] == b':' && text[5] == b':' && hour < 24 && minute < 60 && second < 60;
    fits.then_some(((hour * 60 + minute) * 60 + second) * 1_000)
}

/// Microseconds of a fraction of three or six digits, and the text after it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unit = if length == 3 { 1_000 } else { 1 };
    matches!(length, 3 | 6).then(|| (unit * number(&rest[..length]).unwrap_or(0), &rest[length..]))
}

fn offset(text: &[u8]) -> Option<i64> {
    match text {
        b"" | b"Z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            let ms = (hours * 60 + minutes) * 60_000;
            (hours < 24 && minutes < 60).then_some(if *sign == b'+' { ms } else { -ms })
        }
        _ => None,
    }
}

/// Microseconds since the epoch of a date and time in a common form; a date alone is midnight UTC.
pub fn microseconds(text: &str) -> Option<i64> {
    let text = text.as_bytes();
    let day = date(text)?;
    if text.len() == 10 {
        return Some(day * 1_000);
    }
    if text[10] != b'T' {
        return None;
    }
    let (us, rest) = fraction(text.get(19..)?)?;
    Some((day + time(&text[11..19])? - offset(rest)?) * 1_000 + us)
}

/// Read a text as an instant.
pub fn instant(text: &str) -> Read {
    if let Some(us) = microseconds(text) {
        return Read::At(us.div_euclid(1_000));
    }
    match text.bytes().next() {
        Some(first) if first.is_ascii_alphabetic() => Read::NoDate,
        _ => Read::Unsure,
    }
}

/// An instant in milliseconds as ISO 8601 in UTC with milliseconds; None outside of the years 1 to 9999.
pub fn written(at: i64) -> Option<String> {
    let (days, rest) = (at.div_euclid(DAY_MS), at.rem_euclid(DAY_MS));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second, ms) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60, rest % 1_000);
    let fits = (1..=9_999).contains(&year);
    fits.then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_they_are_read() {
        for day in (-700_000..2_900_000).step_by(997) {
            let at = day * DAY_MS + 3_723_004;
            let text = written(at).unwrap_or_default();
            assert!(
                days_of(
                    text[..4].parse().unwrap_or(0),
                    text[5..7].parse().unwrap_or(0),
                    text[8..10].parse().unwrap_or(0)
                ) == day
            );
            assert_eq!(&text[10..], "T01:02:03.004Z");
        }
        assert_eq!((written(-62_135_596_800_001), written(253_402_300_800_000)), (None, None));
    }

    #[test]
    fn common_forms() {
        assert_eq!(instant("1970-01-02"), Read::At(DAY_MS));
        assert_eq!(instant("1970-01-01T01:00:00.250+01:00"), Read::At(250));
        assert_eq!(instant("2024-02-29T00:00:00Z"), Read::At(1_709_164_800_000));
        assert_eq!(instant("2024-02-29T00:00:00.123456Z"), Read::At(1_709_164_800_123));
    }

    #[test]
    fn the_rest_is_left_to_python() {
        for text in ["2023-02-29", "1969-12-31", "20240229", "2024-02-29 10:00:00", "2024-02-29T10", " 2024-02-29", ""]
        {
            assert_eq!(instant(text), Read::Unsure, "{text}");
        }
        assert_eq!(instant("soon"), Read::NoDate);
    }
}
