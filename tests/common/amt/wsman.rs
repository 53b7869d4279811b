//! WS-Management as firmware speaks it: a request in, an answer or a fault out.
//!
//! It is strict where firmware is said to be: the order of header fields, the order of parameters,
//! the shape of what is put.

use super::classes;
use super::firmware::{Firmware, Seen};
use super::methods;
use super::xml::{ADDRESSING, ENUMERATION, Element, SOAP, TRANSFER, WSMAN, class_of, selectors};

/// Header fields in the order in which they come; the last one may be missing.
const HEADER: [(&str, &str); 7] = [
    (ADDRESSING, "Action"),
    (ADDRESSING, "To"),
    (WSMAN, "ResourceURI"),
    (ADDRESSING, "MessageID"),
    (ADDRESSING, "ReplyTo"),
    (WSMAN, "OperationTimeout"),
    (WSMAN, "SelectorSet"),
];

/// A refusal in SOAP.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Local name of the subcode, and its prefix in answers.
    code: (&'static str, &'static str),
    text: String,
}

impl Fault {
    /// The class is not on this firmware.
    fn unknown_class() -> Self {
        let text = "No route can be determined to reach the destination role defined by the \
                    WSAddressing To.";
        Self { code: ("b", "DestinationUnreachable"), text: text.into() }
    }

    /// The body has the wrong shape.
    pub fn schema(text: impl Into<String>) -> Self {
        Self { code: ("c", "SchemaValidationError"), text: text.into() }
    }

    fn selectors(text: impl Into<String>) -> Self {
        Self { code: ("c", "InvalidSelectors"), text: text.into() }
    }

    fn context() -> Self {
        Self { code: ("n", "InvalidEnumerationContext"), text: "It is over.".into() }
    }

    /// The user may not, or the control mode does not allow it.
    pub fn denied(text: impl Into<String>) -> Self {
        Self { code: ("c", "AccessDenied"), text: text.into() }
    }
}

/// A request, taken apart.
struct Request {
    action: String,
    class: String,
    message: String,
    selectors: Vec<(String, String)>,
    body: Option<Element>,
}

/// HTTP status and body of the answer to `body`.
pub fn answer(firmware: &mut Firmware, _user: &str, body: &[u8]) -> (u16, String) {
    let text = String::from_utf8_lossy(body);
    let request = match read(&text) {
        Ok(request) => request,
        Err(fault) => {
            firmware.saw(Seen::Fault("?".into(), fault.text.clone()));
            return (400, envelope("", "", ("0", ""), "", &fault_body(&fault)));
        }
    };
    let name = operation(&request);
    let number = firmware.number();
    match perform(firmware, &request) {
        Ok(answer) => {
            let returned = answer.as_ref().map_or("", |answer| answer.value("ReturnValue"));
            firmware.saw(match returned.parse() {
                Ok(value @ 1..) => Seen::Returned(name, value),
                _ => Seen::Done(name),
            });
            let action = format!("{}Response", request.action);
            (200, envelope_of(&request, number, &action, answer))
        }
        Err(fault) => {
            firmware.saw(Seen::Fault(name, format!("{}: {}", fault.code.1, fault.text)));
            let action = format!("{ADDRESSING}/fault");
            (400, envelope(&request.message, &action, ("0", ""), "", &fault_body(&fault)))
        }
    }
}

/// `AMT_GeneralSettings.Get`.
fn operation(request: &Request) -> String {
    let last = request.action.rsplit('/').next().unwrap_or_default();
    format!("{}.{last}", request.class)
}

fn read(text: &str) -> Result<Request, Fault> {
    let envelope = Element::parse(text).map_err(Fault::schema)?;
    if !envelope.is(SOAP, "Envelope") || envelope.children.len() != 2 {
        return Err(Fault::schema("not an envelope with header and body"));
    }
    let header = envelope.child(SOAP, "Header").ok_or_else(|| Fault::schema("no header"))?;
    let body = envelope.child(SOAP, "Body").ok_or_else(|| Fault::schema("no body"))?;
    let names: Vec<_> = header.children.iter().map(|f| (&*f.ns, &*f.name)).collect();
    let with_selectors = names.len() == HEADER.len();
    if names != HEADER[..if with_selectors { HEADER.len() } else { HEADER.len() - 1 }] {
        return Err(Fault::schema(format!("header fields {names:?}")));
    }
    let field = |at: usize| header.children[at].text.trim().to_owned();
    if field(1) != "/wsman" {
        return Err(Fault::schema("To is not /wsman"));
    }
    let chosen = header.children.get(6).map(selectors);
    let chosen = chosen.map(|set| set.ok_or_else(|| Fault::selectors("not selectors")));
    if body.children.len() > 1 {
        return Err(Fault::schema("more than one element in the body"));
    }
    Ok(Request {
        action: field(0),
        class: class_of(&field(2)).ok_or_else(Fault::unknown_class)?.to_owned(),
        message: field(3),
        selectors: chosen.transpose()?.unwrap_or_default(),
        body: body.children.first().cloned(),
    })
}

fn perform(firmware: &mut Firmware, request: &Request) -> Result<Option<Element>, Fault> {
    if !classes::exists(&firmware.instances, &request.class) {
        return Err(Fault::unknown_class());
    }
    let action = request.action.as_str();
    if let Some(operation) = action.strip_prefix(TRANSFER).and_then(|o| o.strip_prefix('/')) {
        return match operation {
            "Get" => get(firmware, request).map(Some),
            "Put" => put(firmware, request).map(Some),
            "Create" => create(firmware, request).map(Some),
            "Delete" => delete(firmware, request).map(|()| None),
            _ => Err(Fault::schema("no such operation")),
        };
    }
    match action.strip_prefix(ENUMERATION) {
        Some("/Enumerate") => enumerate(firmware, request).map(Some),
        Some("/Pull") => pull(firmware, request).map(Some),
        Some(_) => Err(Fault::schema("no such operation")),
        None => {
            let method = class_method(request).ok_or_else(|| Fault::schema("no such action"))?;
            let body = request.body.as_ref().ok_or_else(|| Fault::schema("no input"))?;
            methods::invoke(firmware, &request.class, method, body).map(Some)
        }
    }
}

fn class_method(request: &Request) -> Option<&str> {
    let method = request.action.strip_prefix(&super::xml::uri(&request.class))?;
    method.strip_prefix('/')
}

/// Place of the instance a request is about.
fn chosen(firmware: &Firmware, request: &Request) -> Result<usize, Fault> {
    let matches = |instance: &Element| {
        instance.name == request.class
            && request.selectors.iter().all(|(key, value)| {
                // Keys every instance has are not all recorded.
                instance.get(key).is_none_or(|p| !p.children.is_empty() || p.text == *value)
            })
    };
    let mut found = firmware.instances.iter().enumerate().filter(|(_, i)| matches(i));
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at),
        (None, _) => Err(Fault::selectors("there is no such instance")),
        (Some(_), Some(_)) => Err(Fault::selectors("more than one instance")),
    }
}

fn get(firmware: &mut Firmware, request: &Request) -> Result<Element, Fault> {
    if request.body.is_some() {
        return Err(Fault::schema("Get has no body"));
    }
    methods::refresh(firmware);
    let at = chosen(firmware, request)?;
    Ok(firmware.instances[at].clone())
}

fn put(firmware: &mut Firmware, request: &Request) -> Result<Element, Fault> {
    let at = chosen(firmware, request)?;
    let body = request.body.as_ref().ok_or_else(|| Fault::schema("nothing to put"))?;
    let old = &firmware.instances[at];
    let class = &*request.class;
    if !body.is(&old.ns, &old.name) {
        return Err(Fault::schema("the element is not named like the class"));
    }
    let mut names: Vec<&str> = Vec::new();
    for property in &body.children {
        if property.ns != old.ns {
            return Err(Fault::schema(format!("{} has another namespace", property.name)));
        }
        if classes::is_read_only(class, &property.name) {
            return Err(Fault::schema(format!("{} is read-only", property.name)));
        }
        if old.get(&property.name).is_none() && !classes::is_optional(class, &property.name) {
            return Err(Fault::schema(format!("there is no {}", property.name)));
        }
        if names.last() != Some(&&*property.name) {
            if names.contains(&&*property.name) {
                return Err(Fault::schema(format!("{} comes in two places", property.name)));
            }
            names.push(&property.name);
        }
    }
    for property in &old.children {
        let may_miss = classes::is_read_only(class, &property.name)
            || classes::is_optional(class, &property.name)
            || property.text.is_empty() && property.children.is_empty();
        if !may_miss && !names.contains(&&*property.name) {
            return Err(Fault::schema(format!("{} is missing", property.name)));
        }
    }
    let key = classes::key(class);
    if old.value(key) != body.value(key) {
        return Err(Fault::schema(format!("{key} cannot be changed")));
    }
    methods::may_put(firmware, class, body)?;
    let old = &mut firmware.instances[at];
    let kept = old.children.iter().filter(|p| !names.contains(&&*p.name));
    let kept = kept.filter(|p| !classes::is_optional(class, &p.name)).cloned();
    let mut children: Vec<_> = body.children.iter().cloned().chain(kept).collect();
    children.sort_by(|a, b| a.name.cmp(&b.name));
    old.children = children;
    Ok(old.clone())
}

fn create(firmware: &mut Firmware, request: &Request) -> Result<Element, Fault> {
    let body = request.body.as_ref().ok_or_else(|| Fault::schema("nothing to create"))?;
    if !body.is(&super::xml::uri(&request.class), &request.class) {
        return Err(Fault::schema("the element is not named like the class"));
    }
    methods::may_create(firmware, &request.class, body)?;
    firmware.instances.push(body.clone());
    let key = classes::key(&request.class);
    let reference = super::xml::Reference::to(&request.class, key, body.value(key));
    Ok(reference.element(TRANSFER, "ResourceCreated"))
}

fn delete(firmware: &mut Firmware, request: &Request) -> Result<(), Fault> {
    if request.selectors.is_empty() {
        return Err(Fault::selectors("Delete needs selectors"));
    }
    let at = chosen(firmware, request)?;
    methods::may_delete(firmware, at)?;
    let gone = firmware.instances.remove(at);
    methods::deleted(firmware, &gone);
    Ok(())
}

/// Starts the one enumeration there can be.
fn enumerate(firmware: &mut Firmware, request: &Request) -> Result<Element, Fault> {
    let body = request.body.as_ref().filter(|body| body.is(ENUMERATION, "Enumerate"));
    body.filter(|b| b.children.is_empty()).ok_or_else(|| Fault::schema("not Enumerate"))?;
    methods::refresh(firmware);
    let members = classes::members(&request.class);
    let is_item = |name: &str| {
        if members.is_empty() { name == request.class } else { members.contains(&name) }
    };
    let items = firmware.instances.iter().filter(|i| is_item(&i.name)).cloned().collect();
    let context = format!("{:08X}-0000-0000-0000-000000000000", firmware.number());
    firmware.enumeration = Some((context.clone(), items));
    Ok(Element::new(ENUMERATION, "EnumerateResponse").with(Element::text(
        ENUMERATION,
        "EnumerationContext",
        context,
    )))
}

fn pull(firmware: &mut Firmware, request: &Request) -> Result<Element, Fault> {
    let body = request.body.as_ref().filter(|body| body.is(ENUMERATION, "Pull"));
    let body = body.ok_or_else(|| Fault::schema("not Pull"))?;
    let names: Vec<_> = body.children.iter().map(|child| &*child.name).collect();
    if names != ["EnumerationContext", "MaxElements", "MaxCharacters"] {
        return Err(Fault::schema(format!("Pull with {names:?}")));
    }
    let (context, mut items) = firmware.enumeration.take().ok_or_else(Fault::context)?;
    if body.value("EnumerationContext") != context {
        return Err(Fault::context());
    }
    // This class comes in pieces.
    let piece = if request.class == "CIM_PhysicalPackage" { 1 } else { items.len() };
    let rest = items.split_off(piece.min(items.len()));
    let mut list = Element::new(ENUMERATION, "Items");
    list.children.extend(items);
    let answer = Element::new(ENUMERATION, "PullResponse");
    if rest.is_empty() {
        return Ok(answer.with(list).with(Element::new(ENUMERATION, "EndOfSequence")));
    }
    firmware.enumeration = Some((context.clone(), rest));
    let context = Element::text(ENUMERATION, "EnumerationContext", context);
    Ok(answer.with(context).with(list))
}

fn envelope_of(request: &Request, number: u64, action: &str, body: Option<Element>) -> String {
    let message = format!("uuid:00000000-8086-8086-8086-{number:012X}");
    let resource = super::xml::uri(&request.class);
    let (mut declared, mut text) = (String::new(), String::new());
    if let Some(body) = body {
        let mut prefixes = vec![("a", SOAP), ("b", ADDRESSING), ("c", WSMAN), ("g", &*body.ns)];
        // Items are of a class, and dates of neither.
        let others = body.children.iter().flat_map(|child| &child.children).map(|other| &*other.ns);
        if let Some(other) = others.into_iter().find(|ns| prefixes.iter().all(|p| p.1 != *ns)) {
            prefixes.push(("h", other));
        }
        body.write(&prefixes, &mut text);
        for (prefix, ns) in &prefixes[3..] {
            declared.push_str(&format!(" xmlns:{prefix}=\"{ns}\""));
        }
    }
    envelope(&request.message, action, (&message, &resource), &declared, &text)
}

/// An envelope as firmware writes it, with white space before the action now and then.
fn envelope(
    relates: &str,
    action: &str,
    (message, resource): (&str, &str),
    declared: &str,
    body: &str,
) -> String {
    let space = if action.ends_with("EnumerateResponse") { " " } else { "" };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><a:Envelope xmlns:a=\"{SOAP}\" \
         xmlns:b=\"{ADDRESSING}\" xmlns:c=\"{WSMAN}\" xmlns:n=\"{ENUMERATION}\"{declared} \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><a:Header>\
         <b:To>{ADDRESSING}/role/anonymous</b:To><b:RelatesTo>{relates}</b:RelatesTo>\
         <b:Action a:mustUnderstand=\"true\">{space}{action}</b:Action>\
         <b:MessageID>{message}</b:MessageID><c:ResourceURI>{resource}</c:ResourceURI></a:Header>\
         <a:Body>{body}</a:Body></a:Envelope>"
    )
}

fn fault_body(fault: &Fault) -> String {
    let (prefix, code) = fault.code;
    let text = fault.text.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<a:Fault><a:Code><a:Value>a:Sender</a:Value><a:Subcode><a:Value>{prefix}:{code}</a:Value>\
         </a:Subcode></a:Code><a:Reason><a:Text xml:lang=\"en-US\">{text}</a:Text></a:Reason>\
         <a:Detail></a:Detail></a:Fault>"
    )
}
