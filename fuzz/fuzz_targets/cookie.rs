//! Any text as a cookie, and any fields in a genuine one.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use meshboard::identity::cookie::CookieKey;
use meshboard::model::{Seconds, Secret};

const NOW: Seconds = Seconds(1_700_000_000);

fuzz_target!(|text: &str| {
    let secret = Secret { name: "fuzz".into(), bytes: (0..80).collect() };
    let key = CookieKey::new(&secret).unwrap();
    let lifetime = Duration::from_secs(600);
    let _ = key.open(text, NOW, lifetime);

    // The seal keeps a fuzzer out of the fields: give it a way past.
    let Ok(fields) = serde_json::from_str::<serde_json::Map<_, _>>(text) else { return };
    let Some(sealed) = key.seal(fields, NOW) else { return };
    if let Ok(opened) = key.open(&sealed, NOW, lifetime) {
        assert_eq!(opened["time"], NOW.0);
    }
});
