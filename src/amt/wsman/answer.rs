//! Answers: what an envelope holds, faults, and the numbers methods return.
//!
//! Firmware answers a fault with status 400 or 500; a body that is none says nothing but its
//! status. An action may have white space before it and message ids may be 0, so neither is
//! looked at: one request is under way at a time.

use std::fmt;

use super::soap::{ENVELOPE, Verb};
use super::xml::Element;

/// Why a request was not performed.
#[derive(Clone, Debug, PartialEq)]
pub enum Refused {
    /// User name and password are not those of the firmware.
    Credentials,
    /// The firmware said why.
    Fault(Fault),
    /// Only an HTTP status.
    Status(u16),
    /// The answer is none.
    Malformed(String),
    /// The method returned this.
    Returned(&'static str, u32),
}

/// A SOAP fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Local name of the subcode, or else of the code: `DestinationUnreachable`, `AccessDenied`.
    pub code: String,
    /// For people.
    pub reason: String,
    /// `AMT-STATUS`, if the detail has one.
    pub status: Option<u32>,
}

impl Refused {
    /// Whether this firmware does not have the class at all.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Fault(fault) if fault.code == "DestinationUnreachable")
    }

    /// Whether somebody at the device has to agree first.
    pub fn wants_consent(&self) -> bool {
        match self {
            Self::Returned(_, value) => *value == CONSENT,
            Self::Fault(fault) => fault.status == Some(CONSENT),
            _ => false,
        }
    }
}

const CONSENT: u32 = 2081;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials => f.write_str("Intel AMT does not accept user name and password"),
            Self::Fault(fault) => {
                write!(f, "Intel AMT refuses: {}", fault.code)?;
                if !fault.reason.is_empty() {
                    write!(f, " ({})", fault.reason)?;
                }
                match fault.status {
                    Some(status) => write!(f, ": {}", returned_name(status)),
                    None => Ok(()),
                }
            }
            Self::Status(status) => write!(f, "Intel AMT answers with HTTP status {status}"),
            Self::Malformed(what) => write!(f, "Intel AMT answers nothing readable: {what}"),
            Self::Returned(method, value) => {
                let of_state = method.starts_with("Request") && method.ends_with("StateChange");
                let name = match of_state.then(|| state_name(*value)).flatten() {
                    Some(name) => name,
                    None => returned_name(*value),
                };
                write!(f, "Intel AMT refuses {method}: {name} ({value})")
            }
        }
    }
}

impl std::error::Error for Refused {}

/// What methods of the CIM classes return.
fn state_name(value: u32) -> Option<&'static str> {
    Some(match value {
        1 => "not supported",
        2 => "unknown error",
        3 => "took too long",
        4 => "failed",
        5 => "invalid parameter",
        6 => "in use",
        4097 => "not possible from the state it is in",
        4098 => "no time limit can be set",
        4099 => "busy",
        _ => return None,
    })
}

/// The names of PT status values. CIM methods may add 32768 to them.
pub fn returned_name(value: u32) -> &'static str {
    const NAMES: &[(u32, &str)] = &[
        (0, "success"),
        (1, "internal error"),
        (2, "not ready"),
        (3, "not in this mode"),
        (12, "invalid name"),
        (16, "not permitted"),
        (23, "there are as many as there can be"),
        (32, "not in this state of provisioning"),
        (34, "invalid time"),
        (35, "invalid index"),
        (36, "invalid parameter"),
        (38, "the flash memory was written too often"),
        (1024, "disabled by policy"),
        (2050, "this boot option is not supported"),
        (2053, "invalid handle"),
        (2054, "invalid password"),
        (2055, "invalid realm"),
        (2057, "data is missing"),
        (2058, "it is there already"),
        (2059, "the event log is frozen"),
        (2060, "keys are missing"),
        (2061, "keys are being made"),
        (2062, "invalid key"),
        (2063, "invalid certificate"),
        (2064, "certificate and key do not belong together"),
        (2066, "not supported"),
        (2068, "not found"),
        (2069, "invalid credentials"),
        (2075, "it could not be written to the audit log"),
        (2076, "another part of the firmware blocks it"),
        (2081, "the user has to consent"),
    ];
    let value = value.checked_sub(32768).unwrap_or(value);
    let found = NAMES.iter().find(|(number, _)| *number == value);
    found.map_or("an unknown error", |(_, name)| name)
}

/// The element in the body of an answer, if there is one; a fault is an error.
///
/// # Errors
/// The fault, or what is wrong with the answer.
pub fn read(status: u16, body: &[u8]) -> Result<Option<Element>, Refused> {
    let wrong = |what: &str| match status {
        200 => Refused::Malformed(what.to_owned()),
        _ => Refused::Status(status),
    };
    let text = std::str::from_utf8(body).map_err(|_| wrong("it is no UTF-8"))?;
    let mut envelope = Element::parse(text).map_err(|error| wrong(&error.0))?;
    if !envelope.is("Envelope", ENVELOPE) {
        return Err(wrong("it is no SOAP envelope"));
    }
    let body = envelope.children.iter_mut().find(|child| child.is("Body", ENVELOPE));
    let body = body.ok_or_else(|| wrong("it has no body"))?;
    let content = (!body.children.is_empty()).then(|| body.children.swap_remove(0));
    match content {
        Some(content) if content.is("Fault", ENVELOPE) => Err(Refused::Fault(fault(&content))),
        _ if status != 200 => Err(Refused::Status(status)),
        content => Ok(content),
    }
}

fn fault(element: &Element) -> Fault {
    let code = element.child("Code");
    let value = |code: &Element| Some(code.child("Value")?.text.to_string());
    let inner = code.and_then(|code| value(code.child("Subcode")?));
    let code = inner.or_else(|| value(code?)).unwrap_or_default();
    let code = code.rsplit(':').next().unwrap_or_default();
    let clamped = |text: &str| crate::model::text::clamp(text, 200);
    let reason = element.child("Reason").and_then(|reason| reason.find("Text"));
    let detail = element.child("Detail").map(all_text).unwrap_or_default();
    let status = detail.split_once("AMT-STATUS").and_then(|(_, rest)| {
        let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    });
    let reason = reason.map(|text| clamped(&text.text)).unwrap_or_default();
    Fault { code: clamped(code), reason, status }
}

/// The texts of an element and of those in it.
fn all_text(element: &Element) -> String {
    element
        .children
        .iter()
        .fold(element.text.to_string(), |all, child| all + " " + &all_text(child))
}

/// Whether the method did what it was asked for: it returned 0, or 4096, a job that has begun.
///
/// # Errors
/// What it returned instead.
pub fn judge(verb: &Verb, content: Option<&Element>) -> Result<(), Refused> {
    let Verb::Invoke(method, _) = verb else { return Ok(()) };
    let value = content.and_then(|output| output.child("ReturnValue"));
    match value.map(|value| value.text.parse::<u32>()) {
        Some(Ok(0 | 4096)) => Ok(()),
        Some(Ok(value)) => Err(Refused::Returned(method, value)),
        Some(Err(_)) => Err(Refused::Malformed("it returns no number".into())),
        None => Err(Refused::Malformed("it returns nothing".into())),
    }
}

/// Texts, numbers and lists of an instance, by the names of the schema. An element that is there
/// once may be a list of one.
impl Element {
    /// The text of a property; `None` if it is missing or empty.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| &*child.text).filter(|text| !text.is_empty())
    }

    /// A number.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.property(name)?.parse().ok()
    }

    /// Whether a property is true.
    pub fn is_true(&self, name: &str) -> bool {
        matches!(self.property(name), Some("true" | "1"))
    }

    /// All texts of a list.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.children.iter().filter(move |child| &*child.name == name).map(|child| &*child.text)
    }

    /// Sets a property in its place; it is added at the end if it is not there.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        let text = Element::text(name, &self.space, &value.to_string());
        match self.children.iter_mut().find(|child| &*child.name == name) {
            Some(place) => *place = text,
            None => self.children.push(text),
        }
    }

    /// Takes properties out.
    pub fn remove(&mut self, names: &[&str]) {
        self.children.retain(|child| !names.contains(&&*child.name));
    }

    /// The selector `key` of the instance that a property names.
    pub fn referred(&self, name: &str, key: &str) -> Option<&str> {
        let set = self.child(name)?.find("SelectorSet")?;
        let selector = set.children.iter().find(|selector| selector.key.as_deref() == Some(key));
        selector.map(|selector| &*selector.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn exchanges() -> Vec<Value> {
        let text = include_str!("../../../tests/vectors/wsman-exchanges.json");
        let mut vectors: Value = serde_json::from_str(text).unwrap();
        std::mem::take(vectors["exchanges"].as_array_mut().unwrap())
    }

    fn answer(exchange: &Value) -> Result<Option<Element>, Refused> {
        let status = exchange["http_status"].as_u64().unwrap() as u16;
        read(status, exchange["response_xml"].as_str().unwrap().as_bytes())
    }

    /// Whether an element says what a JSON value says.
    fn agrees(element: &Element, json: &Value) -> bool {
        match json {
            Value::Object(map) if map.contains_key("Value") => {
                element.key.as_deref() == map["@Name"].as_str() && agrees(element, &map["Value"])
            }
            Value::Object(map) => map.iter().all(|(name, value)| match value {
                Value::Array(many) => {
                    let all: Vec<_> =
                        element.children.iter().filter(|child| *child.name == **name).collect();
                    all.len() == many.len() && all.iter().zip(many).all(|(e, v)| agrees(e, v))
                }
                value => element.child(name).is_some_and(|child| agrees(child, value)),
            }),
            Value::String(text) => *element.text == *text.trim(),
            Value::Null => element.text.is_empty(),
            other => element.text == other.to_string().into(),
        }
    }

    #[test]
    fn answers_of_firmware_say_what_the_stock_server_read() {
        let mut compared = 0;
        for exchange in exchanges() {
            let answer = answer(&exchange);
            let parsed = &exchange["parsed"];
            if let Value::Object(fields) = parsed {
                let content = answer.unwrap().unwrap();
                if fields.len() > 2 {
                    assert!(agrees(&content, parsed), "{exchange}");
                    compared += 1;
                }
            } else if let Value::Array(items) = parsed {
                let content = answer.unwrap().unwrap();
                let Some(found) = content.child("Items") else { continue };
                let agree = found.children.iter().zip(items).all(|(item, json)| agrees(item, json));
                assert!(agree && found.children.len() == items.len(), "{parsed}");
                compared += 1;
            }
        }
        assert!(compared >= 2, "{compared}");
    }

    #[test]
    fn every_recorded_body_of_real_firmware_is_read() {
        let text = include_str!("../../../tests/vectors/wsman-firmware-bodies.json");
        let vectors: Value = serde_json::from_str(text).unwrap();
        let bodies = vectors["responses"].as_object().unwrap();
        assert_eq!(bodies.len(), 52);
        for (name, body) in bodies {
            let body = body["body"].as_str().unwrap();
            let class = super::super::resource("AMT_X");
            let envelope = format!(
                "<a:Envelope xmlns:a=\"{ENVELOPE}\" xmlns:b=\"urn:b\" xmlns:c=\"urn:c\" \
                 xmlns:g=\"{class}\" xmlns:h=\"urn:h\" xmlns:i=\"urn:i\" xmlns:d=\"urn:d\" \
                 xmlns:e=\"urn:e\" xmlns:f=\"urn:f\"><a:Body>{body}</a:Body></a:Envelope>"
            );
            let content = read(200, envelope.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(content.is_some(), "{name}");
        }
    }

    #[test]
    fn faults_and_return_values_are_told_apart() {
        let exchanges = exchanges();
        let step = |step: &str| exchanges.iter().find(|one| one["step"] == step).unwrap();
        let absent = answer(step("unknown-class")).unwrap_err();
        assert!(absent.is_absent(), "{absent}");
        assert!(absent.to_string().contains("No route can be determined"));
        let verb = Verb::Invoke("RequestPowerStateChange", Vec::new());
        let done = answer(step("power-reset-10")).unwrap();
        assert_eq!(judge(&verb, done.as_ref()), Ok(()));
        let returned = |value: &str| {
            let output = Element::new("X_OUTPUT", &"".into()).with(Element::text(
                "ReturnValue",
                &"".into(),
                value,
            ));
            judge(&verb, Some(&output))
        };
        assert_eq!(returned("4096"), Ok(()));
        let consent = returned("2081").unwrap_err();
        assert!(consent.wants_consent());
        for (value, words) in [
            ("4097", "not possible from the state it is in"),
            ("2081", "the user has to consent"),
            ("34849", "the user has to consent"),
            ("77", "an unknown error"),
            ("x", "no number"),
        ] {
            let text = returned(value).unwrap_err().to_string();
            assert!(text.contains(words), "{text}");
        }
        assert!(matches!(judge(&verb, None), Err(Refused::Malformed(_))));
        assert_eq!(read(500, b""), Err(Refused::Status(500)));
        assert!(matches!(read(200, b""), Err(Refused::Malformed(_))));
        assert!(matches!(read(200, b"<Envelope/>"), Err(Refused::Malformed(_))));
        let detail = format!(
            "<e:Envelope xmlns:e=\"{ENVELOPE}\"><e:Body><e:Fault><e:Code><e:Value>e:Receiver\
             </e:Value><e:Subcode><e:Value>w:InternalError</e:Value></e:Subcode></e:Code>\
             <e:Detail><x>AMT-STATUS: 2081</x></e:Detail></e:Fault></e:Body></e:Envelope>"
        );
        let fault = Fault { code: "InternalError".into(), reason: "".into(), status: Some(2081) };
        assert_eq!(read(400, detail.as_bytes()), Err(Refused::Fault(fault)));
    }
}
