//! What a visit begins with, asks, is answered, and wants done: the words between [`super::flow`] and
//! whoever has the sockets. Passwords in them are not shown by `Debug`.

use std::sync::Arc;

use serde_json::Value;

use super::certificate::Certificate;
use super::log::Line;
use super::state::{Login, Mode, State};
use crate::model::AmtPolicy;

/// Whose computer it is, for the log.
#[derive(Clone, Debug, Default)]
pub struct Who {
    /// The tenant.
    pub domain: String,
    /// UUID with dashes.
    pub uuid: String,
    /// The device.
    pub node: String,
    /// Its group.
    pub group: String,
    /// Address and port it came from.
    pub remote: String,
}

/// What a visit begins with.
pub struct Setting {
    /// Whose computer it is.
    pub who: Who,
    /// What the group wants; `None` is nothing.
    pub policy: Option<AmtPolicy>,
    /// The certificates of the domain.
    pub certificates: Vec<Arc<Certificate>>,
    /// Logins that were set or worked before.
    pub logins: Vec<Login>,
    /// Logins of the domain (`adminAccounts`).
    pub accounts: Vec<Login>,
    /// What the activation log has of this computer, newest first.
    pub logged: Vec<Login>,
    /// Whether it is set up over TLS.
    pub over_tls: OverTls,
    /// What the program on the computer has reported.
    pub state: State,
}

/// When firmware is set up over TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverTls {
    /// The owner forbids it.
    Never,
    /// Where there is no other way.
    #[default]
    WhereNeeded,
    /// Where the firmware can.
    WherePossible,
}

/// How a call reaches the firmware.
pub struct Way {
    /// Who calls.
    pub login: Option<Login>,
    /// On what.
    pub channel: Channel,
}

/// A connection to the firmware from within.
#[derive(Clone)]
pub enum Channel {
    /// HTTP.
    Plain,
    /// TLS with whatever certificate: it ends on the same computer, as the plain one does.
    Tls,
    /// TLS on which both sides prove who they are.
    Introduced {
        /// Who we are.
        certificate: Arc<Certificate>,
        /// The hash of the certificate the firmware has to show, lower-case hex.
        hash: String,
    },
}

impl Channel {
    /// Whether what was opened for one can be used for the other.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain, Self::Plain) | (Self::Tls, Self::Tls) => true,
            (Self::Introduced { hash, .. }, Self::Introduced { hash: other, .. }) => hash == other,
            _ => false,
        }
    }
}

/// What is asked of the firmware.
#[derive(Clone, PartialEq, Eq)]
pub enum Call {
    /// Read `AMT_GeneralSettings` and `IPS_HostBasedSetupService` with the local login.
    Read,
    /// `AddNextCertInChain` with the local login.
    AddCertificate {
        /// DER.
        certificate: Vec<u8>,
        /// The first.
        is_leaf: bool,
        /// The last.
        is_root: bool,
    },
    /// `AdminSetup` with the local login.
    AdminSetup {
        /// MD5 of user, realm and password in lower-case hex.
        password: String,
        /// Our nonce in base64.
        nonce: String,
        /// In base64.
        signature: String,
    },
    /// `Setup` with the local login.
    Setup {
        /// MD5 of user, realm and password in lower-case hex.
        password: String,
    },
    /// See whether a login works.
    LogIn(Login),
    /// Read the realm of `AMT_GeneralSettings` over TLS.
    ReadRealm,
    /// `SetAdminAclEntryEx` over TLS.
    SetPassword {
        /// MD5 of user, realm and password in base64.
        password: String,
    },
    /// `SetMEBxPassword` over TLS.
    SetMenuPassword(String),
    /// `CommitChanges`, as the new administrator or over TLS.
    Commit,
    /// Set everything up as its group wants it.
    Manage {
        /// It was activated over TLS just now.
        activated_over_tls: bool,
        /// A login that works.
        login: Login,
    },
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "Read",
            Self::AddCertificate { .. } => "AddNextCertInChain",
            Self::AdminSetup { .. } => "AdminSetup",
            Self::Setup { .. } => "Setup",
            Self::LogIn(_) => "LogIn",
            Self::ReadRealm => "ReadRealm",
            Self::SetPassword { .. } => "SetAdminAclEntryEx",
            Self::SetMenuPassword(_) => "SetMEBxPassword",
            Self::Commit => "CommitChanges",
            Self::Manage { .. } => "Manage",
        })
    }
}

/// What the firmware answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Call::Read`].
    Read {
        /// `DigestRealm`.
        realm: String,
        /// `ConfigurationNonce`, decoded.
        nonce: Vec<u8>,
        /// How many `AllowedControlModes` there are.
        modes: usize,
        /// `CurrentControlMode`.
        mode: Mode,
    },
    /// A method returned this; 0 is success.
    Returned(u32),
    /// Everything is set up.
    Managed,
    /// The login works.
    LoggedIn {
        /// `DigestRealm`.
        realm: String,
    },
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The login is not accepted.
    Credentials,
    /// The firmware refuses; what it said.
    Refused(String),
    /// Nobody knows whether the firmware has heard it; why.
    Lost(String),
}

/// What has to be done, in order.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Say this to the program on the computer.
    Tell(Value),
    /// Ask the firmware and bring the answer to [`super::flow::Flow::answered`].
    Call(Call),
    /// Sign this and call [`super::flow::Flow::signed`].
    Sign(Vec<u8>),
    /// Write this to the activation log and call [`super::flow::Flow::written`].
    Write(Box<Line>),
    /// Write this too; nothing waits for it.
    Note(Box<Line>),
    /// A certificate is about to be used: tell people.
    Requested {
        /// For this DNS suffix.
        suffix: String,
        /// Over TLS.
        over_tls: bool,
    },
    /// The firmware was activated: keep login and realm.
    Activated(Login, String, Mode),
    /// This login works: keep it.
    Works(Login),
    /// The firmware was deactivated: forget the login.
    Deactivated,
    /// The visit is over.
    End(Outcome),
}

/// How a visit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether everything that was wanted was done.
    pub is_success: bool,
    /// For people.
    pub text: String,
}

/// What return values of setting up mean, for people.
pub fn sentence(value: u32) -> &'static str {
    match value {
        1 => "internal error of Intel AMT; switch the computer off and on, without its battery",
        2 => "Intel AMT is in another state; stop its configuration or reset it in MEBx",
        3 | 36 => "Intel AMT does not accept a parameter",
        4 => "this way of activating is disabled in the BIOS or MEBx",
        5 => {
            "authentication failed: Intel AMT does not accept the signature, the certificate chain, \
             its root or the domain. The DNS suffix must come by DHCP option 15 on a wired \
             interface, from MEBx or a setup.bin file"
        }
        6 | 38 => "too many changes were written to the memory of Intel AMT; wait a while",
        16 => "not permitted",
        25 => "authentication failed",
        28 => "the DNS suffix of the computer is not that of the certificate",
        32 => "Intel AMT is in another state; stop its configuration or reset it in MEBx",
        47..=49 => "Intel AMT is still making its key; try again in a minute",
        2054 => "Intel AMT does not accept the password",
        2057 => "Intel AMT wants a password for its own menu first; set one in MEBx",
        1024 => "disabled by policy",
        2063 => "Intel AMT does not accept the certificate",
        _ => "unknown error of Intel AMT",
    }
}
