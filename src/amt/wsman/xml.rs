//! XML elements: read from what firmware says, and written into what is said to it.
//!
//! Prefixes differ between firmware and mean nothing: an element is its local name and namespace.
//! What firmware never says is refused: a DTD, comments and the like, more than [`NODES_MAX`] nodes,
//! elements nested deeper than [`DEPTH_MAX`]. The depth is known before the parser sees it, because
//! that one goes down by recursion.

use std::fmt::Write as _;
use std::rc::Rc;

use roxmltree::{Document, Node, ParsingOptions};

/// Most nodes of a document: an event log of 390 records has some 1,000.
pub const NODES_MAX: u32 = 20_000;
/// Deepest nesting; references within references reach 12.
pub const DEPTH_MAX: usize = 24;

/// An element with its content: text, or elements. Some 100 bytes and its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Local name.
    pub name: Rc<str>,
    /// Namespace; empty for none.
    pub space: Rc<str>,
    /// `Name` of a selector.
    pub key: Option<Box<str>>,
    /// Its text without white space around it; empty if it has elements.
    pub text: Box<str>,
    /// The elements in it.
    pub children: Vec<Element>,
}

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl Element {
    /// An empty element.
    pub fn new(name: &str, space: &Rc<str>) -> Self {
        let (name, space) = (name.into(), space.clone());
        Self { name, space, key: None, text: "".into(), children: Vec::new() }
    }

    /// An element with a text.
    pub fn text(name: &str, space: &Rc<str>, text: &str) -> Self {
        Self { text: text.into(), ..Self::new(name, space) }
    }

    /// The same with one more element in it.
    #[must_use]
    pub fn with(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    /// The first element in it of this name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| &*child.name == name)
    }

    /// The first element of this name anywhere in it, itself excluded.
    pub fn find(&self, name: &str) -> Option<&Element> {
        self.children.iter().find_map(|child| match &*child.name == name {
            true => Some(child),
            false => child.find(name),
        })
    }

    /// Whether it is this element.
    pub fn is(&self, name: &str, space: &str) -> bool {
        &*self.name == name && &*self.space == space
    }

    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(document: &str) -> Result<Self, Malformed> {
        check_nesting(document)?;
        let options = ParsingOptions {
            allow_dtd: false,
            nodes_limit: NODES_MAX,
            ..ParsingOptions::default()
        };
        let document = Document::parse_with_options(document, options);
        let document = document.map_err(|error| Malformed(error.to_string()))?;
        let mut names = Names::default();
        read(document.root_element(), &mut names, DEPTH_MAX)
    }

    /// Appends it to `out`, in a document where `space` is what an element without prefix is in.
    pub fn write(&self, out: &mut String, space: &str) {
        // Writing into a String cannot fail.
        let _ = write!(out, "<{}", self.name);
        if &*self.space != space {
            out.push_str(" xmlns=\"");
            escape(out, &self.space);
            out.push('"');
        }
        if let Some(key) = &self.key {
            out.push_str(" Name=\"");
            escape(out, key);
            out.push('"');
        }
        out.push('>');
        escape(out, &self.text);
        for child in &self.children {
            child.write(out, &self.space);
        }
        let _ = write!(out, "</{}>", self.name);
    }
}

/// Refuses markup that is not an element, and elements within elements without end.
fn check_nesting(document: &str) -> Result<(), Malformed> {
    let document = document.trim_start_matches('\u{feff}').trim_start();
    let document = match document.strip_prefix("<?xml ") {
        Some(rest) => rest.split_once("?>").map(|(_, rest)| rest).unwrap_or_default(),
        None => document,
    };
    let (mut bytes, mut depth) = (document.bytes(), 0usize);
    while bytes.by_ref().any(|byte| byte == b'<') {
        // What stands between quotes ends nothing.
        let (mut first, mut last, mut quote) = (None, 0, None);
        for byte in bytes.by_ref() {
            first.get_or_insert(byte);
            match quote {
                Some(open) if open == byte => quote = None,
                Some(_) => {}
                None if byte == b'>' => break,
                None if matches!(byte, b'"' | b'\'') => quote = Some(byte),
                None => last = byte,
            }
        }
        match first {
            Some(b'!' | b'?') => return Err(Malformed("it has more than elements".into())),
            Some(b'/') => depth = depth.saturating_sub(1),
            _ if last != b'/' => depth += 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(Malformed("it is nested too deep".into()));
        }
    }
    Ok(())
}

/// Namespaces seen, so that each is kept once.
#[derive(Default)]
struct Names(Vec<Rc<str>>);

impl Names {
    fn keep(&mut self, name: &str) -> Rc<str> {
        if let Some(known) = self.0.iter().find(|known| ***known == *name) {
            return known.clone();
        }
        let name: Rc<str> = name.into();
        // A document with more than a dozen is nobody's, but it is read.
        if self.0.len() < 64 {
            self.0.push(name.clone());
        }
        name
    }
}

fn read(node: Node<'_, '_>, names: &mut Names, depth: usize) -> Result<Element, Malformed> {
    let Some(deeper) = depth.checked_sub(1) else {
        return Err(Malformed("it is nested too deep".into()));
    };
    let tag = node.tag_name();
    let mut element = Element::new("", &names.keep(tag.namespace().unwrap_or_default()));
    element.name = names.keep(tag.name());
    element.key = node.attribute("Name").map(Into::into);
    for child in node.children().filter(Node::is_element) {
        element.children.push(read(child, names, deeper)?);
    }
    if element.children.is_empty() {
        element.text = node.text().unwrap_or_default().trim().into();
    }
    Ok(element)
}

/// Appends text as content or value of an attribute. What XML cannot have at all is left out.
pub fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_are_their_names_and_namespaces_whatever_the_prefix() {
        let one = Element::parse(r#"<a:x xmlns:a="urn:1"><a:y> text </a:y><a:z/></a:x>"#).unwrap();
        let two = Element::parse("<x xmlns=\"urn:1\"><y>&#116;ext</y>\n<z></z></x>").unwrap();
        assert_eq!(one, two);
        assert!(one.is("x", "urn:1") && !one.is("x", ""));
        assert_eq!(&*one.child("y").unwrap().text, "text");
        assert!(one.child("n").is_none() && one.find("z").is_some());
    }

    #[test]
    fn hostile_documents_are_refused_without_much_work() {
        let deep = format!("{}{}", "<a>".repeat(5000), "</a>".repeat(5000));
        let wide = format!("<a>{}</a>", "<b/>".repeat(NODES_MAX as usize));
        let entities = "<!DOCTYPE a [<!ENTITY x \"y\"><!ENTITY z \"&x;&x;\">]><a>&z;</a>";
        let comment = "<a><!-- </a></a> --></a>";
        let instruction = "<a><?x </a> ?></a>";
        for bad in [
            "",
            "<a>",
            "<a></b>",
            "text",
            &deep,
            &wide,
            entities,
            "<a>&#0;</a>",
            "<p:a/>",
            comment,
            instruction,
        ] {
            assert!(Element::parse(bad).is_err(), "{}", bad.get(..40).unwrap_or(bad));
        }
    }

    fn element() -> impl Strategy<Value = Element> {
        let text = "[ -~äß\u{1F600}]{0,12}";
        let leaf = ("[a-z][a-zA-Z0-9]{0,5}", text, proptest::option::of(text)).prop_map(
            |(name, text, key)| Element {
                key: key.map(Into::into),
                ..Element::text(&name, &"urn:1".into(), text.trim())
            },
        );
        leaf.prop_recursive(4, 32, 4, |inner| {
            ("[a-z]{1,5}", "urn:[12]", prop::collection::vec(inner, 1..4)).prop_map(
                |(name, space, children)| Element {
                    children,
                    ..Element::new(&name, &space.as_str().into())
                },
            )
        })
    }

    #[test]
    fn the_depth_is_counted_as_the_parser_does() {
        let at_most = DEPTH_MAX;
        for (open, close) in [("<a>", "</a>"), ("<a x='>'>", "</a >"), ("<a x=\"/>\">", "</a>")] {
            let nested =
                |depth: usize| open.repeat(depth) + "<b/><c x='/'/>" + &close.repeat(depth);
            assert!(Element::parse(&nested(at_most - 1)).is_ok(), "{open}");
            assert!(Element::parse(&nested(at_most + 1)).is_err(), "{open}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(element in element()) {
            let mut out = String::new();
            element.write(&mut out, "");
            prop_assert_eq!(Element::parse(&out).unwrap(), element);
        }

        #[test]
        fn no_text_makes_the_reader_fail(text in "(<[a-z/]{0,3}>|[<>&;!a-z\"= ]){0,40}") {
            let _ = Element::parse(&text);
        }
    }
}
