//! The screen of a computer as plain RFB, for a client that knows nothing of Intel AMT.
//!
//! Source: amt-management §18. Two messages of 8 bytes open it, which the client does not see; what
//! follows is RFB from the firmware's greeting on. What the user may not do does not get through.

use super::held::{Held, Misuse};
use super::mediator::{Mail, Mediator, Over};
use super::permit::Permit;
use super::rfb::{Screen, Viewer};
use super::wire::Service;

/// Opens the screen.
pub(super) const OPEN: [u8; 8] = [0x40, 0, 0, 0, 0, 0, 0, 0];
/// The first byte of the answer.
pub(super) const OPENED: u8 = 0x41;

/// A screen. See the module.
pub struct Kvm {
    permit: Permit,
    /// The answer that opens it, while it has not come.
    opened: Option<Held>,
    viewer: Viewer,
    screen: Screen,
}

impl Kvm {
    /// A session that begins, once its user was let in.
    pub fn new(permit: Permit) -> Self {
        Self {
            permit,
            opened: Some(Held::default()),
            viewer: Viewer::default(),
            screen: Screen::default(),
        }
    }
}

impl Mediator for Kvm {
    fn begin(&mut self, mail: &mut Mail) {
        mail.to_firmware.extend_from_slice(&OPEN);
    }

    fn user_says(&mut self, bytes: &[u8], mail: &mut Mail) {
        let input = self.permit.input();
        if let Err(Misuse) = self.viewer.pass(bytes, input, &mut mail.to_firmware) {
            mail.end(Over::Misuse);
        }
    }

    fn firmware_says(&mut self, mut bytes: &[u8], mail: &mut Mail) {
        if let Some(opened) = &mut self.opened {
            match opened.first(bytes) {
                Some(OPENED) | None => {}
                Some(_) => return mail.end(Over::Garbled),
            }
            if opened.take(&mut bytes, OPEN.len()).is_none() {
                return;
            }
            self.opened = None;
            mail.begun = true;
        }
        self.screen.hear(bytes);
        mail.to_user.extend_from_slice(bytes);
    }

    fn set_permit(&mut self, permit: Permit) -> bool {
        let narrows = permit.input() != self.permit.input();
        self.permit = permit;
        permit.allows(Service::Kvm) && (!narrows || self.viewer.is_understood())
    }

    fn closed(&self) -> Over {
        match &self.opened {
            Some(_) => Over::Unsupported,
            None if self.screen.was_too_large_for(&self.viewer) => Over::TooLarge,
            None => Over::ByDevice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amt::redirection::testing::lines;
    use crate::model::Rights;

    fn kvm(rights: Rights) -> Kvm {
        Kvm::new(Permit { rights, view_only: false })
    }

    #[test]
    fn a_client_of_rfb_is_not_told_of_the_opening() {
        let file = include_str!("../../../tests/vectors/redir-kvm.json");
        for size in [1, 5, 1000] {
            let mut kvm = kvm(Rights::FULL);
            let (mut mail, mut expected) = (Mail::default(), Vec::new());
            kvm.begin(&mut mail);
            for line in lines(file, "messages").into_iter().filter(|line| line.by_firmware) {
                line.bytes.chunks(size).for_each(|piece| kvm.firmware_says(piece, &mut mail));
                expected.extend(line.bytes);
            }
            assert_eq!(mail.to_firmware, OPEN);
            assert_eq!(mail.to_user, expected[8..]);
            assert!(mail.begun);
            assert!(mail.to_user.starts_with(b"RFB 004.000\n"));
        }
    }

    #[test]
    fn losing_the_right_to_type_takes_effect_within_the_session() {
        let mut kvm = kvm(Rights::REMOTE_CONTROL);
        let key = [4, 1, 0, 0, 0, 0, 0, b'a'];
        let mut mail = Mail::default();
        kvm.user_says(b"RFB 003.008\n\x01\x01", &mut mail);
        kvm.user_says(&key, &mut mail);
        assert!(mail.to_firmware.ends_with(&key));
        let looking = Rights::REMOTE_CONTROL | Rights::VIEW_ONLY;
        assert!(kvm.set_permit(Permit { rights: looking, view_only: false }));
        let mut mail = Mail::default();
        kvm.user_says(&key, &mut mail);
        assert!(mail.to_firmware.is_empty());
        let nothing = Permit { rights: looking | Rights::NO_DESKTOP, view_only: false };
        assert!(!kvm.set_permit(nothing));
    }

    #[test]
    fn a_client_that_was_lost_track_of_ends_when_its_rights_shrink() {
        let mut kvm = kvm(Rights::REMOTE_CONTROL);
        kvm.user_says(b"RFB 003.008\n\x01\x01\xc8", &mut Mail::default());
        assert!(kvm.set_permit(Permit { rights: Rights::FULL, view_only: false }));
        assert!(!kvm.set_permit(Permit { rights: Rights::FULL, view_only: true }));
    }

    #[test]
    fn why_the_firmware_hung_up_is_told() {
        let mut kvm = kvm(Rights::FULL);
        assert_eq!(kvm.closed(), Over::Unsupported);
        let mut mail = Mail::default();
        kvm.firmware_says(&[OPENED, 0, 0, 0, 0, 0, 0, 0, b'R'], &mut mail);
        assert_eq!(kvm.closed(), Over::ByDevice);
        assert_eq!(mail.to_user, b"R");
        let mut mail = Mail::default();
        Kvm::new(kvm.permit).firmware_says(b"\x14", &mut mail);
        assert_eq!(mail.over, Some(Over::Garbled));
    }
}
