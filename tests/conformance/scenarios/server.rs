//! The server and its visitors: who is there, what they are reports.

use serde_json::{Deserializer, Value};

use super::{ANYTHING, Difference, NO_LINKS, PASSWORD_SET, Scenario, Script, differs};

pub const SCENARIO: Scenario = Scenario {
    commands: &[
        "serverinfo",
        "userinfo",
        "listusersessions",
        "broadcast",
        "report",
        "adduser",
        "showevents",
    ],
    differences: DIFFERENCES,
    play,
};

const LOOSE: &str = "history is in segments of a fixed size; nothing counts its records";

const DIFFERENCES: &[Difference] = &[
    PASSWORD_SET,
    NO_LINKS,
    differs("", "/features", ANYTHING, ANYTHING, "every server says what it has"),
    differs("", "/features2", ANYTHING, ANYTHING, "every server says what it has"),
    differs("", "/languages", ANYTHING, r#"["en"]"#, "messages are in English only"),
    differs("admin: report --type db", "/0,events,2", "1", "", LOOSE),
    differs("admin: report --type db", "/0,power,1", "1", "", LOOSE),
];

fn play(script: &mut Script<'_>) {
    script.run("serverinfo --json");
    script.run("userinfo --json");

    script.run("adduser --user bob --pass Bobs-Secret-1");
    script.login("bob", "Bobs-Secret-1");
    script.run_as("bob", "serverinfo --json");
    script.run_as("bob", "userinfo --json");
    // Names are found in lower case.
    script.login("BOB", "Bobs-Secret-1");
    script.run_as("BOB", "userinfo --json");

    // One session beside the one that asks.
    let mut listener = script.start("bob", "showevents");
    listener.wait_for_line(|line| line.contains("userinfo"));
    script.run("listusersessions --json");
    script.list("listusersessions");
    script.run_as("bob", "listusersessions --json");

    script.run("broadcast --msg 'tea is ready'");
    script.hears("bob", &listener, "tea is ready");
    script.run("broadcast --msg 'only for bob' --user user//bob");
    script.hears("bob", &listener, "only for bob");
    script.run("broadcast --msg hello --user user//nobody");
    script.unanswered("admin", &format!("broadcast --msg {}", "long".repeat(200)));
    script.run_as("bob", "broadcast --msg 'I may not'");
    let heard = notes(&listener.stdout());
    script.note("what bob heard", heard);
    listener.kill();

    for kind in ["sessions", "traffic", "logins", "db"] {
        for group_by in ["user", "device", "day"] {
            if (kind, group_by) == ("logins", "device") {
                // Ends the stock server.
                continue;
            }
            script.list(&format!("report --type {kind} --groupby {group_by}"));
        }
    }
    script.list_as("bob", "report --type sessions");
    script.unanswered("bob", "report --type db");

    script.login("admin", "wrong");
    script.run("serverinfo");
    script.login("admin", "");
    script.run("serverinfo");
    script.login("nobody", "Bobs-Secret-1");
    script.run_as("nobody", "userinfo");
    script.login_with("key", &["--loginkey", &"0123456789abcdef".repeat(10)]);
    script.run_as("key", "userinfo");
    script.login_with("cookie", &["--loginkey", "nonsense"]);
    script.run_as("cookie", "userinfo");
}

/// The messages in an output of `showevents` that were sent by people.
fn notes(output: &str) -> Value {
    let output = output.trim_start_matches("Connected. Press ctrl-c to end.");
    let messages = Deserializer::from_str(output).into_iter::<Value>().map_while(Result::ok);
    messages.filter(|message| message["action"] == "msg").collect()
}
