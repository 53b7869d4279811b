//! Recordings: sessions with the stock agent leave files the stock player shows, whoever is killed
//! when, and the server lists and serves them to those who may.

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use async_tungstenite::tungstenite::Message;
use common::player::play;
use common::socket::Socket;
use common::{
    ADMIN, Architecture, Control, Meshboard, PASSWORD, PATIENCE, Server, StockAgent, Viewer, https,
};
use data_encoding::HEXLOWER;
use meshboard::model::Millis;
use meshboard::relay::desktop::picture::Size;
use meshboard::relay::desktop::wire::FromAgent;
use meshboard::relay::recording::folder::perform;
use meshboard::relay::recording::name::Form;
use meshboard::relay::recording::recorder::{From, Next, Recorder};
use meshboard::relay::recording::wire::{Metadata, us_time};
use meshboard::relay::recording::{index, repair};
use serde_json::{Value, json};

const START: Millis = Millis(1_795_326_010_000);

/// A message at so many seconds.
struct Said(u64, From, bool, Vec<u8>);

fn metadata(protocol: u16) -> Metadata {
    Metadata {
        username: Some("ann".into()),
        time: us_time(START),
        protocol,
        devicename: Some("pi".into()),
        ..Metadata::default()
    }
}

/// Records messages into `path`; without an end, as a crash leaves it, unless `ends`.
fn record(path: &Path, protocol: u16, said: &[Said], ends: bool) -> File {
    let mut recorder = Recorder::new(Form::Blocks, &metadata(protocol), START);
    let file = File::options().read(true).write(true).create_new(true).open(path);
    let file = file.expect("the folder is ours");
    for Said(seconds, from, is_binary, bytes) in said {
        let time = Millis(START.0 + seconds * 1000);
        recorder.message(*from, *is_binary, bytes.len() as u64, time);
        recorder.payload(*from, bytes, time);
    }
    let last = said.last().map_or(0, |Said(seconds, ..)| *seconds);
    if ends {
        recorder.finish(Millis(START.0 + last * 1000));
    } else {
        perform(&file, recorder.flush()).expect("the disk has room");
        recorder.done();
        return file;
    }
    while let Next::Work(work) = recorder.next(Instant::now()) {
        perform(&file, work).expect("the disk has room");
        recorder.done();
    }
    file
}

fn vector(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    serde_json::from_slice(&fs::read(path).expect("the vector is there")).expect("it is JSON")
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().expect("hex is text").as_bytes()).expect("it is hex")
}

/// A desktop of 1024x768: the whole, in a wrapper, then a captured tile again and again.
fn desktop() -> Vec<Said> {
    let from_device = |seconds, bytes| Said(seconds, From::Device, true, bytes);
    let small = hex(&vector("relay-desktop.json")["small_tile"]["message_hex"]);
    // The head says 1024x768, which is all that anybody looks at here.
    let mut whole = small[8..].to_vec();
    let frame = whole.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("it is a JPEG");
    whole[frame + 5..frame + 9].copy_from_slice(&[3, 0, 4, 0]);
    whole.resize(70_000, 0);
    let whole = FromAgent::Tile { x: 0, y: 0, image: &whole }.encode();
    let size = FromAgent::ScreenSize(Size { width: 1024, height: 768 }).encode();
    vec![
        Said(0, From::User, false, b"2".to_vec()),
        from_device(0, size),
        Said(1, From::User, true, vec![0, 6, 0, 4]),
        from_device(1, whole),
        from_device(2, small.clone()),
        from_device(15, small.clone()),
        from_device(27, small),
    ]
}

#[test]
fn the_player_takes_what_meshcentral_recorded() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let path = data.path().join("relaysession.mcrec");
    fs::write(&path, hex(&vector("relay-mcrec.json")["hex"])).expect("the folder is ours");
    let seen = play(&path);
    assert_eq!((&seen["accepted"], &seen["finished"]), (&json!(true), &json!(true)), "{seen}");
    assert!(seen["terminal"].as_str().is_some_and(|text| !text.is_empty()));
}

#[test]
fn the_player_takes_a_terminal_recorded_here() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let path = data.path().join("relaysession.mcrec");
    let options = r#"{"type":"options","cols":100,"rows":30}"#;
    record(
        &path,
        1,
        &[
            Said(0, From::User, false, options.into()),
            Said(0, From::User, false, b"1".to_vec()),
            Said(1, From::Device, true, b"$ ".to_vec()),
            Said(2, From::User, true, b"ls\r".to_vec()),
            Said(3, From::Device, true, b"ls\r\nfile\r\n$ ".to_vec()),
        ],
        true,
    );
    let seen = play(&path);
    assert_eq!((&seen["accepted"], &seen["finished"]), (&json!(true), &json!(true)), "{seen}");
    assert_eq!(seen["terminal"], "$ ls\r\nfile\r\n$ ");
    assert_eq!(seen["metadata"]["devicename"], "pi");
    assert_eq!(seen["complaints"], json!([]));
}

#[test]
fn the_player_draws_a_desktop_recorded_here_and_jumps_in_it() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let path = data.path().join("relaysession.mcrec");
    let file = record(&path, 2, &desktop(), true);
    let (whole, tile) = (json!([0, 0, 70_000]), json!([480, 352, 738]));
    let all = json!([whole, tile, tile, tile]);
    for indexed in [false, true] {
        if indexed {
            assert!(index::add(&file).expect("the file is readable"));
        }
        let seen = play(&path);
        assert_eq!((&seen["accepted"], &seen["finished"]), (&json!(true), &json!(true)));
        assert_eq!(seen["tiles"], all);
        assert_eq!(seen["complaints"], json!([]));
        // After ten seconds and after twenty: the whole and the newest tile.
        let jumps = if indexed { json!([[whole, tile], [whole, tile]]) } else { json!([]) };
        assert_eq!(seen["jumps"], jumps);
    }
}

#[test]
fn the_player_refuses_what_has_no_end_until_it_is_repaired() {
    let data = tempfile::tempdir().expect("a temporary folder");
    let path = data.path().join("relaysession.mcrec");
    let file = record(&path, 2, &desktop(), false);
    assert_eq!(play(&path)["accepted"], false);
    let outcome = repair::repair(&file, Form::Blocks).expect("the file is readable");
    assert_eq!(outcome, repair::Outcome::Ended { lost: 0 });
    let seen = play(&path);
    assert_eq!((&seen["accepted"], &seen["finished"]), (&json!(true), &json!(true)), "{seen}");
}

/// A server that records, with one recording of its own domain, one of another, and a secret.
fn server() -> (Meshboard, String, Vec<u8>) {
    let server = Meshboard::start_with(&json!({"domains": {"": {"sessionRecording": true}}}));
    server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
    let vector = vector("relay-mcrec.json");
    let (name, bytes) = (vector["filename"].as_str().expect("a name"), hex(&vector["hex"]));
    let folder = server.data().join("recordings");
    fs::create_dir_all(&folder).expect("the folder is ours");
    for name in [name, "relaysession-other-2026-11-22-05-40-10-a-b-c.mcrec", "secret.mcrec"] {
        fs::write(folder.join(name), &bytes).expect("the folder is ours");
    }
    (server, name.to_owned(), bytes)
}

#[test]
fn recordings_are_listed_and_served_to_those_who_may_and_to_nobody_else() {
    let (server, name, bytes) = server();
    server.command(&["user", "add", "bob", "--password", PASSWORD]);
    let mut control = Socket::open(server.port(), "/control.ashx");
    control.send_text(r#"{"action":"recordings","tag":7}"#);
    let list = control.receive_json(|json| json["action"] == "recordings");
    assert_eq!(list["tag"], 7);
    let events = list["events"].as_array().expect("a list");
    assert_eq!(events.len(), 1, "{list}");
    assert_eq!((&events[0]["filename"], &events[0]["present"]), (&json!(name), &json!(1)));

    let get = |user: &str, file: &str| {
        let path = format!("/recordings.ashx?user={user}&pass={PASSWORD}&file={file}");
        https::get(server.port(), &path)
    };
    assert!(get(ADMIN, &name) == (200, bytes));
    for (user, file) in [
        ("bob", &*name),
        (ADMIN, "relaysession-other-2026-11-22-05-40-10-a-b-c.mcrec"),
        (ADMIN, "secret.mcrec"),
        (ADMIN, "..%2Fconfig.json"),
        (ADMIN, "..%2F..%2Frelaysession-2026-11-22-05-40-10-a.txt"),
        (ADMIN, ""),
    ] {
        assert_eq!(get(user, file).0, 401, "{user} {file}");
    }
    let (status, _) = https::get(server.port(), &format!("/recordings.ashx?file={name}"));
    assert_eq!(status, 401, "without a login");
}

#[test]
fn the_player_may_fetch_piece_by_piece() {
    let (server, name, bytes) = server();
    let mut socket = Socket::open(server.port(), &format!("/recordings.ashx?file={name}"));
    let info = socket.receive_json(|_| true);
    assert_eq!(info, json!({"action": "info", "name": name, "size": bytes.len()}));
    // What is asked for beyond the end is not there.
    for (place, asked) in [(0, 16), (1600, 102_400), (5, 0), (1_000_000, 10)] {
        socket.send_text(&json!({"action": "get", "ptr": place, "size": asked}).to_string());
        let piece = socket.receive().expect("the server does not close").into_data();
        let end = (place + asked).min(bytes.len());
        let expected = bytes.get(place..end).unwrap_or_default();
        assert_eq!(piece[..8], (place as u64).to_be_bytes());
        assert_eq!(&piece[8..], expected);
    }
}

/// A server that records what is done with devices of groups that have the flag, and a stock agent
/// in each kind of group; their devices, the recorded one first.
fn office() -> (Meshboard, [(StockAgent, String); 2]) {
    let recording = json!({"onlySelectedDeviceGroups": true, "index": true});
    let more = json!({"domains": {"": {"sessionRecording": recording}}});
    let server = Meshboard::start_complete_with(&more);
    let agents = ["watched", "private"].map(|name| {
        let group = server.add_group(name);
        let agent = StockAgent::start(&server, &group, Architecture::X86_64);
        let device = server.meshctrl().wait_for_device("is connected", |device| {
            device["meshid"] == group.as_str() && device["conn"] == 1
        });
        let device = device["_id"].as_str().expect("an id is text").to_owned();
        server.meshctrl().run_on_device(&device, "echo forty-$((6*7))", "forty-42");
        if name == "watched" {
            let id = group.trim_start_matches("mesh//");
            let edited = server.meshctrl().run(&["editdevicegroup", "--id", id, "--flags", "4"]);
            assert!(edited.to_lowercase().contains("ok"), "{edited}");
        }
        (agent, device)
    });
    (server, agents)
}

/// A terminal in which something was said.
fn terminal(server: &Meshboard, control: &mut Control, device: &str, greeting: &str) -> Viewer {
    let (mut viewer, answer) = control.tunnel(server.port(), device, 1);
    assert_eq!(answer["result"], "OK");
    assert_eq!(viewer.next(), Some(Message::text(greeting)));
    viewer.text(r#"{"type":"options","cols":80,"rows":25}"#);
    viewer.text("1");
    viewer.binary(b"echo forty-$((6*7))\r");
    viewer.output_with("forty-42");
    viewer
}

/// Fetches a recording as a person does, and has the player show it.
fn fetch_and_play(server: &Meshboard, name: &str) -> Value {
    let path = format!("/recordings.ashx?user={ADMIN}&pass={PASSWORD}&file={name}");
    let (status, bytes) = https::get(server.port(), &path);
    assert_eq!(status, 200, "{name}");
    let data = tempfile::tempdir().expect("a temporary folder");
    let path = data.path().join("relaysession.mcrec");
    fs::write(&path, bytes).expect("the folder is ours");
    play(&path)
}

fn shows_the_terminal(seen: &Value) {
    assert_eq!((&seen["accepted"], &seen["finished"]), (&json!(true), &json!(true)), "{seen}");
    let shown = seen["terminal"].as_str().expect("a terminal writes text");
    assert!(shown.contains("forty-42"), "{shown}");
    assert_eq!(seen["complaints"], json!([]));
}

/// What is in the folder of recordings.
fn recorded(server: &Meshboard) -> Vec<String> {
    let Ok(files) = fs::read_dir(server.data().join("recordings")) else { return Vec::new() };
    files.flatten().map(|file| file.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_session_with_the_stock_agent_is_recorded_if_its_group_is_and_the_player_shows_it() {
    let (server, [(mut agent, device), (_other, private)]) = office();
    let mut control = Control::open(server.port());

    terminal(&server, &mut control, &private, "c").close();
    assert_eq!(recorded(&server), [""; 0], "nothing is recorded of other groups");

    // The viewer goes, with a word and without one; then the agent.
    for end in ["closed", "dropped", "killed"] {
        let viewer = terminal(&server, &mut control, &device, "cr");
        match end {
            "closed" => viewer.close(),
            "dropped" => drop(viewer),
            _ => agent.kill(),
        }
        let event = control.event("recording");
        assert_eq!((&event["nodeid"], &event["protocol"]), (&json!(device), &json!(1)), "{end}");
        assert_eq!(event["userids"], json!(["user//admin"]));
        let name = event["filename"].as_str().expect("a name");
        let size = fs::metadata(server.data().join("recordings").join(name)).expect("a file").len();
        assert_eq!(event["size"], size);
        let seen = fetch_and_play(&server, name);
        shows_the_terminal(&seen);
        assert_eq!(seen["metadata"]["nodeid"], device.as_str());
        assert_eq!(seen["metadata"]["username"], ADMIN);
    }
    let list = control.ask(&json!({"action": "recordings"}));
    let present = list["events"].as_array().expect("a list").iter();
    assert_eq!(present.filter(|line| line["present"] == 1).count(), 3, "{list}");
}

#[test]
fn killing_the_server_leaves_a_recording_that_the_next_start_completes() {
    let (mut server, [(_agent, device), _]) = office();
    let mut control = Control::open(server.port());
    let mut viewer = terminal(&server, &mut control, &device, "cr");
    let [name] = &recorded(&server)[..] else { panic!("{:?}", recorded(&server)) };
    let path = server.data().join("recordings").join(name);
    // What was said is on disk within a second.
    let deadline = Instant::now() + PATIENCE;
    let said = |bytes: Vec<u8>| bytes.windows(8).any(|window| window == b"forty-42");
    while !said(fs::read(&path).expect("the file is there")) {
        assert!(Instant::now() < deadline, "it is not written");
        std::thread::yield_now();
    }
    server.kill();
    while viewer.next().is_some() {}
    assert_eq!(play(&path)["accepted"], false, "it has no end");

    server.start_again();
    server.wait_for_log("had no end");
    let mut control = Control::open(server.port());
    let list = control.ask(&json!({"action": "recordings"}));
    assert_eq!(list["events"][0]["filename"], name.as_str(), "{list}");
    shows_the_terminal(&fetch_and_play(&server, name));
}
