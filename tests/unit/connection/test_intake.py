"""Frames of one client, one after another, from a server that the test scripts."""

import asyncio
import gc

import pytest

from bazis_ws_channels.connection.intake import Intake
from bazis_ws_channels.connection.limits import Limits

END = {"type": "websocket.disconnect", "code": 1001}


class World:
    """An intake, what its server hands over, and what came of it.

    Attributes:
        handled: the texts of the frames, in order.
        failed: what the client was told: code and close code.
        steps: what to do for a text, instead of nothing.
    """

    def __init__(self, tasks, socket, clock):
        self.tasks, self.inputs, self.steps = tasks, asyncio.Queue(), {}
        self.handled, self.failed = [], []
        self.intake = Intake(self.inputs.get, tasks, Limits(clock), self._handle, self._fail)
        self.intake.open(socket.send, lambda: False)

    def say(self, *texts):
        """Let the client send frames."""
        for text in texts:
            self.inputs.put_nowait({"type": "websocket.receive", "text": text})

    def end(self, **more):
        """Let the connection end."""
        self.inputs.put_nowait({**END, **more})

    async def serve(self):
        """Serve until the end; return the close code."""
        async with asyncio.timeout(5):
            return await self.intake.serve()

    async def _handle(self, event):
        self.handled.append(event["text"])
        if event["text"] in self.steps:
            await self.steps[event["text"]]()

    async def _fail(self, code, detail, close=None):
        self.failed.append((code, close))


@pytest.fixture
async def world(tasks, socket, clock, settings):
    """One connection; two frames at once, then none."""
    settings.BAZIS_WS_FRAMES_PER_SECOND, settings.BAZIS_WS_FRAMES_BURST = 1, 2
    return World(tasks, socket, clock)


async def turns(number=10):
    """Let all that is ready run."""
    for _ in range(number):
        await asyncio.sleep(0)


# --- frames in order ------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "seen"), [(1001, 1001), (None, 1005), (4401, 4401)])
async def test_frames_are_handed_over_until_the_end(world, code, seen):
    """In their order; a code that nobody gave is 1005."""
    world.say("a", "b")
    world.end(code=code)
    world.say("never")
    assert await world.serve() == seen
    assert world.handled == ["a", "b"]


async def test_an_end_without_a_code(world):
    """As some servers report it."""
    world.inputs.put_nowait({"type": "websocket.disconnect"})
    assert await world.serve() == 1005


async def test_one_frame_waits_for_another(world):
    """However long that takes."""
    done = asyncio.Event()
    world.steps["slow"] = done.wait
    world.say("slow", "next")
    world.end()
    serving = asyncio.ensure_future(world.serve())
    await turns()
    assert world.handled == ["slow"]
    done.set()
    assert await serving == 1001
    assert world.handled == ["slow", "next"]


async def test_a_frame_that_fails_is_told_and_the_next_one_served(world, told):
    """By the connection's guard."""

    async def fail():
        raise RuntimeError("a bug")

    world.steps["bad"] = fail
    world.say("bad", "good")
    world.end()
    await world.serve()
    assert world.handled == ["bad", "good"]
    assert told.calls == [("fail", "internal_error", 4500)]


# --- a step that runs aside -----------------------------------------------------------------


class SignIn:
    """A step that waits for its turn; it begins with the frame ``token``."""

    def __init__(self, world):
        self.turn, self.is_done = asyncio.get_running_loop().create_future(), False
        self.world = world
        world.steps["token"] = lambda: world.intake.aside(self.step())

    async def step(self):
        """Wait, as long as the client is there."""
        await self.world.intake.unless_gone(self.turn)
        self.is_done = True
        self.world.handled.append("signed in")


async def test_frames_behind_a_sign_in_are_read_ahead_and_done_after_it(world):
    """So that the end of the connection is noticed."""
    sign_in = SignIn(world)
    world.say("token", "a", "b")
    serving = asyncio.ensure_future(world.serve())
    await turns()
    assert (world.handled, world.inputs.qsize()) == (["token"], 0)
    sign_in.turn.set_result(None)
    await turns()
    assert world.handled == ["token", "signed in", "a", "b"]
    world.say("c")
    world.end()
    assert await serving == 1001
    assert world.handled[-1] == "c"


async def test_few_frames_are_read_ahead(world):
    """The rest stays with the server, which stops reading from the client."""
    sign_in = SignIn(world)
    world.say("token", *"abcdefghij")
    world.end()
    serving = asyncio.ensure_future(world.serve())
    await turns(30)
    assert world.inputs.qsize() == 3
    sign_in.turn.set_result(None)
    assert await serving == 1001
    assert world.handled == ["token", "signed in", *"abcdefghij"]


@pytest.mark.parametrize("has_begun", [True, False])
async def test_a_sign_in_whose_client_is_gone_loses_its_turn(world, has_begun):
    """Nobody needs it, nor what was sent behind it; nor if all of it came at once."""
    sign_in = SignIn(world)
    world.say("token", "a")
    serving = asyncio.ensure_future(world.serve())
    if has_begun:
        await turns()
    world.end()
    assert await serving == 1001
    assert sign_in.turn.cancelled()
    assert not sign_in.is_done
    assert world.handled == ["token"]


async def test_a_step_that_no_longer_waits_is_done_to_its_end(world):
    """A client may send its token and a message, and go."""
    done = asyncio.Event()
    world.steps["token"] = lambda: world.intake.aside(done.wait())
    world.say("token", "a")
    world.end()
    serving = asyncio.ensure_future(world.serve())
    await turns()
    done.set()
    assert await serving == 1001
    assert world.handled == ["token", "a"]


async def test_a_token_behind_a_token_is_part_of_the_same_step(world):
    """It runs where it stands among the frames."""
    sign_in = SignIn(world)

    async def again():
        world.handled.append("again")

    world.steps["second"] = lambda: world.intake.aside(again())
    world.say("token", "a", "second", "b")
    world.end()
    serving = asyncio.ensure_future(world.serve())
    sign_in.turn.set_result(None)
    await serving
    assert world.handled == ["token", "signed in", "a", "second", "again", "b"]


async def test_a_sign_in_that_fails_does_not_take_the_frames_behind_it_along(world, told):
    """They are answered: ``not_authenticated``, most of the time."""
    sign_in = SignIn(world)
    world.say("token", "a")
    serving = asyncio.ensure_future(world.serve())
    await turns()
    sign_in.turn.set_exception(RuntimeError("a bug"))
    await turns()
    assert told.calls == [("fail", "internal_error", 4500)]
    world.say("b")
    world.end()
    await serving
    assert world.handled == ["token", "a", "b"]


async def test_a_step_that_is_cancelled_before_it_began_leaves_nothing(world, tasks):
    """Python would complain of a coroutine that nobody awaited."""
    sign_in = SignIn(world)
    await world.intake.aside(sign_in.step())
    await tasks.cancel()
    gc.collect()
    assert not sign_in.is_done


# --- the client's budget, as the server counts it -------------------------------------------


async def test_control_frames_cost_half_a_frame(world, clock):
    """Until the allowance is used up: then it is told, once, and in the end the client is cut."""
    verdicts = [world.intake.may_send_control() for _ in range(8)]
    await turns()
    assert verdicts == [True] * 4 + [False] * 4
    assert world.failed[0] == ("rate_limited", None)
    assert world.failed[1] == ("rate_limited", 4429)
    clock.move(100)
    assert world.intake.may_send_control()


@pytest.mark.parametrize(
    ("what", "failure"),
    [
        ("was_exceeded", ("message_too_big", 4413)),
        ("was_flooded", ("rate_limited", 4429)),
    ],
)
async def test_what_the_server_sees_is_told(world, what, failure):
    """By the code that the application itself would send."""
    getattr(world.intake, what)()
    await turns()
    assert world.failed == [failure]


async def test_the_end_of_the_connection_lets_go_of_the_server(world):
    """Any server's reader takes it."""
    world.intake.stop()
    world.intake.close()
    world.end()
    assert await world.serve() == 1001
