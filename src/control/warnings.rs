//! What an administrator should know at login (`serverwarnings`).
//!
//! The numbers are those of MeshCentral's translations; what it has no sentence for has none.

use serde_json::{Value, json};

use super::Control;

/// An administrator is told so many days before the web certificate ends.
const CERTIFICATE_DAYS: u64 = 14;
const DAY: u64 = 86_400_000;

/// All warnings in force: `{msg[, id, args]}`.
pub(super) fn all(control: &Control) -> Vec<Value> {
    let hub = &control.hub;
    let mut warnings: Vec<Value> = Vec::new();
    if let Some(premises) = control.premises() {
        warnings.extend(premises.warnings.iter().map(|text| json!({"msg": text})));
    }
    if hub.config().settings.ignore_agent_hash_check {
        warnings.push(json!({
            "msg": "Agent hash checking is being skipped, this is unsafe.", "id": 9,
        }));
    }
    if let Some(room) = control.activation.get() {
        warnings.extend(room.warnings().iter().map(|text| json!({"msg": text})));
    }
    if let Some(text) = certificate(control) {
        warnings.push(json!({"msg": text}));
    }
    let health = hub.store.health();
    if let Some(error) = health.degraded {
        warnings.push(json!({"msg": format!(
            "The disk refuses writes: changes are in memory only. {error}"
        )}));
    }
    warnings
}

fn certificate(control: &Control) -> Option<String> {
    let end = control.facts().cert_expires?;
    let now = control.hub.now().0;
    match end.checked_sub(now) {
        None => Some("The web certificate has expired.".to_owned()),
        Some(left) if left < CERTIFICATE_DAYS * DAY => {
            Some(format!("The web certificate expires in {} day(s).", left / DAY))
        }
        Some(_) => None,
    }
}
