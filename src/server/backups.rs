//! Backups by themselves, in the pool.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use async_io::Timer;

use crate::backup::schedule;
use crate::hub::Hub;
use crate::pool;

/// How often it is looked whether one is due.
const LOOK: Duration = Duration::from_secs(600);

/// Makes backups as `autoBackup` says, for ever.
pub(super) async fn run(hub: Rc<Hub>, data: PathBuf) {
    loop {
        // At first too: agents come back first, the disk has time.
        Timer::after(LOOK).await;
        let Some(plan) = hub.config().settings.auto_backup.clone() else { continue };
        let (folder, now, looking) = (data.clone(), hub.now(), plan.clone());
        if !pool::unblock(move || schedule::is_due(&looking, &folder, now)).await {
            continue;
        }
        if let Err(error) = hub.store.save().await {
            log::error!("the backup lacks what changed last: {error}");
        }
        let data = data.clone();
        match pool::unblock(move || schedule::run(&plan, &data, now)).await {
            Ok(file) => log::info!("backup written to {}", file.display()),
            Err(error) => log::error!("no backup: {error}"),
        }
    }
}
