//! Requests: a class of the firmware, and what is to be done with it.

use std::fmt::Write as _;
use std::rc::Rc;

use super::xml::{Element, escape};

/// SOAP 1.2.
pub const ENVELOPE: &str = "http://www.w3.org/2003/05/soap-envelope";
/// WS-Addressing.
pub const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
/// WS-Management.
pub const WSMAN: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
/// WS-Enumeration.
pub const ENUMERATION: &str = "http://schemas.xmlsoap.org/ws/2004/09/enumeration";
/// Dates and intervals.
pub const COMMON: &str = "http://schemas.dmtf.org/wbem/wscim/1/common";
const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
const ANONYMOUS: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";

/// The resource URI of a class; its first letters say whose it is.
pub fn resource(class: &str) -> Rc<str> {
    let schema = match class.get(..4) {
        Some("AMT_") => "http://intel.com/wbem/wscim/1/amt-schema/1/",
        Some("IPS_") => "http://intel.com/wbem/wscim/1/ips-schema/1/",
        _ => "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/",
    };
    format!("{schema}{class}").into()
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// Read the one instance, or the one that is selected.
    Get,
    /// Write all properties back: an element named like the class.
    Put(Element),
    /// Make an instance.
    Create(Element),
    /// Remove the one that is selected.
    Delete,
    /// Begin to list all instances.
    Enumerate,
    /// Go on listing from this context.
    Pull(Rc<str>),
    /// Call a method with parameters in the order of the schema.
    Invoke(&'static str, Vec<Element>),
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The class, `AMT_GeneralSettings`.
    pub class: &'static str,
    /// Which instance, by these properties.
    pub selectors: Vec<(&'static str, String)>,
    /// What.
    pub verb: Verb,
}

impl Operation {
    /// A request about the only instance.
    pub fn new(class: &'static str, verb: Verb) -> Self {
        Self { class, selectors: Vec::new(), verb }
    }

    /// A call of a method.
    pub fn invoke(class: &'static str, method: &'static str) -> Self {
        Self::new(class, Verb::Invoke(method, Vec::new()))
    }

    /// The same about the instance with this property.
    #[must_use]
    pub fn of(mut self, name: &'static str, value: &str) -> Self {
        self.selectors.push((name, value.to_owned()));
        self
    }

    /// The same with one more parameter of the method.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        let text = Element::text(name, &resource(self.class), &value.to_string());
        if let Verb::Invoke(_, parameters) = &mut self.verb {
            parameters.push(text);
        }
        self
    }

    /// The same with a parameter that names an instance of a class.
    #[must_use]
    pub fn with_reference(mut self, name: &str, class: &str, selectors: &[(&str, &str)]) -> Self {
        let reference = reference(name, &resource(self.class), class, selectors);
        if let Verb::Invoke(_, parameters) = &mut self.verb {
            parameters.push(reference);
        }
        self
    }

    /// The same with any element as parameter.
    #[must_use]
    pub fn with_element(mut self, element: Element) -> Self {
        if let Verb::Invoke(_, parameters) = &mut self.verb {
            parameters.push(element);
        }
        self
    }

    /// The whole document; `id` tells answers apart.
    pub fn envelope(&self, id: u32) -> String {
        let Self { class, selectors, verb } = self;
        let resource = resource(class);
        let action = match verb {
            Verb::Get => format!("{TRANSFER}/Get"),
            Verb::Put(_) => format!("{TRANSFER}/Put"),
            Verb::Create(_) => format!("{TRANSFER}/Create"),
            Verb::Delete => format!("{TRANSFER}/Delete"),
            Verb::Enumerate => format!("{ENUMERATION}/Enumerate"),
            Verb::Pull(_) => format!("{ENUMERATION}/Pull"),
            Verb::Invoke(method, _) => format!("{resource}/{method}"),
        };
        let mut out = String::with_capacity(1024);
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
             <Envelope xmlns=\"{ENVELOPE}\" xmlns:a=\"{ADDRESSING}\" xmlns:w=\"{WSMAN}\">\
             <Header><a:Action>{action}</a:Action><a:To>/wsman</a:To>\
             <w:ResourceURI>{resource}</w:ResourceURI><a:MessageID>{id}</a:MessageID>\
             <a:ReplyTo><a:Address>{ANONYMOUS}</a:Address></a:ReplyTo>\
             <w:OperationTimeout>PT60S</w:OperationTimeout>"
        );
        if !selectors.is_empty() {
            out.push_str("<w:SelectorSet>");
            for (name, value) in selectors {
                let _ = write!(out, "<w:Selector Name=\"{name}\">");
                escape(&mut out, value);
                out.push_str("</w:Selector>");
            }
            out.push_str("</w:SelectorSet>");
        }
        out.push_str("</Header><Body>");
        if let Some(body) = self.body(&resource) {
            body.write(&mut out, ENVELOPE);
        }
        out.push_str("</Body></Envelope>");
        out
    }

    fn body(&self, resource: &Rc<str>) -> Option<Element> {
        let enumeration: Rc<str> = ENUMERATION.into();
        match &self.verb {
            Verb::Get | Verb::Delete => None,
            Verb::Put(instance) | Verb::Create(instance) => Some(instance.clone()),
            Verb::Enumerate => Some(Element::new("Enumerate", &enumeration)),
            Verb::Pull(context) => {
                let text = |name, text| Element::text(name, &enumeration, text);
                let pull = Element::new("Pull", &enumeration)
                    .with(text("EnumerationContext", context))
                    .with(text("MaxElements", "999"))
                    .with(text("MaxCharacters", "99999"));
                Some(pull)
            }
            Verb::Invoke(method, parameters) => {
                let mut input = Element::new(&format!("{method}_INPUT"), resource);
                input.children.clone_from(parameters);
                Some(input)
            }
        }
    }
}

/// A property or parameter that names an instance of `class`.
pub fn reference(name: &str, space: &Rc<str>, class: &str, selectors: &[(&str, &str)]) -> Element {
    let (addressing, wsman): (Rc<str>, Rc<str>) = (ADDRESSING.into(), WSMAN.into());
    let mut set = Element::new("SelectorSet", &wsman);
    for (key, value) in selectors {
        let selector = Element::text("Selector", &wsman, value);
        set.children.push(Element { key: Some((*key).into()), ..selector });
    }
    let parameters = Element::new("ReferenceParameters", &addressing)
        .with(Element::text("ResourceURI", &wsman, &resource(class)))
        .with(set);
    Element::new(name, space)
        .with(Element::text("Address", &addressing, ANONYMOUS))
        .with(parameters)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What a request says, without what differs for no reason: prefixes, the form of addresses,
    /// the order of attributes.
    fn said(envelope: &str) -> (Vec<(String, String)>, Option<Element>) {
        let envelope = Element::parse(envelope).unwrap();
        let header = envelope.child("Header").unwrap();
        let text = |name: &str| (name.to_owned(), header.find(name).unwrap().text.to_string());
        let mut header_said: Vec<_> = ["Action", "To", "ResourceURI", "MessageID"].map(text).into();
        for selector in header.find("SelectorSet").map(|s| &*s.children).unwrap_or_default() {
            let key = selector.key.as_deref().unwrap_or_default();
            header_said.push((key.to_owned(), selector.text.to_string()));
        }
        let mut body = envelope.child("Body").unwrap().children.first().cloned();
        if let Some(body) = &mut body {
            same_addresses(body);
        }
        (header_said, body)
    }

    fn same_addresses(element: &mut Element) {
        if &*element.name == "Address" {
            element.text = "".into();
        }
        element.children.iter_mut().for_each(same_addresses);
    }

    /// The same operation built here, from what was captured.
    fn rebuilt(captured: &Value) -> (u32, Operation) {
        let envelope = Element::parse(captured["request_xml"].as_str().unwrap()).unwrap();
        let header = envelope.child("Header").unwrap();
        let text = |name: &str| header.find(name).unwrap().text.to_string();
        let class: &'static str = text("ResourceURI").rsplit('/').next().unwrap().to_owned().leak();
        let action = text("Action");
        let body = envelope.child("Body").unwrap().children.first().cloned();
        let verb = match action.rsplit('/').next().unwrap() {
            "Get" => Verb::Get,
            "Put" => Verb::Put(body.unwrap()),
            "Create" => Verb::Create(body.unwrap()),
            "Delete" => Verb::Delete,
            "Enumerate" => Verb::Enumerate,
            "Pull" => Verb::Pull(body.unwrap().children[0].text.to_string().into()),
            method => Verb::Invoke(method.to_owned().leak(), body.unwrap().children),
        };
        let mut operation = Operation::new(class, verb);
        for selector in header.find("SelectorSet").map(|s| &*s.children).unwrap_or_default() {
            let key: &'static str = selector.key.clone().unwrap().into_string().leak();
            operation = operation.of(key, &selector.text);
        }
        (text("MessageID").parse().unwrap(), operation)
    }

    #[test]
    fn requests_say_what_the_stock_server_was_seen_to_say() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../tests/vectors/wsman-exchanges.json"))
                .unwrap();
        let exchanges = vectors["exchanges"].as_array().unwrap();
        assert_eq!(exchanges.len(), 25);
        for captured in exchanges {
            let (id, operation) = rebuilt(captured);
            let own = operation.envelope(id);
            assert_eq!(said(&own), said(captured["request_xml"].as_str().unwrap()));
        }
    }

    #[test]
    fn parameters_and_references_are_built_as_they_were_captured() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../tests/vectors/wsman-exchanges.json"))
                .unwrap();
        let power = Operation::invoke("CIM_PowerManagementService", "RequestPowerStateChange")
            .with("PowerState", 10)
            .with_reference(
                "ManagedElement",
                "CIM_ComputerSystem",
                &[("CreationClassName", "CIM_ComputerSystem"), ("Name", "ManagedSystem")],
            );
        let no_order = Operation::invoke("CIM_BootConfigSetting", "ChangeBootOrder");
        let pxe = no_order.clone().with_reference(
            "Source",
            "CIM_BootSourceSetting",
            &[("InstanceID", "Intel(r) AMT: Force PXE Boot")],
        );
        let computer = [("CreationClassName", "CIM_ComputerSystem"), ("Name", "ManagedSystem")];
        let awake =
            Operation::invoke("IPS_PowerManagementService", "RequestOSPowerSavingStateChange")
                .with("OSPowerSavingState", 2)
                .with_reference("ManagedElement", "CIM_ComputerSystem", &computer);
        let configuration = [("InstanceID", "Intel(r) AMT: Boot Configuration 0")];
        let role = Operation::invoke("CIM_BootService", "SetBootConfigRole")
            .with_reference("BootConfigSetting", "CIM_BootConfigSetting", &configuration)
            .with("Role", 1);
        let state = |class, state: u32| {
            Operation::invoke(class, "RequestStateChange").with("RequestedState", state)
        };
        let consent = |method| Operation::invoke("IPS_OptInService", method);
        let policy = Operation::new("AMT_RemoteAccessPolicyRule", Verb::Delete);
        for (step, own) in [
            ("os-power-2", awake),
            ("setbootconfigrole", role),
            ("redirection-statechange", state("AMT_RedirectionService", 32771)),
            ("kvm-statechange", state("CIM_KVMRedirectionSAP", 2)),
            ("optin-start", consent("StartOptIn")),
            ("optin-send", consent("SendOptInCode").with("OptInCode", 123_456)),
            ("delete-policy", policy.of("PolicyRuleName", "User Initiated")),
            ("power-reset-10", power),
            ("changebootorder-null", no_order),
            ("changebootorder-pxe", pxe),
        ] {
            let exchanges = vectors["exchanges"].as_array().unwrap();
            let captured = exchanges.iter().find(|one| one["step"] == step).unwrap();
            let (id, _) = rebuilt(captured);
            assert_eq!(said(&own.envelope(id)), said(captured["request_xml"].as_str().unwrap()));
        }
    }

    #[test]
    fn texts_of_people_stay_texts() {
        let name = "a<b>&\"c\"\u{0}";
        let own = Operation::new("AMT_X", Verb::Delete).of("Name", name).envelope(1);
        let read = Element::parse(&own).unwrap();
        assert_eq!(&*read.find("Selector").unwrap().text, "a<b>&\"c\"");
    }
}
