//! A script that makes the firmware of a computer call this server: the steps an administrator
//! would click, for MeshCommander and older MeshCmd.
//!
//! A `.mescript` file is JSON with the text of the script and its compiled form in base64. Compiled:
//! `24 7d 29 45`, version 1; then for each command its number, length and count of arguments, and
//! each argument behind its length: kind (0 variable, 1 text, 2 number, 3 label) and value. Numbers
//! of 16 bits, integers and labels of 32, all big-endian. Text is percent-encoded, and braces in it
//! name variables. Source: behaviour of `amt-script-0.2.0.js` of the official package.

use std::fmt::Write as _;
use std::net::IpAddr;

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};

use super::amt_login::Setup;

/// `InfoFormat` of a name, of an IPv4 and of an IPv6 address (CIM_RemoteAccessAvailableToElement).
const NAME: u32 = 201;
const IPV4: u32 = 3;
const IPV6: u32 = 4;
/// Two numbers of 32 bits: a period in seconds, and ten of them.
const EVERY_TEN_SECONDS: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 10];
/// `RequestedState`: people may call from the BIOS and from the system.
const USERS_MAY_CALL: u32 = 32771;

const SERVERS: &str = "AMT_ManagementPresenceRemoteSAP";
const SURROUNDINGS: &str = "AMT_EnvironmentDetectionSettingData";

/// The file for computers of one group. `root` is the certificate to trust, DER. `None` without
/// randomness.
pub fn file(setup: &Setup, root: &[u8]) -> Option<String> {
    let mut nowhere = [0; 6];
    getrandom::fill(&mut nowhere).ok()?;
    let text = text(setup, root, &HEXLOWER.encode(&nowhere));
    let compiled = BASE64.encode(&compile(&text)?);
    // Editors want the last two.
    let file =
        json!({ "scriptText": text, "mescript": compiled, "blocks": {}, "scriptBlocks": [] });
    Some(file.to_string())
}

/// The script. `nowhere` is a domain no network has: firmware that believes to be at home does not
/// call.
fn text(setup: &Setup, root: &[u8], nowhere: &str) -> String {
    let Setup { host, port, user, password, .. } = setup;
    let format = match host.parse() {
        Ok(IpAddr::V4(_)) => IPV4,
        Ok(IpAddr::V6(_)) => IPV6,
        Err(_) => NAME,
    };
    let server = object(&json!({
        "AccessInfo": host, "InfoFormat": format, "Port": port, "AuthMethod": 2,
        "Username": user, "Password": password, "CN": host,
    }));
    let policy = object(&json!({
        "Trigger": 2, "TunnelLifeTime": 0, "ExtendedData": BASE64.encode(&EVERY_TEN_SECONDS),
    }));
    let [before, after] = reference();
    let mut script = String::from("# Forget where it called before\n");
    for rule in ["User Initiated", "Alert", "Periodic"] {
        let rule = object(&json!({ "PolicyRuleName": rule }));
        // Writing into a String cannot fail.
        let _ = write!(
            script,
            "jsonparse args {rule}\n\
             wsdelete \"AMT_RemoteAccessPolicyRule\" args\n"
        );
    }
    let _ = write!(
        script,
        "split query \"{SERVERS}\" \",\"\n\
         wsbatchenum \"servers\" query\n\
         set count 0\n\
         length count servers.{SERVERS}.responses\n\
         set i 0\n\
         :another\n\
         jump :forgotten i \">=\" count\n\
         set name servers.{SERVERS}.responses.{{i}}.Name\n\
         jsonparse args \"%7B%22Name%22:%22{{name}}%22%7D\"\n\
         wsdelete \"{SERVERS}\" args\n\
         add i i 1\n\
         jump :another\n\
         :forgotten\n\
         \n# Trust the server's root certificate; it may have it already\n\
         jsonparse args {nothing}\n\
         set args.CertificateBlob \"{root}\"\n\
         wsexec \"AMT_PublicKeyManagementService\" \"AddTrustedRootCertificate\" args \"\"\n\
         print \"Root certificate: {{AMT_PublicKeyManagementService.Body.ReturnValueStr}}\"\n\
         \n# The server, and when to call it\n\
         jsonparse args {server}\n\
         wsexec \"AMT_RemoteAccessService\" \"AddMpServer\" args \"\"\n\
         jump :failed wsman_result \"!=\" 200\n\
         jump :refused AMT_RemoteAccessService.Body.ReturnValue \">\" 0\n\
         wsbatchenum \"servers\" query\n\
         set name servers.{SERVERS}.responses.0.Name\n\
         jsonparse args {policy}\n\
         set server \"{before}{{name}}{after}\"\n\
         split args.MpServer server \"|\"\n\
         wsexec \"AMT_RemoteAccessService\" \"AddRemoteAccessPolicyRule\" args \"\"\n\
         jump :failed wsman_result \"!=\" 200\n\
         jump :refused AMT_RemoteAccessService.Body.ReturnValue \">\" 0\n\
         jsonparse args {users}\n\
         wsexec \"AMT_UserInitiatedConnectionService\" \"RequestStateChange\" args \"\"\n\
         \n# It is never at home\n\
         split query \"*{SURROUNDINGS}\" \",\"\n\
         wsbatchenum \"found\" query\n\
         jump :failed wsman_result \"!=\" 200\n\
         set home found.{SURROUNDINGS}.response\n\
         split home.DetectionStrings \"{nowhere}\" \",\"\n\
         wsput \"{SURROUNDINGS}\" home\n\
         jump :failed wsman_result \"!=\" 200\n\
         print {done}\n\
         jump :end\n\
         :refused\n\
         print \"The firmware refuses: {{AMT_RemoteAccessService.Body.ReturnValueStr}}\"\n\
         jump :end\n\
         :failed\n\
         print \"It failed: {{wsman_result_str}}\"\n\
         :end\n",
        nothing = object(&json!({})),
        root = BASE64.encode(root),
        users = object(&json!({ "RequestedState": USERS_MAY_CALL })),
        done = quoted(&format!("It calls {host}, port {port}, from now on.")),
    );
    script
}

/// A JSON object as an argument.
fn object(value: &Value) -> String {
    quoted(&value.to_string())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", encoded(text))
}

/// Text that stays what it is: it ends no argument and names no variable.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' | b'{' | b'}' | b'|' | 0..=0x1f | 0x7f.. => {
                let _ = write!(encoded, "%{byte:02X}");
            }
            other => encoded.push(char::from(other)),
        }
    }
    encoded
}

/// What stands before and behind the name in a reference to a server (WS-Addressing).
fn reference() -> [String; 2] {
    const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
    const WSMAN: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
    let before = format!(
        "<Address xmlns=\"{ADDRESSING}\">{ADDRESSING}/role/anonymous</Address>\
         <ReferenceParameters xmlns=\"{ADDRESSING}\"><ResourceURI xmlns=\"{WSMAN}\">\
         http://intel.com/wbem/wscim/1/amt-schema/1/{SERVERS}</ResourceURI>\
         <SelectorSet xmlns=\"{WSMAN}\"><Selector Name=\"Name\">"
    );
    [before, "</Selector></SelectorSet></ReferenceParameters>".to_owned()]
        .map(|part| encoded(&part))
}

/// The commands used here by their numbers.
const COMMANDS: [(&str, u16); 11] = [
    ("jump", 1),
    ("set", 2),
    ("print", 3),
    ("split", 8),
    ("length", 10),
    ("jsonparse", 11),
    ("add", 13),
    ("wsbatchenum", 16),
    ("wsput", 17),
    ("wsdelete", 19),
    ("wsexec", 20),
];
const MAGIC: [u8; 6] = [0x24, 0x7d, 0x29, 0x45, 0, 1];

/// The compiled form. `None` if the text names a command or a label that does not exist, or has an
/// argument beyond 64 KB.
fn compile(text: &str) -> Option<Vec<u8>> {
    let mut code = Vec::new();
    let (mut labels, mut jumps) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words = words(line);
        let (first, arguments) = words.split_first()?;
        if first.starts_with(':') {
            labels.push((*first, u32::try_from(code.len()).ok()?));
            continue;
        }
        let (_, number) = COMMANDS.into_iter().find(|(name, _)| name == first)?;
        let mut encoded = Vec::new();
        for word in arguments {
            let (kind, value) = argument(word);
            encoded.extend(u16::try_from(value.len() + 1).ok()?.to_be_bytes());
            encoded.push(kind);
            if kind == LABEL {
                // Behind the number, length and count of this command.
                jumps.push((*word, code.len() + 6 + encoded.len()));
            }
            encoded.extend(value);
        }
        code.extend(number.to_be_bytes());
        code.extend(u16::try_from(encoded.len() + 6).ok()?.to_be_bytes());
        code.extend(u16::try_from(arguments.len()).ok()?.to_be_bytes());
        code.extend(encoded);
    }
    for (name, at) in jumps {
        let (_, target) = labels.iter().find(|(label, _)| *label == name)?;
        code.get_mut(at..at + 4)?.copy_from_slice(&target.to_be_bytes());
    }
    Some([&MAGIC[..], &code].concat())
}

const VARIABLE: u8 = 0;
const TEXT: u8 = 1;
const NUMBER: u8 = 2;
const LABEL: u8 = 3;

fn argument(word: &str) -> (u8, Vec<u8>) {
    if let Some(text) = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return (TEXT, text.as_bytes().to_vec());
    }
    if word.starts_with(':') {
        return (LABEL, vec![0xff; 4]);
    }
    match word.parse::<u32>() {
        Ok(number) => (NUMBER, number.to_be_bytes().to_vec()),
        Err(_) => (VARIABLE, word.as_bytes().to_vec()),
    }
}

/// The words of a line; quoted ones keep their spaces and quotes.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = match rest.strip_prefix('"') {
            Some(quoted) => quoted.find('"').map_or(rest.len(), |end| end + 2),
            None => rest.find([' ', '"']).unwrap_or(rest.len()),
        };
        let (word, behind) = rest.split_at(end);
        words.push(word);
        rest = behind.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn setup(host: &str, password: &str) -> Setup {
        Setup {
            host: host.into(),
            port: 4433,
            user: "jM58ZT0sXkJhufvX".into(),
            password: password.into(),
            root: String::new(),
        }
    }

    /// Compiled with the official compiler.
    #[test]
    fn commands_are_compiled_as_the_official_compiler_does() {
        let compiled = compile("set a \"x y\"\n:l\n# no\n\njump :l a \"<\" 7\n").unwrap();
        let expected = "247d29450001\
            00020010000200020061000401782079\
            0001001c0004000503000000100002006100020\
            13c00050200000007";
        assert_eq!(HEXLOWER.encode(&compiled), expected);
        for wrong in ["fly away", "jump :nowhere"] {
            assert_eq!(compile(wrong), None);
        }
    }

    #[test]
    fn names_and_addresses_are_told_to_the_firmware_as_what_they_are() {
        for (host, format) in [("mps.example", 201), ("192.0.2.7", 3), ("2001:db8::7", 4)] {
            let text = text(&setup(host, "P@ssw0rd1"), &[0x30, 0x82], "aabb");
            assert!(text.contains(&format!("InfoFormat%22:{format}")), "{text}");
            assert!(compile(&text).is_some());
        }
    }

    proptest! {
        #[test]
        fn no_password_ends_an_argument_or_names_a_variable(password in "\\PC{0,40}") {
            let text = text(&setup("a.b", &password), &[0x30], "aabb");
            let line = text.lines().find(|line| line.contains("AccessInfo")).unwrap();
            let words = words(line);
            prop_assert_eq!(words.len(), 3);
            let argument = words[2].trim_matches('"');
            let ends_or_names = argument.contains(['{', '}', '"']);
            prop_assert!(!ends_or_names);
            let json = percent_decoded(argument);
            let object: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(object["Password"].as_str(), Some(&*password));
        }
    }

    fn percent_decoded(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, behind @ ..] = rest {
            rest = behind;
            if *first == b'%' {
                bytes.extend(HEXLOWER.decode(behind[..2].to_ascii_lowercase().as_slice()).unwrap());
                rest = &behind[2..];
            } else {
                bytes.push(*first);
            }
        }
        String::from_utf8(bytes).unwrap()
    }
}
