//! People without an account who were invited: from the link an administrator makes with `meshctrl`
//! to the agent that connects, and what `lockAgentDownload` leaves of that.

mod common;

use common::{Architecture, Meshboard, Server, StockAgent, https};
use serde_json::json;

/// Makes a link with `meshctrl`; its path.
fn link(server: &Meshboard, group: &str, flags: &str) -> String {
    let arguments = ["generateinvitelink", "--id", group, "--hours", "1", "--flags", flags];
    let url = server.meshctrl().run(&arguments);
    let start = format!("https://127.0.0.1:{}", server.port());
    let url = url.trim().strip_prefix(&start);
    url.unwrap_or_else(|| panic!("no link of this server")).to_owned()
}

fn page(server: &Meshboard, path: &str) -> (u16, String) {
    let (status, body) = https::get(server.port(), path);
    (status, String::from_utf8(body).expect("pages are text"))
}

/// The targets of a page's links.
fn links(page: &str) -> Vec<String> {
    let starts = page.match_indices("<a href=\"").map(|(at, start)| &page[at + start.len()..]);
    starts.map(|rest| rest.split('"').next().unwrap_or_default().replace("&amp;", "&")).collect()
}

#[test]
fn an_agent_downloaded_by_an_invitation_connects() {
    let server = Meshboard::start();
    let group = server.add_group("Büro <b>&");
    let (status, page) = page(&server, &link(&server, &group, "2"));
    assert_eq!(status, 200);
    assert!(page.contains("Remote agent for Büro &lt;b&gt;&amp;"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    let links = links(&page);
    let of_linux = links.iter().find(|link| link.contains("meshinstall=6")).expect("x86-64");
    let (status, installer) = https::get(server.port(), &format!("/{of_linux}"));
    assert_eq!(status, 200);
    let script = String::from_utf8_lossy(&installer[Architecture::X86_64.executable().len()..]);
    assert!(
        script.contains(r#""MeshName":"Büro <b>&""#) && script.contains(r#""InstallFlags":"2""#)
    );
    for link in links.iter().filter(|link| !link.starts_with("mc://")) {
        assert_eq!(https::get(server.port(), &format!("/{link}")).0, 200, "{link}");
    }

    // The line to paste: its script fetches the settings with what stands in quotes.
    let pass = page.split("&#39;").nth(1).expect("a line to paste");
    let (status, settings) = https::get(server.port(), &format!("/meshsettings?id={pass}"));
    assert_eq!(status, 200);
    let agent = Architecture::X86_64.executable();
    let _agent = StockAgent::start_as(&agent, Some(&settings), Architecture::X86_64);
    server.meshctrl().wait_for_device("is connected", |device| device["conn"] == 1);
}

#[test]
fn what_an_invitation_offers_is_what_its_maker_chose() {
    let server = Meshboard::start();
    let group = server.add_group("office");
    let (_, page) = page(&server, &link(&server, &group, "1"));
    assert!(links(&page).iter().all(|link| link.contains("installflags=1")), "{page}");
    assert!(!page.contains("meshinstall.sh"), "nothing is installed");
    let short = group.trim_start_matches("mesh//").replace('@', "%40").replace('$', "%24");
    for (platform, offers) in [(0, true), (1, false), (2, true), (3, true), (28, false)] {
        let (status, page) = self::page(&server, &format!("/agentinvite?m={short}&ag={platform}"));
        assert_eq!((status, page.contains("Linux")), (200, offers), "{platform}");
    }
    for path in [
        "/agentinvite".to_owned(),
        "/agentinvite?c=".to_owned(),
        "/agentinvite?c=AAAA".to_owned(),
        format!("/agentinvite?m={}", "A".repeat(64)),
        format!("/agentinvite?c={short}"),
        "/invite".to_owned(),
    ] {
        assert_eq!(https::get(server.port(), &path).0, 404, "{path}");
    }
}

#[test]
fn locked_downloads_are_for_who_may_edit_the_group() {
    let server = Meshboard::start_complete_with(&json!({"settings": {"lockAgentDownload": true}}));
    let meshctrl = server.meshctrl();
    let group = server.add_group("office");
    meshctrl.ok(&["adduser", "--user", "bob", "--pass", "B0b-password"]);
    let short = group.trim_start_matches("mesh//").replace('@', "%40").replace('$', "%24");
    let as_admin = format!("&user={}&pass={}", common::ADMIN, common::PASSWORD);
    let as_bob = "&user=bob&pass=B0b-password";
    for (path, status) in [
        (format!("/meshsettings?id={short}"), 401),
        (format!("/meshsettings?id={short}&auth=AAAA"), 401),
        (format!("/meshsettings?id={short}{as_bob}"), 401),
        (format!("/meshsettings?id={short}{as_admin}"), 200),
        (format!("/meshagents?id=6&meshid={short}"), 401),
        (format!("/meshagents?id=6&meshid={short}{as_admin}"), 200),
        ("/meshagents?id=6".to_owned(), 401),
        (format!("/meshagents?id=6{as_bob}"), 200),
        (link(&server, &group, "0"), 403),
    ] {
        assert_eq!(https::get(server.port(), &path).0, status, "{path}");
    }
}

#[test]
fn a_code_leads_to_the_page_of_its_invitation() {
    let server =
        Meshboard::start_complete_with(&json!({"domains": {"": {"agentInviteCodes": true}}}));
    let group = server.add_group("office");
    let arguments = ["editdevicegroup", "--id", &group, "--invitecodes", "spring"];
    server.meshctrl().ok(&arguments);
    let (status, form) = page(&server, "/invite");
    assert_eq!(status, 200);
    assert!(form.contains("name=\"inviteCode\""), "{form}");
    let post = |code: &str| https::post(server.port(), "/invite", &format!("inviteCode={code}"));
    let (status, head, _) = post("spring");
    assert_eq!(status, 303);
    let to = head.lines().find_map(|line| line.strip_prefix("location: ")).expect("a place");
    let (status, invited) = page(&server, &format!("/{to}"));
    assert_eq!(status, 200);
    assert!(invited.contains("Remote agent for office"), "{invited}");
    for _ in 0..10 {
        assert_eq!(post("winter").0, 200, "asks again");
    }
    assert_eq!(post("spring").0, 429, "somebody is guessing");
}
