//! The way of a command: to the running server, or into the folder if none runs.

use std::io;
use std::path::Path;

use async_executor::LocalExecutor;
use futures_lite::FutureExt as _;

use super::{Common, Failure};
use crate::backup;
use crate::config::{self, Config, Warning};
use crate::hub::Hub;
use crate::identity::password::Passwords;
use crate::server;
use crate::server::admin::{AdminContext, Answer, Reply, Request, execute, socket};
use crate::store::{OpenError, Options, Store};

/// Has `request` done, by the server if one runs on the data folder.
pub(super) fn ask(common: &Common, request: &Request) -> Result<Answer, Failure> {
    let reply = match ask_server(common, request)? {
        Some(reply) => reply,
        None => ask_folder(common, request.clone())?,
    };
    match reply {
        Reply::Done(answer) => Ok(answer),
        Reply::Refused(why) => Err(Failure::failed(why)),
    }
}

/// Asks the running server; `None` if none runs.
pub(super) fn ask_server(common: &Common, request: &Request) -> Result<Option<Reply>, Failure> {
    let path = socket::path(&common.data, std::env::var_os("RUNTIME_DIRECTORY"));
    socket::ask(&path, request).map_err(|error| {
        Failure::failed(match error.kind() {
            io::ErrorKind::PermissionDenied => {
                format!("{}: only the user the server runs as, and root, may", path.display())
            }
            _ => format!("the server at {} does not answer: {error}", path.display()),
        })
    })
}

/// Opens the folder under its lock and does it here.
fn ask_folder(common: &Common, request: Request) -> Result<Reply, Failure> {
    let (config, _) = load_config(&common.data)?;
    // A command that only looks makes no folder.
    let changes = matches!(request, Request::UserAdd { .. } | Request::GroupAdd { .. });
    if !changes && !common.data.is_dir() {
        return Err(Failure::failed(format!("there is no folder {}", common.data.display())));
    }
    if let Some(stage) = backup::restore::interrupted(&common.data) {
        return Err(Failure::failed(server::half_restored(&stage)));
    }
    let (store, report) = Store::open(&common.data, Options::default()).map_err(refused)?;
    if report.lost.is_some() {
        log::warn!("{report}");
    }
    let executor = LocalExecutor::new();
    let disk = store.clone();
    executor.spawn(async move { disk.run().await }.boxed_local()).detach();
    async_io::block_on(executor.run(async {
        let hub = Hub::new(store.clone(), config, report.floor);
        let data = common.data.clone();
        let ctx = AdminContext { hub, passwords: Passwords::default(), data, live: None };
        let reply = execute(&ctx, request).await;
        store.close().await.map_err(Failure::failed)?;
        Ok(reply)
    }))
}

pub(super) fn refused(error: OpenError) -> Failure {
    match error {
        OpenError::InUse { .. } => Failure::failed(format!(
            "{error}, which does not answer on its admin socket; was it started with another \
             RUNTIME_DIRECTORY, or is it just starting or stopping?"
        )),
        OpenError::Io { .. } => Failure::failed(error),
    }
}

/// Reads `config.json` of the data folder, with the overrides of the environment.
pub(super) fn load_config(data: &Path) -> Result<(Config, Vec<Warning>), Failure> {
    config::load(&data.join("config.json"), config::environment()).map_err(Failure::usage)
}
