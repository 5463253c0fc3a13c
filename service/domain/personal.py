"""Personal data in free text: telephone, identity card, bank card, plate and e-mail.

What looks like one and is none (a ticket's number, an amount, a date, a 统一社会信用代码) is left
alone: a handler must be able to read what the matter is.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class Sort(StrEnum):
    """What sort of personal data it is."""

    PHONE = "phone"  # 电话号码
    ID_CARD = "id_card"  # 身份证号
    BANK_CARD = "bank_card"  # 银行卡号
    PLATE = "plate"  # 车牌号
    EMAIL = "email"  # 电子邮箱


# Who a person is. A plate is often what a complaint is about, and of somebody else.
OF_THE_PERSON = frozenset(Sort) - {Sort.PLATE}


@dataclass(frozen=True, slots=True)
class Found:
    """Personal data in a text: `text[start:end]`."""

    sort: Sort
    start: int
    end: int


# Full-width digits, letters and signs are read as the others; each stays one character long.
_HALF = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_DIGITS = re.compile(r"[0-9]")
# The shortest that any sort takes, full-width or not: most texts have none, and are asked no more.
_MAY_HOLD = re.compile(r"[A-Za-z0-9@._%+()· \u3000\uff01-\uff5e-]{5}")
# The first two digits of a region's code.
_PROVINCE = re.compile(r"1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]")
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"
_CREDIT = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def is_id_card(number: str) -> bool:
    """Whether 18 characters are an identity card's number: province, birthday and checksum
    (GB 11643)."""
    if not re.fullmatch(r"[0-9]{17}[0-9Xx]", number) or not _PROVINCE.match(number):
        return False
    if not 1850 <= int(number[6:10]) <= 2199 or not _is_day(number[6:14]):
        return False
    total = sum(int(n) * w for n, w in zip(number, _ID_WEIGHTS, strict=False))
    return _ID_CHECKS[total % 11] == number[17].upper()


def is_bank_card(number: str) -> bool:
    """Whether digits may be a bank card's number: an issuer's range and Luhn's check digit."""
    if not re.fullmatch(r"(?:62|60|4[0-9]|5[1-5]|35)[0-9]{14,17}", number):
        return False
    digits = [int(n) for n in reversed(number)]
    doubled = [d * 2 - 9 * (d > 4) if place % 2 else d for place, d in enumerate(digits)]
    return sum(doubled) % 10 == 0


def is_credit_code(code: str) -> bool:
    """Whether 18 characters are a 统一社会信用代码 of an organisation (GB 32100), nobody's own."""
    if len(code) != 18 or any(char not in _CREDIT for char in code):
        return False
    total = sum(_CREDIT.index(char) * pow(3, place, 31) for place, char in enumerate(code[:17]))
    return _CREDIT[-total % 31] == code[17]


def _is_day(digits: str) -> bool:
    try:
        date(int(digits[:-4]), int(digits[-4:-2]), int(digits[-2:]))
    except ValueError:
        return False
    return True


def _bare(text: str) -> str:
    return re.sub(r"[ -]", "", text)


_PLATES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_LETTER = "A-HJ-NP-Za-hj-np-z"


def _is_plate(plate: str) -> bool:
    # No plate has more than two letters after the one of its city, and most words have no digit.
    return len(_DIGITS.findall(plate)) >= 3


# In the order in which they are looked for: what one has found is none of the next.
_SORTS: tuple[tuple[Sort, re.Pattern[str], Callable[[str], bool]], ...] = (
    (
        Sort.EMAIL,
        re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"),
        lambda _: True,
    ),
    (
        Sort.ID_CARD,
        re.compile(r"(?<![0-9])[0-9]{6}[ -]?[0-9]{8}[ -]?[0-9]{3}[0-9Xx](?![0-9])"),
        lambda found: is_id_card(_bare(found)),
    ),
    (  # those of before 1999 have no checksum, and some are mistyped: where it is called one
        Sort.ID_CARD,
        re.compile(r"(?<=身份证)[^0-9]{0,6}(?P<it>[0-9]{15}|[0-9]{17}[0-9Xx])(?![0-9])"),
        lambda found: (
            len(found) == 18 or bool(_PROVINCE.match(found) and _is_day("19" + found[6:12]))
        ),
    ),
    (
        Sort.BANK_CARD,
        re.compile(
            r"(?<![0-9])(?:[0-9]{16,19}|[0-9]{4}(?:[ -][0-9]{4}){3}(?:[ -][0-9]{1,3})?"
            r"|[0-9]{6}[ -][0-9]{10,13})(?![0-9])"
        ),
        lambda found: is_bank_card(_bare(found)),
    ),
    (
        Sort.PHONE,
        re.compile(
            r"(?<![0-9])(?:(?:\+|00)?86[ -]?)?1[3-9][0-9](?:[0-9]{8}|[ -][0-9]{4}[ -]?[0-9]{4}"
            r"|[0-9]{4}[ -][0-9]{4}|[0-9][ -][0-9]{3}[ -][0-9]{4})(?![0-9])"
        ),
        lambda _: True,
    ),
    (
        Sort.PHONE,
        re.compile(
            r"(?<![0-9])\(?0(?:10|2[0-9]|[3-9][0-9]{2})\)?[ -]?[2-9][0-9]{2,3}[ -]?[0-9]{4}(?![0-9])"
        ),
        lambda _: True,
    ),
    (  # without an area code any amount looks so: only where it is called one
        Sort.PHONE,
        re.compile(r"(?:电话|座机|手机|号码)[^0-9\n]{0,3}(?P<it>[2-9][0-9]{6,7})(?![0-9元块])"),
        lambda _: True,
    ),
    (
        Sort.PLATE,
        re.compile(
            rf"[{_PLATES}][{_LETTER}][· .-]?"
            rf"(?:[{_LETTER}0-9]{{4,6}}[挂学警港澳]|[{_LETTER}0-9]{{5,6}}(?![A-Za-z0-9]))"
        ),
        _is_plate,
    ),
)
_CREDIT_CODE = re.compile(r"(?<![0-9A-Za-z])[0-9A-Z]{18}(?![0-9A-Za-z])")


def find(text: str) -> tuple[Found, ...]:
    """Return the personal data in a text, in order, none overlapping."""
    if not _MAY_HOLD.search(text):
        return ()
    plain = text.translate(_HALF)
    taken = bytearray(len(plain))
    for code in _CREDIT_CODE.finditer(plain):
        # Digits alone may be both: then it is taken for the one that harms a person.
        if is_credit_code(code[0]) and not is_id_card(code[0]):
            taken[code.start() : code.end()] = b"\1" * 18
    found = []
    for sort, pattern, holds in _SORTS:
        name = "it" if "it" in pattern.groupindex else 0
        for match in pattern.finditer(plain):
            start, end = match.span(name)
            if not any(taken[start:end]) and holds(match[name]):
                found.append(Found(sort, start, end))
                taken[start:end] = b"\1" * (end - start)
    return tuple(sorted(found, key=lambda each: each.start))


def masked(text: str, sorts: Collection[Sort] = frozenset(Sort)) -> str:
    """Return the text with personal data hidden but for what tells two of them apart: of a number
    the first three characters and the last four. Masking again changes nothing."""
    while hidden := [each for each in find(text) if each.sort in sorts]:
        for each in reversed(hidden):
            told = _told(each.sort, text[each.start : each.end])
            text = text[: each.start] + told + text[each.end :]
    return text


def _told(sort: Sort, it: str) -> str:
    if sort is Sort.EMAIL:
        at = max(it.rfind("@"), it.rfind("＠"))
        return it[0] + "****" + it[at:]
    if sort is Sort.PLATE:
        return it[:2] + "****"
    if len(it) < 10:  # a short number would be nearly whole
        return "****" + it[-2:]
    return it[:3] + "****" + it[-4:]


def parts(text: str) -> list[tuple[str, Sort | None]]:
    """Return the text in pieces, each with the sort of personal data that it is, None for none."""
    pieces: list[tuple[str, Sort | None]] = []
    at = 0
    for each in find(text):
        pieces += [(text[at : each.start], None), (text[each.start : each.end], each.sort)]
        at = each.end
    return [(piece, sort) for piece, sort in [*pieces, (text[at:], None)] if piece]
