//! Replacing the web certificate, so that a power cut leaves the old pair or the new one.
//!
//! A certificate and its key are two files. Both are first written into one, which is whole or not
//! there; from it the two are made, again after a crash, before it is removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate::WebCertificate;
use super::files::{IdentityError, Role, create};

/// Marks the end of the key in the file that holds both.
const SEAM: &str = "\n-----meshboard-----\n";

fn both(dir: &Path) -> PathBuf {
    dir.join(format!("{}-renewal.pem", Role::Web.stem()))
}

/// Puts a certificate chain (leaf first) and its key, both PEM, in the place of the web
/// certificate. Blocks: call it in the pool.
///
/// # Errors
/// If they do not fit together, or the disk refuses.
pub fn replace_web(dir: &Path, chain: &str, key: &str) -> Result<(), IdentityError> {
    let path = both(dir);
    let invalid = |what: String| IdentityError::Invalid(path.clone(), what);
    let not_pem = |e: rustls_pki_types::pem::Error| invalid(format!("not PEM: {e}"));
    let certificates = CertificateDer::pem_slice_iter(chain.as_bytes());
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(not_pem)?;
    let parsed = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(not_pem)?;
    WebCertificate::new(certificates, parsed).map_err(invalid)?;
    create(&path, &[key, SEAM, chain].concat(), 0o600)?;
    finish_replacement(dir)
}

/// Finishes what a crash interrupted.
pub(super) fn finish_replacement(dir: &Path) -> Result<(), IdentityError> {
    let path = both(dir);
    let io = |e| IdentityError::Io(path.clone(), e);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(io)?,
    };
    let Some((key, chain)) = text.split_once(SEAM) else {
        return Err(IdentityError::Invalid(path, "not made by this program".into()));
    };
    create(&Role::Web.key_path(dir), key, 0o600)?;
    create(&Role::Web.cert_path(dir), chain, 0o644)?;
    // They belonged to the certificate that was there; the new one brings its own.
    for n in 1.. {
        let intermediate = dir.join(format!("{}-chain{n}.crt", Role::Web.stem()));
        match fs::remove_file(&intermediate) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(IdentityError::Io(intermediate, error)),
        }
    }
    fs::remove_file(&path).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Names, load_or_make_web};

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["a.b".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_crash_at_any_moment_leaves_one_of_the_two_pairs() {
        let names = Names { server: "a.b".into(), others: vec![] };
        let (chain, key) = pair();
        for step in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let old = load_or_make_web(dir.path(), &names).unwrap();
            fs::write(dir.path().join("webserver-cert-chain1.crt"), &chain).unwrap();
            fs::write(both(dir.path()), [&*key, SEAM, &*chain].concat()).unwrap();
            if step > 0 {
                fs::write(Role::Web.key_path(dir.path()), &key).unwrap();
            }
            if step > 1 {
                fs::write(Role::Web.cert_path(dir.path()), &chain).unwrap();
            }
            let new = load_or_make_web(dir.path(), &names).unwrap();
            assert_ne!(new.hash, old.hash, "{step}");
            assert_eq!(new.certified.cert.len(), 1, "no intermediate of the old one");
            assert!(!both(dir.path()).exists());
            assert_eq!(load_or_make_web(dir.path(), &names).unwrap().hash, new.hash);
        }
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let names = Names { server: "a.b".into(), others: vec![] };
        let old = load_or_make_web(dir.path(), &names).unwrap();
        let ((chain, key), (_, other)) = (pair(), pair());
        for (chain, key) in [(&*chain, &*other), ("", &*key), (&*chain, ""), ("x", "y")] {
            assert!(replace_web(dir.path(), chain, key).is_err());
        }
        assert_eq!(load_or_make_web(dir.path(), &names).unwrap().hash, old.hash);
        replace_web(dir.path(), &chain, &key).unwrap();
        assert_ne!(load_or_make_web(dir.path(), &names).unwrap().hash, old.hash);
    }
}
