//! Second factors and login keys: what a script has to bring when a password is not enough.

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE32_NOPAD;
use ring::hmac;
use serde_json::{Value, json};

use super::{ANYTHING, Difference, NO_LINKS, PASSWORD_SET, Scenario, Script, differs};
use crate::common::Control;

pub const SCENARIO: Scenario =
    Scenario { commands: &["adduser", "userinfo", "listusers"], differences: DIFFERENCES, play };

const DIFFERENCES: &[Difference] = &[
    PASSWORD_SET,
    NO_LINKS,
    differs(
        "bob, again: userinfo",
        "",
        ANYTHING,
        r#"["Authentication token required, use --token [number]."]"#,
        "a code opens the door once",
    ),
];

const BOB: [&str; 2] = ["bob", "Bobs-Secret-1"];

fn play(script: &mut Script<'_>) {
    let [name, password] = BOB;
    script.run(&format!("adduser --user {name} --pass {password}"));
    script.login(name, password);
    login_keys(script);

    // Requests meshctrl cannot make go through a session from before there was a second factor.
    let mut session = Control::open_as(script.server.port(), name, password);
    let secret = enrol(script, &mut session);
    codes(script, &secret);
    backup_codes(script, &mut session);
    without_code(script, &mut session);
    remembered(script, &mut session, &secret);
    clear(script, &mut session);
}

/// A login key is the whole server's: it opens every account.
fn login_keys(script: &mut Script<'_>) {
    let key = script.server.login_key();
    let file = script.folder.path().join("login.key");
    std::fs::write(&file, format!("{key}\r\n")).expect("the folder is ours");
    let file = file.to_string_lossy().into_owned();
    let stranger = "0123456789abcdef".repeat(10);
    for (who, options) in [
        ("key", vec!["--loginkey", &key]),
        ("key file", vec!["--loginkeyfile", &file]),
        ("bob's key", vec!["--loginkey", &key, "--loginuser", "bob"]),
        ("nobody's key", vec!["--loginkey", &key, "--loginuser", "nobody"]),
        ("key elsewhere", vec!["--loginkey", &key, "--logindomain", "nosuch"]),
        ("wrong key", vec!["--loginkey", &stranger]),
    ] {
        script.login_with(who, &options);
        script.run_as(who, "userinfo --json");
    }
}

/// Gives Bob an authenticator; its secret.
fn enrol(script: &mut Script<'_>, session: &mut Control) -> Vec<u8> {
    let (request, secret, bytes) = loop {
        let request = session.ask(&json!({"action": "otpauth-request"}));
        let secret = request["secret"].as_str().unwrap_or_default().to_owned();
        let bytes = BASE32_NOPAD.decode(secret.as_bytes()).unwrap_or_default();
        // meshctrl takes a code for a number and loses its leading zero.
        if (-1..10).all(|half_minutes| !code(&bytes, half_minutes).starts_with('0')) {
            break (request, secret, bytes);
        }
    };
    script.know("secret", &secret);
    script.note("bob: otpauth-request", request);

    let setup = |token: &str| json!({"action": "otpauth-setup", "secret": secret, "token": token});
    script.note("bob: otpauth-setup, wrong", session.ask(&setup("000000")));
    // The window of a code is two minutes wide: each of the codes used here is a later one.
    let answer = session.ask(&setup(&code(&bytes, -1)));
    script.note("bob: otpauth-setup", answer);
    bytes
}

fn codes(script: &mut Script<'_>, secret: &[u8]) {
    script.run_as("bob", "userinfo --json");
    let now = code(secret, 0);
    for (who, token) in [("bob, nonsense", "nonsense"), ("bob, code", &now), ("bob, again", &now)] {
        login_with_token(script, who, token);
        script.run_as(who, "userinfo --json");
    }
    // A wrong password is told from a missing code; that a code is right, only with the password.
    let options = ["--loginuser", "bob", "--loginpass", "wrong", "--token", &code(secret, 1)];
    script.login_with("bob, wrong password", &options);
    script.run_as("bob, wrong password", "userinfo --json");
    script.list("listusers --filter 2fa");
    script.run("listusers --json");
}

fn backup_codes(script: &mut Script<'_>, session: &mut Control) {
    let made = session.ask(&json!({"action": "otpauth-getpasswords", "subaction": 1}));
    let codes: Vec<_> = made["passwords"].as_array().into_iter().flatten().cloned().collect();
    let mut texts = codes.iter().map(|code| code["p"].to_string());
    let first = texts.find(|code| code.len() == 8).unwrap_or_default();
    script.note("bob: otpauth-getpasswords", json!([codes.len(), codes.iter().all(is_unused)]));
    for who in ["bob, backup code", "bob, backup code again"] {
        login_with_token(script, who, &first);
        script.run_as(who, "userinfo --json");
    }
    let left = session.ask(&json!({"action": "otpauth-getpasswords", "subaction": 0}));
    let left = left["passwords"].as_array().into_iter().flatten().filter(|code| is_unused(code));
    script.note("bob: codes left", json!(left.count()));
}

fn is_unused(code: &Value) -> bool {
    code["u"] == true
}

/// What needs no second factor.
fn without_code(script: &mut Script<'_>, session: &mut Control) {
    script.run_as("bob's key", "userinfo --json");
    let request = json!({"action": "createLoginToken", "name": "robot", "expire": 0});
    let token = session.ask(&request);
    let [user, password] = ["tokenUser", "tokenPass"].map(|name| token[name].as_str());
    let (user, password) = (user.unwrap_or_default(), password.unwrap_or_default());
    script.login_with("bob's token", &["--loginuser", user, "--loginpass", password]);
    script.run_as("bob's token", "userinfo --json");
}

/// A device that showed its second factor once.
fn remembered(script: &mut Script<'_>, session: &mut Control, secret: &[u8]) {
    let cookie = session.ask(&json!({"action": "twoFactorCookie"}));
    let cookie = format!("cookie={}", cookie["cookie"].as_str().unwrap_or_default());
    login_with_token(script, "bob, remembered", &cookie);
    script.run_as("bob, remembered", "userinfo --json");
    login_with_token(script, "bob, later code", &code(secret, 1));
    script.run_as("bob, later code", "userinfo --json");
}

fn clear(script: &mut Script<'_>, session: &mut Control) {
    let answer = session.ask(&json!({"action": "otpauth-clear"}));
    script.note("bob: otpauth-clear", answer);
    script.run_as("bob", "userinfo --json");
    script.run("listusers --json");
}

fn login_with_token(script: &mut Script<'_>, who: &str, token: &str) {
    let [name, password] = BOB;
    let options = ["--loginuser", name, "--loginpass", password, "--token", token];
    script.login_with(who, &options);
}

/// The six digits of an authenticator, so many half minutes from now (RFC 6238).
fn code(secret: &[u8], half_minutes: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let step = (now / 30).saturating_add_signed(half_minutes);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let start = usize::from(tag[19] & 0xf);
    let bytes = tag[start..start + 4].try_into().expect("four bytes");
    let number = u32::from_be_bytes(bytes) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}
