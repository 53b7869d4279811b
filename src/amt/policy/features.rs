//! What people may do through firmware: consent, serial line, storage, desktop, and its name.
//!
//! Source: amt-management §9, §13.2.

use super::plan::{Found, Read, Step, put};
use crate::amt::consent;
use crate::amt::settings::{CONSENT, KVM, REDIRECTION};
use crate::amt::wsman::Operation;

const GENERAL: &str = "AMT_GeneralSettings";
/// Serial line and storage.
const BOTH: u32 = 32771;

/// What is read, in this order.
pub(super) const READS: [Read; 4] =
    [Read::One(GENERAL), Read::One(REDIRECTION), Read::One(KVM), Read::One(CONSENT)];

/// Decides. `required` is 1 if the user has to consent to a desktop, else 0; `name` are the names of
/// computer and domain, where the system has told them.
pub(super) fn plan(found: &Found, required: u32, name: Option<&(String, String)>) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(service) = found.one(CONSENT)
        && service.number("OptInRequired").unwrap_or(consent::ALWAYS) != required
    {
        let mut service = service.clone();
        service.set("OptInRequired", required);
        let says = match required {
            0 => "Cleared user consent requirements.",
            _ => "Enabled KVM user consent requirement.",
        };
        // In client control mode it is always needed.
        steps.push(Step::tried(put(CONSENT, service), says));
    }
    if let (Some(general), Some((host, domain))) = (found.one(GENERAL), name)
        && (general.property("HostName"), general.property("DomainName"))
            != (Some(host), Some(domain))
    {
        let mut general = general.clone();
        general.set("HostName", host);
        general.set("DomainName", domain);
        steps.push(Step::tried(put(GENERAL, general), "Changed device name."));
    }
    // A state alone leaves the port closed.
    if let Some(service) = found.one(REDIRECTION)
        && !(service.number("EnabledState") == Some(BOTH) && service.is_true("ListenerEnabled"))
    {
        let state = Operation::invoke(REDIRECTION, "RequestStateChange");
        steps.push(Step::tried(state.with("RequestedState", BOTH), ""));
        let mut service = service.clone();
        service.set("EnabledState", BOTH);
        service.set("ListenerEnabled", true);
        steps.push(Step::tried(put(REDIRECTION, service), "Enabled redirection features."));
    }
    // 6 is switched on, with nobody connected. Standard Manageability has none.
    if let Some(desktop) = found.one(KVM)
        && !matches!(desktop.number("EnabledState"), Some(2 | 6))
    {
        let state = Operation::invoke(KVM, "RequestStateChange").with("RequestedState", 2);
        steps.push(Step::tried(state, "Enabled KVM."));
    }
    steps
}
