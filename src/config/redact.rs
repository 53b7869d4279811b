//! `config.json` for people who may read it, but not what it keeps secret.

use serde_json::{Map, json};

use crate::model::order;

use super::tree::{self, Entry, Table, Value};

/// What stands in place of a secret.
const HIDDEN: &str = "***";
/// Parts of names whose texts are secrets: `sessionKey`, `authToken`, `clientSecret`, ….
const SECRET: [&str; 5] = ["pass", "secret", "key", "token", "credential"];

/// The text again as JSON, with `***` for every secret. `None` if it is not JSON.
pub fn redacted(text: &str) -> Option<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let table = tree::parse(text, &mut Vec::new()).ok()?;
    serde_json::to_string_pretty(&shown_table(&table, false)).ok()
}

fn shown_table(table: &Table, secret: bool) -> serde_json::Value {
    let entry = |entry: &Entry| {
        let name = entry.written.to_lowercase();
        // A switch like `allowLoginToken` stays as it is, a list of keys does not.
        let secret = secret || SECRET.iter().any(|part| name.contains(part));
        (entry.written.clone(), shown(&entry.node.value, secret))
    };
    serde_json::Value::Object(order::gather::<_, Map<_, _>>(table.0.iter().map(entry)))
}

fn shown(value: &Value, secret: bool) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => json!(flag),
        Value::Number(n) if n.fract() == 0.0 && n.abs() < 9e15 => json!(*n as i64),
        Value::Number(n) => json!(n),
        Value::Text(text) if secret || has_login(text) => json!(HIDDEN),
        Value::Text(text) => json!(text),
        Value::List(nodes) => nodes.iter().map(|node| shown(&node.value, secret)).collect(),
        Value::Table(table) => shown_table(table, secret),
    }
}

/// `scheme://user:password@host`.
fn has_login(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| {
        rest.split('/').next().is_some_and(|authority| authority.contains('@'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_holds_no_secret() {
        let text = r#"{"settings":{"cert":"a.b","port":443,"sessionKey":"S1","allowLoginToken":true,
            "mongoDb":"mongodb://u:S2@host/x","url":"https://a.b/@x"},
            "smtp":{"host":"h","Pass":"S3"},"domains":{"":{"loginKey":["S4","S5"],
            "passwordRequirements":{"min":8},"auth":{"ClientSecret":{"x":"S6"}}}}}"#;
        let shown = redacted(text).unwrap();
        for n in 1..=6 {
            assert!(!shown.contains(&format!("S{n}")), "{shown}");
        }
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["settings"]["port"], 443);
        assert_eq!(shown["settings"]["allowLoginToken"], true);
        assert_eq!(shown["settings"]["url"], "https://a.b/@x");
        assert_eq!(shown["domains"][""]["passwordRequirements"]["min"], 8);
        assert_eq!(redacted("{"), None);
    }
}
