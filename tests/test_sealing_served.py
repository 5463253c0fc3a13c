"""Nobody meets a citizen's number anywhere but where it is asked for with a reason. All invented."""

import io
import re
import zipfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from structlog.testing import capture_logs

from service.wiring import Wiring
from tests.process import banjie, environment
from tests.served import Served, served, sqlite
from tests.test_access import pages
from tests.test_web import Browser, signed_in

PHONE, CARD, NAME = "13800004321", "11010519491231002X", "王建国"
KNOWN = (PHONE, CARD, NAME, "建国")
TELLING = {
    "workOrderNo": "T20261121-1",
    "orderType": "投诉",
    "urgency": "一般",
    "title": f"退款，联系{PHONE}",
    "content": f"我叫{NAME}，身份证{CARD}，买了两斤排骨短斤少两，电话{PHONE}",
    "acceptTime": "2026-11-21 08:50:00",
    "areaCode": "360732",
    "address": f"平川大道，{PHONE}",
    "contactName": NAME,
    "contactPhone": PHONE,
    "idCard": CARD,
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with capture_logs() as logs, served(sqlite(tmp_path_factory.mktemp("sealed"))) as running:
        running.client.follow_redirects = False
        yield running
        assert not [each for each in logs if any(known in str(each) for known in KNOWN)]


@pytest.fixture(scope="module")
def no(service: Served) -> str:
    answer = service.post("/v1/intake/hotline-12345", TELLING, "hotline-12345")
    assert answer.status_code == 201, answer.text
    assert not [known for known in KNOWN if known in answer.text]
    ticket = answer.json()["ticket"]
    if ticket["lead"] is None:
        unit = {"unit": "360732-market_regulation", "assist": [], "reason": "属其职责"}
        ticket = service.act(ticket, "dispatcher", "dispatch", **unit)
    ticket = service.act(ticket, "handler", "sign")
    ticket = service.act(ticket, "handler", "contact", text=f"打了{PHONE}，是{NAME}本人")
    wish = {"amount": "1 工作日", "reason": f"{PHONE}的诉求人出差"}
    ticket = service.act(ticket, "handler", "request_extension", **wish)
    ticket = service.act(ticket, "supervisor", "supervise", level="yellow", text=f"请联系{PHONE}")
    more = {**TELLING, "content": f"又补充：{CARD}，{NAME}"}
    assert service.post("/v1/intake/hotline-12345", more, "hotline-12345").status_code == 200
    # One that waits to be signed, one that was drawn for a second look, and a row that was refused.
    _, over = (_sent(service, each) for each in ("T20261121-2", "T20261121-3"))
    over = service.act(over, "handler", "sign")
    over = service.act(over, "handler", "contact", text=f"打了{PHONE}")
    reply = {"public_reply": f"已退款，{PHONE}", "internal_finding": f"{CARD}属实", "solved": True}
    over = service.act(over, "handler", "resolve", **reply)
    called = {"reached": True, "solved": True, "grade": 5, "text": f"{NAME}满意"}
    over = service.act(over, "dispatcher", "call_back", **called)
    over = service.act(over, "dispatcher", "close")
    seen = {"way": "phone", "reached": True, "solved": True, "truthful": True}
    service.act(over, "supervisor", "check", **seen, text=f"打了{PHONE}")
    wrong = {**TELLING, "workOrderNo": "T20261121-4", "orderType": PHONE, "acceptTime": PHONE}
    service.post("/v1/intake/hotline-12345", wrong, "hotline-12345")
    return str(ticket["no"])


def _sent(service: Served, name: str) -> dict[str, Any]:
    answer = service.post(
        "/v1/intake/hotline-12345", {**TELLING, "workOrderNo": name}, "hotline-12345"
    )
    assert answer.status_code == 201, answer.text
    ticket: dict[str, Any] = answer.json()["ticket"]
    if ticket["lead"] is None:
        unit = {"unit": "360732-market_regulation", "assist": [], "reason": "属其职责"}
        ticket = service.act(ticket, "dispatcher", "dispatch", **unit)
    return ticket


def _addresses() -> list[str]:
    document = yaml.safe_load((Path(__file__).parents[1] / "openapi.yaml").read_text("utf-8"))
    asked = [path for path, methods in document["paths"].items() if "get" in methods]
    return [path for path in asked if path != "/v1/events"]


def _pages() -> list[str]:
    found = [page.removeprefix("GET ") for page in pages() if page.startswith("GET ")]
    # A stream that has no end says that a queue has changed, and nothing of what is in it.
    away = ("oidc", "static", "/desk/queue/changes")
    return [path for path in found if not any(each in path for each in away)]


# Pages that look otherwise by their query.
MORE = (
    "/desk/queue?unit=360732-market_regulation",
    "/desk/queue?place=平川",
    "/desk/tickets?q=排骨",
    "/desk/tickets/{no}?view=print",
    "/desk/supervision/tickets?why=red",
    "/desk/samples?state=checked",
    "/desk/figures?from=2026-11-01&to=2026-11-21&rate=on_time&by=unit",
    "/desk/figures.xlsx?from=2026-11-01&to=2026-11-21",
    "/desk/deliveries?state=unaddressed",
)


def _content(answer: Any) -> bytes:
    """Return what an answer says, of a workbook what is packed in it."""
    content: bytes = answer.content
    if not content.startswith(b"PK"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        return b"".join(packed.read(name) for name in packed.namelist())


def _filled(path: str, no: str) -> str:
    filled = path.replace("{no}", no).replace("{code}", "360732-market_regulation")
    filled = filled.replace("{source}", "hotline-12345").replace("{month}", "2026-11")
    filled = filled.replace("{name}", "hotline-12345")
    filled = re.sub(r"\{[^}]*\}", "1", filled)
    return filled + ("?from=2026-11-01&to=2026-11-21" if filled == "/v1/kpis" else "")


@pytest.mark.parametrize("path", [*_addresses(), "/v1/events?after=", "/v1/tickets?q=排骨"])
@pytest.mark.parametrize("who", ["admin", "dispatcher", "handler", "auditor", "hotline-12345"])
def test_no_answer_tells_who_complained(service: Served, no: str, path: str, who: str) -> None:
    answer = service.get(_filled(path, no), who)
    assert answer.status_code < 500
    assert not [known for known in KNOWN if known.encode() in _content(answer)]


@pytest.mark.parametrize("who", ["admin", "dispatcher", "supervisor", "handler", "auditor"])
def test_no_page_tells_who_complained(service: Served, no: str, who: str) -> None:
    signed_in(service, who)
    shown = 0
    for path in (*_pages(), *MORE):
        if "sign-out" in path:
            continue
        answer = service.client.get(_filled(path, no))
        assert answer.status_code < 500, path
        assert not [known for known in KNOWN if known.encode() in _content(answer)], path
        shown += no in answer.text
    assert shown > 1, "there is something to tell"


def test_signing_several_tells_nobody(service: Served, no: str) -> None:
    browser = signed_in(service, "handler")
    queue = browser.get("/desk/queue").text
    boxes = re.findall(r'name="ticket" form="sign" value="([^"]+)"', queue)
    assert boxes
    done = browser.press("/desk/queue", "/desk/queue/sign", ticket=boxes[0])
    assert done.status_code == 200
    assert not [known for known in KNOWN if known in queue + done.text]


def test_the_page_shows_it_once_to_who_says_why(service: Served, no: str) -> None:
    browser: Browser = signed_in(service, "dispatcher")
    page = f"/desk/tickets/{no}"
    shown = browser.press(page, f"{page}/contact", reason="回访核实")
    for known in (PHONE, CARD, f"打了{PHONE}，是{NAME}本人"):
        assert known in shown.text
    assert shown.headers["cache-control"] == "no-store"
    after = browser.get(page).text
    assert PHONE not in after
    assert "回访核实" in after


def test_somebodys_tickets_are_found_on_the_page_and_over_http(service: Served, no: str) -> None:
    answer = service.post("/v1/tickets/search", {"phone": PHONE}, "dispatcher")
    assert no in [each["no"] for each in answer.json()["items"]]
    assert PHONE not in answer.text
    assert service.post("/v1/tickets/search", {"phone": "1111111"}).status_code == 422
    assert service.post("/v1/tickets/search", {"phone": PHONE}, "handler").status_code == 403
    refused = service.get(f"/v1/tickets?q={PHONE}", "dispatcher")
    assert refused.status_code == 422
    assert "/v1/tickets/search" in refused.text
    browser = signed_in(service, "dispatcher")
    found = browser.press("/desk/tickets", "/desk/tickets/by-phone", phone=PHONE)
    assert no in found.text
    assert PHONE not in found.text


def test_what_was_changed_in_the_database_is_told_and_not_shown(service: Served, no: str) -> None:
    def written(old: str, new: str) -> Callable[[Wiring], Awaitable[None]]:
        changed = sa.text("UPDATE sealed SET document = replace(document, :old, :new)")

        async def write(parts: Wiring) -> None:
            await parts.store.run(lambda c: c.execute(changed, {"old": old, "new": new}) and None)

        return write

    service.run(written(".A256GCM.", ".SM4GCM."))
    path = f"/v1/tickets/{no}/contact-readings"
    answer = service.post(path, {"reason": "核实"}, "dispatcher")
    service.run(written(".SM4GCM.", ".A256GCM."))
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:banjie:problem:tampered")


def test_the_keys_are_changed_from_the_command_line(tmp_path: Path) -> None:
    url, keys = f"sqlite:///{tmp_path}/banjie.db", str(tmp_path / "keys")

    def run(*words: str) -> tuple[int, str]:
        done = banjie(*words, env=environment(url, BANJIE_KEYS=keys))
        return done.returncode, done.stdout + done.stderr

    assert run("migrate")[0] == 0
    assert run("keys", "status")[0] == 1
    code, said = run("keys", "add")
    assert code == 0, said
    assert run("keys", "rotate")[0] == 0
    found = Path(keys).read_text()
    lines = [line for line in found.splitlines() if not line.startswith("#")]
    assert len(lines) == 2
    code, said = run("keys", "status", "--json")
    assert code == 0, said
    assert lines[0].split()[0] in said
    assert lines[0].split()[2] not in said
    assert run("keys", "remove", lines[0].split()[0])[0] == 1
    assert run("keys", "remove", lines[1].split()[0])[0] == 0
