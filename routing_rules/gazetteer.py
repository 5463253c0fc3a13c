"""The regions of the province: their codes and names, and where a free text mentions them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

from routing_rules.yamlfile import Row, RuleFileError, overlaid
from service.domain.region import covers, parents

DATA = Path(__file__).parent / "data"

Level: TypeAlias = Literal["province", "city", "county", "zone", "town"]

_CODE = re.compile(r"36(\d{4}|\d\dK\d|\d{7}|\d{4}K\d\d)")
_ENDINGS = {"province": "省", "city": "市", "county": "市区县"}
_NOT_IN_A_NAME = re.compile(r"[\s/\\>|,，、·\-“”\"'()（）]+")
# What turns the bare name of a place into the name of something else: a road, a school, a dish, a
# person's origin. Many cities have a 南昌路; 安源煤矿 does not say where the trouble is.
_SOMETHING_ELSE = re.compile(
    r"""第?[一二三四五六七八九十]{1,2}(?:中|小(?!区)|医院|附院|幼)
    |[东西南北中]{0,2}(?:
    路|大道|大街|街|巷|弄|立交|高架|大桥|隧道|高速
    |广场(?!舞)|小区|花园|花苑|公寓|大厦|公馆|名城|新村|家园
    |大学|学院|师大|中学|小学|中心小学|职校|技校|幼儿园|附中|附小
    |医院|附院|卫生院|人民医院|中医院|妇幼
    |宾馆|酒店|饭店|酒家|酒楼|餐馆|餐厅|菜馆|饭馆|小吃|土菜|炒菜|拌粉|炒粉|米粉|瓦罐汤|蜜桔|脐橙|家具
    |火锅|烧烤|热干面|面馆|特产|牛肉|通用|本田|丰田|现代|大众
    |煤矿|银行|商场|商厦|超市|百货|铁路|日报|晚报|电视台
    |牌照|号牌|籍|话(?!费)|口音|老表|老板|人(?!民[政法检]|社|大|力|行|才|防)
    )""",
    re.VERBOSE,
)


_MARKET = re.compile(r"圩|墟|集镇|街上|老街|镇上|乡里")
# Behind a bare name elsewhere: a district, an authority, or what the matter is about.
_THERE = re.compile(
    r"(?![小社老新学校园景厂地市城])[\u4e00-\u9fff]{1,3}?(?<![小社学校园景厂地城市])[区县]"
    r"|(?:那边|那里|当地|本地)?的?[\u4e00-\u9fff]{0,4}?(?:局(?!面|部|限)|派出所|交警|城管|法院|住建委|人社厅|12345)"
    r"|的(?:房|小区|物业|工地|工厂|厂|公司|店|商家|楼盘|学校|医院|车站|景区)"
    r"|(?:这边|那边)?(?:购|买|租)[了的]?(?:一套)?(?:新|二手)?(?:房|商铺)"
)
# A matter is not where somebody worked, studied or was treated, nor where a thing came from.
_WAS_THERE = re.compile(
    r".{0,8}?(?:打工|务工|上班|工作|就业|读书|上学|上大学|求学|当兵|经商|做生意|住院|就医|看病|就诊|治病|手术"
    r"|生活|定居|居住|参保|回来|返乡|回乡|返回|回到|返赣|返昌|户口|户籍|籍|转学|转来|转回|转移|迁入|迁回"
    r"|出差|旅游回|嫁到|生产的|发来|寄来|厂家|交界|接壤|边界)"
)
_ON_THE_WAY = re.compile(r"(?:[寄发运送去回从往飞开]|来自|前往)[到往至]?$")
_NOT_THE_CITY = re.compile(r"[场价值面民]|省?道|人(?!民)")


class Mention(NamedTuple):
    """A place in a text: `text[start:end]` means the region with this code and full name.

    A place of another province has the code "".
    """

    code: str
    start: int
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class Region:
    """One region. `body` is the full name of who governs there (人民政府, 管委会)."""

    code: str
    name: str
    full_name: str
    level: Level
    body: str
    basis: str


class _Form(NamedTuple):
    """What one written form stands for, and what it takes to count."""

    code: str
    bare: bool = False  # without its ending: not where it names something else
    scope: str = ""  # only in a text that comes from here or names a place in here
    adjacent: bool = False  # only right behind its region
    market: bool = False  # only before its market place (圩, 老街)
    not_after: str = ""
    not_before: str = ""


class _Elsewhere(NamedTuple):
    """A place of another province under one written form; `full` when that has its ending."""

    name: str
    province: str
    full: bool


def level(code: str) -> Level:
    """Return what sort of region a code stands for, by its shape alone."""
    if "K" in code[:6]:
        return "zone"
    if len(code) > 6:
        return "zone" if "K" in code or "400" <= code[6:9] <= "599" else "town"
    if code.endswith("0000"):
        return "province"
    return "city" if code.endswith("00") else "county"


@lru_cache(4096)  # of a few names, for each line of each region
def stem(name: str) -> str:
    """Return a region's name without its ending: `红谷滩区` → `红谷滩`, `高兴镇` → `高兴`."""
    for ending in ("街道", "省", "市", "区", "县", "镇", "乡"):
        if name.endswith(ending) and len(name) - len(ending) >= 2:
            return name[: -len(ending)]
    return name


class Gazetteer:
    """Knows the regions of the province; fulfils `service.domain.ports.Gazetteer`."""

    def __init__(
        self,
        regions: Sequence[Region],
        forms: dict[str, list[_Form]],
        elsewhere: Mapping[str, _Elsewhere],
    ) -> None:
        self._regions = {region.code: region for region in regions}
        self._forms = list(forms.values())
        self._named = forms
        self._children: dict[str, list[str]] = {code: [] for code in self._regions}
        for code in self._regions:
            if len(chain := self.parents(code)) > 1:
                self._children[chain[1]].append(code)
        self._automaton = AhoCorasick(
            list(forms), MatchKind.Standard, False, Implementation.ContiguousNFA
        )
        self._elsewhere = list(elsewhere.values())
        self._outside = AhoCorasick(
            list(elsewhere), MatchKind.LeftmostLongest, False, Implementation.ContiguousNFA
        )

    @property
    def regions(self) -> tuple[Region, ...]:
        """Every region, in the order of the files."""
        return tuple(self._regions.values())

    def region(self, code: str) -> Region | None:
        """Return a region by its code, or None."""
        return self._regions.get(code)

    def name(self, code: str) -> str:
        """Return the full name of a region: `江西省`, `兴国县`, `南昌市红谷滩区`, `兴国县高兴镇`.

        Raises KeyError for a code that is no region of the province.
        """
        return self._regions[code].full_name

    def find(self, name: str) -> str | None:
        """Return the code of a region given its code or a name, or None.

        Names count with or without their endings, after their city's or province's
        (`江西省赣州市兴国县`, `南昌红谷滩`), and former ones too (`南康市`). Codes may be filled up
        with zeros to twelve digits. A name that several regions share needs its region before it.
        """
        if name in self._regions:
            return name
        written = _NOT_IN_A_NAME.sub("", name)
        if not written:
            return None
        if written.isascii():
            return self._by_code(written.upper())
        return self._within(written, "")

    def parents(self, code: str) -> tuple[str, ...]:
        """Return the code itself and every region around it that is known, nearest first."""
        return tuple(part for part in parents(code) if part in self._regions)

    def children(self, code: str) -> tuple[str, ...]:
        """Return the codes of the regions directly below: a city's counties and zones."""
        return tuple(self._children.get(code, ()))

    def mentions(self, text: str, within: str = "") -> list[Mention]:
        """Return the places of the province that a text mentions, in order, none overlapping.

        `within` is the region where the text comes from: it settles names that several places
        share (太平镇, 高新区), it leaves none out. Names that stand together and lie in each other
        are one mention (`赣州市兴国县` is 兴国县). A bare name in another (`南昌路`) is none.
        """
        hits = self._automaton.find_matches_as_indexes(text, overlapping=True)
        if not hits:
            return []
        hits.sort(key=lambda hit: (hit[1], -hit[2]))
        found: list[Mention] = []
        open_names: list[tuple[int, int, list[_Form]]] = []
        past = 0
        for pattern, start, end in hits:
            if start < past:
                continue
            forms = [form for form in self._forms[pattern] if _stands(form, text, start, end)]
            if not forms:
                continue
            before = found[-1] if found and found[-1].end == start else None
            if before:
                inside = [form for form in forms if _lies_in(form, before.code)]
                if len(inside) == 1:
                    code = inside[0].code
                    found[-1] = Mention(code, before.start, end, self._regions[code].full_name)
                    past = end
                    continue
            forms = [form for form in forms if not form.adjacent]
            if len(forms) == 1 and not forms[0].scope:
                code = forms[0].code
                found.append(Mention(code, start, end, self._regions[code].full_name))
                past = end
            elif forms:
                open_names.append((start, end, forms))
        for start, end, forms in open_names:
            if any(start < other.end and other.start < end for other in found):
                continue
            code_there = self._settled(forms, within, found)
            if code_there:
                name = self._regions[code_there].full_name
                found.append(Mention(code_there, start, end, name))
        if open_names:
            found.sort(key=lambda mention: mention.start)
        return found

    def outside(self, text: str) -> Mention | None:
        """Return the first place of another province where a text's matter may lie, or None.

        A name counts with its ending (`长沙市`), a city behind its province (`湖南长沙`), and a
        bare name before a district, an authority or a thing that lies there (`长沙岳麓区`,
        `武汉社保局`, `长沙的物业`). Roads, brands and dishes (`湖南路`, `上海通用`, `重庆火锅`) do
        not, nor where somebody works or was treated. Whether the matter is refused is for the
        router: the same text may name places of ours.
        """
        hits = self._outside.find_matches_as_indexes(text)
        ours: bytearray | None = None  # worked out once, and only for a text that needs it
        place = 0
        while place < len(hits):
            pattern, start, end = hits[place]
            here = self._elsewhere[pattern]
            name, ending = here.name, here.full
            sure = ending
            while place + 1 < len(hits) and hits[place + 1][1] == end:  # 湖南|长沙, 广东省|东莞市
                inner = self._elsewhere[hits[place + 1][0]]
                if inner.province != here.province or inner.name == name:
                    break
                name, ending, sure, end = inner.name, inner.full, True, hits[place + 1][2]
                place += 1
            place += 1
            sure = sure or _THERE.match(text, end) is not None
            if (
                sure
                and not _NOT_THE_CITY.match(text, end)
                and not (_SOMETHING_ELSE.match(text, end) and not ending)
                and not _ON_THE_WAY.search(text[max(0, start - 3) : start])
                and not _WAS_THERE.match(text, end)
            ):
                ours = self._ours(text) if ours is None else ours
                if not any(ours[start:end]):
                    return Mention("", start, end, name)
        return None

    def canonical_json(self) -> str:
        """Return everything that bears on a decision as JSON, equal for equal content."""
        content = [
            sorted(self._elsewhere),
            [[r.code, r.name, r.body] for r in self._regions.values()],
            {name: [list(form) for form in forms] for name, forms in self._named.items()},
        ]
        return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    def _ours(self, text: str) -> bytearray:
        """Return 1 for each character in a name of a place of ours: 南昌|都市圈 holds 昌都市."""
        covered = bytearray(len(text))
        for mention in self.mentions(text):
            covered[mention.start : mention.end] = b"\1" * (mention.end - mention.start)
        return covered

    def _by_code(self, written: str) -> str | None:
        code = written[:9] if len(written) == 12 and written.endswith("000") else written
        if len(code) == 9 and code.endswith("000"):
            code = code[:6]
        return code if code in self._regions else None

    def _within(self, written: str, outer: str) -> str | None:
        """Return the region of this name inside `outer`, reading it name by name."""
        forms = [form for form in self._named.get(written, ()) if _lies_in(form, outer)]
        if not outer:  # a full name that only one region has needs no other beside it
            forms = [form for form in forms if not form.scope] or [
                form
                for form in self._named.get(written, ())
                if not form.market and (not form.bare or level(form.code) == "county")
            ]
        codes = list(dict.fromkeys(form.code for form in forms))
        if len(codes) > 1:  # 吉安 is the city, not the county in it
            rank = min(_RANK[level(code)] for code in codes)
            codes = [code for code in codes if _RANK[level(code)] == rank]
        if len(codes) == 1:
            return codes[0]
        for cut in range(len(written) - 1, 1, -1):
            for form in self._named.get(written[:cut], ()):
                if _lies_in(form, outer):
                    code = self._within(written[cut:], form.code)
                    if code:
                        return code
        return None

    def _settled(self, forms: Sequence[_Form], within: str, found: Sequence[Mention]) -> str | None:
        """Return which region a shared name means, seen from where the text comes from."""
        views = [within] if within else []
        views += [mention.code for mention in found]
        for view in views:
            for outer in parents(view)[:-1]:  # the whole province settles nothing
                inside = {
                    form.code
                    for form in forms
                    if covers(outer, form.code) and covers(form.scope, view)
                }
                if len(inside) == 1:
                    return inside.pop()
                if inside:
                    break
        return None


_RANK = {"province": 0, "city": 1, "county": 2, "zone": 2, "town": 3}


def _lies_in(form: _Form, outer: str) -> bool:
    """Whether a form right behind the name of `outer` means a place in it; "" has no such name."""
    return form.code != outer and covers(outer, form.code) and covers(form.scope, outer)


def _stands(form: _Form, text: str, start: int, end: int) -> bool:
    """Whether the words around a name leave it a name of a place."""
    if form.not_after and start and text[start - 1] in form.not_after:
        return False
    if form.not_before and end < len(text) and text[end] in form.not_before:
        return False
    if form.market and not _MARKET.match(text, end):
        return False
    return not (form.bare and _SOMETHING_ELSE.match(text, end))


def load_gazetteer(folder: Path | None = None) -> Gazetteer:
    """Return the gazetteer of the shipped data, with the rows of `folder` added or put in place.

    Raises RuleFileError for the first row that is wrong.
    """
    folders = [DATA, folder] if folder else [DATA]
    rows = overlaid(folders, "regions.yaml")
    names: dict[str, str] = {}
    for row in rows.values():
        row.only(
            "code",
            "name",
            "as",
            "local",
            "nearby",
            "was",
            "bare",
            "not_after",
            "not_before",
            "body",
            "basis",
        )
        code = row.text("code")
        if not _CODE.fullmatch(code):
            raise row.error(f"区划代码 {code} 不是本省的代码", "code")
        names[code] = row.text("name")
    regions: list[Region] = []
    forms: dict[str, list[_Form]] = {}
    for row in rows.values():
        _check_parent(row, names)
        regions.append(_region(row, names))
        for name, form in _forms_of(row):
            _add(forms, name, form)
    for row in overlaid(folders, "towns.yaml", key="county").values():
        for region, written in _towns(row, names):
            if region.code in names:
                raise row.error(f"区划代码 {region.code} 重复", "towns")
            regions.append(region)
            for name, form in written:
                _add(forms, name, form)
    return Gazetteer(regions, forms, _elsewhere(folders))


def _elsewhere(folders: Sequence[Path]) -> dict[str, _Elsewhere]:
    """Return the written forms of other provinces and their cities."""
    found: dict[str, _Elsewhere] = {}
    for row in overlaid(folders, "outside.yaml", key="name").values():
        row.only("name", "short", "cities")
        province = row.text("name")
        found[province] = _Elsewhere(province, province, full=True)
        found[row.text("short")] = _Elsewhere(province, province, full=False)
        for part in row.text("cities", "").split():
            city, _, short = part.partition("=")
            place = _Elsewhere(province + city, province, full=True)
            found.setdefault(city, place)
            if short != "-":  # an everyday word
                found.setdefault(short or stem(city), place._replace(full=False))
    return found


def _add(forms: dict[str, list[_Form]], name: str, form: _Form) -> None:
    there = forms.setdefault(name, [])
    if all(other.code != form.code for other in there):
        there.append(form)


def _check_parent(row: Row, names: dict[str, str]) -> None:
    for code in parents(row.text("code"))[1:]:
        if code not in names:
            raise row.error(f"上级区划 {code} 不存在", "code")


def _region(row: Row, names: dict[str, str]) -> Region:
    code, name = row.text("code"), row.text("name")
    kind = level(code)
    full_name = name
    if kind == "county" and name.endswith("区"):
        full_name = names[code[:4] + "00"] + name
    default = "" if kind == "zone" else full_name + "人民政府"
    body = row.text("body", default)
    if not body:
        raise row.error("功能区应写明管理机构 body")
    return Region(code, name, full_name, kind, body, row.choice("basis", _BASES, "line"))


_BASES = ("document", "line", "default")


def _forms_of(row: Row) -> Iterable[tuple[str, _Form]]:
    code, name = row.text("code"), row.text("name")
    yield name, _Form(code, not_before=_end_guard(name))
    for alias in row.texts("as"):
        yield alias, _Form(code, bare=True, not_before=_end_guard(alias))
    for former in row.rows("was"):
        former.only("name", "until")
        until = former.text("until")
        if not re.fullmatch(r"\d{4}-\d\d", until):
            raise former.error(f"until 应为 年-月,现为“{until}”", "until")
        yield former.text("name"), _Form(code, not_before=_end_guard(former.text("name")))
    kind = level(code)
    where = row.choice("bare", ("anywhere", "nearby", "after_parent"), "anywhere")
    if kind in _ENDINGS and name[-1] in _ENDINGS[kind]:
        yield (
            stem(name),
            _Form(
                code,
                bare=True,
                scope=parents(code)[1] if where == "nearby" else "",
                adjacent=where == "after_parent",
                not_after=row.text("not_after", ""),
                not_before=row.text("not_before", ""),
            ),
        )
    around = parents(code)[1] if kind != "province" else ""
    for key, scope in (("local", around), ("nearby", code[:4] + "00")):
        for alias in row.texts(key):
            yield alias, _Form(code, bare=True, scope=scope, not_before=_end_guard(alias))


def _end_guard(name: str) -> str:
    """Return what may not follow: 东湖区|域, 新建县|道, 开发区|块 are other words."""
    return {"区": "域块别间", "县": "道"}.get(name[-1], "")


def _towns(row: Row, names: dict[str, str]) -> Iterable[tuple[Region, list[tuple[str, _Form]]]]:
    row.only("county", "towns", "bare")
    county = row.text("county")
    if county not in names or level(county) != "county":
        raise row.error(f"县级区划 {county} 不存在", "county")
    bare = row.text("bare", "").split()
    place, city = names[county], county[:4] + "00"
    outer = (names[city] if place.endswith("区") else "") + place
    stems: set[str] = set()
    for part in row.text("towns").split():
        if not re.fullmatch(r"\d{3}\w+(镇|乡|街道)", part):
            raise row.error(f"乡镇应写作三位数字加名称,现为“{part}”", "towns")
        code, name = county + part[:3], part[3:]
        stems.add(stem(name))
        body = outer + name + ("办事处" if name.endswith("街道") else "人民政府")
        region = Region(code, name, outer + name, "town", body, "line")
        # 范镇 stands in 示范镇: so short a name counts only behind its county's. Streets are called
        # 交通街道 and 新村街道: they count in their city only.
        scope = city if name.endswith("街道") else ""
        written = [(name, _Form(code, adjacent=len(name) < 3, scope=scope))]
        other = {"镇": "乡", "乡": "镇"}.get(name[-1])
        if other:  # a township that has become a town since, and the other way round
            written.append((stem(name) + other, _Form(code, scope=county)))
        if stem(name) in bare:
            written.append((stem(name), _Form(code, bare=True, scope=city)))
        elif len(stem(name)) > 1:
            written.append((stem(name), _Form(code, market=True, scope=county)))
        yield region, written
    for name in bare:
        if name not in stems:
            raise row.error(f"bare 中的“{name}”不在 towns 中", "bare")


__all__ = ["Gazetteer", "Mention", "Region", "RuleFileError", "level", "load_gazetteer", "stem"]
