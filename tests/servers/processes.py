"""The servers, each as an administrator would start it."""

import random
import re
import ssl
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path

from tests.kit import Client, Daphne, Server, Uvicorn, wait_until
from tests.kit.redis import PORTS
from tests.operating.deployment import Front, connected

APPLICATION = "tests.servers.asgi:application"


def make_certificate(folder):
    """Make a certificate that nobody has signed: cert.pem, and key.pem."""
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run([*request, *files], check=True, capture_output=True)


def tls_client(url, token):
    """Return a client that doesn't ask who signed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return Client(url.replace("ws:", "wss:"), token, ssl=context)


class PlainDaphne(Daphne):
    """daphne over TCP."""

    application = APPLICATION

    def client(self, token=None):
        """Return a client, not yet connected."""
        return Client(self.ws, token)


class _WithFolder(PlainDaphne):
    """daphne that needs files."""

    def command(self):
        """Return the command line."""
        self._directory = tempfile.TemporaryDirectory()
        return self.command_with(Path(self._directory.name))

    def stop(self):
        """End the process, and remove the files."""
        super().stop()
        self._directory.cleanup()


class TlsDaphne(_WithFolder):
    """daphne over TLS, with a certificate of its own."""

    ready = re.compile(r"Listening on TCP address [\d.]+:(?P<port>\d+)")

    def command_with(self, folder):
        """Return the command line."""
        make_certificate(folder)
        keys = f"privateKey={folder}/key.pem:certKey={folder}/cert.pem"
        return self.python("daphne", "-e", f"ssl:0:interface=127.0.0.1:{keys}", APPLICATION)

    def client(self, token=None):
        """Return a client that doesn't ask who signed."""
        return tls_client(self.ws, token)


class UnixDaphne(_WithFolder):
    """daphne on a unix socket, as behind nginx."""

    ready = re.compile("Listening on endpoint|Listening on.*unix|Configuring endpoint unix")

    def command_with(self, folder):
        """Return the command line."""
        self.path = f"{folder}/daphne.sock"
        return self.python("daphne", "-u", self.path, APPLICATION)

    def wait_until_ready(self):
        """Wait until the socket is there."""
        super().wait_until_ready()
        wait_until(Path(self.path).exists)

    def client(self, token=None):
        """Return a client on that socket."""
        return Client("ws://localhost/ws", token, sock=connected(self.path))


class _BehindNginx:
    """What stands behind the nginx of docs/deployment.md."""

    @cached_property
    def front(self):
        """nginx, started when a client is first made."""
        front = Front(upstream=self.upstream)
        front.wait_until_ready()
        return front

    def stop(self):
        """End both."""
        if "front" in vars(self):
            self.front.stop()
        super().stop()


class NginxTcp(_BehindNginx, PlainDaphne):
    """daphne over TCP, behind nginx."""

    @property
    def upstream(self):
        """Where nginx finds it."""
        return f"127.0.0.1:{self.port}"

    def client(self, token=None):
        """Return a client of nginx."""
        return Client(self.front.ws, token)


class NginxTlsUnix(_BehindNginx, UnixDaphne):
    """daphne on a unix socket, behind nginx with TLS."""

    @property
    def upstream(self):
        """Where nginx finds it."""
        return f"unix:{self.path}"

    def client(self, token=None):
        """Return a client of nginx."""
        return Client(self.front.wss, token, ssl=self.front.context)


class UvicornWebsockets(Uvicorn):
    """uvicorn with the implementation by `websockets`."""

    application = APPLICATION
    implementation = "websockets"

    def client(self, token=None):
        """Return a client."""
        return Client(self.ws, token)


class UvicornSansio(UvicornWebsockets):
    """uvicorn with `websockets` sans-I/O."""

    implementation = "websockets-sansio"


class UvicornWsproto(UvicornWebsockets):
    """uvicorn with `wsproto`."""

    implementation = "wsproto"


class UvicornUvloop(UvicornSansio):
    """The same on uvloop."""

    loop = "uvloop"


class UvicornTls(UvicornSansio):
    """uvicorn over TLS."""

    loop = "asyncio"

    def command(self):
        """Return the command line."""
        self._directory = tempfile.TemporaryDirectory()
        folder = Path(self._directory.name)
        make_certificate(folder)
        files = ("--ssl-keyfile", f"{folder}/key.pem", "--ssl-certfile", f"{folder}/cert.pem")
        return [*super().command(), *files]

    def client(self, token=None):
        """Return a client that doesn't ask who signed."""
        return tls_client(self.ws, token)

    def stop(self):
        """End the process, and remove the files."""
        super().stop()
        self._directory.cleanup()


class UvicornTlsUvloop(UvicornTls):
    """The same on uvloop, which has a TLS of its own."""

    loop = "uvloop"


class Hypercorn(UvicornWebsockets):
    """hypercorn."""

    ready = re.compile(r"Running on http://[\d.]+:(?P<port>\d+)")

    def command(self):
        """Return the command line."""
        return self.python("hypercorn", APPLICATION, "--bind", "127.0.0.1:0", "--log-file", "-")


class Granian(UvicornWebsockets):
    """granian, which takes no port 0."""

    ready = re.compile("Started worker-1")

    def command(self):
        """Return the command line."""
        self.port = random.choice(PORTS)
        options = ["--interface", "asgi", "--host", "127.0.0.1", "--port", str(self.port)]
        return self.python("granian", *options, APPLICATION)


SERVERS: list[type[Server]] = [
    PlainDaphne,
    TlsDaphne,
    UnixDaphne,
    NginxTcp,
    NginxTlsUnix,
    UvicornWebsockets,
    UvicornSansio,
    UvicornWsproto,
    UvicornUvloop,
    UvicornTls,
    UvicornTlsUvloop,
    Hypercorn,
    Granian,
]
