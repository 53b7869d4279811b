//! The desktop of a stock MeshAgent on a virtual X server: our viewer sees what the X server shows,
//! and its input moves the pointer.

mod common;

use std::time::{Duration, Instant};

use common::desktop::DesktopViewer;
use common::x_server::XServer;
use common::{Architecture, PATIENCE, Server, StockAgent};
use meshboard::relay::desktop::wire::{FromViewer, KeyAction, Pace};

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
