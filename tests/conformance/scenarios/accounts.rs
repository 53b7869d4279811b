//! Accounts: made, changed, locked and removed, by those who may and those who may not.

use super::{
    ADMIN_MADE, ANYTHING, Difference, NO_LINKS, NO_RIGHTS, PASSWORD_SET, Scenario, Script, differs,
};

pub const SCENARIO: Scenario = Scenario {
    commands: &["adduser", "edituser", "removeuser", "listusers", "userinfo", "listevents"],
    differences: DIFFERENCES,
    play,
};

const DIFFERENCES: &[Difference] = &[
    PASSWORD_SET,
    NO_LINKS,
    NO_RIGHTS,
    ADMIN_MADE,
    differs("admin: listevents", "/authfail", "", ANYTHING, "a login to a locked account is noted"),
    differs("", "/phone", "", r#""555-1234""#, "a number is kept without a way to send to it, too"),
    differs(
        "admin: edituser --userid dave --email nonsense",
        "/0",
        r#""ok""#,
        r#""Invalid email""#,
        "addresses are checked as those of new accounts",
    ),
    differs("admin: listevents", "/accountchange/N", ANYTHING, "", "so nothing has changed"),
    differs("", "/email", r#""nonsense""#, "", "so the old one is kept"),
    differs(
        "admin: removeuser --userid admin",
        "/0",
        "",
        r#""ok""#,
        "one is told before one's own sessions end",
    ),
];

fn play(script: &mut Script<'_>) {
    add(script);
    list(script);
    edit(script);
    act_without_rights(script);
    lock(script);
    remove(script);
}

fn add(script: &mut Script<'_>) {
    script.run("adduser --user bob --pass Bobs-Secret-1");
    script.run("adduser --user bob --pass Bobs-Secret-1");
    script.run("adduser --user BOB --pass Bobs-Secret-1");
    script.run(
        "adduser --user Carol --pass Carols-Secret-1 --email Carol@Example.com --emailverified \
         --realname 'Carol Smith' --phone 555-1234 --rights manageusers",
    );
    script.run("adduser --user dave --randompass --resetpass");
    script.run("adduser --user erin --pass Erins-Secret-1 --rights full");
    script.run("adduser --user frank --pass Franks-Secret-1 --rights 8 --realname 'Fränk Ω'");
    for name in ["~tilde", "'two words'", "comma,name", "sla/sh", "'\"quoted\"'"] {
        script.run(&format!("adduser --user {name} --pass Some-Secret-1"));
    }
    script.run(&format!("adduser --user {} --pass Some-Secret-1", "x".repeat(257)));
    script.run(&format!("adduser --user long --pass {}", "x".repeat(257)));
    for email in ["nonsense", "a@b", "'a b@c.de'", "a@b.c"] {
        script.run(&format!("adduser --user mailer --pass Some-Secret-1 --email {email}"));
    }
    script.run("adduser --user grace --pass Some-Secret-1 --domain nosuch");
    script.login("bob", "Bobs-Secret-1");
    script.login("carol", "Carols-Secret-1");
    script.login("erin", "Erins-Secret-1");
    script.login("frank", "Franks-Secret-1");
    script.run_as("carol", "userinfo --json");
    script.run_as("erin", "userinfo --json");
    script.run_as("frank", "userinfo --json");
}

fn list(script: &mut Script<'_>) {
    script.run("listusers --json");
    script.list("listusers");
    script.list("listusers --filter 2fa");
    script.list("listusers --filter no2fa");
    script.run("listusers --idexists user//bob");
    script.run("listusers --idexists bob");
    script.run("listusers --idexists nobody");
    script.run("listusers --nameexists Carol");
    script.run("listusers --nameexists nobody");
    script.run_as("carol", "listusers --json");
    script.run_as("bob", "listusers");
}

fn edit(script: &mut Script<'_>) {
    script.run("edituser --userid bob --realname Bobby --email bob@example.com");
    script.run("edituser --userid user//bob --emailverified --email b@example.com");
    script.run("edituser --userid dave --email nonsense");
    script.run("edituser --userid bob --realname --phone");
    script.run("edituser --userid bob --rights usergroups,recordings,nonewdevices");
    script.run("edituser --userid bob --fileaccess --notools");
    // An account without tools may not use meshctrl.
    script.run_as("bob", "userinfo");
    script.run("edituser --userid bob --rights none");
    script.run("edituser --userid nobody --realname X");
    script.run("edituser --userid user/nosuch/bob --realname X");
    // One's own rights stay as they are.
    script.run("edituser --userid admin --rights none --realname 'The Boss'");
    script.run("userinfo --json");
    script.run("listusers --json");
}

fn act_without_rights(script: &mut Script<'_>) {
    script.run_as("bob", "adduser --user eve --pass Eves-Secret-1");
    script.run_as("bob", "removeuser --userid frank");
    script.unanswered("bob", "edituser --userid frank --realname Frankie");
    // A manager of users is not an administrator.
    script.run_as("carol", "adduser --user eve --pass Eves-Secret-1 --rights full");
    script.run_as("carol", "adduser --user eve --pass Eves-Secret-1 --rights manageusers");
    script.run_as("carol", "adduser --user eve --pass Eves-Secret-1 --rights locked");
    script.run_as("carol", "adduser --user eve2 --pass Eves-Secret-1");
    script.run_as("carol", "edituser --userid erin --realname Erina");
    script.run_as("carol", "edituser --userid admin --rights none");
    script.run_as("carol", "edituser --userid bob --rights full");
    script.run_as("carol", "edituser --userid bob --realname Bert --rights nonewgroups");
    script.run_as("carol", "edituser --userid carol --rights full");
    script.run_as("carol", "removeuser --userid admin");
    script.run_as("carol", "removeuser --userid erin");
    script.run_as("carol", "removeuser --userid eve2");
    script.run("listusers --json");
}

fn lock(script: &mut Script<'_>) {
    script.run("edituser --userid frank --locked");
    script.run_as("frank", "userinfo");
    script.run("edituser --userid frank --rights none");
    script.run_as("frank", "userinfo --json");
}

fn remove(script: &mut Script<'_>) {
    script.run("removeuser --userid bob");
    script.run("removeuser --userid bob");
    script.run("removeuser --userid user//frank");
    script.run("removeuser --userid user/nosuch/dave");
    script.run("removeuser --userid nobody");
    script.run_as("bob", "userinfo");
    script.run("listusers --json");
    script.events("admin", "listevents --json");
    script.events("admin", "listevents --userid user//carol --json");
    script.run("removeuser --userid admin");
    script.run("userinfo");
}
