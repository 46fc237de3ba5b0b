"""Questions as commands, replies as answers; replies that are none."""

import re

import pytest
from redis.exceptions import ResponseError

from bazis_ws_channels.exceptions import PresenceUnavailable
from bazis_ws_channels.presence.stores import base, encoding
from bazis_ws_channels.presence.stores.encoding import Stale, decode, encode
from bazis_ws_channels.presence.stores.redis import RedisStore
from bazis_ws_channels.redis.hosts import Host
from bazis_ws_channels.redis.pool import pool_of
from tests.unit.peers import CUT

EDGE = [b"1", b"10", b"1", b"20", b"30"]
PARSED = base.Edge("1", 10, True, 20, 30)
TOKEN = base.Token(5, "t")

#: Each question, a right reply, and its answer.
REPLIES = [
    (base.Register("p", 1), 1, True),
    (base.Renew("p", 1), b"peers", True),
    (base.Renew("p", 1), b"alone", False),
    (base.Renew("p", 1), None, None),
    (base.Release("p"), 1, None),
    (base.Intact("p", ["1"]), 4, True),
    (base.Intact("p", ["1"]), 3, False),
    (
        base.Census("p", 1, 10),
        [1, [b"q"], 1, b"7", b"9", 0, EDGE],
        base.CensusReply(True, ["q"], True, 7, 9, False, [PARSED]),
    ),
    (
        base.Census("p", 1, 10),
        [0, [], 0, b"7", b"", 0, []],
        base.CensusReply(False, [], False, 7, None, False, []),
    ),
    (base.Records("p", "0", 1), [b"0", [b"c", b"1"]], base.RecordsReply("0", [("c", "1")])),
    (base.Bury("p", "q", [("c", "1")]), EDGE, [PARSED]),
    (base.Connect("p", "c", "1", 9, TOKEN), [b"ok", EDGE], base.Connected("ok", [PARSED])),
    (base.Connect("p", "c", "1", 9, TOKEN), [b"lost", []], base.Connected("lost", [])),
    (base.Disconnect("p", 1, 1, None, [("c", "1")]), 0, False),
    (base.Restore("p", "q", [("c", "1")]), [], []),
    (base.Told("p", [("1", 10)]), EDGE, [PARSED]),
    (
        base.Statuses(["1", "2"]),
        [b"7", 2, b"5", 0, b""],
        (7, [base.Seen(2, 5), base.Seen(0, None)]),
    ),
    (base.Counts(["1", "2"]), [2, 0], [2, 0]),
    (
        base.ToldStates(["1"]),
        [b"3", b"7", 1, b"1.5e3"],
        (3, 7, [base.ToldState(True, 1500)]),
    ),
    (base.OnlineKeys("0", 9), [1, b"7", [b"1"]], base.OnlineReply(True, "7", ["1"])),
    (base.OnlineCount(), 3, 3),
    (base.OnlineCount(), -1, None),
    (base.RevokeBefore("1", None, 60), b"7", 7),
    (base.RevokeToken("t", 60), b"OK", None),
    (base.Revoked([("1", TOKEN)]), [1], [True]),
]
KINDS = [pytest.param(*each, id=f"{type(each[0]).__name__}-{each[2]!r:.20}") for each in REPLIES]
#: Those whose answer is in the reply at all.
READ = [each for each in REPLIES if not isinstance(each[0], base.Release | base.RevokeToken)]


@pytest.mark.parametrize(("question", "reply", "answer"), KINDS)
def test_answers(question, reply, answer):
    """As the store's interface says."""
    assert decode(question, reply) == answer


WRONG = [
    "text", b"text", b"\xff", 1.5, object(), {}, [], [b""], [None], [1], [1, 2], [[[]]],
    [b"ok"], [b"maybe", []], [b"ok", [b"1"]], [1, [b"\xff"]], [b"0", [b"odd"]], [b"x", 1, 2],
    [b"stale"], [b"stale", None], [b"stale", 7],
]  # fmt: skip


@pytest.mark.parametrize("question", [each[0] for each in READ], ids=lambda q: type(q).__name__)
def test_a_reply_of_the_wrong_shape_is_a_value_error_or_an_answer(question):
    """Nothing else is ever raised, and the question is named."""
    right = [answer for other, _, answer in REPLIES if type(other) is type(question)]
    for reply in WRONG:
        refusal = f"unexpected reply to {type(question).__name__}"
        try:
            answer = decode(question, reply)
        except ValueError as error:
            answer, refusal = right[0], str(error).startswith(refusal)
        assert refusal
        assert type(answer) in set(map(type, right))


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        (base.Counts(["1", "2"]), [1]),
        (base.Counts(["1"]), [1, 2]),
        (base.Statuses(["1"]), [b"7", 1]),
        (base.Statuses(["1"]), [b"7"]),
        (base.ToldStates(["1", "2"]), [b"1", b"2", 1, b""]),
        (base.Revoked([("1", TOKEN)]), []),
        (base.Told("p", []), EDGE[:4]),
        (base.Connect("p", "c", "1", 9, TOKEN), [b"perhaps", []]),
        (base.Census("p", 1, 10), [1, [b"q"], 1]),
        (base.Records("p", "0", 1), [b"0", [b"c"]]),
        (base.Register("p", 1), b"soon"),
        (base.Intact("p", []), None),
        (base.OnlineCount(), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, base.Question) else repr(value),
)
def test_a_reply_for_other_users_is_refused(question, reply):
    """Too few, too many, or half of one."""
    with pytest.raises(ValueError, match="unexpected reply"):
        decode(question, reply)


def test_long_rubbish_is_cut():
    """It goes into a log line."""
    with pytest.raises(ValueError, match="unexpected") as caught:
        decode(base.OnlineCount(), b"x" * 10_000)
    assert len(str(caught.value)) < 300


def test_stale_brings_all_processes():
    """Of a script that must know who is alive; of others it is no answer."""
    assert decode(base.Counts(["1"]), [b"stale", [b"q", b"p"]]) == Stale(["p", "q"])
    assert decode(base.Counts(["1"]), [b"stale", []]) == Stale([])
    with pytest.raises(ValueError, match="unexpected"):
        decode(base.Told("p", []), [b"stale", [b"q"]])


def test_a_user_called_stale_is_no_stale_reply():
    """The word leads a reply of two, and only where a script can say it."""
    edge = base.Edge("stale", 10, True, 20, 30)
    flat = [b"stale", b"10", b"1", b"20", b"30"]
    assert decode(base.Told("p", []), flat) == [edge]
    assert decode(base.Bury("p", "q", []), flat) == [edge]
    assert decode(base.Restore("p", "q", []), flat) == [edge]


@pytest.mark.parametrize(
    ("question", "reply"), [each[:2] for each in READ], ids=lambda value: f"{value!r:.20}"
)
def test_keys_and_arguments_are_as_the_script_says(question, reply):
    """Every key is declared; numbers of KEYS are right; text and numbers only."""
    command = encode(question, ["p", "q"])
    assert command.is_repeatable
    name, *parts = command.parts
    assert all(isinstance(part, str | int) for part in parts)
    if command.script is None:
        assert name in ("GETEX", "TOUCH", "HSCAN", "SET")
        return
    _, number, *rest = parts
    keys = rest[:number]
    assert all(isinstance(key, str) and key.startswith("user_ws.") for key in keys)
    text = re.sub(r"--.*", "", command.script.text)
    assert not re.search(r"redis\.call\('\w+', *['\"]", text), "a key that is not in KEYS"


def test_keys_have_the_prefix(settings):
    """All of them."""
    settings.BAZIS_WS_KEY_PREFIX = "{mine}:"
    for question, _, _ in REPLIES:
        command = encode(question, ["p"])
        names = [part for part in command.parts if "user_ws." in str(part)]
        assert names
        assert all(name.startswith("{mine}:user_ws.") for name in names)


def test_who_is_known_goes_before_the_rest():
    """The set of processes, a lease for each; how many, and their names."""
    command = encode(base.Counts(["1"]), ["p", "q"])
    _, _, number, *rest = command.parts
    assert rest[:number] == [
        "user_ws.processes", "user_ws.lease.p", "user_ws.lease.q", "user_ws.1.session",
    ]  # fmt: skip
    assert rest[number:] == [2, "p", "q"]


def test_every_lua_file_is_used_and_has_its_header():
    """KEYS, ARGV and reply, for who reads it in `MONITOR`."""
    files = {name for form in encoding._FORMS.values() for name in form.files}
    folder = encoding.resources.files(encoding.__package__) / "lua"
    assert {path.name for path in folder.iterdir()} == {f"{name}.lua" for name in files}
    for name in files:
        text = (folder / f"{name}.lua").read_text()
        assert text.startswith("-- ")
        if "KEYS[" in text.replace("#KEYS", ""):
            assert "-- KEYS" in text


# --- the store around it --------------------------------------------------------------------


@pytest.fixture
def store(fake_redis):
    """A store whose Redis says what the test wants."""
    store = RedisStore(Host({"address": fake_redis.url, "socket_timeout": 5}))
    yield store
    pool_of(store.host).disconnect()


@pytest.fixture(params=["ask", "aask"])
def ask(request, store):
    """Both ways to ask."""

    async def ask(question):
        reply = getattr(store, request.param)(question)
        return await reply if request.param == "aask" else reply

    return ask


async def test_a_wrong_reply_is_presence_unavailable(ask, fake_redis):
    """Whatever comes, callers have one error to expect."""
    fake_redis.answer("EVALSHA", b"rubbish")
    with pytest.raises(PresenceUnavailable, match="strange answer: unexpected reply to Counts"):
        await ask(base.Counts(["1"]))


async def test_an_error_reply_is_presence_unavailable(ask, fake_redis):
    """In plain English."""
    fake_redis.answer("EVALSHA", Exception("OOM command not allowed"))
    with pytest.raises(PresenceUnavailable, match="out of memory"):
        await ask(base.Counts(["1"]))


async def test_a_redis_that_is_away_is_presence_unavailable(ask, fake_redis):
    """After a second try."""
    fake_redis.answer("EVALSHA", CUT, CUT)
    with pytest.raises(PresenceUnavailable, match="out of reach"):
        await ask(base.Counts(["1"]))


async def test_a_stale_question_is_asked_again_with_all_processes(ask, fake_redis):
    """And the next one knows them."""
    fake_redis.answer("EVALSHA", [b"stale", [b"q", b"p"]], [3], [4])
    assert await ask(base.Counts(["1"])) == [3]
    assert await ask(base.Counts(["1"])) == [4]
    known = [command[command.index("user_ws.1.session") + 1 :] for command in fake_redis.commands]
    assert known == [["0"], ["2", "p", "q"], ["2", "p", "q"]]


async def test_processes_that_come_all_the_time_are_an_error(ask, fake_redis):
    """Not an endless loop."""
    fake_redis.answer("EVALSHA", *([b"stale", [b"%d" % n]] for n in range(9)))
    with pytest.raises(PresenceUnavailable, match="New processes come up faster"):
        await ask(base.Counts(["1"]))
    assert len(fake_redis.commands) == 5


async def test_a_stale_reply_without_processes(ask, fake_redis):
    """A server that says so says nonsense; it ends all the same."""
    fake_redis.answer("EVALSHA", *([[b"stale", []]] * 9))
    with pytest.raises(PresenceUnavailable):
        await ask(base.Counts(["1"]))


def test_for_those_who_write_it_with_others(store):
    """The command and the answer apart."""
    question = base.Counts(["1"])
    command = store.command(question)
    assert command == encode(question, [])
    assert store.answer(question, [b"stale", [b"p"]]) == Stale(["p"])
    assert store.command(question) == encode(question, ["p"])
    with pytest.raises(PresenceUnavailable, match="refused a command"):
        store.answer(question, ResponseError("ERR"))
