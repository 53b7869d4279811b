//! The stock MeshAgent, run in the foreground as it comes in the package. Foreign architectures
//! run under `qemu-user-static` with Debian's cross C library as their root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::process::Process;
use super::{Server, installation};

/// Agents of the package that run on Linux with glibc.
#[derive(Clone, Copy, Debug)]
pub enum Architecture {
    /// `meshagent_x86-64`.
    X86_64,
    /// `meshagent_aarch64`.
    Aarch64,
    /// `meshagent_armhf`.
    Armhf,
}

/// An agent in a folder of its own, where it makes its key and keeps its core.
pub struct StockAgent {
    process: Option<Process>,
    folder: TempDir,
    architecture: Architecture,
    /// The X server it captures.
    display: Option<String>,
}

impl StockAgent {
    /// Starts a fresh agent for a device group.
    pub fn start(server: &dyn Server, group: &str, architecture: Architecture) -> Self {
        let settings = server.settings_file(group);
        Self::start_as(&architecture.executable(), Some(settings.as_ref()), architecture)
    }

    /// Starts a fresh agent that captures the X server `display`.
    pub fn start_on(
        server: &dyn Server,
        group: &str,
        architecture: Architecture,
        display: &str,
    ) -> Self {
        let settings = server.settings_file(group);
        let mut agent = Self::install(&architecture.executable(), Some(&settings), architecture);
        agent.display = Some(display.to_owned());
        agent.start_again();
        agent
    }

    /// Starts a fresh agent from an executable, with a settings file beside it or without.
    pub fn start_as(
        executable: &[u8],
        settings: Option<&[u8]>,
        architecture: Architecture,
    ) -> Self {
        let mut agent = Self::install(executable, settings, architecture);
        agent.start_again();
        agent
    }

    fn install(executable: &[u8], settings: Option<&[u8]>, architecture: Architecture) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let binary = folder.path().join("meshagent");
        fs::write(&binary, executable).expect("the folder is ours");
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        if let Some(settings) = settings {
            fs::write(folder.path().join("meshagent.msh"), settings).expect("the folder is ours");
        }
        Self { process: None, folder, architecture, display: None }
    }

    /// Starts it again with what it has kept.
    pub fn start_again(&mut self) {
        let display = self.display.as_deref();
        self.process = Some(launch(self.folder.path(), self.architecture, display));
    }

    /// Whether its database holds a core: with one it has over 100 KB, without about 4 KB.
    pub fn has_core(&self) -> bool {
        let database = fs::metadata(self.folder.path().join("meshagent.db"));
        database.is_ok_and(|database| database.len() > 64 << 10)
    }

    /// Where it lives.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Process of the agent.
    ///
    /// # Panics
    /// If it was stopped.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Its executable as it is now.
    pub fn executable(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("meshagent")).unwrap_or_default()
    }

    /// Ends it without a chance to say goodbye.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Ends it as the system does.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate();
        }
    }
}

impl Architecture {
    /// The executable as the package has it.
    pub fn executable(self) -> Vec<u8> {
        fs::read(installation::folder().join("agents").join(self.file()))
            .expect("the package has this agent")
    }

    fn file(self) -> &'static str {
        match self {
            Self::X86_64 => "meshagent_x86-64",
            Self::Aarch64 => "meshagent_aarch64",
            Self::Armhf => "meshagent_armhf",
        }
    }

    /// Number of this kind of agent in AuthInfo.
    pub fn agent_ids(self) -> &'static [u64] {
        match self {
            Self::X86_64 => &[6],
            // One binary under two numbers.
            Self::Aarch64 => &[26, 32],
            Self::Armhf => &[25],
        }
    }

    /// The emulator and the root it finds the C library in.
    pub fn emulator(self) -> Option<(String, &'static str)> {
        let (name, root) = match self {
            Self::X86_64 => return None,
            Self::Aarch64 => ("qemu-aarch64", "/usr/aarch64-linux-gnu"),
            Self::Armhf => ("qemu-arm", "/usr/arm-linux-gnueabihf"),
        };
        // Debian dropped the suffix when all of them became static.
        let suffixed = format!("{name}-static");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|folder| folder.join(&suffixed).exists());
        Some((if found { suffixed } else { name.to_owned() }, root))
    }
}

/// `run` is the agent as a plain program; `connect` would make it a temporary one, which the
/// server deletes when it leaves.
fn launch(folder: &Path, architecture: Architecture, display: Option<&str>) -> Process {
    let binary = folder.join("meshagent");
    let emulator = architecture.emulator();
    let program = match &emulator {
        None => binary.as_os_str(),
        Some((emulator, _)) => emulator.as_ref(),
    };
    Process::start(program, |command| {
        if let Some((_, root)) = emulator {
            command.args(["-L", root]).arg(&binary);
        }
        command.arg("run").current_dir(folder).env("HOME", folder);
        if let Some(display) = display {
            command.env("DISPLAY", display);
        }
    })
}
