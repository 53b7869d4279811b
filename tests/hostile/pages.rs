//! Hostile requests for pages, downloads and the first account.

use super::common::meshboard::Meshboard;
use super::common::{Server, simulated::identity};
use super::peer::{exchange, status};
use super::{ADMIN, House};

fn get(port: u16, target: &str) -> String {
    exchange(port, format!("GET {target} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n").as_bytes())
}

#[test]
fn hostile_ids_are_refused_and_paths_lead_nowhere() {
    let house = House::open();
    let neighbour = house.agent(0);
    let id = identity::text(&house.group.mesh).replace('@', "%40").replace('$', "%24");
    assert_eq!(status(&get(house.port(), &format!("/meshsettings?id={id}"))), 200);
    let long = format!("/meshsettings?id={}", "A".repeat(10_000));
    let other_group = format!("/meshsettings?id={}", "A".repeat(64));
    for (target, expected) in [
        ("/meshsettings", 401),
        ("/meshsettings?id=", 401),
        ("/meshsettings?id=../../config.json", 401),
        ("/meshsettings?id=%00%ff%fe", 401),
        ("/meshsettings?id=mesh//", 401),
        (&*other_group, 401),
        (&*long, 401),
        ("/meshagents?id=../../../etc/passwd", 404),
        ("/meshagents?id=-1", 404),
        ("/meshagents?id=99999999999999999999", 404),
        ("/meshagents?script=../1", 404),
        ("/meshagents?id=4&meshid=%2e%2e%2f", 404),
        ("/../../../../etc/passwd", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/..%2f..%2fconfig.json", 404),
        ("/meshagents/../config.json", 404),
        ("/config.json", 404),
        ("//etc/passwd", 404),
        ("/agents/../state", 404),
        ("/%00", 404),
    ] {
        let answer = get(house.port(), target);
        assert_eq!(status(&answer), expected, "{target}: {answer}");
        let leaks = ["root:", "settings", "MeshID", "PRIVATE"];
        assert!(!leaks.iter().any(|leak| answer.contains(leak)), "{target}: {answer}");
    }
    house.is_well(&neighbour);
}

#[test]
fn what_pages_without_an_account_are_sent_opens_nothing() {
    let house = House::open();
    let neighbour = house.agent(0);
    let port = house.port();
    let node = neighbour.node().replace('@', "%40").replace('$', "%24");
    let chat = format!("meshmessenger/{node}/user//{ADMIN}");
    assert_eq!(status(&get(port, "/sharing")), 404);
    assert_eq!(status(&get(port, "/sharing?c=AAAA")), 404);
    let long = format!(r#"{{"c":"{}"}}"#, "A".repeat(9000));
    let by_token = format!(r#"{{"id":"{chat}","c":"AAAAAAAAAAAAAAAAAAAAAA"}}"#);
    let by_nothing = format!(r#"{{"id":"{chat}"}}"#);
    for (path, more, body, expected) in [
        ("/sharing", "", r#"{"c":"AAAA"}"#, 404),
        ("/sharing", "", r#"{"c":"","p":2}"#, 404),
        ("/sharing", "", r#"{"c":5}"#, 400),
        ("/sharing", "", "", 400),
        ("/sharing", "", "[[[[", 400),
        ("/sharing", "", &*long, 413),
        ("/sharing", "Origin: https://evil.example\r\n", r#"{"c":"AAAA"}"#, 403),
        ("/messenger", "", &*by_token, 404),
        ("/messenger", "", r#"{"id":"meshmessenger/","c":""}"#, 404),
        ("/messenger", "", &*by_nothing, 401),
        ("/messenger", "Cookie: __Host-session=AAAA\r\n", &*by_nothing, 401),
        ("/messenger", "Sec-Fetch-Site: cross-site\r\n", &*by_token, 403),
    ] {
        let request = format!(
            "POST {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(port, request.as_bytes());
        assert_eq!(status(&answer), expected, "{path} {more} {:.80}: {answer}", body);
        assert!(!answer.contains("rauth") && !answer.contains("cookie\":"), "{answer}");
    }
    house.is_well(&neighbour);
}

#[test]
fn the_first_account_is_made_only_with_the_code_from_the_log() {
    let server = Meshboard::start_empty();
    let port = server.port();
    let line = server.wait_for_log("Setup code: ");
    let code = line.split("Setup code: ").nth(1).and_then(|rest| rest.split('.').next());
    let code = code.expect("the log tells it");
    let submit = |code: &str, more: &str, padding: usize| {
        let form = format!("code={code}&name={ADMIN}&password=secret&x={}", "y".repeat(padding));
        let request = format!(
            "POST /setup HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n{more}Content-Length: {}\r\n\r\n{form}",
            form.len()
        );
        status(&exchange(port, request.as_bytes()))
    };
    assert_eq!(submit("AAAA-AAAA-AAAA-AAAA", "", 0), 400, "a guess");
    assert_eq!(submit("", "", 0), 400, "nothing");
    assert_eq!(submit(code, "Origin: https://evil.example\r\n", 0), 403, "another site");
    assert_eq!(submit(code, "Origin: null\r\n", 0), 403, "a sandboxed page");
    assert_eq!(submit(code, "", 5000), 400, "an oversized form");
    assert_eq!(server.command(&["user", "list", "--json"]).trim(), "[]");
    server.wait_for_log("wrong setup code");
    assert_eq!(submit(code, "", 0), 200, "the owner");
    assert_eq!(submit(code, "", 0), 410, "once");
}
