//! The console of administrators: one line in, one text out.
//!
//! Adding a command is adding one entry to [`COMMANDS`] and writing what it says. Words and texts
//! are MeshCentral's where it has the same command. What the program of the command line does
//! better (`meshboard status`, `cert show`, `check-config`) is only looked at here.

mod machine;
mod people;

use std::future::Future;
use std::pin::Pin;

use crate::model::User;

use super::Control;

/// What a command says. It may have to ask the disk.
pub(super) type Reply = Pin<Box<dyn Future<Output = String>>>;

/// A line, taken apart.
pub(super) struct Line<'a> {
    pub(super) control: &'a Control,
    pub(super) user: &'a User,
    pub(super) words: Vec<String>,
}

impl Line<'_> {
    /// The word after the command, or the one after that.
    pub(super) fn word(&self, n: usize) -> Option<&str> {
        self.words.get(n).map(String::as_str)
    }
}

struct Command {
    name: &'static str,
    /// What it is for; empty where its name says it.
    help: &'static str,
    run: fn(&Line<'_>) -> Reply,
}

const fn command(name: &'static str, help: &'static str, run: fn(&Line<'_>) -> Reply) -> Command {
    Command { name, help, run }
}

/// All commands, by name.
static COMMANDS: &[Command] = &[
    command("agentstats", "What agents did and why some were refused.", machine::agents),
    command("amtacm", "Shows what Intel AMT is activated with.", machine::activation),
    command("args", "Shows how the console reads a line.", args),
    command("badlogins", "Displays the networks that are refused.", people::bans),
    command("certexpire", "Days until the web certificate ends.", machine::certificate),
    command("certhashes", "Hashes by which agents know this server.", machine::hashes),
    command(
        "checkconfig",
        "Reads config.json again and says what is wrong with it; nothing changes.",
        machine::check_config,
    ),
    command(
        "closeusersessions",
        "Disconnects all sessions for a specified user.",
        people::close_sessions,
    ),
    command("dbcounters", "What the disk was given to write, and what waits.", machine::writes),
    command("dbstats", "How many records of each kind there are.", machine::records),
    command("help", "", help),
    command(
        "info",
        "What to tell when reporting a bug. Optionally use info h for human readable form.",
        machine::info,
    ),
    command(
        "log",
        "Shows the level of the log, or sets it: error, warn, info, debug or trace.",
        machine::log_level,
    ),
    command("memory", "Memory of the server and of the machine.", machine::memory),
    command("showpaths", "Where the server keeps its things.", machine::paths),
    command("trafficstats", "What passed through the server.", machine::traffic),
    command("uptime", "How long the server runs.", machine::uptime),
    command("usersessions", "Returns a list of active sessions grouped by user.", people::sessions),
    command("versions", "Versions of the server and of what it is made of.", machine::versions),
];

/// Runs one line for `user`, who is a full administrator. An empty line says nothing.
pub(super) fn run(control: &Control, user: &User, line: &str) -> Reply {
    let mut words = split(line).into_iter();
    let Some(first) = words.next() else { return said(String::new()) };
    let name = first.to_lowercase();
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => (command.run)(&Line { control, user, words: words.collect() }),
        None => said(format!(
            "Unknown command \"{name}\", type \"help\" for list of available commands."
        )),
    }
}

fn said(text: impl Into<String>) -> Reply {
    let text = text.into();
    Box::pin(async move { text })
}

/// Words between blanks; quotes hold one together.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_at(rest.find([' ', '\t', '"']).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

fn help(line: &Line<'_>) -> Reply {
    let Some(wanted) = line.word(0) else {
        let mut lines = vec![String::new()];
        for command in COMMANDS {
            let full = lines.last().is_some_and(|line| line.len() > 80);
            if full {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                line.push_str(if line.is_empty() { " " } else { ", " });
                line.push_str(command.name);
            }
        }
        return said(format!(
            "Available commands: \r\n{}\r\nType help <command> for details.",
            lines.join(",\r\n")
        ));
    };
    let wanted = wanted.to_lowercase();
    said(match COMMANDS.iter().find(|command| command.name == wanted) {
        Some(command) if command.help.is_empty() => "No help available for this command.",
        Some(command) => command.help,
        None => "This command does not exist.",
    })
}

fn args(line: &Line<'_>) -> Reply {
    said(format!("args: {}", serde_json::json!({"_": line.words})))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::World;
    use crate::model::SiteRights;
    use futures_lite::future::block_on;

    fn typed(world: &World, line: &str) -> String {
        let user = world.user("root", SiteRights::FULL);
        block_on(run(&world.control, &user, line))
    }

    #[test]
    fn a_line_is_taken_apart_as_people_type_it() {
        for (line, words) in [
            ("", &[][..]),
            ("  help  info ", &["help", "info"]),
            (r#"a "b c" d"e""#, &["a", "b c", "d", "e"]),
            (r#"a "b"#, &["a", "b"]),
        ] {
            assert_eq!(split(line), words, "{line}");
        }
    }

    #[test]
    fn every_command_says_something_and_is_listed() {
        let world = World::new();
        let listed = typed(&world, "help");
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
        for command in COMMANDS {
            assert!(listed.contains(command.name), "{}", command.name);
            assert!(!typed(&world, command.name).is_empty(), "{}", command.name);
            assert!(!typed(&world, &format!("help {}", command.name)).is_empty());
        }
        assert_eq!(typed(&world, "  "), "");
        assert_eq!(
            typed(&world, "XYZ"),
            "Unknown command \"xyz\", type \"help\" for list of available commands."
        );
    }

    #[test]
    fn sessions_are_listed_as_meshcentral_does_and_can_be_ended() {
        let world = World::new();
        world.user("bob", SiteRights::empty());
        let (one, _two) = (world.session("bob"), world.session("admin"));
        let id = &one.link().id;
        assert_eq!(
            typed(&world, "usersessions bob"),
            format!("user//bob, 1 session.\r\n    127.0.0.1 --> {id}\r\n")
        );
        assert!(typed(&world, "usersessions").contains("user//admin, 1 session.\r\n"));
        assert_eq!(typed(&world, "usersessions nobody"), "None.");
        assert!(typed(&world, "closeusersessions bob").ends_with("Disconnected 1 session."));
        let stopped = crate::control::testing::heard(&one).pop().unwrap();
        assert_eq!(stopped["msg"], "Administrator forced disconnection");
    }
}
