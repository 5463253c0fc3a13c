"""Keeps the rules of a running service up to date: rulings (裁定) become precedents, accepted proposals
rows of the table, and a year that is taken in counts, on every replica and without a restart."""

import asyncio
from pathlib import Path
from typing import Any

import structlog

from routing_rules.calendars import ClockFileError, load_country
from routing_rules.proposed import FilesChanged, Proposed
from routing_rules.rulebook import Precedent, Rulebook
from service.desk import Desk
from service.proposals import precedent_of
from service.store import Store, proposals, tickets
from service.store.tickets import Ruling

log = structlog.get_logger()


class Freshness:
    """Looks for what is new, and builds what follows beside what is in use.

    A rulebook with rulings is a whole new one, some tenths of a second's work: it is made in a
    thread and takes the place of the old one in one step. `rules` are those of the files, over which
    proposals are laid.
    """

    def __init__(self, store: Store, desk: Desk, rules: Proposed, overlay: Path | None) -> None:
        self._store = store
        self._desk = desk
        self._rules = rules
        self._book = rules.book(())  # with the proposals
        self._overlay = overlay
        self._rulings: tuple[int, int] = (0, 0)
        self._proposals: tuple[int, int] = (0, 0)
        self._told: set[str] = set()
        # What was loaded at the start is looked at once more: it may be a minute old by now.
        self._files: tuple[Any, ...] | None = None

    async def look(self) -> bool:
        """Take in new rulings, proposals and years; True if the calendar has changed.

        Raises StoreUnavailable. What cannot be used is told of in the log and left out: a ruling
        for a unit that is gone or with too few words, a proposal that today's files do not bear, a
        calendar file that is wrong.
        """
        await self._look_for_proposals()
        await self._look_for_rulings()
        return await self._look_for_years()

    async def _look_for_proposals(self) -> None:
        mark = await self._store.read(proposals.mark)
        if mark == self._proposals:
            return
        found = await self._store.read(proposals.accepted)
        try:
            book, taken, left_out = await asyncio.to_thread(self._rules.usable, found)
        except FilesChanged:
            # What is in use stays in use, and a restart takes in both.
            log.error(
                "proposals.files_changed", why="规则文件夹在启动后有改动，重启后才取用新同意的提议"
            )
            return
        for proposal, why in left_out:
            log.warning("proposal.left_out", proposal=proposal.id, why=why)
        await self._take_rulings(book)
        self._proposals = mark
        log.info("proposals.taken_in", proposals=len(taken))

    async def _look_for_rulings(self) -> None:
        if await self._store.read(tickets.rulings_mark) != self._rulings:
            await self._take_rulings(self._book)

    async def _take_rulings(self, base: Rulebook) -> None:
        """Put a rulebook with every ruling in use. What is kept as seen is what was seen before it was
        read: a ruling that comes meanwhile is looked at once more."""
        mark = await self._store.read(tickets.rulings_mark)
        found = await self._store.read(tickets.rulings)
        self._book = base
        precedents = [precedent for each in found if (precedent := self._precedent(each))]
        book = base
        if precedents:  # without any the digest is that of the rows alone
            book = await asyncio.to_thread(base.with_precedents, precedents)
        self._desk.go_by(router=book)
        self._rulings = mark
        log.info("rulings.taken_in", precedents=len(precedents), rulings=len(found))

    def _precedent(self, ruling: Ruling) -> Precedent | None:
        precedent = precedent_of(ruling)
        why = self._book.refuses(precedent)
        if not why:
            return precedent
        if ruling.ticket_no not in self._told:
            self._told.add(ruling.ticket_no)
            log.warning("ruling.no_precedent", ticket_no=ruling.ticket_no, why=why)
        return None

    async def _look_for_years(self) -> bool:
        if self._overlay is None:
            return False
        files = await asyncio.to_thread(_state_of, self._overlay / "calendars")
        if files == self._files:
            return False
        self._files = files
        try:
            country = await asyncio.to_thread(load_country, self._overlay)
        except ClockFileError as error:
            log.error("calendar.refused", why=str(error))
            return False
        if country.years == self._desk.times.calendar.years:
            return False
        self._desk.go_by(times=self._desk.times.with_years_of(country))
        log.info("calendar.taken_in", until=country.last.isoformat())
        return True


def _state_of(folder: Path) -> tuple[Any, ...]:
    """Return what differs whenever a file of a folder has changed."""
    found = ((path.name, path.stat()) for path in sorted(folder.glob("*.yaml")))
    return tuple((name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in found)
