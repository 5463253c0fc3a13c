"""Who may do what, cell by cell: every role at every address and page, on what is its own and what is
not. The addresses come from the description of the interface, the pages from the application: one
without a rule here fails."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute

from service.domain.access import GRANTS, Actor, Ask, Reach, Role
from service.domain.lifecycle import Act
from service.domain.proposal import Proposal, Sort
from service.store import proposals, tokens
from service.store.tables import DeliveryRow, metadata
from service.web.forms import FORMS
from service.web.site import site
from tests.served import Served, served, sqlite

DELIVERIES = metadata.tables[DeliveryRow.__tablename__]
ROOT = Path(__file__).parents[1]
REGION, FAR = "360732", "360300"
MARKET, HOUSING = "360732-market_regulation", "360732-housing_construction"
FAR_UNIT = "360300-market_regulation"
HERE = {"Origin": "http://testserver"}

ACTORS = {
    role: Actor(
        f"某{role}",
        role,
        (MARKET,) if role is Role.HANDLER else (),
        "hotline-12345" if role is Role.SOURCE else "",
        "" if role in {Role.SOURCE, Role.METRICS} else REGION,
    )
    for role in Role
}
PEOPLE = [role for role in Role if role in GRANTS[Ask.DESK]]


@dataclass(frozen=True)
class Subject:
    """A ticket, and what of it decides who may see it."""

    no: str
    region: str
    lead: str
    units: tuple[str, ...]
    source: str
    delivery: int


@dataclass
class World:
    """A service with a ticket of each sort, a token for each role, and browsers that are signed in."""

    service: Served
    tokens: dict[Role, str]
    tickets: dict[str, Subject]
    sessions: dict[Role, dict[str, str]] = field(default_factory=dict)


def sees(role: Role, ticket: Subject) -> bool:
    """Whether a ticket is there for a role; told by hand, not by the code that is tested."""
    return {
        Role.SOURCE: ticket.source == "hotline-12345",
        Role.HANDLER: ticket.region == REGION and MARKET in ticket.units,
        Role.METRICS: False,
    }.get(role, ticket.region == REGION)


def expected(role: Role, what: Act | Ask, ticket: Subject, fine: int) -> int:
    """Return what a role is answered that asks something of a ticket."""
    if not sees(role, ticket):
        # Who has no call to ask at all may be told so; nobody is told that the ticket is there.
        first = what in set(Act) | {Ask.READ_CONTACT}
        return 404 if first or role in GRANTS[what] else 403
    reach = GRANTS[what].get(role)
    if reach is None or (reach is Reach.LED and ticket.lead != MARKET):
        return 403
    return fine


_OFFICE = {Role.DISPATCHER, Role.SUPERVISOR, Role.ADMIN}
_CHIEFS = {Role.SUPERVISOR, Role.ADMIN}
_READERS = {*_OFFICE, Role.HANDLER, Role.AUDITOR}
# Who may do what must not go wrong, told by hand: a wrong row of the table fails here by itself.
MAY: dict[Act | Ask, set[Role]] = {
    Act.DISPATCH: _OFFICE,
    Act.SIGN: {Role.HANDLER, Role.ADMIN},
    Act.RESOLVE: {Role.HANDLER, Role.ADMIN},
    Act.RULE: _CHIEFS,
    Act.DECIDE_EXTENSION: _OFFICE,
    Act.SUPERVISE: _CHIEFS,
    Act.CLOSE: _OFFICE,
    Act.CHECK: _CHIEFS,
    Ask.INTAKE: {Role.SOURCE, Role.ADMIN},
    Ask.TICKETS: {*_READERS, Role.SOURCE},
    Ask.HISTORY: _READERS,
    Ask.READ_CONTACT: {*_OFFICE, Role.HANDLER},
    Ask.BY_PHONE: _OFFICE,
    Ask.EVENTS: _READERS,
    Ask.REDELIVER: _CHIEFS,
    Ask.DRAW: _CHIEFS,
    Ask.DECIDE_PROPOSAL: _CHIEFS,
    Ask.AUDIT: {*_CHIEFS, Role.AUDITOR},
    Ask.METRICS: {Role.METRICS, Role.ADMIN},
    Ask.DESK: _READERS,
}


@pytest.mark.parametrize("what", MAY)
def test_who_may_do_what_must_not_go_wrong(what: Act | Ask) -> None:
    assert set(GRANTS[what]) == MAY[what]


def test_an_auditor_acts_on_nothing_and_sees_no_person() -> None:
    assert not [act for act in Act if Role.AUDITOR in GRANTS[act]]
    personal = [Ask.TICKETS, Ask.HISTORY, Ask.EVENTS, Ask.QUEUE, Ask.SORTING, Ask.DELIVERIES]
    assert {GRANTS[ask][Role.AUDITOR] for ask in personal} == {Reach.MASKED}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(sqlite(tmp_path_factory.mktemp("access")), desk_streams=0) as service:
        service.client.follow_redirects = False
        yield made(service)


def made(service: Served) -> World:
    invited_all = {role: service.run(partial(invited, actor)) for role, actor in ACTORS.items()}
    found = World(service, invited_all, {})
    found.tickets = {
        "own": ticket(service, "A1", REGION, MARKET),
        "assisted": ticket(service, "A2", REGION, HOUSING, MARKET),
        "other unit": ticket(service, "A3", REGION, HOUSING),
        "other region": ticket(service, "A4", FAR, FAR_UNIT),
        "other source": ticket(service, "A5", REGION, HOUSING, source="wenzheng-jiangxi"),
        "other source and region": ticket(service, "A6", FAR, FAR_UNIT, source="wenzheng-jiangxi"),
    }
    for role in PEOPLE:
        service.client.cookies.clear()
        page = service.client.get("/desk/sign-in").text
        token = re.search(r'name="form_token" value="(\w+)"', page)
        assert token
        form = {"form_token": token[1], "token": found.tokens[role]}
        assert service.client.post("/desk/sign-in", data=form, headers=HERE).status_code == 303
        found.sessions[role] = dict(service.client.cookies.items())
    service.client.cookies.clear()
    return found


async def invited(actor: Actor, parts: Any) -> str:
    return str(await parts.store.run(lambda c: tokens.create(c, actor, parts.now())))


def ticket(
    service: Served, no: str, region: str, lead: str, *assist: str, source: str = "hotline-12345"
) -> Subject:
    payload = {
        "hotline-12345": {
            "workOrderNo": no,
            "acceptTime": "2026-11-21 08:50:00",
            "appealTypeName": "投诉",
            "title": "超市短斤少两",
            "content": "买了两斤排骨回家一称只有一斤七两，请核实",
            "areaCode": region,
            "contactName": "王某",
            "contactPhone": "13800000001",
        },
        "wenzheng-jiangxi": {
            "receiptno": no,
            "title": "超市短斤少两",
            "content": "<p>买了两斤排骨回家一称只有一斤七两，请核实</p>",
            "posttime": "2026-11-21 08:50:00",
            "areaName": {REGION: "兴国县", FAR: "萍乡市"}[region],
            "stage": "posted",
            "contactPhone": "13800000001",
        },
    }[source]
    answer = service.post(f"/v1/intake/{source}", payload)
    assert answer.status_code == 201, answer.text
    after = service.act(
        answer.json()["ticket"], "admin", "dispatch", unit=lead, assist=list(assist), reason="某"
    )
    assert after["region"] == region

    async def deliver(parts: Any) -> int:
        def work(connection: Any) -> int:
            rows = connection.execute(
                DELIVERIES.select().where(DELIVERIES.c.ticket_no == after["no"]).limit(1)
            ).all()
            return int(rows[0].id) if rows else 0

        return int(await parts.store.read(work))

    units = (lead, *assist)
    return Subject(after["no"], region, lead, units, source, service.run(deliver))


# The interface

BODIES: dict[Act, dict[str, Any]] = {
    Act.DISPATCH: {"unit": HOUSING, "reason": "某"},
    Act.SIGN: {},
    Act.SEND_BACK: {"reason": "某", "basis": "某"},
    Act.RULE: {"unit": HOUSING, "reason": "某"},
    Act.CONTACT: {"text": "某"},
    Act.REQUEST_EXTENSION: {"amount": "3 工作日", "reason": "某"},
    Act.DECIDE_EXTENSION: {"granted": True},
    Act.PAUSE: {"reason": "awaiting_citizen"},
    Act.RESUME: {},
    Act.RESOLVE: {"public_reply": "某", "solved": True},
    Act.CALL_BACK: {"reached": False},
    Act.CLOSE: {},
    Act.REOPEN: {"reason": "某"},
    Act.MERGE: {"reason": "某"},
    Act.SUPERVISE: {"level": "ordinary", "text": "某"},
    Act.RECLASSIFY: {"kind": "help", "reason": "某"},
    Act.NOTE: {"text": "某"},
    Act.CHECK: {"way": "phone", "reached": False},
}
DAYS = "from=2026-11-01&to=2026-11-20"
Check = Callable[[World, Role], None]


def call(world: World, role: Role, method: str, path: str, body: Any = None, **more: str) -> Any:
    headers = {"Authorization": f"Bearer {world.tokens[role]}", **more}
    return world.service.client.request(method, path, json=body, headers=headers)


def told(answer: Any, role: Role, about: object) -> tuple[int, object, object]:
    return answer.status_code, role.value, about


def at_each_ticket(
    what: Act | Ask, method: str, path: str, body: Any = None, fine: int = 200
) -> Check:
    """Return the check of an address of one ticket."""

    def check(world: World, role: Role) -> None:
        for name, subject in world.tickets.items():
            said = body(subject) if callable(body) else body
            answer = call(world, role, method, path.format(no=subject.no), said)
            wanted = expected(role, what, subject, fine)
            assert told(answer, role, name) == (wanted, role.value, name), answer.text
            if wanted == 404:
                # What is not to be seen is answered as what is not there.
                nothing = call(world, role, method, path.format(no="360732-20261121-99999"), said)
                assert nothing.json() == answer.json()

    return check


def acts(world: World, role: Role) -> None:
    assert set(BODIES) == set(Act)
    for act, fields in BODIES.items():
        for name, subject in world.tickets.items():
            body = {"act": act, **fields}
            if act is Act.MERGE:
                body["into"] = subject.no
            # A version that never was: who may act is told that it is stale, and nothing happens.
            path = f"/v1/tickets/{subject.no}/acts"
            answer = call(world, role, "POST", path, body, **{"If-Match": "999"})
            wanted = expected(role, act, subject, 412)
            assert told(answer, role, (act, name)) == (wanted, role.value, (act, name)), answer.text


def all_or_nothing(what: Ask, method: str, path: str, body: Any = None) -> Check:
    """Return the check of an address that is of no ticket."""

    def check(world: World, role: Role) -> None:
        answer = call(world, role, method, path, body)
        wanted = 200 if role in GRANTS[what] else 403
        assert told(answer, role, path) == (wanted, role.value, path), answer.text

    return check


def a_list(what: Ask, path: str, number: str = "no") -> Check:
    """Return the check of a list: it holds what one may see, and of another region nothing."""

    def check(world: World, role: Role) -> None:
        for asked in (path, f"{path}{'&' if '?' in path else '?'}region={FAR}"):
            answer = call(world, role, "GET", asked)
            if role not in GRANTS[what]:
                assert told(answer, role, asked) == (403, role.value, asked)
                continue
            assert answer.status_code == 200, answer.text
            far_alone = asked != path
            seen = {
                subject.no
                for subject in world.tickets.values()
                if sees(role, subject) and (subject.region == FAR or not far_alone)
            }
            found = {item[number] for item in answer.json()["items"]}
            assert found <= seen, (role, asked)
            if what in {Ask.TICKETS, Ask.EVENTS}:
                assert found == seen, (role, asked)

    return check


def of_a_region(what: Ask, path: str) -> Check:
    """Return the check of figures: those of another region are refused."""

    def check(world: World, role: Role) -> None:
        for region, fine in ((REGION, 200), (FAR, 403)):
            asked = f"{path}{'&' if '?' in path else '?'}region={region}"
            answer = call(world, role, "GET", asked)
            wanted = fine if role in GRANTS[what] else 403
            assert told(answer, role, asked) == (wanted, role.value, asked), answer.text

    return check


def queue(world: World, role: Role) -> None:
    for unit in (MARKET, HOUSING, FAR_UNIT):
        answer = call(world, role, "GET", f"/v1/units/{unit}/queue")
        mine = role is not Role.HANDLER or unit == MARKET
        wanted = 200 if role in GRANTS[Ask.QUEUE] and mine else 403
        assert told(answer, role, unit) == (wanted, role.value, unit)
        if wanted == 200:
            found = {item["no"] for item in answer.json()["items"]}
            assert found == {
                each.no
                for each in world.tickets.values()
                if unit in each.units and sees(role, each)
            }


def intake(path: str) -> Check:
    def check(world: World, role: Role) -> None:
        for source, own in (("hotline-12345", True), ("wenzheng-jiangxi", False)):
            answer = call(world, role, "POST", path.format(source=source), [])
            fine = role is Role.SOURCE and own
            # An empty body is refused as a body; a region's admin may push for any source.
            wanted = {400} if fine or role is Role.ADMIN else {403}
            assert answer.status_code in wanted, (role, source, answer.text)

    return check


def retry(world: World, role: Role) -> None:
    for name, subject in world.tickets.items():
        answer = call(world, role, "POST", f"/v1/deliveries/{subject.delivery or 9999}/retry")
        if role not in GRANTS[Ask.REDELIVER]:
            wanted = 403
        else:
            wanted = 409 if subject.delivery and subject.region == REGION else 404
        assert told(answer, role, name) == (wanted, role.value, name), answer.text


def open_to_all(path: str) -> Check:
    def check(world: World, role: Role) -> None:
        assert call(world, role, "GET", path).status_code == 200
        assert world.service.client.get(path).status_code == 200

    return check


ROUTING = {"channel": "hotline-12345", "region": REGION, "title": "短斤少两", "content": "超市"}
OPEN = {"GET /healthz", "GET /readyz", "GET /metrics"}
RULES: Mapping[str, Check] = {
    "POST /v1/intake/{source}": intake("/v1/intake/{source}"),
    "POST /v1/intake/{source}/batch": intake("/v1/intake/{source}/batch"),
    "GET /v1/tickets": a_list(Ask.TICKETS, "/v1/tickets?limit=200"),
    "GET /v1/tickets/{no}": at_each_ticket(Ask.TICKETS, "GET", "/v1/tickets/{no}"),
    "GET /v1/tickets/{no}/events": at_each_ticket(Ask.HISTORY, "GET", "/v1/tickets/{no}/events"),
    "POST /v1/tickets/{no}/acts": acts,
    "POST /v1/tickets/{no}/contact-readings": at_each_ticket(
        Ask.READ_CONTACT, "POST", "/v1/tickets/{no}/contact-readings", {"reason": "核实"}
    ),
    "POST /v1/tickets/search": all_or_nothing(
        Ask.BY_PHONE, "POST", "/v1/tickets/search", {"phone": "13800000001"}
    ),
    "POST /v1/tickets/{no}/not-same": at_each_ticket(
        Ask.NOT_SAME, "POST", "/v1/tickets/{no}/not-same", lambda ticket: {"no": ticket.no}
    ),
    "GET /v1/groups": all_or_nothing(Ask.GROUPS, "GET", "/v1/groups"),
    "GET /v1/sorting": a_list(Ask.SORTING, "/v1/sorting"),
    "GET /v1/units": all_or_nothing(Ask.UNITS, "GET", "/v1/units"),
    "GET /v1/units/{code}/queue": queue,
    "GET /v1/events": a_list(Ask.EVENTS, "/v1/events?limit=1000"),
    "GET /v1/audit/heads": all_or_nothing(Ask.AUDIT, "GET", "/v1/audit/heads"),
    "GET /v1/sources": all_or_nothing(Ask.SOURCES, "GET", "/v1/sources"),
    "GET /v1/sources/{source}/rejected": all_or_nothing(
        Ask.SOURCES, "GET", "/v1/sources/haochaping/rejected"
    ),
    "POST /v1/routing/explain": all_or_nothing(Ask.EXPLAIN, "POST", "/v1/routing/explain", ROUTING),
    "POST /v1/deadlines/explain": all_or_nothing(
        Ask.EXPLAIN,
        "POST",
        "/v1/deadlines/explain",
        {"from": "2026-11-18T09:12", "limit": "5 工作日"},
    ),
    "GET /v1/deliveries": all_or_nothing(Ask.DELIVERIES, "GET", "/v1/deliveries"),
    "POST /v1/deliveries/{delivery_id}/retry": retry,
    "GET /v1/kpis": of_a_region(Ask.KPIS, f"/v1/kpis?{DAYS}"),
    "GET /v1/bulletins/{month}": of_a_region(Ask.BULLETINS, "/v1/bulletins/2026-11"),
    "GET /healthz": open_to_all("/healthz"),
    "GET /readyz": open_to_all("/readyz"),
    "GET /metrics": open_to_all("/metrics"),
}


def operations() -> list[str]:
    document = yaml.safe_load((ROOT / "openapi.yaml").read_text("utf-8"))
    return [
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    ]


@pytest.mark.parametrize("operation", operations())
def test_every_role_at_every_address(world: World, operation: str) -> None:
    assert operation in RULES, f"{operation} has no rule: who may do it?"
    world.service.run(lambda parts: parts.feed.order())
    for role in Role:
        RULES[operation](world, role)


@pytest.mark.parametrize("operation", sorted(set(operations()) - OPEN))
def test_nobody_gets_in_without_a_token(world: World, operation: str) -> None:
    method, path = operation.split()
    path = re.sub(r"{(\w+)}", lambda m: {"source": "hotline-12345"}.get(m[1], "1"), path)
    for headers in ({}, {"Authorization": "Bearer bj_wrong"}):
        answer = world.service.client.request(method, path, headers=headers)
        assert answer.status_code == 401, (operation, headers)
        assert answer.json()["type"] == "urn:banjie:problem:unauthenticated"


def test_deliveries_are_of_the_own_region(world: World) -> None:
    far = {each.no for each in world.tickets.values() if each.region == FAR}
    for role in Role:
        if role in GRANTS[Ask.DELIVERIES]:
            items = call(world, role, "GET", "/v1/deliveries?limit=200").json()["items"]
            assert not far & {item["no"] for item in items}


def test_metrics_may_be_kept_for_who_reads_metrics(tmp_path: Path) -> None:
    with served(sqlite(tmp_path), metrics_open=False) as service:
        world = World(service, {}, {})
        for role, actor in ACTORS.items():
            world.tokens[role] = service.run(partial(invited, actor))
            wanted = 200 if role in {Role.METRICS, Role.ADMIN} else 403
            assert call(world, role, "GET", "/metrics").status_code == wanted
        assert service.client.get("/metrics").status_code == 401
        assert service.client.get("/healthz").status_code == 200


# The pages


def carried(world: World, role: Role) -> str:
    """Return the token that every form of a session carries."""
    token = re.search(
        r'name="form_token" value="(\w+)"', world.service.client.get("/desk/groups").text
    )
    assert token, role
    return token[1]


def press(world: World, role: Role, path: str, form_token: str = "", **fields: Any) -> Any:
    """Return the answer to a form, with the token that the pages of this session carry."""
    fields["form_token"] = form_token or carried(world, role)
    return world.service.client.post(path, data=fields, headers=HERE)


def ticket_page(world: World, role: Role) -> None:
    for name, subject in world.tickets.items():
        answer = world.service.client.get(f"/desk/tickets/{subject.no}")
        wanted = expected(role, Ask.TICKETS, subject, 200)
        assert told(answer, role, name) == (wanted, role.value, name)
        if wanted == 404:
            assert "短斤少两" not in answer.text


def act_pages(world: World, role: Role) -> None:
    assert set(FORMS) == set(Act)
    token = carried(world, role)
    # What decides is the desk's, asked with every ticket above; a page with a refusal is a whole one.
    some = {name: world.tickets[name] for name in ("own", "assisted", "other region")}
    for act in Act:
        fields = {
            name: {True: "true", False: "false"}.get(value, value)
            for name, value in BODIES[act].items()
        }
        for name, subject in some.items():
            if act is Act.MERGE:
                fields["into"] = subject.no
            path = f"/desk/tickets/{subject.no}/acts/{act}"
            answer = press(world, role, path, token, version="999", **fields)
            wanted = expected(role, act, subject, 412)
            assert told(answer, role, (act, name)) == (wanted, role.value, (act, name))


def contact_page(world: World, role: Role) -> None:
    for name, subject in world.tickets.items():
        answer = press(world, role, f"/desk/tickets/{subject.no}/contact", reason="核实")
        wanted = expected(role, Ask.READ_CONTACT, subject, 200)
        assert told(answer, role, name) == (wanted, role.value, name)
        assert ("13800000001" in answer.text) == (wanted == 200)


def by_phone_page(world: World, role: Role) -> None:
    answer = press(world, role, "/desk/tickets/by-phone", phone="13800000001")
    wanted = 200 if role in GRANTS[Ask.BY_PHONE] else 403
    assert told(answer, role, "by-phone") == (wanted, role.value, "by-phone")
    if wanted == 200:
        seen = {name for name, each in world.tickets.items() if each.no in answer.text}
        assert seen == {n for n, each in world.tickets.items() if each.region.startswith(REGION)}


def not_same_page(world: World, role: Role) -> None:
    for name, subject in world.tickets.items():
        path = f"/desk/tickets/{subject.no}/not-same"
        answer = press(world, role, path, other=subject.no)
        wanted = expected(role, Ask.NOT_SAME, subject, 303)
        assert told(answer, role, name) == (wanted, role.value, name)


def queue_page(world: World, role: Role) -> None:
    for unit in ("", MARKET, HOUSING, FAR_UNIT):
        answer = world.service.client.get(f"/desk/queue?unit={unit}")
        mine = role is not Role.HANDLER or unit in {"", MARKET}
        assert told(answer, role, unit) == (200 if mine else 403, role.value, unit)
        for subject in world.tickets.values():
            assert subject.no not in answer.text or sees(role, subject)


def changes_page(world: World, role: Role) -> None:
    for unit in (MARKET, HOUSING, FAR_UNIT):
        # A stream that begins has no end to wait for: that it may begin is told by one that is full.
        answer = world.service.client.get(f"/desk/queue/changes?unit={unit}")
        mine = role is not Role.HANDLER or unit == MARKET
        assert told(answer, role, unit) == (503 if mine else 403, role.value, unit)


def sign_page(world: World, role: Role) -> None:
    chosen = [f"{subject.no}.999" for subject in world.tickets.values()]
    answer = press(world, role, "/desk/queue/sign", ticket=chosen)
    assert told(answer, role, "sign") == (200, role.value, "sign")
    for name, subject in world.tickets.items():
        of_it = re.search(rf"{subject.no}</a> <b>([^<]+)</b>", answer.text)
        assert of_it, name
        wanted = {404: "没有这张工单", 403: "没有权限", 412: "工单已被他人更新"}
        assert of_it[1] == wanted[expected(role, Act.SIGN, subject, 412)], (role, name)


def retry_page(world: World, role: Role) -> None:
    for name, subject in world.tickets.items():
        answer = press(world, role, f"/desk/deliveries/{subject.delivery or 9999}/retry")
        if role not in GRANTS[Ask.REDELIVER]:
            wanted = 403
        else:
            wanted = 409 if subject.delivery and subject.region == REGION else 404
        assert told(answer, role, name) == (wanted, role.value, name)


def shown(what: Ask, path: str, fine: int = 200) -> Check:
    def check(world: World, role: Role) -> None:
        answer = world.service.client.get(path)
        wanted = fine if role in GRANTS[what] else 403
        assert told(answer, role, path) == (wanted, role.value, path)
        for subject in world.tickets.values():
            assert subject.no not in answer.text or sees(role, subject)

    return check


def draw_page(world: World, role: Role) -> None:
    # Nothing is closed here, and of another region nothing is to be had.
    for region, fine in ((REGION, 422), (FAR, 403), ("", 422)):
        days = {"since": "2026-11-01", "until": "2026-11-20", "size": "1", "region": region}
        answer = press(world, role, "/desk/samples", **days)
        wanted = fine if role in GRANTS[Ask.DRAW] else 403
        assert told(answer, role, region) == (wanted, role.value, region), answer.text


def retry_all_page(world: World, role: Role) -> None:
    answer = press(world, role, "/desk/deliveries/retry", destination="unit:nobody")
    # Who may is told that nobody receives there.
    wanted = 409 if role in GRANTS[Ask.REDELIVER] else 403
    assert told(answer, role, "retry") == (wanted, role.value, "retry")


def propose_page(world: World, role: Role) -> None:
    # The own unit's proposal is refused for what is not filled in, another region's before that.
    for unit, fine in ((MARKET, 422), (HOUSING, 422), (FAR_UNIT, 403)):
        answer = press(world, role, "/desk/rules/proposals", kind="alias", unit=unit, reason="某")
        mine = role is not Role.HANDLER or unit == MARKET
        wanted = fine if role in GRANTS[Ask.PROPOSE] and mine else 403
        assert told(answer, role, unit) == (wanted, role.value, unit), answer.text


def proposal_page(world: World, role: Role) -> None:
    for unit, region in ((MARKET, REGION), (HOUSING, REGION), (FAR_UNIT, FAR)):
        number = world.service.run(partial(_waiting, unit, region))
        address = f"/desk/rules/proposals/{number}"
        mine = role is not Role.HANDLER or unit == MARKET
        there = 200 if region == REGION and mine else 404
        wanted = there if role in GRANTS[Ask.PROPOSALS] else 403
        answer = world.service.client.get(address)
        assert told(answer, role, unit) == (wanted, role.value, unit), answer.text
        answer = press(world, role, address, verdict="refused", reason="")
        # Without a reason nothing is decided; of who may decide none is a handler.
        wanted = 422 if role in GRANTS[Ask.DECIDE_PROPOSAL] else 403
        assert told(answer, role, unit) == (
            404 if wanted == 422 and there == 404 else wanted,
            role.value,
            unit,
        ), answer.text


async def _waiting(unit: str, region: str, parts: Any) -> int:
    wanted = Proposal(Sort.ALIAS, unit, region, "某局", "某", "某人", parts.now())
    return int(await parts.store.run(lambda c: proposals.keep(c, wanted)))


def try_page(world: World, role: Role) -> None:
    answer = press(world, role, "/desk/rules", text="路灯不亮")
    wanted = 200 if role in GRANTS[Ask.EXPLAIN] else 403
    assert told(answer, role, "try") == (wanted, role.value, "try")


def password_page(world: World, role: Role) -> None:
    answer = press(world, role, "/desk/account", password="", new="某", again="某")
    # Who came in by an API token has no password to change.
    wanted = 409 if role in GRANTS[Ask.DESK] else 403
    assert told(answer, role, "password") == (wanted, role.value, "password")


def for_strangers(_world: World, _role: Role) -> None:
    """These are how one comes in; tests/test_sign_in.py is about them."""


PAGES: Mapping[str, Check] = {
    "GET /desk": shown(Ask.DESK, "/desk", 303),
    "GET /desk/": shown(Ask.DESK, "/desk/", 303),
    "GET /desk/queue": queue_page,
    "GET /desk/queue/changes": changes_page,
    "POST /desk/queue/sign": sign_page,
    "GET /desk/help": shown(Ask.DESK, "/desk/help"),
    "GET /desk/account": shown(Ask.DESK, "/desk/account"),
    "POST /desk/account": password_page,
    "GET /desk/tickets": shown(Ask.TICKETS, "/desk/tickets"),
    "GET /desk/tickets/{no}": ticket_page,
    "POST /desk/tickets/{no}/acts/{name}": act_pages,
    "POST /desk/tickets/{no}/not-same": not_same_page,
    "POST /desk/tickets/{no}/contact": contact_page,
    "POST /desk/tickets/by-phone": by_phone_page,
    "GET /desk/sorting": shown(Ask.SORTING, "/desk/sorting"),
    "GET /desk/overview": shown(Ask.OVERVIEW, "/desk/overview"),
    "GET /desk/figures": shown(Ask.KPIS, "/desk/figures"),
    "GET /desk/figures.xlsx": shown(Ask.KPIS, "/desk/figures.xlsx"),
    "GET /desk/rules": shown(Ask.UNITS, "/desk/rules"),
    "POST /desk/rules": try_page,
    "GET /desk/rules/proposals": shown(Ask.PROPOSALS, "/desk/rules/proposals"),
    "POST /desk/rules/proposals": propose_page,
    "GET /desk/rules/proposals/{number}": proposal_page,
    "POST /desk/rules/proposals/{number}": proposal_page,
    "GET /desk/bulletins/{month}": shown(Ask.BULLETINS, "/desk/bulletins/2026-11"),
    "GET /desk/groups": shown(Ask.GROUPS, "/desk/groups"),
    "GET /desk/deliveries": shown(Ask.DELIVERIES, "/desk/deliveries?state=pending"),
    "POST /desk/deliveries/{delivery_id}/retry": retry_page,
    "POST /desk/deliveries/retry": retry_all_page,
    "GET /desk/supervision": shown(Ask.SUPERVISION, "/desk/supervision"),
    "GET /desk/supervision/tickets": shown(
        Ask.SUPERVISION, "/desk/supervision/tickets?why=due_today"
    ),
    "GET /desk/samples": shown(Ask.SUPERVISION, "/desk/samples"),
    "POST /desk/samples": draw_page,
    "GET /desk/sources": shown(Ask.SOURCES, "/desk/sources"),
    "GET /desk/sources/{name}": shown(Ask.SOURCES, "/desk/sources/hotline-12345"),
    "POST /desk/sign-out": for_strangers,
    "GET /desk/static/{name}": for_strangers,
    "GET /desk/sign-in": for_strangers,
    "POST /desk/sign-in": for_strangers,
    "POST /desk/sign-in/password": for_strangers,
    "GET /desk/sign-in/oidc": for_strangers,
    "GET /desk/sign-in/oidc/back": for_strangers,
    "GET /desk/enter/{link}": for_strangers,
    "POST /desk/enter/{link}": for_strangers,
}


def pages() -> Sequence[str]:
    routes = [
        route
        for each in site().routes
        for route in getattr(getattr(each, "original_router", None), "routes", [each])
        if isinstance(route, APIRoute)
    ]
    found = [f"{method} {route.path}" for route in routes for method in sorted(route.methods or ())]
    assert len(found) >= len(PAGES), "the application no longer tells its pages so"
    return found


@pytest.mark.parametrize("page", pages())
def test_every_role_at_every_page(world: World, page: str) -> None:
    assert page in PAGES, f"{page} has no rule: who may open it?"
    for role in PEOPLE:
        client = world.service.client
        client.cookies.clear()
        for name, value in world.sessions[role].items():
            client.cookies.set(name, value, path="/desk")
        PAGES[page](world, role)
    world.service.client.cookies.clear()


def test_the_menu_shows_what_a_role_may_open_and_nothing_else(world: World) -> None:
    client = world.service.client
    shown: dict[Role, set[str]] = {}
    for role in PEOPLE:
        client.cookies.clear()
        for name, value in world.sessions[role].items():
            client.cookies.set(name, value, path="/desk")
        menu = client.get("/desk/rules").text.partition("<nav")[2].partition("</nav>")[0]
        shown[role] = set(re.findall(r'href="([^"]+)"', menu))
        for path in set().union(*shown.values()):
            opened = client.get(path).status_code == 200
            assert opened == (path in shown[role]), (role, path)
    assert {"/desk/supervision", "/desk/samples", "/desk/sources"} <= shown[Role.SUPERVISOR]
    client.cookies.clear()


@pytest.mark.parametrize("page", [page for page in pages() if PAGES.get(page) != for_strangers])
def test_no_page_without_a_session(world: World, page: str) -> None:
    method, path = page.split()
    world.service.client.cookies.clear()
    path = re.sub(r"{\w+}", "1", path)
    answer = world.service.client.request(method, path, headers=HERE)
    if method == "GET":
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/desk/sign-in?next=/desk")
    else:
        assert answer.status_code == 401


def test_who_is_no_person_has_no_session(world: World) -> None:
    assert set(Role) - set(PEOPLE) == {Role.SOURCE, Role.METRICS}
    for role in set(Role) - set(PEOPLE):
        world.service.client.cookies.clear()
        page = world.service.client.get("/desk/sign-in").text
        token = re.search(r'name="form_token" value="(\w+)"', page)
        assert token
        form = {"form_token": token[1], "token": world.tokens[role]}
        answer = world.service.client.post("/desk/sign-in", data=form, headers=HERE)
        assert answer.status_code == 401
