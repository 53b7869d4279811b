//! What ends a session, and whose it is.

use super::*;

#[test]
fn logging_out_ends_the_pages_of_this_session_only() {
    let server = server(&json!({}));
    for by_link in [false, true] {
        let (mut here, there) = (logged_in(server.port()), logged_in(server.port()));
        let (mut page, mut other) = (greeted(&here), greeted(&there));
        let answer = match by_link {
            true => here.request("GET", "/logout", "Sec-Fetch-Site: same-origin\r\n", ""),
            false => here.submit("/logout", &[]),
        };
        assert_eq!((answer.status, answer.header("location")), (303, "/"));
        assert!(here.jar.is_empty(), "the browser forgets it");
        let last = page.end().pop().expect("a last word");
        let last: Value = serde_json::from_slice(&last).expect("the server speaks JSON");
        assert_eq!((&last["action"], &last["cause"]), (&json!("close"), &json!("expired")));
        ask(&mut other, &json!({"action": "ping"}), "pong");
    }
    let stolen = logged_in(server.port());
    let mut owner = Browser::new(server.port());
    owner.jar = stolen.jar.clone();
    assert_eq!(owner.post("/logout", &json!({})).result(), (200, "ok".to_owned()));
    assert!(!is_let_in(open(&stolen)), "a copy of the cookie is worth nothing");
}

#[test]
fn logging_out_everywhere_ends_all_other_sessions_and_not_this_one() {
    let server = server(&json!({}));
    let (here, there) = (logged_in(server.port()), logged_in(server.port()));
    let (mut page, mut other) = (greeted(&here), greeted(&there));
    let all = json!({"action": "logoutall", "responseid": "r"});
    assert_eq!(ask(&mut page, &all, "logoutall")["result"], "ok");
    other.end();
    assert!(!is_let_in(open(&there)));
    ask(&mut page, &json!({"action": "ping"}), "pong");
    assert!(is_let_in(open(&here)), "after a reload");
}

#[test]
fn sessions_are_listed_and_ended_one_by_one_and_none_survives_the_process() {
    let mut server = server(&json!({}));
    let (here, there) = (logged_in(server.port()), logged_in(server.port()));
    let (mut page, mut other) = (greeted(&here), greeted(&there));
    let list = ask(&mut page, &json!({"action": "websessions"}), "websessions");
    let sessions = list["sessions"].as_array().expect("a list").clone();
    let current: Vec<_> = sessions.iter().map(|session| session["current"] == true).collect();
    assert_eq!(current, [true, false]);
    assert_eq!(sessions[1]["agent"], "Test/1");
    let end = json!({"action": "endwebsession", "id": sessions[1]["id"], "responseid": "r"});
    assert_eq!(ask(&mut page, &end, "endwebsession")["result"], "ok");
    other.end();
    assert!(!is_let_in(open(&there)) && is_let_in(open(&here)));
    server.stop();
    server.start_again();
    assert!(!is_let_in(open(&here)));
}

#[test]
fn a_cookie_of_one_tenant_opens_no_other() {
    let server = server(&json!({"domains": {"": {}, "cust2": {"newAccounts": true}}}));
    let mut browser = Browser::new(server.port());
    let folder = browser.get("/cust2?a=b");
    assert_eq!((folder.status, folder.header("location")), (302, "/cust2/?a=b"));
    let made = browser.submit("/cust2/register", &[("name", ADMIN), ("password", PASSWORD)]);
    assert_eq!(made.status, 200);
    let cookie = made.cookies()[0].to_owned();
    assert!(cookie.starts_with("__Secure-session="), "logged in at once: {cookie}");
    assert!(cookie.ends_with("Path=/cust2/; Secure; HttpOnly; SameSite=Strict"), "{cookie}");
    let at =
        |browser: &Browser, path: &str| is_let_in(open_at(browser, path, Some(&browser.origin())));
    assert!(at(&browser, "/cust2/control.ashx") && !at(&browser, "/control.ashx"));
    let mut copied = Browser::new(server.port());
    for name in ["__Host-session", "__Secure-session"] {
        copied.jar = vec![(name.to_owned(), browser.jar[0].1.clone(), "/".to_owned())];
        assert!(!at(&copied, "/control.ashx"), "{name}");
    }
    let own = logged_in(server.port());
    assert!(at(&own, "/control.ashx") && !at(&own, "/cust2/control.ashx"));
    for name in ["__Host-session", "__Secure-session"] {
        copied.jar = vec![(name.to_owned(), own.jar[0].1.clone(), "/cust2/".to_owned())];
        assert!(!at(&copied, "/cust2/control.ashx"), "{name}");
    }
    let mut both = own;
    let there = both.post("/cust2/login", &json!({"username": ADMIN, "password": PASSWORD}));
    assert_eq!(there.json()["user"], format!("user/cust2/{ADMIN}"));
    assert!(at(&both, "/control.ashx") && at(&both, "/cust2/control.ashx"), "side by side");
}
