//! The agent package over HTTP, as the page sends it: only full administrators, only a package, one
//! step told after the other, and nothing is left behind. The page itself is in `web_ui.rs`.

mod common;
#[path = "hostile/peer.rs"]
mod peer;

use std::fs;

use common::{ADMIN, Meshboard, PASSWORD, Server};
use data_encoding::BASE64;
use peer::{exchange, status};

/// A server with an administrator, and bob, who makes backups.
fn office() -> Meshboard {
    let server = Meshboard::start_empty();
    server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
    server.command(&["user", "add", "bob", "--password", "Bobs-Word-1"]);
    server
}

fn credentials(user: &str, password: &str) -> String {
    let [user, password] = [user, password].map(|text| BASE64.encode(text.as_bytes()));
    format!("x-meshauth: {user},{password}\r\n")
}

fn post(server: &Meshboard, query: &str, headers: &str, body: &str) -> String {
    let port = server.port();
    let request = format!(
        "POST /agentpackage.ashx{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\
         Connection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(port, request.as_bytes())
}

#[test]
fn only_full_administrators_install_agents() {
    let server = office();
    let admin = credentials(ADMIN, PASSWORD);
    for (headers, query, expected) in [
        (String::new(), "", 401),
        (credentials("bob", "Bobs-Word-1"), "", 401),
        (credentials(ADMIN, "wrong"), "", 401),
        (format!("{admin}Origin: https://evil.example\r\n"), "", 401),
        (admin.clone(), "?arch=toaster", 400),
        (admin, "?arch=linux,bsd", 200),
    ] {
        let answer = post(&server, query, &headers, "no package");
        assert_eq!(status(&answer), expected, "{headers} {query}: {answer}");
    }
}

#[test]
fn what_is_no_package_is_refused_in_words_and_leaves_nothing() {
    let server = office();
    let admin = credentials(ADMIN, PASSWORD);
    let before = names(&server);
    for body in ["", "no package", "\u{1f}\u{8b}\u{8}"] {
        let answer = post(&server, "", &admin, body);
        assert!(answer.contains("\"failed\":"), "{answer}");
        assert!(answer.to_lowercase().contains("content-type: application/x-ndjson"), "{answer}");
    }
    assert_eq!(names(&server), before);
}

#[test]
fn an_upload_that_breaks_off_does_not_stand_in_the_way_of_the_next() {
    let server = office();
    let admin = credentials(ADMIN, PASSWORD);
    let request = format!(
        "POST /agentpackage.ashx HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{admin}Content-Length: \
         1000000\r\n\r\nonly the beginning",
        server.port()
    );
    let mut first = peer::tls_from(std::net::Ipv4Addr::LOCALHOST, server.port());
    std::io::Write::write_all(&mut first, request.as_bytes()).expect("the server reads");
    // While it is on its way nobody else's is taken.
    while status(&post(&server, "", &admin, "x")) != 409 {}
    drop(first);
    while status(&post(&server, "", &admin, "x")) == 409 {}
    assert!(!names(&server).iter().any(|name| name.contains("upload")));
}

/// What is in the data folder, but for what comes and goes by itself.
fn names(server: &Meshboard) -> Vec<String> {
    let entries = fs::read_dir(server.data()).expect("it is there").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.contains("agents")).collect();
    names.sort();
    names
}
