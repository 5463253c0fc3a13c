"""Years, hours and closures as files, and how a new year comes in."""

from datetime import date
from pathlib import Path

import pytest

from routing_rules.calendars import (
    DATA,
    ClockFileError,
    load_calendar,
    load_closures,
    load_year,
    load_years,
    year_table,
)
from routing_rules.clocks import load_timetable
from service.domain.deadline import due, parse_limit
from tests.process import banjie, environment
from tests.worlds import at

YEAR_2027 = """
year: 2027
status: official
source: 虚构的通知
days_off: [{name: 元旦, from: "01-01", to: "01-03"}, {name: 春节, from: "02-05", to: "02-11"}]
worked: ["02-20"]
"""
OTHER = YEAR_2027.replace('worked: ["02-20"]', "worked: []")  # so that any year can have it
GUESS = YEAR_2027.replace("official", "forecast").replace("02-11", "02-12")


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def tree(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text("utf-8") for p in folder.rglob("*.yaml")}


def test_a_year_in_the_overlay_is_added_to_the_shipped_ones(tmp_path: Path) -> None:
    put(tmp_path, "calendars/2027.yaml", YEAR_2027)
    calendar = load_timetable(tmp_path).calendar
    assert list(calendar.years) == [2024, 2025, 2026, 2027]
    assert calendar.last == date(2027, 12, 31)


def test_a_year_in_the_overlay_replaces_the_shipped_one(tmp_path: Path) -> None:
    text = (DATA / "calendars" / "2026.yaml").read_text("utf-8")
    put(tmp_path, "calendars/mine.yaml", text.replace('"10-10"]', '"10-11"]'))
    calendar = load_timetable(tmp_path).calendar
    assert calendar.is_working(date(2026, 10, 11))
    assert not calendar.is_working(date(2026, 10, 10))
    assert calendar.name(date(2025, 10, 11)) == "调休上班"


def test_a_year_that_comes_in_makes_a_provisional_due_date_firm(tmp_path: Path) -> None:
    start, limit = at("2026-12-30 10:00"), parse_limit("5 工作日")
    before = due(load_timetable(tmp_path).calendar, start, limit)
    assert (before.due_at, before.provisional) == (at("2027-01-06 17:30"), True)
    load_year(put(tmp_path, "new.yaml", YEAR_2027), tmp_path)
    after = due(load_timetable(tmp_path).calendar, start, limit)
    assert (after.due_at, after.provisional) == (at("2027-01-07 17:30"), False)


def test_a_forecast_becomes_official_in_the_same_file(tmp_path: Path) -> None:
    overlay = tmp_path / "rules"
    put(overlay, "calendars/guess-2027.yaml", GUESS)
    table, target = load_year(put(tmp_path, "new.yaml", YEAR_2027), overlay)
    assert table.official
    assert target == overlay / "calendars" / "guess-2027.yaml"
    assert tree(overlay) == {"calendars/guess-2027.yaml": YEAR_2027}


@pytest.mark.parametrize("source", ["虚构的通知", "同一通知的另一种写法"])
def test_the_same_year_again_changes_nothing(tmp_path: Path, source: str) -> None:
    overlay = tmp_path / "rules"
    put(overlay, "calendars/2027.yaml", YEAR_2027)
    again = put(tmp_path, "new.yaml", YEAR_2027.replace("虚构的通知", source))
    assert load_year(again, overlay)[1] is None
    assert tree(overlay) == {"calendars/2027.yaml": YEAR_2027}


@pytest.mark.parametrize(
    ("there", "new", "reason"),
    [
        (YEAR_2027, GUESS, "2027 年已有正式安排"),
        (YEAR_2027, YEAR_2027.replace("02-20", "02-21"), "2027 年已有正式安排"),
        (GUESS, GUESS.replace("02-12", "02-13"), "2027 年已有预测安排"),
        ("", OTHER.replace("2027", "2026"), "2026 年已有正式安排"),
        ("", OTHER.replace("2027", "2029"), "2029 年与已有的 2024 至 2026 年不相接"),
        ("", OTHER.replace("2027", "2023").replace("official", "forecast"), "2023"),
        ("", YEAR_2027.replace('["02-20"]', '["02-06"]'), "既放假"),
        ("", YEAR_2027.replace('["02-20"]', '["02-20", "02-20"]'), "列了两次"),
        ("", YEAR_2027.replace("year: 2027", "year: 2027\nyear: 2028"), "写了两次"),
        ("", YEAR_2027.replace('to: "01-03"', 'to: "02-29"'), "没有 02-29"),
        ("", YEAR_2027.replace("year: 2027", "year: 20271"), "year"),
        ("", YEAR_2027.replace("source: 虚构的通知", "source: ''"), "source"),
        ("", "- 2027", "yaml"),
        ("", "year: [", "yaml"),
        ("", "\x00", "yaml"),
    ],
)
def test_a_year_that_contradicts_itself_or_what_is_there_is_refused_and_nothing_changes(
    tmp_path: Path, there: str, new: str, reason: str
) -> None:
    overlay = tmp_path / "rules"
    if there:
        put(overlay, "calendars/2027.yaml", there)
    before = tree(overlay)
    with pytest.raises(ClockFileError, match=reason):
        load_year(put(tmp_path, "new.yaml", new), overlay)
    assert tree(overlay) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "应为“名称: 内容”的形式"),
        (b"- year: 2027\n- year: 2028\n", "应为“名称: 内容”的形式"),
        ((YEAR_2027 + "---\n" + YEAR_2027).encode(), "不是正确的 YAML"),
        (YEAR_2027.encode("gb18030"), "不是 UTF-8 编码"),
        (YEAR_2027.replace("source: 虚构的通知\n", "").encode(), "source 缺少此项"),
        (YEAR_2027.replace("official", "正式").encode(), "status 应为 official、forecast 之一"),
        (YEAR_2027.replace("2027", "二〇二七").encode(), "year 应为整数"),
        (YEAR_2027.replace("2027", "1999").encode(), "year 不能小于 2000"),
        (YEAR_2027.replace('"01-03"', "1-3").encode(), "days_off.0.to 格式不对"),
        (None, "无法读取"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_one_chinese_line(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "new.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ClockFileError) as refused:
        load_year(path, tmp_path / "rules")
    told = str(refused.value)
    assert told.startswith(f"{path}: ")
    assert said in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "rules").exists()


def test_a_year_written_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + YEAR_2027.encode())
    assert year_table(path).year == 2027


def test_a_folder_with_a_year_twice_stops_the_start(tmp_path: Path) -> None:
    put(tmp_path, "calendars/a.yaml", YEAR_2027)
    put(tmp_path, "calendars/b.yaml", YEAR_2027)
    with pytest.raises(ClockFileError, match="2027 年出现两次"):
        load_timetable(tmp_path)


def test_the_shipped_years_load() -> None:
    assert list(load_years(DATA / "calendars")) == [2024, 2025, 2026]
    assert load_calendar().last == date(2026, 12, 31)
    assert year_table(DATA / "calendars" / "2026.yaml").official


CLOSURES = """
- {region: "360700", name: 大雪停办, from: 2026-01-20, to: 2026-01-21, source: 赣州市通告}
- {region: "360732", name: 防汛停办, from: 2026-06-22, to: 2026-06-24, source: 兴国县通告}
"""
HOURS = """
- {spans: [["08:30", "12:00"], ["14:00", "17:30"]], status: default, source: 机关通行作息}
- {region: "360700", spans: [["09:00", "12:00"], ["13:30", "17:00"]], status: default, source: 赣州}
- {region: "360733", spans: [["08:00", "12:00"], ["15:00", "18:00"]], cut_off: "17:00", status: default, source: 会昌}
"""


@pytest.mark.parametrize(
    ("region", "closed", "closes"),
    [
        ("360732", 5, "17:00"),  # its own closure and the city's, the city's hours
        ("360732100", 5, "17:00"),  # a town in it
        ("360733", 2, "18:00"),
        ("360700", 2, "17:00"),
        ("360100", 0, "17:30"),
        ("3601K1", 0, "17:30"),
        ("", 0, "17:30"),
    ],
)
def test_a_region_counts_by_its_own_calendar(
    tmp_path: Path, region: str, closed: int, closes: str
) -> None:
    put(tmp_path, "closures.yaml", CLOSURES)
    put(tmp_path, "office_hours.yaml", HOURS)
    found = load_timetable(tmp_path).calendar_of(region)
    assert len(found.closed) == closed
    assert f"{found.hours.closes_at:%H:%M}" == closes


def test_regions_without_anything_of_their_own_share_one_calendar() -> None:
    times = load_timetable()
    assert times.local == {}
    assert times.calendar_of("360732") is times.calendar_of("360100") is times.calendar


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("closures.yaml", CLOSURES.replace("2026-06-24", "2026-06-21"), "早于"),
        ("closures.yaml", CLOSURES.replace("2026-06-24", "2026-12-24"), "超过 60 天"),
        ("closures.yaml", CLOSURES.replace('"360732"', "兴国"), "region"),
        ("closures.yaml", CLOSURES.replace('"360732"', "''"), "region"),
        ("closures.yaml", CLOSURES.replace("source: 兴国县通告", "note: 1"), "source"),
        ("closures.yaml", "year: 1", "列表"),
        ("closures.yaml", CLOSURES + CLOSURES, "重叠"),
        ("office_hours.yaml", "[]", "没有不限地区"),
        ("office_hours.yaml", HOURS.replace('"09:00"', "9:00"), "加引号"),
        ("office_hours.yaml", HOURS.replace('"09:00"', '"12:30"'), "由早到晚"),
        ("office_hours.yaml", HOURS.replace("360733", "360700"), "360700出现两次"),
        ("office_hours.yaml", HOURS.replace('17:00", status', '19:00", status'), "截止"),
    ],
)
def test_a_broken_file_of_hours_or_closures_stops_the_start_and_says_where(
    tmp_path: Path, file: str, text: str, reason: str
) -> None:
    put(tmp_path, file, text)
    with pytest.raises(ClockFileError, match=reason) as refused:
        load_timetable(tmp_path)
    assert file in str(refused.value)


def test_no_closures_are_shipped() -> None:
    assert load_closures(DATA / "closures.yaml") == ()


def test_the_command_takes_a_year_in_once_and_check_lists_it(tmp_path: Path) -> None:
    overlay = tmp_path / "rules"
    new = str(put(tmp_path, "2027.yaml", YEAR_2027))
    env = environment(f"sqlite:///{tmp_path}/b.db", BANJIE_RULES=str(overlay))
    first, again = (
        banjie("calendar", "load", new, env=env),
        banjie("calendar", "load", new, env=env),
    )
    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert "数据到 2027-12-31" in first.stdout
    assert "未作改动" in again.stdout
    check = banjie("calendar", "check", env=env)
    assert "2027 正式" in check.stdout
    assert "数据到 2027-12-31" in check.stdout


@pytest.mark.parametrize(
    ("overlay", "text", "code", "said"),
    [
        (None, YEAR_2027, 2, "BANJIE_RULES"),
        ("rules", OTHER.replace("2027", "2026"), 1, "已有正式安排"),
    ],
)
def test_the_command_refuses_in_one_line(
    tmp_path: Path, overlay: str | None, text: str, code: int, said: str
) -> None:
    settings = {"BANJIE_RULES": str(tmp_path / overlay)} if overlay else {}
    env = environment(f"sqlite:///{tmp_path}/b.db", **settings)
    refused = banjie("calendar", "load", str(put(tmp_path, "new.yaml", text)), env=env)
    assert refused.returncode == code
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "rules" / "calendars").exists()


def test_a_deadline_of_a_region_counts_by_its_closures(tmp_path: Path) -> None:
    put(tmp_path, "closures.yaml", CLOSURES)
    env = environment(f"sqlite:///{tmp_path}/b.db", BANJIE_RULES=str(tmp_path))
    asked = ("deadline", "--from", "2026-06-18T10:00", "--limit", "2 工作日", "--region")
    there, elsewhere = banjie(*asked, "兴国县", env=env), banjie(*asked, "360100", env=env)
    assert "到期时间 2026-06-26 17:30" in there.stdout
    assert "06-22 至 06-24 防汛停办，不计" in there.stdout
    assert "到期时间 2026-06-23 17:30" in elsewhere.stdout
    nowhere = banjie(*asked, "火星", env=env)
    assert nowhere.returncode == 2
    assert "没有这个地区" in nowhere.stderr
