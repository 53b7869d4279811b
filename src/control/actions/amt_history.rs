//! `amtactivations`: what the activation log of one's domain says, for the server's page. It is ours.
//!
//! Passwords are left out where the file is read: none of them reaches this room.

use serde::Serialize;

use super::{Answer, Call};
use crate::amt::activation::log::{self, Line};
use crate::pool;

/// Lines that are sent, newest first.
const LINES: usize = 200;

#[derive(Serialize)]
struct Body {
    activations: Vec<Line>,
}

/// See the module.
pub(super) fn list(call: &Call) -> Answer<'_> {
    let path = call.control().activation(&call.user.id.domain).log.clone();
    Answer::later(async move {
        let activations = pool::unblock(move || log::newest(&path, LINES)).await;
        call.reply(Body { activations })
    })
}
