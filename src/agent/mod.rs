//! The MeshAgent protocol: authentication, cores, updates, and what agents report.

pub mod auth;
pub mod msh;
pub mod wire;
