//! Looking for Intel AMT on the server's own network. Over the Internet alone nobody may.

use super::{Answer, Call};
use crate::amt::lan::Wanted;
use crate::config::Reach;
use crate::model::{GroupKind, Rights, rights::Subject};

/// Longest range in characters.
const RANGE_MAX: usize = 256;

/// `scanamtdevice`: the answer comes as an event of that name, and with `progress` events
/// `scanamtprogress` before it. With `tcp` those of a small range who answer no ping are asked over
/// TCP. With `stop` the scan that runs ends.
///
/// MeshCentral lets every account scan the server's network; here it takes somebody who may add
/// what is found.
pub(super) fn scan(call: &Call) -> Answer<'_> {
    if call.hub().config().settings.reach == Reach::Wan {
        return Answer::none();
    }
    let Some(lan) = call.lan().filter(|_| may_add_somewhere(call)) else {
        return Answer::none();
    };
    if call.request.is_true("stop") {
        lan.stop_scan(&call.user.id);
        return Answer::none();
    }
    if let Some(text) = call.request.text_within("range", 1, RANGE_MAX) {
        call.audit(format_args!("scans {text:?} for Intel AMT"));
        let with_progress = call.request.is_true("progress");
        let with_tcp = call.request.is_true("tcp");
        lan.scan(&call.user.id, Wanted { text, with_progress, with_tcp });
    }
    Answer::none()
}

fn may_add_somewhere(call: &Call) -> bool {
    let groups = call.hub().store.groups(&call.user.id.domain);
    groups.iter().filter(|group| group.kind == GroupKind::Amt).any(|group| {
        call.hub().rights(&call.user, Subject::Group(&group.id)).allows(Rights::MANAGE_DEVICES)
    })
}
