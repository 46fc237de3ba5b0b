"""An identity provider: a real one, local, that does what it shouldn't."""

import contextlib
import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from jose import jwk

from tests.sessions.forging import rsa_pair, sign


def jwk_of(name, pair=rsa_pair, algorithm="RS256", **more):
    """Return the public JWK of a key."""
    public = jwk.construct(pair(name)[1], algorithm).to_dict()
    public = {key: value.decode() if isinstance(value, bytes) else value
              for key, value in public.items()}  # fmt: skip
    return {**public, "kid": name, "use": "sig", **more}


def token_by(name, user="alice"):
    """Return a token that the provider has signed."""
    return sign(user, key=rsa_pair(name)[0], algorithm="RS256", headers={"kid": name})


class Provider:
    """An identity provider: serves `body` at /jwks, and counts."""

    def __init__(self):
        self.requests = 0
        self.status, self.headers = 200, {}
        self.serve(jwk_of("first"))
        self.release = threading.Event()
        self.hangs = self.drips = False
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                provider.requests += 1
                if provider.hangs:
                    provider.release.wait(30)
                self.send_response(provider.status)
                for name, value in provider.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the client may have had enough
                    for byte in provider.body if provider.drips else ():
                        self.wfile.write(bytes([byte]))
                        if provider.release.wait(0.1):
                            return
                    self.wfile.write(provider.body)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks"
        serving = partial(self._server.serve_forever, poll_interval=0.01)
        threading.Thread(target=serving, daemon=True).start()

    def serve(self, *jwks):
        """Have these keys."""
        self.body = json.dumps({"keys": jwks}).encode()

    def close(self):
        """End it, and whatever hangs."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
