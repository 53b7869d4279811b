//! Any text as `config.json`: settings or problems, each with a place inside the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meshboard::config;

fuzz_target!(|text: &str| {
    match config::parse(text, []) {
        Ok((config, _)) => assert!(!config.domains.is_empty()),
        Err(problems) => assert!(!problems.is_empty()),
    }
});
