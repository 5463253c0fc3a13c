import json
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing_rules import signals
from routing_rules import text as text_form
from routing_rules.check import check, explain
from routing_rules.clauses import Clause, diff, number
from routing_rules.evaluate import complaint_from, evaluate
from routing_rules.gazetteer import DATA, Gazetteer, Mention
from routing_rules.rulebook import ROUTED_CHARS, Precedent, Rulebook, load
from routing_rules.signals import MOST_ASIDES, MOST_SPANS, Matcher, Signals
from routing_rules.text import _seen as seen
from routing_rules.text import plain
from routing_rules.yamlfile import RuleFileError, read
from service.domain.complaint import Complaint, Decision, EvidenceKind, Route

CASES = Path(__file__).parent / "cases" / "routing"
XINGGUO, PINGXIANG, NANCHANG, YICHUN, JIANGXI = "360732", "360300", "360100", "360900", "360000"


@cache
def book() -> Rulebook:
    return load()


def ask(content: str, region: str = XINGGUO, **more: Any) -> Route:
    return book().route(complaint_from({"region": region, "content": content, **more}))


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (CASES / name).read_text("utf-8").splitlines()]


def test_our_own_invented_tickets_go_where_they_should() -> None:
    every = [row for path in sorted(CASES.glob("*.jsonl")) for row in rows(path.name)]
    result = evaluate(book(), every)
    assert result["n"] > 700
    assert result["conflict_violations"] == 0
    assert result["lead_accuracy"] >= 0.94
    assert result["auto_precision"] >= 0.95
    assert result["manual_recall"] >= 0.8
    assert result["not_accepted_recall"] >= 0.9
    assert result["emergency_recall"] == 1.0


@pytest.mark.parametrize(
    ("region", "content", "lead", "item"),
    [
        (
            XINGGUO,
            "开个公司跑了三趟执照还没下来,公章也没刻,不是一天办好吗",
            "兴国县市场监督管理局",
            "4",
        ),
        (XINGGUO, "五型监督员还续聘吗", "兴国县“五型”政府建设领导小组办公室", "10"),
        (XINGGUO, "招商时答应的惠企补贴八个月没兑现", "兴国县工业和信息化局", "5"),
        (PINGXIANG, "赣服通登录不进去一直报错", "萍乡市公共政务管理局", "11"),
        (PINGXIANG, "映山红行动的企业上市奖励没兑现", "中共萍乡市委金融委员会办公室", "10"),
        (JIANGXI, "换了书记县长就不认协议,新官不理旧账谁来问责", "江西省人民政府办公厅", "37"),
    ],
)
def test_a_topic_of_a_document_goes_to_the_unit_its_item_names(
    region: str, content: str, lead: str, item: str
) -> None:
    route = ask(content, region)
    assert route.lead
    assert route.lead.name == lead
    evidence = route.candidates[0].evidence[0]
    assert evidence.kind == EvidenceKind.CLAUSE
    assert evidence.basis == "document"
    assert item in evidence.item.split("、")
    assert f"第{evidence.item}项" in evidence.note


def test_a_document_without_units_leaves_the_topic_to_the_line() -> None:
    route = ask("机关开放日今年什么时候,怎么报名参观政府", NANCHANG)
    assert route.lead
    assert "五型" in route.lead.name
    evidence = route.candidates[0].evidence[0]
    assert (evidence.kind, evidence.basis, evidence.item) == ("clause", "line", "14")


@pytest.mark.parametrize(
    ("content", "lead"),
    [
        ("教育路那段三盏路灯不亮,就在税务小区对面,公安局宿舍旁边", "城市管理"),
        ("城管说不归他们管,其实就是河道里有人偷偷采砂", "水利"),
        ("民政局隔壁工地半夜还在打桩,吵得睡不着", "城市管理"),
    ],
)
def test_a_unit_that_is_only_mentioned_is_not_responsible(content: str, lead: str) -> None:
    route = ask(content)
    assert route.lead
    assert lead in route.lead.name


def test_markup_and_its_scripts_say_nothing() -> None:
    assert plain("<p>停&nbsp;水<script>城管局</script></p>") == "停水。"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("農民工欠薪", "农民工欠薪"), ("ＫＴＶ　吵", "ktv吵"), ("A\u200bB\n", "ab。")],
)
def test_traditional_and_full_width_writing_is_brought_to_one_form(
    written: str, meant: str
) -> None:
    assert plain(written).rstrip("。") == meant.rstrip("。")


def review(rating: object, content: str = "排队两小时", **more: Any) -> Route:
    return ask(
        content,
        channel="haochaping",
        evaluated_unit="兴国县市场监督管理局",
        task_name="公司设立登记",
        rating=rating,
        **more,
    )


@pytest.mark.parametrize("content", ["点错了,服务很好", "你们都不是好东西,天天给差评", ""])
def test_a_bad_review_goes_to_the_unit_that_was_reviewed(content: str) -> None:
    route = review("非常不满意", content)
    assert route.decision == Decision.AUTO
    assert route.lead
    assert route.lead.name == "兴国县市场监督管理局"
    assert route.candidates[0].evidence[0].kind == EvidenceKind.REVIEW
    assert route.reason == ""


def test_a_good_review_and_a_system_default_are_only_counted() -> None:
    assert "只计数" in review(5).reason
    assert "系统默认" in review(1, system_default=True).reason


@pytest.mark.parametrize(
    ("content", "barred"),
    [
        ("城管中队的人收摊贩的烟才不赶,不要转给城管", "城市管理"),
        ("市场局有人给黑作坊通风报信,每次查之前都走漏风声", "市场监督"),
        ("行政审批局把我的12345工单后台篡改了,不能让他们自己查自己", "行政审批"),
        ("住建局质监站的人收了红包放水验收,别再转给住建局", "住房和城乡建设"),
    ],
)
def test_an_accused_unit_never_gets_the_accusation(content: str, barred: str) -> None:
    route = ask(content, kind="举报")
    names = [unit.name for unit in (route.lead, *route.assist) if unit]
    assert not any(barred in name for name in names)
    assert route.lead is None or "五型" in route.lead.name or "政府办" in route.lead.name


def test_slow_service_is_no_accusation() -> None:
    route = ask("社保局退休手续交了三个月还没办好,能不能快点")
    assert route.lead
    assert "人力资源" in route.lead.name


@pytest.mark.parametrize(
    ("content", "hotline"),
    [
        ("我家隔壁着火了,火苗窜到二楼,里面还有老人下不来", "119"),
        ("有人拿刀在砸门,快派人来救命", "110"),
        ("老人晕倒叫不醒,脸发紫,快叫救护车", "120"),
        ("刚刚撞车了,司机卡在车里流好多血", "122"),
        ("挖机把路边的燃气管挖断了,气嘶嘶往外喷", "119"),
    ],
)
def test_present_danger_goes_to_an_emergency_line(content: str, hotline: str) -> None:
    route = ask(content)
    assert route.decision == Decision.EMERGENCY_LINE
    assert route.hotline == hotline
    assert route.lead


@pytest.mark.parametrize(
    "content",
    [
        "上个月电动车起火烧了我家,物业不肯赔偿",
        "去年车祸的伤残鉴定保险公司不认",
        "担心楼道堆杂物会起火,消防通道都堵了",
    ],
)
def test_past_and_feared_danger_is_no_emergency(content: str) -> None:
    assert ask(content, urgency="emergency").decision != Decision.EMERGENCY_LINE


@pytest.mark.parametrize(
    "content",
    [
        "法院判决书下来两年了,执行局说终本,你们让法院给我钱",
        "行政复议已经受理了,催复议机关快点决定",
        "申请政府信息公开,要求书面答复征地批文",
        "朋友借钱不还有欠条,帮我写起诉状",
        "双色球下一期买什么号",
    ],
)
def test_what_a_hotline_does_not_accept_is_refused_with_a_reason(content: str) -> None:
    route = ask(content)
    assert route.decision == Decision.NOT_ACCEPTED
    assert route.lead is None
    assert route.reason


@pytest.mark.parametrize(
    "content",
    [
        "法院门口那条路坑坑洼洼积水",
        "离婚证丢了怎么补办",
        "公司叫我去仲裁,劳动仲裁在哪里申请",
    ],
)
def test_words_of_the_courts_alone_refuse_nothing(content: str) -> None:
    assert ask(content).decision != Decision.NOT_ACCEPTED


@pytest.mark.parametrize("content", ["", "。。。。", "asdf qwe 哈哈", "啊啊啊啊", "你好", "😀😀"])
def test_a_text_without_a_demand_is_for_a_person(content: str) -> None:
    route = ask(content)
    assert route.decision == Decision.MANUAL
    assert route.lead is None
    assert route.reason


def test_unrelated_demands_in_one_ticket_are_for_a_person_to_split() -> None:
    route = ask("路灯坏了;另外我家低保停了;还有想问医保报销怎么弄")
    assert route.decision == Decision.MANUAL
    assert "拆分" in route.reason


def test_a_city_ticket_keeps_the_citys_unit_and_tells_the_district() -> None:
    route = ask("小区边上烧烤摊油烟太大", NANCHANG, place="西湖区抚河边")
    assert route.lead
    assert route.lead.name.startswith("南昌市")
    assert "西湖区" not in route.lead.name
    assert any("西湖区" in unit.name for unit in route.assist)


def test_a_district_ticket_stays_in_the_district_or_its_city() -> None:
    route = ask("小区北门一排烧烤摊油烟直接进屋", "360113")
    assert route.lead
    assert route.lead.name.startswith("南昌市")


@pytest.mark.parametrize(
    "said",
    [
        "{}的路灯坏了半个月没人修",
        "{}停水三天了没人管",
        "我妈的低保停了，我家在{}",
        "{}街上半夜唱歌很吵",
    ],
)
def test_the_name_of_a_town_says_where_and_not_what(said: str) -> None:
    # 高兴镇 is a model town in a document, two are towns of an ethnic minority, one is named 铁路.
    for county, town in (
        ("360732", "高兴镇"),
        ("360803", "东固畲族少数民族乡"),
        ("360681", "樟坪畲族乡"),
        ("360981", "铁路镇"),
        ("360111", "湖坊镇"),
    ):
        named, unnamed = (ask(said.format(place), county) for place in (town, "我们镇"))
        assert named.lead == unnamed.lead, town


def test_an_unknown_region_is_for_a_person() -> None:
    assert ask("路灯不亮", "999999").decision == Decision.MANUAL


def test_a_ruling_moves_the_next_ticket_of_its_kind() -> None:
    ruled = book().with_precedents(
        [Precedent("r1", "江边步道灯", XINGGUO, "360732-water_resources", ("步道", "灯"))]
    )
    question = complaint_from({"region": XINGGUO, "content": "江边步道的灯坏了"})
    route = ruled.route(question)
    assert route.candidates[0].unit == "360732-water_resources"
    assert route.candidates[0].evidence[0].kind == EvidenceKind.PRECEDENT
    assert ruled.digest != book().digest


def test_a_ruling_needs_words_and_a_known_unit() -> None:
    with pytest.raises(ValueError, match="不在单位表中"):
        book().with_precedents([Precedent("r1", "甲", XINGGUO, "360732-nobody", ("甲", "乙"))])
    with pytest.raises(ValueError, match="两到四个词"):
        book().with_precedents([Precedent("r1", "甲", XINGGUO, "360732-water_resources", ("甲",))])


def test_the_shipped_rules_have_no_grave_fault() -> None:
    assert [finding for finding in check() if finding.grave] == []


def test_a_folder_of_rules_that_is_not_there_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(RuleFileError, match="没有这个规则文件夹"):
        load(tmp_path / "rules")


@pytest.mark.parametrize("name", ["unit.yaml", "duties.yaml", "topics.yml"])
def test_a_file_of_rules_under_another_name_is_not_passed_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("- {id: x}\n", "utf-8")
    with pytest.raises(RuleFileError, match=r"可用的是.* topics\.yaml"):
        load(tmp_path)


def test_an_overlay_adds_a_duty_and_changes_the_digest(tmp_path: Path) -> None:
    (tmp_path / "duties").mkdir()
    (tmp_path / "duties" / "ours.yaml").write_text(
        "- {id: drones, name: 光影盛典, line: culture_tourism, strong: 光影盛典秀, words: 光影盛典}\n",
        "utf-8",
    )
    mine = load(tmp_path)
    route = mine.route(complaint_from({"region": XINGGUO, "content": "光影盛典秀在哪看"}))
    assert route.lead
    assert route.lead.unit == "360732-culture_tourism"
    assert mine.digest != book().digest


def test_what_a_county_itself_does_not_accept_is_not_accepted(tmp_path: Path) -> None:
    (tmp_path / "acceptance.yaml").write_text(
        "- {id: n-show, name: 光影秀, decision: not_accepted, reason: 由景区答复, strong: 光影盛典秀}\n",
        "utf-8",
    )
    asked = complaint_from({"region": XINGGUO, "content": "光影盛典秀的门票在哪里买，几点开始"})
    assert book().route(asked).decision != "not_accepted"
    route = load(tmp_path).route(asked)
    assert (route.decision, route.reason) == ("not_accepted", "由景区答复")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- {id: x, name: 甲, line: nobody, strong: 某某}", "条线 nobody 不存在"),
        ("- {id: x, name: 甲, line: health}", "没有任何用词"),
        ("- {id: x, name: 甲, line: health, pairs: [独词]}", "至少两部分"),
        ("- {id: x, name: 甲, line: health, strong: 某, stong: 某}", "不认识的键"),
        ('- {id: x, name: 甲, line: health, strong: 某, cites: ["360732 99"]}', "第 99 项不在"),
    ],
)
def test_a_wrong_rule_says_where_and_why(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "duties").mkdir()
    (tmp_path / "duties" / "bad.yaml").write_text(f"# 说明\n{text}\n", "utf-8")
    with pytest.raises(RuleFileError, match=re.escape(reason)) as caught:
        load(tmp_path)
    assert caught.value.line == 2
    assert caught.value.file.name == "bad.yaml"
    assert [finding.code for finding in check(tmp_path)] == ["not-loaded"]


GATE = "id: n-x, name: 甲, decision: not_accepted, reason: 由景区答复, strong: 光影盛典秀"


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        (
            "duties/ours.yaml",
            "- {id: x, name: 甲, line: health, strong: 挂号排队, examples: [路灯不亮]}",
            "example",
        ),
        ("acceptance.yaml", f"- {{{GATE}, examples: [路灯不亮]}}", "example"),
        ("accusation.yaml", "- {id: accusation, strong: 白拿, examples: [路灯不亮]}", "example"),
        (
            "duties/ours.yaml",
            "- {id: x, name: 甲, line: urban_management, strong: 挂号排队, examples: [路灯不亮]}",
            "example-unheard",
        ),
    ],
)
def test_an_example_that_goes_elsewhere_is_found(
    tmp_path: Path, name: str, text: str, code: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# 说明\n{text}\n", "utf-8")
    found = [finding for finding in check(tmp_path) if finding.file == path.name]
    assert [(one.code, one.line, one.grave) for one in found] == [(code, 2, code == "example")]


def test_an_example_of_a_gate_goes_to_its_decision(tmp_path: Path) -> None:
    (tmp_path / "acceptance.yaml").write_text(
        f"- {{{GATE}, examples: [光影盛典秀的门票在哪里买，几点开始]}}\n", "utf-8"
    )
    assert [finding for finding in check(tmp_path) if finding.file == "acceptance.yaml"] == []


def test_a_duty_of_the_place_is_tried_in_the_place_that_its_example_names(tmp_path: Path) -> None:
    (tmp_path / "duties").mkdir()
    row = "id: x, name: 甲, line: territory, region: 360732, strong: 老碾坊 碾坊"
    (tmp_path / "duties" / "ours.yaml").write_text(
        f"- {{{row}, examples: [长冈乡的老碾坊，政府能不能修一修]}}\n", "utf-8"
    )
    assert [finding for finding in check(tmp_path) if finding.file == "ours.yaml"] == []


def test_a_county_that_leads_a_shipped_example_elsewhere_may_mean_it(tmp_path: Path) -> None:
    (tmp_path / "acceptance.yaml").write_text(
        "- {id: n-x, name: 甲, decision: not_accepted, reason: 由园区答复, strong: 冒名注册}\n",
        "utf-8",
    )
    gone = [one for one in check(tmp_path) if one.code == "example"]
    assert [(one.rule, one.grave) for one in gone] == [("licence", False)]


def test_a_word_that_stands_twice_in_a_row_is_found(tmp_path: Path) -> None:
    (tmp_path / "duties").mkdir()
    (tmp_path / "duties" / "ours.yaml").write_text(
        "- {id: x, name: 甲, line: health, strong: 挂号排队 看病, words: 看病}\n", "utf-8"
    )
    assert [one.code for one in check(tmp_path) if one.file == "ours.yaml"] == ["twice"]


DATA_FILES = sorted(DATA.glob("*.yaml")) + sorted(DATA.glob("duties/*.yaml"))


@pytest.mark.parametrize(
    "path",
    [p for p in DATA_FILES if p.parent.name == "duties"]
    + [DATA / name for name in ("topics.yaml", "acceptance.yaml", "accusation.yaml")],
    ids=lambda path: path.name,
)
def test_every_rule_has_an_example(path: Path) -> None:
    assert [row.text("id") for row in read(path) if not row.texts("examples")] == []


@pytest.mark.parametrize("path", DATA_FILES, ids=lambda path: path.name)
def test_a_line_of_the_rules_can_be_read_and_compared(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert [number for number, line in enumerate(lines, 1) if len(line) > 120] == []


def test_an_explanation_is_one_a_handler_can_read() -> None:
    said = explain(ask("路灯不亮半个月了", place="高兴镇"))
    assert said.startswith("决定：自动派单")
    assert "主办：兴国县城市管理局" in said
    assert "“路灯”" in said or "“路灯不亮”" in said


def clause(item: str, *units: str, sha: str = "a") -> Clause:
    return Clause(XINGGUO, "文", item, number(item), units, (), (), (), (), sha)


def test_two_editions_are_compared_item_by_item() -> None:
    old = [clause("1.", "县发改委"), clause("2.", "县工信局"), clause("4.", "县住建局")]
    new = [clause("1.", "县发改委", sha="b"), clause("2.", "县商务局"), clause("3.", "县教体局")]
    assert [(change.item, change.what) for change in diff(old, new)] == [
        ("1", "文字有改动，单位未变"),
        ("2", "牵头单位由县工信局改为县商务局"),
        ("4", "删去，原单位：县住建局"),
        ("3", "新增，单位：县教体局"),
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1.", "1"), ("(三十七)", "37"), ("（六十）", "60"), ("十", "10"), ("四(四)", "四(四)")],
)
def test_item_numbers_have_one_form(written: str, meant: str) -> None:
    assert number(written) == meant


@pytest.mark.parametrize("key", ["kind", "urgency", "rating"])
def test_an_unknown_word_in_a_question_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=rf"{key}\)不认识") as refusal:
        complaint_from({"region": XINGGUO, "evaluated_unit": "县医保局", key: "13912345678"})
    assert "139" not in str(refusal.value)


def test_no_cases_give_no_rates() -> None:
    assert evaluate(book(), [])["lead_accuracy"] is None


def _complaint(text: str, region: str) -> Complaint:
    return complaint_from({"region": region, "title": text[:8], "content": text})


@settings(max_examples=60)
@given(
    st.text(
        alphabet=st.sampled_from("城管路灯水电工资医院学校我的了不着火<>&;。 ,12345"), max_size=80
    ),
    st.sampled_from([XINGGUO, PINGXIANG, NANCHANG, JIANGXI, "360113"]),
)
def test_every_text_gets_one_decision_that_holds_together(text: str, region: str) -> None:
    route = book().route(_complaint(text, region))
    assert 0 <= route.confidence <= 1
    assert len(route.candidates) <= 3
    assert route.rulebook == book().digest
    assert (route.lead is not None) if route.decision == Decision.AUTO else True
    if route.decision in (Decision.MANUAL, Decision.NOT_ACCEPTED):
        assert route.lead is None
        assert route.reason
    if route.lead:
        assert route.lead not in route.assist
        unit = book().unit(route.lead.unit)
        assert unit is not None
        assert unit.name == route.lead.name


# What a hostile text may cost


def _heard(text: str) -> list[tuple[int, int, float]]:
    """Return where a matcher of one word finds it."""
    matcher = Matcher([Signals(("路灯",), (), (), (), ())], landmarks=("派出所",))
    found = matcher._found(text, 0)
    (spans,) = [found.spans(term) for term in found.terms]
    return spans


@given(
    st.lists(
        st.lists(st.sets(st.sampled_from("灯水电雨"), min_size=1), min_size=2, max_size=4),
        max_size=3,
    ),
    st.text(st.sampled_from("灯水电雨,"), max_size=8),
)
def test_a_pair_speaks_where_each_part_has_a_word_of_its_own(
    pairs: list[list[set[str]]], text: str
) -> None:
    rules = [Signals((), (), (), (tuple(tuple(sorted(p)) for p in parts),), ()) for parts in pairs]
    spoken = {hit.rule for hit in Matcher(rules).hits(text)}
    for rule, parts in enumerate(pairs):
        first = [at for at, letter in enumerate(text) if letter in parts[0]]
        assert (rule in spoken) == any(
            all(
                any(letter in part and other != at for other, letter in enumerate(text))
                for part in parts[1:]
            )
            for at in first
        )


def test_a_word_said_a_thousand_times_has_sixteen_places() -> None:
    assert [start for start, _, _ in _heard("路灯," * 1000)] == [3 * n for n in range(MOST_SPANS)]


def test_only_so_many_clauses_are_set_aside() -> None:
    most = "先不说," * MOST_ASIDES
    assert _heard(most[:-4] + "先不说路灯")[0][2] < 1.0
    assert _heard(most + "先不说路灯")[0][2] == 1.0


@given(st.lists(st.sampled_from([*"路灯,。;!?:、.\n", "先不说", "不是这次", "另案"]), max_size=24))
def test_asides_are_found_as_if_sought_at_every_character(parts: list[str]) -> None:
    text = "".join(parts)
    everywhere = re.compile(rf"[^,。;!?:、.]*{signals._ASIDE_WORDS}[^,。;!?:.]*")
    assert [m.span() for m in signals._ASIDE.finditer(text)] == [
        m.span() for m in everywhere.finditer(text)
    ]


def test_what_is_taken_to_be_in_form_is_what_the_long_way_would_leave_alone() -> None:
    every = (chr(code) for code in range(0x10FFFF + 1) if not 0xD800 <= code < 0xE000)
    assert [one for one in every if plain(one) != text_form._brought_to_form(one)] == []


# Marks of several classes, letters that take them up, and some that come apart into marks alone.
COMBINING = [*map(chr, range(0x300, 0x330)), "e", "ê", "\u0344", "\u0f73", "\u0b47", "\u0b3e", "가"]


@given(st.text(st.sampled_from(COMBINING), min_size=60, max_size=300))
def test_a_long_stretch_of_combining_marks_is_brought_to_the_form_of_the_standard(
    text: str,
) -> None:
    assert plain(f"路{text}灯") == unicodedata.normalize("NFKC", f"路{text}灯").lower()


TAGS = ["<script", "<style", "<STYLE", "</script", "</style ", "</style", ">", " ", "灯", "x", "<"]


@given(st.lists(st.sampled_from(TAGS), max_size=16))
def test_scripts_and_styles_go_unseen_up_to_their_end(parts: list[str]) -> None:
    text = "".join(parts)
    sought = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
    assert seen(text) == sought.sub("", text)


class _Counted:
    """A pattern that counts how often it is sought."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self.sought = 0

    def search(self, text: str, at: int) -> re.Match[str] | None:
        self.sought += 1
        return self._pattern.search(text, at)


def test_the_end_of_a_script_that_has_none_is_sought_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = {name: _Counted(pattern) for name, pattern in text_form._UNSEEN_END.items()}
    monkeypatch.setattr(text_form, "_UNSEEN_END", ends)
    assert seen("<script " * 500) == "<script " * 500
    assert (ends["script"].sought, ends["style"].sought) == (1, 0)


def test_places_of_ours_are_looked_for_once_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    gazetteer, asked = book().gazetteer, []
    mentions = type(gazetteer).mentions

    def counted(self: Gazetteer, text: str, within: str = "") -> list[Mention]:
        asked.append(text)
        return mentions(self, text, within)

    monkeypatch.setattr(Gazetteer, "mentions", counted)
    assert gazetteer.outside("南昌都市圈" * 500) is None
    assert len(asked) == 1


def test_what_stands_behind_the_first_characters_does_not_route() -> None:
    told = "小区门口的路灯坏了半个月没人修" + "，谢谢" * 30
    filled = told + "啊" * (ROUTED_CHARS - len(told))
    assert ask(filled + "隔壁烧烤店油烟扰民") == ask(filled)
    # NFKC makes eighteen characters of this one.
    assert ask("\ufdfa" * ROUTED_CHARS + told) == ask("\ufdfa" * ROUTED_CHARS)


def test_who_is_asked_stands_right_before_the_unit() -> None:
    names = book()._names
    assert names.accused("举报城管局吃拿卡要") == names.accused("希望" + "啊" * 9 + "城管局")
    assert names.accused("建议移交市县城管局查处") == frozenset()
