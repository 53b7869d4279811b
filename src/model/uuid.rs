//! The UUID of a computer's mainboard (SMBIOS), by which Intel AMT says who it is.
//!
//! On the wire its first three groups are little-endian; ids of devices are made from the order in
//! which it is written.

use std::fmt;
use std::str::FromStr;

use super::{DomainId, IdError, Key48, NodeId};

/// The 16 bytes in the order in which they are written as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

/// UUIDs that makers of mainboards forgot to change: many computers have each of them.
/// Beside them those that are one byte sixteen times. Each of them in either order of bytes.
const DEFAULTS: [&str; 4] = [
    "03000200-0400-0500-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "00010203-0405-0607-0809-0a0b0c0d0e0f",
    "4c4c4544-0000-2010-8020-80c04f202020",
];

impl Uuid {
    /// From the order of SMBIOS: the first three groups with their last byte first.
    pub fn from_wire(wire: [u8; 16]) -> Self {
        Self(swapped(wire))
    }

    /// In the order of SMBIOS.
    pub fn to_wire(self) -> [u8; 16] {
        swapped(self.0)
    }

    /// The device that has nothing but its Intel AMT: its key is the UUID three times.
    pub fn node(self, domain: DomainId) -> NodeId {
        let mut key = [0; 48];
        for (to, from) in key.iter_mut().zip(self.0.iter().cycle()) {
            *to = *from;
        }
        NodeId::new(domain, Key48(key))
    }

    /// Whether many computers have this one, because their maker did not set it.
    pub fn is_default(self) -> bool {
        let [first, rest @ ..] = &self.0;
        let is_known = |uuid: Self| DEFAULTS.contains(&uuid.to_string().as_str());
        rest.iter().all(|byte| byte == first) || is_known(self) || is_known(Self(self.to_wire()))
    }
}

fn swapped(mut bytes: [u8; 16]) -> [u8; 16] {
    for group in [0..4, 4..6, 6..8] {
        if let Some(group) = bytes.get_mut(group) {
            group.reverse();
        }
    }
    bytes
}

/// In lower case.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, byte) in self.0.iter().enumerate() {
            if matches!(n, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != 36 {
            return Err(IdError::Key);
        }
        let digits = text.replace('-', "");
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
        let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok()).ok_or(IdError::Key)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_text_and_device_are_those_of_meshcentral() {
        let v: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/vectors/apf-messages.json")).unwrap();
        let rule = |name: &str| v["guid_rule"][name].as_str().unwrap().to_owned();
        let wire = data_encoding::HEXLOWER.decode(rule("wire").as_bytes()).unwrap();
        let uuid = Uuid::from_wire(wire.clone().try_into().unwrap());
        assert_eq!(uuid.to_string(), rule("text"));
        assert_eq!(rule("text").parse(), Ok(uuid));
        assert_eq!(uuid.to_wire().as_slice(), wire);
        assert_eq!(uuid.node(DomainId::default()).key.text(), rule("node_id_from_text"));
    }

    #[test]
    fn what_makers_forgot_is_told_from_what_they_set() {
        let one_byte =
            ["00000000-0000-0000-0000-000000000000", "fefefefe-fefe-fefe-fefe-fefefefefefe"];
        for text in DEFAULTS.into_iter().chain(one_byte) {
            let uuid = text.parse::<Uuid>().unwrap();
            assert!(uuid.is_default() && Uuid(uuid.to_wire()).is_default(), "{text}");
        }
        let own: Uuid = "4c4c4544-004b-4210-8033-b6c04f504633".parse().unwrap();
        assert!(!own.is_default());
        for text in
            ["", "4c4c4544-004b-4210-8033-b6c04f50463", "4c4c4544-004b-4210-8033-b6c04f50463x"]
        {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }
}
