"""What Prometheus reads: equal to what happened, on both databases, and clean."""

import subprocess
from collections.abc import Callable
from typing import Any

from service.domain.access import Actor
from service.domain.lifecycle import State
from service.domain.ticket import Ticket
from service.metrics import Metrics
from service.store import Store
from service.store.figures import figures
from tests.conftest import tool
from tests.test_desk import desk, order
from tests.worlds import ADMIN, MARKET, at, complaint

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


def _shown(metrics: Metrics, found: Any) -> dict[str, float]:
    text = metrics.render(found, at("2026-11-26 09:00"), 35).decode()
    rows = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in rows}


def test_the_series_say_what_happened(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        assert (await _life(store)).state is State.CLOSED
        shown = _shown(Metrics(), await store.read(figures))
        region, unit = 'region="360732"', f'unit="{MARKET.code}"'
        expected = {
            f'banjie_tickets_received_total{{channel="hotline-12345",decision="auto",kind="complaint",{region}}}': 2,
            f'banjie_tickets_open{{{region},state="dispatched",{unit}}}': 1,
            f'banjie_milestones_open{{milestone="resolve",{region},stage="overdue",{unit}}}': 1,
            f'banjie_milestones_met_total{{milestone="resolve",outcome="on_time",{region},{unit}}}': 1,
            f'banjie_tickets_closed_total{{channel="hotline-12345",kind="complaint",{region},{unit}}}': 1,
            f'banjie_callbacks_total{{grade="2",{region},solved="false",{unit}}}': 1,
            # Signing fell due first: 18 November, 15:30.
            f"banjie_oldest_overdue_seconds{{{region},{unit}}}": (7 * 24 - 6.5) * 3600,
            "banjie_calendar_days_left": 35,
            "banjie_scheduler_lag_seconds": 0,
        }
        assert {name: shown.get(name) for name in expected} == expected

    in_store(scenario)


def test_a_total_never_falls_when_a_ticket_is_reopened(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        ticket = await _life(store)
        before = _shown(Metrics(), await store.read(figures))
        await desk(store).reopen(order(ticket, when="2026-11-26 10:00"), reason="没有解决")
        after = _shown(Metrics(), await store.read(figures))
        totals = [name for name in before if "_total" in name]
        assert totals
        assert all(after[name] >= before[name] for name in totals)

    in_store(scenario)


def test_promtool_finds_nothing_to_complain_of(in_store: Run) -> None:
    promtool = tool("promtool")

    async def scenario(store: Store) -> bytes:
        await _life(store)
        metrics = Metrics()
        metrics.request("/v1/tickets", "GET", 200, 0.004)
        metrics.request("/v1/tickets", "BREW", 405, 0.001)
        return metrics.render(await store.read(figures), at("2026-11-26 09:00"), 35)

    text: bytes = in_store(scenario)
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
    assert b'method="other"' in text
