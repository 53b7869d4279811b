//! `/recordings.ashx?file=`: recordings, as files and piece by piece for the player.
//!
//! Whoever may list recordings may fetch those of the own domain. A WebSocket is told
//! `{"action":"info","name":…,"size":…}` and then asks `{"action":"get","ptr":…,"size":…}`; each
//! answer is a binary frame of the place as eight bytes, big-endian, and what is there. Source:
//! what the stock player asks for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use futures_lite::future::poll_fn;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::control::auth::{Login, Refusal};
use crate::model::{DomainId, SiteRights};
use crate::pool;
use crate::relay::recording::folder::Folder;
use crate::relay::recording::name::belongs_to;
use crate::ws::Socket;

use super::answer::{Body, query, text};
use super::app::App;
use super::asked::Asked;
use super::downloads;
use super::upgrade::{Upgraded, is_upgrade, upgrade};

/// Longest request of a player, in bytes.
const REQUEST_MAX: usize = 1024;
/// Most bytes of an answer to one. The stock player asks for 100 KB.
const PIECE_MAX: u64 = 256 << 10;

/// Answers a request for a recording.
pub async fn serve(app: &Rc<App>, request: Request<Incoming>, asked: Asked) -> Response<Body> {
    let name = query(request.uri(), "file").unwrap_or_default();
    if is_upgrade(&request) {
        let remote = asked.remote;
        let serving = app.clone();
        return upgrade(app, request, remote, REQUEST_MAX, move |socket, place| async move {
            let login = serving.control.gate.admit(&asked.upgrade()).await;
            if let Some((file, size)) = find(&serving, &asked, login, &name).await {
                // It has proven who it is.
                drop(place);
                if let Err(error) = play(socket, file, size, &name).await {
                    log::debug!("{remote}: recording {name:?}: {error}");
                }
            }
        });
    }
    let login = app.control.gate.admit_reader(&asked.upgrade()).await;
    match find(app, &asked, login, &name).await {
        Some((file, size)) => {
            let name: String =
                name.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
            downloads::stream(file, size, &name)
        }
        // Whether there is such a recording is not told to those who may not know.
        None => text(StatusCode::UNAUTHORIZED, "no such recording for you"),
    }
}

/// The recording and its length, if whoever asks may have it.
async fn find(
    app: &App,
    asked: &Asked,
    login: Result<Login, Refusal>,
    name: &str,
) -> Option<(File, u64)> {
    let user = app.hub.store.user(&login.ok()?.user)?;
    let remote = asked.remote.ip().to_canonical();
    // The name is a person's text: a line break in it must not forge a line of the journal.
    if !user.site.allows(SiteRights::RECORDINGS) {
        log::info!("{} from {remote} has no right to recording {name:?}", user.id);
        return None;
    }
    let folder = app.recordings.folder(&asked.domain)?;
    let (opened, domain) = (name.to_owned(), asked.domain.clone());
    let file = pool::unblock(move || open(folder, &opened, &domain)).await;
    match file {
        Ok(found) => {
            log::info!("{} from {remote} fetches recording {name:?}", user.id);
            Some(found)
        }
        Err(error) => {
            log::debug!("{} from {remote}: recording {name:?}: {error}", user.id);
            None
        }
    }
}

fn open(folder: PathBuf, name: &str, domain: &DomainId) -> io::Result<(File, u64)> {
    if !belongs_to(name, domain) {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = Folder::open(&folder)?.read(name)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

#[derive(Deserialize)]
struct Get {
    action: String,
    ptr: u64,
    size: u64,
}

/// Answers a player until it goes. One answer at a time: the next request is read when the last
/// answer is on its way.
async fn play(mut socket: Socket<Upgraded>, file: File, size: u64, name: &str) -> io::Result<()> {
    let file = Arc::new(file);
    socket.send_text(&json!({"action": "info", "name": name, "size": size}).to_string());
    loop {
        poll_fn(|cx| socket.poll_flush(cx)).await?;
        let Some(message) = poll_fn(|cx| socket.poll_recv(cx)).await? else { return Ok(()) };
        let Ok(Get { action, ptr, size: wanted }) = serde_json::from_slice(message.bytes()) else {
            continue;
        };
        if action != "get" {
            continue;
        }
        // Not by what is claimed: by what is there.
        let len = wanted.min(PIECE_MAX).min(size.saturating_sub(ptr));
        let file = file.clone();
        let piece = pool::unblock(move || {
            let mut piece = vec![0; len as usize];
            file.read_exact_at(&mut piece, ptr).map(|()| piece)
        });
        let piece = piece.await?;
        socket.send_binary_shared(&ptr.to_be_bytes(), piece.into());
    }
}
