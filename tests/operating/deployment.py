"""The files of docs/deployment.md at work: their text, with ports and paths of a test's own.

There is no systemd in a container: `Systemd` starts and stops processes by what the unit says.
"""

import asyncio
import os
import random
import re
import resource
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.kit import ROOT, Client, Server
from tests.kit.nginx import Nginx, certificate, is_unused, unused_ports
from tests.kit.redis import PORTS

PAGE = (ROOT / "docs/deployment.md").read_text()
FILES = dict(re.findall(r"<!-- (?:file|snippet): (\S+) -->\n```\w+\n(.*?)```", PAGE, re.S))
APPLICATION = "tests.project.asgi:application"

#: The instances, as the page numbers them.
NUMBERS = (1, 2, 3, 4)

#: What the page says of unix sockets in prose.
[BY_SOCKET] = re.findall(r"`curl (--unix-socket [^`]+)`", PAGE)

CONTROL = """#!{python}
import socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect({path!r})
link.sendall(" ".join(sys.argv[1:]).encode() + b"\\n")
sys.exit(int(link.recv(10)))
"""


def django_settings():
    """Return the settings of the page, for a process that is called localhost, too."""
    namespace = {}
    exec(FILES["proxy"], namespace)
    settings = {name: value for name, value in namespace.items() if name.isupper()}
    settings["ALLOWED_HOSTS"] += ["localhost", "127.0.0.1"]
    return {"ROOT_URLCONF": "tests.operating.urls", **settings}


def unused_prefix():
    """Return what stands for the page's 800, before the number of an instance."""
    prefixes = list(range(PORTS.start // 10, PORTS.stop // 10))
    random.shuffle(prefixes)
    return next(
        str(each) for each in prefixes if all(is_unused(10 * each + number) for number in NUMBERS)
    )


def connected(path):
    """Return a socket that is connected to a unix socket."""
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(str(path))
    except OSError:
        link.close()
        raise
    return link


class Unit:
    """What systemd reads in a unit, with its drop-ins."""

    def __init__(self, *texts):
        self.options = {}
        for text in texts:
            for line in text.splitlines():
                name, is_option, value = line.partition("=")
                if is_option and not line.startswith("#"):
                    self.options[name] = value

    def exec_start(self, number):
        """Return the command line of an instance."""
        program, *arguments = shlex.split(self.options["ExecStart"].replace("%i", str(number)))
        assert program == "/srv/mysite/venv/bin/daphne"
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # a container may have less
        limit = min(int(self.options["LimitNOFILE"]), most)
        return ["prlimit", f"--nofile={limit}:{limit}", sys.executable, "-m", "daphne", *arguments]

    def stop(self, process):
        """Stop a process as systemd does; return the seconds it took."""
        started = time.monotonic()
        process.send_signal(getattr(signal, self.options["KillSignal"]))
        try:
            process.wait(float(self.options["TimeoutStopSec"]))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return time.monotonic() - started


class Instance(Server):
    """A process of a unit."""

    def __init__(self, unit, number, settings):
        self.unit, self.number = unit, number
        self.ready = re.compile(r"Listening on|Listen failure|Configuring endpoint unix")
        super().__init__(settings)

    def command(self):
        """Return the command line."""
        return self.unit.exec_start(self.number)


class Systemd:
    """Instances of the page's unit, and a `systemctl restart` in `path` for scripts.

    Args:
        folder: for files.
        settings: of the processes.
        by_socket: as the page has it for unix sockets.

    Attributes:
        all: every process that ran.
        stops: seconds that each stop took.
    """

    def __init__(self, folder, settings, *, by_socket=False):
        self.folder = Path(folder)
        self.prefix = unused_prefix()
        self.settings, self.by_socket = settings, by_socket
        drop_ins = [self.adapted("unix.conf")] if by_socket else []
        self.unit = Unit(self.adapted("mysite-ws@.service"), *drop_ins)
        self.instances, self.all, self.stops = {}, [], []
        self._ends = threading.Event()

    def adapted(self, name):
        """Return a file of the page with the ports and paths of this test."""
        text = FILES[name].replace("mysite.asgi:application", APPLICATION)
        if self.by_socket:
            text = text.replace('"http://127.0.0.1:800$instance/health"', BY_SOCKET)
        text = text.replace("/run/mysite-ws", str(self.folder / "run"))
        return re.sub(r"\b800(?=[1-4%$])", self.prefix, text)

    def __enter__(self):
        for number in NUMBERS:
            if self.by_socket:  # RuntimeDirectory
                (self.folder / "run" / str(number)).mkdir(parents=True)
            self._start(number)
        self._serve()
        return self

    def __exit__(self, *exc):
        self._ends.set()
        self._listener.close()
        for process in self.all:
            process.stop()
            print(f"--- {process!r}\n{process.log[-20000:]}")

    @property
    def path(self):
        """The folder with systemctl."""
        return str(self.folder / "bin")

    def restart(self, number):
        """Stop an instance, and start it; like systemd, don't wait until it serves."""
        self.stops.append(self.unit.stop(self.instances[number].process))
        self._start(number)

    def kill(self, number):
        """Kill an instance; it starts again as the unit says."""
        self.instances[number].kill()
        assert self.unit.options["Restart"] == "always"
        time.sleep(float(self.unit.options["RestartSec"]))
        self._start(number)

    def health(self, number):
        """Return curl's arguments for an instance's own health view."""
        if self.by_socket:
            path = self.folder / "run" / str(number) / "daphne.sock"
            return ["--unix-socket", str(path), "http://localhost/health"]
        return [f"http://127.0.0.1:{self.prefix}{number}/health"]

    def client(self, number, token=None):
        """Return a client of an instance itself."""
        if not self.by_socket:
            return Client(f"ws://127.0.0.1:{self.prefix}{number}/ws", token)
        link = connected(self.folder / "run" / str(number) / "daphne.sock")
        return Client("ws://localhost/ws", token, sock=link)

    def front(self):
        """Return the page's nginx before the instances."""
        upstream = self.adapted("unix-upstream.conf") if self.by_socket else None
        return Front(self.adapted("nginx.conf"), upstream)

    def is_well(self):
        """Tell whether all instances answer."""
        command = ["curl", "--silent", "--fail", "--output", "/dev/null", "--max-time", "2"]
        return all(
            subprocess.run([*command, *self.health(number)]).returncode == 0 for number in NUMBERS
        )

    def _start(self, number):
        instance = Instance(self.unit, number, self.settings)
        self.instances[number] = instance
        self.all.append(instance)

    def _serve(self):
        (self.folder / "bin").mkdir()
        control = self.folder / "bin/systemctl"
        address = str(self.folder / "control")
        control.write_text(CONTROL.format(python=sys.executable, path=address))
        control.chmod(0o755)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen()
        self._listener.settimeout(0.2)
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self):
        while not self._ends.is_set():
            try:
                link, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            with link, link.makefile() as lines:
                verb, name = lines.readline().split()
                assert verb == "restart"
                self.restart(int(name.removeprefix("mysite-ws@")))
                link.sendall(b"0")


class Front(Nginx):
    """The page's nginx: with TLS at `wss` and `https`, and the same without at `ws` and `http`.

    Args:
        text: the page's configuration, with the upstream of a test; without, `upstream` says it.
    """

    def __init__(self, text=None, upstream=None):
        self.text = FILES["nginx.conf"] if text is None else text
        if upstream is not None:
            self.text = with_upstream(self.text, upstream)
        self.tls_port, self.redirect_port = unused_ports(2)
        super().__init__(self.http_context)

    def http_context(self, folder):
        """Return the configuration: the page's, and its server once more without TLS."""
        self.certificate, key = certificate(folder)
        text = self.text.replace("/etc/ssl/mysite.pem", str(self.certificate))
        text = text.replace("/etc/ssl/mysite.key", str(key))
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.redirect_port};")
        [server] = re.findall(r"^server \{\n    listen 443.*?^\}\n", text, re.M | re.S)
        plain = re.sub(r"    ssl_certificate.*\n", "", server).replace(
            "443 ssl", "127.0.0.1:{port}"
        )
        return text.replace("listen 443 ssl", f"listen 127.0.0.1:{self.tls_port} ssl") + plain

    @property
    def wss(self):
        """The socket's address over TLS."""
        return f"wss://localhost:{self.tls_port}/ws"

    @property
    def https(self):
        """The site's address over TLS."""
        return f"https://localhost:{self.tls_port}"

    @property
    def context(self):
        """For clients that know its certificate."""
        return ssl.create_default_context(cafile=self.certificate)


def with_upstream(text, upstream):
    """Return the page's nginx with another upstream: its text, or one server."""
    if "{" not in upstream:
        upstream = f"upstream mysite_ws {{\n    server {upstream} max_fails=0;\n}}\n"
    changed, count = re.subn(r"^upstream .*?^\}\n", upstream, text, flags=re.M | re.S)
    assert count == 1
    return changed


async def rolling_restart(systemd, numbers=NUMBERS):
    """Run the page's script; return the seconds it took."""
    script = systemd.folder / "rolling-restart"
    script.write_text(systemd.adapted("rolling-restart"))
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        "sh", str(script), *map(str, numbers),
        env={**os.environ, "PATH": f"{systemd.path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert await process.wait() == 0
    return time.monotonic() - started
