"""Threads and forks: each call has what it needs for itself, and none waits without a limit."""

import threading
import time

from bazis_ws_channels import presence, publishing
from tests.kit import Proxy

THREADS = 50


def at_once(call):
    """Call in 50 threads at the same moment; return the results, and the seconds of it all."""
    results, barrier = [], threading.Barrier(THREADS + 1)

    def work(number):
        barrier.wait(20)
        try:
            results.append(call(number))
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    barrier.wait(20)
    started_at = time.monotonic()
    for thread in threads:
        thread.join(30)
    return results, time.monotonic() - started_at


def test_fifty_threads_wait_for_redis_together(valkey, settings, alice):
    """Not one after another: each has a connection of its own."""
    settings.CHANNEL_LAYERS = valkey.channel_layers
    alice.ws_publish("warm up")
    valkey.client.client_pause(500)
    results, seconds = at_once(lambda number: alice.ws_publish(number))
    assert results == [0] * THREADS
    assert 0.3 < seconds < 2.5
    assert len(valkey.clients()) >= THREADS


def test_no_thread_waits_longer_than_the_limit(valkey, settings, alice):
    """Redis takes bytes and answers nothing: publishing, presence and endings give up."""
    with Proxy(valkey.url) as proxy:
        settings.CHANNEL_LAYERS = {
            "default": {
                "BACKEND": "bazis_ws_channels.layers.RedisPubSubChannelLayer",
                "CONFIG": {"hosts": [proxy.url]},
            }
        }
        settings.BAZIS_WS_PUBLISH_TIMEOUT = settings.BAZIS_WS_REDIS_TIMEOUT = 0.5
        calls = [
            lambda: alice.ws_publish(1),
            lambda: publishing.broadcast(1),
            lambda: presence.statuses([alice]),
            lambda: alice.ws_disconnect(),
        ]
        results, _ = at_once(lambda number: calls[number % 4]())
        assert not [each for each in results if isinstance(each, Exception)]
        proxy.go_silent()
        results, seconds = at_once(lambda number: calls[number % 4]())
        assert len(results) == THREADS
        assert seconds < 4


def test_a_fork_in_c(run, published):
    """Python is not told of it: what the parent holds is its own all the same."""
    run("tests.places.c_fork")
    assert published.take('"before"', '"child"', '"parent"') == [2, 10, 10]
