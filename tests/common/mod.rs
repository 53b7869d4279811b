//! What the tests with real peers share: both servers behind one trait, the stock agents, and
//! the unmodified `meshctrl`.
//!
//! A scenario is written once, against [`Server`], and runs against the stock server too: that
//! proves the test, before our server has to pass it.

// Every test program uses a part of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod amt;
pub mod authenticator;
pub mod browser;
#[cfg(feature = "web-ui")]
pub mod chromium;
pub mod cira;
pub mod desktop;
pub mod https;
pub mod installation;
pub mod libmeshctrl;
pub mod meshboard;
pub mod meshctrl;
pub mod nginx;
pub mod package;
pub mod pebble;
pub mod player;
pub mod ports;
pub mod process;
#[path = "../../benches/fleet/simulated/mod.rs"]
pub mod simulated;
pub mod socket;
pub mod stock_agent;
pub mod stock_server;
pub mod transcript;
pub mod viewer;
pub mod x_server;

use std::time::Duration;

use simulated::{Group, Keys, Memory, identity};

pub use meshboard::Meshboard;
pub use meshctrl::MeshCtrl;
pub use process::Process;
pub use simulated::Live;
pub use stock_agent::{Architecture, StockAgent};
pub use stock_server::StockServer;
pub use viewer::{Control, Viewer};

/// Longest a test waits for one thing to happen. Far above what anything takes: a test that runs
/// into it has failed.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Account of the administrator on every server under test.
pub const ADMIN: &str = "admin";
/// Its password.
pub const PASSWORD: &str = "Correct-Horse-8";

/// A running server that speaks MeshCentral's protocols, on loopback.
pub trait Server {
    /// HTTPS port.
    fn port(&self) -> u16;
    /// Process of the server.
    fn pid(&self) -> u32;
    /// Ends it as the system does (SIGTERM).
    fn stop(&mut self);
    /// Ends it without a chance to say goodbye (SIGKILL).
    fn kill(&mut self);
    /// Starts it again on the same data and the same port.
    fn start_again(&mut self);
    /// Throws the web certificate away, so that the next start makes another.
    fn forget_web_certificate(&self);

    /// The key of login cookies, 80 bytes in hexadecimal.
    fn login_key(&self) -> String;

    /// `meshctrl` with the administrator's password.
    fn meshctrl(&self) -> MeshCtrl {
        MeshCtrl::new(self.port(), ADMIN, PASSWORD)
    }

    /// Adds a device group; its id, `mesh//…`.
    fn add_group(&self, name: &str) -> String {
        let answer = self.meshctrl().run(&["adddevicegroup", "--name", name]);
        match answer.trim().strip_prefix("ok ") {
            Some(id) => id.to_owned(),
            None => panic!("adddevicegroup answered {answer:?}"),
        }
    }

    /// The `.msh` file of a group, as a person downloads it.
    fn settings_file(&self, group: &str) -> Vec<u8> {
        let id = group.trim_start_matches("mesh//");
        let id = id.replace('@', "%40").replace('$', "%24");
        let (status, body) = https::get(self.port(), &format!("/meshsettings?id={id}"));
        assert_eq!(status, 200, "/meshsettings of {group}");
        body
    }
}

/// A connected simulated agent whose core runs.
///
/// # Panics
/// If the server does not let it in.
pub fn simulated_agent(server: &dyn Server, group: &str) -> Live {
    let hash = server.meshctrl().server_info("agentCertHash");
    let group = Group {
        mesh: identity::from_text(group).expect("a group id has 48 bytes"),
        server: identity::from_text(&hash).expect("a server id has 48 bytes"),
    };
    let url = format!("wss://127.0.0.1:{}/agent.ashx", server.port());
    let url = simulated::Server::parse(&url).expect("a valid URL");
    let identity = Keys::for_fleet(8, 2048).expect("target is writable").agent(0);
    let live = Live::connect(&url, identity, group, Memory::default());
    live.core_runs();
    server.meshctrl().wait_for_device("is this agent", |device| {
        device["_id"] == live.node() && device["conn"] == 1
    });
    live
}

/// Deletes `webserver-cert-*` in a data folder.
pub fn forget_web_certificate(data: &std::path::Path) {
    for file in ["webserver-cert-public.crt", "webserver-cert-private.key"] {
        std::fs::remove_file(data.join(file)).expect("the server made its web certificate");
    }
}

/// One test of each scenario against each server; `with` adds to the stock server's configuration.
#[macro_export]
macro_rules! against_both_servers {
    ($($scenario:ident $(with $more:expr)?),* $(,)?) => {
        mod against_meshcentral {
            $(#[test]
            fn $scenario() {
                let mut more = serde_json::json!({});
                $(more = $more;)?
                super::$scenario(&mut super::common::StockServer::start_with(&more.take()));
            })*
        }
        mod against_meshboard {
            $(#[test]
            fn $scenario() {
                super::$scenario(&mut super::common::Meshboard::start());
            })*
        }
    };
}
