//! The life of the process: from an open folder to listening ports to a clean stop.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use async_executor::LocalExecutor;
use async_io::Timer;
use async_net::TcpListener;
use async_signal::{Signal, Signals};
use futures_lite::{FutureExt as _, StreamExt as _, future};

use crate::agent::discovery;
use crate::agent::package::Package;
use crate::agent::room::Room;
use crate::backup;
use crate::config::{Config, Reach, Settings};
use crate::control::premises::Premises;
use crate::control::{self, statistics};
use crate::files::Cabinet;
use crate::hub::Hub;
use crate::hub::held::HeldCause;
use crate::identity::tls::WebTls;
use crate::identity::{self, Names, Role};
use crate::model::Storage;
use crate::pool;
use crate::store::{self, Store};

use super::admin::{AdminContext, Live, Ports, Reload, socket};
use super::app::{App, Failure, Port};
use super::backups;
use super::fronts;
use super::http;
use super::listen::Sockets;
use super::process;
use super::service;
use super::status::StatusEndpoint;
use super::{Reread, ServeOptions};

/// How often the web certificate files are looked at.
const CERTIFICATE_WATCH: Duration = Duration::from_secs(10);
/// Time for the last changes to reach the disk when the server stops.
const STOP: Duration = Duration::from_millis(1500);
/// Time for running tunnels to end before that.
const FAREWELL: Duration = Duration::from_millis(500);

/// Runs the server until SIGTERM or SIGINT.
pub fn serve(options: ServeOptions) -> Result<(), Failure> {
    process::allow_open_files();
    let executor = Rc::new(LocalExecutor::new());
    async_io::block_on(executor.run(run(executor.clone(), options)))
}

async fn run(executor: Rc<LocalExecutor<'static>>, options: ServeOptions) -> Result<(), Failure> {
    let ServeOptions { data, config, warnings, reread } = options;
    if let Some(stage) = backup::restore::interrupted(&data) {
        return Err(super::half_restored(&stage).into());
    }
    let storage = config.settings.storage;
    let (store, report) = Store::open(&data, store::Options { storage, ..Default::default() })?;
    match report.lost {
        Some(_) => log::error!("{report}"),
        None => log::info!("{report}"),
    }
    if storage == Storage::Volatile {
        log::warn!(
            "storage is volatile: what changes from now on is lost unless the server is stopped \
             cleanly"
        );
    }
    let hub = Hub::new(store.clone(), config, report.floor);
    // Commits resolve only while this runs.
    let running = store.clone();
    executor.spawn(async move { running.run().await }.boxed_local()).detach();
    let config = hub.config();
    let names = names(&config);

    // The web certificate takes milliseconds, so the port answers at once; agents are asked to come
    // back until the RSA keys are there.
    let web = identity::load_or_make_web(&data, &names)?;
    let tls = WebTls::new(web);
    let agents = Room::new(hub.clone(), tls.clone());
    let mut sockets = Sockets::inherited(&config.settings);
    let (listener, port) = sockets.https().await?;
    let server_config = tls.server_config()?;
    let app = App::new(executor.clone(), hub.clone(), agents, server_config, port, &data)?;

    let premises = Premises::new(&data, warnings);
    let files = premises.files.clone();
    app.control.set_premises(premises);
    let spawn = |task: Task| executor.spawn(task).detach();
    spawn(Box::pin(http::serve_tls(app.clone(), listener, Port::Main)));
    if let Some(port) = config.settings.agent_port {
        let listener = sockets.on(port).await?;
        spawn(Box::pin(http::serve_tls(app.clone(), listener, Port::Agents)));
    }
    let mut redirect = None;
    if let Some(port) = config.settings.redir_port {
        match sockets.on(port).await {
            Ok(listener) => {
                redirect = Some(port);
                spawn(Box::pin(http::serve_redirect(app.clone(), listener)));
            }
            Err(error) => log::warn!("no redirection from HTTP: {error}"),
        }
    }
    // Open from the start: firmware that is refused does not come back for hours. It is served when
    // the certificates are there.
    let mut mps = None;
    let is_called = config.settings.reach != Reach::Lan;
    if !is_called && config.settings.mps_port.is_some() {
        log::info!("LAN mode: the port of Intel AMT stays closed, see docs/modes.md");
    }
    if let Some(port) = config.settings.mps_port.filter(|_| is_called) {
        match sockets.mps(port).await {
            Ok(listener) => {
                app.mps.opened(port);
                mps = Some(listener);
            }
            Err(error) => log::warn!("Intel AMT cannot connect: {error}"),
        }
    }
    sockets.close_unused();
    let status = start_status(&config.settings, &hub);
    let ports = Ports {
        https: port,
        agent: config.settings.agent_port,
        redirect,
        mps: app.mps.port(),
        status: status.as_ref().map(|endpoint| endpoint.address().port()),
    };
    let admin = serve_admin(&app, &data, ports);
    let recordings = app.recordings.clone();
    spawn(Box::pin(async move { recordings.run().await }));
    spawn(Box::pin(heartbeat(hub.clone())));
    spawn(Box::pin(backups::run(hub.clone(), data.clone())));
    spawn(Box::pin(control::housekeeping::run(app.control.clone())));
    spawn(Box::pin(sample(app.clone())));
    spawn(Box::pin(crate::amt::watch::run(app.amt.clone())));
    spawn(Box::pin(remove_unfinished(files)));
    spawn(Box::pin(fronts::run(hub.clone())));
    spawn(Box::pin(app.lan.clone().watch()));
    let told = app.clone();
    let tell: discovery::socket::Tell = Box::new(move || told.presence());
    spawn(Box::pin(discovery::socket::run(hub.clone(), tell)));
    spawn(Box::pin(app.activation.clone().run()));
    spawn(Box::pin(watch_certificate(app.clone(), data.clone(), names.clone())));
    #[cfg(feature = "acme")]
    spawn(Box::pin(crate::acme::run(renewal(&app, &data, report.floor))));
    announce_setup(&app);
    log::info!("serving https://{}:{}/", app.public_name(None), app.public_port());
    service::ready();

    let failed: Rc<RefCell<Option<Failure>>> = Rc::default();
    let (stop, stopped) = async_channel::bounded::<()>(1);
    let keys = Keys { names, failed: failed.clone(), stop, mps };
    spawn(Box::pin(prepare_keys(app.clone(), data.clone(), keys)));
    let signals = Signals::new([Signal::Term, Signal::Int, Signal::Hup])?;
    wait_for_stop(signals, stopped, async || reload(&app, &data, &*reread).await).await;
    log::info!("stopping");
    service::stopping();
    if let Some(admin) = admin {
        admin.cancel().await;
    }
    end_tunnels(&app.hub).await;
    let saved = async {
        // They have something to tell history.
        app.recordings.close().await;
        store.close().await.map_err(Failure::from)
    };
    let late = async {
        Timer::after(STOP).await;
        Err("the disk took too long to take the last changes".into())
    };
    let saved = future::or(saved, late).await;
    match failed.borrow_mut().take() {
        Some(failure) => Err(failure),
        None => saved,
    }
}

/// Ends what runs through the relay, so that history knows when and how much.
async fn end_tunnels(hub: &Hub) {
    hub.tunnels.end("the server stops", |_| true);
    let ended = async {
        while !hub.tunnels.is_empty() {
            future::yield_now().await;
        }
    };
    let late = async {
        Timer::after(FAREWELL).await;
    };
    future::or(ended, late).await;
}

/// The status endpoint, unless it is switched off or its port is taken.
fn start_status(settings: &Settings, hub: &Hub) -> Option<StatusEndpoint> {
    let port = settings.status_port?;
    match StatusEndpoint::start(port, hub.metrics.clone()) {
        Ok(endpoint) => Some(endpoint),
        Err(error) => {
            log::warn!("no status endpoint on port {port}: {error}");
            None
        }
    }
}

/// Answers commands of the machine's owner. Without its socket the server is of use all the same.
fn serve_admin(app: &Rc<App>, data: &Path, ports: Ports) -> Option<async_executor::Task<()>> {
    let path = socket::path(data, std::env::var_os("RUNTIME_DIRECTORY"));
    let listener = match socket::Listener::bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            log::warn!("no commands while the server runs: {}: {error}", path.display());
            return None;
        }
    };
    let (reloading, folder) = (app.clone(), data.to_owned());
    let reload_agents: Reload = Box::new(move || {
        let (app, data) = (reloading.clone(), folder.clone());
        Box::pin(async move { load_package(&app, &data).await })
    });
    let ctx = AdminContext {
        hub: app.hub.clone(),
        passwords: app.passwords.clone(),
        data: data.to_owned(),
        live: Some(Live { ports, reload_agents, amt: app.amt.clone() }),
    };
    Some(app.executor.spawn(socket::serve(app.executor.clone(), listener, ctx).boxed_local()))
}

/// What keeps the web certificate fresh, if `letsencrypt` asks for that.
#[cfg(feature = "acme")]
fn renewal(app: &Rc<App>, data: &Path, floor: crate::model::Millis) -> crate::acme::Renewal {
    let hub = app.hub.clone();
    crate::acme::Renewal {
        data: data.to_owned(),
        tls: app.agents.tls.clone(),
        proofs: app.proofs.clone(),
        wanted: Box::new(move || hub.config().acme.clone()),
        floor,
    }
}

/// Says how the first account is made, if there is none.
fn announce_setup(app: &App) {
    if let Some(code) = control::setup::setup_code(&app.hub) {
        log::warn!(
            "there is no account yet. Setup code: {code}. Use it at https://{}:{}/, or run \
             `meshboard user add NAME --admin`",
            app.public_name(None),
            app.public_port()
        );
    }
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// What [`prepare_keys`] works with.
struct Keys {
    names: Names,
    failed: Rc<RefCell<Option<Failure>>>,
    stop: async_channel::Sender<()>,
    /// The listener of Intel AMT, which waits for its certificates.
    mps: Option<TcpListener>,
}

/// Makes or loads what agents and Intel AMT need: the RSA identities and the package.
async fn prepare_keys(app: Rc<App>, data: PathBuf, keys: Keys) {
    let Keys { names, failed, stop, mps } = keys;
    load_package(&app, &data).await;
    let devices = app.hub.store.device_count();
    let loading = data.clone();
    let rsa = pool::unblock(move || identity::load_or_make_rsa(&loading, &names, devices));
    match rsa.await {
        Ok(rsa) => {
            log::info!("agents may connect (ServerID {})", rsa.agent_server.id().hex());
            app.agents.set_server(rsa.agent_server);
            app.hub.amt_home().set_root(identity::Root::new(data.clone(), &rsa.root));
            app.mps.set_root(rsa.root);
            app.refresh_facts();
        }
        Err(error) => {
            *failed.borrow_mut() = Some(error.into());
            let _ = stop.send(()).await;
            return;
        }
    }
    if let Some(listener) = mps
        && let Err(error) = open_mps(&app, data, listener).await
    {
        log::error!("Intel AMT: {error}");
    }
}

/// Serves the Intel AMT port, at first with one certificate. The second takes seconds to be made at
/// the first start, and new firmware only wants it.
async fn open_mps(app: &Rc<App>, data: PathBuf, listener: TcpListener) -> Result<(), Failure> {
    let settings = app.hub.config().settings.clone();
    let (folder, name) = (data.clone(), settings.mps_name.or(settings.cert));
    let loaded = pool::unblock(move || identity::load_mps(&folder, name.as_deref())).await?;
    app.mps.equip(&data, &loaded)?;
    app.refresh_facts();
    log::info!("Intel AMT may connect to port {}", app.mps.port().unwrap_or_default());
    app.executor.spawn(super::mps::serve(app.clone(), listener).boxed_local()).detach();
    let name = loaded.common_name().unwrap_or_default();
    let long = pool::unblock(move || identity::load_or_make_long_mps(&data, &name)).await?;
    app.mps.lengthen(&long)
}

/// Opens the installed agent package; without one agents keep the core they have.
pub async fn load_package(app: &App, data: &Path) {
    let minified = app.hub.config().settings.minify_core;
    let folder = data.join("agents");
    match pool::unblock(move || Package::open(&folder, minified)).await {
        Ok(Some(package)) => {
            log::info!("agent package {}", package.version().unwrap_or("without version"));
            if let Some(premises) = app.control.premises() {
                let version = package.version().unwrap_or_default();
                premises.agent_package.replace(Some(version.to_owned()));
            }
            app.agents.set_package(Some(package));
        }
        Ok(None) => log::info!(
            "no agent package: agents keep their core; see `meshboard agents install --help`"
        ),
        Err(error) => log::error!("agent package: {error}"),
    }
}

/// Waits for a signal to stop; SIGHUP reloads.
async fn wait_for_stop(
    mut signals: Signals,
    stopped: async_channel::Receiver<()>,
    reload: impl AsyncFn(),
) {
    let signals = async {
        while let Some(signal) = signals.next().await {
            match signal {
                Ok(Signal::Hup) => reload().await,
                Ok(_) => return,
                Err(error) => log::error!("signals: {error}"),
            }
        }
    };
    let failed = async {
        // A closed channel means that everything is ready: nothing more will fail here.
        if stopped.recv().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    future::or(signals, failed).await;
}

/// Takes over a changed configuration and agent package. Ports stay as they are until a restart.
async fn reload(app: &Rc<App>, data: &Path, reread: &Reread) {
    service::reloading();
    match reread() {
        Ok((config, warnings)) => {
            app.hub.set_config(config);
            // Whatever somebody was refused for may have changed.
            app.hub.held.release(|_| true);
            app.hub.fronts.look();
            app.control.set_premises(Premises::new(data, warnings));
            app.activation.load().await;
            app.refresh_facts();
            log::info!("configuration read again; ports change at the next start");
        }
        Err(error) => log::error!("the configuration stays as it was: {error}"),
    }
    load_package(app, data).await;
    service::ready();
}

/// Shows other threads and systemd that the loop turns, and how much there is.
async fn heartbeat(hub: Rc<Hub>) {
    let mut service = service::Pulse::default();
    loop {
        hub.metrics.beat();
        hub.metrics.tunnels.store(hub.tunnels.len() as u64, Relaxed);
        hub.metrics.devices.store(hub.store.device_count() as u64, Relaxed);
        hub.metrics.bytes_written.store(hub.store.bytes_written(), Relaxed);
        hub.metrics.store_degraded.store(hub.store.health().degraded.is_some().into(), Relaxed);
        service.beat(&hub.metrics);
        Timer::after(Duration::from_secs(1)).await;
    }
}

/// Removes what uploads left behind when the last run ended.
async fn remove_unfinished(files: Cabinet) {
    match pool::unblock(move || files.remove_unfinished()).await {
        Ok(0) => {}
        Ok(count) => log::info!("removed {count} unfinished uploads"),
        Err(error) => log::warn!("unfinished uploads: {error}"),
    }
}

/// Notes the server's numbers now and then.
async fn sample(app: Rc<App>) {
    loop {
        app.control.sample();
        Timer::after(statistics::INTERVAL).await;
    }
}

/// Puts a renewed web certificate in force. A pair that does not fit (only one file replaced yet)
/// is looked at again later.
async fn watch_certificate(app: Rc<App>, data: PathBuf, names: Names) {
    let tls = app.agents.tls.clone();
    let mut seen = stamp(&data);
    loop {
        Timer::after(CERTIFICATE_WATCH).await;
        let now = stamp(&data);
        // Without both files there is nothing to take over, and nothing is made while running.
        if now == seen || now.iter().any(Option::is_none) {
            continue;
        }
        match identity::load_or_make_web(&data, &names) {
            Ok(web) if web.hash == tls.hash() => seen = now,
            Ok(web) => {
                log::info!("web certificate replaced, SHA-384 {}", web.hash.hex());
                tls.replace(web);
                app.hub.held.release(|refusal| refusal.cause == HeldCause::WebHash);
                app.refresh_facts();
                seen = now;
            }
            Err(error) => log::warn!("web certificate not replaced: {error}"),
        }
    }
}

fn stamp(data: &Path) -> [Option<SystemTime>; 2] {
    [Role::Web.cert_path(data), Role::Web.key_path(data)]
        .map(|path| path.metadata().and_then(|m| m.modified()).ok())
}

/// Names for certificates: what is configured, and what this machine is called.
fn names(config: &Config) -> Names {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let server = config.settings.cert.clone().unwrap_or_else(|| host.clone());
    let local = format!("{host}.local");
    let others = [host, local, "localhost".into(), "127.0.0.1".into(), "::1".into()];
    Names { server, others: others.into() }
}
