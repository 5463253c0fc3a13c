"""Years of history taken over from a file: batch by batch, each in one transaction.

How far an import has come is what it has written: each ticket's history names the file and row that
it came from. The same command after an interruption passes over those rows, and after its end over
all of them.
"""

import csv
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from adapters.history import Faulty, HistoryFile, rows
from adapters.sheets import Line
from service.desk import Desk, Fate, Taken
from service.domain.history import Past

BATCH = 500
# What a spreadsheet would take for a formula is told as text.
_FORMULA = tuple("=+-@\t\r\n")


@dataclass(slots=True)
class Summary:
    """What became of a file's rows, in rows."""

    rows: int = 0
    taken: int = 0
    known: int = 0
    refused: int = 0
    findings: int = 0  # taken over, now or before, with something to look at
    late: int = 0  # open and past their time: supervised at the next tick
    states: Counter[str] = field(default_factory=Counter)


class Report:
    """The rows to look at, as a CSV that Excel opens: row, number, what became of it, column, why.

    Raises OSError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8-sig", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerow(("行号", "编号", "结果", "列", "原因"))

    def __enter__(self) -> Self:
        """Return the report, open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def tell(self, row: int, number: str, result: str, faults: Iterable[tuple[str, str]]) -> None:
        """Write what there is to say of a row. Numbers and names of columns are the file's own."""
        shown = _as_text(number)
        self._csv.writerows((row, shown, result, _as_text(column), why) for column, why in faults)

    def flush(self) -> None:
        """Let what was told be read."""
        self._file.flush()


def _as_text(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


async def take_over(
    file: HistoryFile,
    source: str,
    desk: Desk,
    now: Callable[[], datetime],
    report: Report,
    *,
    apply: bool,
    passed: Callable[[int], None],
) -> Summary:
    """Take over a file's rows and say what became of them; without `apply` only say it.

    `passed` hears how far the file is read. Raises StoreUnavailable; what was taken over until then
    stays, and the same call goes on from there.
    """
    summary = Summary()
    with closing(_Seen()) as seen:
        for batch in rows(file, BATCH):
            numbers = {line.row: file.number(line) for line in batch}
            there = await desk.imported(source, file.sheet.digest, file.sheet.name, numbers)
            new, faulty = _read(file, (line for line in batch if line.row not in there), now())
            taken = await desk.take_over(
                new, file.sheet.digest, file.sheet.name, now(), apply=apply
            )
            if not apply:
                taken = [seen.checked(each) for each in taken]
            summary.rows += len(batch)
            summary.known += len(there)
            summary.findings += sum(1 for why in there.values() if why)
            _tell(report, {row: (numbers[row], why) for row, why in there.items()}, faulty, taken)
            _count(summary, faulty, taken)
            passed(batch[-1].at)
    return summary


def _read(
    file: HistoryFile, lines: Iterable[Line], now: datetime
) -> tuple[list[Past], list[Faulty]]:
    pasts: list[Past] = []
    faulty: list[Faulty] = []
    for line in lines:
        found = file.read(line, now)
        if isinstance(found, Past):
            pasts.append(found)
        else:
            faulty.append(found)
    return pasts, faulty


def _tell(
    report: Report,
    there: Mapping[int, tuple[str, str]],
    faulty: Sequence[Faulty],
    taken: Sequence[Taken],
) -> None:
    """Write a batch's rows to look at, in the order of the file."""
    told = [(each.row, each.number, "退回", each.faults) for each in faulty]
    told += [(row, number, "请核对", (("", why),)) for row, (number, why) in there.items() if why]
    for each in taken:
        result = "退回" if each.fate is Fate.REFUSED else "请核对"
        why = (("", "；".join(each.why)),) if each.why else ()
        told.append((each.past.row, each.past.complaint.source_no, result, why))
    for row, number, result, faults in sorted(told):
        report.tell(row, number, result, faults)
    report.flush()


def _count(summary: Summary, faulty: Sequence[Faulty], taken: Sequence[Taken]) -> None:
    summary.refused += len(faulty)
    for each in taken:
        summary.refused += each.fate is Fate.REFUSED
        summary.known += each.fate is Fate.KNOWN
        if each.fate is Fate.TAKEN and each.ticket:
            summary.taken += 1
            summary.findings += bool(each.why)
            summary.late += each.is_late
            summary.states[each.ticket.state] += 1


class _Seen:
    """Where each number stood that a dry run would have stored: on the disk, like the store."""

    def __init__(self) -> None:
        self._rows = sqlite3.connect("")  # a temporary file of its own
        self._rows.execute("CREATE TABLE seen (number TEXT PRIMARY KEY, row INTEGER)")

    def close(self) -> None:
        """Remove the file."""
        self._rows.close()

    def checked(self, taken: Taken) -> Taken:
        """Return what would become of a row after those before it."""
        if taken.fate is not Fate.TAKEN:
            return taken
        number, row = taken.past.complaint.source_no, taken.past.row
        first = self._rows.execute("SELECT row FROM seen WHERE number = ?", (number,)).fetchone()
        if first:
            return Taken(taken.past, Fate.REFUSED, (f"编号与第 {first[0]} 行相同",))
        self._rows.execute("INSERT INTO seen VALUES (?, ?)", (number, row))
        return taken
