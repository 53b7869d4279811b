//! Agent keys and certificates, and the hashes and signatures of the protocol.
//!
//! Making a real RSA key takes a good part of a second, a fleet needs a thousand. The primes are
//! therefore made once, kept under `target/fleet-keys/`, and paired: n primes give n(n-1)/2
//! distinct keys. Keys that share primes hide nothing, but they cost the server what real ones do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use ring::rand::SecureRandom;
use ring::signature::{self, RsaKeyPair};
use rsa::BigUint;
use rsa::pkcs8::EncodePrivateKey;
use rsa::traits::PrivateKeyParts;
use rustix::fs::{FlockOperation, flock};
use rustls_pki_types::PrivatePkcs8KeyDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Public exponent of every key here.
const EXPONENT: u32 = 65537;

/// Who an agent is: its key, and a self-signed certificate like the one a stock agent makes.
pub struct Identity {
    key: RsaKeyPair,
    certificate: Vec<u8>,
    node: [u8; 48],
}

/// The keys of one fleet, numbered from 0; the same number is the same agent in every run.
pub struct Keys {
    primes: Vec<BigUint>,
}

impl Keys {
    /// Enough primes for `count` keys of `bits` bits; missing ones are made and kept.
    ///
    /// # Errors
    /// The folder `target/fleet-keys` cannot be written.
    pub fn for_fleet(count: usize, bits: usize) -> io::Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fleet-keys");
        fs::create_dir_all(&folder)?;
        let mut needed = 2;
        while needed * (needed - 1) / 2 < count {
            needed += 1;
        }
        let file = folder.join(format!("primes-{}.txt", bits / 2));
        let lock = fs::File::create(folder.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let mut primes = read_primes(&file);
        if primes.len() < needed {
            while primes.len() < needed {
                let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits)
                    .map_err(io::Error::other)?;
                primes.extend_from_slice(key.primes());
            }
            write_primes(&file, &primes)?;
        }
        Ok(Self { primes })
    }

    /// The agent with this number.
    ///
    /// # Panics
    /// If the fleet was made for fewer agents.
    pub fn agent(&self, number: usize) -> Identity {
        // Row by row through the triangle of pairs (second < first).
        let mut first = 1;
        let mut second = number;
        while second >= first {
            second -= first;
            first += 1;
        }
        let (p, q) = (self.primes[first].clone(), self.primes[second].clone());
        let (p, q) = if p > q { (p, q) } else { (q, p) };
        let key = rsa::RsaPrivateKey::from_p_q(p, q, BigUint::from(EXPONENT))
            .expect("two distinct primes make a key");
        let pkcs8 = key.to_pkcs8_der().expect("a valid key encodes");
        Identity::from_pkcs8(pkcs8.as_bytes())
    }
}

impl Identity {
    /// An agent with this RSA key (PKCS#8 DER) and a new certificate for it.
    ///
    /// # Panics
    /// If the key is not an RSA key of at least 2048 bits.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Self {
        let key = RsaKeyPair::from_pkcs8(pkcs8).expect("an RSA key of at least 2048 bits");
        let signer = KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(pkcs8),
            &rcgen::PKCS_RSA_SHA384,
        )
        .expect("the same key again");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "MeshNodeCertificate");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = rcgen::date_time_ymd(2018, 1, 1);
        params.not_after = rcgen::date_time_ymd(2049, 12, 31);
        let certificate = params.self_signed(&signer).expect("fixed parameters").der().to_vec();
        let public = public_key_bits(&certificate).expect("a certificate just made");
        Self { key, certificate, node: sha384(&[&public]) }
    }

    /// DER of the certificate.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// SHA-384 of the key: the id of the device.
    pub fn node(&self) -> &[u8; 48] {
        &self.node
    }

    /// The device as the control channel names it, `node//` and 64 characters.
    pub fn node_text(&self) -> String {
        format!("node//{}", text(&self.node))
    }

    /// Eight hexadecimal digits of the id.
    pub fn short_name(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.node[..4])
    }

    /// RSA PKCS#1 v1.5 with SHA-384 over the concatenated parts.
    pub fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(
                &signature::RSA_PKCS1_SHA384,
                &ring::rand::SystemRandom::new(),
                &parts.concat(),
                &mut signature,
            )
            .expect("the buffer has the length of the modulus");
        signature
    }
}

/// Content of the public key's bit string: `RSAPublicKey` for RSA, the point for EC.
pub fn public_key_bits(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.public_key().subject_public_key.data.to_vec())
}

/// Whether `signature` over the concatenated parts is by this `RSAPublicKey`.
pub fn verifies(key: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA384, key)
        .verify(&parts.concat(), signature)
        .is_ok()
}

/// SHA-384 over the concatenated parts.
pub fn sha384(parts: &[&[u8]]) -> [u8; 48] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA384);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().expect("SHA-384 has 48 bytes")
}

/// 48 random bytes.
pub fn random() -> [u8; 48] {
    let mut bytes = [0; 48];
    ring::rand::SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes
}

/// 48 bytes in text form: base64 with `@` and `$`.
pub fn text(bytes: &[u8; 48]) -> String {
    data_encoding::BASE64.encode(bytes).replace('+', "@").replace('/', "$")
}

/// 48 bytes from their text form, with or without `mesh//` or `node//` before it.
pub fn from_text(text: &str) -> Option<[u8; 48]> {
    let text = text.rsplit("//").next()?.replace('@', "+").replace('$', "/");
    data_encoding::BASE64.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn read_primes(file: &PathBuf) -> Vec<BigUint> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| BigUint::parse_bytes(line.as_bytes(), 16)).collect()
}

fn write_primes(file: &PathBuf, primes: &[BigUint]) -> io::Result<()> {
    let lines: Vec<_> = primes.iter().map(|prime| prime.to_str_radix(16)).collect();
    let unfinished = file.with_extension("new");
    fs::write(&unfinished, lines.join("\n"))?;
    fs::rename(unfinished, file)
}
