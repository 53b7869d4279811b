//! Agents that lie, repeat themselves, or are there twice. Whoever is not let in is held: silence,
//! but pings are answered, because a closed agent comes back at once, for ever.

use ring::digest::{SHA384, digest};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use serde_json::json;

use super::common::simulated::Group;
use super::peer::{Forger, Raw, frame};
use super::{House, agent, is_connected};

#[test]
fn an_agent_without_the_agent_key_is_held_and_one_with_it_gets_in() {
    let house = House::open_with(json!({ "domains": { "": { "agentKey": "sesame" } } }));
    for (path, expected) in
        [("/agent.ashx", false), ("/agent.ashx?key=x", false), ("/agent.ashx?key=sesame", true)]
    {
        let mut forger = Forger::connect(house.port(), path, agent(1), house.group);
        assert_eq!(forger.talk(|_, _| {}), expected, "{path}");
    }
    house.refused("agent_key", 2);
    house.server.wait_for_log("its agent key is missing or wrong");
}

#[test]
fn whoever_cannot_prove_who_it_is_is_held_in_silence() {
    let house = House::open();
    let neighbour = house.agent(0);
    let elliptic = elliptic_certificate();
    let weak = Weak::new();
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>, &[u8]);
    let attempts: [(&str, &str, Change<'_>); 5] = [
        ("a wrong signature", "its signature is wrong", &|m, _| {
            if m.starts_with(&[0, 2]) {
                *m.last_mut().expect("not empty") ^= 1;
            }
        }),
        ("no signature", "its signature is wrong", &|m, _| {
            if m.starts_with(&[0, 2]) {
                let certificate = usize::from(u16::from_be_bytes([m[2], m[3]]));
                m.truncate(4 + certificate);
            }
        }),
        ("an RSA key of 1024 bits", "its signature is wrong", &|m, challenge| {
            if m.starts_with(&[0, 2]) {
                *m = verify(&weak.certificate, &weak.sign(challenge));
            }
        }),
        ("an elliptic key", "not an RSA certificate", &|m, _| {
            if m.starts_with(&[0, 2]) {
                *m = verify(&elliptic, &[7; 256]);
            }
        }),
        ("another web certificate", "another TLS certificate", &|m, _| {
            if m.starts_with(&[0, 1]) {
                m[2] ^= 1;
            }
        }),
    ];
    for (number, (name, log, change)) in attempts.iter().enumerate() {
        let mut forger = Forger::connect(house.port(), "/agent.ashx", agent(1), house.group);
        assert!(!forger.talk(change), "{name}");
        match *log {
            "another TLS certificate" => house.refused("agent_web_hash", 1),
            _ => house.refused("agent_auth", number as u64 + 1),
        }
        house.server.wait_for_log(log);
        // From here on nothing it says is heard.
        forger.say(r#"{"action":"ping"}"#);
        assert_eq!(forger.socket.heard(), Vec::<Vec<u8>>::new(), "{name}");
    }
    assert_eq!(house.metric("agents"), 1);
    house.is_well(&neighbour);
}

#[test]
fn a_recorded_handshake_is_worthless_on_another_connection() {
    let house = House::open();
    let neighbour = house.agent(0);
    let victim = Forger::honest(house.port(), agent(1), house.group);
    let mut replay = Raw::open(house.port(), "/agent.ashx", "");
    for message in &victim.sent {
        replay.send(&frame(2, true, message));
    }
    let heard = replay.heard();
    assert_eq!(heard.len(), 1, "a fresh nonce and nothing else: {heard:?}");
    assert!(heard[0].starts_with(&[0, 1]));
    house.refused("agent_auth", 1);
    house.is_well(&neighbour);
}

#[test]
fn an_agent_of_an_unknown_group_is_held_and_leaves_no_record() {
    let house = House::open();
    let neighbour = house.agent(0);
    let unknown = Group { mesh: [9; 48], ..house.group };
    let mut forger = Forger::connect(house.port(), "/agent.ashx", agent(1), unknown);
    assert!(!forger.talk(|_, _| {}));
    house.refused("agent_admission", 1);
    house.server.wait_for_log("neither the device nor its group is known here");
    house.is_well(&neighbour);
    let groups = house.server.command(&["group", "list", "--json"]);
    let groups: serde_json::Value = serde_json::from_str(&groups).expect("--json prints JSON");
    assert_eq!(groups[0]["devices"], 2, "the neighbour and the one who came to look: {groups}");
}

#[test]
fn of_two_clones_the_newer_is_heard_and_survives_the_older() {
    let house = House::open();
    let mut older = Forger::honest(house.port(), agent(1), house.group);
    let newer = house.agent(1);
    house.server.wait_for_log("replaced by a newer connection");
    older.say(r#"{"action":"ping"}"#);
    assert_eq!(older.socket.heard(), Vec::<Vec<u8>>::new(), "open and silent");
    is_connected(&newer);
    assert_eq!(house.metric("agents"), 1);
    older.socket.send(&frame(8, true, &[3, 232]));
    older.socket.end();
    is_connected(&newer);
    assert_eq!(house.metric("agents"), 1);
}

#[test]
fn an_agent_that_comes_and_goes_all_the_time_is_held() {
    let house = House::open();
    let neighbour = house.agent(0);
    let comes_in =
        || Forger::connect(house.port(), "/agent.ashx", agent(1), house.group).talk(|_, _| {});
    // Seven, unless the window of two minutes ends in between: then it counts anew.
    let visits = (0..20).take_while(|_| comes_in()).count();
    assert!((7..20).contains(&visits), "{visits}");
    house.refused("agent_admission", 1);
    house.server.wait_for_log("it connects and disconnects all the time");
    house.is_well(&neighbour);
}

#[test]
fn what_an_agent_reports_cannot_end_its_connection() {
    let house = House::open();
    let mut forger = Forger::honest(house.port(), agent(1), house.group);
    let deep = |open: &str| format!(r#"{{"action":"netinfo","netif2":{}"#, open.repeat(100_000));
    let reports = [
        deep("["),
        deep(r#"{"a":"#),
        r#"{"action":5}"#.to_owned(),
        r#"{"action":"coreinfo","caps":1e400,"users":[[],{},null],"value":{}}"#.to_owned(),
        format!(r#"{{"action":"coreinfo","osdesc":"{}"}}"#, "\\u0000<b>".repeat(100_000)),
        r#"{"action":"msg","type":"console","sessionid":"user//admin/x","value":"v"}"#.to_owned(),
        format!(r#"{{"action":"smbios","value":"{}"}}"#, "x".repeat(3 << 20)),
        r#"{"action":"battery","state":"ac","level":-1}"#.to_owned(),
        r#"{"action":"getUserImage","userid":"user//admin"}"#.to_owned(),
        "{\"action\":\"log\",\"msg\":\"\u{202e}\"}".to_owned(),
    ];
    for report in &reports {
        forger.say(report);
    }
    for command in 0..40_u16 {
        // Every number with a body that is too short, too long, or not what it should be.
        for length in [0, 1, 3, 47, 48, 49, 5000] {
            let message = [&command.to_be_bytes()[..], &vec![0xa5; length]].concat();
            forger.socket.send(&frame(2, true, &message));
        }
    }
    forger.say(r#"{"action":"ping"}"#);
    let pong = br#"{"action":"pong"}"#;
    assert!(forger.socket.heard().iter().any(|message| message == pong));
}

/// AuthVerify.
fn verify(certificate: &[u8], signature: &[u8]) -> Vec<u8> {
    let length = u16::try_from(certificate.len()).expect("a small certificate").to_be_bytes();
    [&[0, 2], &length[..], certificate, signature].concat()
}

fn elliptic_certificate() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().expect("there is randomness");
    let certificate = rcgen::CertificateParams::default().self_signed(&key);
    certificate.expect("fixed parameters").der().to_vec()
}

/// A key too short to mean anything, with genuine signatures.
struct Weak {
    key: RsaPrivateKey,
    certificate: Vec<u8>,
}

impl Weak {
    fn new() -> Self {
        let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).expect("a key");
        let signer = Signer(
            rsa::pkcs1::EncodeRsaPublicKey::to_pkcs1_der(&key.to_public_key())
                .expect("it encodes")
                .into_vec(),
        );
        let certificate = rcgen::CertificateParams::default().self_signed(&signer);
        Self { key, certificate: certificate.expect("fixed parameters").der().to_vec() }
    }

    fn sign(&self, challenge: &[u8]) -> Vec<u8> {
        const DIGEST_INFO: &[u8] =
            b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30";
        let hash = digest(&SHA384, challenge);
        let hashed = [DIGEST_INFO, hash.as_ref()].concat();
        self.key.sign(Pkcs1v15Sign::new_unprefixed(), &hashed).expect("the key is long enough")
    }
}

/// The certificate's own signature means nothing to the server.
struct Signer(Vec<u8>);

impl rcgen::PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA384
    }
}

impl rcgen::SigningKey for Signer {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(vec![0; 128])
    }
}
