//! `amtManager` of a domain: how its Intel AMT is logged in to, and over what it is activated.
//!
//! What is wrong here is a remark, never a problem, as in [`super::activation`].

use std::fmt;

use super::amt_setup::{AmtSetup, amt_setup};
use super::read::Section;
use super::table;
use super::tree::Value;

/// Most accounts of a domain: firmware counts failed logins.
const ACCOUNTS_MAX: usize = 8;
/// Longest user name and password, in bytes.
const TEXT_MAX: usize = 64;

/// What a domain says about managing Intel AMT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmtManager {
    /// `adminAccounts`: logins that are tried where those of the device are refused.
    pub accounts: Vec<AmtAccount>,
    /// `tlsAcmActivation`: firmware that can is set up over TLS; otherwise only where it must be.
    pub activates_over_tls: bool,
    /// `tlsConnections`: false forbids TLS outside the firmware's own tunnel.
    pub allows_tls: bool,
}

impl Default for AmtManager {
    fn default() -> Self {
        Self { accounts: Vec::new(), activates_over_tls: false, allows_tls: true }
    }
}

/// One entry of `adminAccounts`.
#[derive(Clone, PartialEq, Eq)]
pub struct AmtAccount {
    /// `user`, or `admin`.
    pub user: String,
    /// `pass`.
    pub password: String,
}

impl fmt::Debug for AmtAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmtAccount({:?})", self.user)
    }
}

/// Reads the section, with what firmware is set up with.
pub(super) fn amt_manager(domain: &Section<'_>) -> (AmtManager, AmtSetup) {
    let Some(found) = domain.find("amtManager") else { return Default::default() };
    // MeshCentral takes anything but an object as an empty one.
    let Value::Table(_) = found.node.value else {
        domain.remark(&found, "ignored: expected an object { … }");
        return Default::default();
    };
    let Some(section) = domain.section("amtManager") else { return Default::default() };
    let mut manager = AmtManager::default();
    // Anything but these words is MeshCentral's default.
    let is = |name, word| {
        let found = section.find(name);
        found.is_some_and(|found| found.node.value.as_flag() == Some(word))
    };
    manager.activates_over_tls = is("tlsAcmActivation", true);
    manager.allows_tls = !is("tlsConnections", false);
    if let Some(found) = section.find("adminAccounts") {
        match &found.node.value {
            Value::List(entries) => {
                let accounts: Vec<_> = entries.iter().filter_map(|e| account(&e.value)).collect();
                if accounts.len() < entries.len() {
                    section.remark(&found, "entries without a text \"pass\" are left out");
                }
                if accounts.len() > ACCOUNTS_MAX {
                    section.remark(&found, format!("only the first {ACCOUNTS_MAX} are tried"));
                }
                manager.accounts = accounts.into_iter().take(ACCOUNTS_MAX).collect();
            }
            _ => section.remark(&found, "ignored: expected a list of { user, pass }"),
        }
    }
    let setup = amt_setup(&section);
    section.finish(&table::AMT_MANAGER);
    (manager, setup)
}

fn account(entry: &Value) -> Option<AmtAccount> {
    let Value::Table(table) = entry else { return None };
    let text = |name| match table.get(name)?.node.value {
        Value::Text(ref text) if (1..=TEXT_MAX).contains(&text.len()) => Some(text.clone()),
        _ => None,
    };
    let user = text("user").unwrap_or_else(|| "admin".to_owned());
    Some(AmtAccount { user, password: text("pass")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::model::DomainId;

    fn read(section: &str) -> (AmtManager, usize) {
        let text = format!(r#"{{"domains":{{"":{{"AmtManager":{section}}}}}}}"#);
        let (config, warnings) = parse(&text, []).unwrap();
        (config.domain(&DomainId::default()).amt_manager.clone(), warnings.len())
    }

    #[test]
    fn accounts_and_switches_are_read_as_meshcentral_reads_them() {
        let (manager, warnings) = read(
            r#"{"AdminAccounts":[{"pass":"P@ssw0rd"},{"user":"ann","pass":"x"}],
                "TlsAcmActivation":true,"tlsConnections":false}"#,
        );
        let account = |user: &str, password: &str| AmtAccount {
            user: user.into(),
            password: password.into(),
        };
        assert_eq!(manager.accounts, [account("admin", "P@ssw0rd"), account("ann", "x")]);
        assert_eq!((manager.activates_over_tls, manager.allows_tls, warnings), (true, false, 0));
        assert!(!format!("{manager:?}").contains("P@ssw0rd"), "no password in a log");
    }

    #[test]
    fn nothing_that_is_wrong_here_stops_the_server() {
        for section in [
            "5",
            r#"{"adminAccounts":"admin"}"#,
            r#"{"adminAccounts":[5,{"user":"ann"},{"pass":""},{"pass":7}]}"#,
            r#"{"other":1}"#,
        ] {
            let (manager, warnings) = read(section);
            assert_eq!((manager, warnings), (AmtManager::default(), 1), "{section}");
        }
        let many = [r#"{"pass":"x"}"#; ACCOUNTS_MAX + 1].join(",");
        let (manager, warnings) = read(&format!(r#"{{"adminAccounts":[{many}]}}"#));
        assert_eq!((manager.accounts.len(), warnings), (ACCOUNTS_MAX, 1));
    }
}
