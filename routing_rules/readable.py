"""Reads a policy document: a file (text, HTML, docx, PDF) → its text, or the reason why not.

What a file is, its first bytes say, not its name. Every format is bounded before it is opened:
in bytes, in unpacked bytes, in characters and, for PDF, in time and memory.
"""

import hashlib
import io
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docx.oxml import parse_xml
from selectolax.lexbor import LexborHTMLParser, LexborNode

from routing_rules import duty_table
from routing_rules.docx_numbering import Numbering, W, grid_columns

MAX_FILE_BYTES = 50_000_000
MAX_UNPACKED_BYTES = 200_000_000  # pictures; the text is one part
MAX_PART_BYTES = 30_000_000
MAX_HTML_BYTES = 10_000_000
MAX_ZIP_ENTRIES = 5_000
MAX_CHARS = 2_000_000
PDF_TIMEOUT_S = 120

# The clauses of one document are some dozens of pages; beyond this somebody took the wrong file.
LONG_CHARS = 100_000
LONG_PAGES = 100

# A scan may carry a stamp or a page number as text; that is no text layer.
MIN_READABLE_CHARS = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a document and where. `line` and `column` count from 1 in its text."""

    code: str
    line: int
    column: int
    message: str

    def as_json(self) -> dict[str, object]:
        """Return the finding as it stands in the JSON answer."""
        return {
            "code": self.code,
            "line": self.line,
            "column": self.column,
            "message": self.message,
        }


class Unreadable(Exception):
    """The file gives no text to derive from; `finding` says why in Chinese, and where if known."""

    def __init__(self, code: str, message: str, *, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.finding = Finding(code, line, column, message)


@dataclass(frozen=True, slots=True)
class Readable:
    """The text of a file, the hash of its bytes, and its pages (None where it has none)."""

    text: str
    sha256: str
    pages: int | None


def read(path: Path) -> Readable:
    """Return the text of a policy document.

    Offsets count in this text: for a plain text file exactly what its bytes decode to (a byte order
    mark is no part of it, line ends are kept), for HTML, docx and PDF the text taken out of it.
    Raises Unreadable, for a file that is missing, too large, broken, protected or without text.
    """
    content = _bytes(path)
    reader = _reader(content, path.suffix.lower())
    text, pages = reader(content)
    if len(text) > MAX_CHARS:
        raise Unreadable(
            "too-large", f"文件文字有 {len(text)} 个字符，超过上限 {MAX_CHARS}，请分卷处理。"
        )
    if not text.strip():
        raise Unreadable("empty", "文件里没有文字。")
    return Readable(text, hashlib.sha256(content).hexdigest(), pages)


def _bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise Unreadable("cannot-open", f"找不到文件，或它不是普通文件：{path.name}")
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL in it
        raise Unreadable("cannot-open", f"文件打不开：{path.name}") from error
    if len(content) > MAX_FILE_BYTES:
        raise Unreadable("too-large", f"文件超过 {MAX_FILE_BYTES // 1_000_000} MB 的上限。")
    if not content:
        raise Unreadable("empty", "文件是空的。")
    return content


_Reader = Callable[[bytes], tuple[str, int | None]]


def _reader(content: bytes, suffix: str) -> _Reader:
    for magic, reader in _MAGIC:
        if content.startswith(magic):
            return reader
    if b"%PDF-" in content[:1024]:
        return _pdf
    start = content[:2048].lower()
    if suffix in {".html", ".htm"} or b"<!doctype html" in start or b"<html" in start:
        return _html
    if suffix in {".docx", ".pdf"}:
        return _broken
    return _plain


# --- plain text -----------------------------------------------------------------------------------


def decode(content: bytes) -> str:
    """Return the text of UTF-8 (with or without byte order mark) or GB18030 bytes.

    Raises Unreadable for anything else; a wrong guess would be a document full of wrong names.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        undecodable = _undecodable(content, error.start)
        try:
            text = content.decode("gb18030")
        except UnicodeDecodeError as second:
            raise undecodable from second
        if not _is_simplified_chinese(text):
            raise undecodable from error
    control = _CONTROL.search(text)
    if control:
        line, column = position(text, control.start())
        raise Unreadable(
            "undecodable",
            f"第 {line} 行第 {column} 列有控制字符，这不是文本文件，或编码不是 UTF-8、GB18030。",
            line=line,
            column=column,
        )
    return text


def _undecodable(content: bytes, at: int) -> Unreadable:
    before = content[:at].decode("utf-8-sig", errors="replace")
    line, column = position(before, len(before))
    return Unreadable(
        "undecodable",
        f"第 {line} 行第 {column} 列起无法解码：文件既不是 UTF-8，也不是 GB18030。",
        line=line,
        column=column,
    )


def _is_simplified_chinese(text: str) -> bool:
    """Whether bytes read as GB18030 make sense.

    It takes nearly any bytes; Big5 or Latin-1 read so is rare characters, which GB 2312 lacks.
    """
    sample = text[:: max(1, len(text) // 100_000)]
    foreign = [character for character in sample if ord(character) > 127]
    common = sum(1 for character in foreign if _in_gb2312(character))
    return common >= 0.9 * len(foreign)


def _in_gb2312(character: str) -> bool:
    try:
        character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def position(text: str, offset: int) -> tuple[int, int]:
    """Return line and column of an offset, from 1; CR LF, LF, CR and form feed end a line."""
    line, start = 1, 0
    for end in LINE_END.finditer(text, 0, offset):
        line, start = line + 1, end.end()
    return line, offset - start + 1


_PAGE_NUMBER = re.compile(
    r"(?:^|(?<=[\n\r\f]))[ \t\u3000]{0,60}"
    r"(?:[-—–－]{1,3}[ ]{0,9}\d{1,4}[ ]{0,9}[-—–－]{1,3}"
    r"|第[ ]?\d{1,4}[ ]?页(?:[ ]?[,，/]?[ ]?共[ ]?\d{1,4}[ ]?页)?)"
    r"[ \t\u3000]{0,60}(?=[\n\r\f]|$)"
    # a bare figure only where a page begins or ends
    r"|(?<=\f)[ \t]{0,60}\d{1,4}[ \t]{0,60}(?=\n)|(?<=\n)[ \t]{0,60}\d{1,4}[ \t]{0,60}(?=\n?\f)"
)


def without_page_numbers(text: str) -> str:
    """Return the text with its page numbers blanked, every offset as it was.

    They stand amid sentences and lists of units wherever a page ends.
    """
    return _PAGE_NUMBER.sub(lambda found: " " * len(found[0]), text)


LINE_END = re.compile(r"\r\n|\n|\r|\f")


def _plain(content: bytes) -> tuple[str, None]:
    return decode(content), None


# --- HTML -----------------------------------------------------------------------------------------

_NOT_TEXT = frozenset(
    {"script", "style", "noscript", "template", "head", "nav", "header", "footer", "aside", "form"}
    | {"select", "button", "iframe", "svg", "object", "canvas", "video", "audio"}
)
_INLINE = frozenset(
    {"a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "del", "em", "font", "i", "ins", "kbd"}
    | {"label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time"}
    | {"tt", "u", "var", "wbr", "o:p", "st1:chsdate"}
)


def _html(content: bytes) -> tuple[str, None]:
    if len(content) > MAX_HTML_BYTES:
        raise Unreadable("too-large", f"网页超过 {MAX_HTML_BYTES // 1_000_000} MB 的上限。")
    source = _declared(content)
    if _too_tangled(source):
        raise Unreadable("too-large", "网页标签嵌套过深，未予读取。")
    body = LexborHTMLParser(source).body
    text = "".join(_html_pieces(body, _plain_tables(body))) if body is not None else ""
    lines = (_HTML_SPACE.sub(" ", line).strip(" ") for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n") + "\n", None


_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,20})")
# Tags that a browser closes by itself: left open by the thousand, they nest nothing.
_SELF_CLOSED = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
    | {"p", "li", "td", "th", "tr", "dt", "dd", "option", "thead", "tbody", "tfoot"}
)
_MAX_DEPTH = 500
_MAX_OPEN_TAGS = 5_000_000


def _too_tangled(source: str) -> bool:
    """Whether parsing would cost time or memory beyond reason: both grow with depth times tags."""
    depth = deepest = tags = 0
    for closing, name in _TAG.findall(source):
        tags += 1
        if name.lower() in _SELF_CLOSED:
            continue
        depth = max(0, depth - 1) if closing else depth + 1
        deepest = max(deepest, depth)
    return deepest > _MAX_DEPTH or deepest * tags > _MAX_OPEN_TAGS


def _declared(content: bytes) -> str:
    # A page that calls itself gb2312 or gbk is GB18030, which holds both.
    return decode(content).replace("\r\n", "\n").replace("\r", "\n")


def _html_pieces(body: LexborNode, tables: frozenset[int] = frozenset()) -> Iterator[str]:
    """Yield the text of a page, a line for every block; a stack, for pages nested without end.

    `tables` are those without tables in them, by identity: layout tables hold others.
    """
    stack: list[LexborNode | str] = [body]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
            continue
        tag = node.tag
        if tag in {"-text", "-textarea"}:
            yield (node.text_content or "").replace("\n", " ").replace("\t", " ")
            continue
        if tag is None or tag in _NOT_TEXT or tag.startswith(("-", "!")):
            continue
        if tag == "br":
            yield "\n"
            continue
        if tag == "table" and node.mem_id in tables:
            rows = [
                ["".join(_html_pieces(cell)) for cell in row.css("td, th")]
                for row in node.css("tr")
            ]
            if duty_table.looks_like_duties(rows):
                yield "\n"
                yield from (duty_table.as_line(row) for row in rows)
                continue
        block = tag not in _INLINE
        if block:
            yield "\n"
            stack.append("\n")
        children = []
        child = node.child
        while child is not None:
            children.append(child)
            child = child.next
        stack.extend(reversed(children))


def _plain_tables(body: LexborNode) -> frozenset[int]:
    tables = body.css("table")
    layout = set()
    for table in tables:
        above, steps = table.parent, 0
        while above is not None and above.tag != "table" and steps < _MAX_STEPS:
            above, steps = above.parent, steps + 1
        if above is not None:
            layout.add(above.mem_id)
    return frozenset(table.mem_id for table in tables) - layout


# Between two nested tables stand tbody, tr, td and a wrapper or two.
_MAX_STEPS = 30

_HTML_SPACE = re.compile(r"[ \f\v\xa0]+")
_BLANK_LINES = re.compile(r"\n{3,}")


# --- docx -----------------------------------------------------------------------------------------


def _docx(content: bytes) -> tuple[str, int | None]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _refuse_bomb(archive)
            body = archive.read("word/document.xml")
            names = archive.namelist()
            lists = archive.read("word/numbering.xml") if "word/numbering.xml" in names else b""
    except KeyError as error:
        raise Unreadable("unknown-format", "这个压缩包不是 Word（docx）文件。") from error
    except RuntimeError as error:  # zipfile says so of an encrypted part
        raise Unreadable("encrypted", "文件加了密码，请先去掉密码再导入。") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
    ) as error:
        raise Unreadable("truncated", "Word 文件不完整或已损坏，请重新获取。") from error
    try:
        if _DOCTYPE.search(body) or _DOCTYPE.search(lists):
            raise Unreadable("truncated", "Word 文件里有不该有的内容（DOCTYPE），未予读取。")
        return _docx_text(body, lists)
    except (SyntaxError, ValueError) as error:  # lxml's XMLSyntaxError is a SyntaxError
        raise Unreadable("truncated", "Word 文件的正文已损坏，请重新获取。") from error


_DOCTYPE = re.compile(rb"<!DOCTYPE", re.IGNORECASE)


def _refuse_bomb(archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    parts = [
        e.file_size for e in entries if e.filename.startswith("word/") and e.filename[-4:] == ".xml"
    ]
    if (
        len(entries) > MAX_ZIP_ENTRIES
        or sum(e.file_size for e in entries) > MAX_UNPACKED_BYTES
        or max(parts, default=0) > MAX_PART_BYTES
    ):
        raise Unreadable("too-large", "文件解压后过大，超过上限，未予读取。")


def _docx_text(body: bytes, lists: bytes) -> tuple[str, int | None]:
    pieces, breaks = _docx_pieces(parse_xml(body), Numbering(parse_xml(lists) if lists else None))
    return "".join(pieces), breaks + 1


def _docx_pieces(root: Any, numbering: Numbering) -> tuple[list[str], int]:
    """Return the text below an element in pieces, and the page breaks in it."""
    pieces: list[str] = []
    breaks = 0
    # (element, entering): paragraphs end with a line, and a stack carries any depth of nesting.
    stack = [(root, True)]
    while stack:
        element, entering = stack.pop()
        tag = element.tag
        if not entering:
            pieces.append("\n")
            continue
        if tag in _DOCX_SKIP or not isinstance(tag, str):
            continue
        if tag == f"{W}t":
            pieces.append((element.text or "").replace("\n", " "))
        elif tag in _DOCX_MARKS:
            page = element.get(f"{W}type") == "page"
            breaks += page
            pieces.append("\n" if page else _DOCX_MARKS[tag])
        elif tag == f"{W}lastRenderedPageBreak":
            breaks += 1
        elif tag == f"{W}tbl" and element is not root:
            breaks += _docx_table(element, numbering, pieces)
        else:
            if tag == f"{W}p":
                pieces.append(numbering.label(element))
                stack.append((element, False))
            stack.extend((child, True) for child in reversed(element))
    return pieces, breaks


def _docx_table(table: Any, numbering: Numbering, pieces: list[str]) -> int:
    """Add a table to the pieces: a line a row where it is one of duties, else a line a paragraph."""
    breaks = 0
    rows: list[list[str]] = []
    for row in table.findall(f"{W}tr"):
        cells: list[str] = []
        for cell in row.findall(f"{W}tc"):
            inner, inner_breaks = _docx_pieces(cell, numbering)
            breaks += inner_breaks
            cells.append("".join(inner))
            span = cell.find(f"{W}tcPr/{W}gridSpan")
            cells += [""] * (grid_columns(span) - 1)
        rows.append(cells)
    if duty_table.looks_like_duties(rows):
        pieces.extend(duty_table.as_line(row) for row in rows)
    else:
        pieces.extend(cell for row in rows for cell in row)
    return breaks


_DOCX_MARKS = {f"{W}tab": "\t", f"{W}br": "\n", f"{W}cr": "\n", f"{W}noBreakHyphen": "-"}
_DOCX_SKIP = frozenset(
    {f"{W}del", f"{W}instrText", f"{W}delText", f"{W}pPr", f"{W}rPr", f"{W}sectPr"}
    | {"{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"}
)


# --- PDF ------------------------------------------------------------------------------------------


def _pdf(content: bytes) -> tuple[str, int]:
    # In a process of its own: a hostile PDF can cost any reader unbounded time and memory.
    # -I: neither the folder it is started in nor the environment decides what it imports.
    command = [sys.executable, "-I", str(_PDF_SCRIPT), str(MAX_CHARS)]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, no argument from outside
            command, input=content, capture_output=True, timeout=PDF_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unreadable("too-large", f"PDF 在 {PDF_TIMEOUT_S} 秒内未能读完，未予读取。") from error
    code = _PDF_EXIT.get(done.returncode, "truncated")
    if code:
        raise Unreadable(code, _PDF_SAYS[code])
    text = done.stdout.decode("utf-8")
    pages = text.count("\f") + 1
    if len(text.split()) == 0 or len("".join(text.split())) < MIN_READABLE_CHARS:
        raise Unreadable("no-text", f"PDF 共 {pages} 页，没有文字层，应是扫描件；请先做文字识别。")
    return text, pages


_PDF_SCRIPT = Path(__file__).with_name("pdf_text.py")
_PDF_EXIT = {0: "", 3: "encrypted", 4: "too-large"}
_PDF_SAYS = {
    "encrypted": "PDF 加了密码，请先去掉密码再导入。",
    "too-large": f"PDF 文字超过 {MAX_CHARS} 个字符的上限，请分卷处理。",
    "truncated": "PDF 不完整或已损坏，请重新获取。",
}


# --- what is no document --------------------------------------------------------------------------


def _image(_: bytes) -> tuple[str, None]:
    raise Unreadable("no-text", "这是图片，没有文字层；请先做文字识别。")


def _old_word(_: bytes) -> tuple[str, None]:
    raise Unreadable("unknown-format", "这是旧版 Word（doc）或 WPS 文件，请另存为 docx 再导入。")


def _utf16(_: bytes) -> tuple[str, None]:
    raise Unreadable("undecodable", "文件是 UTF-16 编码，请另存为 UTF-8 再导入。")


def _broken(_: bytes) -> tuple[str, None]:
    raise Unreadable("truncated", "文件内容与扩展名不符，或已损坏，请重新获取。")


_MAGIC: tuple[tuple[bytes, _Reader], ...] = (
    (b"PK\x03\x04", _docx),
    (b"PK\x05\x06", _docx),
    (b"%PDF-", _pdf),
    (b"\xd0\xcf\x11\xe0", _old_word),
    (b"\x89PNG", _image),
    (b"\xff\xd8\xff", _image),
    (b"II*\x00", _image),
    (b"MM\x00*", _image),
    (b"\xff\xfe", _utf16),
    (b"\xfe\xff", _utf16),
)
