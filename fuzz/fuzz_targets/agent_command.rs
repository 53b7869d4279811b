//! Any bytes as one message of an agent: parsed or ignored, and nothing longer than the message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meshboard::agent::wire::Command;

fuzz_target!(|message: &[u8]| {
    match Command::parse(message) {
        Some(Command::AuthVerify { cert, signature }) => {
            assert_eq!(cert.len() + signature.len() + 4, message.len());
        }
        Some(Command::AuthInfo(info)) => assert!(info.name.len() <= message.len()),
        Some(Command::CommitDate(text) | Command::HostInfo(text)) => {
            assert!(text.len() + 2 <= message.len() && !text.contains('\0'));
        }
        Some(Command::Tag(rest)) => assert_eq!(rest.len() + 2, message.len()),
        Some(Command::Json(json)) => assert_eq!(json, message),
        _ => {}
    }
});
