use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{
    Activation, AmtManager, AmtSetup, BrowserSettings, FactorRules, Framing, FrontUrl,
    PasswordRules, Place, Proxies, SameSite, TokenRules, WarningKind,
};
use crate::model::KeyPin;

fn read(text: &str) -> (Config, Vec<Warning>) {
    parse(text, []).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn problems(text: &str) -> Vec<String> {
    parse(text, []).map_or_else(
        |problems| problems.iter().map(ToString::to_string).collect(),
        |_| panic!("accepted: {text}"),
    )
}

fn warnings(text: &str) -> Vec<String> {
    read(text).1.iter().map(ToString::to_string).collect()
}

fn settings_of(text: &str) -> Settings {
    read(&format!(r#"{{"settings":{{{text}}}}}"#)).0.settings
}

fn domain_of(text: &str) -> Domain {
    let (config, warnings) = read(&format!(r#"{{"domains":{{"":{{{text}}}}}}}"#));
    assert_eq!(warnings, []);
    config.domain(&DomainId::default()).clone()
}

fn id(text: &str) -> DomainId {
    DomainId::new(text).unwrap()
}

#[test]
fn nothing_written_means_the_defaults() {
    for text in ["", " \n", "{}", "\u{feff}{}", r#"{"settings":{},"domains":{"":{}}}"#] {
        assert_eq!(read(text), (Config::default(), vec![]), "{text:?}");
    }
}

#[test]
fn every_supported_setting_arrives() {
    let (config, warnings) = read(
        r#"{
        "settings": {
            "cert": "mesh.example.com", "port": 8443, "aliasPort": 443, "redirPort": 8080,
            "mpsPort": 14433, "mpsPortBind": "127.0.0.2", "mpsAliasPort": 4434,
            "mpsCert": "mps.example.com,DE,Example", "mpsAliasHost": "alias.example.com",
            "mpsTlsOffload": true, "mpsHighSecurity": true, "mpsPass": "P@ssw0rd1",
            "mpsAnyPassword": true, "agentPort": 8444, "agentAliasPort": 444, "bind": "127.0.0.1",
            "tlsOffload": "10.0.0.1", "trustedProxy": ["10.0.0.2"],
            "WANonly": true, "agentPing": 35, "agentPong": 36, "agentIdleTimeout": 100,
            "browserPing": 37, "browserPong": 38, "ignoreAgentHashCheck": true,
            "maxInvalidLogin": {"time": 5, "count": 3, "coolofftime": 20},
            "maxInvalid2fa": false, "no2FactorAuth": true, "cookieIpCheck": "strict",
            "sessionTime": 20, "sessionSameSite": "lax", "allowFraming": true,
            "meshScanner": false, "localDiscovery": {"name": "N", "info": "I", "key": "K"},
            "amtScanner": false, "noAgentUpdate": true, "minifyCore": true, "agentUpdateBlockSize": 2048,
            "allowLoginToken": true, "manageAllDeviceGroups": ["user//admin"], "statusPort": 9999,
            "storage": "Coalesced",
            "manageCrossDomain": ["user//Root"], "interUserMessaging": ["user/a/bob"],
            "lockAgentDownload": true, "desktopMultiplex": true,
            "autoBackup": {"backupIntervalHours": 12, "keepLastDaysBackup": 3, "maxMegabytes": 5,
                "backupPath": "/media/stick", "zipPassword": "phrase"}
        },
        "domains": {"": {
            "title": "T", "title2": "T2", "newAccounts": true, "newAccountsRights": ["nonewgroups"],
            "newAccountsUserGroups": "G", "agentInviteCodes": true, "lockAgentDownload": 1,
            "agentKey": ["a1", "b2"], "loginKey": "c3", "certHash": "H", "certUrl": "proxy:8443",
            "allowedOrigin": ["a.example.com"], "userConsentFlags": {"desktopNotify": true},
            "passwordRequirements": {"min": 8, "max": 128, "upper": 1, "lower": 2, "numeric": 3,
                "nonalpha": 4, "reset": 90, "hint": true, "oldPasswordBan": 5,
                "banCommonPasswords": true, "force2factor": true, "lock2factor": true,
                "skip2factor": "10.0.0.0/8, ::1", "otp2factor": false,
                "backupcode2factor": false, "maxfidokeys": 2, "fidoPinInput": "required",
                "loginTokens": ["user//admin"]},
            "twoFactorCookieDurationDays": 7,
            "userSessionIdleTimeout": 10, "allowFraming": "https://rmm.example.com",
            "limits": {"maxDevices": 1, "maxAgentSessions": 2, "maxUserAccounts": 3,
                "maxUserSessions": 4, "maxSingleUserSessions": 5}
        }}}"#
            .replace("\"G\"", &format!("\"{}\"", Key48([5; 48]).text()))
            .replace("\"H\"", &format!("\"{}\"", "0A".repeat(48)))
            .as_str(),
    );
    assert_eq!(warnings, []);
    let seconds = |n| Some(Duration::from_secs(n));
    let expected = Settings {
        cert: Some("mesh.example.com".into()),
        port: Some(8443),
        alias_port: Some(443),
        redir_port: Some(8080),
        mps_port: Some(14433),
        mps_bind: Some("127.0.0.2".parse().unwrap()),
        mps_alias_port: Some(4434),
        mps_name: Some("mps.example.com".into()),
        mps_tls_offload: true,
        mps_high_security: true,
        mps_pass: Some("P@ssw0rd1".into()),
        mps_any_password: true,
        agent_port: Some(8444),
        agent_alias_port: Some(444),
        bind: Some("127.0.0.1".parse().unwrap()),
        proxies: Proxies {
            offload: vec!["10.0.0.1/32".parse().unwrap()],
            trusted: ["10.0.0.2/32", "10.0.0.1/32"].map(|net| net.parse().unwrap()).into(),
        },
        reach: Reach::Wan,
        agent_ping: seconds(35),
        agent_pong: seconds(36),
        agent_idle_timeout: seconds(100),
        browser_ping: seconds(37),
        browser_pong: seconds(38),
        ignore_agent_hash_check: true,
        max_invalid_login: Some(LoginLimit {
            time: Duration::from_secs(300),
            count: 3,
            cool_off: seconds(1200),
        }),
        max_invalid_2fa: None,
        no_second_factor: true,
        cookie_ip: CookieIp::Strict,
        browser: BrowserSettings { session_time: seconds(1200), same_site: SameSite::Lax },
        framing: Framing::Anybody,
        amt_scanner: false,
        mesh_scanner: false,
        local_discovery: LocalDiscovery {
            name: Some("N".into()),
            info: Some("I".into()),
            key: Some("K".into()),
        },
        no_agent_update: true,
        minify_core: true,
        agent_update_block_size: 2048,
        allow_login_token: true,
        manage_all_device_groups: vec!["user//admin".into()],
        manage_cross_domain: vec![UserId::new(id(""), "root").unwrap()],
        inter_user_messaging: InterUser::Listed(vec![UserId::new(id("a"), "bob").unwrap()]),
        lock_agent_download: true,
        desktop_multiplex: true,
        user_addresses: AddressRules::default(),
        agent_addresses: AddressRules::default(),
        auto_backup: Some(BackupPlan {
            every: Duration::from_secs(12 * 3600),
            keep: Duration::from_secs(3 * 86_400),
            max_bytes: 5 << 20,
            folder: Some("/media/stick".into()),
            passphrase: Some("phrase".into()),
        }),
        storage: Storage::Coalesced,
        status_port: Some(9999),
    };
    assert_eq!(config.settings, expected);
    let expected = Domain {
        title: Some("T".into()),
        title2: Some("T2".into()),
        dns: None,
        new_accounts: true,
        new_account_rights: SiteRights::NO_NEW_GROUPS,
        new_account_user_groups: vec![UserGroupId::new(id(""), Key48([5; 48]))],
        agent_invite_codes: true,
        lock_agent_download: true,
        agent_keys: vec!["a1".into(), "b2".into()],
        login_keys: vec!["c3".into()],
        accepted_tls_hashes: vec![Key48([10; 48])],
        cert_url: Some(FrontUrl::Https { host: "proxy".into(), port: 8443 }),
        allowed_origins: vec!["a.example.com".into()],
        idle_timeout: seconds(600),
        framing: Some(Framing::Only(vec!["https://rmm.example.com".into()])),
        consent: 1,
        passwords: PasswordRules {
            min: 8,
            max: 128,
            upper: 1,
            lower: 2,
            numeric: 3,
            nonalpha: 4,
            reset: seconds(90 * 86_400),
            hint: true,
            old_ban: 5,
            ban_common: true,
        },
        factors: FactorRules {
            force: true,
            skip: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            locked: true,
            app: false,
            backup_codes: false,
            max_keys: Some(2),
            key_pin: KeyPin::Required,
            remember_days: 7,
        },
        login_tokens: TokenRules::Only(vec!["user//admin".into()]),
        session_options: serde_json::Map::new(),
        privacy_bar_text: None,
        desktop_view_only: false,
        user_addresses: AddressRules::default(),
        agent_addresses: AddressRules::default(),
        recording: None,
        activation: Activation::default(),
        amt_manager: AmtManager::default(),
        amt_setup: AmtSetup::default(),
        max_devices: Some(1),
        max_agent_sessions: Some(2),
        max_user_accounts: Some(3),
        max_user_sessions: Some(4),
        max_single_user_sessions: Some(5),
        // See `features`.
        ..Domain::default()
    };
    assert_eq!(config.domain(&id("")), &expected);
}

#[test]
fn keys_are_case_insensitive_and_underscores_switch_them_off() {
    let settings = settings_of(r#""PORT":1234,"_mpsPort":1,"_anything":{},"rEDIRport":0"#);
    assert_eq!((settings.port, settings.mps_port), (Some(1234), Some(4433)));
    assert_eq!(settings.redir_port, None);
    let (config, warnings) = read(r#"{"_x":1,"domains":{"_hidden":5,"Shop":{"TITLE":"S"}}}"#);
    assert_eq!(warnings, []);
    assert_eq!(config.domains.len(), 2, "the default domain is always there");
    assert_eq!(config.domain(&id("shop")).title.as_deref(), Some("S"));
}

#[test]
fn numbers_and_switches_may_be_quoted() {
    let settings = settings_of(
        r#""port":"8443","redirPort":"0","agentPing":"35","noAgentUpdate":"true","minifyCore":1"#,
    );
    assert_eq!((settings.port, settings.redir_port), (Some(8443), None));
    assert_eq!(settings.agent_ping, Some(Duration::from_secs(35)));
    assert!(settings.no_agent_update && settings.minify_core);
}

#[test]
fn storage_is_one_of_three_words() {
    for storage in Storage::ALL {
        assert_eq!(settings_of(&format!(r#""storage":"{}""#, storage.as_str())).storage, storage);
    }
    assert_eq!(settings_of(r#""port":443"#).storage, Storage::Durable);
    for wrong in [r#""fast""#, "1", "true"] {
        let problems = parse(&format!(r#"{{"settings":{{"storage":{wrong}}}}}"#), []).unwrap_err();
        let problem = format!("{problems:?}");
        assert!(problem.contains("durable, coalesced or volatile"), "{problem}");
    }
}

#[test]
fn zero_and_false_switch_off_what_can_be_switched_off() {
    let settings = settings_of(
        r#""redirPort":false,"mpsPort":0,"agentIdleTimeout":0,"maxInvalidLogin":false,"statusPort":0"#,
    );
    let off = (settings.redir_port, settings.mps_port, settings.status_port);
    assert_eq!(off, (None, None, None));
    assert_eq!((settings.agent_idle_timeout, settings.max_invalid_login), (None, None));
    assert_eq!(settings_of(r#""maxInvalidLogin":{"count":2}"#).max_invalid_login.unwrap().count, 2);
}

#[test]
fn a_problem_names_the_key_and_its_place() {
    for (text, expected) in [
        ("{\n  \"settings\": {\n    \"port\": 0\n}}", "3:13: settings.port: expected a port"),
        (
            r#"{"settings":{"Port":"abc"}}"#,
            r#"1:21: settings.Port: expected a port from 1 to 65535, found "abc""#,
        ),
        (r#"{"settings":{"port":65536}}"#, "settings.port: expected a port"),
        (r#"{"settings":{"port":1.5}}"#, "settings.port: expected a port"),
        (r#"{"settings":{"port":-1}}"#, "settings.port: expected a port"),
        (r#"{"settings":{"port":1e999}}"#, "settings.port: expected a port"),
        (r#"{"settings":{"port":{}}}"#, "found an object"),
        (r#"{"settings":[]}"#, "settings: expected an object"),
        (r#"{"settings":{"cert":"a@b"}}"#, "settings.cert: expected a host name"),
        (r#"{"settings":{"cert":"https://a.b"}}"#, "settings.cert: expected a host name"),
        (r#"{"settings":{"cert":"a.b:8443"}}"#, "settings.cert: expected a host name"),
        (r#"{"settings":{"cert":true}}"#, "settings.cert: expected a text, found true"),
        (r#"{"settings":{"port":99,"mpsPort":99}}"#, "settings.mpsPort: 99 is the port already"),
        (r#"{"settings":{"agentPing":"soon"}}"#, "expected a number of seconds"),
        (r#"{"settings":{"agentUpdateBlockSize":100}}"#, "from 1024 to 65531, found 100"),
        (r#"{"settings":{"bind":"localhost"}}"#, "expected an IP address"),
        (r#"{"settings":{"userAllowedIP":"10.0.0.0/33"}}"#, "expected addresses"),
        (r#"{"settings":{"maxInvalidLogin":{"time":0}}}"#, "settings.maxInvalidLogin.time: "),
        (r#"{"domains":{"":{"dns":"a.b"}}}"#, r#"domains."".dns: the default domain"#),
        (r#"{"domainDefaults":{"dns":"a.b"}}"#, "the default domain cannot have a dns name"),
        (r#"{"domains":{"a":{"dns":"x.y"},"b":{"dns":"X.y"}}}"#, "domains.b.dns: x.y is the name"),
        (r#"{"domains":{"a b":{}}}"#, "domains.a b: a domain name"),
        (r#"{"domains":{"a/b":{}}}"#, "domains.a/b: a domain name"),
        (r#"{"domains":{"Public":{}}}"#, "a path of the web server"),
        (r#"{"domains":{"":{"newAccountsRights":["king"]}}}"#, r#"found "king""#),
        (r#"{"domains":{"":{"agentKey":"a b"}}}"#, "letters and digits"),
        (r#"{"domains":{"":{"certHash":"00ff"}}}"#, "96 hexadecimal digits"),
        (r#"{"domains":{"":{"certUrl":"http://a"}}}"#, "expected https://host"),
        (r#"{"settings":{"tlsOffload":"a.b"}}"#, "settings.tlsOffload: expected true, or addr"),
        (r#"{"domains":{"":{"limits":{"maxDevices":"many"}}}}"#, "limits.maxDevices: expected"),
        (r#"{"domainDefaults":{"title":[]},"domains":{"a":{}}}"#, "domainDefaults.title: expected"),
    ] {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].contains(expected), "{text}: {found:?}");
    }
}

#[test]
fn malformed_json_has_a_place_too() {
    for (text, place) in [
        ("{\n \"settings\": {\n  \"port\" 443 }}", "3:"),
        ("{\"settings\":{}", "1:"),
        ("{} x", "1:4"),
        ("[1]", "1:1"),
        ("{\"a\":1,}", "1:"),
        ("{'a':1}", "1:2"),
        ("// hi\n{}", "1:1"),
    ] {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].starts_with(place), "{text}: {found:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(problems(&format!("{{\"a\":{deep}")).len(), 1);
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = r#"{"settings":{"port":"x","mpsPort":"y"},"domains":{"a b":{}}}"#;
    assert_eq!(problems(text).len(), 3);
}

#[test]
fn what_does_nothing_is_a_warning_with_its_place() {
    let kind = |text: &str| {
        let (_, mut warnings) = read(text);
        assert_eq!(warnings.len(), 1, "{text}: {warnings:?}");
        let warning = warnings.remove(0);
        (warning.key, warning.kind)
    };
    let not_yet = WarningKind::NotYet;
    for (text, key, expected) in [
        (r#"{"settings":{"foo":1}}"#, "settings.foo", WarningKind::Unknown),
        (r#"{"Foo":1}"#, "Foo", WarningKind::Unknown),
        (r#"{"smtp":{"host":"x"}}"#, "smtp", not_yet.clone()),
        (r#"{"settings":{"authLog":true}}"#, "settings.authLog", not_yet.clone()),
        (r#"{"settings":{"mongoDb":"x"}}"#, "settings.mongoDb", WarningKind::Moot),
        (r#"{"domains":{"a":{"footer":"x"}}}"#, "domains.a.footer", not_yet),
        (r#"{"domainDefaults":{"foo":"x"}}"#, "domainDefaults.foo", WarningKind::Unknown),
        (
            r#"{"domains":{"":{"limits":{"max":1}}}}"#,
            r#"domains."".limits.max"#,
            WarningKind::Unknown,
        ),
        (r#"{"settings":{"port":80,"Port":81}}"#, "settings.port", WarningKind::Duplicate),
        (
            r#"{"settings":{"maintenanceMode":true}}"#,
            "settings.maintenanceMode",
            WarningKind::NotEnforced,
        ),
    ] {
        assert_eq!(kind(text), (key.to_owned(), expected), "{text}");
    }
    assert_eq!(
        warnings("{\"settings\":\n{\"foo\":1}}"),
        ["2:2: settings.foo: unknown key, ignored"]
    );
    assert_eq!(settings_of(r#""port":82,"Port":81"#).port, Some(81), "the last one counts");
}

#[test]
fn address_lists_are_read() {
    let (config, warnings) = read(r#"{"settings":{"userAllowedIP":"10.0.0.0/8, ::1"}}"#);
    assert_eq!(config.settings.user_addresses.allowed.len(), 2);
    assert_eq!(warnings, []);
}

#[test]
fn a_restriction_that_is_not_enforced_is_said_loudly() {
    let (_, warnings) = read(r#"{"settings":{"maintenanceMode":true}}"#);
    assert!(warnings[0].kind.is_loud());
    assert!(warnings[0].to_string().contains("NOT ENFORCED"));
}

#[test]
fn domain_defaults_fill_gaps_only() {
    let (config, _) = read(
        r#"{"domainDefaults":{"title":"D","newAccounts":true},
            "domains":{"a":{"title":"A"},"b":{"newAccounts":false,"title":null}}}"#,
    );
    for (domain, title, new_accounts) in [("", "D", true), ("a", "A", true), ("b", "D", false)] {
        let found = &config.domains[&id(domain)];
        let expected = (Some(title), new_accounts);
        assert_eq!((found.title.as_deref(), found.new_accounts), expected, "{domain}");
    }
}

#[test]
fn the_reach_follows_the_name() {
    for (text, reach) in [
        ("", Reach::Hybrid),
        (r#""WANonly":true"#, Reach::Wan),
        (r#""cert":"board""#, Reach::Lan),
        (r#""cert":"board","WANonly":true"#, Reach::Lan),
        (r#""cert":"a.example.com""#, Reach::Hybrid),
        (r#""cert":"a.example.com","WANonly":true"#, Reach::Wan),
        (r#""cert":"a.example.com","LANonly":true"#, Reach::Lan),
        (r#""cert":"192.168.1.5""#, Reach::Hybrid),
    ] {
        assert_eq!(settings_of(text).reach, reach, "{text}");
    }
    assert_eq!(warnings(r#"{"settings":{"cert":"board","WANonly":true}}"#).len(), 1);
}

#[test]
fn a_default_port_gives_way_to_a_written_one() {
    assert_eq!(settings_of(r#""port":80"#).redir_port, None);
    assert_eq!(settings_of(r#""port":4433"#).mps_port, None);
    assert_eq!(settings_of(r#""agentPort":8087"#).status_port, None);
}

#[test]
fn the_environment_overrides_the_file() {
    let environment = [
        ("MESHCENTRAL_PORT", "9443"),
        ("meshcentral_cert", "b.example.com"),
        ("MESHCENTRAL_MPSPORT", ""),
        ("PORT", "1"),
        ("MESHCENTRAL_NONSENSE", "1"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()));
    for text in ["", r#"{"Settings":{"port":443,"cert":"a.example.com"}}"#] {
        let (config, warnings) = parse(text, environment.clone()).unwrap();
        assert_eq!(config.settings.port, Some(9443));
        assert_eq!(config.settings.cert.as_deref(), Some("b.example.com"));
        assert_eq!(config.settings.mps_port, Some(4433), "an empty variable says nothing");
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].place, Place::Environment("MESHCENTRAL_NONSENSE".into()));
    }
    let bad = parse("", [("MESHCENTRAL_PORT".to_owned(), "x".to_owned())]).unwrap_err();
    assert!(bad[0].to_string().starts_with("environment variable MESHCENTRAL_PORT: settings.port"));
}

#[test]
fn domain_values_take_their_forms() {
    for (text, rights) in [
        ("4294967295", SiteRights::FULL),
        (r#""fulladmin""#, SiteRights::FULL),
        (r#"["NoTools", "locksettings"]"#, SiteRights::NO_TOOLS | SiteRights::LOCK_SETTINGS),
        ("0", SiteRights::empty()),
    ] {
        let domain = domain_of(&format!(r#""newAccountsRights":{text}"#));
        assert_eq!(domain.new_account_rights, rights, "{text}");
    }
    for (text, consent) in [("127", 127), (r#"{"fileprompt":true,"desktopPrivacyBar":true}"#, 96)] {
        assert_eq!(domain_of(&format!(r#""userConsentFlags":{text}"#)).consent, consent, "{text}");
    }
    assert_eq!(domain_of(r#""allowedOrigin":true"#).allowed_origins, ["*"]);
    assert_eq!(domain_of(r#""allowedOrigin":"a.b, c.d""#).allowed_origins, ["a.b", "c.d"]);
    assert!(!domain_of(r#""newAccounts":2"#).new_accounts);
    let colons = vec!["0a"; 48].join(":");
    let domain = domain_of(&format!(r#""certHash":"{colons}""#));
    assert_eq!(domain.accepted_tls_hashes, [Key48([10; 48])]);
}

#[test]
fn the_dialogs_of_sessions_get_the_names_agents_know() {
    let domain = domain_of(
        r#""consentMessages":{"title":"T","desktop":"{0} wants in","consentTimeout":5,
            "autoAcceptIfFileNoUser":true,"oldStyle":false},
          "notificationMessages":{"title":"N"},"desktopPrivacyBarText":"watched",
          "desktop":{"viewonly":true}"#,
    );
    let expected = serde_json::json!({
        "consentTitle": "T", "consentMsgDesktop": "{0} wants in", "consentTimeout": 5,
        "consentAutoAcceptIfFileNoUser": true, "notifyTitle": "N",
    });
    assert_eq!(serde_json::Value::Object(domain.session_options), expected);
    assert_eq!(domain.privacy_bar_text.as_deref(), Some("watched"));
    assert!(domain.desktop_view_only);
}

#[test]
fn managers_named_in_a_domain_get_full_ids() {
    let (config, _) = read(r#"{"domains":{"Shop":{"manageAllDeviceGroups":["Ann"]}}}"#);
    assert_eq!(config.settings.manage_all_device_groups, ["user/shop/ann"]);
}

#[test]
fn the_example_file_of_the_repository_is_accepted() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/meshcentral-data/config.example.json");
    let (config, warnings) = load(Path::new(path), []).unwrap();
    assert_eq!(warnings, []);
    assert_ne!(config, Config::default(), "it shows something");
}

#[test]
fn a_file_that_is_not_there_is_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    assert_eq!(load(&path, []).unwrap().0, Config::default());
    std::fs::write(&path, "{\"settings\":{\"port\":true}}").unwrap();
    let error = load(&path, []).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "config.json:1:21: settings.port: expected a port from 1 to 65535, found true"
        ),
        "{error}"
    );
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(load(&path, []), Err(ConfigError::Read(..))));
}

/// JSON built of the keys that matter and values of every type.
fn any_config() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("settings"),
        Just("domains"),
        Just("domainDefaults"),
        Just("port"),
        Just("cert"),
        Just("mpsPort"),
        Just("agentPing"),
        Just("maxInvalidLogin"),
        Just("time"),
        Just("limits"),
        Just("userConsentFlags"),
        Just("newAccountsRights"),
        Just("userAllowedIP"),
        Just("dns"),
        Just("certHash"),
        Just("agentKey"),
        Just(""),
        Just("a"),
        Just("_x"),
        Just("Port"),
        Just("manageAllDeviceGroups"),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| n.to_string()),
        "[ -~äß€]{0,20}".prop_map(|s| serde_json::Value::String(s).to_string()),
    ];
    leaf.prop_recursive(5, 64, 8, move |inner| {
        let table = prop::collection::vec((key.clone(), inner.clone()), 0..8).prop_map(|entries| {
            let entries: Vec<_> = entries.iter().map(|(k, v)| format!("\"{k}\": {v}")).collect();
            format!("{{{}}}", entries.join(",\n"))
        });
        let list = prop::collection::vec(inner, 0..4).prop_map(|v| format!("[{}]", v.join(",")));
        prop_oneof![3 => table, 1 => list]
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = parse(&text, []);
    }

    #[test]
    fn no_json_makes_the_parser_panic_and_what_it_accepts_has_a_default_domain(
        text in any_config(),
    ) {
        if let Ok((config, _)) = parse(&text, []) {
            prop_assert!(config.domains.contains_key(&DomainId::default()));
            prop_assert_ne!(config.settings.port, Some(0));
        }
    }

    #[test]
    fn no_byte_changed_in_a_real_file_makes_the_parser_panic(at in 0usize..2000, byte in 0u8..128) {
        let mut bytes = include_bytes!("../../meshcentral-data/config.example.json").to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = parse(&String::from_utf8_lossy(&bytes), []);
    }
}
