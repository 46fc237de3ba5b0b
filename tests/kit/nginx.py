"""nginx, Debian's, in front of servers of a test."""

import itertools
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.kit.processes import Server
from tests.kit.redis import PORTS

#: What stands around the `http` context of a test; files are below the folder.
MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log stderr notice;
{user}
worker_processes 2;
events {{ worker_connections 4096; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
"""

is_installed = shutil.which("nginx") is not None


def certificate(folder):
    """Make a certificate for localhost; return its file and that of its key."""
    files = [Path(folder) / name for name in ("cert.pem", "key.pem")]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run(
        [*request, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True
    )
    return files


def is_unused(port):
    """Tell whether nobody listens on a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def unused_ports(count):
    """Return ports for servers that take no port 0; no outgoing connection gets one of these."""
    return list(itertools.islice(filter(is_unused, random.sample(PORTS, len(PORTS))), count))


class Nginx(Server):
    """nginx with an `http` context, which gets its port in place of ``{port}``.

    Args:
        http: text, or a function that makes it for a folder.
    """

    ready = re.compile("start worker process ")

    def __init__(self, http):
        self.folder = tempfile.TemporaryDirectory(prefix="bazis_ws_nginx_")
        [self.listens_on] = unused_ports(1)
        # Workers of root's nginx would run as nobody, who can't reach sockets in a test's folders.
        user = "user root;" if os.getuid() == 0 else ""
        text = (http(self.folder.name) if callable(http) else http).replace(
            "{port}", str(self.listens_on)
        )
        config = Path(self.folder.name, "nginx.conf")
        config.write_text(MAIN.format(folder=self.folder.name, user=user, http=text))
        super().__init__()

    def command(self):
        """Return the command line."""
        return ["nginx", "-p", self.folder.name, "-c", f"{self.folder.name}/nginx.conf"]

    @property
    def port(self):
        """The port that it was given."""
        self.wait_until_ready()
        return self.listens_on

    def stop(self):
        """End it, and remove its files."""
        super().stop()
        self.folder.cleanup()
