"""What Prometheus reads: equal to what happened, on both databases, and clean."""

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from service.desk import Desk
from service.domain.access import Actor
from service.domain.complaint import Contact, Kind
from service.domain.lifecycle import State
from service.domain.ticket import Level, Ticket
from service.metrics import Metrics
from service.store import Store, tallies
from service.store.figures import figures, resolved
from service.store.lists import Filter
from tests.conftest import tool
from tests.test_desk import desk, order
from tests.worlds import ADMIN, HANDLER, HOUSING, MARKET, STRANGER, SUPERVISOR, at, complaint

Run = Callable[[Callable[[Store], Any]], Any]
NOW = at("2026-11-18 09:30")


async def _life(store: Store) -> Ticket:
    """One ticket to its close, one overdue, one repeat that counts once."""
    d = desk(store)
    await d.receive(complaint(source_no="open"), "o", NOW)
    ticket = (await d.receive(complaint(source_no="done"), "d", NOW)).ticket
    await d.receive(complaint(source_no="done"), "d", NOW)

    def by(when: str, who: Actor = ADMIN) -> Any:
        return order(ticket, who, when)

    ticket = await d.sign(by("2026-11-18 10:00"))
    ticket = await d.contact(by("2026-11-18 10:30"), text="已联系")
    ticket = await d.resolve(
        by("2026-11-19 10:00"), public_reply="已办", internal_finding="", solved=True
    )
    ticket = await d.call_back(by("2026-11-20 10:00"), reached=True, solved=False, grade=2, text="")
    ticket = await d.close(by("2026-11-20 10:10"))
    await d.enforce(at("2026-11-26 09:00"))
    return ticket


async def _counted(store: Store, when: str = "2026-11-26 09:00") -> Any:
    return await store.read(lambda connection: figures(connection, at(when)))


def _shown(metrics: Metrics, found: Any) -> dict[str, float]:
    text = metrics.render(found, at("2026-11-26 09:00"), 35).decode()
    rows = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in rows}


def test_the_series_say_what_happened(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        assert (await _life(store)).state is State.CLOSED
        shown = _shown(Metrics(), await _counted(store))
        region, unit = 'region="360732"', f'unit="{MARKET.code}"'
        expected = {
            f'banjie_tickets_received_total{{channel="hotline-12345",decision="auto",kind="complaint",{region}}}': 2,
            f'banjie_tickets_open{{{region},state="dispatched",{unit}}}': 1,
            f'banjie_milestones_open{{milestone="resolve",{region},stage="overdue",{unit}}}': 1,
            f'banjie_milestones_met_total{{milestone="resolve",outcome="on_time",{region},{unit}}}': 1,
            f'banjie_tickets_closed_total{{channel="hotline-12345",kind="complaint",{region},{unit}}}': 1,
            f'banjie_callbacks_total{{grade="2",{region},solved="false",{unit}}}': 1,
            # Signing fell due first: 18 November, 15:30.
            f"banjie_oldest_overdue_seconds{{{region},{unit}}}": (8 * 24 - 6.5) * 3600,
            # From 18 November 09:12, a day and 48 minutes.
            f'banjie_resolve_working_seconds_sum{{channel="hotline-12345",{region}}}': 25200 + 2880,
            f'banjie_resolve_working_seconds_bucket{{channel="hotline-12345",le="25200.0",{region}}}': 0,
            f'banjie_resolve_working_seconds_bucket{{channel="hotline-12345",le="50400.0",{region}}}': 1,
            f'banjie_resolve_working_seconds_count{{channel="hotline-12345",{region}}}': 1,
            "banjie_calendar_days_left": 35,
            "banjie_scheduler_lag_seconds": 0,
            f'banjie_unit_info{{name="{MARKET.code}",{region},{unit}}}': 1,
        }
        assert {name: shown.get(name) for name in expected} == expected

    in_store(scenario)


# What is told of a process and not of the tickets.
_PROCESS = ("banjie_http_", "banjie_intake_batch_")


def _of_tickets(shown: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in shown.items() if not name.startswith(_PROCESS)}


def test_what_is_kept_from_scrape_to_scrape_is_what_is_counted(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d, metrics = desk(store), Metrics()
        received = (
            'banjie_tickets_received_total{channel="hotline-12345",decision="auto",'
            'kind="complaint",region="360732"}'
        )
        open_ = f'banjie_tickets_open{{region="360732",state="dispatched",unit="{MARKET.code}"}}'
        waiting = 'banjie_deliveries{state="pending"}'
        for n in range(1, 4):
            await d.receive(complaint(source_no=f"{n}"), f"{n}", NOW)
            # Not folded yet, folded, and once more the same.
            for _ in range(3):
                found = await _counted(store)
                shown = _shown(metrics, found)
                assert _of_tickets(shown) == _of_tickets(_shown(Metrics(), found))
                assert (shown[received], shown[open_]) == (n, n)
                assert shown[waiting] == found.total("deliveries").get(("pending",), 0)
                await store.run(tallies.fold)

    in_store(scenario)


_KIND = {"kind": Kind.CONSULTATION, "urgency": None, "reason": "是咨询"}
_ANSWER: dict[str, Any] = {"public_reply": "已办", "internal_finding": "", "solved": True}
_REACHED = {"reached": True, "solved": True, "grade": 5, "text": ""}
_BACK = {"reason": "不是", "basis": "三定"}
_HOUSING = {"unit": HOUSING.code, "reason": "改派"}
_MORE = {"amount": "1 工作日", "reason": "难"}
_ASKED = ("request_extension", HANDLER, _MORE)

Done = tuple[str, Actor, dict[str, Any]]


@pytest.mark.parametrize(
    "done",
    [
        [("dispatch", ADMIN, _HOUSING)],
        [("sign", HANDLER, {})],
        [("sign", HANDLER, {}), ("sign", STRANGER, {}), ("resolve", STRANGER, _ANSWER)],
        [("send_back", HANDLER, _BACK)],
        [("send_back", HANDLER, _BACK), ("rule", ADMIN, _HOUSING | {"document": ""})],
        [("sign", HANDLER, {}), ("contact", HANDLER, {"text": "已联系"})],
        [
            ("sign", HANDLER, {}),
            _ASKED,
            ("decide_extension", SUPERVISOR, {"granted": True, "reason": ""}),
        ],
        [
            ("sign", HANDLER, {}),
            ("pause", HANDLER, {"reason": "awaiting_citizen"}),
            ("resume", HANDLER, {}),
        ],
        [
            ("sign", HANDLER, {}),
            ("resolve", HANDLER, _ANSWER),
            ("call_back", ADMIN, _REACHED),
            ("close", ADMIN, {}),
            ("reopen", ADMIN, {"reason": "没有解决"}),
            ("reclassify", ADMIN, _KIND | {"kind": Kind.HELP}),
        ],
        [("reclassify", ADMIN, _KIND)],
        [("supervise", SUPERVISOR, {"level": Level.RED, "text": "请抓紧"})],
        [("note", ADMIN, {"text": "备注"})],
    ],
    ids=lambda done: done[-1][0],
)
def test_a_total_never_falls_whatever_is_done(in_store: Run, done: list[Done]) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        closed = await _life(store)
        ticket = (await d.receive(complaint(source_no="new"), "n", NOW)).ticket
        other = (await d.receive(complaint(source_no="other"), "x", NOW)).ticket
        before = _shown(Metrics(), await _counted(store))
        assert any("_total" in name for name in before)

        async def nothing_fell() -> None:
            nonlocal before
            after = _shown(Metrics(), await _counted(store))
            totals = ("_total", "_bucket", "_sum", "_count")
            fell = {
                name
                for name in before
                if name.partition("{")[0].endswith(totals) and after.get(name, 0) < before[name]
            }
            assert not fell
            before = after

        for act, by, fields in done:
            ticket = await getattr(d, act)(order(ticket, by), **fields)
            await nothing_fell()
        await d.merge(order(other), into=(await _open_one(d)).no, reason="重复")
        await nothing_fell()
        for act in ("reopen", "reclassify"):
            fields = _KIND if act == "reclassify" else {"reason": "没有解决"}
            closed = await getattr(d, act)(order(closed, when="2026-11-26 10:00"), **fields)
            await nothing_fell()
        body = complaint(source_no="done", kind=Kind.HELP, clock_from=at("2026-11-26 08:00"))
        await d.receive(body, "other body", at("2026-11-26 10:30"))
        await nothing_fell()

    in_store(scenario)


def test_disputes_and_extensions_are_counted_when_they_are_decided(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)

        async def shown() -> dict[str, float]:
            series = ("banjie_sendbacks", "banjie_extensions", "banjie_redispatches")
            found = _shown(Metrics(), await _counted(store))
            return {name: value for name, value in found.items() if name.startswith(series)}

        region, unit = 'region="360732"', f'unit="{MARKET.code}"'
        ticket = (await d.receive(complaint(contact=Contact()), "f", NOW)).ticket
        ticket = await d.send_back(order(ticket, HANDLER), **_BACK)
        assert await shown() == {}, "nobody has decided"
        ticket = await d.dispatch(order(ticket), unit=MARKET.code, reason="归你们")
        refused = {f'banjie_sendbacks_total{{{region},{unit},upheld="false"}}': 1}
        assert await shown() == refused
        ticket = await d.send_back(order(ticket, HANDLER), **_BACK)
        ticket = await d.rule(order(ticket), **_HOUSING, document="三定")
        upheld = {
            f'banjie_sendbacks_total{{{region},{unit},upheld="true"}}': 1,
            f"banjie_redispatches_total{{{region}}}": 1,
        }
        assert await shown() == refused | upheld
        # Straight from one unit to another; to the same one again is no redispatch.
        for code in (MARKET.code, MARKET.code):
            ticket = await d.dispatch(order(ticket), unit=code, reason="改派")
        redispatched = {f"banjie_redispatches_total{{{region}}}": 2}
        assert await shown() == refused | upheld | redispatched
        ticket = await d.sign(order(ticket, HANDLER))
        extensions: dict[str, float] = {}
        for granted, decision in ((False, "refused"), (True, "granted")):
            ticket = await d.request_extension(order(ticket, HANDLER), **_MORE)
            ticket = await d.decide_extension(order(ticket, SUPERVISOR), granted=granted, reason="")
            extensions[f'banjie_extensions_total{{decision="{decision}",{region},{unit}}}'] = 1
            assert await shown() == refused | upheld | redispatched | extensions

    in_store(scenario)


def test_the_working_time_to_a_resolution_leaves_pauses_out(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = (await d.receive(complaint(contact=Contact()), "f", NOW)).ticket
        ticket = await d.sign(order(ticket, HANDLER))
        ticket = await d.pause(
            order(ticket, HANDLER, "2026-11-18 10:12"), reason="awaiting_citizen"
        )
        ticket = await d.resume(order(ticket, HANDLER, "2026-11-20 08:30"))
        ticket = await d.resolve(order(ticket, HANDLER, "2026-11-20 09:30"), **_ANSWER)
        assert (await d.history(ticket.no, ADMIN))[-1].content["working_s"] == 2 * 3600
        # A redo is counted from its reopening, and not again without what was paused before.
        ticket = await d.reopen(order(ticket, ADMIN, "2026-11-23 08:30"), reason="没有解决")
        ticket = await d.sign(order(ticket, HANDLER, "2026-11-23 09:00"))
        ticket = await d.resolve(order(ticket, HANDLER, "2026-11-23 09:30"), **_ANSWER)
        assert (await d.history(ticket.no, ADMIN))[-1].content["working_s"] == 3600

    in_store(scenario)


async def _open_one(d: Desk) -> Ticket:
    """Return the ticket that was received first, which nobody has touched."""
    return (await d.page(ADMIN, Filter(limit=50))).items[-1]


def test_a_ticket_that_two_units_worked_is_resolved_once(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store)
        ticket = (await d.receive(complaint(), "f", NOW)).ticket
        kind = 'milestone="resolve",'
        shown = _shown(Metrics(), await _counted(store, "2026-11-18 09:31"))
        assert [n for n in shown if n.startswith("banjie_milestones_open{" + kind)] == [
            f'banjie_milestones_open{{{kind}region="360732",stage="normal",unit="{MARKET.code}"}}'
        ]
        for act, by, fields in (
            ("sign", HANDLER, {}),
            ("sign", STRANGER, {}),
            ("resolve", STRANGER, _ANSWER),
            ("resolve", HANDLER, _ANSWER),
        ):
            ticket = await getattr(d, act)(order(ticket, by), **fields)
        shown = _shown(Metrics(), await _counted(store, "2026-11-18 10:01"))
        met = [n for n in shown if n.startswith("banjie_milestones_met_total{" + kind)]
        assert [shown[n] for n in met] == [1]
        done = await store.read(lambda c: resolved(c, "", NOW))
        assert done == {MARKET.code: (1, 1)}

    in_store(scenario)


def test_a_card_before_the_due_time_makes_nothing_late(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        d = desk(store, assisted=False)
        ticket = (await d.receive(complaint(contact=Contact()), "f", NOW)).ticket
        ticket = await d.sign(order(ticket, HANDLER))
        ticket = await d.supervise(order(ticket, SUPERVISOR), level=Level.YELLOW, text="请抓紧")
        end_of_day = at("2026-11-27 00:00")

        async def overdue(when: str) -> tuple[list[Any], int]:
            found = await _counted(store, when)
            loads = await d.loads(ADMIN, at(when), end_of_day)
            return list(found.oldest_overdue.items()), sum(load.overdue for load in loads)

        assert await overdue("2026-11-19 09:00") == ([], 0)
        # Nor does the day of it when it stands still, for it has that time ahead of it.
        paused = await d.pause(
            order(ticket, HANDLER, "2026-11-25 17:00"), reason="awaiting_citizen"
        )
        assert await overdue("2026-11-26 09:00") == ([], 0)
        await d.resume(order(paused, HANDLER, "2026-11-26 09:00"))
        labels = ("360732", MARKET.code)
        due_at = at("2026-11-26 09:30")
        assert await overdue("2026-11-26 09:30") == ([], 0)
        assert await overdue("2026-11-26 10:00") == ([(labels, due_at)], 1)

    in_store(scenario)


def test_promtool_finds_nothing_to_complain_of(in_store: Run) -> None:
    promtool = tool("promtool")

    async def scenario(store: Store) -> bytes:
        await _life(store)
        metrics = Metrics()
        metrics.request("/v1/tickets", "GET", 200, 0.004)
        metrics.request("/v1/tickets", "BREW", 405, 0.001)
        return metrics.render(await _counted(store), at("2026-11-26 09:00"), 35)

    text: bytes = in_store(scenario)
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    # The name is part of the contract; days are what the official who keeps the calendar asks for.
    known = 'banjie_calendar_days_left use base unit "seconds" instead of "days"'
    assert (checked.stdout + checked.stderr).decode().splitlines() == [known]
    assert b'method="other"' in text
