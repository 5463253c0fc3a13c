"""Makes small invented policy documents in every format `readable` reads."""

import io
import zipfile
from collections.abc import Sequence

import docx


def docx_of(lines: Sequence[str]) -> bytes:
    """Return a docx with one paragraph a line."""
    document = docx.Document()
    for line in lines:
        document.add_paragraph(line)
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def zip_of(parts: dict[str, bytes]) -> bytes:
    """Return a zip archive of these parts."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return stream.getvalue()


def pdf_of(pages: Sequence[Sequence[str]]) -> bytes:
    """Return a PDF with these lines on these pages, its text in a font with a ToUnicode map."""
    characters = sorted({c for page in pages for line in page for c in line})
    mapping = "\n".join(f"<{ord(c):04X}> <{ord(c):04X}>" for c in characters)
    cmap = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n"
        "1 begincodespacerange <0000> <FFFF> endcodespacerange\n"
        f"{len(characters)} beginbfchar\n{mapping}\nendbfchar\nendcmap end end"
    ).encode()
    objects: list[bytes] = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"",  # the page tree, once the pages are counted
        b"<< /Type /Font /Subtype /Type0 /BaseFont /F /Encoding /Identity-H %s >>"
        % b"/DescendantFonts [4 0 R] /ToUnicode 5 0 R",
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /F /DW 1000 /CIDSystemInfo << %s >> >>"
        % b"/Registry (Adobe) /Ordering (Identity) /Supplement 0",
        _stream(cmap),
    ]
    kids = []
    for page in pages:
        text = "".join(
            f"BT /F 10 Tf 40 {800 - 14 * at} Td <{line.encode('utf-16-be').hex()}> Tj ET\n"
            for at, line in enumerate(page)
        )
        objects.append(_stream(text.encode()))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842]"
            b" /Resources << /Font << /F 3 0 R >> >> /Contents %d 0 R >>" % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), b" ".join(kids))
    return _assembled(objects)


def _stream(content: bytes) -> bytes:
    return b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)


def _assembled(objects: Sequence[bytes]) -> bytes:
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    return out + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        start,
    )
