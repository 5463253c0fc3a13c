"""`python -m adapters.fakes --channel wenzheng-jiangxi --port 9001`: an upstream to connect to.

Offers a list that grows, records call-backs, and pushes if it is told where to. Prints its addresses;
faults are set over HTTP while it runs. Everything it sends is invented.
"""

import argparse
import os
import sys
import time
from datetime import datetime, timedelta

import httpx

from adapters.fakes.upstream import Upstream, serving
from adapters.sources import load_sources
from service.domain.calendar import SHANGHAI


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m adapters.fakes", description=__doc__)
    parser.add_argument("--channel", choices=[*load_sources()], required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--rows", type=int, default=20, help="rows in the list at first")
    parser.add_argument(
        "--every", type=float, default=5, help="seconds between new rows, 0 for none"
    )
    parser.add_argument("--newest-first", action="store_true")
    parser.add_argument(
        "--push-to", default="", help="an intake address that new rows are posted to"
    )
    parser.add_argument(
        "--token", default="FAKE_TOKEN", help="variable with the token: of the list, and of pushes"
    )
    parser.add_argument(
        "--secret", default="FAKE_SECRET", help="variable with the secret that signs both ways"
    )
    given = parser.parse_args()
    token, secret = os.environ.get(given.token, ""), os.environ.get(given.secret, "")
    upstream = Upstream(given.channel, token, secret, newest_first=given.newest_first)
    start = datetime.now(SHANGHAI)
    upstream.put(
        *(upstream.invent(start - timedelta(minutes=given.rows - n)) for n in range(given.rows))
    )
    with serving(upstream, given.host, given.port) as address, httpx.Client(timeout=30) as client:
        sys.stdout.write(f"{address}/list\n{address}/callback\n{address}/faults\n")
        sys.stdout.flush()
        while True:
            time.sleep(given.every or 3600)
            if not given.every:
                continue
            row = upstream.invent()
            upstream.put(row)
            if given.push_to:
                try:
                    for answer in upstream.push(client, [row], given.push_to, token):
                        sys.stdout.write(f"{answer.status_code} {row[upstream.number]}\n")
                except httpx.TransportError as error:
                    sys.stdout.write(f"{type(error).__name__} {row[upstream.number]}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
