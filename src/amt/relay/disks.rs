//! `/webider.ashx`: images that somebody keeps here become drives of a computer.
//!
//! Source: amt-management §15. JSON both ways. `start` asks for a choice as the stock page shows it (a
//! form in HTML), `images` for the same as data; `dialogResponse` begins: `state` (1 connecting, 2 let
//! in, 3 drives offered, 0 over), `stats` of what is read, `error` with a number. Images are files of
//! the user, and of device groups whose files he may use (`mesh/…/…:folder/name`: no name has a colon),
//! found by names beneath a handle of their folder; they are opened for reading.

use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::future::poll_fn;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::reach;
use super::super::redirection::ider::image::{BadSize, Image};
use super::super::redirection::ider::{Drive, Effect, Ider, Start};
use super::super::redirection::{Over, Service};
use super::admission::Standing;
use super::bridge::{Outbox, Pulse, UserSocket, poll_read};
use super::session::Session;
use crate::files::{Drawer, FileError, Name, Place};
use crate::hub::{ByteStream, Hub, TunnelMessage};
use crate::model::rights::Subject;
use crate::model::{GroupId, Rights, SiteRights, User, UserId};
use crate::pool;
use crate::ws::Message;

/// Images that are offered.
const IMAGES_MAX: usize = 500;
/// What of a user's folder is looked at, in folders within each other.
const DEPTH_MAX: usize = 16;
/// Bytes that wait for a user before he is told less.
const TOLD_MAX: usize = 16 << 10;

/// What a user says.
#[derive(Deserialize)]
struct Said {
    action: String,
    #[serde(default)]
    args: Choice,
}

/// Which images, and from when on.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Choice {
    ider: Value,
    floppy_path: Option<String>,
    cdrom_path: Option<String>,
    ider_start: Value,
}

impl Choice {
    fn start(&self) -> Option<Start> {
        // The form's value is text.
        let number = match &self.ider_start {
            Value::String(text) => text.parse().ok()?,
            value => value.as_u64()?,
        };
        Start::from_number(number)
    }
}

/// An image that could be used.
struct Offer {
    drive: Drive,
    /// What is sent back when it is chosen.
    path: String,
    /// What people read.
    name: String,
    size: u64,
}

/// A folder with images: what their paths begin with, and their names.
struct Shelf {
    drawer: Drawer,
    path: String,
    name: String,
}

/// Whether the files of a device group are for this user.
fn may_read(hub: &Hub, user: &User, group: &GroupId) -> bool {
    user.site.allows(SiteRights::FILES)
        && hub.store.group(group).is_some_and(|group| group.deleted.is_none())
        && hub.rights(user, Subject::Group(group)).allows(Rights::SERVER_FILES)
}

/// Serves a user who was let in; why it is over.
pub(super) async fn serve(session: &mut Session<'_>) -> Result<Over, Over> {
    let mut pulse = Pulse::new();
    let chosen = loop {
        let said = poll_fn(|cx| {
            if let Poll::Ready(message) = session.link.mailbox.poll_next(cx) {
                return Poll::Ready(Err(asked(session, message, &[])));
            }
            if pulse.poll_gone(session.socket, cx).is_ready() {
                return Poll::Ready(Err(Some(Over::Gone)));
            }
            session.socket.poll_recv(cx).map(|received| match received {
                Ok(Some(message)) => Ok(message),
                _ => Err(Some(Over::Gone)),
            })
        });
        let said = match said.await {
            Ok(message) => parse(&message),
            Err(Some(over)) => return Err(over),
            Err(None) => continue,
        };
        let Some(Said { action, args }) = said else { continue };
        match action.as_str() {
            "ping" => tell(session.socket, &json!({"action": "pong"})),
            "start" => {
                let dialog = dialog(&offers(session).await);
                tell(session.socket, &dialog);
            }
            "images" => {
                let images = images(&offers(session).await);
                tell(session.socket, &images);
            }
            "dialogResponse" if args.ider == 1 => match chosen(session, &args).await {
                Ok(chosen) => break chosen,
                Err(code) => tell(session.socket, &json!({"action": "error", "code": code})),
            },
            _ => {}
        }
    };
    let result = lend(session, chosen).await;
    tell(session.socket, &json!({"action": "state", "state": 0}));
    result
}

/// What a word to the session comes to; `None` if it may go on. `groups` are those whose images it has.
fn asked(
    session: &Session<'_>,
    message: Option<TunnelMessage>,
    groups: &[GroupId],
) -> Option<Over> {
    match message {
        Some(TunnelMessage::Recheck) => {
            let now = Standing::still(session.room, session.link);
            let hub = &session.room.hub;
            let may = now.is_some_and(|now| {
                now.permit.allows(Service::Ider)
                    && groups.iter().all(|group| may_read(hub, &now.user, group))
            });
            (!may).then_some(Over::NoRight)
        }
        Some(TunnelMessage::End(_)) | None => Some(Over::Ended),
    }
}

fn parse(message: &Message) -> Option<Said> {
    serde_json::from_slice(message.bytes()).ok()
}

fn tell(socket: &mut UserSocket, value: &Value) {
    socket.send_text(&value.to_string());
}

/// The images the user may lend, his own first.
async fn offers(session: &Session<'_>) -> Vec<Offer> {
    let (hub, user) = (&session.room.hub, &session.standing.user);
    let own = Drawer::User(user.id.clone());
    let mut shelves = vec![Shelf { drawer: own, path: String::new(), name: String::new() }];
    for group in hub.store.groups(&user.id.domain) {
        if may_read(hub, user, &group.id) {
            let (path, name) = (format!("{}:", group.id), format!("{}: ", group.name));
            shelves.push(Shelf { drawer: Drawer::Group(group.id.clone()), path, name });
        }
    }
    let files = session.room.files.clone();
    pool::unblock(move || {
        let mut offers = Vec::new();
        for shelf in &shelves {
            collect(shelf, &files.list(&shelf.drawer), "", 0, &mut offers);
        }
        offers
    })
    .await
}

/// Finds images in a folder as files are listed.
fn collect(shelf: &Shelf, folder: &Value, path: &str, depth: usize, offers: &mut Vec<Offer>) {
    for (name, entry) in folder.as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        if let Some(inner) = entry.get("f").filter(|_| depth < DEPTH_MAX) {
            collect(shelf, inner, &format!("{path}/"), depth + 1, offers);
            continue;
        }
        let is = |ending: &str| path.to_ascii_lowercase().ends_with(ending);
        let drive = match () {
            () if is(".img") => Drive::Floppy,
            () if is(".iso") => Drive::Cd,
            () => continue,
        };
        let size = entry.get("s").and_then(Value::as_u64).unwrap_or_default();
        if offers.len() < IMAGES_MAX {
            let name = format!("{}{path}", shelf.name);
            offers.push(Offer { drive, path: format!("{}{path}", shelf.path), name, size });
        }
    }
}

/// The choice as data.
fn images(offers: &[Offer]) -> Value {
    let of = |drive: Drive| -> Vec<Value> {
        let these = offers.iter().filter(|offer| offer.drive == drive);
        let told = |Offer { path, name, size, .. }: &Offer| match name == path {
            true => json!({"path": path, "size": size}),
            false => json!({"path": path, "name": name, "size": size}),
        };
        these.map(told).collect()
    };
    json!({"action": "images", "floppy": of(Drive::Floppy), "cdrom": of(Drive::Cd)})
}

/// The choice as a form for the stock page.
fn dialog(offers: &[Offer]) -> Value {
    if offers.is_empty() {
        let html =
            "There are no disk images in your files on the server. Upload .img or .iso files.";
        return json!({"action": "dialog", "args": {"html": html}, "buttons": 2});
    }
    let mut html =
        String::from("<div style='margin:8px'>Images and when they are to be there:</div>");
    for (drive, id, label) in
        [(Drive::Floppy, "iderFloppy", "Floppy"), (Drive::Cd, "iderCd", "CD-ROM")]
    {
        let _ =
            write!(html, "<div style='margin:8px'>{label} <select id={id}><option value=''>None");
        for offer in offers.iter().filter(|offer| offer.drive == drive) {
            let (path, name) = (escape(&offer.path), escape(&offer.name));
            let _ = write!(html, "<option value='{path}'>{name}");
        }
        html.push_str("</select></div>");
    }
    html.push_str(
        "<div style='margin:8px'>Start <select id=iderStart><option value=0>On next boot\
         <option value=1>Graceful<option value=2>Immediate</select></div>",
    );
    let js = "function iderServerCall() { var v = function (i) { return \
              document.getElementById(i).value; }; return { ider: 1, floppyPath: \
              encodeURIComponent(v('iderFloppy')), cdromPath: encodeURIComponent(v('iderCd')), \
              iderStart: v('iderStart') }; }";
    json!({"action": "dialog", "args": {"html": html, "js": js}, "buttons": 3})
}

/// Text within HTML, also within quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// What is lent.
struct Lent {
    floppy: Option<Image>,
    cd: Option<Image>,
    /// The groups whose files these are.
    groups: Vec<GroupId>,
    start: Start,
}

/// Opens the images that were chosen.
///
/// # Errors
/// The stock page's number: not there 1 and 4, no image 2 and 5, unreadable 3 and 6, nothing chosen 7.
async fn chosen(session: &Session<'_>, choice: &Choice) -> Result<Lent, u8> {
    let mut groups = Vec::new();
    let mut images = [None, None];
    for (image, (path, drive, first)) in images
        .iter_mut()
        .zip([(&choice.floppy_path, Drive::Floppy, 1), (&choice.cdrom_path, Drive::Cd, 4)])
    {
        let Some(path) = path.as_deref().filter(|path| !path.is_empty()) else { continue };
        let (hub, user) = (&session.room.hub, &session.standing.user);
        let sought = sought(path, &user.id, |group| may_read(hub, user, group));
        let (place, name) = sought.ok_or(first)?;
        if let Drawer::Group(group) = &place.drawer {
            groups.push(group.clone());
        }
        let files = session.room.files.clone();
        let found = pool::unblock(move || files.read(&place, &name)).await;
        let (file, len) = found.map_err(|error| match error {
            FileError::Io(error) if error.kind() == io::ErrorKind::NotFound => first,
            _ => first + 2,
        })?;
        *image = Some(Image::new(file, len, drive).map_err(|BadSize| first + 1)?);
    }
    let [floppy, cd] = images;
    match choice.start() {
        Some(start) if floppy.is_some() || cd.is_some() => Ok(Lent { floppy, cd, groups, start }),
        _ => Err(7),
    }
}

/// The file a path means that a page sent, which may be encoded. `may` says whether the files of a
/// group are for this user.
fn sought(path: &str, user: &UserId, may: impl Fn(&GroupId) -> bool) -> Option<(Place, Name)> {
    // A lone `+` is itself here, unlike in a form.
    let text = format!("p={}", path.replace('+', "%2B").replace('&', "%26"));
    let (_, decoded) = form_urlencoded::parse(text.as_bytes()).next()?;
    let (drawer, path) = match decoded.split_once(':') {
        None => (Drawer::User(user.clone()), &*decoded),
        Some((group, path)) => {
            let group: GroupId = group.parse().ok()?;
            (may(&group).then_some(Drawer::Group(group))?, path)
        }
    };
    let mut folders: Vec<Name> = path.split('/').map(Name::new).collect::<Option<_>>()?;
    let name = folders.pop()?;
    Some((Place { drawer, folders }, name))
}

/// A read under way; the image comes back with what was read.
type Reading = Pin<Box<dyn Future<Output = (Drive, Image, io::Result<Vec<u8>>)>>>;

/// A computer and its drives.
struct Lending<'l, 's> {
    session: &'l mut Session<'s>,
    stream: Box<dyn ByteStream>,
    ider: Ider,
    floppy: Option<Image>,
    cd: Option<Image>,
    groups: Vec<GroupId>,
    reading: Option<Reading>,
    outbox: Outbox,
    received: u64,
    sent: u64,
    over: Option<Over>,
}

/// Lends images to the computer until it is over; why.
async fn lend(session: &mut Session<'_>, lent: Lent) -> Result<Over, Over> {
    let Lent { floppy, cd, groups, start } = lent;
    tell(session.socket, &json!({"action": "state", "state": 1}));
    let mut stream = session.reach(reach::Service::Redirection).await?;
    let early = session.log_in(Service::Ider, &mut stream).await?;
    tell(session.socket, &json!({"action": "state", "state": 2}));
    let sectors = |image: &Option<Image>| image.as_ref().map(Image::sectors);
    let totals = [sectors(&floppy), sectors(&cd)];
    for (number, total) in totals.into_iter().enumerate() {
        let total = total.unwrap_or_default();
        let stats = json!({"action": "stats", "mode": 0, "dev": number, "total": total});
        tell(session.socket, &stats);
    }
    let (ider, first) = Ider::begin(totals[0], totals[1], start);
    let mut lending = Lending {
        session,
        stream,
        ider,
        floppy,
        cd,
        groups,
        reading: None,
        outbox: Outbox::default(),
        received: 0,
        sent: 0,
        over: None,
    };
    lending.perform(vec![first]);
    let effects = lending.ider.take(&early);
    lending.perform(effects);
    let mut pulse = Pulse::new();
    let over = poll_fn(|cx| {
        if pulse.poll_gone(lending.session.socket, cx).is_ready() {
            return Poll::Ready(Over::Gone);
        }
        lending.poll_move(cx)
    })
    .await;
    // The last word, if it can leave at once.
    let close = lending.ider.close();
    lending.perform(vec![close]);
    let _ =
        poll_fn(|cx| Poll::Ready(lending.outbox.poll_write(&mut lending.stream, cx).is_ready()))
            .await;
    Ok(over)
}

impl Lending<'_, '_> {
    /// Moves what can be moved. Ready when it is over.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        while let Poll::Ready(message) = self.session.link.mailbox.poll_next(cx) {
            if let Some(over) = asked(self.session, message, &self.groups) {
                return Poll::Ready(over);
            }
        }
        // A few at a time, so that a firmware that never stops lets others have their turn.
        for _ in 0..8 {
            let mut has_moved = false;
            if let Poll::Ready(Err(_)) = self.outbox.poll_write(&mut self.stream, cx) {
                return Poll::Ready(Over::ByDevice);
            }
            if let Some(reading) = &mut self.reading
                && let Poll::Ready((drive, image, data)) = reading.as_mut().poll(cx)
            {
                self.reading = None;
                *self.image(drive) = Some(image);
                if let Err(error) = &data {
                    log::warn!(
                        "an image of {} cannot be read: {error}",
                        self.session.standing.user.id
                    );
                }
                let effects = self.ider.data(data.as_deref().ok());
                self.perform(effects);
                has_moved = true;
            }
            if !self.outbox.is_full() {
                let (ider, mut effects) = (&mut self.ider, None);
                let mut count = 0;
                let read = poll_read(&mut self.stream, cx, |bytes| {
                    count = bytes.len() as u64;
                    effects = Some(ider.take(bytes));
                });
                if let Poll::Ready(read) = read {
                    let Some(effects) = effects.filter(|_| read.is_ok() && count > 0) else {
                        return Poll::Ready(Over::ByDevice);
                    };
                    self.received += count;
                    self.session.link.from_agent.set(self.received);
                    self.perform(effects);
                    has_moved = true;
                }
            }
            match self.session.socket.poll_recv(cx) {
                Poll::Ready(Ok(Some(message))) => {
                    if parse(&message).is_some_and(|said| said.action == "ping") {
                        tell(self.session.socket, &json!({"action": "pong"}));
                    }
                    has_moved = true;
                }
                Poll::Ready(_) => return Poll::Ready(Over::Gone),
                Poll::Pending => {}
            }
            if let Some(over) = self.over {
                return Poll::Ready(over);
            }
            if !has_moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn image(&mut self, drive: Drive) -> &mut Option<Image> {
        match drive {
            Drive::Floppy => &mut self.floppy,
            Drive::Cd => &mut self.cd,
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(bytes) => {
                    self.sent += bytes.len() as u64;
                    self.session.link.sent.set(self.sent);
                    self.outbox.push(&bytes);
                }
                Effect::Read { drive, at, len } => match self.image(drive).take() {
                    Some(mut image) => {
                        self.reading = Some(Box::pin(async move {
                            let data = image.read(at, len).await;
                            (drive, image, data)
                        }));
                    }
                    None => self.over = Some(Over::Garbled),
                },
                Effect::Asked { drive, sector, count } => self.tell_stats(drive, sector, count),
                Effect::Enabled => {
                    tell(self.session.socket, &json!({"action": "state", "state": 3}));
                }
                Effect::Over(over) => {
                    self.over.get_or_insert(over);
                }
            }
        }
    }

    /// Tells what is read, unless the user has not taken what he was told before.
    fn tell_stats(&mut self, drive: Drive, sector: u32, count: u32) {
        if self.session.socket.queued() > TOLD_MAX {
            return;
        }
        let (received, sent) = (self.received, self.sent);
        let total = self.image(drive).as_ref().map(Image::sectors).unwrap_or_default();
        let stats = json!({
            "action": "stats", "mode": 1, "dev": u8::from(drive == Drive::Cd), "total": total,
            "start": sector, "len": count, "toAmt": sent, "fromAmt": received,
        });
        tell(self.session.socket, &stats);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Cabinet;

    #[test]
    fn a_name_cannot_become_a_part_of_the_form() {
        let path = "a'><script>alert(1)</script>.iso".to_owned();
        let name = path.clone();
        let dialog = dialog(&[Offer { drive: Drive::Cd, path, name, size: 1 }]);
        let html = dialog["args"]["html"].as_str().unwrap();
        assert!(!html.contains("<script") && html.contains("a&#39;&gt;&lt;script&gt;"), "{html}");
    }

    #[test]
    fn images_are_found_by_their_endings_in_all_folders() {
        let listed = json!({
            "boot.IMG": {"t": 3, "s": 1_474_560},
            "notes.txt": {"t": 3, "s": 5},
            "linux": {"t": 2, "f": {"small.iso": {"t": 3, "s": 4096}}},
        });
        let mut offers = Vec::new();
        let group = crate::hub::testing::group_id(1);
        let (path, name) = (format!("{group}:"), "Office: ".to_owned());
        let of_group = Shelf { drawer: Drawer::Group(group.clone()), path, name };
        let own = Drawer::User(crate::hub::testing::user_id("bob"));
        let own = Shelf { drawer: own, path: String::new(), name: String::new() };
        collect(&own, &listed, "", 0, &mut offers);
        collect(&of_group, &json!({"a.iso": {"t": 3, "s": 2048}}), "", 0, &mut offers);
        let expected = json!({
            "action": "images",
            "floppy": [{"path": "boot.IMG", "size": 1_474_560}],
            "cdrom": [
                {"path": "linux/small.iso", "size": 4096},
                {"path": format!("{group}:a.iso"), "name": "Office: a.iso", "size": 2048},
            ],
        });
        assert_eq!(images(&offers), expected);
    }

    #[test]
    fn only_files_the_user_may_use_are_opened() {
        use crate::hub::testing::{group_id, user_id};
        let data = tempfile::tempdir().unwrap();
        let files = Cabinet::new(data.path());
        let bob = user_id("bob");
        for drawer in
            [Drawer::User(bob.clone()), Drawer::Group(group_id(1)), Drawer::Group(group_id(2))]
        {
            let place = Place { drawer, folders: vec![Name::new("linux").unwrap()] };
            files.write(&place, &Name::new("a+b & c.iso").unwrap(), &[1; 512], None).unwrap();
        }
        let [shared, foreign] = [1, 2].map(|n| group_id(n).to_string());
        for (path, found) in [
            ("linux/a+b & c.iso".to_owned(), true),
            ("linux%2Fa%2Bb%20%26%20c.iso".to_owned(), true),
            ("a+b & c.iso".to_owned(), false),
            ("../user-bob/linux/a+b & c.iso".to_owned(), false),
            ("linux".to_owned(), false),
            (String::new(), false),
            ("/etc/passwd".to_owned(), false),
            ("linux%2F..%2F..%2Fx.iso".to_owned(), false),
            (format!("{shared}:linux/a+b & c.iso"), true),
            (format!("{shared}%3Alinux%2Fa%2Bb%20%26%20c.iso"), true),
            (format!("{shared}:../mesh-x/linux/a+b & c.iso"), false),
            (format!("{shared}/linux/a+b & c.iso"), false),
            (format!("{foreign}:linux/a+b & c.iso"), false),
            ("user//ann:linux/a+b & c.iso".to_owned(), false),
            (":linux/a+b & c.iso".to_owned(), false),
        ] {
            let place = sought(&path, &bob, |group| *group == group_id(1));
            let is_there = place.is_some_and(|(place, name)| files.read(&place, &name).is_ok());
            assert_eq!(is_there, found, "{path}");
        }
    }
}
