import io
from collections.abc import Sequence
from pathlib import Path

import docx
import pytest
from docx.oxml.ns import qn
from hypothesis import given, settings
from hypothesis import strategies as st

from routing_rules import readable
from routing_rules.docx_numbering import MAX_PATTERN_CHARS, Numbering
from routing_rules.readable import Unreadable, decode, position, read
from tests.policy_files import docx_of, pdf_of, zip_of

LINES = [
    "清泉县净水办工作要点",
    "一、治水",
    "1.清理河道。（牵头单位：县水务局）",
    "2.巡查湖面。（责任单位：各乡镇区）",
]
TEXT = "\n".join(LINES) + "\n"


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", TEXT.encode()),
        ("a.txt", b"\xef\xbb\xbf" + TEXT.encode()),
        ("a.txt", TEXT.encode("gb18030")),
        ("a.docx", docx_of(LINES)),
        ("a.bin", docx_of(LINES)),
        ("a.pdf", pdf_of([LINES])),
        ("a.html", ("<p>" + "</p><p>".join(LINES) + "</p>").encode()),
        ("a.html", ("<meta charset=gb2312><p>" + "<br>".join(LINES)).encode("gb18030")),
    ],
)
def test_every_format_gives_the_same_lines(tmp_path: Path, name: str, content: bytes) -> None:
    text = read(written(tmp_path, name, content)).text
    assert [line.strip() for line in text.splitlines() if line.strip()] == LINES


def test_a_page_loses_its_navigation_and_keeps_its_text(tmp_path: Path) -> None:
    page = """<!DOCTYPE html><html><head><title>清泉县</title><style>p{}</style></head><body>
    <nav><ul><li>1.首页。</li></ul></nav><header>2.搜索。</header>
    <div><p>一、<b>治</b>水</p>1.清理<span>河道</span>。（牵头
    单位：县水务局）<div>2.巡查&nbsp;湖面。</div>尾</div>
    <script>document.write("3.甲。")</script><footer>4.版权。</footer></body></html>"""
    lines = read(written(tmp_path, "a.html", page.encode())).text.split("\n")
    assert [line for line in lines if line] == [
        "一、治水",
        "1.清理河道。（牵头 单位：县水务局）",
        "2.巡查 湖面。",
        "尾",
    ]


def test_line_ends_of_a_text_are_kept_so_that_offsets_hold(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a.txt", "甲\r\n乙\r".encode())).text == "甲\r\n乙\r"


def test_the_pages_of_a_pdf_are_told_apart(tmp_path: Path) -> None:
    source = read(written(tmp_path, "a.pdf", pdf_of([LINES, LINES])))
    assert source.pages == 2
    assert source.text.count("清理河道") == 2


def test_automatic_numbers_of_a_docx_are_read(tmp_path: Path) -> None:
    document = docx.Document()
    document.add_paragraph("甲")
    numbering = document.part.numbering_part.element
    abstract = docx.oxml.parse_xml(
        '<w:abstractNum xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
        ' w:abstractNumId="77"><w:lvl w:ilvl="0"><w:start w:val="9"/>'
        '<w:numFmt w:val="chineseCounting"/><w:lvlText w:val="%1、"/></w:lvl><w:lvl w:ilvl="1">'
        '<w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%2."/></w:lvl>'
        "</w:abstractNum>"
    )
    numbering.insert(0, abstract)
    numbering.append(
        docx.oxml.parse_xml(
            '<w:num xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
            ' w:numId="88"><w:abstractNumId w:val="77"/></w:num>'
        )
    )
    for text, level in (("治水", 0), ("清理。", 1), ("巡查。", 1), ("治山", 0), ("植树。", 1)):
        properties = document.add_paragraph(text)._p.get_or_add_pPr()
        listed = properties.get_or_add_numPr()
        listed.get_or_add_ilvl().set(qn("w:val"), str(level))
        listed.get_or_add_numId().set(qn("w:val"), "88")
    stream = io.BytesIO()
    document.save(stream)
    text = read(written(tmp_path, "a.docx", stream.getvalue())).text
    assert text.split() == ["甲", "九、治水", "1.清理。", "2.巡查。", "十、治山", "1.植树。"]


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
ENTITIES = (
    '<!DOCTYPE a [<!ENTITY x "甲"><!ENTITY y "&x;&x;&x;">]>'
    f"<w:document {W}><w:body><w:p><w:r><w:t>&y;</w:t></w:r></w:p></w:body></w:document>"
)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.txt", b"", "empty"),
        ("a.txt", b" \n\n", "empty"),
        ("a.txt", b"\xff\xfe1\x00", "undecodable"),
        ("a.txt", b"1.\x81\xff", "undecodable"),
        ("a.txt", "1.清理河道。\x00".encode(), "undecodable"),
        ("a.txt", "清理河道，巡查湖面，責任單位縣水務局".encode("big5"), "undecodable"),
        ("a.docx", docx_of(LINES)[:-500], "truncated"),
        ("a.docx", docx_of(LINES)[:700], "truncated"),
        ("a.docx", b"no archive at all", "truncated"),
        ("a.docx", zip_of({"word/document.xml": b"<w:document"}), "truncated"),
        ("a.docx", zip_of({"word/document.xml": ENTITIES.encode()}), "truncated"),
        ("a.docx", zip_of({"other.txt": b"1"}), "unknown-format"),
        ("a.docx", zip_of({"word/document.xml": b" " * 40_000_000}), "too-large"),
        ("a.docx", zip_of({f"word/{n}": b"" for n in range(6_000)}), "too-large"),
        ("a.doc", b"\xd0\xcf\x11\xe0" + b"\x00" * 600, "unknown-format"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "no-text"),
        ("a.html", b"<div>" * 100_000, "too-large"),
        ("a.html", b"".join(b"<b a=%d>" % n for n in range(499)) + b"<p>" * 100_000, "too-large"),
        ("a.pdf", pdf_of([[]]), "no-text"),
        ("a.pdf", pdf_of([["— 1 —"]]), "no-text"),
        ("a.pdf", pdf_of([LINES])[:200], "truncated"),
        ("a.pdf", b"%PDF-1.7\nnothing", "truncated"),
    ],
)
def test_bad_input_is_refused_with_its_reason(
    tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    with pytest.raises(Unreadable) as refused:
        read(written(tmp_path, name, content))
    assert refused.value.finding.code == code
    assert refused.value.finding.message


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path, Path("a\x00b")):
        with pytest.raises(Unreadable) as refused:
            read(path)
        assert refused.value.finding.code == "cannot-open"


def test_a_file_beyond_the_limits_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readable, "MAX_FILE_BYTES", 20)
    with pytest.raises(Unreadable, match="上限"):
        read(written(tmp_path, "a.txt", TEXT.encode()))
    monkeypatch.undo()
    monkeypatch.setattr(readable, "MAX_CHARS", 20)
    with pytest.raises(Unreadable, match="分卷"):
        read(written(tmp_path, "a.txt", TEXT.encode()))
    with pytest.raises(Unreadable, match="分卷"):
        read(written(tmp_path, "a.pdf", pdf_of([LINES])))


def test_the_place_of_a_bad_byte_is_told() -> None:
    with pytest.raises(Unreadable) as refused:
        decode("甲乙\n丙".encode() + b"\xff\xff")
    assert (refused.value.finding.line, refused.value.finding.column) == (2, 2)


@pytest.mark.parametrize(
    ("text", "offset", "place"),
    [("", 0, (1, 1)), ("甲乙", 1, (1, 2)), ("甲\r\n乙", 3, (2, 1)), ("\n\n甲", 2, (3, 1))],
)
def test_lines_and_columns_count_from_one(text: str, offset: int, place: Sequence[int]) -> None:
    assert position(text, offset) == place


def outcome(path: Path) -> str:
    """Return the code a file is refused with, "" where it is read."""
    try:
        assert read(path).text.strip()
    except Unreadable as refused:
        return refused.finding.code
    return ""


FAST = settings(max_examples=60)


@FAST
@given(content=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    codes = {"", "empty", "undecodable", "no-text", "truncated", "unknown-format"}
    assert outcome(written(tmp_path, "a.txt", content)) in codes


DOCX = docx_of(LINES)


@FAST
@given(at=st.integers(0, len(DOCX) - 1), patch=st.binary(min_size=1, max_size=40))
def test_a_mangled_docx_is_read_or_refused(tmp_path: Path, at: int, patch: bytes) -> None:
    content = DOCX[:at] + patch + DOCX[at + len(patch) :]
    codes = {"", "truncated", "unknown-format", "encrypted", "too-large", "empty", "undecodable"}
    assert outcome(written(tmp_path, "a.docx", content)) in codes


@FAST
@given(source=st.text("<>/=\"'ab div p<br>&#; 甲。1.\n", max_size=200))
def test_any_page_is_read_or_refused(tmp_path: Path, source: str) -> None:
    assert outcome(written(tmp_path, "a.html", source.encode())) in {"", "empty"}


PDF = pdf_of([LINES])


@settings(FAST, max_examples=8)  # each starts a process
@given(at=st.integers(0, len(PDF) - 1), patch=st.binary(min_size=1, max_size=40))
def test_a_mangled_pdf_is_read_or_refused(tmp_path: Path, at: int, patch: bytes) -> None:
    content = b"%PDF-" + (PDF[:at] + patch + PDF[at + len(patch) :])[5:]
    codes = {"", "truncated", "encrypted", "no-text"}
    assert outcome(written(tmp_path, "a.pdf", content)) in codes


def test_a_pattern_of_numbers_without_measure_is_cut() -> None:
    numbering = docx.oxml.parse_xml(
        f'<w:numbering {W}><w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0">'
        f'<w:start w:val="{"9" * 4000}"/><w:numFmt w:val="decimal"/>'
        f'<w:lvlText w:val="第%1条{"条" * 90_000}"/></w:lvl></w:abstractNum>'
        '<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num></w:numbering>'
    )
    paragraph = docx.oxml.parse_xml(
        f'<w:p {W}><w:pPr><w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr></w:pPr></w:p>'
    )
    label = Numbering(numbering).label(paragraph)
    assert label.startswith("第9999条条")
    assert len(label) == MAX_PATTERN_CHARS + 2
