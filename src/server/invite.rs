//! The pages for people who were invited to install an agent: the downloads and command lines of an
//! invitation (`/agentinvite`), and the form for an invitation code (`/invite`).
//!
//! Plain HTML without script, for people without an account.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};

use crate::agent::kinds::{self, Platform};
use crate::config::Reach;
use crate::control::invitations::{CodeError, Invitation};
use crate::model::{DomainId, GroupKind};

use super::answer::{Body, query, text};
use super::app::App;
use super::asked::Asked;
use super::form::{Form, FormError, escaped, html};

/// Run once, without installing: `f` of an invitation.
const INTERACTIVE_ONLY: u32 = 1;
/// Agent id of MeshCentral Assistant.
const ASSISTANT: u32 = 10006;

/// `/agentinvite?c=<cookie>`, or `?m=<group>[&f=<flags>][&ag=<platforms>]`.
pub fn page(app: &App, domain: &DomainId, uri: &Uri, headers: &HeaderMap) -> Response<Body> {
    let config = app.hub.config();
    if !has_login_key(app, domain, uri) {
        return not_found();
    }
    let Some(invitation) = invitation(app, domain, uri) else { return not_found() };
    if config.locks_agent_downloads(domain) {
        let text = "<p>Agents of this server are for people who are logged in.</p>";
        return html(StatusCode::FORBIDDEN, text);
    }
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    match app.control.invitations.pass(&invitation.group.id) {
        Some(pass) => html(StatusCode::OK, &content(app, &invitation, &pass, host)),
        None => text(StatusCode::SERVICE_UNAVAILABLE, "no randomness"),
    }
}

fn invitation(app: &App, domain: &DomainId, uri: &Uri) -> Option<Invitation> {
    let invitations = &app.control.invitations;
    if let Some(cookie) = query(uri, "c") {
        return invitations.open(domain, &cookie);
    }
    let number = |name| query(uri, name).and_then(|n| n.parse().ok()).unwrap_or_default();
    let group = invitations.group_of_download(domain, &query(uri, "m")?)?;
    let group = Some(group).filter(|group| group.kind == GroupKind::Agent)?;
    Some(Invitation { group, flags: number("f"), agents: number("ag") })
}

/// What can be downloaded and typed.
fn content(app: &App, invitation: &Invitation, pass: &str, host: Option<&str>) -> String {
    let Invitation { group, flags, agents } = invitation;
    let offers = |mask: u32| *agents == 0 || agents & mask != 0;
    let base = app.page_url(&group.id.domain, host);
    let link = LinkTo { pass: &encoded(pass), flags: *flags };
    let mut page = format!(
        "<h2>Remote agent for {}</h2><p>You have been invited to install a program that lets \
         somebody else work on this machine, its desktop and files. Go on only if you expected \
         that and know who it is.</p>",
        escaped(&group.name)
    );
    let Some(package) = app.agents.package() else {
        return page + "<p>This server has no agents to download yet.</p>";
    };
    let mut section = |title: &str, advice: &str, links: Vec<(String, &str)>| {
        if !links.is_empty() {
            let _ = write!(page, "<h3>{title}</h3>{advice}<ul>");
            for (url, name) in links {
                let _ = write!(page, "<li><a href=\"{}\">{name}</a></li>", escaped(&url));
            }
            page.push_str("</ul>");
        }
    };
    let shipped = |platform: Platform| {
        let ids =
            kinds::shipped().filter(move |kind| kind.platform == platform && kind.id < 10_000);
        ids.filter(|kind| package.binary(kind.id).is_some())
    };
    if offers(1) {
        let advice = "<p>Download the program, run it and press Install or Connect.</p>";
        let links = shipped(Platform::Windows);
        section("Windows", advice, links.map(|k| (link.embedded(k.id), k.description)).collect());
    }
    if offers(2) {
        let root = base.trim_end_matches('/');
        let script = format!(
            "wget \"{base}meshagents?script=1\" --no-check-certificate -O ./meshinstall.sh && \
             chmod 755 ./meshinstall.sh && sudo -E ./meshinstall.sh {root} '{pass}'"
        );
        let advice = match *flags {
            INTERACTIVE_ONLY => String::new(),
            _ => format!(
                "<p>Paste this line into a terminal to install:</p><pre>{}</pre>",
                escaped(&script)
            ),
        } + "<p>Or download the program, make it executable and run it:</p>";
        let links = shipped(Platform::Linux).chain(shipped(Platform::Bsd));
        section(
            "Linux and BSD",
            &advice,
            links.map(|k| (link.installer(k.id), k.description)).collect(),
        );
    }
    if offers(4) {
        let advice = "<p>Download the program and run it in a terminal: <code>chmod +x meshagent; \
                      xattr -r -d com.apple.quarantine meshagent; sudo ./meshagent</code></p>";
        let links = shipped(Platform::MacOs);
        section("macOS", advice, links.map(|k| (link.installer(k.id), k.description)).collect());
    }
    // The app finds no server on the local network.
    let is_far = app.hub.config().settings.reach != Reach::Lan;
    if offers(16) && is_far && package.binary(14).is_some() {
        let pairing = (app.pairing_url(&group.id, host), "Pair with this server");
        let links = vec![(link.embedded(14), "Download the app"), pairing];
        section("Android", "<p>Install the app, then pair it.</p>", links);
    }
    if offers(8) && package.binary(ASSISTANT).is_some() {
        let advice = "<p>A tool beside the clock that connects only when help is wanted.</p>";
        section("Assistant for Windows", advice, vec![(link.embedded(ASSISTANT), "Download")]);
    }
    page
}

/// Download links, relative to the page.
struct LinkTo<'a> {
    /// What stands for the group's id, encoded.
    pass: &'a str,
    flags: u32,
}

impl LinkTo<'_> {
    /// An executable with the group's settings in it.
    fn embedded(&self, id: u32) -> String {
        format!("meshagents?id={id}&meshid={}&installflags={}", self.pass, self.flags)
    }

    /// An executable with a dialog that installs it.
    fn installer(&self, id: u32) -> String {
        format!("meshagents?id={}&installflags={}&meshinstall={id}", self.pass, self.flags)
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// `/invite`: asks for a code, and leads who has one to the page of its invitation.
pub async fn code(app: Rc<App>, asked: Asked, request: Request<Incoming>) -> Response<Body> {
    let (uri, domain) = (request.uri().clone(), &asked.domain);
    if !app.hub.config().domain(domain).agent_invite_codes || !has_login_key(&app, domain, &uri) {
        return not_found();
    }
    if request.method() != Method::POST {
        return ask(StatusCode::OK, "");
    }
    let code = match Form::read(&app, &asked, request).await {
        Ok(form) => form.field("inviteCode"),
        Err(FormError::Foreign) => {
            return ask(StatusCode::FORBIDDEN, "The form came from another site.");
        }
        Err(FormError::Broken) => {
            return ask(StatusCode::BAD_REQUEST, "The form is too long or incomplete.");
        }
    };
    if code.is_empty() {
        return ask(StatusCode::OK, "");
    }
    let ip = asked.remote.ip();
    match app.control.invitations.redeem(domain, &code, ip, Instant::now()) {
        Ok(cookie) => {
            let key = query(&uri, "key").map(|key| format!("&key={}", encoded(&key)));
            let to = format!("agentinvite?c={}{}", encoded(&cookie), key.unwrap_or_default());
            see_other(&to)
        }
        Err(CodeError::Unknown) => {
            log::warn!("wrong invitation code from {}", ip.to_canonical());
            ask(StatusCode::OK, "That is no invitation code.")
        }
        Err(CodeError::Barred) => {
            ask(StatusCode::TOO_MANY_REQUESTS, "Too many wrong codes. Try again later.")
        }
    }
}

fn ask(status: StatusCode, message: &str) -> Response<Body> {
    // The messages are our own words, without markup.
    html(
        status,
        &format!(
            "<p>Enter your invitation code.</p><p><strong>{message}</strong></p>\
             <form method=\"post\"><p><label>Code<br>\
             <input name=\"inviteCode\" required autocomplete=\"off\"></label></p>\
             <p><button>Go on</button></p></form>"
        ),
    )
}

/// Whether the request brings one of the domain's login keys, if there are any.
fn has_login_key(app: &App, domain: &DomainId, uri: &Uri) -> bool {
    let config = app.hub.config();
    let keys = &config.domain(domain).login_keys;
    keys.is_empty() || query(uri, "key").is_some_and(|key| keys.contains(&key))
}

fn see_other(to: &str) -> Response<Body> {
    let mut response = text(StatusCode::SEE_OTHER, "");
    // An encoded query has nothing in it that a header must not have.
    if let Ok(to) = HeaderValue::try_from(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "not found")
}
