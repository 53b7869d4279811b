//! `meshboard import`: moving in from MeshCentral.

use std::path::Path;

use async_executor::LocalExecutor;
use futures_lite::FutureExt as _;

use super::{Common, Failure, link, print};
use crate::migrate::{Import, Report};
use crate::store::{Options, Store};

pub(super) fn run(
    common: &Common,
    source: &Path,
    export: Option<&Path>,
    dry_run: bool,
) -> Result<(), Failure> {
    if !source.is_dir() {
        return Err(Failure::usage(format!("{} is no folder", source.display())));
    }
    let data = &common.data;
    // A dry run leaves no trace, so it needs no folder of ours.
    let store = match dry_run && !data.is_dir() {
        true => Store::in_memory(),
        false => Store::open(data, Options::default()).map_err(link::refused)?.0,
    };
    let import = Import { source, export, data, dry_run };
    let report = perform(&import, &store)?;
    if common.json {
        return print::json(&report);
    }
    print::table(&report.to_string())?;
    if dry_run {
        print::note("Nothing was changed: this was a dry run.");
    } else {
        print::note(
            "Stop MeshCentral before you start this server under its name and port; its agents \
             will come by themselves. Install the agent package with `meshboard agents install`.",
        );
    }
    Ok(())
}

fn perform(import: &Import<'_>, store: &Store) -> Result<Report, Failure> {
    let executor = LocalExecutor::new();
    let disk = store.clone();
    executor.spawn(async move { disk.run().await }.boxed_local()).detach();
    async_io::block_on(executor.run(async {
        let report = import.run(store).await.map_err(Failure::failed)?;
        store.close().await.map_err(Failure::failed)?;
        Ok(report)
    }))
}
