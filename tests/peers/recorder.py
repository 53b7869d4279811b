"""Runs calls of libmeshctrl and prints what came back, as JSON.

Each script of this folder covers one area. Its arguments are the URL of the server, an account and
its password, and further values as `name=value`. It prints `{"known": {name: value}, "steps":
[{"asked", "answer"}]}`; times are seconds since 1970.
"""

import asyncio
import datetime
import inspect
import json
import sys

import meshctrl

# Longest wait for one answer.
PATIENCE = 20


class Recorder:
    def __init__(self):
        self.url, self.user, self.password, *more = sys.argv[1:]
        self.given = dict(argument.split("=", 1) for argument in more)
        self.known = {}
        self.steps = []

    async def connect(self, user=None, password=None):
        """A session of the account the script was given, or of another one."""
        return await meshctrl.Session.create(
            self.url,
            user=user or self.user,
            password=password or self.password,
            ignore_ssl=True,
        )

    def know(self, name, value):
        """Gives a value that differs from run to run a name."""
        self.known[name] = value

    def note(self, asked, answer):
        """Writes something down."""
        self.steps.append({"asked": asked, "answer": plain(answer)})

    async def ask(self, asked, call):
        """Waits for a call and writes down what it returns or raises; what it returned."""
        try:
            answer = await asyncio.wait_for(call, PATIENCE)
            if inspect.iscoroutine(answer):
                # Some methods of Device forget to await what they return.
                answer = await asyncio.wait_for(answer, PATIENCE)
        except Exception as error:
            self.note(asked, {"raised": words(error)})
            return None
        self.note(asked, answer)
        return answer


def words(error):
    """What was raised; the library puts some errors into groups."""
    if isinstance(error, ExceptionGroup):
        return [words(inner) for inner in error.exceptions]
    return f"{type(error).__name__}: {error}"


def plain(value):
    """Objects of the library as JSON."""
    if isinstance(value, dict):
        return {str(name): plain(member) for name, member in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, datetime.datetime):
        return int(value.timestamp())
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    members = {name: member for name, member in vars(value).items() if name != "_session"}
    return {"class": type(value).__name__} | plain(members)


def run(area):
    """Runs `area(recorder)` and prints what it wrote down."""
    recorder = Recorder()
    asyncio.run(area(recorder))
    print(json.dumps({"known": recorder.known, "steps": recorder.steps}))
