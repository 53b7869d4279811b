use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use async_executor::LocalExecutor;
use futures_lite::future::{block_on, poll_fn, poll_once};

use super::*;

use crate::hub::{Mailbox, SessionLink, SessionMessage};
use crate::model::{
    BackupCode, Factors, Group, LinkTarget, Millis, Rights, SessionId, SiteRights, Target,
};
use crate::pool;
use crate::store::Store;

/// A clock that was never set must not matter.
fn context() -> AdminContext {
    let (config, _) = crate::config::parse(r#"{"domains":{"shop":{}}}"#, []).unwrap();
    AdminContext {
        hub: Hub::new(Store::in_memory(), config, Millis(0)),
        passwords: Passwords::default(),
        data: "/nonexistent".into(),
        live: None,
    }
}

fn ask(ctx: &AdminContext, request: Request) -> Result<Answer, String> {
    match block_on(execute(ctx, request)) {
        Reply::Done(answer) => Ok(answer),
        Reply::Refused(why) => Err(why),
    }
}

fn password(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

fn add(ctx: &AdminContext, domain: &str, name: &str, admin: bool) -> Result<Answer, String> {
    let (domain, name) = (domain.to_owned(), name.to_owned());
    ask(ctx, Request::UserAdd { domain, name, password: password("secret-1"), admin })
}

fn add_group(ctx: &AdminContext, name: &str, user: Option<&str>) -> Result<GroupLine, String> {
    let user = user.map(str::to_owned);
    let request = Request::GroupAdd { domain: String::new(), name: name.to_owned(), user };
    match ask(ctx, request)? {
        Answer::Group(group) => Ok(group),
        other => panic!("{other:?}"),
    }
}

fn user(ctx: &AdminContext, id: &str) -> Rc<crate::model::User> {
    ctx.hub.store.user(&id.parse().unwrap()).unwrap()
}

fn session(ctx: &AdminContext, id: &str) -> Rc<SessionLink> {
    let link = Rc::new(SessionLink {
        id: SessionId { user: id.parse().unwrap(), nonce: [7; 20] },
        remote: "127.0.0.1:4000".parse().unwrap(),
        since: Cell::default(),
        subscriptions: RefCell::new(BTreeSet::from([Target::All])),
        missed: Cell::new(false),
        mailbox: Mailbox::new(1 << 20),
    });
    ctx.hub.session_started(link.clone());
    link
}

/// What is in a session's mailbox: the kind of each message, or an event's action.
fn received(link: &SessionLink) -> Vec<String> {
    let next = || block_on(poll_once(poll_fn(|cx| link.mailbox.poll_next(cx))));
    let mut all = Vec::new();
    while let Some(Some(message)) = next() {
        all.push(match message {
            SessionMessage::Text(_) => "text".to_owned(),
            SessionMessage::Event(published) => published.event.action.to_string(),
            SessionMessage::Stop(_) => "stop".to_owned(),
            SessionMessage::AccountChanged => "changed".to_owned(),
        });
    }
    all
}

#[test]
fn an_account_is_made_once_with_its_password() {
    let ctx = context();
    add(&ctx, "", "Admin", true).unwrap();
    let admin = user(&ctx, "user//admin");
    assert_eq!((admin.name.as_str(), admin.site), ("Admin", SiteRights::FULL));
    let verdict = crate::identity::password::verify(&admin.password, "secret-1");
    assert_eq!(verdict, crate::identity::password::Verdict::Right);
    assert!(add(&ctx, "", "ADMIN", false).unwrap_err().contains("exists already"));
    add(&ctx, "shop", "admin", false).unwrap();
    assert_eq!(user(&ctx, "user/shop/admin").site, SiteRights::empty());
    for (domain, name, why) in [
        ("nowhere", "x", "no domain"),
        ("", "a b", "user name"),
        ("", "~t:x", "user name"),
        ("", "", "user name"),
    ] {
        assert!(add(&ctx, domain, name, false).unwrap_err().contains(why), "{domain} {name}");
    }
}

#[test]
fn passwords_have_1_to_256_characters_and_are_never_shown() {
    for (text, good) in [("", false), ("x", true), (" ", true)] {
        assert_eq!(Password::new(text.to_owned()).is_ok(), good, "{text:?}");
    }
    assert!(Password::new("ä".repeat(256)).is_ok());
    assert!(Password::new("a".repeat(257)).is_err());
    let request = Request::UserPassword {
        domain: String::new(),
        name: "x".into(),
        password: password("hidden"),
        without_factors: false,
    };
    assert!(!format!("{request:?}").contains("hidden"));
    let json = r#"{"command":"user-password","domain":"","name":"x","password":""}"#;
    assert!(serde_json::from_str::<Request>(json).is_err());
}

#[test]
fn changes_of_an_account_reach_its_sessions_and_listeners() {
    let ctx = context();
    add(&ctx, "", "root", true).unwrap();
    add(&ctx, "", "bob", false).unwrap();
    let (root, bob) = (session(&ctx, "user//root"), session(&ctx, "user//bob"));
    let name = || "bob".to_owned();
    let domain = String::new;
    let request = Request::UserAdmin { domain: domain(), name: name(), admin: true };
    ask(&ctx, request).unwrap();
    assert!(user(&ctx, "user//bob").site.is_full());
    assert_eq!(received(&bob), ["changed", "accountchange"]);
    assert_eq!(received(&root), ["accountchange"]);

    let password = password("another-1");
    let before = user(&ctx, "user//bob").password.clone();
    let codes = vec![BackupCode { number: 1, used: false }];
    let hint = Some("h".to_owned());
    let factors = Factors {
        backup_codes: codes,
        password_hint: hint.clone(),
        ..Factors::new("user//bob".parse().unwrap())
    };
    ctx.hub.store.put(factors).later();
    let (domain_name, without_factors) = (domain(), true);
    let request =
        Request::UserPassword { domain: domain_name, name: name(), password, without_factors };
    ask(&ctx, request).unwrap();
    assert_ne!(user(&ctx, "user//bob").password, before);
    assert!(user(&ctx, "user//bob").valid_from.is_some(), "who is in already is out");
    let left = ctx.hub.store.factors(&"user//bob".parse().unwrap()).unwrap();
    assert_eq!((left.backup_codes.len(), &left.password_hint), (0, &hint));
    assert_eq!(received(&root), ["accountchange"]);
    received(&bob);

    ask(&ctx, Request::UserRemove { domain: domain(), name: name() }).unwrap();
    assert!(ctx.hub.store.user(&"user//bob".parse().unwrap()).is_none());
    assert_eq!(received(&bob), ["stop"]);
    assert!(bob.mailbox.is_closed());
    assert_eq!(received(&root), ["accountremove"]);
    let again = ask(&ctx, Request::UserRemove { domain: domain(), name: name() });
    assert_eq!(again, Err("there is no account user//bob".into()));
}

#[test]
fn taking_administration_leaves_lesser_rights_alone() {
    let ctx = context();
    add(&ctx, "", "helper", false).unwrap();
    let mut helper = crate::model::User::clone(&user(&ctx, "user//helper"));
    helper.site = SiteRights::FILES;
    ctx.hub.store.put(helper).later();
    let admin = |admin| Request::UserAdmin { domain: String::new(), name: "helper".into(), admin };
    for (give, site) in
        [(false, SiteRights::FILES), (true, SiteRights::FULL), (false, SiteRights::empty())]
    {
        ask(&ctx, admin(give)).unwrap();
        assert_eq!(user(&ctx, "user//helper").site, site);
    }
}

#[test]
fn a_new_group_belongs_to_the_administrators_or_to_whom_is_named() {
    let ctx = context();
    add(&ctx, "", "bob", false).unwrap();
    assert!(add_group(&ctx, "Office", None).unwrap_err().contains("nobody would see"));
    add(&ctx, "", "root", true).unwrap();
    let listener = session(&ctx, "user//root");
    let rights = |id: &str, group: &GroupLine| {
        let to = LinkTarget::Group(group.meshid.parse().unwrap());
        user(&ctx, id).link(&to).map(|link| link.rights)
    };
    let office = add_group(&ctx, "Office", None).unwrap();
    assert_eq!(received(&listener), ["changed", "accountchange", "createmesh"]);
    assert_eq!(rights("user//root", &office), Some(Rights::FULL));
    assert_eq!(rights("user//bob", &office), None);
    let lab = add_group(&ctx, "Lab", Some("Bob")).unwrap();
    assert_eq!(rights("user//bob", &lab), Some(Rights::FULL));
    assert_eq!(rights("user//root", &lab), None);
    for (name, user, why) in [
        ("Office", None, "there is a group of this name"),
        ("", None, "1 to 128"),
        ("a\nb", None, "1 to 128"),
        ("New", Some("nobody"), "there is no account"),
    ] {
        assert!(add_group(&ctx, name, user).unwrap_err().contains(why), "{name:?}");
    }
    let listed = ask(&ctx, Request::GroupList { domain: String::new() }).unwrap();
    assert_eq!(listed, Answer::Groups(vec![lab, office]));
}

#[test]
fn a_deleted_group_is_not_listed_and_its_name_is_free() {
    let ctx = context();
    add(&ctx, "", "root", true).unwrap();
    let group = add_group(&ctx, "Office", None).unwrap();
    let id = group.meshid.parse().unwrap();
    let mut gone = Group::clone(&ctx.hub.store.group(&id).unwrap());
    gone.deleted = Some(Millis(1));
    ctx.hub.store.put(gone).later();
    let listed = ask(&ctx, Request::GroupList { domain: String::new() }).unwrap();
    assert_eq!(listed, Answer::Groups(vec![]));
    add_group(&ctx, "Office", None).unwrap();
}

#[test]
fn status_counts_over_all_domains_and_shows_the_setup_code_until_there_is_an_account() {
    let ctx = context();
    let status = |ctx: &AdminContext| match ask(ctx, Request::Status) {
        Ok(Answer::Status(status)) => *status,
        other => panic!("{other:?}"),
    };
    let fresh = status(&ctx);
    assert!(fresh.setup_code.is_some() && fresh.ports.is_none() && fresh.memory.is_none());
    add(&ctx, "", "a", true).unwrap();
    add(&ctx, "shop", "b", false).unwrap();
    add_group(&ctx, "Office", None).unwrap();
    let later = status(&ctx);
    assert_eq!((later.users, later.groups, later.setup_code), (2, 1, None));
}

/// Runs `client` on a thread while the socket is served.
fn with_socket<T: Send + 'static>(
    live: Option<Live>,
    client: impl FnOnce(PathBuf) -> T + Send + 'static,
) -> T {
    // A path longer than a socket address may be.
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("d".repeat(120));
    std::fs::create_dir(&data).unwrap();
    let path = socket::path(&data, None);
    let executor = Rc::new(LocalExecutor::new());
    let listener = socket::Listener::bind(&path).unwrap();
    let ctx = AdminContext { live, data: data.clone(), ..context() };
    let server = executor.spawn(socket::serve(executor.clone(), listener, ctx));
    let asked = path.clone();
    let client = pool::unblock(move || client(asked));
    let result = async_io::block_on(executor.run(client));
    async_io::block_on(executor.run(server.cancel()));
    assert!(!path.exists(), "the socket goes away with the server");
    result
}

#[test]
fn commands_reach_a_running_server_through_its_socket() {
    let reloads = Rc::new(Cell::new(0));
    let counted = reloads.clone();
    let reload_agents: Reload = Box::new(move || {
        counted.set(counted.get() + 1);
        Box::pin(std::future::ready(()))
    });
    let ports = Ports { https: 8443, ..Ports::default() };
    let amt = crate::amt::room::Room::new(context().hub, Rc::new(LocalExecutor::new()));
    let answers = with_socket(Some(Live { ports, reload_agents, amt }), |path| {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        [Request::ReloadAgents, Request::Status, Request::UserList { domain: "none".into() }]
            .map(|request| socket::ask(&path, &request).unwrap().unwrap())
    });
    assert_eq!(reloads.get(), 1);
    assert_eq!(answers[0], Reply::Done(Answer::Reloaded));
    let Reply::Done(Answer::Status(status)) = &answers[1] else { panic!("{:?}", answers[1]) };
    assert_eq!(status.ports.map(|ports| ports.https), Some(8443));
    assert!(status.memory.is_some_and(|memory| memory.resident > 0));
    assert!(matches!(&answers[2], Reply::Refused(why) if why.contains("no domain")));
}

#[test]
fn nonsense_on_the_socket_is_answered_or_dropped_and_the_server_lives() {
    use std::io::{Read as _, Write as _};
    with_socket(None, |path| {
        // Reached as the server's clients reach it, past the limit of a socket address.
        let folder = std::fs::File::open(path.parent().unwrap()).unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&folder);
        let near = format!("/proc/self/fd/{fd}/meshboard.sock");
        let talk = |bytes: &[u8]| {
            let mut stream = std::os::unix::net::UnixStream::connect(&near).unwrap();
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        };
        for bytes in [&b"\n"[..], b"{}\n", b"\xff\xfe\n", b"{\"command\":\"format-disk\"}\n"] {
            assert!(talk(bytes).contains("does not understand"), "{bytes:?}");
        }
        assert_eq!(talk(b"{\"command\":"), "");
        assert_eq!(talk(&vec![b'x'; 200_000]), "");
        for _ in 0..20 {
            assert_eq!(talk(b""), "");
        }
        assert!(talk(b"{\"command\":\"status\"}\n").contains("\"version\""));
    });
}

#[test]
fn a_path_nobody_listens_on_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = socket::path(folder.path(), None);
    assert_eq!(socket::ask(&path, &Request::Status).unwrap(), None);
    // Left over from a server that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(socket::ask(&path, &Request::Status).unwrap(), None);
    drop(socket::Listener::bind(&path).unwrap());
    assert!(!path.exists());
    assert_eq!(
        socket::path(folder.path(), Some("/run/x".into())),
        PathBuf::from("/run/x/meshboard.sock")
    );
}
