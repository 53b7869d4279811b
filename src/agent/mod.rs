//! The MeshAgent protocol: authentication, cores, updates, and what agents report.

pub mod admission;
pub mod auth;
pub mod core;
#[cfg(test)]
mod day_tests;
pub mod discovery;
pub mod kinds;
pub mod machine;
pub mod msh;
pub mod package;
pub mod reports;
pub mod room;
pub mod session;
pub mod wire;
