//! What a browser gets on the MPS port: a page that says what the port is for, the usual test of
//! whether it can be reached.

/// Longest request head that is looked at, in bytes.
pub const HEAD_MAX: usize = 4096;

const PAGE: &str = "<!DOCTYPE html><html><head><meta charset=\"UTF-8\"></head><body>\
    MeshCentral2 MPS server.<br />Intel&reg; AMT computers should connect here.</body></html>";

/// What to do with what came so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Probe {
    /// Its end has not come.
    Unfinished,
    /// Send this and end the connection.
    Answer(String),
    /// No HTTP after all: end the connection.
    Nonsense,
}

/// Whether a connection that begins so is HTTP. No APF message begins with these letters.
pub fn is_http(first: u8) -> bool {
    matches!(first, b'G' | b'H')
}

/// Answers the request at the front of `bytes`. One request per connection.
pub fn answer(bytes: &[u8]) -> Probe {
    let bytes = bytes.get(..HEAD_MAX).unwrap_or(bytes);
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        let could_be = |word: &[u8]| bytes.iter().zip(word).all(|(byte, other)| byte == other);
        let is_short = bytes.len() < HEAD_MAX && (could_be(b"GET ") || could_be(b"HEAD "));
        return if is_short { Probe::Unfinished } else { Probe::Nonsense };
    };
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
    let line: Vec<_> = head.lines().next().unwrap_or_default().split(' ').collect();
    let [method @ ("GET" | "HEAD"), path, version] = line.as_slice() else {
        return Probe::Nonsense;
    };
    if !version.starts_with("HTTP/1.") {
        return Probe::Nonsense;
    }
    let (status, body) = match *path {
        "/" => ("200 OK", PAGE),
        _ => ("404 Not Found", "Invalid request"),
    };
    let length = body.len();
    let body = if *method == "HEAD" { "" } else { body };
    Probe::Answer(format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nCache-Control: no-cache\r\n\
         Content-Type: text/html\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// Ours says "MeshCentral2", as MeshCentral did for years; closes; has no body for HEAD.
    #[test]
    fn browsers_are_answered_as_meshcentral_answers_them() {
        let v = include_str!("../../tests/vectors/apf-http-probe.json");
        let v: Value = serde_json::from_str(v).unwrap();
        for case in v["cases"].as_array().unwrap() {
            let request = case["request"].as_str().unwrap();
            let expected = case["response"].as_str().unwrap();
            let starts = is_http(request.as_bytes()[0]);
            let Probe::Answer(answer) = answer(request.as_bytes()) else {
                assert!(expected.is_empty(), "{request}");
                continue;
            };
            assert!(starts && !expected.is_empty(), "{request}");
            assert_eq!(answer.get(..12), expected.get(..12), "{request}");
            if request.starts_with("GET / ") {
                let words = expected.rsplit_once("\r\n").unwrap().1;
                let body = answer.rsplit_once("\r\n").unwrap().1;
                assert_eq!(body.replace("MeshCentral2", "MeshCentral"), words);
                assert!(answer.contains(&format!("Content-Length: {}\r\n", body.len())));
            }
        }
        let older = v["legacy_2019_response"].as_str().unwrap();
        assert!(older.ends_with(PAGE));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_or_not_and_a_head_has_an_end(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            begins: bool,
        ) {
            let bytes = if begins { [b"GET ", &bytes[..]].concat() } else { bytes };
            answer(&bytes);
            let long = [&bytes[..], &[b'a'; HEAD_MAX]].concat();
            prop_assert_ne!(answer(&long), Probe::Unfinished);
        }
    }
}
