//! `meshboard backup` and `meshboard restore`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::{Common, Failure, link, print};
use crate::backup::restore as restoring;
use crate::backup::{self, Contents, schedule};
use crate::server::admin::{Reply, Request};
use crate::store::{Options, Store};

/// Standard input or output.
const STREAM: &str = "-";

pub(super) fn make(common: &Common, file: &Path, phrase: Option<&Path>) -> Result<(), Failure> {
    let phrase = phrase.map(passphrase).transpose()?;
    if !common.data.is_dir() {
        return Err(Failure::failed(format!("there is no folder {}", common.data.display())));
    }
    save(common);
    let made = if file == Path::new(STREAM) {
        backup::write(&common.data, io::stdout().lock(), phrase.as_deref()).map(drop)
    } else {
        schedule::write_file(&common.data, file, phrase.as_deref())
    };
    made.map_err(Failure::failed)
}

/// Has a running server write what it has in memory only. A backup without it is still one.
fn save(common: &Common) {
    let why = match link::ask_server(common, &Request::Save) {
        Ok(None | Some(Reply::Done(_))) => return,
        Ok(Some(Reply::Refused(why))) => why,
        Err(failure) => failure.text,
    };
    print::note(&format!("The backup may lack what the server changed last: {why}"));
}

pub(super) fn verify(common: &Common, file: &Path, phrase: Option<&Path>) -> Result<(), Failure> {
    let phrase = phrase.map(passphrase).transpose()?;
    let contents = restoring::verify(input(file)?, phrase.as_deref()).map_err(Failure::failed)?;
    show(common, &contents)?;
    print::note("The backup is sound. Nothing was changed: this was a dry run.");
    Ok(())
}

pub(super) fn restore(
    common: &Common,
    file: &Path,
    phrase: Option<&Path>,
    replace: bool,
) -> Result<(), Failure> {
    let phrase = phrase.map(passphrase).transpose()?;
    let input = input(file)?;
    // Held while files change places: no server can start meanwhile.
    let lock = match common.data.is_dir() {
        true => Some(Store::lock(&common.data).map_err(link::refused)?),
        false => None,
    };
    let contents = restoring::restore(input, phrase.as_deref(), &common.data, replace)
        .map_err(Failure::failed)?;
    drop(lock);
    show(common, &contents)?;
    // Damage that no list shows: a record that cannot be read.
    let (_, report) = Store::open(&common.data, Options::default()).map_err(link::refused)?;
    print::note(&format!("Restored. {report}"));
    Ok(())
}

fn show(common: &Common, contents: &Contents) -> Result<(), Failure> {
    if common.json {
        return print::json(contents);
    }
    let mut lines = String::from("FILE\tBYTES\n");
    for (name, entry) in &contents.files {
        lines += &format!("{name}\t{}\n", entry.length);
    }
    print::table(&lines)
}

fn input(file: &Path) -> Result<Box<dyn Read>, Failure> {
    if file == Path::new(STREAM) {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(file);
    Ok(Box::new(opened.map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?))
}

fn passphrase(file: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(line.to_owned()),
        None => Err(Failure::usage(format!("{}: its first line is empty", file.display()))),
    }
}
