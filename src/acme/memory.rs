//! The account at the authority, and who issued the certificate: `acme.json` in the data folder.

use std::fs;
use std::path::{Path, PathBuf};

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::{IdentityError, write_private};
use crate::pool;

/// Longest file, in bytes.
const FILE_MAX: u64 = 64 << 10;

/// What is kept between two orders.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Directory of the account below.
    directory: String,
    /// The account and its key, as the crate writes it.
    account: Option<Value>,
    /// Directory of who issued the last certificate.
    issued_by: Option<String>,
}

fn path(data: &Path) -> PathBuf {
    data.join("acme.json")
}

impl Memory {
    /// From the data folder; empty if there is none, or none that can be read: an account costs
    /// nothing.
    pub(super) async fn load(data: &Path) -> Self {
        let path = path(data);
        let read = pool::unblock(move || {
            let size = fs::metadata(&path).map(|meta| meta.len()).unwrap_or(0);
            if size == 0 || size > FILE_MAX {
                return Self::default();
            }
            let text = fs::read(&path).unwrap_or_default();
            serde_json::from_slice(&text).unwrap_or_else(|error| {
                log::warn!("{}: {error}: another account is made", path.display());
                Self::default()
            })
        });
        read.await
    }

    /// The account at `directory`, if there is one.
    pub(super) fn account(&self, directory: &str) -> Option<AccountCredentials> {
        let account = self.account.clone().filter(|_| self.directory == directory)?;
        serde_json::from_value(account).ok()
    }

    /// Another account.
    pub(super) fn set_account(&mut self, directory: &str, account: &AccountCredentials) {
        self.directory = directory.to_owned();
        self.account = serde_json::to_value(account).ok();
    }

    /// It is gone at the authority.
    pub(super) fn forget_account(&mut self) {
        self.account = None;
    }

    /// The certificate is from the authority at `directory` now.
    pub(super) fn set_issuer(&mut self, directory: &str) {
        self.issued_by = Some(directory.to_owned());
    }

    /// Whether the last certificate came from the authority at `directory`.
    pub(super) fn is_from(&self, directory: &str) -> bool {
        self.issued_by.as_deref() == Some(directory)
    }

    /// Into the data folder, for its owner only. Blocks.
    pub(super) fn save(&self, data: &Path) -> Result<(), IdentityError> {
        let text = serde_json::to_string(self)
            .map_err(|error| IdentityError::Invalid(path(data), error.to_string()))?;
        write_private(&path(data), &text)
    }
}
