//! The wiring: listeners, routes, and the life of the process.

pub mod admin;
pub mod answer;
pub mod app;
pub mod asked;
mod backups;
pub mod body;
pub mod domain;
pub mod downloads;
pub mod files;
pub mod form;
pub mod forwarded;
mod fronts;
pub mod http;
pub mod invite;
mod listen;
pub mod mps;
pub mod package;
pub mod page;
pub mod process;
pub mod recordings;
pub mod routes;
pub mod run;
mod service;
pub mod session;
pub mod setup;
pub mod slots;
pub mod status;
pub mod transport;
pub mod upgrade;
pub mod visits;

/// What a server is started with.
pub struct ServeOptions {
    /// The data folder.
    pub data: std::path::PathBuf,
    /// The configuration.
    pub config: crate::config::Config,
    /// What is wrong with the configuration, one sentence each.
    pub warnings: Vec<String>,
    /// Reads the configuration again, on SIGHUP; the error is for the log.
    pub reread: Box<Reread>,
}

/// Reads the configuration and what is wrong with it.
pub type Reread = dyn Fn() -> Result<(crate::config::Config, Vec<String>), String>;
/// Why neither the server nor a command works on a folder whose restore was interrupted: what is
/// missing in it would be made anew, keys and all.
pub fn half_restored(stage: &std::path::Path) -> String {
    format!(
        "{} is there: a restore was interrupted. Run `meshboard restore` again",
        stage.display()
    )
}
