//! The stock MeshCentral package for tests: fetched once from the npm registry, checked, kept.
//!
//! It lies in `target/stock`. Test programs run in parallel, so a file lock guards its making.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use data_encoding::BASE64;

/// The version the reference vectors were made with.
pub(crate) const VERSION: &str = "1.1.55";
/// SHA-512 of its tarball, as the registry states it.
const INTEGRITY: &str =
    "imC+3LRoM+01+Rhcm1vg5WMKFiKUx/eAkM1AUUEVuVZxGuxVFHn9QaxKoI9xXIEJosg3+1391KBoXL7ZWjIf9w==";

/// The tarball, as `npm pack meshcentral` gives it.
pub(crate) fn package_tgz() -> PathBuf {
    let _lock = lock();
    tgz()
}

/// The folder `package` of the unpacked tarball. Shared by all tests: read only.
pub(crate) fn unpacked() -> PathBuf {
    let _lock = lock();
    let unpacked = folder().join(format!("meshcentral-{VERSION}"));
    if !unpacked.exists() {
        let making = unpacked.with_extension("making");
        let _ = fs::remove_dir_all(&making);
        let tgz = File::open(tgz()).expect("the tarball was just checked");
        let tgz = flate2::bufread::GzDecoder::new(std::io::BufReader::new(tgz));
        tar::Archive::new(tgz).unpack(&making).expect("the tarball unpacks");
        fs::rename(&making, &unpacked).expect("the folder takes its name");
    }
    unpacked.join("package")
}

fn folder() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("inside the target folder");
    let folder = target.join("stock");
    fs::create_dir_all(&folder).expect("the target folder is writable");
    folder
}

/// Held until dropped.
fn lock() -> File {
    let file = File::create(folder().join("lock")).expect("the target folder is writable");
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("flock works");
    file
}

fn tgz() -> PathBuf {
    let path = folder().join(format!("meshcentral-{VERSION}.tgz"));
    // A full check takes a second in each test program; the mark says it was done.
    let checked = path.with_extension("checked");
    if !path.exists() {
        let _ = fs::remove_file(&checked);
        let status = Command::new("npm")
            .args(["pack", "--silent", &format!("meshcentral@{VERSION}")])
            .current_dir(folder())
            .status()
            .expect("npm is installed");
        assert!(status.success(), "npm pack failed");
    }
    if !checked.exists() {
        let mut context = ring::digest::Context::new(&ring::digest::SHA512);
        let mut file = File::open(&path).expect("npm pack made the tarball");
        std::io::copy(&mut file, &mut Digest(&mut context)).expect("the tarball is readable");
        let found = BASE64.encode(context.finish().as_ref());
        assert_eq!(found, INTEGRITY, "{}: damaged, delete it", path.display());
        File::create(checked).expect("the target folder is writable");
    }
    path
}

struct Digest<'a>(&'a mut ring::digest::Context);

impl std::io::Write for Digest<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
