//! NeDB files: lines of JSON, the last one of an `_id` wins.
//!
//! Source: control-protocol §10, seen live. Lines are kept as text until they are needed, so memory
//! is the size of the file and not that of a tree. With `dbEncryptKey` every line is base64 of IV
//! (16 bytes) and AES-256-CBC/PKCS7; with `dbRecordsEncryptKey` the secret fields of a document lie
//! in `_CRYPT`, base64 of IV (12), tag (16) and AES-256-GCM. Both keys are the first 32 bytes of
//! the SHA-384 of a passphrase in config.json. Files are only read.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use aes::Aes256;
use cbc::cipher::{BlockDecryptMut as _, KeyIvInit as _, block_padding::Pkcs7};
use data_encoding::BASE64;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::{Map, Value};

use crate::identity::certificate::sha384;
use crate::model::order;

/// Longest line that is read, in bytes. NeDB writes a document per line; an account with a picture
/// has some hundred kilobytes.
const LINE_MAX: u64 = 64 << 20;

/// What the passphrases of config.json make.
#[derive(Default)]
pub struct Keys {
    database: Option<[u8; 32]>,
    records: Option<LessSafeKey>,
}

impl Keys {
    /// Keys from `dbEncryptKey` and `dbRecordsEncryptKey`.
    pub fn new(database: Option<&str>, records: Option<&str>) -> Self {
        let records = records.and_then(|phrase| {
            let key = UnboundKey::new(&AES_256_GCM, &derived(phrase)).ok()?;
            Some(LessSafeKey::new(key))
        });
        Self { database: database.map(derived), records }
    }
}

fn derived(phrase: &str) -> [u8; 32] {
    let digest = sha384(phrase.as_bytes()).0;
    std::array::from_fn(|i| digest[i])
}

/// Why a file cannot be read.
#[derive(Debug)]
pub enum NedbError {
    /// The file cannot be read.
    Io(PathBuf, io::Error),
    /// No line is a document: it is encrypted and the key is missing or wrong, or no NeDB file.
    Unreadable(PathBuf),
    /// A line is longer than any document.
    LineTooLong(PathBuf, usize),
}

impl fmt::Display for NedbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Unreadable(path) => write!(
                f,
                "{}: no line is a document; if the database is encrypted, the config.json with its \
                 dbEncryptKey must lie beside it",
                path.display()
            ),
            Self::LineTooLong(path, line) => {
                write!(f, "{}: line {line} is longer than any document", path.display())
            }
        }
    }
}

impl std::error::Error for NedbError {}

/// One line of a file.
enum Line {
    /// A document: its id and its text.
    Document(String, String),
    Deleted(String),
    /// About an index.
    Other,
}

/// What became of the lines of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Lines with content.
    pub all: usize,
    /// Lines that are no documents, such as an incomplete last one.
    pub damaged: usize,
}

/// Reads the file at `path`, or the copy NeDB was making of it when it was stopped. A missing file
/// has no lines.
fn each_line(path: &Path, keys: &Keys, mut visit: impl FnMut(Line)) -> Result<Lines, NedbError> {
    let copy = PathBuf::from(format!("{}~", path.display()));
    let path = if !path.exists() && copy.exists() { copy.as_path() } else { path };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lines::default()),
        Err(error) => return Err(NedbError::Io(path.to_owned(), error)),
    };
    let mut reader = BufReader::new(file);
    let mut lines = Lines::default();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut bytes);
        let length = read.map_err(|error| NedbError::Io(path.to_owned(), error))?;
        if length == 0 {
            break;
        }
        if length as u64 == LINE_MAX {
            return Err(NedbError::LineTooLong(path.to_owned(), lines.all + 1));
        }
        let text = bytes.trim_ascii();
        if text.is_empty() {
            continue;
        }
        lines.all += 1;
        match line(text, keys) {
            Some(line) => visit(line),
            None => lines.damaged += 1,
        }
    }
    if lines.all > 0 && lines.damaged == lines.all {
        return Err(NedbError::Unreadable(path.to_owned()));
    }
    Ok(lines)
}

fn line(bytes: &[u8], keys: &Keys) -> Option<Line> {
    let text = match &keys.database {
        Some(key) => String::from_utf8(decrypted(bytes, key)?).ok()?,
        None => std::str::from_utf8(bytes).ok()?.to_owned(),
    };
    #[derive(serde::Deserialize)]
    struct Head {
        #[serde(rename = "_id")]
        id: Option<String>,
        #[serde(rename = "$$deleted")]
        deleted: Option<bool>,
    }
    let head: Head = serde_json::from_str(&text).ok()?;
    Some(match (head.id, head.deleted) {
        (Some(id), Some(true)) => Line::Deleted(id),
        (Some(id), _) => Line::Document(id, text),
        (None, _) => Line::Other,
    })
}

fn decrypted(line: &[u8], key: &[u8; 32]) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(line).ok()?;
    let (iv, ciphertext) = bytes.split_first_chunk::<16>()?;
    let cipher = cbc::Decryptor::<Aes256>::new(key.into(), iv.into());
    cipher.decrypt_padded_vec_mut::<Pkcs7>(ciphertext).ok()
}

/// The documents of `meshcentral.db`, by id.
#[derive(Default)]
pub struct Documents {
    texts: BTreeMap<String, Box<str>>,
    /// What became of the lines.
    pub lines: Lines,
    records: Option<LessSafeKey>,
}

impl Documents {
    /// Reads a file.
    pub fn read(path: &Path, keys: Keys) -> Result<Self, NedbError> {
        let mut texts = BTreeMap::new();
        let lines = each_line(path, &keys, |line| match line {
            Line::Document(id, text) => drop(texts.insert(id, text.into())),
            Line::Deleted(id) => drop(texts.remove(&id)),
            Line::Other => {}
        })?;
        Ok(Self { texts, lines, records: keys.records })
    }

    /// No documents yet.
    pub fn of(keys: Keys) -> Self {
        Self { records: keys.records, ..Self::default() }
    }

    /// Takes over the documents of a `--dbexport` file: one JSON array. They replace those read so
    /// far. `None` if the text is no such array.
    pub fn add_export(&mut self, text: &[u8]) -> Option<()> {
        let documents: Vec<Map<String, Value>> = serde_json::from_slice(text).ok()?;
        for document in documents {
            if let Some(id) = document.get("_id").and_then(Value::as_str) {
                let text = Value::Object(document.clone()).to_string();
                self.texts.insert(id.to_owned(), text.into());
            }
        }
        Some(())
    }

    /// The ids of all documents, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    /// A document, with the names in `links` and the like as they were, and with its secrets.
    /// `None` if there is none, or its secrets cannot be opened.
    pub fn get(&self, id: &str) -> Option<Map<String, Value>> {
        let mut fields = fields(self.texts.get(id)?)?;
        if let Some(sealed) = fields.remove("_CRYPT") {
            fields.extend(opened(sealed.as_str()?, self.records.as_ref()?)?);
        }
        Some(fields)
    }
}

fn fields(text: &str) -> Option<Map<String, Value>> {
    let mut fields: Map<String, Value> = serde_json::from_str(text).ok()?;
    for name in ["links", "ssh", "rdp", "netif2"] {
        if let Some(Value::Object(escaped)) = fields.get_mut(name) {
            let names = std::mem::take(escaped).into_iter();
            *escaped = order::gather(names.map(|(name, value)| (unescaped(&name), value)));
        }
    }
    Some(fields)
}

/// NeDB forbids `.` and a leading `$` in names, so MeshCentral writes them and `%` and `,` with `%`.
pub(super) fn unescaped(name: &str) -> String {
    if !name.contains('%') {
        return name.to_owned();
    }
    // `%25` last: what it stands for must not be taken for the start of another.
    name.replace("%2E", ".").replace("%24", "$").replace("%2C", ",").replace("%25", "%")
}

/// The counterpart of [`unescaped`].
pub(super) fn escaped(name: &str) -> String {
    // `%` first: it is what the others become.
    name.replace('%', "%25").replace('.', "%2E").replace('$', "%24").replace(',', "%2C")
}

fn opened(sealed: &str, key: &LessSafeKey) -> Option<Map<String, Value>> {
    let bytes = BASE64.decode(sealed.as_bytes()).ok()?;
    let (iv, rest) = bytes.split_first_chunk::<12>()?;
    let (tag, ciphertext) = rest.split_first_chunk::<16>()?;
    let mut text = [ciphertext, tag].concat();
    let nonce = Nonce::assume_unique_for_key(*iv);
    let plain = key.open_in_place(nonce, Aad::empty(), &mut text).ok()?;
    serde_json::from_slice(plain).ok()
}

/// A document of history with its time in milliseconds.
pub type Dated = (u64, Map<String, Value>);

/// The newest documents of a history file (`meshcentral-events.db`, `meshcentral-power.db`): at
/// most `limit`, oldest first.
pub fn newest(path: &Path, keys: &Keys, limit: usize) -> Result<Vec<Dated>, NedbError> {
    let mut kept: BTreeMap<(u64, String), Box<str>> = BTreeMap::new();
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    each_line(path, keys, |line| match line {
        Line::Document(id, text) => {
            let Some(time) = time_of(&text) else { return };
            if let Some(before) = times.insert(id.clone(), time) {
                kept.remove(&(before, id.clone()));
            }
            kept.insert((time, id), text.into());
            if kept.len() > limit
                && let Some(((_, oldest), _)) = kept.pop_first()
            {
                times.remove(&oldest);
            }
        }
        Line::Deleted(id) => {
            if let Some(time) = times.remove(&id) {
                kept.remove(&(time, id));
            }
        }
        Line::Other => {}
    })?;
    let documents = kept.into_iter().filter_map(|((time, _), text)| Some((time, fields(&text)?)));
    Ok(documents.collect())
}

fn time_of(text: &str) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Head {
        time: Value,
    }
    date(&serde_json::from_str::<Head>(text).ok()?.time)
}

/// A date in milliseconds: `{"$$date":ms}` in NeDB, ISO text or a number in an export.
pub fn date(value: &Value) -> Option<u64> {
    match value {
        Value::Object(object) => object.get("$$date")?.as_u64(),
        Value::String(text) => {
            let time =
                time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
            u64::try_from(time.ok()?.unix_timestamp_nanos() / 1_000_000).ok()
        }
        value => value.as_u64(),
    }
}
