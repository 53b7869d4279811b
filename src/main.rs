//! The `meshboard` program.

use std::process::ExitCode;

/// Sizes the pool for RSA, Argon2 and fsync. Each of its threads may hold 12 MiB at a time.
const POOL: &str = "BLOCKING_MAX_THREADS";

fn main() -> ExitCode {
    size_pool();
    give_large_blocks_back();
    meshboard::cli::main()
}

/// The pool reads its size from the environment, once, at its first use.
#[allow(unsafe_code)]
fn size_pool() {
    if std::env::var_os(POOL).is_some() {
        return;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if cores <= 2 { "2" } else { "4" };
    // SAFETY: `main` has just begun and no other thread exists that could read the environment.
    unsafe { std::env::set_var(POOL, threads) };
}

/// Has glibc return blocks of 128 KiB and more to the system as soon as they are freed.
///
/// By default it learns from the first large block that such blocks are common, and from then on
/// each thread of the pool keeps the 12 MiB of its last password for ever.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
fn give_large_blocks_back() {
    const LARGE: libc::c_int = 128 * 1024;
    // SAFETY: `mallopt` takes two numbers and has no preconditions.
    let taken = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    debug_assert_eq!(taken, 1, "glibc takes any threshold up to half of its largest heap");
}

/// Other allocators do so by themselves.
#[cfg(not(target_env = "gnu"))]
fn give_large_blocks_back() {}
