//! Any bytes as a request of a client.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meshboard::control::request::Request;

fuzz_target!(|message: &[u8]| {
    let Some(request) = Request::parse(message) else { return };
    assert!((3..=32).contains(&request.action.len()));
    for name in request.fields.keys() {
        let _ = (request.number(name), request.is_true(name));
        if let Some(text) = request.text_within(name, 1, 64) {
            assert!((1..=64).contains(&text.chars().count()));
        }
        if let Some(texts) = request.texts(name, 64) {
            assert!(!texts.is_empty());
        }
    }
});
