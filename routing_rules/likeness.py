"""matching.yaml: when tickets are about the same matter."""

from pathlib import Path

from routing_rules.gazetteer import DATA
from routing_rules.yamlfile import Row, RuleFileError, overlaid
from service.domain.scope import Status
from service.domain.similar import Basis, GroupMatter, Likeness, Repeat, SameMatter

_FILE = "matching.yaml"
_SECTIONS = ("same", "repeat", "group")
_MOST_DAYS = 366


def load_likeness(folder: Path | None = None) -> Likeness:
    """Return the figures, with the sections of `folder` in place of the shipped ones.

    Raises RuleFileError for the first row that is wrong.
    """
    rows = overlaid([DATA, folder] if folder else [DATA], _FILE, key="section")
    for name, row in rows.items():
        if name not in _SECTIONS:
            raise row.error(f"section 应为 {'、'.join(_SECTIONS)} 之一", "section")
    for name in _SECTIONS:
        if name not in rows:
            raise RuleFileError(DATA / _FILE, 1, f"缺少 section: {name}")
    same, repeat, group = (rows[name] for name in _SECTIONS)
    alike = ("by_person", "by_person_and_place", "by_place", "by_text")
    same.only("section", "days", *alike, "status", "source")
    repeat.only("section", "days", "status", "source")
    group.only("section", "days", "people", "line_text", "text", "status", "source")
    return Likeness(
        SameMatter(
            days=_whole(same, "days", _MOST_DAYS),
            by_person=_share(same, "by_person"),
            by_person_and_place=_share(same, "by_person_and_place"),
            by_place=_share(same, "by_place"),
            by_text=_share(same, "by_text"),
            basis=_of(same),
        ),
        Repeat(_whole(repeat, "days", _MOST_DAYS), _of(repeat)),
        GroupMatter(
            _whole(group, "days", _MOST_DAYS),
            _whole(group, "people", 1000, least=2),
            _share(group, "line_text"),
            _share(group, "text"),
            _of(group),
        ),
    )


def _of(row: Row) -> Basis:
    return Basis(Status(row.choice("status", tuple(Status))), row.text("source"))


def _whole(row: Row, key: str, most: int, least: int = 1) -> int:
    found = row.integer(key)
    if not least <= found <= most:
        raise row.error(f"{key} 应在 {least} 到 {most} 之间", key)
    return found


def _share(row: Row, key: str) -> float:
    found = row.number(key)
    if not 0 < found <= 1:  # at 0 any two texts would do; NaN is none of these either
        raise row.error(f"{key} 应大于 0，不超过 1", key)
    return found
