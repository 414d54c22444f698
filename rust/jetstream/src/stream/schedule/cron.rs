//! Cron patterns: six fields for second, minute, hour, day of the month, month and day of the week (ADR-51).
//!
//! Patterns are implemented here because their rules are part of the protocol: which of the two day fields counts, and what a
//! clock that is set back means. `jiff` provides calendars and time zones.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Years that the search for a matching time looks ahead, at most.
const YEARS_MAX: i16 = 5;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The values that a field allows, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    bits: u64,
    /// The field was given as all values. If one of the two day fields was, only the other one restricts the day.
    is_any: bool,
}

/// The values that are valid in a field.
struct Range {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

impl Range {
    const fn new(min: u32, max: u32) -> Self {
        Self { min, max, names: &[] }
    }

    fn number(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        match named {
            Some(at) => Some(at as u32 + self.min),
            None => text.parse().ok(),
        }
    }

    /// Reads a list of ranges.
    fn field(&self, text: &str) -> Option<Field> {
        let mut field = Field { bits: 0, is_any: false };
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (bits, is_any) = self.item(item)?;
            field.bits |= bits;
            field.is_any |= is_any;
        }
        Some(field)
    }

    /// Reads `*`, `a`, `a-b`, and these with a step: `*/s`, `a/s`, `a-b/s`.
    fn item(&self, item: &str) -> Option<(u64, bool)> {
        let (span, step) = match item.split_once('/') {
            Some((span, step)) => (span, Some(step.parse::<u32>().ok().filter(|step| *step > 0)?)),
            None => (item, None),
        };
        let (first, last) = match span.split_once('-') {
            Some((first, last)) => (first, Some(last)),
            None => (span, None),
        };
        let is_any = first == "*" || first == "?";
        let (start, end) = match (is_any, last) {
            (true, _) => (self.min, self.max),
            (false, Some(last)) => (self.number(first)?, self.number(last)?),
            (false, None) => {
                let start = self.number(first)?;
                (start, if step.is_some() { self.max } else { start })
            }
        };
        if start < self.min || end > self.max || start > end {
            return None;
        }
        let step = step.unwrap_or(1);
        let bits = (start..=end).step_by(step as usize).fold(0, |bits, value| bits | 1 << value);
        Some((bits, is_any && step == 1))
    }
}

impl Field {
    fn has(self, value: i8) -> bool {
        self.bits >> value & 1 == 1
    }
}

/// A pattern of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    second: Field,
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

impl Cron {
    /// Reads six fields; `None` if they are not valid.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_whitespace();
        let mut next = |range: Range| range.field(fields.next()?);
        let cron = Self {
            second: next(Range::new(0, 59))?,
            minute: next(Range::new(0, 59))?,
            hour: next(Range::new(0, 23))?,
            day: next(Range::new(1, 31))?,
            month: next(Range { min: 1, max: 12, names: &MONTHS })?,
            weekday: next(Range { min: 0, max: 6, names: &DAYS })?,
        };
        fields.next().is_none().then_some(cron)
    }

    fn has_day(&self, day: i8, weekday: i8) -> bool {
        let (of_month, of_week) = (self.day.has(day), self.weekday.has(weekday));
        match self.day.is_any || self.weekday.is_any {
            true => of_month && of_week,
            false => of_month || of_week,
        }
    }

    /// Returns the first whole second after `after` that matches, in local time of `zone`; `None` if there is none in the next
    /// five years.
    ///
    /// The search advances by the largest unit that does not match. Below a day it counts elapsed time: an hour occurs twice when
    /// clocks are set back, and is skipped when they are set forward.
    pub(super) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if [self.second, self.minute, self.hour].iter().any(|field| field.bits == 0) {
            return None;
        }
        let mut at = Timestamp::from_second(after.as_second().checked_add(1)?).ok()?;
        let last_year = at.to_zoned_datetime(zone.clone()).year().checked_add(YEARS_MAX)?;
        loop {
            let local = at.to_zoned_datetime(zone.clone());
            if local.year() > last_year {
                return None;
            }
            let day = if !self.month.has(local.month()) {
                Some(local.date().last_of_month().tomorrow().ok()?)
            } else if !self.has_day(local.day(), local.weekday().to_sunday_zero_offset()) {
                Some(local.date().tomorrow().ok()?)
            } else {
                None
            };
            if let Some(day) = day {
                at = day.to_zoned_datetime(zone.clone()).ok()?.timestamp();
                continue;
            }
            let (minute, second) = (i64::from(local.minute()), i64::from(local.second()));
            let ahead = if !self.hour.has(local.hour()) {
                3600 - minute * 60 - second
            } else if !self.minute.has(local.minute()) {
                60 - second
            } else if !self.second.has(local.second()) {
                1
            } else {
                return Some(at);
            };
            at = Timestamp::from_second(at.as_second().checked_add(ahead)?).ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(pattern: &str, after: &str, zone: &str) -> String {
        let zone = TimeZone::get(zone).expect("a zone");
        let after = after.parse().expect("a time");
        let cron = Cron::parse(pattern).expect("a pattern");
        cron.next(after, &zone).map_or_else(|| "never".to_owned(), |at| at.to_string())
    }

    #[test]
    fn the_next_time() {
        for (pattern, after, expected) in [
            ("* * * * * *", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:01Z"),
            ("0 * * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * * *", "2026-01-01T00:00:46Z", "2026-01-01T00:01:00Z"),
            ("30 4/10 5-7 * * ?", "2026-01-01T05:54:30Z", "2026-01-01T06:04:30Z"),
            ("0 0 0 1 1 *", "2026-11-24T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("0 0 0 29 feb *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 0 30 2 *", "2026-01-01T00:00:00Z", "never"),
            // Both day fields are given: either of them matches.
            ("0 0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            // With a step, `*` counts as a list of values.
            ("0 0 0 */31 * FRI", "2026-01-03T00:00:00Z", "2026-01-09T00:00:00Z"),
            ("0 0 0 * * mon-wed", "2026-11-25T00:00:00Z", "2026-11-30T00:00:00Z"),
            (", * * * * *", "2026-01-01T00:00:00Z", "never"),
        ] {
            assert_eq!(next(pattern, after, "UTC"), expected, "{pattern} after {after}");
        }
    }

    #[test]
    fn clocks_that_are_set() {
        // 02:30 does not exist on the day on which summer time begins, and occurs twice on the day on which it ends.
        let zone = "Europe/Berlin";
        let half_past_two = "0 30 2 * * *";
        assert_eq!(next(half_past_two, "2026-03-28T23:30:00Z", zone), "2026-03-30T00:30:00Z");
        assert_eq!(next(half_past_two, "2026-10-24T23:30:00Z", zone), "2026-10-25T00:30:00Z");
        assert_eq!(next(half_past_two, "2026-10-25T00:30:00Z", zone), "2026-10-25T01:30:00Z");
    }

    #[test]
    fn what_is_no_pattern() {
        for pattern in [
            "",
            "* * * * *",
            "* * * * * * *",
            "60 * * * * *",
            "* * 24 * * *",
            "* * * 0 * *",
            "* * * * 13 *",
            "* * * * * 7",
            "5-1 * * * * *",
            "1-2-3 * * * * *",
            "*/0 * * * * *",
            "*/a * * * * *",
            "*/1/2 * * * * *",
            "a * * * * *",
            "-1 * * * * *",
            "* * * * januar *",
            "99999999999 * * * * *",
        ] {
            assert_eq!(Cron::parse(pattern), None, "{pattern}");
        }
    }
}
