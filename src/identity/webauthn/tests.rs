//! Ceremonies with a security key in software: what is accepted, and that nothing else is.

use std::sync::LazyLock;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::authenticator::{Authenticator, PRESENT, Page, bytes, map, text};
use super::wire::{self, AuthenticatorData, ClientData};
use super::*;
use crate::model::{DomainId, KeyPin};

const ORIGIN: &str = "https://board.example:8443";
const EXPECTED: Expected<'_> = Expected { origin: ORIGIN, pin: KeyPin::Preferred };
const CHALLENGE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn ann() -> UserId {
    UserId::new(DomainId::default(), "ann").unwrap()
}

fn rsa() -> Authenticator {
    static KEY: LazyLock<Vec<u8>> =
        LazyLock::new(|| crate::identity::make::rsa_key_pair(2048).unwrap().serialize_der());
    Authenticator::rsa(&KEY)
}

fn registered(key: &Authenticator) -> SecurityKey {
    let response = key.create(&Page::of(ORIGIN), CHALLENGE);
    let made = Registration::parse(&response).unwrap().verify(&EXPECTED).unwrap();
    SecurityKey {
        index: 1,
        name: "key".into(),
        credential: made.credential,
        public_key: made.public_key,
        counter: made.counter,
    }
}

fn assert_with(
    key: &mut Authenticator,
    page: &Page,
    kept: &SecurityKey,
) -> Result<SecurityKey, WebAuthnError> {
    let text = key.get(page, CHALLENGE, &user_handle(&ann()));
    Assertion::parse(&text)?.verify(&EXPECTED, &ann(), std::slice::from_ref(kept))
}

#[test]
fn a_key_of_each_kind_registers_and_logs_in() {
    for mut key in [Authenticator::p256(), Authenticator::ed25519(), rsa()] {
        let mut kept = registered(&key);
        assert_eq!(kept.credential, key.credential);
        for count in 1..4 {
            kept = assert_with(&mut key, &Page::of(ORIGIN), &kept).unwrap();
            assert_eq!(kept.counter, count);
        }
    }
}

/// The specification's own vectors: every kind of attestation, every algorithm.
#[test]
fn the_vectors_of_the_specification_get_the_verdicts_they_deserve() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tests/vectors/webauthn.json")).unwrap();
    let expected = Expected { origin: "https://example.org", pin: KeyPin::Preferred };
    let mut accepted = 0;
    for case in vectors["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let raw = |of: &str, member: &str| {
            data_encoding::HEXLOWER.decode(case[of][member].as_str().unwrap().as_bytes()).unwrap()
        };
        let base64 = |of: &str, member: &str| BASE64.encode(&raw(of, member));
        let registration = Registration::parse(&json!({
            "clientDataJSON": base64("registration", "clientDataJSON"),
            "attestationObject": base64("registration", "attestationObject"),
        }))
        .unwrap();
        assert_eq!(registration.challenge(), raw("registration", "challenge"), "{name}");
        let error = match name {
            // Where credentials may be used by pages in frames, which is not here.
            "none-es256-crossOrigin" | "none-es256-topOrigin" => Some(WebAuthnError::Origin),
            "packed-es384" | "packed-es512" | "packed-ed448" => {
                Some(WebAuthnError::Key(KeyError::Unsupported))
            }
            _ => None,
        };
        let made = registration.verify(&expected);
        assert_eq!(made.as_ref().err().copied(), error, "{name}");
        let Ok(made) = made else { continue };
        let kept = SecurityKey {
            index: 1,
            name: name.into(),
            credential: made.credential,
            public_key: made.public_key,
            counter: made.counter,
        };
        let assertion = json!({
            "id": BASE64.encode(&kept.credential),
            "clientDataJSON": base64("assertion", "clientDataJSON"),
            "authenticatorData": base64("assertion", "authenticatorData"),
            "signature": base64("assertion", "signature"),
        });
        let assertion = Assertion::parse(&assertion.to_string()).unwrap();
        assert_eq!(assertion.challenge(), raw("assertion", "challenge"), "{name}");
        let verdict = assertion.verify(&expected, &ann(), std::slice::from_ref(&kept));
        assert_eq!(verdict, Ok(kept), "{name}: these keys do not count");
        accepted += 1;
    }
    assert_eq!(accepted, 10);
}

#[test]
fn a_key_imported_as_a_bare_point_logs_in() {
    let mut key = Authenticator::p256();
    let kept = SecurityKey { public_key: key.point(), ..registered(&key) };
    let text = key.get(&Page::of(ORIGIN), CHALLENGE, b"user//ann");
    let verdict = Assertion::parse(&text).unwrap().verify(&EXPECTED, &ann(), &[kept]);
    assert_eq!(verdict.unwrap().counter, 1, "MeshCentral's handle is the account's id");
}

#[test]
fn the_answers_name_their_challenge() {
    let (page, raw) = (Page::of(ORIGIN), BASE64.decode(CHALLENGE.as_bytes()).unwrap());
    let mut key = Authenticator::ed25519();
    let registration = Registration::parse(&key.create(&page, CHALLENGE)).unwrap();
    assert_eq!(registration.challenge(), raw);
    assert_eq!(Assertion::parse(&key.get(&page, CHALLENGE, b"")).unwrap().challenge(), raw);
}

#[test]
fn an_answer_from_another_page_or_for_another_server_is_refused() {
    let page = Page::of(ORIGIN);
    let origin = |origin: &str| Page { origin: origin.into(), ..page.clone() };
    for (wrong, error) in [
        (origin("https://board.example"), WebAuthnError::Origin),
        (origin("http://board.example:8443"), WebAuthnError::Origin),
        (origin("https://evil.example:8443"), WebAuthnError::Origin),
        (origin("https://board.example:8443.evil.example"), WebAuthnError::Origin),
        (Page { cross_origin: true, ..page.clone() }, WebAuthnError::Origin),
        (Page { rp_id: "evil.example".into(), ..page.clone() }, WebAuthnError::RelyingParty),
        (Page { rp_id: ORIGIN.into(), ..page.clone() }, WebAuthnError::RelyingParty),
        (Page { kind: Some("payment.get"), ..page.clone() }, WebAuthnError::Kind),
    ] {
        let mut key = Authenticator::p256();
        let kept = registered(&key);
        assert_eq!(assert_with(&mut key, &wrong, &kept), Err(error), "{wrong:?}");
        let made = Registration::parse(&key.create(&wrong, CHALLENGE)).unwrap().verify(&EXPECTED);
        assert_eq!(made, Err(error), "{wrong:?}");
    }
}

#[test]
fn one_ceremony_does_not_pass_for_the_other() {
    let mut key = Authenticator::p256();
    let kept = registered(&key);
    let page = Page { kind: Some("webauthn.create"), ..Page::of(ORIGIN) };
    assert_eq!(assert_with(&mut key, &page, &kept), Err(WebAuthnError::Kind));
    let page = Page { kind: Some("webauthn.get"), ..page };
    let made = Registration::parse(&key.create(&page, CHALLENGE)).unwrap().verify(&EXPECTED);
    assert_eq!(made, Err(WebAuthnError::Kind));
}

#[test]
fn somebody_must_touch_the_key_and_prove_himself_if_that_is_required() {
    let required = Expected { pin: KeyPin::Required, ..EXPECTED };
    for (flags, expected, error) in [
        (0, EXPECTED, Some(WebAuthnError::Presence)),
        (PRESENT, EXPECTED, None),
        (PRESENT, required, Some(WebAuthnError::Verification)),
    ] {
        let mut key = Authenticator::p256();
        key.flags = flags;
        let made = Registration::parse(&key.create(&Page::of(ORIGIN), CHALLENGE)).unwrap();
        assert_eq!(made.verify(&expected).err(), error);
        key.flags = PRESENT;
        let kept = registered(&key);
        key.flags = flags;
        let text = key.get(&Page::of(ORIGIN), CHALLENGE, b"");
        let verdict = Assertion::parse(&text).unwrap().verify(&expected, &ann(), &[kept]);
        assert_eq!(verdict.err(), error);
    }
}

#[test]
fn a_key_of_nobody_or_of_somebody_else_is_refused() {
    let mut key = Authenticator::p256();
    let kept = registered(&key);
    let other = registered(&Authenticator::p256());
    assert_eq!(assert_with(&mut key, &Page::of(ORIGIN), &other), Err(WebAuthnError::Unknown));
    let text = key.get(&Page::of(ORIGIN), CHALLENGE, b"user//bob");
    let verdict = Assertion::parse(&text).unwrap().verify(&EXPECTED, &ann(), &[kept]);
    assert_eq!(verdict, Err(WebAuthnError::Unknown), "its handle names another account");
}

#[test]
fn a_signature_of_another_key_over_other_data_or_cut_short_is_refused() {
    for mut key in [Authenticator::p256(), Authenticator::ed25519(), rsa()] {
        let kept = registered(&key);
        let stranger = Authenticator::p256();
        let impostor = SecurityKey { public_key: stranger.cose(), ..kept.clone() };
        let page = Page::of(ORIGIN);
        assert_eq!(assert_with(&mut key, &page, &impostor), Err(WebAuthnError::Signature));
        let good: Value = serde_json::from_str(&key.get(&page, CHALLENGE, b"")).unwrap();
        for (member, at) in
            [("authenticatorData", 36), ("clientDataJSON", 40), ("signature", 20), ("signature", 0)]
        {
            let mut bad = good.clone();
            let mut raw = BASE64.decode(bad[member].as_str().unwrap().as_bytes()).unwrap();
            if at == 0 {
                raw.pop();
            } else {
                // A letter of the challenge stays a letter: 'A' to 'C'.
                raw[at] ^= 2;
            }
            bad[member] = BASE64.encode(&raw).into();
            let verdict = Assertion::parse(&bad.to_string())
                .and_then(|a| a.verify(&EXPECTED, &ann(), std::slice::from_ref(&kept)));
            assert_eq!(verdict, Err(WebAuthnError::Signature), "{member}");
        }
    }
}

#[test]
fn a_counter_that_goes_back_or_stands_still_betrays_a_copy() {
    for (kept_count, next, error) in [
        (0, 1, None),
        (5, 6, None),
        (5, 5, Some(WebAuthnError::Counter)),
        (5, 1, Some(WebAuthnError::Counter)),
        (5, 0, Some(WebAuthnError::Counter)),
        (0, 0, None),
        (u32::MAX, 0, Some(WebAuthnError::Counter)),
    ] {
        let mut key = Authenticator::p256();
        (key.counter, key.step) = (next, 0);
        let kept = SecurityKey { counter: kept_count, ..registered(&key) };
        let verdict = assert_with(&mut key, &Page::of(ORIGIN), &kept);
        assert_eq!(verdict.err(), error, "{kept_count} {next}");
    }
}

#[test]
fn public_keys_that_nobody_should_have_are_refused() {
    let good = Authenticator::p256().cose();
    let int = |n: u8| vec![n];
    let rsa = |n: usize, e: usize| {
        map(&[
            (int(1), int(3)),
            (int(3), vec![0x39, 1, 0]),
            (vec![0x20], bytes(&vec![0xff; n])),
            (vec![0x21], bytes(&vec![1; e])),
        ])
    };
    for (key, error) in [
        (vec![], KeyError::Malformed),
        (vec![0xa0], KeyError::Unsupported),
        ([&*good, &[0]].concat(), KeyError::Malformed),
        (good[..good.len() - 1].to_vec(), KeyError::Malformed),
        (rsa(128, 3), KeyError::Unsupported),
        (rsa(513, 3), KeyError::Unsupported),
        (rsa(256, 5), KeyError::Unsupported),
        (map(&[(int(1), int(2)), (int(1), int(2))]), KeyError::Malformed),
        (vec![0xbf, 1, 2, 0xff], KeyError::Malformed),
        (vec![0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], KeyError::Malformed),
        (vec![0x9f; 1000], KeyError::Malformed),
        (vec![0; 2000], KeyError::Malformed),
        // ES256 on another curve, and with x one byte short.
        (
            map(&[
                (int(1), int(2)),
                (int(3), vec![0x26]),
                (vec![0x20], int(2)),
                (vec![0x21], bytes(&[1; 32])),
                (vec![0x22], bytes(&[1; 32])),
            ]),
            KeyError::Unsupported,
        ),
        (
            map(&[
                (int(1), int(2)),
                (int(3), vec![0x26]),
                (vec![0x20], int(1)),
                (vec![0x21], bytes(&[1; 31])),
                (vec![0x22], bytes(&[1; 32])),
            ]),
            KeyError::Malformed,
        ),
    ] {
        assert_eq!(PublicKey::parse(&key), Err(error), "{key:02x?}");
    }
    assert!(PublicKey::parse(&rsa(256, 3)).is_ok());
}

#[test]
fn hostile_attestation_objects_are_malformed() {
    let data = bytes(&[0; 37]);
    let entry = |name: &str| (text(name), data.clone());
    let deep = [vec![0x81; 10_000], vec![0]].concat();
    for object in [
        vec![],
        map(&[]),
        map(&[entry("authdata")]),
        map(&[entry("authData"), entry("authData")]),
        [map(&[entry("authData")]), vec![0]].concat(),
        map(&[(bytes(b"authData"), data.clone())]),
        map(&[(text("authData"), text("x"))]),
        // Indefinite lengths, claimed lengths, deep nesting.
        [vec![0xbf], text("authData"), data.clone(), vec![0xff]].concat(),
        [
            vec![0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            text("authData"),
            data.clone(),
        ]
        .concat(),
        [vec![0xa1], text("authData"), vec![0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]
            .concat(),
        [vec![0xa2], text("attStmt"), deep[..9_999].to_vec()].concat(),
    ] {
        assert_eq!(wire::authenticator_data_of(&object), Err(WebAuthnError::Malformed));
    }
    let nested = map(&[(text("attStmt"), deep), entry("authData")]);
    assert_eq!(wire::authenticator_data_of(&nested), Ok(&[0; 37][..]), "ignored, however deep");
}

#[test]
fn authenticator_data_is_read_to_its_last_byte() {
    let plain = |flags: u8, rest: &[u8]| [&[0; 32][..], &[flags], &[0, 0, 0, 9], rest].concat();
    let attested = |length: u16, rest: &[u8]| [&[0; 16][..], &length.to_be_bytes(), rest].concat();
    for (bytes, good) in [
        (plain(1, b""), true),
        (plain(1, b"\0"), false),
        (plain(1, b"")[..36].to_vec(), false),
        (plain(0x81, b"\xa0"), true),
        (plain(0x81, b""), false),
        (plain(0x81, b"\xa0\0"), false),
        (plain(0x41, &attested(1, b"c\xa0")), true),
        (plain(0xc1, &attested(1, b"c\xa0\xa0")), true),
        (plain(0x41, &attested(0, b"\xa0")), false),
        (plain(0x41, &attested(2, b"c")), false),
        (plain(0x41, &attested(1, b"c")), false),
        (plain(0x41, &attested(1024, &[0; 2000])), false),
        (plain(0x41, &attested(u16::MAX, b"")), false),
    ] {
        assert_eq!(AuthenticatorData::parse(&bytes).is_ok(), good, "{bytes:02x?}");
    }
}

#[test]
fn client_data_is_json_with_its_members_once() {
    for (json, good) in [
        (r#"{"type":"t","challenge":"AAAA","origin":"o"}"#, true),
        (r#"{"type":"t","challenge":"AA\u0041A","origin":"o","crossOrigin":false}"#, true),
        (r#"{"type":"t","challenge":"AAAA="  ,"origin":"o"}"#, false),
        (r#"{"type":"t","challenge":"A+A/","origin":"o"}"#, false),
        (r#"{"type":"t","challenge":"AAAA"}"#, false),
        (r#"{"type":"t","type":"u","challenge":"AAAA","origin":"o"}"#, false),
        (r#"{"type":"t","challenge":"AAAA","origin":"o"} x"#, false),
        ("", false),
    ] {
        assert_eq!(ClientData::parse(json.as_bytes()).is_ok(), good, "{json}");
    }
}

#[test]
fn oversized_answers_are_not_looked_at() {
    let mut key = Authenticator::p256();
    let mut answer: Value =
        serde_json::from_str(&key.get(&Page::of(ORIGIN), CHALLENGE, b"")).unwrap();
    answer["padding"] = "x".repeat(RESPONSE_MAX).into();
    assert_eq!(Assertion::parse(&answer.to_string()), Err(WebAuthnError::Malformed));
    let response = json!({"clientDataJSON": "A".repeat(RESPONSE_MAX + 4), "attestationObject": ""});
    assert_eq!(Registration::parse(&response), Err(WebAuthnError::Malformed));
}

#[test]
fn pages_get_what_they_expect() {
    let mut challenges = Challenges::default();
    let challenge = challenges.give(&ann(), Purpose::LogIn, std::time::Instant::now()).unwrap();
    let options = creation_options("Board", &ann(), "Ann", &challenge, KeyPin::Required);
    assert_eq!(options["rp"], json!({"name": "Board"}));
    assert_eq!(options["user"]["displayName"], "Ann");
    assert!(options["user"]["id"].as_str().unwrap().len() <= 88, "64 bytes at most");
    assert_eq!(options["pubKeyCredParams"][0], json!({"type": "public-key", "alg": -7}));
    assert_eq!(options["attestation"], "none");
    assert_eq!(options["userVerification"], "required");
    let kept = registered(&Authenticator::p256());
    let options = request_options(std::slice::from_ref(&kept), &challenge, KeyPin::Preferred);
    assert_eq!(
        options,
        json!({
            "type": "webAuthn",
            "keyIds": [BASE64.encode(&kept.credential)],
            "timeout": 60000,
            "challenge": challenge.text(),
            "userVerification": "preferred",
        })
    );
}

proptest! {
    #[test]
    fn no_bytes_make_parsing_panic(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = wire::authenticator_data_of(&raw);
        let _ = AuthenticatorData::parse(&raw);
        let _ = PublicKey::parse(&raw);
        let _ = ClientData::parse(&raw);
        let _ = Assertion::parse(&String::from_utf8_lossy(&raw));
    }

    #[test]
    fn a_registration_with_one_byte_changed_never_panics(at in 0usize..400, bit in 0u8..8) {
        let mut response = Authenticator::ed25519().create(&Page::of(ORIGIN), CHALLENGE);
        let text = response["attestationObject"].as_str().unwrap().to_owned();
        let mut raw = BASE64.decode(text.as_bytes()).unwrap();
        let at = at % raw.len();
        raw[at] ^= 1 << bit;
        response["attestationObject"] = BASE64.encode(&raw).into();
        let _ = Registration::parse(&response).and_then(|r| r.verify(&EXPECTED));
    }

    #[test]
    fn an_assertion_with_one_bit_changed_is_never_accepted(at in 0usize..37, bit in 0u8..8) {
        let mut key = Authenticator::ed25519();
        let kept = registered(&key);
        let text = key.get(&Page::of(ORIGIN), CHALLENGE, b"");
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        let data = answer["authenticatorData"].as_str().unwrap().to_owned();
        let mut raw = BASE64.decode(data.as_bytes()).unwrap();
        raw[at] ^= 1 << bit;
        answer["authenticatorData"] = BASE64.encode(&raw).into();
        let verdict = Assertion::parse(&answer.to_string())
            .and_then(|a| a.verify(&EXPECTED, &ann(), &[kept]));
        prop_assert!(verdict.is_err());
    }

    #[test]
    fn client_data_survives_its_writing(challenge in proptest::collection::vec(any::<u8>(), 0..80)) {
        let json = json!({
            "type": "webauthn.get",
            "challenge": BASE64URL_NOPAD.encode(&challenge),
            "origin": ORIGIN,
        });
        let parsed = ClientData::parse(json.to_string().as_bytes()).unwrap();
        prop_assert_eq!(parsed.challenge, challenge);
    }
}
