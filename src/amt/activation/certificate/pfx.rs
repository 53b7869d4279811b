//! PKCS#12 files (RFC 7292) as vendors of activation certificates hand them out: certificates and
//! one encrypted key.
//!
//! Reads BER, because some tools write indefinite lengths. Encryption: RC2-40, RC2-128 and 3DES with
//! the key derivation of PKCS#12 (Appendix B), AES and 3DES with PBES2 (RFC 8018). Integrity: none,
//! or HMAC with SHA-1, SHA-256, SHA-384 or SHA-512.

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipher, BlockDecryptMut, InnerIvInit, KeyInit, KeyIvInit};
use des::{TdesEde2, TdesEde3};
use rc2::Rc2;
use ring::{digest, hmac, pbkdf2};
use x509_parser::asn1_rs::{Any, Class, FromBer as _, Tag};

/// What is in a file.
#[derive(Default)]
pub(super) struct Contents {
    /// Certificates, DER, as they stand there.
    pub(super) certificates: Vec<Vec<u8>>,
    /// Decrypted keys, PKCS#8 DER. Keys that lie open in the file are not counted: no tool for these
    /// certificates writes such a file.
    pub(super) keys: Vec<Vec<u8>>,
}

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PfxError {
    /// Not PKCS#12, or cut off.
    Damaged,
    /// The password is wrong (or, without a checksum, the file damaged).
    Password,
    /// It is encrypted in a way nobody should use, or nobody did when this was written.
    Unsupported,
}

impl std::fmt::Display for PfxError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Damaged => "It is not a PFX file, or damaged.",
            Self::Password => "The password is wrong.",
            Self::Unsupported => "It is encrypted in a way that is not supported.",
        })
    }
}

/// Most rounds of key derivation: seconds on a board.
const ROUNDS_MAX: u32 = 5_000_000;
/// Bags within bags.
const DEPTH_MAX: usize = 4;
/// Parts of a constructed text within each other.
const PARTS_MAX: usize = 8;

// Contents of OBJECT IDENTIFIERs.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
/// 1.2.840.113549.1.12.1, before the number of the cipher.
const PKCS12_CIPHERS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
/// 1.2.840.113549.1.12.10.1, before the number of the kind of bag.
const BAGS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01];
const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
/// 1.2.840.113549.2, before the number of the hash: HMACs.
const HMACS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];
const DES_EDE3_CBC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x03, 0x07];
/// 2.16.840.1.101.3.4.1, before the number of the cipher.
const AES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01];
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// 2.16.840.1.101.3.4.2, before the number of the hash.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

type Read<T> = Result<T, PfxError>;

/// Reads a file.
pub(super) fn read(file: &[u8], password: &str) -> Read<Contents> {
    let mut pfx = Reader::of(file).enter(Tag::Sequence)?;
    pfx.next(Tag::Integer)?;
    let mut safe = pfx.enter(Tag::Sequence)?;
    if safe.oid()? != DATA {
        return Err(PfxError::Unsupported);
    }
    let safe = safe.tagged(0)?.octets()?;
    // Whether an empty password is two zero bytes or none is left open by the standard.
    let mut forms = vec![wide(password)];
    if password.is_empty() {
        forms.push(Vec::new());
    }
    let wide = match pfx.is_empty() {
        true => forms.into_iter().next().unwrap_or_default(),
        false => {
            let mac = Mac::read(&mut pfx.enter(Tag::Sequence)?)?;
            let fitting = forms.into_iter().find(|form| mac.verify(form, &safe));
            fitting.ok_or(PfxError::Password)?
        }
    };
    let password = Password { narrow: password, wide };
    let mut contents = Contents::default();
    let mut parts = Reader::of(&safe).enter(Tag::Sequence)?;
    while !parts.is_empty() {
        let mut part = parts.enter(Tag::Sequence)?;
        match part.oid()? {
            DATA => bags(&part.tagged(0)?.octets()?, &password, &mut contents, 0)?,
            ENCRYPTED_DATA => {
                let mut data = part.tagged(0)?.enter(Tag::Sequence)?;
                data.next(Tag::Integer)?;
                let mut encrypted = data.enter(Tag::Sequence)?;
                encrypted.oid()?;
                let cipher = encrypted.enter(Tag::Sequence)?;
                let bytes = encrypted.implicit_octets(0)?;
                bags(&decrypt(cipher, &bytes, &password)?, &password, &mut contents, 0)?;
            }
            _ => return Err(PfxError::Unsupported),
        }
    }
    Ok(contents)
}

fn bags(safe: &[u8], password: &Password<'_>, contents: &mut Contents, depth: usize) -> Read<()> {
    // Decrypted with a wrong password, this is noise.
    let mut bags = Reader::of(safe).enter(Tag::Sequence).map_err(|_| PfxError::Password)?;
    while !bags.is_empty() {
        let mut bag = bags.enter(Tag::Sequence)?;
        let kind = bag.oid()?.strip_prefix(BAGS).and_then(<[u8]>::first).copied();
        let mut value = bag.tagged(0)?;
        match kind {
            // pkcs8ShroudedKeyBag
            Some(2) => {
                let mut key = value.enter(Tag::Sequence)?;
                let cipher = key.enter(Tag::Sequence)?;
                contents.keys.push(decrypt(cipher, &key.octets()?, password)?);
            }
            // certBag
            Some(3) => {
                let mut certificate = value.enter(Tag::Sequence)?;
                if certificate.oid()? == X509_CERTIFICATE {
                    contents.certificates.push(certificate.tagged(0)?.octets()?);
                }
            }
            // safeContentsBag
            Some(6) if depth < DEPTH_MAX => bags_within(&value, password, contents, depth)?,
            _ => {}
        }
    }
    Ok(())
}

fn bags_within(
    value: &Reader<'_>,
    password: &Password<'_>,
    contents: &mut Contents,
    depth: usize,
) -> Read<()> {
    bags(value.0, password, contents, depth + 1)
}

struct Password<'a> {
    /// As PBES2 takes it.
    narrow: &'a str,
    /// As PKCS#12 does.
    wide: Vec<u8>,
}

/// UTF-16, big-endian, with a zero at the end.
fn wide(password: &str) -> Vec<u8> {
    password.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect()
}

struct Mac {
    hash: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    sum: Vec<u8>,
    salt: Vec<u8>,
    rounds: u32,
}

impl Mac {
    fn read(data: &mut Reader<'_>) -> Read<Self> {
        let mut info = data.enter(Tag::Sequence)?;
        let oid = info.enter(Tag::Sequence)?.oid()?;
        let (hash, hmac) = match (oid, oid.strip_prefix(SHA2)) {
            (SHA1, _) => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            (_, Some([1])) => (&digest::SHA256, hmac::HMAC_SHA256),
            (_, Some([2])) => (&digest::SHA384, hmac::HMAC_SHA384),
            (_, Some([3])) => (&digest::SHA512, hmac::HMAC_SHA512),
            _ => return Err(PfxError::Unsupported),
        };
        let (sum, salt) = (info.octets()?, data.octets()?);
        let rounds = if data.is_empty() { 1 } else { data.rounds()? };
        Ok(Self { hash, hmac, sum, salt, rounds })
    }

    fn verify(&self, password: &[u8], safe: &[u8]) -> bool {
        let length = self.hash.output_len();
        let key = derive(self.hash, 3, password, &self.salt, self.rounds, length);
        hmac::verify(&hmac::Key::new(self.hmac, &key), safe, &self.sum).is_ok()
    }
}

/// Key derivation of PKCS#12 (RFC 7292 Appendix B.2). `purpose`: 1 key, 2 IV, 3 MAC key.
fn derive(
    hash: &'static digest::Algorithm,
    purpose: u8,
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    length: usize,
) -> Vec<u8> {
    let block = hash.block_len();
    let repeated = |bytes: &[u8]| -> Vec<u8> {
        let length = bytes.len().div_ceil(block) * block;
        bytes.iter().copied().cycle().take(length).collect()
    };
    let mut input = [repeated(salt), repeated(password)].concat();
    let mut key = Vec::new();
    loop {
        let mut context = digest::Context::new(hash);
        context.update(&vec![purpose; block]);
        context.update(&input);
        let mut sum = context.finish();
        for _ in 1..rounds {
            sum = digest::digest(hash, sum.as_ref());
        }
        key.extend_from_slice(sum.as_ref());
        if key.len() >= length {
            key.truncate(length);
            return key;
        }
        // Every block of the input plus the sum plus one, as large numbers.
        for chunk in input.chunks_mut(block) {
            let mut carry = 1;
            let addends = sum.as_ref().iter().copied().cycle().take(block).collect::<Vec<_>>();
            for (digit, addend) in chunk.iter_mut().rev().zip(addends.iter().rev()) {
                let total = u16::from(*digit) + u16::from(*addend) + carry;
                [_, *digit] = total.to_be_bytes();
                carry = total >> 8;
            }
        }
    }
}

/// Decrypts `bytes` by what an AlgorithmIdentifier says.
fn decrypt(mut algorithm: Reader<'_>, bytes: &[u8], password: &Password<'_>) -> Read<Vec<u8>> {
    let oid = algorithm.oid()?;
    let mut parameters = algorithm.enter(Tag::Sequence)?;
    if oid == PBES2 {
        return decrypt_pbes2(parameters, bytes, password);
    }
    let number = oid.strip_prefix(PKCS12_CIPHERS).and_then(<[u8]>::first).copied();
    let (salt, rounds) = (parameters.octets()?, parameters.rounds()?);
    let part = |purpose, length| {
        let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
        derive(hash, purpose, &password.wide, &salt, rounds, length)
    };
    let iv = part(2, 8);
    match number {
        Some(3) => cbc::<TdesEde3>(&part(1, 24), &iv, bytes),
        Some(4) => cbc::<TdesEde2>(&part(1, 16), &iv, bytes),
        Some(5) => rc2(&part(1, 16), &iv, bytes),
        Some(6) => rc2(&part(1, 5), &iv, bytes),
        _ => Err(PfxError::Unsupported),
    }
}

fn decrypt_pbes2(mut pbes2: Reader<'_>, bytes: &[u8], password: &Password<'_>) -> Read<Vec<u8>> {
    let (mut derivation, mut cipher) = (pbes2.enter(Tag::Sequence)?, pbes2.enter(Tag::Sequence)?);
    if derivation.oid()? != PBKDF2 {
        return Err(PfxError::Unsupported);
    }
    let mut parameters = derivation.enter(Tag::Sequence)?;
    let (salt, rounds) = (parameters.octets()?, parameters.rounds()?);
    if parameters.peek() == Some(Tag::Integer) {
        parameters.next(Tag::Integer)?;
    }
    let hmac = match parameters.is_empty() {
        true => pbkdf2::PBKDF2_HMAC_SHA1,
        false => match parameters.enter(Tag::Sequence)?.oid()?.strip_prefix(HMACS) {
            Some([7]) => pbkdf2::PBKDF2_HMAC_SHA1,
            Some([9]) => pbkdf2::PBKDF2_HMAC_SHA256,
            Some([10]) => pbkdf2::PBKDF2_HMAC_SHA384,
            Some([11]) => pbkdf2::PBKDF2_HMAC_SHA512,
            _ => return Err(PfxError::Unsupported),
        },
    };
    let rounds = std::num::NonZeroU32::new(rounds).ok_or(PfxError::Damaged)?;
    let oid = cipher.oid()?;
    let iv = cipher.octets()?;
    let derived = |length| {
        let mut key = vec![0; length];
        pbkdf2::derive(hmac, rounds, &salt, password.narrow.as_bytes(), &mut key);
        key
    };
    match (oid, oid.strip_prefix(AES)) {
        (DES_EDE3_CBC, _) => cbc::<TdesEde3>(&derived(24), &iv, bytes),
        (_, Some([2])) => cbc::<Aes128>(&derived(16), &iv, bytes),
        (_, Some([22])) => cbc::<Aes192>(&derived(24), &iv, bytes),
        (_, Some([42])) => cbc::<Aes256>(&derived(32), &iv, bytes),
        _ => Err(PfxError::Unsupported),
    }
}

fn cbc<C: BlockCipher + BlockDecryptMut + KeyInit>(
    key: &[u8],
    iv: &[u8],
    bytes: &[u8],
) -> Read<Vec<u8>> {
    let cipher = Decryptor::<C>::new_from_slices(key, iv).map_err(|_| PfxError::Damaged)?;
    cipher.decrypt_padded_vec_mut::<Pkcs7>(bytes).map_err(|_| PfxError::Password)
}

fn rc2(key: &[u8], iv: &[u8], bytes: &[u8]) -> Read<Vec<u8>> {
    let cipher = Rc2::new_with_eff_key_len(key, key.len() * 8);
    let cipher = Decryptor::inner_iv_slice_init(cipher, iv).map_err(|_| PfxError::Damaged)?;
    cipher.decrypt_padded_vec_mut::<Pkcs7>(bytes).map_err(|_| PfxError::Password)
}

/// Elements of BER behind each other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether there is nothing more, or the mark at the end of an indefinite length.
    fn is_empty(&self) -> bool {
        self.0.is_empty() || self.0 == [0, 0]
    }

    fn any(&mut self) -> Read<Any<'a>> {
        let (rest, any) = Any::from_ber(self.0).map_err(|_| PfxError::Damaged)?;
        self.0 = rest;
        Ok(any)
    }

    fn peek(&self) -> Option<Tag> {
        Any::from_ber(self.0).ok().map(|(_, any)| any.tag())
    }

    /// The content of the next element, which has this tag.
    fn next(&mut self, tag: Tag) -> Read<&'a [u8]> {
        let any = self.any()?;
        let fits = any.class() == Class::Universal && any.tag() == tag;
        if fits { Ok(any.data) } else { Err(PfxError::Damaged) }
    }

    fn enter(&mut self, tag: Tag) -> Read<Self> {
        self.next(tag).map(Self)
    }

    /// The content of the next element, which has the tag `[number]`.
    fn tagged(&mut self, number: u32) -> Read<Self> {
        let any = self.any()?;
        let fits = any.class() == Class::ContextSpecific && any.tag() == Tag(number);
        if fits { Ok(Self(any.data)) } else { Err(PfxError::Damaged) }
    }

    fn oid(&mut self) -> Read<&'a [u8]> {
        self.next(Tag::Oid)
    }

    fn octets(&mut self) -> Read<Vec<u8>> {
        let any = self.any()?;
        match any.class() == Class::Universal && any.tag() == Tag::OctetString {
            true => joined(&any, PARTS_MAX),
            false => Err(PfxError::Damaged),
        }
    }

    /// An OCTET STRING that has the tag `[number]` instead of its own.
    fn implicit_octets(&mut self, number: u32) -> Read<Vec<u8>> {
        let any = self.any()?;
        match any.class() == Class::ContextSpecific && any.tag() == Tag(number) {
            true => joined(&any, PARTS_MAX),
            false => Err(PfxError::Damaged),
        }
    }

    fn rounds(&mut self) -> Read<u32> {
        let bytes = self.next(Tag::Integer)?;
        let number = bytes
            .iter()
            .try_fold(0_u32, |n, byte| n.checked_mul(256).map(|n| n | u32::from(*byte)));
        number.filter(|n| (1..=ROUNDS_MAX).contains(n)).ok_or(PfxError::Unsupported)
    }
}

/// The bytes of an OCTET STRING, which may come in parts.
fn joined(any: &Any<'_>, depth: usize) -> Read<Vec<u8>> {
    if !any.header.is_constructed() {
        return Ok(any.data.to_vec());
    }
    let mut parts = Reader(any.data);
    let mut bytes = Vec::new();
    while !parts.is_empty() {
        let part = parts.any()?;
        let depth = depth.checked_sub(1).ok_or(PfxError::Damaged)?;
        bytes.extend(joined(&part, depth)?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amt::activation::testing::vector;
    use proptest::prelude::*;

    fn file(name: &str) -> Vec<u8> {
        let vector = vector("activation-cert-loading");
        let text = vector["pfx"][name]["base64"].as_str().unwrap();
        data_encoding::BASE64.decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn every_encoding_of_vendors_is_read() {
        for (name, password, certificates, keys) in [
            ("pbes2.pfx", "pfxpassword", 4, 1),
            ("rc2.pfx", "pfxpassword", 4, 1),
            ("3des.pfx", "pfxpassword", 4, 1),
            ("mac512.pfx", "pfxpassword", 4, 1),
            ("nomac.pfx", "pfxpassword", 4, 1),
            ("emptypass.pfx", "", 4, 1),
            ("noenc.pfx", "pfxpassword", 4, 0),
            ("ec.pfx", "pfxpassword", 4, 1),
        ] {
            let contents = read(&file(name), password).unwrap();
            assert_eq!((contents.certificates.len(), contents.keys.len()), (certificates, keys));
        }
    }

    #[test]
    fn a_wrong_password_and_a_damaged_file_are_told_apart() {
        for name in ["pbes2.pfx", "rc2.pfx", "3des.pfx", "mac512.pfx", "nomac.pfx"] {
            assert_eq!(read(&file(name), "bad").err(), Some(PfxError::Password), "{name}");
        }
        let mut bytes = file("pbes2.pfx");
        bytes.truncate(bytes.len() / 2);
        assert_eq!(read(&bytes, "pfxpassword").err(), Some(PfxError::Damaged));
        assert_eq!(read(b"-----BEGIN", "").err(), Some(PfxError::Damaged));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_no_pfx_file_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&bytes, "x").is_err());
        }

        #[test]
        fn a_damaged_file_never_panics(at in 0usize..1400, bit in 0u8..8) {
            let mut bytes = file("leafonly.pfx");
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let _ = read(&bytes, "pfxpassword");
        }
    }
}
