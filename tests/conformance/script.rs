//! A script of `meshctrl` commands: runs them on one server and writes down the answers.
//!
//! Commands read as they are typed. `{lab}` in one stands for a value learned before; a full id
//! (`mesh//…`) is also known without what is before its last slash, as `{lab.short}`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::meshctrl::PROBE;
use crate::common::process::Process;
use crate::common::transcript::{Normaliser, Step, Transcript};
use crate::common::{ADMIN, PASSWORD, Server, installation};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is written down instead of an answer that did not come. It must not: commands that get none
/// are sent with [`Script::unanswered`], which knows sooner.
pub const STILL_WAITING: &str = "(still waiting)";

/// A script on its way.
pub struct Script<'s> {
    /// The server it runs against.
    pub server: &'s mut dyn Server,
    /// Placeholders.
    pub normaliser: Normaliser,
    known: BTreeMap<String, String>,
    logins: BTreeMap<String, Vec<String>>,
    /// Where `meshctrl` runs: downloads land there.
    pub folder: TempDir,
    commands: BTreeSet<String>,
    transcript: Transcript,
}

/// How an output is written down.
#[derive(Clone, Copy)]
enum Order {
    /// As it is.
    Kept,
    /// Each line with how often it occurs: a listing in an order nobody promises.
    Any,
}

impl<'s> Script<'s> {
    pub fn new(server: &'s mut dyn Server) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let normaliser = Normaliser::default();
        let mut script = Self {
            server,
            normaliser,
            known: BTreeMap::new(),
            logins: BTreeMap::new(),
            folder,
            commands: BTreeSet::new(),
            transcript: Transcript::default(),
        };
        let port = script.server.port().to_string();
        script.normaliser.name(&port, "port");
        script.login(ADMIN, PASSWORD);
        script
    }

    /// Makes an account known under its own name.
    pub fn login(&mut self, user: &str, password: &str) {
        self.login_with(user, &["--loginuser", user, "--loginpass", password]);
    }

    /// Makes a way to log in known as `who`.
    pub fn login_with(&mut self, who: &str, options: &[&str]) {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        self.logins.insert(who.to_owned(), options);
    }

    /// Runs a command as the administrator.
    pub fn run(&mut self, command: &str) -> String {
        self.run_as(ADMIN, command)
    }

    /// Runs a command.
    pub fn run_as(&mut self, who: &str, command: &str) -> String {
        self.perform(who, command, Order::Kept, false)
    }

    /// Runs a command whose lines come in no particular order.
    pub fn list(&mut self, command: &str) -> String {
        self.list_as(ADMIN, command)
    }

    /// The same as somebody else.
    pub fn list_as(&mut self, who: &str, command: &str) -> String {
        self.perform(who, command, Order::Any, false)
    }

    /// Runs a command that prints events as JSON: they are written down by kind, as several of one
    /// moment come in any order. That the newest comes first is written down too.
    pub fn events(&mut self, who: &str, command: &str) {
        let output = self.output(who, command, false);
        let Ok(Value::Array(events)) = serde_json::from_str(&output) else {
            return self.write_down(who, command, &output, Order::Kept);
        };
        let ordered = events.is_sorted_by(|a, b| a["time"].as_str() >= b["time"].as_str());
        let events = events.into_iter().filter(|event| !is_probe(event));
        let mut kinds = self.by_kind(events.map(|event| (kind(&event), event)));
        kinds.insert("newest first".to_owned(), ordered.into());
        let asked = format!("{who}: {command}");
        self.transcript.steps.push(Step { asked, answer: kinds.into() });
    }

    /// Runs a command that prints a table: rows of cells, the words of each sorted, because
    /// interfaces have no order. No cell has a comma in it.
    pub fn table(&mut self, command: &str) {
        let output = self.output(ADMIN, command, false);
        let rows = output.lines().map(|line| {
            let cells = line.split(',').map(|cell| {
                let mut words: Vec<_> = cell.trim_matches('"').split(' ').collect();
                words.sort_unstable();
                self.normaliser.text(&words.join(" "))
            });
            cells.collect::<Vec<_>>()
        });
        let answer = json!(rows.collect::<Vec<_>>());
        self.transcript.steps.push(Step { asked: format!("{ADMIN}: {command}"), answer });
    }

    /// Messages by kind.
    pub fn by_kind(
        &mut self,
        messages: impl Iterator<Item = (String, Value)>,
    ) -> serde_json::Map<String, Value> {
        let mut kinds: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (kind, message) in messages {
            kinds.entry(kind).or_default().push(self.normaliser.tree(message));
        }
        kinds.into_iter().map(|(kind, messages)| (kind, messages.into())).collect()
    }

    /// Runs a command the stock server does not answer at all.
    pub fn unanswered(&mut self, who: &str, command: &str) {
        self.perform(who, command, Order::Kept, true);
    }

    /// Runs a command whose output ends in an id, from now on known as `name`.
    pub fn learn(&mut self, name: &str, command: &str) {
        let output = self.output(ADMIN, command, false);
        let value = output.split_whitespace().next_back().unwrap_or_default();
        self.know(name, value);
        self.write_down(ADMIN, command, &output, Order::Kept);
    }

    /// Makes a value known.
    pub fn know(&mut self, name: &str, value: &str) {
        // A refusal where an id should be must not be taken for one.
        let plausible = value.len() > 8;
        let value = if plausible { value.to_owned() } else { format!("unknown-{name}") };
        self.normaliser.name(&value, name);
        let short = value.rsplit('/').next().unwrap_or_default().to_owned();
        self.known.insert(format!("{name}.short"), short);
        self.known.insert(name.to_owned(), value);
    }

    /// A value learned before.
    ///
    /// # Panics
    /// If the script never learned it.
    pub fn value(&self, name: &str) -> &str {
        match self.known.get(name) {
            Some(value) => value,
            None => panic!("the script has not learned {name}"),
        }
    }

    /// Runs a command without writing it down: to find out what is different on each server.
    pub fn aside(&mut self, command: &str) -> String {
        self.output(ADMIN, command, false)
    }

    /// Writes down something that did not come from `meshctrl`.
    pub fn note(&mut self, what: &str, value: Value) {
        let answer = self.normaliser.tree(value);
        self.transcript.steps.push(Step { asked: what.to_owned(), answer });
    }

    /// Writes down what [`Self::aside`] brought.
    pub fn note_output(&mut self, command: &str, output: &str) {
        self.write_down(ADMIN, command, output, Order::Kept);
    }

    /// Starts a command that goes on.
    pub fn start(&mut self, who: &str, command: &str) -> Process {
        let words = self.words(command);
        self.launch(who, &words, false)
    }

    /// Writes down whether a program that goes on prints a line with `text` in it.
    pub fn hears(&mut self, who: &str, listener: &Process, text: &str) {
        let heard = listener.prints(PATIENCE, |line| line.contains(text));
        self.note(&format!("{who} hears {text:?}"), heard.into());
    }

    /// The commands that were run and what came back.
    pub fn finish(self) -> (Transcript, BTreeSet<String>) {
        (self.transcript, self.commands)
    }

    fn perform(&mut self, who: &str, command: &str, order: Order, fenced: bool) -> String {
        let output = self.output(who, command, fenced);
        self.write_down(who, command, &output, order);
        output
    }

    fn output(&mut self, who: &str, command: &str, fenced: bool) -> String {
        let words = self.words(command);
        let mut process = self.launch(who, &words, fenced);
        let ended = process.wait_for_end(PATIENCE).is_some();
        let mut output = process.stdout();
        if !ended {
            output.push_str(STILL_WAITING);
        }
        output
    }

    fn write_down(&mut self, who: &str, command: &str, output: &str, order: Order) {
        let mut answer = self.normaliser.output(output);
        if let (Order::Any, Value::Array(lines)) = (order, &answer) {
            let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
            for line in lines.iter().filter_map(Value::as_str) {
                // The last member of an object is followed by no comma, whichever it is.
                *counted.entry(line.trim_end_matches(',')).or_default() += 1;
            }
            answer = json!(counted);
        }
        self.transcript.steps.push(Step { asked: format!("{who}: {command}"), answer });
    }

    /// The words of a command, with what is known put in.
    fn words(&self, command: &str) -> Vec<String> {
        let words = shlex::split(command).expect("its quotes are closed");
        words.into_iter().map(|word| self.fill(&word)).collect()
    }

    fn fill(&self, word: &str) -> String {
        let mut filled = String::new();
        let mut rest = word;
        while let Some((before, name, after)) = rest.split_once('{').and_then(|(before, rest)| {
            rest.split_once('}').map(|(name, after)| (before, name, after))
        }) {
            filled.push_str(before);
            filled.push_str(self.value(name));
            rest = after;
        }
        filled + rest
    }

    fn launch(&mut self, who: &str, words: &[String], fenced: bool) -> Process {
        self.commands.insert(words[0].to_lowercase());
        let package = installation::folder();
        let login = match self.logins.get(who) {
            Some(login) => login,
            None => panic!("the script does not know how {who} logs in"),
        };
        Process::start("node", |command| {
            if fenced {
                let fence = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/fence.js");
                command.args(["--require", fence]);
                command.env("FENCE_WS", package.join("../ws"));
            }
            command.arg(package.join("meshctrl.js")).args(words);
            command.arg("--url").arg(format!("wss://127.0.0.1:{}", self.server.port()));
            command.args(login);
            command.current_dir(self.folder.path()).env("TZ", "UTC").env("LC_ALL", "C");
        })
    }
}

/// Whether a message is about the command that asks whether an agent answers: nobody knows how
/// often it had to ask.
pub fn is_probe(message: &Value) -> bool {
    let text = message.to_string();
    text.contains(PROBE) || text.contains("forty-42")
}

/// The action of a message, or of the event in it.
pub fn kind(message: &Value) -> String {
    let action = match &message["action"] {
        Value::String(action) if action == "event" => &message["event"]["action"],
        action => action,
    };
    action.as_str().unwrap_or_default().to_owned()
}
