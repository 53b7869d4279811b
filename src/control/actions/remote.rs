//! Talking to agents: messages, commands, notices, the agent's core.
//!
//! What an agent is told about the user (rights, name, address) is always ours, whatever the request
//! says: see [`crate::relay::command`].

use serde_json::{Map, Value, json};

use crate::hub::{AgentCommand, CoreMode, TunnelLink};
use crate::model::{self, Device, Rights, order};
use crate::relay::Denied;
use crate::relay::command::Introduction;

use super::super::request::Request;
use super::{Answer, Call, Choice, OnDevice};

/// Longest commands in bytes.
const COMMANDS_MAX: usize = 65_535;
/// Longest text and title of a notice in characters.
const TOAST_MAX: usize = 4096;
const TITLE_MAX: usize = 512;

/// `msg`: goes to the agent with who sent it and what that user may do.
pub(super) fn message(call: &Call, on: OnDevice) -> Answer<'_> {
    let introduction = introduction(call, &on);
    let kind = call.request.text("type").unwrap_or_default();
    if kind == "tunnel" {
        let value = call.request.text("value").unwrap_or_default();
        match call.relay().ask_for(&introduction, value, &call.request.fields) {
            Ok(()) => {}
            Err(Denied::Refused | Denied::NotConnected) => return call.routed("Unable to route"),
            // Another device's tunnel: MeshCentral does not even answer.
            Err(Denied::OtherDevice) => return Answer::none(),
        }
    } else {
        let mut message = call.request.fields.clone();
        message.remove("nodeid");
        introduction.add_to(call.hub(), &mut message);
        if kind == "endtunnel" {
            // Whose tunnels are meant: the guest of that name.
            if let Some(guest) = call.request.text("guestname") {
                message.insert("guestname".into(), guest.into());
            }
            end_tunnels(call, &on);
        }
        if !call.send_to_agent(&on.device, &Value::Object(message)) {
            return call.routed("Unable to route");
        }
    }
    call.audit(format_args!("sent {kind:?} to device {:?} ({})", on.device.name, on.device.id));
    call.routed("OK")
}

/// Who the user is and what the user may do, for an agent.
fn introduction<'a>(call: &'a Call, on: &'a OnDevice) -> Introduction<'a> {
    Introduction {
        user: &call.user,
        device: &on.device,
        rights: on.rights,
        remote: call.remote_ip(),
        session: Some(&call.session().id),
        guest: None,
    }
}

/// `endtunnel`: the agent drops the tunnels it has; those that run through this server end here as
/// well. For one's own tunnels, or with all rights on the device.
fn end_tunnels(call: &Call, on: &OnDevice) {
    let whose = call.request.text("xuserid").unwrap_or_default();
    if !on.rights.is_full() && whose != call.user.id.to_string() {
        return;
    }
    let protocols: &[u16] = match call.request.text("protocol") {
        Some("kvm") => &[2],
        Some("terminal") => &[1, 6, 8, 9],
        Some("files") => &[5],
        _ => return,
    };
    let guest = call.request.text("guestname");
    call.hub().tunnels.end("a user ended it", |TunnelLink { purpose, .. }| {
        purpose.node.as_ref() == Some(&on.device.id)
            && purpose.user.to_string() == whose
            && purpose.guest.as_deref() == guest
            && protocols.contains(&purpose.protocol)
    });
}

/// The right `runcommands` needs: the agent's console is more than a shell.
pub(super) fn run_right(request: &Request) -> Rights {
    match request.number("type") {
        Some(CONSOLE) => Rights::REMOTE_CONTROL | Rights::AGENT_CONSOLE,
        _ => Rights::REMOTE_COMMAND,
    }
}

/// `type` of `runcommands`.
const DEFAULT_SHELL: u32 = 0;
const CMD: u32 = 1;
const POWERSHELL: u32 = 2;
const SHELL: u32 = 3;
const CONSOLE: u32 = 4;

/// `runcommands`: runs commands on each device; with `reply` the agent's answer is the answer.
pub(super) fn run(call: &Call, devices: Vec<Choice>) -> Answer<'_> {
    let Some(kind) = call.request.number("type") else { return Answer::none() };
    let Some(commands) = call.request.text("cmds").filter(|cmds| cmds.len() <= COMMANDS_MAX) else {
        return call.result("Invalid command");
    };
    devices
        .into_iter()
        .map(|choice| match choice {
            Choice::Granted(on) if kind == CONSOLE => run_on_console(call, &on, commands),
            Choice::Granted(on) => run_in_shell(call, &on, kind, commands),
            Choice::Denied => call.result("Access denied"),
            Choice::Unknown => call.result("Invalid nodeid"),
        })
        .collect()
}

fn run_on_console(call: &Call, on: &OnDevice, commands: &str) -> Answer<'static> {
    let message = json!({
        "action": "msg",
        "type": "console",
        "value": commands,
        "rights": on.rights.bits(),
        "sessionid": call.session().id.to_string(),
    });
    if !call.send_to_agent(&on.device, &message) {
        return call.result("Agent not connected");
    }
    call.audit(format_args!(
        "ran {commands:?} on the console of device {:?} ({})",
        on.device.name, on.device.id
    ));
    call.result("OK")
}

fn run_in_shell(call: &Call, on: &OnDevice, kind: u32, commands: &str) -> Answer<'static> {
    let Some(kind) = shell_of(&on.device, kind) else {
        return call.result("Invalid command type");
    };
    let request = &call.request;
    let as_user = request.number("runAsUser").filter(|n| *n <= 2).unwrap_or_default();
    let reply = request.is_true("reply");
    let message = json!({
        "action": "runcommands",
        "type": kind,
        "cmds": commands,
        "runAsUser": as_user,
        "reply": reply,
        "responseid": request.text("responseid"),
        // MeshCentral leaves this out, and the output goes to everybody who sees the device.
        "sessionid": call.session().id.to_string(),
    });
    if !call.send_to_agent(&on.device, &message) {
        return call.result("Agent not connected");
    }
    call.audit(format_args!("ran {commands:?} on device {:?} ({})", on.device.name, on.device.id));
    let msgid = match kind {
        CMD => 99,
        POWERSHELL => 100,
        _ => 24,
    };
    call.hub().publish(
        call.device_event("runcommands", &on.device)
            .to(model::Target::AccountManagers)
            .with("msg", "Running commands")
            .with("msgid", msgid)
            .with("cmds", commands)
            .with("cmdType", kind)
            .with("runAsUser", as_user),
    );
    if reply { Answer::none() } else { call.result("OK") }
}

/// The shell to use on a device: its usual one for type 0, `None` if it has no such shell.
fn shell_of(device: &Device, kind: u32) -> Option<u32> {
    // Agent kinds 1 to 4 and the two ARM ones are Windows.
    let agent = device.agent.as_ref()?.id;
    let is_windows = matches!(agent, 1..=4 | 42 | 43);
    match (is_windows, kind) {
        (true, DEFAULT_SHELL) => Some(CMD),
        (true, CMD | POWERSHELL) => Some(kind),
        (false, DEFAULT_SHELL | SHELL) => Some(SHELL),
        _ => None,
    }
}

/// `toast`: a notice on the devices' screens.
pub(super) fn toast(call: &Call, devices: Vec<Choice>) -> Answer<'_> {
    let Some(text) = call.request.text_within("msg", 1, TOAST_MAX) else {
        return call.result("Invalid message");
    };
    let config = call.hub().config();
    let title = call.request.text_within("title", 1, TITLE_MAX);
    let title = title.or(config.domain(&call.user.id.domain).title.as_deref());
    let message = json!({
        "action": "toast",
        "title": title.unwrap_or("MeshCentral"),
        "msg": text,
        "sessionid": call.session().id.to_string(),
        "username": call.user.name,
        "userid": call.user.id.to_string(),
    });
    let mut refused = false;
    for choice in devices {
        let Choice::Granted(on) = choice else {
            refused = true;
            continue;
        };
        if call.send_to_agent(&on.device, &message) {
            call.audit(format_args!("sent a notice to {:?} ({})", on.device.name, on.device.id));
        }
    }
    // One answer: clients take the first.
    call.result(if refused { "Access Denied" } else { "ok" })
}

/// `uninstallagent`: the agents remove themselves.
pub(super) fn uninstall(call: &Call, devices: Vec<Choice>) -> Answer<'_> {
    for on in granted(devices) {
        if call.send_to_agent(&on.device, &json!({"action": "uninstallagent"})) {
            call.audit(format_args!("uninstalled {:?} ({})", on.device.name, on.device.id));
        }
    }
    Answer::none()
}

/// `updateAgents`: the agents look for an update now.
pub(super) fn update(call: &Call, devices: Vec<Choice>) -> Answer<'_> {
    for on in granted(devices) {
        let mut message: Map<_, _> = order::gather([
            ("action".to_owned(), "msg".into()),
            ("type".to_owned(), "console".into()),
            ("value".to_owned(), "agentupdate".into()),
        ]);
        introduction(call, &on).add_to(call.hub(), &mut message);
        if call.send_to_agent(&on.device, &Value::Object(message)) {
            call.audit(format_args!("asked {:?} ({}) to update", on.device.name, on.device.id));
        }
    }
    Answer::none()
}

/// `uploadagentcore`: replaces the core that runs in the agents.
pub(super) fn upload_core(call: &Call, devices: Vec<Choice>) -> Answer<'_> {
    let mode = match call.request.text("type") {
        Some("default") => CoreMode::Default,
        Some("clear") => CoreMode::Clear,
        Some("recovery") => CoreMode::Recovery,
        Some("tiny") => CoreMode::Tiny,
        _ => return Answer::none(),
    };
    for on in granted(devices) {
        if call.command_agent(&on.device, AgentCommand::Core(mode)) {
            let name = &on.device.name;
            call.audit(format_args!("set core {mode:?} on {name:?} ({})", on.device.id));
        }
    }
    Answer::none()
}

fn granted(devices: Vec<Choice>) -> impl Iterator<Item = OnDevice> {
    devices.into_iter().filter_map(|choice| match choice {
        Choice::Granted(on) => Some(on),
        Choice::Denied | Choice::Unknown => None,
    })
}

/// `agentdisconnect`: ends the agent's connection; it comes back on its own.
pub(super) fn disconnect(call: &Call, on: OnDevice) -> Answer<'_> {
    if call.request.number("disconnectMode").is_some()
        && call.command_agent(&on.device, AgentCommand::Disconnect)
    {
        call.audit(format_args!("disconnected {:?} ({})", on.device.name, on.device.id));
    }
    Answer::none()
}
