//! Files people keep on the server, by HTTP: `/uploadfile.ashx`, `/downloadfile.ashx`, `/userfiles/`.
//!
//! Who asks proves it as at the control channel, mostly with a cookie from there (`auth`). Everything
//! goes out as a download and in a sandbox: what people store here must never run as a page of this
//! server.

use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future::or;
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use multer::{Constraints, Field, Multipart, SizeLimit};

use crate::control::auth::Upgrade;
use crate::control::folders;
use crate::files::{FileError, Name, Place, Upload};
use crate::model::{DomainId, User, UserId};
use crate::pool;

use super::answer::{Body, query, text};
use super::app::App;
use super::asked::Asked;
use super::downloads;

/// Longest field of a form that is not a file, in bytes.
const FIELD_MAX: u64 = 8192;
/// Most files in one form.
const FILES_MAX: usize = 100;
/// Time in which the next piece of a file must arrive.
const PIECE_TIME: Duration = Duration::from_secs(30);
/// Nothing a file contains may act.
const SANDBOX: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";

/// Why a request about files is refused.
enum Refusal {
    /// Nobody, or somebody who may not keep files.
    Unauthorized,
    /// No such file, or not for this user: the same from outside.
    NotFound,
    /// The form is not one.
    Malformed,
    /// No room.
    Full,
    /// The system said no.
    Failed(FileError),
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Full => Self::Full,
            FileError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => Self::NotFound,
            error => Self::Failed(error),
        }
    }
}

impl Refusal {
    fn answer(self, path: &str) -> Response<Body> {
        match self {
            Self::Unauthorized => text(StatusCode::UNAUTHORIZED, "not logged in"),
            Self::NotFound => text(StatusCode::NOT_FOUND, "not found"),
            Self::Malformed => text(StatusCode::BAD_REQUEST, "malformed form"),
            Self::Full => text(StatusCode::INSUFFICIENT_STORAGE, "no room left for files"),
            Self::Failed(error) => {
                log::info!("{path}: {error}");
                text(StatusCode::NOT_FOUND, "not found")
            }
        }
    }
}

/// POST `/uploadfile.ashx`: a form with `auth` (unless the request itself says who sends it), `link`
/// (`user/<domain>/<name>[/folder…]` or `mesh/…`) and files behind them.
pub async fn upload(app: &Rc<App>, request: Request<Incoming>, asked: Asked) -> Response<Body> {
    match take(app, request, &asked).await {
        Ok(user) => {
            folders::tell_sessions(&app.control, &user, None).await;
            text(StatusCode::OK, "")
        }
        Err(refusal) => refusal.answer("/uploadfile.ashx"),
    }
}

/// Who sends a request, by the door of the control channel.
async fn sender(app: &App, upgrade: &Upgrade<'_>) -> Result<Rc<User>, Refusal> {
    let login = app.control.gate.admit(upgrade).await.map_err(|_| Refusal::Unauthorized)?;
    app.hub.store.user(&login.user).ok_or(Refusal::Unauthorized)
}

/// Reads the form to its end; returns who sent it.
async fn take(app: &App, request: Request<Incoming>, asked: &Asked) -> Result<Rc<User>, Refusal> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let boundary = kind.and_then(|kind| multer::parse_boundary(kind).ok());
    let boundary = boundary.ok_or(Refusal::Malformed)?;
    let limits = SizeLimit::new().for_field("auth", FIELD_MAX).for_field("link", FIELD_MAX);
    let body = BodyDataStream::new(request.into_body());
    let mut form =
        Multipart::with_constraints(body, boundary, Constraints::new().size_limit(limits));
    let upgrade = asked.upgrade();
    let mut user = match upgrade.meshauth.is_some() || !upgrade.query.is_empty() {
        true => Some(sender(app, &upgrade).await?),
        false => None,
    };
    let mut place = None;
    let mut files = 0;
    while let Some(field) = piece(form.next_field()).await? {
        match (field.name().unwrap_or_default(), field.file_name()) {
            ("auth", None) => {
                let cookie = said(field).await?;
                let query: String = form_urlencoded::byte_serialize(cookie.as_bytes()).collect();
                let query = format!("auth={query}");
                user = Some(sender(app, &Upgrade { query: &query, ..upgrade }).await?);
            }
            ("link", None) => {
                let link = said(field).await?;
                let user = user.as_ref().ok_or(Refusal::Unauthorized)?;
                place = Some(place_of(app, user, &link).ok_or(Refusal::NotFound)?);
            }
            (_, Some(name)) => {
                let user = user.as_ref().ok_or(Refusal::Unauthorized)?;
                let place = place.as_ref().ok_or(Refusal::NotFound)?;
                let name = Name::new(name).ok_or(Refusal::NotFound)?;
                files += 1;
                if files > FILES_MAX {
                    return Err(Refusal::Malformed);
                }
                store(app, place, &name, field).await?;
                log::info!("files: {} uploaded {:?} to {}", user.id, name.as_str(), place.drawer);
            }
            // Whatever else a form has is read over, piece by piece.
            (_, None) => skip(field).await?,
        }
    }
    user.filter(|_| place.is_some()).ok_or(Refusal::NotFound)
}

/// What `future` yields, if it does so in time.
async fn piece<T>(future: impl Future<Output = multer::Result<T>>) -> Result<T, Refusal> {
    let late = async {
        Timer::after(PIECE_TIME).await;
        Err(Refusal::Malformed)
    };
    or(async { future.await.map_err(|_| Refusal::Malformed) }, late).await
}

/// The content of a field that is not a file: UTF-8, whatever its sender says. That is what browsers
/// send, and the tables of other character sets are 0.2 MB.
async fn said(field: Field<'_>) -> Result<String, Refusal> {
    let bytes = piece(field.bytes()).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn skip(mut field: Field<'_>) -> Result<(), Refusal> {
    while piece(field.chunk()).await?.is_some() {}
    Ok(())
}

/// Stores one file piece by piece; the pool writes each before the next is read.
async fn store(app: &App, place: &Place, name: &Name, mut field: Field<'_>) -> Result<(), Refusal> {
    let cabinet = app.control.premises().ok_or(Refusal::NotFound)?.files.clone();
    let quota = folders::quota(&app.hub, &place.drawer);
    let target = place.clone();
    let mut upload: Upload = pool::unblock(move || cabinet.upload(&target, quota)).await?;
    while let Some(chunk) = piece(field.chunk()).await? {
        upload = pool::unblock(move || upload.write(&chunk).map(|()| upload)).await?;
    }
    let name = name.clone();
    Ok(pool::unblock(move || upload.finish(&name)).await?)
}

/// The folder a `link` names, if the user may use it. It may be written with `%` escapes.
fn place_of(app: &App, user: &User, link: &str) -> Option<Place> {
    let link = decoded(link);
    let mut parts = link.split('/');
    let id = [parts.next()?, parts.next()?, parts.next()?].join("/");
    let drawer = folders::drawer(&app.hub, user, &id)?;
    // A trailing slash is no folder.
    let folders = parts.filter(|part| !part.is_empty()).map(Name::new).collect::<Option<_>>()?;
    Some(Place { drawer, folders })
}

/// JavaScript's `decodeURIComponent`.
fn decoded(text: &str) -> String {
    // Form decoding takes these for something else.
    let text = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let pair = form_urlencoded::parse(text.as_bytes()).next();
    pair.map(|(name, _)| name.into_owned()).unwrap_or_default()
}

/// GET `/downloadfile.ashx?link=user/<domain>/<name>/…/<file>&auth=<cookie>`.
pub async fn download(app: &App, asked: &Asked, uri: &Uri) -> Response<Body> {
    let found = sender(app, &asked.upgrade()).await.ok().and_then(|user| {
        let link = query(uri, "link")?;
        let (folder, file) = link.rsplit_once('/')?;
        Some((place_of(app, &user, folder)?, Name::new(file)?))
    });
    send(app, found, "/downloadfile.ashx").await
}

/// GET `/userfiles/<name>/…/<file>`: what an account lets everybody download.
pub async fn public(app: &App, domain: &DomainId, path: &str) -> Response<Body> {
    let path = decoded(path);
    let found = || {
        let mut parts = path.split('/');
        let user = UserId::new(domain.clone(), parts.next()?).ok()?;
        app.hub.store.user(&user)?;
        let mut place = Place::public(user);
        let names: Vec<_> = parts.map(Name::new).collect::<Option<_>>()?;
        let (file, folders) = names.split_last()?;
        place.folders.extend_from_slice(folders);
        Some((place, file.clone()))
    };
    send(app, found(), "/userfiles").await
}

async fn send(app: &App, found: Option<(Place, Name)>, path: &str) -> Response<Body> {
    let premises = app.control.premises();
    let (Some((place, name)), Some(premises)) = (found, premises) else {
        return Refusal::NotFound.answer(path);
    };
    let (cabinet, file) = (premises.files.clone(), name.clone());
    match pool::unblock(move || cabinet.read(&place, &file)).await {
        Ok((file, len)) => {
            let mut response = downloads::stream(file, len, name.as_str());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => Refusal::from(error).answer(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_decoded_as_browsers_escape_them() {
        for (text, plain) in [
            ("user//ann/My%20Files", "user//ann/My Files"),
            ("mesh//a@b$c", "mesh//a@b$c"),
            ("a+b=c&d", "a+b=c&d"),
            ("%2e%2e%2Fx", "../x"),
            ("%zz", "%zz"),
            ("", ""),
        ] {
            assert_eq!(decoded(text), plain, "{text}");
        }
    }
}
