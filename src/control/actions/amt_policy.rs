//! `meshamtpolicy`: what is to become of the Intel AMT of a group's devices.
//!
//! Source: amt-activation-and-lan §4.8. A request that is wrong in any part changes nothing; why is
//! said to those that have a `responseid`. One that is right has no answer but its event.

use serde_json::{Map, Value};

use crate::hub::AgentCommand;
use crate::hub::documents::AmtPolicyDocument;
use crate::hub::documents::to_value;
use crate::model::{AmtPolicy, GroupId};

use super::groups::meshchange;
use super::{Answer, Call, OnGroup};

/// Longest password in characters, and the shortest that is set.
const PASSWORD_MAX: usize = 32;
const PASSWORD_MIN: usize = 8;

/// See the module.
pub(super) fn set(call: &Call, on: OnGroup) -> Answer<'_> {
    let wanted = call.request.get("amtpolicy").and_then(Value::as_object);
    let before = call.hub().store.amt_policy(&on.group.id);
    let password = before.as_ref().and_then(|policy| policy.password.as_deref());
    let Some(wanted) = wanted else { return call.result("amtpolicy is missing") };
    let policy = match policy(wanted, &on.group.id, password) {
        Ok(policy) => policy,
        Err(why) => return call.result(&why),
    };
    let commit = call.put(policy.clone());
    let group = &on.group;
    call.audit(format_args!(
        "set Intel AMT policy {} on {:?} ({})",
        policy.kind, group.name, group.id
    ));
    let mut event = meshchange(call, group);
    for aside in ["name", "mtype", "desc"] {
        event.body.remove(aside);
    }
    call.hub().publish(
        event
            .with("amt", to_value(&AmtPolicyDocument(&policy)))
            .with("msgid", 141)
            .with("msg", "Intel(r) AMT policy change"),
    );
    for device in call.hub().store.devices(group.domain()) {
        if device.group == group.id {
            call.command_agent(&device, AgentCommand::Activate);
        }
    }
    Answer::none().after(commit)
}

/// The policy, if every part of it is right, or what is wrong. `kept` is the password there was.
fn policy(
    wanted: &Map<String, Value>,
    group: &GroupId,
    kept: Option<&str>,
) -> Result<AmtPolicy, String> {
    let number = |name: &str, most: u64| {
        let given = wanted.get(name).and_then(Value::as_u64).filter(|n| *n <= most);
        let number = given.and_then(|n| u8::try_from(n).ok());
        number.ok_or_else(|| format!("amtpolicy: {name} must be a number from 0 to {most}"))
    };
    // What is missing or null is 0; what is there must be right.
    let optional = |name, most| match wanted.get(name) {
        None | Some(Value::Null) => Ok(0),
        Some(_) => number(name, most),
    };
    let kind = number("type", 4)?;
    let mut policy = AmtPolicy {
        group: group.clone(),
        kind,
        password: None,
        bad_password: 0,
        cira: 0,
        client_mode: 0,
    };
    if !matches!(kind, 2 | 3) {
        return Ok(policy);
    }
    policy.bad_password = optional("badpass", 1)?;
    policy.cira = number("cirasetup", 2)?;
    if kind == 3 {
        policy.client_mode = optional("ccm", 2)?;
    }
    policy.password = match wanted.get("password") {
        None | Some(Value::Null) => kept.map(str::to_owned),
        Some(Value::String(text)) if text.chars().count() <= PASSWORD_MAX => {
            Some(text.clone()).filter(|text| text.chars().count() >= PASSWORD_MIN)
        }
        Some(_) => return Err("amtpolicy: password must be a text of at most 32 characters".into()),
    };
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::group_id;
    use serde_json::json;

    #[test]
    fn a_policy_is_taken_whole_or_not_at_all() {
        let read = |wanted: Value| {
            let policy = policy(wanted.as_object()?, &group_id(1), Some("kept password")).ok()?;
            let AmtPolicy { kind, password, bad_password, cira, client_mode, .. } = policy;
            Some((kind, password, bad_password, cira, client_mode))
        };
        let some = |text: &str| Some(text.to_owned());
        for (wanted, taken) in [
            (json!({"type": 0, "password": 5}), Some((0, None, 0, 0, 0))),
            (json!({"type": 1}), Some((1, None, 0, 0, 0))),
            (json!({"type": 4, "cirasetup": 9}), Some((4, None, 0, 0, 0))),
            (json!({"type": 2, "cirasetup": 2}), Some((2, some("kept password"), 0, 2, 0))),
            (
                json!({"type": 3, "cirasetup": 1, "password": "P@ssw0rd", "badpass": 1, "ccm": 2}),
                Some((3, some("P@ssw0rd"), 1, 1, 2)),
            ),
            (json!({"type": 2, "cirasetup": 0, "password": ""}), Some((2, None, 0, 0, 0))),
            (json!({"type": 2, "cirasetup": 0, "password": "short"}), Some((2, None, 0, 0, 0))),
            (json!({"type": 2, "cirasetup": 0, "password": "x".repeat(33)}), None),
            (json!({"type": 2, "cirasetup": 0, "password": 5}), None),
            (json!({"type": 2}), None),
            (json!({"type": 2, "cirasetup": 3}), None),
            (json!({"type": 2, "cirasetup": 0, "badpass": 2}), None),
            (json!({"type": 3, "cirasetup": 0, "ccm": 3}), None),
            (json!({"type": 5}), None),
            (json!({"type": "2"}), None),
            (json!({}), None),
        ] {
            assert_eq!(read(wanted.clone()), taken, "{wanted}");
        }
    }
}
