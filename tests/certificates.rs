//! The web certificate is replaced while the server runs.

mod common;

use common::simulated::{Group, Memory, Server as Url, identity};
use common::{Meshboard, Server};
use meshboard::identity::{Names, Role, load_or_make_web};

#[test]
fn a_renewed_web_certificate_is_taken_over_while_agents_stay() {
    let server = Meshboard::start();
    let meshctrl = server.meshctrl();
    let group = server.add_group("office");
    let group = Group {
        mesh: identity::from_text(&group).expect("a group id has 48 bytes"),
        server: identity::from_text(&meshctrl.server_info("agentCertHash")).expect("48 bytes"),
    };
    let url = format!("wss://127.0.0.1:{}/agent.ashx", server.port());
    let url = Url::parse(&url).expect("a valid URL");
    let keys = identity::Keys::for_fleet(8, 2048).expect("target is writable");
    let first = common::simulated::Live::connect(&url, keys.agent(0), group, Memory::default());
    let connected = |node: &str| {
        meshctrl.wait_for_device("is connected", |d| d["_id"] == node && d["conn"] == 1)
    };
    let since = connected(first.node())["agct"].clone();
    let old = meshctrl.server_info("tlshash");

    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let names = Names { server: "renewed.example".into(), others: vec!["127.0.0.1".into()] };
    let renewed = load_or_make_web(elsewhere.path(), &names).expect("a new certificate");
    // The key first: for a moment the pair does not fit, as with any tool that renews.
    for path in [Role::key_path, Role::cert_path] {
        std::fs::copy(path(Role::Web, elsewhere.path()), path(Role::Web, server.data()))
            .expect("the folder is ours");
    }
    server.wait_for_log("web certificate replaced");

    let new = meshctrl.server_info("tlshash");
    assert_ne!(new, old);
    assert_eq!(new, renewed.hash.hex());
    assert_eq!(connected(first.node())["agct"], since, "its connection was not touched");
    let second = common::simulated::Live::connect(&url, keys.agent(1), group, Memory::default());
    connected(second.node());
}
