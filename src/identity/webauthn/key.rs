//! Public keys of security keys: COSE keys (RFC 9053) of the three algorithms that are in use, and
//! the bare P-256 points in which MeshCentral's database has them.

use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

/// COSE numbers of the algorithms.
const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;
/// COSE numbers of the key types.
const OKP: i64 = 1;
const EC2: i64 = 2;
const RSA: i64 = 3;
/// COSE numbers of the curves.
const P256: i64 = 1;
const CURVE25519: i64 = 6;

/// Bytes of an RSA modulus: 2048 to 4096 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;
/// Longest RSA exponent in bytes; everybody uses 65537.
const EXPONENT_MAX: usize = 4;

/// Why a public key is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Not a COSE key and not a point.
    Malformed,
    /// Another algorithm, or parameters that do not go with it.
    Unsupported,
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the public key is malformed",
            Self::Unsupported => "the public key is of an unsupported kind",
        })
    }
}

impl std::error::Error for KeyError {}

/// The signature is not of this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongSignature;

/// A public key that can verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey<'a> {
    /// ES256: ECDSA on P-256 with SHA-256; the uncompressed point (SEC1).
    P256([u8; 65]),
    /// EdDSA: Ed25519.
    Ed25519(&'a [u8; 32]),
    /// RS256: RSA PKCS#1 v1.5 with SHA-256; numbers are big-endian.
    Rsa {
        /// Modulus, 2048 to 4096 bits.
        n: &'a [u8],
        /// Exponent.
        e: &'a [u8],
    },
}

impl<'a> PublicKey<'a> {
    /// Longest form in bytes: an RSA key of 4096 bits, and some.
    pub const MAX: usize = 1024;

    /// COSE numbers of what is accepted, best first.
    pub const ALGORITHMS: [i64; 3] = [ES256, EDDSA, RS256];

    /// Reads a COSE key, or an uncompressed P-256 point of 65 bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, KeyError> {
        if bytes.len() > Self::MAX {
            return Err(KeyError::Malformed);
        }
        match <[u8; 65]>::try_from(bytes) {
            Ok(point) if point[0] == 4 => Ok(Self::P256(point)),
            _ => Members::parse(bytes)?.key(),
        }
    }

    /// Verifies a signature: ASN.1 for ES256, plain for the others.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), WrongSignature> {
        let verified = match self {
            Self::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Self::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
        };
        verified.map_err(|_| WrongSignature)
    }
}

/// The members of a COSE key that matter here. −1, −2 and −3 mean something else for each type.
#[derive(Default)]
struct Members<'a> {
    kind: Option<i64>,
    algorithm: Option<i64>,
    curve: Option<i64>,
    /// −1 of RSA.
    first: Option<&'a [u8]>,
    second: Option<&'a [u8]>,
    third: Option<&'a [u8]>,
}

impl<'a> Members<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, KeyError> {
        let mut decoder = Decoder::new(bytes);
        let members = Self::read(&mut decoder).map_err(|_| KeyError::Malformed)?;
        if decoder.position() == bytes.len() { Ok(members) } else { Err(KeyError::Malformed) }
    }

    fn read(decoder: &mut Decoder<'a>) -> Result<Self, Error> {
        let mut members = Self::default();
        let count = decoder.map()?.ok_or_else(|| Error::message("indefinite length"))?;
        for _ in 0..count {
            let twice = match decoder.i64()? {
                1 => members.kind.replace(decoder.i64()?).is_some(),
                3 => members.algorithm.replace(decoder.i64()?).is_some(),
                -1 if decoder.datatype()? == Type::Bytes => {
                    members.first.replace(decoder.bytes()?).is_some()
                }
                -1 => members.curve.replace(decoder.i64()?).is_some(),
                -2 => members.second.replace(decoder.bytes()?).is_some(),
                -3 => members.third.replace(decoder.bytes()?).is_some(),
                _ => {
                    decoder.skip()?;
                    false
                }
            };
            if twice {
                return Err(Error::message("a label twice"));
            }
        }
        Ok(members)
    }

    fn key(self) -> Result<PublicKey<'a>, KeyError> {
        let parameters = (self.kind, self.algorithm, self.curve);
        match (parameters, self.first, self.second, self.third) {
            ((Some(EC2), Some(ES256), Some(P256)), None, Some(x), Some(y)) => {
                let (x, y): ([u8; 32], [u8; 32]) = (fixed(x)?, fixed(y)?);
                let mut point = [4; 65];
                point[1..33].copy_from_slice(&x);
                point[33..].copy_from_slice(&y);
                Ok(PublicKey::P256(point))
            }
            ((Some(OKP), Some(EDDSA), Some(CURVE25519)), None, Some(x), None) => {
                x.try_into().map(PublicKey::Ed25519).map_err(|_| KeyError::Malformed)
            }
            ((Some(RSA), Some(RS256), None), Some(n), Some(e), None)
                if MODULUS.contains(&n.len()) && (1..=EXPONENT_MAX).contains(&e.len()) =>
            {
                Ok(PublicKey::Rsa { n, e })
            }
            _ => Err(KeyError::Unsupported),
        }
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], KeyError> {
    bytes.try_into().map_err(|_| KeyError::Malformed)
}
