//! Dates and times of day where the user is.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time zone.
#[derive(Debug, Clone)]
pub(super) struct Zone(TimeZone);

impl Zone {
    /// The one of this machine, or UTC if it is not known.
    pub(super) fn system() -> Self {
        Self(TimeZone::try_system().unwrap_or(TimeZone::UTC))
    }

    #[cfg(test)]
    pub(super) const fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    fn format(&self, unix_ms: u64, format: &str) -> String {
        let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        // A clock that is thousands of years wrong gives no date.
        let moment = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
        moment.to_zoned(self.0.clone()).strftime(format).to_string()
    }

    /// `14:05`.
    pub(super) fn time(&self, unix_ms: u64) -> String {
        self.format(unix_ms, "%H:%M")
    }

    /// `Sunday, 5 July 2026`.
    pub(super) fn day(&self, unix_ms: u64) -> String {
        self.format(unix_ms, "%A, %-d %B %Y")
    }

    /// `2026-07-05 14:05`.
    pub(super) fn date(&self, unix_ms: u64) -> String {
        self.format(unix_ms, "%Y-%m-%d %H:%M")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_the_zone() {
        let zone = Zone(TimeZone::fixed(jiff::tz::offset(2)));
        let moment = 1_783_253_096_000;
        assert_eq!(zone.time(moment), "14:04");
        assert_eq!(zone.day(moment), "Sunday, 5 July 2026");
        assert_eq!(zone.date(moment), "2026-07-05 14:04");
        assert_eq!(Zone::utc().time(0), "00:00");
        assert!(!zone.date(u64::MAX).is_empty());
    }
}
