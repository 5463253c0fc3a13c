"""The table of responsible units (责任单位): who answers for what, where, and under which names."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType

from routing_rules.gazetteer import DATA, Gazetteer, Level, level, stem
from routing_rules.yamlfile import Row, overlaid
from service.domain.complaint import Basis
from service.domain.ports import Unit
from service.domain.region import prefix

TERRITORY = "government"
"""Stands for a line in the code of a territory's own government (属地): `360113-government`."""

NONE = "none"
"""Stands for a name, or for another line, where the next region up does the work."""

_LEVELS = ("province", "city", "county")
_TEMPLATES = (*_LEVELS, "district")
_CODE = re.compile(r"[a-z][a-z0-9_]*")
_NOISE = re.compile(r"[\s“”\"'‘’「」]+")
_BRACKETED = re.compile(r"[〔(（\[].*?[〕)）\]]")
_GROUP = re.compile(r"各|相关|有关|成员单位|领导小组$|^驻|^县[〔（(]")
# Parts of a unit that are named in its place: a review says 公安局高兴派出所, a caller 城管所.
_OFFICE = re.compile(
    r"[\w（）()]{0,12}?(?:派出所|[分支]局|[大中支总]队|窗口|大厅|中心|科|股|室|处|所|站|专区|热线)"
)
# What a town runs itself, whatever a county's office of that name belongs to.
_TOWN_OFFICE = re.compile(
    r"(?:综合)?[便为]民服务(?:中心|大厅|站)|(?:政务|行政|党群)服务(?:中心|大厅)|综合(?:行政)?执法[大中]?队"
    r"|\w{0,8}(?:办公室|村委会|居委会|村民委员会|居民委员会|社区|村)|党政(?:综合)?办|综治(?:中心|办)"
)
_STATION = re.compile(r"(\w{2,6})(?:所|站|分局)")
_PREFIX = {"省": "province", "市": "city", "县": "county", "区": "county"}


@dataclass(frozen=True, slots=True)
class Line:
    """A functional line (条线). `names` has the template of its unit's full name by level.

    `unit_of` is the line whose unit does this as well where the line has no unit of its own.
    `institutions` are endings of what the unit runs or oversees (医院, 小学).
    """

    code: str
    name: str
    names: Mapping[str, str]
    short: tuple[str, ...]
    unit_of: str
    institutions: tuple[str, ...]
    duty: str
    basis: str


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a policy document names a unit: its 文号 or else title, and the items as numbered."""

    document: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A policy document: its number (文号) or "", title, the region it holds in, and its date."""

    code: str
    number: str
    title: str
    region: str
    issued: date | None

    @property
    def reference(self) -> str:
        """What evidence cites: the number, or the title of a document that has none."""
        return self.number or self.title


@dataclass(frozen=True, slots=True)
class Rename:
    """A former name (the part behind the place) and what became of it: a name, or a line."""

    code: str
    names: tuple[str, ...]
    levels: tuple[str, ...]
    since: str
    until: str
    became: str
    line: str


@dataclass(frozen=True, slots=True)
class _Explicit:
    """A row of units.yaml, resolved."""

    unit: Unit
    aliases: tuple[str, ...]
    citation: Citation | None
    coordinator: bool
    proposed: tuple[str, ...]  # which of the aliases were proposed, by whom and why


class UnitTable:
    """Every unit of the province by code, by name and by what it does; read-only after loading."""

    def __init__(
        self,
        gazetteer: Gazetteer,
        lines: Mapping[str, Line],
        documents: Mapping[str, Document],
        explicit: Mapping[str, _Explicit],
        shared: Mapping[str, str],
        renames: Sequence[Rename],
    ) -> None:
        self._gazetteer = gazetteer
        self._lines = dict(lines)
        self._documents = dict(documents)
        self._explicit = dict(explicit)
        self._shared = dict(shared)
        self._renames = tuple(renames)
        self._units = {row.unit.code: row.unit for row in explicit.values()}
        for region in gazetteer.regions:
            for unit in self._made(region.code, region.level):
                self._units.setdefault(unit.code, unit)
        self._by_region: dict[str, list[Unit]] = {}
        for unit in self._units.values():
            self._by_region.setdefault(unit.region, []).append(unit)
        self._coordinators = {
            row.unit.region: row.unit for row in explicit.values() if row.coordinator
        }
        self._full_names = {plain(unit.name): unit.code for unit in self._units.values()}
        self._cores = self._core_index()
        self._former = {
            (where, plain(name)): rename
            for rename in self._renames
            for where in rename.levels
            for name in rename.names
        }
        self._aliases = {
            (row.unit.region, plain(alias)): row.unit.code
            for row in explicit.values()
            for alias in row.aliases
        }
        self._answers: dict[tuple[str, str], Unit | None] = {}

    # --- by code

    def unit(self, code: str) -> Unit | None:
        """Return the unit with this code, or None."""
        return self._units.get(code)

    def units(self, region: str | None = None) -> Sequence[Unit]:
        """Return the units of this region and those below it, or all, in a stable order."""
        if not region:
            return tuple(self._units.values())
        within = prefix(region)
        return tuple(
            unit
            for there, units in self._by_region.items()
            if there.startswith(within)
            for unit in units
        )

    def citation(self, code: str) -> Citation | None:
        """Return where a policy document names the unit, or None when none does."""
        row = self._explicit.get(code)
        return row.citation if row else None

    def proposed(self, code: str, name: str) -> str:
        """Return who proposed that a unit be called so too, and why; "" where nobody did."""
        row = self._explicit.get(code)
        said = row.proposed if row else ()
        # A reason may speak of another name than its own.
        return next((each for each in said if each.startswith(f"别名“{plain(name)}”")), "")

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every line, in the order of the file."""
        return tuple(self._lines.values())

    def line(self, code: str) -> Line | None:
        """Return the line with this code, or None."""
        return self._lines.get(code)

    @property
    def documents(self) -> tuple[Document, ...]:
        """The policy documents that the table cites."""
        return tuple(self._documents.values())

    @property
    def renames(self) -> tuple[Rename, ...]:
        """The former names."""
        return self._renames

    # --- by what a unit does

    def line_unit(self, region: str, line: str) -> Unit | None:
        """Return who answers for a line in a region: its own unit, or the nearest one up.

        None for an unknown line, and for one that has no unit in the region nor above it.
        """
        key = (region, line)
        if line not in self._lines or self._gazetteer.region(region) is None:
            return None  # not kept: nothing bounds the names that come from outside
        if key not in self._answers:
            found = None
            for place in self._gazetteer.parents(region):
                found = self._own(place, line)
                if found:
                    break
            self._answers[key] = found
        return self._answers[key]

    def territory(self, region: str) -> Unit | None:
        """Return the government of a region or town itself (属地), or None."""
        return self._units.get(f"{region}-{TERRITORY}")

    def coordinator(self, region: str) -> Unit:
        """Return the unit that runs the hotline for a region: it sorts, calls back and supervises.

        That is the nearest one up; where the table marks none up to the city, the city's
        government services (政务服务). Raises KeyError for a region that is not in the province.
        """
        for place in self._gazetteer.parents(region):
            marked = self._coordinators.get(place)
            if marked:
                return marked
            if level(place) == "city":
                unit = self._own(place, "government_services")
                if unit:
                    return unit
        raise KeyError(region)

    # --- by name

    def by_name(self, name: str, region: str, on: date | None = None) -> Unit | None:
        """Return the unit that a name means when it is read in a region, or None.

        Written on a day on which another unit bore the name, it means what became of that one.

        A name may be full (兴国县市场监督管理局), short with its level (县市场监管局) or
        without (市监局), or one of the past (省工信委), and a part of a unit means the unit
        (县公安局高兴派出所). A note in brackets (〔省审改办〕), spaces and quotation marks do not
        count. A group (各县区人民政府) is no unit.
        """
        written = plain(_BRACKETED.sub("", name)) or plain(name.strip("〔〕()（）"))
        if not written or is_group(written):
            return None
        places = self._gazetteer.parents(region)
        if on and (unit := self._of_then(written, places, on)):
            return unit
        for place in places:
            code = self._aliases.get((place, written))
            if code:
                return self._units[code]
        code = self._full_names.get(written)
        if code:
            return self._units[code]
        for place, core in self._readings(written, places):
            unit = self._by_core(place, core)
            if unit:
                return unit
        return None

    def bearer(self, name: str, region: str) -> Unit | None:
        """Return the unit whose own name this is in a region, full, short or other, or None: not one
        that only sounds as if it were a part of a unit."""
        written = plain(name)
        found = self.by_name(name, region)
        places = self._gazetteer.parents(region)
        if found is None or written in self._full_names:
            return found
        if any((place, written) in self._aliases for place in places):
            return found
        for place, core in self._readings(written, places):
            there = level(place) if place else None
            where = there if there in _LEVELS else "county"
            if core in _GOVERNMENT or self.line_of_name(core, where):
                return found
            if place and self._below(place, core):
                return found
        return None

    def line_of_name(self, core: str, where: str) -> str | None:
        """Return the line that a name without its place (市监局, 工信委) means at a level, or None.

        A former name is followed to today's, however often it changed.
        """
        name = plain(core)
        for _ in range(len(self._renames) + 1):
            line = self._cores.get((where, name))
            if line:
                return line
            former = self._former.get((where, name))
            if former is None or former.line:
                return former.line if former else None
            name = plain(former.became)
        return None

    def unresolved(self, names: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return those of (name, region) that mean no unit and are no group either."""
        return [
            (name, region)
            for name, region in names
            if not is_group(plain(name)) and self.by_name(name, region) is None
        ]

    def canonical_json(self) -> str:
        """Return everything that bears on a decision as JSON, equal for equal content."""
        content = {
            "lines": [
                [
                    i.code,
                    i.name,
                    dict(i.names),
                    i.short,
                    i.unit_of,
                    i.institutions,
                    i.duty,
                    i.basis,
                ]
                for i in self._lines.values()
            ],
            "units": [
                [
                    row.unit.code,
                    row.unit.name,
                    row.unit.line,
                    row.unit.basis,
                    row.aliases,
                    [row.citation.document, row.citation.items] if row.citation else None,
                    row.coordinator,
                ]
                for row in self._explicit.values()
            ],
            "shared": self._shared,
            "renames": [
                [r.code, r.names, r.levels, r.since, r.until, r.became, r.line]
                for r in self._renames
            ],
        }
        return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    # --- inside

    def _made(self, region: str, where: Level) -> Iterable[Unit]:
        """Return the units a region has without a row: its government, and one for each line."""
        found = self._gazetteer.region(region)
        assert found is not None
        yield Unit(f"{region}-{TERRITORY}", found.body, region, "", found.basis)
        if where not in _LEVELS:
            return
        for line in self._lines.values():
            name = line_name(line, self._gazetteer, region, self._units)
            if name and f"{region}-{line.code}" not in self._shared:
                yield Unit(f"{region}-{line.code}", name, region, line.code, line.basis)

    def _own(self, region: str, line: str) -> Unit | None:
        """Return a region's own unit of a line, which may be another line's that does both."""
        for _ in range(len(self._lines)):
            unit = self._units.get(f"{region}-{line}")
            if unit:
                return unit
            known = self._lines.get(line)
            if known and self._left_to_the_city(region, known):
                return None
            line = self._shared.get(f"{region}-{line}") or (known.unit_of if known else "")
            if line in ("", NONE):
                return None
        return None

    def _left_to_the_city(self, region: str, line: Line) -> bool:
        return line.names.get("district") == NONE and is_district(self._gazetteer, region)

    def _core_index(self) -> dict[tuple[str, str], str]:
        """Return the line by level and by what stands behind the place in the names of its unit.

        A full name comes before any line's short one, and an earlier line before a later.
        """
        index: dict[tuple[str, str], str] = {}
        for line in self._lines.values():
            for where, template in line.names.items():
                if template == NONE:
                    continue
                core = plain(template.split("}", 1)[1] if template.startswith("{") else template)
                level_there = "county" if where == "district" else where
                core = core.removeprefix("江西省") if where == "province" else core
                index.setdefault((level_there, core), line.code)
        for line in self._lines.values():
            for short in (line.name, *line.short):
                for where in _LEVELS:
                    index.setdefault((where, plain(short)), line.code)
        return index

    def _readings(self, written: str, places: Sequence[str]) -> Iterable[tuple[str, str]]:
        """Return the ways to read a name as a region and what stands behind it."""
        for place in places:
            full = self._gazetteer.name(place)
            region = self._gazetteer.region(place)
            assert region is not None
            for form in dict.fromkeys((full, region.name, stem(region.name))):
                if written.startswith(form) and len(written) > len(form):
                    yield place, written[len(form) :]
        where = _PREFIX.get(written[0])
        if where and len(written) > 1:
            for place in places:
                name = self._gazetteer.name(place)
                if name.endswith(written[0]) and level(place) in _LEVELS:
                    yield place, written[1:]
                    break
            for place in places:
                if level(place) == where:
                    yield place, written[1:]
        yield places[0] if places else "", written
        for mention in self._gazetteer.mentions(written, places[0] if places else "")[:1]:
            if mention.end < len(written):
                yield mention.code, written[: mention.start] + written[mention.end :]

    def _of_then(self, written: str, places: Sequence[str], on: date) -> Unit | None:
        """Return the unit of a former name that held on a day, None if none of them did."""
        month = f"{on:%Y-%m}"
        for place, core in self._readings(written, places):
            found = level(place) if place else None
            where = found if found in _LEVELS else "county"
            held = self._former.get((where, core))
            if held and held.until and held.since <= month <= held.until:
                line = held.line or self.line_of_name(held.became, where)
                return self.line_unit(place, line) if line else None
        return None

    def _by_core(self, region: str, core: str) -> Unit | None:
        if not region:
            return None
        if core in _GOVERNMENT:
            return self.territory(region)
        found = level(region)
        where = found if found in _LEVELS else "county"  # towns and zones write as counties do
        if found == "town" and _TOWN_OFFICE.fullmatch(core):
            return self.territory(region)
        line = self.line_of_name(core, where)
        if line:
            return self.line_unit(region, line)
        return (
            self._below(region, core)
            or self._office(region, core, where)
            or self._institution(region, core)
        )

    def _office(self, region: str, core: str, where: str) -> Unit | None:
        """Return the unit an office belongs to: 公安局高兴派出所, 人社局窗口, a town's 司法所."""
        for cut in range(len(core) - 1, 1, -1):
            line = self.line_of_name(core[:cut], where)
            if line and _OFFICE.fullmatch(core, cut):
                inner = core[cut:].removesuffix("窗口")  # 公安局|交警大队, 政务服务中心|不动产窗口
                return self.line_unit(region, self.line_of_name(inner, where) or line)
        station = _STATION.fullmatch(core)
        for name in (station[1], station[1] + "局") if station else ():
            line = self.line_of_name(name, where)
            if line:
                return self.line_unit(region, line)
        return None

    def _institution(self, region: str, core: str) -> Unit | None:
        """Return the unit above a hospital, a school or a home: 人民医院 is the health line's."""
        for line in self._lines.values():
            if core.endswith(line.institutions):
                return self.line_unit(region, line.code)
        return None

    def _below(self, region: str, core: str) -> Unit | None:
        """Return the government of a place below (高兴镇, 高兴镇政府), or one line further up."""
        for ending in ("", *_GOVERNMENT):
            if ending and not core.endswith(ending):
                continue
            place = self._gazetteer.find(self._gazetteer.name(region) + core.removesuffix(ending))
            if place and place != region:
                return self.territory(place)
        return None


_GOVERNMENT = (
    "人民政府",
    "政府",
    "管理委员会",
    "管委会",
    "街道办事处",
    "办事处",
    "街道办",
    "街办",
    "办",
)


def plain(name: str) -> str:
    """Return a name without spaces and quotation marks, which documents set as they like."""
    return _NOISE.sub("", name)


def is_group(name: str) -> bool:
    """Whether a name means many units (各县区人民政府); nothing is sent to a group."""
    return bool(_GROUP.search(plain(name)))


def is_district(gazetteer: Gazetteer, region: str) -> bool:
    """Whether a region is a district of a city (市辖区)."""
    found = gazetteer.region(region)
    return found is not None and found.level == "county" and found.name.endswith("区")


def line_name(
    line: Line, gazetteer: Gazetteer, region: str, units: Mapping[str, Unit] = MappingProxyType({})
) -> str:
    """Return the full name of a line's unit in a region by the template, "" when it has none.

    `units` are those known so far by code: a branch is named after its city's own unit.
    """
    found = gazetteer.region(region)
    if found is None or found.level not in _LEVELS:
        return ""
    district = line.names.get("district", "") if is_district(gazetteer, region) else ""
    template = district or line.names.get(found.level, "")
    if template == NONE:
        return ""
    city = gazetteer.region(region[:4] + "00")
    if "{city_unit}" in template and city:
        above = units.get(f"{city.code}-{line.code}")
        name = above.name if above else line_name(line, gazetteer, city.code, units)
        template = template.replace("{city_unit}", name)
    return (
        template.replace("{place}", found.full_name)
        .replace("{name}", found.name)
        .replace("{stem}", stem(found.name))
        .replace("{city}", city.name if city else "")
    )


def unit_rows(folder: Path | None = None) -> dict[str, Row]:
    """Return the rows of units.yaml as they hold, by the unit's code. Raises RuleFileError."""
    return overlaid([DATA, folder] if folder else [DATA], "units.yaml")


def load_table(
    gazetteer: Gazetteer, folder: Path | None = None, more: Sequence[Row] = ()
) -> UnitTable:
    """Return the table of the shipped data, with the rows of `folder` added or put in place, and then
    `more` rows of units.

    Raises RuleFileError for the first row that is wrong: an unknown region, line or document, a
    name twice in one region, a former name that leads nowhere.
    """
    folders = [DATA, folder] if folder else [DATA]
    line_rows = overlaid(folders, "lines.yaml")
    lines = {code: _line(row) for code, row in line_rows.items()}
    for code, line in lines.items():
        if line.unit_of and line.unit_of not in lines:
            raise line_rows[code].error(f"unit_of 指向不存在的条线 {line.unit_of}", "unit_of")
        _check_circle(line_rows[code], code, {c: i.unit_of for c, i in lines.items()})
    documents: dict[str, Document] = {}
    held: dict[str, str] = {}
    for code, row in overlaid(folders, "documents.yaml").items():
        document = documents[code] = _document(row, gazetteer)
        other = held.setdefault(document.region, code)
        if other != code:
            # Items are cited by region and number: a second document would speak for the first.
            raise row.error(
                f"区划 {document.region} 已登记文件 {other}，一个地区只能登记一份；换成新版请沿用原编号，"
                "另一份文件的职责请写入 duties",
                "region",
            )
    explicit: dict[str, _Explicit] = {}
    shared: dict[str, str] = {}
    named: dict[tuple[str, str], str] = {}
    for code, row in overlaid(folders, "units.yaml", more=more).items():
        region = _unit_region(row, gazetteer)
        if "unit_of" in row:
            row.only("code", "unit_of")
            target = row.text("unit_of")
            if target not in lines and target != NONE:
                raise row.error(f"unit_of 指向不存在的条线 {target}", "unit_of")
            shared[code] = target
            continue
        explicit[code] = _explicit(row, region, gazetteer, lines, documents)
        for name in {plain(n) for n in (explicit[code].unit.name, *explicit[code].aliases)}:
            other = named.setdefault((region, name), code)
            if other != code:
                raise row.error(f"名称“{name}”在 {region} 已属于 {other}")
    rename_rows = overlaid(folders, "renames.yaml")
    renames = [_rename(row, lines) for row in rename_rows.values()]
    table = UnitTable(gazetteer, lines, documents, explicit, shared, renames)
    _check_renames(table, rename_rows)
    return table


def _line(row: Row) -> Line:
    row.only("code", "name", *_TEMPLATES, "short", "unit_of", "institutions", "duty", "basis")
    code = row.text("code")
    if not _CODE.fullmatch(code) or code == TERRITORY:
        raise row.error(f"条线代码 {code} 应为小写英文,且不得为 {TERRITORY}", "code")
    names = {where: row.text(where) for where in _TEMPLATES if where in row}
    for where, template in names.items():
        if re.sub(r"\{(place|city|city_unit|name|stem)\}", "", template).count("{"):
            raise row.error(
                f"{where} 中只能用 {{place}} {{city}} {{city_unit}} {{name}} {{stem}}", where
            )
    unit_of = row.text("unit_of", "")
    if not names and not unit_of:
        raise row.error("条线既无名称模板,也无 unit_of")
    basis = row.choice("basis", ("line", "default"), "line")
    return Line(
        code,
        row.text("name"),
        names,
        row.texts("short"),
        unit_of,
        row.texts("institutions"),
        row.text("duty"),
        basis,
    )


def _check_circle(row: Row, code: str, leads: Mapping[str, str]) -> None:
    seen = {code}
    while code := leads[code]:
        if code in seen:
            raise row.error("unit_of 互相指向,没有尽头", "unit_of")
        seen.add(code)


def _document(row: Row, gazetteer: Gazetteer) -> Document:
    row.only("code", "region", "number", "title", "issued", "note")
    region = row.text("region")
    if gazetteer.region(region) is None:
        raise row.error(f"区划 {region} 不存在", "region")
    return Document(
        row.text("code"), row.text("number", ""), row.text("title"), region, row.day("issued")
    )


def _unit_region(row: Row, gazetteer: Gazetteer) -> str:
    code = row.text("code")
    region, hyphen, rest = code.partition("-")
    if not hyphen or not _CODE.fullmatch(rest):
        raise row.error(f"单位代码 {code} 应为 区划代码-英文名", "code")
    if gazetteer.region(region) is None:
        raise row.error(f"区划 {region} 不存在", "code")
    return region


def _explicit(
    row: Row,
    region: str,
    gazetteer: Gazetteer,
    lines: Mapping[str, Line],
    documents: Mapping[str, Document],
) -> _Explicit:
    row.only("code", "name", "line", "as", "document", "items", "coordinator", "basis", "proposed")
    code = row.text("code")
    own = code.partition("-")[2]
    line = row.text("line", own if own in lines else "")
    if line and line not in lines:
        raise row.error(f"条线 {line} 不存在", "line")
    if own == TERRITORY:
        found = gazetteer.region(region)
        default_name = found.body if found else ""
    else:
        default_name = line_name(lines[line], gazetteer, region) if line == own else ""
    name = row.text("name", default_name)
    if not name:
        raise row.error("没有可用的名称模板,应写明 name")
    citation = None
    if "document" in row:
        document = documents.get(row.text("document"))
        if document is None:
            raise row.error(f"文件 {row.text('document')} 不存在", "document")
        items = row.texts("items")
        if not items:
            raise row.error("引用文件应写明条目 items")
        citation = Citation(document.reference, items)
    elif "items" in row:
        raise row.error("有 items 而无 document", "items")
    default_basis = lines[line].basis if line else "line"
    basis = row.choice("basis", [b.value for b in Basis], "document" if citation else default_basis)
    if (basis == Basis.DOCUMENT) != (citation is not None):
        raise row.error("basis 为 document 时应有 document,反之亦然", "basis")
    unit = Unit(code, name, region, line, basis)
    return _Explicit(
        unit, row.texts("as"), citation, row.flag("coordinator"), row.texts("proposed")
    )


def _rename(row: Row, lines: Mapping[str, Line]) -> Rename:
    row.only("code", "name", "as", "level", "from", "until", "became", "line")
    line = row.text("line", "")
    became = row.text("became", "")
    if bool(line) == bool(became):
        raise row.error("became 与 line 应恰有一个")
    if line and line not in lines:
        raise row.error(f"条线 {line} 不存在", "line")
    for key in ("from", "until"):
        if key in row and not re.fullmatch(r"\d{4}-\d\d", row.text(key)):
            raise row.error(f"{key} 应为 年-月,现为“{row.text(key)}”", key)
    levels = row.texts("level") or _LEVELS
    for where in levels:
        if where not in _LEVELS:
            raise row.error(f"level 应为 {'、'.join(_LEVELS)},现为“{where}”", "level")
    return Rename(
        row.text("code"),
        (row.text("name"), *row.texts("as")),
        tuple(levels),
        row.text("from", ""),
        row.text("until", ""),
        became,
        line,
    )


def _check_renames(table: UnitTable, rows: Mapping[str, Row]) -> None:
    for rename in table.renames:
        row = rows[rename.code]
        if not all(table.line_of_name(rename.names[0], where) for where in rename.levels):
            raise row.error(f"更名后的“{rename.became}”找不到今天的条线", "became")
