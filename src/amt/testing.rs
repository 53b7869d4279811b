//! A firmware for the tests of this room: it checks proofs, keeps instances of classes, and writes
//! down what was asked. It is reached like one that has called in.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::io::{AsyncRead, AsyncWrite};
use serde_json::Value;

use super::digest::{Credentials, Qop, Request, password_hash, response};
use super::wsman::soap::{ADDRESSING, COMMON, ENUMERATION, ENVELOPE, WSMAN};
use super::wsman::{Element, resource};
use crate::hub::{AmtTunnel, ByteStream, Carrier, Hub, Opening, TunnelKind};
use crate::model::{AmtAccess, Millis, NodeId};

/// The one that is recorded.
pub(crate) const REALM: &str = "Digest:A4070000000000000000000000000001";
pub(crate) const PASSWORD: &str = "P@ssw0rd";

/// What a method puts out, as XML; `g:` is the class.
pub(crate) type Method = Box<dyn Fn(&Firmware, &Element) -> String>;

/// See the module.
pub(crate) struct Firmware {
    pub(crate) password: RefCell<String>,
    nonce: Cell<u32>,
    /// Requests with the nonce that are answered before it is too old.
    pub(crate) uses: Cell<u32>,
    left: Cell<u32>,
    /// `Class.Verb` of every request that was performed.
    pub(crate) said: RefCell<Vec<String>>,
    /// The bodies of the same.
    pub(crate) bodies: RefCell<Vec<Element>>,
    /// Instances as XML, by class.
    pub(crate) instances: RefCell<BTreeMap<String, Vec<String>>>,
    methods: RefCell<BTreeMap<String, Method>>,
    /// Proofs that were wrong.
    pub(crate) failures: Cell<u32>,
    pub(crate) connections: Cell<u32>,
    /// It takes connections and says nothing.
    pub(crate) wedged: Cell<bool>,
    /// It does the next thing it is told, and hangs up without an answer.
    pub(crate) mute: Cell<bool>,
    /// What port 16993 is served with.
    pub(crate) secure: RefCell<Option<Arc<rustls::ServerConfig>>>,
}

fn recorded() -> Value {
    serde_json::from_str(include_str!("../../tests/vectors/wsman-firmware-bodies.json")).unwrap()
}

impl Firmware {
    /// With everything that was recorded of real firmware.
    pub(crate) fn new() -> Rc<Self> {
        let mut instances = BTreeMap::<String, Vec<String>>::new();
        for answer in recorded()["responses"].as_object().unwrap().values() {
            let (class, body) =
                (answer["class"].as_str().unwrap(), answer["body"].as_str().unwrap());
            match answer["action"].as_str().unwrap() {
                "GetResponse" => {
                    instances.entry(class.into()).or_insert_with(|| vec![body.into()]);
                }
                "PullResponse" => {
                    let items = body
                        .split_once("<g:Items>")
                        .and_then(|(_, rest)| rest.split_once("</g:Items>"));
                    let (items, _) = items.unwrap();
                    let end = format!("</h:{class}>");
                    let each = items.split_inclusive(&end).map(|item| item.replace("h:", "g:"));
                    instances.insert(class.into(), each.collect());
                }
                _ => {}
            }
        }
        let power = instances.remove("CIM_AssociatedPowerManagementService").unwrap();
        instances.insert("CIM_ServiceAvailableToElement".into(), power);
        Rc::new(Self {
            password: RefCell::new(PASSWORD.into()),
            nonce: Cell::new(1),
            uses: Cell::new(u32::MAX),
            left: Cell::new(u32::MAX),
            said: RefCell::default(),
            bodies: RefCell::default(),
            instances: RefCell::new(instances),
            methods: RefCell::default(),
            failures: Cell::new(0),
            connections: Cell::new(0),
            wedged: Cell::new(false),
            mute: Cell::new(false),
            secure: RefCell::default(),
        })
    }

    /// Answers a method with what `answer` puts out.
    pub(crate) fn on(&self, name: &str, answer: impl Fn(&Firmware, &Element) -> String + 'static) {
        self.methods.borrow_mut().insert(name.into(), Box::new(answer));
    }

    /// Changes a property in every instance of a class.
    pub(crate) fn change(&self, class: &str, property: &str, value: &str) {
        let mut instances = self.instances.borrow_mut();
        for instance in instances.get_mut(class).unwrap() {
            let (open, close) = (format!("<g:{property}>"), format!("</g:{property}>"));
            let (before, rest) = instance.split_once(&open).unwrap();
            let (_, after) = rest.split_once(&close).unwrap();
            *instance = format!("{before}{open}{value}{close}{after}");
        }
    }

    /// A property of the first instance of a class.
    pub(crate) fn property(&self, class: &str, property: &str) -> String {
        let instances = self.instances.borrow();
        let instance = &instances[class][0];
        let (_, rest) = instance.split_once(&format!("<g:{property}>")).unwrap();
        rest.split_once('<').unwrap().0.to_owned()
    }

    /// Takes what was said so far.
    pub(crate) fn take_said(&self) -> Vec<String> {
        self.bodies.borrow_mut().clear();
        std::mem::take(&mut *self.said.borrow_mut())
    }

    /// Registers it as a device that has called in, with its login.
    pub(crate) fn call_in(self: &Rc<Self>, hub: &Hub, node: &NodeId) -> Rc<AmtTunnel> {
        self.call_in_by(hub, node, TunnelKind::Cira)
    }

    /// The same through a tunnel of this kind.
    pub(crate) fn call_in_by(
        self: &Rc<Self>,
        hub: &Hub,
        node: &NodeId,
        kind: TunnelKind,
    ) -> Rc<AmtTunnel> {
        hub.store.put(AmtAccess::new(node.clone(), "admin", PASSWORD, false)).later();
        let carrier = Rc::new(Line(self.clone()));
        let remote = "10.0.0.17:4000".parse().unwrap();
        let tunnel = AmtTunnel::new(node.clone(), kind, Millis(1), remote, carrier);
        let tunnel = Rc::new(tunnel);
        hub.amt_tunnel_connected(tunnel.clone());
        tunnel
    }

    fn answer(&self, head: &str, body: &str) -> String {
        let header = head.lines().find_map(|line| line.strip_prefix("Authorization: Digest "));
        let proven = header.is_some_and(|header| self.is_proof(header, body));
        if header.is_some() && !proven && self.left.get() > 0 {
            self.failures.set(self.failures.get() + 1);
        }
        if !proven || self.left.get() == 0 {
            self.nonce.set(self.nonce.get() + 1);
            self.left.set(self.uses.get());
            return format!(
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"{REALM}\", \
                 nonce=\"{}\",stale=\"false\",qop=\"auth\"\r\nConnection: close\r\n\
                 Content-Length: 0\r\n\r\n",
                self.nonce()
            );
        }
        self.left.set(self.left.get() - 1);
        let (status, content) = self.perform(&Element::parse(body).unwrap());
        format!(
            "HTTP/1.1 {status}\r\nServer: Intel(R) Active Management Technology 16.1.25.1865\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:04X}\r\n{content}\r\n0\r\n\r\n",
            content.len()
        )
    }

    fn nonce(&self) -> String {
        format!("{:032}", self.nonce.get())
    }

    fn is_proof(&self, header: &str, body: &str) -> bool {
        let part = |name: &str| {
            let (_, rest) = header.split_once(&format!("{name}="))?;
            Some(rest.split(',').next()?.trim_matches('"').to_owned())
        };
        let password = self.password.borrow().clone();
        let credentials = Credentials { user: part("username").unwrap(), password };
        let hash = password_hash(&credentials, REALM);
        let request = Request { method: "POST", uri: "/wsman", body: body.as_bytes() };
        let parts = (part("nonce").unwrap(), part("nc").unwrap(), part("cnonce").unwrap());
        let parts = (&*parts.0, &*parts.1, &*parts.2, Qop::Auth);
        parts.0 == self.nonce() && part("response") == Some(response(&hash, request, parts))
    }

    fn perform(&self, envelope: &Element) -> (&'static str, String) {
        let header = envelope.child("Header").unwrap();
        let uri = &header.child("ResourceURI").unwrap().text;
        let class = uri.rsplit('/').next().unwrap().to_owned();
        let action = header.child("Action").unwrap().text.clone();
        let verb = action.rsplit('/').next().unwrap().to_owned();
        let body = envelope.child("Body").unwrap().children.first().cloned();
        let selectors = header.child("SelectorSet").map(|s| s.children.clone()).unwrap_or_default();
        let name = format!("{class}.{verb}");
        self.said.borrow_mut().push(name.clone());
        let body = body.unwrap_or_else(|| Element::new("", &"".into()));
        self.bodies.borrow_mut().push(body.clone());
        let wrap = |space: &str, content: &str| {
            let class = resource(&class);
            format!(
                "<a:Envelope xmlns:a=\"{ENVELOPE}\" xmlns:b=\"{ADDRESSING}\" xmlns:c=\"{WSMAN}\" \
                 xmlns:e=\"{space}\" xmlns:g=\"{class}\" xmlns:h=\"{COMMON}\"><a:Body>{content}\
                 </a:Body></a:Envelope>"
            )
        };
        let fault = |code: &str| {
            let content = format!(
                "<a:Fault><a:Code><a:Value>a:Sender</a:Value><a:Subcode><a:Value>b:{code}\
                 </a:Value></a:Subcode></a:Code><a:Reason><a:Text>no</a:Text></a:Reason></a:Fault>"
            );
            ("400 Bad Request", wrap("", &content))
        };
        let picked = |instance: &str| {
            selectors.iter().all(|s| {
                let (key, text) = (s.key.as_deref().unwrap(), &s.text);
                instance.contains(&format!("<g:{key}>{text}</g:{key}>"))
            })
        };
        let methods = self.methods.borrow();
        if let Some(method) = methods.get(&name) {
            let content = method(self, &body);
            if let Some(code) = content.strip_prefix("fault ") {
                return fault(code);
            }
            return ("200 OK", wrap("", &content));
        }
        let known = self.instances.borrow().contains_key(&class);
        let content = match &*verb {
            "Get" if known => self.instances.borrow()[&class].first().cloned().unwrap_or_default(),
            "Enumerate" if known => {
                wrap_list("EnumerateResponse", "<e:EnumerationContext>7</e:EnumerationContext>")
            }
            "Pull" if known => {
                let items = self.instances.borrow()[&class].concat();
                wrap_list("PullResponse", &format!("<e:Items>{items}</e:Items><e:EndOfSequence/>"))
            }
            "Put" if known => {
                let mut text = String::new();
                let mut plain = body.clone();
                plain.space = "".into();
                plain.children.iter_mut().for_each(|child| child.space = "".into());
                plain.write(&mut text, "");
                let text = text.replace("</", "\u{1}").replace('<', "<g:").replace('\u{1}', "</g:");
                let mut instances = self.instances.borrow_mut();
                let all = instances.get_mut(&class).unwrap();
                match all.iter_mut().find(|instance| picked(instance)) {
                    Some(instance) => instance.clone_from(&text),
                    None => return fault("InvalidSelectors"),
                }
                text
            }
            "Delete" if known => {
                self.instances.borrow_mut().get_mut(&class).unwrap().retain(|one| !picked(one));
                String::new()
            }
            "Get" | "Enumerate" | "Pull" | "Put" | "Delete" | "Create" => {
                return fault("DestinationUnreachable");
            }
            method => {
                format!("<g:{method}_OUTPUT><g:ReturnValue>0</g:ReturnValue></g:{method}_OUTPUT>")
            }
        };
        ("200 OK", wrap(ENUMERATION, &content))
    }
}

fn wrap_list(name: &str, content: &str) -> String {
    format!("<e:{name}>{content}</e:{name}>")
}

/// What a method returns and puts out, in the form of answers.
pub(crate) fn output(method: &str, value: u32, more: &str) -> String {
    format!("<g:{method}_OUTPUT>{more}<g:ReturnValue>{value}</g:ReturnValue></g:{method}_OUTPUT>")
}

struct Line(Rc<Firmware>);

impl Carrier for Line {
    fn open(&self, port: u16, _: bool) -> Opening {
        let firmware = self.0.clone();
        firmware.connections.set(firmware.connections.get() + 1);
        let config = firmware.secure.borrow().clone().filter(|_| port == 16993);
        if port == 16993 && config.is_none() {
            return Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) });
        }
        let tls = config.map(|config| Box::new(rustls::ServerConnection::new(config).unwrap()));
        let (asked, answer) = (Vec::new(), VecDeque::new());
        let stream = Stream { firmware, tls, asked, answer, ended: false };
        Box::pin(async move { Ok(Box::new(stream) as Box<dyn ByteStream>) })
    }

    fn ports(&self) -> Vec<u16> {
        vec![16992, 16993, 16994, 16995]
    }

    fn tell(&self, _: &Value) {}

    fn disconnect(&self, _: &'static str) {}
}

struct Stream {
    firmware: Rc<Firmware>,
    tls: Option<Box<rustls::ServerConnection>>,
    asked: Vec<u8>,
    answer: VecDeque<u8>,
    ended: bool,
}

impl Stream {
    /// The answer, if the request is whole.
    fn hear(&mut self, bytes: &[u8]) -> Option<String> {
        self.asked.extend_from_slice(bytes);
        let text = String::from_utf8_lossy(&self.asked).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let is_whole = body.len() == length.unwrap().parse::<usize>().unwrap();
        if !is_whole || self.firmware.wedged.get() {
            return None;
        }
        let answer = self.firmware.answer(head, body);
        let is_lost = self.firmware.mute.take();
        self.ended |= is_lost || answer.contains("Connection: close");
        self.asked.clear();
        Some(answer).filter(|_| !is_lost)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.answer.is_empty() && !self.ended {
            return Poll::Pending;
        }
        Poll::Ready(io::Read::read(&mut self.answer, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let Some(mut tls) = self.tls.take() else {
            if let Some(answer) = self.hear(bytes) {
                self.answer.extend(answer.bytes());
            }
            return Poll::Ready(Ok(bytes.len()));
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            tls.read_tls(&mut rest).unwrap();
            self.ended |= tls.process_new_packets().is_err();
        }
        let mut plain = Vec::new();
        let _ = io::Read::read_to_end(&mut tls.reader(), &mut plain);
        if let Some(answer) = self.hear(&plain) {
            io::Write::write_all(&mut tls.writer(), answer.as_bytes()).unwrap();
        }
        while tls.wants_write() {
            tls.write_tls(&mut self.answer).unwrap();
        }
        self.tls = Some(tls);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
