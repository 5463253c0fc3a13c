"""Files as rows: CSV, Excel or NDJSON in, one mapping of columns to cells a row out.

Files of text are streamed: memory does not grow with them. Excel keeps a sheet as one compressed
document, so that a workbook has bounds.
"""

import codecs
import csv
import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
    load_workbook,
)

from adapters.payload import ITEM_BYTES, Undecodable, decode
from adapters.wire_text import is_damaged_utf8

_CHUNK_BYTES = 1024 * 1024
_LINE_CHARS = 1024 * 1024
_WORKBOOK_BYTES = 200 * 1024 * 1024
_UNPACKED_BYTES = 1024 * 1024 * 1024
# All between the first cell and the last are kept, empty or not, at 32 bytes each.
_CELLS = 50_000_000
_CELL = re.compile(rb"\sr\s*=\s*[\"']([A-Za-z]{1,99})([0-9]{1,16})")
_CELL_CHARS = 160
_HEAD_ROWS = 30  # a header stands among these, below titles and notes
_FEWEST_KNOWN = 2
_DELIMITERS = ",\t;"
_DAMAGED_SHARE = 0.05  # of the characters beyond ASCII; more, and it is another encoding

_TEXT, _XLSX, _XLS, _NDJSON, _HTML, _ARRAY, _BINARY = (
    "CSV 文本",
    "Excel 工作簿（.xlsx）",
    "旧版 Excel 工作簿（.xls）或加了密码的工作簿",
    "每行一条的 JSON（NDJSON）",
    "网页（HTML 或 XML），请用 Excel 打开后另存为 .xlsx",
    "一个 JSON 数组，请改为每行一条",
    "UTF-16 文本或二进制数据，文本请另存为 UTF-8",
)
_BY_ENDING: Mapping[str, str] = {
    ".csv": _TEXT,
    ".tsv": _TEXT,
    ".txt": _TEXT,
    ".xlsx": _XLSX,
    ".xlsm": _XLSX,
    ".xls": _XLS,
    ".ndjson": _NDJSON,
    ".jsonl": _NDJSON,
    ".json": _NDJSON,
}


class Unreadable(Exception):
    """A file that gives no rows at all; `detail` is a sentence in Chinese."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Line:
    """A row as it stands in the file: `row` is its number as Excel counts, cells are by column.

    `fault` says in Chinese why it cannot be read, "" if it can. `at` is how far into the file it
    lies, in the units of `Sheet.size`.
    """

    row: int
    cells: Mapping[str, Any]
    at: int
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file that was opened: SHA-256 of its bytes, the sheet's name ("" if it has none), its
    columns in order (none for NDJSON, whose lines name their own), its size, and its rows."""

    digest: str
    name: str
    columns: tuple[str, ...]
    size: int
    lines: Callable[[], Iterator[Line]]


IsKnown = Callable[[str], bool]


def open_sheet(path: Path, is_known: IsKnown, name: str = "") -> Sheet:
    """Return the rows of a file below the header, which is found by the columns that `is_known`.

    `name` is the sheet to read where a workbook has several with a header. Raise Unreadable for a
    file that is empty, not what its ending says, too large a workbook, or without a header.
    """
    kind = _BY_ENDING.get(path.suffix.lower())
    if kind is None:
        raise Unreadable(f"不认识的文件类型，可用的是 {' '.join(_BY_ENDING)}")
    if name and kind not in {_XLSX, _XLS}:
        raise Unreadable("只有 Excel 工作簿有工作表")
    found = _kind(path)
    if found != kind:
        raise Unreadable(f"文件名以 {path.suffix} 结尾，内容却是{found}")
    if kind == _NDJSON:
        size = path.stat().st_size
        return Sheet(_scanned(path)[0], "", (), size, lambda: _json_lines(path))
    if kind == _TEXT:
        return _text(path, is_known)
    try:
        return _excel(path, kind, is_known, name)
    except PasswordError:
        raise Unreadable("工作簿加了密码，请去掉密码另存") from None
    except CalamineError:
        raise Unreadable(_NO_BOOK) from None


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"PK\x03\x04"):
        return _XLSX
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return _XLS
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head:
        return _BINARY
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if not text:
        raise Unreadable("文件是空的")
    return {b"<": _HTML, b"{": _NDJSON, b"[": _ARRAY}.get(text[:1], _TEXT)


# -- a header ------------------------------------------------------------------------------------


def _header(rows: Sequence[Sequence[Any]], is_known: IsKnown) -> tuple[int, tuple[str, ...]] | None:
    """Return how many of the first rows the header and what is above it take, and the columns.

    It is the row with the most names that are known, or two rows where names stand in either: a
    group's name spans columns above, a single column's name spans both rows.
    """
    best: tuple[int, int, list[str]] = (_FEWEST_KNOWN - 1, 0, [])
    for first in range(len(rows)):
        upper = [_name(cell) for cell in rows[first]]
        lower = [_name(cell) for cell in rows[first + 1]] if first + 1 < len(rows) else []
        both = [low or up for up, low in zip(upper, lower, strict=False)]
        for end, names in ((first + 1, upper), (first + 2, both)):
            score = sum(map(is_known, set(names)))
            if score > best[0]:
                best = (score, end, names)
    _, end, names = best
    if not end:
        return None
    seen: dict[str, int] = {}
    columns = []
    for position, name in enumerate(names, 1):
        seen[name] = seen.get(name, 0) + 1
        again = f"{name}（{seen[name]}）" if seen[name] > 1 else name
        columns.append(again if name else f"第 {position} 列")
    return end, tuple(columns)


def _name(cell: Any) -> str:
    return " ".join(str(cell).split()) if isinstance(cell, str) else ""


def _is_blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _line(row: int, columns: tuple[str, ...], cells: Sequence[Any], at: int) -> Line | None:
    """Return a row by its columns, None for an empty one and for the header once more."""
    if all(_is_blank(cell) for cell in cells):
        return None
    if [_name(cell) for cell in cells] == list(columns):
        return None
    if any(not _is_blank(cell) for cell in cells[len(columns) :]):
        fault = f"有 {len(cells)} 列，多于表头的 {len(columns)} 列，可能有未加引号的分隔符"
        return Line(row, {}, at, fault)
    return Line(row, dict(zip(columns, cells, strict=False)), at)


_NO_HEADER = "前 30 行里找不到表头：没有一行有两个认得的列名，可用 --map 列名=字段 指明"


# -- text ----------------------------------------------------------------------------------------


def _scanned(path: Path) -> tuple[str, str]:
    """Return a file's SHA-256, and its codec if it is text: read once, however long it is.

    Bytes that are wrong in a text that is otherwise right are left to their row: they become
    surrogates, which no field takes.
    """
    digest = hashlib.sha256()
    utf8 = codecs.getincrementaldecoder("utf-8")()
    window = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            if window:
                continue
            try:
                utf8.decode(chunk)
            except UnicodeDecodeError:
                # Whole lines, so that no character is cut where the window is.
                window = chunk[chunk.find(b"\n") + 1 : chunk.rfind(b"\n") + 1] or chunk
    if not window or is_damaged_utf8(window):
        return digest.hexdigest(), "utf-8-sig"
    read = window.decode("gb18030", "replace")
    beyond = sum(not char.isascii() for char in read)
    if read.count("\ufffd") > beyond * _DAMAGED_SHARE:
        return digest.hexdigest(), ""
    return digest.hexdigest(), "gb18030"


def _text(path: Path, is_known: IsKnown) -> Sheet:
    digest, codec = _scanned(path)
    if not codec:
        raise Unreadable("内容既不是 UTF-8 也不是 GB18030")
    found = None
    for delimiter in _DELIMITERS:
        records = _records(path, codec, delimiter)
        head = [cells for _, (_, cells, _, _) in zip(range(_HEAD_ROWS), records, strict=False)]
        records.close()
        header = _header(head, is_known)
        if header and (found is None or len(header[1]) > len(found[2])):
            found = (delimiter, *header)
    if found is None:
        raise Unreadable(_NO_HEADER)
    delimiter, above, columns = found

    def lines() -> Iterator[Line]:
        for row, cells, at, fault in _records(path, codec, delimiter):
            if row <= above:
                continue
            line = Line(row, {}, at, fault) if fault else _line(row, columns, cells, at)
            if line:
                yield line

    return Sheet(digest, "", columns, path.stat().st_size, lines)


def _records(
    path: Path, codec: str, delimiter: str
) -> Generator[tuple[int, list[str], int, str], None, None]:
    """Yield each record with its number, how far the file is read, and why it is none."""
    with (
        path.open("rb") as raw,
        TextIOWrapper(raw, encoding=codec, errors="surrogateescape", newline="") as text,
    ):
        # A file without a line end is not read as one line.
        pieces = iter(lambda: text.readline(_LINE_CHARS), "")
        # Strict, for a quotation mark that is not closed takes in the rows that follow, unseen.
        reader = csv.reader(pieces, delimiter=delimiter, strict=True)
        row = 0
        while True:
            row += 1
            first = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                span = f"文本第 {first} 至 {reader.line_num} 行"
                yield row, [], raw.tell(), f"{span}读不成一行：引号没有配对，或一格太长"
                continue
            yield row, cells, raw.tell(), ""


def _json_lines(path: Path) -> Iterator[Line]:
    at = row = 0
    with path.open("rb") as file:
        while line := file.readline(ITEM_BYTES + 1):
            row += 1
            at += len(line)
            whole = line.endswith(b"\n") or len(line) <= ITEM_BYTES
            while not whole and (rest := file.readline(ITEM_BYTES)):
                at += len(rest)
                whole = rest.endswith(b"\n")
            if not line.strip():
                continue
            if len(line) > ITEM_BYTES:
                yield Line(row, {}, at, "一条超过 1 MiB")
                continue
            try:
                yield Line(row, decode(line), at)
            except Undecodable as fault:
                yield Line(row, {}, at, fault.detail)


# -- Excel ---------------------------------------------------------------------------------------


_NO_BOOK = "不是完整的 Excel 工作簿，请用 Excel 打开后另存为 .xlsx"


def _excel(path: Path, kind: str, is_known: IsKnown, name: str) -> Sheet:
    book = _workbook(path, kind)
    names = [
        each.name
        for each in book.sheets_metadata
        if each.typ is SheetTypeEnum.WorkSheet and each.visible is SheetVisibleEnum.Visible
    ]
    if name and name not in names:
        raise Unreadable(f"没有这个工作表，可用的是 {'、'.join(names)}")
    fitting: list[tuple[str, CalamineSheet, int, tuple[str, ...]]] = []
    for each in [name] if name else names:
        sheet = book.get_sheet_by_name(each)
        head = [row for _, row in zip(range(_HEAD_ROWS), sheet.iter_rows(), strict=False)]
        if header := _header(head, is_known):
            fitting.append((each, sheet, *header))
    if not fitting:
        raise Unreadable(_NO_HEADER)
    if len(fitting) > 1:
        several = "、".join(each for each, *_ in fitting)
        raise Unreadable(f"有几个工作表都有工单（{several}），请用 --sheet 逐个指明")
    called, sheet, above, columns = fitting[0]

    def lines() -> Iterator[Line]:
        for row, cells in enumerate(sheet.iter_rows(), 1):
            line = _line(row, columns, cells, row) if row > above else None
            if line:
                yield line

    return Sheet(_scanned(path)[0], called, columns, sheet.total_height, lines)


def _workbook(path: Path, kind: str) -> CalamineWorkbook:
    too_large = Unreadable("工作簿太大，请另存为 CSV（UTF-8）再导入")
    if path.stat().st_size > _WORKBOOK_BYTES:
        raise too_large
    if kind == _XLSX:
        try:
            with zipfile.ZipFile(path) as packed:
                if sum(part.file_size for part in packed.infolist()) > _UNPACKED_BYTES:
                    raise too_large
                for part in packed.namelist():
                    _check_extent(packed, part)
        # RuntimeError: a part has a password, or is packed as no workbook is.
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
            raise Unreadable(_NO_BOOK) from None
    return load_workbook(path)


def _check_extent(packed: zipfile.ZipFile, part: str) -> None:
    """Raise Unreadable for a sheet whose cells lie so far apart that no memory holds what is between
    them: one touched by mistake in the last row and column of Excel is enough."""
    last_row = last_column = 0
    end = b""
    with packed.open(part) as sheet:
        while chunk := sheet.read(_CHUNK_BYTES):
            found = _CELL.findall(end + chunk)
            last_column = max(last_column, *(_column(c) for c in {c for c, _ in found}), 0)
            last_row = max(last_row, *(int(row) for row in {row for _, row in found}), 0)
            end = chunk[-_CELL_CHARS:]
    if last_row * last_column > _CELLS:
        raise Unreadable(
            f"有工作表一直到第 {last_row} 行、第 {last_column} 列，"
            "请删去表格以外的单元格，或另存为 CSV（UTF-8）再导入"
        )


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - ord("A") + 1
    return number
