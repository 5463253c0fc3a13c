"""What a file of earlier years says, row by row, and what is wrong with it."""

import csv
import io
import json
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.fakes import MemoryGazetteer
from adapters.haochaping import Haochaping
from adapters.history import ALSO, FIELDS, BadMapping, Faulty, HistoryFile, rows
from adapters.hotline_12345 import Hotline12345
from adapters.sheets import Line, Unreadable
from adapters.sources import ADAPTERS, load_sources
from service.domain.history import Past, Standing
from tests.exports import COLUMNS, MESSY_FAULTS, OPEN, messy, row, sheet
from tests.worlds import at

SOURCES = load_sources()
HOTLINE = SOURCES["hotline-12345"]
ADAPTER = Hotline12345(MemoryGazetteer())
NOW = at("2026-11-21 09:00")
SAMPLES = Path(__file__).parent / "samples"


def opened(path: Path, content: bytes | None = None, **options: Any) -> HistoryFile:
    if content is not None:
        path.write_bytes(content)
    source = options.pop("source", HOTLINE)
    return HistoryFile(path, source, ADAPTER, options.pop("mapping", {}), **options)


def read(file: HistoryFile) -> list[Past | Faulty]:
    return [file.read(line, NOW) for batch in rows(file, 3) for line in batch]


def only(file: HistoryFile) -> Past:
    (found,) = read(file)
    assert isinstance(found, Past), found
    return found


def faults(file: HistoryFile) -> dict[tuple[int, str], str]:
    return {
        (found.row, column): why
        for found in read(file)
        if isinstance(found, Faulty)
        for column, why in found.faults
    }


# -- what a row tells ----------------------------------------------------------------------------


def test_a_closed_row_keeps_its_own_times_and_its_unit_as_written(tmp_path: Path) -> None:
    past = only(opened(tmp_path / "a.csv", sheet(row("XG1"))))
    told = past.history
    assert (past.row, past.complaint.source_no, past.complaint.region) == (2, "XG1", "360732")
    assert past.complaint.accepted_at == at("2023-03-06 09:12").replace(second=33)
    assert told.standing is Standing.CLOSED
    assert (told.dispatched_at, told.resolved_at) == (
        at("2023-03-06 10:00"),
        at("2023-03-09 16:00"),
    )
    assert told.closed_at == told.resolved_at
    assert (told.unit, told.reply, told.grade, told.reached) == ("县住建局", "已经修好。", 4, True)
    assert past.complaint.sender_due_at == at("2023-03-13 17:30")
    assert past.findings == ()


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2023-03-09 16:00:05", "2023-03-09 16:00:05"),
        ("2023/3/9 16:00", "2023-03-09 16:00:00"),
        ("2023年3月9日 16时", None),
        ("2023年3月9日 16时5分", "2023-03-09 16:05:00"),
        ("2023年03月09日16:05:07", "2023-03-09 16:05:07"),
        ("2023.3.9 16:05", "2023-03-09 16:05:00"),
        ("20230309160507", "2023-03-09 16:05:07"),
        ("2023-03-09T08:00:00Z", "2023-03-09 16:00:00"),
        ("44994.6666666667", "2023-03-09 16:00:00"),
        ("2023-03-09", "2023-03-09 23:59:59"),
        ("2023年3月9日", "2023-03-09 23:59:59"),
        ("20230309", "2023-03-09 23:59:59"),
        ("44994", "2023-03-09 23:59:59"),
        ("2023-02-30 10:00", None),
        ("2023-13-01", None),
        ("昨天下午", None),
        ("1678348800", None),
        ("12", None),
    ],
)
def test_a_time_is_read_as_exports_write_it(
    tmp_path: Path, written: str, moment: str | None
) -> None:
    file = opened(tmp_path / "a.csv", sheet(row("XG1", 办结时间=written)))
    if moment is None:
        assert list(faults(file)) == [(2, "办结时间")]
    else:
        told = only(file).history.resolved_at
        assert told is not None
        assert f"{told:%Y-%m-%d %H:%M:%S}" == moment


@pytest.mark.parametrize("nothing", ["", " ", "-", "/", "无", "0000-00-00 00:00:00"])
def test_a_sign_for_nothing_is_no_time(tmp_path: Path, nothing: str) -> None:
    file = opened(tmp_path / "a.csv", sheet(row("XG1", **OPEN | {"办结时间": nothing})))
    assert only(file).history.standing is Standing.OPEN


def test_a_day_alone_is_told_and_today_does_not_end_in_the_future(tmp_path: Path) -> None:
    change = {"来电时间": "2026-11-21", "派单时间": "", "办结时间": "2026-11-21", "办结期限": ""}
    past = only(opened(tmp_path / "a.csv", sheet(row("XG1", **change))))
    assert past.complaint.accepted_at == at("2026-11-21 00:00")
    assert past.history.resolved_at == NOW
    assert past.findings == (
        "受理时间只有日期，按当日 00:00:00 记",
        "办结时间只有日期，按当日 23:59:59 记",
    )


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        ({"工单状态": "", "办结时间": ""}, Standing.OPEN),
        ({"工单状态": ""}, Standing.CLOSED),
        ({"工单状态": "办理中", "办结时间": "", "是否满意": ""}, Standing.OPEN),
        ({"工单状态": "待回访", "是否满意": ""}, Standing.RESOLVED),
        ({"工单状态": "待回访"}, Standing.CLOSED),  # the citizen has answered
        ({"工单状态": "不予受理", "办结时间": "", "是否满意": ""}, Standing.NOT_ACCEPTED),
        ({"工单状态": "一种新状态"}, Standing.CLOSED),
        ({"工单状态": "一种新状态", "办结时间": ""}, "工单状态"),
        ({"工单状态": "已结案", "办结时间": ""}, "办结时间"),
        ({"工单状态": "办理中"}, "工单状态"),
    ],
)
def test_how_far_it_had_come_is_never_guessed(
    tmp_path: Path, changes: dict[str, str], standing: Standing | str
) -> None:
    file = opened(tmp_path / "a.csv", sheet(row("XG1", **changes)))
    if isinstance(standing, Standing):
        assert only(file).history.standing is standing
    else:
        assert list(faults(file)) == [(2, standing)]


def test_only_what_is_finished_is_taken_if_asked_so(tmp_path: Path) -> None:
    content = sheet(row("XG1"), row("XG2", **OPEN))
    assert faults(opened(tmp_path / "a.csv", content, closed_only=True)) == {
        (3, "工单状态"): "没有办结，按 --closed-only 不导入"
    }


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"办结时间": "2023-03-05 10:00"}, "办结时间"),  # before it was received
        ({"派单时间": "2023-03-05 10:00"}, "派单时间"),
        ({"办结时间": "2036-03-05 10:00"}, "办结时间"),
        ({"来电时间": "2036-03-05 10:00", "办结期限": "", "派单时间": "", **OPEN}, "来电时间"),
        ({"来电时间": "1998-03-05 10:00"}, "来电时间"),
        ({"来电时间": ""}, "来电时间"),
        ({"工单编号": ""}, "工单编号"),
        ({"工单编号": "2.02303E+14"}, "工单编号"),
        ({"所属区域": "火星"}, "所属区域"),
        ({"办结期限": "2023-03-01 10:00"}, "办结期限"),
        ({"诉求标题": "", "诉求内容": ""}, "诉求内容"),
        ({"来电号码": "1" * 60}, "来电号码"),
        ({"答复内容": "字" * 20_001}, "答复内容"),
    ],
)
def test_what_is_wrong_is_told_by_row_and_column(
    tmp_path: Path, changes: dict[str, str], column: str
) -> None:
    file = opened(tmp_path / "a.csv", sheet(row("XG1"), {**row("XG2"), **changes}))
    assert list(faults(file)) == [(3, column)]


def test_every_fault_of_a_row_is_told_at_once(tmp_path: Path) -> None:
    bad = row("XG1", 来电时间="x", 所属区域="y", 办结时间="z")
    columns = {(2, "来电时间"), (2, "所属区域"), (2, "办结时间")}
    assert set(faults(opened(tmp_path / "a.csv", sheet(bad)))) == columns


def test_a_time_cut_to_the_minute_is_not_before_the_receipt(tmp_path: Path) -> None:
    file = opened(tmp_path / "a.csv", sheet(row("XG1", 派单时间="2023-03-06 09:12")))
    assert only(file).history.dispatched_at == at("2023-03-06 09:12")


@pytest.mark.parametrize(
    ("written", "reached", "grade", "is_told"),
    [
        ("非常满意", True, 5, False),
        ("是", True, 4, False),
        ("否", True, 2, False),
        ("5", True, 5, False),
        ("空号", False, None, False),
        ("未回访", None, None, False),
        ("系统默认", None, None, False),
        ("马马虎虎", None, None, True),
    ],
)
def test_an_opinion_is_counted_if_somebody_gave_it(
    tmp_path: Path, written: str, reached: bool | None, grade: int | None, is_told: bool
) -> None:
    past = only(opened(tmp_path / "a.csv", sheet(row("XG1", 是否满意=written))))
    assert (past.history.reached, past.history.grade) == (reached, grade)
    assert bool(past.findings) is is_told


# -- columns -------------------------------------------------------------------------------------


def test_a_column_means_one_field_and_the_surest_name_wins(tmp_path: Path) -> None:
    columns = ["自家编号", *COLUMNS, "受理时间", "备注"]
    content = sheet(
        row("XG1", 自家编号="N7", 受理时间="2023-03-06 09:00", 备注="x"), columns=columns
    )
    file = opened(tmp_path / "a.csv", content, mapping={"自家编号": "workOrderNo"})
    past = only(file)
    assert past.complaint.source_no == "N7"
    assert past.complaint.accepted_at == at("2023-03-06 09:00")  # the channel's own label
    kept = {"工单编号": "XG1", "来电时间": "2023-03-06 09:12:33", "备注": "x"}
    assert past.complaint.extra.items() >= kept.items()


def test_the_sources_own_field_map_is_the_files_too(tmp_path: Path) -> None:
    source = replace(HOTLINE, field_map={"gdbh": "workOrderNo"}, region="360732")
    rest = {"slsj": "2023-03-06 09:00", "诉求标题": "路灯不亮"}
    file = opened(
        tmp_path / "a.csv",
        sheet({"gdbh": "N1", **rest}),
        source=source,
        mapping={"slsj": "acceptTime"},
    )
    assert file.missing() == []
    assert only(file).complaint.source_no == "N1"


def test_missing_columns_are_named(tmp_path: Path) -> None:
    content = sheet({"工单编号": "1", "诉求标题": "x", "别的": "y"})
    assert opened(tmp_path / "a.csv", content).missing() == ["受理时间", "诉求区域代码或诉求区域"]


@pytest.mark.parametrize("mapping", [{"工单编号": "nosuch"}, {"没有这列": "workOrderNo"}])
def test_a_mapping_that_cannot_be_is_refused(tmp_path: Path, mapping: dict[str, str]) -> None:
    with pytest.raises(BadMapping):
        opened(tmp_path / "a.csv", sheet(row("XG1")), mapping=mapping)


@pytest.mark.parametrize("adapter", list(ADAPTERS))
def test_no_other_name_of_a_column_means_two_fields(adapter: str) -> None:
    channel = ADAPTERS[adapter]
    assert set(channel.ALSO) <= set(channel.FIELDS)
    assert {name for names in channel.NEEDED for name in names} <= set(channel.FIELDS)
    assert set(ALSO) == set(FIELDS)
    names = [name for words in channel.ALSO.values() for name in words.split()]
    assert len(names) == len(set(names))
    ours = [name for words in ALSO.values() for name in words.split()]
    assert len(ours) == len(set(ours))


# -- files ---------------------------------------------------------------------------------------


def test_a_messy_workbook_is_read_and_its_faults_are_told_by_excels_rows(tmp_path: Path) -> None:
    file = opened(messy(tmp_path / "明细.xlsx"))
    found = read(file)
    alone = {place: why for place, why in MESSY_FAULTS.items() if place[1]}
    assert {
        (each.row, column): why
        for each in found
        if isinstance(each, Faulty)
        for column, why in each.faults
    } == alone
    pasts = {each.row: each for each in found if isinstance(each, Past)}
    assert list(pasts) == [5, 6, 7, 8, 14]
    assert pasts[5].complaint.source_no == "20190305000012"
    assert pasts[5].complaint.contact.phone == "13800000001"
    assert pasts[5].complaint.extra["备注"] == "第二次来电"
    assert pasts[7].complaint.accepted_at == at("2019-03-06 12:00")
    assert pasts[7].history.resolved_at == at("2019-03-09 10:05")
    assert pasts[14].history.standing is Standing.OPEN


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_text_is_read_in_either_encoding_with_any_delimiter(
    tmp_path: Path, encoding: str, delimiter: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([["导出结果"], [], list(row("XG1")), list(row("XG1").values())])
    past = only(opened(tmp_path / "a.csv", text.getvalue().encode(encoding)))
    assert (past.row, past.complaint.title) == (4, "路灯不亮")


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_damaged_character_costs_its_row_and_no_other(tmp_path: Path, encoding: str) -> None:
    content = sheet(*(row(f"XG{n}") for n in range(20))).decode("utf-8-sig").encode(encoding)
    lines = content.split(b"\r\n")
    lines[3] = lines[3].replace("路灯不亮".encode(encoding), b"\xff\xff" + "灯".encode(encoding))
    file = opened(tmp_path / "a.csv", b"\r\n".join(lines))
    assert [place for place, _ in faults(file).items()] == [(4, "诉求标题")]
    assert len(read(file)) == 20


def test_an_open_quotation_mark_hides_no_row_in_silence(tmp_path: Path) -> None:
    lines = sheet(*(row(f"XG{n}") for n in range(6))).split(b"\r\n")
    lines[3] = lines[3].replace("路灯不亮".encode(), '"路灯不亮'.encode())
    found = read(opened(tmp_path / "a.csv", b"\r\n".join(lines)))
    told = [each for each in found if isinstance(each, Faulty)]
    assert len(told) == 1
    assert told[0].faults[0][1].startswith("文本第 4 至 ")
    assert told[0].faults[0][1].endswith("行读不成一行：引号没有配对，或一格太长")


def test_too_many_cells_are_told(tmp_path: Path) -> None:
    content = sheet(row("XG1")).rstrip() + b",more\r\n"
    assert list(faults(opened(tmp_path / "a.csv", content))) == [(2, "")]


def test_a_header_that_comes_again_and_empty_rows_are_passed_over(tmp_path: Path) -> None:
    head, line, _ = sheet(row("XG1")).split(b"\r\n")
    content = b"\r\n".join([head, line, b",,,", b"", head.removeprefix(b"\xef\xbb\xbf"), b""])
    assert only(opened(tmp_path / "a.csv", content)).row == 2


def workbook(path: Path, *names: str) -> bytes:
    book = xlsxwriter.Workbook(path)
    for name in names:
        page = book.add_worksheet(name)
        page.write_row(0, 0, COLUMNS)
        page.write_row(1, 0, list(row(name).values()))
    book.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pdf", b"%PDF", "不认识的文件类型"),
        ("a.csv", b"", "文件是空的"),
        ("a.csv", b" \r\n", "文件是空的"),
        ("a.csv", b"a,b\r\n1,2\r\n", "找不到表头"),
        ("a.csv", "工单编号,来电时间".encode("utf-16"), "UTF-16"),
        ("a.csv", b"\x89PNG\x00\x00", "二进制"),
        ("a.csv", b'{"workOrderNo": "1"}', "NDJSON"),
        ("a.csv", b"\xff" * 400, "既不是 UTF-8 也不是 GB18030"),
        ("a.xls", b"<html><table>", "网页"),
        ("a.xlsx", b"PK\x03\x04" + b"x" * 100, "不是完整的 Excel"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 1000, "不是完整的 Excel"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0", "加了密码"),
        ("a.xlsx", sheet(row("XG1")), "内容却是CSV"),
        ("a.ndjson", b"[{}]", "数组"),
        ("a.ndjson", sheet(row("XG1")), "内容却是CSV"),
    ],
)
def test_a_file_that_gives_no_rows_says_why(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    with pytest.raises(Unreadable) as refused:
        opened(tmp_path / name, content)
    assert said in refused.value.detail


def test_a_workbook_under_an_old_books_name_is_told(tmp_path: Path) -> None:
    content = workbook(tmp_path / "a.xlsx", "甲")
    with pytest.raises(Unreadable, match="内容却是Excel 工作簿"):
        opened(tmp_path / "b.xls", content)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("XFD1048576", "第 1048576 行、第 16384 列"),
        ("B4294967295", "第 4294967295 行"),
        ("ZZZZZZZZZ9", "删去表格以外的单元格"),
        ("B0", "不是完整的 Excel"),
        ("2B", "不是完整的 Excel"),
    ],
)
def test_a_cell_far_outside_or_nowhere_is_told_and_ends_no_process(
    tmp_path: Path, place: str, said: str
) -> None:
    with zipfile.ZipFile(io.BytesIO(workbook(tmp_path / "a.xlsx", "甲"))) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    sheet_name = "xl/worksheets/sheet1.xml"
    assert b' r="B2"' in parts[sheet_name]
    parts[sheet_name] = parts[sheet_name].replace(b' r="B2"', f' r="{place}"'.encode())
    with zipfile.ZipFile(tmp_path / "b.xlsx", "w") as far:
        for name, content in parts.items():
            far.writestr(name, content)
    with pytest.raises(Unreadable) as refused:
        opened(tmp_path / "b.xlsx")
    assert said in refused.value.detail


def test_of_several_sheets_with_complaints_one_is_named(tmp_path: Path) -> None:
    workbook(tmp_path / "a.xlsx", "甲", "乙")
    with pytest.raises(Unreadable, match="甲、乙"):
        opened(tmp_path / "a.xlsx")
    assert only(opened(tmp_path / "a.xlsx", sheet="乙")).complaint.source_no == "乙"
    with pytest.raises(Unreadable, match="没有这个工作表"):
        opened(tmp_path / "a.xlsx", sheet="丙")


def test_lines_of_json_are_pushes_with_how_they_ended(tmp_path: Path) -> None:
    payloads = json.loads((SAMPLES / "hotline-12345.json").read_text("utf-8"))
    ended = {"finishTime": "2026-11-20 10:00:00", "acceptDeptName": "县住建局", "callbackGrade": 5}
    lines = [json.dumps(payloads[0] | ended, ensure_ascii=False).encode("gb18030")]
    lines += [json.dumps(payload).encode() for payload in payloads[1:]]
    lines += [b"", b"{", b'["x"]', b'{"workOrderNo": "' + b"x" * 1_100_000 + b'"}']
    found = read(opened(tmp_path / "a.ndjson", b"\n".join(lines)))
    pasts = [each for each in found if isinstance(each, Past)]
    assert [past.history.standing for past in pasts] == [Standing.CLOSED] + [Standing.OPEN] * 2
    for past, payload in zip(pasts, payloads, strict=True):
        pushed = ADAPTER.complaint(payload, HOTLINE)
        assert replace(past.complaint, extra={}) == replace(pushed, extra={})
        assert past.complaint.extra.items() >= pushed.extra.items()
    assert [each.row for each in found if isinstance(each, Faulty)] == [5, 6, 7]
    assert isinstance(found[-1], Faulty)
    assert found[-1].faults == (("", "一条超过 1 MiB"),)


def test_a_review_of_earlier_years_is_read_by_its_own_channel(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        sheet(
            {
                "评价编号": "P1",
                "评价时间": "2023-03-06 10:00",
                "区划名称": "兴国县",
                "受理部门": "县市场监管局",
                "满意度": "1",
                "办结时间": "2023-03-09 10:00",
                "答复内容": "已道歉",
            }
        )
    )
    source = SOURCES["haochaping"]
    file = HistoryFile(path, source, Haochaping(MemoryGazetteer()), {})
    past = only(file)
    assert past.complaint.review is not None
    assert past.complaint.review.rating == 1
    assert past.history.standing is Standing.CLOSED


def test_a_long_file_is_never_held_as_a_whole(tmp_path: Path) -> None:
    head, line, _ = sheet(row("XG1", 答复内容="字" * 500)).split(b"\r\n")
    path = tmp_path / "a.csv"
    path.write_bytes(head + b"\r\n" + (line + b"\r\n") * 15_000)
    endless = tmp_path / "b.csv"
    endless.write_bytes(head + b"\r\n" + b'"' + b"x" * 40_000_000)
    tracemalloc.start()
    assert sum(1 for _ in opened(path).sheet.lines()) == 15_000
    assert all(each.fault for each in opened(endless).sheet.lines())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 25_000_000
    assert peak < 16_000_000


ANY_FILE = st.one_of(
    st.binary(max_size=400),
    st.text(alphabet=',"\t\r\n；x工单编号来电时间诉求内容所属区域2023-0', max_size=200).map(
        str.encode
    ),
    st.lists(
        st.fixed_dictionaries({}, optional={name: st.text(max_size=20) for name in COLUMNS}),
        min_size=1,
        max_size=4,
    ).map(lambda rows: sheet(*rows, columns=COLUMNS)),
)


@settings(max_examples=200)
@given(content=ANY_FILE, ending=st.sampled_from(["csv", "ndjson", "xlsx", "xls"]))
def test_no_file_makes_anything_but_rows_and_faults(
    tmp_path: Path, content: bytes, ending: str
) -> None:
    try:
        file = opened(tmp_path / f"any.{ending}", content)
    except Unreadable:
        return
    assert all(isinstance(each, Past | Faulty) for each in read(file))


@settings(max_examples=200)
@given(
    cell=st.one_of(
        st.floats(), st.booleans(), st.datetimes(), st.dates(), st.times(), st.text(), st.integers()
    ),
    column=st.sampled_from(COLUMNS),
)
def test_no_cell_makes_anything_but_a_row_or_a_fault(
    tmp_path: Path, cell: Any, column: str
) -> None:
    file = opened(tmp_path / "a.csv", sheet(row("XG1")))
    read_row = file.read(Line(2, {**row("XG1"), column: cell}, 0), NOW)
    assert isinstance(read_row, Past | Faulty)
