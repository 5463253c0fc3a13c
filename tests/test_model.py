"""Random acts, ticks, crashes and restarts: the desk agrees with a model written apart from it."""

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from routing_rules.clocks import load_timetable
from service.desk import Desk, Order
from service.domain.access import Actor, Role
from service.domain.acts import RuleForbids
from service.domain.deadline import CountFrom, parse_limit
from service.domain.deeds import CallBackOwed
from service.domain.lifecycle import IllegalMove
from service.domain.limits import LimitRule, Limits, Starts, Timetable
from service.domain.policy import (
    Assisting,
    Bears,
    Escalation,
    Extensions,
    HandOver,
    Measures,
    Pauses,
    Policies,
    Redo,
    SendBacks,
)
from service.domain.scope import Origin, Status
from service.domain.ticket import Clock, Level, Milestone, MilestoneKind, Ticket
from service.store import open_store
from tests.model import Model, days_after
from tests.worlds import (
    ADMIN,
    HOTLINE,
    HOUSING,
    MARKET,
    SUPERVISOR,
    ToldRouter,
    at,
    complaint,
)

_LONG = os.environ.get("BANJIE_LONG") == "1"
_ORIGIN = Origin(Status.DEFAULT, "虚构")
_UNITS = st.sampled_from([MARKET.code, HOUSING.code])
_WAITS = st.sampled_from([0, 3, 45, 60 * 3, 60 * 8, 60 * 26, 60 * 24 * 4, 60 * 24 * 17])


def _limit(kind: MilestoneKind, limit: str, share: float, starts: Starts) -> LimitRule:
    return LimitRule(kind, parse_limit(limit), CountFrom.NEXT_DAY, share, _ORIGIN, starts)


# Small rules of the test's own, so that the model need not know the shipped ones.
RULES = Timetable(
    load_timetable().calendar,
    Limits(
        (
            _limit(MilestoneKind.SIGN, "4 工作小时", 0.5, Starts.DISPATCH),
            _limit(MilestoneKind.CONTACT, "1 工作日", 0.75, Starts.DISPATCH),
            _limit(MilestoneKind.RESOLVE, "5 工作日", 0.75, Starts.RECEIPT),
            _limit(MilestoneKind.CALL_BACK, "3 工作日", 0.75, Starts.RESOLVE),
        ),
        "0" * 64,
    ),
    Policies(
        (
            Extensions(1, parse_limit("5 工作日"), frozenset({Role.SUPERVISOR}), _ORIGIN),
            Pauses({"awaiting_citizen": "待补充"}, parse_limit("10 工作日"), 1, _ORIGIN),
            SendBacks(parse_limit("2 工作日"), frozenset({Role.SUPERVISOR}), _ORIGIN),
            Redo(parse_limit("3 工作日"), CountFrom.NEXT_DAY, _ORIGIN),
            HandOver(Bears.TAKER, Bears.TAKER, _ORIGIN),
            Assisting(None, None, CountFrom.NEXT_DAY, _ORIGIN),
            Escalation(
                (
                    (Measures.SUPERVISE, None),
                    (Measures.YELLOW, parse_limit("1 工作日")),
                    (Measures.RED, parse_limit("3 工作日")),
                    (Measures.BULLETIN, parse_limit("5 工作日")),
                ),
                _ORIGIN,
            ),
        )
    ),
)


# Runs on one database must not meet each other's ticket: a drawn number would be drawn twice.
_NUMBERS = itertools.count()


class Crash(BaseException):
    """The process died before the commit: nothing that catches errors sees it."""


class Dying:
    """A store whose transactions die when all is written but the commit."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def run(self, work: Callable[[sa.Connection], Any]) -> Any:
        """Do the work and die."""

        def dying(connection: sa.Connection) -> None:
            work(connection)
            raise Crash

        return await self._store.run(dying)


@cache
def _migrated() -> str:
    """Return the path of a SQLite file with the tables and nothing in them."""
    path = f"{tempfile.mkdtemp(prefix='banjie-model-')}/banjie.db"

    async def migrate() -> None:
        store = open_store(f"sqlite:///{path}")
        await store.migrate()
        await store.close()

    asyncio.run(migrate())
    return path


class Life(RuleBasedStateMachine):
    """One ticket's life, in the desk and in the model."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.address = self.url or f"sqlite:///{self.folder.name}/banjie.db"
        if not self.url:
            shutil.copy(_migrated(), f"{self.folder.name}/banjie.db")
        self.store = open_store(self.address)
        if self.url:
            self.runner.run(self.store.migrate())

    def teardown(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()

    @property
    def desk(self) -> Desk:
        return Desk(self.store, ToldRouter(assisted=False), RULES)

    @initialize(
        start=st.datetimes(datetime(2026, 2, 3, 7), datetime(2026, 5, 6, 19)),  # noqa: DTZ001
        sender_days=st.none() | st.integers(1, 12),
    )
    def begin(self, start: datetime, sender_days: int | None) -> None:
        self.now = at(start.isoformat(" ", "seconds"))
        sender_due = None
        if sender_days:  # a limit of the sender's own, at noon of a working day
            sender_due = days_after(self.now, sender_days).replace(hour=12, minute=0)
        posted = complaint(
            source_no=f"M{next(_NUMBERS)}", accepted_at=self.now, sender_due_at=sender_due
        )
        receipt = self.runner.run(self.desk.receive(posted, "f", self.now))
        self.no = receipt.ticket.no
        self.model = Model(self.now, MARKET.code, HOTLINE.code, sender_due)

    def _ticket(self) -> Ticket:
        return self.runner.run(self.desk.ticket(self.no, ADMIN))

    def _do(self, name: str, by: Actor, *arguments: Any, **fields: Any) -> None:
        """Do an act, and expect of the desk what the model says to its own `arguments`."""
        before = deepcopy(self.model)
        self.model.time(self.now)
        why = getattr(self.model, name)(self.now, *arguments)
        work = getattr(self.desk, name)(Order(self.no, by, before.version, self.now), **fields)
        if not why:
            self.model.version += 1
            self.runner.run(work)
            return
        self.model = before
        with pytest.raises((IllegalMove, RuleForbids, CallBackOwed)) as refused:
            self.runner.run(work)
        error = refused.value
        if isinstance(error, RuleForbids):
            assert error.rule == why
        else:
            assert why == ("call-back-owed" if isinstance(error, CallBackOwed) else "illegal")

    @property
    def _handler(self) -> Actor:
        """Return who works for the lead, or the administrator while nobody leads."""
        if not self.model.lead:
            return ADMIN
        return Actor("承办人", Role.HANDLER, (self.model.lead,), region="360732", id="3")

    # Time, and what it does to processes

    @rule(minutes=_WAITS)
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(minutes=_WAITS)
    def tick(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        self.model.time(self.now)
        while self.runner.run(self.desk.enforce(self.now, 2)):
            pass

    @rule(behind=st.integers(0, 5))
    def tick_of_a_replica_whose_clock_is_behind(self, behind: int) -> None:
        self.model.time(self.now)
        self.runner.run(self.desk.enforce(self.now))
        self.runner.run(self.desk.enforce(self.now - timedelta(seconds=behind)))

    @rule(minutes=_WAITS, name=st.sampled_from(["enforce", "sign", "resume", "call_back", "note"]))
    def crash(self, minutes: int, name: str) -> None:
        """Die before the commit: it never happened."""
        self.now += timedelta(minutes=minutes)
        desk = Desk(Dying(self.store), ToldRouter(assisted=False), RULES)  # type: ignore[arg-type]
        order = Order(self.no, ADMIN, self.model.version, self.now)
        more: dict[str, dict[str, Any]] = {
            "call_back": {"reached": True, "solved": True, "grade": 5, "text": ""},
            "note": {"text": "x"},
        }
        fields = more.get(name, {})
        work = desk.enforce(self.now) if name == "enforce" else getattr(desk, name)(order, **fields)
        with pytest.raises((Crash, IllegalMove)):
            self.runner.run(work)

    @rule()
    def restart(self) -> None:
        self.runner.run(self.store.close())
        self.store = open_store(self.address)

    # What people do

    @rule(unit=_UNITS)
    def dispatch(self, unit: str) -> None:
        self._do("dispatch", ADMIN, unit, unit=unit, reason="")

    @rule()
    def sign(self) -> None:
        self._do("sign", self._handler)

    @rule()
    @precondition(lambda self: self.model.state == "signed")
    def contact(self) -> None:
        self._do("contact", self._handler, text="已联系")

    @rule()
    def send_back(self) -> None:
        self._do("send_back", self._handler, reason="不是", basis="三定", suggested_unit="")

    @rule(unit=_UNITS)
    @precondition(lambda self: self.model.state == "sorting")
    def decide_the_dispute(self, unit: str) -> None:
        self._do("rule", SUPERVISOR, unit, unit=unit, reason="是", document="")

    @rule(days=st.integers(1, 6))
    @precondition(lambda self: self.model.state == "signed")
    def request_extension(self, days: int) -> None:
        amount = f"{days} 工作日"
        self._do("request_extension", self._handler, days, amount=amount, reason="难")

    @rule(granted=st.booleans())
    @precondition(lambda self: self.model.state == "signed")
    def decide_extension(self, granted: bool) -> None:
        self._do("decide_extension", SUPERVISOR, granted, granted=granted, reason="")

    @rule()
    @precondition(lambda self: self.model.state == "signed")
    def pause(self) -> None:
        self._do("pause", self._handler, reason="awaiting_citizen")

    @rule()
    @precondition(lambda self: self.model.state == "paused")
    def resume(self) -> None:
        self._do("resume", self._handler)

    @rule()
    @precondition(lambda self: self.model.state == "signed")
    def resolve(self) -> None:
        self._do("resolve", self._handler, public_reply="好", internal_finding="", solved=True)

    @rule()
    @precondition(lambda self: self.model.state == "resolved")
    def call_back(self) -> None:
        self._do("call_back", ADMIN, reached=True, solved=True, grade=5, text="")

    @rule()
    @precondition(lambda self: self.model.state == "resolved")
    def close(self) -> None:
        self._do("close", ADMIN)

    @rule()
    def reopen(self) -> None:
        self._do("reopen", ADMIN, reason="没有解决")

    @rule(level=st.sampled_from([level.value for level in Level]))
    def supervise(self, level: str) -> None:
        self._do("supervise", SUPERVISOR, level, level=Level(level), text="抓紧")

    @rule(name=st.sampled_from(["resume", "close", "reopen", "sign"]))
    def out_of_turn(self, name: str) -> None:
        self._do(name, ADMIN, **({"reason": "?"} if name == "reopen" else {}))

    @invariant()
    def desk_and_model_agree(self) -> None:
        ticket = self._ticket()
        model = self.model
        assert (ticket.state.value, ticket.version) == (model.state, model.version)
        assert (ticket.lead.unit if ticket.lead else "") == model.lead
        stored = sorted((m.kind.value, m.unit, m.due_at, m.stage.value) for m in ticket.open())
        assert stored == sorted((c.kind, c.unit, c.due, c.stage) for c in model.open())
        asleep = {
            (m.kind.value, m.clock is Clock.OWN)
            for m in ticket.open()
            if m.next_at is None and not _over(m)
        }
        assert asleep == {(c.kind, c.own) for c in model.open() if c.stopped}
        governing = [
            m.clock is Clock.OWN for m in ticket.open(MilestoneKind.RESOLVE) if m.governing
        ]
        assert governing == [c.own for c in model.open("resolve") if c.governs]
        history = self.runner.run(self.desk.history(self.no, ADMIN))
        steps = [
            (e.content["milestone"], e.content["measure"], e.at)
            for e in history
            if e.act == "stage"
        ]
        assert sorted(steps) == sorted(model.log), "a step is missing or there twice"
        ends = sorted(m.outcome.value for m in ticket.milestones if m.outcome and m.met_at)
        assert ends == sorted(c.outcome for c in model.clocks if c.outcome in {"on_time", "late"})


def _over(milestone: Milestone) -> bool:
    return milestone.done == len(milestone.course)


def _of(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=list(HealthCheck),
        # To shrink what fails takes minutes here; the steps as found are told as well.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )


@pytest.mark.slow
@pytest.mark.timeout(7_200 if _LONG else 600)
def test_the_desk_agrees_with_the_model_on_sqlite() -> None:
    run_state_machine_as_test(Life, settings=_of(400 if _LONG else 40, 25))


def test_the_desk_agrees_with_the_model_on_postgresql(database_url: str) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("the test before")

    class Served(Life):
        url = database_url

    run_state_machine_as_test(Served, settings=_of(8, 20))
