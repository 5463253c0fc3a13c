"""What leaves and when it is tried again, as decisions over values."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_rules.clocks import load_timetable
from service.domain import acts
from service.domain.complaint import Attachment, Complaint, Contact, Decision, Kind, UnitRef
from service.domain.confidence import is_shielded
from service.domain.delivery import (
    ATTEMPTS,
    MOST_S,
    OPENS_AFTER,
    BadReceiver,
    Breaker,
    Due,
    body,
    complaint_for,
    for_units,
    on_arrival,
    receiver,
    source_word,
    verdict,
    waits_s,
)
from service.domain.lifecycle import Act, State
from service.domain.ports import Refused, Unreachable
from service.domain.ticket import DeliveryState, Recipient, Ticket, Word
from tests.worlds import HOTLINE, HOUSING, MARKET, ToldRouter, at, complaint

NOW = at("2026-11-18 09:30")
TIMES = load_timetable()
DOWN = Unreachable("no-connection")


def ticket(told: Complaint | None = None, router: ToldRouter | None = None) -> Ticket:
    told = told or complaint()
    route = (router or ToldRouter()).route(told)
    made = acts.receive("360732-20261118-00001", told, route, HOTLINE.code, NOW, TIMES)
    return replace(made, id=1)


def due(kind: Word, recipient: Recipient = Recipient.UNIT, **changes: Any) -> Due:
    usual = Due(
        id=7,
        message="msg_1",
        ticket_id=1,
        ticket_no="360732-20261118-00001",
        kind=kind,
        recipient=recipient,
        unit=MARKET.code,
        destination="unit:x",
        payload={},
        attempts=1,
        created_at=NOW,
        expires_at=NOW + timedelta(hours=72),
    )
    return replace(usual, **changes)


# When


@given(attempts=st.integers(1, 10**6), drawn=st.floats(0, 1))
def test_a_wait_grows_has_an_end_and_is_jittered_in_full(attempts: int, drawn: float) -> None:
    most = waits_s(attempts, lambda: 1.0)
    assert 2.0 <= most <= MOST_S
    assert waits_s(attempts, lambda: drawn) == pytest.approx(drawn * most)
    assert waits_s(attempts + 1, lambda: 1.0) == min(MOST_S, most * 2)


@pytest.mark.parametrize(
    ("failed", "attempts", "left_h", "state", "wait_s"),
    [
        (None, 1, 72, DeliveryState.DELIVERED, None),
        (Refused("http-400"), 1, 72, DeliveryState.DEAD, None),
        (DOWN, 1, 72, DeliveryState.PENDING, 2),
        (DOWN, 5, 72, DeliveryState.PENDING, 32),
        (DOWN, 50, 72, DeliveryState.PENDING, 600),
        (Unreachable("http-429", 90), 1, 72, DeliveryState.PENDING, 90),
        (Unreachable("http-503", 10**9), 1, 72, DeliveryState.PENDING, 3600),
        (Unreachable("http-503", 1), 50, 72, DeliveryState.PENDING, 600),
        (DOWN, 50, 0.1, DeliveryState.DEAD, None),
        (DOWN, ATTEMPTS, 72, DeliveryState.DEAD, None),
    ],
)
def test_what_follows_an_attempt(
    failed: Any, attempts: int, left_h: float, state: DeliveryState, wait_s: float | None
) -> None:
    found = verdict(failed, attempts, NOW + timedelta(hours=left_h), NOW, lambda: 1.0)
    assert found.state is state
    assert found.next_at == (NOW + timedelta(seconds=wait_s) if wait_s else None)
    assert found.reason == (failed.reason if failed else "")


def test_a_breaker_opens_probes_one_at_a_time_and_closes() -> None:
    breaker, when = Breaker(), NOW
    for _ in range(OPENS_AFTER - 1):
        breaker = breaker.after(DOWN, when)
    assert (breaker.probing, breaker.room(when, 1, 4)) == (False, 3)
    rests = []
    for _ in range(8):
        breaker = breaker.after(DOWN, when)
        assert breaker.probing
        assert breaker.until
        assert breaker.room(when, 0, 4) == 0
        rests.append((breaker.until - when).total_seconds())
        when = breaker.until
        assert (breaker.room(when, 0, 4), breaker.room(when, 1, 4)) == (1, 0)
    assert rests == [5, 10, 20, 40, 60, 60, 60, 60]
    assert breaker.after(None, when) == breaker.after(Refused("http-400"), when) == Breaker()


def test_a_destination_that_asks_for_time_gets_it() -> None:
    breaker = Breaker().after(Unreachable("http-429", 30), NOW)
    assert breaker.room(NOW + timedelta(seconds=29), 0, 4) == 0
    assert breaker.room(NOW + timedelta(seconds=30), 0, 4) == 4


# What


@pytest.mark.parametrize(
    ("decision", "source", "units"),
    [
        (
            Decision.AUTO,
            [Word.ACCEPTED, Word.DISPATCHED],
            [(MARKET.code, "lead"), (HOUSING.code, "assist")],
        ),
        (Decision.MANUAL, [Word.ACCEPTED], []),
        (Decision.NOT_ACCEPTED, [Word.NOT_ACCEPTED], []),
        (Decision.EMERGENCY_LINE, [Word.REFERRED], []),
    ],
)
def test_a_new_ticket_tells_its_source_and_its_units(
    decision: Decision, source: list[Word], units: list[tuple[str, str]]
) -> None:
    words = list(on_arrival(ticket(router=ToldRouter(decision))))
    assert [w.kind for w in words if w.recipient is Recipient.SOURCE] == source
    assert [
        (w.unit, w.payload["ticket"]["part"]) for w in words if w.recipient is Recipient.UNIT
    ] == units


def test_units_are_told_what_they_gain_and_what_they_lose() -> None:
    before = ticket()
    after = replace(
        before, lead=UnitRef(HOUSING.code, HOUSING.name), assist=(UnitRef(HOTLINE.code, "x"),)
    )

    def told(act: str, after: Ticket) -> list[tuple[Word, str]]:
        return [(w.kind, w.unit) for w in for_units(act, before, after, {})]

    assert told(Act.DISPATCH, after) == [
        (Word.WITHDRAWN, MARKET.code),
        (Word.DISPATCHED, HOUSING.code),  # it assisted and leads now
        (Word.DISPATCHED, HOTLINE.code),
    ]
    assert told(Act.DISPATCH, before) == []
    merged = replace(before, state=State.MERGED)
    assert told(Act.MERGE, merged) == [
        (Word.WITHDRAWN, MARKET.code),
        (Word.WITHDRAWN, HOUSING.code),
    ]
    assert told(Act.NOTE, after) == []


def test_of_an_answer_only_the_public_part_leaves() -> None:
    resolved = replace(ticket(), state=State.RESOLVED)
    content = {"public_reply": "已退款", "internal_finding": "首次违规", "solved": True}
    assert source_word(Act.RESOLVE, resolved, content) == (
        Word.RESOLVED,
        {"public_reply": "已退款", "solved": True},
    )
    assert source_word(Act.RESOLVE, ticket(), content) is None, "an assisting unit's answer"
    assert source_word(Act.DECIDE_EXTENSION, ticket(), {"granted": False}) is None


TOLD = "王小明住潋江镇，电话13800000001，身份证36073219900101001X，超市短斤少两"
HIDES: list[dict[str, Any]] = [
    {"confidential": True},
    {"anonymous": True},
    {"kind": Kind.REPORT},
]


@pytest.mark.parametrize("hides", HIDES, ids=str)
@pytest.mark.parametrize("word", [Word.DISPATCHED, Word.REOPENED, Word.SUPPLEMENTED])
def test_who_must_not_be_known_is_not_told_to_a_unit(hides: dict[str, Any], word: Word) -> None:
    told = complaint(
        title="王小明反映短斤少两",
        content=TOLD,
        place="13800000001家",
        contact=Contact("王小明", "13800000001", "女"),
        attachments=(Attachment("王小明身份证.jpg", "http://files.example/13800000001"),),
        extra={"求助人": "王小明"},
        source_no="T1-13800000001",
        **hides,
    )
    sent = body(due(word), ticket(told)).decode()
    for secret in ("王小明", "13800000001", "36073219900101001X", "女"):
        assert secret not in sent
    assert json.loads(sent)["data"]["complaint"]["shielded"] is True
    assert "超市短斤少两" in sent


def test_an_accusation_shields_its_author_whatever_it_calls_itself() -> None:
    accusing = ticket()
    evidence = replace(accusing.route.candidates[0].evidence[0], note="是对单位或人员的举报")
    candidate = replace(accusing.route.candidates[0], evidence=(evidence,))
    accusing = replace(accusing, route=replace(accusing.route, candidates=(candidate,)))
    assert is_shielded(accusing.complaint, accusing.route)
    assert not is_shielded(ticket().complaint, ticket().route)


def test_a_unit_gets_what_it_needs_of_an_ordinary_complaint() -> None:
    found = complaint_for(ticket(), MARKET.code)
    assert found
    assert found["contact"] == {"name": "王某", "phone": "13800000001", "gender": ""}
    assert found["content"] == complaint().content
    assert "extra" not in found


@pytest.mark.parametrize("state", [State.CLOSED, State.MERGED, State.NOT_ACCEPTED])
def test_a_unit_gets_nothing_of_what_it_has_no_longer(state: State) -> None:
    assert complaint_for(replace(ticket(), state=state), MARKET.code) is None
    assert complaint_for(ticket(), HOTLINE.code) is None


@given(
    word=st.sampled_from(Word),
    recipient=st.sampled_from(Recipient),
    confidential=st.booleans(),
    anonymous=st.booleans(),
    kind=st.sampled_from(Kind),
    text=st.text(max_size=50),
)
def test_no_message_carries_a_contact_but_to_a_unit_that_may_ring(
    word: Word,
    recipient: Recipient,
    confidential: bool,
    anonymous: bool,
    kind: Kind,
    text: str,
) -> None:
    told = complaint(
        content=f"{text}13800000001{text}",
        contact=Contact("欧阳某某", "13800000001"),
        confidential=confidential,
        anonymous=anonymous,
        kind=kind,
    )
    sent = body(due(word, recipient), ticket(told)).decode()
    may_ring = not (confidential or anonymous or kind is Kind.REPORT)
    complains = word in {Word.DISPATCHED, Word.REOPENED, Word.SUPPLEMENTED}
    assert ("13800000001" in sent) == (may_ring and complains and recipient is Recipient.UNIT)


# To whom

GOOD = {"url": "https://example.gov.cn/told", "secret": "GANZHOU_SECRET"}


def test_a_receiver_is_read() -> None:
    found = receiver("source:x", GOOD | {"hours": "24"}, ["resolved"])
    assert (found.hours, found.wants(Word.RESOLVED), found.wants(Word.CLOSED)) == (24, True, False)
    assert receiver("source:x", GOOD, []).wants(Word.CLOSED)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("url", ""),
        ("url", "ftp://example.gov.cn"),
        ("url", "example.gov.cn/told"),
        ("url", "https://user:password@example.gov.cn/"),
        ("url", "https://example.gov.cn/#x"),
        ("url", "https://[::1"),
        ("url", "https://example.gov.cn:99999/"),
        ("secret", ""),
        ("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("token", "not a name"),
        ("hours", "0"),
        ("hours", "²"),
        ("hours", "9999"),
    ],
)
def test_a_receiver_that_cannot_be_is_refused(key: str, value: str) -> None:
    with pytest.raises(BadReceiver) as refused:
        receiver("source:x", GOOD | {key: value}, [])
    assert refused.value.key == key


def test_an_event_that_means_nothing_is_refused() -> None:
    with pytest.raises(BadReceiver, match="没有 solved 这种通知"):
        receiver("source:x", GOOD, ["solved"])
