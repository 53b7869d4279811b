//! Another password for the administrator, without locking this server out.
//!
//! ```text
//! write it down as pending ─► tell the firmware ─► yes: it is the password
//!                                               ├► no:  it is forgotten
//!                                               └► no answer: it is tried, now or at the next visit
//! ```
//!
//! What is pending is on disk before the firmware hears of it: after a power cut in between, both
//! passwords are tried (see [`super::upkeep`]).

use super::digest::Credentials;
use super::room::Room;
use super::wsman::{Failure, Refused};
use super::{settings, users};
use crate::model::{AmtAccess, NodeId};

/// Gives the administrator of a device another password, and keeps it.
///
/// # Errors
/// What became of it; without an answer of the firmware the new password stays pending.
pub async fn change_password(room: &Room, node: &NodeId, new: &str) -> Result<(), Failure> {
    let busy = Failure::Unable("The login to this Intel AMT is being changed already");
    let _held = room.hold(node).ok_or(busy)?;
    let link = room.link(node)?;
    let user = link.credentials().user.clone();
    if users::administrator(&link).await?.is_some_and(|name| name != user) {
        return Err(Failure::Unable("This server does not log in as the administrator"));
    }
    let request = users::to_administrator(&link, &user, new).await?;
    let store = &room.hub.store;
    let access = store.amt_access(node).ok_or(Failure::NoCredentials)?;
    let pending = AmtAccess { pending: Some(new.to_owned()), ..(*access).clone() };
    if store.put(pending).await.is_err() {
        return Err(Failure::Unable("The new password cannot be written to the disk"));
    }
    let login = Credentials { user, password: new.to_owned() };
    let failure = match link.perform(request).await {
        Ok(_) => {
            settle(room, node, Some(&login));
            return Ok(());
        }
        Err(failure) => failure,
    };
    // An answer that was lost may have been a yes, and what was sent again is then refused for its
    // old password.
    let is_no = matches!(
        failure,
        Failure::Busy | Failure::Refused(Refused::Fault(_) | Refused::Returned(..))
    );
    if is_no {
        settle(room, node, None);
        return Err(failure);
    }
    let trial = room.link_with(node, login.clone());
    match settings::identify(&trial).await {
        Ok(_) => {
            settle(room, node, Some(&login));
            Ok(())
        }
        Err(Failure::Refused(Refused::Credentials)) => {
            settle(room, node, None);
            Err(failure)
        }
        Err(_) => Err(failure),
    }
}

/// Keeps the new login, or forgets what was pending.
fn settle(room: &Room, node: &NodeId, new: Option<&Credentials>) {
    let store = &room.hub.store;
    let Some(access) = store.amt_access(node) else { return };
    let mut access = AmtAccess { pending: None, ..(*access).clone() };
    if let Some(Credentials { user, password }) = new {
        (access.user, access.password) = (user.clone(), password.clone());
    }
    store.put(access).later();
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use futures_lite::future::block_on;

    use super::*;
    use crate::amt::digest::password_hash;
    use crate::amt::schedule::Outcome;
    use crate::amt::testing::{Firmware, PASSWORD, REALM, output};
    use crate::amt::{upkeep, watch};
    use crate::hub::AmtTunnel;
    use crate::hub::testing::{World, group_id, node_id};
    use crate::model::{Device, Group, GroupKind, Millis};

    const NEW: &str = "N3w!pass";
    const SET: &str = "AMT_AuthorizationService.SetAdminAclEntryEx";

    fn world() -> (World, Rc<Firmware>, Rc<AmtTunnel>, Rc<Room>) {
        let (world, firmware) = (World::new(), Firmware::new());
        let store = &world.hub.store;
        store.put(Group::new(group_id(1), "lab", GroupKind::Agent, Millis(1))).later();
        store.put(Device::new(node_id(1), group_id(1), "pc", Millis(2))).later();
        let tunnel = firmware.call_in(&world.hub, &node_id(1));
        firmware.change("AMT_GeneralSettings", "DigestRealm", REALM);
        firmware.on("AMT_AuthorizationService.GetAdminAclEntry", |_, _| {
            output("GetAdminAclEntry", 0, "<g:Username>admin</g:Username>")
        });
        let room = Room::new(world.hub.clone(), Rc::default());
        (world, firmware, tunnel, room)
    }

    /// The password that is kept, and the one that is pending.
    fn kept(world: &World) -> (String, Option<String>) {
        let access = world.hub.store.amt_access(&node_id(1)).unwrap();
        (access.password.clone(), access.pending.clone())
    }

    fn is(password: &str, pending: Option<&str>) -> (String, Option<String>) {
        (password.to_owned(), pending.map(str::to_owned))
    }

    #[test]
    fn the_login_follows_when_the_firmware_has_said_yes_and_is_on_disk_before() {
        let (world, firmware, _tunnel, room) = world();
        let (store, asked) = (world.hub.store.clone(), room.clone());
        firmware.on(SET, move |firmware, body| {
            let access = store.amt_access(&node_id(1)).unwrap();
            assert_eq!((&*access.password, access.pending.as_deref()), (PASSWORD, Some(NEW)));
            // Meanwhile nobody else logs in, or changes it.
            assert!(watch::present(&asked).is_empty() && asked.hold(&node_id(1)).is_none());
            let login = Credentials { user: "admin".into(), password: NEW.into() };
            let digest = data_encoding::BASE64.encode(&password_hash(&login, REALM));
            assert_eq!(body.property("DigestPassword"), Some(&*digest));
            assert_eq!(body.property("Username"), Some("admin"));
            *firmware.password.borrow_mut() = NEW.into();
            output("SetAdminAclEntryEx", 0, "")
        });
        let before = watch::present(&room);
        block_on(change_password(&room, &node_id(1), NEW)).unwrap();
        assert_eq!(kept(&world), is(NEW, None));
        assert_ne!(watch::present(&room)[0].login, before[0].login);
        assert_eq!(block_on(upkeep::visit(&room, &node_id(1), true)), Outcome::Answered);
        assert_eq!(firmware.failures.get(), 0);
    }

    #[test]
    fn a_no_leaves_everything_as_it_was() {
        let (world, firmware, _tunnel, room) = world();
        firmware.on(SET, |_, _| output("SetAdminAclEntryEx", 2054, ""));
        let failure = block_on(change_password(&room, &node_id(1), NEW)).unwrap_err().to_string();
        assert!(failure.contains("invalid password"), "{failure}");
        assert_eq!(kept(&world), is(PASSWORD, None));
        // Somebody else's password is not this one's business.
        firmware.on("AMT_AuthorizationService.GetAdminAclEntry", |_, _| {
            output("GetAdminAclEntry", 0, "<g:Username>root</g:Username>")
        });
        let failure = block_on(change_password(&room, &node_id(1), NEW)).unwrap_err().to_string();
        assert!(failure.contains("does not log in as the administrator"), "{failure}");
        assert_eq!(kept(&world), is(PASSWORD, None));
    }

    #[test]
    fn an_answer_that_is_lost_is_found_out_by_logging_in() {
        for (took_it, outcome, after) in
            [(true, true, is(NEW, None)), (false, false, is(PASSWORD, None))]
        {
            let (world, firmware, _tunnel, room) = world();
            firmware.on(SET, move |firmware, _| {
                firmware.mute.set(true);
                if took_it {
                    *firmware.password.borrow_mut() = NEW.into();
                }
                output("SetAdminAclEntryEx", 0, "")
            });
            let changed = block_on(change_password(&room, &node_id(1), NEW));
            assert_eq!((changed.is_ok(), kept(&world)), (outcome, after), "took it: {took_it}");
        }
    }

    #[test]
    fn after_a_cut_in_between_the_next_visit_tries_both() {
        for took_it in [true, false] {
            let (world, firmware, tunnel, room) = world();
            let (hub, gone) = (world.hub.clone(), tunnel.clone());
            firmware.on(SET, move |firmware, _| {
                firmware.mute.set(true);
                if took_it {
                    *firmware.password.borrow_mut() = NEW.into();
                }
                hub.amt_tunnel_gone(&gone);
                output("SetAdminAclEntryEx", 0, "")
            });
            block_on(change_password(&room, &node_id(1), NEW)).unwrap_err();
            assert_eq!(kept(&world), is(PASSWORD, Some(NEW)));
            world.hub.amt_tunnel_connected(tunnel);
            assert_eq!(watch::present(&room).len(), 1);
            assert_eq!(block_on(upkeep::visit(&room, &node_id(1), true)), Outcome::Answered);
            assert_eq!(kept(&world), is(if took_it { NEW } else { PASSWORD }, None));
        }
    }
}
