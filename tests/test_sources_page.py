"""How sources fare, as the page tells it: on both databases, from real pushes."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from service.domain.ports import FieldProblem
from service.store import intakes, polls
from service.store.intakes import Fate
from service.store.polls import PollState, Rejected
from tests.served import Served, served
from tests.test_api import new
from tests.test_web import signed_in

SOURCE = "hotline-12345"


@pytest.fixture
def service(migrated_url: str) -> Iterator[Served]:
    with served(migrated_url) as running:
        running.client.follow_redirects = False
        yield running


def kept(service: Served) -> None:
    service.run(lambda parts: parts.pulse.keep())


def row(service: Served, name: str = SOURCE) -> str:
    """Return what the page says of a source."""
    page: str = signed_in(service, "supervisor").get("/desk/sources").text
    rows = page.partition("<tbody>")[2].split("</tr>")
    return next(each for each in rows if f"/desk/sources/{name}" in each)


def push(service: Served, who: str = SOURCE, payload: Any = None) -> int:
    return int(service.post(f"/v1/intake/{SOURCE}", payload or new(), who).status_code)


def test_a_source_that_pushes_is_well_and_one_that_never_did_is_told_so(service: Served) -> None:
    assert push(service) == 201
    assert push(service) == 201
    kept(service)
    assert "正常" in row(service)
    assert "接收 2 次" in row(service)
    assert "没有来件" in row(service, "wenzheng-jiangxi")


def test_pushes_that_are_not_its_own_are_seen_until_one_is(service: Served) -> None:
    push(service)
    service.clock.time += timedelta(minutes=1)
    service.tokens["wrong"] = "bj_wrong"
    assert push(service, "wrong") == 401
    assert push(service, "wenzheng-jiangxi") == 403
    kept(service)
    assert "异常" in row(service)
    assert "签名或令牌不对 2 次" in row(service)
    service.clock.time += timedelta(minutes=1)
    push(service)
    kept(service)
    assert "注意" in row(service)
    assert "有推送的签名或令牌不对" in row(service)


def test_a_push_that_can_be_no_ticket_is_counted(service: Served) -> None:
    assert push(service, payload={"workOrderNo": ""}) == 422
    kept(service)
    assert "最近一次推送的内容被退回" in row(service)
    page = signed_in(service, "auditor").get(f"/desk/sources/{SOURCE}").text
    assert "内容退回" in page


def test_silence_is_told_after_some_days(service: Served) -> None:
    push(service)
    kept(service)
    service.clock.time += timedelta(days=4)
    assert "已 4 天没有来件" in row(service)


def test_counts_of_several_replicas_add_up_and_go_after_two_months(service: Served) -> None:
    at = service.clock()
    for _ in range(2):
        noted = {(SOURCE, Fate.TAKEN): (3, at), (SOURCE, Fate.TOO_FAST): (1, at)}
        service.run(lambda parts: parts.store.run(lambda c: intakes.note(c, noted)))  # noqa: B023
    assert "接收 6 次" in row(service)
    assert "超过限速 2 次" in row(service)
    later = at + timedelta(days=70)
    assert service.run(lambda parts: parts.store.run(lambda c: intakes.purge(c, later))) == 2


def test_a_list_that_cannot_be_read_and_its_rows_are_told(service: Served) -> None:
    at = service.clock()

    def fail(connection: Any) -> None:
        state = polls.begin(connection, SOURCE, 1)
        assert isinstance(state, PollState)
        failed = PollState(SOURCE, failed_at=at, error="对方没有按时应答", failures=3)
        polls.save(connection, failed, 1)
        problem = FieldProblem("/acceptTime", "不是时间")
        polls.reject(connection, [Rejected(SOURCE, "GD1", "d1", "{}", (problem,))], at)

    service.run(lambda parts: parts.store.run(fail))
    assert "读取列表连续失败 3 次：对方没有按时应答" in row(service)
    assert "1 行不能成为工单" in row(service)
    page = signed_in(service, "dispatcher").get(f"/desk/sources/{SOURCE}").text
    assert "GD1" in page
    assert "不是时间" in page


def test_a_source_that_there_is_not_has_no_page(service: Served) -> None:
    assert signed_in(service, "admin").get("/desk/sources/nothing").status_code == 404


def test_a_handler_does_not_see_how_sources_fare(service: Served) -> None:
    browser = signed_in(service, "handler")
    assert browser.get("/desk/sources").status_code == 403
    assert browser.get(f"/desk/sources/{SOURCE}").status_code == 403
