//! Lines of live MeshCentral databases become records.

use std::fs;
use std::path::Path;

use futures_lite::future::block_on;
use serde_json::{Value, json};

use super::*;
use crate::identity::Role;
use crate::identity::password::{Verdict, verify};
use crate::model::record::LinkTarget;
use crate::model::{DomainId, GroupId, GroupKind, Millis, PasswordHash, Rights, UserId};

const VECTORS: &str = include_str!("../../tests/vectors/control-nedb.json");

fn vectors() -> Value {
    serde_json::from_str(VECTORS).unwrap()
}

fn lines(name: &str) -> String {
    let vectors = vectors();
    let lines = vectors[name].as_array().unwrap();
    lines.iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect()
}

/// A folder as MeshCentral leaves it, and an empty one of ours.
struct Move {
    source: tempfile::TempDir,
    data: tempfile::TempDir,
    store: Store,
}

impl Move {
    fn new(main: &str) -> Self {
        let (source, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(source.path().join("meshcentral.db"), main).unwrap();
        Self { source, data, store: Store::in_memory() }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.source.path().join(name), text).unwrap();
    }

    fn run(&self, dry_run: bool) -> Result<Report, ImportError> {
        let (source, data) = (self.source.path(), self.data.path());
        block_on(Import { source, export: None, data, dry_run }.run(&self.store))
    }

    fn user(&self, name: &str) -> std::rc::Rc<crate::model::User> {
        self.store.user(&UserId::new(DomainId::default(), name).unwrap()).unwrap()
    }
}

fn counts(report: &Report, sort: &str) -> (usize, usize, usize) {
    let Count { found, imported, present } = report.counts[sort];
    (found, imported, present)
}

#[test]
fn documents_alive_after_replay_are_those_of_the_vector() {
    let moved = Move::new(&lines("mainLines"));
    let path = moved.source.path().join("meshcentral.db");
    let documents = Documents::read(&path, Keys::default()).unwrap();
    let expected: Vec<_> = vectors()["finalIds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(documents.ids().collect::<Vec<_>>(), expected);
}

#[test]
fn encrypted_databases_are_read_with_the_phrase_of_their_configuration() {
    let sealed = &vectors()["dbEncryptKey"];
    let cases = sealed["lines"].as_array().unwrap();
    let text: String = cases.iter().map(|c| format!("{}\n", c["line"].as_str().unwrap())).collect();
    let moved = Move::new(&text);
    assert!(matches!(moved.run(true), Err(ImportError::Database(NedbError::Unreadable(_)))));
    let config = json!({"Settings": {"dbEncryptKey": sealed["password"]}}).to_string();
    moved.write("config.json", &config);
    let keys = files::database_keys(moved.source.path()).unwrap();
    let path = moved.source.path().join("meshcentral.db");
    let documents = Documents::read(&path, keys).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let plain: Map<String, Value> =
            serde_json::from_str(case["plain"].as_str().unwrap()).unwrap();
        let id = plain["_id"].as_str().unwrap();
        assert_eq!(documents.get(id), Some(plain.clone()), "{id}");
    }
}

#[test]
fn encrypted_records_are_opened_and_without_their_phrase_left_out() {
    let sealed = &vectors()["dbRecordsEncryptKey"];
    let record = &sealed["records"][0];
    let moved = Move::new(&format!("{}\n", record["doc"]));
    let report = moved.run(false).unwrap();
    assert!(moved.store.users(&DomainId::default()).is_empty());
    assert!(report.remarks.keys().any(|what| what.contains("dbRecordsEncryptKey")), "{report}");

    let config = json!({"settings": {"dbRecordsEncryptKey": sealed["password"]}});
    moved.write("config.json", &config.to_string());
    moved.run(false).unwrap();
    let plain: Value = serde_json::from_str(record["crypt_plain"].as_str().unwrap()).unwrap();
    let text = |name: &str| plain[name].as_str().unwrap().to_owned();
    let expected = PasswordHash::Pbkdf2 { salt: text("salt"), hash: text("hash") };
    assert_eq!(moved.user("admin").password, expected);
}

/// A device group of the captured server.
const LAB: &str = "mesh//KEa5PS6UFGlervZrNp8tnm$n$jmK9iRkn$iKGUv4dA80KcD8aJrcMzeQy5t5FaAx";

#[test]
fn accounts_keep_their_rights_passwords_and_codes() {
    let moved = Move::new(&lines("mainLines"));
    let report = moved.run(false).unwrap();
    assert_eq!(counts(&report, "accounts"), (6, 6, 0), "{report}");

    let admin = moved.user("admin");
    assert!(admin.site.is_full() && admin.email_verified);
    assert_eq!(admin.email.as_deref(), Some("a@b.c"));
    let lab: GroupId = LAB.parse().unwrap();
    let link = admin.link(&LinkTarget::Group(lab.clone())).expect("names are unescaped");
    assert_eq!((link.rights, link.notify), (Rights::FULL, 6));

    let bob = moved.user("bob");
    assert_eq!(bob.real_name.as_deref(), Some("Bobby"));
    assert_eq!(bob.link(&LinkTarget::Group(lab)).unwrap().rights.bits(), 1_196_120);
    let factors = moved.store.factors(&bob.id).unwrap();
    assert_eq!(factors.backup_codes.len(), 10);
    assert_eq!((factors.backup_codes[0].number, factors.backup_codes[0].used), (74_045_227, true));
    assert!(!factors.backup_codes[1].used);

    assert!(moved.user("lockd").site.restricted(crate::model::SiteRights::LOCKED));
    assert_eq!(moved.user("plain.user").name, "Plain.User");
    assert_eq!(moved.store.login_tokens(&admin.id).len(), 2);
    let state = moved.store.document("wsuser//admin").unwrap();
    assert!(state.text.contains("nightMode"));
}

#[test]
fn an_old_password_and_a_one_time_password_work() {
    let password = include_str!("../../tests/vectors/control-password.json");
    let password: Value = serde_json::from_str(password).unwrap();
    let known = password.as_object().unwrap().values().find_map(|value| {
        let cases = value.as_array()?;
        cases.iter().find(|case| case["hash"].is_string() && case["password"].is_string()).cloned()
    });
    let known = known.expect("a password with its hash");
    let user = json!({
        "_id": "user//eve", "type": "user", "name": "Eve", "domain": "", "creation": 5,
        "salt": known["salt"], "hash": known["hash"], "passchange": -1,
        "otpsecret": "JBSWY3DPEHPK3PXP",
        "msghandle": "telegram:@eve", "groups": ["north"], "notify": {LAB: 6, "x": 1},
    });
    let moved = Move::new(&format!("{user}\n"));
    moved.run(false).unwrap();
    let eve = moved.user("eve");
    assert_eq!(eve.messaging.as_deref(), Some("telegram:@eve"));
    assert_eq!(eve.realms, ["north"]);
    assert_eq!(eve.notify, [(LinkTarget::Group(LAB.parse().unwrap()), 6)]);
    let text = known["password"].as_str().unwrap();
    assert_eq!(verify(&eve.password, text), Verdict::RightButUpgrade);
    assert_eq!(eve.password_changed, None, "it must be changed at the next login");
    let factors = moved.store.factors(&eve.id).unwrap();
    assert_eq!(factors.totp.as_ref().unwrap().secret, b"Hello!\xDE\xAD\xBE\xEF");
}

#[test]
fn groups_devices_and_what_is_known_of_them_come_along() {
    let moved = Move::new(&lines("mainLines"));
    let report = moved.run(false).unwrap();
    assert_eq!(counts(&report, "device groups"), (4, 4, 0), "{report}");
    assert_eq!(counts(&report, "devices"), (1, 1, 0));
    assert_eq!(counts(&report, "device details"), (1, 1, 0));
    assert_eq!(counts(&report, "user groups"), (2, 2, 0));
    assert_eq!(counts(&report, "device shares"), (1, 1, 0));

    let groups = moved.store.groups(&DomainId::default());
    assert_eq!(groups.len(), 3, "a deleted group stays deleted");
    let lab = groups.iter().find(|group| group.name == "lab").unwrap();
    assert_eq!(lab.invite.as_ref().unwrap().codes, ["code1", "code2"]);
    assert_eq!((lab.consent, lab.created), (7, Millis(1_795_324_603_621)));
    assert!(groups.iter().any(|group| group.kind == GroupKind::Amt));
    let deleted = "mesh//kSmUHAmK7a3VNsFMdi7tSsS1fv3PMOo2dDsDDDMJ70VYn@Vd1zbzw1Nq$MZtnCcI";
    let deleted: GroupId = deleted.parse().unwrap();
    let policy = moved.store.amt_policy(&deleted).unwrap();
    assert_eq!((policy.kind, policy.password.as_deref()), (2, Some("P@ssw0rd!")));
    assert_eq!(moved.store.group(&deleted).unwrap().deleted, Some(Millis(1_795_325_245_251)));

    let devices = moved.store.devices(&DomainId::default());
    let vm = &devices[0];
    assert_eq!((vm.name.as_str(), &vm.group), ("vm", &lab.id));
    assert_eq!(vm.agent.as_ref().unwrap().caps, 31);
    assert_eq!(vm.os.as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
    let seen = moved.store.last_seen(&vm.id).unwrap();
    assert_eq!((seen.time, seen.addr.as_str()), (Millis(1_795_325_404_848), "127.0.0.1:52125"));
    let system = block_on(moved.store.detail(&vm.id, crate::store::DetailKind::System)).unwrap();
    let system: Value = serde_json::from_slice(&system.json).unwrap();
    assert_eq!(system["hardware"]["identifiers"]["board_name"], "Pi 4");
    assert_eq!(system["hash"], "00112233");

    let key = moved.store.secret(LOGIN_KEY).unwrap();
    assert_eq!(key.bytes[..4], [0xd2, 0x8c, 0xa0, 0x47]);
}

#[test]
fn intel_amt_logins_are_kept_apart_from_what_is_shown() {
    let group = format!("mesh//{}", "a".repeat(64));
    let group_line = json!({"_id": group, "type": "mesh", "name": "amt", "mtype": 1, "domain": ""});
    let node = json!({
        "_id": format!("node//{}", "b".repeat(64)), "type": "node", "meshid": group, "mtype": 1,
        "name": "pc", "domain": "", "host": "192.168.1.6", "conn": 4, "pwr": 1,
        "intelamt": {"user": "admin", "pass": "P@ssw0rd1", "tls": 1, "ver": "15.0.1"},
    });
    let moved = Move::new(&format!("{group_line}\n{node}\n"));
    let report = moved.run(false).unwrap();
    assert!(report.remarks.is_empty(), "{report}");
    let device = moved.store.devices(&DomainId::default()).remove(0);
    let access = moved.store.amt_access(&device.id).unwrap();
    assert_eq!((access.user.as_str(), access.password.as_str()), ("admin", "P@ssw0rd1"));
    assert!(access.tls);
    let shown = serde_json::to_string(&device.extra).unwrap();
    assert!(shown.contains("15.0.1") && !shown.contains("P@ssw0rd1"), "{shown}");
}

#[test]
fn history_comes_along_once() {
    let moved = Move::new(&lines("mainLines"));
    moved.write("meshcentral-events.db", &lines("eventLines"));
    moved.write("meshcentral-power.db", &lines("powerLines"));
    let report = moved.run(false).unwrap();
    let (found, imported, present) = counts(&report, "events");
    assert!(found > 20 && imported == found && present == 0, "{report}");
    assert_eq!(counts(&report, "power changes"), (1, 1, 0));

    let query = EventQuery { limit: 1000, ..EventQuery::default() };
    let events = block_on(moved.store.events(query.clone()));
    assert_eq!(events.len(), imported);
    assert!(events.is_sorted_by(|a, b| a.time >= b.time), "newest first");
    let moves = events.iter().find(|past| past.event.action == "nodemeshchange").unwrap();
    assert_eq!(moves.event.body["msg"], "Moved device vm to group lab");
    assert!(moves.event.node.is_some() && moves.event.targets.contains(&model::Target::All));
    let device = moved.store.devices(&DomainId::default()).remove(0);
    assert_eq!(block_on(moved.store.power(&device.id)).len(), 1);

    let again = moved.run(false).unwrap();
    assert_eq!(counts(&again, "events"), (found, 0, found));
    assert_eq!(counts(&again, "power changes"), (1, 0, 1));
    assert_eq!(block_on(moved.store.events(query)).len(), imported);
}

#[test]
fn a_second_import_changes_nothing_and_a_dry_run_nothing_at_all() {
    let moved = Move::new(&lines("mainLines"));
    moved.write("root-cert-public.crt", "certificate");
    let dry = moved.run(true).unwrap();
    assert_eq!(counts(&dry, "accounts"), (6, 6, 0));
    assert_eq!(dry.files.len(), 1);
    assert!(moved.store.users(&DomainId::default()).is_empty());
    assert!(!moved.data.path().join("root-cert-public.crt").exists());

    moved.run(false).unwrap();
    let mut carol = (*moved.user("carol")).clone();
    carol.real_name = Some("changed here".into());
    moved.store.put(carol).later();
    let again = moved.run(false).unwrap();
    for (sort, count) in &again.counts {
        assert_eq!((count.imported, count.present), (0, count.found), "{sort}");
    }
    assert!(again.files.is_empty());
    assert_eq!(moved.user("carol").real_name.as_deref(), Some("changed here"));
}

#[test]
fn certificates_are_taken_over_unless_devices_know_others() {
    let moved = Move::new(&lines("mainLines"));
    let ours = Role::AgentServer.cert_path(moved.data.path());
    fs::write(Role::AgentServer.cert_path(moved.source.path()), "theirs").unwrap();
    fs::write(&ours, "ours").unwrap();
    let report = moved.run(false).unwrap();
    assert_eq!(fs::read_to_string(&ours).unwrap(), "theirs");
    let aside = Path::new(&format!("{}.before-import", ours.display())).to_owned();
    assert_eq!(fs::read_to_string(aside).unwrap(), "ours");
    assert!(report.files[0].contains(".before-import"), "{report}");

    // Now there are devices, which pin it.
    fs::write(&ours, "another").unwrap();
    assert!(matches!(moved.run(false), Err(ImportError::OtherServer { devices: 1, .. })));
    assert_eq!(fs::read_to_string(&ours).unwrap(), "another");
}

#[test]
fn damage_is_reported_and_the_rest_is_read() {
    let mut text = lines("mainLines");
    text.push_str("{\"_id\":\"user//cut\",\"type\":\"us");
    let moved = Move::new(&text);
    let report = moved.run(false).unwrap();
    assert_eq!(counts(&report, "accounts"), (6, 6, 0));
    assert!(report.remarks.keys().any(|what| what.contains("1 damaged lines")), "{report}");
}

#[test]
fn the_copy_that_nedb_was_making_is_read_if_the_file_is_gone() {
    let moved = Move::new("");
    let path = moved.source.path();
    fs::remove_file(path.join("meshcentral.db")).unwrap();
    assert!(matches!(moved.run(true), Err(ImportError::NoDatabase(_))));
    moved.write("meshcentral.db~", &lines("mainLines"));
    assert_eq!(counts(&moved.run(false).unwrap(), "accounts"), (6, 6, 0));
}

#[test]
fn an_export_is_read_like_the_folder() {
    let moved = Move::new("");
    let documents: Vec<Value> = lines("mainLines")
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|document: &Value| document["$$deleted"].is_null() && document["_id"].is_string())
        .collect();
    moved.write("export.json", &Value::Array(documents).to_string());
    let (source, data) = (moved.source.path(), moved.data.path());
    let file = source.join("export.json");
    let run = |export: &Path| {
        let import = Import { source, export: Some(export), data, dry_run: false };
        block_on(import.run(&moved.store))
    };
    assert_eq!(counts(&run(&file).unwrap(), "accounts"), (6, 6, 0));
    moved.write("export.json", "{}");
    assert!(matches!(run(&file), Err(ImportError::NoExport(_))));
}

#[test]
fn hostile_documents_leave_a_remark_and_nothing_else() {
    let text = [
        json!({"_id": "user//x", "type": "user", "links": [1], "siteadmin": "all", "otpkeys": 3}),
        json!({"_id": "user//a blank", "type": "user"}),
        json!({"_id": "node//short", "type": "node"}),
        json!({"_id": "mesh//short", "type": "mesh", "mtype": 99}),
        json!({"_id": "sinode//short", "type": "sysinfo"}),
        json!({"_id": "whatever", "surprise": true}),
        json!({"_id": "wsuser//x", "state": "x".repeat(70_000)}),
    ];
    let text: String = text.iter().map(|line| format!("{line}\n")).collect();
    let moved = Move::new(&text);
    let report = moved.run(false).unwrap();
    assert_eq!(counts(&report, "accounts"), (2, 1, 0), "{report}");
    assert!(moved.user("x").links.is_empty() && moved.user("x").site.is_empty());
    assert_eq!(counts(&report, "devices"), (1, 0, 0));
    assert!(report.remarks.len() >= 6, "{report}");
}
