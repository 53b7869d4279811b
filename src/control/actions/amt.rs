//! Intel AMT that calls in: why it does not, and what to enter so that it does. Both actions are
//! ours.

use serde::Serialize;
use serde_json::json;

use super::{Answer, Call, OnGroup};
use crate::hub::amt_login::Setup;
use crate::hub::journal::{Attempt, Search};
use crate::model::GroupKind;

/// `mpsjournal`: the last connections, newest first; `address`, `uuid` and `nodeid` select.
pub(super) fn journal(call: &Call) -> Answer<'_> {
    #[derive(Serialize)]
    struct Body {
        journal: Vec<Attempt>,
    }
    let text = |name| call.request.text(name).unwrap_or_default();
    let uuid = text("uuid").to_ascii_lowercase();
    let search = Search { address: text("address"), uuid: &uuid, node: text("nodeid") };
    let journal = call.hub().amt_journal.borrow().find(&search);
    call.reply(Body { journal })
}

/// `mpssetup`: what to enter into the firmware of a computer of this group.
pub(super) fn setup(call: &Call, on: OnGroup) -> Answer<'_> {
    if !matches!(on.group.kind, GroupKind::Amt | GroupKind::Agent) {
        return call.result("Invalid group id");
    }
    let facts = call.facts();
    let host = facts.mps_name.clone().or_else(|| facts.name.clone()).unwrap_or_default();
    match Setup::of(call.hub(), &on.group, host, facts.mps_port) {
        Some(setup) => {
            call.audit(format_args!("looked at the Intel AMT login of {}", on.group.id));
            call.reply(json!({ "setup": setup }))
        }
        None => call.result("Intel AMT cannot connect to this server"),
    }
}
