//! Files people keep on the server, over HTTP: what is uploaded is what is downloaded, nothing acts
//! as a page of this server, and no name leads out of a folder.

mod common;
#[path = "hostile/peer.rs"]
mod peer;

use common::{ADMIN, Meshboard, PASSWORD, Server, https};
use data_encoding::BASE64;
use peer::{Raw, exchange, frame, status};
use serde_json::{Value, json};

/// A server, and a cookie of its administrator.
struct Office {
    server: Meshboard,
    cookie: String,
}

impl Office {
    fn open() -> Self {
        let server = Meshboard::start_empty();
        server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
        let cookie = cookie(server.port(), ADMIN, PASSWORD);
        Self { server, cookie }
    }

    /// Sends a form; its fields are `(name, file name, content)`.
    fn upload(&self, fields: &[(&str, Option<&str>, &str)]) -> u16 {
        let mut body = String::new();
        for (name, file, content) in fields {
            body += "--border\r\nContent-Disposition: form-data; ";
            body += &match file {
                Some(file) => format!("name=\"{name}\"; filename=\"{file}\""),
                None => format!("name=\"{name}\""),
            };
            body += &format!("\r\n\r\n{content}\r\n");
        }
        body += "--border--\r\n";
        self.post("multipart/form-data; boundary=border", &body)
    }

    fn post(&self, kind: &str, body: &str) -> u16 {
        let port = self.server.port();
        let request = format!(
            "POST /uploadfile.ashx HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        status(&exchange(port, request.as_bytes()))
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (status, body) = https::get(self.server.port(), path);
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    fn download(&self, link: &str) -> (u16, String) {
        let cookie = escaped(&self.cookie);
        self.get(&format!("/downloadfile.ashx?link={}&auth={cookie}", escaped(link)))
    }
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('=', "%3D").replace('&', "%26").replace(' ', "%20")
}

fn credentials(user: &str, password: &str) -> String {
    let [user, password] = [user, password].map(|text| BASE64.encode(text.as_bytes()));
    format!("x-meshauth: {user},{password}\r\n")
}

/// The answer to a request on the control channel.
fn answer(client: &mut Raw, request: &Value) -> Value {
    client.send(&frame(1, true, request.to_string().as_bytes()));
    loop {
        let (_, text) = client.next().expect("it goes on");
        let message: Value = serde_json::from_slice(&text).expect("the server speaks JSON");
        if message["action"] == request["action"] {
            return message;
        }
    }
}

/// What `authcookie` answers.
fn cookie(port: u16, user: &str, password: &str) -> String {
    let mut client = Raw::open(port, "/control.ashx", &credentials(user, password));
    let answer = answer(&mut client, &json!({"action": "authcookie"}));
    answer["cookie"].as_str().expect("a text").to_owned()
}

#[test]
fn what_was_uploaded_is_downloaded_by_its_owner_and_public_files_by_everybody() {
    let office = Office::open();
    let auth = ("auth", None, office.cookie.as_str());
    let long = "line of a long file\n".repeat(20_000);
    for (link, file, content) in [
        ("user//admin", "a b.txt", "hello"),
        ("user//admin/Public", "page.html", "<script>alert(1)</script>"),
        ("user%2F%2Fadmin/new%20folder/", "long.txt", long.as_str()),
    ] {
        let fields = [auth, ("link", None, link), ("files", Some(file), content)];
        assert_eq!(office.upload(&fields), 200, "{link}");
    }
    assert_eq!(office.download("user//admin/a b.txt"), (200, "hello".into()));
    assert_eq!(office.download("user//admin/new folder/long.txt"), (200, long));
    let files = office.server.data().join("meshcentral-files/domain/user-admin");
    assert_eq!(std::fs::read_to_string(files.join("a b.txt")).expect("it is there"), "hello");

    let request = format!(
        "GET /userfiles/Admin/page.html HTTP/1.0\r\nHost: 127.0.0.1:{}\r\n\r\n",
        office.server.port()
    );
    let answer = exchange(office.server.port(), request.as_bytes()).to_lowercase();
    assert!(answer.starts_with("http/1.0 200") && answer.ends_with("<script>alert(1)</script>"));
    for header in [
        "content-disposition: attachment; filename=\"page.html\"",
        "content-type: application/octet-stream",
        "x-content-type-options: nosniff",
        "content-security-policy: sandbox;",
    ] {
        assert!(answer.contains(header), "{header} in {answer}");
    }
}

#[test]
fn nothing_is_taken_or_given_without_right_or_beyond_a_folder() {
    let office = Office::open();
    let auth = ("auth", None, office.cookie.as_str());
    let own = ("link", None, "user//admin");
    let file = ("files", Some("x"), "y");
    let forged = ("auth", None, "forged");
    for (fields, expected) in [
        (&[own, file][..], 401),
        (&[forged, own, file], 401),
        // Who sends it comes before what is sent.
        (&[file, auth, own], 401),
        (&[auth, file], 404),
        (&[auth, ("link", None, "user//bob"), file], 404),
        (&[auth, ("link", None, "mesh//x"), file], 404),
        (&[auth, ("link", None, "user//admin/../../x"), file], 404),
        (&[auth, ("link", None, "user//admin/%2e%2e"), file], 404),
        (&[auth, ("link", None, "user//../x"), file], 404),
        (&[auth, own, ("files", Some("../x"), "y")], 404),
        (&[auth, own, ("files", Some(".x"), "y")], 404),
        (&[auth, own, ("files", Some("con.txt"), "y")], 404),
    ] {
        assert_eq!(office.upload(fields), expected, "{fields:?}");
    }
    assert_eq!(office.post("text/plain", "x"), 400);
    assert_eq!(office.post("multipart/form-data; boundary=border", "--border\r\nnonsense"), 400);
    assert_eq!(office.upload(&[auth, own, ("files", Some("real"), "y")]), 200);
    for link in [
        "user//admin/none",
        "user//admin",
        "user//admin/Public",
        "user//admin/../../../state",
        "user//admin/..",
        "user//admin//",
        "real",
        "",
    ] {
        assert_eq!(office.download(link).0, 404, "{link}");
    }
    for path in [
        "/downloadfile.ashx?link=user//admin/real",
        "/downloadfile.ashx?link=user//admin/real&auth=forged",
        "/userfiles/admin/real",
        "/userfiles/admin/../real",
        "/userfiles/admin/%2e%2e/real",
        "/userfiles/admin",
        "/userfiles/..%2f..%2fstate",
        "/userfiles/nobody/x",
        "/userfiles/",
    ] {
        assert_eq!(office.get(path).0, 404, "{path}");
    }
}

#[test]
fn who_may_keep_little_keeps_little() {
    let server = Meshboard::start_with(&json!({"domains": {"": {"userQuota": 100}}}));
    server.command(&["user", "add", ADMIN, "--admin", "--password", PASSWORD]);
    let port = server.port();
    let mut admin = Raw::open(port, "/control.ashx", &credentials(ADMIN, PASSWORD));
    let bob = json!({"action": "adduser", "username": "bob", "pass": "Other-Horse-9",
        "siteadmin": 8, "responseid": "R"});
    assert_eq!(answer(&mut admin, &bob)["result"], "ok");
    let cookie = cookie(port, "bob", "Other-Horse-9");
    let office = Office { server, cookie };
    let auth = ("auth", None, office.cookie.as_str());
    let own = ("link", None, "user//bob");
    let [some, much] = [60, 101].map(|n| "x".repeat(n));
    assert_eq!(office.upload(&[auth, own, ("files", Some("much"), &much)]), 507);
    assert_eq!(office.upload(&[auth, own, ("files", Some("a"), &some)]), 200);
    assert_eq!(office.upload(&[auth, own, ("files", Some("b"), &some)]), 507);
    let folder = office.server.data().join("meshcentral-files/domain/user-bob");
    let names: Vec<_> = std::fs::read_dir(folder)
        .expect("it is there")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(names.contains(&"a".into()) && names.len() <= 2, "nothing half: {names:?}");
}
