//! Pebble, the ACME server of Let's Encrypt for tests, and a DNS server for which every name is
//! this machine. It proves names as the real one does.

use std::fs;
use std::path::{Path, PathBuf};

use meshboard::identity::{Names, Role, load_or_make_web};
use serde_json::json;
use tempfile::TempDir;

use super::{Process, ports};

/// A running authority.
pub struct Pebble {
    process: Process,
    _dns: Process,
    folder: TempDir,
    port: u16,
}

impl Pebble {
    /// Starts one that proves names on these ports of this machine, and gives certificates for
    /// `life` seconds.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(https: u16, http: u16, life: u32) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let names = Names { server: "pebble".into(), others: vec!["127.0.0.1".into()] };
        load_or_make_web(folder.path(), &names).expect("the folder is ours");
        let (port, management, dns) = (ports::free(), ports::free(), ports::free());
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": Role::Web.cert_path(folder.path()),
            "privateKey": Role::Web.key_path(folder.path()),
            "httpPort": http,
            "tlsPort": https,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": life,
        }});
        let file = folder.path().join("pebble.json");
        fs::write(&file, config.to_string()).expect("the folder is ours");
        let resolver = format!("127.0.0.1:{dns}");
        let dns = Process::start("pebble-challtestsrv", |command| {
            command.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
            command.args(["-dns01", &resolver, "-http01", "", "-https01", "", "-tlsalpn01", ""]);
            command.args(["-management", &format!("127.0.0.1:{}", ports::free())]);
        });
        dns.wait_for_line(|line| line.contains("Starting management server"));
        let process = Process::start("pebble", |command| {
            command.arg("-config").arg(&file).args(["-dnsserver", &resolver]);
            // It would wait for seconds before each look, to find clients that do not wait.
            command.env("PEBBLE_VA_NOSLEEP", "1");
        });
        process.wait_for_line(|line| line.contains("ACME directory available"));
        Self { process, _dns: dns, folder, port }
    }

    /// Where its directory is.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// Who trusts this file trusts its HTTPS.
    pub fn trust(&self) -> PathBuf {
        Role::Web.cert_path(self.folder.path())
    }

    /// What it has done so far, by line.
    pub fn log(&self) -> String {
        self.process.stdout() + &self.process.stderr().join("\n")
    }
}

/// Whether `folder` holds a certificate of its making.
pub fn issued(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(Role::Web.cert_path(folder)).ok()?;
    (text.matches("BEGIN CERTIFICATE").count() > 1).then_some(text)
}
