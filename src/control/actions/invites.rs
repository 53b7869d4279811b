//! Inviting people to install an agent.

use serde_json::json;

use crate::model::GroupKind;

use super::{Answer, Call, OnGroup};

/// Longest time a link is good for, in hours.
const HOURS_MAX: u32 = 99_999;
/// Largest number that stands for what a link offers.
const FLAGS_MAX: u32 = 256;

/// `createInviteLink`: a link to the page from which an agent of the group is installed. Whoever
/// sees the group may invite to it, as in MeshCentral.
pub(super) fn link(call: &Call, on: OnGroup) -> Answer<'_> {
    let (request, group) = (&call.request, &on.group);
    let Some(hours) = request.number("expire").filter(|hours| *hours <= HOURS_MAX) else {
        return call.result("Invalid expire time");
    };
    let Some(flags) = request.number("flags").filter(|flags| *flags <= FLAGS_MAX) else {
        return call.result("Invalid flags");
    };
    if group.kind != GroupKind::Agent {
        // MeshCentral makes a link to a page whose downloads cannot work.
        return call.result("Invalid group type");
    }
    let agents = request.number("agents").unwrap_or_default();
    let minutes = u64::from(hours) * 60;
    let Some(cookie) = call.invitations().invite(&group.id, flags, agents, minutes) else {
        return call.result("Unable to generate invitation cookie");
    };
    call.audit(format_args!(
        "made an invitation to device group {:?} ({}) for {hours} hours",
        group.name, group.id
    ));
    let url = format!("{}agentinvite?c={cookie}", base_url(call));
    call.reply(json!({"meshid": group.id.to_string(), "url": url, "expire": hours,
        "cookie": cookie}))
}

/// Where the pages of the user's domain are: `https://name:port/[domain/]`.
fn base_url(call: &Call) -> String {
    let (facts, config) = (call.facts(), call.hub().config());
    let domain = &call.user.id.domain;
    let dns = config.domain(domain).dns.as_deref();
    let name = dns.or(facts.name.as_deref()).unwrap_or(call.host());
    let path = match (domain.is_default(), dns) {
        (true, _) | (_, Some(_)) => String::new(),
        (false, None) => format!("{domain}/"),
    };
    format!("https://{name}:{}/{path}", facts.port)
}

/// `inviteAgent`: by mail, which this server does not send.
pub(super) fn by_mail(call: &Call) -> Answer<'_> {
    call.result("Unsupported feature")
}
