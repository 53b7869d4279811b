//! Any bytes as an agent's certificate and signature. Input: the body of an AuthVerify message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meshboard::agent::wire::Command;
use meshboard::identity::certificate::{public_key, rsa_public_key, verify_rsa};

fuzz_target!(|body: &[u8]| {
    let message = [&[0, 2], body].concat();
    let Some(Command::AuthVerify { cert, signature }) = Command::parse(&message) else { return };
    if let Some(key) = rsa_public_key(cert) {
        assert_eq!(public_key(cert).as_ref(), Some(&key));
        // Nobody can sign these words with a key found by chance.
        assert!(!verify_rsa(&key, b"signed by nobody", signature));
    }
    // The key itself may be anything.
    assert!(!verify_rsa(cert, b"signed by nobody", signature));
});
