//! The command line. `examples/manual.rs` makes completions and man pages from the same definition.
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage or configuration.

mod agents;
mod amt;
mod backup;
mod commands;
mod export;
mod import;
mod link;
mod logging;
mod password;
mod print;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand};

const AFTER: &str = "Exit status: 0 done, 1 failed, 2 wrong usage or configuration.\n\
    Commands work while the server runs and while it does not.";

/// A MeshCentral-compatible remote-management server for small boards.
#[derive(Debug, Parser)]
#[command(name = "meshboard", version, about, after_help = AFTER, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command takes.
#[derive(Debug, Args)]
struct Common {
    /// Data folder: configuration, keys, records, agents
    #[arg(
        long,
        global = true,
        env = "MESHBOARD_DATA",
        value_name = "DIR",
        default_value = "./meshcentral-data"
    )]
    data: PathBuf,
    /// Print JSON where the output is data
    #[arg(long, global = true)]
    json: bool,
    /// Log more; twice: everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (what happens without a command)
    Serve,
    /// Check config.json and list what is ignored in it
    CheckConfig {
        /// Another file than config.json in the data folder
        file: Option<PathBuf>,
    },
    /// Manage accounts
    #[command(subcommand)]
    User(UserCommand),
    /// Manage device groups
    #[command(subcommand)]
    Group(GroupCommand),
    /// Manage the stock agents that the server hands out
    #[command(subcommand)]
    Agents(AgentsCommand),
    /// Move in from MeshCentral: read a meshcentral-data folder, which is never changed
    ///
    /// Accounts with their passwords and second factors, groups, devices, rights, notes, login
    /// tokens, shares, history, certificates and cookie keys are taken over; agents find the new
    /// server without a change on their side. It can be repeated: what is already here stays as it
    /// is. The server must not run.
    Import {
        /// The meshcentral-data folder
        path: PathBuf,
        /// Read this file, made with `meshcentral --dbexport`, in place of the folder's database
        #[arg(long, value_name = "FILE")]
        dbexport: Option<PathBuf>,
        /// Only tell what would be taken over, what not, and why
        #[arg(long)]
        dry_run: bool,
    },
    /// Move out to MeshCentral: write the records as its --dbexport does, for its --dbimport
    ///
    /// Accounts with their second factors, groups, devices, rights, notes, shares and cookie keys
    /// are in it. History is not, and passwords set on this server cannot be verified there: the
    /// accounts concerned are listed. The server must not run.
    Export {
        /// The file to write; - is standard output
        file: PathBuf,
    },
    /// Write a backup of the data folder: records, keys, configuration, files of users
    ///
    /// It can be made at any time, also while the server runs, which first writes what it has in
    /// memory only. The stock agents and recordings are not part of it.
    Backup {
        /// The file to write; - is standard output
        file: PathBuf,
        /// Seal it with the passphrase in the first line of this file
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Take the data folder out of a backup; the server must not run
    Restore {
        /// The backup; - is standard input
        file: PathBuf,
        /// The passphrase is in the first line of this file
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Only verify the backup and list what is in it
        #[arg(long)]
        dry_run: bool,
        /// Put what is in the data folder aside (before-restore)
        #[arg(long)]
        replace: bool,
    },
    /// Tell how the server is, and the setup code while there is no account
    Status,
    /// Print the key with which programs make login cookies: `meshctrl --loginkey`
    ///
    /// Whoever has it can log in as anybody, without a password.
    LoginKey,
    /// Look at the certificates
    #[command(subcommand)]
    Cert(CertCommand),
    /// Intel AMT that calls in
    #[command(subcommand)]
    Mps(MpsCommand),
    /// Intel AMT by hand
    #[command(subcommand)]
    Amt(AmtCommand),
}

/// An account by name.
#[derive(Debug, Args)]
struct Account {
    /// Name of the account
    name: String,
    #[command(flatten)]
    tenant: Tenant,
}

#[derive(Debug, Args)]
struct Tenant {
    /// A domain of config.json instead of the default one
    #[arg(long, default_value = "", hide_default_value = true)]
    domain: String,
}

/// Where a password comes from; without any of them it is asked for.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct PasswordSource {
    /// The password; others on this machine may see it in the list of processes
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Make an account
    Add {
        #[command(flatten)]
        account: Account,
        /// Give it full rights on the server
        #[arg(long)]
        admin: bool,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// List accounts
    List {
        #[command(flatten)]
        tenant: Tenant,
    },
    /// Remove an account and end its sessions
    Remove {
        #[command(flatten)]
        account: Account,
    },
    /// Set the password of an account
    Passwd {
        #[command(flatten)]
        account: Account,
        #[command(flatten)]
        password: PasswordSource,
        /// Take its second factors away: for who lost them
        #[arg(long)]
        remove_factors: bool,
    },
    /// Give an account full rights on the server, or take them
    Admin {
        #[command(flatten)]
        account: Account,
        /// Take them
        #[arg(long)]
        revoke: bool,
    },
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// Make a device group for devices with an agent
    ///
    /// Every full administrator gets full rights on it, because an administrator sees only groups
    /// with a link. With --user, only that account gets them.
    Add {
        /// Name of the group
        name: String,
        #[command(flatten)]
        tenant: Tenant,
        /// Give full rights to this account only
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// List device groups
    List {
        #[command(flatten)]
        tenant: Tenant,
    },
}

#[derive(Debug, Subcommand)]
enum AgentsCommand {
    /// Take the agents out of a stock MeshCentral package
    Install {
        /// The file that `npm pack meshcentral` makes, or the folder of an installation
        #[arg(long, value_name = "PATH")]
        from: PathBuf,
        /// Only this agent: a number, a name or a platform (repeatable, or with commas)
        #[arg(long, value_name = "ARCH", value_delimiter = ',')]
        arch: Vec<String>,
    },
    /// List the installed agents
    List,
}

#[derive(Debug, Subcommand)]
enum MpsCommand {
    /// Tell what became of the last connections, step by step: why does it not connect?
    Journal {
        /// Only from this address, or those that begin so
        #[arg(long, default_value = "", hide_default_value = true)]
        address: String,
        /// Only of this computer
        #[arg(long, default_value = "", hide_default_value = true)]
        uuid: String,
    },
    /// Tell what to enter into the firmware of a computer so that it joins a group
    Setup {
        /// Name or id of the group
        group: String,
        #[command(flatten)]
        tenant: Tenant,
    },
    /// Print a script for MeshCommander that enters it
    Script {
        /// Name or id of the group
        group: String,
        #[command(flatten)]
        tenant: Tenant,
    },
}

#[derive(Debug, Subcommand)]
enum AmtCommand {
    /// Write a setup.bin file: a USB key with it has computers trust this server's root
    ///
    /// It sets the password of the firmware's menu (MEBx) and the DNS suffix, too. The passwords are
    /// written to the activation log.
    SetupBin {
        /// The file to write
        #[arg(default_value = "setup.bin")]
        file: PathBuf,
        /// The present password of MEBx is in the first line of this file [default: `admin`]
        #[arg(long, value_name = "FILE")]
        old_password_file: Option<PathBuf>,
        /// The new one is in the first line of this file
        #[arg(long, value_name = "FILE")]
        new_password_file: PathBuf,
        /// The DNS suffix [default: that of the domain, or the server's name]
        #[arg(long, value_name = "NAME")]
        suffix: Option<String>,
        #[command(flatten)]
        tenant: Tenant,
    },
    /// Set the firmware of a device back to the state of the factory, from admin control mode too
    ///
    /// Its login has to be known, and it has to be in reach: by CIRA or on the local network.
    Deactivate {
        /// Name or id of the device
        device: String,
        #[command(flatten)]
        tenant: Tenant,
    },
}

#[derive(Debug, Subcommand)]
enum CertCommand {
    /// Show subject, hashes, validity and files of each certificate
    Show,
}

/// Why a command ends with a status other than 0.
#[derive(Debug)]
struct Failure {
    /// Exit status.
    status: u8,
    /// A sentence for the person at the terminal.
    text: String,
}

impl Failure {
    fn failed(text: impl ToString) -> Self {
        Self { status: 1, text: text.to_string() }
    }

    fn usage(text: impl ToString) -> Self {
        Self { status: 2, text: text.to_string() }
    }
}

/// The definition of the command line, for what describes it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    let command = command.unwrap_or(Command::Serve);
    logging::start(common.verbose, matches!(command, Command::Serve));
    match commands::run(&common, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print::error(&failure.text);
            ExitCode::from(failure.status)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_manual_is_understood() {
        for line in [
            "",
            "--data /d --json -v",
            "serve --data /d",
            "check-config",
            "check-config other.json",
            "user add ann",
            "user add ann --admin --password p",
            "user add ann --password-stdin --domain shop",
            "user list --json",
            "user remove ann",
            "user passwd ann --password p",
            "user passwd ann --password p --remove-factors",
            "login-key",
            "user admin ann --revoke",
            "group add Office --user ann --domain shop",
            "group list",
            "agents install --from meshcentral-1.1.55.tgz --arch linux,6 --arch windows64",
            "agents list",
            "import /old/meshcentral-data --dry-run",
            "import /old/meshcentral-data --dbexport export.json",
            "export meshcentral.db.json",
            "export -",
            "backup /media/stick/meshboard.backup --passphrase-file phrase",
            "backup -",
            "restore meshboard.backup --dry-run",
            "restore - --replace --passphrase-file phrase",
            "status --json",
            "cert show",
            "mps journal --address 192.0.2 --uuid 4c4c4544-004b-4210-8033-b6c04f504633",
            "mps setup Office --domain shop",
            "mps script Office",
            "amt setup-bin /media/stick/setup.bin --new-password-file new --suffix lab.example.com",
            "amt deactivate pc1 --domain shop",
        ] {
            let words = std::iter::once("meshboard").chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        for line in [
            "user",
            "user add",
            "user add ann --password p --password-stdin",
            "agents install",
            "import",
            "export",
            "backup",
            "restore",
            "frobnicate",
        ] {
            let words = std::iter::once("meshboard").chain(line.split_whitespace());
            let error = Cli::try_parse_from(words).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
