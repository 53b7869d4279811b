//! The table of actions on devices: adding, sharing, telling about and reaching them.

use super::Echo::{Both, Nothing, ResponseId};
use super::Need::{Device, DeviceAnyOf, DeviceUnless, Devices, Group, Login};
use super::Refusal::{SaysAs, Silent};
use super::Wanted::Always;
use super::{
    Action, VISIBLE, action, add_devices, amt_device, amt_lan, amt_policy, amt_power, amt_set,
    clipboard, cookies, import_amt, remote, report, says, server, share_link, shares, wake,
};
use crate::model::Rights;

/// What a user needs to let guests in; who may not type freely cannot hand that on.
const SHARE: Rights = Rights::REMOTE_CONTROL.union(Rights::GUEST_SHARING);
const NOT_SHARE: Rights = Rights::LIMITED_INPUT;

/// Shares are refused as `deviceShares`, whatever was asked.
const NO_SHARE: super::Refusal =
    SaysAs("deviceShares", "Invalid node id", "Invalid node id", "Access denied");
/// What is read of firmware is refused like what is read of a device.
const NOT_ASKED: super::Refusal = super::Refusal::NoInfo(super::NO_DEVICE);
/// Adding is refused as `changeDeviceMesh`.
const NOT_ADDED: super::Refusal = SaysAs(
    "changeDeviceMesh",
    "Invalid device group id",
    "Unknown device group",
    "Permission denied",
);

pub(super) static ACTIONS: &[Action] = &[
    // Adding
    action(
        "addlocaldevice",
        ResponseId,
        Group(Rights::MANAGE_DEVICES, add_devices::local),
        NOT_ADDED,
    ),
    action("addamtdevice", ResponseId, Group(Rights::MANAGE_DEVICES, add_devices::amt), NOT_ADDED),
    action("importamtdevices", ResponseId, Group(Rights::EDIT_GROUP, import_amt::import), Silent),
    action("scanamtdevice", Nothing, Login(amt_lan::scan), Silent),
    action("meshamtpolicy", Nothing, Group(Rights::EDIT_GROUP, amt_policy::set), Silent),
    // What firmware is asked and told; all ours
    action("amtread", Both, Device(Rights::DEVICE_DETAILS, amt_device::read), NOT_ASKED),
    action(
        "amtboot",
        Both,
        Device(Rights::RESET_OFF, amt_device::boot),
        says("Invalid node id", "Invalid node id", "Access denied"),
    ),
    action(
        "amtpower",
        Both,
        Device(Rights::RESET_OFF, amt_power::set),
        says("Invalid node id", "Invalid node id", "Access denied"),
    ),
    action(
        "amtconsent",
        Both,
        Device(Rights::REMOTE_CONTROL, amt_device::consent),
        says("Invalid node id", "Invalid node id", "Access denied"),
    ),
    action(
        "amtset",
        Both,
        Device(Rights::MANAGE_DEVICES, amt_set::set),
        says("Invalid node id", "Invalid node id", "Access denied"),
    ),
    // Sharing
    action(
        "createDeviceShareLink",
        ResponseId,
        DeviceUnless(SHARE, NOT_SHARE, share_link::create),
        NO_SHARE,
    ),
    action("deviceShares", Nothing, DeviceUnless(SHARE, NOT_SHARE, shares::of_device), NO_SHARE),
    action(
        "deviceMeshShares",
        Nothing,
        Group(VISIBLE, shares::of_group),
        SaysAs(
            "deviceShares",
            "Invalid device group id",
            "Invalid device group id",
            "Access denied",
        ),
    ),
    action(
        "removeDeviceShare",
        ResponseId,
        DeviceUnless(SHARE, NOT_SHARE, shares::remove),
        NO_SHARE,
    ),
    // Reaching
    action(
        "getcookie",
        Nothing,
        DeviceAnyOf(Rights::REMOTE_CONTROL.union(Rights::RELAY), cookies::device_cookie),
        Silent,
    ),
    action(
        "webrelay",
        ResponseId,
        Device(VISIBLE, cookies::web_relay),
        says("Invalid node id", "Invalid node id", "Invalid node id"),
    ),
    action("getClip", Nothing, Device(Rights::REMOTE_CONTROL, clipboard::get), Silent),
    action("setClip", Nothing, Device(Rights::REMOTE_CONTROL, clipboard::set), Silent),
    action("wakedevices", ResponseId, Devices(Always(Rights::WAKE), wake::wake), Silent),
    action("updateAgents", Nothing, Devices(Always(Rights::FULL), remote::update), Silent),
    // Not to be had here: there is no MQTT broker.
    action("getmqttlogin", ResponseId, Login(server::no_mqtt), Silent),
    action("sendmqttmsg", ResponseId, Login(server::no_mqtt), Silent),
    // Telling
    action("report", Nothing, Login(report::report), Silent),
];
