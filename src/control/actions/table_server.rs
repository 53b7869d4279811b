//! The table of actions on the server itself, and on the files people keep there.

use super::Echo::{Nothing, Tag};
use super::Need::{Login, Site, SiteAnyOf};
use super::Refusal::Silent;
use super::{Action, action, amt_history, files, server, server_state};
use crate::model::SiteRights;

/// What lets a user see the server's numbers.
pub(in super::super) const STATS: SiteRights =
    SiteRights::BACKUP.union(SiteRights::RESTORE).union(SiteRights::UPDATE);

pub(super) static ACTIONS: &[Action] = &[
    // Files
    action("files", Nothing, Site(SiteRights::FILES, files::list), Silent),
    action("fileoperation", Nothing, Site(SiteRights::FILES, files::operate), Silent),
    // Numbers
    action("serverstats", Nothing, SiteAnyOf(STATS, server_state::stats), Silent),
    action("servertimelinestats", Nothing, SiteAnyOf(STATS, server_state::timeline), Silent),
    action("trafficstats", Nothing, SiteAnyOf(STATS, server_state::traffic), Silent),
    action("trafficdelta", Nothing, SiteAnyOf(STATS, server_state::traffic_delta), Silent),
    action("serverhealth", Nothing, SiteAnyOf(STATS, server_state::health), Silent),
    // State
    action("serverversion", Nothing, Site(SiteRights::UPDATE, server_state::version), Silent)
        .not_by_token(),
    action("serverupdate", Nothing, Site(SiteRights::UPDATE, server_state::update), Silent)
        .not_by_token(),
    action("servererrors", Nothing, Site(SiteRights::UPDATE, server_state::errors), Silent),
    action("serverclearerrorlog", Nothing, Site(SiteRights::UPDATE, server_state::clear), Silent),
    action("serverconfig", Nothing, Site(SiteRights::UPDATE, server_state::config), Silent),
    action("serverBackup", Nothing, Site(SiteRights::FULL, server_state::backup), Silent)
        .not_by_token(),
    action("serverconsole", Tag, Site(SiteRights::FULL, server_state::console), Silent)
        .not_by_token(),
    action("amtactivations", Tag, Site(SiteRights::FULL, amt_history::list), Silent),
    action("traceinfo", Nothing, Site(SiteRights::FULL, server_state::trace), Silent),
    // Not to be had here: no plugins, no binaries of the tools.
    action("plugins", Nothing, Login(server::ignore), Silent),
    action("pluginLatestCheck", Nothing, Login(server::ignore), Silent),
    action("addplugin", Nothing, Login(server::ignore), Silent),
    action("installplugin", Nothing, Login(server::ignore), Silent),
    action("disableplugin", Nothing, Login(server::ignore), Silent),
    action("removeplugin", Nothing, Login(server::ignore), Silent),
    action("getpluginversions", Nothing, Login(server::ignore), Silent),
    action("plugin", Nothing, Login(server::ignore), Silent),
    action("distributeCore", Nothing, Login(server::ignore), Silent),
    action("meshToolInfo", Nothing, Login(server::ignore), Silent),
];
