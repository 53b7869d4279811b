//! Taming texts that come from outside.

/// `text` without control characters, blanks at its ends, and anything after `max` characters.
///
/// Agents are hostile until proven otherwise and their words stay hostile: what is stored, logged
/// or shown has passed here.
pub fn clamp(text: &str, max: usize) -> String {
    let visible = |c: &char| !c.is_control() && !is_bidi_override(*c);
    text.trim().chars().filter(visible).take(max).collect()
}

/// Characters that reorder the text around them: a name must not hide what it is.
fn is_bidi_override(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_could_mislead() {
        for (raw, clean) in [
            ("  board 1\r\n", "board 1"),
            ("a\u{1b}[31mred", "a[31mred"),
            ("exe.\u{202e}gnp", "exe.gnp"),
            ("äöüß€", "äöü"),
            ("", ""),
        ] {
            let max = if raw.starts_with('ä') { 3 } else { 64 };
            assert_eq!(clamp(raw, max), clean);
        }
    }
}
