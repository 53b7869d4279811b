use super::*;
use crate::model::{DomainId, Rights, UserId};
use proptest::prelude::*;

const WALL: Millis = Millis(1_795_324_620_850);

/// A session, and what it wanted done.
struct Scene {
    mux: Multiplexer,
    now: Instant,
}

fn scene() -> Scene {
    Scene { mux: Multiplexer::new(Setup::default()), now: Instant::now() }
}

fn watcher(name: &str) -> Watcher {
    Watcher { user: UserId::new(DomainId::default(), name).unwrap(), guest: None }
}

fn text(text: &str) -> Message {
    Message::text(text)
}

fn binary(bytes: Vec<u8>) -> Message {
    Message::binary(bytes)
}

/// A PNG of that size as far as anybody looks, `len` bytes behind its head, or what is plausible.
fn png(width: u16, height: u16, len: usize) -> Vec<u8> {
    let mut image = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    image.extend(u32::from(width).to_be_bytes());
    image.extend(u32::from(height).to_be_bytes());
    let plausible = usize::from(width) * usize::from(height) / 2048;
    image.resize(image.len() + len.max(plausible), 0);
    image
}

fn tile(x: u16, y: u16, width: u16, height: u16) -> Message {
    let image = png(width, height, 0);
    binary(FromAgent::Tile { x, y, image: &image }.encode())
}

fn screen(width: u16, height: u16) -> Message {
    binary(FromAgent::ScreenSize(picture::Size { width, height }).encode())
}

impl Scene {
    fn join(&mut self, name: &str) -> ViewerId {
        self.join_with(name, Input::Full)
    }

    fn join_with(&mut self, name: &str, input: Input) -> ViewerId {
        self.mux.join(watcher(name), input, 0, self.now).unwrap()
    }

    /// A viewer that has asked for the desktop; all have taken what there was.
    fn viewer(&mut self, name: &str) -> ViewerId {
        let id = self.join(name);
        self.say(id, text("2"));
        let all: Vec<_> = self.mux.viewers.keys().copied().collect();
        all.into_iter().for_each(|id| drop(self.take(id)));
        id
    }

    /// One viewer, the agent, and a complete picture of 640x480.
    fn running() -> (Self, ViewerId) {
        let mut scene = scene();
        let id = scene.viewer("ann");
        assert!(scene.mux.agent_connected(scene.now, WALL));
        scene.agent(screen(640, 480));
        scene.agent(tile(0, 0, 640, 480));
        scene.take(id);
        scene.effects();
        (scene, id)
    }

    fn say(&mut self, id: ViewerId, message: Message) {
        self.mux.receive_viewer(id, &message, self.now);
    }

    fn command(&mut self, id: ViewerId, said: FromViewer<'_>) {
        self.say(id, binary(said.encode()));
    }

    fn agent(&mut self, message: Message) {
        self.mux.receive_agent(message);
    }

    /// Everything a viewer gets now.
    fn take(&mut self, id: ViewerId) -> Vec<Message> {
        std::iter::from_fn(|| self.mux.next_for(id, self.now)).collect()
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.mux.next_effect()).collect()
    }

    /// What the agent was sent.
    fn sent(&mut self) -> Vec<Message> {
        let sent = |effect| match effect {
            Effect::SendAgent(message) => Some(message),
            _ => None,
        };
        self.effects().into_iter().filter_map(sent).collect()
    }
}

fn quality(quality: u8, scale: u16, timer: u16) -> FromViewer<'static> {
    FromViewer::Quality { format: 1, quality, pace: Some(wire::Pace { scale, timer }) }
}

/// Numbers of the commands in messages; texts as 0.
fn numbers(messages: &[Message]) -> Vec<u16> {
    let number = |message: &Message| match message {
        Message::Text(_) => 0,
        Message::Binary(bytes) => wire::commands(bytes).next().map_or(u16::MAX, |c| c.number),
    };
    messages.iter().map(number).collect()
}

#[test]
fn the_first_viewer_opens_the_tunnel_and_the_last_one_closes_it() {
    let mut scene = scene();
    let first = scene.join("ann");
    assert_eq!(scene.effects()[0], Effect::OpenAgent);
    assert_eq!(scene.take(first), [text("c")], "at once, before the agent is there");
    scene.say(first, text(r#"{"type":"options","tsid":3,"cols":80,"consent":8}"#));
    scene.say(first, text("2"));
    assert!(scene.mux.agent_connected(scene.now, WALL));
    let options = r#"{"ctrlChannel":"102938","type":"options","tsid":3,"consent":8}"#;
    let sent = scene.sent();
    let parsed = |m: &Message| serde_json::from_slice::<Value>(m.bytes()).unwrap();
    assert_eq!((&sent[0], &sent[2]), (&text("c"), &text("2")));
    assert_eq!(parsed(&sent[1]), serde_json::from_str::<Value>(options).unwrap());
    let second = scene.viewer("bob");
    assert_eq!(scene.sent(), [], "the capture runs already");
    scene.mux.leave(first, scene.now);
    assert!(!scene.effects().contains(&Effect::CloseAgent));
    scene.mux.leave(second, scene.now);
    assert!(scene.effects().contains(&Effect::CloseAgent));
    assert!(scene.mux.is_over());
    assert_eq!(scene.mux.join(watcher("eve"), Input::Full, 0, scene.now), Err(Refusal::Over));
}

#[test]
fn a_recorded_session_greets_with_its_own_word() {
    let mut scene = scene();
    scene.mux = Multiplexer::new(Setup { recorded: true, ..Setup::default() });
    let id = scene.viewer("ann");
    scene.mux.agent_connected(scene.now, WALL);
    assert_eq!(scene.sent(), [text("cr"), text("2")]);
    let again = scene.join("bob");
    assert_eq!(scene.take(again), [text("cr")]);
    assert!(id != again);
}

#[test]
fn who_comes_late_gets_the_whole_picture_without_the_agent() {
    let (mut scene, _) = Scene::running();
    scene.agent(tile(32, 32, 32, 32));
    scene.agent(tile(64, 64, 32, 32));
    scene.agent(tile(32, 32, 32, 32));
    for said in [
        FromAgent::Displays(Displays { ids: vec![0, 1], selected: 0 }),
        FromAgent::Geometry(vec![]),
        FromAgent::KeyLamps(4),
        FromAgent::KeyLamps(1),
        FromAgent::Cursor(5),
    ] {
        scene.agent(binary(said.encode()));
    }
    scene.agent(text(r#"{"type":"console","msg":"Waiting for the user","msgid":1}"#));
    scene.effects();
    let late = scene.join("bob");
    assert_eq!(scene.take(late), [text("c")], "nothing before it asks");
    scene.say(late, text("2"));
    let all = scene.take(late);
    // Metadata, size, lamps, displays, geometry, cursor, console text, three images.
    assert_eq!(numbers(&all), [0, 7, 18, 11, 82, 88, 0, 3, 3, 3]);
    assert_eq!(all[2], binary(FromAgent::KeyLamps(1).encode()));
    assert_eq!(scene.sent(), []);
    assert_eq!(numbers(&scene.mux.snapshot()), [7, 18, 11, 82, 88, 0, 3, 3, 3]);
}

#[test]
fn a_slow_viewer_skips_what_was_painted_over_and_delays_nobody() {
    let (mut scene, quick) = Scene::running();
    let slow = scene.viewer("bob");
    scene.effects();
    for _ in 0..1000 {
        scene.agent(tile(32, 32, 64, 64));
        assert_eq!(numbers(&scene.take(quick)), [3]);
    }
    assert!(!scene.effects().contains(&Effect::PauseAgent));
    assert_eq!(numbers(&scene.take(slow)), [3], "only the newest");
}

#[test]
fn the_agent_is_paused_only_while_all_are_behind() {
    let (mut scene, first) = Scene::running();
    let second = scene.viewer("bob");
    let idle = scene.viewer("eve");
    scene.command(idle, FromViewer::Pause(true));
    scene.effects();
    let regulation = |scene: &mut Scene| {
        let of_agent = |e: &Effect| matches!(e, Effect::PauseAgent | Effect::ResumeAgent);
        scene.effects().into_iter().filter(of_agent).collect::<Vec<_>>()
    };
    for n in 0..4u16 {
        assert_eq!(regulation(&mut scene), []);
        scene.agent(tile(n * 32, 0, 32, 32));
    }
    assert_eq!(regulation(&mut scene), [Effect::PauseAgent]);
    scene.mux.next_for(second, scene.now);
    assert_eq!(regulation(&mut scene), [Effect::ResumeAgent], "one keeps up");
    scene.agent(tile(0, 64, 32, 32));
    assert_eq!(regulation(&mut scene), [Effect::PauseAgent]);
    scene.mux.leave(second, scene.now);
    assert_eq!(regulation(&mut scene), [], "the other one has not moved");
    scene.take(first);
    assert_eq!(regulation(&mut scene), [Effect::ResumeAgent]);
}

#[test]
fn a_refresh_is_answered_from_what_is_kept() {
    let (mut scene, id) = Scene::running();
    scene.command(id, FromViewer::Refresh);
    assert_eq!(numbers(&scene.take(id)), [7, 3]);
    assert_eq!(scene.sent(), []);
    // A new size: the old picture is worth nothing.
    scene.agent(screen(800, 600));
    assert_eq!(numbers(&scene.take(id)), [7]);
    scene.command(id, FromViewer::Refresh);
    scene.command(id, FromViewer::Refresh);
    assert_eq!(numbers(&scene.sent()), [6], "once, whoever asks");
    scene.now += PATIENCE;
    scene.command(id, FromViewer::Refresh);
    assert_eq!(numbers(&scene.sent()), [6], "an agent that does not answer is asked again");
}

#[test]
fn images_that_are_too_much_to_keep_are_asked_for_again_by_who_missed_them() {
    let (mut scene, quick) = Scene::running();
    let slow = scene.viewer("bob");
    for x in 0..4 {
        let image = png(64, 480, 400_000);
        scene.agent(binary(FromAgent::Tile { x: x * 64, y: 0, image: &image }.encode()));
        scene.take(quick);
    }
    assert_eq!(scene.sent(), [], "nobody misses anything yet");
    scene.take(slow);
    assert_eq!(numbers(&scene.sent()), [6]);
    scene.agent(screen(640, 480));
    scene.agent(tile(0, 0, 640, 480));
    assert_eq!(numbers(&scene.take(slow)), [3]);
    assert_eq!(scene.sent(), []);
}

#[test]
fn the_agent_is_told_what_pleases_everybody() {
    let (mut scene, first) = Scene::running();
    let second = scene.viewer("bob");
    let told = |q: FromViewer<'_>| binary(q.encode());
    let refresh = told(FromViewer::Refresh);
    scene.command(first, quality(40, 1024, 200));
    assert_eq!(scene.sent(), [told(quality(40, 1024, 200))]);
    scene.command(second, quality(70, 512, 100));
    assert_eq!(scene.sent(), [told(quality(70, 1024, 100)), refresh], "it looks better now");
    scene.command(first, quality(30, 1024, 200));
    assert_eq!(scene.sent(), [], "nothing changes");
    scene.command(first, FromViewer::FrameTimer(50));
    assert_eq!(scene.sent(), [told(quality(70, 1024, 50))]);
    scene.mux.leave(second, scene.now);
    assert_eq!(scene.sent(), [told(quality(30, 1024, 50))]);
}

#[test]
fn agents_on_macos_get_the_short_form() {
    let mut scene = scene();
    scene.mux = Multiplexer::new(Setup { short_quality: true, ..Setup::default() });
    let id = scene.viewer("ann");
    scene.command(id, quality(60, 1024, 100));
    scene.mux.agent_connected(scene.now, WALL);
    assert_eq!(scene.sent(), [text("c"), text("2"), binary(vec![0, 5, 0, 6, 1, 60])]);
}

#[test]
fn pictures_stop_only_when_nobody_wants_any() {
    let (mut scene, first) = Scene::running();
    let second = scene.viewer("bob");
    scene.command(first, FromViewer::Pause(true));
    assert_eq!(scene.sent(), []);
    scene.agent(tile(0, 0, 640, 480));
    assert_eq!((scene.take(first).len(), scene.take(second).len()), (0, 1));
    scene.command(second, FromViewer::Pause(true));
    assert_eq!(scene.sent(), [binary(FromViewer::Pause(true).encode())]);
    scene.command(first, FromViewer::Pause(false));
    assert_eq!(scene.sent(), [binary(FromViewer::Pause(false).encode())]);
    assert_eq!(numbers(&scene.take(first)), [3], "it goes on where it was");
}

#[test]
fn input_passes_by_right() {
    let key = |action, code| FromViewer::Key { action, code };
    let (down, up) = (wire::KeyAction::Down, wire::KeyAction::Up);
    let click = FromViewer::Mouse { buttons: 2, x: 1, y: 1, wheel: None };
    // What is said, and whether it passes with full, limited and no input.
    for (said, full, limited) in [
        (key(down, 65), true, true),
        (key(down, 13), true, true),
        (key(down, 17), true, false),
        (key(up, 17), true, true),
        (key(down, 91), true, false),
        (key(wire::KeyAction::ExtendedDown, 92), true, false),
        (click, true, true),
        (FromViewer::Unicode { up: false, unit: 0xe9 }, true, true),
        (FromViewer::Unicode { up: false, unit: 27 }, true, false),
        (FromViewer::CtrlAltDel, true, false),
        (FromViewer::InitTouch, true, true),
        (FromViewer::Touch(&[1; 10]), true, true),
        (FromViewer::InputLock(1), true, false),
        (FromViewer::SelectDisplay(1), true, true),
        (FromViewer::Other(59), false, false),
    ] {
        for (input, passes) in
            [(Input::Full, full), (Input::Limited, limited), (Input::Nothing, false)]
        {
            let (mut scene, _) = Scene::running();
            let displays = Displays { ids: vec![0, 1], selected: 0 };
            scene.agent(binary(FromAgent::Displays(displays).encode()));
            let id = scene.join_with("bob", input);
            scene.say(id, text("2"));
            scene.effects();
            scene.command(id, said);
            assert_eq!(!scene.sent().is_empty(), passes, "{input:?}: {said:?}");
        }
    }
}

#[test]
fn locking_needs_input_too() {
    for (input, locks) in [(Input::Full, 2), (Input::Nothing, 0)] {
        let (mut scene, _) = Scene::running();
        let id = scene.join_with("bob", input);
        scene.effects();
        scene.say(id, text(r#"{"ctrlChannel":"102938","type":"lock"}"#));
        scene.say(id, text(r#"{"ctrlChannel":"102938","type":"autolock","value":true}"#));
        assert_eq!(scene.sent().len(), locks, "{input:?}");
    }
}

#[test]
fn several_commands_in_a_message_are_judged_one_by_one() {
    let (mut scene, _) = Scene::running();
    let id = scene.join_with("bob", Input::Nothing);
    scene.say(id, text("2"));
    scene.effects();
    let key = FromViewer::Key { action: wire::KeyAction::Down, code: 65 };
    scene.say(id, binary([quality(80, 1024, 100).encode(), key.encode()].concat()));
    assert_eq!(numbers(&scene.sent()), [5, 6], "the wish, not the key");
}

#[test]
fn only_displays_in_the_list_are_selected() {
    let (mut scene, id) = Scene::running();
    scene.command(id, FromViewer::SelectDisplay(0));
    assert_eq!(scene.sent(), [], "no list yet");
    scene.command(id, FromViewer::AskDisplays);
    assert_eq!(numbers(&scene.sent()), [11]);
    scene.agent(binary(FromAgent::Displays(Displays { ids: vec![1], selected: 1 }).encode()));
    scene.take(id);
    scene.command(id, FromViewer::SelectDisplay(wire::ALL_DISPLAYS));
    scene.command(id, FromViewer::SelectDisplay(1));
    scene.command(id, FromViewer::AskDisplays);
    assert_eq!(numbers(&scene.sent()), [12]);
    assert_eq!(numbers(&scene.take(id)), [11], "the list is kept here");
}

#[test]
fn everybody_is_told_who_watches() {
    let (mut scene, first) = Scene::running();
    let guest = Watcher { guest: Some("Aunt May".into()), ..watcher("ann") };
    let second = scene.mux.join(guest, Input::Nothing, 0, scene.now).unwrap();
    let told = |scene: &mut Scene| {
        let all = scene.take(first);
        serde_json::from_slice::<Value>(all.last().unwrap().bytes()).unwrap()
    };
    let users = json!({"user//ann": 1, "user//ann/guest:QXVudCBNYXk=": 1});
    let metadata = json!({
        "type": "metadata", "ctrlChannel": "102938", "users": users, "startTime": WALL,
    });
    assert_eq!(told(&mut scene), metadata);
    scene.mux.leave(second, scene.now);
    assert_eq!(told(&mut scene)["users"], json!({"user//ann": 1}));
    let changes = scene.effects().iter().filter(|e| **e == Effect::WatchersChanged).count();
    assert_eq!(changes, 2);
}

#[test]
fn questions_about_time_are_answered_here() {
    let (mut scene, id) = Scene::running();
    scene.say(id, text(r#"{"ctrlChannel":102938,"type":"rtt","time":12}"#));
    let answers = scene.take(id);
    let answer: Value = serde_json::from_slice(answers[0].bytes()).unwrap();
    assert_eq!(answer, json!({"type": "rtt", "ctrlChannel": "102938", "time": 12}));
}

#[test]
fn the_end_of_the_agent_is_the_end_of_all() {
    let (mut scene, first) = Scene::running();
    let second = scene.viewer("bob");
    scene.effects();
    scene.now += Duration::from_secs(7);
    scene.mux.agent_gone(scene.now);
    assert_eq!(
        scene.effects(),
        [
            Effect::Log(Entry::Left(watcher("ann"), 7)),
            Effect::CloseViewer(first),
            Effect::Log(Entry::Left(watcher("bob"), 7)),
            Effect::CloseViewer(second),
            Effect::Log(Entry::Closed(7)),
            Effect::CloseAgent,
            Effect::WatchersChanged,
        ]
    );
}

#[test]
fn an_agent_that_does_not_come_is_given_up_and_a_second_one_refused() {
    let mut late = scene();
    let id = late.join("ann");
    late.effects();
    late.mux.handle_timeout(late.now);
    assert!(!late.mux.is_over());
    late.mux.handle_timeout(late.now + ARRIVAL);
    assert!(late.effects().contains(&Effect::CloseViewer(id)));
    assert!(!late.mux.agent_connected(late.now, WALL));

    let (mut twice, _) = Scene::running();
    assert!(!twice.mux.agent_connected(twice.now, WALL));
    assert_eq!(twice.mux.timeout(), None);
}

#[test]
fn who_needs_consent_that_was_not_asked_for_does_not_slip_in() {
    let ask = 0x8;
    for (asked, needs, outcome) in
        [(0, ask, Err(Refusal::Consent)), (ask, ask, Ok(())), (0, 0x10, Ok(())), (ask, 0, Ok(()))]
    {
        let mut mux = Multiplexer::new(Setup { consent: asked, ..Setup::default() });
        let joined = mux.join(watcher("ann"), Input::Full, needs, Instant::now());
        assert_eq!(joined.map(drop), outcome, "{asked} {needs}");
    }
}

#[test]
fn a_right_taken_away_ends_the_view() {
    let (mut scene, first) = Scene::running();
    let second = scene.viewer("bob");
    scene.mux.set_input(second, Some(Input::Nothing), scene.now);
    scene.effects();
    scene.command(second, FromViewer::CtrlAltDel);
    assert_eq!(scene.effects(), []);
    scene.mux.set_input(second, None, scene.now);
    assert_eq!(scene.effects()[0], Effect::CloseViewer(second));
    assert!(!scene.mux.is_over());
    scene.mux.set_input(first, None, scene.now);
    assert!(scene.mux.is_over());
}

#[test]
fn a_few_bytes_do_not_cover_a_screen() {
    let (mut scene, id) = Scene::running();
    let mut image = png(640, 480, 0);
    image.truncate(24);
    scene.agent(binary(FromAgent::Tile { x: 0, y: 0, image: &image }.encode()));
    let many = FromAgent::KeyLamps(1).encode().repeat(COMMANDS_MAX);
    scene.agent(binary([many, FromAgent::KeyLamps(2).encode()].concat()));
    let lamps = binary(FromAgent::KeyLamps(1).encode());
    assert_eq!(scene.take(id), [lamps], "neither the image nor the last of too many commands");
}

#[test]
fn another_protocol_has_no_place_here() {
    let mut scene = scene();
    let id = scene.join("ann");
    scene.say(id, text("5"));
    assert!(scene.effects().contains(&Effect::CloseViewer(id)));
}

#[test]
fn rights_say_what_may_be_done() {
    let control = Rights::REMOTE_CONTROL;
    for (rights, input) in [
        (Rights::FULL, Some(Input::Full)),
        (control, Some(Input::Full)),
        (control | Rights::LIMITED_INPUT, Some(Input::Limited)),
        (control | Rights::VIEW_ONLY, Some(Input::Nothing)),
        (control | Rights::VIEW_ONLY | Rights::LIMITED_INPUT, Some(Input::Nothing)),
        (Rights::VIEW_ONLY, Some(Input::Nothing)),
        (control | Rights::NO_DESKTOP, None),
        (Rights::CHAT, None),
        (Rights::empty(), None),
    ] {
        assert_eq!(Input::of(rights), input, "{rights:?}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Join(u8),
    Leave(usize),
    Take(usize, usize),
    Agent(Vec<u8>, bool),
    Tile(u16, u16, u16, u16, usize),
    Screen(u16, u16),
    Viewer(usize, Vec<u8>, bool),
    Start(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        any::<u8>().prop_map(Step::Join),
        any::<usize>().prop_map(Step::Leave),
        (any::<usize>(), 0usize..20).prop_map(|(id, n)| Step::Take(id, n)),
        (bytes(), any::<bool>()).prop_map(|(b, t)| Step::Agent(b, t)),
        (0u16..300, 0u16..300, 1u16..300, 1u16..300, 0usize..300_000)
            .prop_map(|(x, y, w, h, n)| Step::Tile(x, y, w, h, n)),
        (any::<u16>(), any::<u16>()).prop_map(|(w, h)| Step::Screen(w, h)),
        (any::<usize>(), bytes(), any::<bool>()).prop_map(|(id, b, t)| Step::Viewer(id, b, t)),
        any::<usize>().prop_map(Step::Start),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_said_nobody_is_left_waiting(
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut scene = scene();
        let mut ids = vec![scene.viewer("ann")];
        scene.mux.agent_connected(scene.now, WALL);
        let message = |bytes: Vec<u8>, is_text| {
            if is_text { Message::Text(bytes.into()) } else { Message::binary(bytes) }
        };
        for step in steps {
            let pick = |n: usize| ids.get(n % ids.len().max(1)).copied();
            match step {
                Step::Join(n) => {
                    ids.extend(scene.mux.join(watcher(&format!("u{n}")), Input::Full, 0, scene.now));
                }
                Step::Leave(n) if ids.len() > 1 => {
                    let id = ids.remove(n % ids.len());
                    scene.mux.leave(id, scene.now);
                }
                Step::Leave(_) => {}
                Step::Take(id, n) => {
                    for _ in 0..n {
                        pick(id).and_then(|id| scene.mux.next_for(id, scene.now));
                    }
                }
                Step::Agent(bytes, is_text) => scene.agent(message(bytes, is_text)),
                Step::Tile(x, y, width, height, len) => {
                    let image = png(width, height, len);
                    scene.agent(message(FromAgent::Tile { x, y, image: &image }.encode(), false));
                }
                Step::Screen(width, height) => {
                    if let Some(size) = picture::Size::new(width, height) {
                        scene.agent(message(FromAgent::ScreenSize(size).encode(), false));
                    }
                }
                Step::Viewer(id, bytes, is_text) => {
                    if let Some(id) = pick(id) {
                        scene.say(id, message(bytes, is_text));
                    }
                }
                Step::Start(id) => {
                    if let Some(id) = pick(id) {
                        scene.say(id, text("2"));
                    }
                }
            }
            for effect in scene.effects() {
                if let Effect::CloseViewer(id) = effect {
                    ids.retain(|known| *known != id);
                }
            }
            prop_assert!(scene.mux.viewers.len() == ids.len());
        }
        scene.now += PATIENCE;
        for id in ids {
            scene.take(id);
            let Some(viewer) = scene.mux.viewers.get(&id) else { continue };
            let Some(screen) = &scene.mux.screen else { continue };
            if viewer.watches() {
                prop_assert!(!viewer.awake && !viewer.missed);
                prop_assert!(screen.after(viewer.seen).is_none());
            }
        }
    }
}
