//! The log on standard error: with time on a terminal or in a file, without in the journal, which
//! adds its own.

use std::io::stderr;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Metadata, Record};
use simple_logger::SimpleLogger;

use crate::hub::troubles;
use crate::model::Millis;

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
    log::set_max_level(logger.max_level());
    // Only a second logger could make this fail.
    let _ = log::set_boxed_logger(Box::new(Logger(logger)));
}

/// Standard error, and what went wrong also to where administrators can read it.
struct Logger(SimpleLogger);

impl log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if record.level() <= Level::Warn && self.enabled(record.metadata()) {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let time = Millis(wall.as_millis() as u64).iso();
            troubles::note(&format!("{time} {}: {}", record.level(), record.args()));
        }
        self.0.log(record);
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Whether standard error is the journal: `$JOURNAL_STREAM` names its device and inode, see
/// systemd.exec(5).
fn in_journal() -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(stderr()) else { return false };
    journal == format!("{}:{}", stat.st_dev, stat.st_ino)
}
