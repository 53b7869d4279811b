//! `meshboard export`: moving out, to MeshCentral.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Common, Failure, link, print};
use crate::migrate::{Exported, export};
use crate::model::Millis;
use crate::store::{OpenError, Options, Store};
use crate::{backup, server};

/// Standard output.
const STREAM: &str = "-";

pub(super) fn run(common: &Common, file: &Path) -> Result<(), Failure> {
    let data = &common.data;
    if !data.is_dir() {
        return Err(Failure::failed(format!("there is no folder {}", data.display())));
    }
    if let Some(stage) = backup::restore::interrupted(data) {
        return Err(Failure::failed(server::half_restored(&stage)));
    }
    let opened = Store::open(data, Options::default());
    let (store, recovered) = opened.map_err(|error| match error {
        OpenError::InUse { .. } => Failure::failed(format!(
            "{error}; stop the server first: what it does afterwards would be missing"
        )),
        OpenError::Io { .. } => link::refused(error),
    })?;
    if recovered.lost.is_some() {
        log::warn!("{recovered}");
    }
    let is_stream = file == Path::new(STREAM);
    let exported = match is_stream {
        true => write(&store, io::stdout().lock()).map_err(Failure::failed)?,
        false => write_file(&store, file)
            .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?,
    };
    match (is_stream, common.json) {
        (true, _) => print::note(exported.to_string().trim_end()),
        (false, true) => print::json(&exported)?,
        (false, false) => print::table(&exported.to_string())?,
    }
    Ok(())
}

fn write(store: &Store, out: impl Write) -> io::Result<Exported> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Millis(u64::try_from(now.as_millis()).unwrap_or_default());
    async_io::block_on(export(store, now, BufWriter::new(out)))
}

/// The file has passwords' hashes and keys in it; it appears only when it is whole.
fn write_file(store: &Store, to: &Path) -> io::Result<Exported> {
    let part = PathBuf::from(format!("{}.part", to.display()));
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    let written = write(store, &file).and_then(|exported| {
        file.sync_all()?;
        fs::rename(&part, to)?;
        Ok(exported)
    });
    if written.is_err() {
        // Half an export is of no use and takes room; there may be none left.
        let _ = fs::remove_file(&part);
    }
    let exported = written?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(exported)
}
