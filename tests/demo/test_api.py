"""The demo's API, as the contract has it, over a real daphne with a real worker."""

import json
import re
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from uuid import uuid4

import pytest

from demo import wire
from tests.demo.people import Socket, call, id_of, token_of
from tests.kit import ROOT, wait_until


@pytest.fixture(scope="module")
def tokens(demo):
    return {name: token_of(demo, name) for name in ("alice", "bob", "carol", "admin")}


@pytest.fixture(scope="module")
def ids(demo, tokens):
    return {name: id_of(demo, name, tokens["alice"]) for name in tokens}


class TestToken:
    def test_is_given_for_name_and_password(self, demo):
        """A token, and nothing else."""
        status, answer = call(demo, "token/", {"username": "alice", "password": "demo"})
        assert status == 200
        assert list(answer) == ["token"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"username": "alice", "password": "wrong"}, 401),
            ({"username": "nobody", "password": "demo"}, 401),
            ({"username": "alice"}, 400),
            ({"username": "", "password": ""}, 400),
            ({"username": ["alice"], "password": {"a": 1}}, 400),
            ({"username": None, "password": None}, 400),
            ({"username": "al\0ice", "password": "demo"}, 400),
            ({"username": "\ud800", "password": "demo"}, 400),
            ({"username": "a" * 10_000, "password": "demo"}, 400),
            ([], 400),
            ("alice", 400),
            (5, 400),
        ],
    )
    def test_is_refused_otherwise(self, demo, body, status):
        """Bad input is answered with JSON, and no more than 401 tells what was wrong."""
        assert call(demo, "token/", body)[0] == status

    def test_may_not_be_guessed_for_long(self, demo):
        """Too many attempts for one name: 429, with the time to wait; other names go on."""
        body = {"username": "mallory", "password": "wrong"}
        statuses = [call(demo, "token/", body)[0] for _ in range(21)]
        assert statuses == [401] * 20 + [429]
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(
                urllib.request.Request(
                    f"{demo.http}/api/v1/token/",
                    data=json.dumps(body).encode(),
                    headers={"Content-Type": "application/json"},
                )
            )
        assert 0 < int(caught.value.headers["Retry-After"]) <= 60
        assert token_of(demo, "alice")

    @pytest.mark.parametrize(
        "raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"NaN", b"1e999"]
    )
    def test_survives_what_is_no_json(self, demo, raw):
        """Nesting without end included."""
        assert call(demo, "token/", raw=raw)[0] == 400

    def test_is_renewed_by_itself(self, demo, tokens, ids):
        """The page asks for a new one before the old one ends."""
        status, answer = call(demo, "token/renew/", {}, tokens["bob"])
        assert status == 200
        assert answer["token"] != tokens["bob"]
        with Socket(demo, answer["token"]) as socket:
            assert socket.greeting["user"] == ids["bob"]

    @pytest.mark.parametrize(
        "header", ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer a.b.c", "Bearer " + "a" * 9_000]
    )
    @pytest.mark.parametrize("path", ["users/user/", "users/user/1/", "me/"])
    def test_is_needed(self, demo, path, header):
        """Without one, or with a bad one, 401."""
        assert call(demo, path, headers={"Authorization": header})[0] == 401


class TestUsers:
    def test_are_json_api_documents(self, demo, tokens):
        """Type and attribute names are the contract's."""
        status, document = call(demo, "users/user/", token=tokens["alice"])
        assert status == 200
        assert {each["type"] for each in document["data"]} == {"users.user"}
        first = document["data"][0]
        assert first["id"].isdigit()
        assert set(first["attributes"]) == {"username", "email", "is_online", "last_seen"}
        names = [each["attributes"]["username"] for each in document["data"]]
        assert names == ["admin", "alice", "bob", "carol"]

    def test_show_who_is_online(self, demo, tokens, ids):
        """While a socket is open, and when it was last."""
        path = f"users/user/{ids['carol']}/"

        def carol():
            return call(demo, path, token=tokens["alice"])[1]["data"]["attributes"]

        wait_until(lambda: not carol()["is_online"])
        with Socket(demo, tokens["carol"]):
            assert carol()["is_online"] is True
        wait_until(lambda: not carol()["is_online"])
        assert datetime.fromisoformat(carol()["last_seen"]).tzinfo is not None

    @pytest.mark.parametrize("pk", ["0", "999999", "abc", "9" * 30, "1%00", "-1"])
    def test_that_do_not_exist_are_404(self, demo, tokens, pk):
        """Whatever stands in the URL."""
        assert call(demo, f"users/user/{pk}/", token=tokens["alice"])[0] == 404


class TestChat:
    def send(self, demo, tokens, body, sender="alice"):
        return call(demo, "chat/send/", body, tokens[sender])

    def until_offline(self, demo, tokens, pk):
        def is_online():
            _, document = call(demo, f"users/user/{pk}/", token=tokens["alice"])
            return document["data"]["attributes"]["is_online"]

        wait_until(lambda: not is_online())

    def test_reaches_who_is_online(self, demo, tokens, ids):
        """In the shape that the contract gives it."""
        text = "Hi <b>bob</b>, ёлка 🎄"
        with Socket(demo, tokens["bob"]) as bob:
            sent = self.send(demo, tokens, {"recipient_id": ids["bob"], "message": text})
            message = bob.data()
        assert sent == (200, {"status": "sent"})
        assert datetime.fromisoformat(message.pop("timestamp")).tzinfo is not None
        assert message.pop("id") > 0
        sender = {"id": ids["alice"], "username": "alice"}
        assert message == {"type": "chat_message", "sender": sender, "message": text}

    def test_waits_for_who_is_not(self, demo, tokens, ids):
        """And comes once, in order, at the next sign-in."""
        self.until_offline(demo, tokens, ids["carol"])
        for text in ("one", "two", "three"):
            body = {"recipient_id": ids["carol"], "message": text}
            assert self.send(demo, tokens, body) == (200, {"status": "saved_offline"})
        with Socket(demo, tokens["carol"]) as carol:
            assert [carol.data()["message"] for _ in range(3)] == ["one", "two", "three"]
        with Socket(demo, tokens["carol"]) as carol:
            assert carol.settle() == []

    def test_waits_through_the_grace_of_presence(self, demo, tokens, ids):
        """A user who comes back before the absence was told still gets it."""
        with Socket(demo, tokens["carol"]):
            pass
        self.until_offline(demo, tokens, ids["carol"])
        body = {"recipient_id": ids["carol"], "message": "in the grace"}
        assert self.send(demo, tokens, body) == (200, {"status": "saved_offline"})
        with Socket(demo, tokens["carol"]) as carol:
            assert carol.data()["message"] == "in the grace"

    def test_loses_nothing_while_the_recipient_arrives(self, demo, tokens, ids):
        """Messages sent around the moment of a sign-in all arrive."""
        expected, got = set(), []
        with ThreadPoolExecutor(4) as pool:
            for turn in range(6):
                texts = [f"{turn}.{number}" for number in range(8)]
                expected.update(texts)
                # What goes to a socket that is closing is lost: at most once, says the package.
                self.until_offline(demo, tokens, ids["carol"])
                bodies = [{"recipient_id": ids["carol"], "message": text} for text in texts]
                calls = [pool.submit(self.send, demo, tokens, body) for body in bodies]
                with Socket(demo, tokens["carol"]) as carol:
                    statuses = [each.result() for each in calls]
                    assert {status for status, _ in statuses} == {200}
                    while {each["message"] for each in got} != expected:
                        got.append(carol.data())
                    got += [each["data"] for each in carol.settle() if each["type"] == "data"]
        # One whose process was slower than its claim may come again, under the same id.
        assert len({each["id"] for each in got}) == len(expected)

    def test_shows_in_the_senders_own_tabs(self, demo, tokens, ids):
        """And trying again, with the same key, sends nothing twice."""
        key = str(uuid4())
        body = {"recipient_id": ids["bob"], "message": "from one tab", "key": key}
        with Socket(demo, tokens["bob"]) as bob, Socket(demo, tokens["alice"]) as alice:
            for _ in range(2):
                assert self.send(demo, tokens, body) == (200, {"status": "sent"})
                sent = alice.data()
                assert (sent["type"], sent["key"], sent["status"]) == ("chat_sent", key, "sent")
                assert sent["recipient"] == {"id": ids["bob"], "username": "bob"}
            assert bob.data()["id"] == sent["id"]
            assert [each for each in bob.settle() if each["type"] == "data"] == []

    def test_is_there_at_the_next_sign_in(self, demo, tokens, ids):
        """As the messages that the socket brought; nobody else sees it."""
        body = {"recipient_id": ids["bob"], "message": "for the history"}
        with Socket(demo, tokens["bob"]) as bob:
            self.send(demo, tokens, body)
            received = bob.data()
        histories = {
            name: call(demo, "chat/history/", token=tokens[name])[1]["messages"]
            for name in ("alice", "bob", "admin")
        }
        last = histories["bob"][-1]
        assert last["timestamp"][:22] == received["timestamp"][:22]  # to the millisecond
        assert {**last, "timestamp": None} == {**received, "timestamp": None}
        assert histories["alice"][-1]["type"] == "chat_sent"
        assert histories["admin"] == []
        assert [each["id"] for each in histories["bob"]] == sorted(
            each["id"] for each in histories["bob"]
        )

    @pytest.mark.parametrize("pk", [999_999, -1, 0, 10**30])
    def test_to_nobody_is_404(self, demo, tokens, pk):
        """With the contract's words."""
        body = {"recipient_id": pk, "message": "hello"}
        assert self.send(demo, tokens, body) == (404, {"error": "User not found"})

    @pytest.mark.parametrize(
        "body",
        [
            {},
            [],
            {"recipient_id": "x", "message": "a"},
            {"recipient_id": 1},
            {"recipient_id": 1, "message": ""},
            {"recipient_id": 1, "message": "   "},
            {"recipient_id": 1, "message": None},
            {"recipient_id": 1, "message": ["a"]},
            {"recipient_id": 1, "message": "a\0b"},
            {"recipient_id": 1, "message": "\ud800"},
            {"recipient_id": 1, "message": "a" * 5000},
            {"recipient_id": [1], "message": "a"},
            {"recipient_id": 1.5, "message": "a"},
            {"recipient_id": True, "message": ""},
            {"recipient_id": 1, "message": "a", "key": "no uuid"},
            {"recipient_id": 1, "message": "a", "key": [1]},
        ],
    )
    def test_of_bad_input_is_400(self, demo, tokens, body):
        """Never a 500."""
        assert self.send(demo, tokens, body)[0] == 400

    def test_needs_a_token(self, demo, ids):
        """As everything but the sign-in."""
        body = {"recipient_id": ids["bob"], "message": "hello"}
        assert call(demo, "chat/send/", body)[0] == 401


class TestTask:
    def messages(self, demo, tokens, body, last):
        with Socket(demo, tokens["alice"]) as alice:
            status, answer = call(demo, "tasks/", body, tokens["alice"])
            assert status == 202
            messages = [alice.data()]
            while messages[-1]["type"] != last:
                messages.append(alice.data())
        assert {each["task_id"] for each in messages} == {answer["task_id"]}
        return messages

    def test_tells_how_it_goes(self, demo, tokens):
        """From the worker's process to the user's socket."""
        messages = self.messages(demo, tokens, {}, "task_completed")
        kinds = [each["type"] for each in messages]
        percents = [each["percent"] for each in messages if each["type"] == "task_progress"]
        assert (kinds[0], kinds[-1]) == ("task_started", "task_completed")
        assert percents == sorted(percents)
        assert percents[-1] == 100

    def test_tells_that_it_failed(self, demo, tokens):
        """Half-way, with the reason."""
        last = self.messages(demo, tokens, {"fail": True}, "task_failed")[-1]
        assert "asked to fail" in last["error"]

    @pytest.mark.parametrize("body", [[], 5, "x", {"fail": "perhaps"}, {"fail": None}])
    def test_of_bad_input_is_400(self, demo, tokens, body):
        """Never a 500."""
        assert call(demo, "tasks/", body, tokens["alice"])[0] == 400


class TestBroadcast:
    def test_reaches_everybody(self, demo, tokens):
        """Everybody connected, the sender included."""
        with Socket(demo, tokens["alice"]) as alice, Socket(demo, tokens["admin"]) as admin:
            body = {"message": "Lunch"}
            assert call(demo, "broadcast/", body, tokens["admin"])[0] == 200
            for socket in (alice, admin):
                assert socket.data() == {"type": "broadcast", "message": "Lunch"}

    def test_is_for_staff(self, demo, tokens):
        """Nobody else may."""
        assert call(demo, "broadcast/", {"message": "x"}, tokens["alice"])[0] == 403
        assert call(demo, "broadcast/", {"message": "x"})[0] == 401
        assert call(demo, "broadcast/", {"message": ""}, tokens["admin"])[0] == 400


class TestWire:
    def test_names_the_line_behind_each_message(self, demo, tokens):
        """It stands in the file, once; and no type that the demo sends is left out."""
        _, lines = call(demo, "wire/", token=tokens["alice"])
        for each in lines.values():
            source = (ROOT / each["file"]).read_text().splitlines()
            assert source[each["line"] - 1].strip() == each["code"]
        for file, words in wire.LINES.values():
            assert (ROOT / file).read_text().count(words) == 1, words
        sources = [path for path in (ROOT / "demo").rglob("*.py") if path.name != "tests.py"]
        types = {
            kind for path in sources for kind in re.findall(r'"type": "(\w+)"', path.read_text())
        }
        assert types
        assert types <= set(lines)


class TestPage:
    def test_forbids_what_is_not_its_own(self, demo):
        """No inline script, no foreign origin, no HTML made of strings."""
        with urllib.request.urlopen(demo.http) as response:
            policy, text = response.headers["Content-Security-Policy"], response.read().decode()
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "<script>" not in text
        assert " style=" not in text
        assert " onclick=" not in text

    @pytest.mark.parametrize("path", ["/nothing", "/api/v1/", "/api/v1/nothing/", "/static/x"])
    def test_what_does_not_exist_is_404(self, demo, path):
        """Without DEBUG's pages."""
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(demo.http + path)
        assert caught.value.code == 404

    def test_serves_the_client_as_a_script(self, demo):
        """A browser takes modules with the right type only."""
        url = f"{demo.http}/static/bazis_ws_channels/client.js"
        with urllib.request.urlopen(url) as response:
            assert "javascript" in response.headers["Content-Type"]

    def test_strange_hosts_are_400(self, demo):
        """In JSON too."""
        status, answer = call(demo, "me/", headers={"Host": "evil.test"})
        assert status == 400
        assert json.dumps(answer)
