//! The unmodified `meshctrl.js` of the stock package, run by node.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::Process;
use super::{PATIENCE, installation};

/// What [`MeshCtrl::wait_for_agent`] has run on the device, perhaps more than once.
pub const PROBE: &str = "echo forty-$((6*7))";

/// `meshctrl` for one account of one server.
pub struct MeshCtrl {
    url: String,
    /// Options that say who asks.
    login: Vec<String>,
}

impl MeshCtrl {
    /// Logs in with name and password at every call.
    pub fn new(port: u16, user: &str, password: &str) -> Self {
        Self::with(port, &["--loginuser", user, "--loginpass", password])
    }

    /// The same with a second factor.
    pub fn with_token(port: u16, user: &str, password: &str, token: &str) -> Self {
        Self::with(port, &["--loginuser", user, "--loginpass", password, "--token", token])
    }

    /// Logs in with a cookie made with the server's key.
    pub fn with_key(port: u16, user: &str, key: &str) -> Self {
        Self::with(port, &["--loginuser", user, "--loginkey", key])
    }

    /// Logs in with name and password, without TLS.
    pub fn plain(port: u16, user: &str, password: &str) -> Self {
        let secure = Self::new(port, user, password);
        Self { url: secure.url.replace("wss", "ws"), ..secure }
    }

    fn with(port: u16, login: &[&str]) -> Self {
        let login = login.iter().map(|option| (*option).to_owned()).collect();
        Self { url: format!("wss://127.0.0.1:{port}"), login }
    }

    /// Runs one command; what it wrote to standard output.
    ///
    /// # Panics
    /// If it does not end.
    pub fn run(&self, arguments: &[&str]) -> String {
        match self.try_run(arguments, PATIENCE) {
            Some(output) => output,
            None => panic!("meshctrl {arguments:?} got no answer"),
        }
    }

    /// Runs a command that answers `ok`.
    ///
    /// # Panics
    /// If it answers anything else.
    pub fn ok(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert_eq!(output.trim().to_lowercase(), "ok", "meshctrl {arguments:?}");
    }

    /// Runs a command that prints JSON.
    ///
    /// # Panics
    /// If it prints anything else.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        match serde_json::from_str(&output) {
            Ok(value) => value,
            Err(error) => panic!("meshctrl {arguments:?}: {error} in {output:?}"),
        }
    }

    /// Starts a command that goes on, such as `showevents`.
    pub fn watch(&self, arguments: &[&str]) -> Process {
        let script = installation::folder().join("meshctrl.js");
        Process::start("node", |command| {
            command.arg(script).args(arguments);
            command.args(["--url", &self.url]);
            command.args(&self.login);
        })
    }

    /// Value of one line of `serverinfo`.
    pub fn server_info(&self, field: &str) -> String {
        let output = self.run(&["serverinfo"]);
        let prefix = format!("{field}: ");
        match output.lines().find_map(|line| line.strip_prefix(&prefix)) {
            Some(value) => value.to_owned(),
            None => panic!("no {field} in {output:?}"),
        }
    }

    /// All devices, as `listdevices` prints them.
    pub fn devices(&self) -> Vec<Value> {
        match self.json(&["listdevices"]) {
            Value::Array(devices) => devices,
            other => panic!("listdevices printed {other}"),
        }
    }

    /// All device groups.
    pub fn groups(&self) -> Vec<Value> {
        match self.json(&["listdevicegroups"]) {
            Value::Array(groups) => groups,
            other => panic!("listdevicegroups printed {other}"),
        }
    }

    /// One device by its id.
    pub fn device(&self, id: &str) -> Option<Value> {
        self.devices().into_iter().find(|device| device["_id"] == id)
    }

    /// Asks until some device is as wanted. Each question is a process of its own, which is
    /// pause enough between two.
    ///
    /// # Panics
    /// If no device becomes so.
    pub fn wait_for_device(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let devices = self.devices();
            match devices.iter().find(|device| wanted(device)) {
                Some(device) => return device.clone(),
                None if Instant::now() < deadline => {}
                None => panic!("no device that {what}; there are {devices:#?}"),
            }
        }
    }

    /// Waits for a device with a stock agent that has told everything about itself and answers;
    /// its id.
    ///
    /// # Panics
    /// If there is none.
    pub fn wait_for_agent(&self) -> String {
        let device = self.wait_for_device("has told who it is", |device| {
            device["conn"] == 1
                && device["osdesc"].is_string()
                && device["agent"]["core"].is_string()
        });
        let device = device["_id"].as_str().expect("an id is text").to_owned();
        self.run_on_device(&device, PROBE, "forty-42");
        let deadline = Instant::now() + PATIENCE;
        while self.json(&["deviceinfo", "--id", &device])["Networking"].is_null() {
            assert!(Instant::now() < deadline, "{device} has not told its network interfaces");
        }
        device
    }

    /// Runs a shell command on a device until its output comes back: a device is connected a
    /// moment before its core listens, and what it is told in that moment is lost.
    ///
    /// # Panics
    /// If the output never comes.
    pub fn run_on_device(&self, device: &str, shell: &str, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        let arguments = ["runcommand", "--id", device, "--run", shell, "--reply"];
        let mut last = None;
        while Instant::now() < deadline {
            last = self.try_run(&arguments, Duration::from_secs(20));
            if last.as_deref().is_some_and(|output| output.contains(wanted)) {
                return;
            }
        }
        panic!("{shell:?} on {device} did not give {wanted:?} but {last:?}");
    }

    fn try_run(&self, arguments: &[&str], patience: Duration) -> Option<String> {
        let mut process = self.watch(arguments);
        process.wait_for_end(patience)?;
        Some(process.stdout())
    }
}
