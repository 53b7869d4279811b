//! A simulated agent for tests: it runs on a thread of its own, the test waits for its events.

use std::io;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use serde_json::Value;

use super::agent::{Event, Group, Memory, Mood};
use super::identity::Identity;
use super::link::{Command, Link, Server};

/// Longest a test waits for one event.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running agent; stopped when dropped.
pub struct Live {
    commands: async_channel::Sender<Command>,
    events: mpsc::Receiver<Event>,
    thread: Option<thread::JoinHandle<io::Result<Memory>>>,
    node: String,
}

impl Live {
    /// Connects an agent that says what a stock agent says.
    pub fn connect(server: &Server, identity: Identity, group: Group, memory: Memory) -> Self {
        let (commands, receiver) = async_channel::unbounded();
        let (sender, events) = mpsc::channel();
        let node = identity.node_text();
        let server = server.clone();
        let thread = thread::spawn(move || {
            async_io::block_on(run(&server, identity, group, memory, &receiver, &sender))
        });
        Self { commands, events, thread: Some(thread), node }
    }

    /// The device, `node//…`.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Waits for an event.
    ///
    /// # Panics
    /// If it does not come in 90 s, or the connection ends before.
    pub fn wait_for(&self, what: &str, awaited: impl Fn(&Event) -> bool) -> Event {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) if awaited(&event) => return event,
                Ok(event) => seen.push(event),
                Err(end) => panic!("agent {}: no {what} ({end}); it saw {seen:?}", self.node),
            }
        }
    }

    /// Waits until both sides have authenticated; whether it was the fast path.
    pub fn authenticated(&self) -> bool {
        match self.wait_for("authentication", |event| matches!(event, Event::Authenticated { .. }))
        {
            Event::Authenticated { fast } => fast,
            _ => false,
        }
    }

    /// Waits until the server called the core current.
    pub fn core_runs(&self) {
        self.wait_for("CoreOk", |event| *event == Event::CoreRuns);
    }

    /// Waits for JSON with this `action`.
    pub fn json(&self, action: &str) -> Value {
        let awaited =
            |event: &Event| matches!(event, Event::Json(json) if json["action"] == action);
        match self.wait_for(action, awaited) {
            Event::Json(json) => json,
            _ => Value::Null,
        }
    }

    /// What happened that no wait has taken yet.
    pub fn seen(&self) -> Vec<Event> {
        self.events.try_iter().collect()
    }

    /// Sends JSON.
    pub fn say(&self, message: Value) {
        // An agent that is gone shows in the next wait.
        let _ = self.commands.try_send(Command::Say(message));
    }

    /// Closes the connection; what the agent remembers.
    ///
    /// # Panics
    /// If the connection had failed.
    pub fn stop(mut self) -> Memory {
        let _ = self.commands.try_send(Command::Stop);
        let thread = self.thread.take().expect("taken once");
        thread.join().expect("the agent does not panic").expect("the connection was open")
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.commands.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn run(
    server: &Server,
    identity: Identity,
    group: Group,
    memory: Memory,
    commands: &async_channel::Receiver<Command>,
    events: &mpsc::Sender<Event>,
) -> io::Result<Memory> {
    let identity = Rc::new(identity);
    let mut link = Link::connect(server, identity, group, memory, Mood::Talkative).await?;
    loop {
        link.flush().await?;
        while let Some(event) = link.agent.poll_event() {
            // A test that ended no longer listens.
            let _ = events.send(event);
        }
        let asked = async { Ok(commands.recv().await.unwrap_or(Command::Stop)) };
        let read = async { link.read().await.map(|()| Command::Say(Value::Null)) };
        match asked.or(read).await? {
            Command::Stop => return Ok(link.close().await),
            Command::Say(Value::Null) => {}
            Command::Say(message) => link.agent.say(&message),
        }
    }
}
