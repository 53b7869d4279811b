//! Where firmware calls: the server, when, and in which networks it does not.
//!
//! Rules go before servers, because a server with a rule cannot be removed. Source: amt-management
//! §11; behaviour of the stock server's manager.

use std::net::IpAddr;

use data_encoding::BASE64;

use super::plan::{Found, Read, Step, named, put};
use crate::amt::wsman::{Element, Operation, Verb};
use crate::hub::amt_login::Setup;

const SURROUNDINGS: &str = "AMT_EnvironmentDetectionSettingData";
const SERVERS: &str = "AMT_ManagementPresenceRemoteSAP";
const APPLIES: &str = "AMT_RemoteAccessPolicyAppliesToMPS";
const RULES: &str = "AMT_RemoteAccessPolicyRule";
const USERS: &str = "AMT_UserInitiatedConnectionService";
const LOGINS: &str = "AMT_MPSUsernamePassword";
const SERVICE: &str = "AMT_RemoteAccessService";
const SUFFIXES: &str = "DetectionStrings";
/// The rule that calls now and then.
const PERIODIC: &str = "Periodic";
/// Rules that call for other reasons.
const OTHERS: [(&str, &str); 2] = [
    ("User Initiated", "Removed the CIRA user trigger."),
    ("Alert", "Removed the CIRA alert trigger."),
];
/// `EnabledState`: people may call from the BIOS and from the system.
const USERS_MAY_CALL: u32 = 32771;
/// User name and password.
const BY_PASSWORD: u32 = 2;
/// Two numbers of 32 bits, big-endian: a period in seconds, and ten of them.
const EVERY_TEN_SECONDS: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 10];

/// What is read, in this order; the last two are there from version 12 on.
pub(super) const READS: [Read; 9] = [
    Read::One(SURROUNDINGS),
    Read::All(SERVERS),
    Read::All("AMT_RemoteAccessCredentialContext"),
    Read::All(APPLIES),
    Read::All(RULES),
    Read::One(USERS),
    Read::All(LOGINS),
    Read::One("IPS_HTTPProxyService"),
    Read::All("IPS_HTTPProxyAccessPoint"),
];
/// How many of them older firmware has.
pub(super) const READS_BEFORE_12: usize = 7;

/// What is wanted.
pub(super) enum Wish<'a> {
    /// It calls nobody.
    Nobody,
    /// It calls this server, except in networks with one of these suffixes. `nowhere` is one that
    /// no network has.
    Here {
        /// Where, and with which login.
        setup: &'a Setup,
        /// DNS suffixes; none: it always calls.
        home: &'a [String],
        /// A random name.
        nowhere: &'a str,
    },
}

/// What is to be done, in two parts: between them the name of the server is known.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Removes what is not wanted.
    pub(super) before: Vec<Step>,
    /// Adds the server; the answer has its name.
    pub(super) server: Option<Step>,
    /// The name of the server that is there.
    known: Option<String>,
    needs_rule: bool,
    /// Where it is at home.
    pub(super) after: Vec<Step>,
}

impl Plan {
    /// The rule that calls the server; `added` is what adding it has answered.
    pub(super) fn rule(&self, added: Option<&Element>) -> Option<Step> {
        let added = added.and_then(|answer| named(answer, "MpServer", "Name"));
        let name = added.or(self.known.as_deref()).filter(|_| self.needs_rule)?;
        let rule = Operation::invoke(SERVICE, "AddRemoteAccessPolicyRule")
            .with("Trigger", 2)
            .with("TunnelLifeTime", 0)
            .with("ExtendedData", BASE64.encode(&EVERY_TEN_SECONDS))
            .with_reference("MpServer", SERVERS, &[("Name", name)]);
        Some(Step::needed(rule, "Created new MPS policy."))
    }
}

/// Decides; `None` if this firmware cannot call.
pub(super) fn plan(found: &Found, wish: &Wish<'_>) -> Option<Plan> {
    let (users, surroundings) = (found.one(USERS)?, found.one(SURROUNDINGS)?);
    let mut plan = Plan::default();
    let ours = |server: &Element| match wish {
        Wish::Nobody => false,
        Wish::Here { setup, .. } => is_ours(server, setup) && is_login(found, setup),
    };
    if let Wish::Here { .. } = wish
        && users.number("EnabledState") != Some(USERS_MAY_CALL)
    {
        let state = Operation::invoke(USERS, "RequestStateChange");
        plan.before.push(Step::tried(state.with("RequestedState", USERS_MAY_CALL), ""));
    }
    // A rule without a server is in the way, too.
    let is_there = |rule: &str| {
        found.all(RULES).iter().any(|one| one.property("PolicyRuleName") == Some(rule))
            || found.all(APPLIES).iter().any(|one| rule_of(one) == Some(rule))
    };
    let periodic = found.all(APPLIES).iter().find(|one| rule_of(one) == Some(PERIODIC));
    let called = periodic.and_then(|one| named(one, "ManagedElement", "Name"));
    let by_name = |name: &str| found.all(SERVERS).iter().find(|s| s.property("Name") == Some(name));
    let is_right = called.and_then(by_name).is_some_and(ours);
    for (rule, says) in OTHERS {
        if is_there(rule) {
            plan.before.push(remove(RULES, "PolicyRuleName", rule, says));
        }
    }
    if is_there(PERIODIC) && !is_right {
        let says = "Removed the CIRA periodic trigger.";
        plan.before.push(remove(RULES, "PolicyRuleName", PERIODIC, says));
    }
    for server in found.all(SERVERS) {
        let name = server.property("Name").unwrap_or_default();
        if ours(server) {
            plan.known = Some(name.to_owned());
        } else {
            plan.before.push(remove(SERVERS, "Name", name, "Removed an MPS server."));
        }
    }
    let present: Vec<&str> = surroundings.list(SUFFIXES).filter(|one| !one.is_empty()).collect();
    let suffixes: Option<Vec<&str>> = match wish {
        Wish::Nobody => (!present.is_empty()).then(Vec::new),
        Wish::Here { setup, home, nowhere } => {
            if plan.known.is_none() {
                plan.server = Some(Step::needed(add(setup), "Created new MPS server."));
            }
            plan.needs_rule = !is_right;
            let is_same = home.len() == present.len() && present.iter().all(|one| is_in(home, one));
            match home {
                // It is outside of whatever is in the list.
                [] => present.is_empty().then(|| vec![*nowhere]),
                home => (!is_same).then(|| home.iter().map(String::as_str).collect()),
            }
        }
    };
    if let Some(suffixes) = suffixes {
        let says = match suffixes[..] {
            [] => "Environment detection cleared.",
            _ => "Environment detection set.",
        };
        let mut changed = surroundings.clone();
        changed.children.retain(|child| &*child.name != SUFFIXES);
        for suffix in suffixes {
            changed.children.push(Element::text(SUFFIXES, &changed.space, suffix));
        }
        let written = put(SURROUNDINGS, changed);
        plan.after.push(Step::needed(written, says));
    }
    Some(plan)
}

fn is_in(list: &[String], one: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(one))
}

fn rule_of(applies: &Element) -> Option<&str> {
    named(applies, "PolicySet", "PolicyRuleName")
}

fn remove(class: &'static str, key: &'static str, value: &str, says: &'static str) -> Step {
    Step::tried(Operation::new(class, Verb::Delete).of(key, value), says)
}

/// `InfoFormat` of a name, of an IPv4 and of an IPv6 address.
fn format(host: &str) -> u32 {
    match host.parse() {
        Ok(IpAddr::V4(_)) => 3,
        Ok(IpAddr::V6(_)) => 4,
        Err(_) => 201,
    }
}

fn is_ours(server: &Element, setup: &Setup) -> bool {
    server.property("AccessInfo") == Some(&setup.host)
        && server.number("Port") == Some(setup.port)
        && server.number("InfoFormat") == Some(format(&setup.host))
}

/// Whether it logs in as this group: a computer that came from another one does not.
fn is_login(found: &Found, setup: &Setup) -> bool {
    let [login] = found.all(LOGINS) else { return true };
    login.property("RemoteID").is_none_or(|user| user == setup.user)
}

fn add(setup: &Setup) -> Operation {
    let Setup { host, port, user, password, .. } = setup;
    Operation::invoke(SERVICE, "AddMpServer")
        .with("AccessInfo", host)
        .with("InfoFormat", format(host))
        .with("Port", port)
        .with("AuthMethod", BY_PASSWORD)
        .with("Username", user)
        .with("Password", password)
        .with("CN", host)
}
