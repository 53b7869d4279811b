//! Intel AMT that calls in: why it does not, and what to enter so that it does. All actions are
//! ours.

use serde::Serialize;
use serde_json::json;

use super::{Answer, Call, OnGroup};
use crate::hub::amt_login::Setup;
use crate::hub::amt_script;
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
    match values(call, &on) {
        Ok(setup) => call.reply(json!({ "setup": setup })),
        Err(why) => call.result(why),
    }
}

/// `mpsscript`: the same as a script that enters it.
pub(super) fn script(call: &Call, on: OnGroup) -> Answer<'_> {
    let made = values(call, &on).and_then(|setup| {
        let facts = call.facts();
        let script = facts.root.as_deref().and_then(|root| amt_script::file(&setup, root));
        script.ok_or(NOT_YET)
    });
    match made {
        Ok(script) => call.reply(json!({ "script": script })),
        Err(why) => call.result(why),
    }
}

const NOT_YET: &str = "The certificate of Intel AMT is still being made";

fn values(call: &Call, on: &OnGroup) -> Result<Setup, &'static str> {
    if !matches!(on.group.kind, GroupKind::Amt | GroupKind::Agent) {
        return Err("Invalid group id");
    }
    let facts = call.facts();
    if facts.mps_port == 0 {
        return Err("Intel AMT cannot connect to this server");
    }
    let host = facts.mps_name.clone().or_else(|| facts.name.clone()).unwrap_or_default();
    let setup = Setup::of(call.hub(), &on.group, host, facts.mps_port).ok_or(NOT_YET)?;
    call.audit(format_args!("looked at the Intel AMT login of {}", on.group.id));
    Ok(setup)
}
