//! The connection to one device: one request at a time, in the order in which they were asked.
//!
//! Firmware loses enumerations and locks up when it is asked two things at once, so everybody who
//! wants something of a device shares one [`Link`]; it opens its connection when it is needed, and
//! closes it when nobody holds it any more. What waits is bounded in number and time, and a device
//! that does not answer delays nobody but those who asked it.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use async_lock::Mutex;
use futures_lite::future::or;
use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::digest::{Challenge, Credentials};
use super::super::reach::{self, Service, Unreachable, Way};
use super::super::tls::Fingerprint;
use super::answer::{self, Refused};
use super::client::{Client, Step};
use super::http::Response;
use super::soap::{Operation, Verb};
use super::xml::Element;
use crate::hub::{AmtTunnel, ByteStream, Hub, TunnelKind};
use crate::model::NodeId;

/// Time for an answer; the connection is opened in a time of its own.
const ANSWER: Duration = Duration::from_secs(10);
/// Time to wait for those who asked before.
const TURN: Duration = Duration::from_secs(60);
/// Most who wait for one device.
const WAITING_MAX: usize = 32;
/// Most answers to one list, and most instances in them.
const PULLS_MAX: usize = 64;
const ITEMS_MAX: usize = 4096;
/// Bytes read at a time.
const PIECE: usize = 4096;

/// Why a request was not answered, or not as it was meant.
#[derive(Debug)]
pub enum Failure {
    /// Nobody has told how to log in.
    NoCredentials,
    /// There is no connection.
    Unreachable(Unreachable),
    /// The connection broke.
    Broken(io::Error),
    /// No answer in time, or no turn.
    Late,
    /// Too many ask this device.
    Busy,
    /// The firmware does not do it.
    Refused(Refused),
    /// It was not asked, because it does not offer it.
    Unable(&'static str),
}

impl Failure {
    /// Whether this firmware does not have what was asked for.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.is_absent())
    }

    /// Whether the firmware has answered at all: then the next request may do better.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(refused) if *refused != Refused::Credentials)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCredentials => f.write_str("The login to Intel AMT is not known"),
            Self::Unreachable(why) => why.fmt(f),
            Self::Broken(error) => write!(f, "The connection to Intel AMT broke: {error}"),
            Self::Late => f.write_str("Intel AMT does not answer"),
            Self::Busy => f.write_str("Too much is asked of this Intel AMT at once"),
            Self::Refused(why) => why.fmt(f),
            Self::Unable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// How the firmware was reached, and what it said of itself.
#[derive(Clone, Debug, Default)]
pub struct Contact {
    /// The way.
    pub way: Option<Way>,
    /// The certificate, if TLS was used.
    pub certificate: Option<Fingerprint>,
    /// Of its firmware, `16.1.25`.
    pub version: Option<String>,
    /// What it asked last.
    pub challenge: Option<Challenge>,
}

/// See the module.
pub struct Link {
    hub: Rc<Hub>,
    /// The only way, if it must be this one.
    tunnel: Option<Rc<AmtTunnel>>,
    node: NodeId,
    credentials: Credentials,
    open: Mutex<Open>,
    waiting: Cell<usize>,
}

struct Open {
    client: Client,
    stream: Option<Box<dyn ByteStream>>,
    contact: Contact,
    next_id: u32,
}

/// Counts who waits, whatever becomes of them.
struct Waiting<'a>(&'a Cell<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Link {
    /// A link that has no connection yet; `remembered` saves it a question.
    pub fn new(
        hub: Rc<Hub>,
        node: NodeId,
        credentials: Credentials,
        remembered: Option<Challenge>,
    ) -> Self {
        let client = Client::new(credentials.clone(), "amt", remembered);
        let (stream, contact) = (None, Contact::default());
        let open = Mutex::new(Open { client, stream, contact, next_id: 1 });
        Self { hub, tunnel: None, node, credentials, open, waiting: Cell::new(0) }
    }

    /// A link that goes through this tunnel and no other way.
    pub fn through(hub: Rc<Hub>, tunnel: Rc<AmtTunnel>, credentials: Credentials) -> Self {
        Self { tunnel: Some(tunnel.clone()), ..Self::new(hub, tunnel.node(), credentials, None) }
    }

    /// Whether it reaches the firmware from within its computer.
    pub fn is_from_within(&self) -> bool {
        self.tunnel.as_ref().is_some_and(|tunnel| tunnel.kind == TunnelKind::Lms)
    }

    /// Ends the connection; the next request opens another one, by what is known then.
    pub async fn hang_up(&self) {
        let mut open = self.open.lock().await;
        open.stream = None;
        open.client.abandon();
    }

    /// The device.
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// What it logs in with.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// What is known of the connection, as soon as nobody uses it.
    pub async fn contact(&self) -> Contact {
        let open = self.open.lock().await;
        let version = open.client.version().map(str::to_owned);
        let challenge = open.client.challenge().cloned();
        Contact { version, challenge, ..open.contact.clone() }
    }

    /// The same without waiting; `None` while it is in use.
    pub fn challenge(&self) -> Option<Challenge> {
        self.open.try_lock().and_then(|open| open.client.challenge().cloned())
    }

    /// Reads the one instance of a class.
    ///
    /// # Errors
    /// What became of it.
    pub async fn get(&self, class: &'static str) -> Result<Element, Failure> {
        let content = self.perform(Operation::new(class, Verb::Get)).await?;
        content.ok_or_else(|| Refused::Malformed("there is nothing in it".into()).into())
    }

    /// Writes an instance back that was read; `selector` says which, where there are several.
    ///
    /// # Errors
    /// What became of it.
    pub async fn put(
        &self,
        class: &'static str,
        instance: Element,
        selector: Option<(&'static str, &str)>,
    ) -> Result<(), Failure> {
        let operation = Operation::new(class, Verb::Put(instance));
        let operation = match selector {
            Some((name, value)) => operation.of(name, value),
            None => operation,
        };
        self.perform(operation).await.map(drop)
    }

    /// Performs one request. Calls of methods that return an error are one.
    ///
    /// # Errors
    /// What became of it.
    pub async fn perform(&self, operation: Operation) -> Result<Option<Element>, Failure> {
        let (_waiting, mut open) = self.turn().await?;
        open.perform(self, &operation).await
    }

    /// Calls a method and returns what it puts out.
    ///
    /// # Errors
    /// What became of it.
    pub async fn call(&self, operation: Operation) -> Result<Element, Failure> {
        let content = self.perform(operation).await?;
        content.ok_or_else(|| Refused::Malformed("there is nothing in it".into()).into())
    }

    /// Lists all instances of a class, at most [`ITEMS_MAX`].
    ///
    /// # Errors
    /// What became of it.
    pub async fn list(&self, class: &'static str) -> Result<Vec<Element>, Failure> {
        let (_waiting, mut open) = self.turn().await?;
        let begun = open.perform(self, &Operation::new(class, Verb::Enumerate)).await?;
        let context = |content: &Element| {
            content
                .child("EnumerationContext")
                .map(|context| std::rc::Rc::<str>::from(&*context.text))
        };
        let Some(mut place) = begun.as_ref().and_then(context) else {
            return Err(Refused::Malformed("a list has no beginning".into()).into());
        };
        let mut items = Vec::new();
        for _ in 0..PULLS_MAX {
            let content = open.perform(self, &Operation::new(class, Verb::Pull(place))).await?;
            let Some(mut content) = content else { break };
            let ended = content.child("EndOfSequence").is_some();
            let next = context(&content);
            if let Some(found) = content.children.iter_mut().find(|child| &*child.name == "Items") {
                items.append(&mut found.children);
            }
            // Some firmware says both that it is the end and where to go on.
            match next.filter(|_| !ended && items.len() < ITEMS_MAX) {
                Some(next) => place = next,
                None => break,
            }
        }
        items.truncate(ITEMS_MAX);
        Ok(items)
    }

    /// Waits for those who asked before.
    async fn turn(&self) -> Result<(Waiting<'_>, async_lock::MutexGuard<'_, Open>), Failure> {
        if self.waiting.get() >= WAITING_MAX {
            return Err(Failure::Busy);
        }
        self.waiting.set(self.waiting.get() + 1);
        let waiting = Waiting(&self.waiting);
        let late = async {
            Timer::after(TURN).await;
            None
        };
        let open = or(async { Some(self.open.lock().await) }, late).await;
        Ok((waiting, open.ok_or(Failure::Late)?))
    }
}

impl Open {
    async fn perform(
        &mut self,
        link: &Link,
        operation: &Operation,
    ) -> Result<Option<Element>, Failure> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1).max(1);
        let response = self.exchange(link, operation.envelope(id)).await?;
        let content = answer::read(response.status, &response.body)?;
        answer::judge(&operation.verb, content.as_ref())?;
        Ok(content)
    }

    /// One request and its answer. The stream is kept only if both were whole: whoever gives up in
    /// between leaves no half answer to the next.
    async fn exchange(&mut self, link: &Link, body: String) -> Result<Response, Failure> {
        let kept = self.stream.take().filter(|_| !self.client.needs_connection());
        if kept.is_none() {
            self.client.abandon();
        }
        let mut bytes = self.client.start(body);
        let mut stream = match kept {
            Some(stream) => stream,
            None => self.connect(link).await?,
        };
        loop {
            let late = async {
                Timer::after(ANSWER).await;
                Err(Failure::Late)
            };
            let step = or(round(&mut self.client, &mut stream, &bytes), late).await;
            match step {
                Ok(Step::Done(outcome)) => {
                    if !self.client.needs_connection() {
                        self.stream = Some(stream);
                    }
                    return Ok(outcome?);
                }
                Ok(Step::Send(next)) => bytes = next,
                Ok(Step::Reconnect(next)) => {
                    // The device has room for one connection of this kind.
                    drop(stream);
                    stream = self.connect(link).await?;
                    bytes = next;
                }
                Ok(Step::More) => return Err(Failure::Late),
                Err(failure) => {
                    self.client.abandon();
                    return Err(failure);
                }
            }
        }
    }

    async fn connect(&mut self, link: &Link) -> Result<Box<dyn ByteStream>, Failure> {
        let reached = match &link.tunnel {
            Some(tunnel) => reach::open_through(&link.hub, tunnel, Service::Web).await,
            None => reach::open(&link.hub, &link.node, Service::Web, false).await,
        };
        match reached {
            Ok(reached) => {
                self.contact.way = Some(reached.way);
                self.contact.certificate = reached.tls.map(|(certificate, _)| certificate);
                Ok(reached.stream)
            }
            Err(why) => {
                self.client.abandon();
                Err(Failure::Unreachable(why))
            }
        }
    }
}

/// Sends a request and reads until something is to be done.
async fn round(
    client: &mut Client,
    stream: &mut Box<dyn ByteStream>,
    bytes: &[u8],
) -> Result<Step, Failure> {
    // A device that has ended its side may still have answered.
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    let written: io::Result<()> = written.await;
    let mut piece = [0; PIECE];
    loop {
        let count = match stream.read(&mut piece).await {
            Ok(count) => count,
            Err(error) => match client.ended() {
                Step::Done(_) | Step::More => return Err(Failure::Broken(error)),
                step => return Ok(step),
            },
        };
        let step = match piece.get(..count) {
            Some([]) | None => client.ended(),
            Some(bytes) => client.receive(bytes),
        };
        match step {
            Step::More if count == 0 => {
                let error = written.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                return Err(Failure::Broken(error));
            }
            Step::More => {}
            step => return Ok(step),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once, zip};

    use super::*;
    use crate::amt::room::Room;
    use crate::amt::testing::Firmware;
    use crate::hub::testing::{World, node_id};

    fn world() -> (World, Rc<Firmware>, Rc<Room>) {
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        let room = Room::new(world.hub.clone(), Rc::default());
        (world, firmware, room)
    }

    #[test]
    fn a_whole_run_fits_on_one_connection_after_the_first_question() {
        let (_world, firmware, room) = world();
        let link = room.link(&node_id(1)).unwrap();
        block_on(async {
            let general = link.get("AMT_GeneralSettings").await.unwrap();
            assert_eq!(general.property("HostName"), Some("Test Host Name"));
            assert_eq!(link.list("CIM_PhysicalMemory").await.unwrap().len(), 2);
            assert!(link.get("AMT_Nothing").await.unwrap_err().is_absent());
            assert_eq!(link.contact().await.version.as_deref(), Some("16.1.25"));
        });
        assert_eq!((firmware.connections.get(), firmware.failures.get()), (2, 0));
        // The next link knows what will be asked.
        room.remember(&link);
        drop(link);
        assert_eq!(room.open_links(), 0);
        let link = room.link(&node_id(1)).unwrap();
        block_on(link.get("AMT_GeneralSettings")).unwrap();
        assert_eq!((firmware.connections.get(), firmware.failures.get()), (3, 0));
    }

    #[test]
    fn a_nonce_that_grows_old_costs_a_connection_and_nothing_else() {
        let (_world, firmware, room) = world();
        firmware.uses.set(2);
        let link = room.link(&node_id(1)).unwrap();
        for _ in 0..7 {
            block_on(link.get("AMT_GeneralSettings")).unwrap();
        }
        assert_eq!(firmware.said.borrow().len(), 7);
        assert_eq!((firmware.connections.get(), firmware.failures.get()), (5, 0));
    }

    #[test]
    fn a_wrong_password_is_said_to_be_one() {
        let (_world, firmware, room) = world();
        *firmware.password.borrow_mut() = "other".into();
        let link = room.link(&node_id(1)).unwrap();
        let failure = block_on(link.get("AMT_GeneralSettings")).unwrap_err();
        assert!(matches!(failure, Failure::Refused(Refused::Credentials)), "{failure}");
        assert_eq!(firmware.failures.get(), 1);
        assert!(matches!(room.link(&node_id(2)), Err(Failure::NoCredentials)));
    }

    #[test]
    fn lists_are_not_torn_apart_by_other_requests() {
        let (_world, firmware, room) = world();
        let link = room.link(&node_id(1)).unwrap();
        let lists = zip(link.list("CIM_PhysicalMemory"), link.list("CIM_Processor"));
        let (memory, processors) = block_on(zip(lists, link.get("CIM_Chassis"))).0;
        assert_eq!((memory.unwrap().len(), processors.unwrap().len()), (2, 1));
        let said = firmware.take_said();
        for (at, name) in said.iter().enumerate() {
            if let Some(class) = name.strip_suffix(".Enumerate") {
                assert_eq!(said[at + 1], format!("{class}.Pull"), "{said:?}");
            }
        }
    }

    #[test]
    fn a_list_that_says_both_end_and_continuation_ends_and_an_endless_one_is_cut() {
        let (_world, firmware, room) = world();
        let pull = |more: &str| {
            let space = super::super::soap::ENUMERATION;
            format!(
                "<x:PullResponse xmlns:x=\"{space}\"><x:Items><g:A/></x:Items>\
                 <x:EnumerationContext>9</x:EnumerationContext>{more}</x:PullResponse>"
            )
        };
        let both = pull("<x:EndOfSequence/>");
        firmware.on("CIM_Chip.Pull", move |_, _| both.clone());
        let endless = pull("");
        firmware.on("CIM_Card.Pull", move |_, _| endless.clone());
        let link = room.link(&node_id(1)).unwrap();
        assert_eq!(block_on(link.list("CIM_Chip")).unwrap().len(), 1);
        assert_eq!(block_on(link.list("CIM_Card")).unwrap().len(), PULLS_MAX);
    }

    #[test]
    fn who_gives_up_leaves_nothing_behind_and_too_many_are_sent_away() {
        let (_world, firmware, room) = world();
        let link = room.link(&node_id(1)).unwrap();
        firmware.wedged.set(true);
        let mut first = Box::pin(link.get("CIM_Chassis"));
        block_on(async {
            assert!(poll_once(&mut first).await.is_none());
            let mut queue: Vec<_> =
                (1..WAITING_MAX).map(|_| Box::pin(link.get("CIM_Card"))).collect();
            for waiting in &mut queue {
                assert!(poll_once(waiting).await.is_none());
            }
            assert!(matches!(link.get("CIM_Card").await, Err(Failure::Busy)));
        });
        drop(first);
        firmware.wedged.set(false);
        let card = block_on(link.get("CIM_Card")).unwrap();
        assert_eq!(&*card.name, "CIM_Card");
        assert_eq!(firmware.take_said(), ["CIM_Card.Get"]);
    }
}
