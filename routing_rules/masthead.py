"""Reads what a document says of itself: title (标题), number (文号), date (日期), and its damage."""

import datetime
import re
from dataclasses import dataclass

from routing_rules.named_units import Problem


@dataclass(frozen=True, slots=True)
class Masthead:
    """Title, number and date, each None where the document does not say it in full."""

    title: str | None
    number: str | None
    date: datetime.date | None
    problems: tuple[Problem, ...]


# The head and the tail of a document are short; what is longer holds no masthead.
MAX_HEAD_CHARS = 20_000
MAX_TAIL_CHARS = 4_000


def masthead(text: str, first_clause: int, last_clause: int) -> Masthead:
    """Return the masthead, given where the first clause starts and the last one ends."""
    head = _lines(text, 0, min(first_clause, MAX_HEAD_CHARS))
    tail = _lines(text, last_clause, min(len(text), last_clause + MAX_TAIL_CHARS))
    problems: list[Problem] = []
    date = _date(head, problems) or _date(tail, problems)
    number = _number(head, problems)
    return Masthead(
        _title(text[:first_clause][:MAX_HEAD_CHARS], head), number, date, tuple(problems)
    )


def _lines(text: str, start: int, end: int) -> list[tuple[int, str]]:
    """Return (offset, line without blanks at its ends) for every line that says something."""
    return [
        (start + found.start() + len(found[0]) - len(found[0].lstrip()), found[0].strip())
        for found in re.finditer(r"[^\n\r\f]+", text[start:end])
        if found[0].strip()
    ]


# --- date -----------------------------------------------------------------------------------------

_YEAR = r"(?:19|20)\d{2}"
_DATE_LINE = re.compile(rf"^(?:[^\d，。；：:]{{0,30}}\s)?({_YEAR})年(\d{{1,2}})月(\d{{1,2}})日$")
_LABELLED = re.compile(
    rf"^(?:成文日期|成文时间|发文日期)\s*[:：]\s*({_YEAR})[-年./](\d{{1,2}})[-月./](\d{{1,2}})日?$"
)
_CN_DATE = re.compile(
    r"^([一二][〇○零Oo一二三四五六七八九]{3})年([一二三四五六七八九十]{1,3})月([一二三四五六七八九十]{1,3})日$"
)
_DAMAGED_DATE_LINE = re.compile(
    rf"^(?:{_YEAR}\d{{2,4}}|{_YEAR}\d{{1,2}}月\d{{0,2}}日?|{_YEAR}年\d{{3,4}}日?|{_YEAR}年\d{{1,2}}月\d{{1,2}}"
    rf"|{_YEAR}年月\d{{0,2}}日?|{_YEAR}年\d{{1,2}}月日|年月日?|年\d{{1,2}}月\d{{1,2}}日|\d{{1,3}}年\d{{1,2}}月\d{{1,2}}日)$"
)
_BLANKS = re.compile(r"[ \t\u3000\xa0]+")


def _date(lines: list[tuple[int, str]], problems: list[Problem]) -> datetime.date | None:
    """Return the last date that stands by itself; the web page's own dates carry a label."""
    date = None
    for offset, line in lines:
        bare = _BLANKS.sub("", line)
        if found := _LABELLED.match(line) or _DATE_LINE.match(line) or _DATE_LINE.match(bare):
            year, month, day = (int(part) for part in found.groups())
        elif found := _CN_DATE.match(bare):
            year = int("".join(_CN_DIGITS[character] for character in found[1]))
            month, day = _cn(found[2]), _cn(found[3])
        else:
            if _DAMAGED_DATE_LINE.match(bare):
                problems.append(
                    Problem("damaged-date", offset, f"日期缺字：印作“{bare}”，未采用，也不推测。")
                )
            continue
        try:
            date = datetime.date(year, month, day)
        except ValueError:
            # The sweep over the whole text reports Arabic ones; these it does not see.
            if _CN_DATE.match(bare):
                problems.append(Problem("damaged-date", offset, f"没有这一天：“{bare}”。"))
    return date


_CN_DIGITS = {c: str(n) for n, c in enumerate("〇一二三四五六七八九")} | dict.fromkeys("○零Oo", "0")


def _cn(text: str) -> int:
    """Return 1–31 of 一 … 三十一, 0 for what is no such number."""
    ten, has_ten, one = text.rpartition("十")
    digits = {c: n for n, c in enumerate("一二三四五六七八九", 1)}
    if not has_ten:
        return digits.get(text, 0)
    return digits.get(ten, 1 if not ten else 99) * 10 + (digits.get(one, 99) if one else 0)


# --- number ---------------------------------------------------------------------------------------

_NUMBER_LABEL = re.compile(r"^(?:发文字号|文号|文件编号)\s*[:：]\s*")
_NUMBER = re.compile(
    rf"^[\u4e00-\u9fff“”]{{1,20}}(?:〔{_YEAR}〕|\[{_YEAR}\]|（{_YEAR}）|\({_YEAR}\)|【{_YEAR}】)第?\d{{1,5}}号$"
)
_DAMAGED_NUMBER = re.compile(
    rf"^[\u4e00-\u9fff“”]{{1,18}}(?:字|发|函|办|规|令)[^\w]{{0,3}}{_YEAR}[^\w]{{0,3}}第?\d{{0,5}}号?$"
)


def _number(lines: list[tuple[int, str]], problems: list[Problem]) -> str | None:
    """Return the first document number that stands by itself: in a sentence it is another's."""
    for offset, line in lines:
        bare = _BLANKS.sub("", _NUMBER_LABEL.sub("", line))
        if _NUMBER.match(bare):
            return bare
        if _DAMAGED_NUMBER.match(bare):
            problems.append(
                Problem("damaged-number", offset, f"文号缺字：印作“{bare}”，未采用，也不推测。")
            )
    return None


# --- title ----------------------------------------------------------------------------------------

_KIND = (
    "意见|通知|方案|办法|规定|细则|要点|规划|计划|清单|措施|公告|决定|条例|安排|分工|制度|规程"
    "|指南|通告"
)
_PROMULGATED = re.compile(
    r"现?将《(?P<a>[^《》\n]{4,120})》[^。\n]{0,20}印发给你们"
    r"|《(?P<b>[^《》\n]{4,120})》[^。\n]{0,30}(?:同意|通过|审定|批准)[^。\n]{0,20}现(?:予以)?(?:印发|公布|发布)"
)
_TITLE_END = re.compile(rf"(?:{_KIND})(?:[（(](?:试行|暂行|修订|征求意见稿)[）)])?$")
_TITLE_START = re.compile(r"关于|《|年")


def _title(head_text: str, head: list[tuple[int, str]]) -> str | None:
    """Return the title of what is promulgated, else of the document itself, else None."""
    if promulgated := _PROMULGATED.search(_bare(head_text)):
        return str(promulgated["a"] or promulgated["b"])
    for at, (_, line) in enumerate(head):
        if not _TITLE_END.search(_bare(line)) or len(line) > 120:
            continue
        title = _bare(line)
        # A title may be set in several lines, the issuing body on the first.
        for _, above in reversed(head[max(0, at - 3) : at]):
            if _STOP.search(above) or len(above) > 60 or _NUMBER.match(_BLANKS.sub("", above)):
                break
            if _TITLE_START.search(title) and not above.endswith(
                ("政府", "办公室", "委员会", "厅", "局")
            ):
                break
            title = _bare(above) + title
        return title
    return None


_STOP = re.compile(r"[。；;：:，,>]|^\s*$")


def _bare(text: str) -> str:
    return re.sub(r"[\s*#]+", "", text)


# --- damage anywhere ------------------------------------------------------------------------------

_DAMAGE: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (
        "damaged-date",
        re.compile(rf"(?<!\d){_YEAR}\d{{1,2}}月(?:\d{{1,2}}日|底|初|末|前|份)?"),
        "日期缺“年”字",
    ),
    ("damaged-date", re.compile(rf"(?<!\d){_YEAR}年月(?:\d{{0,2}}日)?"), "日期缺月份"),
    (
        "empty-bracket",
        re.compile(r"（\s{0,40}）|\(\s{0,40}\)|〔\s{0,40}〕|《\s{0,40}》|“\s{0,40}”"),
        "括号内缺字",
    ),
    ("replacement-character", re.compile("\ufffd+"), "有无法显示的缺损字符"),
)
_FULL_DATE = re.compile(r"(?<!\d)(\d{4})年(\d{1,2})月(?:(\d{1,2})日)?")
MAX_DAMAGE = 200


def damage(text: str) -> list[Problem]:
    """Return where characters are missing or a date cannot be, 200 places at most of a kind."""
    problems: list[Problem] = []
    for code, pattern, message in _DAMAGE:
        for count, found in enumerate(pattern.finditer(text)):
            if count == MAX_DAMAGE:
                break
            written = _bare(found[0])
            problems.append(Problem(code, found.start(), f"{message}：印作“{written}”。"))
    for found in _FULL_DATE.finditer(text):
        if len(problems) >= MAX_DAMAGE * len(_DAMAGE):
            break
        year, month, day = int(found[1]), int(found[2]), int(found[3] or 1)
        try:
            datetime.date(year, month, day)
        except ValueError:
            problems.append(Problem("damaged-date", found.start(), f"没有这一天：“{found[0]}”。"))
    return problems
