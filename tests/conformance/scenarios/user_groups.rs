//! User groups: members, and what they may do together.

use super::{Difference, NO_LINKS, PASSWORD_SET, Scenario, Script, differs, know_user_group, told};

pub const SCENARIO: Scenario = Scenario {
    commands: &[
        "adduser",
        "adddevicegroup",
        "addusergroup",
        "removeusergroup",
        "listusergroups",
        "addtousergroup",
        "removefromusergroup",
        "removeallusersfromusergroup",
        "listdevicegroups",
        "listusers",
        "listusersofdevicegroup",
        "userinfo",
    ],
    differences: DIFFERENCES,
    play,
};

const DIFFERENCES: &[Difference] = &[
    PASSWORD_SET,
    NO_LINKS,
    differs(
        "admin: addtousergroup --groupid ugrp//nonsense",
        "/0",
        r#""ok""#,
        r#""Invalid groupid""#,
        "a group that does not exist has no new member",
    ),
    told("bob: removefromusergroup", r#""Permission denied""#),
    differs(
        "admin: removeusergroup --groupid ugrp//nonsense",
        "/0",
        r#""Unknown device group""#,
        r#""Invalid group id""#,
        "an id of the wrong form is told from one that is gone",
    ),
];

fn play(script: &mut Script<'_>) {
    for (name, rights) in [("bob", ""), ("carol", "--rights usergroups"), ("dave", "")] {
        script.run(&format!("adduser --user {name} --pass Some-Secret-1 {rights}"));
        script.login(name, "Some-Secret-1");
    }
    script.learn("lab", "adddevicegroup --name lab");

    script.run("listusergroups");
    script.run("listusergroups --json");
    script.run("addusergroup --name staff --desc 'All of us'");
    know_user_group(script, "staff");
    script.run("addusergroup --name guests");
    know_user_group(script, "guests");
    script.run(&format!("addusergroup --name {}", "x".repeat(65)));
    script.run_as("bob", "addusergroup --name mine");
    script.run_as("carol", "addusergroup --name hers --desc 'by carol'");
    know_user_group(script, "hers");
    script.run("listusergroups --json");

    members(script);
    rights(script);
    remove(script);
}

fn members(script: &mut Script<'_>) {
    script.run("addtousergroup --groupid {staff} --id user//bob");
    script.run("addtousergroup --groupid {staff} --id user//bob");
    script.run("addtousergroup --groupid {staff} --id user//dave");
    script.run("addtousergroup --groupid {staff} --id user//nobody");
    script.run("addtousergroup --groupid ugrp//nonsense --id user//bob");
    script.run("addtousergroup --groupid {hers} --id user//carol");
    script.run_as("bob", "addtousergroup --groupid {staff} --id user//carol");
    script.run_as("carol", "addtousergroup --groupid {hers} --id user//dave");
    script.run("listusergroups --json");
    script.list("listusergroups");
    script.run_as("bob", "listusergroups --json");
    script.run_as("carol", "listusergroups --json");
    script.run_as("bob", "userinfo --json");
    script.run("listusers --json");
}

fn rights(script: &mut Script<'_>) {
    script.run_as("bob", "listdevicegroups --json");
    script.run("addtousergroup --groupid {staff} --id {lab} --rights 73736");
    script.run("addtousergroup --groupid {staff} --id mesh//nonsense --rights 73736");
    script.run_as("bob", "listdevicegroups --json");
    script.run("listusersofdevicegroup --id {lab.short} --json");
    script.run("listusergroups --json");
    script.run_as("bob", "addtousergroup --groupid {staff} --id {lab} --rights 4294967295");
    script.run("removefromusergroup --groupid {staff} --id {lab}");
    script.run("removefromusergroup --groupid {staff} --id {lab}");
    script.run_as("bob", "listdevicegroups --json");
    script.run("addtousergroup --groupid {staff} --id {lab} --rights 8");
}

fn remove(script: &mut Script<'_>) {
    script.run("removefromusergroup --groupid {staff} --id user//bob");
    script.run("removefromusergroup --groupid {staff} --id user//bob");
    script.run("removefromusergroup --groupid {staff} --id user//nobody");
    script.unanswered("bob", "removefromusergroup --groupid {staff} --id user//dave");
    script.run("addtousergroup --groupid {staff} --id user//bob");
    script.list("removeallusersfromusergroup --groupid {staff}");
    script.run("removeallusersfromusergroup --groupid {staff}");
    script.run("removeallusersfromusergroup --groupid ugrp//nonsense");
    script.run("listusergroups --json");
    script.run_as("bob", "removeusergroup --groupid {staff}");
    script.run("addtousergroup --groupid {staff} --id user//dave");
    script.run("removeusergroup --groupid {staff}");
    script.run("removeusergroup --groupid {staff}");
    script.run("removeusergroup --groupid ugrp//nonsense");
    script.run_as("carol", "removeusergroup --groupid {hers}");
    script.run_as("dave", "userinfo --json");
    script.run("listusergroups --json");
    script.run("listusersofdevicegroup --id {lab.short} --json");
}
