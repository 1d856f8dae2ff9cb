//! Points in time, as Go reads and writes them in RFC 3339.

use std::fmt;

use smol_str::{SmolStr, format_smolstr};

use crate::field::go_quote;

/// A point in time, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Below a second.
    pub nanos: u32,
}

/// Why a text is no time, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TimeError(String);

/// Seconds from Go's zero time, the year 1, to 1970.
const ZERO_SECONDS: i64 = -62_135_596_800;
const DAY_SECONDS: i64 = 86_400;
/// The seconds of the years 0 to 9999.
const WRITABLE_SECONDS: std::ops::Range<i64> = -62_167_219_200..253_402_300_800;

// === impl Time ===

impl Time {
    /// Go's zero: the first second of the year 1, which stands for no time at all.
    pub const ZERO: Time = Time { seconds: ZERO_SECONDS, nanos: 0 };

    pub fn from_unix(seconds: i64, nanos: u32) -> Time {
        Time { seconds, nanos }
    }

    pub fn is_zero(&self) -> bool {
        *self == Time::ZERO
    }

    /// Whether the year has four digits: no other is read. Upstream stores such times, for no client to read.
    pub fn is_writable(&self) -> bool {
        WRITABLE_SECONDS.contains(&self.seconds)
    }

    /// Reads RFC 3339 (`metav1.Time`); a fraction is accepted.
    pub fn parse(text: &str) -> Result<Time, TimeError> {
        Reader { text, rest: text, micro: false }.time()
    }

    /// Reads RFC 3339 with exactly six decimals (`metav1.MicroTime`).
    pub fn parse_micro(text: &str) -> Result<Time, TimeError> {
        Reader { text, rest: text, micro: true }.time()
    }

    /// In whole seconds, as `metav1.Time` is written: `2006-01-02T15:04:05Z`.
    pub fn to_text(&self) -> SmolStr {
        format_smolstr!("{self}")
    }

    /// With six decimals, as `metav1.MicroTime` is written: `2006-01-02T15:04:05.000000Z`.
    pub fn to_micro_text(&self) -> SmolStr {
        format_smolstr!("{}.{:06}Z", Seconds(self.seconds), self.nanos / 1000)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", Seconds(self.seconds))
    }
}

/// Date and time without a zone.
struct Seconds(i64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0.div_euclid(DAY_SECONDS));
        let second = self.0.rem_euclid(DAY_SECONDS);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

// The calendar, by the days of 400-year eras that begin in March.

const ERA_DAYS: i64 = 146_097;
/// From the first of March of the year 0 to 1970.
const EPOCH_DAYS: i64 = 719_468;

/// The days since 1970 of a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * ERA_DAYS + day_of_era - EPOCH_DAYS
}

/// Year, month and day of the days since 1970.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Reads element by element, as Go's layouts do.
struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    micro: bool,
}

type Read<T> = Result<T, TimeError>;

impl Reader<'_> {
    fn time(mut self) -> Read<Time> {
        let year = self.digits(4, "2006")?;
        self.literal("-")?;
        let month = self.two("01", 1..=12, "month")?;
        self.literal("-")?;
        let day = self.digits(2, "02")?;
        self.literal("T")?;
        let hour = self.hour()?;
        self.literal(":")?;
        let minute = self.two("04", 0..=59, "minute")?;
        self.literal(":")?;
        let second = self.two("05", 0..=59, "second")?;
        let nanos = self.fraction()?;
        let offset = self.zone()?;
        if !self.rest.is_empty() {
            return Err(self.failed(&format!(": extra text: {}", go_quote(self.rest))));
        }
        if !(1..=days_in(year, month)).contains(&day) {
            return Err(self.failed(": day out of range"));
        }
        let seconds = days(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset;
        let time = Time { seconds, nanos };
        if time.is_writable() { Ok(time) } else { Err(self.failed(": year out of range")) }
    }

    fn digits(&mut self, count: usize, element: &str) -> Read<i64> {
        match self.rest.get(..count) {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.rest = &self.rest[count..];
                Ok(digits.bytes().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
            }
            _ => Err(self.bad(element)),
        }
    }

    fn two(&mut self, element: &str, range: std::ops::RangeInclusive<i64>, name: &str) -> Read<i64> {
        let number = self.digits(2, element)?;
        if range.contains(&number) { Ok(number) } else { Err(self.failed(&format!(": {name} out of range"))) }
    }

    /// Go takes one digit for the hour as well.
    fn hour(&mut self) -> Read<i64> {
        let single = matches!(self.rest.as_bytes(), [b'0'..=b'9', next, ..] if !next.is_ascii_digit());
        let hour = self.digits(if single { 1 } else { 2 }, "15")?;
        if hour < 24 { Ok(hour) } else { Err(self.failed(": hour out of range")) }
    }

    fn literal(&mut self, text: &str) -> Read<()> {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.bad(text)),
        }
    }

    fn fraction(&mut self) -> Read<u32> {
        let after = self.rest.strip_prefix(['.', ',']);
        let found = after.map_or(0, |after| after.bytes().take_while(u8::is_ascii_digit).count());
        let taken = match self.micro {
            true if found < 6 => return Err(self.bad(".000000")),
            true => 6,
            false => found,
        };
        let Some(after) = after.filter(|_| taken > 0) else { return Ok(0) };
        self.rest = &after[taken..];
        let nanos = after.bytes().take(taken).chain(std::iter::repeat(b'0')).take(9);
        Ok(nanos.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
    }

    /// Seconds east of UTC.
    fn zone(&mut self) -> Read<i64> {
        const ELEMENT: &str = "Z07:00";
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2, ..] = *self.rest.as_bytes() else {
            return Err(self.bad(ELEMENT));
        };
        if ![h1, h2, m1, m2].iter().all(u8::is_ascii_digit) {
            return Err(self.bad(ELEMENT));
        }
        let number = |tens: u8, ones: u8| i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
        let (hours, minutes) = (number(h1, h2), number(m1, m2));
        self.rest = &self.rest[6..];
        if hours > 24 {
            return Err(self.failed(": time zone offset hour out of range"));
        }
        if minutes > 60 {
            return Err(self.failed(": time zone offset minute out of range"));
        }
        let offset = hours * 3600 + minutes * 60;
        Ok(if sign == b'-' { -offset } else { offset })
    }

    #[cold]
    fn bad(&self, element: &str) -> TimeError {
        let layout = if self.micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
        let rest = go_quote(self.rest);
        self.failed(&format!(" as \"{layout}\": cannot parse {rest} as \"{element}\""))
    }

    #[cold]
    fn failed(&self, why: &str) -> TimeError {
        TimeError(format!("parsing time {}{why}", go_quote(self.text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("1970-01-01T00:00:00Z", 0, 0)]
    #[case("2024-02-29T12:30:01Z", 1_709_209_801, 0)]
    #[case("2024-02-29T12:30:01.25Z", 1_709_209_801, 250_000_000)]
    #[case("2024-02-29T14:30:01+02:00", 1_709_209_801, 0)]
    #[case("2024-02-29T3:30:01Z", 1_709_177_401, 0)]
    #[case("0001-01-01T00:00:00Z", ZERO_SECONDS, 0)]
    fn read(#[case] text: &str, #[case] seconds: i64, #[case] nanos: u32) {
        assert_eq!(Time::parse(text), Ok(Time { seconds, nanos }));
    }

    /// Expected texts are Go's own.
    #[rstest]
    #[case("abc", r#"parsing time "abc" as "2006-01-02T15:04:05Z07:00": cannot parse "abc" as "2006""#)]
    #[case("", r#"parsing time "" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "2006""#)]
    #[case("2006-01-02", r#"parsing time "2006-01-02" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T""#)]
    #[case("2006-13-02T00:00:00Z", r#"parsing time "2006-13-02T00:00:00Z": month out of range"#)]
    #[case("2023-02-29T00:00:00Z", r#"parsing time "2023-02-29T00:00:00Z": day out of range"#)]
    #[case("2023-02-20T25:00:00Z", r#"parsing time "2023-02-20T25:00:00Z": hour out of range"#)]
    #[case("9999-12-31T23:59:59-01:00", r#"parsing time "9999-12-31T23:59:59-01:00": year out of range"#)]
    #[case("2023-02-20T05:00:00Zx", r#"parsing time "2023-02-20T05:00:00Zx": extra text: "x""#)]
    #[case(
        "2023-02-20T05:00:00",
        r#"parsing time "2023-02-20T05:00:00" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00""#
    )]
    fn errors(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(Time::parse(text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn micro_times_have_six_decimals() {
        let time = Time::parse_micro("2024-02-29T12:30:01.123456Z").unwrap();
        assert_eq!(time.to_micro_text(), "2024-02-29T12:30:01.123456Z");
        let error = Time::parse_micro("2024-02-29T12:30:01Z").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"parsing time "2024-02-29T12:30:01Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000""#
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in ZERO_SECONDS..253_402_300_800i64, micros in 0u32..1_000_000) {
            let time = Time { seconds, nanos: 0 };
            prop_assert_eq!(Time::parse(&time.to_text()), Ok(time));
            let time = Time { seconds, nanos: micros * 1000 };
            prop_assert_eq!(Time::parse_micro(&time.to_micro_text()), Ok(time));
        }
    }
}
