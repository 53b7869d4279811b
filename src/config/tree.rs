//! JSON with positions, and MeshCentral's view of it.
//!
//! MeshCentral lower-cases every key and never reads one that starts with `_`. Below a few keys
//! whose content belongs to other programs, keys stay as they are.

use jsonc_parser::ast;
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions};

use super::place::{Place, Problem, Warning, WarningKind};

/// Keys whose content is taken as it is.
const VERBATIM: [&str; 5] =
    ["ldapoptions", "defaultuserwebstate", "forceduserwebstate", "httpheaders", "proxy"];

/// Where a node comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// Byte offset in the text.
    At(usize),
    /// An environment variable.
    Environment(String),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Table(Table),
}

/// An object; keys are unique.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table(pub(super) Vec<Entry>);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Lower-cased, unless below a [`VERBATIM`] key.
    pub(super) name: String,
    /// As it was written.
    pub(super) written: String,
    /// Where the key is; the node has the place of the value.
    pub(super) origin: Origin,
    pub(super) node: Node,
}

impl Table {
    /// The value of `name` (lower case); `null` counts as absent, as in MeshCentral.
    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.0.iter().find(|e| e.name == name && e.node.value != Value::Null)
    }

    /// Adds an entry, or replaces the one of the same name and returns it.
    pub(super) fn set(&mut self, entry: Entry) -> Option<Entry> {
        match self.0.iter_mut().find(|e| e.name == entry.name) {
            Some(old) => Some(std::mem::replace(old, entry)),
            None => {
                self.0.push(entry);
                None
            }
        }
    }
}

/// Parses strict JSON; an empty text is an empty object. Duplicate keys become warnings.
pub(super) fn parse(text: &str, warnings: &mut Vec<Warning>) -> Result<Table, Problem> {
    let malformed = |offset: usize, what: String| Problem {
        place: Place::of(text, offset),
        key: String::new(),
        text: what,
    };
    let strict = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &strict)
        .map_err(|e| malformed(e.range().start, format!("malformed JSON: {}", e.kind())))?;
    match parsed.value {
        None => Ok(Table::default()),
        Some(ast::Value::Object(object)) => Ok(Tree { text, warnings }.table(object, "", false)),
        Some(other) => Err(malformed(other.start(), "the file must be one JSON object".into())),
    }
}

struct Tree<'a> {
    text: &'a str,
    warnings: &'a mut Vec<Warning>,
}

impl Tree<'_> {
    fn table(&mut self, object: ast::Object<'_>, path: &str, verbatim: bool) -> Table {
        let mut table = Table::default();
        for property in object.properties {
            let at = property.name.start();
            let written = property.name.into_string();
            if !verbatim && written.starts_with('_') {
                continue;
            }
            let name = if verbatim { written.clone() } else { written.to_lowercase() };
            let key = join(path, &written);
            let node = self.node(property.value, &key, verbatim || VERBATIM.contains(&&*name));
            let entry = Entry { name, written, origin: Origin::At(at), node };
            if let Some(Entry { written, origin: Origin::At(at), .. }) = table.set(entry) {
                self.warnings.push(Warning {
                    place: Place::of(self.text, at),
                    key: join(path, &written),
                    kind: WarningKind::Duplicate,
                });
            }
        }
        table
    }

    fn node(&mut self, value: ast::Value<'_>, path: &str, verbatim: bool) -> Node {
        let origin = Origin::At(value.start());
        let value = match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
            // Out of range becomes infinity, which no setting accepts.
            ast::Value::NumberLit(literal) => {
                Value::Number(literal.value.parse().unwrap_or(f64::NAN))
            }
            ast::Value::StringLit(literal) => Value::Text(literal.value.into_owned()),
            ast::Value::Array(array) => Value::List(
                array.elements.into_iter().map(|v| self.node(v, path, verbatim)).collect(),
            ),
            ast::Value::Object(object) => Value::Table(self.table(object, path, verbatim)),
        };
        Node { origin, value }
    }
}

/// `settings` and `port` make `settings.port`.
pub(super) fn join(path: &str, name: &str) -> String {
    match (path.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (false, true) => format!("{path}.\"\""),
        (false, false) => format!("{path}.{name}"),
    }
}
