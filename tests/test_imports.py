"""Years of history in the store: what they become, what they leave alone, and how an import goes on."""

import asyncio
import csv
import hashlib
import json
import re
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.history import HistoryFile
from adapters.hotline_12345 import Hotline12345
from adapters.payload import fingerprint
from service.desk import Desk, Order, offered
from service.domain.complaint import UnitRef
from service.domain.history import IMPORTER
from service.domain.lifecycle import Act, State
from service.domain.ports import Source
from service.domain.ticket import Clock, MilestoneKind, Outcome, Ticket
from service.imports import Report, Summary, take_over
from service.store import Store, open_store, tickets
from service.store.figures import figures, unit_loads
from tests.exports import MESSY_FAULTS, OPEN, many, messy, row, sheet
from tests.process import BANJIE, banjie, environment
from tests.served import Served, rules, served
from tests.test_history import HOTLINE
from tests.worlds import ADMIN, as_received, at

Run = Callable[[Callable[[Store], Any]], Any]
NOW = at("2026-11-21 09:00")
BOOK, TIMES = rules(None)


def desk(store: Store) -> Desk:
    return Desk(store, BOOK, TIMES)


def written(path: Path, content: bytes | None) -> Path:
    if content is not None:
        path.write_bytes(content)
    return path


async def taken(
    store: Store,
    path: Path,
    content: bytes | None = None,
    *,
    apply: bool = True,
    source: Source = HOTLINE,
    **options: Any,
) -> Summary:
    path = written(path, content)
    file = HistoryFile(path, source, Hotline12345(BOOK.gazetteer), {}, **options)
    with Report(path.with_suffix(".report.csv")) as report:
        return await take_over(
            file,
            HOTLINE.name,
            desk(store),
            lambda: NOW,
            report,
            apply=apply,
            passed=lambda _: None,
        )


def reported(path: Path) -> list[list[str]]:
    text = path.with_suffix(".report.csv").read_text("utf-8-sig")
    return list(csv.reader(text.splitlines()))[1:]


async def found(store: Store, number: str) -> Ticket:
    sent = (HOTLINE.name, number)
    return (await store.run(lambda c: tickets.find_all(c, [sent])))[sent]


PAYLOAD = json.loads(Path("tests/samples/hotline-12345.json").read_text("utf-8"))[0]


def total(connection: sa.Connection, table: str) -> int:
    return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


# -- what is over --------------------------------------------------------------------------------


def test_a_closed_ticket_keeps_its_own_times_and_says_that_it_was_imported(
    in_store: Run, tmp_path: Path
) -> None:
    async def scenario(store: Store) -> None:
        path = tmp_path / "a.csv"
        content = sheet(
            row(
                "XG1",
                签收时间="2023-03-06 11:00",
                回访时间="2023-03-10 09:00",
                结案时间="2023-03-11 09:00",
            )
        )
        assert (await taken(store, path, content)).taken == 1
        ticket = await found(store, "XG1")
        assert (ticket.no, ticket.state) == ("360732-20230306-00001", State.CLOSED)
        assert ticket.lead is not None
        assert (ticket.lead.unit, ticket.lead.name) == ("360732-housing_construction", "县住建局")
        history = await desk(store).history(ticket.no, ADMIN)
        assert [(event.act, event.at) for event in history] == [
            ("received", at("2023-03-06 09:12").replace(second=33)),
            ("dispatch", at("2023-03-06 10:00")),
            ("sign", at("2023-03-06 11:00")),
            ("resolve", at("2023-03-09 16:00")),
            ("call_back", at("2023-03-10 09:00")),
            ("close", at("2023-03-11 09:00")),
            ("imported", NOW),
        ]
        assert {event.actor for event in history} == {IMPORTER.name}
        digest = hashlib.sha256(content).hexdigest()
        assert history[-1].content == {"file": digest, "row": 2}
        assert history[3].content["public_reply"] == "已经修好。"
        assert history[4].content == {"reached": True, "solved": None, "grade": 4}

    in_store(scenario)


@pytest.mark.parametrize(
    ("changes", "outcomes"),
    [
        ({}, [Outcome.ON_TIME]),
        ({"办结时间": "2023-03-14 09:00"}, [Outcome.LATE]),
        ({"办结期限": ""}, []),  # nobody knows by when: nobody was late
        ({"承办单位": "火星管理局"}, []),  # nobody knows who
    ],
)
def test_what_is_over_is_judged_by_the_limit_that_it_had_or_not_at_all(
    in_store: Run, tmp_path: Path, changes: dict[str, str], outcomes: list[Outcome]
) -> None:
    async def scenario(store: Store) -> None:
        await taken(store, tmp_path / "a.csv", sheet({**row("XG1"), **changes}))
        ticket = await found(store, "XG1")
        assert [m.outcome for m in ticket.milestones] == outcomes
        for m in ticket.milestones:
            assert (m.kind, m.clock) == (MilestoneKind.RESOLVE, Clock.SENDER)
            assert m.due_at == at("2023-03-13 17:30")
            assert m.met_at == at(changes.get("办结时间", "2023-03-09 16:00"))
            assert m.next_at is None

    in_store(scenario)


def test_what_is_over_is_never_warned_of_supervised_delivered_or_late(
    in_store: Run, tmp_path: Path
) -> None:
    async def scenario(store: Store) -> None:
        rows = [row(f"XG{n}", 办结时间=f"2023-03-{9 + n} 09:00") for n in range(8)]
        await taken(store, tmp_path / "a.csv", sheet(*rows))
        events = await store.read(lambda c: total(c, "events"))
        assert await desk(store).enforce(at("2030-01-01 00:00")) == 0
        assert (await desk(store).settle(NOW)).tickets == 0
        assert await store.read(lambda c: (total(c, "events"), total(c, "deliveries"))) == (
            events,
            0,
        )
        told = await store.read(lambda c: figures(c, NOW))
        assert not told.total("tickets_open")
        assert (told.milestones_open, told.oldest_overdue) == ({}, {})
        assert told.total("tickets_received") == {
            ("360732", "hotline-12345", "help", "imported"): 8
        }
        unit = "360732-housing_construction"
        assert told.total("milestones_met") == {
            ("360732", unit, "resolve", "late"): 3,
            ("360732", unit, "resolve", "on_time"): 5,
        }
        load = await store.read(lambda c: unit_loads(c, "", NOW, NOW))
        assert load == []

    in_store(scenario)


def test_what_was_not_accepted_and_what_waits_for_the_call_back(
    in_store: Run, tmp_path: Path
) -> None:
    async def scenario(store: Store) -> None:
        refused = row(
            "XG1", 工单状态="不予受理", 办结时间="", 是否满意="", 答复内容="已进入诉讼程序"
        )
        waits = row("XG2", 工单状态="待回访", 是否满意="")
        await taken(store, tmp_path / "a.csv", sheet(refused, waits))
        first, second = await found(store, "XG1"), await found(store, "XG2")
        assert (first.state, first.milestones) == (State.NOT_ACCEPTED, ())
        assert second.state is State.RESOLVED
        (owed,) = second.open()
        assert (owed.kind, owed.started_at) == (MilestoneKind.CALL_BACK, at("2023-03-09 16:00"))

    in_store(scenario)


def test_who_coordinates_a_channel_calls_back_for_what_came_by_it(
    in_store: Run, tmp_path: Path
) -> None:
    async def scenario(store: Store) -> None:
        office = BOOK.coordinator("360732", "wuxing_office")
        assert office != BOOK.coordinator("360732")
        source = replace(HOTLINE, coordinator="wuxing_office")
        rows = sheet(row("XG1", 工单状态="待回访", 是否满意=""))
        await taken(store, tmp_path / "a.csv", rows, source=source)
        (owed,) = (await found(store, "XG1")).open()
        assert (owed.kind, owed.unit) == (MilestoneKind.CALL_BACK, office.code)

    in_store(scenario)


def test_a_unit_of_the_past_keeps_its_name_under_who_answers_today(
    in_store: Run, tmp_path: Path
) -> None:
    async def scenario(store: Store) -> None:
        await taken(store, tmp_path / "a.csv", sheet(row("XG1", 承办单位="兴国县工商行政管理局")))
        lead = (await found(store, "XG1")).lead
        assert lead == UnitRef("360732-market_regulation", "兴国县工商行政管理局")

    in_store(scenario)


def test_a_closed_ticket_is_done_again_by_its_unit_on_clocks_of_today(
    in_store: Run, tmp_path: Path
) -> None:
    async def scenario(store: Store) -> None:
        await taken(store, tmp_path / "a.csv", sheet(row("XG1"), row("XG2", 承办单位="火星管理局")))
        ticket, nobodys = await found(store, "XG1"), await found(store, "XG2")
        assert Act.REOPEN not in offered(ADMIN, nobodys)
        order = Order(ticket.no, ADMIN, ticket.version, NOW)
        again = await desk(store).reopen(order, reason="又不亮了")
        assert again.state is State.DISPATCHED
        assert {m.started_at for m in again.open()} == {NOW}
        assert again.lead is not None
        assert again.lead.unit == "360732-housing_construction"

    in_store(scenario)


def test_a_row_that_no_store_takes_is_told_and_harms_no_other(
    in_store: Run, tmp_path: Path
) -> None:
    async def scenario(store: Store) -> None:
        hard = {
            "18446744073709551617": "18446744073709551617",
            '[{"a": 18446744073709551617}]': '[{"a": 18446744073709551617}]',
            r'"\ud83d\ude00"': "\U0001f600",
            r'"\ud800"': "",
            r'{"\udfff": 1}': "",
            r'"\u0000"': "",
            "NaN": "",
        }
        past = {"orderStatus": "已结案", "finishTime": "2026-11-20 09:00:00"}
        rows = [
            json.dumps(PAYLOAD | past | {"workOrderNo": f"XG{n}"})[:-1] + f', "x": {value}}}'
            for n, value in enumerate(hard)
        ]
        path = tmp_path / "a.ndjson"
        summary = await taken(store, path, "\n".join(rows).encode())
        assert (summary.taken, summary.refused) == (3, 4), path.with_suffix(
            ".report.csv"
        ).read_text()
        for n, kept in enumerate(hard.values()):
            if kept:
                assert (await found(store, f"XG{n}")).complaint.extra["x"] == kept

    in_store(scenario)


# -- what is open --------------------------------------------------------------------------------

LATELY = {"来电时间": "2026-11-19 09:12", "派单时间": "2026-11-19 10:00", "办结期限": "", **OPEN}


def test_an_open_ticket_gets_the_clocks_of_today_from_its_own_receipt(
    in_store: Run, tmp_path: Path
) -> None:
    async def scenario(store: Store) -> None:
        signed = row("XG2", **LATELY, 签收时间="2026-11-19 10:30")
        summary = await taken(
            store, tmp_path / "a.csv", sheet({**row("XG1"), **LATELY, "签收时间": ""}, signed)
        )
        assert (summary.taken, summary.late) == (2, 0)
        first, second = await found(store, "XG1"), await found(store, "XG2")
        assert (first.state, second.state) == (State.DISPATCHED, State.SIGNED)
        assert first.lead is not None
        assert first.lead.name == "兴国县住房和城乡建设局"
        assert {m.kind: m.started_at for m in first.open()} == {
            MilestoneKind.RESOLVE: at("2026-11-19 09:12"),
            MilestoneKind.SIGN: NOW,
            MilestoneKind.CONTACT: NOW,
        }
        # It signed under limits that nobody here knows.
        assert [m.outcome for m in second.milestones if m.kind is MilestoneKind.SIGN] == [
            Outcome.WITHDRAWN
        ]
        assert await desk(store).enforce(at("2026-11-26 17:31")) > 0
        back = await desk(store).send_back(
            Order(second.no, ADMIN, second.version, NOW), reason="不是我们的", basis="三定"
        )
        assert back.state is State.SORTING

    in_store(scenario)


def test_an_open_ticket_of_no_unit_is_routed_and_of_an_unknown_one_sorted_by_a_person(
    in_store: Run, tmp_path: Path
) -> None:
    async def scenario(store: Store) -> None:
        changes = {
            **LATELY,
            "派单时间": "",
            "诉求标题": "超市短斤少两",
            "诉求内容": "买的肉少了三两",
        }
        nobody = {**row("XG1"), **changes, "承办单位": ""}
        unknown = {**row("XG2"), **changes, "承办单位": "火星管理局"}
        path = tmp_path / "a.csv"
        await taken(store, path, sheet(nobody, unknown))
        routed, sorting = await found(store, "XG1"), await found(store, "XG2")
        assert routed.route.decision == "auto"
        assert (sorting.state, sorting.lead) == (State.SORTING, None)
        assert [m.started_at for m in sorting.open()] == [at("2026-11-19 09:12")]
        assert reported(path) == [
            ["3", "XG2", "请核对", "", "所写承办单位不在责任单位表中，请核对"]
        ]
        assert sorting.complaint.extra["acceptDeptName"] == "火星管理局"

    in_store(scenario)


def test_what_is_open_and_late_is_told_before_anything_is_written(
    in_store: Run, tmp_path: Path
) -> None:
    async def scenario(store: Store) -> None:
        old = {**row("XG1"), **OPEN}
        summary = await taken(store, tmp_path / "a.csv", sheet(old), apply=False)
        assert (summary.taken, summary.late) == (1, 1)
        assert await store.read(tickets.count) == 0

    in_store(scenario)


# -- once, and all of it -------------------------------------------------------------------------


def test_numbers_are_gapless_by_region_and_day_of_receipt(in_store: Run, tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        days = ["2023-03-06", "2023-03-07"]
        rows = [row(f"XG{n}", 来电时间=f"{days[n % 2]} 08:00", 派单时间="") for n in range(1200)]
        rows[7]["办结时间"] = "x"  # takes no number
        await taken(store, tmp_path / "a.csv", sheet(*rows))
        numbers = await store.read(
            lambda c: list(c.execute(sa.text("SELECT no FROM tickets")).scalars())
        )
        expected = {f"360732-20230306-{n:05}" for n in range(1, 601)}
        expected |= {f"360732-20230307-{n:05}" for n in range(1, 600)}
        assert set(numbers) == expected
        assert len(numbers) == len(expected)

    in_store(scenario)


def test_the_same_file_again_adds_nothing_and_tells_the_same(in_store: Run, tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        path = tmp_path / "a.csv"
        rows = [row(f"XG{n}") for n in range(600)]
        rows[3]["承办单位"], rows[4]["办结时间"], rows[599]["工单编号"] = "火星管理局", "x", "XG0"
        first = await taken(store, path, sheet(*rows))
        assert (first.taken, first.known, first.refused) == (598, 0, 2)
        told = reported(path)
        assert told[-1] == ["601", "XG0", "退回", "", "编号与第 2 行相同"]
        before = await store.read(lambda c: (total(c, "tickets"), total(c, "events")))
        again = await taken(store, path)
        assert (again.taken, again.known, again.refused) == (0, 598, 2)
        assert again.findings == first.findings == 1
        assert reported(path) == told
        assert await store.read(lambda c: (total(c, "tickets"), total(c, "events"))) == before

    in_store(scenario)


def test_a_corrected_file_adds_what_was_refused_and_changes_nothing_else(
    in_store: Run, tmp_path: Path
) -> None:
    async def scenario(store: Store) -> None:
        path = tmp_path / "a.csv"
        await taken(store, path, sheet(row("XG1"), row("XG2", 办结时间="x"), row("XG3")))
        corrected = sheet(row("XG1"), row("XG2"), row("XG3", 答复内容="另一个答复"))
        summary = await taken(store, path, corrected)
        assert (summary.taken, summary.known, summary.refused) == (1, 1, 1)
        (told,) = reported(path)
        assert told[:3] == ["4", "XG3", "退回"]
        assert told[4].startswith("库中已有此编号的工单 360732-20230306-")
        history = await desk(store).history((await found(store, "XG3")).no, ADMIN)
        assert [e.content["public_reply"] for e in history if e.act == "resolve"] == ["已经修好。"]

    in_store(scenario)


def test_a_ticket_that_was_pushed_is_left_as_it_is(in_store: Run, tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        pushed = Hotline12345(BOOK.gazetteer).complaint(PAYLOAD, HOTLINE)
        live = (await desk(store).receive(pushed, fingerprint(PAYLOAD), NOW)).ticket
        ended = {"finishTime": "2026-11-20 10:00:00", "acceptDeptName": "县住建局"}
        lines = [json.dumps(PAYLOAD).encode(), json.dumps(PAYLOAD | ended).encode()]
        for n, line in enumerate(lines):
            summary = await taken(store, tmp_path / f"{n}.ndjson", line)
            assert (summary.taken, summary.known, summary.refused) == (0, 1 - n, n)
        stored = await found(store, live.complaint.source_no)
        assert as_received(stored) == live

    in_store(scenario)


def test_several_imports_of_one_file_at_once_take_each_row_once(
    in_store: Run, tmp_path: Path
) -> None:
    async def scenario(store: Store) -> None:
        names = [f"{n}.csv" for n in range(3)]
        content = sheet(*(row(f"XG{n}") for n in range(700)))
        found = await asyncio.gather(*(taken(store, tmp_path / name, content) for name in names))
        assert sum(each.taken for each in found) == 700
        assert sum(each.known for each in found) == 1400
        assert await store.read(tickets.count) == 700

    in_store(scenario)


ROWS = 2400


@pytest.mark.slow
def test_an_import_that_is_killed_goes_on_and_loses_and_repeats_nothing(
    migrated_url: str, tmp_path: Path
) -> None:
    path = many(tmp_path / "a.csv", ROWS)
    env = environment(migrated_url)
    command = ["import", str(path), "--source", "hotline-12345", "--json"]

    async def until_stopped(enough: int, how: signal.Signals) -> tuple[int, int, str]:
        """Return how many tickets there are after the import was stopped when there were enough,
        its exit code and what it said last."""
        store = open_store(migrated_url)
        quiet, heard = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
        running = await asyncio.create_subprocess_exec(
            *BANJIE,
            *command,
            env=env,
            stdout=quiet,
            stderr=heard,
            # A shell's job in the background ignores Ctrl-C, and hands that on.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        while await store.read(tickets.count) < enough:
            assert running.returncode is None
            await asyncio.sleep(0.02)
        running.send_signal(how)
        said = (await running.communicate())[1].decode()
        assert running.returncode is not None
        there = await store.read(tickets.count)
        await store.close()
        return there, running.returncode, said

    _, code, said = asyncio.run(until_stopped(1, signal.SIGINT))
    assert (code, said.splitlines()[-1]) == (
        130,
        "已中断；已导入的不会丢失，再运行同一命令即从中断处继续",
    )
    there, _, _ = asyncio.run(until_stopped(1001, signal.SIGKILL))
    assert 0 < there < ROWS
    done = banjie(*command, env=env, timeout_s=200)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["rows"], told["imported"], told["known"]) == (ROWS, ROWS - there, there)

    async def look() -> None:
        store = open_store(migrated_url)
        rows = await store.read(
            lambda c: c.execute(
                sa.text("SELECT ticket_id, act, count(*) AS times FROM events GROUP BY 1, 2")
            ).all()
        )
        assert {each.times for each in rows} == {1}
        acts = Counter(each.act for each in rows)
        assert acts == dict.fromkeys(acts, ROWS)
        assert set(acts) == {"received", "dispatch", "resolve", "call_back", "close", "imported"}
        numbers = await store.read(
            lambda c: c.execute(sa.text("SELECT no, source_no FROM tickets")).all()
        )
        assert len({each.source_no for each in numbers}) == ROWS
        assert len({each.no for each in numbers}) == ROWS
        await store.close()

    asyncio.run(look())


def test_a_number_that_no_store_takes_costs_its_row_and_no_other(
    in_store: Run, tmp_path: Path
) -> None:
    content = sheet(*(row(f"XG{n}") for n in range(30)), row("DAMAGED"), row("NUL"))
    # So far in, for near the beginning a NUL would make it another sort of file.
    content = content.replace(b"DAMAGED", b"XG\xff\xfe").replace(b"NUL", b"XG\x00")

    async def scenario(store: Store) -> None:
        for taken_over, there in ((30, 0), (0, 30)):
            summary = await taken(store, tmp_path / "a.csv", content)
            counts = (summary.taken, summary.known, summary.refused)
            assert counts == (taken_over, there, 2)
            report = (tmp_path / "a.report.csv").read_text("utf-8-sig")
            told = [line for line in csv.reader(report.splitlines()) if line[2] == "退回"]
            assert [(line[0], line[3]) for line in told] == [("32", "工单编号"), ("33", "工单编号")]

    in_store(scenario)


def test_no_cell_of_the_report_is_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    with Report(path) as report:
        report.tell(2, "=1+1", "退回", [("@SUM(A1)", "有误"), ("诉求标题", "有误")])
    said = csv.reader(path.read_text("utf-8-sig").splitlines())
    assert [line[1:4] for line in said][1:] == [
        ["'=1+1", "退回", "'@SUM(A1)"],
        ["'=1+1", "退回", "诉求标题"],
    ]


# -- as a user -----------------------------------------------------------------------------------


def test_a_messy_workbook_from_the_command_line(tmp_path: Path) -> None:
    path = messy(tmp_path / "明细.xlsx")
    env = environment(f"sqlite:///{tmp_path}/banjie.db")
    command = ["import", str(path), "--source", "hotline-12345"]
    tried = banjie(*command, "--dry-run", env=env)
    assert tried.returncode == 1, tried.stderr
    assert "共 10 行：将导入 4，已在库中 0，退回 6" in tried.stdout
    assert "未办结而已超期的 1 张" in tried.stdout
    done = banjie(*command, "--report", str(tmp_path / "r.csv"), env=env)
    assert done.returncode == 1, done.stderr
    assert "共 10 行：导入 4，已在库中 0，退回 6" in done.stdout
    lines = list(csv.reader((tmp_path / "r.csv").read_text("utf-8-sig").splitlines()))
    assert lines[0] == ["行号", "编号", "结果", "列", "原因"]
    assert {(int(n), column): why for n, _, fate, column, why in lines[1:] if fate == "退回"} == (
        MESSY_FAULTS
    )
    by_default = (tmp_path / "明细.xlsx.report.csv").read_text("utf-8-sig")
    assert by_default == (tmp_path / "r.csv").read_text("utf-8-sig")
    again = banjie(*command, "--json", env=env)
    assert again.returncode == 1
    told = json.loads(again.stdout)
    assert (told["imported"], told["known"], told["refused"]) == (0, 4, 6)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["good.csv", "--source", "hotline-12345"], 0, "导入 1，已在库中 0，退回 0"),
        (["none.csv", "--source", "hotline-12345"], 2, "does not exist"),
        (["good.csv", "--source", "nosuch"], 2, "没有来源“nosuch”"),
        (["good.csv", "--source", "hotline-12345", "--map", "工单编号"], 2, "应写作 列名=字段"),
        (["good.csv", "--source", "hotline-12345", "--map", "x=title"], 2, "文件里没有列“x”"),
        (["good.csv", "--source", "hotline-12345", "--map", "工单编号=x"], 2, "没有字段“x”"),
        (
            ["good.csv", "--source", "hotline-12345", "--report", "good.csv"],
            2,
            "不能是要导入的文件",
        ),
        (["good.csv", "--source", "hotline-12345", "--report", "no/r.csv"], 2, "写不了报告"),
        (["book.xlsx", "--source", "hotline-12345"], 1, "内容却是CSV"),
        (["few.csv", "--source", "hotline-12345"], 1, "缺少列 受理时间、诉求区域代码或诉求区域"),
        (["head.csv", "--source", "hotline-12345"], 1, "表头之下没有一行"),
    ],
)
def test_what_the_command_answers(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    good = sheet(row("XG1"))
    (tmp_path / "good.csv").write_bytes(good)
    (tmp_path / "book.xlsx").write_bytes(good)
    (tmp_path / "head.csv").write_bytes(good.split(b"\r\n")[0])
    (tmp_path / "few.csv").write_bytes(sheet({"工单编号": "1", "诉求标题": "x"}))
    env = environment(f"sqlite:///{tmp_path}/banjie.db")
    done = banjie("import", *arguments, env=env, folder=tmp_path)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stderr


def test_an_imported_ticket_is_shown_like_any_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/banjie.db"
    with served(url, "2026-11-21 09:00") as app:
        rows = [row("XG1"), row("XG2", 承办单位="火星管理局"), row("XG3", **LATELY)]

        async def bring(parts: Any) -> Summary:
            return await taken(parts.store, tmp_path / "a.csv", sheet(*rows))

        assert app.run(bring).taken == 3
        _shown(app)


def _shown(app: Served) -> None:
    listed = app.get("/v1/tickets").json()["items"]
    assert [ticket["state"] for ticket in listed] == ["dispatched", "closed", "closed"]
    for ticket in listed:
        events = app.get(f"/v1/tickets/{ticket['no']}/events").json()["items"]
        assert events[-1]["act"] == "imported"
    shown = re.search(r'name="form_token" value="(\w+)"', app.client.get("/desk/sign-in").text)
    assert shown
    link = app.client.post(
        "/desk/sign-in",
        data={"form_token": shown[1], "token": app.tokens["admin"]},
        headers={"Origin": "http://testserver"},
    )
    assert link.status_code < 400
    for ticket in listed:
        page = app.client.get(f"/desk/tickets/{ticket['no']}")
        assert page.status_code == 200, page.text
        assert "历史导入" in page.text
    assert 'decision="imported"' in app.client.get("/metrics").text
