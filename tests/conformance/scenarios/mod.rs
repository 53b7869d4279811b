//! The scenarios, one area each.

pub mod accounts;
pub mod device_groups;
pub mod devices;
pub mod events;
pub mod power;
pub mod server;
pub mod sharing;
pub mod tokens;
pub mod two_factor;
pub mod user_groups;

use serde_json::Value;

use crate::Scenario;
use crate::common::transcript::Difference;
use crate::common::transcript::compare::{ANYTHING, differs};
use crate::script::Script;

// Differences that occur in more than one scenario.

/// The command line of the stock server does not note when it set a password.
const PASSWORD_SET: Difference =
    differs("", "/passchange", "", r#""<now in s>""#, "the administrator's password was set then");
const NO_LINKS: Difference =
    differs("", "/links", "{}", "", "links are left out when there are none, as for a new account");
const NO_RIGHTS: Difference = differs(
    "",
    "/siteadmin",
    "0",
    "",
    "rights are left out when there are none, as for a new account",
);
const NO_DESCRIPTION: Difference = differs(
    "",
    "/desc",
    r#""""#,
    "",
    "a description is left out when it is empty, as before it was set",
);
const ADMIN_MADE: Difference = differs(
    "admin: listevents",
    "/accountcreate/N",
    "",
    ANYTHING,
    "an account made on the command line is in the history too",
);
const ADDED_DEVICE: Difference = differs(
    "",
    "/addnode",
    "",
    ANYTHING,
    "the history of a device begins with the device; the stock server does not find that event",
);

/// An answer about something that is hidden from who asks.
const fn hidden(asked: &'static str, stock: &'static str, ours: &'static str) -> Difference {
    differs(asked, "/0", stock, ours, "what one has no right on is as if it were not there")
}

/// A refusal the stock server keeps to itself, so that meshctrl hangs.
const fn told(asked: &'static str, ours: &'static str) -> Difference {
    differs(asked, "/0", r#""(no answer)""#, ours, "a refusal is told, meshctrl does not hang")
}

/// Makes a login token, known as `name.user` and `name.password`, and a way to log in with it.
fn add_token(script: &mut Script<'_>, name: &str, options: &str) {
    let command = format!("logintokens {options}");
    let output = script.aside(&command);
    let field = |label: &str| {
        let line = output.lines().find_map(|line| line.strip_prefix(label));
        line.unwrap_or_default().trim().to_owned()
    };
    let (user, password) = (field("Username: "), field("Password: "));
    script.know(&format!("{name}.user"), &user);
    script.know(&format!("{name}.password"), &password);
    script.login_with(name, &["--loginuser", &user, "--loginpass", &password]);
    script.note_output(&command, &output);
}

/// Makes a link for a guest, known as `name`.
fn add_share(script: &mut Script<'_>, name: &str, options: &str) {
    let command = format!("devicesharing --id {{device}} {options}");
    let output = script.aside(&command);
    let id = output.lines().find_map(|line| line.strip_prefix("ID: ")).unwrap_or_default();
    script.know(name, id);
    script.note_output(&command, &output);
}

/// Makes the id of a user group known: `addusergroup` does not print it.
fn know_user_group(script: &mut Script<'_>, name: &str) {
    let groups = script.aside("listusergroups --json");
    let groups: Value = serde_json::from_str(&groups).unwrap_or_default();
    let mut groups = groups.as_object().into_iter().flatten();
    let id = groups.find(|(_, group)| group["name"] == name).map(|(id, _)| id.clone());
    script.know(name, &id.unwrap_or_default());
}
