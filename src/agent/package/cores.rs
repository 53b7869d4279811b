//! Composes core images: the JavaScript an agent runs, in one file per kind of agent.
//!
//! A core is the modules as escaped strings, then a body. The agent keeps it and reports its
//! SHA-384, so an image must be byte-identical to MeshCentral's: one byte off and every agent that
//! comes from MeshCentral downloads its core again. Pure functions of the package's files.

use serde::{Deserialize, Serialize};

use crate::model::order;

/// A core image. Stored in the package's index: variants are only appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CoreName {
    /// Main core, Windows.
    WindowsAmt,
    /// Main core, Linux on machines that may have Intel AMT.
    LinuxAmt,
    /// Main core, everything else.
    LinuxNoamt,
    /// Recovery core, Windows.
    WindowsRecovery,
    /// Recovery core, everything else.
    LinuxRecovery,
    /// Core of the diagnostic agent, Windows.
    WindowsAgentRecovery,
    /// Core of the diagnostic agent, everything else.
    LinuxAgentRecovery,
    /// Console-only core, Windows.
    WindowsTiny,
    /// Console-only core, everything else.
    LinuxTiny,
}

impl CoreName {
    /// All images, in the order of the index.
    pub const ALL: [Self; 9] = [
        Self::WindowsAmt,
        Self::LinuxAmt,
        Self::LinuxNoamt,
        Self::WindowsRecovery,
        Self::LinuxRecovery,
        Self::WindowsAgentRecovery,
        Self::LinuxAgentRecovery,
        Self::WindowsTiny,
        Self::LinuxTiny,
    ];

    /// MeshCentral's name of the image.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WindowsAmt => "windows-amt",
            Self::LinuxAmt => "linux-amt",
            Self::LinuxNoamt => "linux-noamt",
            Self::WindowsRecovery => "windows-recovery",
            Self::LinuxRecovery => "linux-recovery",
            Self::WindowsAgentRecovery => "windows-agentrecovery",
            Self::LinuxAgentRecovery => "linux-agentrecovery",
            Self::WindowsTiny => "windows-tiny",
            Self::LinuxTiny => "linux-tiny",
        }
    }

    /// The file whose text ends the image.
    pub fn body(self) -> Body {
        match self {
            Self::WindowsAmt | Self::LinuxAmt | Self::LinuxNoamt => Body::Main,
            Self::WindowsRecovery | Self::LinuxRecovery => Body::Recovery,
            Self::WindowsAgentRecovery | Self::LinuxAgentRecovery => Body::Diagnostic,
            Self::WindowsTiny | Self::LinuxTiny => Body::Tiny,
        }
    }

    /// Whether this image carries a module.
    fn takes(self, module: &Module) -> bool {
        let name = module.name.as_str();
        let intel = name.starts_with("amt-") || name == "smbios";
        let windows = name.starts_with("win-");
        let linux = name.starts_with("linux-");
        match self {
            Self::WindowsAmt => module.json || intel || !linux,
            Self::LinuxAmt => module.json || intel || !windows,
            // The smbios module crashes some non-Intel Linux machines.
            Self::LinuxNoamt => module.json || !(intel || windows),
            Self::WindowsRecovery | Self::WindowsAgentRecovery => {
                !module.json && RECOVERY_MODULES.contains(&name)
            }
            Self::LinuxRecovery
            | Self::LinuxAgentRecovery
            | Self::WindowsTiny
            | Self::LinuxTiny => false,
        }
    }
}

/// Which script ends an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `meshcore.js`, or the minified one.
    Main,
    /// `recoverycore.js`.
    Recovery,
    /// `meshcore_diagnostic.js`.
    Diagnostic,
    /// `tinycore.js`.
    Tiny,
}

/// What a Windows recovery core needs for its terminal.
const RECOVERY_MODULES: [&str; 4] =
    ["win-console", "win-message-pump", "win-terminal", "win-virtual-terminal"];

/// First line of every image.
const HEAD: &str = "var addedModules = [];\r\n";

/// The modules of one folder, escaped and in the order the images have them.
#[derive(Clone, Debug, Default)]
pub struct Modules(Vec<Module>);

#[derive(Clone, Debug)]
struct Module {
    name: String,
    json: bool,
    /// The statement that adds the module, with its line end.
    statement: String,
}

impl Modules {
    /// Reads modules from (file name, content) pairs in any order. Files that end neither in
    /// `.js` nor in `.json` are ignored.
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let mut files: Vec<_> = files.into_iter().collect();
        order::sort_by(&mut files, |(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
        Self(files.iter().filter_map(|(file, content)| Module::new(file, content)).collect())
    }
}

impl Module {
    fn new(file: &str, content: &[u8]) -> Option<Self> {
        if let Some(name) = strip_extension(file, ".json") {
            let text = escape_json(content);
            let statement = format!("var {name} = JSON.parse('{text}');\r\n");
            return Some(Self { name: name.to_owned(), json: true, statement });
        }
        let name = strip_extension(file, ".js")?;
        let name = name.strip_suffix(".min").unwrap_or(name);
        let text = escape_js(content);
        let statement = format!(
            "try {{ addModule(\"{name}\", \"{text}\"); addedModules.push(\"{name}\"); }} \
             catch (ex) {{ }}\r\n"
        );
        Some(Self { name: name.to_owned(), json: false, statement })
    }
}

/// The image of a core: four zero bytes, then its text.
pub fn compose(core: CoreName, modules: &Modules, body: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 4];
    image.extend_from_slice(HEAD.as_bytes());
    for module in modules.0.iter().filter(|module| core.takes(module)) {
        image.extend_from_slice(module.statement.as_bytes());
    }
    image.extend_from_slice(String::from_utf8_lossy(body).as_bytes());
    image
}

/// The MeshCmd script that is embedded in an agent binary: every module, then `meshcmd.js` with
/// the package's version filled in.
pub fn compose_meshcmd(modules: &Modules, body: &[u8], version: Option<&str>) -> Vec<u8> {
    let mut script = HEAD.to_owned();
    for module in modules.0.iter().filter(|module| !module.json) {
        script.push_str(&module.statement);
    }
    let body = String::from_utf8_lossy(body);
    let version = version.unwrap_or("null");
    script.push_str(&body.replacen("***Mesh*Cmd*Version***", version, 1));
    script.into_bytes()
}

/// `file` without `extension`, whose case does not matter.
fn strip_extension<'a>(file: &'a str, extension: &str) -> Option<&'a str> {
    let (name, end) = file.split_at_checked(file.len().checked_sub(extension.len())?)?;
    end.eq_ignore_ascii_case(extension).then_some(name)
}

/// The backslash form of characters that cannot stand in a JavaScript string.
fn escaped(c: char) -> Option<&'static str> {
    Some(match c {
        '\'' => "\\'",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        _ => return None,
    })
}

/// Scripts are taken as Latin-1 and lose everything outside 32..=127.
fn escape_js(content: &[u8]) -> String {
    let mut text = String::with_capacity(content.len() + content.len() / 8);
    for &byte in content {
        match escaped(char::from(byte)) {
            Some(form) => text.push_str(form),
            None if (32..=127).contains(&byte) => text.push(char::from(byte)),
            None => {}
        }
    }
    text
}

/// Texts in JSON are UTF-8 and keep all their characters.
fn escape_json(content: &[u8]) -> String {
    let mut text = String::with_capacity(content.len() + content.len() / 8);
    for c in String::from_utf8_lossy(content).chars() {
        match escaped(c) {
            Some(form) => text.push_str(form),
            None => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_the_reference() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/agent-cores.json")).unwrap();
        let examples = vectors["escapeExamples"].as_array().unwrap();
        assert_eq!(examples.len(), 2);
        for example in examples {
            let hex = example["bytesHex"].as_str().unwrap();
            let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
            let script = example["mode"].as_str().unwrap().starts_with("js module");
            let text = if script { escape_js(&bytes) } else { escape_json(&bytes) };
            assert_eq!(text, example["result"].as_str().unwrap());
        }
    }

    #[test]
    fn modules_go_to_the_cores_that_need_them() {
        let all = |names: &[&str]| {
            Modules::new(names.iter().map(|name| ((*name).to_owned(), b"x".to_vec())))
        };
        let modules = all(&[
            "zeta.js",
            "amt-lme.min.js",
            "smbios.JS",
            "win-console.js",
            "win-info.js",
            "linux-dhcp.js",
            "Texts.json",
            "read.me",
        ]);
        let lines = |core| {
            let image = compose(core, &modules, b"");
            let text = String::from_utf8(image[4..].to_vec()).unwrap();
            text.lines()
                .skip(1)
                .map(|line| match line.strip_prefix("var ") {
                    Some(json) => json.split(' ').next(),
                    None => line.split('"').nth(1),
                })
                .map(|name| name.unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            lines(CoreName::WindowsAmt),
            ["Texts", "amt-lme", "smbios", "win-console", "win-info", "zeta"]
        );
        assert_eq!(lines(CoreName::LinuxAmt), ["Texts", "amt-lme", "linux-dhcp", "smbios", "zeta"]);
        assert_eq!(lines(CoreName::LinuxNoamt), ["Texts", "linux-dhcp", "zeta"]);
        assert_eq!(lines(CoreName::WindowsRecovery), ["win-console"]);
        assert_eq!(lines(CoreName::WindowsAgentRecovery), ["win-console"]);
        for core in [CoreName::LinuxRecovery, CoreName::LinuxTiny, CoreName::WindowsTiny] {
            assert_eq!(lines(core), Vec::<String>::new());
        }
    }

    #[test]
    fn meshcmd_states_the_version_of_its_package() {
        let body = b"var v = '***Mesh*Cmd*Version***';";
        let text = compose_meshcmd(&Modules::default(), body, Some("1.2.3"));
        assert_eq!(text, b"var addedModules = [];\r\nvar v = '1.2.3';");
    }
}
