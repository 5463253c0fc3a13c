"""Takes the text out of a PDF on standard input, for `readable`, in a process that may be killed.

Standard output is UTF-8, pages apart by form feeds. Exit 0 done, 2 broken, 3 encrypted, 4 too much.
"""

import io
import resource
import struct
import sys
import zlib

from pypdf import PdfReader
from pypdf.errors import PyPdfError

MEMORY_BYTES = 2_000_000_000
CPU_S = 110


def main() -> int:
    """Read, write, return the exit code."""
    limit_chars = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
    pages: list[str] = []
    total = 0
    try:
        reader = PdfReader(io.BytesIO(sys.stdin.buffer.read()))
        if reader.is_encrypted and not reader.decrypt(""):
            return 3
        for page in reader.pages:
            text = page.extract_text().replace("\f", "\n").replace("\x00", "")
            total += len(text)
            if total > limit_chars:
                return 4
            pages.append(text)
    # pypdf raises whatever it trips over in a malformed file; each of these was seen or is raised
    # in its source, and all mean the same here.
    except (
        PyPdfError,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
        struct.error,
        zlib.error,
    ):
        return 2
    sys.stdout.buffer.write("\f".join(pages).encode("utf-8", errors="replace"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
