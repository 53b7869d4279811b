//! How long what changes may stay in memory: what [`Storage`] means for each kind of file.

use std::time::Duration;

use crate::model::Storage;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Whether who awaits a record waits for the disk. Else it is acknowledged at once, and goes to
    /// the disk, by an fsync, with the next batch.
    pub(super) awaits_disk: bool,
    /// How long a record that nobody awaits, or a detail document, may stay in memory; `None` until
    /// everything is to be saved.
    pub(super) lazy: Option<Duration>,
    /// The same for an entry of history.
    pub(super) history: Option<Duration>,
}

impl Pace {
    pub(super) fn of(storage: Storage) -> Self {
        let seconds = |n| Some(Duration::from_secs(n));
        match storage {
            Storage::Durable => Self { awaits_disk: true, lazy: seconds(5), history: seconds(60) },
            Storage::Coalesced => {
                Self { awaits_disk: false, lazy: seconds(60), history: seconds(600) }
            }
            Storage::Volatile => Self { awaits_disk: false, lazy: None, history: None },
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::of(Storage::default())
    }
}
