//! A small tree of XML elements: what simulated firmware keeps, reads and writes.
//!
//! Names are compared with their namespace; prefixes exist only in texts.

use std::fmt::Write as _;

/// SOAP 1.2.
pub const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
/// WS-Addressing.
pub const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
/// WS-Management.
pub const WSMAN: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
/// WS-Transfer.
pub const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
/// WS-Enumeration.
pub const ENUMERATION: &str = "http://schemas.xmlsoap.org/ws/2004/09/enumeration";
/// Dates and intervals of CIM.
pub const COMMON: &str = "http://schemas.dmtf.org/wbem/wscim/1/common";

/// The prefix of resource URIs by the first part of class names.
const PREFIXES: [(&str, &str); 3] = [
    ("AMT_", "http://intel.com/wbem/wscim/1/amt-schema/1/"),
    ("IPS_", "http://intel.com/wbem/wscim/1/ips-schema/1/"),
    ("CIM_", "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"),
];

/// Resource URI of a class.
///
/// # Panics
/// If there cannot be such a class.
pub fn uri(class: &str) -> String {
    let of = PREFIXES.iter().find(|(start, _)| class.starts_with(start));
    let (_, prefix) = of.unwrap_or_else(|| panic!("{class} is no class of firmware"));
    format!("{prefix}{class}")
}

/// Class of a resource URI.
pub fn class_of(uri: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|(start, prefix)| {
        uri.strip_prefix(prefix).filter(|class| class.starts_with(start))
    })
}

/// One element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Namespace.
    pub ns: String,
    /// Local name.
    pub name: String,
    /// Attributes without a namespace.
    pub attributes: Vec<(String, String)>,
    /// Elements in it.
    pub children: Vec<Element>,
    /// Text in it, if it has no children.
    pub text: String,
}

impl Element {
    /// An empty element.
    pub fn new(ns: &str, name: &str) -> Self {
        Self { ns: ns.into(), name: name.into(), ..Self::default() }
    }

    /// An element with text.
    pub fn text(ns: &str, name: &str, text: impl ToString) -> Self {
        Self { text: text.to_string(), ..Self::new(ns, name) }
    }

    /// An instance of a class with these properties.
    pub fn instance(class: &str, properties: &[(&str, &str)]) -> Self {
        let mut instance = Self::new(&uri(class), class);
        for (name, value) in properties {
            instance = instance.with(Self::text(&uri(class), name, value));
        }
        instance
    }

    /// With one more child.
    #[must_use]
    pub fn with(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let document = roxmltree::Document::parse(text).map_err(|error| error.to_string())?;
        Ok(Self::copy(document.root_element()))
    }

    fn copy(node: roxmltree::Node<'_, '_>) -> Self {
        let name = node.tag_name();
        let attributes = node.attributes().filter(|attribute| attribute.namespace().is_none());
        let children: Vec<_> = node.children().filter(|n| n.is_element()).map(Self::copy).collect();
        let text: String =
            node.children().filter_map(|n| n.text().filter(|_| n.is_text())).collect();
        Self {
            ns: name.namespace().unwrap_or_default().into(),
            name: name.name().into(),
            attributes: attributes.map(|a| (a.name().into(), a.value().into())).collect(),
            text: if children.is_empty() { text } else { String::new() },
            children,
        }
    }

    /// Whether it has this name in this namespace.
    pub fn is(&self, ns: &str, name: &str) -> bool {
        self.ns == ns && self.name == name
    }

    /// The first child of this name in its own namespace.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.child(&self.ns, name)
    }

    /// The first child of this name.
    pub fn child(&self, ns: &str, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.is(ns, name))
    }

    /// The text of a property; empty if there is none.
    pub fn value(&self, name: &str) -> &str {
        self.get(name).map_or("", |child| child.text.trim())
    }

    /// The texts of a property that is an array.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let of = self.children.iter().filter(|child| child.name == name);
        of.map(|child| child.text.trim()).collect()
    }

    /// Gives a property another text; a new one comes last.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        match self.children.iter_mut().find(|child| child.name == name) {
            Some(child) => child.text = value.to_string(),
            None => self.children.push(Self::text(&self.ns.clone(), name, value)),
        }
    }

    /// Writes it; namespaces of `prefixes` are declared elsewhere.
    pub fn write(&self, prefixes: &[(&str, &str)], out: &mut String) {
        let prefix = prefixes.iter().find(|(_, ns)| *ns == self.ns).map(|(prefix, _)| *prefix);
        let (name, declared) = match prefix {
            Some(prefix) => (format!("{prefix}:{}", self.name), String::new()),
            None => (format!("x:{}", self.name), format!(" xmlns:x=\"{}\"", self.ns)),
        };
        let _ = write!(out, "<{name}{declared}");
        for (key, value) in &self.attributes {
            let _ = write!(out, " {key}=\"{}\"", escaped(value));
        }
        out.push('>');
        out.push_str(&escaped(&self.text));
        for child in &self.children {
            child.write(prefixes, out);
        }
        let _ = write!(out, "</{name}>");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A reference to an instance: its class and what selects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Class.
    pub class: String,
    /// Keys and their values.
    pub selectors: Vec<(String, String)>,
}

impl Reference {
    /// To the instance of `class` with one key.
    pub fn to(class: &str, key: &str, value: &str) -> Self {
        Self { class: class.into(), selectors: vec![(key.into(), value.into())] }
    }

    /// The same with all the keys that instances of a system have.
    pub fn of_system(class: &str, key: &str, value: &str) -> Self {
        let keys = [
            ("CreationClassName", class),
            (key, value),
            ("SystemCreationClassName", "CIM_ComputerSystem"),
            ("SystemName", "Intel(r) AMT"),
        ];
        let selectors = keys.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self { class: class.into(), selectors: selectors.to_vec() }
    }

    /// Reads what a property that is a reference has in it.
    pub fn read(element: &Element) -> Option<Self> {
        element.child(ADDRESSING, "Address")?;
        let parameters = element.child(ADDRESSING, "ReferenceParameters")?;
        let resource = parameters.child(WSMAN, "ResourceURI")?;
        let class = class_of(resource.text.trim())?.to_owned();
        Some(Self { class, selectors: selectors(parameters.child(WSMAN, "SelectorSet")?)? })
    }

    /// As a property.
    pub fn element(&self, ns: &str, name: &str) -> Element {
        let mut set = Element::new(WSMAN, "SelectorSet");
        for (key, value) in &self.selectors {
            let mut selector = Element::text(WSMAN, "Selector", value);
            selector.attributes.push(("Name".into(), key.clone()));
            set = set.with(selector);
        }
        let parameters = Element::new(ADDRESSING, "ReferenceParameters")
            .with(Element::text(WSMAN, "ResourceURI", uri(&self.class)))
            .with(set);
        let anonymous = format!("{ADDRESSING}/role/anonymous");
        Element::new(ns, name)
            .with(Element::text(ADDRESSING, "Address", anonymous))
            .with(parameters)
    }

    /// The value of one key.
    pub fn key(&self, name: &str) -> Option<&str> {
        self.selectors.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }
}

/// Keys and values of a `SelectorSet`. A value that is a reference itself is its class.
pub fn selectors(set: &Element) -> Option<Vec<(String, String)>> {
    let selectors = set.children.iter().map(|selector| {
        let (_, name) = selector.attributes.iter().find(|(name, _)| name == "Name")?;
        selector.is(WSMAN, "Selector").then(|| (name.clone(), selector.text.trim().to_owned()))
    });
    selectors.collect()
}
