//! The `.msh` settings that tell an agent which group and server it belongs to.
//!
//! Lines of `key=value` ended by CR LF, after one empty line. The agent reads the file at every
//! start. Values from people (group name, tag) lose their control characters here, so that a name
//! can never add a line of its own.

use crate::model::Key48;

/// What an agent must know to connect.
#[derive(Clone, Debug)]
pub struct Msh<'a> {
    /// The name of the device group, shown by the agent's installer.
    pub group_name: &'a str,
    /// The type of the group; 2 is a group with agents.
    pub group_type: u8,
    /// The device group.
    pub group: Key48,
    /// SHA-384 of the agent-server certificate's PKCS#1 public key.
    pub server: Key48,
    /// Where the server is.
    pub address: Address<'a>,
    /// `Tag`: only letters and digits are kept. Without a `.tag` file the agent ignores it.
    pub tag: Option<&'a str>,
    /// What the installer offers.
    pub install: InstallFlags,
    /// The agent ignores the proxy file beside it.
    pub ignore_proxy_file: bool,
    /// Lines the administrator adds to every agent (`key=value`), each without its line end.
    pub extra: &'a [String],
    /// `translation`: texts of the graphical installer, one line of JSON.
    pub translation: Option<&'a str>,
}

/// How the agent finds its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// The URL of the agent endpoint: `wss://host:port/[domain/]agent.ashx`.
    Url(&'a str),
    /// By multicast on the local network.
    Local {
        /// The key that encrypts discovery packets.
        discovery_key: Option<&'a str>,
    },
}

/// What the graphical installer offers a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InstallFlags {
    /// Both ways.
    #[default]
    Both,
    /// Run once, without installing.
    InteractiveOnly,
    /// Install as a service.
    BackgroundOnly,
}

impl InstallFlags {
    /// Reads `installflags=` of a download link: 1 interactive, 2 background, else both.
    pub fn from_query(text: &str) -> Self {
        match text {
            "1" => Self::InteractiveOnly,
            "2" => Self::BackgroundOnly,
            _ => Self::Both,
        }
    }
}

impl Msh<'_> {
    /// The file as served, in MeshCentral's order of lines.
    pub fn text(&self) -> String {
        let mut text = String::from("\r\n");
        let mut line = |key: &str, value: &str| {
            text.push_str(key);
            text.push('=');
            text.extend(value.chars().filter(|c| !c.is_control()));
            text.push_str("\r\n");
        };
        line("MeshName", self.group_name);
        line("MeshType", &self.group_type.to_string());
        line("MeshID", &format!("0x{}", self.group.hex()));
        line("ServerID", &self.server.hex());
        match self.address {
            Address::Url(url) => line("MeshServer", url),
            Address::Local { discovery_key } => {
                line("MeshServer", "local");
                discovery_key.into_iter().for_each(|key| line("DiscoveryKey", key));
            }
        }
        if let Some(tag) = self.tag {
            let tag: String = tag.chars().filter(char::is_ascii_alphanumeric).collect();
            if !tag.is_empty() {
                line("Tag", &tag);
            }
        }
        match self.install {
            InstallFlags::Both => {}
            InstallFlags::InteractiveOnly => line("InstallFlags", "1"),
            InstallFlags::BackgroundOnly => line("InstallFlags", "2"),
        }
        if self.ignore_proxy_file {
            line("ignoreProxyFile", "1");
        }
        for extra in self.extra {
            if let Some((key, value)) = extra.split_once('=') {
                // A line end in the key is an injection as well.
                line(&key.replace(char::is_control, ""), value);
            }
        }
        self.translation.into_iter().for_each(|texts| line("translation", texts));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn msh<'a>(group_name: &'a str, tag: Option<&'a str>) -> Msh<'a> {
        Msh {
            group_name,
            group_type: 2,
            group: Key48([0x0d; 48]),
            server: Key48([0xf8; 48]),
            address: Address::Url("wss://mesh.example:8443/agent.ashx"),
            tag,
            install: InstallFlags::Both,
            ignore_proxy_file: false,
            extra: &[],
            translation: None,
        }
    }

    #[test]
    fn the_lines_have_meshcentrals_order_and_form() {
        let (group, server) = ("0D".repeat(48), "F8".repeat(48));
        let head = format!(
            "\r\nMeshName=Büro 1\r\nMeshType=2\r\nMeshID=0x{group}\r\nServerID={server}\r\n"
        );
        assert_eq!(
            msh("Büro 1", None).text(),
            format!("{head}MeshServer=wss://mesh.example:8443/agent.ashx\r\n")
        );
        let extra = ["logUpdate=1".to_owned(), "no equals sign".to_owned()];
        let full = Msh {
            address: Address::Local { discovery_key: Some("secret") },
            install: InstallFlags::from_query("2"),
            ignore_proxy_file: true,
            extra: &extra,
            ..msh("Büro 1", Some("Lab=7"))
        };
        assert_eq!(
            full.text(),
            head + "MeshServer=local\r\nDiscoveryKey=secret\r\nTag=Lab7\r\nInstallFlags=2\r\n\
                    ignoreProxyFile=1\r\nlogUpdate=1\r\n"
        );
    }

    proptest! {
        #[test]
        fn no_value_can_add_a_line(
            name in any::<String>(), tag in any::<String>(),
            evil in "[a-zA-Z\r\n=]{0,16}", key in "\\PC{0,8}[\r\n=]{1,3}\\PC{0,8}",
        ) {
            let extra = [evil.clone(), key];
            let msh = Msh {
                address: Address::Local { discovery_key: Some(&evil) },
                extra: &extra,
                ..msh(&name, Some(&tag))
            };
            let text = msh.text();
            let known = ["MeshName", "MeshType", "MeshID", "ServerID", "MeshServer", "DiscoveryKey"];
            let optional = usize::from(tag.contains(|c: char| c.is_ascii_alphanumeric()))
                + extra.iter().filter(|line| line.contains('=')).count();
            prop_assert_eq!(text.matches('\n').count(), 1 + known.len() + optional);
            prop_assert_eq!(text.matches('\r').count(), 1 + known.len() + optional);
        }
    }
}
