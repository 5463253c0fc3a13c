"""What leaves for sources and units' systems, where one matter came twice or nobody may know whose."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from service.domain.complaint import Contact, Kind
from service.domain.similar import Relation
from service.domain.ticket import Ticket
from service.store import Store
from tests.receivers import Receiver
from tests.test_matching import NOW, forum, hotline, matching_of
from tests.test_outbox import ANSWER, REACHED, Sim, kinds, sim
from tests.worlds import ADMIN, DISPATCHER, HANDLER, MARKET, SUPERVISOR

Run = Callable[[Callable[[Store], Any]], Any]
REPORTER = Contact("王小明", "13800000001")
ACCUSING = "举报市监局执法人员收店老板好处，我是王小明，电话138-0000-0001，邮箱wxm@example.com"


async def came(s: Sim, told: Any, fingerprint: str = "") -> Ticket:
    told = replace(told, accepted_at=s.time)
    return (await s.desk.receive(told, fingerprint or told.source_no, s.time)).ticket


async def again(s: Sim, ticket: Ticket) -> Ticket:
    return await s.desk.ticket(ticket.no, ADMIN)


def test_every_source_of_a_matter_found_on_two_channels_gets_the_answer_and_the_end(
    in_store: Run,
) -> None:
    async def scenario(store: Store) -> None:
        with Receiver() as phone, Receiver() as site:
            async with sim(store, source=phone.url, other=site.url) as s:
                first, second = await came(s, hotline()), await came(s, forum())
                matching = matching_of(store)
                await matching.look(NOW)
                [linked] = await store.read(lambda c: matching.told(c, DISPATCHER, [second]))
                [proposed] = linked.links
                assert (proposed.relation, proposed.no) == (Relation.PROPOSED, first.no)
                await s.act(second, "merge", into=proposed.no, reason=proposed.reason)
                first = await s.act(await again(s, first), "sign")
                first = await s.act(first, "resolve", **ANSWER)
                first = await s.act(first, "call_back", **REACHED)
                first = await s.act(first, "close")
                await s.act(first, "reopen", reason="又坏了")
                await s.flush()
        after = ["resolved", "closed", "reopened"]
        assert kinds(phone.got) == ["accepted", "dispatched", *after]
        assert kinds(site.got) == ["accepted", "dispatched", "merged", *after]
        for got, number in ((phone.got, "T1"), (site.got, "W1")):
            assert {each.data["ticket"]["source_no"] for each in got} == {number}
            told = {each.document["type"][7:]: each.data for each in got}
            assert told["resolved"]["public_reply"] == "已责令退款"
            assert told["closed"]["ticket"]["state"] == "closed"
        assert {each.data["ticket"]["merged_into"] for each in site.got[2:]} == {first.no}

    in_store(scenario)


@pytest.mark.parametrize("kept", [{"confidential": True}, {"anonymous": True}])
def test_a_wish_to_stay_unnamed_goes_along_when_tickets_are_merged(
    in_store: Run, kept: dict[str, Any]
) -> None:
    async def scenario(store: Store) -> None:
        with Receiver() as unit:
            written = forum(contact=Contact("王某", "+86 138 0000 0001"), **kept)
            async with sim(store, unit=unit.url) as s:
                first, second = await came(s, hotline()), await came(s, written)
                await s.act(second, "merge", into=first.no, reason="同一来电号码")
                await s.flush()
                # The merged one tells nothing; neither does the other from now on.
                unit.got.clear()
                first = await again(s, first)
                assert first.version == 2
                first = await s.act(first, "dispatch", unit=MARKET.code, reason="再派")
                await came(s, hotline(content="补充：还有小票"), "another body")
                first = await s.act(await again(s, first), "sign")
                first = await s.act(first, "resolve", **ANSWER)
                await s.act(first, "reopen", reason="又坏了")
                await s.flush()
                assert unit.got
                assert b"13800000001" not in b"".join(each.body for each in unit.got)
                assert (await s.desk.ticket(first.no, HANDLER)).complaint.contact == Contact()
        # Another person's wish is another person's.
        async with sim(store) as s:
            theirs = await again(s, await came(s, hotline("T7")))
            other = forum("W7", contact=Contact("李某", "13800000002"), **kept)
            await s.act(await came(s, other), "merge", into=theirs.no, reason="同一事项")
            assert (await again(s, theirs)) == theirs

    in_store(scenario)


def test_who_reports_a_unit_is_never_sent_to_its_system(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        report = hotline(
            "R1",
            kind=Kind.REPORT,
            title="王小明举报",
            content=ACCUSING,
            contact=REPORTER,
            extra={"求助人": "王小明"},
        )
        with Receiver() as unit:
            async with sim(store, unit=unit.url) as s:
                # A person gives it to the accused unit all the same, and everything happens to it.
                ticket = await came(s, report)
                assert ticket.lead
                assert ticket.lead.unit == MARKET.code
                more = replace(report, content=ACCUSING + "，另一电话13800000001")
                await came(s, more, "another body")
                ticket = await s.act(await again(s, ticket), "sign")
                ticket = await s.act(
                    ticket, "request_extension", HANDLER, amount="1 工作日", reason="复杂"
                )
                ticket = await s.act(
                    ticket, "decide_extension", SUPERVISOR, granted=True, reason="准"
                )
                ticket = await s.act(ticket, "resolve", **ANSWER)
                ticket = await s.act(ticket, "reopen", reason="没有查")
                # The same person's ordinary complaint, and the report merged into it.
                plain = await came(s, hotline("P1", contact=REPORTER))
                await s.act(ticket, "merge", into=plain.no, reason="同一来电号码")
                await s.flush()
                seen = [await s.desk.ticket(ticket.no, HANDLER)]
                history = await s.desk.history(plain.no, HANDLER)
                [told] = await store.read(lambda c: matching_of(store).told(c, HANDLER, seen))
        about = [each for each in unit.got if each.data["ticket"]["no"] == ticket.no]
        assert {"dispatched", "supplemented", "extended", "reopened", "withdrawn"} <= set(
            kinds(about)
        )
        sent = b"".join(each.body for each in about).decode()
        for secret in ("王小明", "13800000001", "138-0000-0001", "wxm@example.com", "R1", plain.no):
            assert secret not in sent
        # Nor do its people learn on the desk that the complaint is the reporter's.
        assert (told.into, told.links) == ("", ())
        assert [each.content for each in history if each.act == "merged_here"] == [{}]

    in_store(scenario)


@pytest.mark.parametrize("kept", [{"confidential": True}, {"anonymous": True}])
def test_who_stays_unnamed_is_sent_to_no_units_system(in_store: Run, kept: dict[str, Any]) -> None:
    async def scenario(store: Store) -> None:
        told = hotline(
            "K1", content="我是王小明，电话138 0000 0001，店在平川大道", contact=REPORTER, **kept
        )
        with Receiver() as unit:
            async with sim(store, unit=unit.url) as s:
                await came(s, told)
                await s.flush()
        [got] = unit.got
        assert "王小明" not in got.body.decode()
        assert "0000 0001" not in got.body.decode()
        assert got.data["complaint"]["contact"] is None
        assert "平川大道" in got.data["complaint"]["content"]

    in_store(scenario)
