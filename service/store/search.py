"""Which tickets have words: a row of words for each, in an index that is read newest first.

On PostgreSQL the rows are `tsvector`s under GIN, on SQLite an FTS5 table. FTS5 keeps its lists in the
order of ids and reads them backwards. GIN gives all that it finds, in no order: so each row also
says in which block of ids it lies, and what is asked for is looked for in the newest blocks first, in
more of them the fewer are found. GIN leaps between the lists of words and of blocks, and a word that
every second ticket has costs what one does that few have (ADR 0025).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from service.domain.region import prefix
from service.store import closed, months
from service.store.bulk import Row, insert_rows, upsert
from service.store.pages import END
from service.store.tables import EventRow, SearchBacklogRow, TicketRow, TicketWordsRow, metadata
from service.store.words import Term, words

_words = metadata.tables[TicketWordsRow.__tablename__]
_backlog = metadata.tables[SearchBacklogRow.__tablename__]
_tickets = metadata.tables[TicketRow.__tablename__]
_events = metadata.tables[EventRow.__tablename__]

# How many ids lie in a block, as a power of two, by the letter that its name begins with. No name
# is a word: those are lower case. FTS5 knows no case, needs no blocks, and keeps a sign in a region's
# name that no word has.
BLOCKS = {"A": 10, "B": 14, "C": 18, "D": 22}
_REGION = {"postgresql": "R", "sqlite": "·"}
# How many of which are looked through, one after the other: a page of a common word is in the first.
_STEPS = (("A", 2), ("A", 8), ("B", 8), ("C", 8), ("D", 8))

# A tsvector ends at a megabyte, and what is added at once is far below half of that. A ticket that is
# supplemented without end is found by what came first.
_ROW_MOST = 500_000

Words = Sequence[str]


def _blocks(ticket_id: int) -> list[str]:
    return [f"{letter}{ticket_id >> bits:x}" for letter, bits in BLOCKS.items()]


def _regions(dialect: str, region: str) -> list[str]:
    """Return the names of the regions that a ticket lies in, as its row has them."""
    # A province has them all.
    inside = [region[:digits] for digits in (4, 6) if len(region) >= digits]
    whole = [region] if len(region) > 6 else []
    return [f"{_REGION[dialect]}{code}" for code in (*inside, *whole)]


# What is written


def new_rows(
    connection: sa.Connection, rows: Sequence[tuple[int, str, Words]]
) -> tuple[sa.Table, list[Row]]:
    """Return the rows of the words of new tickets, each with its ticket's id and region. SQLite's index of
    texts is no table like others: there they are written, and there is none left to write."""
    if connection.dialect.name == "postgresql":
        return _words, [{"ticket_id": n, "words": _vector(n, r, w)} for n, r, w in rows]
    if rows:
        connection.exec_driver_sql(
            "INSERT INTO ticket_words (rowid, words) VALUES (?, ?)",
            [(ticket_id, " ".join([*w, *_regions("sqlite", r)])) for ticket_id, r, w in rows],
        )
    return _words, []


def keep(connection: sa.Connection, rows: Sequence[tuple[int, str, Words]]) -> None:
    """Write the words of new tickets, each with its ticket's id and region."""
    insert_rows(connection, *new_rows(connection, rows))


def add(connection: sa.Connection, ticket_id: int, region: str, more: Words) -> None:
    """Add words to a ticket's, or write the first."""
    if not more:
        return
    if connection.dialect.name == "postgresql":
        insert = upsert(connection, _words).values(
            ticket_id=ticket_id, words=_vector(ticket_id, region, more)
        )
        both = _words.c.words.op("||")(insert.excluded.words)
        has_room = sa.func.octet_length(sa.cast(_words.c.words, sa.Text)) < _ROW_MOST
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["ticket_id"], set_={"words": both}, where=has_room
            )
        )
        return
    there = connection.exec_driver_sql(
        "SELECT words FROM ticket_words WHERE rowid = ?", (ticket_id,)
    ).scalar()
    if there is None:
        keep(connection, [(ticket_id, region, more)])
        return
    every = dict.fromkeys([*there.split(), *more])
    connection.exec_driver_sql(
        "UPDATE ticket_words SET words = ? WHERE rowid = ?", (" ".join(every), ticket_id)
    )


def _vector(ticket_id: int, region: str, of: Words) -> str:
    # No word has a quote or a backslash in it: they are letters and digits.
    every = (*of, *_blocks(ticket_id), *_regions("postgresql", region))
    return " ".join(f"'{word}'" for word in every)


# What is found


def having(connection: sa.Connection, asked: Words) -> sa.ColumnElement[bool]:
    """Return the condition that a ticket has all of these words."""
    if connection.dialect.name == "postgresql":
        w = _words.c
        has_all = sa.select(w.ticket_id).where(w.words.op("@@")(_query(asked)))
        # A lookup for each ticket, whatever the planner thinks of how many have the words.
        its_own = has_all.where(w.ticket_id == _tickets.c.id).limit(1).scalar_subquery()
        return its_own.is_not(None)
    found = sa.text("SELECT rowid FROM ticket_words WHERE ticket_words MATCH :asked")
    # Unique: a condition for each of several terms, and each keeps its own words.
    given: sa.BindParameter[str] = sa.bindparam("asked", _match(asked), unique=True)
    return _tickets.c.id.in_(found.bindparams(given).columns(rowid=sa.Integer))


def finder(
    connection: sa.Connection, asked: Words, region: str
) -> Callable[[int, int], Sequence[int]]:
    """Return the stream of ids, newest first, of tickets that have all of these words. Where a region
    is given most of those that do not lie in it are left out."""
    code = prefix(region)
    marks = [f"{_REGION[connection.dialect.name]}{code[:6]}"] if len(code) >= 4 else []
    if connection.dialect.name == "postgresql":
        return lambda after, count: _newest(connection, asked, marks, after, count)
    text = sa.text(
        "SELECT rowid FROM ticket_words WHERE ticket_words MATCH :asked AND rowid < :after"
        " ORDER BY rowid DESC LIMIT :count"
    )

    def ids(after: int, count: int) -> Sequence[int]:
        values = {"asked": _match([*asked, *marks]), "after": after or END, "count": count}
        return list(connection.execute(text, values).scalars())

    return ids


# The sum keeps the planner from walking down the key in search of what few rows may have.
_FOUND = """
    SELECT ticket_id FROM ticket_words
    WHERE words @@ CAST(CAST(:asked AS text) AS tsquery){more}
        AND ticket_id + 0 < :below AND ticket_id + 0 >= :low
    ORDER BY ticket_id + 0 DESC LIMIT :count
"""
_MORE = " AND words @@ CAST(CAST(:{name} AS text) AS tsquery)"


def _newest(
    connection: sa.Connection, asked: Words, marks: Sequence[str], after: int, count: int
) -> list[int]:
    last = connection.execute(sa.select(sa.func.max(_words.c.ticket_id))).scalar() or 0
    below = min(after or END, last + 1)
    found: list[int] = []
    given = {"asked": _all_of(asked)} | ({"marks": _all_of(marks)} if marks else {})
    for letter, many in (*_STEPS, ("", 0)):
        if below <= 1 or len(found) >= count:
            break
        bits = BLOCKS.get(letter, 0)
        top = (below - 1) >> bits
        first = max(0, top - many + 1) if letter else 0
        low = first << bits
        values: dict[str, Any] = {**given, "below": below, "low": low, "count": count - len(found)}
        if letter:
            blocks = (f"{letter}{n:x}" for n in range(first, top + 1))
            values["blocks"] = " | ".join(f"'{each}'" for each in blocks)
        more = "".join(_MORE.format(name=name) for name in ("marks", "blocks") if name in values)
        found += connection.execute(sa.text(_FOUND.format(more=more)), values).scalars()
        below = low
    return found


def _all_of(of: Words) -> str:
    return " & ".join(f"'{word}'" for word in of)


def _query(of: Words) -> Any:
    return sa.cast(sa.cast(sa.literal(_all_of(of), sa.Text), sa.Text), _Query)


class _Query(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "tsquery"


def _match(of: Words) -> str:
    return " ".join(f'"{word}"' for word in of)


def numbered(connection: sa.Connection, numbers: Collection[str]) -> Mapping[str, set[int]]:
    """Return the tickets that have one of these as their number or their source's, by it."""
    t = _tickets.c
    found: dict[str, set[int]] = {}
    by_no = sa.select(t.id, t.no.label("number")).where(t.no.in_(numbers))
    # The key begins with the source: one look for each.
    sources = sa.select(sa.func.min(t.source).label("source")).cte("sources", recursive=True)
    further = sa.select(sa.func.min(t.source)).where(t.source > sources.c.source)
    sources = sources.union_all(
        sa.select(further.scalar_subquery()).where(sources.c.source.is_not(None))
    )
    by_source_no = (
        sa.select(t.id, t.source_no.label("number"))
        .select_from(sources)
        .join(_tickets, (t.source == sources.c.source) & t.source_no.in_(numbers))
    )
    for query in (by_no, by_source_no):
        for row in connection.execute(query):
            found.setdefault(row.number, set()).add(row.id)
    return found


# What was there before


def cut_before(connection: sa.Connection) -> int:
    """Return the id from which on every ticket has its words; 0 once all of them have."""
    return connection.execute(sa.select(_backlog.c.before)).scalar() or 0


def read_through(terms: Sequence[Term]) -> sa.ColumnElement[bool]:
    """Return the condition that a ticket without words of its own has what was typed in its text."""
    t = _tickets.c
    return sa.and_(
        *(
            t.title.contains(term.text, autoescape=True)
            | t.content.contains(term.text, autoescape=True)
            for term in terms
        )
    )


def catch_up(connection: sa.Connection, limit: int) -> int | None:
    """Cut some of the tickets that were there before their words were kept, the newest first; return
    how many there were, 0 while another replica is at it, None once all of them are cut."""
    row = connection.execute(sa.select(_backlog.c.before).with_for_update(skip_locked=True)).first()
    if row is None:
        return 0
    if not row.before:
        return None
    t, e, w = _tickets.c, _events.c, _words.c
    ids = list(
        connection.execute(
            sa.select(t.id).where(t.id < row.before).order_by(t.id.desc()).limit(limit)
        ).scalars()
    )
    # Locked in the order in which everybody locks several: a supplement waits, or was there before.
    rows = connection.execute(
        sa.select(t.id, t.region, t.title, t.content, t.kept_in, t.complaint["place"].as_string())
        .where(t.id.in_(ids))
        .order_by(t.id)
        .with_for_update(key_share=True)
    ).all()
    apart = closed.documents(connection, {each.id: each.kept_in for each in rows})
    texts = {
        each.id: [
            each.title,
            each.content,
            apart[each.id]["complaint"].get("place") if each.id in apart else each[-1],
        ]
        for each in rows
    }
    supplements = sa.select(e.ticket_id, e.content).where(
        e.ticket_id.in_(ids), e.act == "supplemented", months.since(min(ids, default=0))
    )
    for event in connection.execute(supplements) if ids else ():
        texts[event.ticket_id] += supplement_texts(event.content)
    column = w.ticket_id if connection.dialect.name == "postgresql" else sa.literal_column("rowid")
    there = set(
        connection.execute(sa.select(column).select_from(_words).where(column.in_(ids))).scalars()
    )
    found = [
        (each.id, each.region, words(*(text or "" for text in texts[each.id]))) for each in rows
    ]
    keep(connection, [each for each in found if each[0] not in there])
    for each in found:
        if each[0] in there:
            add(connection, *each)
    connection.execute(_backlog.update().values(before=ids[-1] if len(ids) == limit else 0))
    return len(ids)


# The texts that a supplement may change.
SUPPLEMENTED = ("title", "content", "place")


def supplement_texts(changed: Mapping[str, Any]) -> list[str]:
    """Return the texts that a supplement changed, of its event."""
    return [str(changed[name]) for name in SUPPLEMENTED if name in changed]
