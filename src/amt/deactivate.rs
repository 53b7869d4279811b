//! Takes firmware out of management for good, from outside: admin control mode cannot be undone from
//! within the computer. Source: amt-activation-and-lan §3.5.

use super::room::Room;
use super::wsman::{Failure, Operation};
use crate::model::NodeId;
use crate::store::RecordKey;

const SERVICE: &str = "AMT_SetupAndConfigurationService";
/// Everything, roots that people added included.
const FULL: u32 = 2;

/// Sets the firmware of a device back to the state of the factory, and forgets its login. The way
/// there and the login are those of the device.
///
/// # Errors
/// What became of it; then nothing is forgotten.
pub async fn deactivate(room: &Room, node: &NodeId) -> Result<(), Failure> {
    let link = room.link(node)?;
    let service = link.get(SERVICE).await?;
    link.put(SERVICE, service, None).await?;
    let call = Operation::invoke(SERVICE, "Unprovision").with("ProvisioningMode", FULL);
    link.call(call).await?;
    room.hub.store.remove(RecordKey::AmtAccess(node.clone())).later();
    room.hub.change_amt_facts(node, |facts| {
        facts.insert("state".into(), 0.into());
        facts.insert("flags".into(), 0.into());
        facts.remove("realm");
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use async_executor::LocalExecutor;
    use futures_lite::future::block_on;

    use super::*;
    use crate::amt::testing::{Firmware, output};
    use crate::hub::testing::{World, group_id, node_id};
    use crate::model::{Device, Group, GroupKind, Millis};

    #[test]
    fn firmware_is_asked_in_order_and_its_login_forgotten_only_when_it_has_agreed() {
        let world = World::new();
        let hub = world.hub.clone();
        hub.store.put(Group::new(group_id(1), "lab", GroupKind::Amt, Millis(0))).later();
        hub.store.put(Device::new(node_id(1), group_id(1), "pc", Millis(0))).later();
        let room = Room::new(hub.clone(), Rc::new(LocalExecutor::new()));
        let nobody = block_on(deactivate(&room, &node_id(1)));
        assert!(matches!(nobody, Err(Failure::NoCredentials)), "{nobody:?}");

        let firmware = Firmware::new();
        let body = "<g:AMT_SetupAndConfigurationService><g:ProvisioningMode>1</g:ProvisioningMode>\
                    </g:AMT_SetupAndConfigurationService>";
        firmware.instances.borrow_mut().insert(SERVICE.into(), vec![body.into()]);
        let _tunnel = firmware.call_in(&hub, &node_id(1));
        firmware.on(&format!("{SERVICE}.Unprovision"), |_, _| output("Unprovision", 2076, ""));
        let refused = block_on(deactivate(&room, &node_id(1)));
        assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
        assert!(hub.store.amt_access(&node_id(1)).is_some());

        firmware.take_said();
        firmware.on(&format!("{SERVICE}.Unprovision"), |_, asked| {
            assert_eq!(&*asked.child("ProvisioningMode").unwrap().text, "2");
            output("Unprovision", 0, "")
        });
        block_on(deactivate(&room, &node_id(1))).unwrap();
        let expected = ["Get", "Put", "Unprovision"].map(|verb| format!("{SERVICE}.{verb}"));
        assert_eq!(firmware.take_said(), expected);
        assert!(hub.store.amt_access(&node_id(1)).is_none());
    }
}
