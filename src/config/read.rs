//! Typed reading of one section, with MeshCentral's leniency: numbers and switches may be quoted.
//!
//! Asking for a key makes it known. What nobody asked for is looked up in [`Names`] when the
//! section is finished, so the list of supported keys is the code that reads them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::place::{Place, Problem, Warning, WarningKind};
use super::table::Names;
use super::tree::{Entry, Node, Origin, Table, Value, join};

/// Longest text setting in characters.
const TEXT_MAX: usize = 4096;
/// Longest interval: ten years.
const SECONDS_MAX: u64 = 10 * 365 * 86_400;

/// What was found so far.
pub(super) struct Notes<'t> {
    pub(super) text: &'t str,
    pub(super) problems: RefCell<Vec<Problem>>,
    pub(super) warnings: RefCell<Vec<Warning>>,
}

impl Notes<'_> {
    pub(super) fn place(&self, origin: &Origin) -> Place {
        match origin {
            Origin::At(offset) => Place::of(self.text, *offset),
            Origin::Environment(name) => Place::Environment(name.clone()),
        }
    }

    pub(super) fn problem(&self, origin: &Origin, key: &str, text: impl Into<String>) {
        let problem = Problem { place: self.place(origin), key: key.to_owned(), text: text.into() };
        let mut problems = self.problems.borrow_mut();
        // A default of all domains is read once for each of them.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    pub(super) fn warn(&self, origin: &Origin, key: &str, kind: WarningKind) {
        let warning = Warning { place: self.place(origin), key: key.to_owned(), kind };
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
}

/// One object of the file, with what fills its gaps.
pub(super) struct Section<'t> {
    path: String,
    table: &'t Table,
    /// Path and entries of `domainDefaults`.
    defaults: Option<(&'t str, &'t Table)>,
    notes: &'t Notes<'t>,
    asked: RefCell<BTreeSet<String>>,
}

/// A value that was found, and what it is called in messages.
pub(super) struct Found<'t> {
    pub(super) node: &'t Node,
    pub(super) key: String,
}

impl<'t> Section<'t> {
    pub(super) fn new(path: String, table: &'t Table, notes: &'t Notes<'t>) -> Self {
        Self { path, table, defaults: None, notes, asked: RefCell::default() }
    }

    pub(super) fn with_defaults(mut self, path: &'t str, table: &'t Table) -> Self {
        self.defaults = Some((path, table));
        self
    }

    /// The value of `name`, which is given as MeshCentral's documentation writes it.
    pub(super) fn find(&self, name: &str) -> Option<Found<'t>> {
        let lower = name.to_lowercase();
        let found = |path: &str, e: &'t Entry| Found { node: &e.node, key: join(path, &e.written) };
        let own = self.table.get(&lower).map(|e| found(&self.path, e));
        let value = own.or_else(|| {
            let (path, table) = self.defaults?;
            Some(found(path, table.get(&lower)?))
        });
        self.asked.borrow_mut().insert(lower);
        value
    }

    pub(super) fn problem(&self, found: &Found<'_>, text: impl Into<String>) {
        self.notes.problem(&found.node.origin, &found.key, text);
    }

    pub(super) fn remark(&self, found: &Found<'_>, text: impl Into<String>) {
        self.notes.warn(&found.node.origin, &found.key, WarningKind::Remark(text.into()));
    }

    fn wrong<T>(&self, found: &Found<'_>, expected: &str) -> Option<T> {
        self.problem(found, format!("expected {expected}, found {}", found.node.value.describe()));
        None
    }

    /// A text; the empty text counts as absent.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let found = self.find(name)?;
        match &found.node.value {
            Value::Text(text) if text.is_empty() => None,
            Value::Text(text) if text.chars().count() <= TEXT_MAX => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => self.wrong(&found, "a text"),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        let found = self.find(name)?;
        found.node.value.as_flag().or_else(|| self.wrong(&found, "true or false"))
    }

    /// A whole number.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let found = self.find(name)?;
        let number = found.node.value.as_whole().filter(|n| range.contains(n));
        number.or_else(|| {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.wrong(&found, &expected)
        })
    }

    pub(super) fn port(&self, name: &str) -> Option<u16> {
        let found = self.find(name)?;
        let port = found.node.value.as_whole().and_then(|n| u16::try_from(n).ok());
        port.filter(|p| *p != 0).or_else(|| self.wrong(&found, "a port from 1 to 65535"))
    }

    /// A port that 0 (or false) switches off: `Some(None)`.
    pub(super) fn port_or_off(&self, name: &str) -> Option<Option<u16>> {
        let found = self.find(name)?;
        let value = &found.node.value;
        if value.as_flag() == Some(false) {
            return Some(None);
        }
        let port = value.as_whole().and_then(|n| u16::try_from(n).ok());
        port.map(Some).or_else(|| self.wrong(&found, "a port from 1 to 65535, or 0 for none"))
    }

    /// Seconds; 0 (or false) switches off: `Some(None)`.
    pub(super) fn seconds(&self, name: &str) -> Option<Option<Duration>> {
        let found = self.find(name)?;
        let value = &found.node.value;
        if value.as_flag() == Some(false) {
            return Some(None);
        }
        match value.as_whole().filter(|n| *n <= SECONDS_MAX) {
            Some(seconds) => Some(Some(Duration::from_secs(seconds))),
            None => self.wrong(&found, "a number of seconds, or 0 for never"),
        }
    }

    /// Minutes, not zero.
    pub(super) fn minutes(&self, name: &str) -> Option<Duration> {
        self.number(name, 1..=SECONDS_MAX / 60).map(|minutes| Duration::from_secs(minutes * 60))
    }

    /// A list of texts, or one text with commas; blanks around them and empty ones are dropped.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let found = self.find(name)?;
        found.node.value.as_texts().or_else(|| self.wrong(&found, "a text or a list of texts"))
    }

    /// A list whose items have a form of their own.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let found = self.find(name)?;
        let Some(texts) = found.node.value.as_texts() else {
            return self.wrong(&found, expected);
        };
        let mut items = Vec::new();
        for text in texts {
            match parse(&text) {
                Some(item) => items.push(item),
                None => self.problem(&found, format!("expected {expected}, found {text:?}")),
            }
        }
        Some(items)
    }

    /// An object inside this one.
    pub(super) fn section(&self, name: &str) -> Option<Section<'t>> {
        let found = self.find(name)?;
        match &found.node.value {
            Value::Table(table) => Some(Section::new(found.key, table, self.notes)),
            _ => self.wrong(&found, "an object { … }"),
        }
    }

    /// The objects in a list; `None` for what is none.
    pub(super) fn sections(&self, name: &str) -> Vec<Option<Section<'t>>> {
        let Some(Found { node, key }) = self.find(name) else { return Vec::new() };
        let Value::List(nodes) = &node.value else { return Vec::new() };
        let section = |(n, node): (usize, &'t Node)| match &node.value {
            Value::Table(table) => Some(Section::new(format!("{key}[{n}]"), table, self.notes)),
            _ => None,
        };
        nodes.iter().enumerate().map(section).collect()
    }

    /// Warns of every key that has not been asked for, or is not enforced.
    pub(super) fn finish(self, names: &Names) {
        let asked = self.asked.into_inner();
        let defaults = self.defaults.map(|(path, table)| (path, &table.0));
        let own = (&*self.path, &self.table.0);
        for (path, entries) in std::iter::once(own).chain(defaults) {
            for entry in entries {
                let key = join(path, &entry.written);
                match names.kind(&entry.name) {
                    Some(kind @ WarningKind::NotEnforced) => {
                        self.notes.warn(&entry.origin, &key, kind);
                    }
                    _ if asked.contains(&entry.name) => {}
                    kind => {
                        self.notes.warn(&entry.origin, &key, kind.unwrap_or(WarningKind::Unknown));
                    }
                }
            }
        }
    }
}

impl Value {
    pub(super) fn as_flag(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            Self::Number(1.0) => Some(true),
            Self::Number(0.0) => Some(false),
            Self::Text(text) => match &*text.trim().to_ascii_lowercase() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn as_whole(&self) -> Option<u64> {
        match self {
            // Up to 2^53 every whole number has a double of its own.
            Self::Number(n) if n.fract() == 0.0 && (0.0..=9e15).contains(n) => Some(*n as u64),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn as_texts(&self) -> Option<Vec<String>> {
        let split = |text: &str| -> Vec<String> {
            text.split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect()
        };
        match self {
            Self::Text(text) => Some(split(text)),
            Self::List(nodes) => {
                let texts = nodes.iter().map(|node| match &node.value {
                    Self::Text(text) => Some(text.trim().to_owned()),
                    _ => None,
                });
                texts.collect()
            }
            // Off.
            Self::Bool(false) => Some(Vec::new()),
            _ => None,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Bool(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => {
                let short: String = text.chars().take(60).collect();
                if short.len() < text.len() {
                    format!("{short:?}…")
                } else {
                    format!("{short:?}")
                }
            }
            Self::List(_) => "a list".into(),
            Self::Table(_) => "an object".into(),
        }
    }
}
