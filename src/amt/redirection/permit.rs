//! What a user may do with the firmware's services, by the rights on the device as they are now.
//!
//! Rights are the stock server's: nothing without REMOTECONTROL; whoever is kept from Intel AMT, the
//! desktop or the terminal is kept from it here, too. Who may only look sees the screen and the
//! serial line and touches neither; disks and the firmware's own settings are not for looking.

use crate::model::Rights;

use super::wire::Service;

/// Which input of a user goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// All of it.
    Full,
    /// Letters, digits and the mouse.
    Limited,
    /// None: view only.
    Nothing,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The rights on the device.
    pub rights: Rights,
    /// Look, but do not touch, whatever the rights say.
    pub view_only: bool,
}

impl Permit {
    /// Whether a session of this service may be held.
    pub fn allows(&self, service: Service) -> bool {
        let restriction = match service {
            Service::Sol => Rights::NO_TERMINAL,
            Service::Kvm => Rights::NO_DESKTOP,
            Service::Ider => return self.allows_all(),
        };
        self.allows_any() && !self.rights.restricted(restriction)
    }

    /// Whether the user has anything to do here.
    pub fn allows_any(&self) -> bool {
        self.rights.allows(Rights::REMOTE_CONTROL) && !self.rights.restricted(Rights::NO_AMT)
    }

    /// Whether the firmware may be spoken to freely: who manages it can do whatever it can.
    pub fn allows_all(&self) -> bool {
        self.allows_any() && self.input() == Input::Full
    }

    /// The input that goes through.
    pub fn input(&self) -> Input {
        match () {
            () if self.view_only || self.rights.restricted(Rights::VIEW_ONLY) => Input::Nothing,
            () if self.rights.restricted(Rights::LIMITED_INPUT) => Input::Limited,
            () => Input::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_away_is_taken_away_here_too() {
        const CONTROL: Rights = Rights::REMOTE_CONTROL;
        // Screen, serial line, disks, what of the input.
        for (rights, screen, serial, disks, input) in [
            (Rights::FULL, true, true, true, Input::Full),
            (CONTROL, true, true, true, Input::Full),
            (Rights::VIEW_ONLY, false, false, false, Input::Nothing),
            (Rights::RELAY | Rights::RESET_OFF, false, false, false, Input::Full),
            (CONTROL | Rights::NO_AMT, false, false, false, Input::Full),
            (CONTROL | Rights::NO_DESKTOP, false, true, true, Input::Full),
            (CONTROL | Rights::NO_TERMINAL, true, false, true, Input::Full),
            (CONTROL | Rights::VIEW_ONLY, true, true, false, Input::Nothing),
            (CONTROL | Rights::LIMITED_INPUT, true, true, false, Input::Limited),
        ] {
            let permit = Permit { rights, view_only: false };
            let services = [Service::Kvm, Service::Sol, Service::Ider];
            let allowed = services.map(|service| permit.allows(service));
            assert_eq!(allowed, [screen, serial, disks], "{rights:?}");
            assert_eq!(permit.input(), input, "{rights:?}");
        }
        let looking = Permit { rights: Rights::FULL, view_only: true };
        assert_eq!((looking.input(), looking.allows_all()), (Input::Nothing, false));
    }
}
