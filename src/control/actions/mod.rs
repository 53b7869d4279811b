//! The table of actions: what clients may ask for, and the right each of them needs.
//!
//! Adding an action is adding one entry to [`ACTIONS`] and writing its handler. The entry says how
//! answers are correlated (control-protocol §4), which right is needed on what (§5), and what a
//! client hears that does not have it. The dispatcher resolves the device or group named in the
//! request and asks the hub for rights; a handler is called with what was granted and nothing else.
//! What a user has no right on at all is, in every answer, the same as what does not exist.

mod call;
mod credentials;
mod device_edit;
mod device_reports;
mod devices;
mod factors;
mod group_members;
mod groups;
mod history;
mod power;
mod remote;
mod server;
mod tokens;
mod users;

use std::rc::Rc;

use crate::model::rights::Subject;
use crate::model::{Device, Group, GroupId, GroupKind, NodeId, Rights, SiteRights};

pub(super) use call::{Answer, Call};

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
    /// That a restriction is not imposed on the account.
    Unrestricted(SiteRights, for<'a> fn(&'a Call) -> Answer<'a>),
    /// A right on the device group named by `meshid`, `meshname` or `meshidname`.
    Group(Rights, for<'a> fn(&'a Call, OnGroup) -> Answer<'a>),
    /// All these rights on the device named by `nodeid`; an empty set means any right at all.
    Device(Rights, for<'a> fn(&'a Call, OnDevice) -> Answer<'a>),
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
    const fn not_by_token(mut self) -> Self {
        self.by_token = false;
        self
    }
}

/// An action by which people change how they log in: not where their settings are locked, and not by
/// a login token.
const fn settings_of_own(name: &'static str, run: for<'a> fn(&'a Call) -> Answer<'a>) -> Action {
    action(name, Nothing, Unrestricted(SiteRights::LOCK_SETTINGS, run), Silent).not_by_token()
}

use Echo::{Both, Nothing, ResponseId, Tag};
use Need::{
    Device as OnOne, DeviceAnyOf, Devices as OnEach, DevicesToGroup, Group as OnMesh, Login, Site,
    Unrestricted,
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
    action("usergroups", Tag, Login(users::list_groups), Silent),
    action(
        "adduser",
        ResponseId,
        Site(SiteRights::MANAGE_USERS, users::add),
        Numbered("Permission denied", 1),
    ),
    action("edituser", ResponseId, Site(SiteRights::MANAGE_USERS, users::edit), Silent),
    action(
        "deleteuser",
        ResponseId,
        Site(SiteRights::MANAGE_USERS, users::delete),
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
    action(
        "changeuserpass",
        Nothing,
        Site(SiteRights::MANAGE_USERS, credentials::change_others),
        Silent,
    )
    .not_by_token(),
    action("logoutall", ResponseId, Login(credentials::log_out_everywhere), Silent).not_by_token(),
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
    settings_of_own("otp-hkey-yubikey-add", factors::add_yubikey),
    settings_of_own("otpemail", factors::by_email),
    settings_of_own("removePhone", factors::remove_phone),
    // What needs somebody to send a code, or somebody else's service: known, and never answered.
    settings_of_own("otpduo", server::ignore),
    settings_of_own("otpdev-set", server::ignore),
    settings_of_own("otpdev-clear", server::ignore),
    settings_of_own("verifyemail", server::ignore),
    settings_of_own("verifyPhone", server::ignore),
    settings_of_own("confirmPhone", server::ignore),
    settings_of_own("verifyMessaging", server::ignore),
    settings_of_own("confirmMessaging", server::ignore),
    settings_of_own("removeMessaging", server::ignore),
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
    action("wakedevices", ResponseId, OnEach(Always(Rights::WAKE), power::wake), Silent),
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

/// The table's entry for an action.
pub(super) fn find(name: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.name == name)
}

/// A device on which the needed right was granted.
#[derive(Clone, Debug)]
pub(super) struct OnDevice {
    pub(super) device: Rc<Device>,
    /// Everything the user may do with it.
    pub(super) rights: Rights,
}

/// A device group on which the needed right was granted.
#[derive(Clone, Debug)]
pub(super) struct OnGroup {
    pub(super) group: Rc<Group>,
    /// Everything the user may do with it.
    pub(super) rights: Rights,
}

/// One of the devices a request named.
#[derive(Clone, Debug)]
pub(super) enum Choice {
    /// The right is granted.
    Granted(OnDevice),
    /// Visible to the user, but the right is missing.
    Denied,
    /// Unknown, or invisible to the user.
    Unknown,
}

/// Why a request is not performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Invalid,
    Unknown,
    Denied,
    Duplicate,
    ByToken,
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
            Need::Unrestricted(restriction, run) => {
                granted(!site.restricted(restriction))?;
                run(call)
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
        if matches!(cause, Cause::Denied | Cause::ByToken) {
            call.audit_refusal();
        }
        if cause == Cause::Duplicate {
            return call.result("Duplicate device groups found");
        }
        match self.refusal {
            Silent => Answer::none(),
            Refusal::Says { invalid, unknown, denied } => {
                let text = match cause {
                    Cause::Invalid | Cause::Duplicate => invalid,
                    Cause::Unknown => unknown,
                    Cause::Denied | Cause::ByToken => denied,
                };
                if text.is_empty() { Answer::none() } else { call.result(text) }
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

/// The device named by `nodeid`, if the user has any right on it.
fn device_named(call: &Call) -> Result<OnDevice, Cause> {
    let text = call.request.text_within("nodeid", 1, 1024).ok_or(Cause::Invalid)?;
    visible_device(call, text).ok_or(Cause::Unknown)
}

fn visible_device(call: &Call, id: &str) -> Option<OnDevice> {
    let id = NodeId::parse_in(&call.user.id.domain, id).ok()?;
    let device = call.hub().store.device(&id)?;
    let rights = call.hub().rights_on_device(&call.user, &device);
    (!rights.is_empty()).then_some(OnDevice { device, rights })
}

/// What the user may do with each of `nodeids`, in their order.
fn devices_named(call: &Call, wanted: Wanted) -> Result<Vec<Choice>, Cause> {
    let right = match wanted {
        Always(right) => right,
        By(right) => right(&call.request),
    };
    let ids = call.request.texts("nodeids", 1024).ok_or(Cause::Invalid)?;
    Ok(ids
        .into_iter()
        .map(|id| match visible_device(call, id) {
            Some(granted) if granted.rights.allows(right) => Choice::Granted(granted),
            Some(_) => Choice::Denied,
            None => Choice::Unknown,
        })
        .collect())
}

/// The group named by `meshid`, or by its name in `meshname` (`meshidname` in editmesh), if the
/// user has any right on it. Names count for agent groups only, as in MeshCentral.
fn group_named(call: &Call) -> Result<OnGroup, Cause> {
    let request = &call.request;
    if request.get("meshid").is_none() {
        // editmesh may rename: there `meshidname` is the group and `meshname` its new name.
        let name = request.text("meshidname").or_else(|| request.text("meshname"));
        return group_by_name(call, name.ok_or(Cause::Invalid)?);
    }
    let text = request.text_within("meshid", 8, 134).ok_or(Cause::Invalid)?;
    let id = GroupId::parse_in(&call.user.id.domain, text).map_err(|_| Cause::Unknown)?;
    let group = call.hub().store.group(&id).filter(|group| group.deleted.is_none());
    visible_group(call, group.ok_or(Cause::Unknown)?).ok_or(Cause::Unknown)
}

fn visible_group(call: &Call, group: Rc<Group>) -> Option<OnGroup> {
    let rights = call.hub().rights(&call.user, Subject::Group(&group.id));
    (!rights.is_empty()).then_some(OnGroup { group, rights })
}

fn group_by_name(call: &Call, name: &str) -> Result<OnGroup, Cause> {
    let mut found = call
        .hub()
        .store
        .groups(&call.user.id.domain)
        .into_iter()
        .filter(|group| group.kind == GroupKind::Agent && group.name == name)
        .filter_map(|group| visible_group(call, group));
    let group = found.next().ok_or(Cause::Invalid)?;
    if found.next().is_some() { Err(Cause::Duplicate) } else { Ok(group) }
}

#[cfg(test)]
mod tests;
