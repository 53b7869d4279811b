//! The `meshboard` program.

use std::process::ExitCode;

/// Sizes the pool for RSA, Argon2 and fsync. Each of its threads may hold 12 MiB at a time.
const POOL: &str = "BLOCKING_MAX_THREADS";

fn main() -> ExitCode {
    size_pool();
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
