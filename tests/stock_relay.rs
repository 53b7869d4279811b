//! Sessions between stock programs: the stock agent with its core at one end, the unmodified
//! meshctrl, libmeshctrl or Router's message sequence at the other.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Instant;

use async_tungstenite::tungstenite::Message;
use common::{
    ADMIN, Architecture, Control, Meshboard, PASSWORD, PATIENCE, Process, Server, StockAgent,
    Viewer, installation, libmeshctrl,
};
use serde_json::{Value, json};

against_both_servers! {
    files_cross_both_ways_unchanged with super::cookies_without_dollars(),
    a_shell_answers_and_its_end_ends_the_client with super::cookies_without_dollars(),
    the_library_for_scripts_gets_terminals_and_files,
    a_tcp_service_behind_the_agent_is_reached_as_router_does_it,
    a_udp_service_behind_the_agent_is_reached,
    a_target_nobody_listens_on_closes_the_tunnel,
    a_file_is_downloaded_by_its_url,
    early_words_are_delivered_after_the_c,
    a_session_is_told_by_its_events,
}

/// meshctrl puts the cookie of a tunnel into its URL by JavaScript's `replace`, which makes one `$`
/// of two: one tunnel in thirty through the stock server is refused as it is configured by default.
fn cookies_without_dollars() -> Value {
    json!({"settings": {"cookieEncoding": "hex"}})
}

/// A connected agent whose core runs, and its device.
fn agent(server: &dyn Server) -> (StockAgent, String) {
    let group = server.add_group("office");
    let agent = StockAgent::start(server, &group, Architecture::X86_64);
    let device = server.meshctrl().wait_for_device("is connected", |device| device["conn"] == 1);
    let device = device["_id"].as_str().expect("an id is text").to_owned();
    server.meshctrl().run_on_device(&device, "echo forty-$((6*7))", "forty-42");
    (agent, device)
}

/// A file of `size` bytes that no compression and no repetition hides an error in; with the bytes
/// that uploads have to escape at the start of a block.
fn write_noise(path: &Path, size: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    for (n, byte) in bytes.iter_mut().step_by(65_564).enumerate() {
        *byte = if n % 2 == 0 { b'{' } else { 0 };
    }
    fs::write(path, bytes).expect("the folder is ours");
}

fn sha384(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    ring::digest::digest(&ring::digest::SHA384, &bytes).as_ref().to_vec()
}

/// A device's id as meshctrl wants it for sessions: it puts the kind and the domain before it.
fn short(device: &str) -> &str {
    device.trim_start_matches("node//")
}

/// Uploads a file of `size` bytes with meshctrl and downloads it again.
fn cross(server: &dyn Server, device: &str, size: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [here, there, back] = ["here.bin", "there", "back.bin"].map(|n| folder.path().join(n));
    fs::create_dir(&there).expect("the folder is ours");
    write_noise(&here, size);
    let text = |path: &Path| path.to_str().expect("temporary folders have plain names").to_owned();
    let meshctrl = server.meshctrl();
    let device = short(device);
    let up = ["upload", "--id", device, "--file", &text(&here), "--target", &text(&there)];
    let output = meshctrl.run(&up);
    assert!(output.contains(&format!("Upload done, {size} bytes sent.")), "{output}");
    let there = there.join("here.bin");
    // The agent writes the rest when it closes the file, a moment after the end of the tunnel.
    let deadline = Instant::now() + PATIENCE;
    while fs::metadata(&there).map_or(0, |file| file.len()) < size as u64 {
        assert!(Instant::now() < deadline, "the upload stays too short");
        thread::yield_now();
    }
    assert_eq!(sha384(&there), sha384(&here), "uploaded");
    let down = ["download", "--id", device, "--file", &text(&there), "--target", &text(&back)];
    let output = meshctrl.run(&down);
    assert!(output.contains(&format!("Download completed, {size} bytes written.")), "{output}");
    assert_eq!(sha384(&back), sha384(&here), "downloaded");
}

fn files_cross_both_ways_unchanged(server: &mut dyn Server) {
    let (_agent, device) = agent(server);
    for size in [0, 1, 16_380, 3_000_000] {
        cross(server, &device, size);
    }
}

/// The size a person notices. Through the stock server it takes minutes.
#[test]
fn a_large_file_crosses_both_ways_unchanged() {
    let server = Meshboard::start();
    let (_agent, device) = agent(&server);
    cross(&server, &device, 200_000_000);
}

/// `meshctrl shell` wants a terminal of its own, which `script` gives it.
fn a_shell_answers_and_its_end_ends_the_client(server: &mut dyn Server) {
    let (_agent, device) = agent(server);
    let script = installation::folder().join("meshctrl.js");
    let command = format!(
        "exec node {} shell --id '{}' --url wss://127.0.0.1:{} --loginuser {ADMIN} \
         --loginpass {PASSWORD}",
        script.display(),
        short(&device),
        server.port()
    );
    let mut shell = Process::start("script", |process| {
        process.args(["--quiet", "--return", "--flush", "--command", &command, "/dev/null"]);
        process.env("TERM", "xterm");
    });
    shell.wait_for_line(|line| line.contains("Connected."));
    shell.type_in("echo forty-$((6*7))\r");
    shell.wait_for_line(|line| line.contains("forty-42"));
    shell.type_in("exit\r");
    assert!(shell.wait_for_end(PATIENCE).is_some(), "the shell's end ends the tunnel");
}

fn the_library_for_scripts_gets_terminals_and_files(server: &mut dyn Server) {
    let (_agent, device) = agent(server);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("wss://127.0.0.1:{}", server.port());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libmeshctrl/session.py");
    let mut command = Command::new(libmeshctrl::python());
    command.args([script, &url, ADMIN, PASSWORD, &device]).arg(folder.path());
    let output = command.output().expect("python runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "passed", "{errors}");
}

/// A service that sends back whatever it gets, for connections without number.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

fn a_tcp_service_behind_the_agent_is_reached_as_router_does_it(server: &mut dyn Server) {
    let (_agent, device) = agent(server);
    let target = echo();
    let port = server.port();
    let mut control = Control::open(port);
    // What Router asks for first.
    for action in ["meshes", "nodes"] {
        assert_eq!(control.ask(&json!({"action": action}))["action"], action);
    }
    let cookie = control.cookies().auth;
    // One connection per forwarded one, all with the same cookie, raw or percent-encoded.
    let encoded = cookie.replace('@', "%40").replace('$', "%24").replace('=', "%3D");
    for cookie in [&cookie, &cookie, &encoded] {
        let path = format!("/meshrelay.ashx?nodeid={device}&tcpport={target}&auth={cookie}");
        let mut tunnel = Viewer::open(port, &path, None).connected();
        // More than either side would ever buffer, so that both directions flow at once.
        let sent: Vec<u8> = (0..300_000_u32).flat_map(|n| n.to_be_bytes()).collect();
        let mut received = Vec::new();
        for block in sent.chunks(50_000) {
            tunnel.binary(block);
            received.extend(tunnel.bytes(block.len()));
        }
        assert_eq!(received, sent);
    }
    // The same by a cookie that says where to.
    let answer = control.ask(&json!({"action": "getcookie", "nodeid": device, "tcpport": target,
        "tag": "x"}));
    let cookie = answer["cookie"].as_str().expect("a cookie is text");
    let path = format!("/meshrelay.ashx?auth={cookie}");
    let mut tunnel = Viewer::open(port, &path, None).connected();
    tunnel.binary(b"ping");
    assert_eq!(tunnel.bytes(4), b"ping");
    // And with name and password.
    let path = format!("/meshrelay.ashx?nodeid={device}&tcpport={target}");
    let mut tunnel = Viewer::open(port, &path, Some((ADMIN, PASSWORD))).connected();
    tunnel.binary(b"pong");
    assert_eq!(tunnel.bytes(4), b"pong");
}

fn a_udp_service_behind_the_agent_is_reached(server: &mut dyn Server) {
    let (_agent, device) = agent(server);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let target = socket.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((read, from)) = socket.recv_from(&mut buffer) {
            let answer = [b"got ", &buffer[..read]].concat();
            if socket.send_to(&answer, from).is_err() {
                break;
            }
        }
    });
    let port = server.port();
    let cookie = Control::open(port).cookies().auth;
    let path = format!("/meshrelay.ashx?nodeid={device}&udpport={target}&auth={cookie}");
    let mut tunnel = Viewer::open(port, &path, None).connected();
    for word in ["one", "two"] {
        tunnel.binary(word.as_bytes());
        let answer = Message::binary(format!("got {word}").into_bytes());
        assert_eq!(tunnel.next(), Some(answer), "a datagram is a message");
    }
}

fn a_target_nobody_listens_on_closes_the_tunnel(server: &mut dyn Server) {
    let (_agent, device) = agent(server);
    let port = server.port();
    let cookie = Control::open(port).cookies().auth;
    let nobody = common::ports::free();
    let path = format!("/meshrelay.ashx?nodeid={device}&tcpport={nobody}&auth={cookie}");
    let mut tunnel = Viewer::open(port, &path, None).connected();
    assert_eq!(tunnel.next(), None);
}

fn a_file_is_downloaded_by_its_url(server: &mut dyn Server) {
    let (agent, device) = agent(server);
    let file = agent.folder().join("a file.bin");
    write_noise(&file, 1_234_567);
    let port = server.port();
    let cookie = Control::open(port).cookies().auth;
    let escape =
        |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let node = short(&device);
    let path = |file: &str| {
        format!("/devicefile.ashx?c={}&m=x&n={}&f={}", escape(&cookie), escape(node), escape(file))
    };
    let text = file.to_str().expect("temporary folders have plain names");
    let (status, body) = common::https::get(port, &path(text));
    assert_eq!((status, body.len()), (200, 1_234_567));
    assert!(body == fs::read(&file).expect("it was written"), "the bytes differ");
    let (status, _) = common::https::get(port, &path("/no/such/file"));
    assert_eq!(status, 401);
}

/// The web page speaks as soon as its socket is open.
fn early_words_are_delivered_after_the_c(server: &mut dyn Server) {
    let (_agent, device) = agent(server);
    let port = server.port();
    let mut control = Control::open(port);
    let cookies = control.cookies();
    let path =
        format!("/meshrelay.ashx?browser=1&p=5&nodeid={device}&id=early1&auth={}", cookies.auth);
    let mut viewer = Viewer::open(port, &path, None);
    viewer.text(r#"{"ctrlChannel":"102938","type":"rtt","time":5}"#);
    viewer.text("5");
    viewer.binary(br#"{"action":"ls","path":"/","reqid":7}"#);
    let value = format!("*/meshrelay.ashx?p=5&nodeid={device}&id=early1&rauth={}", cookies.relay);
    let answer = control.ask(&json!({"action": "msg", "type": "tunnel", "nodeid": device,
        "value": value, "usage": 5, "responseid": "r"}));
    assert_eq!(answer["result"], "OK");
    let mut viewer = viewer.connected();
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let message = viewer.next().expect("an answer").into_data();
        answers.push(serde_json::from_slice::<Value>(&message).expect("JSON"));
    }
    assert_eq!(answers[0]["type"], "rtt");
    assert_eq!(answers[1]["reqid"], 7);
}

/// A session is told to those who watch, by the agent and by the server.
fn a_session_is_told_by_its_events(server: &mut dyn Server) {
    let (_agent, device) = agent(server);
    let mut control = Control::open(server.port());
    let (viewer, answer) = control.tunnel(server.port(), &device, 1);
    assert_eq!(answer["result"], "OK");
    let mut viewer = viewer.connected();
    let start = control.event("relaylog");
    assert_eq!((&start["msgid"], &start["protocol"]), (&json!(14), &json!(1)));
    assert_eq!((&start["etype"], &start["nodeid"]), (&json!("relay"), &json!(device)));
    viewer.text("1");
    viewer.binary(b"echo forty-$((6*7))\r");
    viewer.output_with("forty-42");
    let sessions = control.event("devicesessions");
    assert_eq!(sessions["sessions"]["terminal"][format!("user//{ADMIN}")], 1);
    viewer.close();
    let end = control.event("relaylog");
    assert_eq!(end["msgid"], 10);
    assert_eq!(end["msgArgs"].as_array().map(Vec::len), Some(4));
    assert!(end["bytesin"].as_u64() > Some(100) && end["bytesout"].as_u64() > Some(100), "{end}");
    let sessions = control.event("devicesessions");
    assert!(sessions["sessions"]["terminal"].is_null(), "{sessions}");
}

/// An account with these rights on every device group.
fn limited_user(server: &Meshboard, rights: &[&str]) -> Control {
    let password = "Other-Horse-9";
    server.command(&["user", "add", "bob", "--password", password]);
    let groups = server.meshctrl().groups();
    let group = groups[0]["_id"].as_str().expect("an id is text").trim_start_matches("mesh//");
    let mut arguments = vec!["addusertodevicegroup", "--id", group, "--userid", "bob"];
    arguments.extend(rights);
    server.meshctrl().run(&arguments);
    Control::open_as(server.port(), "bob", password)
}

/// Whatever the label says. The stock server leaves this to the agent, which does not look at
/// basic downloads at all.
#[test]
fn a_limited_user_gets_no_further_than_its_rights() {
    let server = Meshboard::start();
    let (_agent, device) = agent(&server);
    let mut bob = limited_user(&server, &["--remotecontrol", "--noterminal", "--nofiles"]);
    for (label, answer) in [(1, "Unable to route"), (5, "Unable to route"), (7, "OK")] {
        assert_eq!(bob.tunnel(server.port(), &device, label).1["result"], answer, "{label}");
    }
    for spoken in ["1", "6", "8", "5", "10"] {
        let (viewer, _) = bob.tunnel(server.port(), &device, 7);
        let mut viewer = viewer.connected();
        viewer.text(r#"{"type":"options","file":"/etc/passwd"}"#);
        viewer.text(spoken);
        assert_eq!(viewer.next(), None, "{spoken} ends the tunnel, and nothing was said");
    }
}

/// What a process has open: sockets, files, everything.
fn descriptors(pid: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
    let link = |file: fs::DirEntry| fs::read_link(file.path()).ok();
    files.filter_map(link).map(|link| link.to_string_lossy().into_owned()).collect()
}

/// Waits until a process has no more than so much open.
fn wait_for_descriptors(pid: u32, most: usize) {
    let deadline = Instant::now() + PATIENCE;
    while descriptors(pid).len() > most {
        assert!(Instant::now() < deadline, "more than {most}: {:#?}", descriptors(pid));
        thread::yield_now();
    }
}

#[test]
fn killing_either_end_leaves_nothing() {
    // Recorded: each session has a file besides its two sockets.
    let more = json!({"domains": {"": {"sessionRecording": true}}});
    let server = Meshboard::start_complete_with(&more);
    let (mut agent, device) = agent(&server);
    let mut control = Control::open(server.port());
    let open = |control: &mut Control| {
        let (mut viewer, answer) = control.tunnel(server.port(), &device, 1);
        assert_eq!(answer["result"], "OK");
        assert_eq!(viewer.next(), Some(Message::text("cr")));
        viewer.text("1");
        viewer.binary(b"echo forty-$((6*7))\r");
        viewer.output_with("forty-42");
        viewer
    };
    let ended = |control: &mut Control| {
        let mut left = 5;
        // Five sessions, and their recordings.
        let mut recordings = 5;
        while left + recordings > 0 {
            let event = control.wait_for(|message| message["action"] == "event");
            left -= usize::from(event["event"]["msgid"] == 10);
            recordings -= usize::from(event["event"]["action"] == "recording");
        }
    };
    let files = || descriptors(server.pid()).iter().filter(|d| d.ends_with(".mcrec")).count();
    let sockets = || descriptors(server.pid()).iter().filter(|d| d.starts_with("socket")).count();
    // History opens its files when there is something to tell.
    let calm = sockets();
    drop(open(&mut control));
    while control.event("recording")["msgid"] != 7 {}
    let deadline = Instant::now() + PATIENCE;
    while files() > 0 || sockets() > calm {
        assert!(Instant::now() < deadline, "{:#?}", descriptors(server.pid()));
    }
    let sessions = |server: &Meshboard| {
        let device = server.meshctrl().device(&device).unwrap_or_default();
        device["sessions"]["terminal"].is_object()
    };
    let base = descriptors(server.pid()).len();
    // Viewers that vanish without a word: the agent's ends go as well, and their terminals.
    let viewers: Vec<_> = (0..5).map(|_| open(&mut control)).collect();
    assert_eq!(files(), 5, "{:#?}", descriptors(server.pid()));
    drop(viewers);
    wait_for_descriptors(server.pid(), base);
    ended(&mut control);
    let deadline = Instant::now() + PATIENCE;
    while sessions(&server) {
        assert!(Instant::now() < deadline, "sessions are shown that are over");
    }
    // An agent that vanishes: its viewers are told.
    let mut viewers: Vec<_> = (0..5).map(|_| open(&mut control)).collect();
    agent.kill();
    for viewer in &mut viewers {
        while viewer.next().is_some() {}
    }
    wait_for_descriptors(server.pid(), base - 1);
    ended(&mut control);
    assert!(!sessions(&server), "sessions are shown on a device that is gone");
    for file in fs::read_dir(server.data().join("recordings")).expect("they are there").flatten() {
        let bytes = fs::read(file.path()).expect("it is ours");
        assert!(bytes.ends_with(b"MeshCentralMCREC"), "{:?}", file.path());
    }
}
