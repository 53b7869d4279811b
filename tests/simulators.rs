//! The simulated agent is taken for a real one by the stock server. Only that makes it a witness
//! for ours, and a fair load in the fleet program.

mod common;

use common::Server;
use common::simulated::{self, Event, Group, Identity, Keys, Live, Memory, identity};

against_both_servers! {
    a_new_agent_authenticates_in_full_and_later_on_the_fast_path,
    an_agent_without_a_core_gets_one_and_one_with_it_does_not,
    a_core_introduces_its_device,
    a_key_that_outlives_its_database_is_the_same_device,
    two_agents_are_two_devices,
    an_agent_of_an_unknown_group_is_held_and_not_listed,
    an_agent_for_another_server_is_not_confirmed,
}

/// A small agent: what is tested here does not depend on the length of its key.
fn agent(number: usize) -> Identity {
    Keys::for_fleet(8, 2048).expect("target is writable").agent(number)
}

fn group(server: &dyn Server, id: &str) -> Group {
    let hash = server.meshctrl().server_info("agentCertHash");
    Group {
        mesh: identity::from_text(id).expect("a group id has 48 bytes"),
        server: identity::from_text(&hash).expect("a server id has 48 bytes"),
    }
}

fn url(server: &dyn Server) -> simulated::Server {
    let url = format!("wss://127.0.0.1:{}/agent.ashx", server.port());
    simulated::Server::parse(&url).expect("a valid URL")
}

fn connected(server: &dyn Server, node: &str) -> serde_json::Value {
    server.meshctrl().wait_for_device("is this agent, connected", |device| {
        device["_id"] == node && device["conn"] == 1
    })
}

fn a_new_agent_authenticates_in_full_and_later_on_the_fast_path(server: &mut dyn Server) {
    let group = group(server, &server.add_group("fleet"));
    let url = url(server);
    let first = Live::connect(&url, agent(0), group, Memory::default());
    assert!(!first.authenticated(), "it cannot know the certificate yet");
    connected(server, first.node());
    let memory = first.stop();
    let second = Live::connect(&url, agent(0), group, memory);
    assert!(second.authenticated(), "it trusts the certificate it saw");
    connected(server, second.node());
    assert_eq!(server.meshctrl().devices().len(), 1);
}

fn an_agent_without_a_core_gets_one_and_one_with_it_does_not(server: &mut dyn Server) {
    let group = group(server, &server.add_group("fleet"));
    let url = url(server);
    let first = Live::connect(&url, agent(0), group, Memory::default());
    let received = first.wait_for("core", |event| matches!(event, Event::CoreReceived { .. }));
    let Event::CoreReceived { length, .. } = received else { unreachable!() };
    assert_eq!(length, 594_962, "the linux-amt core of this package");
    first.core_runs();
    let memory = first.stop();
    assert!(memory.core.is_some());
    let second = Live::connect(&url, agent(0), group, memory);
    let event = second.wait_for("a word about the core", |event| {
        matches!(event, Event::CoreReceived { .. } | Event::CoreRuns)
    });
    assert_eq!(event, Event::CoreRuns);
}

fn a_core_introduces_its_device(server: &mut dyn Server) {
    let group = group(server, &server.add_group("fleet"));
    let url = url(server);
    let fresh = Live::connect(&url, agent(0), group, Memory::default());
    fresh.core_runs();
    // With a core that is already there: the stock server may apply the "no core" of a fresh
    // agent after the first coreinfo.
    let live = Live::connect(&url, agent(0), group, fresh.stop());
    live.core_runs();
    let device = server.meshctrl().wait_for_device("has introduced its core", |device| {
        device["agent"]["core"] == "Nov 21 2022, 2189501291"
    });
    assert_eq!(device["_id"], live.node());
    assert_eq!(device["osdesc"], "Simulated GNU/Linux 1 (fleet)");
    assert_eq!(device["agent"]["id"], 6);
    assert_eq!(device["agent"]["root"], true);
    // Console and JavaScript from AuthInfo, desktop, terminal, files from the core.
    assert_eq!(device["agent"]["caps"], 31);
}

/// The key of a Windows agent may live in the TPM, where it survives `meshagent.db`.
fn a_key_that_outlives_its_database_is_the_same_device(server: &mut dyn Server) {
    let group = group(server, &server.add_group("fleet"));
    let url = url(server);
    let first = Live::connect(&url, agent(3), group, Memory::default());
    first.core_runs();
    connected(server, first.node());
    first.stop();
    let again = Live::connect(&url, agent(3), group, Memory::default());
    assert!(!again.authenticated(), "its database is gone");
    connected(server, again.node());
    assert_eq!(server.meshctrl().devices().len(), 1);
}

fn two_agents_are_two_devices(server: &mut dyn Server) {
    let group = group(server, &server.add_group("fleet"));
    let url = url(server);
    let agents = [0, 1].map(|number| Live::connect(&url, agent(number), group, Memory::default()));
    for live in &agents {
        live.core_runs();
        connected(server, live.node());
    }
    assert_eq!(server.meshctrl().devices().len(), 2);
}

fn an_agent_of_an_unknown_group_is_held_and_not_listed(server: &mut dyn Server) {
    let known = group(server, &server.add_group("fleet"));
    let url = url(server);
    let stranger =
        Live::connect(&url, agent(0), Group { mesh: [7; 48], ..known }, Memory::default());
    // An agent that connects later is served, and the stranger still has no answer.
    let member = Live::connect(&url, agent(1), known, Memory::default());
    member.core_runs();
    connected(server, member.node());
    assert_eq!(stranger.seen(), [], "held: neither confirmed nor closed");
    assert_eq!(server.meshctrl().devices().len(), 1);
    stranger.stop();
}

fn an_agent_for_another_server_is_not_confirmed(server: &mut dyn Server) {
    let known = group(server, &server.add_group("fleet"));
    let lost = Live::connect(
        &url(server),
        agent(0),
        Group { server: [7; 48], ..known },
        Memory::default(),
    );
    let event = lost.wait_for("a verdict", |_| true);
    assert_eq!(event, Event::Refused("the server's key is not the one of the .msh file"));
    assert_eq!(server.meshctrl().devices(), Vec::<serde_json::Value>::new());
}
