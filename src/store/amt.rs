//! Records of Intel AMT as they lie on disk: their passwords are sealed (see [`super::vault`]).

use serde::{Deserialize, Serialize};

use super::vault::Vault;
use crate::model::{AmtAccess, AmtPolicy, GroupId, NodeId};

/// A password in a frame.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Kept {
    /// As older versions wrote it; sealed with the next snapshot.
    Clear(String),
    /// Sealed for the record's id.
    Sealed(Vec<u8>),
}

impl Kept {
    fn seal(text: &str, owner: &str, vault: &Vault) -> Option<Self> {
        vault.seal(owner, text).map(Self::Sealed)
    }

    fn open(self, owner: &str, vault: &Vault) -> Option<String> {
        match self {
            Self::Clear(text) => Some(text),
            Self::Sealed(sealed) => vault.open(owner, &sealed),
        }
    }
}

/// [`AmtAccess`] on disk.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AmtAccessForm {
    pub(super) node: NodeId,
    pub(super) user: String,
    pub(super) password: Kept,
    pub(super) tls: bool,
    pub(super) pin: Option<[u8; 32]>,
    pub(super) pending: Option<Kept>,
}

impl AmtAccessForm {
    /// `None` without a key.
    pub(super) fn seal(access: &AmtAccess, vault: &Vault) -> Option<Self> {
        let AmtAccess { node, user, password, tls, pin, pending } = access;
        let seal = |text: &str| Kept::seal(text, &node.to_string(), vault);
        let password = seal(password)?;
        let pending = match pending {
            Some(text) => Some(seal(text)?),
            None => None,
        };
        let (node, user) = (node.clone(), user.clone());
        Some(Self { node, user, password, tls: *tls, pin: *pin, pending })
    }

    /// `None` if it was sealed with another key.
    pub(super) fn open(self, vault: &Vault) -> Option<AmtAccess> {
        let Self { node, user, password, tls, pin, pending } = self;
        let owner = node.to_string();
        let password = password.open(&owner, vault)?;
        let pending = match pending {
            Some(kept) => Some(kept.open(&owner, vault)?),
            None => None,
        };
        Some(AmtAccess { node, user, password, tls, pin, pending })
    }
}

/// [`AmtPolicy`] on disk.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AmtPolicyForm {
    pub(super) group: GroupId,
    pub(super) kind: u8,
    pub(super) password: Option<Kept>,
    pub(super) bad_password: u8,
    pub(super) cira: u8,
    pub(super) client_mode: u8,
}

impl AmtPolicyForm {
    /// `None` without a key.
    pub(super) fn seal(policy: &AmtPolicy, vault: &Vault) -> Option<Self> {
        let AmtPolicy { group, kind, password, bad_password, cira, client_mode } = policy;
        let (kind, bad_password, cira, client_mode) = (*kind, *bad_password, *cira, *client_mode);
        let password = match password {
            Some(text) => Some(Kept::seal(text, &group.to_string(), vault)?),
            None => None,
        };
        let group = group.clone();
        Some(Self { group, kind, password, bad_password, cira, client_mode })
    }

    /// `None` if it was sealed with another key.
    pub(super) fn open(self, vault: &Vault) -> Option<AmtPolicy> {
        let Self { group, kind, password, bad_password, cira, client_mode } = self;
        let password = match password {
            Some(kept) => Some(kept.open(&group.to_string(), vault)?),
            None => None,
        };
        Some(AmtPolicy { group, kind, password, bad_password, cira, client_mode })
    }
}
