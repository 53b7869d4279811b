//! Simulated Intel AMT: what firmware and MeshCmd say on a tunnel, for tests and for the bench.
//!
//! It is a witness only because the stock server takes it for the real thing
//! (`tests/cira.rs` runs every scenario against both servers).

mod device;
mod link;

pub use device::{Device, Mood, Seen};
pub use link::{Door, Live, connect};

/// The user name of computers of this group, as people enter it into firmware.
pub fn user_of(group: &str) -> String {
    let key = group.trim_start_matches("mesh//").replace(['@', '$'], "X");
    key[..16].to_owned()
}
