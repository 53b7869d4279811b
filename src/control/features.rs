//! `features` and `features2` of `serverinfo`: what this server can and cannot do for an account.
//!
//! Source: control-protocol §3.2. Mostly the web page reads them; only what exists is advertised.

use super::auth::{Login, may_have_tokens};
use crate::config::{Config, Framing, Reach};
use crate::model::User;

/// What there is for Intel AMT.
pub(super) struct Amt {
    /// The port computers call.
    pub(super) has_port: bool,
    /// A certificate for admin control mode.
    pub(super) has_certificate: bool,
}

/// `features`.
pub(super) fn first(config: &Config, user: &User, login: &Login, amt: Amt) -> u32 {
    const WAN_ONLY: u32 = 0x1;
    const LAN_ONLY: u32 = 0x2;
    const FRAMING: u32 = 0x20;
    const NO_CIRA: u32 = 0x400;
    const SECOND_FACTORS: u32 = 0x1000;
    const PASSWORD_HINTS: u32 = 0x1_0000;
    const SECURITY_KEYS: u32 = 0x2_0000;
    const FORCE_SECOND_FACTOR: u32 = 0x4_0000;
    const AMT_ADMIN_MODE: u32 = 0x10_0000;
    const INVITE_CODES: u32 = 0x100_0000;
    const RECORDINGS: u32 = 0x0800_0000;
    const NO_NOVNC: u32 = 0x2000_0000;
    const NO_WEB_RDP: u32 = 0x4000_0000;
    let domain = config.domain(&user.id.domain);
    let with_factors = !config.settings.no_second_factor;
    let must_have_factors =
        with_factors && domain.factors.force && !domain.factors.skips(login.remote.ip());
    NO_NOVNC
        | NO_WEB_RDP
        | bit(config.settings.reach == Reach::Wan, WAN_ONLY)
        | bit(config.settings.reach == Reach::Lan, LAN_ONLY)
        | bit(!amt.has_port, NO_CIRA)
        | bit(amt.has_certificate, AMT_ADMIN_MODE)
        | bit(domain.agent_invite_codes, INVITE_CODES)
        | bit(domain.recording.is_some(), RECORDINGS)
        | bit(with_factors, SECOND_FACTORS | SECURITY_KEYS)
        | bit(*config.framing(&user.id.domain) != Framing::Nobody, FRAMING)
        | bit(domain.passwords.hint, PASSWORD_HINTS)
        | bit(must_have_factors, FORCE_SECOND_FACTOR)
}

/// `features2`.
pub(super) fn second(config: &Config, user: &User, login: &Login) -> u32 {
    const NO_AGENT_UPDATE: u32 = 0x10;
    const LOGIN_TOKENS: u32 = 0x80;
    const BY_LOGIN_TOKEN: u32 = 0x100;
    const NO_CLIPBOARD_GET: u32 = 0x800;
    const NO_CLIPBOARD_SET: u32 = 0x1000;
    const NO_APP: u32 = 0x2_0000;
    const NO_BACKUP_CODES: u32 = 0x4_0000;
    let domain = config.domain(&user.id.domain);
    bit(config.settings.no_agent_update, NO_AGENT_UPDATE)
        | bit(may_have_tokens(domain, user), LOGIN_TOKENS)
        | bit(login.token.is_some(), BY_LOGIN_TOKEN)
        | bit(domain.no_clipboard_get, NO_CLIPBOARD_GET)
        | bit(domain.no_clipboard_set, NO_CLIPBOARD_SET)
        | bit(!domain.factors.app, NO_APP)
        | bit(!domain.factors.backup_codes, NO_BACKUP_CODES)
}

fn bit(set: bool, bit: u32) -> u32 {
    if set { bit } else { 0 }
}
