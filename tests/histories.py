"""Random histories through the desk: tickets of every sort, acted on as their state allows."""

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from service.desk import Desk, Order, UnknownTicket, offered
from service.domain.access import Forbidden, Role
from service.domain.acts import RuleForbids
from service.domain.complaint import Complaint, Contact, Decision, Kind, Review, Urgency
from service.domain.deeds import CallBackOwed
from service.domain.history import History, Past, Standing
from service.domain.lifecycle import Act, IllegalMove
from service.domain.limits import Timetable
from service.domain.sample import CheckedBy
from service.domain.ticket import Level, Ticket
from service.store import Store
from tests.worlds import ADMIN, HOUSING, MARKET, SUPERVISOR, ToldRouter, complaint

_UNITS = (MARKET, HOUSING)
_CHANNELS = ("hotline-12345", "wenzheng-jiangxi", "haochaping")
_REGIONS = ("360732", "360700", "360300")
_REFUSED = (IllegalMove, RuleForbids, CallBackOwed, Forbidden, UnknownTicket)


class Histories:
    """Makes things happen, one after the other, as a seeded chance has it."""

    def __init__(
        self, store: Store, times: Timetable, start: datetime, chance: random.Random, name: str = ""
    ) -> None:
        """`name` tells apart the tickets of several histories in one store."""
        self._name = name
        self._store = store
        self._times = times
        self._chance = chance
        self.now = start
        self.numbers: list[str] = []
        self._count = 0

    def _desk(self) -> Desk:
        decisions = (Decision.AUTO,) * 5 + (Decision.MANUAL,) * 3
        decision = self._chance.choice((*decisions, Decision.NOT_ACCEPTED, Decision.EMERGENCY_LINE))
        router = ToldRouter(decision, assisted=self._chance.random() < 0.3)
        return Desk(self._store, router, self._times)

    def _complaint(self) -> Complaint:
        pick = self._chance.choice
        self._count += 1
        channel = pick(_CHANNELS)
        review = None
        if channel == "haochaping":
            review = Review(
                self._chance.randint(1, 5), MARKET.name, system_default=pick((False, False, True))
            )
        waited = timedelta(minutes=pick((0, 3, 60 * 20)))
        return complaint(
            source_no=f"H{self._name}-{self._count}",
            channel=channel,
            region=pick(_REGIONS),
            kind=pick(list(Kind)),
            review=review,
            contact=Contact("王某", "13800000001") if self._chance.random() < 0.8 else Contact(),
            accepted_at=self.now - waited,
            sender_due_at=self.now + timedelta(days=3) if self._chance.random() < 0.3 else None,
        )

    async def step(self, store: Store | None = None) -> None:
        """Let time pass and one thing happen, in this store or the own one."""
        pick = self._chance.choice
        self.now += timedelta(minutes=pick((1, 7, 60, 60 * 5, 60 * 14, 60 * 30)))
        desk = self._desk()
        if store:
            desk = Desk(store, desk.router, self._times)
        what = self._chance.random()
        if what < 0.25 or not self.numbers:
            receipt = await desk.receive(self._complaint(), f"f{self._count}", self.now)
            self.numbers.append(receipt.ticket.no)
        elif what < 0.28:
            await self._import(desk)
        elif what < 0.33:
            await desk.enforce(self.now)
        else:
            ticket = await desk.ticket(pick(self.numbers[-12:]), ADMIN)
            if what < 0.36:
                changed = replace(
                    ticket.complaint,
                    content=f"补充 {self.now}",
                    sender_due_at=self.now + timedelta(days=self._chance.randint(1, 9)),
                )
                await desk.receive(changed, f"{self.now}", self.now)
            else:
                await self._act(desk, ticket)

    async def _act(self, desk: Desk, ticket: Ticket) -> None:
        acts = offered(ADMIN, ticket)
        rare = {
            Act.NOTE,
            Act.SUPERVISE,
            Act.RECLASSIFY,
            Act.MERGE,
            Act.PAUSE,
            Act.REOPEN,
            Act.CHECK,
        }
        likely = [act for act in acts for _ in range(1 if act in rare else 4)]
        if not likely:
            return
        act = self._chance.choice(likely)
        by = SUPERVISOR if act is Act.DECIDE_EXTENSION else ADMIN
        by = replace(by, region="") if by.role is Role.SUPERVISOR else by
        order = Order(ticket.no, by, ticket.version, self.now)
        try:
            await getattr(desk, act.value)(order, **self._fields(act, ticket))
        except _REFUSED:
            return

    def _fields(self, act: Act, ticket: Ticket) -> Mapping[str, Any]:
        pick = self._chance.choice
        yes = self._chance.random() < 0.6
        unit = pick(_UNITS).code
        fields: dict[Act, dict[str, Any]] = {
            Act.DISPATCH: {"unit": unit, "reason": "派"},
            Act.RULE: {"unit": unit, "reason": "裁", "document": ""},
            Act.SEND_BACK: {"reason": "退", "basis": "三定"},
            Act.CONTACT: {"text": "已联系"},
            Act.REQUEST_EXTENSION: {"amount": "2 工作日", "reason": "难"},
            Act.DECIDE_EXTENSION: {"granted": yes, "reason": ""},
            Act.PAUSE: {"reason": "awaiting_citizen"},
            Act.RESOLVE: {"public_reply": "办", "internal_finding": "", "solved": yes},
            Act.CALL_BACK: {
                "reached": yes,
                "solved": pick((True, False, None)) if yes else None,
                "grade": pick((None, 1, 2, 3, 4, 5)) if yes else None,
                "text": "",
            },
            Act.REOPEN: {"reason": "重"},
            Act.MERGE: {
                "into": pick([no for no in self.numbers if no != ticket.no] or ["x"]),
                "reason": "同",
            },
            Act.SUPERVISE: {"level": pick(list(Level)), "text": "督"},
            Act.RECLASSIFY: {"kind": pick(list(Kind)), "urgency": Urgency.URGENT, "reason": "改"},
            Act.NOTE: {"text": "备"},
            Act.CHECK: {
                "way": pick(list(CheckedBy)),
                "reached": yes,
                "solved": yes or None,
                "truthful": None,
                "text": "",
            },
        }
        return fields.get(act, {})

    async def _import(self, desk: Desk) -> None:
        self._count += 1
        began = self.now - timedelta(days=400 + self._count % 50)
        told = complaint(
            source_no=f"I{self._name}-{self._count}",
            accepted_at=began,
            sender_due_at=began + timedelta(days=self._chance.randint(1, 6)),
        )
        standing = self._chance.choice(
            (Standing.OPEN, Standing.RESOLVED, Standing.CLOSED, Standing.NOT_ACCEPTED)
        )
        over = standing is not Standing.OPEN
        history = History(
            standing,
            unit=self._chance.choice((MARKET.name, "早已没有的局", "")),
            dispatched_at=began + timedelta(hours=1),
            resolved_at=began + timedelta(days=3) if over else None,
            closed_at=began + timedelta(days=4) if over else None,
            called_back_at=began + timedelta(days=4) if standing is Standing.CLOSED else None,
            reached=True if standing is Standing.CLOSED else None,
            solved=True if standing is Standing.CLOSED else None,
            grade=4 if standing is Standing.CLOSED else None,
        )
        past = Past(self._count, told, history, f"i{self._count}")
        taken = await desk.take_over([past], "f" * 64, "", self.now, apply=True)
        self.numbers += [each.ticket.no for each in taken if each.ticket]
