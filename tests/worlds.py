"""Small worlds for tests: invented complaints, a router that says what it is told."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from service.domain.access import Actor, Role
from service.domain.calendar import SHANGHAI
from service.domain.complaint import (
    Basis,
    Candidate,
    Complaint,
    Contact,
    Decision,
    Evidence,
    EvidenceKind,
    Kind,
    Route,
    UnitRef,
    Urgency,
)
from service.domain.ports import Duty, Unit
from service.domain.ticket import Ticket

MARKET = Unit("360732-market", "兴国县市场监督管理局", "360732", "market", "document")
HOUSING = Unit("360732-housing", "兴国县住房和城乡建设局", "360732", "housing", "document")
HOTLINE = Unit("360732-hotline", "兴国县行政审批局", "360732", "approval", "document")

ADMIN = Actor("管理员", Role.ADMIN, id="1")
DISPATCHER = Actor("分拨员", Role.DISPATCHER, region="360732", id="2")
HANDLER = Actor("承办人", Role.HANDLER, units=(MARKET.code,), region="360732", id="3")
STRANGER = Actor("别家承办人", Role.HANDLER, units=(HOUSING.code,), region="360732", id="4")
SUPERVISOR = Actor("督办员", Role.SUPERVISOR, region="360732", id="7")
ELSEWHERE = Actor("萍乡督办员", Role.SUPERVISOR, region="360300", id="5")
AUDITOR = Actor("审计员", Role.AUDITOR, id="6")


def at(text: str) -> datetime:
    """Return a time in Shanghai: `at("2026-11-18 09:12")`."""
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def as_received(ticket: Ticket) -> Ticket:
    """Return a ticket that was read as its receipt has it: without the ids of its clocks."""
    return replace(ticket, milestones=tuple(replace(m, id=0) for m in ticket.milestones))


def complaint(**changes: Any) -> Complaint:
    """Return an ordinary complaint with some fields changed."""
    usual = Complaint(
        source="hotline-12345",
        source_no="T1",
        channel="hotline-12345",
        region="360732",
        kind=Kind.COMPLAINT,
        urgency=Urgency.NORMAL,
        title="超市短斤少两",
        content="买了两斤排骨回家一称只有一斤七两",
        accepted_at=at("2026-11-18 09:12"),
        contact=Contact("王某", "13800000001"),
    )
    return replace(usual, **changes)


class ToldRouter:
    """A router that answers as it was told, for tests of what comes after the routing."""

    digest = "0" * 64

    def __init__(
        self, decision: Decision = Decision.AUTO, item: str = "", *, assisted: bool = True
    ) -> None:
        self._decision = decision
        self._item = item
        self._assisted = assisted

    def route(self, _complaint: Complaint) -> Route:
        """Return the told decision, with the market's office as lead where there is one."""
        evidence = Evidence(
            EvidenceKind.CLAUSE if self._item else EvidenceKind.DUTY,
            "兴五型办字〔2021〕4号" if self._item else "",
            self._item,
            ("执照",),
            Basis.DOCUMENT,
            "提到“执照”",
        )
        candidate = Candidate(MARKET.code, MARKET.name, MARKET.line, 1.0, (evidence,))
        auto = self._decision is Decision.AUTO
        return Route(
            decision=self._decision,
            lead=UnitRef(MARKET.code, MARKET.name) if auto else None,
            assist=(UnitRef(HOUSING.code, HOUSING.name),) if auto and self._assisted else (),
            confidence=0.95 if auto else 0.3,
            candidates=(candidate,),
            rulebook=self.digest,
        )

    def ruling_words(self, _complaint: Complaint) -> Sequence[str]:
        """Return two words."""
        return ("排骨", "短斤少两")

    def unit(self, code: str) -> Unit | None:
        """Return one of the three units, or None."""
        return {unit.code: unit for unit in self.units()}.get(code)

    def units(self, region: str | None = None) -> Sequence[Unit]:
        """Return the three units."""
        return [MARKET, HOUSING, HOTLINE]

    def duties(self, region: str) -> Sequence[Duty]:
        """Return a duty of the office for markets."""
        return [Duty("market", "市场", MARKET, (), "", "", "按条线", ("短斤少两",), ())]

    def named(self, name: str, region: str, on: date) -> Unit | None:
        """Return the one of the three units that is so called, or None."""
        return next((unit for unit in self.units() if unit.name == name), None)

    def coordinator(self, region: str, named: str = "") -> Unit:
        """Return the hotline's office."""
        return HOTLINE
