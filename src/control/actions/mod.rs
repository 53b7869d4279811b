//! The table of actions: what clients may ask for, and the right each of them needs.
//!
//! Adding an action is adding one entry to [`ACTIONS`] (or to the tables of devices and of the
//! server) and writing its handler. The entry says how
//! answers are correlated (control-protocol §4), which right is needed on what (§5), and what a
//! client hears that does not have it. The dispatcher resolves the device or group named in the
//! request and asks the hub for rights; a handler is called with what was granted and nothing else.
//! What a user has no right on at all is, in every answer, the same as what does not exist.

mod account_self;
mod add_devices;
mod amt;
mod amt_device;
mod amt_history;
mod amt_lan;
mod amt_policy;
mod amt_power;
mod amt_set;
mod call;
mod chat;
mod clipboard;
mod cookies;
mod credentials;
mod device_amt;
mod device_csv;
mod device_edit;
mod device_reports;
mod devices;
mod factors;
mod files;
mod group_members;
mod groups;
mod history;
mod import_amt;
mod invites;
mod messages;
mod named;
mod notes;
mod power;
mod recordings;
mod remote;
mod report;
mod security_keys;
mod server;
mod server_state;
mod share_link;
mod shares;
mod table_devices;
mod table_server;
mod tokens;
mod user_edit;
mod user_groups;
mod users;
mod wake;
mod web_sessions;

use std::rc::Rc;

use crate::model::rights::Authority;
use crate::model::{Rights, SiteRights, User, UserGroup};

pub(super) use call::{Answer, Call};
use named::{
    Cause, Choice, OnDevice, OnGroup, account_named, device_named, devices_named, group_named,
    user_group, user_group_named, visible_account, visible_device,
};
pub(super) use server_state::{record_counts, text as server_stats};
pub(super) use table_server::STATS as STATS_RIGHTS;

use super::request::Request;

/// Which members of the request come back with the answer (§4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Echo {
    /// None.
    Nothing,
    /// `tag`.
    Tag,
    /// `responseid` and `tag`.
    Both,
    /// `responseid`; a request without one gets no answer.
    ResponseId,
}

/// What is needed to perform an action, and the handler that then does it.
#[derive(Clone, Copy)]
pub(super) enum Need {
    /// To be logged in. The handler shows nobody more than they have rights on.
    Login(for<'a> fn(&'a Call) -> Answer<'a>),
    /// A right on the server.
    Site(SiteRights, for<'a> fn(&'a Call) -> Answer<'a>),
    /// One of these rights on the server.
    SiteAnyOf(SiteRights, for<'a> fn(&'a Call) -> Answer<'a>),
    /// That a restriction is not imposed on the account.
    Unrestricted(SiteRights, for<'a> fn(&'a Call) -> Answer<'a>),
    /// That much authority over the account named by `userid`, `username` or `id`.
    Account(Authority, for<'a> fn(&'a Call, Rc<User>) -> Answer<'a>),
    /// That much authority over the account named by `userid`; without one, all these rights on the
    /// device named by `nodeid`.
    AccountOrDevice(
        Authority,
        for<'a> fn(&'a Call, Rc<User>) -> Answer<'a>,
        Rights,
        for<'a> fn(&'a Call, OnDevice) -> Answer<'a>,
    ),
    /// To manage user groups; this one is named by `ugrpid`.
    UserGroup(for<'a> fn(&'a Call, Rc<UserGroup>) -> Answer<'a>),
    /// A right on the device group named by `meshid`, `meshname` or `meshidname`.
    Group(Rights, for<'a> fn(&'a Call, OnGroup) -> Answer<'a>),
    /// All these rights on the device named by `nodeid`; an empty set means any right at all.
    Device(Rights, for<'a> fn(&'a Call, OnDevice) -> Answer<'a>),
    /// All these rights on the device named by `nodeid`, and none of these restrictions.
    DeviceUnless(Rights, Rights, for<'a> fn(&'a Call, OnDevice) -> Answer<'a>),
    /// One of these rights on the device named by `nodeid`.
    DeviceAnyOf(Rights, for<'a> fn(&'a Call, OnDevice) -> Answer<'a>),
    /// A right on each of the devices named by `nodeids`; the handler learns about each.
    Devices(Wanted, for<'a> fn(&'a Call, Vec<Choice>) -> Answer<'a>),
    /// A right on the group of the request and another on each of the devices.
    DevicesToGroup(Rights, Rights, for<'a> fn(&'a Call, OnGroup, Vec<Choice>) -> Answer<'a>),
}

/// The right needed on each device.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    /// Always this one.
    Always(Rights),
    /// It depends on what the request wants to be done.
    By(fn(&Request) -> Rights),
}

/// What is answered to a request that names something wrong or has no right.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    /// Nothing.
    Silent,
    /// A `result` text.
    Says {
        /// The request names nothing that could be a device or group.
        invalid: &'static str,
        /// It does not exist or the user has no right on it at all.
        unknown: &'static str,
        /// The user has some right, but not this one. Empty: no answer.
        denied: &'static str,
    },
    /// The same, under the name of another action: clients know these refusals so.
    SaysAs(&'static str, &'static str, &'static str, &'static str),
    /// A `result` text with its number for translation, `msgid`.
    Numbered(&'static str, u32),
    /// `noinfo:true` with this `result` text, and the device's id.
    NoInfo(&'static str),
    /// The answer of `msg`, with `tag`.
    Unroutable,
    /// A number in `err`: one for who has no right, one for who came by a login token.
    Coded(u32, u32),
}

const fn says(invalid: &'static str, unknown: &'static str, denied: &'static str) -> Refusal {
    Refusal::Says { invalid, unknown, denied }
}

/// One action.
pub(super) struct Action {
    pub(super) name: &'static str,
    pub(super) echo: Echo,
    pub(super) need: Need,
    pub(super) refusal: Refusal,
    /// Whether a session that came by a login token may do it. Programs may do what their account
    /// may, but not change how people log in to it, nor run the server.
    pub(super) by_token: bool,
}

const fn action(name: &'static str, echo: Echo, need: Need, refusal: Refusal) -> Action {
    Action { name, echo, need, refusal, by_token: true }
}

impl Action {
    pub(super) const fn not_by_token(mut self) -> Self {
        self.by_token = false;
        self
    }
}

/// An action by which people change how they log in: not where their settings are locked, and not by
/// a login token.
const fn settings_of_own(name: &'static str, run: for<'a> fn(&'a Call) -> Answer<'a>) -> Action {
    action(name, Nothing, Unrestricted(SiteRights::LOCK_SETTINGS, run), Silent).not_by_token()
}

use Authority::{Manage, See};
use Echo::{Both, Nothing, ResponseId, Tag};
use Need::{
    Account as OnUser, AccountOrDevice as OnUserOrOne, Device as OnOne, DeviceAnyOf,
    Devices as OnEach, DevicesToGroup, Group as OnMesh, Login, Site, Unrestricted,
    UserGroup as OnTeam,
};
use Refusal::{Coded, NoInfo, Numbered, Silent, Unroutable};
use Wanted::{Always, By};

const VISIBLE: Rights = Rights::empty();
const NO_DEVICE: &str = "Invalid device id";

/// Every action this server knows.
pub(super) static ACTIONS: &[Action] = &[
    // The session itself
    action("ping", Nothing, Login(server::ping), Silent),
    action("pong", Nothing, Login(server::ignore), Silent),
    action("print", Nothing, Login(server::ignore), Silent),
    action("urlargs", Nothing, Login(server::ignore), Silent),
    action("authcookie", Nothing, Login(server::auth_cookie), Silent),
    action("logincookie", Nothing, Login(server::login_cookie), Silent),
    action("intersession", Nothing, Login(server::inter_session), Silent),
    action("wssessioncount", Tag, Login(server::session_count), Silent),
    // Accounts
    action(
        "users",
        Tag,
        Site(SiteRights::MANAGE_USERS, users::list),
        says("", "", "Access denied"),
    ),
    action(
        "adduser",
        ResponseId,
        Site(SiteRights::MANAGE_USERS, users::add),
        Numbered("Permission denied", 1),
    ),
    action(
        "adduserbatch",
        ResponseId,
        Site(SiteRights::MANAGE_USERS, users::add_many),
        says("", "", "Access denied"),
    ),
    action(
        "edituser",
        ResponseId,
        OnUser(Manage, user_edit::edit),
        says("Invalid userid", "User does not exists", ""),
    ),
    action(
        "deleteuser",
        ResponseId,
        OnUser(Manage, user_edit::delete),
        says("Invalid userid", "User does not exists", "Permission denied"),
    ),
    action("previousLogins", Nothing, Login(history::logins), Silent),
    // One's own account
    settings_of_own("changelang", account_self::language),
    settings_of_own("changeemail", account_self::email),
    settings_of_own("removePhone", account_self::remove_phone),
    settings_of_own("removeMessaging", account_self::remove_messaging),
    action("updateUserImage", Nothing, Login(account_self::image), Silent).not_by_token(),
    action(
        "userWebState",
        Nothing,
        Unrestricted(SiteRights::LOCK_SETTINGS, account_self::web_state),
        Silent,
    ),
    action(
        "changemeshnotify",
        ResponseId,
        OnMesh(VISIBLE, account_self::notify_of_group),
        says("Invalid group identifier", "Access denied", ""),
    ),
    action(
        "changeusernotify",
        ResponseId,
        OnOne(VISIBLE, account_self::notify_of_device),
        says("Invalid device identifier", "Access denied", ""),
    ),
    action("getNotes", Nothing, Login(notes::get), Silent),
    action("setNotes", Nothing, Login(notes::set), Silent),
    // What needs a mail, SMS or messaging service, which this server has not
    action("verifyemail", Nothing, Login(server::ignore), Silent).not_by_token(),
    action("verifyPhone", Nothing, Login(server::ignore), Silent).not_by_token(),
    action("confirmPhone", Nothing, Login(server::ignore), Silent).not_by_token(),
    action("verifyMessaging", Nothing, Login(server::ignore), Silent).not_by_token(),
    action("confirmMessaging", Nothing, Login(server::ignore), Silent).not_by_token(),
    action("emailuser", Nothing, Login(messages::no_mail), Silent),
    action("smsuser", Nothing, Login(messages::no_sms), Silent),
    action("msguser", Nothing, Login(messages::no_messaging), Silent),
    action("inviteAgent", ResponseId, Login(invites::by_mail), Silent),
    // Messages between people
    action(
        "userbroadcast",
        ResponseId,
        Site(SiteRights::MANAGE_USERS, messages::broadcast),
        says("", "", "Permission denied"),
    ),
    // One's own account: how to log in to it
    action(
        "changepassword",
        Nothing,
        Unrestricted(SiteRights::LOCK_SETTINGS, credentials::change_own),
        Silent,
    )
    .not_by_token(),
    action("changeuserpass", Nothing, OnUser(Manage, credentials::change_others), Silent)
        .not_by_token(),
    action("logoutall", ResponseId, Login(credentials::log_out_everywhere), Silent).not_by_token(),
    action("websessions", Tag, Login(web_sessions::list), Silent).not_by_token(),
    action("endwebsession", ResponseId, Login(web_sessions::end), Silent).not_by_token(),
    action("createLoginToken", Nothing, Login(tokens::create), says("", "", "Access denied"))
        .not_by_token(),
    action("loginTokens", Nothing, Login(tokens::list), Silent).not_by_token(),
    action("twoFactorCookie", Nothing, Login(factors::remember_device), Silent).not_by_token(),
    action(
        "otpauth-request",
        Nothing,
        Unrestricted(SiteRights::LOCK_SETTINGS, factors::request_app),
        Coded(5, 3),
    )
    .not_by_token(),
    settings_of_own("otpauth-setup", factors::set_up_app),
    settings_of_own("otpauth-clear", factors::remove_app),
    action("otpauth-getpasswords", Nothing, Login(factors::backup_codes), Silent).not_by_token(),
    action("otp-hkey-get", Nothing, Login(factors::security_keys), Silent).not_by_token(),
    settings_of_own("otp-hkey-remove", factors::remove_security_key),
    settings_of_own("webauthn-startregister", security_keys::start),
    settings_of_own("webauthn-endregister", security_keys::finish),
    settings_of_own("otp-hkey-yubikey-add", factors::add_yubikey),
    settings_of_own("otpemail", factors::by_email),
    // What needs somebody to send a code, or somebody else's service: known, and never answered.
    settings_of_own("otpduo", server::ignore),
    settings_of_own("otpdev-set", server::ignore),
    settings_of_own("otpdev-clear", server::ignore),
    action("notifyuser", Nothing, OnUser(See, messages::notify), Silent),
    action("interuser", Nothing, Login(messages::inter_user), Silent),
    action(
        "meshmessenger",
        ResponseId,
        OnUserOrOne(See, chat::with_account, Rights::CHAT, chat::at_device),
        says("Invalid nodeid", "Access denied", "Access denied"),
    ),
    // User groups
    action("usergroups", Tag, Login(user_groups::list), Silent),
    action(
        "createusergroup",
        ResponseId,
        Site(SiteRights::USER_GROUPS, user_groups::create),
        says("", "", "Permission denied"),
    ),
    action(
        "deleteusergroup",
        ResponseId,
        OnTeam(user_groups::delete),
        says("Invalid group id", "Unknown device group", "Permission denied"),
    ),
    action("editusergroup", Nothing, OnTeam(user_groups::edit), Silent),
    action(
        "addusertousergroup",
        ResponseId,
        OnTeam(user_groups::add_users),
        says("Invalid groupid", "Invalid groupid", "Permission denied"),
    ),
    action(
        "removeuserfromusergroup",
        ResponseId,
        OnTeam(user_groups::remove_user),
        says("Invalid groupid", "Invalid groupid", "Permission denied"),
    ),
    // Device groups
    action("meshes", Tag, Login(groups::list), Silent),
    action(
        "createmesh",
        ResponseId,
        Unrestricted(SiteRights::NO_NEW_GROUPS, groups::create),
        says("", "", "Permission denied"),
    ),
    action(
        "editmesh",
        ResponseId,
        OnMesh(Rights::EDIT_GROUP, groups::edit),
        says("Invalid group identifier", "Invalid group identifier", ""),
    ),
    action(
        "deletemesh",
        ResponseId,
        OnMesh(Rights::FULL, groups::delete),
        says("Invalid group identifier", "Unknown device group", "Access denied"),
    ),
    action(
        "addmeshuser",
        ResponseId,
        OnMesh(Rights::MANAGE_USERS, group_members::add),
        says("Invalid groupid", "Unknown group", "Permission denied"),
    ),
    action(
        "removemeshuser",
        ResponseId,
        OnMesh(Rights::MANAGE_USERS, group_members::remove),
        says("Invalid groupid", "Unknown device group", "Permission denied"),
    ),
    action(
        "createInviteLink",
        Both,
        OnMesh(VISIBLE, invites::link),
        says("Invalid group id", "Invalid group id", "Invalid group id"),
    ),
    // Intel AMT that calls in
    action("mpsjournal", Both, Site(SiteRights::FULL, amt::journal), says("", "", "Access denied")),
    action(
        "mpssetup",
        Both,
        OnMesh(Rights::EDIT_GROUP, amt::setup),
        says("Invalid group id", "Invalid group id", "Access denied"),
    ),
    action(
        "mpsscript",
        Both,
        OnMesh(Rights::EDIT_GROUP, amt::script),
        says("Invalid group id", "Invalid group id", "Access denied"),
    ),
    // Devices: reading
    action("nodes", Both, Login(devices::list), Silent),
    action("getDeviceDetails", Nothing, Login(device_reports::details), Silent),
    action(
        "getnetworkinfo",
        Nothing,
        OnOne(Rights::DEVICE_DETAILS, device_reports::network),
        NoInfo(NO_DEVICE),
    ),
    action(
        "getsysinfo",
        Tag,
        OnOne(Rights::DEVICE_DETAILS, device_reports::system),
        NoInfo(NO_DEVICE),
    ),
    action("lastconnect", Nothing, OnOne(VISIBLE, history::last_connect), NoInfo(NO_DEVICE)),
    action("lastconnects", Tag, Login(history::last_connects), Silent),
    action("powertimeline", Tag, OnOne(VISIBLE, history::power), Silent),
    action("events", Tag, Login(history::events), Silent),
    action("recordings", Tag, Site(SiteRights::RECORDINGS, recordings::list), Silent),
    // Devices: changing
    action(
        "changedevice",
        ResponseId,
        OnOne(Rights::MANAGE_DEVICES, device_edit::change),
        says("Invalid nodeid", "Access Denied", "Access Denied"),
    ),
    action(
        "changeDeviceMesh",
        ResponseId,
        DevicesToGroup(Rights::MANAGE_DEVICES, Rights::EDIT_GROUP, device_edit::change_group),
        says("Invalid groupid", "Unknown device group", "Permission denied"),
    ),
    action(
        "removedevices",
        ResponseId,
        OnEach(Always(Rights::UNINSTALL), device_edit::remove),
        Silent,
    ),
    action(
        "adddeviceuser",
        ResponseId,
        OnOne(Rights::MANAGE_USERS, device_edit::add_user),
        says("Invalid nodeid", "", ""),
    ),
    action("setDeviceEvent", Nothing, OnOne(VISIBLE, device_edit::add_event), Silent),
    // Devices: talking to the agent
    action(
        "msg",
        Both,
        DeviceAnyOf(Rights::REMOTE_CONTROL.union(Rights::VIEW_ONLY), remote::message),
        Unroutable,
    ),
    action("runcommands", ResponseId, OnEach(By(remote::run_right), remote::run), Silent),
    action("toast", ResponseId, OnEach(Always(Rights::CHAT), remote::toast), Silent),
    action("poweraction", ResponseId, OnEach(By(power::power_right), power::power), Silent),
    action("uninstallagent", Nothing, OnEach(Always(Rights::UNINSTALL), remote::uninstall), Silent),
    action(
        "uploadagentcore",
        Nothing,
        OnEach(Always(Rights::AGENT_CONSOLE), remote::upload_core),
        Silent,
    ),
    action("agentdisconnect", Nothing, OnOne(Rights::AGENT_CONSOLE, remote::disconnect), Silent),
];

/// Every action of all tables.
pub(super) fn all() -> impl Iterator<Item = &'static Action> {
    ACTIONS.iter().chain(table_devices::ACTIONS).chain(table_server::ACTIONS)
}

/// The table's entry for an action.
pub(super) fn find(name: &str) -> Option<&'static Action> {
    all().find(|action| action.name == name)
}

impl Action {
    /// Performs `call` if the user has the right, or refuses it.
    pub(super) fn perform<'a>(&self, call: &'a Call) -> Answer<'a> {
        self.try_perform(call).unwrap_or_else(|cause| self.refuse(call, cause))
    }

    fn try_perform<'a>(&self, call: &'a Call) -> Result<Answer<'a>, Cause> {
        let site = call.user.site;
        let granted = |yes: bool| if yes { Ok(()) } else { Err(Cause::Denied) };
        if call.is_by_token() && !self.by_token {
            return Err(Cause::ByToken);
        }
        Ok(match self.need {
            Need::Login(run) => run(call),
            Need::Site(right, run) => {
                granted(site.allows(right))?;
                run(call)
            }
            Need::SiteAnyOf(rights, run) => {
                granted(site.intersects(rights))?;
                run(call)
            }
            Need::Unrestricted(restriction, run) => {
                granted(!site.restricted(restriction))?;
                run(call)
            }
            Need::Account(authority, run) => {
                granted(site.allows(SiteRights::MANAGE_USERS))?;
                run(call, account_named(call, authority)?)
            }
            Need::AccountOrDevice(authority, run, ..) if call.request.get("userid").is_some() => {
                granted(site.allows(SiteRights::MANAGE_USERS))?;
                run(call, account_named(call, authority)?)
            }
            Need::AccountOrDevice(_, _, right, run) => {
                let device = device_named(call)?;
                granted(device.rights.allows(right))?;
                run(call, device)
            }
            Need::UserGroup(run) => {
                granted(site.allows(SiteRights::USER_GROUPS))?;
                run(call, user_group_named(call)?)
            }
            Need::Group(right, run) => {
                let group = group_named(call)?;
                granted(group.rights.allows(right))?;
                run(call, group)
            }
            Need::Device(right, run) => {
                let device = device_named(call)?;
                granted(device.rights.allows(right))?;
                run(call, device)
            }
            Need::DeviceUnless(right, restriction, run) => {
                let device = device_named(call)?;
                granted(device.rights.allows(right))?;
                granted(!device.rights.restricted(restriction))?;
                run(call, device)
            }
            Need::DeviceAnyOf(rights, run) => {
                let device = device_named(call)?;
                granted(device.rights.intersects(rights))?;
                run(call, device)
            }
            Need::Devices(wanted, run) => run(call, devices_named(call, wanted)?),
            Need::DevicesToGroup(on_group, on_device, run) => {
                let group = group_named(call)?;
                granted(group.rights.allows(on_group))?;
                run(call, group, devices_named(call, Wanted::Always(on_device))?)
            }
        })
    }

    fn refuse(&self, call: &Call, cause: Cause) -> Answer<'static> {
        match cause {
            Cause::Denied | Cause::ByToken => call.audit_refusal(),
            Cause::Above => {
                call.audit_refusal();
                return call.result("Permission denied");
            }
            Cause::Duplicate => return call.result("Duplicate device groups found"),
            Cause::Invalid | Cause::Unknown => {}
        }
        let choose = |invalid: &'static str, unknown, denied| match cause {
            Cause::Invalid | Cause::Duplicate => invalid,
            Cause::Unknown => unknown,
            Cause::Denied | Cause::Above | Cause::ByToken => denied,
        };
        match self.refusal {
            Silent => Answer::none(),
            Refusal::Says { invalid, unknown, denied } => {
                let text = choose(invalid, unknown, denied);
                if text.is_empty() { Answer::none() } else { call.result(text) }
            }
            Refusal::SaysAs(name, invalid, unknown, denied) => {
                call.result_as(name, choose(invalid, unknown, denied))
            }
            Numbered(text, number) => call.numbered_result(text, number),
            NoInfo(text) => call.no_info(text),
            Unroutable => call.routed("Unable to route"),
            Coded(denied, by_token) => {
                let number = if cause == Cause::ByToken { by_token } else { denied };
                call.answer(serde_json::json!({"err": number}))
            }
        }
    }
}

#[cfg(test)]
mod tests;
