//! Who is who: certificates and keys, how agents recognise the server, cookies, passwords, codes
//! and security keys.
//!
//! Four certificates, under MeshCentral's file names so that the folder moves both ways:
//! `root` (issues the next two), `agentserver` (agents pin its key for ever), `mpsserver` (Intel
//! AMT), `webserver` (TLS for people and agents; may be replaced at any time).

mod activation;
pub mod certificate;
pub mod cookie;
mod describe;
mod files;
mod firmware;
mod make;
pub mod password;
mod renew;
pub mod tls;
pub mod totp;
pub mod turns;
pub mod webauthn;

pub use activation::{Issued, issue_activation, root_certificate};
pub use certificate::{AgentServer, WebCertificate, key_id};
pub use describe::{Description, describe, describe_all};
pub use files::{IdentityError, Role, write_private};
pub use firmware::{PublicKey, Root};
pub use make::{Names, Rsa, load_mps, load_or_make_long_mps, load_or_make_rsa, load_or_make_web};
pub use renew::replace_web;
