//! Intel AMT that calls in: why it does not, and what to enter so that it does.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{AdminContext, Answer, domain};
use crate::amt;
use crate::amt::wsman::Failure;
use crate::amt::wsman::answer::Refused;
use crate::hub::amt_login::{self, Setup};
use crate::hub::amt_script;
use crate::hub::journal::Search;
use crate::identity::{Role, describe};
use crate::model::GroupKind;
use crate::pool;

pub(super) fn journal(ctx: &AdminContext, address: &str, uuid: &str) -> Result<Answer, String> {
    if ctx.live.is_none() {
        return Err("the journal is in the memory of the server, which does not run".to_owned());
    }
    let uuid = uuid.to_ascii_lowercase();
    let search = Search { address, uuid: &uuid, node: "" };
    Ok(Answer::MpsJournal(ctx.hub.amt_journal.borrow().find(&search)))
}

pub(super) async fn setup(
    ctx: &AdminContext,
    domain_name: &str,
    group: &str,
) -> Result<Setup, String> {
    let domain = domain(ctx, domain_name)?;
    let groups = ctx.hub.store.groups(&domain);
    let mut named = groups.iter().filter(|g| g.name == group || g.id.to_string() == group);
    let (Some(group), None) = (named.next(), named.next()) else {
        return Err(format!("there is not exactly one device group {group:?}"));
    };
    if !matches!(group.kind, GroupKind::Amt | GroupKind::Agent) {
        return Err("computers with Intel AMT cannot join a group of this kind".to_owned());
    }
    let settings = ctx.hub.config().settings.clone();
    let port = settings.mps_alias_port.or(settings.mps_port).ok_or("mpsPort is switched off")?;
    // The firmware compares what it is given with the certificate.
    let data = ctx.data.clone();
    let certificate = pool::unblock(move || describe(&data, Role::Mps)).await;
    let subject = certificate.ok().flatten().map(|found| found.subject);
    let host = subject.as_deref().and_then(|text| text.strip_prefix("CN=")).map(str::to_owned);
    let host = host.or(settings.mps_name).or(settings.cert).unwrap_or_default();
    amt_login::shared_or_made(&ctx.hub).ok_or("no random numbers")?;
    Setup::of(&ctx.hub, group, host, port).ok_or("no password".into())
}

/// Sets firmware back; whoever may speak to this socket may do that to every device.
pub(super) async fn deactivate(
    ctx: &AdminContext,
    domain_name: &str,
    device: &str,
) -> Result<Answer, String> {
    let Some(live) = &ctx.live else {
        return Err("the server does not run, so no firmware is in reach".to_owned());
    };
    let devices = ctx.hub.store.devices(&domain(ctx, domain_name)?);
    let mut named = devices.iter().filter(|d| d.name == device || d.id.to_string() == device);
    let (Some(device), None) = (named.next(), named.next()) else {
        return Err(format!("there is not exactly one device {device:?}"));
    };
    match amt::deactivate::deactivate(&live.amt, &device.id).await {
        Ok(()) => {
            log::warn!("Intel AMT of {} ({}) is deactivated by command", device.name, device.id);
            Ok(Answer::AmtDeactivated(device.id.to_string()))
        }
        Err(failure @ (Failure::NoCredentials | Failure::Refused(Refused::Credentials))) => {
            Err(format!(
                "{failure}. Without its password it can only be undone at the computer, in MEBx."
            ))
        }
        Err(failure) => Err(failure.to_string()),
    }
}

pub(super) async fn script(
    ctx: &AdminContext,
    domain_name: &str,
    group: &str,
) -> Result<Answer, String> {
    let setup = setup(ctx, domain_name, group).await?;
    let path = Role::Root.cert_path(&ctx.data);
    let root = pool::unblock(move || CertificateDer::from_pem_file(path)).await;
    let root = root.map_err(|_| "the root certificate is not there yet: start the server once")?;
    let script = amt_script::file(&setup, &root).ok_or("no random numbers")?;
    Ok(Answer::MpsScript(script))
}
