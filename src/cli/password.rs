//! Where a password comes from: an argument, standard input, or a person.

use std::io::{BufRead as _, IsTerminal as _};

use super::{Failure, PasswordSource};
use crate::server::admin::Password;

/// Longest line read: 256 characters of four bytes, and a line end.
const LINE_MAX: u64 = 4 * 256 + 2;

/// Reads the password for `name`.
pub(super) fn read(source: PasswordSource, name: &str) -> Result<Password, Failure> {
    let text = match source {
        PasswordSource { password: Some(password), .. } => password,
        PasswordSource { password_stdin: true, .. } => {
            first_line(std::io::stdin().lock()).map_err(Failure::failed)?
        }
        PasswordSource { .. } => ask(name)?,
    };
    Password::new(text).map_err(Failure::usage)
}

fn first_line(input: impl std::io::BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    input.take(LINE_MAX).read_line(&mut line)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}

fn ask(name: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("no terminal to ask for a password: use --password-stdin"));
    }
    let prompt = |text: String| {
        rpassword::prompt_password(text)
            .map_err(|e| Failure::failed(format!("cannot read a password: {e}")))
    };
    let first = prompt(format!("Password for {name}: "))?;
    let second = prompt("Once more: ".to_owned())?;
    if first == second { Ok(first) } else { Err(Failure::failed("the two passwords differ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_end_is_cut_from_a_line_of_input() {
        for (input, line) in [
            ("secret\n", "secret"),
            ("secret", "secret"),
            (" two words \r\nmore\n", " two words "),
            ("", ""),
        ] {
            assert_eq!(first_line(input.as_bytes()).unwrap(), line);
        }
        assert!(first_line(&vec![b'x'; 1 << 20][..]).unwrap().len() <= 1026);
    }
}
