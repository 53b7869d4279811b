//! The examples of `docs/automation.md`, run as they stand there, in the order they stand there.
//!
//! All blocks make one shell script, so that a later one finds what an earlier one made. A `text`
//! block is what the block before it prints; `…` in it stands for anything.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::process::Process;
use common::{
    Architecture, Meshboard, PASSWORD, PATIENCE, Server, StockAgent, installation, libmeshctrl,
};

/// All that the page may have done on a device: the agent of the test is this machine, and may do
/// everything on it.
const HARMLESS: [&str; 3] = [r#"echo "up since $(uptime -s)""#, "sync", "uname -s"];

/// A fenced block.
struct Block<'a> {
    language: &'a str,
    /// Line of the page it begins in.
    line: usize,
    text: String,
}

#[test]
fn the_examples_of_the_automation_page_work() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/automation.md"));
    let page = page.expect("the page is there");
    only_harmless_commands(&page);
    let server = Meshboard::start();
    let home = server.add_group("Home");
    let _agent = StockAgent::start(&server, &home, Architecture::X86_64);
    let device = server.meshctrl().wait_for_agent();
    server.meshctrl().ok(&["editdevice", "--id", &device, "--name", "kitchen"]);

    let page = page.replace("board.local", &format!("127.0.0.1:{}", server.port()));
    let page = page.replace("KITCHEN", &device);
    let blocks = blocks(&page);
    let outputs = run(&server, &blocks);
    for (place, block) in blocks.iter().enumerate().filter(|(_, block)| block.language == "text") {
        let output = &outputs[place - 1];
        for wanted in block.text.lines() {
            let found = output.lines().any(|line| matches(wanted, line));
            assert!(found, "line {}: {wanted:?} is not in {output:?}", block.line);
        }
    }
}

/// # Panics
/// If the page has anything run on a device that is not known to be harmless.
fn only_harmless_commands(page: &str) {
    let mut commands = 0;
    for (start, end) in [("--run '", '\''), ("run_command(\"", '"')] {
        for rest in page.split(start).skip(1) {
            let command = rest.split(end).next().unwrap_or_default();
            assert!(HARMLESS.contains(&command), "{command:?} would run on this machine");
            commands += 1;
        }
    }
    let all = page.matches("--run").count() + page.matches("run_command").count();
    assert_eq!(commands, all, "a command in a form that is not looked at");
    for other in ["devicepower", "upload", "shell"] {
        let harmless = page.lines().filter(|line| line.contains(&format!("meshctrl {other}")));
        harmless.for_each(|line| assert!(line.contains("--wake"), "{line:?} would touch it"));
    }
}

/// The blocks of a page.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for (number, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block { language, line: number + 1, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "every block is closed");
    blocks
}

/// Runs all blocks; what each printed.
fn run(server: &Meshboard, blocks: &[Block<'_>]) -> Vec<String> {
    let home = tempfile::tempdir().expect("a temporary folder");
    let modules = installation::folder().parent().expect("it is in node_modules").to_owned();
    symlink(modules, home.path().join("node_modules")).expect("the folder is ours");
    let password = home.path().join(".meshctrl-password");
    fs::write(&password, PASSWORD).expect("the folder is ours");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).expect("the file is ours");

    let mut script = String::from("set -euo pipefail\n");
    for (place, block) in blocks.iter().enumerate() {
        script += &format!("exec > {place}.out\n{}", as_shell(block));
    }
    let python = libmeshctrl::python();
    let meshboard = Path::new(env!("CARGO_BIN_EXE_meshboard"));
    let folder = |program: &Path| program.parent().expect("a file is in a folder").to_owned();
    let mut path = vec![home.path().join("bin"), folder(meshboard), folder(&python)];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut shell = Process::start("bash", |command| {
        command.arg("-c").arg(&script).current_dir(home.path()).env("HOME", home.path());
        command.env("MESHBOARD_DATA", server.data());
        command.env("PATH", std::env::join_paths(path).expect("no colon in it"));
    });
    let status = shell.wait_for_end(PATIENCE).expect("the script ends");
    assert!(status.success(), "{status}: {script}");
    let output = |place| fs::read_to_string(home.path().join(format!("{place}.out")));
    (0..blocks.len()).map(|place| output(place).expect("every block ran")).collect()
}

/// What a shell has to do for a block.
fn as_shell(block: &Block<'_>) -> String {
    let text = &block.text;
    match block.language {
        "sh" => text.clone(),
        "python" => format!("python3 << 'END OF BLOCK'\n{text}END OF BLOCK\n"),
        // The times are cron's; settings stand alone.
        "cron" => {
            let jobs = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
            jobs.map(|job| job.splitn(6, ' ').nth(5).expect("five times").to_owned() + "\n")
                .collect()
        }
        // Members below a heading are commands.
        "yaml" => {
            let commands = text.lines().filter_map(|line| line.strip_prefix("  "));
            let commands = commands.filter_map(|line| line.split_once(": "));
            commands.map(|(_, command)| command.to_owned() + "\n").collect()
        }
        "text" => String::new(),
        other => panic!("line {}: nobody knows how to run {other:?}", block.line),
    }
}

/// Whether a line is as wanted; `…` stands for anything.
fn matches(wanted: &str, line: &str) -> bool {
    match wanted.split_once('…') {
        None => wanted == line.trim_end(),
        Some((start, end)) => line.starts_with(start) && line.trim_end().ends_with(end),
    }
}
