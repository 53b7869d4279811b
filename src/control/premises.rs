//! Where the server lives and what a session remembers: what some actions need besides the hub.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::files::Cabinet;

use super::statistics::Traffic;

/// The place of a server on its machine; filled in by the wiring.
#[derive(Clone, Debug)]
pub struct Premises {
    /// The data folder.
    pub data: PathBuf,
    /// Files people keep here.
    pub files: Cabinet,
    /// What is wrong with the configuration, one sentence each.
    pub warnings: Vec<String>,
    /// Version of the installed agent package; empty if it does not say, `None` without one.
    pub agent_package: RefCell<Option<String>>,
}

impl Premises {
    /// In the data folder `data`.
    pub fn new(data: &Path, warnings: Vec<String>) -> Self {
        Self {
            data: data.to_owned(),
            files: Cabinet::new(data),
            warnings,
            agent_package: RefCell::default(),
        }
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.data.join("config.json")
    }
}

/// What a session remembers between two requests.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// How often the client wants to be told numbers (`serverstats`).
    pub(super) stats_every: Cell<Option<Duration>>,
    /// The counters when it last asked for what was added to them.
    pub(super) traffic: Cell<Traffic>,
    /// Where it is in a list of devices that is shown page by page.
    pub(super) page: Cell<Page>,
}

/// A page of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Entries before it.
    pub(super) skip: usize,
    /// Entries on it; `None` as many as there may be.
    pub(super) limit: Option<usize>,
}
