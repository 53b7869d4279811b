//! Two transcripts, and the table of differences that are meant to be.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use super::Transcript;

/// A difference between the servers that is meant to be.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Steps it occurs in: the beginning of what was asked.
    pub asked: &'static str,
    /// Where in the answer: the end of the path, `/member/0/member` as in a JSON pointer; `N` is any
    /// place in a list.
    pub path: &'static str,
    /// What the stock server says, as compact JSON; empty if there is nothing.
    pub stock: &'static str,
    /// What we say.
    pub ours: &'static str,
    /// Why that is right.
    pub why: &'static str,
}

/// An entry of the table.
pub const fn differs(
    asked: &'static str,
    path: &'static str,
    stock: &'static str,
    ours: &'static str,
    why: &'static str,
) -> Difference {
    Difference { asked, path, stock, ours, why }
}

/// Matches any value on the side it stands on, but not its absence.
pub const ANYTHING: &str = "*";

/// A difference as it was found.
#[derive(Debug, PartialEq)]
struct Found {
    step: usize,
    asked: String,
    path: String,
    stock: Option<Value>,
    ours: Option<Value>,
}

/// Fails unless the transcripts differ exactly as the table says.
///
/// # Panics
/// With every unlisted difference, and every listed one that no longer occurs.
pub fn assert_same([stock, ours]: &[Transcript; 2], meant: &[Difference]) {
    let found = differences(stock, ours);
    let unlisted: Vec<_> =
        found.iter().filter(|found| !meant.iter().any(|meant| meant.is(found))).collect();
    let gone: Vec<_> =
        meant.iter().filter(|meant| !found.iter().any(|found| meant.is(found))).collect();
    if unlisted.is_empty() && gone.is_empty() {
        return;
    }
    unlisted.iter().for_each(|found| eprintln!("not the same: {found}"));
    gone.iter().for_each(|meant| eprintln!("listed but does not occur: {meant:?}"));
    panic!("{} unlisted differences, {} that are gone", unlisted.len(), gone.len());
}

fn differences(stock: &Transcript, ours: &Transcript) -> Vec<Found> {
    assert_eq!(stock.steps.len(), ours.steps.len(), "both ran the same script");
    let mut found = Vec::new();
    for (step, (stock, ours)) in stock.steps.iter().zip(&ours.steps).enumerate() {
        let mut walk = Walk { step, asked: &stock.asked, found: &mut found };
        if stock.asked != ours.asked {
            // The script asked for something it had heard before: that is where to look.
            let (theirs, ours) = (Value::from(&*stock.asked), Value::from(&*ours.asked));
            walk.note("asked", Some(&theirs), Some(&ours));
        }
        walk.compare("", &stock.answer, &ours.answer);
    }
    found
}

/// The order of documents in a list is nobody's promise: each is compared with the one most like
/// it.
fn pair_documents<'a>(
    stock: &'a [Value],
    ours: &'a [Value],
) -> Vec<(Option<&'a Value>, Option<&'a Value>)> {
    let [stock_leaves, our_leaves] =
        [stock, ours].map(|side| side.iter().map(leaves).collect::<Vec<_>>());
    let mut likenesses = Vec::new();
    for (i, stock) in stock_leaves.iter().enumerate() {
        for (j, ours) in our_leaves.iter().enumerate() {
            let same = stock.intersection(ours).count();
            likenesses.push((same * 100 / stock.len().max(ours.len()).max(1), i, j));
        }
    }
    // The best matches first, so that a document does not lose its twin to a neighbour.
    likenesses.sort_by_key(|(likeness, ..)| std::cmp::Reverse(*likeness));
    let mut pairs: Vec<_> = stock.iter().map(|document| (Some(document), None)).collect();
    let mut taken = BTreeSet::new();
    for (likeness, i, j) in likenesses {
        if likeness >= ALIKE && pairs[i].1.is_none() && taken.insert(j) {
            pairs[i].1 = Some(&ours[j]);
        }
    }
    let left = ours.iter().enumerate().filter(|(j, _)| !taken.contains(j));
    pairs.extend(left.map(|(_, document)| (None, Some(document))));
    pairs
}

/// Percent of their values two documents must share to be about the same thing.
const ALIKE: usize = 60;

/// Every value of a document with its path.
fn leaves(document: &Value) -> BTreeSet<String> {
    fn walk(path: &str, value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                members
                    .iter()
                    .for_each(|(name, value)| walk(&format!("{path}/{name}"), value, found));
            }
            _ => drop(found.insert(format!("{path} {value}"))),
        }
    }
    let mut found = BTreeSet::new();
    walk("", document, &mut found);
    found
}

struct Walk<'a> {
    step: usize,
    asked: &'a str,
    found: &'a mut Vec<Found>,
}

impl Walk<'_> {
    fn compare(&mut self, path: &str, stock: &Value, ours: &Value) {
        match (stock, ours) {
            (Value::Object(stock), Value::Object(ours)) => {
                let names: BTreeSet<_> = stock.keys().chain(ours.keys()).collect();
                for name in names {
                    self.either(&format!("{path}/{name}"), stock.get(name), ours.get(name));
                }
            }
            (Value::Array(stock), Value::Array(ours)) => {
                let scalar = |value: &Value| !value.is_object() && !value.is_array();
                let scalars = stock.iter().chain(ours).all(scalar);
                if scalars && !path.is_empty() {
                    // A list of words is one value; at the root it is an output, line by line.
                    return match stock == ours {
                        true => {}
                        false => self.note(path, Some(&json!(stock)), Some(&json!(ours))),
                    };
                }
                let pairs = match stock.iter().chain(ours).all(Value::is_object) {
                    true => pair_documents(stock, ours),
                    false => (0..stock.len().max(ours.len()))
                        .map(|place| (stock.get(place), ours.get(place)))
                        .collect(),
                };
                for (place, (stock, ours)) in pairs.into_iter().enumerate() {
                    self.either(&format!("{path}/{place}"), stock, ours);
                }
            }
            _ if stock == ours => {}
            _ => self.note(path, Some(stock), Some(ours)),
        }
    }

    fn either(&mut self, path: &str, stock: Option<&Value>, ours: Option<&Value>) {
        match (stock, ours) {
            (Some(stock), Some(ours)) => self.compare(path, stock, ours),
            _ => self.note(path, stock, ours),
        }
    }

    fn note(&mut self, path: &str, stock: Option<&Value>, ours: Option<&Value>) {
        self.found.push(Found {
            step: self.step,
            asked: self.asked.to_owned(),
            path: path.to_owned(),
            stock: stock.cloned(),
            ours: ours.cloned(),
        });
    }
}

impl Found {
    /// The path without the numbers of places.
    fn kind_of_path(&self) -> String {
        let is_place = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let parts = self.path.split('/').map(|part| if is_place(part) { "N" } else { part });
        parts.collect::<Vec<_>>().join("/")
    }
}

impl Difference {
    fn is(&self, found: &Found) -> bool {
        let same = |meant: &str, found: &Option<Value>| match found {
            Some(_) if meant == ANYTHING => true,
            Some(found) => {
                let json = found.to_string();
                json == meant
            }
            None => meant.is_empty(),
        };
        found.asked.starts_with(self.asked)
            && (found.path.ends_with(self.path) || found.kind_of_path().ends_with(self.path))
            && same(self.stock, &found.stock)
            && same(self.ours, &found.ours)
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
        let (asked, path) = (&self.asked, &self.path);
        let (stock, ours) = (show(&self.stock), show(&self.ours));
        write!(f, "{}. {asked}\n    at {path:?}\n    stock: {stock}\n    ours:  {ours}", self.step)
    }
}
