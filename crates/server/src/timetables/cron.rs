//! A cron expression, read by `cronexpr`, in a time zone of the machine's database.
//!
//! The database is read from where the machine has it. `jiff` could bring one: 207,040 bytes of the binary, out of date with the
//! next law on summer time. An image without files has none, and there a fixed offset works.
//!
//! An expression names times of the local clock. Where that clock is set forward over one of them, it is due as much later:
//! 02:30 at 03:30. Where the clock is set back, so that a time comes twice, the first one counts. `cronexpr` itself would leave
//! out the one, and take the other twice; so it is asked about the local clock only, as if that were UTC.

use std::io;
use std::path::{Path, PathBuf};

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use registry_proxy_core::platform::Timetable;

/// Where machines have their time zones, unless `TZDIR` says another place.
const DATABASE: &str = "/usr/share/zoneinfo";
/// Times of the local clock that are tried: more than the minutes by which any clock was ever set.
const MOST_TRIES: usize = 1500;

/// A cron expression in a time zone.
pub(super) struct CronTimetable {
    /// Of the local clock.
    cron: Crontab,
    zone: TimeZone,
}

impl CronTimetable {
    /// Reads an expression and the name of a time zone. An error: the key that is wrong, and why.
    pub(super) fn of(cron: &str, zone: &str) -> Result<Self, (&'static str, String)> {
        let database =
            std::env::var_os("TZDIR").filter(|path| !path.is_empty()).unwrap_or_else(|| DATABASE.into());
        let zone = zone_of(zone, &PathBuf::from(database)).map_err(|what| ("time_zone", what))?;
        Self::parse(cron, zone).map_err(|what| ("at", what))
    }

    fn parse(cron: &str, zone: TimeZone) -> Result<Self, String> {
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let cron = parse_crontab_with(cron, options).map_err(|error| {
            // Its first lines are the expression, and a mark below the place.
            let text = error.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches([' ', '^']).to_owned()
        })?;
        Ok(Self { cron, zone })
    }
}

impl Timetable for CronTimetable {
    fn next_after(&self, unix_seconds: u64) -> Option<u64> {
        let after = i64::try_from(unix_seconds).ok()?;
        let mut local = self.zone.to_datetime(Timestamp::from_second(after).ok()?);
        for _ in 0..MOST_TRIES {
            let as_utc = TimeZone::UTC.to_timestamp(local).ok()?;
            local = self.cron.find_next(MakeTimestamp(as_utc)).ok()?.datetime();
            let due = self.zone.to_ambiguous_timestamp(local).compatible().ok()?.as_second();
            // Where the clock was set back, it comes once more.
            if due > after {
                return u64::try_from(due).ok();
            }
        }
        None
    }
}

/// The time zone of this name, or of this offset.
fn zone_of(name: &str, database: &Path) -> Result<TimeZone, String> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    if name.starts_with(['+', '-']) {
        let offset = offset_of(name).ok_or_else(|| format!("{name}: expected an offset such as +08:00"))?;
        return Ok(TimeZone::fixed(offset));
    }
    let shown = database.display();
    let text = match std::fs::read(database.join(name)) {
        Ok(text) => text,
        Err(_) if !database.is_dir() => {
            return Err(format!(
                "this machine has no time zone database at {shown}, so {name} is not known; write a fixed offset such as +08:00, \
                 or install tzdata"
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("the time zone database at {shown} has no {name}"));
        }
        Err(error) => return Err(format!("cannot read {name} of the time zone database at {shown}: {error}")),
    };
    TimeZone::tzif(name, &text).map_err(|error| format!("{name} of the time zone database at {shown}: {error}"))
}

/// `+08:00`
fn offset_of(text: &str) -> Option<Offset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let number = |digits: &str, most: i32| {
        let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<i32>().ok()).flatten().filter(|number| *number <= most)
    };
    let (hours, minutes) = (number(hours, 23)?, number(minutes, 59)?);
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        zone_of(name, Path::new(DATABASE)).unwrap()
    }

    fn unix(text: &str) -> u64 {
        text.parse::<Timestamp>().unwrap().as_second().unsigned_abs()
    }

    /// The next times, as the clock there shows them.
    fn times(cron: &str, name: &str, after: &str, count: usize) -> Vec<String> {
        let zone = zone(name);
        let timetable = CronTimetable::parse(cron, zone.clone()).unwrap();
        let mut at = unix(after);
        let next = |_| {
            at = timetable.next_after(at).unwrap();
            let shown = Timestamp::from_second(i64::try_from(at).unwrap()).unwrap().to_zoned(zone.clone());
            shown.strftime("%a %Y-%m-%d %H:%M %:z").to_string()
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn working_days_at_seven_in_shanghai_come_at_that_clock() {
        // Friday evening there.
        let seen = times("0 7 * * 1-5", "Asia/Shanghai", "2026-07-10T12:00:00Z", 3);
        assert_eq!(
            seen,
            ["Mon 2026-07-13 07:00 +08:00", "Tue 2026-07-14 07:00 +08:00", "Wed 2026-07-15 07:00 +08:00"]
        );
        // 23:00 UTC of the day before.
        assert_eq!(times("0 7 * * 1-5", "+08:00", "2026-07-12T22:59:59Z", 1), ["Mon 2026-07-13 07:00 +08:00"]);
        assert_eq!(times("0 7 * * 1-5", "+08:00", "2026-07-12T23:00:00Z", 1), ["Tue 2026-07-14 07:00 +08:00"]);
    }

    #[test]
    fn a_time_that_summer_time_skips_comes_an_hour_later() {
        // Berlin, 2026-03-29: after 01:59 comes 03:00.
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["Sat 2026-03-28 02:30 +01:00", "Sun 2026-03-29 03:30 +02:00", "Mon 2026-03-30 02:30 +02:00"]
        );
        // Not twice where the later time is in the timetable, too.
        assert_eq!(
            times("30 1-3 29 3 *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["Sun 2026-03-29 01:30 +01:00", "Sun 2026-03-29 03:30 +02:00", "Mon 2027-03-29 01:30 +02:00"]
        );
    }

    #[test]
    fn a_time_that_comes_twice_counts_the_first_time() {
        // Berlin, 2026-10-25: 02:59 in summer time is followed by 02:00.
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["Sun 2026-10-25 02:30 +02:00", "Mon 2026-10-26 02:30 +01:00"]
        );
        assert_eq!(
            times("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 3),
            ["Sun 2026-10-25 02:30 +02:00", "Sun 2026-10-25 03:00 +01:00", "Sun 2026-10-25 03:30 +01:00"]
        );
        // Asked in the middle of the second time.
        assert_eq!(
            times("*/1 * * * *", "Europe/Berlin", "2026-10-25T01:15:00Z", 1),
            ["Sun 2026-10-25 03:00 +01:00"]
        );
        // Lord Howe Island sets its clock by half an hour: 2026-04-05 01:59 +11:00 is followed by 01:30 +10:30.
        assert_eq!(
            times("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", 2),
            ["Sun 2026-04-05 01:45 +11:00", "Mon 2026-04-06 01:45 +10:30"]
        );
    }

    #[test]
    fn months_without_the_day_are_left_out() {
        assert_eq!(
            times("0 7 31 * *", "UTC", "2026-10-31T07:00:00Z", 4),
            [
                "Thu 2026-12-31 07:00 +00:00",
                "Sun 2027-01-31 07:00 +00:00",
                "Wed 2027-03-31 07:00 +00:00",
                "Mon 2027-05-31 07:00 +00:00"
            ]
        );
        assert_eq!(
            times("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2),
            ["Tue 2028-02-29 00:00 +00:00", "Sun 2032-02-29 00:00 +00:00"]
        );
        assert_eq!(times("59 23 31 12 *", "UTC", "2026-12-31T23:58:30Z", 1), ["Thu 2026-12-31 23:59 +00:00"]);
        // A day of the month or of the week, as cron has it.
        assert_eq!(
            times("0 0 13 * 5", "UTC", "2026-11-01T00:00:00Z", 3),
            ["Fri 2026-11-06 00:00 +00:00", "Fri 2026-11-13 00:00 +00:00", "Fri 2026-11-20 00:00 +00:00"]
        );
        assert_eq!(times("0 0 * * 7", "UTC", "2026-11-02T00:00:00Z", 1), ["Sun 2026-11-08 00:00 +00:00"]);
    }

    #[test]
    fn what_never_comes_or_is_no_expression_is_said_so() {
        let never = CronTimetable::parse("0 0 30 2 *", TimeZone::UTC).unwrap();
        assert_eq!(never.next_after(unix("2026-11-02T00:00:00Z")), None);
        for (cron, expected) in [
            ("60 7 * * *", "60"),
            ("0 24 * * *", "24"),
            ("0 7 0 * *", "0"),
            ("0 7 * 13 *", "13"),
            ("0 7 * * 8", "8"),
            ("0 7 * * 5-1", "5-1"),
        ] {
            let error = CronTimetable::parse(cron, TimeZone::UTC).err().unwrap();
            assert!(error.contains(expected) && !error.contains('\n'), "{cron}: {error}");
        }
    }

    #[test]
    fn offsets_need_no_database_and_a_zone_that_is_missing_is_named() {
        let nowhere = Path::new("/nowhere/zoneinfo");
        for (text, seconds) in [("+08:00", 28_800), ("-03:30", -12_600), ("+00:00", 0), ("-12:45", -45_900)] {
            let zone = zone_of(text, nowhere).unwrap();
            assert_eq!(zone.to_offset(Timestamp::UNIX_EPOCH).seconds(), seconds, "{text}");
        }
        assert!(zone_of("UTC", nowhere).is_ok());
        for text in ["+8:00", "+08", "+0800", "+24:00", "+08:60", "+08:0x", "-", "+é:00"] {
            assert!(zone_of(text, nowhere).is_err(), "{text}");
        }
        let error = zone_of("Asia/Shanghai", nowhere).err().unwrap();
        assert!(error.contains("no time zone database at /nowhere/zoneinfo") && error.contains("Asia/Shanghai"));
        let error = zone_of("Asia/Shangri-La", Path::new(DATABASE)).err().unwrap();
        assert_eq!(error, "the time zone database at /usr/share/zoneinfo has no Asia/Shangri-La");
        let no_zone = zone_of("zone.tab", Path::new(DATABASE)).err().unwrap();
        assert!(no_zone.contains("zone.tab"), "{no_zone}");
    }
}
