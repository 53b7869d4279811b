//! What a browser or script sends to log in: a form, a JSON object, or a query string.
//!
//! All three are names with texts. Names are MeshCentral's where it has one.

use serde_json::{Map, Value};

/// Longest body in bytes: an answer of a security key with an RSA signature, and some.
pub const BODY_MAX: usize = 16 * 1024;
/// Most fields.
const FIELDS_MAX: usize = 32;

/// Names with texts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`, or a query string. Fields beyond the thirty-second
    /// are dropped.
    pub fn from_urlencoded(bytes: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(bytes).take(FIELDS_MAX);
        Self(pairs.map(|(name, text)| (name.into_owned(), text.into_owned())).collect())
    }

    /// Reads a JSON object. Members that are `true` are `on`, as in forms; objects stay JSON; `null`
    /// and `false` are as good as missing. `None` if it is no object.
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        let members: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        let text = |value: Value| match value {
            Value::Null | Value::Bool(false) => None,
            Value::Bool(true) => Some("on".to_owned()),
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        let pairs = members.into_iter().filter_map(|(name, value)| Some((name, text(value)?)));
        Some(Self(pairs.take(FIELDS_MAX).collect()))
    }

    /// These names with these texts.
    pub fn new<const N: usize>(fields: [(&str, String); N]) -> Self {
        Self(fields.map(|(name, text)| (name.to_owned(), text)).into())
    }

    /// The first field of that name, unless it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, text)| text.as_str()).filter(|text| !text.is_empty())
    }

    /// Whether a box was ticked.
    pub fn is_on(&self, name: &str) -> bool {
        matches!(self.get(name), Some("on" | "true" | "1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_and_json_say_the_same() {
        let form = Form::from_urlencoded(b"username=B%C3%A4r&password=a+b%26c&remembertoken=on&x=");
        let json = Form::from_json(
            r#"{"username":"Bär","password":"a b&c","remembertoken":true,"x":null,"y":false}"#
                .as_bytes(),
        )
        .unwrap();
        for form in [&form, &json] {
            assert_eq!(form.get("username"), Some("Bär"));
            assert_eq!(form.get("password"), Some("a b&c"));
            assert!(form.is_on("remembertoken") && !form.is_on("x") && !form.is_on("z"));
            assert_eq!(form.get("x"), None);
        }
        let nested = Form::from_json(br#"{"hwtoken":{"id":"a"},"token":123456}"#).unwrap();
        assert_eq!(nested.get("hwtoken"), Some(r#"{"id":"a"}"#));
        assert_eq!(nested.get("token"), Some("123456"));
    }

    #[test]
    fn what_is_no_object_is_no_form() {
        let deep = "[".repeat(BODY_MAX);
        for text in ["", "[]", "null", "{", r#"{"a":1} x"#, "\u{feff}{}", &deep] {
            assert!(Form::from_json(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn a_form_has_a_bounded_number_of_fields() {
        let many = (0..BODY_MAX / 4).map(|i| format!("{}=", i % 10)).collect::<Vec<_>>().join("&");
        assert_eq!(Form::from_urlencoded(many.as_bytes()).0.len(), FIELDS_MAX);
    }

    proptest! {
        #[test]
        fn no_body_makes_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Form::from_urlencoded(&bytes).get("username");
            let _ = Form::from_json(&bytes);
        }
    }
}
