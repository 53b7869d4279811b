//! What is read of firmware, and the requests that change it.

use crate::amt::wsman::{Element, Failure, Link, Operation, Verb};

/// Something to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// The one instance of a class.
    One(&'static str),
    /// All instances.
    All(&'static str),
}

/// What was read.
#[derive(Default)]
pub(super) struct Found(Vec<(&'static str, Vec<Element>)>);

impl Found {
    /// Reads in this order. What this firmware does not have, or refuses, is not found.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) async fn read(link: &Link, wanted: &[Read]) -> Result<Self, Failure> {
        let mut found = Self::default();
        for read in wanted {
            let (class, answer) = match read {
                Read::One(class) => (*class, link.get(class).await.map(|one| vec![one])),
                Read::All(class) => (*class, link.list(class).await),
            };
            match answer {
                Ok(instances) => found.0.push((class, instances)),
                Err(failure) if failure.is_refusal() => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(found)
    }

    /// Whether it could be read, even if there is none of it.
    pub(super) fn has(&self, class: &str) -> bool {
        self.0.iter().any(|(name, _)| *name == class)
    }

    /// The one instance.
    pub(super) fn one(&self, class: &str) -> Option<&Element> {
        self.all(class).first()
    }

    /// All instances.
    pub(super) fn all(&self, class: &str) -> &[Element] {
        self.0.iter().find(|(name, _)| *name == class).map_or(&[], |(_, all)| all)
    }
}

/// A request that changes something.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// The request.
    pub(super) operation: Operation,
    /// The rest is of no use if it is refused.
    pub(super) is_needed: bool,
    /// What is done then, for people.
    pub(super) says: &'static str,
}

impl Step {
    /// One without which the rest makes no sense.
    pub(super) fn needed(operation: Operation, says: &'static str) -> Self {
        Self { operation, is_needed: true, says }
    }

    /// One that may be refused.
    pub(super) fn tried(operation: Operation, says: &'static str) -> Self {
        Self { operation, is_needed: false, says }
    }
}

/// Writes an instance back; what is empty in it is not said, as the stock server does it.
pub(super) fn put(class: &'static str, mut instance: Element) -> Operation {
    instance.children.retain(|child| !child.text.is_empty() || !child.children.is_empty());
    Operation::new(class, Verb::Put(instance))
}

/// The instance a property, or an output of a method, names by this selector.
pub(super) fn named<'a>(element: &'a Element, property: &str, selector: &str) -> Option<&'a str> {
    let selectors = &element.child(property)?.find("SelectorSet")?.children;
    let mut fitting = selectors.iter().filter(|one| one.key.as_deref() == Some(selector));
    fitting.next().map(|one| &*one.text)
}
