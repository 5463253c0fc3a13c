from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_rules.named_units import Named, is_group, named_units


def read(text: str) -> Named:
    return named_units(text, 0, len(text))


LISTS: list[tuple[str, Sequence[str], Sequence[str]]] = [
    # how a list is opened
    ("做好甲事。（牵头单位：县水务局）", ["县水务局"], []),
    ("做好甲事。(责任单位:县水务局,县林业局)", [], ["县水务局", "县林业局"]),
    ("甲。(牵头单位:省甲厅;责任单位:省乙厅、省丙厅)", ["省甲厅"], ["省乙厅", "省丙厅"]),
    ("甲。（牵头单位：省甲厅；责任单位：省乙厅）", ["省甲厅"], ["省乙厅"]),
    ("甲。【责任单位：县水务局】", [], ["县水务局"]),
    ("甲。（ 牵头单位 ： 县水务局 、 县林业局 ）", ["县水务局", "县林业局"], []),
    ("甲。（牵头\n单位：县水\n务局、县林业局）", ["县水务局", "县林业局"], []),
    ("甲。（主要责任单位：县水务局）", [], ["县水务局"]),
    ("甲。（牵头单位：县水务局，配合单位：县林业局）", ["县水务局"], ["县林业局"]),
    ("甲。责任单位：县水务局、县林业局\n", [], ["县水务局", "县林业局"]),
    ("甲。\n牵头单位：县水务局\n责任单位：县林业局、\n县交通局\n", ["县水务局"], ["县林业局", "县交通局"]),
    ("甲。（县水务局牵头，县林业局、县交通局配合）", ["县水务局"], ["县林业局", "县交通局"]),
    ("甲。（县水务局、县林业局按职责分工负责）", [], ["县水务局", "县林业局"]),
    # what is no list
    ("牵头单位部门要牵好头，各责任单位要主动履职。", [], []),
    ("示范镇（简称示范镇）由专人负责（由专人负责）", [], []),
    ("各县（市、区）要落实（见附件）", [], []),
    # commas that part no names
    ("甲。(责任单位:省政府各部门,各市、县〔区〕政府)", [], ["省政府各部门", "各市、县〔区〕政府"]),
    ("甲。（责任单位：各县（市、区）人民政府、县水务局）", [], ["各县（市、区）人民政府", "县水务局"]),
    ("甲。（责任单位：县编办〔县审改办、县登记局〕、县水务局）", [], ["县编办〔县审改办、县登记局〕", "县水务局"]),
    ("甲。（责任单位：县“净水、净空”办、县水务局）", [], ["县“净水、净空”办", "县水务局"]),
    ("甲。（责任单位：各乡镇区、政府系统各单位部门）", [], ["各乡镇区", "政府系统各单位部门"]),
    ("甲。（牵头单位：县“净水”办、清泉镇）", ["县“净水”办", "清泉镇"], []),
    # endings that belong to a whole run
    ("甲。(责任单位:省甲厅,东山市、西河市、南湖市政府,云岭新区管委会)", [],
     ["省甲厅", "东山市政府", "西河市政府", "南湖市政府", "云岭新区管委会"]),
    ("甲。(责任单位:省甲厅、东山市、西河市人民政府)", [], ["省甲厅", "东山市人民政府", "西河市人民政府"]),
    ("甲。(责任单位:省河湖领导小组、省林长委员会成员单位中相关省政府部门)", [],
     ["省河湖领导小组成员单位中相关省政府部门", "省林长委员会成员单位中相关省政府部门"]),
    ("甲。(责任单位:省发展改革委员会、省河湖领导小组成员单位)", [],
     ["省发展改革委员会", "省河湖领导小组成员单位"]),
    ("甲。(责任单位:清泉镇、云岭新区管委会)", [], ["清泉镇", "云岭新区管委会"]),
    ("甲。(责任单位:东山市、省甲厅、西河市政府)", [], ["东山市", "省甲厅", "西河市政府"]),
    ("甲。(责任单位:阜新市、西河区政府)", [], ["阜新市政府", "西河区政府"]),
    # blanks instead of commas
    ("甲。\n责任单位：县水务局 县林业局\n", [], ["县水务局", "县林业局"]),
    ("甲。（责任单位：县政府办\n公室）", [], ["县政府办公室"]),
    # each name once
    ("甲。（责任单位：县水务局、县水务局）", [], ["县水务局"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lead", "responsible"), LISTS)
def test_units_are_read_as_they_are_written(
    text: str, lead: Sequence[str], responsible: Sequence[str]
) -> None:
    named = read(text)
    assert list(named.lead) == list(lead)
    assert list(named.responsible) == list(responsible)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("各县区人民政府", True),
        ("各市、县〔区〕政府", True),
        ("省政府各部门", True),
        ("各乡镇区", True),
        ("市政府相关部门", True),
        ("政府系统各单位部门", True),
        ("省河湖领导小组成员单位中相关省政府部门", True),
        ("县直单位", True),
        ("县水务局", False),
        ("县“净水”办", False),
        ("清泉镇", False),
        ("省编办〔省审改办〕", False),
        ("县编办〔县审改办、县登记局〕", False),
        ("锦溪街道", False),
        ("云岭新区管委会", False),
    ],
)
def test_a_group_is_told_from_a_unit(name: str, group: bool) -> None:
    assert is_group(name) is group


@pytest.mark.parametrize(
    ("text", "code", "names"),
    [
        ("甲。（责任单位：县水务局、县林业局", "unclosed-bracket", ("县水务局", "县林业局")),
        ("甲。（责任单位：）", "empty-unit", ()),
        ("甲。（责任单位：县水务局等）", "open-list", ("县水务局",)),
        ("甲。（责任单位：乡()政府、县水务局）", "damaged-name", ("县水务局",)),
        ("甲。（责任单位：县\ufffd务局、县林业局）", "damaged-name", ("县林业局",)),
        ("甲。（责任单位：" + "甲" * 61 + "局）", "damaged-name", ()),
    ],
)
def test_a_faulty_list_is_reported_and_nothing_is_made_up(
    text: str, code: str, names: tuple[str, ...]
) -> None:
    named = read(text)
    assert code in {problem.code for problem in named.problems}
    assert named.responsible == names


WRITTEN = st.lists(
    st.text("县市水林业局厅各、，,;；:：()（）〔〕“” \n责任单位牵头政府办等。", max_size=12),
    max_size=12,
)


@given(WRITTEN)
def test_every_name_is_made_of_what_is_written(pieces: list[str]) -> None:
    text = "".join(pieces)
    named = read(text)
    for name in (*named.lead, *named.responsible):
        assert set(name) <= set(text)
        assert not any(character.isspace() for character in name)
    assert set(named.groups) <= {*named.lead, *named.responsible}


@given(st.permutations(["县水务局", "县林业局", "各乡镇区", "清泉镇", "县“净水、净空”办"]))
def test_a_list_gives_back_its_names_in_order(names: list[str]) -> None:
    assert list(read(f"甲。（牵头单位：{'、'.join(names)}）").lead) == names
