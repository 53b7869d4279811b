//! Why somebody is not let in, in the words clients know (control-protocol §2.3, §2.4).

use serde_json::{Map, Value, json};

use crate::control::factors::Ways;

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No credentials, or a cookie that is not accepted.
    NoAuth,
    /// The browser session has ended.
    Expired,
    /// Name or password are wrong; so says [`super::Gate::sign_in`], whatever they came in.
    Wrong,
    /// Name or password in the query is wrong.
    Query,
    /// `x-meshauth` has not two or three parts of base64.
    HeaderForm,
    /// Name or password in `x-meshauth` is wrong.
    Header,
    /// Name or password inside an inner authentication are wrong or missing.
    Inner,
    /// An inner authentication that is malformed.
    BadArguments,
    /// A client that sees another TLS certificate than ours.
    BadCertificate,
    /// Name and password are right, and more is needed.
    TokenRequired(Ways),
    /// Name and password are right, the second factor is wrong.
    WrongToken(Ways),
    /// Name and password are right, the account is locked.
    Locked,
    /// Name and password are right, and the password has to be changed first. Browsers are told
    /// so; programs are let in.
    PasswordExpired,
    /// The domain has login keys and the request has none of them.
    NoKey,
    /// The `Origin` is not this server.
    InvalidOrigin,
    /// Too many failures from this network, or for this account from somewhere unknown.
    Banned,
    /// The account may use the web page only.
    NoTools,
    /// Too many passwords are being checked.
    Busy,
}

impl Refusal {
    /// The `cause` and `msg` of the frame.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::NoAuth => ("noauth", "noauth"),
            Self::Expired => ("expired", "expired-1"),
            Self::Query => ("noauth", "noauth-2a"),
            Self::HeaderForm | Self::Inner => ("noauth", "noauth-2c"),
            Self::Header | Self::Wrong | Self::Locked => ("noauth", "noauth-2d"),
            Self::BadArguments => ("noauth", "badargs"),
            Self::BadCertificate => ("noauth", "badtlscert"),
            // Whether a second factor was wrong or missing is the same for a guesser.
            Self::TokenRequired(_) | Self::WrongToken(_) => ("noauth", "tokenrequired"),
            Self::NoKey => ("noauth", "nokey"),
            Self::InvalidOrigin => ("invalidorigin", "invalidorigin"),
            Self::Banned => ("banned", "banned-1"),
            Self::NoTools => ("notools", "notools"),
            // Clients know no word for "later"; -4 is their word for any other reason.
            Self::Busy | Self::PasswordExpired => ("noauth", "noauth-4"),
        }
    }

    /// The frame a refused client gets.
    pub fn frame(self) -> String {
        let (cause, msg) = self.words();
        let mut frame = Map::new();
        frame.insert("action".into(), "close".into());
        frame.insert("cause".into(), cause.into());
        frame.insert("msg".into(), msg.into());
        if let Self::TokenRequired(ways) | Self::WrongToken(ways) = self {
            // Nobody here sends codes.
            for way in ["email2fa", "sms2fa", "msg2fa"] {
                frame.insert(way.into(), false.into());
            }
            frame.insert("twoFactorCookieDays".into(), json!(ways.remember_days));
        }
        Value::Object(frame).to_string()
    }
}
