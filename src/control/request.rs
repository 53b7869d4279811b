//! What a client asks: one JSON object per WebSocket message.
//!
//! Source: control-protocol §4. The object has an `action` of 3 to 32 characters and any further
//! members; `responseid` and `tag` are handed back with the answer. Texts that are no such object
//! are ignored without an answer, as MeshCentral does.

use serde_json::{Map, Value};

/// Longest request in bytes; longer ones end the session before they are parsed.
pub const REQUEST_MAX: usize = 1 << 20;

/// A parsed request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What is asked for.
    pub action: String,
    /// All members, `action` included.
    pub fields: Map<String, Value>,
}

impl Request {
    /// Parses a text or binary message. `None` for anything that is not a request.
    pub fn parse(message: &[u8]) -> Option<Self> {
        if message.len() > REQUEST_MAX {
            return None;
        }
        let fields: Map<String, Value> = serde_json::from_slice(message).ok()?;
        let action = fields.get("action")?.as_str()?;
        if !(3..=32).contains(&action.len()) {
            return None;
        }
        Some(Self { action: action.to_owned(), fields })
    }

    /// A member, unless it is missing or `null`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// A text member, as long as it likes.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// A text member of `min` to `max` characters.
    pub fn text_within(&self, name: &str, min: usize, max: usize) -> Option<&str> {
        self.text(name).filter(|text| is_within(text, min, max))
    }

    /// A member that is a whole number from 0 to 4,294,967,295. JavaScript clients may write a
    /// bit mask with bit 31 set as a negative number.
    pub fn number(&self, name: &str) -> Option<u32> {
        let value = self.get(name)?;
        match value.as_i64() {
            Some(n) => u32::try_from(n).ok().or_else(|| i32::try_from(n).ok().map(|n| n as u32)),
            None => None,
        }
    }

    /// A member that is `true`.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some(&Value::Bool(true))
    }

    /// A member that is a list of texts, each of 1 to `max` characters. `None` if it is no list,
    /// is empty, or has an element of another kind or length.
    pub fn texts(&self, name: &str, max: usize) -> Option<Vec<&str>> {
        let list = self.get(name)?.as_array()?;
        if list.is_empty() {
            return None;
        }
        list.iter().map(|v| v.as_str().filter(|text| is_within(text, 1, max))).collect()
    }
}

/// Whether a text has `min` to `max` characters.
fn is_within(text: &str, min: usize, max: usize) -> bool {
    // Bytes first: a text of more than four times `max` bytes is not counted.
    text.len() <= max.saturating_mul(4) && (min..=max).contains(&text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_a_request_is_ignored() {
        for text in [
            "",
            "null",
            "[]",
            "{",
            "{}",
            r#"{"action":5}"#,
            r#"{"action":"ab"}"#,
            r#"{"action":"abcdefghijklmnopqrstuvwxyzabcdefg"}"#,
            r#"{"action":"meshes"} x"#,
        ] {
            assert_eq!(Request::parse(text.as_bytes()), None, "{text}");
        }
        let deep = format!(r#"{{"action":"meshes","x":{}"#, "[".repeat(200_000));
        assert_eq!(Request::parse(deep.as_bytes()), None);
        let long = format!(r#"{{"action":"meshes","x":"{}"}}"#, "x".repeat(REQUEST_MAX));
        assert_eq!(Request::parse(long.as_bytes()), None);
    }

    #[test]
    fn members_are_taken_within_their_bounds_only() {
        let request = Request::parse(
            br#"{"action":"xyz","a":"\u00e9\u00e9","n":-1,"m":4294967295,"f":1.5,"z":null,
                "l":["a","b"],"e":[],"x":["a",5],"t":true,"s":"true"}"#,
        )
        .unwrap();
        assert_eq!(request.text_within("a", 1, 2), Some("éé"));
        assert_eq!(request.text_within("a", 1, 1), None);
        assert_eq!(request.text_within("a", 3, 9), None);
        assert_eq!(request.number("n"), Some(u32::MAX));
        assert_eq!(request.number("m"), Some(u32::MAX));
        assert_eq!(request.number("f"), None);
        assert_eq!(request.get("z"), None);
        assert_eq!(request.texts("l", 1), Some(vec!["a", "b"]));
        assert_eq!(request.texts("e", 1), None);
        assert_eq!(request.texts("x", 1), None);
        assert!(request.is_true("t") && !request.is_true("s"));
    }

    proptest! {
        #[test]
        fn no_message_makes_parsing_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::parse(&bytes);
        }
    }
}
