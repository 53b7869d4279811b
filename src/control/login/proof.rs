//! Proofs between the steps of a login: "this account's password was right a moment ago".
//!
//! Sealed with a key of this process, handed to the browser and brought back by it (`hwstate`), so
//! that nothing is kept for somebody who never comes back. A proof is good for one step of one
//! account, for five minutes, and only as long as the account's password stays what it was.

use std::rc::Rc;
use std::time::Duration;

use data_encoding::BASE64;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use crate::hub::Hub;
use crate::identity::cookie::CookieKey;
use crate::model::{DomainId, User, UserId};

/// How long a proof is good for.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// What is still missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The second factor.
    Factor,
    /// Another password: everything else was right.
    Password,
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Factor => "factor",
            Self::Password => "password",
        }
    }
}

/// A proof for `user`. `None` without randomness.
pub(super) fn make(key: &CookieKey, hub: &Hub, step: Step, user: &User) -> Option<String> {
    let mut fields = Map::new();
    fields.insert("step".into(), step.as_str().into());
    fields.insert("user".into(), user.id.to_string().into());
    fields.insert("state".into(), state_of(user).into());
    key.seal(fields, hub.now().seconds())
}

/// The account of `domain` a proof is for.
pub(super) fn open(
    key: &CookieKey,
    hub: &Hub,
    domain: &DomainId,
    step: Step,
    text: &str,
) -> Option<Rc<User>> {
    let fields = key.open(text, hub.now().seconds(), LIFETIME).ok()?;
    let word = |name: &str| fields.get(name).and_then(Value::as_str);
    let user = hub.store.user(&UserId::parse_in(domain, word("user")?).ok()?)?;
    let is_good = word("step")? == step.as_str() && word("state")? == state_of(&user);
    is_good.then_some(user)
}

/// Changes whenever the password does, or the account ends everything.
fn state_of(user: &User) -> String {
    // A record that cannot be written would have no state; there is none.
    let state = serde_json::to_vec(&(&user.password, &user.valid_from)).unwrap_or_default();
    BASE64.encode(digest(&SHA256, &state).as_ref())
}
