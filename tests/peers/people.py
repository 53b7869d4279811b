"""Session: the server, accounts, user groups, login tokens, events."""

import asyncio

import meshctrl
from recorder import run


async def server(recorder, session):
    await recorder.ask("Session.ping", session.ping())
    await recorder.ask("Session.server_info", session.server_info())
    await recorder.ask("Session.user_info", session.user_info())
    await recorder.ask("Session.list_user_sessions", session.list_user_sessions())


async def accounts(recorder, session):
    created = await first_account(session)
    await recorder.ask("Session.add_user bob", session.add_user("bob", "Bobs-Secret-1"))
    await recorder.ask("Session.events tells of bob", created)
    await recorder.ask("Session.add_user bob again", session.add_user("bob", "Bobs-Secret-1"))
    await recorder.ask(
        "Session.add_user carol",
        session.add_user(
            "carol",
            randompass=True,
            email="carol@example.com",
            emailverified=True,
            realname="Carol",
            phone="555",
            rights=meshctrl.constants.UserRights.manageusers,
        ),
    )
    await recorder.ask("Session.add_user ~x", session.add_user("~x", "Some-Secret-1"))
    await recorder.ask(
        "Session.edit_user bob",
        session.edit_user("user//bob", realname="Bob", email="bob@example.com"),
    )
    await recorder.ask("Session.edit_user nobody", session.edit_user("nobody", realname="X"))
    await recorder.ask("Session.list_users", session.list_users())

    bob = await recorder.connect("bob", "Bobs-Secret-1")
    await recorder.ask("Session.list_users by bob", bob.list_users())
    await recorder.ask("Session.add_user by bob", bob.add_user("eve", "Eves-Secret-1"))
    await recorder.ask("Session.user_info of bob", bob.user_info())
    heard = asyncio.create_task(first_broadcast(bob))
    await asyncio.sleep(0)
    await recorder.ask("Session.broadcast", session.broadcast("tea is ready"))
    await recorder.ask("Session.raw_messages brings it to bob", heard)
    await recorder.ask("Session.broadcast to bob", session.broadcast("psst", userid="user//bob"))
    await recorder.ask("Session.broadcast by bob", bob.broadcast("no"))
    await bob.close()
    recorder.note("Session.close", bob.alive)


async def first_account(session):
    """The first account created from now on."""

    async def wait():
        async for event in session.events({"event": {"action": "accountcreate"}}):
            return event

    task = asyncio.create_task(wait())
    # Until it listens; an answer behind it proves that nothing before was missed.
    await session.ping()
    return task


async def first_broadcast(session):
    async for message in session.raw_messages():
        if '"notify"' in message:
            return "tea is ready" in message


async def user_groups(recorder, session):
    staff = await recorder.ask(
        "Session.add_user_group", session.add_user_group("staff", description="All of us")
    )
    staff = staff.id if staff else "none"
    recorder.know("staff", staff)
    await recorder.ask("Session.add_user_group ''", session.add_user_group(""))
    await recorder.ask(
        "Session.add_users_to_user_group",
        session.add_users_to_user_group(["bob", "user//carol"], staff),
    )
    await recorder.ask(
        "Session.add_users_to_user_group nobody",
        session.add_users_to_user_group("nobody", staff),
    )
    await recorder.ask("Session.list_user_groups", session.list_user_groups())
    await recorder.ask(
        "Session.remove_user_from_user_group",
        session.remove_user_from_user_group("user//bob", staff),
    )
    await recorder.ask("Session.list_user_groups later", session.list_user_groups())
    await recorder.ask("Session.remove_user_group", session.remove_user_group(staff))
    await recorder.ask("Session.remove_user_group gone", session.remove_user_group(staff))


async def tokens(recorder, session):
    token = await recorder.ask(
        "Session.add_login_token", session.add_login_token("robot", expire=60)
    )
    user, password = (token or {}).get("tokenUser"), (token or {}).get("tokenPass")
    recorder.know("token user", user or "none")
    recorder.know("token password", password or "none")
    await recorder.ask("Session.list_login_tokens", session.list_login_tokens())
    robot = await recorder.connect(user or "none", password or "none")
    await recorder.ask("Session.user_info by token", robot.user_info())
    await robot.close()
    await recorder.ask("Session.remove_login_token", session.remove_login_token("robot"))


async def area(recorder):
    session = await recorder.connect()
    await server(recorder, session)
    await accounts(recorder, session)
    await user_groups(recorder, session)
    await tokens(recorder, session)
    await recorder.ask("Session.remove_user", session.remove_user("user//bob"))
    await recorder.ask("Session.remove_user gone", session.remove_user("user//bob"))
    await session.close()

    wrong = await recorder.connect(password="wrong")
    await recorder.ask("Session.user_info with a wrong password", wrong.user_info())
    await wrong.close()


run(area)
