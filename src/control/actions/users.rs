//! Accounts: listing and making them.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::identity::password;
use crate::model::rights::Authority;
use crate::model::{
    DomainId, LinkTarget, PasswordHash, Rights, SiteRights, Target, User, UserGroup, UserId,
};

use super::super::request::Request;
use super::user_groups::group_change;
use super::{Answer, Call};

/// Longest password in characters.
const PASSWORD_MAX: usize = 256;
/// Longest e-mail address in bytes.
const EMAIL_MAX: usize = 1024;
/// Longest display name in characters.
pub(super) const REAL_NAME_MAX: usize = 256;
/// Longest telephone number in characters.
const PHONE_MAX: usize = 64;
/// Most accounts in one batch: each takes a password computation.
const BATCH_MAX: usize = 1000;
/// Random bytes of a password nobody is told.
const RANDOM_LEN: usize = 15;
/// Site rights that somebody who is no full administrator may give or take: locked, no new groups,
/// no tools.
pub(super) const LIMITING: SiteRights =
    SiteRights::LOCKED.union(SiteRights::NO_NEW_GROUPS).union(SiteRights::NO_TOOLS);

/// `users`: all accounts the user has to do with.
pub(super) fn list(call: &Call) -> Answer<'_> {
    let hub = call.hub();
    let users: Vec<_> = domains(call)
        .iter()
        .flat_map(|domain| hub.store.users(domain))
        .filter(|user| hub.authority(&call.user, user) >= Authority::See)
        .map(|user| hub.account_document(&user))
        .collect();
    call.reply(json!({"users": users}))
}

/// The user's domain; all for who crosses domains.
pub(super) fn domains(call: &Call) -> Vec<DomainId> {
    match call.hub().crosses_domains(&call.user.id) {
        true => call.hub().config().domains.keys().cloned().collect(),
        false => vec![call.user.id.domain.clone()],
    }
}

/// The domain in which something new is asked for; `None` if it is not one. Only who crosses
/// domains has a choice.
pub(super) fn domain_wanted(call: &Call) -> Option<DomainId> {
    let own = call.user.id.domain.clone();
    match call.request.get("domain") {
        Some(domain) if call.hub().crosses_domains(&call.user.id) => {
            let domain = DomainId::new(domain.as_str()?).ok()?;
            call.hub().config().domains.contains_key(&domain).then_some(domain)
        }
        _ => Some(own),
    }
}

/// Why an account is not made: a text, and its number for translation.
type Refusal = (&'static str, Option<u32>);

const TAKEN: Refusal = ("User already exists", Some(7));
const BUSY: Refusal = ("Server is busy, try again", Some(9));
const FULL: Refusal = ("maxUsersExceed", None);

/// `adduser`: a new account without rights on any device.
pub(super) fn add(call: &Call) -> Answer<'_> {
    let draft = match draft(call) {
        Ok(draft) => draft,
        Err(refusal) => return refuse(call, refusal),
    };
    Answer::later(async move {
        let hash = match call.request.is_true("randomPassword") {
            true => random_password(),
            false => hash(call, call.request.text("pass").unwrap_or_default()).await,
        };
        // Somebody else may have made the account while the hash was computed.
        if call.hub().store.user(&draft.id).is_some() {
            return refuse(call, TAKEN);
        }
        match hash {
            Some(password) => make(call, User { password, ..draft }).and(call.result("ok")),
            None => refuse(call, BUSY),
        }
    })
}

fn refuse(call: &Call, (text, number): Refusal) -> Answer<'static> {
    match (call.responseid(), number) {
        (Some(_), Some(number)) => call.numbered_result(text, number),
        (Some(_), None) => call.result(text),
        (None, Some(number)) => call.notice(
            text,
            json!({"title": "New Account", "tag": "ServerNotify", "titleid": 1, "msgid": number}),
        ),
        (None, None) => limit_reached(call),
    }
}

fn limit_reached(call: &Call) -> Answer<'static> {
    let more = json!({"title": "Server Limit", "domain": call.user.id.domain.as_str(),
        "titleid": 2, "msgid": 10});
    call.notice("Account limit reached.", more)
}

/// `None` if too many are being computed.
async fn hash(call: &Call, password: &str) -> Option<PasswordHash> {
    let hash = call.passwords().hash(password).await.ok()?;
    (hash != PasswordHash::None).then_some(hash)
}

/// A password nobody knows: somebody with mail access or an administrator sets another.
fn random_password() -> Option<PasswordHash> {
    let mut bytes = [0; RANDOM_LEN];
    getrandom::fill(&mut bytes).ok()?;
    Some(password::keep_random(&data_encoding::BASE64.encode(&bytes)))
}

/// The account `adduser` asks for, still without its password.
fn draft(call: &Call) -> Result<User, Refusal> {
    let request = &call.request;
    let refusal = |text, number| (text, Some(number));
    let name = request.text_within("username", 1, UserId::MAX);
    let name = name.ok_or(refusal("Invalid username", 2))?;
    let domain = domain_wanted(call).ok_or(refusal("Invalid domain", 5))?;
    let id = UserId::new(domain, name).map_err(|_| refusal("Invalid username", 2))?;
    if !request.is_true("randomPassword") {
        request.text_within("pass", 1, PASSWORD_MAX).ok_or(refusal("Invalid password", 3))?;
    }
    let email = match request.get("email") {
        Some(_) => Some(email_address(request.text("email")).ok_or(refusal("Invalid email", 4))?),
        None => None,
    };
    let site = site_rights(call).ok_or(refusal("Invalid site permissions", 6))?;
    if call.hub().store.user(&id).is_some() {
        return Err(TAKEN);
    }
    if room(call, &id.domain) == 0 {
        return Err(FULL);
    }
    let mut user = blank(call, id, name, request);
    user.site = site.unwrap_or(user.site);
    user.email_verified = email.is_some() && request.is_true("emailVerified");
    user.email = email;
    user.real_name = request.text_within("realname", 1, REAL_NAME_MAX).map(str::to_owned);
    user.consent = request.number("consent").unwrap_or_default();
    user.phone = request.text("phone").and_then(phone_number);
    Ok(user)
}

/// A new account as the domain and its maker's realms want it.
fn blank(call: &Call, id: UserId, name: &str, wishes: &Request) -> User {
    let (config, now) = (call.hub().config(), call.hub().now());
    let reset = wishes.is_true("resetNextLogin");
    User {
        site: config.domain(&id.domain).new_account_rights,
        realms: call.user.realms.clone(),
        password_changed: (!reset).then_some(now.seconds()),
        ..User::new(id, name, PasswordHash::None, now)
    }
}

/// `siteadmin` of a new account: `None` if the maker may not give it, `Some(None)` if it is not
/// asked for.
fn site_rights(call: &Call) -> Option<Option<SiteRights>> {
    if call.request.get("siteadmin").is_none() {
        return Some(None);
    }
    let site = SiteRights::from_bits_retain(call.request.number("siteadmin")?);
    (call.user.site.is_full() || LIMITING.contains(site)).then_some(Some(site))
}

/// How many accounts a domain still takes.
fn room(call: &Call, domain: &DomainId) -> usize {
    let max = call.hub().config().domain(domain).max_user_accounts.unwrap_or(usize::MAX);
    max.saturating_sub(call.hub().store.users(domain).len())
}

/// An e-mail address in lower case, if it looks like one.
pub(super) fn email_address(text: Option<&str>) -> Option<String> {
    let text = text.filter(|text| text.len() <= EMAIL_MAX)?;
    let (name, host) = text.split_once('@')?;
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '<' | '>' | '"');
    // As MeshCentral: a top-level domain has two letters or more.
    let top = host.rsplit_once('.').is_some_and(|(rest, top)| !rest.is_empty() && top.len() > 1);
    let ok = !name.is_empty() && top && !name.contains(bad) && !host.contains(bad);
    ok.then(|| text.to_lowercase())
}

/// A telephone number: digits, blanks, `-` and `.`, perhaps a `+` before them.
pub(super) fn phone_number(text: &str) -> Option<String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let ok = (1..=PHONE_MAX).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit() || b" -.".contains(&b));
    ok.then(|| text.to_owned())
}

/// Stores a new account, makes it a member of the domain's user groups for such, and tells.
fn make(call: &Call, mut user: User) -> Answer<'static> {
    let hub = call.hub();
    let config = hub.config();
    let groups: Vec<Rc<UserGroup>> = config
        .domain(&user.id.domain)
        .new_account_user_groups
        .iter()
        .filter_map(|id| hub.store.user_group(id))
        .collect();
    for group in &groups {
        user.set_link(LinkTarget::UserGroup(group.id.clone()), Some(Rights::EDIT_GROUP));
    }
    let answer = Answer::none().after(call.put(user.clone()));
    call.audit(format_args!("made account {} (site rights {:#x})", user.id, user.site.bits()));
    for group in &groups {
        let msg = format!("Added user {} to user group {}", user.name, group.name);
        let event = group_change(call, group)
            .to(Target::User(user.id.clone()))
            .with("msgid", 80)
            .with("msgArgs", json!([user.name, group.name]));
        hub.publish(event.with("msg", msg));
    }
    let (number, what, shown) = match &user.email {
        None => (64, "username", &user.name),
        Some(email) => (65, "email", email),
    };
    let mut event = call
        .account_event("accountcreate", &user)
        .with("account", call.hub().account_document(&user))
        .with("msgid", number)
        .with("msgArgs", json!([shown]))
        .with("msg", format!("Account created, {what} is {shown}"));
    // MeshCentral names the new account here, not its maker.
    event.actor = Some(user.id.clone());
    hub.publish(event.with("username", user.name.as_str()));
    answer
}

/// `adduserbatch`: many accounts, all or none of them valid. Names that exist are passed over.
/// Success is not answered, as in MeshCentral: every account is told by its event.
pub(super) fn add_many(call: &Call) -> Answer<'_> {
    let list = call.request.get("users").and_then(Value::as_array);
    let Some(list) = list.filter(|list| list.len() <= BATCH_MAX) else {
        return call.result("Invalid users");
    };
    let drafts: Result<Vec<_>, _> = list.iter().map(|wishes| batch_draft(call, wishes)).collect();
    let drafts = match drafts {
        Ok(drafts) => drafts,
        Err(text) => return call.result(text),
    };
    if drafts.len() > room(call, &call.user.id.domain) {
        return limit_reached(call);
    }
    Answer::later(async move {
        let mut answer = Answer::none();
        for (draft, password) in drafts {
            let is_new = |user: &User| call.hub().store.user(&user.id).is_none();
            if !is_new(&draft) {
                continue;
            }
            let Some(password) = hash(call, &password).await else {
                return answer.and(call.result(BUSY.0));
            };
            if is_new(&draft) {
                answer = answer.and(make(call, User { password, ..draft }));
            }
        }
        answer
    })
}

/// One account of a batch and its password.
fn batch_draft(call: &Call, wishes: &Value) -> Result<(User, String), &'static str> {
    let fields = wishes.as_object().ok_or("Invalid users")?.clone();
    let wishes = Request { action: String::new(), fields };
    let name = wishes.text_within("user", 1, UserId::MAX).ok_or("Invalid username")?;
    let id = UserId::new(call.user.id.domain.clone(), name).map_err(|_| "Invalid username")?;
    let password = wishes.text_within("pass", 1, PASSWORD_MAX).ok_or("Invalid password")?;
    let email = match wishes.get("email") {
        Some(_) => Some(email_address(wishes.text("email")).ok_or("Invalid email")?),
        None => None,
    };
    let user = User {
        email_verified: email.is_some() && wishes.is_true("emailVerified"),
        email,
        real_name: wishes.text_within("realname", 1, REAL_NAME_MAX).map(str::to_owned),
        ..blank(call, id, name, &wishes)
    };
    Ok((user, password.to_owned()))
}
