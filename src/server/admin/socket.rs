//! The way to a running server: a Unix socket that only its owner and root may use.
//!
//! It is `meshboard.sock` in `$RUNTIME_DIRECTORY` or the data folder. Each connection carries one
//! request and one reply, a line of JSON each.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use async_executor::LocalExecutor;
use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, future};

use super::{AdminContext, Reply, Request, execute};

/// Name of the socket.
const NAME: &str = "meshboard.sock";
/// Longest request in bytes.
const REQUEST_MAX: usize = 64 << 10;
/// Longest reply in bytes: some hundred thousand accounts.
const REPLY_MAX: u64 = 64 << 20;
/// Time to send a request, and to take a reply.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time a command may take: an Argon2 hash behind sixteen others on a small board.
const COMMAND: Duration = Duration::from_secs(120);
/// Connections at a time; further ones wait.
const CONNECTIONS: usize = 8;
/// Longest path a socket address takes (`sun_path`, with its final zero).
const ADDRESS_MAX: usize = 107;

/// Where the socket of the server on `data` is: in `runtime` (`$RUNTIME_DIRECTORY`) if given.
pub fn path(data: &Path, runtime: Option<OsString>) -> PathBuf {
    match runtime {
        Some(runtime) if !runtime.is_empty() => Path::new(&runtime).join(NAME),
        _ => data.join(NAME),
    }
}

/// A listening admin socket; its file goes away with it.
pub struct Listener {
    inner: Async<std::os::unix::net::UnixListener>,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`. Whoever calls this holds the lock of the data folder, so a socket that is
    /// there is left over from a server that was killed.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let near = Near::new(path)?;
        let inner = std::os::unix::net::UnixListener::bind(&near.path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { inner: Async::new(inner)?, path: path.to_owned() })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = fs::remove_file(&self.path);
    }
}

/// A path short enough for a socket address: through the open folder if need be.
struct Near {
    path: PathBuf,
    _folder: Option<fs::File>,
}

impl Near {
    fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= ADDRESS_MAX {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let folder = fs::File::open(path.parent().unwrap_or(Path::new(".")))?;
        let path = format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()).into();
        Ok(Self { path, _folder: Some(folder) })
    }
}

/// Answers on the socket until the task is cancelled, which removes the socket.
pub async fn serve(executor: Rc<LocalExecutor<'static>>, listener: Listener, ctx: AdminContext) {
    let ctx = Rc::new(ctx);
    let (done, free) = async_channel::bounded::<()>(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let _ = done.try_send(());
    }
    loop {
        // The channel cannot close: `done` lives here.
        let _ = free.recv().await;
        match listener.inner.accept().await {
            Ok((stream, _)) => {
                let (ctx, done) = (ctx.clone(), done.clone());
                let task = async move {
                    if let Err(error) = talk(&ctx, stream).await {
                        log::warn!("admin socket: {error}");
                    }
                    let _ = done.try_send(());
                };
                executor.spawn(task.boxed_local()).detach();
            }
            Err(error) => {
                let _ = done.try_send(());
                log::warn!("admin socket: {error}");
                // Out of file descriptors, most likely.
                Timer::after(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn talk(ctx: &AdminContext, mut stream: Async<UnixStream>) -> io::Result<()> {
    // The file's mode says the same, but not in the moment between bind and chmod.
    let peer = rustix::net::sockopt::socket_peercred(&stream)?.uid;
    if !peer.is_root() && peer != rustix::process::geteuid() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "refused another user"));
    }
    let line = in_time(PATIENCE, read_line(&mut stream)).await?;
    let reply = match serde_json::from_slice(&line) {
        Ok(request) => execute(ctx, request).await,
        Err(error) => Reply::Refused(format!("the server does not understand: {error}")),
    };
    let mut text = serde_json::to_vec(&reply)?;
    text.push(b'\n');
    in_time(PATIENCE, async { stream.write_all(&text).await }).await
}

async fn read_line(stream: &mut Async<UnixStream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let n = stream.read(&mut chunk).await?;
        let read = chunk.get(..n).unwrap_or_default();
        if let Some(end) = read.iter().position(|b| *b == b'\n') {
            line.extend_from_slice(read.get(..end).unwrap_or_default());
            return Ok(line);
        }
        line.extend_from_slice(read);
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.len() > REQUEST_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the request is too long"));
        }
    }
}

async fn in_time<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    future::or(work, async {
        Timer::after(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    })
    .await
}

/// Asks the server behind `path`; blocks. `None` means nobody listens there.
///
/// # Errors
/// When somebody listens and does not answer, or is another user's.
pub fn ask(path: &Path, request: &Request) -> io::Result<Option<Reply>> {
    let connected = Near::new(path).and_then(|near| UnixStream::connect(near.path));
    let mut stream = match connected {
        Ok(stream) => stream,
        Err(error) => {
            let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
            return if nobody.contains(&error.kind()) { Ok(None) } else { Err(error) };
        }
    };
    stream.set_read_timeout(Some(COMMAND))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut line = Vec::new();
    BufReader::new(stream.take(REPLY_MAX)).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"));
    }
    Ok(Some(serde_json::from_slice(&line)?))
}
