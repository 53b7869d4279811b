//! The unmodified `meshctrl` at the door: second factors, login tokens, cookies made with the login
//! key. What `meshctrl` has no command for is asked by a WebSocket of our own.

mod common;
#[path = "hostile/peer.rs"]
mod peer;

use common::{ADMIN, MeshCtrl, Meshboard, PASSWORD, Server};
use data_encoding::BASE64;
use meshboard::identity::certificate::{rsa_public_key, verify_rsa};
use meshboard::identity::totp;
use meshboard::model::Seconds;
use peer::{Raw, frame};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

against_both_servers! {
    a_second_factor_is_asked_for_and_works_once_it_is_right,
    a_remembered_device_needs_no_code,
    a_login_token_logs_in_until_it_is_taken_back,
    the_login_key_logs_in_as_anybody,
    the_server_proves_itself_inside_the_websocket,
    credentials_may_follow_the_url,
}

const BOB: &str = "bob";
const BOBS: &str = "B0b!passw";

/// A session of an account, for what `meshctrl` has no command for.
struct Page(Raw);

impl Page {
    fn open(server: &dyn Server, parts: &[&str]) -> Self {
        let parts: Vec<_> = parts.iter().map(|part| BASE64.encode(part.as_bytes())).collect();
        let header = format!("x-meshauth: {}\r\n", parts.join(","));
        let mut page = Self(Raw::open(server.port(), "/control.ashx", &header));
        page.next("userinfo");
        page
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.0.send(&frame(1, true, request.to_string().as_bytes()));
        self.next(request["action"].as_str().expect("a request has an action"))
    }

    /// The next message of this kind.
    fn next(&mut self, action: &str) -> Value {
        loop {
            let (_, text) = self.0.next().expect("the session goes on");
            let message: Value = serde_json::from_slice(&text).expect("the server speaks JSON");
            if message["action"] == action {
                return message;
            }
        }
    }
}

/// An authenticator app. Each code is of a newer step than the last: it works once.
struct App {
    secret: Vec<u8>,
    last: u64,
}

impl App {
    /// Sets one up for bob, whom it makes.
    fn of_bob(server: &dyn Server) -> Self {
        server.meshctrl().ok(&["adduser", "--user", BOB, "--pass", BOBS]);
        let mut page = Page::open(server, &[BOB, BOBS]);
        // `meshctrl` takes a code for a number and drops its zeros: a secret that makes none with a
        // zero in front for some minutes.
        let (text, secret) = loop {
            let request = page.ask(&json!({"action": "otpauth-request"}));
            let text = request["secret"].as_str().expect("a secret").to_owned();
            let secret = totp::parse_secret(&text).expect("base32");
            let now = Self::now();
            if (now - 1..now + 10).all(|step| totp::code(&secret, step) >= 100_000) {
                break (text, secret);
            }
        };
        let mut app = Self { secret, last: 0 };
        let token = app.code();
        let set_up = json!({"action": "otpauth-setup", "secret": text, "token": token});
        assert_eq!(page.ask(&set_up)["success"], true);
        app
    }

    fn now() -> u64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        totp::step(Seconds(now.expect("it is later than 1970").as_secs()))
    }

    /// One of the steps around now, which both servers take.
    fn code(&mut self) -> String {
        let now = Self::now();
        let step = (now - 1).max(self.last + 1);
        assert!(step <= now + 2, "all codes of these minutes are used");
        self.last = step;
        format!("{:06}", totp::code(&self.secret, step))
    }
}

fn name_of(meshctrl: &MeshCtrl) -> Value {
    meshctrl.json(&["userinfo"])["_id"].clone()
}

fn a_second_factor_is_asked_for_and_works_once_it_is_right(server: &mut dyn Server) {
    let mut app = App::of_bob(server);
    let with = |token: &str| MeshCtrl::with_token(server.port(), BOB, BOBS, token);
    let without = MeshCtrl::new(server.port(), BOB, BOBS).run(&["userinfo"]);
    assert_eq!(without.trim(), "Authentication token required, use --token [number].");
    assert_eq!(with("100000").run(&["userinfo"]), without, "a wrong one is asked for again");
    let wrong = MeshCtrl::with_token(server.port(), BOB, "wrong", &app.code());
    assert_eq!(wrong.run(&["userinfo"]).trim(), "Invalid login.");
    assert_eq!(name_of(&with(&app.code())), "user//bob");
    assert_eq!(name_of(&server.meshctrl()), "user//admin", "who has none is asked for none");
}

fn a_remembered_device_needs_no_code(server: &mut dyn Server) {
    let mut app = App::of_bob(server);
    let mut page = Page::open(server, &[BOB, BOBS, &app.code()]);
    let cookie = page.ask(&json!({"action": "twoFactorCookie"}))["cookie"].clone();
    let token = format!("cookie={}", cookie.as_str().expect("a cookie"));
    assert_eq!(name_of(&MeshCtrl::with_token(server.port(), BOB, BOBS, &token)), "user//bob");
    let admins = MeshCtrl::with_token(server.port(), BOB, "wrong", &token);
    assert_eq!(admins.run(&["userinfo"]).trim(), "Invalid login.");
}

/// The user name and password in what `logintokens --add` prints.
fn credentials(output: &str) -> [String; 2] {
    ["Username: ", "Password: "].map(|label| {
        let value = output.lines().find_map(|line| line.strip_prefix(label));
        value.unwrap_or_else(|| panic!("no {label} in {output:?}")).to_owned()
    })
}

fn a_login_token_logs_in_until_it_is_taken_back(server: &mut dyn Server) {
    let meshctrl = server.meshctrl();
    let made = meshctrl.run(&["logintokens", "--add", "cron", "--expire", "60"]);
    let [user, password] = credentials(&made);
    assert!(user.starts_with("~t:"), "{made}");
    let cron = MeshCtrl::new(server.port(), &user, &password);
    assert_eq!(name_of(&cron), "user//admin");
    let wrong = MeshCtrl::new(server.port(), &user, "wrong");
    assert_eq!(wrong.run(&["userinfo"]).trim(), "Invalid login.");
    assert!(meshctrl.run(&["logintokens"]).contains(&user));
    let left = meshctrl.run(&["logintokens", "--remove", &user]);
    assert!(!left.contains(&user), "{left}");
    assert_eq!(cron.run(&["userinfo"]).trim(), "Invalid login.");
}

fn the_login_key_logs_in_as_anybody(server: &mut dyn Server) {
    server.meshctrl().ok(&["adduser", "--user", BOB, "--pass", BOBS]);
    let key = server.login_key();
    for user in [ADMIN, BOB] {
        let meshctrl = MeshCtrl::with_key(server.port(), user, &key);
        assert_eq!(name_of(&meshctrl), format!("user//{user}"));
    }
    let invalid = "Invalid login, check the login key and that this computer has the correct time.";
    let other = "ab".repeat(80);
    for (user, key) in [("nobody", &key), (ADMIN, &other)] {
        let output = MeshCtrl::with_key(server.port(), user, key).run(&["userinfo"]);
        assert_eq!(output.trim(), invalid, "{user}");
    }
}

fn the_server_proves_itself_inside_the_websocket(server: &mut dyn Server) {
    let seen = server.meshctrl().server_info("tlshash").to_lowercase();
    let mut page = Page(Raw::open(server.port(), "/control.ashx", "x-meshauth: *\r\n"));
    let cnonce = [7; 48];
    let request =
        json!({"action": "serverAuth", "cnonce": BASE64.encode(&cnonce), "tlshash": seen});
    let proof = page.ask(&request);
    let part = |name: &str| {
        let text = proof[name].as_str().unwrap_or_else(|| panic!("no {name} in {proof}"));
        BASE64.decode(text.as_bytes()).expect("base64")
    };
    let hash = data_encoding::HEXLOWER.decode(seen.as_bytes()).expect("hexadecimal");
    let signed = [&cnonce[..], &hash, &part("nonce")].concat();
    let certificate = CertificateDer::from(part("cert"));
    let key = rsa_public_key(&certificate).expect("an RSA certificate");
    assert!(verify_rsa(&key, &signed, &part("signature")));
    assert_eq!(part("nonce").len(), 48);
    let login = |password: &str| {
        let [username, password] = [ADMIN, password].map(|text| BASE64.encode(text.as_bytes()));
        json!({"action": "userAuth", "username": username, "password": password})
    };
    page.0.send(&frame(1, true, login(PASSWORD).to_string().as_bytes()));
    assert_eq!(page.next("userinfo")["userinfo"]["_id"], "user//admin");
    let mut page = Page(Raw::open(server.port(), "/control.ashx", "x-meshauth: *\r\n"));
    page.0.send(&frame(1, true, login("wrong").to_string().as_bytes()));
    assert_eq!(page.next("close")["msg"], "noauth-2c");
}

fn credentials_may_follow_the_url(server: &mut dyn Server) {
    let open = |server: &dyn Server| {
        Page(Raw::open(server.port(), "/control.ashx?moreargs=1&user=nobody", ""))
    };
    let arguments = |password: &str| {
        let args = json!({"user": ADMIN, "pass": password});
        json!({"action": "urlargs", "args": args}).to_string()
    };
    let mut page = open(server);
    page.0.send(&frame(1, true, arguments(PASSWORD).as_bytes()));
    assert_eq!(page.next("userinfo")["userinfo"]["_id"], "user//admin");
    let mut page = open(server);
    page.0.send(&frame(1, true, arguments("wrong").as_bytes()));
    assert_eq!(page.next("close")["msg"], "noauth-2a");
}

/// The stock server forgets this for what comes by `x-meshauth`.
#[test]
fn a_login_token_makes_no_other_and_sees_none() {
    let server = Meshboard::start();
    let [user, password] = credentials(&server.meshctrl().run(&["logintokens", "--add", "cron"]));
    let mut page = Page::open(&server, &[&user, &password]);
    let request =
        json!({"action": "createLoginToken", "name": "x", "expire": 0, "responseid": "r"});
    assert_eq!(page.ask(&request)["result"], "Access denied");
    assert_eq!(page.ask(&json!({"action": "otpauth-request"}))["err"], 3);
    // A cookie it asks for is no way around.
    let cookie = page.ask(&json!({"action": "authcookie"}))["cookie"].clone();
    let path = format!("/control.ashx?auth={}", cookie.as_str().expect("a cookie"));
    let mut page = Page(Raw::open(server.port(), &path, ""));
    assert_eq!(page.ask(&request)["result"], "Access denied");
}

/// What one session changes ends the others, seen from outside.
#[test]
fn logging_out_everywhere_closes_other_connections_and_voids_cookies() {
    let server = Meshboard::start();
    let mut one = Page::open(&server, &[ADMIN, PASSWORD]);
    let mut two = Page::open(&server, &[ADMIN, PASSWORD]);
    let cookie = one.ask(&json!({"action": "authcookie"}))["cookie"].clone();
    assert_eq!(one.ask(&json!({"action": "logoutall", "responseid": "r"}))["result"], "ok");
    two.next("stopped");
    two.0.end();
    let path = format!("/control.ashx?auth={}", cookie.as_str().expect("a cookie"));
    assert_eq!(Page(Raw::open(server.port(), &path, "")).next("close")["msg"], "noauth");
    assert!(
        one.ask(&json!({"action": "meshes"}))["meshes"].is_array(),
        "the one who asked goes on"
    );
}

/// Whoever lost the app is helped by the machine's owner.
#[test]
fn the_command_line_takes_lost_factors_away() {
    let server = Meshboard::start();
    let _ = App::of_bob(&server);
    server.command(&["user", "passwd", BOB, "--password", "Other-Horse-9", "--remove-factors"]);
    assert_eq!(name_of(&MeshCtrl::new(server.port(), BOB, "Other-Horse-9")), "user//bob");
}
