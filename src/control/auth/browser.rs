//! What a browser shows at the door: the cookie of its session, the second step of a login, a login
//! link.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::journal::Failure;
use super::{Attempt, Gate, Login, Method, Refusal, SignedIn, Upgrade, cookies, upgrade};
use crate::identity::cookie::AUTH_LIFETIME;
use crate::model::{SiteRights, User, UserId};

/// What the cookie of a login link stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The account.
    pub user: Rc<User>,
    /// The login token through which it was made.
    pub token: Option<Rc<str>>,
    /// How long it would be good for.
    pub left: Duration,
}

/// As exact as the time of a cookie.
const SECOND: Duration = Duration::from_secs(1);

impl Gate {
    /// The session whose cookie comes with the request. Only a page that we know may use it: a
    /// browser sends the cookie whoever asks it to.
    pub(super) fn by_session(&self, upgrade: &Upgrade<'_>) -> Result<Login, Refusal> {
        let config = self.hub.config();
        if !upgrade::is_known_page(upgrade, config.domain(upgrade.domain)) {
            return Err(Refusal::NoAuth);
        }
        self.in_session(upgrade).ok_or(Refusal::NoAuth)
    }

    fn in_session(&self, upgrade: &Upgrade<'_>) -> Option<Login> {
        let entered = self.browser.enter(upgrade.domain, upgrade.cookies)?;
        let method = Method::Browser { session: entered.id };
        let login = upgrade.login(entered.user.id.clone(), method, self.hub.now());
        Some(Login { token: entered.token, ..login })
    }

    /// [`Self::admit`] for a plain GET of something that is only read. A link on a page names no
    /// origin and need not: what comes back is for the browser's owner, whoever made it ask.
    pub async fn admit_reader(&self, asked: &Upgrade<'_>) -> Result<Login, Refusal> {
        let config = self.hub.config();
        let may = asked.origin.is_none()
            && super::has_login_key(config.domain(asked.domain), asked.query);
        match self.in_session(asked).filter(|_| may) {
            Some(login) => Ok(login),
            None => self.admit(asked).await,
        }
    }

    /// The second factor of an account whose password was right a moment ago.
    pub async fn second_step(
        &self,
        attempt: &Attempt<'_>,
        account: &UserId,
    ) -> Result<SignedIn, Refusal> {
        let outcome = self.prove_more(attempt, account).await;
        if let Err(refusal) = &outcome {
            self.refused(attempt.remote.ip(), *refusal);
        }
        outcome
    }

    async fn prove_more(
        &self,
        attempt: &Attempt<'_>,
        account: &UserId,
    ) -> Result<SignedIn, Refusal> {
        self.may_try(attempt.remote.ip())?;
        let user = self.hub.store.user(account).ok_or(Refusal::Wrong)?;
        if user.site.restricted(SiteRights::LOCKED) {
            self.failed(attempt, Some(account), Failure::Locked);
            return Err(Refusal::Locked);
        }
        self.second_factor(attempt, &user).await?;
        self.limiter.borrow_mut().succeeded(account, attempt.remote.ip(), Instant::now());
        Ok(self.signed_in(user, None))
    }

    /// What a login link stands for. Using it up is up to the caller.
    pub fn by_link(&self, asked: &Upgrade<'_>, text: &str) -> Result<Link, Refusal> {
        let outcome = self.may_try(asked.remote.ip()).and_then(|()| {
            let link = self.open_link(asked, text);
            link.ok_or_else(|| {
                self.failed(&Attempt::of(asked), None, Failure::Cookie);
                Refusal::NoAuth
            })
        });
        if let Err(refusal) = &outcome {
            self.refused(asked.remote.ip(), *refusal);
        }
        outcome
    }

    fn open_link(&self, asked: &Upgrade<'_>, text: &str) -> Option<Link> {
        let now = self.hub.now().seconds();
        let fields = self.cookies.open(text, now, AUTH_LIFETIME).ok()?;
        let number = |name: &str| fields.get(name).and_then(|value| value.as_u64());
        // The kind for links; the others are for programs.
        if number("a") != Some(3) {
            return None;
        }
        let lifetime = match number("expire") {
            // For ever.
            Some(0) => Duration::MAX,
            Some(minutes) => Duration::from_secs(minutes.saturating_mul(60)),
            None => AUTH_LIFETIME,
        };
        let age = Duration::from_secs(now.0.saturating_sub(number("time")?));
        // Which links were used before a restart is not known any more.
        if age > self.started.elapsed() + SECOND {
            return None;
        }
        let opened =
            cookies::open(&self.hub, &self.cookies, asked.domain, asked.remote.ip(), text)?;
        Some(Link { user: opened.user, token: opened.token, left: lifetime.saturating_sub(age) })
    }
}
