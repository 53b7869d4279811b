//! Login tokens and second factors.

use super::{Difference, NO_LINKS, PASSWORD_SET, Scenario, Script, add_token};

pub const SCENARIO: Scenario =
    Scenario { commands: &["logintokens", "userinfo", "adduser"], differences: DIFFERENCES, play };

const DIFFERENCES: &[Difference] = &[PASSWORD_SET, NO_LINKS];

fn play(script: &mut Script<'_>) {
    script.run("logintokens");
    script.run("logintokens --json");
    add_token(script, "first", "--add first");
    add_token(script, "short", "--add 'for an hour' --expire 60");
    script.run(&format!("logintokens --add {}", "x".repeat(101)));
    script.run("logintokens --add negative --expire -5");
    script.run("logintokens --add nonsense --expire soon");
    script.list("logintokens");

    script.run_as("first", "userinfo --json");
    script.run_as("short", "userinfo --json");
    let tokens = script.value("first.user").to_owned();
    script.login_with("guess", &["--loginuser", &tokens, "--loginpass", "AAAAAAAAAAAAAAAAAAAA"]);
    script.run_as("guess", "userinfo");

    // Tokens belong to their account.
    script.run("adduser --user bob --pass Bobs-Secret-1");
    script.login("bob", "Bobs-Secret-1");
    script.run_as("bob", "logintokens");
    script.run_as("bob", "logintokens --remove {first.user}");
    script.run_as("first", "userinfo --json");

    script.run("logintokens --remove {first.user}");
    script.run_as("first", "userinfo");
    script.run("logintokens --remove ~t:AAAAAAAAAAAAAAAA");
    script.run_as("short", "userinfo --json");
    script.list("logintokens");
}
