"""Automatic list numbers of a docx: they are not in its text, and an item without one is lost."""

from typing import Any

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"

# Word's names for the formats that number official documents; others yield no label.
_CHINESE = frozenset({"chineseCounting", "chineseCountingThousand", "japaneseCounting"})
_MAX_LEVELS = 9
# Of a level's pattern (第%1条): every paragraph repeats it, so a long one would make a small file huge.
MAX_PATTERN_CHARS = 32
MAX_START = 9_999  # for the same reason: a number may have thousands of digits


def chinese_numeral(number: int) -> str:
    """Return 1–199 as written in item numbers: 10 → 十, 21 → 二十一, 101 → 一百零一."""
    digits = "零一二三四五六七八九"
    if not 0 < number < 200:
        return str(number)
    hundred, rest = divmod(number, 100)
    ten, one = divmod(rest, 10)
    text = "一百" if hundred else ""
    if ten:
        text += ("" if ten == 1 and not hundred else digits[ten]) + "十"
    elif hundred and one:
        text += "零"
    return text + (digits[one] if one else "")


class Numbering:
    """The lists of one docx, and how far each has counted. Ask for labels in document order."""

    def __init__(self, root: Any) -> None:
        self._levels: dict[str, dict[int, tuple[str, str, int]]] = {}
        self._abstract: dict[str, str] = {}
        self._counts: dict[str, dict[int, int]] = {}
        if root is None:
            return
        for abstract in root.iter(f"{W}abstractNum"):
            levels = {}
            for level in abstract.iter(f"{W}lvl"):
                index = _number(level.get(f"{W}ilvl"), -1)
                if 0 <= index < _MAX_LEVELS:
                    start = min(_number(_value(level, "start"), 1), MAX_START)
                    pattern = _value(level, "lvlText")[:MAX_PATTERN_CHARS]
                    levels[index] = (_value(level, "numFmt"), pattern, start)
            self._levels[abstract.get(f"{W}abstractNumId", "")] = levels
        for number in root.iter(f"{W}num"):
            self._abstract[number.get(f"{W}numId", "")] = _value(number, "abstractNumId")

    def label(self, paragraph: Any) -> str:
        """Return the number Word would print before this paragraph, "" for none or a bullet."""
        properties = paragraph.find(f"{W}pPr/{W}numPr")
        if properties is None:
            return ""
        abstract = self._abstract.get(_value(properties, "numId"), "")
        index = _number(_value(properties, "ilvl"), 0)
        levels = self._levels.get(abstract, {})
        if index not in levels:
            return ""
        counts = self._counts.setdefault(abstract, {})
        counts[index] = counts.get(index, levels[index][2] - 1) + 1
        for deeper in [level for level in counts if level > index]:
            del counts[deeper]
        text = levels[index][1]
        if levels[index][0] == "bullet":
            return ""
        for level, (form, _, start) in levels.items():
            count = counts.get(level, start)
            text = text.replace(
                f"%{level + 1}", chinese_numeral(count) if form in _CHINESE else str(count)
            )
        return text


def grid_columns(span: Any) -> int:
    """Return how many columns a table cell takes, given its gridSpan element or None; 1 to 60."""
    return 1 if span is None else min(60, max(1, _number(span.get(f"{W}val"), 1)))


def _value(parent: Any, name: str) -> str:
    child = parent.find(f"{W}{name}")
    return "" if child is None else str(child.get(f"{W}val", ""))


def _number(text: str | None, default: int) -> int:
    try:
        return int(text or "")
    except ValueError:
        return default
