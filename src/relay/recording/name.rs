//! What recordings are called: `relaysession[-domain]-YYYY-MM-DD-HH-MM-SS-user-device-id.mcrec`,
//! in UTC; chats end in `.txt`.
//!
//! Device names come from agents, session ids from whoever opens a session, and all of them become
//! part of one file name: what is not a letter, a digit or one of a few marks is left out, and each
//! part is cut. So a name never leaves its folder, hides, or is longer than 255 bytes.

use crate::model::{DomainId, Millis, Utc};

/// Longest user, device and session in a name, in bytes. With a domain all stay below 255.
const USER_MAX: usize = 48;
const DEVICE_MAX: usize = 48;
const SESSION_MAX: usize = 40;
/// What the names of recordings begin with. The second is MeshCentral's for shared desktops.
const PREFIXES: [&str; 2] = ["relaysession", "desktopSession"];
/// `YYYY-MM-DD-HH-MM-SS-`.
const DATE: usize = 20;

/// How a recording is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For the player: `.mcrec`.
    Blocks,
    /// Lines of a chat: `.txt`.
    Chat,
}

impl Form {
    fn extension(self) -> &'static str {
        match self {
            Self::Blocks => ".mcrec",
            Self::Chat => ".txt",
        }
    }

    /// How the file of that name is kept, if it is a recording.
    pub fn of(name: &str) -> Option<Self> {
        let known = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let form = |form: &Self| name.ends_with(form.extension());
        [Self::Blocks, Self::Chat].into_iter().find(form).filter(|_| known)
    }
}

/// What a recording is named after. All texts as they came.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The tenant.
    pub domain: &'a DomainId,
    /// When it begins.
    pub time: Millis,
    /// Whose session it is.
    pub user: &'a str,
    /// The device.
    pub device: &'a str,
    /// The session.
    pub session: &'a str,
}

impl Named<'_> {
    /// The file name; `attempt` tells names apart that would be the same, from 0.
    pub fn file(&self, form: Form, attempt: u32) -> String {
        let mut name = format!("{}-{}", prefix(PREFIXES[0], self.domain), date(self.time));
        let parts = [(self.user, USER_MAX), (self.device, DEVICE_MAX), (self.session, SESSION_MAX)];
        let parts = parts.map(|(part, max)| clean(part, max));
        if parts.iter().all(String::is_empty) {
            name.push_str("-session");
        }
        for part in parts.iter().filter(|part| !part.is_empty()) {
            name.push('-');
            name.push_str(part);
        }
        if attempt > 0 {
            name.push_str(&format!("~{attempt}"));
        }
        name + form.extension()
    }
}

/// Whether the recording of that name belongs to `domain`. A folder may hold those of several.
pub fn belongs_to(name: &str, domain: &DomainId) -> bool {
    PREFIXES.iter().any(|start| {
        name.strip_prefix(&*prefix(start, domain))
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(begins_with_date)
    })
}

/// Whether a name from outside is one a recording can have: it is in no other folder, and not
/// hidden.
pub fn is_plain(name: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
    name.len() <= 255 && !name.contains(odd) && Form::of(name).is_some()
}

/// How the names of a domain begin: no two domains alike.
fn prefix(start: &str, domain: &DomainId) -> String {
    let mut prefix = start.to_owned();
    for (i, c) in domain.as_str().chars().enumerate() {
        if i == 0 {
            prefix.push('-');
        }
        match c {
            c if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') => prefix.push(c),
            c => prefix.push_str(&format!("%{:x}", u32::from(c))),
        }
    }
    prefix
}

fn date(time: Millis) -> String {
    let Utc { year, month, day, hour, minute, second, .. } = time.utc();
    format!("{year:04}-{month:02}-{day:02}-{hour:02}-{minute:02}-{second:02}")
}

fn begins_with_date(rest: &str) -> bool {
    const FORM: &[u8; DATE] = b"0000-00-00-00-00-00-";
    let fits = |(byte, form): (&u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == form,
    };
    rest.len() > DATE && rest.as_bytes().iter().zip(FORM).all(fits)
}

/// The harmless part of a text, at most `max` bytes of it.
fn clean(text: &str, max: usize) -> String {
    let mut clean = String::new();
    // Only so much is looked at: a session's id can be as long as a URL.
    for c in text.chars().take(4 * max) {
        let harmless = c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '$' | '=' | '+');
        if harmless && clean.len() + c.len_utf8() <= max {
            clean.push(c);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIME: Millis = Millis(1_795_326_010_000);

    fn domain(name: &str) -> DomainId {
        DomainId::new(name).unwrap()
    }

    #[test]
    fn names_are_those_of_meshcentral() {
        let root = domain("");
        let named = Named {
            domain: &root,
            time: TIME,
            user: "admin",
            device: "vm",
            session: "ee1c3c557d4d",
        };
        let expected = "relaysession-2026-11-22-05-40-10-admin-vm-ee1c3c557d4d";
        assert_eq!(named.file(Form::Blocks, 0), format!("{expected}.mcrec"));
        assert_eq!(named.file(Form::Chat, 2), format!("{expected}~2.txt"));
        let tenant = domain("customer1");
        let named = Named { domain: &tenant, device: "", ..named };
        let expected = "relaysession-customer1-2026-11-22-05-40-10-admin-ee1c3c557d4d.mcrec";
        assert_eq!(named.file(Form::Blocks, 0), expected);
    }

    #[test]
    fn a_recording_belongs_to_one_domain() {
        for (name, owner) in [
            ("relaysession-2026-11-22-05-40-10-a-b-c.mcrec", ""),
            ("desktopSession-2026-11-22-05-40-10-abc.mcrec", ""),
            ("relaysession-one-2026-11-22-05-40-10-a.txt", "one"),
            ("relaysession-one-two-2026-11-22-05-40-10-a.txt", "one-two"),
            ("relaysession-2026-11-22-05-40-10.mcrec", "nobody"),
            ("backup-2026-11-22-05-40-10-a.mcrec", "nobody"),
            ("relaysession-é2026-11-22-05-40-10-a.mcrec", "nobody"),
        ] {
            for tenant in ["", "one", "one-two", "two"] {
                assert_eq!(belongs_to(name, &domain(tenant)), tenant == owner, "{name} {tenant}");
            }
        }
    }

    #[test]
    fn names_from_outside_stay_in_the_folder() {
        assert!(is_plain("relaysession-2026-11-22-05-40-10-a.mcrec"));
        for name in [
            "",
            "../relaysession-1.mcrec",
            "relaysession/../../etc/passwd.txt",
            "relaysession\\x.mcrec",
            "relaysession-\0.mcrec",
            ".relaysession.mcrec",
            "relaysession-1.mcrec.exe",
            "state",
        ] {
            assert!(!is_plain(name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_things_are_called_the_name_is_plain_and_belongs(
            tenant in "[a-z0-9-]{0,64}", user: String, device in "\\PC{0,200}", session: String,
        ) {
            let tenant = domain(&tenant);
            let named = Named {
                domain: &tenant,
                time: TIME,
                user: &user,
                device: &device,
                session: &session,
            };
            for form in [Form::Blocks, Form::Chat] {
                let name = named.file(form, 4_000_000_000);
                prop_assert!(is_plain(&name), "{}", name);
                prop_assert_eq!(Form::of(&name), Some(form));
                prop_assert!(belongs_to(&name, &tenant));
            }
        }
    }
}
