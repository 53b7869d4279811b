"""Session and Device: power commands, for a simulated agent. Takes `device`."""

from recorder import run


async def area(recorder):
    device = recorder.given["device"]
    session = await recorder.connect()
    found = next(d for d in await session.list_devices() if d.nodeid == device)
    await recorder.ask("Session.reset_devices", session.reset_devices(device))
    await recorder.ask("Session.sleep_devices", session.sleep_devices([device]))
    await recorder.ask("Session.power_off_devices", session.power_off_devices(device))
    await recorder.ask("Device.reset", found.reset())
    await recorder.ask("Device.sleep", found.sleep())
    await recorder.ask("Device.power_off", found.power_off())
    await session.close()


run(area)
