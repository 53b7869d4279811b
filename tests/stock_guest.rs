//! Guests and chats with the stock agent: links made by `meshctrl`, sessions by cookies of the stock
//! form and of ours, frames made by hand that want more than is shared, and pages opened at a device.

mod common;

use async_tungstenite::tungstenite::Message;
use common::x_server::XServer;
use common::{
    Architecture, Control, Meshboard, Server, StockAgent, Viewer, https, simulated_agent,
};
use meshboard::identity::cookie::CookieKey;
use meshboard::model::{Seconds, Secret};
use serde_json::{Value, json};

against_both_servers! {
    a_guest_by_meshctrls_link_has_a_terminal_until_the_link_is_withdrawn,
    the_agent_is_told_to_open_the_page_of_a_chat,
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

/// A link as `meshctrl` prints it.
struct Link {
    id: String,
    /// `/sharing?c=…`.
    path: String,
}

impl Link {
    fn make(server: &dyn Server, device: &str, options: &[&str]) -> Self {
        let add = ["devicesharing", "--id", device, "--add", "Gus"];
        let output = server.meshctrl().run(&[&add, options].concat());
        let line = |name: &str| output.lines().find_map(|line| line.strip_prefix(name));
        let (Some(id), Some(url)) = (line("ID: "), line("URL: ")) else {
            panic!("no link: {output}");
        };
        let origin = format!("https://127.0.0.1:{}", server.port());
        let path = url.strip_prefix(&origin).unwrap_or_else(|| panic!("a link to {url}"));
        Self { id: id.to_owned(), path: path.to_owned() }
    }

    fn cookie(&self) -> String {
        let (_, query) = self.path.split_once('?').expect("a link has a query");
        let pairs = form_urlencoded::parse(query.as_bytes());
        let cookie = pairs.into_iter().find(|(name, _)| name == "c");
        cookie.expect("a link has a cookie").1.into_owned()
    }
}

/// Answer of one of the pages for people without an account.
fn put(server: &dyn Server, path: &str, question: &Value) -> (u16, Value) {
    let (status, _, body) = https::post(server.port(), path, &question.to_string());
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// The cookie a page of the stock server is given, made with the server's key.
fn stock_form(server: &dyn Server, link: &Link, device: &str, protocols: u32) -> String {
    let bytes = data_encoding::HEXLOWER.decode(server.login_key().to_lowercase().as_bytes());
    let bytes = bytes.expect("the key is hexadecimal");
    let key = CookieKey::new(&Secret { name: String::new(), bytes }).expect("80 bytes");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let fields = json!({"userid": "user//admin", "domainid": "", "nid": device, "ip": "127.0.0.1",
        "p": protocols, "gn": "Gus", "cf": 0, "r": 8, "expire": (now + 1800) * 1000,
        "pid": link.id});
    let Value::Object(fields) = fields else { panic!("an object") };
    key.seal(fields, Seconds(now)).expect("there is randomness")
}

fn open(server: &dyn Server, cookie: &str, device: &str, protocol: u16, id: &str) -> Viewer {
    let cookie: String = form_urlencoded::byte_serialize(cookie.as_bytes()).collect();
    let path =
        format!("/meshrelay.ashx?browser=1&p={protocol}&nodeid={device}&id={id}&auth={cookie}");
    Viewer::open(server.port(), &path, None)
}

fn ends(viewer: &mut Viewer) {
    while viewer.next().is_some() {}
}

fn a_guest_by_meshctrls_link_has_a_terminal_until_the_link_is_withdrawn(server: &mut dyn Server) {
    let (_agent, device) = agent(server);
    let options = ["--type", "terminal", "--duration", "30", "--consent", "none"];
    let link = Link::make(server, &device, &options);
    let listed = server.meshctrl().run(&["devicesharing", "--id", &device]);
    assert!(listed.contains("Gus") && listed.contains(&link.id), "{listed}");
    assert_eq!(https::get(server.port(), &link.path).0, 200);
    let mut control = Control::open(server.port());
    let cookie = stock_form(server, &link, &device, 1);
    let mut guest = open(server, &cookie, &device, 1, "guest1").connected();
    guest.text(r#"{"ctrlChannel":"102938","type":"options","cols":80,"rows":25}"#);
    guest.text("1");
    guest.binary(b"echo forty-$((6*7))\r");
    guest.output_with("forty-42");
    let event = control.event("relaylog");
    assert_eq!((&event["guestname"], &event["msgid"]), (&json!("Gus"), &json!(14)), "{event}");
    assert_eq!(event["userid"], "user//admin");
    server.meshctrl().run(&["devicesharing", "--id", &device, "--remove", &link.id]);
    ends(&mut guest);
    assert_eq!(https::get(server.port(), &link.path).0, 404);
    assert_eq!(open(server, &cookie, &device, 1, "guest2").next(), None);
}

#[test]
fn a_guest_gets_what_is_shared_and_nothing_else() {
    let server = Meshboard::start();
    let (_agent, device) = agent(&server);
    let link = Link::make(&server, &device, &["--type", "terminal", "--duration", "30"]);
    let c = link.cookie();
    let (status, told) = put(&server, "/sharing", &json!({"c": c}));
    assert_eq!((status, &told["usages"]), (200, &json!([1, 6, 8, 9])), "{told}");
    assert_eq!((&told["guest"], &told["by"]), (&json!("Gus"), &json!("admin")));
    assert!(told.get("cookie").is_none() && !told.to_string().contains("node//"), "{told}");
    for protocol in [2, 5, 10, 7, 200] {
        let (status, told) = put(&server, "/sharing", &json!({"c": c, "p": protocol}));
        assert_eq!((status, told), (403, json!({"closed": "protocol"})), "{protocol}");
    }
    let cookie = || {
        let (_, told) = put(&server, "/sharing", &json!({"c": c, "p": 1}));
        told["cookie"].as_str().expect("a cookie is text").to_owned()
    };
    let once = cookie();
    let mut guest = open(&server, &once, "", 1, "a").connected();
    guest.text("1");
    guest.binary(b"echo forty-$((6*7))\r");
    guest.output_with("forty-42");
    guest.close();
    assert_eq!(open(&server, &once, "", 1, "b").next(), None, "it works once");
    assert_eq!(open(&server, &cookie(), "", 5, "c").next(), None, "another label");
    // Whatever the label says, what is spoken counts.
    for opening in [
        Message::text("5"),
        Message::binary(b"5".to_vec()),
        Message::text("10"),
        Message::text("2"),
        Message::text("7"),
        Message::text(r#"{"action":"ls","reqid":1,"path":"/"}"#),
    ] {
        let mut guest = open(&server, &cookie(), "", 1, "d").connected();
        guest.send(opening.clone());
        guest.text(r#"{"action":"ls","reqid":1,"path":"/"}"#);
        if matches!(&opening, Message::Text(text) if text.len() > 5) {
            // That is not even an opening: it never was.
            guest.text("5");
        }
        assert_eq!(guest.next(), None, "{opening:?}");
    }
    // A guest has no control channel, no files by address, no ports, and no chat.
    let mut control =
        Viewer::open(server.port(), &format!("/control.ashx?auth={}", cookie()), None);
    let refused = control.next().expect("it is told why").into_data();
    assert!(String::from_utf8_lossy(&refused).contains("\"close\""), "{refused:?}");
    let node = device.trim_start_matches("node//").replace('@', "%40").replace('$', "%24");
    let file = format!("/devicefile.ashx?c={}&m=x&n={node}&f=%2Fetc%2Fpasswd", cookie());
    assert_eq!(https::get(server.port(), &file).0, 404);
    let port = format!("/meshrelay.ashx?nodeid={device}&tcpport=22&auth={}", cookie());
    assert_eq!(Viewer::open(server.port(), &port, None).next(), None);
    let chat = format!("/meshrelay.ashx?id=meshmessenger/{device}/user//admin&auth={}", cookie());
    assert_eq!(Viewer::open(server.port(), &chat, None).next(), None);
}

/// Waits for an image of the desktop.
fn picture(guest: &mut Viewer) {
    let is_image = |data: &[u8]| data.starts_with(&[0, 3]) || data.starts_with(&[0, 27]);
    while !is_image(&guest.next().expect("the session goes on").into_data()) {}
}

#[test]
fn a_guest_who_may_only_look_moves_nothing() {
    let server = Meshboard::start();
    let screen = XServer::start(640, 480);
    let group = server.add_group("desks");
    let architecture = Architecture::X86_64;
    let _agent = StockAgent::start_on(&server, &group, architecture, screen.display());
    let device = server.meshctrl().wait_for_device("has its core", |device| {
        device["conn"] == 1 && device["agent"]["core"].is_string()
    });
    let device = device["_id"].as_str().expect("an id is text").to_owned();
    let type_ = ["--type", "desktop", "--viewonly", "--duration", "30", "--consent", "none"];
    let link = Link::make(&server, &device, &type_);
    let (_, told) = put(&server, "/sharing", &json!({"c": link.cookie(), "p": 2}));
    assert_eq!((&told["viewOnly"], &told["usages"]), (&json!(true), &json!([2])));
    let before = screen.pointer();
    let cookie = told["cookie"].as_str().expect("a cookie is text");
    let mut guest = open(&server, cookie, &device, 2, "a").connected();
    guest.text("2");
    picture(&mut guest);
    let (refresh, click) = ([0, 6, 0, 4], [0, 2, 0, 10, 0, 2, 0, 77, 0, 88]);
    guest.binary(&click);
    guest.binary(&[0, 1, 0, 6, 0, 65]);
    guest.binary(&[&refresh[..], &click].concat());
    guest.binary(&[0, 85, 0, 7, 0, 0, 65]);
    guest.text(r#"{"ctrlChannel":"102938","type":"lock"}"#);
    // The session goes on: what changes behind all that is seen.
    guest.text(r#"{"ctrlChannel":"102938","type":"ping"}"#);
    screen.fill(100, 100, 64, 64, 0x00_ff_ff_00);
    picture(&mut guest);
    assert_eq!(screen.pointer(), before);
}

fn the_agent_is_told_to_open_the_page_of_a_chat(server: &mut dyn Server) {
    let (_agent, device) = agent(server);
    let mut control = Control::open(server.port());
    control.say(&json!({"action": "meshmessenger", "nodeid": device}));
    let event = control.wait_for(|message| {
        message["event"]["action"] == "agentlog" && message["event"]["msgid"] == 20
    });
    let text = event["event"]["msg"].as_str().expect("a text");
    let page = format!(
        "Opening: https://127.0.0.1:{}/messenger?id=meshmessenger/node%2F%2F",
        server.port()
    );
    assert!(text.starts_with(&page) && text.contains("/user%2F%2Fadmin"), "{text}");
    assert!(!text.contains("&c="), "nobody else reads the token: {text}");
}

/// What a simulated agent is told to open: id and token.
fn called(agent: &common::Live) -> (String, String) {
    let told = agent.json("openUrl");
    let url = told["url"].as_str().expect("an address is text");
    let (_, query) = url.split_once("/messenger?").expect("the page of chats");
    let pairs = || form_urlencoded::parse(query.as_bytes());
    let find =
        |name: &str| pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    (find("id").expect("an id"), find("c").expect("a token"))
}

#[test]
fn the_person_at_a_device_talks_by_a_link_that_works_once() {
    let server = Meshboard::start();
    let group = server.add_group("office");
    let agent = simulated_agent(&server, &group);
    let mut control = Control::open(server.port());
    let answer = control.ask(&json!({"action": "meshmessenger", "nodeid": agent.node(),
        "responseid": "R"}));
    assert_eq!(answer["result"], "OK");
    let (id, token) = called(&agent);
    assert_eq!(https::get(server.port(), &format!("/messenger?id={id}&c={token}")).0, 200);
    let join = |token: &str| put(&server, "/messenger", &json!({"id": id, "c": token}));
    assert_eq!(join("guess").0, 404);
    let (status, joined) = join(&token);
    assert_eq!((status, &joined["who"]), (200, &json!("admin")));
    assert_eq!(join(&token).0, 404, "it works once");
    assert_eq!(put(&server, "/messenger", &json!({"id": id})).0, 401, "nobody is logged in");
    let query = joined["query"].as_str().expect("a query is text");
    let there = Viewer::open(server.port(), &format!("/meshrelay.ashx?{query}"), None);
    let own = control.cookies().auth;
    let here = format!("/meshrelay.ashx?id={id}&auth={own}");
    let mut here = Viewer::open(server.port(), &here, None).connected();
    let mut there = there.connected();
    let started = control.event("relaylog");
    assert_eq!((&started["msgid"], &started["nodeid"]), (&json!(162), &json!(agent.node())));
    here.text(r#"{"action":"chat","msg":"hello"}"#);
    assert_eq!(there.next(), Some(Message::text(r#"{"action":"chat","msg":"hello"}"#)));
    there.text(r#"{"action":"chat","msg":"who is it?"}"#);
    assert_eq!(here.next(), Some(Message::text(r#"{"action":"chat","msg":"who is it?"}"#)));
    // The same way in leads nowhere a second time.
    let again = Viewer::open(server.port(), &format!("/meshrelay.ashx?{query}"), None).next();
    assert_eq!(again, None);
    there.close();
    assert_eq!(here.next(), None);
    assert_eq!(control.event("relaylog")["msgid"], 112);
    // The page at the device comes again by itself.
    let (status, joined) = join(joined["next"].as_str().expect("a token is text"));
    assert_eq!(status, 200);
    assert!(joined["query"].as_str().is_some_and(|query| query.contains("&rauth=")));
}
