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
    let hash = digest::digest(&digest::SHA256, &shown);
    let certificate = hash.as_ref().try_into().map_err(|_| no_certificate())?;
    Ok(Secured { stream, certificate, how })
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
