//! meshboard: a MeshCentral-compatible remote-management server for small boards.
//!
//! The rooms and the directions between them are drawn in `ARCHITECTURE.md`.

#[cfg(feature = "acme")]
pub mod acme;
pub mod agent;
pub mod amt;
pub mod backup;
pub mod cli;
pub mod config;
pub mod control;
pub mod files;
pub mod hub;
pub mod identity;
pub mod interfaces;
pub mod migrate;
pub mod model;
pub mod mps;
pub mod pool;
pub mod relay;
pub mod server;
pub mod store;
pub mod tls;
pub mod web;
pub mod ws;
