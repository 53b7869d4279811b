//! Device groups: made, changed, shared with accounts, and how agents are invited to them.

use super::{
    ADMIN_MADE, ANYTHING, Difference, NO_DESCRIPTION, NO_LINKS, PASSWORD_SET, Scenario, Script,
    differs, hidden, told,
};

pub const SCENARIO: Scenario = Scenario {
    commands: &[
        "adduser",
        "edituser",
        "adddevicegroup",
        "editdevicegroup",
        "removedevicegroup",
        "listdevicegroups",
        "listusersofdevicegroup",
        "addusertodevicegroup",
        "removeuserfromdevicegroup",
        "generateinvitelink",
        "sendinviteemail",
        "agentdownload",
        "addlocaldevice",
        "addamtdevice",
        "listevents",
        "listdevices",
    ],
    differences: DIFFERENCES,
    play,
};

const UNNAMED: &str = "the stock server forgets the name of what it deletes";
const WHO: &str = "userid and username say who did it, not to whom";

const DIFFERENCES: &[Difference] = &[
    PASSWORD_SET,
    NO_LINKS,
    NO_DESCRIPTION,
    ADMIN_MADE,
    told(
        "admin: editdevicegroup --id {attic} --invitecodes code1",
        r#""Error, invite code \"code1\" already in use.""#,
    ),
    told("bob: editdevicegroup --id {amt} --desc mine", r#""Invalid group identifier""#),
    told(
        "carol: removeuserfromdevicegroup --id {lab} --userid user//admin",
        r#""Permission denied""#,
    ),
    differs(
        "admin: removeuserfromdevicegroup --group nosuch",
        "/0",
        r#""Validation exception: TypeError: Cannot read properties of undefined (reading 'indexOf')""#,
        r#""Invalid groupid""#,
        "a fault of the stock server",
    ),
    differs(
        "admin: addlocaldevice --id nosuch",
        "/0",
        r#""Validation exception: TypeError: Cannot read properties of undefined (reading 'mtype')""#,
        r#""Invalid device group id""#,
        "a fault of the stock server",
    ),
    hidden("bob: removedevicegroup", r#""Access denied""#, r#""Unknown device group""#),
    hidden(
        "admin: removedevicegroup --id {attic}",
        r#""Access denied""#,
        r#""Unknown device group""#,
    ),
    differs(
        "admin: agentdownload --type 6",
        "/0",
        r#""Downloaded 3749328 byte(s) to \"meshagent\"""#,
        ANYTHING,
        "agents for Linux carry the settings of their group as those for Windows do",
    ),
    differs("admin: listevents", "/msg", r#""Device group deleted: undefined""#, ANYTHING, UNNAMED),
    differs("admin: listevents", "/msgArgs", "[null]", ANYTHING, UNNAMED),
    differs("admin: listevents", "/deletemesh/N/name", "", ANYTHING, UNNAMED),
    differs("admin: listevents", "/meshchange/N/userid", ANYTHING, ANYTHING, WHO),
    differs("admin: listevents", "/meshchange/N/username", ANYTHING, ANYTHING, WHO),
];

fn play(script: &mut Script<'_>) {
    script.run("adduser --user bob --pass Bobs-Secret-1");
    script.login("bob", "Bobs-Secret-1");
    script.run("adduser --user carol --pass Carols-Secret-1");
    script.login("carol", "Carols-Secret-1");
    add(script);
    edit(script);
    list(script);
    share(script);
    invite(script);
    add_devices(script);
    remove(script);
}

fn add(script: &mut Script<'_>) {
    script.run("listdevicegroups");
    script.run("listdevicegroups --json");
    script.learn("lab", "adddevicegroup --name lab --desc 'Lab group' --features 2 --consent 7");
    script.learn("attic", "adddevicegroup --name attic");
    script.learn("twin", "adddevicegroup --name attic");
    script.learn("amt", "adddevicegroup --name amt --amtonly");
    script.run("adddevicegroup --name printers --agentless");
    script.run(&format!("adddevicegroup --name {}", "x".repeat(129)));
    script.run(&format!("adddevicegroup --name long --desc {}", "x".repeat(1025)));
    script.run("adddevicegroup --name odd --consent many");
    script.run("edituser --userid carol --rights nonewgroups");
    script.run_as("carol", "adddevicegroup --name mine");
    script.run("listdevicegroups --json");
}

fn edit(script: &mut Script<'_>) {
    script.run(
        "editdevicegroup --id {lab} --name laboratory --desc '2nd floor' --flags 3 --consent 65",
    );
    script.run("editdevicegroup --group laboratory --name lab");
    script.run("editdevicegroup --id {lab.short} --desc");
    script.run("editdevicegroup --group lab --invitecodes code1,code2 --backgroundonly");
    script.run("editdevicegroup --group attic --desc x");
    script.run("editdevicegroup --group nosuch --desc x");
    script.run("editdevicegroup --id mesh//nonsense --desc x");
    script.run("editdevicegroup --id nonsense --desc x");
    script.unanswered("admin", "editdevicegroup --id {attic} --invitecodes code1");
    script.run("editdevicegroup --id {attic} --invitecodes 'bad code!'");
    script.run("listdevicegroups --json");
    script.run("editdevicegroup --group lab --invitecodes");
    script.run("listdevicegroups --json");
}

fn list(script: &mut Script<'_>) {
    script.list("listdevicegroups");
    script.run("listdevicegroups --idexists {lab}");
    script.run("listdevicegroups --idexists {lab.short}");
    script.run("listdevicegroups --idexists nosuch");
    script.run("listdevicegroups --nameexists lab");
    script.run("listdevicegroups --nameexists nosuch");
    script.run_as("bob", "listdevicegroups --json");
}

fn share(script: &mut Script<'_>) {
    script.run(
        "addusertodevicegroup --id {lab} --userid bob --remotecontrol --agentconsole --chatnotify",
    );
    script.run("addusertodevicegroup --group lab --userid carol --editgroup --manageusers");
    script.run("addusertodevicegroup --group lab --userid nobody --remotecontrol");
    script.run("addusertodevicegroup --group lab --userid admin --remotecontrol");
    script.run("addusertodevicegroup --group nosuch --userid bob --remotecontrol");
    script.run("addusertodevicegroup --id mesh//nonsense --userid bob --remotecontrol");
    script.run("addusertodevicegroup --group attic --userid bob --remotecontrol");
    script.run("addusertodevicegroup --id {attic} --userid bob --fullrights");
    script.list("listusersofdevicegroup --id {lab.short}");
    script.run("listusersofdevicegroup --id {lab.short} --json");
    script.run("listusersofdevicegroup --id nosuch");
    script.run_as("bob", "listdevicegroups --json");

    // With rights, but not this one.
    script.unanswered("bob", "editdevicegroup --group lab --desc mine");
    script.run_as("bob", "addusertodevicegroup --id {lab} --userid carol --remotecontrol");
    script.run_as("bob", "removeuserfromdevicegroup --id {lab} --userid carol");
    script.run_as("bob", "removedevicegroup --id {lab}");
    script.unanswered("bob", "editdevicegroup --id {amt} --desc mine");
    // A manager of the group's users has no more to give than a full administrator of it leaves.
    script.run_as("carol", "addusertodevicegroup --id {lab} --userid bob --fullrights");
    script.run_as("carol", "addusertodevicegroup --id {lab} --userid admin --remotecontrol");
    script.unanswered("carol", "removeuserfromdevicegroup --id {lab} --userid user//admin");
    script.run_as("carol", "addusertodevicegroup --id {lab} --userid bob --remotecontrol --desktopviewonly --noterminal --nofiles --noamt --limiteddesktop --limitedevents");
    script.run_as("carol", "editdevicegroup --id {lab} --desc 'by carol'");
    script.list("listusersofdevicegroup --id {lab.short}");

    script.run("removeuserfromdevicegroup --id {lab} --userid user//bob");
    script.run("removeuserfromdevicegroup --id {lab} --userid user//bob");
    script.run("removeuserfromdevicegroup --group lab --userid carol");
    script.run("removeuserfromdevicegroup --group lab --userid user//nobody");
    script.run("removeuserfromdevicegroup --group lab --userid user//admin");
    script.run("removeuserfromdevicegroup --group nosuch --userid user//bob");
    script.run("listdevicegroups --json");
    script.run_as("carol", "listdevicegroups --json");
}

fn invite(script: &mut Script<'_>) {
    script.run("generateinvitelink --group lab --hours 2");
    script.run("generateinvitelink --id {lab} --hours 0 --flags 2");
    script.run("generateinvitelink --id {lab.short} --hours 1 --flags 1");
    script.run("generateinvitelink --group nosuch --hours 2");
    script.run("generateinvitelink --group attic --hours 2");
    script.run("generateinvitelink --group lab --hours -1");
    script.run("generateinvitelink --group lab --hours 100000");
    script.run("generateinvitelink --group lab --hours soon");
    script.run("generateinvitelink --group lab --hours 1 --flags 257");
    script.run_as("carol", "generateinvitelink --id {lab} --hours 1");
    script
        .run("sendinviteemail --group lab --email someone@example.com --name Someone --message Hi");
    script.run("sendinviteemail --group nosuch --email someone@example.com");

    script.run("agentdownload --type 6 --id {lab.short}");
    // The file is there now.
    script.run("agentdownload --type 6 --id {lab.short}");
    script.run("agentdownload --type 7777 --id {lab.short}");
}

fn add_devices(script: &mut Script<'_>) {
    script.run("addlocaldevice --id {lab.short} --devicename printer --hostname 192.0.2.9");
    script.run("addlocaldevice --id {lab} --devicename printer --hostname 192.0.2.9 --type 29");
    script.run("addlocaldevice --id nosuch --devicename printer --hostname 192.0.2.9");
    script.unanswered("admin", "addamtdevice --id {amt} --devicename pc --hostname 192.0.2.10 --user admin --pass 'P@ssw0rd'");
    script.run("listdevices --json");
}

fn remove(script: &mut Script<'_>) {
    script.run_as("bob", "removedevicegroup --id {lab}");
    script.run("removedevicegroup --group nosuch");
    script.run("removedevicegroup --group attic");
    script.run("removedevicegroup --id {attic}");
    script.run("removedevicegroup --id {attic}");
    script.run("removedevicegroup --group attic");
    script.run("removedevicegroup --id {lab.short}");
    script.run("listdevicegroups --json");
    script.events("admin", "listevents --json");
}
