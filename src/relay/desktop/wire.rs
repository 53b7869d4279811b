//! The desktop (KVM) protocol inside a tunnel, both directions.
//!
//! A command is `u16 number, u16 size, payload`, all big-endian; the size counts its own four
//! header bytes. A message holds one or more whole commands. What does not fit a `u16` comes in a
//! wrapper: `u16 27, u16 8, u32 length`, then a command of that length whose size field says
//! nothing. Source: the MeshAgent C sources and captures in `tests/vectors/relay-desktop.json`.

use super::picture::Size;

/// Number of the wrapper around a long command.
const JUMBO: u16 = 27;
/// An image of more bytes than this is sent in a wrapper, as agents do it.
const JUMBO_ABOVE: usize = 65_500;
/// Id of "all displays together".
pub const ALL_DISPLAYS: u16 = 65_535;

/// One whole command of a message, its payload not understood yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// What it is.
    pub number: u16,
    /// What follows its header.
    pub payload: &'a [u8],
    /// All of it, with header and wrapper.
    pub bytes: &'a [u8],
}

/// The commands of a message, in order; see [`commands`].
#[derive(Clone, Debug)]
pub struct Commands<'a> {
    rest: &'a [u8],
}

/// Takes a message apart. The iterator ends at the first thing that is no whole command.
pub fn commands(message: &[u8]) -> Commands<'_> {
    Commands { rest: message }
}

/// The first command of a message of which only the beginning is there; its payload ends where
/// that does.
pub fn first_of(beginning: &[u8]) -> Option<Command<'_>> {
    let inner = match header(beginning)? {
        (JUMBO, 8) => beginning.get(8..)?,
        _ => beginning,
    };
    Some(Command { number: be16(inner, 0)?, payload: inner.get(4..)?, bytes: beginning })
}

impl<'a> Commands<'a> {
    /// What has not been taken apart, or cannot be.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Command<'a>;

    fn next(&mut self) -> Option<Command<'a>> {
        let (number, size) = header(self.rest)?;
        let (number, payload, len) = if (number, size) == (JUMBO, 8) {
            let inner = usize::try_from(be32(self.rest, 4)?).ok()?;
            let inner = self.rest.get(8..)?.get(..inner)?;
            (be16(inner, 0)?, inner.get(4..)?, 8 + inner.len())
        } else {
            (number, self.rest.get(4..size)?, size)
        };
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Command { number, payload, bytes })
    }
}

/// Number and size field of the command `bytes` begins with.
fn header(bytes: &[u8]) -> Option<(u16, usize)> {
    Some((be16(bytes, 0)?, usize::from(be16(bytes, 2)?)))
}

/// What an agent says. Commands nobody knows are [`FromAgent::Other`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromAgent<'a> {
    /// 3: a piece of the picture. It may run past the right and bottom edges.
    Tile {
        /// Left edge in pixels.
        x: u16,
        /// Top edge in pixels.
        y: u16,
        /// A whole image file, see [`super::picture`].
        image: &'a [u8],
    },
    /// 4: part of the picture has moved. Current agents do not send it.
    Copy,
    /// 7: how large the picture is. Also follows every refresh.
    ScreenSize(Size),
    /// 11: which displays there are.
    Displays(Displays),
    /// 12: another display was selected.
    DisplaySelected(u16),
    /// 14: 1 touch input works, 2 it does not.
    TouchReady(u16),
    /// 15: touch input failed; fingers that are down are forgotten.
    TouchFailed,
    /// 17: a text to show.
    Message(&'a [u8]),
    /// 18: lamps of the keyboard: 1 NumLock, 2 ScrollLock, 4 CapsLock.
    KeyLamps(u8),
    /// 65: something went wrong; a text that begins with `.` is for the log only.
    Alert(&'a [u8]),
    /// 82: where the displays are.
    Geometry(Vec<Display>),
    /// 87: whether the person at the device is locked out.
    InputLock(bool),
    /// 88: shape of the pointer, 0 to 16; 14 means that it is drawn into the picture.
    Cursor(u8),
    /// Anything else.
    Other(u16),
}

/// Which displays a device has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Displays {
    /// Their ids; none on some devices with one display.
    pub ids: Vec<u16>,
    /// The one that is shown.
    pub selected: u16,
}

/// Place of a display on the desktop, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Display {
    /// Its id.
    pub id: u16,
    /// Left edge; negative left of the main display.
    pub x: i16,
    /// Top edge; negative above the main display.
    pub y: i16,
    /// Its size.
    pub size: Size,
}

impl<'a> FromAgent<'a> {
    /// Understands a command; `None` if its payload is not what its number promises.
    pub fn parse(command: &Command<'a>) -> Option<Self> {
        let payload = command.payload;
        Some(match command.number {
            3 => Self::Tile {
                x: be16(payload, 0)?,
                y: be16(payload, 2)?,
                image: payload.get(4..).filter(|image| !image.is_empty())?,
            },
            4 => Self::Copy,
            7 => Self::ScreenSize(Size::new(be16(payload, 0)?, be16(payload, 2)?)?),
            11 => Self::Displays(Displays::parse(payload)?),
            12 => Self::DisplaySelected(match payload {
                [short] => u16::from(*short),
                _ => be16(payload, 0)?,
            }),
            14 => Self::TouchReady(be16(payload, 0)?),
            15 => Self::TouchFailed,
            17 => Self::Message(payload),
            18 => Self::KeyLamps(*payload.first()?),
            65 => Self::Alert(payload),
            82 => Self::Geometry(geometry(payload)?),
            87 => Self::InputLock(*payload.first()? != 0),
            88 => Self::Cursor(*payload.first()?),
            other => Self::Other(other),
        })
    }

    /// The command as agents send it, ready to be a message of its own.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Tile { x, y, image } => tile(*x, *y, image),
            Self::Copy => command(4, &[0; 12]),
            Self::ScreenSize(size) => command(7, &size.to_bytes()),
            Self::Displays(displays) => command(11, &displays.to_bytes()),
            Self::DisplaySelected(id) => command(12, &id.to_be_bytes()),
            Self::TouchReady(state) => command(14, &state.to_be_bytes()),
            Self::TouchFailed => command(15, &[]),
            Self::Message(text) => command(17, text),
            Self::KeyLamps(lamps) => command(18, &[*lamps]),
            Self::Alert(text) => command(65, text),
            Self::Geometry(displays) => {
                let bytes: Vec<u8> = displays.iter().copied().flat_map(Display::to_bytes).collect();
                command(82, &bytes)
            }
            Self::InputLock(locked) => command(87, &[u8::from(*locked)]),
            Self::Cursor(shape) => command(88, &[*shape]),
            Self::Other(number) => command(*number, &[]),
        }
    }
}

impl Displays {
    fn parse(payload: &[u8]) -> Option<Self> {
        let count = usize::from(be16(payload, 0)?);
        let list = payload.get(2..2 + 2 * count)?;
        let ids = list.chunks_exact(2).filter_map(|id| be16(id, 0)).collect();
        Some(Self { ids, selected: be16(payload, 2 + 2 * count)? })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let count = u16::try_from(self.ids.len()).unwrap_or(u16::MAX);
        let ids = self.ids.iter().take(usize::from(count));
        let numbers = std::iter::once(&count).chain(ids).chain([&self.selected]);
        numbers.flat_map(|n| n.to_be_bytes()).collect()
    }
}

fn geometry(payload: &[u8]) -> Option<Vec<Display>> {
    let (displays, []) = payload.as_chunks::<10>() else { return None };
    displays.iter().map(|bytes| Display::parse(bytes)).collect()
}

impl Display {
    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            id: be16(bytes, 0)?,
            x: be16(bytes, 2)?.cast_signed(),
            y: be16(bytes, 4)?.cast_signed(),
            size: Size::new(be16(bytes, 6)?, be16(bytes, 8)?)?,
        })
    }

    fn to_bytes(self) -> impl Iterator<Item = u8> {
        let numbers = [self.id, self.x.cast_unsigned(), self.y.cast_unsigned()];
        numbers.into_iter().flat_map(u16::to_be_bytes).chain(self.size.to_bytes())
    }
}

/// What a viewer says. Commands nobody knows are [`FromViewer::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromViewer<'a> {
    /// 1: a key.
    Key {
        /// What happened to it.
        action: KeyAction,
        /// Windows virtual-key code.
        code: u8,
    },
    /// 2: the pointer.
    Mouse {
        /// 0 moved; 2, 8, 32 left, right, middle button down, twice that up; 0x88 double click.
        buttons: u8,
        /// In pixels of the size announced.
        x: u16,
        /// In pixels of the size announced.
        y: u16,
        /// Wheel, 120 per notch, positive away from the user.
        wheel: Option<i16>,
    },
    /// 5: how pictures are to be compressed.
    Quality {
        /// 1 JPEG, 2 PNG, 3 TIFF, 4 WebP.
        format: u8,
        /// 1 to 100.
        quality: u8,
        /// The rest; agents on macOS take only the form without it.
        pace: Option<Pace>,
    },
    /// 6: send the size and the whole picture again.
    Refresh,
    /// 8: whether pictures are wanted.
    Pause(bool),
    /// 10: Ctrl-Alt-Del.
    CtrlAltDel,
    /// 11: send the list of displays and where they are.
    AskDisplays,
    /// 12: show another display. An id that is not in the list can kill the agent's capture.
    SelectDisplay(u16),
    /// 13: milliseconds between two pictures.
    FrameTimer(u16),
    /// 14: prepare touch input.
    InitTouch,
    /// 15: touches, in one of two forms.
    Touch(&'a [u8]),
    /// 17: a text.
    Message(&'a [u8]),
    /// 85: a character.
    Unicode {
        /// Up instead of down.
        up: bool,
        /// A UTF-16 unit.
        unit: u16,
    },
    /// 87: 0 unlock, 1 lock, 2 ask about the input of the person at the device.
    InputLock(u8),
    /// Anything else.
    Other(u16),
}

/// What happens to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAction {
    /// 0.
    Down,
    /// 1.
    Up,
    /// 3, for the keys a long keyboard has twice.
    ExtendedUp,
    /// 4.
    ExtendedDown,
}

/// Second half of [`FromViewer::Quality`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Scale; 1024 is 100 %.
    pub scale: u16,
    /// Milliseconds between two pictures.
    pub timer: u16,
}

impl<'a> FromViewer<'a> {
    /// Understands a command; `None` if its payload is not what its number promises.
    pub fn parse(command: &Command<'a>) -> Option<Self> {
        let payload = command.payload;
        Some(match command.number {
            1 => {
                let [action, code] = *payload.first_chunk()?;
                Self::Key { action: KeyAction::from_number(action)?, code }
            }
            2 => Self::Mouse {
                buttons: *payload.get(1)?,
                x: be16(payload, 2)?,
                y: be16(payload, 4)?,
                wheel: be16(payload, 6).map(u16::cast_signed),
            },
            5 => {
                let [format, quality] = *payload.first_chunk()?;
                let pace = be16(payload, 2).zip(be16(payload, 4));
                let pace = pace.map(|(scale, timer)| Pace { scale, timer });
                Self::Quality { format, quality, pace }
            }
            6 => Self::Refresh,
            8 => Self::Pause(*payload.first()? != 0),
            10 => Self::CtrlAltDel,
            11 => Self::AskDisplays,
            12 => Self::SelectDisplay(be16(payload, 0)?),
            13 => Self::FrameTimer(be16(payload, 0)?),
            14 => Self::InitTouch,
            15 => Self::Touch(payload),
            17 => Self::Message(payload),
            85 => Self::Unicode { up: *payload.first()? != 0, unit: be16(payload, 1)? },
            87 => Self::InputLock(*payload.first()?),
            other => Self::Other(other),
        })
    }

    /// The command as clients send it, ready to be a message of its own.
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Key { action, code } => command(1, &[action.number(), code]),
            Self::Mouse { buttons, x, y, wheel } => {
                let mut payload = vec![0, buttons];
                let wheel = wheel.map(i16::cast_unsigned);
                payload.extend([x, y].into_iter().chain(wheel).flat_map(u16::to_be_bytes));
                command(2, &payload)
            }
            Self::Quality { format, quality, pace } => {
                let mut payload = vec![format, quality];
                let numbers = pace.iter().flat_map(|p| [p.scale, p.timer]);
                payload.extend(numbers.flat_map(u16::to_be_bytes));
                command(5, &payload)
            }
            Self::Refresh => command(6, &[]),
            Self::Pause(paused) => command(8, &[u8::from(paused)]),
            Self::CtrlAltDel => command(10, &[]),
            Self::AskDisplays => command(11, &[]),
            Self::SelectDisplay(id) => command(12, &id.to_be_bytes()),
            Self::FrameTimer(timer) => command(13, &timer.to_be_bytes()),
            Self::InitTouch => command(14, &[]),
            Self::Touch(payload) => command(15, payload),
            Self::Message(text) => command(17, text),
            Self::Unicode { up, unit } => {
                let [high, low] = unit.to_be_bytes();
                command(85, &[u8::from(up), high, low])
            }
            Self::InputLock(state) => command(87, &[state]),
            Self::Other(number) => command(number, &[]),
        }
    }
}

impl KeyAction {
    fn from_number(n: u8) -> Option<Self> {
        Some(match n {
            0 => Self::Down,
            1 => Self::Up,
            3 => Self::ExtendedUp,
            4 => Self::ExtendedDown,
            _ => return None,
        })
    }

    fn number(self) -> u8 {
        match self {
            Self::Down => 0,
            Self::Up => 1,
            Self::ExtendedUp => 3,
            Self::ExtendedDown => 4,
        }
    }
}

/// A command with its header; what does not fit one is cut.
fn command(number: u16, payload: &[u8]) -> Vec<u8> {
    let size = u16::try_from(payload.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(usize::from(size));
    bytes.extend(number.to_be_bytes());
    bytes.extend(size.to_be_bytes());
    bytes.extend(payload.iter().take(usize::from(size) - 4));
    bytes
}

fn tile(x: u16, y: u16, image: &[u8]) -> Vec<u8> {
    let place = [x.to_be_bytes(), y.to_be_bytes()].concat();
    if image.len() <= JUMBO_ABOVE {
        return command(3, &[&place, image].concat());
    }
    let len = u32::try_from(image.len() + 8).unwrap_or(u32::MAX);
    [&command(JUMBO, &len.to_be_bytes()), &[0, 3, 0, 0][..], &place, image].concat()
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;
    use serde_json::Value;

    const VECTORS: &str = include_str!("../../../tests/vectors/relay-desktop.json");

    fn vectors() -> Value {
        serde_json::from_str(VECTORS).unwrap()
    }

    fn hex(value: &Value) -> Vec<u8> {
        HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    }

    fn only(message: &[u8]) -> Command<'_> {
        let mut all = commands(message);
        let first = all.next().unwrap();
        assert_eq!((all.next(), first.bytes), (None, message));
        first
    }

    #[test]
    fn what_viewers_say_is_understood_and_written_alike() {
        use KeyAction::*;
        let mouse = |buttons, x, y, wheel| FromViewer::Mouse { buttons, x, y, wheel };
        let key = |action, code| FromViewer::Key { action, code };
        let pace = Some(Pace { scale: 1024, timer: 100 });
        let vectors = vectors();
        for (name, said) in [
            ("refresh", FromViewer::Refresh),
            ("get_displays", FromViewer::AskDisplays),
            ("unpause", FromViewer::Pause(false)),
            ("pause", FromViewer::Pause(true)),
            (
                "compression_jpeg_q50_scale1024_100ms",
                FromViewer::Quality { format: 1, quality: 50, pace },
            ),
            ("mouse_move_150_150", mouse(0, 150, 150, None)),
            ("left_down_200_200", mouse(2, 200, 200, None)),
            ("dblclick_10_20", mouse(0x88, 10, 20, None)),
            ("wheel_up_360_at_10_20", mouse(0, 10, 20, Some(360))),
            ("wheel_down_360_at_10_20_twos_complement", mouse(0, 10, 20, Some(-360))),
            ("key_down_A", key(Down, 0x41)),
            ("key_up_A", key(Up, 0x41)),
            ("key_ext_down_left_arrow", key(ExtendedDown, 0x25)),
            ("key_ext_up_left_arrow", key(ExtendedUp, 0x25)),
            ("unicode_down_eacute", FromViewer::Unicode { up: false, unit: 0xe9 }),
            ("unicode_up_eacute", FromViewer::Unicode { up: true, unit: 0xe9 }),
            ("ctrl_alt_del", FromViewer::CtrlAltDel),
            ("set_display_all", FromViewer::SelectDisplay(ALL_DISPLAYS)),
            ("input_lock_query", FromViewer::InputLock(2)),
            ("touch_init", FromViewer::InitTouch),
            ("frame_rate_200ms", FromViewer::FrameTimer(200)),
        ] {
            let bytes = hex(&vectors["viewer_commands"][name]);
            assert_eq!(FromViewer::parse(&only(&bytes)), Some(said), "{name}");
            assert_eq!(said.encode(), bytes, "{name}");
        }
    }

    #[test]
    fn what_agents_say_is_understood() {
        let vectors = vectors();
        let one = Displays { ids: vec![0], selected: 0 };
        for (name, said) in [
            ("screen_1024x768", FromAgent::ScreenSize(Size { width: 1024, height: 768 })),
            ("set_display_2022_agent_5_bytes", FromAgent::DisplaySelected(0)),
            ("keystate_caps", FromAgent::KeyLamps(4)),
            ("displays_one_x_screen_0_selected_0", FromAgent::Displays(one)),
            ("cursor_ibeam", FromAgent::Cursor(5)),
            (
                "alert_kvm_child_died",
                FromAgent::Alert(b"KVM Child process has unexpectedly exited"),
            ),
        ] {
            let bytes = hex(&vectors["agent_messages_seen"][name]);
            assert_eq!(FromAgent::parse(&only(&bytes)), Some(said), "{name}");
        }
    }

    #[test]
    fn a_captured_tile_is_where_and_what_it_was() {
        let vectors = vectors();
        let bytes = hex(&vectors["small_tile"]["message_hex"]);
        let Some(FromAgent::Tile { x, y, image }) = FromAgent::parse(&only(&bytes)) else {
            panic!("not a tile");
        };
        assert_eq!((x, y), (480, 352));
        assert_eq!(super::super::picture::size(image), Size::new(64, 64));
        assert_eq!(FromAgent::Tile { x, y, image }.encode(), bytes);
    }

    #[test]
    fn a_wrapped_tile_has_the_length_agents_give_it() {
        let image = vec![7; 111_462 - 16];
        let bytes = FromAgent::Tile { x: 0, y: 0, image: &image }.encode();
        let head = hex(&vectors()["agent_messages_seen"]["jumbo_header_then_jpeg"]);
        assert_eq!((bytes.len(), &bytes[..16]), (111_462, &head[..16]));
        assert_eq!(only(&bytes).number, 3);
        let first = first_of(&bytes[..20]).unwrap();
        assert_eq!((first.number, first.payload), (3, &bytes[12..20]));
    }

    #[test]
    fn displays_may_be_left_of_the_main_one() {
        let left = Display { id: 2, x: -1920, y: -8, size: Size { width: 1920, height: 1080 } };
        let bytes = FromAgent::Geometry(vec![left]).encode();
        assert_eq!(bytes[..8], [0, 82, 0, 14, 0, 2, 0xf8, 0x80]);
        assert_eq!(FromAgent::parse(&only(&bytes)), Some(FromAgent::Geometry(vec![left])));
    }

    #[test]
    fn several_commands_in_a_message_are_told_apart() {
        let message = [&hex(&"00060004000b0004".into())[..], &[0, 1, 0, 6, 1]].concat();
        let mut all = commands(&message);
        assert_eq!(all.by_ref().map(|c| c.number).collect::<Vec<_>>(), [6, 11]);
        assert_eq!(all.rest(), [0, 1, 0, 6, 1], "half a key stays");
    }

    #[test]
    fn lengths_that_lie_end_the_message() {
        for bytes in [
            &[0, 3][..],
            &[0, 6, 0, 3],
            &[0, 6, 0, 0],
            &[0, 3, 0xff, 0xff, 0, 0],
            &[0, 27, 0, 8, 0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0],
            &[0, 27, 0, 8, 0, 0, 0, 3, 0, 3, 0],
        ] {
            assert_eq!(commands(bytes).next(), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_message_is_taken_apart_without_losing_a_byte(message: Vec<u8>) {
            let mut all = commands(&message);
            let mut seen = Vec::new();
            for command in all.by_ref() {
                seen.extend_from_slice(command.bytes);
                if let Some(FromViewer::Message(text)) = FromViewer::parse(&command) {
                    prop_assert!(text.len() < command.bytes.len());
                }
                let _ = FromAgent::parse(&command);
            }
            seen.extend_from_slice(all.rest());
            prop_assert_eq!(seen, message);
        }

        #[test]
        fn tiles_of_any_length_survive(x: u16, y: u16, len in 1usize..140_000) {
            let image = vec![0xab; len];
            let said = FromAgent::Tile { x, y, image: &image };
            let bytes = said.encode();
            prop_assert_eq!(FromAgent::parse(&only(&bytes)), Some(said));
        }
    }
}
