//! The last warnings and errors of the log, for administrators who cannot read the journal.
//!
//! The log is one for the whole process, so these are, too. A lock, because any thread may log; it
//! is held for the time it takes to move a line.

use std::collections::VecDeque;
use std::sync::Mutex;

/// Most lines that are kept, and the longest of them in characters: 100 KB at most.
const LINES_MAX: usize = 100;
const LINE_MAX: usize = 1000;

static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Keeps a line.
pub fn note(line: &str) {
    let mut lines = LINES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if lines.len() == LINES_MAX {
        lines.pop_front();
    }
    lines.push_back(line.chars().take(LINE_MAX).collect());
}

/// All lines, oldest first.
pub fn text() -> String {
    let lines = LINES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut text = String::new();
    for line in lines.iter() {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text
}

/// Forgets all lines.
pub fn clear() {
    LINES.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_within_bounds_until_they_are_cleared() {
        clear();
        for n in 0..LINES_MAX + 5 {
            note(&format!("{n} {}", "x".repeat(2 * LINE_MAX)));
        }
        let kept = text();
        assert!(kept.starts_with("5 ") && kept.len() <= LINES_MAX * (LINE_MAX + 2));
        clear();
        assert_eq!(text(), "");
    }
}
