//! What browsers are told to do with their sessions: how long they last, in whose frames.

use std::time::Duration;

use super::read::Section;
use super::tree::Value;

/// Sessions of browsers, for the whole server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrowserSettings {
    /// `sessionTime`: how long a session lasts while no page of it is open. The browser keeps its
    /// cookie over its own restart.
    pub session_time: Option<Duration>,
    /// `sessionSameSite`: with which requests of other sites browsers send the cookie.
    pub same_site: SameSite,
}

/// With which requests that another site caused a browser sends a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// With none.
    #[default]
    Strict,
    /// When somebody follows a link here.
    Lax,
    /// With all: needed inside the frames of another site.
    None,
}

impl SameSite {
    /// The word of the cookie's attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

/// `allowFraming`: whose pages may show ours in a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Nobody's.
    #[default]
    Nobody,
    /// Anybody's.
    Anybody,
    /// Our own, and those of these origins (`https://rmm.example.com`).
    Only(Vec<String>),
}

/// Most origins that may show our pages in a frame.
const ORIGINS_MAX: usize = 16;

/// Reads the keys of the settings.
pub(super) fn settings(section: &Section<'_>) -> BrowserSettings {
    BrowserSettings { session_time: section.minutes("sessionTime"), same_site: same_site(section) }
}

fn same_site(section: &Section<'_>) -> SameSite {
    let Some(found) = section.find("sessionSameSite") else { return SameSite::default() };
    let word = section.text("sessionSameSite").unwrap_or_default().to_ascii_lowercase();
    match &*word {
        "strict" => SameSite::Strict,
        "lax" => SameSite::Lax,
        "none" => SameSite::None,
        _ => {
            section.problem(&found, "expected strict, lax or none");
            SameSite::default()
        }
    }
}

/// Reads `allowFraming`, of the settings or of a domain. `None` if it is not there.
pub(super) fn framing(section: &Section<'_>) -> Option<Framing> {
    let found = section.find("allowFraming")?;
    if let Value::Bool(allowed) = found.node.value {
        return Some(if allowed { Framing::Anybody } else { Framing::Nobody });
    }
    let origins = section.parsed("allowFraming", "true, or origins like https://host", origin)?;
    if origins.len() > ORIGINS_MAX {
        section.problem(&found, format!("more than {ORIGINS_MAX} origins"));
        return None;
    }
    Some(Framing::Only(origins))
}

/// `https://host[:port]`, or a host. It becomes part of a header.
fn origin(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/').to_ascii_lowercase();
    let (scheme, host) = text.split_once("://").unwrap_or(("https", &text));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]*".contains(c);
    let good = matches!(scheme, "https" | "http")
        && (1..=253).contains(&host.len())
        && host.chars().all(plain);
    good.then(|| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, parse};
    use crate::model::DomainId;

    fn read(text: &str) -> Config {
        parse(text, std::iter::empty::<(String, String)>()).unwrap().0
    }

    #[test]
    fn sessions_are_strict_until_somebody_says_otherwise() {
        let config = read("{}");
        assert_eq!(config.settings.browser, BrowserSettings::default());
        assert_eq!(config.framing(&DomainId::default()), &Framing::Nobody);
        let config = read(
            r#"{"settings": {"sessionTime": 60, "sessionSameSite": "None", "allowFraming": true},
                "domains": {"": {"userSessionIdleTimeout": 5},
                            "a": {"allowFraming": "https://RMM.example.com/, panel.example"}}}"#,
        );
        assert_eq!(config.settings.browser.session_time, Some(Duration::from_secs(3600)));
        assert_eq!(config.settings.browser.same_site, SameSite::None);
        let (own, a) = (DomainId::default(), DomainId::new("a").unwrap());
        assert_eq!(config.domain(&own).idle_timeout, Some(Duration::from_secs(300)));
        assert_eq!(config.framing(&own), &Framing::Anybody);
        let only = ["https://rmm.example.com", "https://panel.example"].map(str::to_owned);
        assert_eq!(config.framing(&a), &Framing::Only(only.to_vec()), "the domain's own word");
    }

    #[test]
    fn nothing_but_origins_gets_into_the_header() {
        for (text, good) in [
            ("https://a.example:8443", true),
            ("*.example", true),
            ("https://a.example;script-src *", false),
            ("javascript://a", false),
            ("a b", false),
            ("", false),
        ] {
            assert_eq!(origin(text).is_some(), good, "{text}");
        }
    }
}
