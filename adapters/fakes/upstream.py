"""An upstream of a channel: it offers a list, takes call-backs, and pushes, with faults as they are set.

GET  /list?since=&page=&size=     the rows from `since` on, {"items": […], "total": n}, with an ETag
POST /callback                    what became of a ticket; recorded, its signature verified
GET  /callback                    what was recorded
POST /rows                        put a row, or a list of them, into the list; one of the same number is replaced
GET  /faults  POST /faults        what goes wrong: the fields of Faults
"""

import asyncio
import dataclasses
import hashlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.fakes import webhooks
from adapters.fakes.invented import REGION, payload
from adapters.sources import ADAPTERS, load_sources
from service.domain.calendar import SHANGHAI
from service.domain.region import covers

_PAGE_MOST = 1_000


@dataclass
class Faults:
    """What goes wrong. All of it is for both directions where that makes sense, and may be set while
    the upstream runs."""

    slow_s: float = 0.0  # wait so long before an answer, or a push
    status: int = 0  # answer with this status instead; of `times` requests, then well again
    times: int = -1  # how many requests a `status` lasts for; -1 for ever
    wrong_signature: bool = False  # sign pushes with another secret
    duplicate: bool = False  # offer and push everything twice
    out_of_order: bool = False  # shuffle pages and pushes
    garbage: str = ""  # `html`, `cut` or `bytes` in place of a page; `rows` among its rows
    redirect: str = ""  # send readers of the list there
    size_most: int = _PAGE_MOST  # give no more rows a page, whatever was asked for
    no_etag: bool = False


@dataclass(frozen=True)
class Received:
    """A call-back as it came. `fault` is what is wrong with its signature, "" if nothing is."""

    id: str
    at: float
    fault: str
    answered: int
    body: Any


@dataclass
class Upstream:
    """The upstream of a shipped source. Times of rows are its own clock's, `now` in Shanghai.

    `token` is asked for where a list is read, `secret` signs pushes and verifies call-backs.
    """

    channel: str
    token: str = ""
    secret: str = ""
    newest_first: bool = False
    seed: int = 0
    first: int = 1  # number of the first row it invents
    now: Callable[[], datetime] = lambda: datetime.now(SHANGHAI)
    faults: Faults = field(default_factory=Faults)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)  # parameters, and the status answered

    def __post_init__(self) -> None:
        self._source = load_sources()[self.channel]
        adapter = ADAPTERS[self._source.adapter]
        self.number, self.time = adapter.NUMBER, adapter.TIMES["accepted_at"]
        self._rng = random.Random(self.seed)  # noqa: S311 invents complaints
        self._count = self.first - 1
        self._lock = threading.Lock()

    # What it holds

    def invent(self, at: datetime | None = None, **changes: Any) -> dict[str, Any]:
        """Return an invented row of this channel, received at `at`; it is not in the list yet."""
        self._count += 1
        when = (at or self.now()).astimezone(SHANGHAI)
        _, row = payload(self._rng, when, self._count, self._source.adapter)
        if not covers(self._source.region, REGION):
            # A channel of another place: its tickets lie where its source does.
            row |= {"areaCode": None, "areaName": None}
        return row | changes

    def put(self, *rows: Mapping[str, Any]) -> None:
        """Put rows into the list; one of the same number is replaced."""
        with self._lock:
            for row in rows:
                self.rows[str(row.get(self.number, f"?{len(self.rows)}"))] = dict(row)

    def drop(self, number: str) -> None:
        """Take a row off the list."""
        with self._lock:
            self.rows.pop(number, None)

    # The list and the call-backs

    def app(self) -> Starlette:
        """Return the application; `serving` runs it."""
        return Starlette(
            routes=[
                Route("/list", self._list, methods=["GET"]),
                Route("/callback", self._callback, methods=["POST"]),
                Route("/callback", self._recorded, methods=["GET"]),
                Route("/rows", self._rows, methods=["POST"]),
                Route("/faults", self._faults, methods=["GET", "POST"]),
            ]
        )

    async def _list(self, request: Request) -> Response:
        asked = dict(request.query_params)
        answer = await self._failing() or self._page(request)
        self.asked.append(asked | {"status": str(answer.status_code)})
        return answer

    def _page(self, request: Request) -> Response:
        asked = request.query_params
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return JSONResponse({"message": "令牌无效"}, 401)
        if self.faults.redirect:
            return Response(status_code=302, headers={"location": self.faults.redirect})
        page, size = int(asked.get("page", "1")), int(asked.get("size", "100"))
        with self._lock:
            rows = [row for row in self.rows.values() if self._when(row) >= asked.get("since", "")]
        rows.sort(key=self._when, reverse=self.newest_first)
        size = min(size, self.faults.size_most)
        shown = rows[(page - 1) * size : page * size]
        if self.faults.duplicate:
            shown = [row for row in shown for _ in range(2)]
        if self.faults.out_of_order:
            self._rng.shuffle(shown)
        items: list[Any] = list(shown)
        if self.faults.garbage == "rows":
            items[len(items) // 2 : len(items) // 2] = [7, None, "坏行", {}, {self.time: "昨天"}]
        body = json.dumps({"items": items, "total": len(rows)}, ensure_ascii=False).encode()
        if self.faults.garbage == "html":
            return Response("<html><body>请先登录</body></html>", media_type="text/html")
        if self.faults.garbage == "cut":
            body = body[: len(body) // 2]
        if self.faults.garbage == "bytes":
            body = bytes(self._rng.randrange(256) for _ in range(500))
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {} if self.faults.no_etag else {"etag": etag}
        if headers and request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    def _when(self, row: Mapping[str, Any]) -> str:
        return str(row.get(self.time, ""))

    async def _callback(self, request: Request) -> Response:
        body = await request.body()
        failed = await self._failing()
        wrong = (
            webhooks.fault(self.secret, request.headers, body, int(time.time()))
            if self.secret
            else ""
        )
        answer = failed or JSONResponse({"message": wrong or "ok"}, 401 if wrong else 200)
        try:
            said = json.loads(body)
        except ValueError:
            said = body.decode("utf-8", "replace")
        number = request.headers.get("webhook-id", "")
        self.received.append(Received(number, time.time(), wrong, answer.status_code, said))
        return answer

    async def _recorded(self, _request: Request) -> Response:
        return JSONResponse({"items": [dataclasses.asdict(each) for each in self.received]})

    async def _rows(self, request: Request) -> Response:
        rows = await request.json()
        self.put(*(rows if isinstance(rows, list) else [rows]))
        return JSONResponse({"rows": len(self.rows)})

    async def _faults(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                self.faults = dataclasses.replace(self.faults, **await request.json())
            except TypeError as error:
                return JSONResponse({"message": str(error)}, 422)
        return JSONResponse(dataclasses.asdict(self.faults))

    async def _failing(self) -> Response | None:
        """Wait as long as is set, and return the failure that is set, if any is left."""
        if self.faults.slow_s:
            await asyncio.sleep(self.faults.slow_s)
        if not self.faults.status or self.faults.times == 0:
            return None
        self.faults.times -= self.faults.times > 0
        return JSONResponse({"message": "出错"}, self.faults.status, {"retry-after": "1"})

    # The pushes

    def push(
        self, client: httpx.Client, rows: Sequence[Mapping[str, Any]], address: str, token: str = ""
    ) -> list[httpx.Response]:
        """Post rows to an intake address, one by one, signed if there is a secret; return the answers.

        Raises what httpx raises: a sender that gets no answer sends again.
        """
        sent = [row for row in rows for _ in range(2 if self.faults.duplicate else 1)]
        if self.faults.out_of_order:
            self._rng.shuffle(sent)
        answers = []
        for row in sent:
            if self.faults.slow_s:
                time.sleep(self.faults.slow_s)
            body = json.dumps(row, ensure_ascii=False).encode()
            if self.faults.garbage:
                body = body[: len(body) // 2]
            head = {"content-type": "application/json"}
            if token:
                head["authorization"] = f"Bearer {token}"
            if self.secret:
                secret = "another" if self.faults.wrong_signature else self.secret
                number = f"{row.get(self.number)}-{hashlib.sha256(body).hexdigest()[:12]}"
                head |= webhooks.headers(secret, number, int(time.time()), body)
            answers.append(client.post(address, content=body, headers=head))
        return answers


@contextmanager
def serving(upstream: Upstream, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Run an upstream in a thread for as long as the block lasts; yield its address."""
    listening = socket.create_server((host, port))
    server = uvicorn.Server(
        uvicorn.Config(
            upstream.app(), log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
    )
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
