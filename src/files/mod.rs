//! Files that people keep on the server: `meshcentral-files/` below the data folder, in
//! MeshCentral's layout: `domain[-<id>]/user-<name>/…` and `domain[-<id>]/mesh-<64 characters>/…`.
//!
//! Nothing here knows who may do what; callers ask the hub first. What is here: no path leaves its
//! drawer. Paths come as lists of [`Name`]s and are walked one directory handle at a time, and no
//! step follows a symbolic link or opens anything but folders and regular files. Everything blocks
//! and belongs into the pool.

mod cabinet;
mod name;
mod tree;
mod upload;

pub use cabinet::{Cabinet, Drawer, FileError, Place};
pub use name::Name;
pub use upload::Upload;
