//! Placeholders for what differs from run to run.
//!
//! Values the script has learned (the id of a group it made) get their name, everything else
//! that looks like an id, a hash, a time or a session gets a number in order of appearance, so
//! that "the same id as above" stays visible. Times far from now keep their distance from now.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use regex_lite::{Captures, Regex};
use serde_json::{Map, Value};

/// The placeholders of one transcript.
#[derive(Default)]
pub struct Normaliser {
    /// Value to name, as the script learned them.
    names: Vec<(String, String)>,
    /// Unnamed values by kind, in order of appearance.
    seen: BTreeMap<&'static str, Vec<String>>,
}

/// What values look like that differ from run to run. Earlier ones win.
static PATTERNS: LazyLock<Vec<(&'static str, Regex)>> = LazyLock::new(|| {
    let pattern = |kind, text| (kind, Regex::new(text).expect("a valid expression"));
    vec![
        pattern("hash", r"\b[0-9A-Fa-f]{96}\b"),
        pattern("cookie", r"^[A-Za-z0-9@$]{80,}=*$"),
        pattern("cookie", r"\b[ac]=[A-Za-z0-9@$=%]{40,}"),
        pattern("id", r"[A-Za-z0-9@$]{64}"),
        pattern("session", r"\b[0-9a-f]{40}\b"),
        pattern("time", r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
        pattern("local time", r"\b\d{1,2}/\d{1,2}/20\d\d, \d{1,2}:\d\d:\d\d\s[AP]M"),
        pattern("address", r"127\.0\.0\.1:\d+"),
        pattern("token", r"~t:[A-Za-z0-9@$]{16}"),
    ]
});

/// Kinds that are the same in spirit wherever they occur: not numbered.
const UNNUMBERED: [&str; 5] = ["time", "local time", "address", "cookie", "session"];

static INTEGER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b\d{10}(\d{3})?\b").expect("a valid expression"));

impl Normaliser {
    /// From now on `value` is shown as `<name>`. Of an id (`mesh//…`) the last part counts.
    pub fn name(&mut self, value: &str, name: &str) {
        let value = value.rsplit('/').next().unwrap_or(value);
        if !value.is_empty() {
            // The stock server forgets to undo the way its database escapes names of members.
            let escaped = value.replace('$', "%24");
            self.names.push((escaped, format!("<{name}>")));
            self.names.push((value.to_owned(), format!("<{name}>")));
            // An id may contain another value; the longer one is replaced first.
            self.names.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        }
    }

    /// An output: JSON as a tree, anything else as a list of lines.
    pub fn output(&mut self, output: &str) -> Value {
        match serde_json::from_str(output) {
            Ok(json) => self.tree(json),
            Err(_) => {
                let lines = output.lines().map(|line| Value::from(self.text(line.trim_end())));
                Value::Array(lines.collect())
            }
        }
    }

    /// A JSON document.
    pub fn tree(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Number(ref number) => match number.as_u64() {
                Some(number) => match self.named(&number.to_string()) {
                    Some(name) => name.into(),
                    None => time(number).map_or(value, Value::from),
                },
                None if number.as_f64().is_some_and(|n| n > 0.0 && n < 1.0) => "<random>".into(),
                None => value,
            },
            Value::Array(list) => list.into_iter().map(|item| self.tree(item)).collect(),
            Value::Object(members) => {
                let members =
                    members.into_iter().map(|(name, value)| (self.text(&name), self.tree(value)));
                Value::Object(members.collect::<Map<_, _>>())
            }
            other => other,
        }
    }

    fn named(&self, wanted: &str) -> Option<&str> {
        let found = self.names.iter().find(|(value, _)| value == wanted);
        found.map(|(_, name)| name.as_str())
    }

    /// A line of text.
    pub fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, name) in &self.names {
            text = text.replace(value, name);
        }
        for (kind, pattern) in PATTERNS.iter() {
            let seen = self.seen.entry(kind).or_default();
            let placeholder = |found: &Captures<'_>| {
                if UNNUMBERED.contains(kind) {
                    return format!("<{kind}>");
                }
                let known = seen.iter().position(|value| *value == found[0]);
                let place = known.unwrap_or_else(|| {
                    seen.push(found[0].to_owned());
                    seen.len() - 1
                });
                format!("<{kind} {}>", place + 1)
            };
            text = pattern.replace_all(&text, placeholder).into_owned();
        }
        let number = |found: &Captures<'_>| {
            let number = found[0].parse().ok().and_then(time);
            number.unwrap_or_else(|| found[0].to_owned())
        };
        INTEGER.replace_all(&text, number).into_owned()
    }
}

/// Seconds or milliseconds since 1970, if it is a time within 400 days of now: `<now>`, or the
/// distance in multiples of five minutes.
fn time(number: u64) -> Option<String> {
    const FIVE_MINUTES: i64 = 300;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let seconds = if number >= 100_000_000_000 { number / 1000 } else { number };
    let away = i64::try_from(seconds).ok()? - i64::try_from(now).ok()?;
    if away.abs() > 400 * 86_400 {
        return None;
    }
    let unit = if number == seconds { "s" } else { "ms" };
    match (away + FIVE_MINUTES / 2).div_euclid(FIVE_MINUTES) * 5 {
        -5..=5 => Some(format!("<now in {unit}>")),
        minutes => Some(format!("<now {minutes:+} min in {unit}>")),
    }
}
