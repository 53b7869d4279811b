//! Records of how people and machines get in: second factors, login tokens, device shares, bans, and
//! what Intel AMT devices are logged in to with.
//!
//! They are records of their own, not fields of [`super::User`] or [`super::Device`], so that what
//! is shown to clients never holds a secret that must be left out. Removing an account, device or
//! group removes them with it (see `store`).

use serde::{Deserialize, Serialize};

use super::{GroupId, Millis, NodeId, PasswordHash, UserId};

/// What an account has besides its password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factors {
    /// Whose.
    pub user: UserId,
    /// The authenticator app.
    pub totp: Option<Totp>,
    /// Codes for the day the app is lost. They count only beside another factor.
    pub backup_codes: Vec<BackupCode>,
    /// WebAuthn security keys.
    pub security_keys: Vec<SecurityKey>,
    /// Former passwords, newest first, as far as `passwordRequirements.oldPasswordBan` goes.
    pub past_passwords: Vec<PasswordHash>,
    /// What the owner noted to remember the password by.
    pub password_hint: Option<String>,
}

impl Factors {
    /// Nothing yet.
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            totp: None,
            backup_codes: Vec::new(),
            security_keys: Vec::new(),
            past_passwords: Vec::new(),
            password_hint: None,
        }
    }

    /// The same without anything a login could ask for.
    #[must_use]
    pub fn without_factors(&self) -> Self {
        Self {
            user: self.user.clone(),
            totp: None,
            backup_codes: Vec::new(),
            security_keys: Vec::new(),
            past_passwords: self.past_passwords.clone(),
            password_hint: self.password_hint.clone(),
        }
    }

    /// Whether a login needs more than the password.
    pub fn are_needed(&self) -> bool {
        self.totp.is_some() || !self.security_keys.is_empty()
    }
}

/// A time-based one-time password (RFC 6238): SHA-1, 30 seconds, 6 digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totp {
    /// The shared secret, raw.
    pub secret: Vec<u8>,
    /// The newest time step that was used. It and older ones are refused: a code works once.
    pub last_step: u64,
}

impl std::fmt::Debug for Totp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Totp(last step {})", self.last_step)
    }
}

/// A code of eight digits that works once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupCode {
    /// The code as a number.
    pub number: u32,
    /// Whether it was used.
    pub used: bool,
}

impl std::fmt::Debug for BackupCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BackupCode(used: {})", self.used)
    }
}

/// A WebAuthn authenticator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityKey {
    /// Number among the keys of the account, by which it is removed.
    pub index: u32,
    /// What the owner calls it.
    pub name: String,
    /// Credential id, raw, at most 1023 bytes.
    pub credential: Vec<u8>,
    /// Public key as COSE or as SEC1 point; see `identity::webauthn`.
    pub public_key: Vec<u8>,
    /// Signature counter last seen.
    pub counter: u32,
}

/// Whether a security key makes sure who touches it (`userVerification` of WebAuthn).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyPin {
    /// Where it can.
    #[default]
    Preferred,
    /// Always: a key without PIN or fingerprint is of no use.
    Required,
    /// Touching it is enough.
    Discouraged,
}

impl KeyPin {
    /// The word of the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preferred => "preferred",
            Self::Required => "required",
            Self::Discouraged => "discouraged",
        }
    }

    /// From the word of the specification.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Preferred, Self::Required, Self::Discouraged];
        all.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(word))
    }
}

/// A user name and password for a program, `~t:…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoginToken {
    /// `~t:` and 16 characters; unique on the server.
    pub token_user: String,
    /// Whom it logs in.
    pub user: UserId,
    /// What the owner calls it.
    pub name: String,
    /// How its password is kept.
    pub password: PasswordHash,
    /// When it was made.
    pub created: Millis,
    /// Until when it works; `None` for ever.
    pub expires: Option<Millis>,
}

/// A link by which somebody without an account gets at one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Twelve characters of base64; unique on the server.
    pub public_id: String,
    /// The device.
    pub node: NodeId,
    /// Who made it, and in whose name the guest acts.
    pub user: UserId,
    /// What the guest is called, 1 to 128 characters.
    pub guest_name: String,
    /// 1 terminal, 2 desktop, 4 files, 8 HTTP, 16 HTTPS.
    pub protocols: u32,
    /// Consent flags that are added to those of the device.
    pub consent: u32,
    /// The TCP port of HTTP or HTTPS.
    pub port: Option<u16>,
    /// The link itself, shown to who made it.
    pub url: String,
    /// From when on.
    pub start: Option<Millis>,
    /// Until when; `None` without end.
    pub expires: Option<Millis>,
    /// Minutes it is open each time, if it recurs.
    pub duration: Option<u32>,
    /// 1 daily, 2 weekly.
    pub recurring: Option<u8>,
    /// The guest sees the desktop and touches nothing.
    pub view_only: bool,
}

/// A day in milliseconds.
const DAY: u64 = 86_400_000;

impl Share {
    /// [`Self::open_until`] of a share without end.
    pub const FOR_EVER: Millis = Millis(u64::MAX);

    /// Whether a guest may come in at `now`.
    pub fn is_open(&self, now: Millis) -> bool {
        self.open_until(now).is_some()
    }

    /// Until when a guest who comes in at `now` may stay; `None` while the share is closed.
    ///
    /// A share that recurs opens for `duration` minutes at its start and every day or week after
    /// it, counted in whole days of UTC as MeshCentral does. The end itself is outside. What is not
    /// understood is closed.
    pub fn open_until(&self, now: Millis) -> Option<Millis> {
        let end = self.expires.unwrap_or(Self::FOR_EVER);
        if now >= end || self.start.is_some_and(|start| now < start) {
            return None;
        }
        if self.recurring.is_none() {
            return Some(end);
        }
        let period = self.period()?;
        let (start, length) = (self.start?, u64::from(self.duration?) * 60_000);
        if length >= period {
            return Some(end);
        }
        let opened = now.0 - (now.0 - start.0) % period;
        let closes = Millis(opened + length);
        (now < closes).then_some(closes.min(end))
    }

    /// When a share that is closed at `now` opens next, if it ever does.
    pub fn opens_next(&self, now: Millis) -> Option<Millis> {
        let start = self.start?;
        let next = match now < start {
            true => start,
            false => {
                let period = self.period()?;
                let begun = (now.0 - start.0) / period + 1;
                Millis(start.0.checked_add(begun.checked_mul(period)?)?)
            }
        };
        self.open_until(next).map(|_| next)
    }

    /// Milliseconds from one opening to the next.
    fn period(&self) -> Option<u64> {
        match self.recurring? {
            1 => Some(DAY),
            2 => Some(7 * DAY),
            _ => None,
        }
    }

    /// Whether it will never open again.
    pub fn is_over(&self, now: Millis) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

/// A text people wrote about something: notes, the state of the web page, an account's image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// MeshCentral's document id: `nt<id>`, `ntp<user id>`, `ws<user id>`, `im<user id>`.
    pub id: String,
    /// The text, at most [`Document::MAX`] bytes.
    pub text: String,
}

impl Document {
    /// Longest text in bytes.
    pub const MAX: usize = 64 * 1024;

    /// The id of the notes on something that has the id `of`.
    pub fn note(of: &str) -> String {
        format!("nt{of}")
    }

    /// The id of what an account noted for itself.
    pub fn private_note(user: &UserId) -> String {
        format!("ntp{user}")
    }

    /// The id of the state of an account's web page.
    pub fn web_state(user: &UserId) -> String {
        format!("ws{user}")
    }

    /// The id of an account's image.
    pub fn image(user: &UserId) -> String {
        format!("im{user}")
    }
}

/// A network that is refused because passwords were guessed from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The network in text form, `192.0.2.0/24`.
    pub network: String,
    /// Until when.
    pub until: Millis,
}

/// How a device's Intel AMT is logged in to.
#[derive(Clone, PartialEq, Eq)]
pub struct AmtAccess {
    /// The device.
    pub node: NodeId,
    /// User name, mostly `admin`.
    pub user: String,
    /// Password.
    pub password: String,
    /// Whether TLS is used (port 16993 instead of 16992).
    pub tls: bool,
    /// SHA-256 of the TLS certificate the firmware showed first; another one is refused.
    pub pin: Option<[u8; 32]>,
    /// A new password that was sent to the firmware, which has not said yet that it took it.
    pub pending: Option<String>,
}

impl AmtAccess {
    /// A login that was not used yet.
    pub fn new(node: NodeId, user: &str, password: &str, tls: bool) -> Self {
        Self {
            node,
            user: user.to_owned(),
            password: password.to_owned(),
            tls,
            pin: None,
            pending: None,
        }
    }

    /// The passwords that may be right, the likelier one first.
    pub fn passwords(&self) -> impl Iterator<Item = &str> {
        let all = [Some(&*self.password), self.pending.as_deref()];
        all.into_iter().flatten().filter(|password| !password.is_empty())
    }
}

impl std::fmt::Debug for AmtAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AmtAccess({}, {:?})", self.node, self.user)
    }
}

/// What is to become of the Intel AMT of a group's devices (`amt` of a group).
#[derive(Clone, PartialEq, Eq)]
pub struct AmtPolicy {
    /// The group.
    pub group: GroupId,
    /// `type`: 0 none, 1 deactivate, 2 client control mode, 3 admin control mode, 4 automatic.
    pub kind: u8,
    /// Password to set; `None`: a random one for each device.
    pub password: Option<String>,
    /// `badpass` 1: a device that does not accept the password is activated anew.
    pub bad_password: u8,
    /// `cirasetup`: 0 leave CIRA as it is, 1 remove it, 2 set it up.
    pub cira: u8,
    /// `ccm`, if admin control mode cannot be reached: 0 keep, 1 deactivate, 2 client control mode.
    pub client_mode: u8,
}

impl std::fmt::Debug for AmtPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AmtPolicy({}, {})", self.group, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DomainId, Key48};

    /// A share with these times, in minutes.
    fn share(
        start: Option<u64>,
        expires: Option<u64>,
        duration: Option<u32>,
        recurring: Option<u8>,
    ) -> Share {
        let minutes = |n: u64| Millis(n * 60_000);
        Share {
            public_id: "abcdefghijkl".into(),
            node: NodeId::new(DomainId::default(), Key48::ZERO),
            user: UserId::new(DomainId::default(), "ann").unwrap(),
            guest_name: "guest".into(),
            protocols: 2,
            consent: 0,
            port: None,
            url: String::new(),
            start: start.map(minutes),
            expires: expires.map(minutes),
            duration,
            recurring,
            view_only: false,
        }
    }

    #[test]
    fn a_share_is_open_in_its_time_and_closed_outside() {
        const DAY: u64 = 24 * 60;
        let (always, until) = (share(None, None, None, None), share(None, Some(60), None, None));
        let between = share(Some(10), Some(60), None, None);
        let daily = share(Some(100), None, Some(20), Some(1));
        let weekly = share(Some(100), None, Some(20), Some(2));
        let daily_until = share(Some(100), Some(DAY + 110), Some(20), Some(1));
        let all_day = share(Some(100), None, Some(2000), Some(1));
        let ever = u64::MAX;
        for (share, minute, end) in [
            (&always, 0, Some(ever)),
            (&always, 1 << 40, Some(ever)),
            (&until, 59, Some(60)),
            (&until, 60, None),
            (&between, 9, None),
            (&between, 10, Some(60)),
            (&between, 60, None),
            (&daily, 99, None),
            (&daily, 100, Some(120)),
            (&daily, 119, Some(120)),
            (&daily, 120, None),
            (&daily, 99 + DAY, None),
            (&daily, 119 + 5000 * DAY, Some(120 + 5000 * DAY)),
            (&weekly, 105, Some(120)),
            (&weekly, 105 + DAY, None),
            (&weekly, 105 + 7 * DAY, Some(120 + 7 * DAY)),
            (&weekly, 120 + 7 * DAY, None),
            (&daily_until, 105 + DAY, Some(110 + DAY)),
            (&daily_until, 110 + DAY, None),
            (&all_day, 99, None),
            (&all_day, 5000, Some(ever)),
            (&share(None, None, Some(20), Some(1)), 5, None),
            (&share(Some(0), None, None, Some(1)), 5, None),
            (&share(Some(0), None, Some(20), Some(3)), 5, None),
        ] {
            let now = Millis(minute * 60_000);
            let end = end.map(|end| Millis(if end == ever { ever } else { end * 60_000 }));
            assert_eq!(share.open_until(now), end, "{share:?} at minute {minute}");
            assert_eq!(share.is_open(now), end.is_some());
        }
        for (share, minute, next) in [
            (&always, 0, None),
            (&until, 60, None),
            (&between, 9, Some(10)),
            (&between, 60, None),
            (&daily, 99, Some(100)),
            (&daily, 120, Some(100 + DAY)),
            (&weekly, 120, Some(100 + 7 * DAY)),
            (&daily_until, 120, Some(100 + DAY)),
            (&daily_until, 120 + DAY, None),
            (&share(Some(0), None, Some(20), Some(3)), 50, None),
        ] {
            let next = next.map(|next| Millis(next * 60_000));
            assert_eq!(share.opens_next(Millis(minute * 60_000)), next, "{share:?} at {minute}");
        }
        assert!(until.is_over(Millis(3_600_000)) && !until.is_over(Millis(3_599_999)));
        assert!(!daily.is_over(Millis(u64::MAX)));
    }
}
