//! Writes what packages bring beside the program, from the definition of its command line: the man
//! pages and the completions of shells.
//!
//!     cargo run --example manual -- DIR
//!
//! Not part of the program, because an owner gets them with the package.

use std::io;
use std::path::Path;

use clap_complete::Shell;

/// A script for a shell, under the name by which that shell finds it.
const COMPLETIONS: [(Shell, &str); 3] =
    [(Shell::Bash, "meshboard.bash"), (Shell::Zsh, "_meshboard"), (Shell::Fish, "meshboard.fish")];

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).ok_or_else(|| io::Error::other("which folder?"))?;
    let folder = Path::new(&folder);
    let man = folder.join("man");
    std::fs::create_dir_all(&man)?;
    clap_mangen::generate_to(meshboard::cli::command(), man)?;
    for (shell, name) in COMPLETIONS {
        let mut script = Vec::new();
        let mut command = meshboard::cli::command();
        clap_complete::generate(shell, &mut command, "meshboard", &mut script);
        std::fs::write(folder.join(name), script)?;
    }
    Ok(())
}
