//! Where in the configuration something is, and what is to be said about it.

use std::fmt;
use std::path::Path;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file; both count from 1, the column in characters.
    File {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// In an environment variable of this name.
    Environment(String),
}

impl Place {
    /// The place of byte `offset` of `text`; the end of the text if it is beyond.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self::File { line, column }
    }

    /// `remark`, whose text starts with this place, as a line about `file`.
    pub fn located(&self, file: &Path, remark: &impl fmt::Display) -> String {
        match self {
            Self::File { .. } => format!("{}:{remark}", file.display()),
            Self::Environment(_) => remark.to_string(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { line, column } => write!(f, "{line}:{column}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// Why the server cannot run with what is written there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key, as in `settings.port`; empty for malformed JSON.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

/// Something that is written there and does not do what one may expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// The key, as in `settings.foo`.
    pub key: String,
    /// What happens to it.
    pub kind: WarningKind,
}

/// What happens to a key that has a [`Warning`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WarningKind {
    /// Nobody knows it; a spelling mistake?
    Unknown,
    /// MeshCentral knows it; this server does not act on it yet.
    NotYet,
    /// It would restrict somebody or something, and this server does not enforce it yet.
    NotEnforced,
    /// It has no meaning for this server.
    Moot,
    /// The same key comes again later, perhaps in other letters, and that one counts.
    Duplicate,
    /// It is read, with this remark.
    Remark(String),
}

impl WarningKind {
    /// True if it belongs into the log at every start, and not only into `check-config`.
    pub fn is_loud(&self) -> bool {
        !matches!(self, Self::NotYet | Self::Moot)
    }
}

impl fmt::Display for WarningKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown key, ignored",
            Self::NotYet => "known, not supported yet",
            Self::NotEnforced => "NOT ENFORCED: this restriction is not supported yet",
            Self::Moot => "has no meaning for this server",
            Self::Duplicate => "the same key comes again later; this one is ignored",
            Self::Remark(text) => text,
        })
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.key, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let text = "{\n  \"ä\": 1\r\n}";
        for (offset, line, column) in [(0, 1, 1), (4, 2, 3), (9, 2, 7), (999, 3, 2)] {
            assert_eq!(Place::of(text, offset), Place::File { line, column }, "{offset}");
        }
    }
}
