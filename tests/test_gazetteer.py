"""Regions by code and name, and the places that a free text mentions."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_rules.gazetteer import Gazetteer, level, load_gazetteer
from routing_rules.yamlfile import RuleFileError
from service.domain.ports import Gazetteer as GazetteerPort
from service.domain.region import covers


@pytest.fixture(scope="module")
def gazetteer() -> Gazetteer:
    return load_gazetteer()


FOUND = [
    ("360732", "360732"),
    ("360732000000", "360732"),
    ("360732104000", "360732104"),
    ("江西省赣州市兴国县", "360732"),
    ("江西 / 赣州 / 兴国", "360732"),
    ("兴国县", "360732"),
    ("兴国", "360732"),
    ("南昌市红谷滩区", "360113"),
    ("南昌红谷滩", "360113"),
    ("红谷滩新区", "360113"),
    ("江西省", "360000"),
    ("江西", "360000"),
    ("吉安", "360800"),
    ("吉安县", "360821"),
    ("吉安市吉安县", "360821"),
    ("南昌", "360100"),
    ("南昌市南昌县", "360121"),
    ("新建", "360112"),
    ("莲花", "360321"),
    # former names
    ("南康市", "360703"),
    ("赣县", "360704"),
    ("上饶县", "361104"),
    ("九江县", "360404"),
    ("星子县", "360483"),
    ("东乡县", "361003"),
    ("余江县", "360603"),
    ("龙南县", "360783"),
    ("广丰县", "361103"),
    ("波阳县", "361128"),
    ("庐山区", "360402"),
    ("湾里区", "3601K3"),
    # functional zones
    ("宜阳新区", "3609K2"),
    ("宜春市宜阳新区", "3609K2"),
    ("宜春经开区", "3609K1"),
    ("明月山温泉风景名胜区", "3609K3"),
    ("萍乡经开区", "3603K1"),
    ("萍乡市经济技术开发区", "3603K1"),
    ("武功山风景名胜区", "3603K2"),
    ("南昌高新区", "3601K1"),
    ("赣江新区", "3600K1"),
    ("兴国县经开区", "360732400"),
    # towns
    ("兴国县高兴镇", "360732104"),
    ("高兴镇", "360732104"),
    ("赣州市兴国县长冈乡", "360732217"),
    ("兴国县长冈镇", "360732217"),
    ("沙井街道", "360113001"),
    # unknown, shared or elsewhere
    ("高新区", None),
    ("湖坊镇", None),
    ("赣州开发区", None),
    ("长沙市", None),
    ("某地", None),
    ("", None),
    ("999999", None),
    ("370000", None),
]


@pytest.mark.parametrize(("name", "code"), FOUND)
def test_a_region_is_found_by_code_and_by_every_name(
    gazetteer: Gazetteer, name: str, code: str | None
) -> None:
    assert gazetteer.find(name) == code


def test_the_province_has_eleven_cities_and_a_hundred_counties(gazetteer: Gazetteer) -> None:
    levels = [region.level for region in gazetteer.regions]
    assert levels.count("city") == 11
    assert levels.count("county") == 100
    xingguo = [r for r in gazetteer.regions if covers("360732", r.code) and r.level == "town"]
    assert len(xingguo) == 25


NAMES = [
    ("360000", "江西省"),
    ("360300", "萍乡市"),
    ("360732", "兴国县"),
    ("360981", "丰城市"),
    ("360113", "南昌市红谷滩区"),
    ("360732104", "兴国县高兴镇"),
    ("360113001", "南昌市红谷滩区沙井街道"),
]


@pytest.mark.parametrize(("code", "name"), NAMES)
def test_a_full_name_has_the_region_that_it_needs(
    gazetteer: Gazetteer, code: str, name: str
) -> None:
    assert gazetteer.name(code) == name
    assert gazetteer.find(name) == code


def test_every_region_is_found_by_its_full_name_and_lies_in_its_parents(
    gazetteer: Gazetteer,
) -> None:
    for region in gazetteer.regions:
        assert gazetteer.find(region.code) == region.code
        assert gazetteer.find(region.full_name) == region.code, region
        chain = gazetteer.parents(region.code)
        assert chain[0] == region.code
        assert chain[-1] == "360000"
        assert all(covers(outer, region.code) for outer in chain)
        if len(chain) > 1:
            assert region.code in gazetteer.children(chain[1])


def test_an_unknown_code_has_no_name(gazetteer: Gazetteer) -> None:
    with pytest.raises(KeyError):
        gazetteer.name("110000")
    assert gazetteer.children("110000") == ()


def test_a_zone_lies_beside_the_districts_of_its_city(gazetteer: Gazetteer) -> None:
    assert gazetteer.parents("3609K2") == ("3609K2", "360900", "360000")
    assert {"3609K2", "360902"} <= set(gazetteer.children("360900"))
    assert level("3609K2") == level("360732400") == level("360732K01") == "zone"


MENTIONS = [
    ("家住江西省赣州市兴国县高兴镇,路灯坏了", "", [("江西省赣州市兴国县高兴镇", "360732104")]),
    ("南昌市红谷滩区的烧烤摊", "", [("南昌市红谷滩区", "360113")]),
    ("红谷滩那边小区北门", "360100", [("红谷滩", "360113")]),
    ("枫边到县城,枫边乡的班车停了", "360732", [("枫边", "360732212"), ("枫边乡", "360732212")]),
    ("江背圩上一个网吧", "360732", [("江背", "360732101")]),
    ("开发区招商承诺的补贴", "360732", [("开发区", "360732400")]),
    ("开发区招商承诺的补贴", "360300", [("开发区", "3603K1")]),
    ("开发区招商承诺的补贴", "", []),
    ("高新区晚上施工", "360113", [("高新区", "3601K1")]),
    ("高新区晚上施工", "360732", []),
    ("湖坊镇修路", "360111", [("湖坊镇", "360111104")]),
    ("湖坊镇修路", "361124", [("湖坊镇", "361124105")]),
    ("湖坊镇修路", "360732", []),
    ("上饶这边,湖坊镇修路", "360000", [("上饶", "361100"), ("湖坊镇", "361124105")]),
    ("丰城我舅的低保,还有樟树有个厂招工", "360900", [("丰城", "360981"), ("樟树", "360982")]),
    ("宜春上高县", "", [("宜春上高县", "360923")]),
    ("在湾里买的房", "360100", [("湾里", "3601K3")]),
    # roads, schools, hospitals, dishes, people: built from a name, and somewhere else
    ("南昌路的路灯坏了", "360300", []),
    ("兴国路口堵车", "360732", []),
    ("青山湖大道施工", "360100", []),
    ("安源煤矿老宿舍没水", "360300", []),
    ("萍乡学院的宿舍", "360300", []),
    ("新余一中门口", "", []),
    ("兴国第二医院", "360732", []),
    ("兴国一小区停水", "360732", [("兴国", "360732")]),
    ("宜春中石化加油站", "360900", [("宜春", "360900")]),
    ("红谷滩广场舞太吵", "360100", [("红谷滩", "360113")]),
    ("宜春人社局电话", "360900", [("宜春", "360900")]),
    ("瑞金医院挂号难", "", []),
    ("九江银行乱收费", "360900", []),
    ("南昌拌粉店不卫生", "360732", []),
    ("老板是南丰人", "", []),
    ("赣州老表饭店", "", []),
    ("井冈山大学招生", "", []),
    # full names stay places whatever follows
    ("兴国县人民医院收费高", "", [("兴国县", "360732")]),
    ("萍乡市八一街道路坑洼", "", [("萍乡市", "360300")]),
    # names inside other words
    ("由于都是泥巴路", "360700", []),
    ("问题在于都没人管", "360700", []),
    ("家在于都县城", "", [("于都县", "360731")]),
    ("位于都昌县的房子", "", [("都昌县", "360428")]),
    ("新兴国家的标准", "", []),
    ("振兴国有企业", "", []),
    ("车子上高速收费不对", "360900", []),
    ("楼下维修水管一个月", "360400", []),
    ("娱乐平台充值骗人", "360200", []),
    ("提高安全意识", "360900", []),
    ("更新余额显示不对", "360500", []),
    ("新建猪栏有补贴吗", "360100", []),
    ("这里不适宜春天种树", "", []),
    ("门口的樟树倒了", "360900", []),
    ("争创示范镇", "360400", []),
    ("我很高兴路修好了", "360732", []),
    ("问政江西上留言三次", "", []),
    ("我叫王兴国,住县城", "360732", []),
    ("不识庐山真面目", "360400", []),
    ("九龙湖那边的小区", "360100", [("九龙湖", "360113006")]),
    ("居民和物业吵架", "360124", []),
    ("娱乐化的节目", "360112", []),
    ("便宜黄金首饰", "361000", []),
    ("", "360732", []),
]


@pytest.mark.parametrize(("text", "within", "expected"), MENTIONS)
def test_a_text_mentions_places_and_not_words_that_look_like_them(
    gazetteer: Gazetteer, text: str, within: str, expected: list[tuple[str, str]]
) -> None:
    found = gazetteer.mentions(text, within=within)
    assert [(text[m.start : m.end], m.code) for m in found] == expected
    assert [m.name for m in found] == [gazetteer.name(m.code) for m in found]


OUTSIDE = [
    ("我在湖南长沙买的房子烂尾了", "湖南省长沙市"),
    ("湖南长沙的物业", "湖南省长沙市"),
    ("武汉市", "湖北省武汉市"),
    ("广东省东莞市虎门镇某厂拖欠工资", "广东省东莞市"),
    ("武汉那边社保局不开证明", "湖北省武汉市"),
    ("深圳龙岗区某厂", "广东省深圳市"),
    ("海南省三亚市酒店不退款", "海南省三亚市"),
    ("浏阳市的鞭炮厂爆炸声", "湖南省浏阳市"),
    ("长沙的物业乱收费", "湖南省长沙市"),
    ("我在深圳买的房子漏水", "广东省深圳市"),
    ("武汉的工地欠我工资", "湖北省武汉市"),
    ("在上海的医院看病回来怎么报销", None),
    ("朝阳的房子贵,日照的房间晒", None),
    ("湖南路的路灯坏了", None),
    ("北京西路堵车", None),
    ("上海路街道不开门", None),
    ("上海通用汽车质量差", None),
    ("武汉热干面店卫生差", None),
    ("广东老板跑路", None),
    ("重庆火锅店油烟", None),
    ("四川成都小吃店", None),
    ("我在广东省深圳市打工,医保怎么转回兴国", None),
    ("在北京市住院回兴国报销", None),
    ("女儿在上海被公司裁员", None),
    ("快递寄到北京市丢了", None),
    ("大南昌都市圈建设", None),
    ("上海市场价格", None),
    ("江西省和湖南省交界处", None),
    ("安康码打不开,日照不足,大理石开裂,长治久安", None),
    ("南昌市红谷滩区", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "name"), OUTSIDE)
def test_another_province_is_noticed_only_where_the_matter_lies_there(
    gazetteer: Gazetteer, text: str, name: str | None
) -> None:
    found = gazetteer.outside(text)
    assert (found.name if found else None) == name


PLACES = [
    "兴国县",
    "南昌",
    "高新区",
    "赣州市",
    "高兴镇",
    "长沙市",
    "路",
    "的",
    "于都",
    "由",
    "修水",
    "管",
]


@given(st.lists(st.sampled_from(PLACES), max_size=12).map("".join))
def test_mentions_stand_in_order_and_never_overlap(text: str) -> None:
    gazetteer = LOADED
    past = 0
    for mention in gazetteer.mentions(text, within="360732"):
        assert past <= mention.start < mention.end <= len(text)
        assert gazetteer.region(mention.code) is not None
        past = mention.end
    gazetteer.outside(text)


@given(st.text(max_size=60))
def test_no_text_breaks_the_gazetteer(text: str) -> None:
    LOADED.mentions(text, within="360100")
    LOADED.outside(text)
    LOADED.find(text)


LOADED = load_gazetteer()


def test_it_fulfils_the_port() -> None:
    port: GazetteerPort = LOADED
    assert port.name("360732") == "兴国县"


def test_an_overlay_adds_a_region_and_changes_a_name(tmp_path: Path) -> None:
    (tmp_path / "regions.yaml").write_text(
        "- {code: 3607K9, name: 赣州新城, body: 赣州新城管理委员会, basis: default}\n"
        "- {code: 360732, name: 兴国县, as: [将军县]}\n",
        encoding="utf-8",
    )
    gazetteer = load_gazetteer(tmp_path)
    assert gazetteer.find("赣州新城") == "3607K9"
    assert gazetteer.find("将军县") == "360732"
    assert gazetteer.canonical_json() != LOADED.canonical_json()
    assert load_gazetteer().canonical_json() == LOADED.canonical_json()


BROKEN = [
    ("regions.yaml", "- {code: 110000, name: 北京市}\n", 1, "不是本省"),
    ("regions.yaml", "\n- {code: 363201, name: 某县}\n", 2, "上级区划 363200 不存在"),
    ("regions.yaml", "- {code: 3607K9, name: 某区}\n", 1, "管理机构"),
    ("regions.yaml", "- {code: 360732, name: 兴国县, alias: [x]}\n", 1, "不认识的键 alias"),
    ("regions.yaml", "- {code: 360732, name: 兴国县, bare: never}\n", 1, "之一"),
    ("regions.yaml", "- code: 360732\n  name: 兴国县\n  was: [{name: a, until: b}]\n", 3, "年-月"),
    ("towns.yaml", "- {county: 360799, towns: 100某镇}\n", 1, "不存在"),
    ("towns.yaml", "- {county: 360732, towns: 某镇}\n", 1, "三位数字"),
    ("towns.yaml", "- {county: 360732, towns: 100某某镇, bare: 别的}\n", 1, "不在 towns 中"),
    ("outside.yaml", "- {name: 湖南省}\n", 1, "缺少 short"),
]


@pytest.mark.parametrize(("file", "text", "line", "reason"), BROKEN)
def test_a_broken_overlay_stops_with_file_line_and_reason(
    tmp_path: Path, file: str, text: str, line: int, reason: str
) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")
    with pytest.raises(RuleFileError) as caught:
        load_gazetteer(tmp_path)
    assert caught.value.file == tmp_path / file
    assert caught.value.line == line
    assert reason in caught.value.reason
