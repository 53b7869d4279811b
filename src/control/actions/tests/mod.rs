//! The table of actions, tried on a small server.

mod accounts;
mod adding;
mod agents;
mod cases;
mod devices;
mod events;
mod groups;
mod invites;
mod logins;
mod people;
mod replay;
mod server;
mod sharing;
mod teams;
mod walk;

use serde_json::{Value, json};

use super::*;
use crate::control::session::Session;
use crate::control::testing::{World, ask, commands, group_id, heard, node_id};
use crate::hub::AgentCommand;
use crate::model::{Device, Group, GroupId, GroupKind, LinkTarget, Millis, NodeId, UserGroupId};

/// A world with group `lab` (1), device `vm` (2) in it, and a second group `other` (3).
fn lab() -> (World, Rc<crate::hub::AgentLink>) {
    lab_with(crate::config::Config::default())
}

fn lab_with(config: crate::config::Config) -> (World, Rc<crate::hub::AgentLink>) {
    let world = World::with(config);
    let group = world.group(1, "lab");
    world.group(3, "other");
    let agent = world.device(2, &group, "vm");
    for name in ["bob", "carol"] {
        world.user(name, SiteRights::empty());
    }
    for group in [1, 3] {
        world.link("admin", LinkTarget::Group(group_id(group)), Rights::FULL);
    }
    (world, agent)
}

/// The events a session heard, without their envelope and time.
fn events(session: &Session) -> Vec<Value> {
    heard(session)
        .into_iter()
        .map(|mut frame| {
            assert_eq!(frame["action"], "event");
            let mut event = frame["event"].take();
            event.as_object_mut().unwrap().remove("time");
            event
        })
        .collect()
}

/// The JSON messages among an agent's commands.
fn sent(agent: &crate::hub::AgentLink) -> Vec<Value> {
    let json = |command| match command {
        AgentCommand::Json(text) => Some(serde_json::from_str(&text).unwrap()),
        AgentCommand::Core(_) | AgentCommand::Activate | AgentCommand::Disconnect => None,
    };
    commands(agent).into_iter().filter_map(json).collect()
}
