//! Pages of other sites in the browser of somebody who is logged in.

use super::*;

#[test]
fn a_cookie_is_good_on_our_own_pages_only() {
    let server = server(&json!({}));
    let browser = logged_in(server.port());
    assert!(is_let_in(open(&browser)));
    let at = |origin: Option<&str>| greeting(open_at(&browser, "/control.ashx", origin));
    let refused = |cause: &str| ("close".to_owned(), cause.to_owned());
    assert_eq!(at(None), refused("noauth"), "browsers tell the page");
    let port = server.port();
    for origin in [
        "https://evil.example".to_owned(),
        "https://127.0.0.1".to_owned(),
        format!("http://127.0.0.1:{port}"),
        format!("https://127.0.0.1:{port}.evil.example"),
        format!("https://localhost:{port}"),
        "null".to_owned(),
    ] {
        assert_eq!(at(Some(&origin)), refused("invalidorigin"), "{origin}");
    }
}

#[test]
fn another_site_cannot_log_its_visitor_in_or_out() {
    let server = server(&json!({}));
    let mut browser = logged_in(server.port());
    let mut page = greeted(&browser);
    let form = format!("username={ADMIN}&password={PASSWORD}");
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    for headers in [
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Origin: null\r\nSec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        for target in ["/login", "/", "/tokenlogin", "/password", "/logout"] {
            let answer = browser.request("POST", target, &format!("{kind}{headers}"), &form);
            assert_eq!(answer.result(), (403, "invalidorigin".to_owned()), "{target} {headers}");
            assert!(answer.cookies().is_empty(), "{target} {headers}");
        }
    }
    for headers in ["Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n"] {
        let answer = browser.request("GET", "/logout", headers, "");
        assert_eq!((answer.status, answer.cookies().len()), (303, 0));
        let query = format!("/?user={ADMIN}&pass={PASSWORD}");
        let answer = browser.request("GET", &query, headers, "");
        assert_eq!((answer.status, answer.cookies().len()), (303, 0));
    }
    assert_eq!(ask(&mut page, &json!({"action": "ping"}), "pong")["action"], "pong");
    assert!(is_let_in(open(&browser)));
    // A page of ours that wants no referrer says so of its forms.
    let headers = format!("{kind}Origin: null\r\nSec-Fetch-Site: same-origin\r\n");
    let answer = browser.request("POST", "/login", &headers, &form);
    assert_eq!((answer.status, answer.cookies().len()), (303, 1));
}

#[test]
fn pages_are_framed_only_where_the_configuration_says() {
    for (framing, expected) in [
        (Value::Null, "frame-ancestors 'none'"),
        (json!(false), "frame-ancestors 'none'"),
        (json!(true), "frame-ancestors *"),
        (json!("https://rmm.example"), "frame-ancestors 'self' https://rmm.example"),
    ] {
        let mut settings = json!({});
        if !framing.is_null() {
            settings["allowFraming"] = framing.clone();
        }
        let server = Meshboard::start_with(&json!({"settings": settings}));
        let page = Browser::new(server.port()).get("/");
        let policy = page.header("content-security-policy");
        assert!(policy.split(';').any(|rule| rule.trim() == expected), "{framing}: {policy}");
        let denied = page.header("x-frame-options") == "DENY";
        assert_eq!(denied, expected.ends_with("'none'"), "{framing}");
        assert_eq!(page.header("referrer-policy"), "same-origin");
    }
}
