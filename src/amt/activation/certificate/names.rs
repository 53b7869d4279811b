//! Which computers a certificate may activate: those whose DNS suffix its common name fits.
//!
//! Firmware compares only the last labels of both, how many depends on the top-level domain. What
//! is said here is advice: the firmware decides.

/// Top-level domains of which firmware keeps two labels.
const TWO: &str = " net com org gov edu de ch dk ar cz cl ua ";
/// Those of which it keeps three.
const THREE: &str = " arpa fr cn nl br mx uk pl tw ca fi be ru se es no at in tr ro hu nz pt il gr co \
                     ie za th sg hk lt id hr ee bg ";

/// The part of a common name that counts. `strict` keeps all of it.
pub fn reduced(common_name: &str, strict: bool) -> &str {
    let Some((_, top)) = common_name.rsplit_once('.').filter(|_| !strict) else {
        return common_name;
    };
    let top = format!(" {} ", top.to_lowercase());
    let labels = match (TWO.contains(&top), THREE.contains(&top)) {
        (true, _) => 2,
        (_, true) => 3,
        _ => return common_name,
    };
    let dots = common_name.rmatch_indices('.').map(|(at, _)| at + 1);
    common_name.get(dots.take(labels).nth(labels - 1).unwrap_or(0)..).unwrap_or(common_name)
}

/// Whether a certificate with this (reduced) common name fits a computer with this DNS suffix.
pub fn fits(common_name: &str, suffix: &str) -> bool {
    let (name, suffix) = (common_name.to_lowercase(), suffix.to_lowercase());
    let name = name.strip_prefix("*.").filter(|rest| !rest.is_empty()).unwrap_or(&name);
    suffix.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amt::activation::testing::vector;

    #[test]
    fn names_are_cut_and_compared_as_the_reference_does() {
        let vector = vector("activation-name-match");
        for case in vector["reduce"].as_array().unwrap() {
            let name = case["common_name"].as_str().unwrap();
            let strict = case["strictCommonName"].as_bool().unwrap();
            assert_eq!(reduced(name, strict), case["cn"].as_str().unwrap(), "{case}");
        }
        for case in vector["match"].as_array().unwrap() {
            let (name, suffix) = (case["cn"].as_str().unwrap(), case["fqdn"].as_str().unwrap());
            assert_eq!(fits(name, suffix), case["match"].as_bool().unwrap(), "{case}");
        }
        for (labels, list) in [("2", TWO), ("3", THREE)] {
            let listed: Vec<_> = list.split_whitespace().collect();
            let expected = vector["tld_kept_labels"][labels].as_array().unwrap();
            assert_eq!(
                listed,
                expected.iter().map(|tld| tld.as_str().unwrap()).collect::<Vec<_>>()
            );
        }
        for (name, expected) in [("com", "com"), ("acme.uk", "acme.uk"), ("", ""), (".com", ".com")]
        {
            assert_eq!(reduced(name, false), expected);
        }
    }
}
