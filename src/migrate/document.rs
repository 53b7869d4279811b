//! One document of MeshCentral on its way into records: typed access that notes what is left over.

use serde_json::{Map, Value};

use super::nedb::date;
use super::report::Report;
use crate::model::{Millis, Seconds};

/// A document. Members are taken out of it; what is left when it is dropped was not understood.
pub(super) struct Document<'r> {
    /// Its `_id`.
    pub(super) id: String,
    fields: Map<String, Value>,
    kind: &'static str,
    report: &'r mut Report,
}

impl<'r> Document<'r> {
    /// A document of the kind people know, `account` or `device`.
    pub(super) fn new(
        kind: &'static str,
        id: &str,
        fields: Map<String, Value>,
        report: &'r mut Report,
    ) -> Self {
        let mut document = Self { id: id.to_owned(), fields, kind, report };
        document.ignore(&["_id", "type", "domain"]);
        document
    }

    /// Members without meaning here.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.fields.remove(*name)));
    }

    /// Says something about this document in the report.
    pub(super) fn remark(&mut self, what: impl Into<String>) {
        self.report.remark(format!("{}: {}", self.kind, what.into()), &self.id);
    }

    /// Drops members that have no place here and says why, if one is there.
    pub(super) fn drop_with_remark(&mut self, names: &[&str], why: &str) {
        let found: Vec<_> =
            names.iter().filter(|name| self.fields.remove(**name).is_some()).copied().collect();
        if !found.is_empty() {
            self.remark(format!("{} not taken over: {why}", found.join(", ")));
        }
    }

    fn wrong(&mut self, name: &str) {
        self.remark(format!("{name} is not of the expected form and is left out"));
    }

    /// A member that is not null, as it is.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// A member of some form, if it is there; a remark if it has another form.
    fn typed<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Option<T>) -> Option<T> {
        let value = self.value(name)?;
        let typed = read(value);
        if typed.is_none() {
            self.wrong(name);
        }
        typed
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.typed(name, |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    pub(super) fn texts(&mut self, name: &str) -> Vec<String> {
        let texts = self.typed(name, |value| match value {
            Value::Array(texts) => Some(texts),
            _ => None,
        });
        let text = |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        };
        texts.unwrap_or_default().into_iter().filter_map(text).collect()
    }

    pub(super) fn number(&mut self, name: &str) -> Option<u64> {
        self.typed(name, |value| match &value {
            Value::String(text) => text.parse().ok(),
            value => whole(value),
        })
    }

    pub(super) fn u32(&mut self, name: &str) -> Option<u32> {
        self.number(name).and_then(|number| u32::try_from(number).ok())
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Bool(flag)) => flag,
            Some(value) => whole(&value).is_some_and(|n| n != 0),
            None => false,
        }
    }

    pub(super) fn object(&mut self, name: &str) -> Map<String, Value> {
        let object = self.typed(name, |value| match value {
            Value::Object(object) => Some(object),
            _ => None,
        });
        object.unwrap_or_default()
    }

    pub(super) fn array(&mut self, name: &str) -> Vec<Value> {
        let array = self.typed(name, |value| match value {
            Value::Array(array) => Some(array),
            _ => None,
        });
        array.unwrap_or_default()
    }

    pub(super) fn seconds(&mut self, name: &str) -> Option<Seconds> {
        self.typed(name, |value| whole(&value)).map(Seconds)
    }

    pub(super) fn millis(&mut self, name: &str) -> Option<Millis> {
        self.typed(name, |value| date(&value)).map(Millis)
    }

    /// A member of an identifier's form.
    pub(super) fn id<T: std::str::FromStr>(&mut self, name: &str) -> Option<T> {
        self.typed(name, |value| value.as_str()?.parse().ok())
    }
}

/// A number without a fraction, also if JavaScript wrote it with one.
pub(super) fn whole(value: &Value) -> Option<u64> {
    let float = |f: f64| (f >= 0.0 && f.fract() == 0.0 && f <= 9e15).then_some(f as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(float))
}

impl Drop for Document<'_> {
    fn drop(&mut self) {
        let rest: Vec<_> = self.fields.keys().cloned().collect();
        for name in rest {
            self.report
                .remark(format!("{}: {name} is not known and is left out", self.kind), &self.id);
        }
    }
}
