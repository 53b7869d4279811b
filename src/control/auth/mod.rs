//! Who may open `/control.ashx`: from an HTTP upgrade to an account or a refusal.
//!
//! Source: control-protocol §2. The upgrade itself always succeeds; a refusal is one text frame
//! `{"action":"close","cause":…,"msg":…}` before the close. Checks come in MeshCentral's order:
//! origin, login key, barred address, then the first method that applies: query `user`/`pass`,
//! query `auth` (cookie), header `x-meshauth`. [`Gate::sign_in`] is the part that browsers share:
//! name, password, second factor. Unlike MeshCentral's, every failure counts.

mod bans;
mod browser;
mod cookies;
pub(super) mod inner;
mod journal;
mod refusal;
#[cfg(test)]
mod tests;
mod upgrade;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use log::{info, warn};

use crate::config::{Domain, LoginLimit, TokenRules};
use crate::hub::{Hub, Refused};
use crate::identity::cookie::CookieKey;
use crate::identity::password::{self, Busy, Passwords, Turn, Verdict};
use crate::identity::turns::Asker;
use crate::identity::webauthn::Assertion;
use crate::model::{DomainId, LoginToken, Millis, Network, PasswordHash, SiteRights, User, UserId};

use super::browser::Browser;
use super::factors::{self, Check, Ways};
use super::keys::SecurityKeys;
use super::limiter::{Guess, Limiter};

use journal::Failure;
use upgrade::Credentials;

pub use browser::Link;
pub use cookies::{remember, seal};
pub use refusal::Refusal;
pub use upgrade::{Upgrade, cookie, is_own_origin, param};

/// What every login token's user name begins with.
pub const TOKEN_PREFIX: &str = "~t:";

/// How an account proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// With its password.
    Password,
    /// With a login token.
    LoginToken,
    /// With a cookie made with the login key.
    Cookie,
    /// With the cookie of a browser session.
    Browser {
        /// Which.
        session: Rc<str>,
    },
}

/// A client that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: UserId,
    /// From where.
    pub remote: SocketAddr,
    /// How.
    pub method: Method,
    /// The user name of the login token through which it came, directly or by a cookie: such a
    /// session changes nothing about how its account is logged in to.
    pub token: Option<Rc<str>>,
    /// When.
    pub at: Millis,
    /// The name or address the client calls the server by, without its port.
    pub host: Box<str>,
    /// The page it came from, if a browser opened it.
    pub origin: Option<Box<str>>,
}

/// A name and a password, and what else somebody brings to prove who they are.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The tenant.
    pub domain: &'a DomainId,
    /// Where the client is.
    pub remote: SocketAddr,
    /// Header `User-Agent`, for the record.
    pub agent: Option<&'a str>,
    /// The user name as it was typed, or that of a login token.
    pub name: &'a str,
    /// The password.
    pub password: &'a str,
    /// The second factor: a code, or `cookie=` and the cookie of a remembered device.
    pub token: Option<&'a str>,
    /// HTTP cookie `twofactor`: the cookie of a remembered device.
    pub remembered: Option<&'a str>,
    /// The page it comes from, if it is one of ours: security keys sign for a page.
    pub origin: Option<&'a str>,
}

/// Somebody who proved who they are.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedIn {
    /// The account.
    pub user: Rc<User>,
    /// The login token that was used instead of name and password.
    pub token: Option<Rc<str>>,
    /// Whether the password has to be changed before a browser is let in.
    pub password_expired: bool,
}

impl SignedIn {
    /// For browsers: only with a password that need not be changed.
    pub fn with_valid_password(self) -> Result<Self, Refusal> {
        if self.password_expired { Err(Refusal::PasswordExpired) } else { Ok(self) }
    }
}

/// The door of the control channel, and of the browser's login.
pub struct Gate {
    hub: Rc<Hub>,
    passwords: Passwords,
    cookies: CookieKey,
    limiter: RefCell<Limiter>,
    browser: Rc<Browser>,
    started: Instant,
    /// Security keys of the accounts.
    pub keys: SecurityKeys,
}

impl Gate {
    /// A door to the accounts of `hub`. Networks that were barred before a restart still are.
    pub fn new(
        hub: Rc<Hub>,
        passwords: Passwords,
        cookies: CookieKey,
        browser: Rc<Browser>,
    ) -> Self {
        let limiter = RefCell::new(bans::recalled(&hub));
        let keys = SecurityKeys::default();
        Self { hub, passwords, cookies, limiter, browser, started: Instant::now(), keys }
    }

    /// Lets the client in or says why not. Checking a password takes tens of milliseconds in the
    /// blocking pool.
    pub async fn admit(&self, upgrade: &Upgrade<'_>) -> Result<Login, Refusal> {
        let outcome = self.decide(upgrade).await;
        if let Err(refusal) = &outcome {
            self.refused(upgrade.remote.ip(), *refusal);
        }
        outcome
    }

    /// Counts a refusal.
    fn refused(&self, address: IpAddr, refusal: Refusal) {
        log::debug!("control: refused {}: {}", address.to_canonical(), refusal.words().1);
        self.hub.metrics.refuse(match refusal {
            Refusal::Banned => Refused::Banned,
            _ => Refused::UserAuth,
        });
    }

    async fn decide(&self, upgrade: &Upgrade<'_>) -> Result<Login, Refusal> {
        self.may_enter(upgrade)?;
        self.identify(upgrade).await
    }

    /// The end of an inner authentication.
    pub(super) async fn admit_inner(
        &self,
        upgrade: &Upgrade<'_>,
        credentials: Credentials,
    ) -> Result<Login, Refusal> {
        let outcome = match self.may_enter(upgrade) {
            Ok(()) => self.by_password(upgrade, credentials).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = &outcome {
            self.refused(upgrade.remote.ip(), *refusal);
        }
        outcome
    }

    /// What is asked before anybody says a name.
    pub(super) fn may_enter(&self, upgrade: &Upgrade<'_>) -> Result<(), Refusal> {
        let config = self.hub.config();
        let domain = config.domain(upgrade.domain);
        if !is_own_origin(upgrade, domain) {
            return Err(Refusal::InvalidOrigin);
        }
        if !has_login_key(domain, upgrade.query) {
            return Err(Refusal::NoKey);
        }
        self.may_try(upgrade.remote.ip())
    }

    /// The methods in their order.
    async fn identify(&self, upgrade: &Upgrade<'_>) -> Result<Login, Refusal> {
        if let Some(credentials) = upgrade::from_query(upgrade.query) {
            return self.by_password(upgrade, credentials).await;
        }
        let cookie = param(upgrade.query, "auth");
        if let Some(login) = cookie.as_deref().and_then(|text| self.by_cookie(upgrade, text)) {
            return Ok(login);
        }
        match upgrade.meshauth {
            Some(header) => self.by_password(upgrade, upgrade::from_header(header)?).await,
            None => {
                let by_session = self.by_session(upgrade);
                if cookie.is_some() && by_session.is_err() {
                    self.failed(&Attempt::of(upgrade), None, Failure::Cookie);
                }
                by_session
            }
        }
    }

    fn by_cookie(&self, upgrade: &Upgrade<'_>, text: &str) -> Option<Login> {
        let (hub, from) = (&self.hub, upgrade.remote.ip());
        // A login link works once, and not here afterwards.
        if self.browser.is_used_link(text) {
            return None;
        }
        let opened = cookies::open(hub, &self.cookies, upgrade.domain, from, text)?;
        let login = upgrade.login(opened.user.id.clone(), Method::Cookie, hub.now());
        Some(Login { token: opened.token, ..login })
    }

    async fn by_password(
        &self,
        upgrade: &Upgrade<'_>,
        credentials: Credentials,
    ) -> Result<Login, Refusal> {
        let Credentials { name, password, token, failure } = credentials;
        let remembered = upgrade.remembered();
        let attempt = Attempt {
            name: &name,
            password: &password,
            token: token.as_deref(),
            remembered: remembered.as_deref(),
            ..Attempt::of(upgrade)
        };
        let signed_in = self.sign_in_program(&attempt).await.map_err(|refusal| match refusal {
            Refusal::Wrong | Refusal::Locked => failure,
            other => other,
        })?;
        let method = if signed_in.token.is_some() { Method::LoginToken } else { Method::Password };
        let login = upgrade.login(signed_in.user.id.clone(), method, self.hub.now());
        Ok(Login { token: signed_in.token, ..login })
    }

    /// [`Self::sign_in`] for a program: not with an account that may use the web page only.
    async fn sign_in_program(&self, attempt: &Attempt<'_>) -> Result<SignedIn, Refusal> {
        let signed_in = self.prove(attempt, |user| {
            let may = !user.site.restricted(SiteRights::NO_TOOLS);
            if may { Ok(()) } else { Err(Refusal::NoTools) }
        });
        signed_in.await
    }

    /// Checks name, password and second factor, or a login token. Failures are counted, written
    /// to the journal and told to those who manage accounts; a network or account with too many of
    /// them is not tried at all.
    pub async fn sign_in(&self, attempt: &Attempt<'_>) -> Result<SignedIn, Refusal> {
        let outcome = self.prove(attempt, |_| Ok(())).await;
        if let Err(refusal) = &outcome {
            self.refused(attempt.remote.ip(), *refusal);
        }
        outcome
    }

    /// `accept` judges the account once its password is known to be right.
    async fn prove(
        &self,
        attempt: &Attempt<'_>,
        accept: impl FnOnce(&User) -> Result<(), Refusal>,
    ) -> Result<SignedIn, Refusal> {
        let began = self.hub.now();
        self.may_try(attempt.remote.ip())?;
        if attempt.name.starts_with(TOKEN_PREFIX) {
            return self.by_token(attempt, accept).await;
        }
        let id = UserId::new(attempt.domain.clone(), attempt.name).ok();
        let turn = self.turn(attempt, id.as_ref()).await?;
        let user = id.as_ref().and_then(|id| self.hub.store.user(id));
        let hash = user.as_ref().map(|user| &user.password);
        match turn.verify(hash, attempt.password).await {
            Verdict::Wrong => {
                self.failed(attempt, id.as_ref(), Failure::Password);
                return Err(Refusal::Wrong);
            }
            Verdict::Right => {}
            Verdict::RightButUpgrade => {
                if let Some(user) = &user {
                    self.upgrade(user, attempt.password).await;
                }
            }
        }
        // As it is now: the check took a while.
        let user = id.as_ref().and_then(|id| self.hub.store.user(id)).ok_or(Refusal::Wrong)?;
        if user.site.restricted(SiteRights::LOCKED) {
            self.failed(attempt, Some(&user.id), Failure::Locked);
            return Err(Refusal::Locked);
        }
        accept(&user)?;
        self.second_factor(attempt, &user).await?;
        // Somebody may have changed the password and ended everything while this was checked.
        let user = self.hub.store.user(&user.id).ok_or(Refusal::Wrong)?;
        if user.valid_from.is_some_and(|from| began < from && from <= self.hub.now()) {
            return Err(Refusal::Wrong);
        }
        self.limiter.borrow_mut().succeeded(&user.id, attempt.remote.ip(), Instant::now());
        Ok(self.signed_in(user, None))
    }

    /// Waits until this attempt's password may be checked.
    async fn turn(&self, attempt: &Attempt<'_>, account: Option<&UserId>) -> Result<Turn, Refusal> {
        let address = attempt.remote.ip();
        self.may_guess(address, account, Guess::Password)?;
        let standing = self.limiter.borrow_mut().attempted(address, Instant::now());
        let network = Network::of(address);
        self.passwords.judge(network, standing);
        let asker = Asker { network: Some(network), standing };
        let turn = self.passwords.turn(asker).await.map_err(|Busy| Refusal::Busy)?;
        // Others may have failed meanwhile.
        self.may_try(address)?;
        self.may_guess(address, account, Guess::Password)?;
        Ok(turn)
    }

    async fn by_token(
        &self,
        attempt: &Attempt<'_>,
        accept: impl FnOnce(&User) -> Result<(), Refusal>,
    ) -> Result<SignedIn, Refusal> {
        let store = &self.hub.store;
        let found = store.login_token(attempt.name).and_then(|token| {
            let user = store.user(&token.user).filter(|user| user.id.domain == *attempt.domain)?;
            token_is_good(&self.hub, attempt.name, &user).then_some((token, user))
        });
        let right = match &found {
            None => false,
            Some((token, _)) => self.is_password_of(token, attempt).await?,
        };
        let Some((_, user)) = found.filter(|_| right) else {
            self.failed(attempt, None, Failure::Password);
            return Err(Refusal::Wrong);
        };
        if user.site.restricted(SiteRights::LOCKED) {
            self.failed(attempt, Some(&user.id), Failure::Locked);
            return Err(Refusal::Locked);
        }
        accept(&user)?;
        Ok(self.signed_in(user, Some(attempt.name.into())))
    }

    async fn is_password_of(
        &self,
        token: &LoginToken,
        attempt: &Attempt<'_>,
    ) -> Result<bool, Refusal> {
        let text = attempt.password;
        if let PasswordHash::Random(_) = token.password {
            // Made by chance: nothing to slow a guesser down for.
            return Ok(password::verify(&token.password, text) == Verdict::Right);
        }
        // Imported; as it was made by chance as well, it can be kept like our own.
        let turn = self.turn(attempt, None).await?;
        let right = turn.verify(Some(&token.password), text).await != Verdict::Wrong;
        if right && self.hub.store.login_token(&token.token_user).is_some() {
            let password = password::keep_random(text);
            self.hub.store.put(LoginToken { password, ..token.clone() }).later();
        }
        Ok(right)
    }

    /// Asks for the second factor, if `user` has one and nothing makes it unnecessary.
    async fn second_factor(&self, attempt: &Attempt<'_>, user: &User) -> Result<(), Refusal> {
        let (hub, from) = (&self.hub, attempt.remote.ip());
        let config = hub.config();
        let rules = &config.domain(&user.id.domain).factors;
        let Some(kept) = hub.store.factors(&user.id).filter(|kept| kept.are_needed()) else {
            return Ok(());
        };
        if config.settings.no_second_factor || rules.skips(from) {
            return Ok(());
        }
        let remembers =
            |text: &str| cookies::remembers(hub, &self.cookies, rules, user, from, text);
        let from_token = attempt.token.and_then(|token| token.strip_prefix("cookie="));
        if attempt.remembered.is_some_and(remembers) || from_token.is_some_and(remembers) {
            return Ok(());
        }
        self.may_guess(from, Some(&user.id), Guess::Factor)?;
        let ways = Ways::of(&kept, rules);
        let checked = match attempt.token {
            Some(text) if Assertion::is_one(text) => {
                self.keys.check(&kept, text, attempt.origin, rules.key_pin)
            }
            token => factors::check(&kept, token, rules, hub.now().seconds()),
        };
        match checked {
            Check::Needed => Err(Refusal::TokenRequired(ways)),
            Check::Wrong => {
                self.failed(attempt, Some(&user.id), Failure::Factor);
                Err(Refusal::WrongToken(ways))
            }
            Check::Passed(changed) => {
                // On disk before it is believed: after a restart the code must not work again.
                if let Err(error) = hub.store.put(changed).await {
                    warn!("control: the second factor of {} was used: {error}", user.id);
                }
                Ok(())
            }
        }
    }

    fn signed_in(&self, user: Rc<User>, token: Option<Rc<str>>) -> SignedIn {
        let now = self.hub.now();
        let password_expired = token.is_none() && self.is_password_expired(&user, now);
        SignedIn { user: self.end_a_wrong_date(user, now), token, password_expired }
    }

    /// Whether the password is to be changed: somebody said so, or it is too old.
    fn is_password_expired(&self, user: &User, now: Millis) -> bool {
        let config = self.hub.config();
        let rules = &config.domain(&user.id.domain).passwords;
        match (user.password_changed, rules.reset) {
            (None, _) => true,
            (Some(changed), Some(age)) => now.seconds().0.saturating_sub(changed.0) > age.as_secs(),
            (Some(_), None) => false,
        }
    }

    /// An account that ended everything "before" a date in the future did so while the board's
    /// clock was wrong. Whoever has proven to own it gets the right date: from now on.
    fn end_a_wrong_date(&self, user: Rc<User>, now: Millis) -> Rc<User> {
        if user.is_good_since(now) {
            return user;
        }
        let user = Rc::new(User { valid_from: Some(now), ..(*user).clone() });
        self.hub.store.put((*user).clone()).later();
        user
    }

    /// Keeps the password in today's form from now on.
    async fn upgrade(&self, user: &User, password: &str) {
        let Ok(hash) = self.passwords.hash(password).await else { return };
        // The account may have changed while the hash was computed.
        let Some(current) = self.hub.store.user(&user.id) else { return };
        if current.password == user.password && hash != PasswordHash::None {
            let upgraded = User { password: hash, ..(*current).clone() };
            self.hub.store.put(upgraded).later();
            info!("control: the password of {} is now kept as Argon2id", user.id);
        }
    }

    /// Whether somebody at `address` may guess at all.
    pub fn may_try(&self, address: IpAddr) -> Result<(), Refusal> {
        let barred = self.limiter.borrow().is_barred(address, Instant::now());
        if barred { Err(Refusal::Banned) } else { Ok(()) }
    }

    /// Whether somebody at `address` may guess at this account.
    fn may_guess(
        &self,
        address: IpAddr,
        account: Option<&UserId>,
        guess: Guess,
    ) -> Result<(), Refusal> {
        let (Some(account), Some(limit)) = (account, self.limit(guess)) else { return Ok(()) };
        let now = Instant::now();
        let besieged = self.limiter.borrow().is_besieged(account, guess, address, &limit, now);
        if besieged { Err(Refusal::Banned) } else { Ok(()) }
    }

    /// Counts a failure and tells of it.
    fn failed(&self, attempt: &Attempt<'_>, account: Option<&UserId>, failure: Failure) {
        journal::tell(&self.hub, attempt, account, failure);
        let guess = match failure {
            Failure::Factor => Guess::Factor,
            Failure::Password | Failure::Locked | Failure::Cookie => Guess::Password,
        };
        self.guessed(attempt.remote.ip(), account, guess);
    }

    /// Counts a wrong guess at something else than an account: an invitation code, a setup code.
    pub fn guessed_wrong(&self, address: IpAddr) {
        self.guessed(address, None, Guess::Password);
    }

    fn guessed(&self, address: IpAddr, account: Option<&UserId>, guess: Guess) {
        let Some(limit) = self.limit(guess) else { return };
        let now = Instant::now();
        let barred = self.limiter.borrow_mut().failed(address, account, guess, &limit, now);
        if let Some(time) = barred {
            bans::keep(&self.hub, Network::of(address), time);
        }
        let standing = self.limiter.borrow().standing(address, now);
        self.passwords.judge(Network::of(address), standing);
    }

    fn limit(&self, guess: Guess) -> Option<LoginLimit> {
        let config = self.hub.config();
        match guess {
            Guess::Factor => config.settings.max_invalid_2fa,
            Guess::Password => config.settings.max_invalid_login,
        }
    }
}

impl<'a> Attempt<'a> {
    /// What is known before anybody says a name. The origin has been accepted.
    pub fn of(upgrade: &Upgrade<'a>) -> Self {
        Self {
            domain: upgrade.domain,
            remote: upgrade.remote,
            agent: upgrade.agent,
            name: "",
            password: "",
            token: None,
            remembered: None,
            origin: upgrade.origin,
        }
    }
}

/// Whether a request brings one of the domain's login keys (`?key=`), if there are any.
pub fn has_login_key(domain: &Domain, query: &str) -> bool {
    let keys = &domain.login_keys;
    keys.is_empty() || param(query, "key").is_some_and(|key| keys.contains(&key))
}

/// Whether the login token of this user name still logs `user` in.
pub fn token_is_good(hub: &Hub, token: &str, user: &User) -> bool {
    let now = hub.now();
    let kept = hub.store.login_token(token);
    let is_kept = kept.is_some_and(|token| {
        token.user == user.id && token.expires.is_none_or(|expires| now < expires)
    });
    is_kept && may_have_tokens(hub.config().domain(&user.id.domain), user)
}

/// `passwordRequirements.loginTokens`: whether login tokens are something for `user`.
pub fn may_have_tokens(domain: &Domain, user: &User) -> bool {
    match &domain.login_tokens {
        TokenRules::Everybody => true,
        TokenRules::Nobody => false,
        TokenRules::Only(ids) => {
            let listed = |id: String| ids.contains(&id);
            listed(user.id.to_string()) || user.links.iter().any(|link| listed(link.to.to_string()))
        }
    }
}
