"""Session, Device and Mesh: device groups and a device with a stock agent on it.

Takes `device` and its group, `lab`.
"""

import meshctrl
from recorder import run


async def groups(recorder, session, lab):
    attic = await recorder.ask(
        "Session.add_device_group",
        session.add_device_group("attic", description="Under the roof", consent=7),
    )
    attic = attic.meshid if attic else "none"
    recorder.know("attic", attic)
    await recorder.ask(
        "Session.edit_device_group",
        session.edit_device_group(attic, name="loft", description="Nicer", flags=2),
    )
    await recorder.ask(
        "Session.edit_device_group by name",
        session.edit_device_group("loft", isname=True, invite_codes=["one", "two"]),
    )
    await recorder.ask(
        "Session.add_users_to_device_group",
        session.add_users_to_device_group(["bob", "nobody"], attic, rights=8),
    )
    await recorder.ask("Session.list_device_groups", session.list_device_groups())
    await recorder.ask(
        "Session.remove_users_from_device_group",
        session.remove_users_from_device_group(["user//bob"], attic),
    )
    await recorder.ask("Session.generate_invite_link", session.generate_invite_link("loft", 2))
    await recorder.ask(
        "Session.generate_invite_link nosuch", session.generate_invite_link("nosuch", 2)
    )
    await recorder.ask(
        "Session.send_invite_email", session.send_invite_email("loft", "a@example.com")
    )
    mesh = next((m for m in await session.list_device_groups() if m.meshid == lab), None)
    await recorder.ask("Mesh.add_users", mesh.add_users(["bob"], rights=72))
    recorder.note("Mesh", mesh)
    return attic


async def reading(recorder, session, device):
    await recorder.ask("Session.list_devices", session.list_devices())
    await recorder.ask("Session.list_devices of a group", session.list_devices(group="lab"))
    await recorder.ask("Session.list_devices nosuch", session.list_devices(group="nosuch"))
    await recorder.ask("Session.list_devices details", session.list_devices(details=True))
    await recorder.ask("Session.device_info", session.device_info(device))
    await recorder.ask("Session.device_info nosuch", session.device_info("nosuch"))


async def changing(recorder, session, device, lab, attic):
    await recorder.ask(
        "Session.edit_device",
        session.edit_device(
            device, name="kitchen", description="sink", tags=["a", "b"], icon=4, consent=1
        ),
    )
    await recorder.ask(
        "Session.add_users_to_device", session.add_users_to_device(["bob"], device, rights=8)
    )
    await recorder.ask(
        "Session.remove_users_from_device",
        session.remove_users_from_device(device, ["user//bob"]),
    )
    await recorder.ask(
        "Session.move_to_device_group", session.move_to_device_group(device, attic)
    )
    found = next((d for d in await session.list_devices() if d.nodeid == device), None)
    recorder.note("Device", found)
    await recorder.ask("Device.move_to_device_group", found.move_to_device_group(lab))
    await recorder.ask("Device.edit", found.edit(name="bath"))
    await recorder.ask("Device.add_users", found.add_users(["bob"], rights=8))
    await recorder.ask("Device.remove_users", found.remove_users(["user//bob"]))
    await recorder.ask("Device.info", found.info())
    return found


async def acting(recorder, session, device, found):
    await recorder.ask(
        "Session.run_command", session.run_command(device, "echo hello; exit 3")
    )
    await recorder.ask(
        "Session.run_command ignoring output",
        session.run_command(device, "true", ignore_output=True),
    )
    await recorder.ask("Session.run_command nosuch", session.run_command("nosuch", "echo hello"))
    await recorder.ask("Device.run_command", found.run_command("echo forty-$((6*7))"))
    await recorder.ask(
        "Session.run_console_command", session.run_console_command(device, "agentsize nosuch")
    )
    await recorder.ask("Session.device_message", session.device_message(device, "hi", title="T"))
    await recorder.ask("Session.device_message nosuch", session.device_message("nosuch", "hi"))
    await recorder.ask("Session.wake_devices", session.wake_devices(device))
    await recorder.ask("Device.wake", found.wake())


async def sharing(recorder, session, device):
    await recorder.ask("Session.list_device_shares", session.list_device_shares(device))
    await recorder.ask(
        "Session.list_device_shares nosuch", session.list_device_shares("nosuch")
    )
    await recorder.ask(
        "Session.remove_device_share", session.remove_device_share(device, "nosuch")
    )


async def area(recorder):
    device, lab = recorder.given["device"], recorder.given["lab"]
    session = await recorder.connect()
    await session.add_user("bob", "Bobs-Secret-1")
    attic = await groups(recorder, session, lab)
    await reading(recorder, session, device)
    found = await changing(recorder, session, device, lab, attic)
    await acting(recorder, session, device, found)
    await sharing(recorder, session, device)
    events = await session.list_events(nodeid=device)
    recorder.note("Session.list_events", {"kinds": sorted({e["action"] for e in events})})
    events = await session.list_events(userid="user//admin", limit=3)
    recorder.note("Session.list_events of a user", len(events))
    await recorder.ask(
        "Session.remove_device_group", session.remove_device_group("loft", isname=True)
    )
    await recorder.ask("Session.remove_device_group gone", session.remove_device_group(attic))
    await recorder.ask("Device.remove", found.remove())
    await recorder.ask("Session.remove_devices nosuch", session.remove_devices(["nosuch"]))
    await session.close()


run(area)
