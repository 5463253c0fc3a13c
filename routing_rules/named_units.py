"""Reads who must act from a clause: 牵头单位 and 责任单位, as lists of names and groups.

The rules are those of how such lists are written, seen in five provincial, city and county
documents; each is a row in the tests. A name is never completed, corrected or guessed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# How far a list may run, and how long one name may be: beyond it the text is no list of names.
MAX_LIST_CHARS = 4_000
MAX_NAME_CHARS = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault in a list: code, offset in the text, a sentence in Chinese."""

    code: str
    offset: int
    message: str


@dataclass(frozen=True, slots=True)
class Named:
    """The units a clause names, in the order written, each once; groups stand in both lists too.

    `spans` are the [start, end) of the brackets or phrases they were read from.
    """

    lead: tuple[str, ...]
    responsible: tuple[str, ...]
    groups: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Listing:
    """One bracket or phrase: where it stands, and each role's stretch of names in it."""

    start: int
    end: int
    roles: tuple[tuple[bool, int, int], ...]  # is it the lead, start, end


def named_units(text: str, start: int, end: int) -> Named:
    """Return the units named in text[start:end]. Offsets in the answer count in `text`."""
    lead: dict[str, None] = {}
    responsible: dict[str, None] = {}
    spans: list[tuple[int, int]] = []
    problems: list[Problem] = []
    for listing in _listings(text, start, end, problems):
        spans.append((listing.start, listing.end))
        for is_lead, names_start, names_end in listing.roles:
            names = split_names(text, names_start, names_end, problems)
            if not names:
                problems.append(Problem("empty-unit", names_start, "写了角色，没有写单位名称。"))
            (lead if is_lead else responsible).update(dict.fromkeys(names))
    groups = tuple(name for name in dict.fromkeys([*lead, *responsible]) if is_group(name))
    return Named(tuple(lead), tuple(responsible), groups, tuple(spans), tuple(problems))


# --- where a list stands --------------------------------------------------------------------------


def _any(words: tuple[str, ...]) -> str:
    """Return a pattern for one of these words, which spaces or a line end may break."""
    return "(?:" + "|".join(r"\s{0,30}".join(word) for word in words) + ")"


_LEAD = ("牵头单位", "牵头部门", "主办单位", "主办部门")
_RESPONSIBLE = (
    *("责任单位", "责任部门", "责任主体", "配合单位", "配合部门", "协办单位", "承办单位"),
    *("参与单位", "参加单位", "落实单位", "实施单位", "协同单位"),
)
_COLON = r"\s{0,30}[:：]"
_ROLE = re.compile(
    f"(?:(?P<lead>{_any((*_LEAD, '牵头'))})|{_any((*_RESPONSIBLE, '责任', '配合'))}){_COLON}"
)
_ROLE_AHEAD = f"(?={_any((*_LEAD, *_RESPONSIBLE, '牵头', '责任', '配合'))}{_COLON})"

# The role opens a bracket: （牵头单位：…；责任单位：…）
_OPENED = rf"[（(\[【〔]\s{{0,30}}(?:主要|共同|第一|[省市县区]级)?{_ROLE_AHEAD}"
_BRACKET = re.compile(_OPENED)
_LISTING = re.compile(
    rf"(?P<bracket>{_OPENED})"
    # or a sentence of its own: 责任单位：…
    r"|(?:^|(?<=[。；;！!？?\n\r\f）)]))[ \t\u3000]{0,30}"
    rf"(?={_any((*_LEAD, *_RESPONSIBLE))}{_COLON})"
    # or a bracket that closes with what its units do: （…牵头，…配合）
    r"|(?P<verb>(?:牵头|负责|配合|参与|落实))\s{0,30}"
    r"(?=[）)]\s{0,30}[。；;]?[ \t\u3000]*(?:[\n\r\f]|$))",
    re.MULTILINE,
)


def role_of(heading: str) -> bool | None:
    """Return whether the heading of a column names the lead, another role (False), or none."""
    if heading.startswith(_LEAD):
        return True
    return False if heading.startswith(_RESPONSIBLE) else None


def _listings(text: str, start: int, end: int, problems: list[Problem]) -> Iterator[_Listing]:
    at = start
    listing: _Listing | None
    while found := _LISTING.search(text, at, end):
        if found["bracket"]:
            listing = _bracketed(text, found.start(), found.end(), end, problems)
        elif found["verb"]:
            listing = _by_verbs(text, at, found.end())
        else:
            stop = _phrase_end(text, found.end(), end)
            listing = _Listing(found.end(), stop, _roles(text, found.end(), stop))
        if listing is None:
            at = found.end()
            continue
        yield listing
        at = max(listing.end, found.end())


def _bracketed(text: str, opening: int, start: int, end: int, problems: list[Problem]) -> _Listing:
    limit = min(end, opening + MAX_LIST_CHARS)
    # A list that opens before this one has closed shows that this one never does.
    if following := _BRACKET.search(text, start, limit):
        limit = following.start()
    closing = _pairs(text, opening, limit, first_only=True).get(opening)
    if closing is None:
        # Cut off: what stands on the line is read, and said to be doubtful.
        problems.append(Problem("unclosed-bracket", opening, "单位括号没有收口，名单可能不全。"))
        line_end = _LINE_END.search(text, start, limit)
        closing = line_end.start() if line_end else limit
        return _Listing(opening, closing, _roles(text, start, closing))
    return _Listing(opening, closing + 1, _roles(text, start, closing))


def _roles(text: str, start: int, end: int) -> tuple[tuple[bool, int, int], ...]:
    found = list(_ROLE.finditer(text, start, end))
    stops = [*(role.start() for role in found[1:]), end]
    return tuple(
        (role["lead"] is not None, role.end(), stop)
        for role, stop in zip(found, stops, strict=True)
    )


_LINE_END = re.compile(r"[\n\r\f]")
_GOES_ON = "、，,；;：:"


def _phrase_end(text: str, start: int, end: int) -> int:
    """Return where a list without brackets ends: at 。 or a line end not reached amid the list."""
    limit = min(end, start + MAX_LIST_CHARS)
    stop = text.find("。", start, limit)
    stop = limit if stop < 0 else stop
    for line_end in _LINE_END.finditer(text, start, stop):
        line = text[start : line_end.start()].rstrip()
        if line and line[-1] not in _GOES_ON:
            return line_end.start()
    return stop


_VERB_PHRASE = re.compile(r"(?P<verb>牵头|负责|配合|参与|落实)$")
_VERB_ADVERB = re.compile(
    r"(?:共同|分别|具体|协同|联合|组织|牵头|负责|等?按(?:照)?(?:各自)?职责(?:分工)?)$"
)


def _by_verbs(text: str, start: int, closing: int) -> _Listing | None:
    """Read （甲局牵头，乙局、丙局按职责分工负责）, where every phrase ends with its verb."""
    # `closing` is where the verb ends; its bracket stands behind it, perhaps after a blank.
    end = min(text.index(mark, closing) for mark in "）)" if mark in text[closing : closing + 31])
    opening = max(text.rfind(mark, max(start, closing - MAX_LIST_CHARS), closing) for mark in "（(")
    if opening < 0:
        return None
    roles: list[tuple[bool, int, int]] = []
    phrase = opening + 1
    for stop in [*_commas(text, opening + 1, closing), closing]:
        words = text[phrase:stop].rstrip()
        verb = _VERB_PHRASE.search(words)
        if verb is None:
            continue  # 甲局，乙局牵头: the phrase goes on behind the comma
        words = words[: verb.start()]
        while adverb := _VERB_ADVERB.search(words):
            words = words[: adverb.start()]
        names = split_names(text, phrase, phrase + len(words), [])
        if not names or not all(_LOOKS_LIKE_UNIT.search(name) for name in names):
            return None  # （由专人负责） names nobody
        roles.append((verb["verb"] == "牵头", phrase, phrase + len(words)))
        phrase = stop + 1
    return _Listing(opening, end + 1, tuple(roles))


def _commas(text: str, start: int, end: int) -> list[int]:
    return [at for at in range(start, end) if text[at] in "，,；;"]


_LOOKS_LIKE_UNIT = re.compile(
    r"(?:委|局|厅|办|部|院|站|中心|公司|政府|委员会|管委会|办公室|集团|银行|部门|单位|街道|支队|大队|总队)"
    r"(?:[〔（(][^〕）)]{1,20}[〕）)])?$"
)


# --- what the names are ---------------------------------------------------------------------------

_CLOSERS = {
    "（": "）)", "(": "）)", "[": "]", "【": "】", "〔": "〕", "“": "”", "‘": "’", "《": "》",
}  # fmt: skip
_ALL_CLOSERS = frozenset("".join(_CLOSERS.values()))


def _pairs(text: str, start: int, end: int, *, first_only: bool = False) -> dict[int, int]:
    """Return the offset of each opening mark with that of its closing one, pairs only."""
    stack: list[int] = []
    pairs: dict[int, int] = {}
    for at in range(start, end):
        mark = text[at]
        if mark in _CLOSERS:
            stack.append(at)
        elif mark in _ALL_CLOSERS:
            opened = len(stack) - 1
            while opened >= 0 and mark not in _CLOSERS[text[stack[opened]]]:
                opened -= 1
            if opened >= 0:
                pairs[stack[opened]] = at
                del stack[opened:]
                if first_only and not stack:
                    break
    return pairs


def split_names(text: str, start: int, end: int, problems: list[Problem]) -> tuple[str, ...]:
    """Return the names listed in text[start:end], shared endings given to every name of their run.

    `、` separates the names of a run, `，` and `；` the runs; inside brackets and quotes none does.
    """
    pairs = _pairs(text, start, end)
    inside_until = start
    runs: list[list[tuple[str, int]]] = [[]]
    piece = start
    for at in range(start, end + 1):
        if at < end:
            if at in pairs:
                inside_until = max(inside_until, pairs[at])
            if (at <= inside_until and at != start) or text[at] not in "、，,；;":
                continue
        runs[-1].extend(_unspaced(text, piece, at))
        if at < end and text[at] != "、":
            runs.append([])
        piece = at + 1
    names: dict[str, None] = {}
    for run in runs:
        for name, offset in _expanded(_joined(run)):
            sound = _sound(name, offset, problems)
            if sound:
                names[sound] = None
    return tuple(names)


_SPACE = re.compile(r"\s+")
_PAGE_NUMBER = re.compile(
    r"(?:^|(?<=[\n\f]))[ \t]{0,40}[-—–－]{0,3}[ \t]{0,9}\d{1,4}[ \t]{0,9}[-—–－]{0,3}[ \t]{0,9}"
    r"(?=[\n\f])"
)


def _unspaced(text: str, start: int, end: int) -> list[tuple[str, int]]:
    """Return the one name written here without its spaces, or several that only spaces separate."""
    piece = _PAGE_NUMBER.sub("", text[start:end]).strip(" \t\r\n\f\v\u3000\xa0。．.")
    words = _SPACE.split(piece)
    # A blank or line end may stand in a name as well: both sides must be whole names by themselves.
    if len(words) > 1 and all(_WHOLE.search(word) for word in words):
        return [(word, start) for word in words]
    name = "".join(words)
    return [(name, start)] if name else []


_WHOLE = re.compile(r"^[省市县区州各].+(?:委|局|厅|办|政府|公司|中心|委员会|办公室|部门|单位)$")

_LEVEL = (
    r"(?:设区市|省直管(?:试点)?|开发区|街道|社区|园区|[省市县区州盟旗乡镇村]"
    r"|[（(〔\[][^）)〕\]]{1,12}[）)〕\]])"
)
_EVERY = re.compile(rf"各{_LEVEL}{{1,8}}")
_LEVEL_WITH_ENDING = re.compile(rf"{_LEVEL}{{1,8}}(?:人民政府|政府|管委会|办事处)?")


def _joined(run: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Join what a 、 inside one name has parted: 各市、县〔区〕政府."""
    joined: list[tuple[str, int]] = []
    for name, offset in run:
        before = joined[-1][0] if joined else ""
        every, _, rest = before.partition("、")
        open_ended = _EVERY.fullmatch(every) and (not rest or _EVERY.fullmatch("各" + rest))
        if open_ended and _LEVEL_WITH_ENDING.fullmatch(name):
            joined[-1] = (f"{before}、{name}", joined[-1][1])
        else:
            joined.append((name, offset))
    return joined


# Names that may share an ending: the bare one, the one that carries it, in that order.
_PLACE = (
    r"(?!各)[\u4e00-\u9fff]{1,8}"
    r"(?:[市县州盟旗乡镇]|(?<!开发)(?<!新)(?<!园)(?<!景)(?<!名胜)(?<!管理)(?<!高新)(?<!经开)区)"
)
_ZONE = r"(?!各)[\u4e00-\u9fff]{2,14}(?:开发区|新区|园区|景区|名胜区|管理区|高新区|经开区)"
_BODY = r"(?!各).{2,50}(?:领导小组|工作组|指挥部|联席会议|委员会|工作专班)"
_SHARED: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = (
    (re.compile(_PLACE), re.compile(rf"{_PLACE}(?P<ending>人民政府|政府)")),
    (re.compile(_ZONE), re.compile(rf"{_ZONE}(?P<ending>管委会|管理委员会)")),
    (re.compile(r"(?!各).{2,10}街道"), re.compile(r"(?!各).{2,10}街道(?P<ending>办事处)")),
    (re.compile(_BODY), re.compile(rf"{_BODY}(?P<ending>成员单位.{{0,20}})")),
)
# A 委员会 that is a department, not a body of members, and so shares no 成员单位.
_DEPARTMENT = re.compile(
    r"(?:改革|卫生健康|计划生育|监督管理|信息化|教育|管理|监察|政法|科学技术|建设|民族宗教|农业)委员会$"
)


def _expanded(run: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Give a shared ending to every name of the run that stands before it: 甲市、乙市政府."""
    endings: list[str] = [""] * len(_SHARED)
    expanded: list[tuple[str, int]] = []
    for name, offset in reversed(run):
        whole = name
        for kind, (bare, carrier) in enumerate(_SHARED):
            if carries := carrier.fullmatch(name):
                endings = [""] * len(_SHARED)
                endings[kind] = carries["ending"]
                break
            if endings[kind] and bare.fullmatch(name) and not _DEPARTMENT.search(name):
                whole = name + endings[kind]
                break
        else:
            # Another sort of name ends the run: what stands before it shares nothing behind it.
            endings = [""] * len(_SHARED)
        expanded.append((whole, offset))
    return expanded[::-1]


_OPEN_LIST = re.compile(r"等(?:(?:有关|相关)?(?:部门|单位))?$")
_EMPTY = re.compile(r"[（(〔][\s]{0,30}[）)〕]|“\s{0,30}”")
_NO_NAME = re.compile(r"[\ufffd。：:？?！!*_]")


def _sound(name: str, offset: int, problems: list[Problem]) -> str:
    """Return the name, or "" where it is damaged or no name; then a problem says so."""
    open_list = _OPEN_LIST.search(name)
    if open_list and open_list.start():
        problems.append(Problem("open-list", offset, "名单以“等”收尾，其余单位没有写明。"))
        name = name[: open_list.start()]
    if _EMPTY.search(name) or _NO_NAME.search(name) or len(name) > MAX_NAME_CHARS or len(name) < 2:
        problems.append(
            Problem("damaged-name", offset, f"单位名称有缺损，未采用：{name[:MAX_NAME_CHARS]}")
        )
        return ""
    return name


_GROUP = re.compile(r"各|(?:相关|有关).{0,8}(?:部门|单位)|成员单位|(?:部门|单位|乡镇|街道)$|、")


def is_group(name: str) -> bool:
    """Whether a name stands for several units: 各县区人民政府, 市政府相关部门, 成员单位."""
    return _GROUP.search(name) is not None
