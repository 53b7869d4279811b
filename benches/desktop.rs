//! The desktop in the browser, watched for minutes: the stock agent captures a moving screen of
//! 1280×720, Debian's chromium shows it. Frames a second that are seen, and memory.
//!
//! Each picture carries its number as sixteen black or white fields, which the page under test is
//! asked for at every turn of the display: what is counted has gone all the way.
//!
//! `cargo bench --bench desktop -- --minutes 10`

// A program has no outside; `pub` says what a module offers to the others.
#![allow(unreachable_pub)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "fleet/probe.rs"]
mod probe;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use common::x_server::XServer;
use common::{Architecture, Meshboard, Server, StockAgent, chromium};
use serde_json::{Value, json};
use x11rb::protocol::xproto::Rectangle;

/// The screen.
const WIDTH: u16 = 1280;
const HEIGHT: u16 = 720;
/// Pictures painted a second: more than are asked for.
const PAINTED: u32 = 30;
/// Width of one of the eight bars that wander.
const BAR: u16 = 160;
/// Side of one of the sixteen fields, in pixels.
const FIELD: u16 = 32;

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--minutes");
    let minutes = arguments.nth(1).map_or(1.0, |text| text.parse().expect("a number of minutes"));

    let server = Meshboard::start();
    let screen = XServer::start(WIDTH, HEIGHT);
    let group = server.add_group("office");
    let agent = StockAgent::start_on(&server, &group, Architecture::X86_64, screen.display());
    let device = server.meshctrl().wait_for_device("has its core", |device| {
        device["conn"] == 1 && device["agent"]["core"].is_string()
    });
    let device = device["name"].as_str().expect("a name is text").to_owned();

    let over = Arc::new(AtomicBool::new(false));
    let painted = Arc::new(AtomicU16::new(0));
    let painter = thread::spawn({
        let (over, painted) = (over.clone(), painted.clone());
        move || paint(&screen, &over, &painted)
    });
    probe::settle(server.pid());
    let before = probe::cpu(server.pid());
    let url = format!("https://127.0.0.1:{}/", server.port());
    let lend_a_hand = |asked: &Value| match asked[0].as_str().expect("a text") {
        "device" => json!(device),
        "minutes" => json!(minutes),
        "painted" => json!(painted.load(Relaxed)),
        "server" => json!({
            "resident": probe::resident(server.pid()),
            "cpu": (probe::cpu(server.pid()) - before).as_secs_f64(),
            "agent": probe::resident(agent.pid()),
        }),
        other => panic!("nobody knows how to {other}"),
    };
    chromium::play(&url, "soak", "a_moving_desktop_is_followed_in_constant_memory", lend_a_hand);
    over.store(true, Relaxed);
    painter.join().expect("the painter paints");
}

/// Coloured bars that wander, and the number of the picture.
fn paint(screen: &XServer, over: &AtomicBool, painted: &AtomicU16) {
    let pause = Duration::from_secs(1) / PAINTED;
    let mut next = Instant::now();
    for number in (0..=u16::MAX).cycle() {
        if over.load(Relaxed) {
            return;
        }
        let mut rectangles = Vec::new();
        for bar in 0..8_u16 {
            let x = (number.wrapping_mul(8) % WIDTH + bar * BAR) % WIDTH;
            let colour = u32::from(bar + 1) * 0x001c_1409;
            rectangles.push((rectangle(x, FIELD, BAR.min(WIDTH - x), HEIGHT - FIELD), colour));
        }
        for bit in 0..16 {
            let colour = if number & (1 << bit) == 0 { 0 } else { 0x00ff_ffff };
            rectangles.push((rectangle(bit * FIELD, 0, FIELD, FIELD), colour));
        }
        screen.fill_all(&rectangles);
        painted.store(number, Relaxed);
        next += pause;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn rectangle(x: u16, y: u16, width: u16, height: u16) -> Rectangle {
    let at = |n: u16| i16::try_from(n).expect("a screen is smaller");
    Rectangle { x: at(x), y: at(y), width, height }
}
