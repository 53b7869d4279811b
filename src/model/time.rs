//! Time on boards without a clock.
//!
//! Boards boot in the past and jump when the network tells them the time. [`Clock`] turns a
//! wall reading and a monotonic reading into one wall time whose floor is the last time known
//! before the restart. Anything with a lifetime counts on the monotonic clock instead.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Milliseconds since 1970-01-01 UTC, as MeshCentral's JSON carries times.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// Seconds since 1970-01-01 UTC, as account records carry times.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seconds(pub u64);

impl Millis {
    /// Whole seconds, rounded down.
    pub fn seconds(self) -> Seconds {
        Seconds(self.0 / 1000)
    }

    /// `self - earlier`, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// ISO 8601 in UTC with milliseconds: `2026-11-22T07:13:32.005Z`.
    pub fn iso(self) -> String {
        let Utc { year, month, day, hour, minute, second, .. } = self.utc();
        let ms = self.0 % 1000;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }

    /// The calendar day and the time of day in UTC.
    pub fn utc(self) -> Utc {
        let (days, seconds) = (self.0 / 86_400_000, (self.0 / 1000 % 86_400) as u32);
        let (year, month, day) = civil(days as i64);
        Utc {
            year,
            month,
            day,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            // 1970-01-01 was a Thursday.
            weekday: ((days + 4) % 7) as u32,
        }
    }
}

/// A moment as people write it, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    /// Year of the common era.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
    /// 0 is Sunday.
    pub weekday: u32,
}

/// Days since 1970-01-01 to year, month, day (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

/// A wall clock with a floor.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The last wall time known from disk, and the monotonic reading it was loaded at.
    floor: Millis,
    loaded: Duration,
}

/// 2026-11-01: a board that believes to live earlier has not been told the time yet.
const PLAUSIBLE: Millis = Millis(1_793_491_200_000);
/// A floor that is further ahead of a plausible clock than this came from a clock gone wrong.
const WRONG_FLOOR: Duration = Duration::from_secs(400 * 86_400);

impl Clock {
    /// Starts at `floor`, the last wall time known from disk (zero if none), at monotonic `mono`.
    pub fn new(floor: Millis, mono: Duration) -> Self {
        Self { floor, loaded: mono }
    }

    /// The wall time to use, given readings of the machine's wall and monotonic clocks.
    ///
    /// While the machine's wall clock is behind the floor, time goes on from the floor at
    /// monotonic pace; otherwise the machine is believed, whichever way it jumps. It is also
    /// believed against a floor that a jump of years into the future left on disk.
    pub fn now(&self, wall: Millis, mono: Duration) -> Millis {
        let elapsed = mono.saturating_sub(self.loaded).as_millis() as u64;
        let paced = Millis(self.floor.0.saturating_add(elapsed));
        if wall >= PLAUSIBLE && paced.since(wall) > WRONG_FLOOR {
            return wall;
        }
        wall.max(paced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_text_is_what_javascript_writes() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_324_620_850, "2026-11-22T05:17:00.850Z"),
            (2_145_916_800_000, "2038-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Millis(ms).iso(), text);
        }
    }

    #[test]
    fn clock_starts_at_its_floor_when_the_board_woke_in_1970() {
        let clock = Clock::new(Millis(1_790_000_000_000), Duration::ZERO);
        assert_eq!(clock.now(Millis(5000), Duration::from_secs(5)).0, 1_790_000_005_000);
        assert_eq!(clock.now(Millis(6000), Duration::from_secs(6)).0, 1_790_000_006_000);
    }

    #[test]
    fn clock_follows_a_jump_to_2038_and_back_to_its_floor() {
        let clock = Clock::new(Millis(1_790_000_000_000), Duration::ZERO);
        let jump = Millis(2_145_916_800_000);
        assert_eq!(clock.now(jump, Duration::from_secs(1)), jump);
        assert_eq!(clock.now(Millis(1000), Duration::from_secs(3)).0, 1_790_000_003_000);
    }

    #[test]
    fn a_floor_left_by_a_clock_gone_wrong_is_not_for_ever() {
        let clock = Clock::new(Millis(2_145_916_800_000), Duration::ZERO);
        let right = Millis(1_800_000_000_000);
        assert_eq!(clock.now(right, Duration::from_secs(1)), right, "the board knows better");
        let woken = clock.now(Millis(1000), Duration::from_secs(1));
        assert_eq!(woken.0, 2_145_916_801_000, "the board knows nothing");
    }
}
