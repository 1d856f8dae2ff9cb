//! The times of a schedule, in a time zone.

use std::path::Path;

use api::kinds::cron::Schedule;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Where the machine keeps its time zones.
const ZONES: &str = "/usr/share/zoneinfo";
/// A schedule that names no time within so many years names none at all (31 February).
const YEARS_MAX: i16 = 5;

/// A schedule in its zone.
#[derive(Clone, Debug)]
pub struct Timetable {
    schedule: Schedule,
    zone: TimeZone,
}

// === impl Timetable ===

impl Timetable {
    /// A schedule in a zone; UTC if none is named.
    ///
    /// # Errors
    /// What is wrong with the schedule, in upstream's words.
    pub fn new(schedule: &str, zone: Option<TimeZone>) -> Result<Timetable, String> {
        Ok(Timetable { schedule: Schedule::parse(schedule)?, zone: zone.unwrap_or(TimeZone::UTC) })
    }

    /// The first time after `after`; none if there is none.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.schedule {
            Schedule::Every(nanoseconds) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(SignedDuration::from_nanos(*nanoseconds)).ok()
            }
            Schedule::Fields { .. } => self.next_of_fields(after),
        }
    }

    fn next_of_fields(&self, after: Timestamp) -> Option<Timestamp> {
        let local = after.to_zoned(self.zone.clone()).datetime();
        let mut at = local.with().second(0).subsec_nanosecond(0).build().ok()?;
        let last_year = at.year().checked_add(YEARS_MAX)?;
        while at.year() <= last_year {
            at = match self.first_from(at) {
                Step::Here => {
                    let time = self.zone.to_ambiguous_timestamp(at).compatible().ok()?;
                    // The wall clock goes back in autumn: the same reading comes twice.
                    if time > after {
                        return Some(time);
                    }
                    at.checked_add(SignedDuration::from_mins(1)).ok()?
                }
                Step::To(later) => later?,
            };
        }
        None
    }

    /// Whether a minute is meant, or else from where on to look.
    fn first_from(&self, at: DateTime) -> Step {
        let Schedule::Fields { minutes, hours, months, .. } = &self.schedule else { return Step::Here };
        let has = |bits: u64, bit: i8| bits >> bit & 1 == 1;
        if !has(*months, at.month()) {
            return Step::To(at.date().first_of_month().checked_add(jiff::Span::new().months(1)).ok().map(midnight));
        }
        if !self.has_day(at.date()) {
            return Step::To(at.date().tomorrow().ok().map(midnight));
        }
        if !has(*hours, at.hour()) {
            let hour = at.with().minute(0).build().ok();
            return Step::To(hour.and_then(|hour| hour.checked_add(SignedDuration::from_hours(1)).ok()));
        }
        if !has(*minutes, at.minute()) {
            return Step::To(at.checked_add(SignedDuration::from_mins(1)).ok());
        }
        Step::Here
    }

    fn has_day(&self, date: Date) -> bool {
        let Schedule::Fields { days, weekdays, either_day, .. } = &self.schedule else { return true };
        let day = days >> date.day() & 1 == 1;
        let weekday = weekdays >> date.weekday().to_sunday_zero_offset() & 1 == 1;
        if *either_day { day || weekday } else { day && weekday }
    }

    /// A time as the zone's clocks show it, in RFC 3339.
    pub fn local(&self, time: Timestamp) -> String {
        let zoned = time.to_zoned(self.zone.clone());
        match zoned.offset().is_zero() {
            true => zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            false => zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        }
    }
}

enum Step {
    Here,
    To(Option<DateTime>),
}

fn midnight(date: Date) -> DateTime {
    date.at(0, 0, 0, 0)
}

/// A time zone of the machine.
///
/// # Errors
/// In upstream's words, if there is none of that name.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    let unknown = || format!("unknown time zone {name}");
    if name == "UTC" || name.is_empty() {
        return Ok(TimeZone::UTC);
    }
    let is_plain = name.split('/').all(|part| !part.is_empty() && part != ".." && !part.contains('\\'));
    if !is_plain || name.starts_with('/') {
        return Err("time: invalid location name".to_owned());
    }
    let data = std::fs::read(Path::new(ZONES).join(name)).map_err(|_| unknown())?;
    TimeZone::tzif(name, &data).map_err(|_| unknown())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[rstest]
    #[case::every_minute("* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z")]
    #[case::strictly_later("*/15 * * * *", "2026-01-01T00:15:00Z", "2026-01-01T00:30:00Z")]
    #[case::daily("@daily", "2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z")]
    #[case::hours("30 6-16/4 * * 1-5", "2026-01-02T14:31:00Z", "2026-01-05T06:30:00Z")]
    #[case::either_day("0 0 13 * 5", "2026-01-10T00:00:00Z", "2026-01-13T00:00:00Z")]
    #[case::either_weekday("0 0 13 * 5", "2026-01-13T00:00:00Z", "2026-01-16T00:00:00Z")]
    #[case::leap_day("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z")]
    #[case::every("@every 90m", "2026-01-01T00:00:00.5Z", "2026-01-01T01:30:00Z")]
    fn next_time(#[case] schedule: &str, #[case] after: &str, #[case] expected: &str) {
        let timetable = Timetable::new(schedule, None).unwrap();
        assert_eq!(timetable.next(time(after)), Some(time(expected)));
    }

    #[test]
    fn the_zone_decides_and_summer_time_is_kept() {
        let timetable = Timetable::new("0 9 * * *", Some(zone("Europe/Berlin").unwrap())).unwrap();
        assert_eq!(timetable.next(time("2026-03-28T12:00:00Z")), Some(time("2026-03-29T07:00:00Z")));
        assert_eq!(timetable.local(time("2026-03-29T07:00:00Z")), "2026-03-29T09:00:00+02:00");
        assert_eq!(zone("Mars/Olympus").unwrap_err(), "unknown time zone Mars/Olympus");
        assert!(zone("../etc/passwd").is_err());
    }

    #[test]
    fn a_day_that_never_comes() {
        assert_eq!(Timetable::new("59 23 31 2 *", None).unwrap().next(time("2026-01-01T00:00:00Z")), None);
    }
}
