"""Personal data in free text: what is found, what is not, and what a mask leaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.personal import (
    OF_THE_PERSON,
    Sort,
    find,
    find_of_person,
    is_bank_card,
    is_credit_code,
    is_id_card,
    masked,
    parts,
)

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def sorts(text: str) -> list[tuple[Sort, str]]:
    return [(each.sort, text[each.start : each.end]) for each in find(text)]


@pytest.mark.parametrize(
    ("text", "sort", "it"),
    [
        ("请回电13800000000谢谢", Sort.PHONE, "13800000000"),
        # The shortest there are: a text without so many such characters is not searched.
        ("信箱a@b.cn", Sort.EMAIL, "a@b.cn"),
        ("车牌赣A1234挂", Sort.PLATE, "赣A1234挂"),
        ("车牌赣Ａ１２３４挂", Sort.PLATE, "赣Ａ１２３４挂"),
        ("座机２１２３４５６", Sort.PHONE, "２１２３４５６"),
        ("电话：138-0000-0000。", Sort.PHONE, "138-0000-0000"),
        ("手机１３８００００００００", Sort.PHONE, "１３８００００００００"),
        ("+86 13800000000", Sort.PHONE, "+86 13800000000"),
        ("打008613800000000", Sort.PHONE, "008613800000000"),
        ("打8613800000000", Sort.PHONE, "8613800000000"),
        # What stands before it makes it no longer number: only a digit does.
        ("9+8613800000000", Sort.PHONE, "8613800000000"),
        ("座机0797-5300000", Sort.PHONE, "0797-5300000"),
        ("打(0797)5300000没人接", Sort.PHONE, "(0797)5300000"),
        ("办公室电话5300000一直占线", Sort.PHONE, "5300000"),
        ("身份证11010519491231002X", Sort.ID_CARD, "11010519491231002X"),
        ("身份证号 110105 19491231 002x", Sort.ID_CARD, "110105 19491231 002x"),
        ("身份证号110105194912310021抄错了", Sort.ID_CARD, "110105194912310021"),
        ("旧身份证号码是110105491231002", Sort.ID_CARD, "110105491231002"),
        ("工资卡6222020000000000000", Sort.BANK_CARD, "6222020000000000000"),
        ("打到4111 1111 1111 1111上", Sort.BANK_CARD, "4111 1111 1111 1111"),
        ("货车赣B12345夜里超载", Sort.PLATE, "赣B12345"),
        ("新能源赣BD00001乱停", Sort.PLATE, "赣BD00001"),
        ("赣b·12e45堵门", Sort.PLATE, "赣b·12e45"),
        ("教练车赣B1234学", Sort.PLATE, "赣B1234学"),
        ("发到wang.mou@example.com。", Sort.EMAIL, "wang.mou@example.com"),
    ],
)
def test_it_is_found(text: str, sort: Sort, it: str) -> None:
    assert sorts(text) == [(sort, it)]
    assert it not in masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "工单编号360732-20261118-00001，来件XG20261118000001",
        "2026-11-18 09:12:33，2026年11月18日",
        "欠薪126800.50元，合计13800000元",
        "统一社会信用代码91350100M000100Y43",
        "热线12345，火警119，客服400-000-0000，95588",
        "编号110105194912310021",
        "流水号20261118000012345678",
        "案号（2026）赣0732民初1380号",
        "新建A座12层，川A线路",
        "1000000000000000",
        "913800000000与00797-5300000",
        "项目代码2020-360732-48-03-000001",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert sorts(text) == []
    assert masked(text) == text


def test_the_checks_are_those_of_the_standards() -> None:
    assert is_id_card("11010519491231002X")
    assert not is_id_card("110105194912310021")
    assert not is_id_card("11010519490230002X")
    assert is_bank_card("4111111111111111")
    assert not is_bank_card("4111111111111112")
    assert is_credit_code("91350100M000100Y43")
    assert not is_credit_code("91350100M000100Y44")


def test_a_plate_stays_where_it_is_the_matter() -> None:
    text = "赣B12345乱停，我的电话13800000000"
    assert masked(text, find_of_person) == "赣B12345乱停，我的电话138****0000"
    assert masked(text) == "赣B****乱停，我的电话138****0000"


# Whatever stands around a number, but nothing that makes it another one.
around = st.text(
    st.characters(
        exclude_categories=("Cs", "Nd"),
        exclude_characters="".join(chr(c) for c in range(0xFF01, 0xFF5F))
        + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -+().@%_\u3000",
    ),
    max_size=12,
)
phones = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True)
plates = st.from_regex(r"[赣京粤沪][A-HJ-NP-Z][A-HJ-NP-Z]{0,2}[0-9]{5}", fullmatch=True).map(
    lambda plate: plate[:7]
)


@st.composite
def id_cards(draw: st.DrawFn) -> str:
    day = draw(st.dates()).replace(year=draw(st.integers(1900, 2026)), day=draw(st.integers(1, 28)))
    body = (
        draw(st.sampled_from(["360732", "110105", "440305"]))
        + f"{day:%Y%m%d}"
        + f"{draw(st.integers(0, 999)):03}"
    )
    check = sum(int(n) * w for n, w in zip(body, WEIGHTS, strict=True)) % 11
    return body + "10X98765432"[check]


@given(around, phones, around)
def test_every_phone_is_found(before: str, phone: str, after: str) -> None:
    text = before + phone + after
    assert (Sort.PHONE, phone) in sorts(text)
    assert phone not in masked(text)


@given(around, plates, around)
def test_every_plate_is_found(before: str, plate: str, after: str) -> None:
    text = before + plate + after
    assert any(sort is Sort.PLATE and plate in it for sort, it in sorts(text))
    assert plate not in masked(text)


@given(around, id_cards(), around)
def test_every_identity_card_is_found(before: str, card: str, after: str) -> None:
    text = before + card + after
    assert (Sort.ID_CARD, card) in sorts(text)
    assert card not in masked(text)


@given(around, id_cards(), st.integers(1, 9), around)
def test_a_number_that_fails_its_checksum_is_no_identity_card(
    before: str, card: str, wrong: int, after: str
) -> None:
    shifted = str((int(card[-1], 11 if card[-1] != "X" else 36) + wrong) % 10)
    other = card[:-1] + ("0" if shifted == card[-1] else shifted)
    if other == card:
        return
    assert not is_id_card(other)
    assert Sort.ID_CARD not in [sort for sort, _ in sorts(before + other + after)]


numbers = st.one_of(phones, id_cards(), plates, st.text("0123456789 -*X赣B@.a", max_size=24))


@given(
    st.one_of(
        st.lists(st.one_of(numbers, st.text(max_size=6)), max_size=8).map("".join),
        st.text("0123456789０１３８Xx -+()（）＋－　@＠.a电话身份证号码", max_size=60),
    )
)
def test_what_is_looked_for_of_a_person_alone_is_what_is_found_but_for_plates(text: str) -> None:
    known = tuple(each for each in find(text) if each.sort in OF_THE_PERSON)
    assert find_of_person(text) == known


@given(st.lists(st.one_of(numbers, st.text(max_size=6)), max_size=8).map("".join))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = masked(text)
    assert masked(once) == once
    assert find(once) == ()
    assert "".join(piece for piece, _ in parts(text)) == text
