"""Proposals (提议) to the responsible-unit table, from the form to the ticket that is routed by one, on
both databases and on two replicas."""

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from routing_rules.check import check
from routing_rules.proposed import FilesChanged, Proposed, told
from routing_rules.rulebook import load
from routing_rules.yamlfile import parse
from service.domain.access import SYSTEM
from service.domain.complaint import Review
from service.domain.ports import FieldProblem
from service.domain.proposal import Decision, Proposal, Sort, Standing, one_line
from service.proposals import BadProposal
from tests.exports import OPEN, row, sheet
from tests.process import banjie, environment
from tests.served import Served, rules, served
from tests.test_api import new
from tests.test_web import Browser, form_of, signed_in
from tests.worlds import complaint

pytestmark = pytest.mark.slow

MARKET = "360732-market_regulation"
FORESTRY = "360732-forestry"
HERE = {"Origin": "http://testserver"}
LIST = "/desk/rules/proposals"
SAID = "村口那棵樟王认养的牌子掉了没人补"
DUTY = {
    "kind": "duty",
    "unit": FORESTRY,
    "region": "",
    "name": "古樟认养",
    "words": "樟王认养 认养古樟",
    "pairs": "",
    "examples": SAID,
    "reason": "三定方案写明归林业局",
}
ALIAS = {"kind": "alias", "unit": MARKET, "name": "食药监老局", "reason": "老来件这样写"}
WHEN = datetime(2026, 11, 20, 2, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def service(migrated_url: str) -> Iterator[Served]:
    with served(migrated_url) as running:
        running.client.follow_redirects = False
        yield running


def sent(browser: Browser, address: str, **fields: str) -> Any:
    hidden = form_of(browser.get("/desk/rules").text, "/desk/rules")
    fields["form_token"] = hidden["form_token"]
    return browser.service.client.post(address, data=fields, headers=HERE)


def proposed(service: Served, who: str = "dispatcher", **fields: str) -> int:
    answer = sent(signed_in(service, who), LIST, **fields)
    assert answer.status_code == 303, answer.text
    return int(answer.headers["location"].rsplit("/", 1)[1])


def decided(service: Served, number: int, verdict: str, who: str = "supervisor") -> Any:
    return sent(signed_in(service, who), f"{LIST}/{number}", verdict=verdict, reason="同意意见")


def refreshed(service: Served) -> str:
    """Return the digest of the rulebook after the replica has looked."""
    service.run(lambda parts: parts.refresh())
    return str(service.parts.router.digest)


def wrong(page: str) -> str:
    return "；".join(re.findall(r'class="wrong"[^>]*>([^<]+)<', page))


def test_a_duty_goes_from_the_form_to_the_next_ticket_on_every_replica(service: Served) -> None:
    before = refreshed(service)
    old = service.post("/v1/intake/hotline-12345", new(title=SAID, content=SAID))
    lead = old.json()["ticket"]["lead"]
    assert lead is None or lead["unit"] != FORESTRY
    number = proposed(service, **DUTY)
    assert refreshed(service) == before, "what waits changes nothing"
    supervisor = signed_in(service, "supervisor")
    assert f"{LIST}/{number}" in supervisor.get(LIST).text
    page = supervisor.get(f"{LIST}/{number}").text
    assert "规则检查通过" in page
    assert "最近的 1 张工单" in page
    assert old.json()["ticket"]["no"] in page
    assert "兴国县林业局" in page
    answer = decided(service, number, "accepted")
    assert answer.status_code == 303, answer.text
    after = refreshed(service)
    assert after != before
    made = service.post("/v1/intake/hotline-12345", new(title=SAID, content=SAID))
    ticket = made.json()["ticket"]
    assert ticket["lead"]["unit"] == FORESTRY
    assert ticket["route"]["rulebook"] == after
    note = ticket["route"]["candidates"][0]["evidence"][0]["note"]
    for part in (
        f"第{number}号提议",
        "分拨员 2026-11-21 提出：三定",
        "督办员 2026-11-21 同意：同意",
    ):
        assert part in note
    shown = signed_in(service, "handler").get("/desk/rules?q=古樟认养").text
    assert "督办员 2026-11-21 同意" in shown
    # What was routed before keeps its route; a withdrawal is one more decision, and the rest stays.
    kept = service.get(f"/v1/tickets/{old.json()['ticket']['no']}").json()["ticket"]
    assert kept["route"]["rulebook"] == before
    assert decided(service, number, "withdrawn").status_code == 303
    assert refreshed(service) == before
    page = signed_in(service, "supervisor").get(f"{LIST}/{number}").text
    assert page.index("已同意，同意意见") < page.index("已撤回，同意意见")
    assert decided(service, number, "accepted").status_code == 409


def test_what_is_accepted_counts_for_an_import_as_well(
    service: Served, migrated_url: str, tmp_path: Path
) -> None:
    number = proposed(service, **DUTY)
    assert decided(service, number, "accepted").status_code == 303
    path = tmp_path / "a.csv"
    said = {"诉求标题": SAID, "诉求内容": SAID, "承办单位": ""}
    path.write_bytes(sheet({**row("XG1"), **OPEN, **said}))
    env = environment(migrated_url)
    done = banjie("import", str(path), "--source", "hotline-12345", env=env)
    assert done.returncode == 0, done.stderr
    listed = service.get("/v1/tickets").json()["items"]
    assert [each["lead"]["unit"] for each in listed] == [FORESTRY]


def test_what_is_accepted_on_one_replica_is_routed_by_on_the_other(migrated_url: str) -> None:
    with served(migrated_url) as one, served(migrated_url) as other:
        one.client.follow_redirects = False
        number = proposed(one, **DUTY)
        assert decided(one, number, "accepted").status_code == 303
        assert refreshed(other) == refreshed(one) != rules(None)[0].digest
        payload = new(title=SAID, content=SAID)
        ticket = other.post("/v1/intake/hotline-12345", payload).json()["ticket"]
        assert ticket["lead"]["unit"] == FORESTRY
    # And by one that starts later, from its first ticket on.
    with served(migrated_url) as third:
        assert third.parts.router.digest == ticket["route"]["rulebook"]


def test_an_alias_leads_a_review_and_says_who_named_it(service: Served) -> None:
    number = proposed(service, "handler", **ALIAS)
    assert decided(service, number, "accepted").status_code == 303
    refreshed(service)
    review = Review(1, "食药监老局")
    route = service.parts.router.route(complaint(content="态度差", review=review))
    assert route.lead
    assert route.lead.unit == MARKET
    assert f"第{number}号提议，承办人" in route.candidates[0].evidence[0].note


REFUSED = [
    ({**DUTY, "words": "樟"}, "只有一个字"),
    ({**DUTY, "words": "----"}, "不是一个词"),
    ({**DUTY, "words": ""}, "词和组合至少填一项"),
    ({**DUTY, "words": "", "pairs": "古樟"}, "至少两个词"),
    ({**DUTY, "words": "樟王" * 20}, "太长"),
    ({**DUTY, "words": "樟王认养 村<b>"}, "“村&lt;b&gt;”中能用来匹配的不到两个字"),
    ({**DUTY, "words": "樟王认养 &#x6751;"}, "不到两个字"),
    ({**DUTY, "words": "樟王认养 <ab>"}, "不到两个字"),
    ({**DUTY, "pairs": "树 牌|<ab>"}, "没有能用来匹配的字"),
    ({**DUTY, "name": ""}, "不能为空"),
    ({**DUTY, "unit": "360732-none"}, "没有这个单位"),
    ({**DUTY, "unit": "360732104-government"}, "属地"),
    ({**DUTY, "region": "兴国现"}, "没有这个地区"),
    ({**DUTY, "unit": "360732-urban_management", "words": "路灯"}, "已经列有这些词"),
    ({**DUTY, "examples": "今天天气真好"}, "转到了"),
    ({**DUTY, "examples": ""}, "至少写一句"),
    ({**DUTY, "reason": "请打13800000002"}, "个人信息"),
    ({**ALIAS, "name": "县公安局"}, "另一个单位的名称：兴国县公安局"),
    ({**ALIAS, "name": "高兴镇"}, "另一个单位的名称"),
    ({**ALIAS, "name": "市监局"}, "已经有这个名称"),
    ({**ALIAS, "name": "各乡镇"}, "统称"),
    ({**ALIAS, "name": "  "}, "不能为空"),
]


def test_what_the_rules_do_not_bear_is_refused_at_its_field(service: Served) -> None:
    dispatcher = signed_in(service, "dispatcher")
    for fields, said in REFUSED:
        answer = sent(dispatcher, LIST, **fields)
        assert (answer.status_code, said) == (422, said)
        assert said in wrong(answer.text), (said, wrong(answer.text))
        assert fields["reason"] in answer.text, "what was typed is there still"
        assert "没有“待定”的提议" in answer.text


def test_words_are_parted_as_people_part_them(service: Served) -> None:
    parted = {"words": "樟王认养、认养古樟，樟王挂牌", "pairs": "樟王、认养｜认领；牌子"}
    number = proposed(service, **{**DUTY, **parted})
    page = signed_in(service, "supervisor").get(f"{LIST}/{number}").text
    assert "词：樟王认养、认养古樟、樟王挂牌<" in page
    assert "组合：樟王 认养|认领 牌子<" in page
    # As one word the list would never be heard, and a list with another comma would not be the same.
    again = {"words": "认养古樟 樟王认养,樟王挂牌", "pairs": "樟王 认养|认领 牌子"}
    answer = sent(signed_in(service, "dispatcher"), LIST, **{**DUTY, **again})
    assert f"第 {number} 号" in wrong(answer.text)


@pytest.mark.parametrize("field", ["name", "words", "pairs", "examples", "reason", "region"])
def test_a_field_without_an_end_is_refused_before_it_is_read(service: Served, field: str) -> None:
    answer = sent(signed_in(service, "dispatcher"), LIST, **{**DUTY, field: "樟王 " * 2_000})
    assert answer.status_code == 413
    assert "没有保存任何内容" in answer.text


def test_whose_name_it_is_is_not_asked_of_what_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    book = rules(None)[0]
    monkeypatch.setattr(type(book.table), "bearer", lambda *_: pytest.fail("asked"))
    found = Proposed(book, None).tried(book, [], made(Sort.ALIAS, name="县" * 3_000))[1]
    assert [each.pointer for each in found] == ["/name"]


def test_what_many_ask_for_at_once_is_worked_out_one_after_the_other(
    service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = proposed(service, **DUTY)
    there, most = 0, 0

    def worked(*_: Any) -> list[Any]:
        nonlocal there, most
        there += 1
        most = max(most, there)
        time.sleep(0.05)
        there -= 1
        return []

    def tried(_: Any, book: Any, *_more: Any) -> tuple[Any, list[FieldProblem]]:
        worked()
        return book, [FieldProblem("/words", "试")]

    monkeypatch.setattr(Proposed, "tried", tried)
    # A trial's reading too: it opens what is sealed.
    monkeypatch.setattr("service.store.proposals.newest_tickets", worked)

    async def ask(parts: Any) -> list[Any]:
        waiting = await parts.proposals.one(SYSTEM, number)
        again = replace(waiting, words=("认养樟王",))
        tries = [parts.proposals.trial(SYSTEM, waiting) for _ in range(3)]
        more = parts.proposals.propose(SYSTEM, again)
        yes = parts.proposals.decide(
            replace(SYSTEM, name="another"), number, Standing.ACCEPTED, "可以", WHEN
        )
        return await asyncio.gather(*tries, more, yes, return_exceptions=True)

    *trials, one, other = service.run(ask)
    assert [each.detail for trial in trials for each in trial.problems] == ["试"] * 3
    assert [type(one), type(other)] == [BadProposal, BadProposal]
    assert most == 1


def test_the_same_is_proposed_once_while_it_waits_or_counts(service: Served) -> None:
    for fields in (DUTY, ALIAS):
        number = proposed(service, **fields)
        for verdict in ("", "accepted"):
            if verdict:
                assert decided(service, number, verdict).status_code == 303
            answer = sent(signed_in(service, "dispatcher"), LIST, **fields)
            assert answer.status_code == 422
            assert f"第 {number} 号" in wrong(answer.text) or "已经" in wrong(answer.text)


def test_the_supervisor_sees_that_a_proposal_of_the_region_waits(service: Served) -> None:
    def told(who: str) -> str:
        page = signed_in(service, who).get("/desk/supervision").text
        found = re.search(r"待定规则提议</dt><dd>(.*?)</dd>", page)
        assert found
        return found[1]

    assert told("supervisor") == "0"
    number = proposed(service, **DUTY)
    assert told("supervisor") == f'<a href="{LIST}">1</a>'
    assert told("stranger") == "0"
    assert decided(service, number, "refused").status_code == 303
    assert told("supervisor") == "0"


def test_no_unit_is_chosen_by_who_chose_none(service: Served) -> None:
    page = signed_in(service, "dispatcher").get(LIST).text
    assert '<option value="">请选择单位</option>' in page
    assert "没有这个单位" in wrong(
        sent(signed_in(service, "dispatcher"), LIST, **{**DUTY, "unit": ""}).text
    )
    assert "请选择单位" not in signed_in(service, "handler").get(LIST).text, "there is one"


def test_a_proposal_can_be_read_and_refused_while_the_files_wait_for_a_restart(
    migrated_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "rules"
    (folder / "duties").mkdir(parents=True)
    with served(migrated_url, rules=folder) as service:
        service.client.follow_redirects = False
        number = proposed(service, **DUTY)
        (folder / "duties" / "own.yaml").write_text("[]", "utf-8")
        answer = signed_in(service, "supervisor").get(f"{LIST}/{number}")
        assert (answer.status_code, "重启服务后再看" in answer.text) == (200, True)
        assert 'value="accepted"' not in answer.text
        assert decided(service, number, "accepted").status_code == 503
        assert decided(service, number, "refused").status_code == 303


def test_who_may_propose_for_any_unit_names_it(service: Served) -> None:
    number = proposed(service, "admin", **{**DUTY, "unit": "兴国县林业局"})
    page = signed_in(service, "supervisor").get(f"{LIST}/{number}").text
    assert "<b>兴国县林业局</b>，兴国县" in page
    answer = sent(signed_in(service, "admin"), LIST, **{**DUTY, "unit": "火星管理局"})
    assert "没有这个单位" in wrong(answer.text)


def test_nobody_agrees_to_their_own(service: Served) -> None:
    number = proposed(service, "supervisor", **DUTY)
    page = signed_in(service, "supervisor").get(f"{LIST}/{number}").text
    assert 'value="accepted"' not in page
    answer = decided(service, number, "accepted")
    assert (answer.status_code, "自己的提议" in answer.text) == (409, True)
    assert decided(service, number, "accepted", "admin").status_code == 303
    own = proposed(service, "admin", **ALIAS)
    assert decided(service, own, "accepted", "admin").status_code == 409
    assert decided(service, own, "accepted", "supervisor").status_code == 303


def test_another_regions_proposals_are_not_there(service: Served) -> None:
    number = proposed(service, **DUTY)
    foreign = signed_in(service, "stranger")
    assert str(number) not in re.findall(rf"{LIST}/(\d+)", foreign.get(LIST).text)
    assert foreign.get(f"{LIST}/{number}").status_code == 404
    assert decided(service, number, "accepted", "stranger").status_code == 404
    assert sent(foreign, LIST, **DUTY).status_code == 422, (
        "in its own region the unit answers for none"
    )
    assert sent(foreign, LIST, **{**DUTY, "region": "360732"}).status_code == 403
    assert sent(foreign, LIST, **ALIAS).status_code == 403
    # A handler proposes for the own unit, and sees what is proposed for it.
    handler = signed_in(service, "handler")
    assert sent(handler, LIST, **DUTY).status_code == 403
    assert handler.get(f"{LIST}/{number}").status_code == 404
    assert decided(service, number, "accepted", "handler").status_code == 403
    assert decided(service, number, "waiting").status_code == 400


def test_a_script_that_was_proposed_is_text(service: Served) -> None:
    number = proposed(service, **{**ALIAS, "name": f"药监{SCRIPT}", "reason": SCRIPT})
    for path in (LIST, f"{LIST}/{number}"):
        page = signed_in(service, "supervisor").get(path).text
        assert SCRIPT not in page
        assert "&lt;script&gt;" in page


def test_two_that_do_not_go_together_are_not_both_accepted(service: Served) -> None:
    first = proposed(service, **ALIAS)
    second = proposed(service, **{**ALIAS, "unit": FORESTRY})
    assert decided(service, first, "accepted").status_code == 303
    page = signed_in(service, "supervisor").get(f"{LIST}/{second}").text
    assert "规则检查没有通过" in page
    answer = decided(service, second, "accepted")
    assert (answer.status_code, "另一个单位的名称" in answer.text) == (422, True)
    assert decided(service, second, "refused").status_code == 303


def made(sort: Sort = Sort.DUTY, **changes: Any) -> Proposal:
    fields = DUTY if sort is Sort.DUTY else ALIAS
    proposal = Proposal(
        sort,
        fields["unit"],
        "360732",
        fields["name"],
        fields["reason"],
        "某甲",
        WHEN,
        ("樟王认养",) if sort is Sort.DUTY else (),
        (),
        (SAID,) if sort is Sort.DUTY else (),
        Standing.ACCEPTED,
        (Decision(Standing.ACCEPTED, "某乙", WHEN, "同意"),),
        1 if sort is Sort.DUTY else 2,
    )
    return replace(proposal, **changes)


def test_one_that_the_files_no_longer_bear_is_left_out_and_the_others_count() -> None:
    laid = Proposed(rules(None)[0], None)
    gone = made(id=3, unit="360732-abolished")
    clash = made(Sort.ALIAS, id=4, unit=FORESTRY)
    book, taken, left_out = laid.usable([made(), made(Sort.ALIAS), gone, clash])
    assert [each.id for each in taken] == [1, 2]
    assert [each.id for each, _ in left_out] == [3, 4]
    assert "不在单位表中" in left_out[0][1]
    assert "已属于" in left_out[1][1]
    assert book.digest == laid.book([made(), made(Sort.ALIAS)]).digest


def test_each_alias_is_told_by_its_own_proposal_whatever_names_the_others_speak_of() -> None:
    first = made(Sort.ALIAS, reason="与“食药监新局”是两家")
    second = made(Sort.ALIAS, id=3, name="食药监新局")
    table = Proposed(rules(None)[0], None).book([first, second]).table
    assert table.proposed(MARKET, "食药监新局") == told(second)
    assert table.proposed(MARKET, "食药监老局") == told(first)
    assert table.proposed(MARKET, "市监局") == ""


def test_files_that_changed_since_the_start_do_not_come_in_with_a_proposal(tmp_path: Path) -> None:
    duties = tmp_path / "duties"
    duties.mkdir()
    laid = Proposed(load(tmp_path), tmp_path)
    book, *_ = laid.usable([made()])
    assert laid.usable([made()])[0] is book, "what is in use is not loaded again"
    assert laid.usable([])[0] is laid.book([])
    assert laid.usable([made()])[0].digest == book.digest
    (duties / "own.yaml").write_text("- half a row", "utf-8")
    with pytest.raises(FilesChanged):
        laid.usable([made()])


def test_exported_files_pass_the_check_and_say_the_same(migrated_url: str, tmp_path: Path) -> None:
    with served(migrated_url) as service:
        service.client.follow_redirects = False
        numbers = [proposed(service, **DUTY), proposed(service, **ALIAS)]
        proposed(service, **{**ALIAS, "name": "质监老局"})
        for number in numbers:
            assert decided(service, number, "accepted").status_code == 303
        digest = refreshed(service)
    folder = tmp_path / "out"
    world = environment(migrated_url)
    done = banjie("rules", "export-proposals", str(folder), env=world)
    assert done.returncode == 0, done.stderr
    assert "已同意的提议 2 条" in done.stdout
    assert sorted(path.name for path in folder.rglob("*.yaml")) == ["proposals.yaml", "units.yaml"]
    assert not [finding for finding in check(folder) if finding.grave]
    book = load(folder)
    assert book.digest == digest
    assert "督办员 2026-11-21 同意" in (folder / "duties/proposals.yaml").read_text("utf-8")
    again = banjie("rules", "export-proposals", str(folder), env=world)
    assert (again.returncode, "不是空的文件夹" in again.stderr) == (2, True)
    # Moved into the files and still accepted, each counts once.
    moved = Proposed(book, folder).book([made(id=numbers[0]), made(Sort.ALIAS, id=numbers[1])])
    assert len(moved.rules) == len(book.rules)
    assert moved.table.canonical_json() == book.table.canonical_json()


@settings(max_examples=60)
@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_was_typed_a_row_says_it_and_nothing_else(name: str, reason: str) -> None:
    clean = one_line(name) or "某"
    proposal = made(name=clean, reason=one_line(reason))
    text = Proposed(rules(None)[0], None).files([proposal])["duties/proposals.yaml"]
    (row,) = parse(Path("proposals.yaml"), text.encode())
    assert row.text("name") == clean
    assert row.text("proposed") == told(proposal)
    assert list(row) == ["id", "name", "line", "region", "strong", "examples", "proposed"]


def test_a_refresh_tells_what_it_took_in(service: Served) -> None:
    number = proposed(service, **DUTY)
    decided(service, number, "accepted")
    with structlog.testing.capture_logs() as logs:
        refreshed(service)
        refreshed(service)
    assert [e["proposals"] for e in logs if e["event"] == "proposals.taken_in"] == [1]
