//! What the server hands out, used by the stock programs themselves: agents with their settings
//! inside, agents that replace themselves, MeshCmd, the install script.

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Architecture, Meshboard, PATIENCE, Server, StockAgent, https};

/// The bare 64 characters of a group id, as download links carry it.
fn short(group: &str) -> &str {
    group.rsplit('/').next().expect("split yields at least one part")
}

fn get(server: &Meshboard, path: &str) -> (u16, Vec<u8>) {
    https::get(server.port(), path)
}

fn connected_with_core(server: &Meshboard) {
    server.meshctrl().wait_for_device("is connected, with its core", |device| {
        device["conn"] == 1 && device["agent"]["core"].is_string()
    });
}

#[test]
fn an_agent_downloaded_for_a_group_needs_no_other_file() {
    let server = Meshboard::start();
    let group = server.add_group("office");
    let (status, agent) = get(&server, &format!("/meshagents?id=6&meshid={}", short(&group)));
    assert_eq!(status, 200);
    assert!(agent.len() > Architecture::X86_64.executable().len(), "the settings are inside");
    let _agent = StockAgent::start_as(&agent, None, Architecture::X86_64);
    connected_with_core(&server);
}

#[test]
fn an_agent_of_another_build_replaces_itself_and_returns() {
    let server = Meshboard::start();
    let settings = server.settings_file(&server.add_group("office"));
    let current = Architecture::X86_64.executable();
    // A byte behind the ELF image: it runs the same, but it is not the build the server has.
    let other = [current.as_slice(), b"\0"].concat();
    let agent = StockAgent::start_as(&other, Some(settings.as_ref()), Architecture::X86_64);
    let deadline = Instant::now() + PATIENCE;
    while agent.executable() != current {
        assert!(Instant::now() < deadline, "the agent was not updated");
        std::thread::sleep(Duration::from_millis(100));
    }
    connected_with_core(&server);
    assert_eq!(server.meshctrl().devices().len(), 1, "it is the same device");
}

#[test]
fn meshcmd_is_composed_and_runs() {
    let server = Meshboard::start();
    let (status, meshcmd) = get(&server, "/meshagents?meshcmd=6");
    assert_eq!(status, 200);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("meshcmd");
    std::fs::write(&path, meshcmd).expect("the folder is ours");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    let output = Command::new(&path).current_dir(&folder).output().expect("it is executable");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("MeshCentral Command"), "{text}");
}

#[test]
fn the_install_script_is_complete() {
    let server = Meshboard::start();
    let (status, script) = get(&server, "/meshagents?script=1");
    let script = String::from_utf8(script).expect("a script is text");
    assert_eq!(status, 200);
    assert!(script.starts_with("#!"), "{script:.40}");
    assert!(!script.contains("{{{") && !script.contains('\r'), "no placeholder, no CR");
    assert!(script.contains("--no-check-certificate"), "our certificate is not public");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("meshinstall.sh");
    std::fs::write(&path, &script).expect("the folder is ours");
    let syntax = Command::new("bash").arg("-n").arg(&path).status().expect("bash is there");
    assert!(syntax.success(), "bash reads it");
}

#[test]
fn the_graphical_installer_carries_the_groups_settings() {
    let server = Meshboard::start();
    let group = server.add_group("office");
    let path = format!("/meshagents?meshinstall=6&id={}", short(&group));
    let (status, installer) = get(&server, &path);
    assert_eq!(status, 200);
    let agent = Architecture::X86_64.executable();
    assert!(installer.starts_with(&agent));
    let script = String::from_utf8_lossy(&installer[agent.len()..]);
    assert!(script.contains(r#""MeshName":"office""#), "the settings are in its script");
    let windows = get(&server, &path.replace("meshinstall=6", "meshinstall=4"));
    assert_eq!(windows.0, 404, "there is none for Windows");
}

#[test]
fn what_is_not_there_is_said() {
    let server = Meshboard::start();
    let group = server.add_group("office");
    let (group, stranger) = (short(&group), "A".repeat(64));
    for (path, status) in [
        (format!("/meshsettings?id={group}"), 200),
        (format!("/meshsettings?id={}", group.replace('@', "%40").replace('$', "%24")), 200),
        (format!("/meshsettings?id={stranger}"), 401),
        ("/meshsettings".into(), 401),
        ("/meshsettings?id=../../state".into(), 401),
        (format!("/meshagents?id=6&meshid={stranger}"), 401),
        (format!("/meshagents?meshinstall=6&id={stranger}"), 401),
        ("/meshagents?id=4711".into(), 404),
        ("/meshagents?id=-1".into(), 404),
        ("/meshagents?id=6&zip=1".into(), 404),
        ("/meshagents?script=3".into(), 404),
        ("/meshagents?meshcmd=4711".into(), 404),
        ("/meshagents".into(), 404),
        ("/agents/index".into(), 404),
        ("/../state".into(), 404),
        ("/agent.ashx".into(), 404),
        ("/control.ashx".into(), 404),
    ] {
        assert_eq!(get(&server, &path).0, status, "{path}");
    }
}
