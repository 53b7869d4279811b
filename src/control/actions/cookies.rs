//! Cookies for tunnels to one device.

use serde_json::{Map, Value};

use crate::model::GroupKind;
use crate::model::order;
use crate::relay::wire::Target;

use super::{Answer, Call, OnDevice};

/// Longest address in characters.
const ADDRESS_MAX: usize = 256;
/// Protocol number of noVNC, which tunnels are logged under.
const NOVNC: u32 = 12;

/// `getcookie`: the request with a cookie that opens a tunnel to the device, or to an address the
/// device reaches; silence if that is no address or port.
pub(super) fn device_cookie(call: &Call, on: OnDevice) -> Answer<'_> {
    let (request, hub) = (&call.request, call.hub());
    if Target::among(&request.fields).is_err() {
        return Answer::none();
    }
    let user = &call.user.id;
    let mut fields: Map<String, Value> = order::gather([
        ("userid".to_owned(), user.to_string().into()),
        ("domainid".to_owned(), user.domain.as_str().into()),
        ("nodeid".to_owned(), on.device.id.to_string().into()),
    ]);
    if let Some(address) = request.text_within("tcpaddr", 1, ADDRESS_MAX) {
        fields.insert("tcpaddr".into(), address.into());
    }
    if let Some(port) = request.number("tcpport").filter(|port| (1..=65_535).contains(port)) {
        fields.insert("tcpport".into(), port.into());
    }
    if request.text("tag") == Some("novnc") {
        fields.insert("p".into(), NOVNC.into());
    }
    let group = hub.store.group(&on.device.group);
    let is_local = group.is_some_and(|group| group.kind == GroupKind::Local);
    if is_local {
        fields.insert("lc".into(), 1.into());
    }
    let Some(cookie) = call.seal(Value::Object(fields)) else {
        return Answer::none();
    };
    call.audit(format_args!(
        "made a tunnel cookie for device {:?} ({})",
        on.device.name, on.device.id
    ));
    let mut members = vec![("cookie", cookie.into()), ("trustedCert", false.into())];
    if is_local {
        members.push(("localRelay", true.into()));
    }
    call.echo(members)
}

/// `webrelay`: there is no second name or port of this server that a device's pages could come
/// from, and from the server's own name they must not.
pub(super) fn web_relay(call: &Call, _: OnDevice) -> Answer<'_> {
    call.result("WebRelay Disabled")
}
