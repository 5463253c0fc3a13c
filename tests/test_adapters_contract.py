"""What every channel's adapter owes the desk, whatever city sends."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import prose
from adapters.fakes import MemoryGazetteer
from adapters.payload import decode
from adapters.plausible import implausible
from adapters.sources import ADAPTERS, load_sources
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Attachment, Complaint, Kind, Urgency
from service.domain.ports import Clocks, PayloadRejected, Source

SAMPLES = Path(__file__).with_name("samples")
SOURCES = load_sources()
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=SHANGHAI)


@dataclass(frozen=True)
class Channel:
    """What the suite needs to know of a channel; names are the canonical ones."""

    name: str
    number: str
    at: str
    region: str  # the field that is asked for if there is none
    prose: str  # a required text, and the field HTML may come in
    limits: Mapping[str, int]
    wrong: Mapping[str, object]  # a wrong type or value a field
    samples: str = ""  # the channel whose payloads it is tried with, if it has none of its own

    @property
    def source(self) -> Source:
        return SOURCES[self.name]

    def sample(self, index: int = 0) -> dict[str, Any]:
        text = (SAMPLES / f"{self.samples or self.name}.json").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)[index]
        return found

    def read(self, payload: Mapping[str, Any], source: Source | None = None) -> Complaint:
        adapter = ADAPTERS[self.source.adapter](MemoryGazetteer())
        return adapter.complaint(payload, source or self.source)

    def faults(self, payload: Mapping[str, Any], source: Source | None = None) -> dict[str, str]:
        with pytest.raises(PayloadRejected) as caught:
            self.read(payload, source)
        return {problem.pointer: problem.detail for problem in caught.value.problems}


HOTLINE = Channel(
    name="hotline-12345",
    number="workOrderNo",
    at="acceptTime",
    region="areaCode",
    prose="content",
    limits={
        "workOrderNo": 64,
        "title": 200,
        "content": 20_000,
        "address": 500,
        "contactName": 100,
        "contactPhone": 50,
        "relatedNo": 64,
    },
    wrong={
        "workOrderNo": {"no": 1},
        "title": 7,
        "content": ["来电"],
        "acceptTime": 1_795_000_000,
        "areaCode": True,
        "address": {},
        "appealTypeName": 3,
        "urgency": ["一般"],
        "category": [1, 2],
        "contactName": 5,
        "contactPhone": [138],
        "gender": 1,
        "anonymous": "也许",
        "confidential": 2,
        "replyDeadline": "2026-11-25",
        "relatedNo": 1.5,
        "attachments": 7,
    },
)
WENZHENG = Channel(
    name="wenzheng-jiangxi",
    number="receiptno",
    at="posttime",
    region="areaName",
    prose="content",
    limits={
        "receiptno": 64,
        "title": 200,
        "content": 20_000,
        "nickname": 100,
        "contactPhone": 50,
    },
    wrong={
        "receiptno": False,
        "title": {},
        "content": 12,
        "posttime": "前天晚上",
        "areaName": ["兴国县"],
        "nickname": 0,
        "stage": 1,
        "superviseTime": "2026-02-30 10:00:00",
        "processtime": {"at": "2026-11-24"},
        "contactPhone": True,
        "urgency": 2,
    },
)
HAOCHAPING = Channel(
    name="haochaping",
    number="evaluateId",
    at="assessTime",
    region="areaCode",
    prose="writingEvaluation",
    limits={
        "evaluateId": 64,
        "proDepart": 100,
        "taskName": 150,
        "taskCode": 64,
        "writingEvaluation": 20_000,
        "userName": 100,
        "contactPhone": 50,
    },
    wrong={
        "evaluateId": ["HCP"],
        "areaCode": ["360732"],
        "deptCode": {},
        "proDepart": 3,
        "taskName": True,
        "projectNo": [1],
        "pf": False,
        "satisfaction": "6",
        "writingEvaluation": 1,
        "assessTime": "20261119",
        "assessNumber": "第一次",
        "userName": {},
        "contactPhone": 1.5,
    },
)
MAILBOX = replace(HOTLINE, name="governor-mailbox", samples=HOTLINE.name)
EXPOSED = replace(
    WENZHENG,
    name="tv-exposure",
    samples=WENZHENG.name,
    wrong={name: value for name, value in WENZHENG.wrong.items() if name != "superviseTime"},
)
SUGGESTED = replace(HOTLINE, name="supervisor-suggestion", samples=HOTLINE.name)
CHANNELS = [
    HOTLINE,
    WENZHENG,
    HAOCHAPING,
    replace(WENZHENG, name="wenzheng-ganzhou", samples=WENZHENG.name),
    MAILBOX,
    replace(HOTLINE, name="shishi-yiren", samples=HOTLINE.name),
    replace(HOTLINE, name="youqiu-biying", samples=HOTLINE.name),
    SUGGESTED,
    EXPOSED,
]
every_channel = pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)


def test_every_shipped_source_is_held_to_the_contract() -> None:
    assert {channel.name for channel in CHANNELS} == set(SOURCES)


@every_channel
def test_every_sample_is_accepted(channel: Channel) -> None:
    payloads = json.loads(
        (SAMPLES / f"{channel.samples or channel.name}.json").read_text(encoding="utf-8")
    )
    for payload in payloads:
        complaint = channel.read(payload)
        assert complaint.source == complaint.channel == channel.name
        assert complaint.source_no == payload[channel.number]
        assert complaint.accepted_at.utcoffset() is not None
        assert complaint.title
        assert complaint.content
        assert "finding" not in complaint.extra
        assert implausible(complaint, NOW, channel.source) == []


@every_channel
def test_every_missing_field_is_told_at_once(channel: Channel) -> None:
    faults = channel.faults({})
    required = {channel.number, channel.at, channel.region}
    required |= {"satisfaction", "proDepart"} if channel is HAOCHAPING else {channel.prose}
    required -= {channel.region} if channel.source.region else set()
    assert set(faults) == {f"/{name}" for name in required}


@pytest.mark.parametrize("blank", [None, "", " \u3000", "\u200b"])
@every_channel
def test_a_blank_field_is_a_missing_one(channel: Channel, blank: str | None) -> None:
    faults = channel.faults(channel.sample() | {channel.number: blank})
    assert list(faults) == [f"/{channel.number}"]
    assert faults[f"/{channel.number}"].startswith("缺少")


@pytest.mark.parametrize(
    ("channel", "name", "value"),
    [(channel, name, value) for channel in CHANNELS for name, value in channel.wrong.items()],
    ids=lambda part: part.name if isinstance(part, Channel) else None,
)
def test_a_wrong_value_is_told_under_its_name(channel: Channel, name: str, value: object) -> None:
    faults = channel.faults(channel.sample() | {name: value})
    assert list(faults) == [f"/{name}"]
    assert faults[f"/{name}"].startswith(("没有", ADAPTERS[channel.source.adapter].FIELDS[name]))


@every_channel
def test_all_wrong_fields_are_told_in_one_answer(channel: Channel) -> None:
    faults = channel.faults(channel.sample() | dict(channel.wrong))
    assert set(faults) >= {f"/{name}" for name in channel.wrong}


@pytest.mark.parametrize(
    ("channel", "name", "limit"),
    [(channel, name, limit) for channel in CHANNELS for name, limit in channel.limits.items()],
    ids=lambda part: part.name if isinstance(part, Channel) else None,
)
def test_a_field_may_be_as_long_as_its_limit(channel: Channel, name: str, limit: int) -> None:
    channel.read(channel.sample() | {name: "长" * limit})
    faults = channel.faults(channel.sample() | {name: "长" * (limit + 1)})
    assert list(faults) == [f"/{name}"]
    assert str(limit) in faults[f"/{name}"]


@every_channel
def test_a_refusal_repeats_nothing_of_what_was_sent(channel: Channel) -> None:
    """A refusal is logged and answered, and what was sent may be personal."""
    long = {name: "隐私" * limit for name, limit in channel.limits.items()}
    sent = channel.sample() | long | {"areaCode": "隐私", "areaName": "隐私", channel.at: "隐私"}
    assert "隐私" not in str(channel.faults(sent))


@pytest.mark.parametrize("broken", ["坏\0字", "坏\ud83d字"])
@every_channel
def test_text_that_no_store_takes_is_refused_anywhere(channel: Channel, broken: str) -> None:
    sample = channel.sample()
    assert list(channel.faults(sample | {channel.prose: broken})) == [f"/{channel.prose}"]
    assert list(channel.faults(sample | {"gd/其他~": broken})) == ["/gd~1其他~0"]
    nested = {"a": [{"b": broken}]}
    assert list(channel.faults(sample | {"other": nested})) == ["/other/a/0/b"]
    for pointer in channel.faults(sample | {broken: 1, "other": {broken: 1}}):
        pointer.encode()


@every_channel
def test_other_control_characters_are_dropped(channel: Channel) -> None:
    text = "一\x07层\x1b\r\n二\u200b层\t东\x85"
    complaint = channel.read(channel.sample() | {channel.prose: text})
    assert complaint.content == "一层\n二层 东"


@every_channel
def test_html_becomes_lines_of_text(channel: Channel) -> None:
    html = (
        "<style>p{}</style><p>路灯&nbsp;坏了 &lt;半个月&gt;</p><div>价格<5元<br/>没人修"
        "<script>alert(1)</script></div>a<b"
    )
    complaint = channel.read(channel.sample() | {channel.prose: html})
    assert complaint.content == "路灯 坏了 <半个月>\n价格<5元\n没人修\na<b"


@every_channel
def test_an_unknown_region_is_refused(channel: Channel) -> None:
    nowhere = {"areaCode": "999999", "areaName": "某某县"}
    assert list(channel.faults(channel.sample() | nowhere)) == ["/areaCode"]
    by_name = {"areaCode": None, "areaName": "某某县"}
    assert list(channel.faults(channel.sample() | by_name)) == ["/areaName"]


@pytest.mark.parametrize(
    ("code", "name", "expected"),
    [
        ("360732", None, "360732"),
        (360732, None, "360732"),
        (None, "兴国县", "360732"),
        (None, "江西省南昌市红谷滩区", "360113"),
        ("360732", "兴国县", "360732"),
        ("360700", "兴国县", "360732"),
        ("360732", "江西省", "360732"),
        ("360732000000", "", "360732"),
        ("360732100201", "", "360732100"),
        ("360732", "潋江镇", "360732100"),
        ("3603K1", "高新区", "3603K1"),
        ("360100", "高新区", "3601K1"),
        (None, "萍乡市高新区", "3603K1"),
    ],
)
@every_channel
def test_a_region_is_found(channel: Channel, code: object, name: object, expected: str) -> None:
    complaint = channel.read(channel.sample() | {"areaCode": code, "areaName": name})
    assert complaint.region == expected
    assert "finding" not in complaint.extra


@every_channel
def test_a_name_that_two_regions_share_is_refused(channel: Channel) -> None:
    shared = {"areaCode": None, "areaName": "高新区"}
    assert list(channel.faults(channel.sample() | shared)) == ["/areaName"]


@every_channel
def test_code_and_name_of_two_regions_are_refused(channel: Channel) -> None:
    two = {"areaCode": "360732", "areaName": "萍乡市"}
    assert list(channel.faults(channel.sample() | two)) == ["/areaCode"]


@every_channel
def test_a_region_known_by_half_is_taken_and_told(channel: Channel) -> None:
    half = channel.read(channel.sample() | {"areaCode": "360732", "areaName": "兴国新区"})
    assert half.region == "360732"
    assert half.extra["areaName"] == "兴国新区"
    assert "不在区划表中" in half.extra["finding"]
    other = channel.read(channel.sample() | {"areaCode": "999999", "areaName": "兴国县"})
    assert other.region == "360732"
    assert other.extra["areaCode"] == "999999"


@every_channel
def test_the_source_s_region_stands_in_only_for_none(channel: Channel) -> None:
    source = replace(channel.source, region="360300")
    none = {"areaCode": None, "areaName": None}
    assert channel.read(channel.sample() | none, source).region == "360300"
    assert channel.faults(channel.sample() | {"areaCode": "999999", "areaName": ""}, source)


@every_channel
def test_another_city_s_names_need_a_field_map_and_no_code(channel: Channel) -> None:
    theirs = {name: f"zd/{index}" for index, name in enumerate(channel.sample())}
    source = replace(channel.source, field_map={new: old for old, new in theirs.items()})

    def renamed(payload: Mapping[str, Any]) -> dict[str, Any]:
        sent = json.dumps({theirs[name]: value for name, value in payload.items()})
        return decode(sent.encode(), "application/json")

    assert channel.read(renamed(channel.sample()), source) == channel.read(channel.sample())
    for name, value in channel.wrong.items():
        if name in theirs:
            faults = channel.faults(renamed(channel.sample() | {name: value}), source)
            assert list(faults) == ["/" + theirs[name].replace("/", "~1")]
    # The channel's own spelling is no longer read, and what it holds is kept.
    shadowed = renamed(channel.sample()) | {channel.number: "别的编号"}
    complaint = channel.read(shadowed, source)
    assert complaint.source_no == channel.sample()[channel.number]
    assert complaint.extra[f"sender_{channel.number}"] == "别的编号"


@every_channel
def test_fields_that_nobody_reads_are_kept_as_text(channel: Channel) -> None:
    more = {"n": 3, "list": [1, {"a": "甲"}], "none": None, "finding": "自称", "long": "长" * 2001}
    extra = channel.read(channel.sample() | more).extra
    assert extra["n"] == "3"
    assert extra["list"] == '[1, {"a": "甲"}]'
    assert extra["sender_finding"] == "自称"
    assert "none" not in extra
    assert "long" not in extra
    assert "long" in extra["finding"]


@every_channel
def test_no_tree_is_built_for_a_field_that_nobody_reads(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    rough = prose.rough

    def counted(text: str) -> str:
        measured.append(len(text))
        return rough(text)

    monkeypatch.setattr(prose, "rough", counted)
    more = {"long": "<ul><li>" * 7_000, "short": "<p>甲<p>乙", "odd": {"a": "<li>" * 600}}
    extra = channel.read(channel.sample() | more).extra
    assert extra["short"] == "甲\n乙"
    assert "long" in extra["finding"]
    assert "odd" in extra["finding"]
    assert max(measured) <= 2_000


@every_channel
def test_a_payload_without_measure_is_refused(channel: Channel) -> None:
    sample = channel.sample()
    assert list(channel.faults(sample | {f"f{n}": n for n in range(200)})) == [""]
    assert list(channel.faults(sample | {"名" * 101: 1})) == [""]
    assert list(channel.faults(sample | {"n": 10**5000})) == ["/n"]
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    (at,) = channel.faults(sample | {"deep": deep})
    assert at.startswith("/deep/0")


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-18 09:12:33",
        "2026-11-18T09:12:33",
        "2026-11-18T09:12:33.000000",
        "2026-11-18T01:12:33Z",
        "2026-11-17T19:12:33-06:00",
        "2026-11-18 09:12:33 +0800",
        "2026/11/18 9:12:33",
        "20261118091233",
    ],
)
@every_channel
def test_times_are_shanghai_s_unless_they_say_otherwise(channel: Channel, text: str) -> None:
    at = channel.read(channel.sample() | {channel.at: text}).accepted_at
    assert at.isoformat() == "2026-11-18T09:12:33+08:00"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-18",
        "1795000000",
        "1795000000000",
        "2026-13-01 00:00:00",
        "2026-11-18 25:00:00",
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59-12:00",
        "2026-11-18 09:12:33+24:00",
        "２０２６-11-18 09:12:33",
    ],
)
@every_channel
def test_a_time_that_could_mean_anything_is_refused(channel: Channel, text: str) -> None:
    assert list(channel.faults(channel.sample() | {channel.at: text})) == [f"/{channel.at}"]


@pytest.mark.parametrize(
    "text", ["2026-11-20 09:05:01", "1999-12-31 23:59:59", "2000-01-01 10:00:00"]
)
@every_channel
def test_an_implausible_time_is_told_under_the_sender_s_name(channel: Channel, text: str) -> None:
    late = channel.read(channel.sample() | {channel.at: text})
    assert [p.pointer for p in implausible(late, NOW, channel.source)] == [f"/{channel.at}"]
    source = replace(channel.source, field_map={"sj": channel.at})
    assert [p.pointer for p in implausible(late, NOW, source)] == ["/sj"]
    edge = replace(late, accepted_at=datetime(2026, 11, 20, 9, 5, tzinfo=SHANGHAI))
    assert implausible(edge, NOW, channel.source) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@every_channel
@given(data=st.data())
def test_nothing_but_a_refusal_comes_of_any_object(channel: Channel, data: st.DataObject) -> None:
    names = st.sampled_from(sorted(ADAPTERS[channel.source.adapter].FIELDS)) | st.text()
    payload = channel.sample() | data.draw(st.dictionaries(names, JSON, max_size=4))
    try:
        complaint = channel.read(payload)
    except PayloadRejected as refusal:
        problems = refusal.problems
    else:
        repr(complaint).encode()
        assert all(isinstance(text, str) and "\0" not in text for text in complaint.extra.values())
        return
    assert problems
    for problem in problems:
        assert problem.detail
        problem.pointer.encode()


# -- what one channel alone does ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("咨询", Kind.CONSULTATION),
        ("求助", Kind.HELP),
        ("投诉", Kind.COMPLAINT),
        ("举报", Kind.REPORT),
        ("建议", Kind.SUGGESTION),
        (" 表扬 ", Kind.PRAISE),
        ("求决", Kind.HELP),
    ],
)
def test_the_hotline_s_words_for_a_kind(word: str, kind: Kind) -> None:
    assert HOTLINE.read(HOTLINE.sample() | {"appealTypeName": word}).kind is kind


@pytest.mark.parametrize(
    ("word", "urgency"),
    [
        ("一般", Urgency.NORMAL),
        ("次紧急", Urgency.URGENT),
        ("紧急", Urgency.EMERGENCY),
        ("特急", Urgency.EMERGENCY),
        (None, Urgency.NORMAL),
    ],
)
def test_the_hotline_s_words_for_urgency(word: str | None, urgency: Urgency) -> None:
    complaint = HOTLINE.read(HOTLINE.sample() | {"urgency": word})
    assert complaint.urgency is urgency
    assert "finding" not in complaint.extra


def test_a_word_of_unknown_meaning_is_accepted_kept_and_told() -> None:
    unknown = HOTLINE.sample() | {"appealTypeName": "其他", "urgency": "火急"}
    complaint = HOTLINE.read(unknown)
    assert (complaint.kind, complaint.urgency) == (Kind.HELP, Urgency.NORMAL)
    assert complaint.extra["kind_raw"] == "其他"
    assert complaint.extra["urgency_raw"] == "火急"
    assert "诉求类型" in complaint.extra["finding"]
    assert "紧急程度" in complaint.extra["finding"]
    mapped = replace(HOTLINE.source, kinds={"其他": Kind.SUGGESTION})
    assert HOTLINE.read(unknown, mapped).kind is Kind.SUGGESTION


def test_a_hotline_ticket_without_a_kind_is_told() -> None:
    complaint = HOTLINE.read(HOTLINE.sample() | {"appealTypeName": None})
    assert complaint.kind is Kind.HELP
    assert "诉求类型" in complaint.extra["finding"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        ("是", True),
        ("1", True),
        (1, True),
        ("TRUE", True),
        (False, False),
        ("否", False),
        (0, False),
        ("false", False),
        (None, False),
        ("", False),
    ],
)
def test_yes_and_no_in_a_sender_s_words(value: object, expected: bool) -> None:
    complaint = HOTLINE.read(HOTLINE.sample() | {"confidential": value, "anonymous": value})
    assert (complaint.confidential, complaint.anonymous) == (expected, expected)


def test_attachments_are_kept_by_reference() -> None:
    sent = [{"name": "1.jpg", "url": "https://files.example/1.jpg", "size": "81"}, {"url": "/f/2"}]
    complaint = HOTLINE.read(HOTLINE.sample() | {"attachments": sent})
    assert complaint.attachments == (
        Attachment("1.jpg", "https://files.example/1.jpg", 81),
        Attachment("", "/f/2", None),
    )


@pytest.mark.parametrize(
    ("item", "at"),
    [
        (7, "/attachments/1/url"),
        ("javascript:alert(1)", "/attachments/1/url"),
        ({"name": "1.jpg"}, "/attachments/1/url"),
        ({"url": "javascript:alert(1)"}, "/attachments/1/url"),
        ({"url": "\x01java\nscript:alert(1)", "name": 3}, "/attachments/1/name"),
        ({"url": "/f", "size": -1}, "/attachments/1/size"),
        ({"url": "/f", "size": "大"}, "/attachments/1/size"),
    ],
)
def test_a_wrong_attachment_is_told_by_its_place(item: object, at: str) -> None:
    assert list(HOTLINE.faults(HOTLINE.sample() | {"attachments": [{"url": "/f"}, item]})) == [at]


def test_a_title_or_a_content_is_enough() -> None:
    no_title = HOTLINE.read(HOTLINE.sample() | {"title": "", "content": "灯坏了" * 20 + "\n快修"})
    assert no_title.title == ("灯坏了" * 20)[:40] + "…"
    no_content = HOTLINE.read(HOTLINE.sample() | {"content": None})
    assert no_content.content == no_content.title == "办营业执照跑了三趟"


def test_the_hotline_s_fields_arrive() -> None:
    complaint = HOTLINE.read(HOTLINE.sample(1))
    assert complaint.place == "高兴镇老街"
    assert complaint.related_no == "XG20261104000115"
    assert complaint.confidential
    assert complaint.contact.phone == "13800000002"
    assert complaint.extra["source"] == "微信"
    assert HOTLINE.read(HOTLINE.sample()).category == ("经济管理", "市场监管")
    due_at = HOTLINE.read(HOTLINE.sample()).sender_due_at
    assert due_at == datetime(2026, 11, 25, 17, 30, tzinfo=SHANGHAI)


def test_a_sender_s_limit_may_lie_ahead_by_ten_years() -> None:
    near = HOTLINE.read(HOTLINE.sample() | {"replyDeadline": "2036-11-01 00:00:00"})
    assert implausible(near, NOW, HOTLINE.source) == []
    far = HOTLINE.read(HOTLINE.sample() | {"replyDeadline": "2037-01-01 00:00:00"})
    assert [p.pointer for p in implausible(far, NOW, HOTLINE.source)] == ["/replyDeadline"]


@pytest.mark.parametrize(
    ("limit", "pointers"),
    [
        ("2026-11-18 09:12:32", ["/replyDeadline"]),
        ("2026-11-18 09:12:33", []),
        ("2000-06-01 00:00:00", ["/replyDeadline"]),
    ],
)
def test_a_sender_s_limit_is_not_before_the_acceptance(limit: str, pointers: list[str]) -> None:
    found = HOTLINE.read(HOTLINE.sample() | {"replyDeadline": limit})
    assert [p.pointer for p in implausible(found, NOW, HOTLINE.source)] == pointers
    renamed = replace(HOTLINE.source, field_map={"qx": "replyDeadline"})
    assert [p.pointer for p in implausible(found, NOW, renamed)] == ["/qx"] * len(pointers)


def test_a_supervised_message_counts_from_its_supervision() -> None:
    complaint = WENZHENG.read(WENZHENG.sample())
    assert complaint.clock_from == datetime(2026, 11, 17, 10, 0, tzinfo=SHANGHAI)
    assert complaint.sender_due_at == datetime(2026, 11, 24, 18, 0, tzinfo=SHANGHAI)
    assert complaint.extra["stage"] == "supervised"
    assert complaint.content.count("\n") == 1
    late = WENZHENG.read(WENZHENG.sample() | {"superviseTime": "2026-11-21 10:00:00"})
    assert [p.pointer for p in implausible(late, NOW, WENZHENG.source)] == ["/superviseTime"]


def test_a_supervised_message_must_say_since_when() -> None:
    assert list(WENZHENG.faults(WENZHENG.sample() | {"superviseTime": None})) == ["/superviseTime"]


def test_a_letter_counts_from_when_it_was_passed_on() -> None:
    passed_on = {"transferTime": "2026-11-19 09:00:00"}
    letter = MAILBOX.read(MAILBOX.sample() | passed_on)
    assert letter.clock_from == datetime(2026, 11, 19, 9, 0, tzinfo=SHANGHAI)
    assert letter.sender_due_at is not None
    assert MAILBOX.read(MAILBOX.sample()).clock_from is None
    late = MAILBOX.read(MAILBOX.sample() | {"transferTime": "2026-11-21 10:00:00"})
    assert [p.pointer for p in implausible(late, NOW, MAILBOX.source)] == ["/transferTime"]
    # The hotline's own tickets do not start with a passing on, and keep the field.
    assert HOTLINE.read(HOTLINE.sample() | passed_on).clock_from is None


def test_a_case_on_television_counts_from_the_broadcast() -> None:
    case = EXPOSED.read(EXPOSED.sample() | {"superviseTime": None})
    assert (case.kind, case.clock_from) == (Kind.COMPLAINT, None)
    assert case.coordinator == "wuxing_office"
    with_time = EXPOSED.read(EXPOSED.sample())
    assert with_time.clock_from is None
    assert with_time.extra["superviseTime"] == "2026-11-17 10:00:00"


def test_a_supervisor_s_note_without_a_kind_is_a_suggestion() -> None:
    note = SUGGESTED.read(SUGGESTED.sample() | {"appealTypeName": None})
    assert note.kind is Kind.SUGGESTION
    assert "finding" not in note.extra


def test_a_source_names_the_fields_of_its_clocks() -> None:
    clocks = Clocks(limit="qx.zz", starts="jb")
    source = replace(HOTLINE.source, clocks=clocks)
    sent = HOTLINE.sample() | {"qx": {"zz": "2026-11-30 09:00"}, "jb": "2026-11-19 08:00"}
    complaint = HOTLINE.read(sent, source)
    assert complaint.sender_due_at == datetime(2026, 11, 30, 9, 0, tzinfo=SHANGHAI)
    assert complaint.clock_from == datetime(2026, 11, 19, 8, 0, tzinfo=SHANGHAI)
    assert complaint.extra["replyDeadline"] == "2026-11-25 17:30:00"
    assert "qx" not in complaint.extra
    wrong = sent | {"qx": {"zz": "过几天"}, "jb": "昨天"}
    assert set(HOTLINE.faults(wrong, source)) == {"/qx/zz", "/jb"}
    far = HOTLINE.read(sent | {"qx": {"zz": "2099-01-01 09:00"}}, source)
    assert [p.pointer for p in implausible(far, NOW, source)] == ["/qx/zz"]


NESTED = replace(
    HOTLINE.source,
    field_map={
        "head.order.no": "workOrderNo",
        "body.order": "content",
        "body.bt": "title",
        "body.at": "acceptTime",
        "body.people.phone": "contactPhone",
        "files": "attachments",
        "files[].path": "attachments[].url",
        "files[].file": "attachments[].name",
    },
)
_NESTED: dict[str, Any] = {
    "head": {"order": {"no": "N-1", "ver": 2}, "sys": "JA"},
    "body": {
        "order": "路灯坏了",
        "bt": "路灯",
        "at": "2026-11-18 09:12",
        "people": {"phone": "13800000009"},
    },
    "files": [{"file": "1.jpg", "path": "http://10.0.0.8/1.jpg", "size": 3}],
    "areaCode": "360732",
}


def test_fields_are_found_in_the_objects_that_hold_them() -> None:
    complaint = HOTLINE.read(_NESTED, NESTED)
    assert (complaint.source_no, complaint.title) == ("N-1", "路灯")
    assert complaint.contact.phone == "13800000009"
    assert complaint.attachments == (Attachment("1.jpg", "http://10.0.0.8/1.jpg", 3),)
    # What was read is not kept a second time, least of all a number in plain text.
    assert json.loads(complaint.extra["head"]) == {"order": {"ver": 2}, "sys": "JA"}
    assert "body" not in complaint.extra
    assert "13800000009" not in str(complaint.extra)


def test_a_fault_in_an_object_is_told_by_its_place() -> None:
    wrong: dict[str, Any] = _NESTED | {
        "head": {"order": {"no": {"a": 1}}},
        "body": _NESTED["body"] | {"at": "昨天", "people": 3},
        "files": [{"file": "1.jpg", "path": "ftp://x/1"}],
    }
    assert set(HOTLINE.faults(wrong, NESTED)) == {
        "/head/order/no",
        "/body/at",
        "/files/0/path",
    }
    assert set(HOTLINE.faults({"areaCode": "360732"}, NESTED)) == {
        "/head/order/no",
        "/body/at",
        "/body/order",
    }


def test_a_name_with_a_full_stop_in_it_is_found_as_it_stands() -> None:
    flat = {"head.order.no": "N-2", "body.bt": "灯", "body.at": "2026-11-21", "areaCode": "360732"}
    assert list(HOTLINE.faults(flat, NESTED)) == ["/body.at"]
    late = {**flat, "body.at": "2026-11-21 10:00"}
    found = implausible(HOTLINE.read(late, NESTED), NOW, NESTED, late)
    assert [p.pointer for p in found] == ["/body.at"]


def test_an_object_in_a_text_is_looked_into() -> None:
    """Older systems send one form field that holds the JSON of all the others."""
    source = replace(HOTLINE.source, field_map={f"data.{name}": name for name in HOTLINE.sample()})
    packed = {"data": json.dumps(HOTLINE.sample(), ensure_ascii=False), "token": "t"}
    found = HOTLINE.read(packed, source)
    assert replace(found, extra={}) == replace(HOTLINE.read(HOTLINE.sample()), extra={})
    assert found.extra["token"] == "t"
    for broken in ("{", "[]", "NaN", ""):
        assert "/data/workOrderNo" in HOTLINE.faults({"data": broken}, source)


@pytest.mark.parametrize("one", ["https://a.example/1", {"url": "https://a.example/1"}])
def test_a_single_attachment_needs_no_list(one: object) -> None:
    for sent in (one, [one]):
        complaint = HOTLINE.read(HOTLINE.sample() | {"attachments": sent})
        assert complaint.attachments == (Attachment("", "https://a.example/1", None),)


def test_a_source_s_own_codes_of_regions_are_read() -> None:
    source = replace(HOTLINE.source, regions={"0797-32": "360732", "市本级": "360700"})
    code = HOTLINE.read(HOTLINE.sample() | {"areaCode": "0797-32", "areaName": None}, source)
    name = HOTLINE.read(HOTLINE.sample() | {"areaCode": None, "areaName": "市本级"}, source)
    assert (code.region, name.region) == ("360732", "360700")
    unknown = HOTLINE.sample() | {"areaCode": "0797-99", "areaName": "某某区"}
    assert list(HOTLINE.faults(unknown, source)) == ["/areaCode"]
    taken = HOTLINE.read(unknown, replace(source, region="360700"))
    assert taken.region == "360700"
    assert (taken.extra["areaCode"], taken.extra["areaName"]) == ("0797-99", "某某区")
    assert "地区对照表" in taken.extra["finding"]


def test_a_source_s_own_scale_of_grades_is_read() -> None:
    source = replace(HAOCHAPING.source, ratings={"A": 5, "D": 1, "9": 2})
    grades = {"A": 5, " D ": 1, 9: 2}
    for word, rating in grades.items():
        review = HAOCHAPING.read(HAOCHAPING.sample() | {"satisfaction": word}, source).review
        assert review is not None
        assert review.rating == rating
    # On another scale 5 may be the worst: nothing is read from digits that the scale lacks.
    complaint = HAOCHAPING.read(HAOCHAPING.sample() | {"satisfaction": "5"}, source)
    assert complaint.review is not None
    assert complaint.review.is_bad
    assert complaint.extra["rating_raw"] == "5"
    assert "满意度" in complaint.extra["finding"]
    wrong: object
    for wrong in ({}, True, None):
        faults = HAOCHAPING.faults(HAOCHAPING.sample() | {"satisfaction": wrong}, source)
        assert list(faults) == ["/satisfaction"]


NAMES = st.text("abc甲乙.[]~/ ", min_size=1, max_size=8)
TEXT = st.text("路灯坏了abc 123", min_size=1, max_size=20).map(str.strip).filter(bool)


@every_channel
@given(data=st.data())
def test_every_field_survives_every_field_map(channel: Channel, data: st.DataObject) -> None:
    """Whatever a city calls its fields, and in whatever objects it puts them: the same complaint."""
    sample = channel.sample()
    names = sorted(ADAPTERS[channel.source.adapter].FIELDS.keys() & sample.keys())
    theirs = data.draw(st.lists(NAMES, min_size=len(names), max_size=len(names), unique=True))
    paths = [
        f"{data.draw(st.sampled_from(['o', 'o.p', 'q']))}.{n}{name.replace('.', '').replace('[', '')}"
        if data.draw(st.booleans())
        else f"{name}~{n}".replace(".", "")
        for n, name in enumerate(theirs)
    ]
    sent: dict[str, Any] = {}
    for path, name in zip(paths, names, strict=True):
        *outer, last = path.split(".")
        inner = sent
        for step in outer:
            inner = inner.setdefault(step, {})
        inner[last] = sample[name]
    source = replace(channel.source, field_map=dict(zip(paths, names, strict=True)))
    wire = json.dumps(sent, ensure_ascii=False).encode(
        data.draw(st.sampled_from(["utf8", "gb18030"]))
    )
    expected = channel.read({name: sample[name] for name in names})
    assert channel.read(decode(wire), source) == expected


def test_a_posted_message_is_a_complaint_of_the_place_it_names() -> None:
    complaint = WENZHENG.read(WENZHENG.sample(1))
    assert (complaint.region, complaint.kind) == ("360113", Kind.COMPLAINT)
    assert complaint.clock_from is None
    assert complaint.anonymous


def test_an_unknown_stage_is_told() -> None:
    assert "办理阶段" in WENZHENG.read(WENZHENG.sample() | {"stage": "回复"}).extra["finding"]


def test_a_bad_review_is_a_complaint_about_the_unit() -> None:
    complaint = HAOCHAPING.read(HAOCHAPING.sample())
    assert complaint.kind is Kind.COMPLAINT
    assert complaint.title == "差评：公司设立登记"
    review = complaint.review
    assert review is not None
    assert (review.rating, review.named, review.system_default) == (2, True, False)
    assert review.evaluated_unit == "兴国县市场监督管理局"
    assert review.unit_code == "11360732MB1234567X"
    assert complaint.extra["promiseTime"] == "2"
    assert complaint.extra["evalDetail"] == "510,517"


@pytest.mark.parametrize("rating", [1, "1", 2, "2", 3, 4, "5"])
@pytest.mark.parametrize("pf", ["4", "7", 7])
def test_only_a_bad_grade_that_somebody_gave_is_a_complaint(
    rating: int | str, pf: str | int
) -> None:
    complaint = HAOCHAPING.read(HAOCHAPING.sample() | {"satisfaction": rating, "pf": pf})
    bad = int(rating) <= 2 and str(pf) != "7"
    assert complaint.kind is (Kind.COMPLAINT if bad else Kind.PRAISE)
    assert complaint.title.startswith("差评" if bad else "评价")
    assert complaint.review is not None
    assert complaint.review.system_default is (str(pf) == "7")


@pytest.mark.parametrize(("user", "named"), [("李某", True), ("", False), ("匿名用户", False)])
def test_a_review_is_named_if_somebody_signed_it(user: str, named: bool) -> None:
    complaint = HAOCHAPING.read(HAOCHAPING.sample() | {"userName": user})
    assert complaint.review is not None
    assert complaint.review.named is named
    assert complaint.anonymous is not named


def test_a_unit_s_code_can_stand_for_its_name() -> None:
    complaint = HAOCHAPING.read(HAOCHAPING.sample() | {"proDepart": None})
    assert complaint.review is not None
    assert complaint.review.unit_code == "11360732MB1234567X"
    both = HAOCHAPING.sample() | {"proDepart": None, "deptCode": None}
    assert list(HAOCHAPING.faults(both)) == ["/proDepart"]


def test_a_second_review_of_the_same_number_is_the_same_matter() -> None:
    second = {"assessNumber": 2, "satisfaction": 4, "writingEvaluation": "后来解释清楚了"}
    first, later = HAOCHAPING.sample(), HAOCHAPING.sample() | second
    assert HAOCHAPING.read(first).source_no == HAOCHAPING.read(later).source_no
    assert HAOCHAPING.read(later).extra["assessNumber"] == "2"
