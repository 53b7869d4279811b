//! Debian's nginx in front of a server under test, configured as the documentation says.

use std::fs;
use std::path::Path;
use std::time::Instant;

use async_net::TcpStream;
use futures_lite::future::block_on;
use meshboard::identity::certificate::sha384;
use meshboard::identity::{Names, Role, load_or_make_web};
use meshboard::tls::shown_certificate;
use rustix::process::Signal;
use tempfile::TempDir;

use super::process::Process;
use super::{PATIENCE, ports};

/// Where nginx connects from, so that it is told from its clients, which are at 127.0.0.1.
pub const ADDRESS: &str = "127.0.0.2";

/// A running nginx.
pub struct Nginx {
    process: Process,
    folder: TempDir,
    port: u16,
    renewals: usize,
}

impl Nginx {
    /// Starts it on `port` in front of `upstream` (`http://127.0.0.1:8443`), with a certificate of
    /// its own.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(port: u16, upstream: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        new_certificate(folder.path());
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(folder.path(), port, upstream)).expect("the folder is ours");
        // Should the test be killed, the first process of nginx is asked to end, and ends the others.
        let process = Process::start("setpriv", |command| {
            command
                .args(["--pdeathsig", "TERM", "--", "nginx"])
                .arg("-p")
                .arg(folder.path())
                .arg("-c")
                .arg(&file)
                .args(["-e", "stderr"]);
        });
        process.wait_for_line(|line| line.contains("start worker process "));
        Self { process, folder, port, renewals: 0 }
    }

    /// A port for one that starts later.
    pub fn port() -> u16 {
        ports::free()
    }

    /// The file of its certificate.
    pub fn certificate_file(&self) -> std::path::PathBuf {
        Role::Web.cert_path(self.folder.path())
    }

    /// SHA-384 of the certificate it shows, as the server writes it.
    ///
    /// # Panics
    /// If it shows none.
    pub fn hash(&self) -> String {
        let shown = block_on(async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let name = "mesh.example.com".try_into().expect("a name");
            shown_certificate(stream, name).await
        });
        sha384(&shown.expect("nginx does TLS")).hex()
    }

    /// Gives it another certificate, as a renewal does; connections stay. Its hash.
    ///
    /// # Panics
    /// If it is not taken.
    pub fn renew(&mut self) -> String {
        for path in [Role::cert_path, Role::key_path] {
            fs::remove_file(path(Role::Web, self.folder.path())).expect("it is ours");
        }
        new_certificate(self.folder.path());
        self.process.signal(Signal::HUP);
        self.renewals += 1;
        // For a moment the old process accepts connections beside the new one.
        let deadline = Instant::now() + PATIENCE;
        let gone = |line: &String| line.contains("gracefully shutting down");
        while self.process.stderr().iter().filter(|line| gone(line)).count() < self.renewals {
            assert!(Instant::now() < deadline, "nginx keeps its old certificate");
            std::thread::yield_now();
        }
        self.hash()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.process.terminate();
    }
}

fn new_certificate(folder: &Path) {
    let names = Names { server: "mesh.example.com".into(), others: vec![] };
    load_or_make_web(folder, &names).expect("the folder is ours");
}

/// The block in `docs/behind-a-proxy.md`, with the places of this test in it.
fn configuration(folder: &Path, port: u16, upstream: &str) -> String {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/behind-a-proxy.md");
    let guide = fs::read_to_string(guide).expect("the guide is there");
    let (_, block) = guide.split_once("```nginx\n").expect("the guide shows nginx");
    let (block, _) = block.split_once("```").expect("the block ends");
    let mut block = block.to_owned();
    let [certificate, key] = [Role::cert_path, Role::key_path]
        .map(|path| path(Role::Web, folder).to_string_lossy().into_owned());
    for (shown, here) in [
        ("listen 443 ssl", &*format!("listen 127.0.0.1:{port} ssl")),
        ("/etc/ssl/mesh/fullchain.pem", &certificate),
        ("/etc/ssl/mesh/privkey.pem", &key),
        ("http://127.0.0.1:8443", upstream),
    ] {
        assert!(block.contains(shown), "the guide has {shown:?}");
        block = block.replace(shown, here);
    }
    let folder = folder.display();
    // Who runs the test owns the folder.
    format!(
        "daemon off; user root; worker_processes 1; pid {folder}/pid; error_log stderr notice;
         events {{}}
         http {{
             access_log off;
             client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
             fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
             scgi_temp_path {folder}/scgi;
             proxy_bind {ADDRESS};
             {block}
         }}"
    )
}
