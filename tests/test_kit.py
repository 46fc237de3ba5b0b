"""The tests' tools do what the tests believe."""

import socket
import threading

import pytest
import redis as redis_py

from tests.kit import DOWN, Proxy, Redis, wait_until
from tests.kit.processes import listening_ports


@pytest.fixture(scope="module")
def module_redis():
    """A Redis for this module."""
    with Redis() as server:
        yield server


@pytest.fixture
def proxy(module_redis):
    """A proxy before it."""
    with Proxy(module_redis.url) as proxy:
        yield proxy


@pytest.fixture
def link(proxy):
    """A bare connection through the proxy."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as link:
        assert ask(link) == b"+PONG\r\n"
        yield link


def ask(link):
    """Send a PING; return the answer."""
    link.sendall(b"PING\r\n")
    return link.recv(100)


def asking(link):
    """Send a PING; return a list that gets the answer."""
    answers = []
    threading.Thread(target=lambda: answers.append(ask(link)), daemon=True).start()
    return answers


def test_redis_comes_back_with_its_data_or_without(module_redis):
    """On the same port, and with the same client."""
    module_redis.client.set("key", "value")
    module_redis.restart(keep_data=True)
    assert module_redis.client.get("key") == "value"
    module_redis.restart()
    assert module_redis.client.get("key") is None


def test_redis_takes_another_port_where_one_is_taken(module_redis, monkeypatch):
    """It does not believe that it is the other server."""
    ports = [module_redis.port, module_redis.port + 1]
    monkeypatch.setattr("random.sample", lambda *args: ports)
    with Redis() as second:
        assert second.port == ports[1]
        assert listening_ports(second.client.info("server")["process_id"]) == {ports[1]}


def test_redis_pauses(module_redis):
    """It takes connections, and answers when it goes on."""
    module_redis.pause()
    with redis_py.Redis.from_url(module_redis.url, socket_timeout=0.1, retry=None) as client:
        with pytest.raises(redis_py.TimeoutError):
            client.ping()
        module_redis.resume()
        assert client.ping()


def test_proxy_cuts(link, proxy):
    """The client sees an end."""
    proxy.cut()
    assert link.recv(1) == b""


def test_proxy_resets(link, proxy):
    """The client gets an RST; new connections work."""
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        link.recv(1)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as another:
        assert ask(another) == b"+PONG\r\n"


@pytest.mark.parametrize("directions", [(), (DOWN,)])
def test_proxy_goes_silent(link, proxy, directions):
    """The connection stays open and nothing comes; new ones work."""
    proxy.go_silent(*directions)
    link.settimeout(0.1)
    with pytest.raises(TimeoutError):
        ask(link)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as another:
        assert ask(another) == b"+PONG\r\n"


def test_proxy_holds_what_is_sent(link, proxy):
    """Until it is released."""
    proxy.hold()
    answers = asking(link)
    wait_until(lambda: proxy.held == b"PING\r\n")
    assert not answers
    proxy.release()
    wait_until(lambda: answers == [b"+PONG\r\n"])


def test_proxy_holds_from_a_place_on(link, proxy):
    """Data before it passes."""
    proxy.hold_at(b"ONG", DOWN)
    assert ask(link) == b"+P"
    wait_until(lambda: proxy.held_back == b"ONG\r\n")
    proxy.release(DOWN)
    assert link.recv(100) == b"ONG\r\n"


def test_proxy_holds_the_answers_to_a_command(link, proxy):
    """Of the connection over which it came; others flow."""
    proxy.hold_answers_to(b"PING")
    answers = asking(link)
    wait_until(lambda: proxy.is_holding)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as another:
        another.sendall(b"ECHO x\r\n")
        assert another.recv(100) == b"$1\r\nx\r\n"
    assert not answers
    proxy.release()
    wait_until(lambda: answers == [b"+PONG\r\n"])


def test_proxy_refuses_and_cuts_at_a_command(link, proxy):
    """And counts both."""
    proxy.cut_at(b"PING")
    assert ask(link) == b""
    assert (proxy.accepted, proxy.cuts) == (1, 1)
    proxy.cut_at(None)
    proxy.refuse()
    with redis_py.Redis.from_url(proxy.url, retry=None) as client:
        with pytest.raises(redis_py.ConnectionError):
            client.ping()
        proxy.accept()
        assert client.ping()
