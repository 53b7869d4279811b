//! Who knocks at a tunnel, as the relay sees it: the room that keeps the door tells it who that is.

use std::future::Future;
use std::net::SocketAddr;

use serde_json::{Map, Value};

use crate::model::{DomainId, UserId};

/// A request for a tunnel, at the door.
pub trait Visitor {
    /// The tenant.
    fn domain(&self) -> &DomainId;
    /// Where the peer is.
    fn remote(&self) -> SocketAddr;
    /// What follows `?` in the request target, still encoded.
    fn query(&self) -> &str;
    /// Whether a page that opens a WebSocket comes from this server; true for what is no page.
    fn is_own_origin(&self) -> bool;
    /// True if it shows anything that could tell who the user is.
    fn has_credentials(&self) -> bool;
    /// Who the user is, by whatever the request shows; checking a password takes its time.
    fn viewer(&self) -> impl Future<Output = Option<Viewer>>;
    /// Who made this auth cookie, for requests that carry it under another name.
    fn viewer_by_cookie(&self, cookie: &str) -> Option<Viewer>;
}

/// The user's end of a tunnel that was let in.
#[derive(Clone, Debug, PartialEq)]
pub struct Viewer {
    /// Who.
    pub user: UserId,
    /// What the cookie says besides: where to, by which share. Empty if it was no cookie.
    pub cookie: Map<String, Value>,
}

/// Member of a cookie that is good for one tunnel: what tells it from every other.
pub const ONCE: &str = "once";
/// Member of a cookie that is for one chat: its id.
pub const CHAT: &str = "chat";
/// Member of a guest's cookie that is for one protocol: its number.
pub const PROTOCOL: &str = "for";

/// What goes into [`ONCE`]: 16 characters. `None` without randomness.
pub fn once() -> Option<String> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).ok()?;
    Some(data_encoding::BASE64URL.encode(&random))
}

impl Viewer {
    /// Serial of a cookie that is good once.
    pub(super) fn serial(&self) -> Option<&[u8; 16]> {
        self.cookie.get(ONCE)?.as_str()?.as_bytes().first_chunk()
    }

    /// The chat that the cookie is for, if it is for nothing else.
    pub(super) fn chat(&self) -> Option<&str> {
        self.cookie.get(CHAT)?.as_str()
    }
}
