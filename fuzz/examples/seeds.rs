//! Writes the first corpus of every target from `tests/vectors`: `cargo run --example seeds` in `fuzz/`.

use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};

use serde_json::Value;

const CAPTURES: [&str; 5] = [
    "agent-auth-full-vs-stock-agent",
    "agent-auth-full-vs-meshcentral",
    "agent-auth-fast-vs-stock-agent",
    "agent-auth-fast-vs-meshcentral",
    "agent-auth-pkcs7-vs-meshcentral",
];

fn main() -> Result<()> {
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let corpus = Corpus { home };
    for name in CAPTURES {
        corpus.capture(name, &corpus.vector(name)?)?;
    }
    corpus.reports()?;
    corpus.tunnels()?;
    corpus.control()?;
    corpus.desktop()?;
    corpus.security_keys()?;
    corpus.lanes()?;
    corpus.redirection()?;
    corpus.files()
}

struct Corpus {
    home: PathBuf,
}

impl Corpus {
    fn vector(&self, name: &str) -> Result<Value> {
        let path = self.home.join(format!("../tests/vectors/{name}.json"));
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    fn write(&self, target: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let folder = self.home.join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(Path::new(name)), bytes)
    }

    /// One captured authentication: its messages alone, as a sequence, and as WebSocket frames.
    fn capture(&self, name: &str, vector: &Value) -> Result<()> {
        let id = hex(&vector["serverId_sha384_of_pkcs1_pubkey"]);
        let mut sequence = [id, hex(&vector["serverNonce"])].concat();
        let mut frames = vec![16];
        let from_agent = |m: &&Value| m["from"] == "agent" && m["hex"].is_string();
        let messages = vector["messages"].as_array().into_iter().flatten().filter(from_agent);
        for (number, message) in messages.map(|m| hex(&m["hex"])).enumerate() {
            let length = (message.len() as u16).to_be_bytes();
            sequence.extend([&length[..], &message].concat());
            frames.extend([&[0x82, 0xfe, length[0], length[1], 0, 0, 0, 0][..], &message].concat());
            self.write("agent_command", &format!("{name}-{number}"), &message)?;
            if let Some(body) = message.strip_prefix(&[0, 2]) {
                self.write("certificate", name, body)?;
            }
        }
        self.write("agent_handshake", name, &sequence)?;
        self.write("websocket", name, &frames)
    }

    /// What an agent's core says.
    fn reports(&self) -> Result<()> {
        let vector = self.vector("agent-json")?;
        let messages = vector["messages"].as_array().into_iter().flatten();
        let texts = messages.filter(|m| m["from"] == "agent").filter_map(|m| m["json"].as_str());
        for (number, text) in texts.enumerate() {
            let length = (text.len() as u32).to_be_bytes();
            let message = [&length[1..], text.as_bytes()].concat();
            self.write("agent_machine", &format!("report-{number}"), &message)?;
        }
        for (name, message) in
            [("core", vec![0, 11, 0, 0]), ("hash", [&[0, 12], &[7; 50][..]].concat())]
        {
            let message = [&[0, 0, message.len() as u8][..], &message].concat();
            self.write("agent_machine", name, &message)?;
        }
        Ok(())
    }

    /// What Intel AMT says, from each captured session.
    fn tunnels(&self) -> Result<()> {
        for name in ["firmware-style", "meshcentral-apfclient", "wss-lms", "wss-relay"] {
            let vector = self.vector(&format!("apf-session-{name}"))?;
            let messages = vector["messages"].as_array().into_iter().flatten();
            let said = messages.filter(|m| m["dir"] == "C>S").flat_map(|m| hex(&m["hex"]));
            let style = u8::from(name.starts_with("wss"));
            let bytes: Vec<u8> = [style, 40].into_iter().chain(said).collect();
            self.write("apf", name, &bytes)?;
        }
        let pings = self.vector("activation-rmcp")?;
        for (number, pong) in pings["pong"].as_array().into_iter().flatten().enumerate() {
            self.write("amt_lan", &format!("pong-{number}"), &hex(&pong["hex"]))?;
        }
        self.write("amt_lan", "range", b"127.0.0.1-127.0.0.9")?;
        self.write("client_hello", "tls10", &[22, 3, 1, 0, 4, 1, 0, 0, 0])
    }

    /// Requests of clients and cookies of servers.
    fn control(&self) -> Result<()> {
        let actions = self.vector("control-actions")?;
        for (number, capture) in actions["captures"].as_array().into_iter().flatten().enumerate() {
            let request = capture["request"].to_string();
            self.write("control_request", &number.to_string(), request.as_bytes())?;
        }
        let cookies = self.vector("control-cookies")?;
        for (number, cookie) in cookies["fixed"].as_array().into_iter().flatten().enumerate() {
            for field in ["plaintext", "cookie"] {
                let text = cookie[field].as_str().unwrap_or_default();
                self.write("cookie", &format!("{field}-{number}"), text.as_bytes())?;
            }
        }
        Ok(())
    }

    /// A desktop session and a recording.
    fn desktop(&self) -> Result<()> {
        let vector = self.vector("relay-desktop")?;
        let said = |who: u8, message: &[u8]| {
            let [.., high, low] = (message.len() as u32).to_be_bytes();
            [&[who, high, low][..], message].concat()
        };
        let mut session = Vec::new();
        for (who, from) in [(3, "agent_messages_seen"), (0, "viewer_commands")] {
            let messages = vector[from].as_object().into_iter().flatten();
            session.extend(messages.flat_map(|(_, message)| said(who, &hex(message))));
        }
        session.extend(said(3, &hex(&vector["small_tile"]["message_hex"])));
        self.write("desktop", "session", &session)?;
        self.write("recording", "terminal", &hex(&self.vector("relay-mcrec")?["hex"]))
    }

    /// Attestation objects, authenticator data and signatures of the specification.
    fn security_keys(&self) -> Result<()> {
        let vector = self.vector("webauthn")?;
        for case in vector["cases"].as_array().into_iter().flatten() {
            let name = case["name"].as_str().unwrap_or_default();
            for (ceremony, member) in [
                ("registration", "attestationObject"),
                ("assertion", "authenticatorData"),
                ("assertion", "signature"),
            ] {
                let bytes = hex(&case[ceremony][member]);
                self.write("security_key", &format!("{name}-{member}"), &bytes)?;
            }
        }
        Ok(())
    }

    /// Desktop sessions of users who may only look, or only type.
    fn lanes(&self) -> Result<()> {
        let desktop = self.vector("relay-desktop")?;
        let commands = desktop["viewer_commands"].as_object().into_iter().flatten();
        for (name, command) in commands {
            let command = hex(command);
            let head = [0x82, 0x80 | command.len() as u8, 0, 0, 0, 0];
            let wire = [&[0x81, 0x81, 0, 0, 0, 0, b'2'][..], &head, &command].concat();
            for (kind, rights) in [("view", [0, 1, 0]), ("limited", [8, 16, 0])] {
                let input = [&rights[..], &[0, 7], &wire].concat();
                self.write("relay_lane", &format!("{kind}-{name}"), &input)?;
            }
        }
        Ok(())
    }

    /// Sessions with Intel AMT: a login, then what is said on the line or the screen.
    fn redirection(&self) -> Result<()> {
        let logins = self.vector("redir-handshake")?;
        for (kind, name) in [(3, "sol"), (2, "kvm")] {
            let service = self.vector(&format!("redir-{name}"))?;
            let (login, said) = (turns(&logins[name]), turns(&service["messages"]));
            self.write("redirection", name, &[&[kind, 0, 6], &*said].concat())?;
            let whole = [&[0, 0, 6], &*login, &said].concat();
            self.write("redirection", &format!("{name}-whole"), &whole)?;
            let heard = logins[name].as_array().into_iter().flatten().filter(by_firmware);
            let heard: Vec<u8> = heard.flat_map(|line| hex(&line["hex"])).collect();
            self.write("redirection", &format!("{name}-login"), &[&[4, 0, 6], &*heard].concat())?;
        }
        let drives = self.vector("redir-ider")?;
        let session = drives["session"].as_array().into_iter().flatten();
        let heard = session.flat_map(|step| [hex(&step["reply41"]), hex(&step["cmd"])].concat());
        let heard: Vec<u8> = [5, 0, 6].into_iter().chain(heard).collect();
        self.write("redirection", "ider", &heard)
    }

    /// Executables, configurations, and the golden files of the store.
    fn files(&self) -> Result<()> {
        let binaries = self.vector("agent-binaries")?;
        for (name, value) in binaries.as_object().into_iter().flatten() {
            let bytes = hex(&value["fileHex"]);
            if !bytes.is_empty() {
                self.write("executable", name, &bytes)?;
            }
        }
        let example = self.home.join("../meshcentral-data/config.example.json");
        self.write("config", "example", &fs::read(example)?)?;
        let golden = self.home.join("../tests/golden/v1");
        for entry in fs::read_dir(golden)?.flatten() {
            let bytes = [&[255], &*fs::read(entry.path())?].concat();
            self.write("store_frames", &entry.file_name().to_string_lossy(), &bytes)?;
        }
        Ok(())
    }
}

fn by_firmware(line: &&Value) -> bool {
    line["dir"] == "amt->srv"
}

/// What two sides say in turns, each with who speaks and how much before it.
fn turns(lines: &Value) -> Vec<u8> {
    let mut said = Vec::new();
    for line in lines.as_array().into_iter().flatten() {
        for part in hex(&line["hex"]).chunks(127) {
            said.push((part.len() as u8) << 1 | u8::from(by_firmware(&line)));
            said.extend(part);
        }
    }
    said
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap_or_default()
}
