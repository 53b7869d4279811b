//! The log on standard error: with time on a terminal or in a file, without in the journal, which
//! adds its own.

use std::io::stderr;

use log::LevelFilter;
use simple_logger::SimpleLogger;

/// Starts logging. A server tells what it does; a command only what went wrong. `RUST_LOG`
/// overrides both.
pub(super) fn start(verbose: u8, serve: bool) {
    let (ours, others) = match (verbose, serve) {
        (0, true) => (LevelFilter::Info, LevelFilter::Warn),
        (0, false) => (LevelFilter::Warn, LevelFilter::Warn),
        (1, _) => (LevelFilter::Debug, LevelFilter::Info),
        _ => (LevelFilter::Trace, LevelFilter::Debug),
    };
    let logger = SimpleLogger::new().with_level(others).with_module_level("meshboard", ours).env();
    let logger = if in_journal() || !serve {
        logger.without_timestamps()
    } else {
        logger.with_utc_timestamps()
    };
    // Only a second logger could make this fail.
    let _ = logger.init();
}

/// Whether standard error is the journal: `$JOURNAL_STREAM` names its device and inode, see
/// systemd.exec(5).
fn in_journal() -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(stderr()) else { return false };
    journal == format!("{}:{}", stat.st_dev, stat.st_ino)
}
