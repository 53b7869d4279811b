//! What agents and people download: executables, settings, install scripts.
//!
//! Files are streamed in pieces, embedded settings are patched in on the way: no download is ever
//! whole in memory. Ids in query strings are taken raw and escaped alike, because the install
//! script does not escape `@` and `$`.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use blocking::Unblock;
use bytes::Bytes;
use futures_lite::io::AsyncRead;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode, Uri};
use serde_json::json;

use crate::agent::msh::{Address, InstallFlags, Msh};
use crate::agent::package::binary::{EmbedError, Embedded, Layout};
use crate::agent::package::{Binary, MeshCmd, ScriptOptions};
use crate::config::Reach;
use crate::model::rights::Subject;
use crate::model::{Device, DomainId, Group, Key48, NodeId, Rights, User, order};
use crate::pool;
use crate::relay;
use crate::relay::download::{Download, NoDownload};
use crate::relay::visitor::Visitor;

use super::answer::{Body, harden, query, text};
use super::app::App;

/// Number of the script that installs an agent by a dialog.
const INSTALLER: u32 = 6;
/// Scripts must not check the certificate: it is not one that machines trust by default.
const PLAIN: ScriptOptions = ScriptOptions { trusted_certificate: false, no_proxy: false };
/// Bytes read from disk at a time, and kept per download.
const CHUNK: usize = 32 * 1024;

/// Who downloads.
#[derive(Clone, Debug)]
pub enum Reader {
    /// Nobody in particular.
    Anybody,
    /// Somebody who is logged in, where that is asked for (`lockAgentDownload`): gets the settings
    /// of groups that account may edit.
    User(Rc<User>),
}

/// `/meshagents`: executables, install scripts, MeshCmd.
pub async fn meshagents(
    app: &App,
    domain: &DomainId,
    uri: &Uri,
    headers: &HeaderMap,
    reader: &Reader,
) -> Response<Body> {
    let Some(package) = app.agents.package() else {
        return text(
            StatusCode::NOT_FOUND,
            "no agent package is installed: run `meshboard agents install`\n",
        );
    };
    let number = |name| query(uri, name).and_then(|n| n.parse::<u32>().ok());
    if let Some(script) = number("script") {
        return match package.script(script, PLAIN) {
            Ok(Some(script)) => attachment(script.text.into(), script.download_name, "text/plain"),
            Ok(None) => not_found(),
            Err(error) => broken("install script", &error),
        };
    }
    if let Some(id) = number("meshinstall") {
        let Some(binary) = package.binary(id).filter(|b| !b.kind.is_windows()) else {
            return not_found();
        };
        let group = query(uri, "id").and_then(|id| find_group(app, domain, &id, reader));
        let Some(group) = group else { return unauthorized() };
        let flags = query(uri, "installflags").unwrap_or_default();
        let Some(msh) = settings(app, &group, headers, &flags, None) else { return unavailable() };
        return match package.script(INSTALLER, PLAIN) {
            Ok(Some(script)) => {
                let script = with_settings(&script.text, &msh);
                let name = binary.kind.download_name.to_owned();
                embedded(binary, name, move |layout| Embedded::script(layout, script.as_bytes()))
                    .await
            }
            Ok(None) => not_found(),
            Err(error) => broken("graphical installer", &error),
        };
    }
    if let Some(id) = number("meshcmd") {
        return match package.meshcmd(id) {
            Some(MeshCmd::Ready(binary)) => file(binary, headers).await,
            Some(MeshCmd::Bundle { agent, trailer, trailer_len }) => {
                bundle(&agent, trailer, trailer_len).await
            }
            None => not_found(),
        };
    }
    let Some(binary) = number("id").and_then(|id| package.binary(id)) else { return not_found() };
    if query(uri, "zip").is_some() {
        return zipped(binary, headers).await;
    }
    match query(uri, "meshid") {
        None => file(binary, headers).await,
        Some(group) => {
            let Some(group) = find_group(app, domain, &group, reader) else {
                return unauthorized();
            };
            let flags = query(uri, "installflags").unwrap_or_default();
            let tag = query(uri, "tag");
            let Some(msh) = settings(app, &group, headers, &flags, tag.as_deref()) else {
                return unavailable();
            };
            // The group's name is part of the file name where a person double-clicks it.
            let name = match binary.kind.is_windows() {
                true => binary.kind.download_name_for(&group.name),
                false => binary.kind.download_name.to_owned(),
            };
            embedded(binary, name, move |layout| Embedded::settings(layout, msh.as_bytes())).await
        }
    }
}

/// `/meshagents?meshaction=`: `meshaction.txt`, with which MeshCmd knows the server, and for `route`
/// a device and a port of it.
pub fn meshaction(
    app: &App,
    domain: &DomainId,
    uri: &Uri,
    headers: &HeaderMap,
    user: &User,
) -> Response<Body> {
    let Some(server) = app.agents.server() else { return unavailable() };
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let url = app.page_url(domain, host).replacen("https:", "wss:", 1) + "meshrelay.ashx";
    let mut action = json!({
        "username": user.name, "password": "",
        "serverId": server.id().hex().to_uppercase(),
        "serverHttpsHash": app.agents.tls.hash().hex().to_uppercase(),
        "serverUrl": url,
        "debugLevel": 0,
    });
    match query(uri, "meshaction").as_deref() {
        Some("generic") => {}
        Some("route") => {
            let id = query(uri, "nodeid").and_then(|id| id.parse::<NodeId>().ok());
            let device = id.filter(|id| id.domain == *domain);
            let device = device.and_then(|id| app.hub.store.device(&id));
            let sees =
                |device: &Rc<Device>| !app.hub.rights(user, Subject::Device(device)).is_empty();
            let Some(device) = device.filter(sees) else {
                return text(StatusCode::UNAUTHORIZED, "unknown device");
            };
            action["action"] = "route".into();
            action["localPort"] = 1234.into();
            action["remoteName"] = device.name.clone().into();
            action["remoteNodeId"] = device.id.to_string().into();
            action["remoteTarget"] = serde_json::Value::Null;
            action["remotePort"] = 3389.into();
        }
        _ => return not_found(),
    }
    if let Some(key) = query(uri, "key") {
        action["loginKey"] = key.into();
    }
    let text = serde_json::to_string_pretty(&action).unwrap_or_default();
    attachment(text.into(), "meshaction.txt", "application/octet-stream")
}

/// `/meshsettings?id=`: the `.msh` file of a group.
pub fn meshsettings(
    app: &App,
    domain: &DomainId,
    uri: &Uri,
    headers: &HeaderMap,
    reader: &Reader,
) -> Response<Body> {
    let group = query(uri, "id").and_then(|id| find_group(app, domain, &id, reader));
    let Some(group) = group else { return unauthorized() };
    let flags = query(uri, "installflags").unwrap_or_default();
    match settings(app, &group, headers, &flags, query(uri, "tag").as_deref()) {
        Some(msh) => attachment(msh.into(), "meshagent.msh", "application/octet-stream"),
        None => unavailable(),
    }
}

/// `/devicefile.ashx`: a file of a device.
pub async fn device_file(app: &App, asked: &impl Visitor) -> Response<Body> {
    let download = match relay::download::open(&app.relay, asked).await {
        Ok(download) => download,
        Err(NoDownload::NotFound) => return not_found(),
        Err(NoDownload::Refused) => return text(StatusCode::UNAUTHORIZED, "no such file"),
    };
    // As `encodeURIComponent` writes it, which browsers undo.
    let name: String = form_urlencoded::byte_serialize(download.name.as_bytes()).collect();
    let name = name.replace('+', "%20");
    let mut response = Response::<Body>::new(Box::pin(DeviceFile(download)));
    describe(&mut response, &name, "application/octet-stream");
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}

/// A body whose bytes come from an agent.
struct DeviceFile(Download);

impl hyper::body::Body for DeviceFile {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = ready!(self.0.poll_chunk(cx));
        Poll::Ready(chunk.map(|bytes| bytes.map(|bytes| Frame::data(bytes.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.remaining())
    }
}

/// The group that `id` stands for, itself or as a pass of an invitation, if `reader` may have its
/// settings.
fn find_group(app: &App, domain: &DomainId, id: &str, reader: &Reader) -> Option<Rc<Group>> {
    let group = app.control.invitations.group_of_download(domain, id)?;
    let may = match reader {
        Reader::Anybody => true,
        Reader::User(user) => {
            app.hub.rights(user, Subject::Group(&group.id)).allows(Rights::EDIT_GROUP)
        }
    };
    may.then_some(group)
}

/// The `.msh` text for agents of `group`; `None` while the server has no identity yet.
fn settings(
    app: &App,
    group: &Group,
    headers: &HeaderMap,
    flags: &str,
    tag: Option<&str>,
) -> Option<String> {
    let server = app.agents.server()?;
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let url = app.agent_url(&group.id.domain, host);
    let config = app.hub.config();
    let is_local = config.settings.reach == Reach::Lan;
    let msh = Msh {
        group_name: &group.name,
        group_type: group.kind.mtype(),
        group: group.id.key,
        server: server.id(),
        // As MeshCentral does: on a local network a server has no address that stays.
        address: if is_local {
            Address::Local { discovery_key: config.settings.local_discovery.key.as_deref() }
        } else {
            Address::Url(&url)
        },
        tag,
        install: InstallFlags::from_query(flags),
        ignore_proxy_file: is_local,
        extra: &[],
        translation: None,
    };
    Some(msh.text())
}

async fn file(binary: Binary, headers: &HeaderMap) -> Response<Body> {
    let name = binary.kind.download_name.to_owned();
    plain_file(binary.path, name, binary.sha384, headers).await
}

async fn zipped(binary: Binary, headers: &HeaderMap) -> Response<Body> {
    match binary.zip {
        Some(zip) if matches!(binary.kind.id, 3 | 4) => {
            let name = format!("{}.zip", binary.kind.download_name);
            plain_file(zip.path, name, zip.sha384, headers).await
        }
        _ => not_found(),
    }
}

/// A file as it is, with its hash as ETag.
async fn plain_file(
    path: std::path::PathBuf,
    name: String,
    hash: Key48,
    headers: &HeaderMap,
) -> Response<Body> {
    let etag = format!("\"{}\"", hash.text());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|v| v.as_bytes() == etag.as_bytes());
    if known {
        return text(StatusCode::NOT_MODIFIED, "");
    }
    let opened = pool::unblock(move || {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        io::Result::Ok((file, len))
    });
    match opened.await {
        Ok((file, len)) => {
            let mut response = stream(file, len, &name);
            if let Ok(etag) = HeaderValue::try_from(etag) {
                response.headers_mut().insert(header::ETAG, etag);
            }
            response
        }
        Err(error) => broken(&name, &error),
    }
}

/// An executable with something inside it: `what` is given its layout and says how it goes in.
async fn embedded(
    binary: Binary,
    name: String,
    what: impl FnOnce(&Layout) -> Result<Embedded, EmbedError> + Send + 'static,
) -> Response<Body> {
    let prepared = pool::unblock(move || {
        let mut file = File::open(&binary.path)?;
        let layout = Layout::read(&mut file)?;
        let embedded = what(&layout).map_err(io::Error::other)?;
        io::Seek::rewind(&mut file)?;
        let len = embedded.total_len();
        io::Result::Ok((embedded.reader(file), len))
    });
    match prepared.await {
        Ok((reader, len)) => stream(reader, len, &name),
        Err(error) => broken(&name, &error),
    }
}

/// The installer's script with the lines of a `.msh` file as its settings.
fn with_settings(script: &str, msh: &str) -> String {
    let lines = msh.lines().filter_map(|line| line.split_once('='));
    let settings: serde_json::Map<_, _> =
        order::gather(lines.map(|(key, value)| (key.to_owned(), value.into())));
    let settings = serde_json::Value::Object(settings);
    script.replacen("var msh = {};", &format!("var msh = {settings};"), 1)
}

/// MeshCmd made of an agent and a script behind it.
async fn bundle(agent: &Binary, trailer: std::path::PathBuf, trailer_len: u64) -> Response<Body> {
    let (path, len) = (agent.path.clone(), agent.size + trailer_len);
    let opened =
        pool::unblock(move || io::Result::Ok(File::open(path)?.chain(File::open(trailer)?)));
    match opened.await {
        Ok(reader) => stream(reader, len, "meshcmd"),
        Err(error) => broken("meshcmd", &error),
    }
}

/// A download of `len` bytes, read in the pool, [`CHUNK`] by [`CHUNK`].
pub fn stream(reader: impl Read + Send + 'static, len: u64, name: &str) -> Response<Body> {
    let body = Stream { reader: Unblock::with_capacity(CHUNK, reader), remaining: len };
    let mut response = Response::<Body>::new(Box::pin(body));
    describe(&mut response, name, "application/octet-stream");
    response
}

fn attachment(content: Bytes, name: &str, kind: &'static str) -> Response<Body> {
    let mut response = Response::<Body>::new(Box::pin(Full::new(content).map_err(|e| match e {})));
    describe(&mut response, name, kind);
    response
}

fn describe(response: &mut Response<Body>, name: &str, kind: &'static str) {
    harden(response);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let name: String = name.chars().filter(|c| !c.is_control() && *c != '"').collect();
    let mut disposition = format!("attachment; filename=\"{name}\"");
    if !name.is_ascii() {
        // RFC 6266; the plain form stays for those who do not know it.
        let escaped: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let escaped = escaped.replace('+', "%20");
        disposition.push_str(&format!("; filename*=UTF-8''{escaped}"));
    }
    if let Ok(value) = HeaderValue::try_from(disposition) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "not found")
}

fn unauthorized() -> Response<Body> {
    text(StatusCode::UNAUTHORIZED, "unknown device group")
}

fn unavailable() -> Response<Body> {
    text(StatusCode::SERVICE_UNAVAILABLE, "starting, come back soon")
}

fn broken(what: &str, error: &io::Error) -> Response<Body> {
    log::error!("download of {what}: {error}");
    text(StatusCode::INTERNAL_SERVER_ERROR, "cannot be read")
}

/// A body of known length from a blocking reader.
struct Stream<R> {
    reader: Unblock<R>,
    remaining: u64,
}

impl<R: Read + Send + 'static> hyper::body::Body for Stream<R> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = vec![0; CHUNK];
        let read = ready!(Pin::new(&mut self.reader).poll_read(cx, &mut chunk))?;
        if read == 0 {
            // The file shrank while it was sent: the length promised cannot be kept.
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        let read = read.min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        chunk.truncate(read);
        self.remaining -= read as u64;
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
