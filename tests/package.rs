//! The stock agent package, as the npm registry has it: installing, verifying, composing.

#![allow(clippy::unwrap_used)] // the lint does not see that helpers here are tests, too

#[path = "common/package.rs"]
#[allow(dead_code)]
mod stock;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use data_encoding::HEXLOWER;
use futures_lite::future::block_on;
use meshboard::agent::kinds::{self, AgentKind};
use meshboard::agent::package::binary::{Digests, Embedded, Layout};
use meshboard::agent::package::install::{InstallError, Progress, Summary, install};
use meshboard::agent::package::{CoreName, MeshCmd, Package, ScriptOptions};
use ring::digest::{SHA384, digest};

/// One installation from the tarball for all tests that only look.
struct Whole {
    data: PathBuf,
    summary: Summary,
}

static WHOLE: LazyLock<Whole> = LazyLock::new(|| {
    // Made anew by each test program, and left for the next: nothing else removes a static.
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package-whole");
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data).unwrap();
    let summary = install(&stock::package_tgz(), &data.join("agents"), None, &mut |_| {}).unwrap();
    Whole { data, summary }
});

fn whole() -> Package {
    Package::open(&WHOLE.data.join("agents"), false).unwrap().unwrap()
}

fn vectors(file: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn arch(names: &[&str]) -> Vec<&'static AgentKind> {
    names.iter().flat_map(|name| kinds::parse_arch(name).unwrap()).collect()
}

/// Every file below a folder with its content.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// A small package of our own: real names, made-up content. `change` may alter its files.
fn small(change: impl FnOnce(&mut BTreeMap<&'static str, Vec<u8>>)) -> tempfile::TempDir {
    let binary = b"\x7fELF a made-up agent".to_vec();
    let hash = HEXLOWER.encode(digest(&SHA384, &binary).as_ref());
    let size = binary.len();
    let list =
        format!(r#"{{"6": {{"filename": "meshagent_x86-64", "hash": "{hash}", "size": {size}}}}}"#);
    let mut files = BTreeMap::from([
        ("meshcore.js", b"main".to_vec()),
        ("recoverycore.js", b"recovery".to_vec()),
        ("modules_meshcore/amt-lme.js", b"lme".to_vec()),
        ("hashagents.json", list.into_bytes()),
        ("meshagent_x86-64", binary),
        ("meshagent_riscv64", b"not listed".to_vec()),
        ("README", b"not wanted".to_vec()),
    ]);
    change(&mut files);
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join("agents").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::write(folder.path().join("package.json"), r#"{"version": "9.9.9"}"#).unwrap();
    folder
}

/// A gzipped tarball of (path, kind, content).
fn tarball(entries: &[(&str, tar::EntryType, &[u8])]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let gz = flate2::write::GzEncoder::new(file.reopen().unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    for (path, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        // Written directly: the crate would refuse the paths an attacker writes.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap().flush().unwrap();
    file
}

#[test]
fn every_core_is_byte_identical_to_the_reference() {
    let vectors = vectors("agent-cores.json");
    let mut seen = 0;
    for (set, minified) in [("default", false), ("minified", true)] {
        let package = Package::open(&WHOLE.data.join("agents"), minified).unwrap().unwrap();
        for name in CoreName::ALL {
            let expected = &vectors[set][name.as_str()];
            let core = package.core(name).unwrap();
            assert_eq!(HEXLOWER.encode(&core.hash.0), expected["sha384"], "{set} {name:?}");
            assert_eq!(u64::from(core.len), expected["imageLength"], "{set} {name:?}");
            // What is sent is what was hashed.
            let image = block_on(package.image(name)).unwrap();
            assert_eq!(image.len() as u64, u64::from(core.len));
            assert_eq!(digest(&SHA384, &image).as_ref(), core.hash.0);
            let deflated = block_on(package.deflated(name)).unwrap();
            assert_eq!(deflated.len() as u64, u64::from(core.deflated_len));
            // As small as the original's, within two per cent.
            let original = expected["rawDeflateLength"].as_u64().unwrap();
            assert!(deflated.len() as u64 * 50 <= original * 51, "{set} {name:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 18);
}

#[test]
fn every_binary_has_the_hash_of_the_reference() {
    let package = whole();
    let vectors = vectors("agent-binaries.json");
    let listed = vectors["packageHashes"].as_object().unwrap();
    for (id, expected) in listed {
        let binary = package.binary(id.parse().unwrap()).unwrap();
        assert_eq!(HEXLOWER.encode(&binary.agent_hash.0), expected["sha384"], "{id}");
        assert_eq!(binary.size, expected["size"], "{id}");
        assert!(binary.verified, "{id}");
    }
    assert_eq!(listed.len(), 23);
    assert_eq!(package.version(), Some(stock::VERSION));
    let installed = WHOLE.summary.binaries.iter();
    assert_eq!(installed.filter(|binary| binary.verified).count(), 23);
}

#[test]
fn every_shipped_kind_is_installed_and_ready_to_send() {
    let package = whole();
    let ids = |kinds: &mut dyn Iterator<Item = &'static AgentKind>| {
        kinds.map(|kind| kind.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut package.list().map(|binary| binary.kind)), ids(&mut kinds::shipped()));
    for binary in package.list() {
        let digests = Digests::read(&mut File::open(&binary.path).unwrap()).unwrap();
        assert_eq!((digests.raw, digests.size), (binary.sha384, binary.size));
        assert_eq!(binary.zip.is_some(), binary.kind.self_update, "{}", binary.kind.id);
        assert_eq!(package.is_current(binary.kind.id, &digests.agent), Some(true));
    }
    let universal = package.binary(10005).unwrap().agent_hash;
    assert_eq!(package.is_current(29, &universal), Some(true));
    assert_eq!(package.is_current(6, &universal), Some(false));
    assert_eq!(package.is_current(999, &universal), None);
}

#[test]
fn the_zip_form_holds_the_agent_under_the_name_agents_look_for() {
    let binary = whole().binary(6).unwrap();
    let form = binary.zip.unwrap();
    let bytes = fs::read(&form.path).unwrap();
    assert_eq!(digest(&SHA384, &bytes).as_ref(), form.sha384.0);
    assert_eq!(bytes.len() as u64, form.size);
    assert!(form.size * 3 < binary.size * 2, "{} of {}", form.size, binary.size);
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    assert_eq!(zip.len(), 1);
    let mut agent = Vec::new();
    zip.by_name("meshagent").unwrap().read_to_end(&mut agent).unwrap();
    assert_eq!(agent, fs::read(binary.path).unwrap());
}

#[test]
fn settings_embedded_in_stock_binaries_leave_their_hash_alone() {
    let package = whole();
    for id in [3, 4, 6, 43, 10005] {
        let binary = package.binary(id).unwrap();
        let mut file = File::open(&binary.path).unwrap();
        let embedded = Embedded::settings(&Layout::read(&mut file).unwrap(), b"\r\na=b\r\n");
        let embedded = embedded.unwrap();
        let (total, mut out) = (embedded.total_len(), Vec::new());
        embedded.reader(File::open(&binary.path).unwrap()).read_to_end(&mut out).unwrap();
        assert_eq!(out.len() as u64, total);
        assert_eq!(total, binary.size + 7 + 20);
        let digests = Digests::read(&mut std::io::Cursor::new(&out)).unwrap();
        assert_eq!(digests.agent, binary.agent_hash, "{id}");
    }
}

#[test]
fn install_scripts_are_filled_in_and_end_their_lines_as_unix_does() {
    let package = whole();
    let options = ScriptOptions { trusted_certificate: false, no_proxy: false };
    for number in [1, 2, 5, 6] {
        let script = package.script(number, options).unwrap().unwrap();
        assert!(script.text.len() > 300);
        assert!(!script.text.contains('\r'), "{number}");
        assert!(!script.text.contains("{{{"), "{number}");
    }
    let script = package.script(1, options).unwrap().unwrap();
    assert_eq!(script.download_name, "meshinstall.sh");
    assert!(script.text.contains("?id=$machineid --no-check-certificate -O ./meshagent"));
    assert!(script.text.contains("curl -L -k --output ./meshagent.msh"));
    assert_eq!(package.script(3, options).unwrap(), None);
}

#[test]
fn meshcmd_is_a_file_on_windows_and_a_script_behind_an_agent_elsewhere() {
    let package = whole();
    let Some(MeshCmd::Ready(ready)) = package.meshcmd(4) else { panic!("no file") };
    assert_eq!(ready.kind.id, 11001);
    let Some(MeshCmd::Bundle { agent, trailer, trailer_len }) = package.meshcmd(6) else {
        panic!("no bundle")
    };
    assert_eq!(agent.kind.id, 6);
    let trailer = fs::read(trailer).unwrap();
    assert_eq!(trailer.len() as u64, trailer_len);
    let (script, end) = trailer.split_at(trailer.len() - 20);
    assert_eq!(end[..4], (script.len() as u32).to_be_bytes());
    assert_eq!(HEXLOWER.encode(&end[4..]), "b996015880544a19b7f7e9be44914c18");
    // Taken from the stock server of this version.
    assert_eq!(
        HEXLOWER.encode(digest(&SHA384, script).as_ref()),
        "0890deadf69563bfa1b04a72c58db0f329385c59a95f7953a2828a5caa4046615d13a48d2515007276e7a2daada063da"
    );
}

#[test]
fn a_folder_gives_the_same_as_the_tarball() {
    let data = tempfile::tempdir().unwrap();
    let only = arch(&["x86_64", "windows64", "MeshCmd64.exe", "android"]);
    let install_from = |from: &Path, name: &str| {
        let agents = data.path().join(name);
        install(from, &agents, Some(&only), &mut |_| {}).unwrap();
        files(&agents)
    };
    let from_tarball = install_from(&stock::package_tgz(), "a");
    let unpacked = stock::unpacked();
    let installation = data.path().join("installation");
    fs::create_dir_all(installation.join("node_modules")).unwrap();
    std::os::unix::fs::symlink(&unpacked, installation.join("node_modules/meshcentral")).unwrap();
    for (name, from) in [
        ("b", unpacked.clone()),
        ("c", unpacked.join("agents")),
        ("d", unpacked.parent().unwrap().to_owned()),
        ("e", installation),
    ] {
        let from_folder = install_from(&from, name);
        assert!(from_folder == from_tarball, "{}", from.display());
    }
    // And so does what was installed, taken as a package itself.
    assert!(install_from(&data.path().join("a"), "a") == from_tarball);
}

#[test]
fn chosen_architectures_are_installed_and_no_others() {
    let (package, data) = (small(|_| ()), tempfile::tempdir().unwrap());
    let agents = data.path().join("agents");
    let summary = install(package.path(), &agents, Some(&arch(&["x86_64"])), &mut |_| {}).unwrap();
    assert_eq!(summary.version.as_deref(), Some("9.9.9"));
    assert_eq!(summary.binaries.len(), 1);
    let opened = Package::open(&agents, false).unwrap().unwrap();
    assert!(opened.binary(6).unwrap().verified);
    assert_eq!(opened.binary(45), None);
    assert!(!agents.join("meshagent_riscv64").exists());
    assert!(!agents.join("README").exists());

    let error = install(package.path(), &agents, Some(&arch(&["armhf"])), &mut |_| {});
    assert!(matches!(error, Err(InstallError::Missing { file: "meshagent_armhf" })), "{error:?}");

    let summary = install(package.path(), &agents, None, &mut |_| {}).unwrap();
    let found: Vec<_> = summary.binaries.iter().map(|b| (b.file.as_str(), b.verified)).collect();
    assert_eq!(found, [("meshagent_riscv64", false), ("meshagent_x86-64", true)]);
}

#[test]
fn installing_again_changes_nothing_and_leaves_nothing_behind() {
    let (package, data) = (small(|_| ()), tempfile::tempdir().unwrap());
    let agents = data.path().join("agents");
    let first = install(package.path(), &agents, None, &mut |_| {}).unwrap();
    let before = files(data.path());
    let second = install(package.path(), &agents, None, &mut |_| {}).unwrap();
    assert_eq!(first, second);
    assert!(files(data.path()) == before);
}

#[test]
fn a_damaged_binary_is_refused_by_name_and_changes_nothing() {
    let (good, data) = (small(|_| ()), tempfile::tempdir().unwrap());
    let agents = data.path().join("agents");
    install(good.path(), &agents, None, &mut |_| {}).unwrap();
    let before = files(data.path());
    let flipped = small(|files| files.get_mut("meshagent_x86-64").unwrap()[9] ^= 1);
    let longer = small(|files| files.get_mut("meshagent_x86-64").unwrap().push(0));
    for damaged in [flipped, longer] {
        let error = install(damaged.path(), &agents, None, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("meshagent_x86-64 is damaged"), "{error}");
        assert!(files(data.path()) == before);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
    }
}

#[test]
fn hostile_or_broken_packages_are_refused_and_change_nothing() {
    use tar::EntryType::{Link, Regular, Symlink};
    let list = ("package/agents/hashagents.json", Regular, &b"{}"[..]);
    let core = ("package/agents/meshcore.js", Regular, &b"x"[..]);
    let long = vec![0; 4 * 1024 * 1024 + 1];
    for (what, entries, expected) in [
        ("no package at all", vec![("package/readme.md", Regular, &b"x"[..])], "no meshcore.js"),
        ("no hashes", vec![core], "no hashagents.json"),
        ("broken hashes", vec![core, ("package/agents/hashagents.json", Regular, b"[")], "damaged"),
        ("link", vec![list, ("package/agents/meshcore.js", Symlink, b"")], "regular file"),
        ("hard link", vec![list, ("package/agents/tinycore.js", Link, b"")], "regular file"),
        ("twice", vec![list, core, core], "twice"),
        ("too long", vec![list, ("package/agents/meshcore.js", Regular, &long)], "longer than"),
    ] {
        let data = tempfile::tempdir().unwrap();
        let tarball = tarball(&entries);
        let error = install(tarball.path(), &data.path().join("agents"), None, &mut |_| {});
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{what}: {error}");
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0, "{what}");
    }
}

#[test]
fn a_tarball_writes_only_names_it_is_expected_to_have() {
    use tar::EntryType::Regular;
    let data = tempfile::tempdir().unwrap();
    let tarball = tarball(&[
        ("package/agents/../../../escaped.js", Regular, b"x"),
        ("package/agents/modules_meshcore/../../escaped.js", Regular, b"x"),
        ("/escaped/agents/x.js", Regular, b"x"),
        ("package/agents/modules_meshcore/.hidden.js", Regular, b"x"),
        ("package/agents/modules_meshcore/good.js", Regular, b"x"),
        ("package/agents/meshcore.js", Regular, b"x"),
        ("package/agents/hashagents.json", Regular, b"{}"),
    ]);
    let agents = data.path().join("agents");
    install(tarball.path(), &agents, None, &mut |_| {}).unwrap();
    let names: Vec<_> = files(data.path()).into_keys().collect();
    let expected = [
        "agents/cores/plain/linux-amt.deflate",
        "agents/cores/plain/linux-noamt.deflate",
        "agents/cores/plain/windows-amt.deflate",
        "agents/hashagents.json",
        "agents/index",
        "agents/meshcore.js",
        "agents/modules_meshcore/good.js",
    ];
    assert_eq!(names, expected.map(PathBuf::from));
}

#[test]
fn a_cut_tarball_is_an_error_wherever_it_is_cut() {
    let core: &[u8] = b"0123456789";
    let whole = tarball(&[
        ("package/agents/hashagents.json", tar::EntryType::Regular, b"{}"),
        ("package/agents/meshcore.js", tar::EntryType::Regular, core),
    ]);
    let bytes = fs::read(whole.path()).unwrap();
    for cut in (0..bytes.len()).step_by(7) {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("cut.tgz");
        fs::write(&path, &bytes[..cut]).unwrap();
        let agents = data.path().join("agents");
        assert!(install(&path, &agents, None, &mut |_| {}).is_err(), "{cut}");
        assert!(!agents.exists(), "{cut}");
    }
}

#[test]
fn a_folder_that_is_not_ours_is_kept() {
    let (package, data) = (small(|_| ()), tempfile::tempdir().unwrap());
    let agents = data.path().join("agents");
    fs::create_dir(&agents).unwrap();
    fs::write(agents.join("meshagent_x86-64"), "an administrator's own").unwrap();
    let summary = install(package.path(), &agents, None, &mut |_| {}).unwrap();
    let kept = summary.kept.unwrap();
    assert_eq!(kept, data.path().join("agents.old"));
    let own = fs::read_to_string(kept.join("meshagent_x86-64")).unwrap();
    assert_eq!(own, "an administrator's own");
}

#[test]
fn a_core_in_the_data_folder_replaces_the_packages() {
    let (package, data) = (small(|_| ()), tempfile::tempdir().unwrap());
    let agents = data.path().join("agents");
    install(package.path(), &agents, None, &mut |_| {}).unwrap();
    let image = |name| {
        let opened = Package::open(&agents, false).unwrap().unwrap();
        let image = block_on(opened.image(name)).unwrap();
        assert_eq!(digest(&SHA384, &image).as_ref(), opened.core(name).unwrap().hash.0);
        String::from_utf8(image[4..].to_vec()).unwrap()
    };
    assert!(image(CoreName::LinuxAmt).contains("amt-lme"));
    fs::write(data.path().join("meshcore.js"), "own").unwrap();
    assert_eq!(image(CoreName::LinuxAmt), "var addedModules = [];\r\nown");
    assert_eq!(image(CoreName::LinuxRecovery), "var addedModules = [];\r\nrecovery");
    fs::create_dir(data.path().join("modules_meshcore")).unwrap();
    fs::write(data.path().join("modules_meshcore/mine.js"), "x").unwrap();
    assert!(image(CoreName::LinuxAmt).contains("addModule(\"mine\", \"x\")"));
}

#[test]
fn a_core_damaged_on_the_card_is_reported_and_not_sent() {
    let (package, data) = (small(|_| ()), tempfile::tempdir().unwrap());
    let agents = data.path().join("agents");
    install(package.path(), &agents, None, &mut |_| {}).unwrap();
    let path = agents.join("cores/plain/linux-amt.deflate");
    let mut bytes = fs::read(&path).unwrap();
    bytes[3] ^= 4;
    fs::write(&path, bytes).unwrap();
    let opened = Package::open(&agents, false).unwrap().unwrap();
    let error = block_on(opened.deflated(CoreName::LinuxAmt)).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    assert!(block_on(opened.deflated(CoreName::LinuxNoamt)).is_ok());
    assert!(block_on(opened.deflated(CoreName::LinuxTiny)).is_err(), "the package has none");
}

#[test]
fn progress_goes_from_nothing_to_all() {
    let (package, data) = (small(|_| ()), tempfile::tempdir().unwrap());
    let (mut read, mut binaries, mut cores) = (Vec::new(), Vec::new(), 0);
    install(package.path(), &data.path().join("agents"), None, &mut |step| match step {
        Progress::Reading { done, total } => read.push((done, total)),
        Progress::Binary { file, number, count } => {
            binaries.push((file.to_owned(), number, count));
        }
        Progress::Cores => cores += 1,
    })
    .unwrap();
    assert!(read.is_sorted());
    assert!(read.last().is_some_and(|(done, total)| done == total));
    let expected = [("meshagent_riscv64", 1, 2), ("meshagent_x86-64", 2, 2)];
    assert_eq!(binaries, expected.map(|(file, n, count)| (file.to_owned(), n, count)));
    assert_eq!(cores, 1);
}
