use super::*;
use crate::config::{Config, RecordingLimits};
use crate::model::{
    Group, GroupId, GroupKind, Key48, NodeId, PasswordHash, Rights, UserGroup, UserGroupId, UserId,
};
use crate::store::Store;
use async_executor::LocalExecutor;
use futures_lite::future::block_on;

/// A server that records, and a device to record.
struct Scene {
    _data: tempfile::TempDir,
    folder: PathBuf,
    hub: Rc<Hub>,
    recordings: Rc<Recordings>,
    user: Rc<User>,
    device: Rc<Device>,
    executor: LocalExecutor<'static>,
}

fn scene(recording: config::Recording) -> Scene {
    let data = tempfile::tempdir().unwrap();
    let root = DomainId::default();
    let mut config = Config::default();
    config.domains.get_mut(&root).unwrap().recording = Some(recording);
    let hub = Hub::new(Store::in_memory(), config, Millis(0));
    let group = GroupId::new(root.clone(), Key48([1; 48]));
    hub.store.put(Group::new(group.clone(), "lab", GroupKind::Agent, Millis(0))).later();
    let id = NodeId::new(root.clone(), Key48([2; 48]));
    let device = Rc::new(Device::new(id, group, "../Küche 1", Millis(0)));
    let id = UserId::new(root, "ann").unwrap();
    let user = Rc::new(User::new(id, "Ann", PasswordHash::None, Millis(0)));
    let recordings = Recordings::new(hub.clone(), data.path());
    let folder = data.path().join("recordings");
    let executor = LocalExecutor::new();
    Scene { _data: data, folder, hub, recordings, user, device, executor }
}

impl Scene {
    fn subject(&self) -> Subject {
        Subject {
            user: Some(self.user.clone()),
            device: self.device.clone(),
            protocol: 1,
            session: "a/b".into(),
            addresses: [Some("192.0.2.1".into()), None],
            form: Form::Blocks,
        }
    }

    /// A session in which the device says something; its file.
    async fn session(&self, says: &[u8]) -> String {
        let (tap, writer) = self.recordings.start(self.subject()).await.unwrap();
        let name = tap.name().to_owned();
        tap.message(From::Device, true, says.len() as u64);
        tap.payload(From::Device, says);
        let writer = self.executor.spawn(writer);
        drop(tap);
        self.executor.run(writer).await;
        name
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = Folder::open(&self.folder)
            .unwrap()
            .list()
            .unwrap()
            .into_iter()
            .map(|e| e.name)
            .collect();
        names.sort();
        names
    }

    fn outcome(&self, name: &str) -> Outcome {
        let file = Folder::open(&self.folder).unwrap().edit(name).unwrap();
        repair(&file, Form::Blocks).unwrap()
    }
}

#[test]
fn a_session_becomes_a_whole_file_and_a_line_in_the_list() {
    let scene = scene(config::Recording::default());
    block_on(async {
        let name = scene.session(b"login: ").await;
        assert!(name.ends_with("-ann-..Küche1-ab.mcrec"), "{name}");
        assert_eq!(scene.outcome(&name), Outcome::Whole);
        let again = scene.session(b"login: ").await;
        assert_eq!(scene.files().len(), 2, "{again} is another one, whatever the time");

        let lines = scene.recordings.list(&DomainId::default(), 10).await.unwrap();
        assert_eq!(lines.len(), 2);
        let line = lines.iter().find(|line| line["filename"] == name.as_str()).unwrap();
        let size = scene.folder.join(&name).metadata().unwrap().len();
        for (member, value) in [
            ("present", 1.into()),
            ("size", size.into()),
            ("protocol", 1.into()),
            ("meshname", "lab".into()),
            ("name", "../Küche 1".into()),
            ("userids", serde_json::json!(["user//ann"])),
        ] {
            assert_eq!(line[member], value, "{member}");
        }
        let elsewhere = DomainId::new("other").unwrap();
        assert_eq!(scene.recordings.list(&elsewhere, 10).await.unwrap(), []);
    });
}

#[test]
fn what_a_dead_server_left_is_ended_at_the_next_start() {
    let scene = scene(config::Recording::default());
    block_on(async {
        let (tap, writer) = scene.recordings.start(scene.subject()).await.unwrap();
        let name = tap.name().to_owned();
        drop(writer);
        drop(tap);
        let next = Recordings::new(scene.hub.clone(), scene._data.path());
        next.repair().await;
        assert_eq!(scene.outcome(&name), Outcome::Whole);
        let lines = next.list(&DomainId::default(), 10).await.unwrap();
        assert_eq!(lines[0]["filename"], name.as_str(), "it is listed without an event");
        assert_eq!(lines[0]["present"], 1);
    });
}

#[test]
fn a_recording_that_goes_on_is_not_taken_for_a_dead_one() {
    let limits = RecordingLimits { count: Some(1), ..RecordingLimits::default() };
    let scene = scene(config::Recording { limits, ..config::Recording::default() });
    block_on(async {
        let (tap, writer) = scene.recordings.start(scene.subject()).await.unwrap();
        scene.recordings.repair().await;
        let others = [scene.session(b"1").await, scene.session(b"2").await];
        let files = scene.files();
        assert!(files.contains(&tap.name().to_owned()));
        assert!(files.len() <= 2 && !files.contains(&others[0]), "{files:?} of {others:?}");
        tap.message(From::User, false, 1);
        tap.payload(From::User, b"5");
        drop(tap);
        writer.await;
        assert_eq!(scene.files().len(), 1, "now it counts like any other");
    });
}

#[test]
fn a_server_that_stops_ends_its_recordings() {
    let scene = scene(config::Recording::default());
    block_on(async {
        let (tap, writer) = scene.recordings.start(scene.subject()).await.unwrap();
        scene.executor.spawn(writer).detach();
        scene.executor.run(scene.recordings.close()).await;
        assert_eq!(scene.outcome(tap.name()), Outcome::Whole);
        assert!(scene.recordings.active.borrow().is_empty());
    });
}

#[test]
fn a_folder_that_cannot_be_made_costs_the_recording_not_the_session() {
    let folder = Some("file/recordings".into());
    let scene = scene(config::Recording { folder, ..config::Recording::default() });
    std::fs::write(scene._data.path().join("file"), "").unwrap();
    assert!(block_on(scene.recordings.start(scene.subject())).is_none());
}

#[test]
fn membership_in_a_recorded_user_group_counts() {
    let recording = config::Recording { only_user_groups: true, ..config::Recording::default() };
    let scene = scene(recording);
    let root = DomainId::default();
    let id = UserGroupId::new(root, Key48([3; 48]));
    let to = LinkTarget::Group(scene.device.group.clone());
    let links = vec![crate::model::Link { to, rights: Rights::REMOTE_CONTROL, notify: 0 }];
    let group = UserGroup {
        id: id.clone(),
        name: "staff".into(),
        desc: String::new(),
        links,
        consent: 0,
        flags: UserGroup::RECORD,
    };
    scene.hub.store.put(group).later();
    let mut member = (*scene.user).clone();
    assert!(!scene.recordings.wants(&member, &scene.device, 1));
    member.set_link(LinkTarget::UserGroup(id), Some(Rights::empty()));
    assert!(scene.recordings.wants(&member, &scene.device, 1));
}
