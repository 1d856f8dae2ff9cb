//! Schedules in cron's notation: five fields, or a name such as `@daily`.
//!
//! Upstream: `github.com/robfig/cron/v3` (`ParseStandard`), with its errors' wording.

/// The times a schedule names. Bit *n* of a field says that *n* is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    Fields {
        minutes: u64,
        hours: u64,
        days: u64,
        months: u64,
        weekdays: u64,
        /// Both days and weekdays are restricted: either of them will do.
        either_day: bool,
    },
    /// `@every`: nanoseconds between two times, whole seconds.
    Every(i64),
}

struct Field {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTES: Field = Field { min: 0, max: 59, names: &[] };
const HOURS: Field = Field { min: 0, max: 23, names: &[] };
const DAYS: Field = Field { min: 1, max: 31, names: &[] };
const MONTHS: Field = Field {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Field = Field { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// What is wrong, in upstream's words.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        let text = match text.strip_prefix("TZ=").or(text.strip_prefix("CRON_TZ=")) {
            Some(zoned) => zoned.split_once(' ').map(|(_, rest)| rest.trim()).ok_or("invalid schedule format")?,
            None => text,
        };
        if text.starts_with('@') {
            return descriptor(text);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        };
        let any = |field: &str| field.split(',').any(|part| part.starts_with(['*', '?']) && !part.contains('/'));
        Ok(Schedule::Fields {
            minutes: bits(minutes, &MINUTES)?,
            hours: bits(hours, &HOURS)?,
            days: bits(days, &DAYS)?,
            months: bits(months, &MONTHS)?,
            weekdays: bits(weekdays, &WEEKDAYS)?,
            either_day: !any(days) && !any(weekdays),
        })
    }
}

fn descriptor(text: &str) -> Result<Schedule, String> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => {
            let Some(every) = other.strip_prefix("@every ") else {
                return Err(format!("unrecognized descriptor: {other}"));
            };
            let nanoseconds = duration(every)
                .ok_or_else(|| format!("failed to parse duration {other}: time: invalid duration {every:?}"))?;
            return Ok(Schedule::Every((nanoseconds / SECOND).max(1) * SECOND));
        }
    };
    Schedule::parse(fields)
}

const SECOND: i64 = 1_000_000_000;

/// Go's durations: `1h30m`.
fn duration(text: &str) -> Option<i64> {
    let mut total = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    Some(total as i64)
}

/// A list of ranges with steps: `1-5,10,*/15`.
fn bits(text: &str, field: &Field) -> Result<u64, String> {
    text.split(',').filter(|part| !part.is_empty()).try_fold(0, |bits, part| Ok(bits | range(part, field)?))
}

fn range(text: &str, field: &Field) -> Result<u64, String> {
    let mut stepped = text.split('/');
    let (interval, step) = (stepped.next().unwrap_or_default(), stepped.next());
    if stepped.next().is_some() {
        return Err(format!("too many slashes: {text}"));
    }
    let mut ends = interval.split('-');
    let (low, high) = (ends.next().unwrap_or_default(), ends.next());
    if ends.next().is_some() {
        return Err(format!("too many hyphens: {text}"));
    }
    let (start, mut end) = match (low, high) {
        ("*" | "?", _) => (field.min, field.max),
        (low, None) => {
            let start = number(low, field)?;
            (start, start)
        }
        (low, Some(high)) => (number(low, field)?, number(high, field)?),
    };
    let step = match step {
        None => 1,
        Some(step) => {
            let step = plain_number(step)?;
            if high.is_none() {
                end = field.max;
            }
            step
        }
    };
    if start < field.min {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", field.min));
    }
    if end > field.max {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", field.max));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    Ok((start..=end).step_by(step as usize).fold(0, |bits, value| bits | 1 << value))
}

fn number(text: &str, field: &Field) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    match field.names.iter().position(|name| *name == lower) {
        Some(at) => Ok(at as u32 + field.min),
        None => plain_number(text),
    }
}

fn plain_number(text: &str) -> Result<u32, String> {
    let number: i64 = text.parse().map_err(|_| {
        format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {}: invalid syntax",
            crate::field::go_quote(text)
        )
    })?;
    u32::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", "empty spec string")]
    #[case("* * * *", "expected exactly 5 fields, found 4: [* * * *]")]
    #[case("60 * * * *", "end of range (60) above maximum (59): 60")]
    #[case("* * 0 * *", "beginning of range (0) below minimum (1): 0")]
    #[case("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1")]
    #[case("*/0 * * * *", "step of range should be a positive number: */0")]
    #[case("x * * * *", r#"failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax"#)]
    #[case("1/2/3 * * * *", "too many slashes: 1/2/3")]
    #[case("@sometimes", "unrecognized descriptor: @sometimes")]
    fn bad_schedules(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(Schedule::parse(text).unwrap_err(), expected);
    }

    #[test]
    fn good_schedules() {
        let Schedule::Fields { minutes, months, weekdays, either_day, .. } =
            Schedule::parse("*/30 0 1 jan-mar mon,5").unwrap()
        else {
            panic!("fields")
        };
        assert_eq!((minutes, months, weekdays, either_day), (1 | 1 << 30, 0b1110, 0b100010, true));
        assert_eq!(Schedule::parse("@every 1m30s").unwrap(), Schedule::Every(90 * SECOND));
        assert!(Schedule::parse("@daily").is_ok());
    }
}
