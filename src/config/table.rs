//! The settings of MeshCentral 1.1.55 that this server knows and does not act on yet.
//!
//! A key that is read is not listed here, with one exception: a restriction that is read but not
//! enforced stays under `guards`, because silence about it would be a false promise.

use super::place::WarningKind;

/// Names of one section, in lower case.
pub(super) struct Names {
    /// Not supported yet.
    later: &'static [&'static str],
    /// Restrictions that are not enforced yet.
    guards: &'static [&'static str],
    /// Without meaning here: other databases, Node.js, what this server always does.
    moot: &'static [&'static str],
}

impl Names {
    /// What happens to `name` unless it is read; `None` if nobody knows it.
    pub(super) fn kind(&self, name: &str) -> Option<WarningKind> {
        let lists = [
            (self.guards, WarningKind::NotEnforced),
            (self.later, WarningKind::NotYet),
            (self.moot, WarningKind::Moot),
        ];
        lists.into_iter().find(|(names, _)| names.contains(&name)).map(|(_, kind)| kind)
    }
}

/// Keys of `amtManager` of a domain.
pub(super) static AMT_MANAGER: Names =
    Names { later: &["tlsrootcertificates"], guards: &[], moot: &[] };

/// No further names.
pub(super) static NONE: Names = Names { later: &[], guards: &[], moot: &[] };

/// Sections of the file.
pub(super) static TOP: Names = Names {
    later: &["smtp", "sendmail", "sendgrid", "sms", "messaging", "firebase", "firebaserelay"],
    guards: &[],
    moot: &["$schema", "peers", "configfiles"],
};

/// Keys of `letsencrypt`.
pub(super) static LETSENCRYPT: Names = Names {
    later: &["zerossl", "custom"],
    guards: &[],
    moot: &["rsakeysize", "skipchallengeverification", "nochecks"],
};

/// Keys of `settings.autoBackup`: other places to put backups.
pub(super) static AUTO_BACKUP: Names = Names {
    later: &["googledrive", "webdav", "s3"],
    guards: &[],
    moot: &[
        "mongodumppath",
        "mysqldumppath",
        "pgdumppath",
        "backupwebfolders",
        "backupname",
        "backupotherfolders",
        "backupignorefilesglob",
        "backupskipfoldersglob",
        "backuphour",
        "backupinfo",
        "ziplevel",
        "zipcompression",
    ],
};

/// Keys of `settings`.
pub(super) static SETTINGS: Names = Names {
    later: &[
        "redirportbind",
        "rediraliasport",
        "relayport",
        "relayaliasport",
        "relaydns",
        "relayportbind",
        "agentportbind",
        "agentaliasdns",
        "agentporttls",
        "cookieencoding",
        "stricttransportsecurity",
        "dbencryptkey",
        "dbrecordsencryptkey",
        "dbrecordsdecryptkey",
        "dbexpire",
        "authlog",
        "webrtc",
        "webrtcconfig",
        "webrtconfig",
        "amtmanager",
        "amtprovisioningserver",
        "agenttag",
        "agentlogdump",
        "agentcoredump",
        "agentcoredumpusers",
        "agenttimestampserver",
        "agenttimestampproxy",
        "agentupdatesystem",
        "temporaryagentupdate",
        "orphanagentuser",
        "user",
        "nousers",
        "certificateprivatekeypassword",
        "allowhighqualitydesktop",
        "webpush",
        "publicpushnotifications",
        "ipblockeduserredirect",
        "ciralocalfqdn",
        "redirects",
        "syslog",
        "syslogauth",
        "syslogjson",
        "syslogtcp",
        "mesherrorlogpath",
        "webpagelengthrandomization",
        "nice404",
        "logintokenkey",
        "email",
        "trustedcert",
    ],
    guards: &["maintenancemode", "agentsignlock", "crowdsec"],
    moot: &[
        "exactports",
        "selfupdate",
        "plugins",
        "sqlite3",
        "acebase",
        "mongodb",
        "mongodbname",
        "mongodbcol",
        "mongodbchangestream",
        "mongodbbulkoperations",
        "mysql",
        "mariadb",
        "postgres",
        "agentsinram",
        "compression",
        "wscompression",
        "agentwscompression",
        "npmpath",
        "npmproxy",
        "npmtag",
        "cleannpmcacheonupdate",
        "runonserverstarted",
        "runonserverupdated",
        "runonservererror",
        "log",
        "debug",
        "watchdog",
        "tlsciphers",
        "usenodedefaulttlsciphers",
        "vault",
        "swarmport",
        "fastcert",
        "rootcertcommonname",
        "datapath",
        "sessionkey",
    ],
};

/// Keys of a domain.
pub(super) static DOMAIN: Names = Names {
    later: &[
        "auth",
        "authstrategies",
        "ldapoptions",
        "ldapusername",
        "ldapuserkey",
        "ldapuserbinarykey",
        "ldapuseremail",
        "ldapuserrealname",
        "ldapuserphonenumber",
        "ldapuserimage",
        "ldapusergroups",
        "ldapsiteadmingroups",
        "ldapsyncwithusergroups",
        "ldapsaveusertofile",
        "newaccountrealms",
        "newaccountscaptcha",
        "newaccountspass",
        "usernameisemail",
        "agentselfguestsharing",
        "welcometext",
        "welcomepicture",
        "welcomepicturefullscreen",
        "footer",
        "loginfooter",
        "loginpicture",
        "pwalogo",
        "titlepicture",
        "sitestyle",
        "showmodernuitoggle",
        "nightmode",
        "scrolltotop",
        "hide",
        "hidepowertimeline",
        "shownotespanel",
        "showlanguageselect",
        "showpasswordlogin",
        "usersessionssort",
        "rootredirect",
        "unknownuserrootredirect",
        "mobilesite",
        "logoutonidlesessiontimeout",
        "localsessionrecording",
        "iplocation",
        "agentnoproxy",
        "assistantnoproxy",
        "agentcustomization",
        "agentfileinfo",
        "agentconfig",
        "assistantconfig",
        "assistantcustomization",
        "assistanttypeagentinvite",
        "androidcustomization",
        "agenttag",
        "terminal",
        "files",
        "ssh",
        "novnc",
        "mstsc",
        "ipkvm",
        "devicemeshrouterlinks",
        "devicesearchbarserverandclientname",
        "devicesearchbargroupname",
        "preconfiguredremoteinput",
        "preconfiguredscripts",
        "allowsavingdevicecredentials",
        "altmessenging",
        "meshmessengertitle",
        "meshmessengerpicture",
        "urlswitching",
        "customfiles",
        "customui",
        "redirects",
        "httpheaders",
        "ipblockeduserredirect",
        "amtscanoptions",
        "smbios",
        "duo2factor",
        "yubikey",
        "orphanagentuser",
        "ignoreagenthashcheck",
        "trustedcert",
        "mailserver",
        "smtp",
        "sendmail",
        "sendgrid",
        "defaultuserwebstate",
        "forceduserwebstate",
        "webemailspath",
        "webviewspath",
        "webpublicpath",
        "autocomplete",
        "share",
        "titlehtml",
    ],
    guards: &[
        "newaccountemaildomains",
        "userrequiredhttpheader",
        "ldapuserrequiredgroupmembership",
    ],
    moot: &["minify", "id"],
};

/// Keys of `passwordRequirements`: ways of asking for a second factor that need somebody to send it,
/// or a service of somebody else's.
pub(super) static PASSWORDS: Names = Names {
    later: &[
        "email2factor",
        "sms2factor",
        "push2factor",
        "msg2factor",
        "duo2factor",
        "single2factorwarning",
        "autofido2fa",
        "allowaccountreset",
    ],
    guards: &[],
    moot: &[],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_listed_once_and_in_lower_case() {
        for names in [&TOP, &LETSENCRYPT, &SETTINGS, &DOMAIN, &PASSWORDS] {
            let mut all = [names.later, names.guards, names.moot].concat();
            assert!(all.iter().all(|n| n.to_lowercase() == **n));
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count);
        }
    }
}
