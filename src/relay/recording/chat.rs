//! Chats, kept as lines a person can read: `date, --> text` from the user, `date, <-- text` from
//! the device. Source: what MeshCentral writes for the messenger.

use serde_json::Value;

use crate::model::{Millis, Utc};

use super::recorder::From;

/// Longest message that is kept, in bytes.
const LINE_MAX: usize = 64 << 10;
/// What the first and the last line say.
const START: &str = "<<<START>>>";
/// See [`START`].
pub(super) const END: &str = "<<<END>>>";

/// A message that is still coming.
pub(super) struct Line {
    text: Vec<u8>,
    left: u64,
}

impl Line {
    /// A message of `len` bytes.
    pub(super) fn new(len: u64) -> Self {
        Self { text: Vec::new(), left: len }
    }

    /// Takes a piece; the whole message with the last one, or what fits of it.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let room = LINE_MAX - self.text.len();
        self.text.extend(bytes.iter().take(room));
        self.left = self.left.saturating_sub(bytes.len() as u64);
        (self.left == 0).then(|| std::mem::take(&mut self.text))
    }
}

/// The first two lines; `metadata` is JSON.
pub(super) fn start(metadata: &[u8], wall: Millis) -> String {
    format!("{}\r\n{}, {START}\r\n", String::from_utf8_lossy(metadata), date(wall))
}

/// The last line.
pub(super) fn end(wall: Millis) -> String {
    format!("{}, {END}\r\n", date(wall))
}

/// The line for a message, unless it is one between the two pages only.
pub(super) fn entry(from: From, message: &[u8], wall: Millis) -> Option<String> {
    let arrow = match from {
        From::User => "-->",
        From::Device => "<--",
    };
    let parsed: Option<Value> = serde_json::from_slice(message).ok().filter(Value::is_object);
    let json = parsed.as_ref().unwrap_or(&Value::Null);
    let text = match json["action"].as_str() {
        Some("chat") => format!("{arrow} {}", json["msg"].as_str()?),
        Some("file") => {
            let (name, size) = (json["name"].as_str()?, json["size"].as_u64()?);
            format!("{arrow} File Transfer, \"{name}\" ({size} bytes)")
        }
        Some(_) => return None,
        None if json.get("ctrlChannel").is_some() => return None,
        None => String::from_utf8_lossy(message).into_owned(),
    };
    // A line break in a text must not forge a line.
    Some(format!("{}, {}\r\n", date(wall), text.replace(char::is_control, " ")))
}

/// `Sun, 22 Nov 2026 05:40:10 GMT`.
fn date(time: Millis) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Utc { year, month, day, hour, minute, second, weekday } = time.utc();
    let weekday = DAYS.get(weekday as usize).copied().unwrap_or_default();
    let month = MONTHS.get(month.saturating_sub(1) as usize).copied().unwrap_or_default();
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_say_is_kept_and_what_pages_say_is_not() {
        let at = Millis(951_782_400_000);
        let date = "Tue, 29 Feb 2000 00:00:00 GMT, ";
        for (message, line) in [
            (r#"{"action":"chat","msg":"hi"}"#, Some("<-- hi")),
            (
                r#"{"action":"chat","msg":"a\r\nMon, 1 Jan, --> lie"}"#,
                Some("<-- a  Mon, 1 Jan, --> lie"),
            ),
            (
                r#"{"action":"file","name":"x.txt","size":12}"#,
                Some(r#"<-- File Transfer, "x.txt" (12 bytes)"#),
            ),
            (r#"{"action":"file","name":"x.txt"}"#, None),
            (r#"{"action":"webRtcSdp","sdp":"v=0"}"#, None),
            (r#"{"ctrlChannel":"102938","type":"ping"}"#, None),
            ("plain words", Some("plain words")),
            ("[1,2]", Some("[1,2]")),
        ] {
            let expected = line.map(|line| format!("{date}{line}\r\n"));
            assert_eq!(entry(From::Device, message.as_bytes(), at), expected, "{message}");
        }
    }

    #[test]
    fn an_endless_message_is_cut() {
        let mut line = Line::new(u64::MAX);
        for _ in 0..40 {
            assert_eq!(line.add(&[b'x'; 4096]), None);
        }
        assert_eq!(line.text.len(), LINE_MAX);
    }
}
