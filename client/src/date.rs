//! Dates of the Gregorian calendar in UTC, from and to Unix time. Pure.

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;
/// The last year that is understood.
const MAX_YEAR: u64 = 9999;

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// From 1970 on.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
}

impl Date {
    /// The day of a moment, in Unix time in milliseconds.
    #[must_use]
    pub const fn of(unix_ms: u64) -> Self {
        Self::from_days(unix_ms / DAY_MS)
    }

    /// The day that is so many after 1970-01-01. Years begin in March here, so that the leap day is the last of a year; 400
    /// years have 146,097 days.
    const fn from_days(days: u64) -> Self {
        // 1970-01-01 is 719,468 days after 0000-03-01.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = 400 * era + year + if month <= 2 { 1 } else { 0 };
        Self { year, month, day }
    }

    /// The moment at which it begins, in Unix time in milliseconds.
    #[must_use]
    pub const fn start_ms(self) -> u64 {
        let (year, month) =
            if self.month > 2 { (self.year, self.month - 3) } else { (self.year - 1, self.month + 9) };
        let day = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + self.day - 1;
        (day - 719_468) * DAY_MS
    }

    /// Reads `2026`, `2026-11` or `2026-11-21`; the first day that is meant.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut number = |digits: usize| match parts.next() {
            None => Some(1),
            Some(part) if part.len() <= digits && part.bytes().all(|byte| byte.is_ascii_digit()) => {
                part.parse().ok()
            }
            Some(_) => None,
        };
        let date = Self { year: number(4)?, month: number(2)?, day: number(2)? };
        let is_known =
            (1970..=MAX_YEAR).contains(&date.year) && (1..=12).contains(&date.month) && date.day > 0;
        // A day that the month does not have would come back as one of the next.
        (parts.next().is_none() && is_known && Self::of(date.start_ms()) == date).then_some(date)
    }
}

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// The time of day of a moment, as `12:34`.
#[must_use]
pub fn time(unix_ms: u64) -> String {
    let minutes = unix_ms / 60_000;
    format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_come_back() {
        for days in (0..2_900_000).step_by(13).chain(10_950..11_100) {
            let date = Date::from_days(days);
            assert_eq!((date.start_ms() / DAY_MS, Date::parse(&date.to_string())), (days, Some(date)));
        }
    }

    #[test]
    fn only_dates_are_dates() {
        let parse = |text| Date::parse(text).map(|date| date.to_string());
        assert_eq!(parse("2026").as_deref(), Some("2026-01-01"));
        assert_eq!(parse("2024-2").as_deref(), Some("2024-02-01"));
        assert_eq!(parse("2024-02-29").as_deref(), Some("2024-02-29"));
        for wrong in [
            "",
            "-",
            "2023-02-29",
            "2026-13",
            "2026-1-0",
            "1969",
            "20261",
            "2026-1-1-1",
            "+2026",
            "x",
            "2026-",
        ] {
            assert_eq!(Date::parse(wrong), None, "{wrong}");
        }
    }
}
