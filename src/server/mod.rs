//! The wiring: listeners, routes, and the life of the process.

pub mod admin;
pub mod answer;
pub mod app;
pub mod domain;
pub mod downloads;
pub mod http;
mod listen;
pub mod process;
pub mod routes;
pub mod run;
mod service;
pub mod setup;
pub mod slots;
pub mod status;
pub mod upgrade;

/// What a server is started with.
pub struct ServeOptions {
    /// The data folder.
    pub data: std::path::PathBuf,
    /// The configuration.
    pub config: crate::config::Config,
    /// Reads the configuration again, on SIGHUP; the error is for the log.
    pub reread: Box<dyn Fn() -> Result<crate::config::Config, String>>,
}
