"""Personal data in free text: telephone, identity card, bank card, plate and e-mail.

What looks like one and is none (a ticket's number, an amount, a date, a 统一社会信用代码) is left
alone: a handler must be able to read what the matter is.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache

from service.domain.complaint import Complaint, Contact
from service.domain.values import replace


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


# Each expression that a whole text is searched by begins with a set of characters, and looks behind
# only after that: `re` then runs over all others without trying, five to ten times as fast.

# Full-width digits, letters and signs are read as the others; each stays one character long.
_HALF = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
# Those among them that some sort asks for: nearly every text has others, commas above all.
_IS_FULL = re.compile(r"[\u3000\uff05\uff08-\uff0b\uff0d-\uff19\uff20-\uff5e]")
_DIGITS = re.compile(r"[0-9]")
# The shortest that any sort takes, full-width or not: most texts have none, and are asked no more.
_HELD = r"[A-Za-z0-9@._%+()· \u3000\uff01-\uff5e-]"
_MAY_HOLD = re.compile(rf"{_HELD}{_HELD}{{4}}")
# Nor without seven digits near each other, or an @, for any sort that tells who a person is.
_DIGIT = r"[0-9\uff10-\uff19]"
_NUMBER = re.compile(rf"{_DIGIT}(?:[ ()+\u3000\uff08\uff09\uff0b\uff0d-]{{0,2}}{_DIGIT}){{6}}")
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
# Each with words without one of which there is none, and what it must be besides.
_Looked = tuple[Sort, tuple[str, ...], re.Pattern[str], Callable[[str], bool]]
_SORTS: tuple[_Looked, ...] = (
    (
        Sort.EMAIL,
        ("@",),
        re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"),
        lambda _: True,
    ),
    (
        Sort.ID_CARD,
        (),
        re.compile(r"[0-9](?<![0-9]{2})[0-9]{5}[ -]?[0-9]{8}[ -]?[0-9]{3}[0-9Xx](?![0-9])"),
        lambda found: is_id_card(_bare(found)),
    ),
    (  # those of before 1999 have no checksum, and some are mistyped: where it is called one
        Sort.ID_CARD,
        ("身份证",),
        re.compile(r"身份证[^0-9]{0,6}(?P<it>[0-9]{15}|[0-9]{17}[0-9Xx])(?![0-9])"),
        lambda found: (
            len(found) == 18 or bool(_PROVINCE.match(found) and _is_day("19" + found[6:12]))
        ),
    ),
    (
        Sort.BANK_CARD,
        (),
        re.compile(
            r"[0-9](?<![0-9]{2})(?:[0-9]{15,18}|[0-9]{3}(?:[ -][0-9]{4}){3}(?:[ -][0-9]{1,3})?"
            r"|[0-9]{5}[ -][0-9]{10,13})(?![0-9])"
        ),
        lambda found: is_bank_card(_bare(found)),
    ),
    (
        Sort.PHONE,
        (),
        re.compile(
            r"[1+08](?<![0-9][1+08])(?:(?<=1)|(?:(?<=\+)8|(?<=0)08|(?<=8))6[ -]?1)[3-9][0-9]"
            r"(?:[0-9]{8}|[ -][0-9]{4}[ -]?[0-9]{4}|[0-9]{4}[ -][0-9]{4}"
            r"|[0-9][ -][0-9]{3}[ -][0-9]{4})(?![0-9])"
        ),
        lambda _: True,
    ),
    (
        Sort.PHONE,
        (),
        re.compile(
            r"[0(](?<![0-9][0(])(?:(?<=0)|(?<=\()0)(?:10|2[0-9]|[3-9][0-9]{2})\)?[ -]?"
            r"[2-9][0-9]{2,3}[ -]?[0-9]{4}(?![0-9])"
        ),
        lambda _: True,
    ),
    (  # without an area code any amount looks so: only where it is called one
        Sort.PHONE,
        ("电话", "座机", "手机", "号码"),
        re.compile(r"(?:电话|座机|手机|号码)[^0-9\n]{0,3}(?P<it>[2-9][0-9]{6,7})(?![0-9元块])"),
        lambda _: True,
    ),
    (
        Sort.PLATE,
        (),
        re.compile(
            rf"[{_PLATES}][{_LETTER}][· .-]?"
            rf"(?:[{_LETTER}0-9]{{4,6}}[挂学警港澳]|[{_LETTER}0-9]{{5,6}}(?![A-Za-z0-9]))"
        ),
        _is_plate,
    ),
)
_PERSONS = tuple(each for each in _SORTS if each[0] in OF_THE_PERSON)
_CREDIT_CODE = re.compile(r"[0-9A-Z](?<![0-9A-Za-z]{2})[0-9A-Z]{17}(?![0-9A-Za-z])")


def find(text: str) -> tuple[Found, ...]:
    """Return the personal data in a text, in order, none overlapping."""
    return _find(text, _SORTS) if _MAY_HOLD.search(text) else ()


def find_of_person(text: str) -> tuple[Found, ...]:
    """Return what `find` does but for plates."""
    if "@" in text or "＠" in text or _NUMBER.search(text):
        return _find(text, _PERSONS)
    return ()


def _find(text: str, sorts: Sequence[_Looked]) -> tuple[Found, ...]:
    plain = text.translate(_HALF) if _IS_FULL.search(text) else text
    taken = bytearray(len(plain))
    for code in _CREDIT_CODE.finditer(plain):
        # Digits alone may be both: then it is taken for the one that harms a person.
        if is_credit_code(code[0]) and not is_id_card(code[0]):
            taken[code.start() : code.end()] = b"\1" * 18
    found = []
    for sort, words, pattern, holds in sorts:
        if words and not any(word in plain for word in words):
            continue
        name = "it" if "it" in pattern.groupindex else 0
        for match in pattern.finditer(plain):
            start, end = match.span(name)
            if not any(taken[start:end]) and holds(match[name]):
                found.append(Found(sort, start, end))
                taken[start:end] = b"\1" * (end - start)
    return tuple(sorted(found, key=lambda each: each.start))


def masked(text: str, found: Callable[[str], Sequence[Found]] = find) -> str:
    """Return the text with what is found hidden but for what tells two of them apart: of a number
    the first three characters and the last four. Masking again changes nothing."""
    while hidden := found(text):
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


# What masking leaves, by which pages and answers tell where it stands.
_MASKED = re.compile(
    r"(?P<email>[A-Za-z0-9._%+-]\*{4}@[A-Za-z0-9.-]{4,254})"
    r"|(?P<number>[0-9+(][0-9()-]{2}\*{4}[0-9Xx-]{4})(?![0-9*])"
    r"|(?<![0-9*])(?P<short>\*{4}[0-9]{2})(?![0-9*])"
)


def find_masked(text: str) -> tuple[Found, ...]:
    """Return where a text has personal data that was masked, in order. Of a number the sort is the
    likeliest: what would tell it surely is hidden."""
    if "****" not in text:
        return ()
    found = []
    for match in _MASKED.finditer(text):
        if match["email"]:
            sort = Sort.EMAIL
        elif match["number"] and not _LIKE_PHONE.match(match[0]):
            is_card = match[0][-1] in "Xx" or _PROVINCE.match(match[0])
            sort = Sort.ID_CARD if is_card and match[0][:2] != "62" else Sort.BANK_CARD
        else:
            sort = Sort.PHONE
        found.append(Found(sort, match.start(), match.end()))
    return tuple(found)


_LIKE_PHONE = re.compile(r"1[3-9][0-9]\*|[0+(]|86")


# As everybody may see it

# The hundred or so surnames that nearly everybody has: what is no name, such as 市民 or 网友, is left.
_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖萧田董袁潘于蒋蔡余杜叶程苏魏"
    "吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦付傅方白邹孟熊秦邱江尹薛闫阎段雷侯龙史陶黎贺顾毛郝龚邵万"
    "钱严覃武戴莫孔向汤温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申欧耿关兰焦俞左柳甘祝包宁"
    "尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时"
    "穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾"
    "隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟邝官封谈匡鞠惠荆乐冀郁胥南班储原栗燕楚鄢劳谌奚皮"
    "粟冼蔺楼盘满闻位厉伊仝区郜海阚花权强帅屠豆朴盖练廉禹井祖漆巴丰支卿国狄平计索宣晋相初门云容敬"
)
_FULL_NAME = re.compile(rf"[{_SURNAMES}][\u4e00-\u9fff]{{1,3}}")
_CALLED = re.compile(r".{1,2}(?:先生|女士|小姐|同志|老师|师傅)")


def is_full_name(name: str) -> bool:
    """Whether what a source calls a person is a whole name, and no nickname (热心市民) or 王先生."""
    return bool(_FULL_NAME.fullmatch(name)) and not _CALLED.fullmatch(name)


_NOBODY = Contact()


def said(text: str, contact: Contact = _NOBODY) -> str:
    """Return a text, of a complaint or about it, as everybody may read it: personal data masked, and the
    name and number of who complained too. Plates stay: they are often the matter."""
    return _said(text, *_named(contact))


def _named(contact: Contact) -> tuple[str, str]:
    """Return the number and the name of who complained, as far as a text may not have them."""
    name = contact.name if is_full_name(contact.name) else ""
    return contact.phone if len(contact.phone) > 5 else "", name


# A text is hidden for its words, for its row and for the answer, one after the other.
@lru_cache(maxsize=512)
def _said(text: str, phone: str, name: str) -> str:
    if phone and phone in text:
        text = text.replace(phone, Contact(phone=phone).masked().phone)
    if name and name in text:
        text = text.replace(name, Contact(name=name).masked().name)
    return masked(text, find_of_person)


def hidden(complaint: Complaint) -> Complaint:
    """Return a complaint as everybody may see it. What a source tells beside its fields is left out but
    for what was unsure in it. Hiding again changes nothing."""
    contact = complaint.contact
    phone, name = _named(contact)
    told: dict[str, object] = {
        "title": _said(complaint.title, phone, name),
        "content": _said(complaint.content, phone, name),
        "place": _said(complaint.place, phone, name),
        "contact": contact.masked(),
        "attachments": tuple(
            replace(each, name=_said(each.name, phone, name)) for each in complaint.attachments
        ),
        "extra": {each: said(text) for each, text in complaint.extra.items() if each in _TOLD},
    }
    # Who reads gets what is hidden already, and hides it again.
    changed = {each: new for each, new in told.items() if new != getattr(complaint, each)}
    return replace(complaint, **changed) if changed else complaint


# In which fields of an event people write freely.
FREE_TEXTS = (
    "text",
    "reason",
    "basis",
    "public_reply",
    "internal_finding",
    "title",
    "content",
    "place",
)
# What people see of the fields beside: see the ticket's page.
_TOLD = frozenset({"finding", "kind_raw", "urgency_raw", "rating_raw"})


def parts(text: str) -> list[tuple[str, Sort | None]]:
    """Return the text in pieces, each with the sort of personal data that it is, masked or not, None
    for none."""
    pieces: list[tuple[str, Sort | None]] = []
    at = 0
    for each in sorted((*find(text), *find_masked(text)), key=lambda found: found.start):
        if each.start < at:
            continue
        pieces += [(text[at : each.start], None), (text[each.start : each.end], each.sort)]
        at = each.end
    return [(piece, sort) for piece, sort in [*pieces, (text[at:], None)] if piece]
