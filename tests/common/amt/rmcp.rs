//! The answer of firmware to a presence ping (RMCP with ASF, UDP port 623).

use super::firmware::{Firmware, Seen};

/// The pong for `packet`, if firmware answers.
pub fn pong(firmware: &mut Firmware, packet: &[u8]) -> Option<[u8; 28]> {
    let [6, 0, 0, 6, 0, 0, 0x11, 0xbe, 0x80, tag, 0, 0] = packet else { return None };
    if !firmware.rmcp {
        return None;
    }
    let mut version = firmware.version.split('.').map(|n| n.parse::<u8>().unwrap_or(0));
    let (major, minor) = (version.next().unwrap_or(0), version.next().unwrap_or(0));
    // What has more than four bits is not said.
    let version = if major < 16 { major << 4 | minor & 15 } else { 0 };
    let port: u16 = if firmware.plain { 16992 } else { 16993 };
    let both = if firmware.plain && firmware.tls.is_some() { 4 } else { 0 };
    let [high, low] = port.to_be_bytes();
    let state = if firmware.activated { 2 } else { 0 };
    firmware.saw(Seen::Ping);
    let head = [6, 0, 0xff, 6, 0, 0, 0x11, 0xbe, 0x40, *tag, 0, 16];
    let data = [0, 0, 1, 0x57, high, low, version, state | both, 0x81, 0x20, 0, 0, 0, 0, 0, 0];
    let mut pong = [0; 28];
    pong[..12].copy_from_slice(&head);
    pong[12..].copy_from_slice(&data);
    Some(pong)
}
