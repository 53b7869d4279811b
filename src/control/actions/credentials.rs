//! Passwords of accounts: one's own, those of others, and logging out everywhere.

use std::rc::Rc;

use serde_json::{Value, json};

use super::super::passwords::{self, NotChanged, Wish};
use super::super::{password_rules, password_rules::Broken};
use super::{Answer, Call};
use crate::identity::password::Busy;
use crate::model::User;

/// Longest password in characters.
const PASSWORD_MAX: usize = password_rules::PASSWORD_MAX;
/// Longest hint taken in characters; less of it is kept.
const HINT_MAX: usize = 256;

/// `changepassword`: one's own, with the old one.
pub(super) fn change_own(call: &Call) -> Answer<'_> {
    let request = &call.request;
    let old = request.text_within("oldpass", 1, PASSWORD_MAX);
    let new = request.text_within("newpass", 1, PASSWORD_MAX);
    let (Some(old), Some(new)) = (old, new) else { return Answer::none() };
    let hint = request.text_within("hint", 0, HINT_MAX);
    if request.get("hint").is_some() && hint.is_none() {
        return Answer::none();
    }
    let address = call.login().remote.ip();
    if call.gate().may_try(address).is_err() {
        // A session somebody else sits at is no place to guess from.
        return notice(call, "Error, password not changed.", 19);
    }
    Answer::later(async move {
        let wish = Wish { user: &call.user.id, from: address, old, new, hint };
        let changed =
            passwords::change(call.hub(), call.passwords(), wish, Some(call.session())).await;
        match changed {
            Ok(commits) => {
                let answer = notice(call, "Password changed.", 20);
                commits.into_iter().fold(answer, Answer::after)
            }
            Err(NotChanged::WrongOld) => {
                call.gate().guessed_wrong(address);
                call.audit(format_args!("gave a wrong password to change its own"));
                notice(call, "Current password not correct.", 21)
            }
            Err(NotChanged::UsedBefore) => {
                notice(call, "Error, unable to change to previously used password.", 17)
            }
            Err(NotChanged::Broken(Broken::Common)) => {
                notice(call, "Error, unable to change to commonly used password.", 18)
            }
            Err(NotChanged::Broken(_) | NotChanged::Busy | NotChanged::Gone) => {
                notice(call, "Error, password not changed.", 19)
            }
        }
    })
}

/// What the page shows about the account; clients translate it by its number.
fn notice(call: &Call, text: &str, number: u32) -> Answer<'static> {
    const TITLE: u32 = 4;
    let mut random = [0; 4];
    // Any number will do: it only has to differ from that of another notice.
    let _ = getrandom::fill(&mut random);
    let frame = json!({
        "action": "msg",
        "type": "notify",
        "id": f64::from(u32::from_be_bytes(random)) / 4_294_967_296.0,
        "value": text,
        "title": "Account Settings",
        "userid": call.user.id.to_string(),
        "username": call.user.name,
        "tag": "ServerNotify",
        "titleid": TITLE,
        "msgid": number,
    });
    Answer { frames: vec![frame.to_string()], ..Answer::none() }
}

/// `changeuserpass`: of another account, without the old one; may take its second factors away.
/// Never answered.
pub(super) fn change_others(call: &Call, account: Rc<User>) -> Answer<'_> {
    let request = &call.request;
    let Some(&Value::Bool(without_factors)) = request.get("removeMultiFactor") else {
        return Answer::none();
    };
    let Some(password) = request.text_within("pass", 0, PASSWORD_MAX) else {
        return Answer::none();
    };
    let id = account.id.clone();
    let config = call.hub().config();
    let domain = config.domain(&id.domain);
    if !password.is_empty() && password_rules::check(domain, password).is_err() {
        return Answer::none();
    }
    let hint = request.text_within("hint", 0, HINT_MAX).filter(|_| domain.passwords.hint);
    Answer::later(async move {
        let hash = if password.is_empty() {
            None
        } else {
            match passwords::hash(call.passwords(), password).await {
                Ok(hash) => Some(hash),
                Err(Busy) => return Answer::none(),
            }
        };
        // As it is now, after the hash was computed.
        let Some(current) = call.hub().store.user(&id) else { return Answer::none() };
        let mut user = User::clone(&current);
        if let Some(hash) = hash {
            user.password = hash;
        }
        let reset = request.is_true("resetNextLogin");
        user.password_changed = (!reset).then(|| call.hub().now().seconds());
        let mut factors = passwords::factors_of(call.hub(), &id);
        if without_factors {
            factors = factors.without_factors();
        }
        if hint.is_some() {
            factors.password_hint = hint.and_then(passwords::hint);
        }
        let mut answer = Answer::none().after(call.put(factors));
        let ends = user.password != current.password || without_factors;
        answer = answer.after(if ends {
            passwords::end_other_logins(call.hub(), user.clone(), Some(call.session()))
        } else {
            call.put_user(user.clone())
        });
        call.audit(format_args!("changed the credentials of {id}"));
        call.hub().publish(
            call.account_change(&user).with("msgid", 75).with("msg", "Changed account credentials"),
        );
        answer
    })
}

/// `logoutall` (ours): ends every other session of this account, with its login cookies and
/// remembered devices.
pub(super) fn log_out_everywhere(call: &Call) -> Answer<'_> {
    let user = User::clone(&call.user);
    let commit = passwords::end_other_logins(call.hub(), user, Some(call.session()));
    call.audit(format_args!("logged out everywhere else"));
    call.result("ok").after(commit)
}
