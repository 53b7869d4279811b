//! The cabinet: whose drawers there are, and how to get at a folder in one of them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::name::Name;
use super::tree;
use super::upload::{UNFINISHED, Upload};
use crate::model::{DomainId, GroupId, UserId};

/// Name of the folder below the data folder.
const FOLDER: &str = "meshcentral-files";
/// The folder of an account that everybody may download from.
const PUBLIC: &str = "Public";
/// Deepest path that is made, in folders below the drawer.
const DEPTH_MAX: usize = 16;
/// Bytes a disk must have left for the server itself: nobody may fill it up.
const RESERVE: u64 = 64 << 20;

/// Whose files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drawer {
    /// Those of an account.
    User(UserId),
    /// Those of a device group.
    Group(GroupId),
}

impl Drawer {
    fn domain(&self) -> &DomainId {
        match self {
            Self::User(id) => &id.domain,
            Self::Group(id) => &id.domain,
        }
    }

    /// Folder of the domain and folder in it. Neither can be more than one step: ids have no `/`,
    /// and the prefix keeps `..` from being itself.
    fn steps(&self) -> [String; 2] {
        let domain = self.domain();
        let domain =
            if domain.is_default() { "domain".to_owned() } else { format!("domain-{domain}") };
        let own = match self {
            Self::User(id) => format!("user-{}", id.name()),
            Self::Group(id) => format!("mesh-{}", id.key.text()),
        };
        [domain, own]
    }
}

impl fmt::Display for Drawer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Group(id) => id.fmt(f),
        }
    }
}

/// A folder in a drawer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose.
    pub drawer: Drawer,
    /// The way to it from the drawer's top.
    pub folders: Vec<Name>,
}

impl Place {
    /// What the account of that name lets everybody download.
    pub fn public(user: UserId) -> Self {
        Self { drawer: Drawer::User(user), folders: Name::new(PUBLIC).into_iter().collect() }
    }
}

/// Why something was not done.
#[derive(Debug)]
pub enum FileError {
    /// The quota of the drawer would be exceeded, or the disk be too full for the server.
    Full,
    /// The path goes deeper than paths may.
    TooDeep,
    /// What the system said.
    Io(io::Error),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("no room left for files"),
            Self::TooDeep => f.write_str("the folder is too deep inside others"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FileError {}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for FileError {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// All files people keep on this server.
#[derive(Clone, Debug)]
pub struct Cabinet {
    root: PathBuf,
    /// How the names of unfinished files of this run begin.
    unfinished: Arc<str>,
}

const FOLDER_FLAGS: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);
/// Not to wait for the other end of a pipe somebody put there.
const FILE_FLAGS: OFlags =
    OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::RDONLY).union(OFlags::NONBLOCK);
const PRIVATE_FOLDER: Mode = Mode::RWXU;

impl Cabinet {
    /// The cabinet of the data folder `data`; made when the first file is.
    pub fn new(data: &Path) -> Self {
        let mut run = [0; 4];
        // Without randomness nothing could be uploaded anyway.
        let _ = getrandom::fill(&mut run);
        let run = data_encoding::HEXLOWER.encode(&run);
        Self { root: data.join(FOLDER), unfinished: format!("{UNFINISHED}{run}-").into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Opens a folder.
    pub(super) fn open(&self, place: &Place) -> Result<OwnedFd, FileError> {
        self.walk(place, false)
    }

    /// Opens a folder, and makes what is missing of the way to it.
    pub(super) fn open_or_make(&self, place: &Place) -> Result<OwnedFd, FileError> {
        if place.folders.len() > DEPTH_MAX {
            return Err(FileError::TooDeep);
        }
        self.walk(place, true)
    }

    fn walk(&self, place: &Place, make: bool) -> Result<OwnedFd, FileError> {
        if make {
            made(fs::mkdir(&self.root, PRIVATE_FOLDER))?;
        }
        // The owner of the server may have put the cabinet elsewhere with a link; below it nothing
        // is followed.
        let top = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let mut folder = fs::open(&self.root, top, Mode::empty())?;
        let [domain, own] = place.drawer.steps();
        let names = place.folders.iter().map(Name::as_str);
        for step in [&*domain, &*own].into_iter().chain(names) {
            if make {
                made(fs::mkdirat(&folder, step, PRIVATE_FOLDER))?;
            }
            folder = fs::openat(&folder, step, FOLDER_FLAGS, Mode::empty())?;
        }
        Ok(folder)
    }

    /// Makes the drawer of an account as MeshCentral does, with its public folder.
    pub fn prepare(&self, user: &UserId) -> Result<(), FileError> {
        self.open_or_make(&Place::public(user.clone())).map(drop)
    }

    /// Makes a folder; one that is there is no error.
    pub fn make_folder(&self, place: &Place, name: &Name) -> Result<(), FileError> {
        let mut inner = place.clone();
        inner.folders.push(name.clone());
        self.open_or_make(&inner).map(drop)
    }

    /// Removes a file or an empty folder, or with `all` a folder with everything in it.
    pub fn delete(&self, place: &Place, name: &Name, all: bool) -> Result<(), FileError> {
        let folder = self.open(place)?;
        tree::delete(folder.as_fd(), name.as_str(), all)
    }

    /// Removes the drawer of a device group if nothing is left in it.
    pub fn tidy(&self, drawer: &Drawer) {
        let place = Place { drawer: drawer.clone(), folders: Vec::new() };
        let [domain, own] = place.drawer.steps();
        let path = self.root.join(domain).join(own);
        if self.open(&place).is_ok() {
            // Fails as long as there is something in it, which is the point.
            let _ = std::fs::remove_dir(path);
        }
    }

    /// Renames a file or folder; a file of the new name is replaced.
    pub fn rename(&self, place: &Place, old: &Name, new: &Name) -> Result<(), FileError> {
        let folder = self.open(place)?;
        Ok(fs::renameat(&folder, old.as_str(), &folder, new.as_str())?)
    }

    /// Moves a file to another folder. `quota` is that of the other folder's drawer.
    pub fn shift(
        &self,
        from: &Place,
        to: &Place,
        name: &Name,
        quota: Option<u64>,
    ) -> Result<(), FileError> {
        if from.drawer != to.drawer {
            let (_, len) = self.read(from, name)?;
            self.room(&to.drawer, quota)?.checked_sub(len).ok_or(FileError::Full)?;
        }
        let (from, to) = (self.open(from)?, self.open_or_make(to)?);
        is_file(from.as_fd(), name)?;
        Ok(fs::renameat(&from, name.as_str(), &to, name.as_str())?)
    }

    /// Copies a file to another folder.
    pub fn copy(
        &self,
        from: &Place,
        to: &Place,
        name: &Name,
        quota: Option<u64>,
    ) -> Result<(), FileError> {
        let (mut file, _) = self.read(from, name)?;
        let mut upload = self.upload(to, quota)?;
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let n = file.read(&mut chunk)?;
            if n == 0 {
                return upload.finish(name);
            }
            upload.write(&chunk[..n])?;
        }
    }

    /// Opens a file for reading; its length in bytes.
    pub fn read(&self, place: &Place, name: &Name) -> Result<(File, u64), FileError> {
        let folder = self.open(place)?;
        let file = fs::openat(&folder, name.as_str(), FILE_FLAGS, Mode::empty())?;
        let stat = fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(not_a_file());
        }
        Ok((File::from(file), u64::try_from(stat.st_size).unwrap_or_default()))
    }

    /// A file's content, if it is shorter than `limit` bytes.
    pub fn read_short(&self, place: &Place, name: &Name, limit: u64) -> Result<Vec<u8>, FileError> {
        let (file, len) = self.read(place, name)?;
        if len >= limit {
            return Err(FileError::Full);
        }
        let mut content = Vec::new();
        file.take(limit).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Writes a whole file; one of that name is replaced.
    pub fn write(
        &self,
        place: &Place,
        name: &Name,
        content: &[u8],
        quota: Option<u64>,
    ) -> Result<(), FileError> {
        let mut upload = self.upload(place, quota)?;
        upload.write(content)?;
        upload.finish(name)
    }

    /// Begins a file that comes piece by piece.
    pub fn upload(&self, place: &Place, quota: Option<u64>) -> Result<Upload, FileError> {
        let room = self.room(&place.drawer, quota)?;
        let folder = self.open_or_make(place)?;
        let free = fs::fstatvfs(&folder)?;
        let free = free.f_bavail.saturating_mul(free.f_frsize).saturating_sub(RESERVE);
        Upload::begin(folder, room.min(free), &self.unfinished)
    }

    /// Bytes that may still be added to a drawer.
    fn room(&self, drawer: &Drawer, quota: Option<u64>) -> Result<u64, FileError> {
        let Some(quota) = quota else { return Ok(u64::MAX) };
        let used = self.used(drawer)?;
        if used < quota { Ok(quota - used) } else { Err(FileError::Full) }
    }

    /// Removes what uploads of earlier runs left behind when a power cut ended them. Returns how
    /// many.
    pub fn remove_unfinished(&self) -> Result<usize, FileError> {
        let top = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        match fs::open(&self.root, top, Mode::empty()) {
            Ok(root) => tree::remove_unfinished(root, &self.unfinished),
            Err(Errno::NOENT) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes in a drawer, unfinished uploads included.
    pub fn used(&self, drawer: &Drawer) -> Result<u64, FileError> {
        match self.open(&Place { drawer: drawer.clone(), folders: Vec::new() }) {
            Ok(folder) => tree::size(folder),
            Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// What is in a drawer, as the `f` member of MeshCentral's `files`. A drawer that is not there
    /// is empty.
    pub fn list(&self, drawer: &Drawer) -> serde_json::Value {
        match self.open(&Place { drawer: drawer.clone(), folders: Vec::new() }) {
            Ok(folder) => tree::list(folder),
            Err(_) => serde_json::json!({}),
        }
    }
}

/// What making a folder that may exist came to.
fn made(result: rustix::io::Result<()>) -> Result<(), FileError> {
    match result {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_file(folder: BorrowedFd<'_>, name: &Name) -> Result<(), FileError> {
    let stat = fs::statat(folder, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(not_a_file()),
    }
}

fn not_a_file() -> FileError {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn ann() -> Drawer {
        Drawer::User(UserId::new(DomainId::default(), "ann").unwrap())
    }

    fn place(folders: &[&str]) -> Place {
        Place { drawer: ann(), folders: folders.iter().map(|text| name(text)).collect() }
    }

    fn cabinet() -> (Cabinet, tempfile::TempDir) {
        let data = tempfile::tempdir().unwrap();
        (Cabinet::new(data.path()), data)
    }

    #[test]
    fn files_lie_where_meshcentral_has_them() {
        let (cabinet, data) = cabinet();
        cabinet.prepare(&UserId::new(DomainId::default(), "Ann").unwrap()).unwrap();
        cabinet.write(&place(&["f1"]), &name("a.txt"), b"hello", None).unwrap();
        let tenant = DomainId::new("shop").unwrap();
        let group = Drawer::Group(GroupId::new(tenant, crate::model::Key48([1; 48])));
        let top = Place { drawer: group.clone(), folders: vec![] };
        cabinet.write(&top, &name("b"), b"x", None).unwrap();
        let files = data.path().join("meshcentral-files");
        assert!(files.join("domain/user-ann/Public").is_dir());
        assert_eq!(std::fs::read(files.join("domain/user-ann/f1/a.txt")).unwrap(), b"hello");
        let key = crate::model::Key48([1; 48]).text();
        assert_eq!(std::fs::read(files.join(format!("domain-shop/mesh-{key}/b"))).unwrap(), b"x");
        cabinet.delete(&top, &name("b"), false).unwrap();
        cabinet.tidy(&group);
        assert!(!files.join(format!("domain-shop/mesh-{key}")).exists());
    }

    #[test]
    fn no_link_leads_out_of_a_drawer_and_nothing_but_files_is_opened() {
        let (cabinet, data) = cabinet();
        cabinet.write(&place(&["in"]), &name("own"), b"own", None).unwrap();
        let outside = data.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        let drawer = data.path().join("meshcentral-files/domain/user-ann");
        symlink(&outside, drawer.join("folder")).unwrap();
        symlink(outside.join("secret"), drawer.join("file")).unwrap();
        symlink("in/own", drawer.join("inner")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, drawer.join("pipe"), FileType::Fifo, Mode::RWXU, 0)
            .unwrap();
        for (folders, file) in [
            (&[][..], "file"),
            (&[][..], "inner"),
            (&["folder"][..], "secret"),
            (&[][..], "pipe"),
            (&[][..], "in"),
        ] {
            assert!(cabinet.read(&place(folders), &name(file)).is_err(), "{folders:?} {file}");
            assert!(cabinet.shift(&place(folders), &place(&["in"]), &name(file), None).is_err());
        }
        assert!(cabinet.write(&place(&["folder"]), &name("new"), b"x", None).is_err());
        assert!(cabinet.make_folder(&place(&["folder"]), &name("new")).is_err());
        assert!(cabinet.delete(&place(&["folder"]), &name("secret"), true).is_err());
        let listed = cabinet.list(&ann());
        assert_eq!(listed.as_object().unwrap().keys().collect::<Vec<_>>(), ["in"]);
        // Removing a link removes the link.
        cabinet.delete(&place(&[]), &name("folder"), true).unwrap();
        cabinet.delete(&place(&[]), &name("file"), false).unwrap();
        assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    }

    #[test]
    fn a_quota_holds_for_every_way_in() {
        let (cabinet, _data) = cabinet();
        let (top, quota) = (place(&[]), Some(10));
        cabinet.write(&top, &name("a"), b"123456", quota).unwrap();
        assert!(matches!(cabinet.write(&top, &name("b"), b"12345", quota), Err(FileError::Full)));
        assert!(matches!(
            cabinet.copy(&top, &place(&["x"]), &name("a"), quota),
            Err(FileError::Full)
        ));
        cabinet.write(&top, &name("b"), b"1234", quota).unwrap();
        assert!(matches!(cabinet.write(&top, &name("c"), b"", quota), Err(FileError::Full)));
        assert_eq!(cabinet.used(&ann()).unwrap(), 10, "nothing unfinished stays");
        cabinet.shift(&top, &place(&["x"]), &name("a"), quota).unwrap();
        cabinet.rename(&place(&["x"]), &name("a"), &name("d")).unwrap();
        assert_eq!(cabinet.read_short(&place(&["x"]), &name("d"), 7).unwrap(), b"123456");
        assert!(cabinet.read_short(&place(&["x"]), &name("d"), 6).is_err());
        let mut deep = top.clone();
        deep.folders = vec![name("x"); DEPTH_MAX + 1];
        assert!(matches!(cabinet.write(&deep, &name("c"), b"", None), Err(FileError::TooDeep)));
    }

    #[test]
    fn the_list_is_meshcentrals_and_deleting_takes_what_is_inside() {
        let (cabinet, _data) = cabinet();
        assert_eq!(cabinet.list(&ann()), serde_json::json!({}));
        cabinet.write(&place(&["f", "g"]), &name("a"), b"12345", None).unwrap();
        let mut listed = cabinet.list(&ann());
        let date = listed["f"]["f"]["g"]["f"]["a"]["d"].take();
        assert!(date.as_u64().unwrap() > 1_600_000_000_000);
        assert_eq!(
            listed,
            serde_json::json!({"f": {"t": 2, "d": 111, "f": {"g": {"t": 2, "d": 111, "f":
                {"a": {"t": 3, "d": null, "s": 5}}}}}})
        );
        assert!(cabinet.delete(&place(&[]), &name("f"), false).is_err(), "not empty");
        cabinet.delete(&place(&[]), &name("f"), true).unwrap();
        assert_eq!(cabinet.list(&ann()), serde_json::json!({}));
    }

    #[test]
    fn an_upload_that_is_given_up_leaves_nothing() {
        let (cabinet, data) = cabinet();
        let mut upload = cabinet.upload(&place(&[]), None).unwrap();
        upload.write(b"half").unwrap();
        assert_eq!(cabinet.list(&ann()), serde_json::json!({}), "not seen before it is whole");
        drop(upload);
        let drawer = data.path().join("meshcentral-files/domain/user-ann");
        assert_eq!(std::fs::read_dir(&drawer).unwrap().count(), 0);
        // A power cut.
        cabinet.write(&place(&[]), &name("whole"), b"x", None).unwrap();
        std::mem::forget(cabinet.upload(&place(&["f"]), None).unwrap());
        assert_eq!(std::fs::read_dir(drawer.join("f")).unwrap().count(), 1);
        assert_eq!(cabinet.remove_unfinished().unwrap(), 0, "it may go on");
        assert_eq!(Cabinet::new(data.path()).remove_unfinished().unwrap(), 1);
        assert_eq!(std::fs::read_dir(drawer.join("f")).unwrap().count(), 0);
        assert_eq!(cabinet.read_short(&place(&[]), &name("whole"), 9).unwrap(), b"x");
    }
}
