//! A document of MeshCentral in the making.

use std::fmt::Display;

use serde_json::{Map, Value};

use crate::model::order;

use super::escaped;

/// See the module. Members come in the order they are named.
pub(super) struct Draft {
    id: String,
    fields: Map<String, Value>,
}

impl Draft {
    /// A document with this `_id`.
    pub(super) fn new(id: impl Display) -> Self {
        let id = id.to_string();
        let fields = order::gather([("_id".to_owned(), Value::from(id.as_str()))]);
        Self { id, fields }
    }

    /// Sets a member.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Sets a member if there is a value.
    pub(super) fn maybe(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Sets a member to an id, or to whatever else is shown as its text.
    pub(super) fn text(self, name: &str, value: impl Display) -> Self {
        self.with(name, value.to_string())
    }

    /// Sets a member unless it is 0.
    pub(super) fn nonzero(self, name: &str, value: impl Into<u64>) -> Self {
        self.maybe(name, Some(value.into()).filter(|value| *value != 0))
    }

    /// Sets a list unless it is empty.
    pub(super) fn list(self, name: &str, list: impl IntoIterator<Item: Into<Value>>) -> Self {
        let list: Vec<Value> = list.into_iter().map(Into::into).collect();
        self.maybe(name, (!list.is_empty()).then_some(list))
    }

    /// Sets an object whose names are ids, escaped as MeshCentral's database needs them.
    pub(super) fn by_id(
        self,
        name: &str,
        entries: impl IntoIterator<Item = (String, Value)>,
    ) -> Self {
        let entries = entries.into_iter().map(|(id, value)| (escaped(&id), value));
        self.with(name, order::gather::<_, Map<_, _>>(entries))
    }

    /// The id and the document.
    pub(super) fn finish(self) -> (String, Value) {
        (self.id, Value::Object(self.fields))
    }
}
