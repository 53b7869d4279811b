//! The measurement: connect all agents, let the server come to rest, look at it; as new devices,
//! as known ones, and on the fast path.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_executor::{LocalExecutor, Task};
use futures_lite::{FutureExt, future};
use serde_json::json;

use super::common::simulated::link::Link;
use super::common::simulated::{self, Event, Group, Identity, Keys, Memory, Mood};
use super::probe;
use super::report::Report;

/// Length of the one long message.
const LONG: usize = 64 << 10;

/// The agents, made once and used on every server.
pub struct Fleet {
    /// Agent 0 fetches the core for all others.
    identities: Vec<Rc<Identity>>,
    /// Bits of their keys.
    pub key_bits: usize,
    parallel: usize,
}

/// A server to measure.
pub struct Target<'a> {
    /// What the report calls it.
    pub name: String,
    /// Where agents connect to.
    pub url: String,
    /// Where they belong.
    pub group: Group,
    /// Its process.
    pub pid: u32,
    /// Restarts it and gives its new process, so that memory is compared with that of a server
    /// which has seen no agent since its start. Without it the first wave is weighed: with the
    /// records of its devices, and right only if the server has just been started.
    pub restart: Option<Box<dyn FnMut() -> u32 + 'a>>,
}

enum Order {
    /// Report the core, as after its start.
    Introduce,
    /// Send one long message.
    Speak,
    Leave,
}

/// A connected agent: orders go in, and each one done is reported to the fleet.
struct Held {
    orders: Sender<Order>,
    task: Task<io::Result<Memory>>,
}

/// What one wave of connections cost.
struct Wave {
    held: Vec<Held>,
    wall: Duration,
    cpu: Duration,
    done: Receiver<()>,
}

/// Memory of the server per agent in KiB, and the time one step to it took.
struct Weight {
    idle: f64,
    introduction: Duration,
    introduced: f64,
    spoken: f64,
}

impl Fleet {
    /// Makes `count` agents, and the keys that are not there yet.
    ///
    /// # Errors
    /// The keys cannot be kept.
    pub fn new(count: usize, key_bits: usize, parallel: usize) -> io::Result<Self> {
        let keys = Keys::for_fleet(count + 1, key_bits)?;
        let identities = (0..=count).map(|number| Rc::new(keys.agent(number))).collect();
        Ok(Self { identities, key_bits, parallel: parallel.max(1) })
    }

    /// Number of agents.
    pub fn len(&self) -> usize {
        self.identities.len() - 1
    }

    /// Measures one server.
    ///
    /// # Errors
    /// An agent was refused or lost.
    pub fn measure(&self, target: &mut Target<'_>) -> io::Result<Report> {
        let server = simulated::Server::parse(&target.url)?;
        let executor = LocalExecutor::new();
        future::block_on(executor.run(self.waves(&executor, &server, target)))
    }

    async fn waves(
        &self,
        executor: &LocalExecutor<'_>,
        server: &simulated::Server,
        target: &mut Target<'_>,
    ) -> io::Result<Report> {
        let fresh = self.fetch_core(server, target.group).await?;
        let known = Memory { trusted_tls: None, ..fresh.clone() };
        probe::settle(target.pid);
        let mut base = probe::resident(target.pid);
        let first = self.connect(executor, server, target, &known).await?;
        let first_cpu = first.cpu;

        let (weight, full) = match &mut target.restart {
            Some(restart) => {
                self.leave(first, target.pid).await?;
                target.pid = restart();
                probe::settle(target.pid);
                base = probe::resident(target.pid);
                let full = self.connect(executor, server, target, &known).await?;
                (self.weigh(&full, target.pid, base).await?, full)
            }
            None => {
                let weight = self.weigh(&first, target.pid, base).await?;
                self.leave(first, target.pid).await?;
                (weight, self.connect(executor, server, target, &known).await?)
            }
        };
        let (full_cpu, full_wall) = (full.cpu, full.wall);
        self.leave(full, target.pid).await?;

        let fast = self.connect(executor, server, target, &fresh).await?;
        let (fast_cpu, fast_wall) = (fast.cpu, fast.wall);
        self.leave(fast, target.pid).await?;

        let agents = self.len() as f64;
        let each = |time: Duration| time.as_secs_f64() * 1000.0 / agents;
        Ok(Report {
            name: target.name.clone(),
            full_rate: agents / full_wall.as_secs_f64(),
            fast_rate: agents / fast_wall.as_secs_f64(),
            first_cpu: each(first_cpu),
            full_cpu: each(full_cpu),
            fast_cpu: each(fast_cpu),
            introduction_cpu: each(weight.introduction),
            base_memory: base as f64 / (1 << 20) as f64,
            idle_memory: weight.idle,
            introduced_memory: weight.introduced,
            spoken_memory: weight.spoken,
        })
    }

    /// KiB per agent of a connected fleet: idle, after their introductions, after a long message.
    async fn weigh(&self, wave: &Wave, pid: u32, base: u64) -> io::Result<Weight> {
        let each = || {
            let grown = probe::resident(pid) as f64 - base as f64;
            grown / 1024.0 / self.len() as f64
        };
        let idle = each();
        let introduction = self.order(wave, pid, || Order::Introduce).await?;
        let introduced = each();
        self.order(wave, pid, || Order::Speak).await?;
        Ok(Weight { idle, introduction, introduced, spoken: each() })
    }

    /// What agent 0 remembers after a first contact: the web certificate and the core.
    async fn fetch_core(&self, server: &simulated::Server, group: Group) -> io::Result<Memory> {
        let identity = Rc::clone(&self.identities[0]);
        let mut link =
            Link::connect(server, identity, group, Memory::default(), Mood::Quiet).await?;
        let core = |event: &Event| matches!(event, Event::CoreRuns | Event::CoreMissing);
        link.until(core).await?;
        let mut memory = link.close().await;
        // A server without cores leaves every core alone.
        memory.core.get_or_insert([0x5a; 48]);
        Ok(memory)
    }

    /// Connects every agent, a few at a time, and waits until the server has nothing left to do.
    async fn connect(
        &self,
        executor: &LocalExecutor<'_>,
        server: &simulated::Server,
        target: &Target<'_>,
        memory: &Memory,
    ) -> io::Result<Wave> {
        let (report, done) = async_channel::unbounded();
        let next = Rc::new(Cell::new(1));
        let before = probe::cpu(target.pid);
        let start = Instant::now();
        let workers: Vec<_> = (0..self.parallel)
            .map(|_| {
                let (next, identities) = (Rc::clone(&next), self.identities.clone());
                let (server, memory, group) = (server.clone(), memory.clone(), target.group);
                executor.spawn(async move {
                    let mut links = Vec::new();
                    while let Some(identity) = identities.get(next.get()).cloned() {
                        next.set(next.get() + 1);
                        let memory = memory.clone();
                        let mut link =
                            Link::connect(&server, identity, group, memory, Mood::Quiet).await?;
                        link.until(|event| *event == Event::CoreRuns).await?;
                        links.push(link);
                    }
                    io::Result::Ok(links)
                })
            })
            .collect();
        let mut links = Vec::new();
        for worker in workers {
            links.extend(worker.await?);
        }
        let wall = start.elapsed();
        let held = links
            .into_iter()
            .map(|link| {
                let (orders, receiver) = async_channel::unbounded();
                let task = executor.spawn(hold(link, receiver, report.clone()));
                Held { orders, task }
            })
            .collect();
        settle(target.pid).await;
        let cpu = probe::cpu(target.pid).saturating_sub(before);
        Ok(Wave { held, wall, cpu, done })
    }

    /// Gives an order to every agent; CPU time of the server until all are served.
    async fn order(
        &self,
        wave: &Wave,
        pid: u32,
        order: impl Fn() -> Order,
    ) -> io::Result<Duration> {
        let before = probe::cpu(pid);
        for held in &wave.held {
            held.orders.send(order()).await.map_err(io::Error::other)?;
        }
        for _ in &wave.held {
            wave.done.recv().await.map_err(|_| io::Error::other("an agent was lost"))?;
        }
        settle(pid).await;
        Ok(probe::cpu(pid).saturating_sub(before))
    }

    async fn leave(&self, wave: Wave, pid: u32) -> io::Result<()> {
        for held in &wave.held {
            held.orders.send(Order::Leave).await.map_err(io::Error::other)?;
        }
        for held in wave.held {
            held.task.await?;
        }
        settle(pid).await;
        Ok(())
    }
}

/// Runs one connected agent. An order is done when the server has answered the ping behind it:
/// messages of one agent are processed in order.
async fn hold(mut link: Link, orders: Receiver<Order>, done: Sender<()>) -> io::Result<Memory> {
    loop {
        link.flush().await?;
        while let Some(event) = link.agent.poll_event() {
            match event {
                Event::Json(json) if json["action"] == "pong" => {
                    done.send(()).await.map_err(io::Error::other)?;
                }
                Event::Refused(why) => return Err(io::Error::other(why)),
                _ => {}
            }
        }
        let ordered = async { Ok(Some(orders.recv().await.unwrap_or(Order::Leave))) };
        let read = async { link.read().await.map(|()| None) };
        match ordered.or(read).await? {
            None => continue,
            Some(Order::Leave) => return Ok(link.close().await),
            Some(Order::Introduce) => link.agent.introduce_core(),
            Some(Order::Speak) => {
                // An unknown action: received, parsed, and not kept.
                let message = json!({ "action": "fleet", "value": "x".repeat(LONG) });
                link.agent.say(&message);
            }
        }
        link.agent.say(&json!({ "action": "ping" }));
    }
}

/// The agents must go on answering while the server comes to rest.
async fn settle(pid: u32) {
    ::meshboard::pool::unblock(move || probe::settle(pid)).await;
}
