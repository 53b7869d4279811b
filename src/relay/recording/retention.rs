//! Which recordings have to go.

use crate::config::RecordingLimits;
use crate::model::Millis;
use crate::model::order;

use super::folder::Entry;

/// Milliseconds of a day.
const DAY: u64 = 86_400_000;

/// The recordings beyond the limits, oldest last. The newest are kept as long as they fit. One that
/// is in use counts, but stays.
pub fn overdue<'a>(
    entries: &'a [Entry],
    limits: &RecordingLimits,
    now: Millis,
    in_use: impl Fn(&str) -> bool,
) -> Vec<&'a Entry> {
    let mut newest: Vec<_> = entries.iter().collect();
    // Names have the time they began in them, and decide where the file system's time does not.
    order::sort_by(&mut newest, |a, b| (b.modified, &b.name).cmp(&(a.modified, &a.name)));
    let (mut count, mut bytes, mut full) = (0usize, 0u64, false);
    newest.retain(|entry| {
        let used = in_use(&entry.name);
        let age = now.0.saturating_sub(entry.modified.0) / DAY;
        full |= limits.count.is_some_and(|max| count >= max)
            || limits.bytes.is_some_and(|max| bytes.saturating_add(entry.len) > max)
            || limits.days.is_some_and(|max| age >= max);
        if used || !full {
            count += 1;
            bytes = bytes.saturating_add(entry.len);
        }
        full && !used
    });
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_none_that_is_in_use() {
        let now = Millis(100 * DAY);
        // Age in days and length; names in this order.
        let entries: Vec<_> = [(0, 10), (1, 10), (1, 20), (5, 1), (30, 10)]
            .iter()
            .enumerate()
            .map(|(n, (age, len))| Entry {
                name: format!("{}", 9 - n),
                len: *len,
                modified: Millis(now.0 - age * DAY),
            })
            .collect();
        let none = RecordingLimits::default();
        for (limits, used, gone) in [
            (none, "", ""),
            (RecordingLimits { count: Some(2), ..none }, "", "765"),
            (RecordingLimits { count: Some(2), ..none }, "5", "76"),
            (RecordingLimits { count: Some(2), ..none }, "9876", "5"),
            (RecordingLimits { bytes: Some(40), ..none }, "", "65"),
            (RecordingLimits { bytes: Some(39), ..none }, "", "765"),
            (RecordingLimits { bytes: Some(0), ..none }, "9", "8765"),
            (RecordingLimits { days: Some(5), ..none }, "", "65"),
            (RecordingLimits { days: Some(1), count: Some(4), ..none }, "", "8765"),
            (RecordingLimits { days: Some(1000), bytes: Some(1000), count: Some(1000) }, "", ""),
        ] {
            let in_use = |name: &str| !used.is_empty() && used.contains(name);
            let names: String =
                overdue(&entries, &limits, now, in_use).iter().map(|e| &*e.name).collect();
            assert_eq!(names, gone, "{limits:?}, {used:?} in use");
        }
    }

    #[test]
    fn a_clock_that_went_back_removes_nothing() {
        let entries = [Entry { name: "1".into(), len: 1, modified: Millis(50 * DAY) }];
        let limits = RecordingLimits { days: Some(1), ..RecordingLimits::default() };
        assert_eq!(overdue(&entries, &limits, Millis(0), |_| false), [] as [&Entry; 0]);
    }
}
