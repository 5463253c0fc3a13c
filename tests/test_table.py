"""Who answers for what: units by code, by line and by every name they were ever written with."""

import json
import os
import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_rules.gazetteer import load_gazetteer
from routing_rules.table import is_group, load_table, plain
from routing_rules.yamlfile import RuleFileError
from service.domain.region import covers

GAZETTEER = load_gazetteer()
TABLE = load_table(GAZETTEER)
XINGGUO, PINGXIANG, NANCHANG, YICHUN, JIANGXI = "360732", "360300", "360100", "360900", "360000"

# The names as the documents write them, and whose they are today.
IN_DOCUMENTS = [
    (XINGGUO, "县发改委", "兴国县发展和改革委员会"),
    (XINGGUO, "县工信局", "兴国县工业和信息化局"),
    (XINGGUO, "经济开发区管委会", "江西兴国经济开发区管理委员会"),
    (XINGGUO, "县行政审批局", "兴国县行政审批局"),
    (XINGGUO, "县市场监管局", "兴国县市场监督管理局"),
    (XINGGUO, "县住建局", "兴国县住房和城乡建设局"),
    (XINGGUO, "县商务局", "兴国县商务局"),
    (XINGGUO, "县“五型”办", "兴国县“五型”政府建设领导小组办公室"),
    (XINGGUO, "县融媒体中心", "兴国县融媒体中心"),
    (XINGGUO, "高兴镇", "兴国县高兴镇人民政府"),
    (PINGXIANG, "市政府办", "萍乡市人民政府办公室"),
    (PINGXIANG, "市发改委", "萍乡市发展和改革委员会"),
    (PINGXIANG, "市工信局", "萍乡市工业和信息化局"),
    (PINGXIANG, "市财政局", "萍乡市财政局"),
    (PINGXIANG, "市委统战部", "中共萍乡市委统一战线工作部"),
    (PINGXIANG, "市工商联", "萍乡市工商业联合会"),
    (PINGXIANG, "市自然资源和规划局", "萍乡市自然资源和规划局"),
    (PINGXIANG, "市住建局", "萍乡市住房和城乡建设局"),
    (PINGXIANG, "市商务局", "萍乡市商务局"),
    (PINGXIANG, "市金融办", "中共萍乡市委金融委员会办公室"),
    (PINGXIANG, "市农业农村局", "萍乡市农业农村局"),
    (PINGXIANG, "市政务服务办", "萍乡市政务服务管理办公室"),
    (PINGXIANG, "市公共政务管理局", "萍乡市公共政务管理局"),
    (PINGXIANG, "市委市政府信息中心", "萍乡市信息中心"),
    (PINGXIANG, "市委市政府信访局", "萍乡市信访局"),
    (PINGXIANG, "市效能中心", "萍乡市效能中心"),
    (PINGXIANG, "市司法局", "萍乡市司法局"),
    (PINGXIANG, "市市场监管局", "萍乡市市场监督管理局"),
    (PINGXIANG, "市人社局", "萍乡市人力资源和社会保障局"),
    (JIANGXI, "省政府办公厅", "江西省人民政府办公厅"),
    (JIANGXI, "省发改委", "江西省发展和改革委员会"),
    (JIANGXI, "省政府研究室", "江西省人民政府研究室"),
    (JIANGXI, "省编办", "中共江西省委机构编制委员会办公室"),
    (JIANGXI, "省编办〔省审改办〕", "中共江西省委机构编制委员会办公室"),
    (JIANGXI, "省政务服务办", "江西省政务服务管理办公室"),
    (JIANGXI, "省信息中心", "江西省信息中心"),
    (JIANGXI, "省科技厅", "江西省科学技术厅"),
    (JIANGXI, "省工信委", "江西省工业和信息化厅"),
    (JIANGXI, "省人社厅", "江西省人力资源和社会保障厅"),
    (JIANGXI, "省国资委", "江西省国有资产监督管理委员会"),
    (JIANGXI, "省教育厅", "江西省教育厅"),
    (JIANGXI, "省财政厅", "江西省财政厅"),
    (JIANGXI, "省政府金融办", "中共江西省委金融委员会办公室"),
    (JIANGXI, "省统计局", "江西省统计局"),
    (JIANGXI, "省文化厅", "江西省文化和旅游厅"),
    (JIANGXI, "省商务厅", "江西省商务厅"),
    (JIANGXI, "省住房城乡建设厅", "江西省住房和城乡建设厅"),
    (JIANGXI, "省农业厅", "江西省农业农村厅"),
    (JIANGXI, "省新村办", "江西省农业农村厅"),
    (JIANGXI, "省环保厅", "江西省生态环境厅"),
    (JIANGXI, "省扶贫和移民办", "江西省农业农村厅"),
    (JIANGXI, "省民政厅", "江西省民政厅"),
    (JIANGXI, "省工商局", "江西省市场监督管理局"),
    (JIANGXI, "省政府法制办", "江西省司法厅"),
    (JIANGXI, "赣江新区管委会", "赣江新区管理委员会"),
    (JIANGXI, "南昌市政府", "南昌市人民政府"),
    (JIANGXI, "景德镇市", "景德镇市人民政府"),
    (JIANGXI, "抚州市政府", "抚州市人民政府"),
]


@pytest.mark.parametrize(("region", "written", "name"), IN_DOCUMENTS)
def test_a_name_in_a_document_means_todays_unit_and_rests_on_the_document(
    region: str, written: str, name: str
) -> None:
    unit = TABLE.by_name(written, region)
    assert unit is not None
    assert unit.name == name
    assert unit.basis == "document"
    citation = TABLE.citation(unit.code)
    assert citation is not None
    assert citation.items


IN_REVIEWS_AND_CALLS = [
    ("兴国县市场监督管理局", "", "360732-market_regulation"),
    ("市场监管局", XINGGUO, "360732-market_regulation"),
    ("市监局", "360732104", "360732-market_regulation"),
    ('县 " 五型 " 办', XINGGUO, "360732-wuxing_office"),
    ("县政务服务中心", XINGGUO, "360732-government_services"),
    ("县市民中心", XINGGUO, "360732-government_services"),
    ("工商局", XINGGUO, "360732-market_regulation"),
    ("县环保局", XINGGUO, "360732-ecology_environment"),
    ("县国土局", XINGGUO, "360732-natural_resources"),
    ("地税局", XINGGUO, "360732-tax"),
    ("县卫计委", XINGGUO, "360732-health"),
    ("县扶贫办", XINGGUO, "360732-agriculture"),
    ("县乡村振兴局", XINGGUO, "360732-agriculture"),
    ("县房管局", XINGGUO, "360732-housing_construction"),
    ("县科技局", XINGGUO, "360732-education"),
    ("兴国县公安局高兴派出所", XINGGUO, "360732-public_security"),
    ("高兴镇派出所", XINGGUO, "360732-public_security"),
    ("高兴镇司法所", XINGGUO, "360732-justice"),
    ("县人社局劳动监察大队", XINGGUO, "360732-human_resources"),
    ("兴国县公安局交警大队", XINGGUO, "360732-traffic_police"),
    ("县政务服务中心不动产窗口", XINGGUO, "360732-real_estate_registration"),
    ("国网兴国供电公司", XINGGUO, "360732-power_supply"),
    ("高兴镇人民政府", XINGGUO, "360732104-government"),
    ("长冈乡政府", XINGGUO, "360732217-government"),
    ("县政府", XINGGUO, "360732-government"),
    ("市政府", XINGGUO, "360700-government"),
    ("赣州市人社局", XINGGUO, "360700-human_resources"),
    ("江西省公安厅", XINGGUO, "360000-public_security"),
    ("省交警总队", XINGGUO, "360000-traffic_police"),
    ("南昌市红谷滩区城市管理局", JIANGXI, "360113-urban_management"),
    ("红谷滩区城管局", NANCHANG, "360113-urban_management"),
    ("区城管局", "360113", "360113-urban_management"),
    ("市城管局", "360113", "360100-urban_management"),
    ("红谷滩公安分局", NANCHANG, "360113-public_security"),
    ("沙井街道办", "360113", "360113001-government"),
    ("高新区城管局", NANCHANG, "360100-urban_management"),
    ("湾里管理局", NANCHANG, "3601K3-government"),
    ("小蓝经开区管委会", "360121", "360121403-government"),
    ("宜阳新区管委会", YICHUN, "3609K2-government"),
    ("武功山管委会", PINGXIANG, "3603K2-government"),
    ("丰城市住建局", YICHUN, "360981-housing_construction"),
    ("市住建局", "360981", "360981-housing_construction"),
    ("宜春市住建局", "360981", "360900-housing_construction"),
    ("国家税务总局兴国县税务局", JIANGXI, "360732-tax"),
    ("兴国县人民医院", XINGGUO, "360732-health"),
    ("高兴镇中心卫生院", XINGGUO, "360732-health"),
    ("兴国县第一中学", XINGGUO, "360732-education"),
    ("高兴镇便民服务中心", XINGGUO, "360732104-government"),
    ("高兴镇综合行政执法队", XINGGUO, "360732104-government"),
    ("高兴镇高兴村村委会", XINGGUO, "360732104-government"),
    ("萍乡市医疗保障局", PINGXIANG, "360300-health_insurance"),
]


@pytest.mark.parametrize(("written", "region", "code"), IN_REVIEWS_AND_CALLS)
def test_a_name_as_citizens_and_reviewers_write_it_means_a_unit(
    written: str, region: str, code: str
) -> None:
    unit = TABLE.by_name(written, region)
    assert unit is not None
    assert unit.code == code


NO_UNIT = ["某某公司", "", "“”", "兴国县某饭店", "市城管局x", "长沙市公安局", "张三"]


@pytest.mark.parametrize("written", NO_UNIT)
def test_a_name_of_no_unit_means_none(written: str) -> None:
    assert TABLE.by_name(written, XINGGUO) is None


GROUPS = [
    "各县区人民政府",
    "省政府各部门",
    "市政府相关部门",
    "各乡镇区",
    "政府系统各单位部门",
    "各市、县〔区〕政府",
    "省重点项目建设推进领导小组成员单位",
    "省生态环境保护委员会成员单位中相关省政府部门",
]


@pytest.mark.parametrize("written", GROUPS)
def test_a_group_is_no_unit_and_is_not_missing_either(written: str) -> None:
    assert is_group(written)
    assert TABLE.by_name(written, JIANGXI) is None
    assert TABLE.unresolved([(written, JIANGXI)]) == []


def test_a_unit_that_nobody_knows_is_reported() -> None:
    names = [("县发改委", XINGGUO), ("县月球局", XINGGUO), ("省政府各部门", JIANGXI)]
    assert TABLE.unresolved(names) == [("县月球局", XINGGUO)]


LINE_UNITS = [
    (XINGGUO, "market_regulation", "兴国县市场监督管理局"),
    ("360732104", "urban_management", "兴国县城市管理局"),
    (XINGGUO, "ecology_environment", "赣州市兴国生态环境局"),
    (XINGGUO, "rural_revitalization", "兴国县农业农村局"),
    (XINGGUO, "postal", "赣州市邮政管理局"),
    (XINGGUO, "communications", "赣州市通信发展管理办公室"),
    (XINGGUO, "public_transit", "兴国县交通运输局"),
    (XINGGUO, "tax", "国家税务总局兴国县税务局"),
    ("360113", "urban_management", "南昌市红谷滩区城市管理局"),
    ("360113", "public_security", "南昌市公安局红谷滩分局"),
    ("360113", "traffic_police", "南昌市公安局交通管理局红谷滩大队"),
    ("360113", "natural_resources", "南昌市自然资源和规划局红谷滩分局"),
    ("360113", "water_supply", "南昌水业集团有限责任公司"),
    ("360302", "traffic_police", "萍乡市公安局交通警察支队安源大队"),
    ("3609K2", "urban_management", "宜春市城市管理局"),
    ("360113", "financial_regulation", "国家金融监督管理总局江西监管局"),
    ("3600K1", "water_supply", "江西省住房和城乡建设厅"),
    (PINGXIANG, "natural_resources", "萍乡市自然资源和规划局"),
    (YICHUN, "health_insurance", "宜春市医疗保障局"),
    ("360981", "education", "丰城市教育局"),
    (JIANGXI, "urban_management", "江西省住房和城乡建设厅"),
    (JIANGXI, "education", "江西省教育厅"),
]


@pytest.mark.parametrize(("region", "line", "name"), LINE_UNITS)
def test_a_line_is_answered_by_the_regions_own_unit_or_the_next_one_up(
    region: str, line: str, name: str
) -> None:
    unit = TABLE.line_unit(region, line)
    assert unit is not None
    assert unit.name == name
    assert TABLE.unit(unit.code) == unit


def test_an_unknown_line_or_region_has_no_unit() -> None:
    assert TABLE.line_unit(XINGGUO, "moon") is None
    assert TABLE.line_unit("110000", "tax") is None
    assert TABLE.territory("110000") is None
    assert TABLE.unit("360732-moon") is None


def test_no_line_puts_a_county_without_an_answer() -> None:
    for region in GAZETTEER.regions:
        if region.level in {"county", "zone", "town"}:
            for line in TABLE.lines:
                unit = TABLE.line_unit(region.code, line.code)
                assert unit is not None, (region, line.code)
                assert covers(unit.region, region.code)


COORDINATORS = [
    (XINGGUO, "兴国县行政审批局", "document"),
    ("360732104", "兴国县行政审批局", "document"),
    (PINGXIANG, "萍乡市公共政务管理局", "document"),
    ("360302", "萍乡市公共政务管理局", "document"),
    (NANCHANG, "南昌市行政审批局", "line"),
    ("360113", "南昌市行政审批局", "line"),
    (YICHUN, "宜春市行政审批局", "line"),
    (JIANGXI, "江西省政务服务管理办公室", "document"),
    ("360702", "赣州市行政审批局", "default"),
]


@pytest.mark.parametrize(("region", "name", "basis"), COORDINATORS)
def test_every_region_has_a_coordinator(region: str, name: str, basis: str) -> None:
    unit = TABLE.coordinator(region)
    assert (unit.name, unit.basis) == (name, basis)


def test_a_region_outside_the_province_has_no_coordinator() -> None:
    with pytest.raises(KeyError):
        TABLE.coordinator("110000")


@pytest.mark.parametrize("region", [NANCHANG, YICHUN])
def test_documents_that_name_no_unit_lend_their_authority_to_none(region: str) -> None:
    cited = {
        unit.code
        for unit in TABLE.units(region)
        if (citation := TABLE.citation(unit.code)) and "2018" not in citation.document
    }
    own = [u for u in TABLE.units(region) if u.basis == "document" and u.line]
    assert own == []
    assert all(code.endswith("-government") for code in cited)


def test_codes_are_stable_ascii_and_name_their_region() -> None:
    for unit in TABLE.units():
        region, _, own = unit.code.partition("-")
        assert unit.code.isascii()
        assert unit.region == region
        assert GAZETTEER.region(region) is not None
        assert own
        assert unit.basis in {"document", "line", "default"}
        assert not unit.line or TABLE.line(unit.line) is not None


def test_every_full_name_means_its_own_unit_and_no_two_units_share_one() -> None:
    names: dict[str, str] = {}
    for unit in TABLE.units():
        assert names.setdefault(unit.name, unit.code) == unit.code
        found = TABLE.by_name(unit.name, "")
        assert found is not None
        assert found.code == unit.code


def test_units_of_a_region_include_those_below_and_no_others() -> None:
    units = TABLE.units(XINGGUO)
    assert {u.region for u in units} >= {XINGGUO, "360732104", "360732400"}
    assert all(covers(XINGGUO, u.region) for u in units)
    assert len(TABLE.units()) > len(TABLE.units(NANCHANG)) > len(units)


def test_there_are_fifty_lines_and_each_says_what_it_answers_for() -> None:
    assert len(TABLE.lines) >= 50
    for line in TABLE.lines:
        assert line.duty
        assert re.fullmatch(r"[a-z_]+", line.code)
        assert line.names or line.unit_of


def test_a_former_name_says_when_it_held_and_leads_to_a_line() -> None:
    former = {name: rename for rename in TABLE.renames for name in rename.names}
    assert former["工信委"].until == "2018-10"
    assert former["乡村振兴局"].since == "2021-05"
    for rename in TABLE.renames:
        for level in rename.levels:
            for name in rename.names:
                assert TABLE.line_of_name(name, level), (name, level)


def test_a_name_that_another_unit_bore_then_means_what_became_of_that_one(tmp_path: Path) -> None:
    (tmp_path / "renames.yaml").write_text(
        "- {code: cg, name: 城市管理局, from: 2012-01, until: 2018-12, line: housing_construction}\n",
        "utf-8",
    )
    table = load_table(GAZETTEER, tmp_path)
    for name in ("兴国县城市管理局", "县城市管理局"):
        codes = []
        for on in (
            None,
            date(2011, 12, 31),
            date(2012, 1, 1),
            date(2018, 12, 31),
            date(2019, 1, 1),
        ):
            unit = table.by_name(name, XINGGUO, on)
            codes.append(unit.code.partition("-")[2] if unit else "")
        assert codes == [
            "urban_management",
            "urban_management",
            "housing_construction",
            "housing_construction",
            "urban_management",
        ]


def test_the_same_data_gives_the_same_json_and_other_data_another(tmp_path: Path) -> None:
    assert load_table(load_gazetteer()).canonical_json() == TABLE.canonical_json()
    assert json.loads(TABLE.canonical_json())["lines"]
    (tmp_path / "units.yaml").write_text(
        "- {code: 360732-tax, name: 兴国县税务所, basis: default}\n", encoding="utf-8"
    )
    changed = load_table(GAZETTEER, tmp_path)
    assert changed.canonical_json() != TABLE.canonical_json()
    unit = changed.line_unit(XINGGUO, "tax")
    assert unit is not None
    assert unit.name == "兴国县税务所"


BROKEN = [
    ("lines.yaml", "- {code: x, name: 某, duty: 某事}\n", 1, "名称模板"),
    ("lines.yaml", "- {code: X, name: 某, city: a, duty: 某事}\n", 1, "小写英文"),
    ("lines.yaml", "- {code: x, name: 某, city: '{town}局', duty: 某事}\n", 1, "只能用"),
    ("lines.yaml", "- {code: x, name: 某, unit_of: y, duty: 某事}\n", 1, "不存在的条线 y"),
    (
        "lines.yaml",
        "- {code: x, name: 甲, unit_of: y, duty: 某}\n- {code: y, name: 乙, unit_of: x, duty: 某}",
        1,
        "没有尽头",
    ),
    ("units.yaml", "\n- {code: 360799-tax}\n", 2, "区划 360799 不存在"),
    ("units.yaml", "- {code: tax}\n", 1, "区划代码-英文名"),
    ("units.yaml", "- {code: 360732-moon}\n", 1, "应写明 name"),
    ("units.yaml", "- {code: 360732-moon, name: 某局, line: moon}\n", 1, "条线 moon 不存在"),
    ("units.yaml", "- code: 360732-tax\n  document: none-2020\n", 2, "文件 none-2020 不存在"),
    ("units.yaml", "- {code: 360732-tax, document: xingguo-2021}\n", 1, "items"),
    ("units.yaml", "- {code: 360732-tax, items: ['1']}\n", 1, "无 document"),
    ("units.yaml", "- {code: 360732-tax, basis: document}\n", 1, "反之亦然"),
    (
        "units.yaml",
        "- {code: 360732-moon, name: 某局, as: [县工信局]}\n- {code: 360732-sun, name: 县工信局}\n",
        2,
        "已属于 360732-moon",
    ),
    ("units.yaml", "- {code: 360732-tax, coordinator: yes}\n", 1, "true、false"),
    ("units.yaml", "- {code: 360732-metro, unit_of: moon}\n", 1, "不存在的条线 moon"),
    ("renames.yaml", "- {code: r, name: 旧局}\n", 1, "恰有一个"),
    ("renames.yaml", "- {code: r, name: 旧局, line: moon}\n", 1, "条线 moon 不存在"),
    ("renames.yaml", "- {code: r, name: 旧局, became: 无此局}\n", 1, "找不到今天的条线"),
    ("renames.yaml", "- {code: r, name: 旧局, line: tax, until: 去年}\n", 1, "年-月"),
    (
        "renames.yaml",
        "- {code: r, name: 旧局, became: 老局}\n- {code: s, name: 老局, became: 旧局}\n",
        1,
        "找不到今天的条线",
    ),
    ("documents.yaml", "- {code: d, region: '110000', title: 某}\n", 1, "区划 110000 不存在"),
    ("documents.yaml", "- {code: d, region: '360000', title: 某, issued: 去年}\n", 1, "日期"),
    (
        "documents.yaml",
        "- {code: d, region: '360732', title: 某, issued: 2026-03-09}\n",
        1,
        "已登记文件 xingguo-2021",
    ),
]


@pytest.mark.parametrize(("file", "text", "line", "reason"), BROKEN)
def test_a_broken_row_stops_the_load_with_file_line_and_reason(
    tmp_path: Path, file: str, text: str, line: int, reason: str
) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(RuleFileError) as caught:
        load_table(GAZETTEER, tmp_path)
    assert caught.value.file == tmp_path / file
    assert caught.value.line == line
    assert reason in caught.value.reason


@given(st.text(max_size=20), st.sampled_from([XINGGUO, "360113", JIANGXI, "", "110000"]))
def test_any_name_means_a_unit_or_none(name: str, region: str) -> None:
    unit = TABLE.by_name(name, region)
    assert unit is None or TABLE.unit(unit.code) == unit


@given(st.sampled_from(TABLE.units()), st.integers(0, 30), st.sampled_from(" 　“”\"'"))
def test_spaces_and_quotation_marks_in_a_name_do_not_count(
    unit: object, where: int, mark: str
) -> None:
    name = getattr(unit, "name", "")
    assert TABLE.by_name(name[:where] + mark + name[where:], "") == unit


CITIES = (
    *("上饶", "九江", "南昌", "吉安", "宜春", "抚州"),
    *("新余", "景德镇", "萍乡", "赣州", "鹰潭"),
)
DOCUMENTS = os.environ.get("BANJIE_DOCUMENTS")


def written_names(text: str) -> list[tuple[str, str]]:
    """Return (item, name) from a document's brackets, roughly: a run of cities is not joined."""
    found: list[tuple[str, str]] = []
    for paragraph in text.split("\n"):
        number = re.match(r"\s*(?:[（(]([一二三四五六七八九十]+)[)）]|(\d+)\s*[.．、])", paragraph)
        for bracket in re.finditer(r"[（(]\s*((?:牵头|责任)单位[^）)]+)[）)]", paragraph):
            for part in re.split(r"[;；]", bracket[1]):
                run = re.sub(r"\s", "", re.split(r"[:：]", part)[-1])
                item = number[1] or number[2] if number else ""
                found.extend((item, name) for name in re.split(r"[、，,](?![^〔]*〕)", run))
    return found


@pytest.mark.skipif(not DOCUMENTS, reason="BANJIE_DOCUMENTS names no folder")
@pytest.mark.parametrize(
    ("start", "region", "least"),
    [("000", XINGGUO, 12), ("001", PINGXIANG, 22), ("004", JIANGXI, 50)],
)
def test_every_unit_that_a_document_names_is_in_the_table(
    start: str, region: str, least: int
) -> None:
    (path,) = Path(DOCUMENTS or "").glob(f"{start}_*.txt")
    written = written_names(path.read_text(encoding="utf-8"))
    names = {name for _, name in written}
    assert len(names) >= least
    assert TABLE.unresolved([(name, region) for name in sorted(names)]) == []
    table_names = {plain(name) for there, name, _ in IN_DOCUMENTS if there == region}
    cities = {f"{city}市{ending}" for city in CITIES for ending in ("", "政府")}
    assert {plain(name) for name in names if not is_group(name)} <= table_names | cities


@pytest.mark.skipif(not DOCUMENTS, reason="BANJIE_DOCUMENTS names no folder")
@pytest.mark.parametrize(
    ("start", "document"),
    [("000", "xingguo-2021"), ("001", "pingxiang-2020"), ("004", "jiangxi-2018")],
)
def test_every_unit_is_cited_with_the_items_that_name_it_and_no_others(
    start: str, document: str
) -> None:
    (path,) = Path(DOCUMENTS or "").glob(f"{start}_*.txt")
    (source,) = [d for d in TABLE.documents if d.code == document]
    named: dict[str, list[str]] = {}
    for item, name in written_names(path.read_text(encoding="utf-8")):
        unit = TABLE.by_name(name, source.region)
        if unit:
            items = named.setdefault(unit.code, [])
            if item not in items:
                items.append(item)
    cited = {
        unit.code: list(citation.items)
        for unit in TABLE.units()
        if (citation := TABLE.citation(unit.code)) and citation.document == source.reference
    }
    assert cited == named
