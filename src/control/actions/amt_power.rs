//! `amtpower`: any state that firmware may offer for a computer that runs. It is ours: the numbers of
//! `poweraction` above 310 mean something else.

use serde_json::json;

use super::amt_device::{self, Wish, announce};
use super::{Answer, Call, OnDevice};
use crate::amt::power;

/// What may be asked for, by CIM's numbers: 4 sleep, 5 and 9 power cycle, 6 and 8 off, 7 hibernate,
/// 10 reset, 11 interrupt (NMI); from 12 on the system is asked first: 12 and 13 off, 14 reset, 15 and
/// 16 power cycle.
const STATES: std::ops::RangeInclusive<u32> = 4..=16;

/// See the module.
pub(super) fn set(call: &Call, on: OnDevice) -> Answer<'_> {
    let wanted = call.request.number("state").filter(|state| STATES.contains(state));
    let Some(state) = wanted.and_then(|state| u8::try_from(state).ok()) else {
        return call.result("Invalid state");
    };
    announce(call, &on.device, "amtpower", &state.to_string());
    let Some(room) = call.amt() else { return Answer::none() };
    let wish = match state {
        power::OFF => power::Wish::Off,
        power::RESET => power::Wish::Reset,
        state => power::Wish::State(state),
    };
    let (node, asked) = (on.device.id.clone(), room.clone());
    call.aside(&room, async move {
        let outcome = amt_device::fulfil(&asked, &node, Wish::Power(wish)).await;
        json!({"nodeid": node.to_string(), "result": amt_device::result(&outcome)})
    })
}
