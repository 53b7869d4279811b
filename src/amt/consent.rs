//! Consent of whoever sits at the computer: a code that appears on its screen, and is read out.
//!
//! Needed for the desktop, storage and boot options where the policy says so, always in client
//! control mode. The firmware counts wrong codes and takes a request back after the third.

use serde::Serialize;

use super::wsman::{Failure, Link, Operation};

const SERVICE: &str = "IPS_OptInService";
/// `OptInRequired` for everything.
pub const ALWAYS: u32 = u32::MAX;

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Consent {
    /// 0 for nothing, 1 for the desktop, 4294967295 for everything.
    pub required: u32,
    /// 0 not asked, 1 asked, 2 the code is on the screen, 3 given, 4 in use.
    pub state: u8,
}

/// Reads how it stands.
///
/// # Errors
/// What became of it.
pub async fn read(link: &Link) -> Result<Consent, Failure> {
    let service = link.get(SERVICE).await?;
    let required = service.number("OptInRequired").unwrap_or(ALWAYS);
    Ok(Consent { required, state: service.number("OptInState").unwrap_or_default() })
}

/// Whether everything needs a consent that was not given.
///
/// # Errors
/// What became of it; firmware that knows no consent is none.
pub async fn is_missing(link: &Link) -> Result<bool, Failure> {
    match read(link).await {
        Ok(Consent { required, state }) => Ok(required == ALWAYS && !matches!(state, 3 | 4)),
        Err(failure) if failure.is_refusal() => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Shows a code on the screen of the computer; one that is shown already stays.
///
/// # Errors
/// What became of it.
pub async fn ask(link: &Link) -> Result<(), Failure> {
    match read(link).await?.state {
        0 => link.perform(Operation::invoke(SERVICE, "StartOptIn")).await.map(drop),
        _ => Ok(()),
    }
}

/// Says the code that was read out.
///
/// # Errors
/// What became of it; a wrong code is a refusal.
pub async fn give(link: &Link, code: u32) -> Result<(), Failure> {
    let request = Operation::invoke(SERVICE, "SendOptInCode").with("OptInCode", code);
    link.perform(request).await.map(drop)
}

/// Takes the request, or the consent, back.
///
/// # Errors
/// What became of it.
pub async fn end(link: &Link) -> Result<(), Failure> {
    link.perform(Operation::invoke(SERVICE, "CancelOptIn")).await.map(drop)
}

/// The number of a code: six digits.
pub fn code(text: &str) -> Option<u32> {
    let is_code = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_code)
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use std::rc::Rc;

    use super::*;
    use crate::amt::room::Room;
    use crate::amt::testing::{Firmware, output};
    use crate::hub::testing::{World, node_id};

    #[test]
    fn a_code_is_asked_for_once_and_given_as_a_number() {
        let (world, firmware) = (World::new(), Firmware::new());
        firmware.call_in(&world.hub, &node_id(1));
        firmware.on("IPS_OptInService.StartOptIn", |firmware, _| {
            firmware.change("IPS_OptInService", "OptInState", "2");
            output("StartOptIn", 0, "")
        });
        firmware.on("IPS_OptInService.SendOptInCode", |_, body| {
            let fits = body.property("OptInCode") == Some("12345");
            output("SendOptInCode", if fits { 0 } else { 2066 }, "")
        });
        let room = Room::new(world.hub.clone(), Rc::default());
        let link = room.link(&node_id(1)).unwrap();
        block_on(async {
            assert_eq!(read(&link).await.unwrap(), Consent { required: 0, state: 0 });
            ask(&link).await.unwrap();
            ask(&link).await.unwrap();
            assert_eq!(read(&link).await.unwrap().state, 2);
            assert!(give(&link, 999_999).await.unwrap_err().is_refusal());
            give(&link, code("012345").unwrap()).await.unwrap();
            end(&link).await.unwrap();
        });
        let asked = firmware.said.borrow().iter().filter(|s| s.ends_with("StartOptIn")).count();
        assert_eq!(asked, 1);
        assert_eq!((code("12345"), code("1234567"), code("+12345")), (None, None, None));
    }
}
