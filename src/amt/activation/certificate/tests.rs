use serde_json::{Value, json};

use super::*;
use crate::amt::activation::testing::{self, VALID, vector};
use crate::model::DomainId;

/// The folder the configurations of the vector speak of.
fn folder() -> tempfile::TempDir {
    let (vector, folder) = (vector("activation-cert-loading"), tempfile::tempdir().unwrap());
    for (name, pfx) in vector["pfx"].as_object().unwrap() {
        let text = pfx["base64"].as_str().unwrap();
        let bytes = data_encoding::BASE64.decode(text.as_bytes()).unwrap();
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    for (name, pem) in vector["pem"].as_object().unwrap() {
        std::fs::write(folder.path().join(name), pem.as_str().unwrap()).unwrap();
    }
    folder
}

/// What the loader says of one entry of `certs`.
fn loaded(folder: &Path, name: &str, entry: &Value, strict: bool) -> Loaded {
    let section = json!({"strictCommonName": strict, "certs": {name: entry}});
    let text = json!({"domains": {"": {"AmtAcmActivation": section}}}).to_string();
    let (config, _) = crate::config::parse(&text, []).unwrap();
    let activation = config.domain(&DomainId::default()).activation.clone();
    load(folder, &activation, VALID)
}

#[test]
fn configurations_load_or_fail_as_with_the_reference() {
    let folder = folder();
    let vector = vector("activation-cert-loading");
    // Where this loader does more than the reference: files with several certificates.
    let better = ["pem_bundle_plus", "pem_single_bundle", "pem_certfiles_string"];
    for case in vector["results"].as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let strict = case["strictCommonName"].as_bool().unwrap();
        // Keys the vector does not have: what is wrong is found in the certificate all the same.
        let mut entry = case["config"].clone();
        let key = entry["keyfile"].as_str().unwrap_or("leafoid.key");
        if !folder.path().join(key).exists() && name != "pem_keymissing" {
            entry["keyfile"] = "leafoid.key".into();
        }
        let loaded = loaded(folder.path(), name, &entry, strict);
        if better.contains(&name) {
            assert_eq!(loaded.warnings, [""; 0], "{name}");
            assert_eq!(loaded.certificates[0].domain, "example.com");
            continue;
        }
        let certificate = loaded.certificates.first();
        assert_eq!(certificate.is_some(), case["loaded"].as_bool().unwrap(), "{name}: {loaded:?}");
        if let Some(certificate) = certificate {
            assert_eq!(certificate.domain, case["cn"].as_str().unwrap(), "{name}");
            assert_eq!(certificate.chain.len() as u64, case["chain_length"], "{name}");
        }
        let is_skipped = name.starts_with('_');
        let expected = case["errors"].as_array().unwrap();
        let throws = !case["reference_throws"].is_null();
        assert_eq!(loaded.warnings.is_empty(), is_skipped || (expected.is_empty() && !throws));
        // Of a leaf whose key the vector lacks, what is wrong with both would be said of the key.
        if entry == case["config"] && !throws {
            for (warning, expected) in loaded.warnings.iter().zip(expected) {
                let expected = expected.as_str().unwrap();
                let warning = warning.replace(&format!("{}/", folder.path().display()), "");
                assert!(warning.starts_with(expected), "{name}: {warning}");
            }
        }
    }
}

#[test]
fn a_chain_is_put_in_order_and_its_root_is_hashed() {
    let (folder, vector) = (folder(), vector("activation-cert-loading"));
    let entry = json!({"certpfx": "rc2.pfx", "certpfxpass": "pfxpassword"});
    let loaded = loaded(folder.path(), "a", &entry, false);
    let certificate = &loaded.certificates[0];
    let names: Vec<_> = certificate
        .chain
        .iter()
        .map(|der| crate::identity::certificate::common_name(der).unwrap())
        .collect();
    assert_eq!(json!(names), vector["expected_order_common_names"]);
    assert_eq!(certificate.root.sha1, vector["root_sha1"].as_str().unwrap());
    assert_eq!(certificate.root.sha256, vector["root_sha256"].as_str().unwrap());
    let sha384 = testing::vector("activation-acm-signature")["root_sha384"].clone();
    assert_eq!(certificate.root.sha384, sha384.as_str().unwrap());
    assert_eq!(certificate.root.kind_of(&certificate.root.sha384), Some("sha384"));
}

#[test]
fn what_is_wrong_is_said_of_the_right_thing() {
    let folder = folder();
    let certs = |leaf: &str| json!([leaf, "root.crt", "int1.crt", "int2.crt"]);
    for (entry, expected) in [
        (json!({"certpfx": "pbes2.pfx"}), "certpfxpass"),
        (json!({}), "needs certpfx"),
        (json!({"certfiles": certs("leafoid.crt"), "keyfile": "leafoid-enc.key"}), "is encrypted"),
        (json!({"certfiles": certs("leafoid.crt"), "keyfile": "root.crt"}), "no private key"),
        (json!({"certfiles": certs("leafec.crt"), "keyfile": "leafoid.key"}), "has to be RSA"),
        (json!({"certfiles": ["leafoid.key"], "keyfile": "leafoid.key"}), "no certificate"),
        (json!({"certpfx": "ec.pfx", "certpfxpass": "pfxpassword"}), "has to be RSA"),
        (
            json!({"certfiles": ["leafoid.crt", "root.crt", "int2.crt"], "keyfile": "leafoid.key"}),
            "CN=Fake vPro Intermediate 1 is missing, who issued",
        ),
        (
            json!({
                "certfiles": ["leafoid.crt", "leafou.crt", "root.crt", "int1.crt", "int2.crt"],
                "keyfile": "leafoid.key",
            }),
            "Two were issued by",
        ),
        (
            json!({"certfiles": ["leafoid.crt", "int1.crt"], "keyfile": "leafoid.key"}),
            "The root certificate is missing",
        ),
    ] {
        let loaded = loaded(folder.path(), "x", &entry, false);
        let said = loaded.warnings.join(" ");
        assert!(loaded.certificates.is_empty() && said.contains(expected), "{entry}: {said}");
        assert!(said.ends_with("[x]"), "{said}");
    }
}

#[test]
fn leaves_for_something_else_are_refused() {
    let vector = vector("activation-cert-loading");
    for (name, expected) in [
        ("leafoid.crt", true),
        ("leafou.crt", true),
        ("leafbad.crt", false),
        ("leafouwrong.crt", false),
        ("leaftwoou.crt", false),
    ] {
        let pem = vector["pem"][name].as_str().unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        assert_eq!(activates(&chain::parse(&der).unwrap()), expected, "{name}");
    }
}

#[test]
fn the_owner_is_told_before_and_after_the_end() {
    let folder = folder();
    let entry = json!({"certpfx": "pbes2.pfx", "certpfxpass": "pfxpassword"});
    let certificate = loaded(folder.path(), "a", &entry, false).certificates.remove(0);
    let end = certificate.expires;
    for (now, said) in [
        (VALID, None),
        (Millis(end.0 - 29 * DAY), Some("expires on")),
        (end, Some("has expired on")),
        (Millis(end.0 + DAY), Some("has expired on")),
    ] {
        let text = certificate.expiry(now);
        assert_eq!(text.is_some(), said.is_some(), "{text:?}");
        assert!(said.is_none_or(|said| text.unwrap().contains(said)));
        assert_eq!(certificate.is_expired(now), now >= end);
    }
}

#[test]
fn signatures_are_those_the_firmware_was_captured_to_take() {
    let vector = vector("activation-acm-signature");
    let text = |name: &str| vector[name].as_str().unwrap();
    let certificate = testing::certificate();
    let hex = |name| HEXLOWER.decode(text(name).as_bytes()).unwrap();
    let signature = certificate.sign(&hex("signed_bytes_hex")).unwrap();
    let expected = text("signature_rsa_pkcs1v15_sha256_base64");
    assert_eq!(data_encoding::BASE64.encode(&signature), expected);
    let swapped = vector["negatives"][0]["signed_bytes_hex"].as_str().unwrap();
    let other = certificate.sign(&HEXLOWER.decode(swapped.as_bytes()).unwrap()).unwrap();
    assert_ne!(other, signature);
}
