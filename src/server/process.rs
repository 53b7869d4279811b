//! What this process uses of the machine.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use crate::hub::machine::Usage;

/// Raises the number of files that may be open to what the system allows: a connected agent is one,
/// and most systems start programs with 1024.
pub fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        log::warn!("the number of connections stays limited to {:?}: {error}", limit.current);
    }
}
