//! Reads the package's scripts from disk and composes all cores from them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use super::cores::{Body, CoreName, Modules, compose};
use super::source::{MAX_MODULES, MAX_SCRIPT, is_module};

/// Where the scripts of a set of cores come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scripts<'a> {
    /// Has `meshcore.js` and the module folders: the `agents` folder, or the data folder if an
    /// administrator put an own `meshcore.js` there (its modules are then those beside it).
    pub(super) main: &'a Path,
    /// Has the recovery, diagnostic and tiny cores: the `agents` folder.
    pub(super) others: &'a Path,
    /// Minified files are preferred where there are any.
    pub(super) minified: bool,
}

impl Scripts<'_> {
    /// Composes the images one after the other; those whose body is missing are left out.
    pub(super) fn compose(
        &self,
        mut sink: impl FnMut(CoreName, Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let modules = self.modules()?;
        for core in CoreName::ALL {
            if let Some(body) = self.body(core.body())? {
                sink(core, compose(core, &modules, &body))?;
            }
        }
        Ok(())
    }

    fn body(&self, body: Body) -> io::Result<Option<Vec<u8>>> {
        let (folder, file) = match body {
            Body::Main => (self.main, "meshcore.js"),
            Body::Recovery => (self.others, "recoverycore.js"),
            Body::Diagnostic => (self.others, "meshcore_diagnostic.js"),
            Body::Tiny => (self.others, "tinycore.js"),
        };
        if body == Body::Main
            && self.minified
            && let Some(content) = read_script(&folder.join("meshcore.min.js"))?
        {
            return Ok(Some(content));
        }
        read_script(&folder.join(file))
    }

    fn modules(&self) -> io::Result<Modules> {
        if self.minified
            && let Some(modules) = read_modules(&self.main.join("modules_meshcore_min"))?
        {
            return Ok(modules);
        }
        Ok(read_modules(&self.main.join("modules_meshcore"))?.unwrap_or_default())
    }
}

/// The modules of a folder; `None` if there are none.
pub(super) fn read_modules(folder: &Path) -> io::Result<Option<Modules>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| is_module(name)) else { continue };
        if files.len() == MAX_MODULES {
            return Err(io::Error::other(format!("{}: too many modules", folder.display())));
        }
        if let Some(content) = read_script(&folder.join(name))? {
            files.push((name.to_owned(), content));
        }
    }
    Ok((!files.is_empty()).then(|| Modules::new(files)))
}

/// A script; `None` if there is no such file.
pub(super) fn read_script(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut content = Vec::new();
    file.take(MAX_SCRIPT + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_SCRIPT {
        return Err(io::Error::other(format!("{}: too long for a script", path.display())));
    }
    Ok(Some(content))
}

/// Raw deflate (no header, no checksum), as command 20 carries it.
pub(super) fn deflate(image: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(image)?;
    encoder.finish()
}

/// Undoes [`deflate`]. `len` is the length the image must have; more is never allocated.
pub(super) fn inflate(deflated: &[u8], len: u32) -> io::Result<Vec<u8>> {
    let mut image = Vec::new();
    flate2::read::DeflateDecoder::new(deflated).take(u64::from(len) + 1).read_to_end(&mut image)?;
    if image.len() as u64 != u64::from(len) {
        return Err(io::Error::other("a core has not the length its index states"));
    }
    Ok(image)
}
