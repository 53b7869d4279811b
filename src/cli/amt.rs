//! `meshboard amt`: what is done to the firmware of computers by hand.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use data_encoding::HEXLOWER;
use serde_json::json;

use super::{AmtCommand, Common, Failure, link, print};
use crate::amt::activation::log::{self, Line};
use crate::amt::activation::setup_bin::{FACTORY, ROOT_NAME, SetupBin};
use crate::identity;
use crate::model::{DomainId, Millis};
use crate::server::admin::Request;

/// The suffix if the configuration has none: any name will do.
const SUFFIX: &str = "rootcert.meshcentral.com";

pub(super) fn run(common: &Common, command: AmtCommand) -> Result<(), Failure> {
    match command {
        AmtCommand::SetupBin { file, old_password_file, new_password_file, suffix, tenant } => {
            let old = old_password_file.map(|file| first_line(&file)).transpose()?;
            let new = first_line(&new_password_file)?;
            let old = old.unwrap_or_else(|| FACTORY.to_owned());
            let (config, _) = link::load_config(&common.data)?;
            let domain = DomainId::new(&tenant.domain).map_err(Failure::usage)?;
            let Some(wanted) = config.domains.get(&domain) else {
                let text = format!("there is no domain {:?} in config.json", tenant.domain);
                return Err(Failure::usage(text));
            };
            let names = suffix.or(wanted.dns.clone()).or(config.settings.cert.clone());
            let suffix = names.unwrap_or_else(|| SUFFIX.to_owned());
            let root = identity::root_certificate(&common.data).map_err(Failure::failed)?;
            let root = root.ok_or_else(|| {
                Failure::failed("there is no root certificate yet: start the server once")
            })?;
            let hash = ring::digest::digest(&ring::digest::SHA256, &root);
            let root = hash.as_ref().try_into().map_err(Failure::failed)?;
            let bytes = SetupBin { old: &old, new: &new, root, suffix: &suffix }.encode();
            let bytes = bytes.map_err(|unfit| Failure::usage(unfit.to_string()))?;
            let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
            let line = Line {
                time: Millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)).iso(),
                action: "setupbin".into(),
                domain: domain.to_string(),
                // Whoever may read the data folder is nobody in particular.
                userid: Some(String::new()),
                oldmebx: Some(old),
                newmebx: Some(new),
                rootname: Some(ROOT_NAME.into()),
                hash: Some(HEXLOWER.encode(hash.as_ref())),
                dns: Some(suffix.clone()),
                ..Line::default()
            };
            // A password that is set and not written down locks people out.
            let path = log::path(&common.data, &domain, &wanted.activation);
            log::append(&path, &line).map_err(Failure::failed)?;
            let mut options = std::fs::OpenOptions::new();
            let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&file);
            let written = opened.and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()
            });
            written.map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
            if common.json {
                return print::json(&json!({"file": file, "dns": suffix, "log": path}));
            }
            print::out(&format!(
                "{} sets the password of MEBx, the root of this server and the DNS suffix {suffix}.\n\
                 The password is in {}.\n",
                file.display(),
                path.display()
            ))
        }
        AmtCommand::Deactivate { device, tenant } => {
            let request = Request::AmtDeactivate { domain: tenant.domain, device };
            super::commands::show(common, &link::ask(common, &request)?)
        }
    }
}

/// The first line of a file, without its end.
fn first_line(file: &std::path::Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
