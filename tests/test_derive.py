import datetime
import hashlib
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from routing_rules.derive import (
    Derivation,
    Unreadable,
    clause_file,
    derive,
    derive_text,
    limits,
    refusal,
    render,
)
from routing_rules.topics import MAX_CHARS, MAX_TOPICS, MIN_CHARS
from tests.policy_files import docx_of, pdf_of

# An invented county with every trap of layout in one document.
NOTICE = """\
 清净办字〔2031〕7号
 关于印发《2031年全县净水工作要点》的通知
各乡镇人民政府，县政府各部门：

经县政府同意，现将《2031年全县净水工作要点》印发给你们，请遵照执行。（山府发〔2030〕16号）


                     2031年5月6日
2031年全县净水工作要点
一要提高认识。二是落实。

1、 治水先行，勤清理、常巡查

1.清理河道垃圾，企业开办一日办结。（牵头单位：县水务局）

   2、巡查“三河两湖”水面，推行“河长热线”，3.0版平台上线，
投诉1个工作日内答复。（牵头单位：县水务局；责任单位：县林业局、
各乡镇区）
二、护林防火，重巡护、强处置
3.办理社保登记。（责任单位：县林业局）
4. **加强宣传**。办好护林专栏。

三、附则
（一）统筹指导。各地要加强领导。
（二）督促落实。按“13710”办理，限时办结。
2031年5月8日

（此件主动公开）

抄送：县委，县

人大。
"""


def items(derivation: Derivation) -> list[tuple[str, list[str]]]:
    return [
        (clause.item, [heading.number for heading in clause.headings])
        for clause in derivation.clauses
    ]


def codes(derivation: Derivation) -> list[str]:
    return [finding.code for finding in derivation.findings]


def test_a_document_gives_its_head_its_items_and_their_headings() -> None:
    derived = derive_text(NOTICE, "notice.txt", "360732")
    assert derived.document.title == "2031年全县净水工作要点"
    assert derived.document.number == "清净办字〔2031〕7号"
    assert derived.document.date == datetime.date(2031, 5, 6)
    assert items(derived) == [
        ("1", ["1"]),
        ("2", ["1"]),
        ("3", ["二"]),
        ("4", ["二"]),
        ("（一）", ["三"]),
        ("（二）", ["三"]),
    ]
    assert codes(derived) == ["heading-number"]
    assert derived.usable


def test_a_clause_carries_units_limits_topics_and_where_it_stands() -> None:
    derived = derive_text(NOTICE, "notice.txt", "360732")
    first, second, *_, last = derived.clauses
    assert first.limits == ("一日办结",)
    assert "企业开办" in first.topics
    assert second.lead_units == ("县水务局",)
    assert second.responsible_units == ("县林业局", "各乡镇区")
    assert second.groups == ("各乡镇区",)
    assert second.limits == ("1个工作日内",)
    assert {"三河两湖", "河长热线"} <= set(second.topics)
    assert NOTICE[second.start : second.end].startswith("2、巡查")
    assert NOTICE[second.start : second.end].endswith("各乡镇区）")
    assert last.limits == ("13710", "限时办结")
    assert NOTICE[last.start : last.end].endswith("限时办结。")


LAYOUTS: list[tuple[str, list[tuple[str, list[str]]]]] = [
    ("1.甲事要办。\n2.乙事要办。", [("1", []), ("2", [])]),
    ("1. 甲事要办。\n2、乙事要办。\n3．丙事。", [("1", []), ("2", []), ("3", [])]),
    ("一、甲\n(一)乙事要办。\n(二)丙事要办。", [("(一)", ["一"]), ("(二)", ["一"])]),
    ("一、甲\n（一）乙\n1.丙事要办。\n二、丁\n（一）戊事要办。", [("1", ["一", "（一）"]), ("（一）", ["二"])]),
    # a chapter of prose is no item, beside chapters that hold items
    ("一、甲\n说明一句。\n二、乙\n1.丙事要办。", [("1", ["二"])]),
    # a chapter with its own text is one where no other level stands
    ("一、甲\n甲事要办。\n二、乙\n乙事要办。", [("一", []), ("二", [])]),
    ("一、甲。甲事要办。（责任单位：县水务局）\n二、乙。乙事要办。", [("一", []), ("二", [])]),
    # broken by the layout
    ("一、甲\n1.甲事要\n\n办好。\n2.乙事要办。", [("1", ["一"]), ("2", ["一"])]),
    ("一、甲\n1.甲事要办\n2.乙事要办。", [("1", ["一"]), ("2", ["一"])]),
    # points of one clause
    ("1.甲事：（1）子；（2）丑。\n2.乙事分两步。\n（1）先做。\n（2）后做。（责任单位：县水务局）", [("1", []), ("2", [])]),
    ("第一章 总则\n第一条 甲事要办。\n（一）子；\n（二）丑。\n第二条 乙事要办。", [("第一条", ["第一章"]), ("第二条", ["第一章"])]),
    # a list of attached files
    ("1.甲事要办。\n附件：1.分工表\n2.名单\n3.样表", [("1", [])]),
    ("1.甲事要办。\n附件：\n1.分工表\n2.名单", [("1", [])]),
    # numbers that are no items
    ("1.甲事要办，达到\n3.0版和12.5亿。\n2031年5月6日", [("1", [])]),
    ("一要甲。\n二是乙。", []),
    ("# 一、甲\n**1.乙事**要办。\n> 引文", [("1", ["一"])]),
    ("①甲事要办。\n②乙事要办。", [("①", []), ("②", [])]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), LAYOUTS)
def test_items_are_told_from_headings(text: str, expected: list[tuple[str, list[str]]]) -> None:
    assert items(derive_text(text, "a.txt", "360000")) == expected


ENDS: list[tuple[str, str]] = [
    ("1.甲事要办。\n\n网站地图 隐私声明\n主办: 某府", "1.甲事要办。"),
    ("1.甲事要办。\n另有一句。\n清泉县人民政府\n2031年5月6日", "1.甲事要办。\n另有一句。"),
    ("1.甲事（责任单位：县水务局）。\n附言一句。", "1.甲事（责任单位：县水务局）。"),
    ("1.甲事要\n— 3 —\n办好。\n抄送：县委。", "1.甲事要\n— 3 —\n办好。"),
    ("1.甲事要办。  \n2031年5月6日", "1.甲事要办。"),
]


@pytest.mark.parametrize(("text", "clause"), ENDS)
def test_a_clause_ends_before_what_is_not_its_own(text: str, clause: str) -> None:
    (only,) = derive_text(text, "a.txt", "360000").clauses
    assert text[only.start : only.end] == clause


DAMAGE: list[tuple[str, str, int, int]] = [
    ("清净办字20317号\n各镇：\n1.甲。", "damaged-number", 1, 1),
    ("标题\n  2024424\n1.甲。", "damaged-date", 2, 3),
    ("标题\n2024年4月2\n1.甲。", "damaged-date", 2, 1),
    ("标题\n  年  月  日\n1.甲。", "damaged-date", 2, 3),
    ("1.甲，20206月底前完成。", "damaged-date", 1, 5),
    ("1.甲，2020年13月1日前。", "damaged-date", 1, 5),
    ("标题\n二〇二四年二月三十日\n1.甲。", "damaged-date", 2, 1),
    ("1.县()和乡镇( )要办。", "empty-bracket", 1, 4),
    ("1.甲\ufffd乙。", "replacement-character", 1, 4),
    ("1.甲。\n3.乙。", "item-order", 2, 1),
    ("1.甲。\n1.乙。", "item-order", 2, 1),
    ("1.甲。（责任单位：县水务局\n2.乙。", "unclosed-bracket", 1, 5),
    ("没有条目的一段话。", "no-clause", 1, 1),
    ("1.甲。\n2.乙。", "no-unit", 1, 1),
]


@pytest.mark.parametrize(("text", "code", "line", "column"), DAMAGE)
def test_damage_is_reported_where_it_stands(text: str, code: str, line: int, column: int) -> None:
    derived = derive_text(text, "a.txt", "360000")
    assert (code, line, column) in [(f.code, f.line, f.column) for f in derived.findings]


def test_a_damaged_date_or_number_is_never_completed() -> None:
    document = derive_text(
        "清净办字202426\n关于净水的意见\n2024424\n1.甲。", "a", "360000"
    ).document
    assert document.number is None
    assert document.date is None


HEADS: list[tuple[str, str | None, str | None, str | None]] = [
    ("清泉县人民政府\n关于净水\n工作的意见\n各镇：\n1.甲。", "清泉县人民政府关于净水工作的意见", None, None),
    ("关于净水的通知\n各镇：\n按《省净水办法》（山府发〔2030〕16号）办。\n1.甲。", "关于净水的通知", None, None),
    ("文号：清府发〔2031〕2号\n净水方案\n1.甲。\n二〇三一年十月二十日", "净水方案", "清府发〔2031〕2号", "2031-10-20"),
    ("成文日期：2031-05-06\n《净水要点》已经县政府同意，现印发给你们。\n1.甲。", "净水要点", None, "2031-05-06"),
    ("发布日期：2031-05-09\n净水要点\n清泉县人民政府  2031年5月6日\n1.甲。", "净水要点", None, "2031-05-06"),
    ("净水要点\n1.甲。\n清泉县政府办公室  2031年5月9日印发", "净水要点", None, None),
    ("1.甲。", None, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "title", "number", "date"), HEADS)
def test_the_head_is_what_the_document_says_of_itself(
    text: str, title: str | None, number: str | None, date: str | None
) -> None:
    document = derive_text(text, "a.txt", "360000").document
    assert document.title == title
    assert document.number == number
    assert (document.date.isoformat() if document.date else None) == date


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("企业开办“一日办结”", ["一日办结"]),
        ("压缩至1个工作日内完成；注销压缩至2个工作日。", ["1个工作日内", "2个工作日"]),
        ("30分钟内响应，24小时办结，十五日内答复", ["30分钟内", "24小时办结", "十五日内"]),
        ("落实“13710”机制，当日反馈", ["13710", "当日反馈"]),
        ("建设24小时自助厅，三年行动，2031年5月6日内", []),
        ("2031年底前完成，每月5日调度，113710", []),
    ],
)
def test_limits_are_taken_as_written_and_dates_of_a_plan_are_none(
    body: str, expected: list[str]
) -> None:
    assert limits(body) == expected


def test_slogans_and_the_words_of_every_plan_are_no_topics() -> None:
    text = "1.推进“五型”政府高质量建设，落实印章刻制，优化“掌上办、就近办”服务。"
    (clause,) = derive_text(text, "a.txt", "360000").clauses
    assert clause.topics == ("印章刻制", "掌上办", "就近办")


def test_a_word_of_most_clauses_is_no_topic_of_any() -> None:
    matters = ["印章刻制", "社保登记", "物业", "养老", "信访", "招商", "旅游", "审计"]
    text = "\n".join(f"{n}.办理{matter}，接入赣服通。" for n, matter in enumerate(matters, 1))
    words = [clause.topics for clause in derive_text(text, "a.txt", "360000").clauses]
    assert [matter in found for matter, found in zip(matters, words, strict=True)] == [True] * 8
    assert not any("赣服通" in found for found in words)


@pytest.mark.parametrize("name", ["a.txt", "a.docx", "a.pdf", "a.html"])
def test_every_format_derives_the_same_table(tmp_path: Path, name: str) -> None:
    lines = [line.strip() for line in NOTICE.split("\n") if line.strip()]
    content = {
        "a.txt": NOTICE.encode(),
        "a.docx": docx_of(lines),
        "a.pdf": pdf_of([lines[:12], lines[12:]]),
        "a.html": "".join(f"<p>{line}</p>" for line in lines).encode(),
    }[name]
    (tmp_path / name).write_bytes(content)
    derived = derive(tmp_path / name, "360732")
    plain = derive_text(NOTICE, "notice.txt", "360732")
    assert items(derived) == items(plain)
    assert [(c.lead_units, c.responsible_units, c.limits) for c in derived.clauses] == [
        (c.lead_units, c.responsible_units, c.limits) for c in plain.clauses
    ]
    assert derived.document.sha256 == hashlib.sha256(content).hexdigest()
    assert derived.document.date == plain.document.date


def test_a_page_that_ends_amid_a_list_of_units_parts_no_name(tmp_path: Path) -> None:
    pages = [
        ["1.甲事要办。（牵头单位：县水务局；责", "— 1 —"],
        ["任单位：县林", "2"],
        ["业局、各乡镇区）"],
    ]
    (tmp_path / "a.pdf").write_bytes(pdf_of(pages))
    (only,) = derive(tmp_path / "a.pdf", "360732").clauses
    assert only.lead_units == ("县水务局",)
    assert only.responsible_units == ("县林业局", "各乡镇区")


def test_a_document_of_two_hundred_pages_is_derived_and_said_to_be_long(tmp_path: Path) -> None:
    pages = [[f"{n}.清理第{n}段河道。（牵头单位：县水务局）"] for n in range(1, 201)]
    (tmp_path / "long.pdf").write_bytes(pdf_of(pages))
    derived = derive(tmp_path / "long.pdf", "360732")
    assert len(derived.clauses) == 200
    assert codes(derived) == ["long-document"]
    assert not derived.usable


def test_a_document_without_a_unit_is_not_usable_for_a_table() -> None:
    assert not derive_text("1.甲事要办。", "a.txt", "360000").usable
    assert not derive_text("一段话。", "a.txt", "360000").usable


def test_an_unreadable_file_answers_in_the_same_shape(tmp_path: Path) -> None:
    path = tmp_path / "scan.pdf"
    path.write_bytes(pdf_of([[]]))
    with pytest.raises(Unreadable) as refused:
        derive(path, "360732")
    answer = refusal(path, "360732", refused.value)
    assert answer.keys() == derive_text(NOTICE, "a", "360732").as_json().keys()
    assert answer["clauses"] == []
    assert json.dumps(answer["findings"], ensure_ascii=False).count("no-text") == 1


@pytest.mark.parametrize("region", ["", "36", "江西", "3607322", "060000"])
def test_a_region_that_is_no_code_is_a_wrong_use(region: str) -> None:
    with pytest.raises(ValueError, match="行政区划代码"):
        derive(Path("a.txt"), region)


def test_the_json_answer_has_the_agreed_fields() -> None:
    answer = derive_text(NOTICE, "notice.txt", "360732").as_json()
    assert json.loads(json.dumps(answer)) == answer
    assert answer["document"] == {
        "file": "notice.txt",
        "title": "2031年全县净水工作要点",
        "number": "清净办字〔2031〕7号",
        "date": "2031-05-06",
        "region": "360732",
    }
    clauses = answer["clauses"]
    assert isinstance(clauses, list)
    span = [
        NOTICE.index("3.办理"),
        NOTICE.index("3.办理") + len("3.办理社保登记。（责任单位：县林业局）"),
    ]
    assert clauses[2] == {
        "item": "3",
        "heading_path": ["二、护林防火，重巡护、强处置"],
        "lead_units": [],
        "responsible_units": ["县林业局"],
        "groups": [],
        "limits": [],
        "topics": ["社保登记"],
        "span": span,
        "sha256": hashlib.sha256(NOTICE[span[0] : span[1]].encode()).hexdigest(),
    }


def test_people_read_it_in_chinese() -> None:
    shown = render(derive_text(NOTICE, "notice.txt", "360732"))
    assert "条目：6 条，3 条写明单位" in shown
    assert "责任单位：县林业局；各乡镇区（群体）" in shown
    assert "第 12 行第 1 列 [heading-number]" in shown


PIECES = (
    *(
        "一、",
        "（一）",
        "1.",
        "1、",
        "2.",
        "(1)",
        "①",
        "第一条 ",
        "甲",
        "县水务局",
        "、",
        "，",
        "。",
    ),
    *(
        "（牵头单位：",
        "（责任单位：",
        "责任单位：",
        "）",
        "(",
        ")",
        "〔",
        "〕",
        "“",
        "”",
        "各市",
        "市政府",
    ),
    *(
        "成员单位",
        "2020424",
        "2020年",
        "13月",
        "40日",
        "附件：",
        "抄送",
        "**",
        " ",
        "\u3000",
        "\ufffd",
    ),
    *("企业开办", "\n", "\r\n", "\n", "\t", "\n序号\t任务\t牵头单位\n", "1\t", "\x85", "\u2028"),
)
ANY = st.text(max_size=120) | st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


@given(ANY)
def test_any_text_derives_and_every_clause_is_the_text_it_names(text: str) -> None:
    derived = derive_text(text, "a.txt", "360000")
    last = 0
    for clause in derived.clauses:
        assert last <= clause.start < clause.end <= len(text)
        last = clause.end
        piece = text[clause.start : clause.end]
        assert clause.sha256 == hashlib.sha256(piece.encode()).hexdigest()
        assert clause.item == "".join(text[clause.start :].split())[: len(clause.item)]
        assert set(clause.groups) <= {*clause.lead_units, *clause.responsible_units}
        assert len(clause.topics) <= MAX_TOPICS
        for word in clause.topics:
            assert MIN_CHARS <= len(word) <= MAX_CHARS
    for finding in derived.findings:
        assert finding.line >= 1
        assert finding.column >= 1
    assert derive_text(text, "a.txt", "360000") == derived


@given(ANY, st.text(max_size=20))
def test_a_clause_file_is_yaml_that_says_what_was_derived(text: str, file: str) -> None:
    derived = derive_text(text, file, "360000")
    loaded = yaml.safe_load(clause_file(derived))
    answer = derived.as_json()
    assert loaded["document"] == {**dict(answer["document"]), "sha256": derived.document.sha256}  # type: ignore[call-overload]
    for row, clause in zip(loaded["clauses"], derived.clauses, strict=True):
        assert row == {
            "item": clause.item,
            "heading_path": [heading.number for heading in clause.headings],
            "lead_units": list(clause.lead_units),
            "responsible_units": list(clause.responsible_units),
            "groups": list(clause.groups),
            "limits": list(clause.limits),
            "topics": list(clause.topics),
            "span": [clause.start, clause.end],
            "sha256": clause.sha256,
        }
    assert [(f["code"], f["line"], f["column"]) for f in loaded["findings"]] == [
        (f.code, f.line, f.column) for f in derived.findings
    ]
