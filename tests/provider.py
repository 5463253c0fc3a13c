"""An identity provider as a process of its own: oidc-provider-mock, told to hold a client to PKCE.

    python -m tests.provider --port 9400

That package gives out codes without looking at `code_challenge`; this keeps what came with each
request for a code, and lets no code be exchanged without the verifier that fits it (RFC 7636).
"""

import argparse
import base64
import hashlib
import sys
import warnings
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

warnings.simplefilter("ignore")  # of the package's own dependencies

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Strict:
    """A WSGI application around the provider's, which remembers challenges by their codes."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._challenges: dict[str, str] = {}

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Serve one request."""
        path = environ["PATH_INFO"]
        if path.endswith("/authorize") and environ["REQUEST_METHOD"] == "POST":
            return self._giving(environ, start)
        if path.endswith("/token") and not self._fits(environ):
            start("400 Bad Request", [("Content-Type", "application/json")])
            return [b'{"error": "invalid_grant"}']
        return self._app(environ, start)

    def _giving(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        asked = parse_qs(environ.get("QUERY_STRING", ""))

        def noted(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            to = dict(headers).get("Location", "")
            for code in parse_qs(urlsplit(to).query).get("code", []):
                if asked.get("code_challenge_method") == ["S256"]:
                    self._challenges[code] = asked["code_challenge"][0]
            return start(status, headers, *rest)

        return self._app(environ, noted)

    def _fits(self, environ: dict[str, Any]) -> bool:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        form = parse_qs(body.decode())
        verifier = form.get("code_verifier", [""])[0]
        digest = hashlib.sha256(verifier.encode()).digest()
        made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return self._challenges.pop(form.get("code", [""])[0], "") == made


def main() -> None:
    """Serve until somebody ends it."""
    from oidc_provider_mock import app
    from werkzeug.serving import make_server

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    provider = app(require_nonce=True)
    provider.debug = False
    server = make_server("127.0.0.1", port, Strict(provider.wsgi_app), threaded=True)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
