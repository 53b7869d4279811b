//! Setting firmware up as its group wants it: TLS, networks, where it calls, and what people may do
//! through it.
//!
//! ```text
//! plan::Found ─► tls, wireless, cira, features: what is to be done ─► run
//! ```
//!
//! Each part is read first, then decided without sockets, then done: what is right already gets
//! reads only. Over a tunnel from within the computer (LMS) all of it is done; otherwise only clock,
//! TLS and features, as the rest may cut the way that is used. Source: amt-management §10 to §13;
//! behaviour of the stock server's manager, without its clean-up of certificates.

mod cira;
mod features;
mod plan;
#[cfg(test)]
mod replay_tests;
mod run;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod wireless;

use std::rc::Rc;

use super::digest::Credentials;
use super::wsman::{Failure, Link};
use super::{settings, upkeep};
use crate::hub::{AmtTunnel, Hub};
use run::Site;

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
    let Within { tunnel, login, name, activated_over_tls } = within;
    let link = Link::through(hub.clone(), tunnel.clone(), login);
    let identity = settings::identify(&link).await?;
    upkeep::learned(hub, &link, &identity).await;
    if let Some((host, domain)) = &name {
        let host = format!("{host}.{domain}");
        hub.change_amt_facts(link.node(), |facts| {
            facts.insert("host".into(), host.into());
        });
    }
    let Some(mut site) = site(hub, &link) else { return Ok(()) };
    (site.within, site.name, site.network_only) = (Some(tunnel), name, activated_over_tls);
    site.run().await
}

/// Does what the policy of a device's group wants to be done from outside.
///
/// # Errors
/// What stopped it.
pub(super) async fn apply(hub: &Rc<Hub>, link: &Link) -> Result<(), Failure> {
    match site(hub, link) {
        Some(site) => site.run().await,
        None => Ok(()),
    }
}

/// `None` without a policy.
fn site<'a>(hub: &'a Rc<Hub>, link: &'a Link) -> Option<Site<'a>> {
    let device = hub.store.device(link.node())?;
    let policy = hub.store.amt_policy(&device.group)?;
    let config = hub.config();
    let domain = config.domain(&device.id.domain);
    Some(Site {
        hub,
        link,
        policy,
        group: hub.store.group(&device.group),
        setup: domain.amt_setup.clone(),
        organization: domain.title.clone().unwrap_or_else(|| "MeshCentral".into()),
        within: None,
        name: None,
        network_only: false,
        uses_tls: domain.amt_manager.allows_tls,
    })
}
