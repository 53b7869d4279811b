//! Names of files and folders: what MeshCentral's web page lets people use, and nothing that means
//! more than itself.

use std::fmt;

/// A name that is one step down a path: never a separator, never `.` or `..`, never hidden.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// Longest name in bytes; file systems take no more.
const NAME_MAX: usize = 255;
/// Names that mean devices on Windows, also with an extension behind them.
const DEVICES: [&str; 3] = ["nul", "prn", "con"];
/// The same with a digit behind them.
const PORTS: [&str; 2] = ["lpt", "com"];

impl Name {
    /// `text`, if it can be a name.
    pub fn new(text: &str) -> Option<Self> {
        let forbidden = |c: char| r#"\/:*?"<>|"#.contains(c) || c.is_control();
        let fits = (1..=NAME_MAX).contains(&text.len());
        let plain = !text.starts_with('.') && !text.contains(forbidden) && !is_device(text);
        (fits && plain).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_device(text: &str) -> bool {
    let stem = text.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = |port: &str| {
        stem.strip_prefix(port).is_some_and(|rest| matches!(rest.as_bytes(), [b'0'..=b'9']))
    };
    DEVICES.contains(&&*stem) || PORTS.into_iter().any(numbered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_one_step_and_nothing_else() {
        for text in ["a.txt", "My Files", "ä€", "COM10", "a..b", "~", "nulls", "-rf", "%2e%2e"] {
            assert_eq!(Name::new(text).as_ref().map(Name::as_str), Some(text));
        }
        let long = "x".repeat(256);
        for text in [
            "", ".", "..", ".hidden", "a/b", "/", "..\\x", "a:b", "a*", "a?", "\"", "<", ">", "|",
            "nul", "NUL.txt", "com1", "Lpt9.x", "con.", "a\0b", "a\nb", &long,
        ] {
            assert_eq!(Name::new(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn joining_a_name_to_a_folder_goes_down_one_step(text in ".{0,40}") {
            if let Some(name) = Name::new(&text) {
                let path = std::path::Path::new("/folder").join(name.as_str());
                prop_assert_eq!(path.components().count(), 3);
                prop_assert!(path.starts_with("/folder"));
            }
        }
    }
}
