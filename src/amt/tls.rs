//! TLS towards firmware: who does it, and how the firmware is known again.
//!
//! Its certificate is its own or one we gave it, so nobody vouches for it: the first one seen is
//! kept with the login ([`crate::model::AmtAccess::pin`]), and a device that shows another one is
//! not told anything. rustls is tried first. Much firmware has only RSA key exchange or TLS below
//! 1.2; that is OpenSSL's part, in builds with the feature `legacy-amt`.

use std::fmt;
use std::io;

use ring::digest;

use crate::hub::ByteStream;
use crate::tls::client::{self, Proof};

/// SHA-256 of a certificate in DER form.
pub type Fingerprint = [u8; 32];

/// A connection that is encrypted.
pub struct Secured {
    /// The stream inside.
    pub stream: Box<dyn ByteStream>,
    /// Of the certificate the firmware showed.
    pub certificate: Fingerprint,
    /// Version and cipher suite.
    pub how: String,
}

/// Who does TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// rustls: TLS 1.2 and 1.3 with forward secrecy.
    Modern,
    /// OpenSSL: from TLS 1.0 on, RSA key exchange too.
    Legacy,
}

impl By {
    /// In the order in which they are tried.
    pub const ALL: &[Self] =
        if cfg!(feature = "legacy-amt") { &[Self::Modern, Self::Legacy] } else { &[Self::Modern] };
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modern => "rustls",
            Self::Legacy => "OpenSSL",
        })
    }
}

/// Does the handshake. The caller sets the time limit, and compares the certificate.
///
/// # Errors
/// What the transport or the firmware did wrong.
pub async fn secure(stream: Box<dyn ByteStream>, by: By) -> io::Result<Secured> {
    let (stream, shown, how) = secure_as(stream, by, None).await?;
    Ok(Secured { stream, certificate: fingerprint_of(&shown), how })
}

/// The same; firmware that asks who we are is shown `proof`. The certificate is in DER form.
///
/// # Errors
/// As [`secure`].
pub async fn secure_as(
    stream: Box<dyn ByteStream>,
    by: By,
    proof: Option<Proof<'_>>,
) -> io::Result<(Box<dyn ByteStream>, Vec<u8>, String)> {
    match by {
        By::Modern => {
            let tls = match proof {
                Some(proof) => client::connect_as(stream, proof).await?,
                None => client::connect(stream).await?,
            };
            let shown = tls.certificate().ok_or_else(no_certificate)?.to_vec();
            let how = tls.describe();
            Ok((Box::new(tls), shown, how))
        }
        By::Legacy => legacy(stream, proof).await,
    }
}

#[cfg(feature = "legacy-amt")]
async fn legacy(
    stream: Box<dyn ByteStream>,
    proof: Option<Proof<'_>>,
) -> io::Result<(Box<dyn ByteStream>, Vec<u8>, String)> {
    let tls = crate::tls::legacy::connect(stream, proof).await?;
    let shown = tls.peer_certificate().ok_or_else(no_certificate)?;
    let how = tls.describe();
    Ok((Box::new(tls), shown, how))
}

#[cfg(not(feature = "legacy-amt"))]
async fn legacy(
    _: Box<dyn ByteStream>,
    _: Option<Proof<'_>>,
) -> io::Result<(Box<dyn ByteStream>, Vec<u8>, String)> {
    Err(io::ErrorKind::Unsupported.into())
}

fn no_certificate() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no certificate was shown")
}

/// What a certificate (DER) is known by.
pub fn fingerprint_of(certificate: &[u8]) -> Fingerprint {
    let mut print = [0; 32];
    let hash = digest::digest(&digest::SHA256, certificate);
    print.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    print
}

#[cfg(test)]
#[cfg(feature = "legacy-amt")]
mod legacy_tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use async_net::TcpStream;
    use futures_lite::future::block_on;
    use futures_lite::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use openssl::asn1::Asn1Time;
    use openssl::pkey::PKey;
    use openssl::ssl::{SslAcceptor, SslMethod, SslVersion};
    use openssl::x509::X509;
    use rsa::pkcs8::EncodePrivateKey as _;

    use super::*;

    /// Firmware of the time, for `count` connections: this version and suite, and nothing else. Its
    /// port, and its certificate.
    fn firmware(version: SslVersion, suite: &str, count: usize) -> (u16, Vec<u8>) {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap();
        let key = PKey::private_key_from_pkcs8(key.to_pkcs8_der().unwrap().as_bytes()).unwrap();
        let mut certificate = X509::builder().unwrap();
        let [begin, end] = [0, 1].map(|days| Asn1Time::days_from_now(days).unwrap());
        certificate.set_not_before(&begin).unwrap();
        certificate.set_not_after(&end).unwrap();
        certificate.set_pubkey(&key).unwrap();
        certificate.sign(&key, openssl::hash::MessageDigest::sha1()).unwrap();
        let certificate = certificate.build();
        let der = certificate.to_der().unwrap();
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
        acceptor.set_security_level(0);
        acceptor.set_min_proto_version(Some(version)).unwrap();
        acceptor.set_max_proto_version(Some(version)).unwrap();
        acceptor.set_cipher_list(&format!("{suite}:@SECLEVEL=0")).unwrap();
        acceptor.set_private_key(&key).unwrap();
        acceptor.set_certificate(&certificate).unwrap();
        let acceptor = acceptor.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().take(count).flatten() {
                let Ok(mut stream) = acceptor.accept(stream) else { continue };
                let mut heard = [0; 4];
                stream.read_exact(&mut heard).unwrap();
                stream.write_all(&heard).unwrap();
            }
        });
        (port, der)
    }

    #[test]
    fn old_firmware_is_reached_by_the_second_way_and_known_by_its_certificate() {
        for (version, suite, described) in [
            (SslVersion::TLS1, "AES128-SHA", "TLS 1.0 AES128-SHA"),
            (SslVersion::TLS1_1, "AES256-SHA", "TLS 1.1 AES256-SHA"),
            (SslVersion::TLS1_2, "AES128-GCM-SHA256", "TLS 1.2 AES128-GCM-SHA256"),
        ] {
            let (port, der) = firmware(version, suite, By::ALL.len());
            block_on(async {
                let open = async || TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let modern = secure(Box::new(open().await), By::Modern).await;
                assert!(modern.is_err(), "{suite} is nothing rustls does");
                let secured = secure(Box::new(open().await), By::Legacy).await;
                let mut secured = secured.unwrap_or_else(|error| panic!("{suite}: {error}"));
                assert_eq!(secured.how, described);
                assert_eq!(secured.certificate, fingerprint_of(&der));
                secured.stream.write_all(b"ping").await.unwrap();
                secured.stream.flush().await.unwrap();
                let mut heard = [0; 4];
                secured.stream.read_exact(&mut heard).await.unwrap();
                assert_eq!(&heard, b"ping");
            });
        }
    }
}
