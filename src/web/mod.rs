//! The web pages: their files, embedded at build time, and how each is to be served.
//!
//! Pure: names and headers in, bytes and headers out. `build.rs` makes the table of files; without
//! the feature `web-ui` it is empty, and there is no page.

mod policy;

use std::borrow::Cow;
use std::io::Read as _;

pub use policy::policy;

/// One file of the page, compressed. There is one form only: Brotli would make a first visit 20 %
/// shorter, and the program 0.2 MB longer.
#[derive(Debug)]
pub struct File {
    name: &'static str,
    /// Strong validator of the content, with its quotes.
    pub etag: &'static str,
    /// Length in bytes, uncompressed.
    len: usize,
    gz: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/web.rs"));

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// What every browser takes.
    Gzip,
    /// As it is, for everybody else: unpacked when it is asked for.
    Identity,
}

impl Encoding {
    /// The word of `Content-Encoding`; `None` if there is nothing to say.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Gzip => Some("gzip"),
            Self::Identity => None,
        }
    }

    /// The better of what `accept`, an `Accept-Encoding` header, names. Quality values count only in
    /// that 0 means no.
    pub fn accepted(accept: Option<&str>) -> Self {
        let gzip = accept.unwrap_or_default().split(',').any(|entry| {
            let (name, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            let refused = parameters
                .trim()
                .strip_prefix("q=")
                .is_some_and(|quality| quality.parse() == Ok(0.0));
            name.trim().eq_ignore_ascii_case("gzip") && !refused
        });
        if gzip { Self::Gzip } else { Self::Identity }
    }
}

/// The page itself; `None` if the program was built without one.
pub fn page() -> Option<&'static File> {
    find("index.html")
}

/// The page of guests.
pub fn guest_page() -> Option<&'static File> {
    find("guest.html")
}

/// The page of chats.
pub fn chat_page() -> Option<&'static File> {
    find("chat.html")
}

/// Where the style of the page is: `assets/style-1A2B3C4D.css`.
pub fn style() -> Option<&'static str> {
    FILES.iter().map(|file| file.name).find(|name| name.ends_with(".css"))
}

/// A file the page refers to, by its path: `assets/app-1A2B3C4D.js`. Its name changes with its
/// content, so whoever has it need not ask again.
pub fn asset(path: &str) -> Option<&'static File> {
    find(path).filter(|file| !file.name.ends_with(".html"))
}

fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

impl File {
    /// Its media type.
    pub fn kind(&self) -> &'static str {
        match self.name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("wasm") => "application/wasm",
            _ => "application/octet-stream",
        }
    }

    /// Its content in one form.
    pub fn body(&self, encoding: Encoding) -> Cow<'static, [u8]> {
        match encoding {
            Encoding::Gzip => self.gz.into(),
            Encoding::Identity => {
                let mut content = Vec::with_capacity(self.len);
                // It was packed at build time, from as many bytes.
                match flate2::read::GzDecoder::new(self.gz).read_to_end(&mut content) {
                    Ok(_) => content.into(),
                    Err(_) => Cow::default(),
                }
            }
        }
    }

    /// Whether `condition`, an `If-None-Match` header, names this content. Forms of one content are
    /// equivalent, so weak validators count.
    pub fn is_known(&self, condition: Option<&str>) -> bool {
        condition.is_some_and(|tags| {
            tags.split(',').any(|tag| {
                let tag = tag.trim();
                tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag
            })
        })
    }
}

#[cfg(test)]
mod tests;
