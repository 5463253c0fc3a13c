"""sources.yaml: what it defines, and how a wrong one stops the start."""

from datetime import timedelta
from pathlib import Path

import pytest

from adapters.fakes import MemoryGazetteer
from adapters.sources import ADAPTERS, SHIPPED, SourceFileError, load_sources, read_sources
from service.domain.complaint import Kind, Urgency
from service.domain.flow import Rate
from service.domain.ports import Auth, Clocks, Poll
from tests.worlds import at

CITY = """\
# 别的城市
pingxiang-hotline:
  adapter: hotline_12345
  channel: hotline-12345
  label: 萍乡市12345热线
  region: 360300
  field_map:
    gdbh: workOrderNo
    slsj: acceptTime
    sqnr: content
    no: title
  kinds:
    "1": complaint
  urgencies:
    特急: emergency
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sources.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_file_defines_the_three_channels_of_jiangxi() -> None:
    sources = load_sources()
    for name in ("hotline-12345", "wenzheng-jiangxi", "haochaping"):
        source = sources[name]
        assert source.region == ""
        assert source.field_map == {}
        assert source.auth is Auth.TOKEN
    assert sources["hotline-12345"].kinds["求决"] is Kind.HELP
    assert sources["hotline-12345"].urgencies["特急"] is Urgency.EMERGENCY
    assert SHIPPED.is_file()


def test_the_channels_of_the_documents_are_sources_of_their_own() -> None:
    sources = load_sources()
    others = list(sources)[3:]
    assert others == [
        "wenzheng-ganzhou",
        "governor-mailbox",
        "shishi-yiren",
        "youqiu-biying",
        "supervisor-suggestion",
        "tv-exposure",
    ]
    for name, source in sources.items():
        assert source.name == source.channel == name
        assert source.label
    for name in others:
        assert sources[name].coordinator
        assert sources[name].clocks != Clocks()
    assert sources["governor-mailbox"].clocks == Clocks("replyDeadline", "transferTime")
    assert sources["tv-exposure"].clocks.starts == Clocks.RECEIPT
    assert sources["supervisor-suggestion"].kind is Kind.SUGGESTION


WHOLE = """\
ganzhou-haochaping:
  adapter: haochaping
  channel: haochaping
  label: 赣州市好差评
  ratings: {很好: 5, 很差: "1"}
  regions: {"0797": "360700", 兴国: "360732100"}
  clocks: {limit: zg.qx, starts: receipt}
  coordinator: government_services
  rate_limit: {per_minute: 600}
  secrets: [GANZHOU_SECRET, GANZHOU_SECRET_OLD]
"""


def test_every_key_of_a_source_is_read(tmp_path: Path) -> None:
    (source,) = load_sources(written(tmp_path, WHOLE)).values()
    assert source.ratings == {"很好": 5, "很差": 1}
    assert source.regions == {"0797": "360700", "兴国": "360732100"}
    assert source.clocks == Clocks("zg.qx", "receipt")
    assert source.coordinator == "government_services"
    assert source.rate == Rate(600, 600)
    assert (source.auth, source.secrets) == (
        Auth.EITHER,
        ("GANZHOU_SECRET", "GANZHOU_SECRET_OLD"),
    )


@pytest.mark.parametrize(
    ("old", "new", "line", "word"),
    [
        ('很差: "1"', "很差: 6", 5, "1（非常不满意）"),
        ("ratings:", "kinds:", 5, "不读 kinds"),
        ('"360732100"', "兴国县", 6, "行政区划代码"),
        ("starts: receipt", "start: receipt", 7, "clocks.start"),
        ("limit: zg.qx", "limit: receipt", 7, "只能写在 starts"),
        ("limit: zg.qx", "limit: zg..qx", 7, "字段名"),
        ("per_minute: 600", "burst: 600", 9, "per_minute"),
        ("per_minute: 600", "per_minute: 0", 9, "大于 0"),
        ("per_minute: 600", "per_minute: 600, per_hour: 1", 9, "per_hour"),
        ("GANZHOU_SECRET_OLD", "GANZHOU_SECRET", 10, "不同的"),
        ("GANZHOU_SECRET_OLD", "B, C", 10, "一个或 2 个"),
        ("GANZHOU_SECRET_OLD", "whsec_abc", 10, "不能写在文件里"),
        ("  secrets", "  auth: token\n  secrets", 10, "用不到 secrets"),
        ("  secrets: [GANZHOU_SECRET, GANZHOU_SECRET_OLD]", "  auth: either", 10, "需要 secrets"),
        ("channel: haochaping", "channel: 好差评", 3, "channel"),
        ("ganzhou-haochaping:", "g" * 65 + ":", 1, "64"),
    ],
)
def test_a_wrong_key_is_told_by_its_line(
    tmp_path: Path, old: str, new: str, line: int, word: str
) -> None:
    assert old in WHOLE
    with pytest.raises(SourceFileError) as caught:
        load_sources(written(tmp_path, WHOLE.replace(old, new)))
    assert (caught.value.line, word in caught.value.reason) == (line, True), caught.value.reason
    assert "whsec_abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ("a[].b: attachments[].url", "不在附件列表 fj 中"),
        ("fj[].b: content", "附件各项的写法"),
        ("fjdz: attachments[].url", "附件各项的写法"),
        ("a..b: content", "空的一级"),
        ("fj[].b: attachments[].path", "attachments[].url"),
    ],
)
def test_a_wrong_path_is_told(tmp_path: Path, entry: str, word: str) -> None:
    text = CITY.replace("    no: title\n", f"    fj: attachments\n    {entry}\n").replace(
        "    sqnr: content\n", ""
    )
    with pytest.raises(SourceFileError) as caught:
        load_sources(written(tmp_path, text))
    assert word in caught.value.reason


def test_one_wrong_source_hides_no_other(tmp_path: Path) -> None:
    text = CITY + WHOLE.replace("per_minute: 600", "per_minute: x") + "c-city:\n  adapter: no\n"
    found = read_sources(written(tmp_path, text))
    assert list(found.sources) == ["pingxiang-hotline"]
    assert [fault.line for fault in found.faults] == [24, 26]


def test_a_city_with_other_names_needs_a_row_and_no_code(tmp_path: Path) -> None:
    (source,) = load_sources(written(tmp_path, CITY)).values()
    assert source.region == "360300"
    adapter = ADAPTERS[source.adapter](MemoryGazetteer())
    payload = {
        "gdbh": "PX-1",
        "slsj": "2026-11-18 09:12",
        "sqnr": "路灯不亮",
        "no": "灯",
        "appealTypeName": "1",
    }
    complaint = adapter.complaint(payload, source)
    assert (complaint.source, complaint.channel) == ("pingxiang-hotline", "hotline-12345")
    assert (complaint.source_no, complaint.title, complaint.region) == ("PX-1", "灯", "360300")
    assert complaint.kind is Kind.COMPLAINT


@pytest.mark.parametrize(
    ("old", "new", "line", "word"),
    [
        ("adapter: hotline_12345", "adapter: hotline", 3, "hotline_12345 wenzheng_jiangxi"),
        ("  label: 萍乡市12345热线\n", "", 2, "缺少 label"),
        ("region:", "regoin:", 6, "regoin"),
        ("region: 360300", "region: 3603", 6, "六位"),
        ("region: 360300", "region: [360300]", 6, "文字"),
        ("channel: hotline-12345", "adapter: haochaping", 4, "adapter 重复"),
        ("gdbh: workOrderNo", "gdbh: workOrderNO", 8, "workOrderNO"),
        ("sqnr: content", "sqnr: workOrderNo", 10, "两个字段"),
        ("slsj: acceptTime", "gdbh: acceptTime", 9, "gdbh 重复"),
        ('"1": complaint', '"1": 投诉', 13, "consultation help complaint"),
        ('"1": complaint', '"": complaint', 13, "空的"),
        ("萍乡市12345热线", r'"萍乡\ud83d"', 5, "代理字符"),
        ("gdbh: workOrderNo", r'"gd\0bh": workOrderNo', 8, "空字符"),
        ("特急: emergency", "特急: high", 15, "normal urgent emergency"),
        ("pingxiang-hotline:", "Pingxiang 热线:", 2, "小写"),
        ("field_map:", "field_map: [", 9, "YAML"),
        ("# 别的城市\n", "a: 1\n", 1, "键值表"),
        ("# 别的城市\n", "pingxiang-hotline: {}\n", 2, "pingxiang-hotline 重复"),
    ],
)
def test_a_wrong_row_is_told_by_file_line_and_reason(
    tmp_path: Path, old: str, new: str, line: int, word: str
) -> None:
    assert old in CITY
    path = written(tmp_path, CITY.replace(old, new))
    with pytest.raises(SourceFileError) as caught:
        load_sources(path)
    assert caught.value.line == line
    assert word in caught.value.reason
    assert str(caught.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize(
    "text", ["", "# 空\n", "- a\n", "甲\n", "{}\n", "a: \x01\n", "%%\n", "a: !x [\n"]
)
def test_a_file_that_defines_nothing_stops_the_start(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceFileError):
        load_sources(written(tmp_path, text))


def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SourceFileError, match="读不了"):
        load_sources(tmp_path / "missing.yaml")
    path = tmp_path / "gbk.yaml"
    path.write_bytes("a: 兴国县".encode("gbk"))
    with pytest.raises(SourceFileError, match="UTF-8"):
        load_sources(path)


POLLED = """\
wenzheng-jiangxi:
  adapter: wenzheng_jiangxi
  channel: wenzheng-jiangxi
  label: 问政江西
  field_map: {fbsj: posttime}
  poll:
    url: https://platform.example/api/list?type=1
    every: 5min
    page_size: 50
    overlap: 2 h
    order: newest_first
    items: /data/rows
    changed: gxsj
    params:
      since: startTime
      page: pageNo
      size: pageSize
    token: WENZHENG_TOKEN
    from: 2026-11-01 00:00:00
"""


def test_a_list_is_read_as_its_row_says(tmp_path: Path) -> None:
    (source,) = load_sources(written(tmp_path, POLLED)).values()
    assert source.poll == Poll(
        url="https://platform.example/api/list?type=1",
        changed="gxsj",
        every=timedelta(minutes=5),
        page_size=50,
        overlap=timedelta(hours=2),
        newest_first=True,
        items="/data/rows",
        since="startTime",
        page="pageNo",
        size="pageSize",
        token="WENZHENG_TOKEN",
        start=at("2026-11-01 00:00"),
    )


def test_what_a_list_s_row_does_not_say_is_usual(tmp_path: Path) -> None:
    head = POLLED.partition("    page_size")[0]
    (source,) = load_sources(written(tmp_path, head)).values()
    # The list is ordered by the time of receipt, under the name that the platform has for it.
    assert source.poll == Poll(
        url="https://platform.example/api/list?type=1", changed="fbsj", every=timedelta(minutes=5)
    )
    assert all(shipped.poll is None for shipped in load_sources().values())


@pytest.mark.parametrize(
    ("old", "new", "line", "word"),
    [
        ("    url: https://platform.example/api/list?type=1\n", "", 6, "缺少 url"),
        ("    every: 5min\n", "", 6, "缺少 every"),
        ("page_size: 50", "pagesize: 50", 9, "pagesize"),
        ("https://platform", "ftp://platform", 7, "http"),
        ("https://platform", "https://user:geheim@platform", 7, "用户名"),
        ("api/list?type=1", "api/列表", 7, "http"),
        ("https://platform.example/api", "https://platform.example:99999/api", 7, "http"),
        ("every: 5min", "every: 5", 8, "60s"),
        ("every: 5min", "every: 2d", 8, "1 天"),
        ("every: 5min", "every: 0s", 8, "1 秒"),
        ("page_size: 50", "page_size: 0", 9, "1 至 500"),
        ("page_size: 50", "page_size: 五十", 9, "1 至 500"),
        ("page_size: 50", "page_size: [50]", 9, "文字"),
        ("overlap: 2 h", "overlap: 90d", 10, "30 天"),
        ("newest_first", "latest", 11, "oldest_first newest_first"),
        ("items: /data/rows", "items: data.rows", 12, "JSON 指针"),
        ("changed: gxsj", "changed: ''", 13, "字段名"),
        ("since: startTime", "von: startTime", 15, "von"),
        ("page: pageNo", "page: ''", 16, "不能为空"),
        ("size: pageSize", "size: pageNo", 14, "重复"),
        ("token: WENZHENG_TOKEN", "token: bj_secret", 18, "环境变量名"),
        ("2026-11-01 00:00:00", "昨天", 19, "时间"),
    ],
)
def test_a_wrong_list_is_told_by_file_line_and_reason(
    tmp_path: Path, old: str, new: str, line: int, word: str
) -> None:
    assert old in POLLED
    path = written(tmp_path, POLLED.replace(old, new))
    with pytest.raises(SourceFileError) as caught:
        load_sources(path)
    assert (caught.value.line, word in caught.value.reason) == (line, True), caught.value
    assert "geheim" not in str(caught.value)
    assert "bj_secret" not in str(caught.value)


def test_only_a_list_with_the_newest_on_top_may_take_no_since(tmp_path: Path) -> None:
    without = POLLED.replace("since: startTime", "since: ''")
    (source,) = load_sources(written(tmp_path, without)).values()
    assert source.poll
    assert source.poll.since == ""
    with pytest.raises(SourceFileError, match="since"):
        load_sources(written(tmp_path, without.replace("newest_first", "oldest_first")))
