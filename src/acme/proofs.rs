//! Texts that prove to an authority that a name leads here (HTTP-01, RFC 8555, section 8.3).

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Where the authority asks for them on port 80.
pub const PATH: &str = "/.well-known/acme-challenge/";

/// The texts, while an order runs: one for each of its names.
#[derive(Debug, Default)]
pub struct Proofs(RefCell<BTreeMap<String, String>>);

impl Proofs {
    /// The text for a path on port 80.
    pub fn text(&self, path: &str) -> Option<String> {
        self.0.borrow().get(path.strip_prefix(PATH)?).cloned()
    }

    pub(super) fn put(&self, token: &str, text: &str) {
        self.0.borrow_mut().insert(token.to_owned(), text.to_owned());
    }

    pub(super) fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_there_while_it_is_asked_for_and_only_under_its_path() {
        let proofs = Proofs::default();
        proofs.put("token", "token.thumb");
        assert_eq!(proofs.text(&format!("{PATH}token")).as_deref(), Some("token.thumb"));
        for path in ["/token", PATH, "/.well-known/acme-challenge/other", ""] {
            assert_eq!(proofs.text(path), None, "{path}");
        }
        proofs.clear();
        assert_eq!(proofs.text(&format!("{PATH}token")), None);
    }
}
