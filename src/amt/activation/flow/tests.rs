use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::*;
use crate::amt::activation::log::Line;
use crate::amt::activation::testing::{self, VALID};
use crate::amt::digest::{Credentials, password_hash};
use crate::model::{AmtPolicy, DomainId, GroupId, Key48};

const REALM: &str = "Digest:A4070000000000000000000000000000";
const PASSWORD: &str = "P@ssw0rd1";
/// The hash of the certificate firmware shows while it is set up over TLS.
const SHOWN: &str = "e6d4a0ced5e938b57c01b9cadfed3245a4660ce5bc4188b48c33b3c4f6057480";

/// A computer: its firmware, which checks what real firmware checks, and the program on it.
struct Computer {
    state: State,
    nonce: Vec<u8>,
    modes: usize,
    /// What `stopConfiguration` returns.
    stopped: i64,
    taken: Vec<Vec<u8>>,
    admin: Option<String>,
    /// Calls and words, in order.
    seen: Vec<String>,
    lines: Vec<Line>,
    kept: Vec<Login>,
    outcome: Option<Outcome>,
    /// The log cannot be written.
    is_full: bool,
    /// The answer to this call is lost, after it was done or before.
    loses: Option<(&'static str, bool)>,
    /// Set up over TLS: whom to expect, the password that is not committed, times it is busy,
    /// whether its menu has to have a password.
    expects: Option<String>,
    pending: Option<String>,
    busy: u8,
    lacks_menu: bool,
    /// This call returns this.
    refuses: Option<(&'static str, u32)>,
    /// The server loses power before the effect of this number.
    cut: usize,
    now: Instant,
    began: Instant,
}

impl Computer {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            state: testing::state(),
            nonce: vec![7; 20],
            modes: 2,
            stopped: 3,
            taken: Vec::new(),
            admin: None,
            seen: Vec::new(),
            lines: Vec::new(),
            kept: Vec::new(),
            outcome: None,
            is_full: false,
            loses: None,
            expects: None,
            pending: None,
            busy: 0,
            lacks_menu: false,
            refuses: None,
            cut: usize::MAX,
            now,
            began: now,
        }
    }

    /// With firmware of this version.
    fn of_version(version: &str) -> Self {
        let mut computer = Self::new();
        computer.state.version = version.into();
        computer
    }

    fn activated(mode: Mode, password: &str) -> Self {
        let mut computer = Self::new();
        (computer.state.is_activated, computer.state.mode) = (true, mode);
        computer.admin = Some(hash(password));
        computer
    }

    /// A visit, until it ends, the power goes, or nothing happens any more.
    fn visit(&mut self, kind: u8, change: impl Fn(&mut Setting)) -> &Outcome {
        let who = Who { uuid: self.state.uuid.clone(), ..Who::default() };
        let passwords = self.lines.iter().rev().filter_map(|line| line.password.clone());
        let logged = passwords.map(|password| Login { user: ADMIN.into(), password });
        let mut setting = Setting {
            who,
            policy: Some(policy(kind, Some(PASSWORD))),
            certificates: vec![Arc::new(testing::certificate())],
            logins: self.kept.clone(),
            accounts: Vec::new(),
            logged: logged.collect(),
            over_tls: OverTls::WhereNeeded,
            state: self.state.clone(),
        };
        change(&mut setting);
        let mut flow = Flow::new(setting);
        flow.begin(self.now, VALID);
        self.outcome = None;
        for step in 0..200 {
            if step >= self.cut {
                let text = "the power is gone".into();
                return self.outcome.insert(Outcome { is_success: false, text });
            }
            match flow.next_effect() {
                Some(effect) => self.apply(effect, &mut flow),
                None if self.outcome.is_some() => break,
                None => {
                    self.now = flow.deadline().expect("it waits for something");
                    flow.expire(self.now, VALID);
                }
            }
        }
        self.outcome.as_ref().expect("every visit ends")
    }

    fn apply(&mut self, effect: Effect, flow: &mut Flow) {
        match effect {
            Effect::Tell(said) => self.told(&said, flow),
            Effect::Call(call) => self.called(call, flow),
            Effect::Sign(data) => {
                let signature = flow.certificate().unwrap().sign(&data).ok();
                flow.signed(signature, self.now);
            }
            Effect::Write(line) => {
                self.seen.push("write".into());
                if !self.is_full {
                    self.lines.push(*line);
                }
                flow.written(!self.is_full, self.now);
            }
            Effect::Note(line) => self.seen.push(line.action.clone()),
            Effect::Requested { suffix, over_tls } => {
                let how = if over_tls { "TLS requested" } else { "requested" };
                self.seen.push(format!("{how} for {suffix}"));
            }
            Effect::Activated(login, realm, mode) => {
                assert_eq!((mode, &*realm), (self.state.mode, REALM));
                self.kept = vec![login];
            }
            Effect::Works(login) => self.kept = vec![login],
            Effect::Deactivated => self.kept.clear(),
            Effect::End(outcome) => self.outcome = Some(outcome),
        }
    }

    fn told(&mut self, said: &Value, flow: &mut Flow) {
        let action = said["action"].as_str().unwrap();
        if action != "console" {
            self.seen.push(action.into());
        }
        let value = match action {
            "stopConfiguration" => {
                let is_begun = self.expects.take().is_some();
                self.pending = None;
                let stopped = std::mem::replace(&mut self.stopped, 3);
                json!(if is_begun { 0 } else { stopped })
            }
            "startTlsHostConfig" if self.busy > 0 => {
                self.busy -= 1;
                json!({"status": 48})
            }
            "startTlsHostConfig" => {
                let vector = testing::vector("activation-acm-signature");
                assert_eq!(said["hash"], vector["leaf_sha256"]);
                (self.expects, self.pending) = (said["hash"].as_str().map(str::to_owned), None);
                json!({"status": 0, "hash": SHOWN.to_uppercase()})
            }
            "deactivate" if self.state.mode == Mode::Client => {
                (self.state.is_activated, self.state.mode) = (false, Mode::None);
                (self.admin, self.pending) = (None, None);
                json!(0)
            }
            "deactivate" => json!(1),
            "mestate" => self.report(),
            _ => return,
        };
        let action = if action == "mestate" { "meiState" } else { action };
        let answer = json!({"action": action, "value": value});
        flow.heard(answer.as_object().unwrap(), self.now, VALID);
    }

    fn report(&self) -> Value {
        let mut report = testing::vector("activation-json-control")["mei_state_example"].clone();
        report["Flags"] = self.state.mode.flags().into();
        report["ProvisioningState"] = match (self.state.is_activated, &self.expects) {
            (true, _) => 2.into(),
            (false, Some(_)) => 1.into(),
            (false, None) => 0.into(),
        };
        report["Versions"]["AMT"] = self.state.version.clone().into();
        report
    }

    fn called(&mut self, call: Call, flow: &mut Flow) {
        let name = format!("{call:?}");
        self.seen.push(name.clone());
        let loses = self.loses.filter(|(lost, _)| *lost == name);
        self.reached(&call, &flow.way(&call));
        let lost = Err(Silence::Lost("the connection broke".into()));
        let answer = match (loses, self.refuses.filter(|(call, _)| *call == name)) {
            (Some((_, false)), _) => lost,
            (Some((_, true)), _) => {
                let _ = self.answer(call);
                lost
            }
            (None, Some((_, value))) => Ok(Answer::Returned(value)),
            (None, None) => self.answer(call),
        };
        self.loses = self.loses.filter(|_| loses.is_none());
        flow.answered(answer, self.now, VALID);
    }

    /// Every call comes on the channel firmware takes it on, from whom it takes it.
    fn reached(&self, call: &Call, way: &Way) {
        let user = way.login.as_ref().map_or("", |login| &login.user);
        let is_introduced = matches!(&way.channel, Channel::Introduced { certificate, hash }
            if certificate.for_tls().chain == testing::certificate().chain && hash == SHOWN);
        let is_tls_only = self.state.is_tls_only();
        match call {
            Call::ReadRealm | Call::SetPassword { .. } | Call::SetMenuPassword(_) => {
                assert!(is_introduced && user == ADMIN, "{call:?}");
            }
            Call::Commit if self.expects.is_some() => assert!(is_introduced && user == ADMIN),
            Call::Commit => {
                assert!(matches!(way.channel, Channel::Tls) && user == ADMIN);
                let login = way.login.as_ref().unwrap();
                assert_eq!(self.admin, Some(hash(&login.password)));
            }
            _ if is_tls_only => assert!(matches!(way.channel, Channel::Tls), "{call:?}"),
            _ => assert!(matches!(way.channel, Channel::Plain), "{call:?}"),
        }
    }

    /// As firmware does.
    fn answer(&mut self, call: Call) -> Result<Answer, Silence> {
        let value = match call {
            Call::Read => {
                let (nonce, mode) = (self.nonce.clone(), self.state.mode);
                self.taken.clear();
                return Ok(Answer::Read { realm: REALM.into(), nonce, modes: self.modes, mode });
            }
            Call::LogIn(login) => {
                return match self.admin.as_ref() == Some(&hash(&login.password)) {
                    true => Ok(Answer::LoggedIn { realm: REALM.into() }),
                    false => Err(Silence::Credentials),
                };
            }
            Call::Manage { activated_over_tls, login } => {
                assert_eq!(self.admin, Some(hash(&login.password)));
                assert!(!activated_over_tls || self.count("CommitChanges") > 0);
                return Ok(Answer::Managed);
            }
            Call::ReadRealm => return Ok(Answer::LoggedIn { realm: REALM.into() }),
            Call::SetPassword { password } => {
                let hash = BASE64.decode(password.as_bytes()).unwrap();
                self.pending = Some(HEXLOWER.encode(&hash));
                0
            }
            Call::SetMenuPassword(_) => {
                self.lacks_menu = false;
                0
            }
            Call::Commit if self.lacks_menu => 2057,
            Call::Commit => match (self.expects.take(), self.pending.take()) {
                (Some(_), Some(password)) => {
                    (self.state.is_activated, self.state.mode) = (true, Mode::Admin);
                    self.admin = Some(password);
                    0
                }
                (None, None) if self.state.mode == Mode::Client => {
                    self.state.is_activated = true;
                    0
                }
                _ => 2,
            },
            Call::AddCertificate { certificate, is_leaf, is_root } => {
                let chain = testing::certificate().chain;
                assert_eq!(certificate, chain[self.taken.len()], "in order");
                assert_eq!((is_leaf, is_root), (self.taken.is_empty(), certificate == chain[3]));
                self.taken.push(certificate);
                0
            }
            Call::AdminSetup { password, nonce, signature } => {
                let leaf = crate::identity::certificate::public_key(&self.taken[0]).unwrap();
                let decode = |text: &str| BASE64.decode(text.as_bytes()).unwrap();
                let own = decode(&nonce);
                assert_eq!((own.len(), self.taken.len()), (20, 4));
                let signed = [self.nonce.as_slice(), &own].concat();
                let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, leaf);
                key.verify(&signed, &decode(&signature)).expect("the firmware's nonce comes first");
                self.set_up(Mode::Admin, password)
            }
            Call::Setup { password } => self.set_up(Mode::Client, password),
        };
        Ok(Answer::Returned(value))
    }

    fn set_up(&mut self, mode: Mode, password: String) -> u32 {
        if self.state.mode != Mode::None {
            return 2;
        }
        // From 19 on only what is committed holds.
        (self.state.is_activated, self.state.mode) = (!self.state.is_tls_only(), mode);
        self.nonce = vec![9; 20];
        self.admin = Some(password);
        0
    }

    fn count(&self, what: &str) -> usize {
        self.seen.iter().filter(|seen| *seen == what).count()
    }
}

fn policy(kind: u8, password: Option<&str>) -> AmtPolicy {
    AmtPolicy {
        group: GroupId::new(DomainId::default(), Key48([1; 48])),
        kind,
        password: password.map(str::to_owned),
        bad_password: 0,
        cira: 0,
        client_mode: 0,
    }
}

fn hash(password: &str) -> String {
    let credentials = Credentials { user: ADMIN.into(), password: password.into() };
    HEXLOWER.encode(&password_hash(&credentials, REALM))
}

#[test]
fn the_password_is_in_the_log_before_the_firmware_hears_of_it() {
    let mut computer = Computer::new();
    assert_eq!(computer.visit(3, |_| {}).text, "Done.");
    let seen: Vec<_> = computer.seen.iter().map(String::as_str).collect();
    let chain = ["AddNextCertInChain"; 4];
    let before = ["stopConfiguration", "Read", "write", "requested for lab.example.com"];
    let after = ["AdminSetup", "acmactivate-success", "mestate", "LogIn", "Manage", "close"];
    assert_eq!(seen, [&before[..], &chain, &after].concat());
    let line = &computer.lines[0];
    let expected = testing::vector("activation-acm-signature");
    assert_eq!(line.password.as_deref(), Some(PASSWORD));
    assert_eq!(line.cert_hash.as_deref(), expected["root_sha256"].as_str());
    assert_eq!((line.action.as_str(), line.hash_type.as_deref()), ("acmactivate", Some("sha256")));
    assert_eq!(computer.admin.as_deref(), expected["digest_md5_hex"].as_str());
    assert_eq!(computer.kept[0].password, PASSWORD);
}

#[test]
fn a_half_done_configuration_is_stopped_and_waited_for() {
    let mut computer = Computer::new();
    computer.stopped = 0;
    assert!(computer.visit(3, |_| {}).is_success);
    assert_eq!(computer.now - computer.began, CLEARED + READY + ACTIVATED);
    assert_eq!(computer.count("mestate"), 2);
}

#[test]
fn what_the_group_wants_is_done_if_the_computer_allows_it() {
    let other_roots = |setting: &mut Setting| setting.state.roots = vec!["00".into()];
    let no_match = "No opportunity for ACM activation: Certificate root hash matching failed";
    let with = |mode| {
        move |setting: &mut Setting| {
            other_roots(setting);
            setting.policy.as_mut().unwrap().client_mode = mode;
        }
    };
    type Change = Box<dyn Fn(&mut Setting)>;
    let no_change: fn(&mut Setting) = |_| {};
    let cases: [(Mode, u8, Change, Mode, &str); 14] = [
        (Mode::None, 0, Box::new(no_change), Mode::None, "nothing is to be done"),
        (Mode::None, 1, Box::new(no_change), Mode::None, "nothing is to be done"),
        (Mode::None, 2, Box::new(no_change), Mode::Client, "Done."),
        (Mode::None, 3, Box::new(no_change), Mode::Admin, "Done."),
        (Mode::None, 4, Box::new(no_change), Mode::Admin, "Done."),
        (Mode::None, 3, Box::new(with(0)), Mode::None, no_match),
        (Mode::None, 3, Box::new(with(1)), Mode::None, no_match),
        (Mode::None, 3, Box::new(with(2)), Mode::Client, "Done."),
        (Mode::None, 4, Box::new(other_roots), Mode::Client, "Done."),
        (Mode::Client, 1, Box::new(no_change), Mode::None, "Done."),
        (Mode::Client, 2, Box::new(no_change), Mode::Client, "Done."),
        (Mode::Client, 3, Box::new(no_change), Mode::Admin, "Done."),
        (Mode::Client, 3, Box::new(with(1)), Mode::None, "Done."),
        (Mode::Admin, 1, Box::new(no_change), Mode::Admin, "Done."),
    ];
    for (before, policy, change, after, text) in cases {
        let mut computer = match before {
            Mode::None => Computer::new(),
            mode => Computer::activated(mode, PASSWORD),
        };
        computer.kept = vec![Login { user: ADMIN.into(), password: PASSWORD.into() }];
        let outcome = computer.visit(policy, change).clone();
        assert!(outcome.text.contains(text), "{before:?} with {policy}: {outcome:?}");
        assert_eq!(computer.state.mode, after, "{before:?} with {policy}");
        assert_eq!(computer.count("close"), 1);
        assert!(computer.count("AdminSetup") + computer.count("Setup") <= 1);
    }
}

#[test]
fn without_the_log_nothing_is_told_to_the_firmware() {
    for policy in [2, 3, 4] {
        let mut computer = Computer { is_full: true, ..Computer::new() };
        let outcome = computer.visit(policy, |_| {});
        assert_eq!(outcome.text, "Unable to log operation.");
        assert_eq!(computer.seen.last().map(String::as_str), Some("close"));
        for call in ["AddNextCertInChain", "AdminSetup", "Setup"] {
            assert_eq!(computer.count(call), 0);
        }
    }
}

#[test]
fn failures_are_sentences_people_can_act_on() {
    let same: fn(&mut Setting) = |_| {};
    let refuses = |call, value| Computer { refuses: Some((call, value)), ..Computer::new() };
    let loses = |call| Computer { loses: Some((call, false)), ..Computer::new() };
    let mut mute = Computer::new();
    mute.nonce.clear();
    type Case = (&'static str, Computer, fn(&mut Setting));
    let cases: [Case; 11] = [
        ("too old to support ACM", Computer::new(), |s| s.state.core_version = 0),
        ("no local login", Computer::new(), |s| s.state.local = None),
        ("No matching ACM activation certificate for \"a.org\"", Computer::new(), |s| {
            s.state.suffix = Some("a.org".into())
        }),
        ("does not have any ACM activation certificates", Computer::new(), |s| {
            s.certificates.clear()
        }),
        ("needs 8 to 32", Computer::new(), |s| {
            s.policy.as_mut().unwrap().password = Some("Password1".into())
        }),
        (
            "Failed to complete ACM activation (ERR/5): authentication failed",
            refuses("AdminSetup", 5),
            same,
        ),
        (
            "Failed to set ACM certificate chain (ERR/2063)",
            refuses("AddNextCertInChain", 2063),
            same,
        ),
        ("ACM certificate chain: the connection broke", loses("AddNextCertInChain"), same),
        ("Failed to get Intel AMT state: the connection broke", loses("Read"), same),
        ("server forbids (tlsConnections)", Computer::new(), |s| {
            (s.state.version, s.over_tls) = ("19.0.5".into(), OverTls::Never)
        }),
        ("it makes no sense", mute, same),
    ];
    for (text, mut computer, change) in cases {
        let outcome = computer.visit(3, change).clone();
        assert!(!outcome.is_success && outcome.text.contains(text), "{text}: {outcome:?}");
        assert_eq!(computer.state.mode, Mode::None);
        assert_eq!(computer.seen.last().map(String::as_str), Some("close"));
    }
}

#[test]
fn a_lost_answer_is_asked_for_and_never_given_twice() {
    for (policy, call, mode) in [(3, "AdminSetup", Mode::Admin), (2, "Setup", Mode::Client)] {
        let mut computer = Computer { loses: Some((call, true)), ..Computer::new() };
        assert_eq!(computer.visit(policy, |_| {}).text, "Done.", "it had been done");
        assert_eq!((computer.state.mode, computer.count(call)), (mode, 1));
        let mut computer = Computer { loses: Some((call, false)), ..Computer::new() };
        let outcome = computer.visit(policy, |_| {});
        assert!(outcome.text.ends_with("no answer came."), "{outcome:?}");
        assert_eq!((computer.state.mode, computer.count(call)), (Mode::None, 1));
    }
}

#[test]
fn a_power_cut_at_any_step_is_mended_by_the_next_visit() {
    for (policy, version) in [(2, "16.1"), (3, "16.1"), (4, "16.1"), (2, "19.0"), (3, "19.0")] {
        let wanted = if policy == 2 { Mode::Client } else { Mode::Admin };
        let mut cuts = 0;
        for cut in 0..60 {
            let mut computer = Computer { cut, ..Computer::of_version(version) };
            // Without a fixed password, so that only the log knows what was set.
            let random = |setting: &mut Setting| setting.policy.as_mut().unwrap().password = None;
            computer.visit(policy, random);
            cuts += usize::from(computer.outcome.as_ref().unwrap().text == "the power is gone");
            computer.cut = usize::MAX;
            let outcome = computer.visit(policy, random).clone();
            assert!(outcome.is_success, "cut {cut} with {policy}, {version}: {outcome:?}");
            assert_eq!((computer.state.mode, computer.state.is_activated), (wanted, true));
            let known = &computer.kept[0].password;
            assert_eq!(computer.admin, Some(hash(known)), "its password is known");
        }
        assert!(cuts > 10, "the power went {cuts} times");
    }
}

#[test]
fn firmware_is_set_up_over_tls_where_it_must_be_or_the_owner_wants_it() {
    for (version, over_tls, is_secure) in [
        ("13.0", OverTls::WherePossible, false),
        ("14.0", OverTls::WherePossible, true),
        ("18.1", OverTls::WhereNeeded, false),
        ("18.1", OverTls::Never, false),
        ("19.0", OverTls::WhereNeeded, true),
    ] {
        let mut computer = Computer::of_version(version);
        let outcome = computer.visit(3, |setting| setting.over_tls = over_tls).clone();
        assert_eq!(outcome.text, "Done.", "{version}");
        assert_eq!((computer.state.mode, &computer.admin), (Mode::Admin, &Some(hash(PASSWORD))));
        assert_eq!(computer.count("startTlsHostConfig"), usize::from(is_secure), "{version}");
        assert_eq!(computer.count("AdminSetup"), usize::from(!is_secure), "{version}");
    }
}

#[test]
fn over_tls_too_the_password_is_in_the_log_before_the_firmware_hears_of_it() {
    let mut computer = Computer { busy: 2, lacks_menu: true, ..Computer::of_version("19.0.5") };
    assert_eq!(computer.visit(3, |_| {}).text, "Done.");
    assert_eq!(computer.now - computer.began, 2 * CLEARED / 3 + ACTIVATED, "it was busy twice");
    let seen: Vec<_> = computer.seen.iter().map(String::as_str).collect();
    let introduced = ["startTlsHostConfig"; 3];
    let before = ["ReadRealm", "write", "TLS requested for lab.example.com"];
    let after = ["SetAdminAclEntryEx", "CommitChanges", "SetMEBxPassword", "CommitChanges"];
    let end = ["acmactivate-tls-success", "mestate", "LogIn", "Manage", "close"];
    assert_eq!(seen, [&introduced[..], &before, &after, &end].concat());
    let line = serde_json::to_value(&computer.lines[0]).unwrap();
    assert_eq!((&line["action"], &line["password"]), (&json!("acmactivate-tls"), &json!(PASSWORD)));
    assert_eq!(line.get("certHash"), None, "as MeshCentral writes it");
    assert_eq!(computer.kept[0].password, PASSWORD);
}

#[test]
fn what_fails_over_tls_is_taken_back() {
    let new = || Computer::of_version("19.0.5");
    let refuses = |call, value| Computer { refuses: Some((call, value)), ..new() };
    let lost = |call| Computer { loses: Some((call, false)), ..new() };
    for (text, mut computer, policy) in [
        ("status = 48: Intel AMT is still making its key", Computer { busy: 9, ..new() }, 3),
        ("Unable to log operation.", Computer { is_full: true, ..new() }, 3),
        ("ACM TLS connection: the connection broke", lost("ReadRealm"), 3),
        ("set admin password (ERR/2054)", refuses("SetAdminAclEntryEx", 2054), 3),
        ("set admin password: the connection broke", lost("SetAdminAclEntryEx"), 3),
        (
            "set MEBx password (ERR/36)",
            Computer { lacks_menu: true, ..refuses("SetMEBxPassword", 36) },
            3,
        ),
        ("complete ACM activation (ERR/1): internal error", refuses("CommitChanges", 1), 3),
        ("complete ACM activation: no answer came", lost("CommitChanges"), 3),
        ("activate Intel AMT to CCM (ERR/1)", refuses("CommitChanges", 1), 2),
    ] {
        let outcome = computer.visit(policy, |_| {}).clone();
        assert!(!outcome.is_success && outcome.text.contains(text), "{text}: {outcome:?}");
        assert_eq!((computer.state.mode, computer.state.is_activated), (Mode::None, false));
        assert_eq!((&computer.expects, &computer.pending), (&None, &None), "{text}");
        let undo = if policy == 2 { "deactivate" } else { "stopConfiguration" };
        let last: Vec<_> = computer.seen.iter().rev().take(2).map(String::as_str).collect();
        assert_eq!(last, ["close", undo], "{text}");
        (computer.refuses, computer.busy, computer.is_full) = (None, 0, false);
        assert!(computer.visit(policy, |_| {}).is_success, "after {text}");
    }
}

#[test]
fn an_answer_to_the_last_call_over_tls_may_be_lost() {
    for (policy, mode) in [(2, Mode::Client), (3, Mode::Admin)] {
        let mut computer = Computer::of_version("19.0.5");
        computer.loses = Some(("CommitChanges", true));
        assert_eq!(computer.visit(policy, |_| {}).text, "Done.", "it had been done");
        assert_eq!((computer.state.mode, computer.count("CommitChanges")), (mode, 1));
    }
}

#[test]
fn what_programs_say_of_a_driver_that_fails_is_understood() {
    for (value, text) in [
        (json!({"state": -103}), "driver of the computer does not answer"),
        (json!({"status": -100}), "status = -100: the computer has no Intel ME driver"),
        (json!({"status": -101}), "status = -101: the program on the computer could not"),
        (json!({"status": 1024}), "status = 1024: disabled by policy"),
        (json!({"status": 0}), "was not told"),
        (json!({"status": 0, "hash": "E4D0"}), "was not told"),
        (json!(null), "driver of the computer does not answer"),
    ] {
        let mut flow = Flow::new(Setting {
            who: Who::default(),
            policy: Some(policy(3, None)),
            certificates: vec![Arc::new(testing::certificate())],
            logins: Vec::new(),
            accounts: Vec::new(),
            logged: Vec::new(),
            over_tls: OverTls::WherePossible,
            state: testing::state(),
        });
        let now = Instant::now();
        flow.begin(now, VALID);
        let answer = json!({"action": "startTlsHostConfig", "value": value});
        flow.heard(answer.as_object().unwrap(), now, VALID);
        assert_eq!(flow.deadline(), Some(now + PROGRAM), "for what was begun to be taken back");
        flow.expire(now + PROGRAM, VALID);
        let mut last = None;
        while let Some(effect) = flow.next_effect() {
            last = Some(effect);
        }
        let Some(Effect::End(outcome)) = last else { panic!("{last:?}") };
        assert!(outcome.text.contains(text), "{value}: {}", outcome.text);
    }
}

#[test]
fn a_password_that_works_and_is_not_the_newest_of_the_log_is_logged() {
    let login = |password: &str| Login { user: ADMIN.into(), password: password.into() };
    for (logged, known, accounts, expected) in [
        (vec![], vec![login(PASSWORD)], vec![], 0),
        (vec![login(PASSWORD)], vec![], vec![], 0),
        (vec![login("older")], vec![login(PASSWORD)], vec![], 1),
        (vec![login("newer"), login(PASSWORD)], vec![], vec![], 1),
        (vec![login("older")], vec![], vec![login("other"), login(PASSWORD)], 1),
    ] {
        let mut computer = Computer::activated(Mode::Client, PASSWORD);
        let outcome = computer.visit(2, |setting| {
            setting.policy.as_mut().unwrap().password = None;
            (setting.logged, setting.logins) = (logged.clone(), known.clone());
            setting.accounts = accounts.clone();
        });
        assert!(outcome.is_success, "{outcome:?}");
        assert_eq!(computer.count("amtpassword"), expected, "{logged:?} {known:?}");
    }
}

#[test]
fn an_activated_computer_whose_password_nobody_knows_is_left_alone_or_begun_anew() {
    let mut computer = Computer::activated(Mode::Client, "S0mething!");
    let outcome = computer.visit(2, |_| {}).clone();
    assert_eq!(outcome.text, "Intel AMT accepts none of the known passwords.");
    let anew = |setting: &mut Setting| setting.policy.as_mut().unwrap().bad_password = 1;
    assert!(computer.visit(2, anew).is_success);
    assert_eq!(computer.admin, Some(hash(PASSWORD)));
    let mut computer = Computer::activated(Mode::Admin, "S0mething!");
    assert!(!computer.visit(4, anew).is_success, "admin control mode is not undone");
    let given = Some(Login { user: ADMIN.into(), password: "S0mething!".into() });
    let outcome = computer.visit(4, |setting| setting.state.given = given.clone());
    assert!(outcome.is_success, "a person knew it");
    assert_eq!(computer.kept[0].password, "S0mething!");
}

#[test]
fn a_program_that_does_not_answer_is_not_waited_for_for_ever() {
    let mut flow = Flow::new(Setting {
        who: Who::default(),
        policy: Some(policy(3, None)),
        certificates: vec![Arc::new(testing::certificate())],
        logins: Vec::new(),
        accounts: Vec::new(),
        logged: Vec::new(),
        over_tls: OverTls::WhereNeeded,
        state: testing::state(),
    });
    let now = Instant::now();
    flow.begin(now, VALID);
    assert_eq!(flow.deadline(), Some(now + PROGRAM));
    flow.expire(now + PROGRAM, VALID);
    let mut last = None;
    while let Some(effect) = flow.next_effect() {
        last = Some(effect);
    }
    let Some(Effect::End(outcome)) = last else { panic!("{last:?}") };
    assert_eq!(outcome.text, "The program on the computer does not answer.");
    assert_eq!(flow.deadline(), None);
}
