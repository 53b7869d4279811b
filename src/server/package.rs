//! `POST /agentpackage.ashx`: an administrator installs or replaces the stock agent package, as
//! `meshboard agents install` does. The body is the file that `npm pack meshcentral` makes; this
//! server fetches nothing from anywhere by itself.
//!
//! Once the file is here the answer begins: a line of JSON for each step, so that neither the page
//! nor a proxy waits in silence, and a last one with the outcome. Who asks proves it as at the control
//! channel.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use bytes::Bytes;
use futures_lite::future::or;
use futures_lite::{FutureExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::agent::kinds::{self, AgentKind};
use crate::agent::package::install::{self as setup, InstallError, Progress, Summary};
use crate::config::MyServer;
use crate::pool;

use super::answer::{Body, harden, no_store, text};
use super::app::App;
use super::asked::Asked;
use super::run::load_package;

/// Longest package, in bytes; the stock one has 138 MB.
const PACKAGE_MAX: u64 = 1 << 30;
/// Time in which the next piece of it must arrive.
const PIECE_TIME: Duration = Duration::from_secs(30);
/// Where it is kept until it is unpacked, beside the `agents` folder.
const UPLOAD: &str = "agents-upload.tgz";
/// Steps that may wait for a reader; who is slow misses some.
const STEPS: usize = 8;

/// Answers an upload. `arch` in the query limits what is taken, as `--arch` does; several are
/// separated by commas.
pub async fn install(app: Rc<App>, request: Request<Incoming>, asked: Asked) -> Response<Body> {
    let Some(who) = administrator(&app, &asked).await else {
        return text(StatusCode::UNAUTHORIZED, "only for administrators who are logged in");
    };
    let Some(premises) = app.control.premises() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "starting, come back soon");
    };
    let Some(only) = wanted(&asked.query) else {
        return text(StatusCode::BAD_REQUEST, "no agent is called that");
    };
    let Some(turn) = Turn::take(&app) else {
        return text(StatusCode::CONFLICT, "a package is being installed already");
    };
    let upload = match receive(request.into_body(), premises.data.join(UPLOAD)).await {
        Ok(upload) => upload,
        Err(refusal) => return refusal.answer(),
    };
    log::info!("agent package: {who} from {} uploaded one", asked.remote);
    let (tell, told) = async_channel::bounded(STEPS);
    let data = premises.data.clone();
    // In a task of its own: whoever asked may go, what has begun is brought to its end.
    let working = app.clone();
    let work = async move {
        let outcome = unpack(&working, data, upload, only, tell.clone()).await;
        drop(turn);
        let _ = tell.send(outcome).await;
    };
    app.executor.spawn(work.boxed_local()).detach();
    lines(told)
}

/// The name of whoever asks, if that is a full administrator who did not come by a login token, and
/// is shown updates of the server.
async fn administrator(app: &App, asked: &Asked) -> Option<String> {
    let login = app.control.gate.admit(&asked.upgrade()).await.ok()?;
    let user = app.hub.store.user(&login.user)?;
    let config = app.hub.config();
    let shown = config.domain(&user.id.domain).my_server.contains(MyServer::UPGRADE);
    (user.site.is_full() && login.token.is_none() && shown).then(|| user.id.to_string())
}

/// Which agents are wanted; `None` if there is none of such a name.
#[expect(clippy::option_option, reason = "all of them, some of them, or a wrong name")]
fn wanted(query: &str) -> Option<Option<Vec<&'static AgentKind>>> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let Some((_, names)) = pairs.find(|(name, text)| name == "arch" && !text.is_empty()) else {
        return Some(None);
    };
    let kinds = names.split(',').map(kinds::parse_arch).collect::<Result<Vec<_>, _>>();
    Some(Some(kinds.ok()?.concat()))
}

/// One installation at a time.
struct Turn(Rc<App>);

impl Turn {
    fn take(app: &Rc<App>) -> Option<Self> {
        (!app.installing.replace(true)).then(|| Self(app.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.installing.set(false);
    }
}

/// The file while it is needed.
struct Uploaded(PathBuf);

impl Drop for Uploaded {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            log::warn!("{}: {error}", self.0.display());
        }
    }
}

/// Why an upload came to nothing.
enum Refusal {
    TooLarge,
    /// It broke off, or did not go on in time.
    Broken,
    /// The disk is full, or refuses.
    Unwritten(io::Error),
}

impl Refusal {
    fn answer(self) -> Response<Body> {
        match self {
            Self::TooLarge => text(StatusCode::PAYLOAD_TOO_LARGE, "no agent package is that large"),
            Self::Broken => text(StatusCode::BAD_REQUEST, "the upload broke off"),
            Self::Unwritten(error) => {
                log::warn!("agent package: {error}");
                text(StatusCode::INSUFFICIENT_STORAGE, "the server cannot keep the file")
            }
        }
    }
}

/// Writes the body to `path`; the pool writes each piece before the next is read.
async fn receive(mut body: Incoming, path: PathBuf) -> Result<Uploaded, Refusal> {
    let open = move || {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        io::Result::Ok((file, Uploaded(path)))
    };
    let (mut file, uploaded) = pool::unblock(open).await.map_err(Refusal::Unwritten)?;
    let mut len: u64 = 0;
    while let Some(piece) = next(&mut body).await? {
        len += piece.len() as u64;
        if len > PACKAGE_MAX {
            return Err(Refusal::TooLarge);
        }
        let write = move || file.write_all(&piece).map(|()| file);
        file = pool::unblock(write).await.map_err(Refusal::Unwritten)?;
    }
    Ok(uploaded)
}

/// The next piece, in its time.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
    let read = async {
        match body.frame().await {
            // Trailers are no content.
            Some(frame) => {
                Ok(Some(frame.map_err(|_| Refusal::Broken)?.into_data().unwrap_or_default()))
            }
            None => Ok(None),
        }
    };
    let late = async {
        Timer::after(PIECE_TIME).await;
        Err(Refusal::Broken)
    };
    or(read, late).await
}

/// Installs the package and puts it in force; what is to be said of that in the end.
async fn unpack(
    app: &App,
    data: PathBuf,
    upload: Uploaded,
    only: Option<Vec<&'static AgentKind>>,
    tell: async_channel::Sender<Value>,
) -> Value {
    let agents = data.join("agents");
    let install = move || -> Result<Summary, InstallError> {
        let percent = Cell::new(None);
        setup::install(&upload.0, &agents, only.as_deref(), &mut |progress| {
            if let Some(step) = step(progress, &percent) {
                let _ = tell.try_send(step);
            }
        })
    };
    match pool::unblock(install).await {
        Ok(Summary { version, binaries, .. }) => {
            load_package(app, &data).await;
            json!({"installed": {"version": version, "agents": binaries.len()}})
        }
        Err(error) => {
            log::warn!("agent package: {error}");
            json!({"failed": error.to_string()})
        }
    }
}

/// What is said of a step; of reading, each percent once.
fn step(progress: Progress<'_>, last: &Cell<Option<u64>>) -> Option<Value> {
    match progress {
        Progress::Reading { done, total } => {
            let percent = (done * 100).checked_div(total).unwrap_or(100).min(100);
            (last.replace(Some(percent)) != Some(percent))
                .then(|| json!({"step": "reading", "number": percent, "count": 100}))
        }
        Progress::Binary { file, number, count } => {
            Some(json!({"step": "agent", "file": file, "number": number, "count": count}))
        }
        Progress::Cores => Some(json!({"step": "cores"})),
    }
}

/// An answer of one line for each thing that is told.
fn lines(told: async_channel::Receiver<Value>) -> Response<Body> {
    let lines = told.map(|line| io::Result::Ok(Frame::data(Bytes::from(format!("{line}\n")))));
    let mut response = Response::<Body>::new(Box::pin(StreamBody::new(lines)));
    harden(&mut response);
    no_store(&mut response);
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
