//! Rights on the wire: what of a user's messages reaches the agent. No sockets, no buffers.
//!
//! Agents check rights too, but not all of them (basic file download is open to anybody, limited
//! input is left to the page), and a page is in its user's hands. So every message from the user's
//! side is judged here before its first byte is passed on; what comes from the agent is not judged.
//!
//! How it goes with streaming: the pipe shows a message's opcode and length, then as many of its
//! first bytes as [`Verdict::More`] asks for, at most [`HELD`]. Users without restrictions are
//! asked for the protocol number only; after it their frames pass unseen. Of restricted users whole
//! messages are looked at, because one message may carry several desktop commands; if one of them
//! is forbidden, none is passed. No client writes commands longer than [`HELD`]; messages that
//! long are dropped where they would have to be understood.
//!
//! Lists say what is allowed: a command, control word or protocol nobody knows is refused. Sources:
//! relay-and-tunnels §5 to §8 and §12; limited input (4096) is what the stock page lets through.

use serde::Deserialize;
use std::borrow::Cow;

use crate::model::Rights;
use crate::ws::Opcode;

use super::wire::Speech;

/// Most bytes of a message that are held back to be judged.
pub const HELD: usize = 32 * 1024;
/// Longest number of a protocol, in digits.
const DIGITS: u64 = 3;

/// What somebody may do in a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The rights on the device, as they are now.
    pub rights: Rights,
    /// Look, but do not touch, whatever the rights say: a share that is view-only.
    pub view_only: bool,
    /// Numbers of the protocols that are shared with a guest; `None` for everybody else.
    pub usages: Option<&'static [u16]>,
}

/// Whether desktop input is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Full,
    Limited,
    None,
}

impl Permit {
    /// What an account with these rights may do.
    pub fn of(rights: Rights) -> Self {
        Self { rights, view_only: false, usages: None }
    }

    /// Whether a session of this protocol may be held.
    pub fn allows(&self, protocol: u16) -> bool {
        let rights = self.rights;
        let control = rights.allows(Rights::REMOTE_CONTROL);
        let by_rights = match protocol {
            TERMINAL | POWERSHELL | USER_SHELL | USER_POWERSHELL => {
                control && !rights.restricted(Rights::NO_TERMINAL)
            }
            DESKTOP => {
                (control || rights.allows(Rights::VIEW_ONLY))
                    && !rights.restricted(Rights::NO_DESKTOP)
            }
            FILES | DOWNLOAD => control && !rights.restricted(Rights::NO_FILES),
            PLUGIN => control,
            _ => false,
        };
        by_rights && self.usages.is_none_or(|usages| usages.contains(&protocol))
    }

    /// Whether ports may be relayed.
    pub fn allows_relay(&self) -> bool {
        self.rights.intersects(Rights::REMOTE_CONTROL | Rights::RELAY) && self.usages.is_none()
    }

    /// Whether the person at the device may be talked to.
    pub fn allows_chat(&self) -> bool {
        self.rights.allows(Rights::CHAT) && self.usages.is_none()
    }

    fn input(&self) -> Input {
        let may = self.rights.allows(Rights::REMOTE_CONTROL)
            && !self.rights.restricted(Rights::VIEW_ONLY)
            && !self.view_only;
        match may {
            false => Input::None,
            true if self.rights.restricted(Rights::LIMITED_INPUT) => Input::Limited,
            true => Input::Full,
        }
    }

    /// False for those who may do everything a session offers.
    fn is_restricted(&self) -> bool {
        let takes_away = Rights::NO_TERMINAL | Rights::NO_FILES | Rights::NO_DESKTOP;
        self.input() != Input::Full || self.usages.is_some() || self.rights.restricted(takes_away)
    }
}

const TERMINAL: u16 = 1;
const DESKTOP: u16 = 2;
const FILES: u16 = 5;
const POWERSHELL: u16 = 6;
const PLUGIN: u16 = 7;
const USER_SHELL: u16 = 8;
const USER_POWERSHELL: u16 = 9;
const DOWNLOAD: u16 = 10;

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    Pass,
    /// It never was.
    Drop,
    /// The tunnel ends, for this reason.
    End(&'static str),
    /// So many of its first bytes have to be seen first: more than were shown, and not more than
    /// there are.
    More(usize),
}

/// Judges the messages of one user in one tunnel, in their order.
#[derive(Clone, Debug)]
pub struct Filter {
    permit: Permit,
    speech: Speech,
    /// The protocol the user has chosen.
    spoken: Option<u16>,
    /// Protocols that are recorded, while this session is not.
    reserved: Vec<u16>,
}

impl Filter {
    /// A filter for a tunnel that begins.
    pub fn new(permit: Permit, speech: Speech) -> Self {
        Self { permit, speech, spoken: None, reserved: Vec::new() }
    }

    /// Keeps these protocols from being spoken: this session was announced as another one, which is
    /// not recorded, and they are.
    pub fn reserve(&mut self, protocols: Vec<u16>) {
        self.reserved = protocols;
    }

    /// Puts another permit in force. False if what is going on is no longer allowed.
    pub fn set_permit(&mut self, permit: Permit) -> bool {
        self.permit = permit;
        match (self.speech, self.spoken) {
            (Speech::Tcp | Speech::Udp, _) => self.permit.allows_relay(),
            (Speech::Chat, _) => self.permit.allows_chat(),
            (Speech::Session, Some(protocol)) => self.permit.allows(protocol),
            (Speech::Session, None) => {
                permit.rights.intersects(Rights::REMOTE_CONTROL | Rights::VIEW_ONLY)
            }
        }
    }

    /// Judges a message by its opcode ([`Opcode::Text`] or [`Opcode::Binary`]), its length, and
    /// its first bytes as far as they are shown.
    pub fn judge(&mut self, opcode: Opcode, length: u64, shown: &[u8]) -> Verdict {
        let is_text = opcode == Opcode::Text;
        match (self.speech, self.spoken) {
            (Speech::Udp | Speech::Chat, _) => Verdict::Pass,
            (Speech::Tcp, _) => match is_text {
                true => self.judge_aside(length, shown),
                false => Verdict::Pass,
            },
            (Speech::Session, None) => self.judge_opening(is_text, length, shown),
            (Speech::Session, Some(_)) if !self.permit.is_restricted() => Verdict::Pass,
            (Speech::Session, Some(DESKTOP)) if !is_text => self.judge_input(length, shown),
            // Whoever may read and write every file is not held off by dropping words.
            (Speech::Session, Some(FILES | DOWNLOAD | PLUGIN)) => Verdict::Pass,
            (Speech::Session, Some(_)) => match is_text {
                true => self.judge_control(length, shown),
                false => Verdict::Pass,
            },
        }
    }

    /// Before the protocol is chosen: options as text, then the number as text or binary.
    fn judge_opening(&mut self, is_text: bool, length: u64, shown: &[u8]) -> Verdict {
        if length > DIGITS {
            return match (is_text, shown.first()) {
                (_, None) => Verdict::More(1),
                (true, Some(b'{')) if !self.permit.is_restricted() => Verdict::Pass,
                (true, Some(b'{')) => self.judge_control(length, shown),
                // An agent takes whatever is not an object in text for a number.
                _ => Verdict::End("not a protocol"),
            };
        }
        if (shown.len() as u64) < length {
            return Verdict::More(length as usize);
        }
        let digits = std::str::from_utf8(shown)
            .ok()
            .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|digits| digits.parse().ok()) {
            // To the agent that is no protocol, and it goes on waiting for one.
            Some(0) => Verdict::Drop,
            Some(protocol) if self.reserved.contains(&protocol) => {
                Verdict::End("sessions of this protocol are recorded, and this one is not")
            }
            Some(protocol) if self.permit.allows(protocol) => {
                self.spoken = Some(protocol);
                Verdict::Pass
            }
            Some(_) => Verdict::End("no right to this protocol"),
            None => Verdict::End("not a protocol"),
        }
    }

    /// Text beside relayed bytes: the agent would take it for the opening of a session.
    fn judge_aside(&self, length: u64, shown: &[u8]) -> Verdict {
        whole(length, shown, |message| match control_type(message).as_deref() {
            Some("ping" | "pong" | "rtt") => Verdict::Pass,
            _ => Verdict::Drop,
        })
    }

    /// A control message of somebody with restrictions.
    fn judge_control(&self, length: u64, shown: &[u8]) -> Verdict {
        whole(length, shown, |message| match self.allows_control(message) {
            true => Verdict::Pass,
            false => Verdict::Drop,
        })
    }

    fn allows_control(&self, message: &[u8]) -> bool {
        let Ok(control) = serde_json::from_slice::<Control<'_>>(message) else { return false };
        match &*control.kind {
            "ping" | "pong" | "rtt" | "termsize" | "close" => true,
            // Locking the screen at the end is input.
            "options" => self.permit.input() == Input::Full || !control.autolock,
            "lock" | "autolock" => self.permit.input() == Input::Full,
            // What goes from peer to peer passes no filter.
            _ => false,
        }
    }

    /// Desktop commands, one or several.
    fn judge_input(&self, length: u64, shown: &[u8]) -> Verdict {
        let input = self.permit.input();
        if input == Input::Full {
            return Verdict::Pass;
        }
        whole(length, shown, |message| match all_allowed(message, input) {
            true => Verdict::Pass,
            false => Verdict::Drop,
        })
    }
}

/// Judges a message once all of it is shown; one that is too long for that is dropped.
fn whole(length: u64, shown: &[u8], judge: impl FnOnce(&[u8]) -> Verdict) -> Verdict {
    match usize::try_from(length) {
        Ok(length) if length <= shown.len() => judge(shown),
        Ok(length) if length <= HELD => Verdict::More(length),
        _ => Verdict::Drop,
    }
}

/// What is looked at of a control message. A member that is there twice is an error.
#[derive(Deserialize)]
struct Control<'m> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'m, str>,
    #[serde(default)]
    autolock: bool,
}

fn control_type(message: &[u8]) -> Option<Cow<'_, str>> {
    serde_json::from_slice::<Control<'_>>(message).ok().map(|control| control.kind)
}

const KEY: u16 = 1;
const MOUSE: u16 = 2;
const QUALITY: u16 = 5;
const REFRESH: u16 = 6;
const PAUSE: u16 = 8;
const LIST_DISPLAYS: u16 = 11;
const SET_DISPLAY: u16 = 12;
const FRAME_TIMER: u16 = 13;
const INIT_TOUCH: u16 = 14;
const TOUCH: u16 = 15;
const UNICODE: u16 = 85;

/// Whether every desktop command in a message is allowed; false for what is no row of commands.
fn all_allowed(mut message: &[u8], input: Input) -> bool {
    while !message.is_empty() {
        let Some((&[c1, c2, s1, s2], _)) = message.split_first_chunk::<4>() else { return false };
        let size = usize::from(u16::from_be_bytes([s1, s2]));
        let Some((command, rest)) = message.split_at_checked(size) else { return false };
        let Some(payload) = command.get(4..) else { return false };
        if !is_allowed(u16::from_be_bytes([c1, c2]), payload, input) {
            return false;
        }
        message = rest;
    }
    true
}

fn is_allowed(command: u16, payload: &[u8], input: Input) -> bool {
    match (command, input) {
        (_, Input::Full) => true,
        (QUALITY | REFRESH | PAUSE | LIST_DISPLAYS | FRAME_TIMER, _) => true,
        (_, Input::None) => false,
        (MOUSE | SET_DISPLAY | INIT_TOUCH | TOUCH, Input::Limited) => true,
        (KEY, Input::Limited) => match payload {
            // Releases do nothing on their own; presses: backspace, enter, space to Z.
            [1 | 3, _] => true,
            [0 | 4, key] => matches!(key, 8 | 13 | 32..=90),
            _ => false,
        },
        (UNICODE, Input::Limited) => match payload {
            [_, high, low] => {
                let unit = u16::from_be_bytes([*high, *low]);
                matches!(unit, 8 | 13) || unit >= 32
            }
            _ => false,
        },
        (_, Input::Limited) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const CONTROL: Rights = Rights::REMOTE_CONTROL;
    const VECTORS: &str = include_str!("../../tests/vectors/relay-desktop.json");

    fn session(rights: Rights) -> Filter {
        Filter::new(Permit::of(rights), Speech::Session)
    }

    /// Judges a whole message as the pipe does: little by little.
    fn judge(filter: &mut Filter, opcode: Opcode, message: &[u8]) -> Verdict {
        let mut shown = 0;
        loop {
            match filter.judge(opcode, message.len() as u64, &message[..shown]) {
                Verdict::More(wanted) => {
                    assert!(wanted > shown && wanted <= message.len().min(HELD), "{wanted}");
                    shown = wanted;
                }
                verdict => return verdict,
            }
        }
    }

    fn text(filter: &mut Filter, message: &str) -> Verdict {
        judge(filter, Opcode::Text, message.as_bytes())
    }

    fn binary(filter: &mut Filter, message: &[u8]) -> Verdict {
        judge(filter, Opcode::Binary, message)
    }

    /// A filter of a session in which `protocol` was chosen.
    fn speaking(permit: Permit, protocol: &str) -> Filter {
        let mut filter = Filter::new(permit, Speech::Session);
        assert_eq!(text(&mut filter, protocol), Verdict::Pass);
        filter
    }

    #[test]
    fn the_protocol_that_is_spoken_decides_not_the_one_in_the_url() {
        let full = Rights::FULL;
        let view = Rights::VIEW_ONLY;
        for (rights, allowed) in [
            (full, &["1", "2", "5", "6", "7", "8", "9", "10"][..]),
            (CONTROL | Rights::NO_TERMINAL | Rights::NO_FILES, &["2", "7"]),
            (CONTROL, &["1", "2", "5", "6", "7", "8", "9", "10"]),
            (CONTROL | view, &["1", "2", "5", "6", "7", "8", "9", "10"]),
            (CONTROL | Rights::NO_TERMINAL, &["2", "5", "7", "10"]),
            (CONTROL | Rights::NO_FILES, &["1", "2", "6", "7", "8", "9"]),
            (CONTROL | Rights::NO_DESKTOP, &["1", "5", "6", "7", "8", "9", "10"]),
            (view, &["2"]),
            (view | Rights::NO_DESKTOP, &[]),
            (Rights::RELAY, &[]),
            (Rights::empty(), &[]),
        ] {
            for protocol in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "14", "200"] {
                let verdicts = [Opcode::Text, Opcode::Binary]
                    .map(|opcode| judge(&mut session(rights), opcode, protocol.as_bytes()));
                let expected = match allowed.contains(&protocol) {
                    true => Verdict::Pass,
                    false => Verdict::End("no right to this protocol"),
                };
                assert_eq!(verdicts, [expected; 2], "{protocol} with {rights:?}");
            }
        }
    }

    #[test]
    fn what_an_agent_might_take_for_a_number_ends_the_session() {
        for opening in ["", " 5", "5 ", "0x5", "5.0", "+5", "1e1", "5\0", "-5", "{}", "{x}", "abcd"]
        {
            let verdict = text(&mut session(Rights::FULL), opening);
            assert_eq!(verdict, Verdict::End("not a protocol"), "{opening:?}");
        }
        let options = br#"{"type":"options"}"#;
        let verdict = binary(&mut session(Rights::FULL), options);
        assert_eq!(verdict, Verdict::End("not a protocol"), "options must be text");
        let mut filter = session(Rights::FULL);
        assert_eq!(text(&mut filter, "0"), Verdict::Drop);
        assert_eq!(text(&mut filter, "5"), Verdict::Pass, "0 has chosen nothing");
    }

    #[test]
    fn what_is_recorded_is_not_spoken_in_a_session_that_is_not() {
        for (protocol, passes) in [("1", false), ("5", false), ("6", true)] {
            let mut filter = session(Rights::FULL);
            filter.reserve(vec![1, 5]);
            let verdict = text(&mut filter, protocol);
            assert_eq!(verdict == Verdict::Pass, passes, "{protocol}: {verdict:?}");
        }
    }

    #[test]
    fn a_user_without_restrictions_is_not_held_up() {
        let mut filter = session(Rights::FULL);
        assert_eq!(text(&mut filter, r#"{"type":"options","autolock":true}"#), Verdict::Pass);
        assert_eq!(text(&mut filter, r#"{"type":"offer","sdp":"x"}"#), Verdict::Pass);
        assert_eq!(binary(&mut filter, b"2"), Verdict::Pass);
        for (opcode, length) in [(Opcode::Binary, 1 << 30), (Opcode::Text, 5), (Opcode::Binary, 0)]
        {
            assert_eq!(filter.judge(opcode, length, &[]), Verdict::Pass);
        }
    }

    fn hex(text: &Value) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.as_str().unwrap().as_bytes()).unwrap()
    }

    #[test]
    fn of_desktop_input_each_gets_what_is_allowed() {
        let vectors: Value = serde_json::from_str(VECTORS).unwrap();
        let view = ["refresh", "get_displays", "unpause", "pause", "compression", "frame_rate"];
        let limited =
            ["mouse", "left", "right", "middle", "double", "wheel", "touch", "set_display"];
        let mut kinds = [0; 3];
        for (name, command) in vectors["viewer_commands"].as_object().unwrap() {
            let command = hex(command);
            let verdict = |permit| binary(&mut speaking(permit, "2"), &command);
            let passes = |yes| if yes { Verdict::Pass } else { Verdict::Drop };
            let for_view = view.iter().any(|v| name.starts_with(v));
            assert_eq!(verdict(Permit::of(CONTROL)), Verdict::Pass, "{name}");
            for permit in [
                Permit::of(Rights::VIEW_ONLY),
                Permit::of(CONTROL | Rights::VIEW_ONLY),
                Permit { view_only: true, ..Permit::of(Rights::FULL) },
            ] {
                assert_eq!(verdict(permit), passes(for_view), "{name} with {permit:?}");
            }
            kinds[usize::from(for_view)] += 1;
            if limited.iter().any(|l| name.starts_with(l)) {
                kinds[2] += 1;
                let permit = Permit::of(CONTROL | Rights::LIMITED_INPUT);
                assert_eq!(verdict(permit), Verdict::Pass, "{name}");
            }
        }
        assert!(kinds[0] > 10 && kinds[1] > 4 && kinds[2] > 5, "{kinds:?}");
    }

    #[test]
    fn limited_input_is_letters_digits_and_the_mouse() {
        let key = |action, key| vec![0, 1, 0, 6, action, key];
        let unicode = |unit: u16| [&[0, 85, 0, 7, 0][..], &unit.to_be_bytes()].concat();
        for (what, command, passes) in [
            ("A down", key(0, 65), true),
            ("Z up", key(1, 90), true),
            ("digit", key(0, 48), true),
            ("space", key(0, 32), true),
            ("enter", key(0, 13), true),
            ("backspace", key(0, 8), true),
            ("arrow, extended", key(4, 38), true),
            ("tab", key(0, 9), false),
            ("escape", key(0, 27), false),
            ("control down", key(0, 17), false),
            ("control up", key(1, 17), true),
            ("alt", key(0, 18), false),
            ("Windows key", key(4, 91), false),
            ("F1", key(0, 112), false),
            ("unknown action", key(9, 65), false),
            ("short", vec![0, 1, 0, 5, 0], false),
            ("ä", unicode(0xe4), true),
            ("control character", unicode(3), false),
            ("mouse", vec![0, 2, 0, 10, 0, 2, 0, 1, 0, 1], true),
            ("Ctrl-Alt-Del", vec![0, 10, 0, 4], false),
            ("lock of local input", vec![0, 87, 0, 5, 1], false),
            ("message", vec![0, 17, 0, 5, 65], false),
        ] {
            let mut filter = speaking(Permit::of(CONTROL | Rights::LIMITED_INPUT), "2");
            let expected = if passes { Verdict::Pass } else { Verdict::Drop };
            assert_eq!(binary(&mut filter, &command), expected, "{what}");
        }
    }

    #[test]
    fn one_forbidden_command_among_others_drops_them_all() {
        let refresh = [0, 6, 0, 4];
        let click = [0, 2, 0, 10, 0, 2, 0, 1, 0, 1];
        let mut filter = speaking(Permit::of(Rights::VIEW_ONLY), "2");
        assert_eq!(binary(&mut filter, &[refresh, refresh].concat()), Verdict::Pass);
        for (what, message) in [
            ("behind", [&refresh[..], &click].concat()),
            ("before", [&click[..], &refresh].concat()),
            ("cut off", [&refresh[..], &click[..5]].concat()),
            ("size zero", vec![0, 6, 0, 0, 0, 6, 0, 4]),
            ("size below the header", vec![0, 6, 0, 3]),
            ("size beyond the end", vec![0, 6, 0, 9]),
            ("too long to be looked at", refresh.repeat(HELD / 4 + 1)),
        ] {
            assert_eq!(binary(&mut filter, &message), Verdict::Drop, "{what}");
        }
        assert_eq!(binary(&mut filter, &refresh.repeat(HELD / 4)), Verdict::Pass);
        assert_eq!(binary(&mut filter, &[]), Verdict::Pass);
    }

    #[test]
    fn restricted_users_control_only_their_own_session() {
        let cases = [
            (r#"{"ctrlChannel":"102938","type":"ping"}"#, true),
            (r#"{"ctrlChannel":102938,"type":"rtt","time":5}"#, true),
            (r#"{"type":"termsize","cols":80,"rows":25}"#, true),
            (r#"{"type":"options","cols":80,"rows":25,"xterm":true}"#, true),
            (r#"{"type":"options","autolock":true}"#, false),
            (r#"{"type":"lock"}"#, false),
            (r#"{"t\u0079pe":"lock"}"#, false),
            (r#"{"type":"ping","type":"lock"}"#, false),
            (r#"{"type":"autolock","value":true}"#, false),
            (r#"{"type":"offer","sdp":"v=0"}"#, false),
            (r#"{"type":"webrtc1"}"#, false),
            (r#"{"type":"anything"}"#, false),
            (r#"{"action":"x"}"#, false),
            ("{nonsense}", false),
        ];
        let view = Permit::of(CONTROL | Rights::VIEW_ONLY);
        for (message, passes) in cases {
            let expected = if passes { Verdict::Pass } else { Verdict::Drop };
            for chosen in [None, Some("2"), Some("1")] {
                let mut filter = match chosen {
                    None => Filter::new(view, Speech::Session),
                    Some(protocol) => speaking(view, protocol),
                };
                assert_eq!(text(&mut filter, message), expected, "{message} in {chosen:?}");
            }
        }
        // Somebody who may not use files may still lock the screen.
        let mut filter = speaking(Permit::of(CONTROL | Rights::NO_FILES), "2");
        assert_eq!(text(&mut filter, r#"{"type":"lock"}"#), Verdict::Pass);
        assert_eq!(text(&mut filter, r#"{"type":"offer"}"#), Verdict::Drop);
    }

    #[test]
    fn files_pass_unseen_once_they_are_allowed() {
        let permit = Permit::of(CONTROL | Rights::VIEW_ONLY | Rights::NO_TERMINAL);
        let mut filter = speaking(permit, "5");
        for opcode in [Opcode::Text, Opcode::Binary] {
            assert_eq!(filter.judge(opcode, 1 << 30, &[]), Verdict::Pass);
        }
    }

    #[test]
    fn beside_relayed_bytes_no_session_can_be_opened() {
        let mut tcp = Filter::new(Permit::of(Rights::RELAY), Speech::Tcp);
        assert_eq!(binary(&mut tcp, b"GET / HTTP/1.1"), Verdict::Pass);
        assert_eq!(text(&mut tcp, r#"{"ctrlChannel":"102938","type":"ping"}"#), Verdict::Pass);
        for opening in ["1", "10", r#"{"type":"options","file":"/etc/shadow"}"#, "x", ""] {
            assert_eq!(text(&mut tcp, opening), Verdict::Drop, "{opening}");
        }
        let mut udp = Filter::new(Permit::of(Rights::RELAY), Speech::Udp);
        assert_eq!(text(&mut udp, "1"), Verdict::Pass, "a datagram");
    }

    #[test]
    fn guests_get_what_was_shared() {
        let permit = Permit { usages: Some(&[2]), view_only: true, ..Permit::of(Rights::FULL) };
        let mut filter = Filter::new(permit, Speech::Session);
        assert_eq!(text(&mut filter, "1"), Verdict::End("no right to this protocol"));
        let mut filter = speaking(permit, "2");
        assert_eq!(binary(&mut filter, &[0, 10, 0, 4]), Verdict::Drop);
        assert!(!permit.allows_relay());
    }

    #[test]
    fn a_right_that_is_taken_away_ends_what_it_allowed() {
        for (protocol, taken, goes_on) in [
            ("1", CONTROL | Rights::NO_TERMINAL, false),
            ("1", CONTROL | Rights::NO_FILES, true),
            ("5", CONTROL | Rights::NO_FILES, false),
            ("2", CONTROL | Rights::NO_DESKTOP, false),
            ("2", Rights::VIEW_ONLY, true),
            ("1", Rights::VIEW_ONLY, false),
            ("2", Rights::empty(), false),
        ] {
            let mut filter = speaking(Permit::of(Rights::FULL), protocol);
            assert_eq!(filter.set_permit(Permit::of(taken)), goes_on, "{protocol} {taken:?}");
        }
        let mut filter = speaking(Permit::of(Rights::FULL), "2");
        filter.set_permit(Permit::of(Rights::VIEW_ONLY));
        assert_eq!(binary(&mut filter, &[0, 10, 0, 4]), Verdict::Drop, "from now on it looks only");
        let mut tcp = Filter::new(Permit::of(Rights::RELAY), Speech::Tcp);
        assert!(
            tcp.set_permit(Permit::of(CONTROL)) && !tcp.set_permit(Permit::of(Rights::VIEW_ONLY))
        );
        let mut unopened = session(CONTROL);
        assert!(
            unopened.set_permit(Permit::of(Rights::VIEW_ONLY))
                && !unopened.set_permit(Permit::of(Rights::RELAY))
        );
    }

    proptest! {
        #[test]
        fn no_message_panics_or_asks_for_more_than_there_is(
            rights: u32,
            protocol in prop::sample::select(vec!["", "1", "2", "5", "7"]),
            text: bool,
            message in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let permit = Permit::of(Rights::from_bits_retain(rights));
            let mut filter = Filter::new(permit, Speech::Session);
            let _ = judge(&mut filter, Opcode::Text, protocol.as_bytes());
            let opcode = if text { Opcode::Text } else { Opcode::Binary };
            let _ = judge(&mut filter, opcode, &message);
        }
    }
}
