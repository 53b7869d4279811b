//! What each command does.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    AgentsCommand, Command, Common, Failure, GroupCommand, MpsCommand, UserCommand, agents, amt,
    backup, export, import, link, password, print,
};
use crate::amt::activation::room::Equipment;
use crate::config::{self, Config, ConfigError, Domain, Place, Problem, Warning, WarningKind};
use crate::identity::{Role, describe};
use crate::model::{DomainId, Millis};
use crate::server::ServeOptions;
use crate::server::admin::{Answer, Request};

pub(super) fn run(common: &Common, command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve => serve(common),
        Command::CheckConfig { file } => check_config(common, file),
        Command::User(command) => user(common, command),
        Command::Group(command) => group(common, command),
        Command::Agents(AgentsCommand::Install { from, arch }) => {
            agents::install_from(common, &from, &arch)
        }
        Command::Agents(AgentsCommand::List) => agents::list(common),
        Command::Import { path, dbexport, dry_run } => {
            import::run(common, &path, dbexport.as_deref(), dry_run)
        }
        Command::Export { file } => export::run(common, &file),
        Command::Backup { file, passphrase_file } => {
            backup::make(common, &file, passphrase_file.as_deref())
        }
        Command::Restore { file, passphrase_file, dry_run, replace } => {
            let phrase = passphrase_file.as_deref();
            match dry_run {
                true => backup::verify(common, &file, phrase),
                false => backup::restore(common, &file, phrase, replace),
            }
        }
        Command::Status => show(common, &link::ask(common, &Request::Status)?),
        Command::LoginKey => show(common, &link::ask(common, &Request::LoginKey)?),
        Command::Cert(_) => certificates(common),
        Command::Mps(command) => mps(common, command),
        Command::Amt(command) => amt::run(common, command),
    }
}

fn serve(common: &Common) -> Result<(), Failure> {
    let (config, warnings) = link::load_config(&common.data)?;
    let file = config_file(common);
    let loud = loud(&warnings, &file);
    for warning in &loud {
        log::warn!("{warning}");
    }
    if warnings.len() > loud.len() {
        let quiet = warnings.len() - loud.len();
        log::info!("{quiet} settings have no effect; see `meshboard check-config`");
    }
    let data = common.data.clone();
    let reread = Box::new(move || match config::load(&file, config::environment()) {
        Ok((config, warnings)) => Ok((config, self::loud(&warnings, &file))),
        Err(error) => Err(error.to_string()),
    });
    crate::server::run::serve(ServeOptions { data, config, warnings: loud, reread })
        .map_err(Failure::failed)
}

/// The warnings an administrator should see, with their places.
fn loud(warnings: &[Warning], file: &Path) -> Vec<String> {
    let loud = warnings.iter().filter(|warning| warning.kind.is_loud());
    loud.map(|warning| warning.place.located(file, warning).to_string()).collect()
}

fn config_file(common: &Common) -> PathBuf {
    common.data.join("config.json")
}

fn check_config(common: &Common, file: Option<PathBuf>) -> Result<(), Failure> {
    let file = file.unwrap_or_else(|| config_file(common));
    let result = config::load(&file, config::environment());
    if common.json {
        let activation = result
            .as_ref()
            .map(|(config, _)| activation_warnings(common, config))
            .unwrap_or_default();
        let (problems, warnings) = match &result {
            Ok((_, warnings)) => (&[][..], &warnings[..]),
            Err(ConfigError::Invalid(_, problems)) => (&problems[..], &[][..]),
            Err(ConfigError::Read(..)) => (&[][..], &[][..]),
        };
        print::json(&json!({
            "file": file,
            "valid": result.is_ok(),
            "problems": problems.iter().map(problem_document).collect::<Vec<_>>(),
            "warnings": warnings.iter().map(warning_document).collect::<Vec<_>>(),
            "activation": activation,
        }))?;
    }
    let (config, warnings) = result.map_err(Failure::usage)?;
    if common.json {
        return Ok(());
    }
    let mut text = String::new();
    for warning in &warnings {
        text += &format!("{}\n", warning.place.located(&file, warning));
    }
    for warning in activation_warnings(common, &config) {
        text += &format!("{}: AmtAcmActivation: {warning}\n", file.display());
    }
    text += &match (file.exists(), config.domains.len()) {
        (false, _) => format!("{} does not exist: the defaults are in force\n", file.display()),
        (true, 1) => format!("{} is valid\n", file.display()),
        (true, domains) => format!("{} is valid, {domains} domains\n", file.display()),
    };
    print::out(&text)
}

/// What is wrong with the certificates that activate Intel AMT, and with the log of that.
fn activation_warnings(common: &Common, config: &Config) -> Vec<String> {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let now = Millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    let read = |(id, domain): (&DomainId, &Domain)| {
        Equipment::read(&common.data, id, &domain.activation, now).warnings
    };
    config.domains.iter().flat_map(read).collect()
}

fn problem_document(problem: &Problem) -> Value {
    let Problem { place, key, text } = problem;
    with_place(json!({"key": key, "text": text}), place)
}

fn warning_document(warning: &Warning) -> Value {
    let kind = match &warning.kind {
        WarningKind::Unknown => "unknown",
        WarningKind::NotYet => "not-supported-yet",
        WarningKind::NotEnforced => "not-enforced",
        WarningKind::Moot => "moot",
        WarningKind::Duplicate => "duplicate",
        WarningKind::Remark(_) => "remark",
    };
    let document = json!({"key": warning.key, "kind": kind, "text": warning.kind.to_string()});
    with_place(document, &warning.place)
}

fn with_place(mut document: Value, place: &Place) -> Value {
    match place {
        Place::File { line, column } => {
            document["line"] = json!(line);
            document["column"] = json!(column);
        }
        Place::Environment(name) => document["environment"] = json!(name),
    }
    document
}

fn user(common: &Common, command: UserCommand) -> Result<(), Failure> {
    let request = match command {
        UserCommand::Add { account, admin, password: source } => Request::UserAdd {
            password: password::read(source, &account.name)?,
            domain: account.tenant.domain,
            name: account.name,
            admin,
        },
        UserCommand::List { tenant } => Request::UserList { domain: tenant.domain },
        UserCommand::Remove { account } => {
            Request::UserRemove { domain: account.tenant.domain, name: account.name }
        }
        UserCommand::Passwd { account, password: source, remove_factors } => {
            Request::UserPassword {
                password: password::read(source, &account.name)?,
                domain: account.tenant.domain,
                name: account.name,
                without_factors: remove_factors,
            }
        }
        UserCommand::Admin { account, revoke } => {
            Request::UserAdmin { domain: account.tenant.domain, name: account.name, admin: !revoke }
        }
    };
    show(common, &link::ask(common, &request)?)
}

fn group(common: &Common, command: GroupCommand) -> Result<(), Failure> {
    let request = match command {
        GroupCommand::Add { name, tenant, user } => {
            Request::GroupAdd { domain: tenant.domain, name, user }
        }
        GroupCommand::List { tenant } => Request::GroupList { domain: tenant.domain },
    };
    show(common, &link::ask(common, &request)?)
}

fn mps(common: &Common, command: MpsCommand) -> Result<(), Failure> {
    let request = match command {
        MpsCommand::Journal { address, uuid } => Request::MpsJournal { address, uuid },
        MpsCommand::Setup { group, tenant } => Request::MpsSetup { domain: tenant.domain, group },
        MpsCommand::Script { group, tenant } => Request::MpsScript { domain: tenant.domain, group },
    };
    show(common, &link::ask(common, &request)?)
}

/// Prints an answer.
pub(super) fn show(common: &Common, answer: &Answer) -> Result<(), Failure> {
    if common.json {
        return match answer {
            Answer::Account(account) => print::json(account),
            Answer::Accounts(accounts) => print::json(accounts),
            Answer::Removed(id) => print::json(&json!({"removed": id})),
            Answer::Group(group) => print::json(group),
            Answer::Groups(groups) => print::json(groups),
            Answer::Status(status) => print::json(status),
            Answer::LoginKey(key) => print::json(&json!({"loginKey": key})),
            Answer::Reloaded | Answer::Saved => print::json(&json!({})),
            Answer::AmtDeactivated(id) => print::json(&json!({"deactivated": id})),
            Answer::MpsJournal(journal) => print::json(journal),
            Answer::MpsSetup(setup) => print::json(setup),
            Answer::MpsScript(script) => print::out(script),
        };
    }
    match answer {
        Answer::Account(account) => {
            let rights =
                if account.admin { "full rights on the server" } else { "no rights on the server" };
            print::out(&format!("{}: {rights}\n", account.id))
        }
        Answer::Accounts(accounts) => print::accounts(accounts),
        Answer::Removed(id) => print::out(&format!("{id} is removed\n")),
        Answer::Group(group) => print::out(&format!("{}  {}\n", group.meshid, group.name)),
        Answer::Groups(groups) => print::groups(groups),
        Answer::Status(status) => print::status(status),
        Answer::LoginKey(key) => print::out(&format!("{key}\n")),
        Answer::Reloaded | Answer::Saved => Ok(()),
        Answer::AmtDeactivated(id) => print::out(&format!("Intel AMT of {id} is deactivated\n")),
        Answer::MpsJournal(journal) => print::amt_journal(journal),
        Answer::MpsSetup(setup) => print::amt_setup(setup),
        Answer::MpsScript(script) => print::out(script),
    }
}

fn certificates(common: &Common) -> Result<(), Failure> {
    let mut found = Vec::new();
    for role in Role::ALL {
        found.extend(describe(&common.data, role).map_err(Failure::failed)?);
    }
    if common.json {
        return print::json(&found);
    }
    if found.is_empty() {
        return Err(Failure::failed(format!(
            "no certificates in {} yet; the first start of the server makes them",
            common.data.display()
        )));
    }
    print::certificates(&found)
}
