//! The server as its administrators see it: numbers, versions, errors, configuration, console.
//!
//! The site right is checked by the table; which of it a domain lets its administrators see
//! (`myServer`) is checked here. Where it does not, nothing is answered, as in MeshCentral.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::backup::schedule;
use crate::config::{self, BackupPlan, ConfigError, MyServer, redacted};
use crate::hub::documents::to_value;
use crate::hub::{Hub, troubles};
use crate::model::{Event, EventKind, Millis, Target};
use crate::pool;

use super::super::console;
use super::super::health::Health;
use super::super::statistics::{self, Traffic};
use super::{Answer, Call};

/// Least and most time between two `serverstats`, in milliseconds.
const STATS_MIN: u32 = 1000;
const STATS_MAX: u32 = 1_000_000;
/// Longest history of numbers, in hours.
const HOURS_MAX: u32 = 24 * 30;
const HOUR: u64 = 3_600_000;
/// Longest line typed into the console, in characters.
const LINE_MAX: usize = 1024;

fn visible(call: &Call, part: MyServer) -> bool {
    call.hub().config().domain(&call.user.id.domain).my_server.contains(part)
}

/// `serverstats`: now and every `interval` milliseconds; without a good interval no more.
pub(super) fn stats(call: &Call) -> Answer<'_> {
    if !visible(call, MyServer::STATS) {
        return Answer::none();
    }
    let interval = call.request.number("interval");
    let interval = interval.filter(|ms| (STATS_MIN..=STATS_MAX).contains(ms));
    let every = interval.map(|ms| Duration::from_millis(ms.into()));
    call.remembered().stats_every.set(every);
    match every {
        Some(_) => Answer { frames: vec![text(call.hub())], ..Answer::none() },
        None => Answer::none(),
    }
}

/// The frame `serverstats`.
pub(in super::super) fn text(hub: &Hub) -> String {
    let mut frame = statistics::present(hub);
    frame["action"] = "serverstats".into();
    frame.to_string()
}

/// `servertimelinestats`: the numbers of the last hours.
pub(super) fn timeline(call: &Call) -> Answer<'_> {
    let hours = call.request.number("hours").filter(|hours| *hours <= HOURS_MAX);
    let Some(hours) = hours.filter(|_| visible(call, MyServer::STATS)) else {
        return Answer::none();
    };
    let then = Millis(call.hub().now().0.saturating_sub(u64::from(hours) * HOUR));
    let series = call.control().series.borrow();
    let events: Vec<_> = series.since(then).map(statistics::Sample::document).collect();
    call.reply(json!({"events": events}))
}

/// `trafficstats`: what passed through since the start.
pub(super) fn traffic(call: &Call) -> Answer<'_> {
    let hub = call.hub();
    call.reply(json!({"stats": Traffic::now(&hub.metrics).document(hub.now())}))
}

/// `trafficdelta`: what was added since this session last asked.
pub(super) fn traffic_delta(call: &Call) -> Answer<'_> {
    let hub = call.hub();
    let now = Traffic::now(&hub.metrics);
    let before = call.remembered().traffic.replace(now);
    call.reply(json!({"delta": now.since(before).document(hub.now())}))
}

/// `serverhealth`: how the server is; an action of our own, for the server's page.
pub(super) fn health(call: &Call) -> Answer<'_> {
    let premises = call.premises().filter(|_| visible(call, MyServer::STATS));
    let Some(premises) = premises else { return Answer::none() };
    Answer::later(async move {
        let equipment = call.control().activation(&call.user.id.domain);
        let health = Health::now(call.hub(), &premises, &equipment, &call.user).await;
        call.reply(to_value(&health))
    })
}

/// `serverversion`: the one that runs. Others are none of the server's business.
pub(super) fn version(call: &Call) -> Answer<'_> {
    if !visible(call, MyServer::UPGRADE) {
        return Answer::none();
    }
    call.reply(json!({"tags": {"current": env!("CARGO_PKG_VERSION")}}))
}

/// `serverupdate`: not by itself.
pub(super) fn update(call: &Call) -> Answer<'_> {
    if !visible(call, MyServer::UPGRADE) {
        return Answer::none();
    }
    call.notice(
        "This server does not update itself. Install the new version as you installed this one.",
        json!({"title": "Server update"}),
    )
}

/// `serverBackup`: now, to where `autoBackup` puts them. MeshCentral means a service in the cloud
/// by it and names that; there is none here.
pub(super) fn backup(call: &Call) -> Answer<'_> {
    let premises = call.premises().filter(|_| visible(call, MyServer::BACKUP));
    let Some(premises) = premises else { return Answer::none() };
    if call.request.text("service").is_some() {
        return call.notice(
            "This server keeps its backups on its own disk, or where `backupPath` says.",
            json!({"title": "Server backup"}),
        );
    }
    let plan = call.hub().config().settings.auto_backup.clone();
    let (plan, now) = (plan.unwrap_or(BackupPlan::ON_DEMAND), call.hub().now());
    call.audit(format_args!("asked for a backup"));
    Answer::later(async move {
        let data = premises.data.clone();
        // What cannot be written now is told by everything else; the rest is worth a backup.
        let _ = call.hub().store.save().await;
        let made = pool::unblock(move || schedule::run(&plan, &data, now)).await;
        let result = match made {
            Ok(file) => format!("Backup written to {}", file.display()),
            Err(error) => format!("No backup: {error}"),
        };
        call.reply(json!({"result": result}))
    })
}

/// `servererrors`: the last warnings and errors.
pub(super) fn errors(call: &Call) -> Answer<'_> {
    if !visible(call, MyServer::ERRORS) {
        return Answer::none();
    }
    let text = Some(troubles::text()).filter(|text| !text.is_empty());
    call.reply(json!({"data": text}))
}

/// `serverclearerrorlog`.
pub(super) fn clear(call: &Call) -> Answer<'_> {
    if visible(call, MyServer::ERRORS) {
        call.audit(format_args!("cleared the list of errors"));
        troubles::clear();
    }
    Answer::none()
}

/// `serverconfig`: `config.json` without its secrets; of our own beside it, what a restart would say
/// of the file as it is now.
pub(super) fn config(call: &Call) -> Answer<'_> {
    let premises = call.premises().filter(|_| visible(call, MyServer::CONFIG));
    let Some(premises) = premises else { return Answer::none() };
    Answer::later(async move {
        let path = premises.config_file();
        let (text, check) =
            pool::unblock(move || (std::fs::read_to_string(&path), checked(&path))).await;
        let data = text.ok().and_then(|text| redacted(&text));
        call.reply(json!({"data": data, "check": check}))
    })
}

/// What stops a server with this configuration, and what does not do what it says.
fn checked(file: &Path) -> Value {
    let name = Path::new(file.file_name().unwrap_or_default());
    match config::load(file, config::environment()) {
        Ok((_, warnings)) => {
            let said = warnings.iter().map(|warning| warning.place.located(name, warning));
            json!({"problems": [], "warnings": said.collect::<Vec<_>>()})
        }
        Err(ConfigError::Invalid(_, problems)) => {
            let said = problems.iter().map(|problem| problem.place.located(name, problem));
            json!({"problems": said.collect::<Vec<_>>(), "warnings": []})
        }
        Err(error) => json!({"problems": [error.to_string()], "warnings": []}),
    }
}

/// `traceinfo`: what is to be traced; kept by nobody, but told to the other administrators.
pub(super) fn trace(call: &Call) -> Answer<'_> {
    let sources = call.request.texts("traceSources", 64);
    let is_empty = call.request.get("traceSources").is_some_and(|list| *list == json!([]));
    if visible(call, MyServer::TRACE) && (sources.is_some() || is_empty) {
        call.audit(format_args!("chose what is traced"));
        let event = call
            .event("traceinfo", EventKind::Server)
            .to(Target::All)
            .with("traceSources", sources.unwrap_or_default());
        call.hub().publish(Event { kind: None, ..event.transient() });
    }
    Answer::none()
}

/// `serverconsole`: one line, one text.
pub(super) fn console(call: &Call) -> Answer<'_> {
    if !visible(call, MyServer::CONSOLE) {
        return Answer::none();
    }
    let Some(line) = call.request.text_within("value", 1, LINE_MAX) else {
        return Answer::none();
    };
    call.audit(format_args!("typed {line:?} into the console"));
    let reply = console::run(call.control(), &call.user, line);
    Answer::later(async move {
        match reply.await {
            text if text.is_empty() => Answer::none(),
            text => call.reply(json!({"value": text})),
        }
    })
}

/// How many records of each kind there are, by MeshCentral's names.
pub(in super::super) fn record_counts(hub: &Hub) -> Vec<(&'static str, usize)> {
    let config = hub.config();
    let mut counts = [0; 7];
    for domain in config.domains.keys() {
        let (groups, users) = (hub.store.groups(domain), hub.store.users(domain));
        let devices = hub.store.devices(domain);
        let seen = devices.iter().filter(|device| hub.store.last_seen(&device.id).is_some());
        let tokens = users.iter().map(|user| hub.store.login_tokens(&user.id).len());
        for (count, more) in counts.iter_mut().zip([
            devices.len(),
            groups.len(),
            users.len(),
            hub.store.user_groups(domain).len(),
            seen.count(),
            tokens.sum(),
            0,
        ]) {
            *count += more;
        }
    }
    counts[6] = hub.store.shares().len();
    let names = ["node", "mesh", "user", "ugrp", "lastconnect", "logintoken", "deviceshare"];
    names.into_iter().zip(counts).collect()
}
