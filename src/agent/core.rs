//! Keeping an agent's core and binary current, without a socket.
//!
//! After authentication the server may compare the agent's binary (cmd 12), then compares its core
//! (cmd 11) and uploads another one (cmd 10 or 20) if they differ. CoreOk (cmd 16) after every
//! match: without it the agent waits a minute before it runs the core it has.

use crate::hub::CoreMode;
use crate::model::Key48;

use super::kinds::{self, AgentKind, CoreRole};
use super::package::CoreName;
use super::wire::{self, CoreReport, caps};

/// Uploads per connection, after which an agent keeps what it has.
const MAX_UPLOADS: u8 = 5;
/// Build dates before this day cannot update themselves natively on Windows.
const NATIVE_UPDATE_SINCE: &str = "2021-02-07";

/// What the server has for one kind of agent.
pub trait Supplies {
    /// SHA-384 of a core image; `None` if it is not installed.
    fn core(&self, name: CoreName) -> Option<Key48>;
    /// Whether `hash` is the normalised hash of a current binary of `kind`; `None` if there is no
    /// such binary or agents are not to be updated.
    fn is_current(&self, kind: &AgentKind, hash: Key48) -> Option<bool>;
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes.
    Send(&'static [u8]),
    /// Send the core image of this name.
    Upload(CoreName),
    /// Send the binary block by block.
    UpdateNatively,
    /// Tell the core where to download the binary.
    UpdateThroughCore,
    /// The agent runs its core; JSON may be sent.
    Stable,
    /// The agent lost its core.
    CoreGone,
    /// It refused the core too often; it is left alone.
    GaveUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waiting for the hash of the binary.
    Binary,
    /// Waiting for the hash of the core.
    Core,
    /// A native update is running.
    Updating,
    /// The recovery core is to download the binary as soon as it runs.
    UpdatingThroughCore,
    /// Nothing to do.
    Settled,
}

/// The state for one connection.
#[derive(Debug)]
pub struct CoreSync {
    kind: Option<&'static AgentKind>,
    caps: u32,
    /// `None` with [`CoreMode::Clear`].
    role: Option<CoreRole>,
    stage: Stage,
    uploads: u8,
    old_build: bool,
}

impl CoreSync {
    /// For an agent of kind `id` with the capabilities and build date of its AuthInfo.
    pub fn new(id: u32, caps: u32, commit_date: Option<&str>) -> Self {
        let role = if caps & caps::RECOVERY != 0 { CoreRole::Diagnostic } else { CoreRole::Main };
        Self {
            kind: kinds::find(id),
            caps,
            role: Some(role),
            stage: Stage::Settled,
            uploads: 0,
            old_build: commit_date.is_none_or(|d| build_day(d) < build_day(NATIVE_UPDATE_SINCE)),
        }
    }

    /// True if the agent takes compressed cores and updates.
    pub fn compresses(&self) -> bool {
        self.caps & caps::COMPRESSION != 0
    }

    /// Begins after AuthConfirm.
    pub fn start(&mut self, supplies: &dyn Supplies) -> Vec<Step> {
        let Some(kind) = self.kind else { return vec![Step::Send(&wire::CLEAR_CORE)] };
        let updates = self.role == Some(CoreRole::Main)
            && kind.self_update
            && supplies.is_current(kind, Key48::ZERO).is_some();
        if updates {
            self.stage = Stage::Binary;
            return vec![Step::Send(&wire::ASK_AGENT_HASH)];
        }
        self.check_core()
    }

    /// The agent told the hash of its binary.
    pub fn agent_hash(&mut self, hash: Key48, supplies: &dyn Supplies) -> Vec<Step> {
        let (Stage::Binary, Some(kind)) = (self.stage, self.kind) else { return Vec::new() };
        // All zero: updates are switched off at the agent.
        if hash == Key48::ZERO || supplies.is_current(kind, hash) != Some(false) {
            return self.check_core();
        }
        if kind.id == 3 || (kind.id == 4 && self.old_build) {
            self.stage = Stage::UpdatingThroughCore;
            self.role = Some(CoreRole::Recovery);
            return vec![Step::Send(&wire::CLEAR_CORE), Step::Send(&wire::ASK_CORE_HASH)];
        }
        self.stage = Stage::Updating;
        vec![Step::Send(&wire::CLEAR_CORE), Step::UpdateNatively]
    }

    /// True while an update is running: whatever else the agent says is ignored.
    pub fn is_updating(&self) -> bool {
        self.stage == Stage::Updating
    }

    /// The agent told its core.
    pub fn core_report(&mut self, report: CoreReport, supplies: &dyn Supplies) -> Vec<Step> {
        if self.stage == Stage::Updating {
            return Vec::new();
        }
        let wanted = self.wanted(supplies);
        let mut steps = Vec::new();
        match (report, wanted) {
            (CoreReport::Pinned, _) => steps.extend(self.settled()),
            (CoreReport::Hash(hash), Some((_, wanted))) if hash == wanted => {
                steps.extend(self.settled());
            }
            // It has one, and there is none to offer: let it be.
            (CoreReport::Hash(_), None) if self.role.is_some() => steps.extend(self.settled()),
            (report, Some((name, _))) => {
                if report == CoreReport::None {
                    steps.push(Step::CoreGone);
                }
                if self.uploads < MAX_UPLOADS {
                    self.uploads += 1;
                    steps.push(Step::Upload(name));
                } else {
                    self.stage = Stage::Settled;
                    steps.push(Step::GaveUp);
                }
            }
            (CoreReport::None | CoreReport::Hash(_), None) => {
                self.stage = Stage::Settled;
                steps.push(Step::CoreGone);
            }
        }
        steps
    }

    /// The core reported itself; true if it is to be told to download the binary.
    pub fn core_runs(&mut self) -> bool {
        let due = self.stage == Stage::UpdatingThroughCore;
        if due {
            self.stage = Stage::Settled;
        }
        due
    }

    /// An administrator chose another core.
    pub fn set_mode(&mut self, mode: CoreMode) -> Vec<Step> {
        self.uploads = 0;
        self.role = match mode {
            CoreMode::Default => Some(CoreRole::Main),
            CoreMode::Recovery => Some(CoreRole::Recovery),
            CoreMode::Tiny => Some(CoreRole::Tiny),
            CoreMode::Clear => {
                self.role = None;
                self.stage = Stage::Settled;
                return vec![Step::Send(&wire::CLEAR_CORE)];
            }
        };
        self.stage = Stage::Core;
        vec![Step::Send(&wire::ASK_CORE_HASH)]
    }

    fn wanted(&self, supplies: &dyn Supplies) -> Option<(CoreName, Key48)> {
        let name = self.kind?.core(self.role?)?;
        Some((name, supplies.core(name)?))
    }

    fn check_core(&mut self) -> Vec<Step> {
        if self.caps & caps::CORE == 0 {
            self.stage = Stage::Settled;
            return vec![Step::Stable];
        }
        self.stage = Stage::Core;
        vec![Step::Send(&wire::ASK_CORE_HASH)]
    }

    fn settled(&mut self) -> [Step; 2] {
        if self.stage != Stage::UpdatingThroughCore {
            self.stage = Stage::Settled;
        }
        [Step::Send(&wire::CORE_OK), Step::Stable]
    }
}

/// Year, month and day of `2022-Nov-2 23:01:45-0700` or `2022-11-02…`, for comparing.
fn build_day(date: &str) -> Option<(u32, u32, u32)> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = date.split([' ', 'T']).next()?.split('-');
    let year = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = match MONTHS.iter().position(|m| *m == month) {
        Some(index) => index as u32 + 1,
        None => month.parse().ok()?,
    };
    Some((year, month, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: Key48 = Key48([7; 48]);
    const BINARY: Key48 = Key48([8; 48]);

    struct Package {
        update: bool,
        cores: bool,
    }

    impl Supplies for Package {
        fn core(&self, name: CoreName) -> Option<Key48> {
            self.cores.then_some(match name {
                CoreName::LinuxAmt | CoreName::WindowsAmt => CORE,
                _ => Key48([9; 48]),
            })
        }

        fn is_current(&self, _: &AgentKind, hash: Key48) -> Option<bool> {
            self.update.then_some(hash == BINARY)
        }
    }

    const ALL: Package = Package { update: true, cores: true };
    const CORES: Package = Package { update: false, cores: true };
    const NOTHING: Package = Package { update: false, cores: false };

    fn linux() -> CoreSync {
        CoreSync::new(6, 0x118, Some("2022-Nov-2 23:01:45-0700"))
    }

    const OK: [Step; 2] = [Step::Send(&wire::CORE_OK), Step::Stable];

    #[test]
    fn a_fresh_agent_gets_its_core_and_then_the_word_to_run_it() {
        let mut sync = linux();
        assert_eq!(sync.start(&CORES), [Step::Send(&wire::ASK_CORE_HASH)]);
        assert_eq!(
            sync.core_report(CoreReport::None, &CORES),
            [Step::CoreGone, Step::Upload(CoreName::LinuxAmt)]
        );
        assert_eq!(sync.core_report(CoreReport::Hash(CORE), &CORES), OK);
    }

    #[test]
    fn a_cached_or_pinned_core_is_left_alone() {
        for report in [CoreReport::Hash(CORE), CoreReport::Pinned] {
            let mut sync = linux();
            sync.start(&CORES);
            assert_eq!(sync.core_report(report, &CORES), OK, "{report:?}");
        }
    }

    #[test]
    fn without_a_package_an_agent_runs_what_it_has() {
        let mut sync = linux();
        assert_eq!(sync.start(&NOTHING), [Step::Send(&wire::ASK_CORE_HASH)]);
        assert_eq!(sync.core_report(CoreReport::None, &NOTHING), [Step::CoreGone]);
        assert_eq!(sync.core_report(CoreReport::Hash(CORE), &NOTHING), OK);
    }

    #[test]
    fn an_unknown_kind_of_agent_gets_no_core() {
        let mut sync = CoreSync::new(4711, 0x118, None);
        assert_eq!(sync.start(&ALL), [Step::Send(&wire::CLEAR_CORE)]);
    }

    #[test]
    fn uploads_end_after_five_refusals() {
        let mut sync = linux();
        sync.start(&CORES);
        for _ in 0..5 {
            let steps = sync.core_report(CoreReport::None, &CORES);
            assert_eq!(steps.last(), Some(&Step::Upload(CoreName::LinuxAmt)));
        }
        let steps = sync.core_report(CoreReport::None, &CORES);
        assert_eq!(steps, [Step::CoreGone, Step::GaveUp]);
    }

    #[test]
    fn a_binary_is_replaced_only_if_it_differs() {
        for (hash, updates) in [(BINARY, false), (Key48::ZERO, false), (Key48([255; 48]), true)] {
            let mut sync = linux();
            assert_eq!(sync.start(&ALL), [Step::Send(&wire::ASK_AGENT_HASH)]);
            let steps = sync.agent_hash(hash, &ALL);
            assert_eq!(steps.contains(&Step::UpdateNatively), updates, "{hash:?}");
            assert_eq!(sync.is_updating(), updates);
            assert_eq!(
                steps.contains(&Step::Send(&wire::ASK_CORE_HASH)),
                !updates,
                "the core is next if the binary is current"
            );
        }
    }

    #[test]
    fn old_windows_agents_update_through_their_recovery_core() {
        for (id, date, through_core) in [
            (3, Some("2024-Mar-1"), true),
            (4, Some("2021-Feb-6 1:00"), true),
            (4, None, true),
            (4, Some("2021-02-08"), false),
        ] {
            let mut sync = CoreSync::new(id, 0x118, date);
            sync.start(&ALL);
            let steps = sync.agent_hash(Key48([1; 48]), &ALL);
            assert_eq!(!steps.contains(&Step::UpdateNatively), through_core, "{id} {date:?}");
            if through_core {
                let upload = sync.core_report(CoreReport::None, &ALL);
                assert_eq!(upload.last(), Some(&Step::Upload(CoreName::WindowsRecovery)));
                assert_eq!(sync.core_report(CoreReport::Hash(Key48([9; 48])), &ALL), OK);
                assert!(sync.core_runs());
                assert!(!sync.core_runs(), "once");
            }
        }
    }

    #[test]
    fn an_administrator_may_clear_and_exchange_the_core() {
        let mut sync = linux();
        sync.start(&CORES);
        sync.core_report(CoreReport::Hash(CORE), &CORES);
        assert_eq!(sync.set_mode(CoreMode::Clear), [Step::Send(&wire::CLEAR_CORE)]);
        assert_eq!(sync.core_report(CoreReport::None, &CORES), [Step::CoreGone]);
        sync.set_mode(CoreMode::Tiny);
        let steps = sync.core_report(CoreReport::Hash(CORE), &CORES);
        assert_eq!(steps, [Step::Upload(CoreName::LinuxTiny)]);
        assert_eq!(sync.set_mode(CoreMode::Default), [Step::Send(&wire::ASK_CORE_HASH)]);
    }
}
