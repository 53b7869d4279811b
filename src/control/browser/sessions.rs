//! The table of browser sessions: who is logged in with which cookie, and for how long.
//!
//! A cookie is `<id>.<secret>`: the id names the session in lists and is no secret, the secret is 32
//! random bytes of which only the SHA-256 is kept. Time is monotonic: a board that learns the date
//! ends nobody's session, and none outlives the process. At most [`LIMIT`] sessions of some 400
//! bytes, [`PER_ACCOUNT`] of an account; the longest unused goes first.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};

use crate::model::{DomainId, Millis, User, UserId, order, text};

/// Sessions at a time.
const LIMIT: usize = 2048;
/// Sessions of one account at a time.
const PER_ACCOUNT: usize = 32;
/// Random bytes in an id.
const ID_LEN: usize = 9;
/// Random bytes in a secret.
const SECRET_LEN: usize = 32;
/// Longest `User-Agent` kept, in characters.
const AGENT_MAX: usize = 128;
/// How long a session lasts in any case.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// How long it lasts unused, if the configuration says nothing.
const UNUSED: Duration = Duration::from_secs(86_400);

/// How long sessions last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Since it was last used.
    pub unused: Duration,
    /// Whether a page that is open counts as use.
    pub open_is_use: bool,
}

impl Limits {
    /// From `userSessionIdleTimeout` (of people) and `sessionTime` (of cookies).
    pub fn new(idle: Option<Duration>, session_time: Option<Duration>) -> Self {
        let unused = session_time.unwrap_or(UNUSED);
        Self { unused: idle.map_or(unused, |idle| idle.min(unused)), open_is_use: idle.is_none() }
    }

    /// How long a browser may keep the cookie.
    pub const fn longest() -> Duration {
        LONGEST
    }
}

/// One session.
#[derive(Clone, Debug)]
pub struct BrowserSession {
    /// What it is called in lists; 12 characters.
    pub id: Rc<str>,
    /// Whose it is.
    pub user: UserId,
    /// The login token it was opened with.
    pub token: Option<Rc<str>>,
    /// Where it was opened from.
    pub remote: IpAddr,
    /// `User-Agent` of the browser.
    pub agent: Box<str>,
    /// When it was opened.
    pub since: Millis,
    /// [`User::valid_from`] at that time. When the account ends everything, the two differ.
    valid_from: Option<Millis>,
    began: Instant,
    used: Instant,
    secret: [u8; 32],
}

impl BrowserSession {
    /// How long ago it was used.
    pub fn unused_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.used)
    }

    fn is_over(&self, limits: Limits, now: Instant) -> bool {
        self.unused_for(now) >= limits.unused
            || now.saturating_duration_since(self.began) >= LONGEST
    }
}

/// Who opens a session.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The account.
    pub user: &'a User,
    /// The login token that was used.
    pub token: Option<&'a Rc<str>>,
    /// From where.
    pub remote: IpAddr,
    /// `User-Agent`.
    pub agent: Option<&'a str>,
    /// Wall time, for lists.
    pub since: Millis,
}

/// A session that was opened, and what its browser must keep.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its id.
    pub id: Rc<str>,
    /// The value of the cookie.
    pub cookie: String,
}

/// The table.
#[derive(Debug, Default)]
pub struct Sessions(BTreeMap<Rc<str>, BrowserSession>);

impl Sessions {
    /// Opens a session. `limits` are those of a domain. `None` without randomness.
    pub fn open(
        &mut self,
        opening: &Opening<'_>,
        limits: impl Fn(&DomainId) -> Limits,
        now: Instant,
    ) -> Option<Opened> {
        let mut random = [0; ID_LEN + SECRET_LEN];
        getrandom::fill(&mut random).ok()?;
        let (id, secret) = random.split_at(ID_LEN);
        let id: Rc<str> = BASE64URL_NOPAD.encode(id).into();
        let secret = BASE64URL_NOPAD.encode(secret);
        self.make_room(&opening.user.id, limits, now);
        let session = BrowserSession {
            id: id.clone(),
            user: opening.user.id.clone(),
            token: opening.token.cloned(),
            remote: opening.remote.to_canonical(),
            agent: text::clamp(opening.agent.unwrap_or_default(), AGENT_MAX).into(),
            since: opening.since,
            valid_from: opening.user.valid_from,
            began: now,
            used: now,
            secret: hash(&secret),
        };
        self.0.insert(id.clone(), session);
        let cookie = format!("{id}.{secret}");
        Some(Opened { id, cookie })
    }

    /// The id of the session a cookie belongs to, used by this.
    pub fn enter(
        &mut self,
        cookie: &str,
        limits: impl Fn(&DomainId) -> Limits,
        now: Instant,
    ) -> Option<Rc<str>> {
        let (id, secret) = cookie.split_once('.')?;
        // How long two digests take to compare tells nobody how to make a closer one.
        let known = self.0.get(id).is_some_and(|session| session.secret == hash(secret));
        if !known {
            return None;
        }
        let id = self.get(id, limits, now)?.id.clone();
        self.touch(&id, now);
        Some(id)
    }

    /// A session that is not over.
    pub fn get(
        &mut self,
        id: &str,
        limits: impl Fn(&DomainId) -> Limits,
        now: Instant,
    ) -> Option<&BrowserSession> {
        let session = self.0.get(id)?;
        if session.is_over(limits(&session.user.domain), now) {
            self.0.remove(id);
            return None;
        }
        self.0.get(id)
    }

    /// Notes that a session is used.
    pub fn touch(&mut self, id: &str, now: Instant) {
        if let Some(session) = self.0.get_mut(id) {
            session.used = now;
        }
    }

    /// Ends a session.
    pub fn end(&mut self, id: &str) -> Option<BrowserSession> {
        self.0.remove(id)
    }

    /// Lets a session go on although its account has ended everything: it is the one that did.
    pub fn keep(&mut self, id: &str, user: &User) {
        if let Some(session) = self.0.get_mut(id).filter(|session| session.user == user.id) {
            session.valid_from = user.valid_from;
        }
    }

    /// Whether `session` is one the account `user` still wants.
    pub fn is_wanted(session: &BrowserSession, user: &User) -> bool {
        session.user == user.id && session.valid_from == user.valid_from
    }

    /// The sessions of an account, oldest first.
    pub fn of(
        &mut self,
        user: &User,
        limits: impl Fn(&DomainId) -> Limits,
        now: Instant,
    ) -> Vec<BrowserSession> {
        let limits = limits(&user.id.domain);
        let wanted = |s: &&BrowserSession| Self::is_wanted(s, user) && !s.is_over(limits, now);
        let mut found: Vec<_> = self.0.values().filter(wanted).cloned().collect();
        order::sort_by(&mut found, |a, b| a.began.cmp(&b.began));
        found
    }

    /// Drops what is over, if `user` has as many sessions as it may or the table is full; if that does
    /// not help, the longest unused session of `user`, or of the account that has most.
    fn make_room(&mut self, user: &UserId, limits: impl Fn(&DomainId) -> Limits, now: Instant) {
        let is_crowded = |sessions: &Self| sessions.count(user) >= PER_ACCOUNT;
        if !is_crowded(self) && self.0.len() < LIMIT {
            return;
        }
        self.0.retain(|_, session| !session.is_over(limits(&session.user.domain), now));
        let victim = if is_crowded(self) {
            user.clone()
        } else if self.0.len() >= LIMIT {
            self.most_crowded().unwrap_or_else(|| user.clone())
        } else {
            return;
        };
        let of_victim = self.0.values().filter(|session| session.user == victim);
        if let Some(id) = of_victim.min_by_key(|session| session.used).map(|s| s.id.clone()) {
            self.0.remove(&id);
        }
    }

    fn count(&self, user: &UserId) -> usize {
        self.0.values().filter(|session| session.user == *user).count()
    }

    /// The account with most sessions.
    fn most_crowded(&self) -> Option<UserId> {
        let mut counts: BTreeMap<&UserId, usize> = BTreeMap::new();
        for session in self.0.values() {
            *counts.entry(&session.user).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(user, _)| user.clone())
    }
}

fn hash(secret: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PasswordHash;

    const HOUR: Duration = Duration::from_secs(3600);

    fn user(name: &str) -> User {
        let id = UserId::new(DomainId::default(), name).unwrap();
        User::new(id, name, PasswordHash::None, Millis(0))
    }

    fn opening(user: &User) -> Opening<'_> {
        let remote = "10.0.0.1".parse().unwrap();
        Opening { user, token: None, remote, agent: Some("Browser"), since: Millis(5) }
    }

    fn idle(minutes: u64) -> impl Fn(&DomainId) -> Limits {
        move |_| Limits::new(Some(Duration::from_secs(minutes * 60)), None)
    }

    #[test]
    fn a_cookie_opens_its_session_and_no_other() {
        let (mut sessions, ann, now) = (Sessions::default(), user("ann"), Instant::now());
        let first = sessions.open(&opening(&ann), idle(60), now).unwrap();
        let second = sessions.open(&opening(&ann), idle(60), now).unwrap();
        assert_eq!(sessions.enter(&first.cookie, idle(60), now), Some(first.id.clone()));
        let (id, secret) = first.cookie.split_once('.').unwrap();
        let (_, other) = second.cookie.split_once('.').unwrap();
        for cookie in [
            "",
            ".",
            id,
            &format!("{id}."),
            &format!("{id}.{other}"),
            &format!("{}.{secret}", second.id),
            &format!("{id}.{secret}x"),
            &format!("{id}.{}", secret.to_lowercase()),
        ] {
            assert_eq!(sessions.enter(cookie, idle(60), now), None, "{cookie}");
        }
    }

    #[test]
    fn a_session_ends_when_it_was_unused_for_too_long_and_no_sooner() {
        let (mut sessions, ann, mut now) = (Sessions::default(), user("ann"), Instant::now());
        let opened = sessions.open(&opening(&ann), idle(60), now).unwrap();
        for _ in 0..5 {
            now += HOUR - Duration::from_secs(1);
            assert!(sessions.enter(&opened.cookie, idle(60), now).is_some(), "use keeps it");
        }
        assert!(sessions.get(&opened.id, idle(60), now + HOUR - Duration::from_secs(1)).is_some());
        assert!(sessions.enter(&opened.cookie, idle(60), now + HOUR).is_none());
        assert!(sessions.enter(&opened.cookie, idle(60), now).is_none(), "for good");
    }

    #[test]
    fn no_use_keeps_a_session_for_ever() {
        let (mut sessions, ann, start) = (Sessions::default(), user("ann"), Instant::now());
        let opened = sessions.open(&opening(&ann), idle(60), start).unwrap();
        let mut now = start;
        while sessions.enter(&opened.cookie, idle(60), now).is_some() {
            now += HOUR / 2;
        }
        assert_eq!(now - start, LONGEST);
    }

    #[test]
    fn the_shorter_of_both_limits_counts() {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        for (idle, time, unused, open_is_use) in [
            (None, None, UNUSED, true),
            (None, Some(5), minutes(5), true),
            (Some(10), None, minutes(10), false),
            (Some(10), Some(5), minutes(5), false),
        ] {
            let limits = Limits::new(idle.map(minutes), time.map(minutes));
            assert_eq!(limits, Limits { unused, open_is_use }, "{idle:?} {time:?}");
        }
    }

    #[test]
    fn ending_everything_spares_the_session_that_did_it() {
        let (mut sessions, mut ann, now) = (Sessions::default(), user("ann"), Instant::now());
        let own = sessions.open(&opening(&ann), idle(60), now).unwrap();
        let other = sessions.open(&opening(&ann), idle(60), now).unwrap();
        // Whatever the clock of the board says: backwards counts, too.
        ann.valid_from = Some(Millis(1));
        sessions.keep(&own.id, &ann);
        let mut is_wanted =
            |id: &str| Sessions::is_wanted(sessions.get(id, idle(60), now).unwrap(), &ann);
        assert!(is_wanted(&own.id));
        assert!(!is_wanted(&other.id));
        let listed: Vec<_> = sessions.of(&ann, idle(60), now).into_iter().map(|s| s.id).collect();
        assert_eq!(listed, [own.id]);
    }

    #[test]
    fn one_account_takes_no_place_from_another() {
        let (mut sessions, now) = (Sessions::default(), Instant::now());
        let (ann, eve) = (user("ann"), user("eve"));
        let anns = sessions.open(&opening(&ann), idle(60), now).unwrap();
        let mut newest = None;
        for _ in 0..1000 {
            newest = sessions.open(&opening(&eve), idle(60), now);
        }
        assert_eq!(sessions.0.len(), 1 + PER_ACCOUNT);
        assert!(sessions.enter(&newest.unwrap().cookie, idle(60), now).is_some());
        for i in 0..LIMIT {
            sessions.open(&opening(&user(&format!("u{i}"))), idle(60), now).unwrap();
        }
        assert_eq!(sessions.0.len(), LIMIT);
        assert!(sessions.enter(&anns.cookie, idle(60), now).is_some());
    }

    #[test]
    fn a_browsers_words_are_clamped() {
        let (mut sessions, ann, now) = (Sessions::default(), user("ann"), Instant::now());
        let agent = "\u{1b}[31m".to_owned() + &"x".repeat(10_000);
        let opening = Opening { agent: Some(&agent), ..opening(&ann) };
        let opened = sessions.open(&opening, idle(60), now).unwrap();
        let kept = &sessions.get(&opened.id, idle(60), now).unwrap().agent;
        assert!(kept.len() <= AGENT_MAX && kept.starts_with("[31m"));
    }
}
