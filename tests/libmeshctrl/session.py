"""What a script does with libmeshctrl: terminals and files of one device.

Arguments: URL, user, password, device id, a folder of the device that is empty. Prints `passed` at
the end; any assertion or exception before is a failure.
"""

import asyncio
import hashlib
import io
import os
import sys

import meshctrl

async def terminals(session, device):
    async with session.shell(device) as shell:
        await shell.write("echo one-$((1+1))\n")
        await shell.expect("one-2", timeout=60)
    # The prompt of a root shell ends in "# "; it is seen twice, because the agent types an alias.
    async with session.smart_shell(device, r"[#$] ") as smart:
        output = await smart.send_command("echo forty-$((6*7))", timeout=60)
        while "forty-42" not in output:
            output = await smart.send_command("echo forty-$((6*7))", timeout=60)


async def files(session, device, folder):
    content = os.urandom(300_000) + b"{" * 70_000 + b"\0" * 70_000
    async with session.file_explorer(device) as explorer:
        assert await explorer.mkdir(f"{folder}/new", timeout=60)
        done = await explorer.upload(io.BytesIO(content), f"{folder}/new", name="up.bin", timeout=120)
        assert done == {"result": True, "size": len(content)}, done
        listed = await explorer.ls(f"{folder}/new", timeout=60)
        assert [(entry["n"], entry["s"]) for entry in listed] == [("up.bin", len(content))], listed
        for by_http in (True, False):
            target = io.BytesIO()
            await explorer.download(
                f"{folder}/new/up.bin",
                target,
                skip_http_attempt=not by_http,
                skip_ws_attempt=by_http,
                timeout=120,
            )
            same = hashlib.sha384(target.getvalue()).digest() == hashlib.sha384(content).digest()
            assert same, f"by HTTP: {by_http}, {len(target.getvalue())} bytes"
        # What these return is whatever the agent logs next, which may still be a download.
        await explorer.rename(f"{folder}/new", "up.bin", "down.bin", timeout=60)
        assert [entry["n"] for entry in await explorer.ls(f"{folder}/new", timeout=60)] == ["down.bin"]
        await explorer.rm(folder, "new", recursive=True, timeout=60)
        assert await explorer.ls(folder, timeout=60) == []


async def main(url, user, password, device, folder):
    async with meshctrl.Session(url, user=user, password=password, ignore_ssl=True) as session:
        await terminals(session, device)
        await files(session, device, folder)
    print("passed")


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 170))
