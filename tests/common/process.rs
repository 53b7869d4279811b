//! A child process of a test: its output by line, waits without sleeping, and a certain end.
//!
//! `setpriv --pdeathsig` ties the child to the test's thread, so that it dies even when the test
//! program is killed.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// A running program; killed and reaped when dropped, its output shown if the test fails.
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
    // Held open: the stock server ends when its standard input does.
    stdin: Option<ChildStdin>,
}

#[derive(Default)]
struct Log {
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    stdout: Vec<String>,
    stderr: Vec<String>,
    open_streams: usize,
}

impl Process {
    /// Starts `program`; `configure` adds arguments, environment and folder.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(program: impl AsRef<OsStr>, configure: impl FnOnce(&mut Command)) -> Self {
        let name = program.as_ref().to_string_lossy().into_owned();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        configure(&mut command);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let log = Arc::new(Log::default());
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        log.lock().open_streams = 2;
        collect(Arc::clone(&log), stdout, |lines| &mut lines.stdout);
        collect(Arc::clone(&log), stderr, |lines| &mut lines.stderr);
        let stdin = child.stdin.take();
        Self { name, child, log, stdin }
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of output.
    ///
    /// # Panics
    /// If the program ends before it, or it does not come.
    pub fn wait_for_line(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut found = None;
        let waited = self.wait(PATIENCE, |lines| {
            let mut all = lines.stdout.iter().chain(&lines.stderr);
            found = all.find(|line| wanted(line)).cloned();
            found.is_some() || lines.open_streams == 0
        });
        match found {
            Some(line) => line,
            None => panic!(
                "{}: {} before the awaited line",
                self.name,
                if waited { "ended" } else { "silent" }
            ),
        }
    }

    /// Whether it prints such a line in time.
    pub fn prints(&self, patience: Duration, wanted: impl Fn(&str) -> bool) -> bool {
        let mut found = false;
        self.wait(patience, |lines| {
            found = lines.stdout.iter().any(|line| wanted(line));
            found || lines.open_streams == 0
        });
        found
    }

    /// Waits until the program has ended by itself; `None` if it did not in time.
    pub fn wait_for_end(&mut self, patience: Duration) -> Option<ExitStatus> {
        let ended = self.wait(patience, |lines| lines.open_streams == 0);
        ended.then(|| self.child.wait().expect("the child is ours"))
    }

    /// Types into its standard input. That it does not read any more shows in its output.
    pub fn type_in(&mut self, text: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush());
        }
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        self.log.lock().stdout.join("\n")
    }

    /// What it wrote to standard error so far, by line.
    pub fn stderr(&self) -> Vec<String> {
        self.log.lock().stderr.clone()
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// If it does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        match self.wait_for_end(PATIENCE) {
            Some(status) => status,
            None => panic!("{} did not end on SIGTERM", self.name),
        }
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        // The only error is that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal; one that has ended already takes none.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // A child that is not reaped keeps its id; the only error is that it has ended.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until `done`; whether that was before the patience ended.
    fn wait(&self, patience: Duration, mut done: impl FnMut(&Lines) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        let mut lines = self.log.lock();
        loop {
            if done(&lines) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.log.changed.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let lines = self.log.lock();
            eprintln!("--- {} wrote:", self.name);
            lines.stdout.iter().chain(&lines.stderr).for_each(|line| eprintln!("    {line}"));
        }
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads one stream to its end, line by line.
fn collect(
    log: Arc<Log>,
    stream: impl Read + Send + 'static,
    target: fn(&mut Lines) -> &mut Vec<String>,
) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            target(&mut log.lock()).push(line);
            log.changed.notify_all();
        }
        log.lock().open_streams -= 1;
        log.changed.notify_all();
    });
}
