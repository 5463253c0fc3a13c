"""The committed clauses, and the five published documents they were derived from.

The documents stay outside the repository; BANJIE_DOCUMENTS names their folder.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from routing_rules import derive as derive_module
from routing_rules.derive import Derivation, clause_file, derive

CLAUSES = Path(derive_module.__file__).parent / "data" / "clauses"

REGIONS = {
    "000_4b523419be7182c1": "360732",
    "001_22a072f485a76a77": "360300",
    "002_20dd46fe5321e11d": "360100",
    "003_187a420b368fca97": "360900",
    "004_0802d48e4338ccb3": "360000",
}

FOLDER = Path(os.environ.get("BANJIE_DOCUMENTS", ""))
needs_documents = pytest.mark.skipif(
    not os.environ.get("BANJIE_DOCUMENTS"), reason="BANJIE_DOCUMENTS names no folder"
)

# Items, those with a 牵头单位, those with a 责任单位: counted by hand in print.
COUNTS = {
    "000_4b523419be7182c1": (17, 14, 3),
    "001_22a072f485a76a77": (23, 0, 23),
    "002_20dd46fe5321e11d": (17, 0, 0),
    "003_187a420b368fca97": (20, 0, 0),
    "004_0802d48e4338ccb3": (60, 60, 60),
}

GROUPS = {
    "000_4b523419be7182c1": {"各乡镇区", "政府系统各单位部门"},
    "001_22a072f485a76a77": {"各县区人民政府", "市政府各部门", "市政府相关部门"},
}


def committed(stem: str) -> dict[str, Any]:
    loaded = yaml.safe_load((CLAUSES / f"{stem}.yaml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def derived(stem: str) -> Derivation:
    return derive(FOLDER / f"{stem}.txt", REGIONS[stem])


def row(stem: str, item: str) -> dict[str, Any]:
    (found,) = [clause for clause in committed(stem)["clauses"] if clause["item"] == item]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("stem", COUNTS)
def test_every_item_of_a_document_is_there_with_its_roles(stem: str) -> None:
    clauses = committed(stem)["clauses"]
    assert len(clauses) == COUNTS[stem][0]
    assert sum(1 for clause in clauses if clause["lead_units"]) == COUNTS[stem][1]
    assert sum(1 for clause in clauses if clause["responsible_units"]) == COUNTS[stem][2]
    assert len({(*clause["heading_path"], clause["item"]) for clause in clauses}) == len(clauses)


def test_one_hundred_of_137_items_name_units() -> None:
    rows = [clause for stem in COUNTS for clause in committed(stem)["clauses"]]
    assert len(rows) == 137
    assert sum(1 for clause in rows if clause["lead_units"] or clause["responsible_units"]) == 100


def test_the_heads_are_those_of_print_and_damage_stays_damaged() -> None:
    heads = {stem[:3]: committed(stem)["document"] for stem in COUNTS}
    assert heads["000"]["number"] == "兴五型办字〔2021〕4号"
    assert {number: head["date"] for number, head in heads.items()} == {
        "000": "2021-04-03",
        "001": None,
        "002": "2021-03-07",
        "003": "2022-09-01",
        "004": "2018-09-25",
    }
    assert [heads[number]["number"] for number in ("001", "002", "003", "004")] == [None] * 4
    codes = [finding["code"] for finding in committed("001_22a072f485a76a77")["findings"]]
    assert codes.count("damaged-number") == 1
    assert codes.count("damaged-date") == 3
    assert codes.count("empty-bracket") == 4


def test_items_carry_the_numbers_and_chapters_of_print() -> None:
    first = committed("000_4b523419be7182c1")["clauses"]
    assert [clause["heading_path"] for clause in first[:3]] == [["1"], ["1"], ["二"]]
    fourth = committed("003_187a420b368fca97")["clauses"]
    assert [clause["item"] for clause in fourth[15:]] == [
        "16",
        "（一）",
        "（二）",
        "（三）",
        "（四）",
    ]
    assert fourth[16]["heading_path"] == ["四"]
    last = committed("004_0802d48e4338ccb3")["clauses"][-1]
    assert (last["heading_path"], last["item"]) == (["六"], "(六十)")


def test_shared_endings_are_given_to_every_name() -> None:
    stem = "004_0802d48e4338ccb3"
    cities = ("南昌", "景德镇", "新余", "鹰潭", "赣州", "上饶", "吉安", "抚州")
    assert row(stem, "(十三)")["responsible_units"] == [
        "省发改委",
        "省工信委",
        *(f"{city}市政府" for city in cities),
    ]
    assert row(stem, "(二十九)")["responsible_units"][-1] == "赣江新区管委会"
    assert row(stem, "(三十四)")["groups"] == [
        "省生态文明先行示范区建设领导小组成员单位中相关省政府部门",
        "省生态环境保护委员会成员单位中相关省政府部门",
        "各市、县〔区〕政府",
    ]
    assert row(stem, "(十)")["lead_units"] == ["省发改委", "省编办〔省审改办〕"]


@pytest.mark.parametrize("stem", GROUPS)
def test_groups_are_typed_as_groups(stem: str) -> None:
    found = {name for clause in committed(stem)["clauses"] for name in clause["groups"]}
    assert found == GROUPS[stem]


def test_limits_with_a_figure_are_those_of_print() -> None:
    assert row("000_4b523419be7182c1", "4")["limits"] == ["一日办结"]
    assert row("002_20dd46fe5321e11d", "9")["limits"] == ["1个工作日内", "1个工作日"]
    assert row("003_187a420b368fca97", "15")["limits"] == ["13710"]


@pytest.mark.parametrize(
    ("stem", "item", "words"),
    [
        ("000_4b523419be7182c1", "4", {"企业开办", "容缺受理", "刻制印章"}),
        ("001_22a072f485a76a77", "13", {"12345", "政务服务热线", "中介服务超市"}),
        ("002_20dd46fe5321e11d", "9", {"印章刻制", "简易注销", "社保登记", "营业执照"}),
        ("003_187a420b368fca97", "11", {"惠企政策", "营商环境", "企业诉求"}),
        ("004_0802d48e4338ccb3", "(三十五)", {"脱贫攻坚"}),
    ],
)
def test_topics_name_what_a_complaint_would(stem: str, item: str, words: set[str]) -> None:
    assert words <= set(row(stem, item)["topics"])


def test_no_slogan_is_a_topic_and_no_topic_is_a_sentence() -> None:
    words = {w for stem in COUNTS for c in committed(stem)["clauses"] for w in c["topics"]}
    assert all(2 <= len(word) <= 8 and not re.search(r"[。，；、]", word) for word in words)
    assert not any("五型" in word or "高质量" in word for word in words)


@needs_documents
@pytest.mark.parametrize("stem", COUNTS)
def test_the_committed_clauses_are_derived_again_byte_for_byte(stem: str) -> None:
    again = clause_file(derived(stem)).encode()
    assert (CLAUSES / f"{stem}.yaml").read_bytes() == again


@needs_documents
@pytest.mark.parametrize("stem", COUNTS)
def test_anyone_with_the_document_can_check_a_clause(stem: str) -> None:
    content = (FOLDER / f"{stem}.txt").read_bytes()
    loaded = committed(stem)
    assert loaded["document"]["sha256"] == hashlib.sha256(content).hexdigest()
    text = content.decode()
    for clause in loaded["clauses"]:
        start, end = clause["span"]
        assert hashlib.sha256(text[start:end].encode()).hexdigest() == clause["sha256"]
        assert text[start:end].startswith(clause["item"])


@needs_documents
@pytest.mark.parametrize("stem", COUNTS)
def test_the_units_of_a_clause_are_the_words_of_its_bracket(stem: str) -> None:
    text = (FOLDER / f"{stem}.txt").read_text(encoding="utf-8")
    for clause in committed(stem)["clauses"]:
        piece = text[slice(*clause["span"])]
        brackets = re.findall(r"[（(](?:牵头|责任)单位[:：].*[）)]$", piece)
        names = {*clause["lead_units"], *clause["responsible_units"]}
        assert bool(brackets) == bool(names)
        # What is left of the bracket without its names is punctuation and the two role words,
        # save where an ending is shared.
        rest = "".join(brackets)
        for name in sorted(names, key=len, reverse=True):
            for ending in ("", "政府", "成员单位中相关省政府部门"):
                rest = rest.replace(name.removesuffix(ending), "", 1)
        assert re.fullmatch(
            r"(?:牵头单位|责任单位|政府|成员单位中相关省政府部门|[（）():：;；,，、])*", rest
        )
