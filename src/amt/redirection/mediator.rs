//! Who stands between a user and the firmware: bytes of both sides in, bytes for both sides out.
//!
//! Everything that is spoken through a WebSocket of a user is one of these, and one loop
//! (`amt::relay::bridge`) runs them all.

use std::fmt;
use std::time::Duration;

use super::permit::Permit;

/// What is to be sent, and whether that was all.
#[derive(Debug, Default)]
pub struct Mail {
    /// Bytes for the user, one frame.
    pub to_user: Vec<u8>,
    /// Bytes for the firmware.
    pub to_firmware: Vec<u8>,
    /// The user is told, by an empty frame before all others, that the session has begun: the
    /// firmware may have nothing to say.
    pub begun: bool,
    /// Why it ends, when what is above has been sent.
    pub over: Option<Over>,
}

impl Mail {
    /// Ends it; the first reason counts.
    pub fn end(&mut self, why: Over) {
        self.over.get_or_insert(why);
    }
}

/// See the module.
pub trait Mediator {
    /// The connection to the firmware is there.
    fn begin(&mut self, _mail: &mut Mail) {}
    /// Bytes of the user, in any pieces.
    fn user_says(&mut self, bytes: &[u8], mail: &mut Mail);
    /// Bytes of the firmware, in any pieces.
    fn firmware_says(&mut self, bytes: &[u8], mail: &mut Mail);
    /// How often [`Self::tick`] is to be called.
    fn every(&self) -> Option<Duration> {
        None
    }
    /// Some time has passed.
    fn tick(&mut self, _mail: &mut Mail) {}
    /// The rights have changed. False: it may not go on.
    fn set_permit(&mut self, permit: Permit) -> bool;
    /// The firmware has closed the connection: what that means.
    fn closed(&self) -> Over {
        Over::ByDevice
    }
}

/// Why a session ends or does not begin. The numbers are the codes the WebSocket is closed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Its user has no right to it (any more).
    NoRight = 4001,
    /// There is no way to the firmware.
    Unreachable = 4002,
    /// The firmware does not accept the password kept here, or none is.
    Password = 4003,
    /// The firmware holds another session of this kind.
    Busy = 4004,
    /// The firmware does not offer it, or it is switched off there.
    Unsupported = 4005,
    /// The firmware refuses without saying why: the person at the device may have to consent.
    Consent = 4006,
    /// The picture is larger than the firmware sends it, or there is none.
    TooLarge = 4007,
    /// What the firmware says makes no sense.
    Garbled = 4008,
    /// The firmware has ended it.
    ByDevice = 4009,
    /// Somebody here has ended it.
    Ended = 4010,
    /// The firmware shows another certificate than before.
    Certificate = 4011,
    /// The user's end breaks the protocol.
    Misuse = 4012,
    /// The firmware does not answer in time.
    Late = 4013,
    /// The user's end has gone.
    Gone = 1000,
}

impl Over {
    /// The code of the WebSocket's close frame.
    pub fn code(self) -> u16 {
        self as u16
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRight => "no right to it",
            Self::Unreachable => "the firmware cannot be reached",
            Self::Password => "the firmware does not accept the password",
            Self::Busy => "the firmware holds another session of this kind",
            Self::Unsupported => "the firmware does not offer it, or it is switched off there",
            Self::Consent => "the firmware refuses; the person at the device may have to consent",
            Self::TooLarge => "the picture is larger than the firmware sends it, or there is none",
            Self::Garbled => "the firmware breaks the protocol",
            Self::ByDevice => "the firmware has ended it",
            Self::Ended => "it was ended",
            Self::Certificate => "the firmware shows another certificate than before",
            Self::Misuse => "the user's end breaks the protocol",
            Self::Late => "the firmware does not answer in time",
            Self::Gone => "the user has gone",
        })
    }
}
