//! The MeshAgent protocol: authentication, cores, updates, and what agents report.

pub mod auth;
pub mod kinds;
pub mod msh;
pub mod package;
pub mod wire;
