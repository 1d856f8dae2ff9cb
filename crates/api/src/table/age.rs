//! Times as people read them.
//!
//! Upstream: `k8s.io/apimachinery/pkg/util/duration`.

use jiff::Timestamp;

use crate::value::Value;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const YEAR_DAYS: i64 = 365;

/// A span with two or three significant figures: `75s`, `5m30s`, `3h`, `2d4h`, `3y10d`.
/// A clock that is a second off is forgiven.
pub fn human_duration(seconds: i64) -> String {
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    let (minutes, hours, days) = (seconds / MINUTE, seconds / HOUR, seconds / DAY);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % MINUTE, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if days < 2 * YEAR_DAYS => format!("{days}d"),
        _ if days < 8 * YEAR_DAYS => two(days / YEAR_DAYS, "y", days % YEAR_DAYS, "d"),
        _ => format!("{}y", days / YEAR_DAYS),
    }
}

/// The instant of a decoded tree's time.
pub fn instant(time: &Value) -> Option<Timestamp> {
    time.as_str()?.parse().ok()
}

/// How long ago a time was; `<unknown>` without one.
pub fn since(time: &Value, now: Timestamp) -> String {
    match instant(time) {
        Some(then) => human_duration(whole_seconds(then, now)),
        None => "<unknown>".to_owned(),
    }
}

/// Seconds from one instant to another, cut towards zero as Go does.
pub fn whole_seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(-2, "<invalid>")]
    #[case(-1, "0s")]
    #[case(0, "0s")]
    #[case(119, "119s")]
    #[case(120, "2m")]
    #[case(125, "2m5s")]
    #[case(600, "10m")]
    #[case(3 * HOUR - 1, "179m")]
    #[case(3 * HOUR, "3h")]
    #[case(3 * HOUR + 60, "3h1m")]
    #[case(8 * HOUR + 60, "8h")]
    #[case(48 * HOUR, "2d")]
    #[case(49 * HOUR, "2d1h")]
    #[case(8 * DAY + HOUR, "8d")]
    #[case(2 * 365 * DAY, "2y")]
    #[case(2 * 365 * DAY + DAY, "2y1d")]
    #[case(8 * 365 * DAY + DAY, "8y")]
    fn spans(#[case] seconds: i64, #[case] expected: &str) {
        assert_eq!(human_duration(seconds), expected);
    }

    #[test]
    fn no_time_is_unknown() {
        assert_eq!(since(&Value::Null, Timestamp::UNIX_EPOCH), "<unknown>");
        assert_eq!(since(&"1970-01-01T00:00:00Z".into(), Timestamp::from_second(5).unwrap()), "5s");
    }
}
