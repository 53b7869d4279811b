//! `intelamt` of `changedevice`: how a device's Intel AMT is logged in to.
//!
//! Besides MeshCentral's members there is `newcertificate`: true forgets the certificate that was
//! kept. Credentials are a record of their own and never shown; whoever sends back what was shown (the
//! password as 1) changes nothing.

use serde_json::Value;

use crate::model::{AmtAccess, Device};

use super::Call;

/// Longest user name and password in characters: what the firmware takes.
const TEXT_MAX: usize = 32;

/// The record to keep instead of the one there is, if the request changes it; what changed is added
/// to `changes` in MeshCentral's words.
pub(super) fn apply(
    call: &Call,
    device: &Device,
    changes: &mut Vec<&'static str>,
) -> Option<AmtAccess> {
    let wanted = call.request.get("intelamt")?;
    let old = call.hub().store.amt_access(&device.id);
    let mut access = old
        .as_deref()
        .cloned()
        .unwrap_or_else(|| AmtAccess::new(device.id.clone(), "admin", "", false));
    let text = |name| {
        let text = wanted.get(name).and_then(Value::as_str);
        text.filter(|text| text.chars().count() <= TEXT_MAX).map(str::to_owned)
    };
    if let (Some(user), Some(password)) = (text("user"), text("pass"))
        && (user != access.user || password != access.password)
    {
        (access.user, access.password) = (user, password);
        (access.pin, access.pending) = (None, None);
        changes.push("Intel AMT credentials");
    }
    let tls = wanted.get("tls").and_then(Value::as_u64).filter(|tls| *tls <= 1);
    // Without a login there is nothing to use TLS for.
    if let Some(tls) = tls.map(|tls| tls == 1)
        && tls != access.tls
        && (old.is_some() || !access.password.is_empty())
    {
        access.tls = tls;
        changes.push("Intel AMT TLS");
    }
    // It shows another certificate than before, and somebody knows why.
    if wanted.get("newcertificate") == Some(&Value::Bool(true)) && access.pin.take().is_some() {
        changes.push("Intel AMT certificate");
    }
    (old.as_deref() != Some(&access) && !(old.is_none() && access.password.is_empty()))
        .then_some(access)
}
