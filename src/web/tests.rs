use super::*;

#[test]
fn what_takes_gzip_gets_it() {
    for (accept, expected) in [
        (Some("gzip, deflate, br, zstd"), Encoding::Gzip),
        (Some("br;q=1.0, gzip;q=0.8"), Encoding::Gzip),
        (Some("GZIP"), Encoding::Gzip),
        (Some("br"), Encoding::Identity),
        (Some("br;q=0, gzip"), Encoding::Gzip),
        (Some("gzip;q=0.001"), Encoding::Gzip),
        (Some("gzip; q=0"), Encoding::Identity),
        (Some("brr, gzipp"), Encoding::Identity),
        (Some(""), Encoding::Identity),
        (None, Encoding::Identity),
    ] {
        assert_eq!(Encoding::accepted(accept), expected, "{accept:?}");
    }
}

#[cfg(feature = "web-ui")]
mod of_the_page {
    use super::*;

    /// What a first visit loads at once: the page and all it names.
    fn first_load() -> Vec<&'static File> {
        let page = page().unwrap();
        let text = String::from_utf8(page.body(Encoding::Identity).into_owned()).unwrap();
        let named = text.split('"').filter(|part| part.starts_with("assets/"));
        let named: Vec<_> =
            named.map(|path| asset(path).unwrap_or_else(|| panic!("{path}"))).collect();
        assert!(named.len() >= 3, "a script, a style, an icon");
        named.into_iter().chain([page]).collect()
    }

    #[test]
    fn a_first_load_is_at_most_150_kilobytes() {
        let bytes: usize = first_load().iter().map(|file| file.gz.len()).sum();
        assert!(bytes <= 150_000, "{bytes} bytes");
    }

    #[test]
    fn every_form_is_the_same_content() {
        for file in &FILES {
            let content = file.body(Encoding::Identity);
            assert_eq!(content.len(), file.len, "{}", file.name);
            assert!(!file.gz.is_empty() && file.gz.len() < content.len(), "{}", file.name);
            assert_ne!(file.kind(), "application/octet-stream", "{}", file.name);
        }
    }

    #[test]
    fn pages_without_script_find_the_style() {
        let style = asset(style().unwrap()).unwrap();
        assert_eq!(style.kind(), "text/css; charset=utf-8");
    }

    #[test]
    fn the_page_is_no_asset_and_an_asset_no_page() {
        assert!(asset("index.html").is_none());
        assert!(asset("../Cargo.toml").is_none());
        assert!(asset("assets/").is_none());
    }

    #[test]
    fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
        let page = page().unwrap().body(Encoding::Identity);
        let text = String::from_utf8_lossy(&page);
        for forbidden in
            ["<style", "style=", "onload=", "onclick=", "javascript:", "//cdn", "http:", "https:"]
        {
            let found = text
                .match_indices(forbidden)
                .any(|(at, _)| !text[at..].starts_with("http://www.w3.org/2000/svg"));
            assert!(!found, "{forbidden}");
        }
        assert_eq!(text.matches("<script").count(), 1);
        assert!(!text.contains("{{"), "every place is filled in");
    }

    #[test]
    fn a_known_content_is_recognised() {
        let page = page().unwrap();
        let etag = page.etag;
        assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() == 18, "{etag}");
        for (condition, known) in [
            (Some(etag.to_owned()), true),
            (Some(format!("W/{etag}")), true),
            (Some(format!("\"other\", {etag}")), true),
            (Some("*".to_owned()), true),
            (Some("\"other\"".to_owned()), false),
            (Some(String::new()), false),
            (None, false),
        ] {
            assert_eq!(page.is_known(condition.as_deref()), known, "{condition:?}");
        }
    }
}
