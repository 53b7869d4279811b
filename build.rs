//! Makes the web page before the program is compiled, and a table of its files to embed; asks the
//! linker for a shorter program.
//!
//! Where the page comes from, in this order: the folder `MESHBOARD_WEB_DIST` names, as it is;
//! `web/dist`, if somebody built it and it is not older than its sources; else it is built here, with
//! Node, in Cargo's output folder: nothing is written beside the sources. `docs/building.md` tells
//! how to build without Node.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::time::SystemTime;
use std::{env, fs, io};

/// What the bundle is made of, below `web/`.
const SOURCES: [&str; 5] = [".npmrc", "package.json", "package-lock.json", "build.mjs", "src"];
/// Names a folder with a bundle made beforehand.
const BUNDLE: &str = "MESHBOARD_WEB_DIST";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={BUNDLE}");
    if loads_packed_relocations() {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let table = match env::var_os("CARGO_FEATURE_WEB_UI") {
        Some(_) => bundle(&out).and_then(|dist| Ok(table(&dist)?)),
        None => Ok("pub(super) static FILES: [File; 0] = [];\n".to_owned()),
    };
    let written = table.and_then(|table| Ok(fs::write(out.join("web.rs"), table)?));
    if let Err(Failure(words)) = written {
        eprintln!("\nThe web page cannot be built: {words}\n");
        eprintln!(
            "Ways out: install Node.js 18.20 or newer with npm; or build the page elsewhere (`npm ci && npm"
        );
        eprintln!(
            "run build` in web/) and bring web/dist here, or name it in {BUNDLE}; or build the"
        );
        eprintln!("program without a web page: `cargo build --no-default-features`.");
        exit(1);
    }
}

/// Whether the program may have its relocations in a form that takes 3 KB and not 200: glibc loads
/// it since 2.36. A program is for machines with the C library of the one that builds it or a newer
/// one. Linkers that do not know the form leave it out.
fn loads_packed_relocations() -> bool {
    let is = |name, wanted| env::var_os(name).is_some_and(|value| value == wanted);
    let native = env::var_os("HOST") == env::var_os("TARGET");
    if !native || !is("CARGO_CFG_TARGET_ARCH", "x86_64") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return false;
    }
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = || {
        let (major, minor) =
            told.as_deref().ok()?.trim().strip_prefix("glibc ")?.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    version().is_some_and(|version| version >= (2, 36))
}

/// What went wrong, in words.
struct Failure(String);

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// The folder of a bundle that is up to date.
fn bundle(out: &Path) -> Result<PathBuf, Failure> {
    if let Some(given) = env::var_os(BUNDLE).filter(|given| !given.is_empty()) {
        let given = PathBuf::from(given);
        println!("cargo::rerun-if-changed={}", given.display());
        return Ok(given);
    }
    let web = Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("web");
    let mut changed = SystemTime::UNIX_EPOCH;
    for source in SOURCES.map(|name| web.join(name)) {
        println!("cargo::rerun-if-changed={}", source.display());
        changed = changed.max(newest(&source)?);
    }
    let dist = web.join("dist");
    if dist.exists() {
        // Watched only where it is: Cargo takes a missing file for a changed one.
        println!("cargo::rerun-if-changed={}", dist.display());
        if is_from(&dist, changed) {
            return Ok(dist);
        }
    }
    let copy = out.join("web");
    let dist = copy.join("dist");
    if !is_from(&dist, changed) {
        build(&web, &copy)?;
    }
    Ok(dist)
}

/// Whether a bundle is there and not older than `changed`. Its page is written last.
fn is_from(dist: &Path, changed: SystemTime) -> bool {
    let made = fs::metadata(dist.join("index.html")).and_then(|page| page.modified());
    made.is_ok_and(|made| made >= changed)
}

/// When the newest file in `path` was changed.
fn newest(path: &Path) -> Result<SystemTime, Failure> {
    let metadata = fs::metadata(path).map_err(|e| Failure(format!("{}: {e}", path.display())))?;
    let mut newest_time = metadata.modified()?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            newest_time = newest_time.max(newest(&entry?.path())?);
        }
    }
    Ok(newest_time)
}

/// Builds the bundle in a copy of its sources.
fn build(web: &Path, copy: &Path) -> Result<(), Failure> {
    let lock = "package-lock.json";
    let kept = copy.join("node_modules/.made-by");
    let installed = fs::read(&kept).ok() == fs::read(web.join(lock)).ok();
    let _ = fs::remove_dir_all(copy.join("src"));
    for source in SOURCES {
        copy_all(&web.join(source), &copy.join(source))?;
    }
    if !installed {
        run("npm", &["ci", "--omit=dev", "--ignore-scripts", "--prefer-offline"], copy)?;
        fs::copy(web.join(lock), kept)?;
    }
    run("node", &["build.mjs"], copy)
}

fn copy_all(from: &Path, to: &Path) -> Result<(), Failure> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(from, to)?;
    }
    Ok(())
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> Result<(), Failure> {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure(format!("`{program}` is not installed")),
        _ => Failure(format!("{program}: {error}")),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(Failure(format!("`{program} {}` failed:\n{said}", arguments.join(" "))))
}

/// The Rust source of the table: each file with its validator, length and compressed form.
fn table(dist: &Path) -> io::Result<String> {
    let mut names = ["index.html", "guest.html", "chat.html"].map(str::to_owned).to_vec();
    for entry in fs::read_dir(dist.join("assets"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".gz") {
            names.push(format!("assets/{name}"));
        }
    }
    names.sort();
    let mut rows = String::new();
    for name in &names {
        let content = fs::read(dist.join(name))?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&content);
        let gz = dist.join(format!("{name}.gz"));
        // A bundle made for development has no compressed form, and is not for programs.
        fs::metadata(&gz)?;
        // Writing into a String cannot fail.
        let _ = writeln!(
            rows,
            "    File {{ name: {name:?}, etag: \"\\\"{:016x}\\\"\", len: {}, gz: include_bytes!({gz:?}) }},",
            hasher.finish(),
            content.len(),
        );
    }
    Ok(format!("pub(super) static FILES: [File; {}] = [\n{rows}];\n", names.len()))
}
