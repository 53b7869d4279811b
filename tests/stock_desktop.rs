//! The desktop of a stock MeshAgent on a virtual X server: our viewer sees what the X server shows,
//! and its input moves the pointer; several watch it at once.

mod common;

use std::time::{Duration, Instant};

use common::desktop::DesktopViewer;
use common::player::play;
use common::x_server::XServer;
use common::{Architecture, Control, Meshboard, PATIENCE, Server, StockAgent};
use meshboard::relay::desktop::wire::{FromViewer, KeyAction, Pace};
use serde_json::json;

against_both_servers! {
    a_viewer_sees_what_the_x_server_shows_and_moves_its_pointer,
}

/// JPEG of quality 90 is this close to the original, on average per colour.
const CLOSE: f64 = 3.0;

/// A device whose agent captures `screen`, with its core.
fn device_with(server: &dyn Server, screen: &XServer) -> (StockAgent, String) {
    let group = server.add_group("desks");
    let agent = StockAgent::start_on(server, &group, Architecture::X86_64, screen.display());
    let device = server.meshctrl().wait_for_device("has its core", |device| {
        device["conn"] == 1 && device["agent"]["core"].is_string()
    });
    let id = device["_id"].as_str().expect("an id is text").to_owned();
    (agent, id)
}

/// Colours that a wrong order of bytes, rows or tiles would show.
fn paint(screen: &XServer) {
    screen.fill(0, 0, 320, 240, 0x00_20_60_c0);
    screen.fill(320, 0, 320, 240, 0x00_c0_30_20);
    screen.fill(0, 240, 320, 240, 0x00_20_a0_40);
    screen.fill(320, 240, 320, 240, 0x00_e0_e0_e0);
    screen.fill(37, 61, 200, 90, 0x00_ff_ff_00);
}

fn a_viewer_sees_what_the_x_server_shows_and_moves_its_pointer(server: &mut dyn Server) {
    let screen = XServer::start(640, 480);
    paint(&screen);
    let (_agent, device) = device_with(server, &screen);
    let mut viewer = DesktopViewer::open(server, &device);
    let pace = Some(Pace { scale: 1024, timer: 50 });
    viewer.say(FromViewer::Quality { format: 1, quality: 90, pace });
    viewer.say(FromViewer::Refresh);
    let shown = screen.screenshot();
    viewer.watch_until("the whole picture", |v| v.picture.distance(&shown) < CLOSE);

    // And what changes.
    screen.fill(400, 300, 64, 64, 0x00_10_10_10);
    let shown = screen.screenshot();
    viewer.watch_until("the change", |v| v.picture.distance(&shown) < CLOSE / 2.0);

    for (x, y) in [(200, 150), (11, 470)] {
        viewer.say(FromViewer::Mouse { buttons: 0, x, y, wheel: None });
        wait("the pointer moves", || screen.pointer().0 == (x as i16, y as i16));
    }
    viewer.say(FromViewer::Mouse { buttons: 2, x: 300, y: 200, wheel: None });
    wait("the left button is down", || screen.pointer() == ((300, 200), 0x100));
    viewer.say(FromViewer::Mouse { buttons: 4, x: 300, y: 200, wheel: None });
    wait("the left button is up", || screen.pointer() == ((300, 200), 0));
    viewer.say(FromViewer::Key { action: KeyAction::Down, code: 16 });
    wait("shift is down", || screen.pointer().1 == 1);
    viewer.say(FromViewer::Key { action: KeyAction::Up, code: 16 });
    wait("shift is up", || screen.pointer().1 == 0);
}

/// Asks the X server until it is so; each question is a round trip.
fn wait(what: &str, so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE.min(Duration::from_secs(30));
    while !so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

/// Rights of an account that may look at desktops and do nothing there.
const LOOK: &[&str] = &["--remotecontrol", "--desktopviewonly"];

#[test]
fn many_watch_one_desktop_the_late_one_sees_all_of_it_and_the_recording_plays() {
    let more = json!({"domains": {"": {
        "desktopMultiplex": true, "sessionRecording": {"protocols": [2], "index": true},
    }}});
    let server = Meshboard::start_complete_with(&more);
    let screen = XServer::start(640, 480);
    paint(&screen);
    let (mut agent, device) = device_with(&server, &screen);
    let (bob, password) = ("bob", "Other-Horse-9");
    server.command(&["user", "add", bob, "--password", password]);
    let groups = server.meshctrl().groups();
    let group = groups[0]["_id"].as_str().expect("an id is text").trim_start_matches("mesh//");
    let to_group = ["addusertodevicegroup", "--id", group, "--userid", bob];
    server.meshctrl().run(&[&to_group, LOOK].concat());
    let mut control = Control::open(server.port());

    let mut first = DesktopViewer::open(&server, &device);
    first.say(FromViewer::Refresh);
    let shown = screen.screenshot();
    first.watch_until("the whole picture", |v| v.picture.distance(&shown) < CLOSE);

    // Who comes later asks for nothing and sees it all, from the desk.
    let mut late = DesktopViewer::open_as(&server, &device, bob, password);
    late.watch_until("the whole picture", |v| v.picture.distance(&shown) < CLOSE);
    let both = json!({"user//admin": 1, "user//bob": 1});
    for viewer in [&mut first, &mut late] {
        viewer.watch_until("who else is there", |v| {
            v.told.iter().any(|told| told["type"] == "metadata" && told["users"] == both)
        });
    }
    // The agent shows its desktop to one, whoever else looks.
    let node = server
        .meshctrl()
        .wait_for_device("tells its captures", |node| node["sessions"]["kvm"].is_object());
    assert_eq!(node["sessions"]["multidesk"], both, "{node}");
    let captures = node["sessions"]["kvm"].as_object().expect("one capture");
    assert_eq!(captures.values().collect::<Vec<_>>(), [&json!(1)], "{node}");

    // What changes reaches both; input comes from who may give it.
    screen.fill(400, 300, 64, 64, 0x00_10_10_10);
    let shown = screen.screenshot();
    for viewer in [&mut first, &mut late] {
        viewer.watch_until("the change", |v| v.picture.distance(&shown) < CLOSE / 2.0);
    }
    late.say(FromViewer::Mouse { buttons: 0, x: 11, y: 470, wheel: None });
    late.ask_rtt();
    first.say(FromViewer::Mouse { buttons: 0, x: 200, y: 150, wheel: None });
    wait("the pointer moves", || screen.pointer().0 != (320, 240));
    wait("the pointer moves to where it may", || screen.pointer().0 == (200, 150));

    // The first one goes, the other one watches on; then the agent dies.
    drop(first);
    late.watch_until("it is alone", |v| {
        v.told.last().is_some_and(|told| told["users"] == json!({"user//bob": 1}))
    });
    screen.fill(0, 0, 64, 64, 0x00_f0_10_f0);
    let shown = screen.screenshot();
    late.watch_until("what happens then", |v| v.picture.distance(&shown) < CLOSE / 2.0);
    agent.kill();
    let event = control.event("recording");
    assert_eq!(event["multiplex"], true, "{event}");
    assert_eq!(event["userids"], json!(["user//admin", "user//bob"]));
    let name = event["filename"].as_str().expect("a name");
    let seen = play(&server.data().join("recordings").join(name));
    assert_eq!((&seen["accepted"], &seen["finished"]), (&json!(true), &json!(true)), "{seen}");
    // The picture as it was, and what changed for the two and for the one.
    assert!(seen["tiles"].as_array().is_some_and(|tiles| tiles.len() >= 3), "{seen}");
    assert_eq!(seen["complaints"], json!([]));
}
