"""The tables. SQLModel describes them; values are validated before they get here, never by them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel
from sqlmodel.main import get_column_from_field

metadata = SQLModel.metadata
metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
}


_Reads = Callable[[Any], datetime | None]


class Instant(TypeDecorator[datetime]):
    """An aware time, UTC in the store on either database. A naive one is a mistake and refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the time in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = "a time without zone reached the store"
            raise ValueError(msg)
        return value.astimezone(UTC)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> _Reads | None:
        """Return what makes a time of what the driver gives. PostgreSQL's gives it aware, in UTC, and a
        list has a thousand: nothing is called for them."""
        return None if dialect.name == "postgresql" else _instant


def _instant(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(f"{value}+00:00")


_Json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_Words = sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql")
# SQLite counts rows only in a column that is exactly INTEGER.
_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _id() -> Any:
    return Field(default=None, sa_column=sa.Column(_Id, sa.Identity(), primary_key=True))


def _at(*, nullable: bool = False) -> Any:
    return Field(default=None, sa_type=Instant, nullable=nullable)


def _json() -> Any:
    return Field(sa_type=_Json, nullable=False)


def _document() -> Any:
    # As text and not as JSONB: it is read and written as a whole, and nothing asks for what is in it.
    return Field(sa_type=sa.JSON, nullable=False)


def _where(name: str, column: str | tuple[str, ...], condition: str) -> sa.Index:
    """Return an index of the few rows that a question is about: it stays small however long the
    history grows."""
    text = sa.text(condition)
    columns = (column,) if isinstance(column, str) else column
    return sa.Index(name, *columns, postgresql_where=text, sqlite_where=text)


class _Row(SQLModel):
    """Describes a table, and no more: the store reads and writes columns, so nothing is mapped to the
    class, and no model that validates is built. Both took a fifth of a second of every start."""

    model_config = {"defer_build": True}

    __tablename__: ClassVar[str]
    __table_args__: ClassVar[tuple[Any, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Add the table of what is described to the metadata."""
        columns = []
        for name, field in cls.__pydantic_fields__.items():
            column = get_column_from_field(field)
            column.name = column.key = name
            columns.append(column)
        parts = [part for part in cls.__table_args__ if not isinstance(part, dict)]
        options = [part for part in cls.__table_args__ if isinstance(part, dict)]
        sa.Table(cls.__tablename__, metadata, *columns, *parts, **(options[0] if options else {}))


class TicketRow(_Row):
    """A ticket as it stands now. `complaint` and `route` are kept as documents; what a
    query asks for has a column of its own."""

    __tablename__ = "tickets"
    __table_args__ = (
        sa.UniqueConstraint("source", "source_no"),
        sa.Index("ix_tickets_region_state", "region", "state", "id"),
        sa.Index("ix_tickets_lead_unit_state", "lead_unit", "state", "id"),
        _where("ix_tickets_resume_at", "resume_at", "resume_at IS NOT NULL"),
        _where("ix_tickets_merged_into", "merged_into", "merged_into <> ''"),
        # What waits for somebody's yes or no.
        _where(
            "ix_tickets_extension_asked_at",
            ("extension_asked_at", "id"),
            "extension_asked_at IS NOT NULL",
        ),
    )

    id: int | None = _id()
    no: str = Field(max_length=32, unique=True)
    source: str = Field(max_length=64)
    source_no: str = Field(max_length=64)
    channel: str = Field(max_length=64)
    region: str = Field(max_length=16)
    kind: str = Field(max_length=32)
    received_kind: str = Field(max_length=32)  # before anybody put it right: totals are by it
    urgency: str = Field(max_length=32)
    state: str = Field(max_length=32)
    version: int
    decision: str = Field(max_length=32)  # the router's, or `counted` for what nobody works
    title: str
    content: str
    complaint: dict[str, Any] = _json()  # all but title and content; as everybody may see it
    route: dict[str, Any] = _json()
    lead_unit: str = Field(max_length=64)
    lead_name: str
    assist: list[dict[str, str]] = _json()
    redo: int
    limits: str = Field(max_length=64)
    extensions: list[dict[str, Any]] = _json()
    pauses: list[dict[str, Any]] = _json()
    resume_at: datetime | None = _at(nullable=True)  # when the pause that it is in ends by itself
    # When more time was asked for that nobody has decided on yet.
    extension_asked_at: datetime | None = _at(nullable=True)
    supervision: list[dict[str, Any]] = _json()
    sent_back: int
    ruled: str = Field(max_length=64)
    merged_into: str = Field(max_length=32)
    received_at: datetime = _at()
    stored_at: datetime = _at()
    # In which month of `closed_tickets` its documents are; None: they are here.
    kept_in: int | None = Field(default=None, nullable=True)


class AssistRow(_Row):
    """Which units assist a ticket, so that their queues find it."""

    __tablename__ = "assists"
    __table_args__ = (sa.Index("ix_assists_unit", "unit", "ticket_id"),)

    ticket_id: int = Field(
        sa_column=sa.Column(_Id, sa.ForeignKey("tickets.id"), primary_key=True, autoincrement=False)
    )
    unit: str = Field(max_length=64, primary_key=True)


class BodyRow(_Row):
    """Every body that was received for a ticket, by fingerprint: a repeat is told from a change."""

    __tablename__ = "bodies"
    __table_args__ = (_where("ix_bodies_looked_at", "ticket_id", "looked_at IS NULL"),)

    ticket_id: int = Field(
        sa_column=sa.Column(_Id, sa.ForeignKey("tickets.id"), primary_key=True, autoincrement=False)
    )
    fingerprint: str = Field(max_length=64, primary_key=True)
    received_at: datetime = _at()
    looked_at: datetime | None = _at(nullable=True)  # when others like it were looked for


class TicketWordsRow(_Row):
    """The words by which a ticket is found (ADR 0025). On SQLite a virtual table of FTS5, whose rowid
    is the ticket's id; nothing else reads it there."""

    __tablename__ = "ticket_words"
    __table_args__ = (sa.Index("ix_ticket_words_words", "words", postgresql_using="gin"),)

    # No foreign key: it is written with its ticket, and a look for each would cost the intake.
    ticket_id: int = Field(sa_column=sa.Column(_Id, primary_key=True, autoincrement=False))
    words: str = Field(sa_column=sa.Column(_Words, nullable=False))


class SearchBacklogRow(_Row):
    """How far the words of what was there before are cut, one row: tickets of lower ids have none,
    0 once all have."""

    __tablename__ = "search_backlog"

    id: int = Field(sa_column=sa.Column(_Id, primary_key=True, autoincrement=False))
    before: int = Field(sa_type=sa.BigInteger)


class MilestoneRow(_Row):
    """One clock of a ticket."""

    __tablename__ = "milestones"
    __table_args__ = (
        sa.Index("ix_milestones_ticket_id", "ticket_id"),
        # What the enforcer asks every second: only rows that will still change are in the index.
        _where("ix_milestones_next_at", "next_at", "next_at IS NOT NULL"),
        # What a queue asks: a unit owes little of all that it ever owed.
        _where("ix_milestones_unit", ("unit", "due_at", "ticket_id"), "outcome IS NULL"),
        # What lists of one stage ask. Most of what comes in never gets there.
        _where(
            "ix_milestones_stage", ("stage", "ticket_id"), "outcome IS NULL AND stage <> 'normal'"
        ),
        # What is supervised, the longest due first.
        _where(
            "ix_milestones_stage_due_at",
            ("stage", "due_at", "ticket_id"),
            "outcome IS NULL AND stage <> 'normal'",
        ),
        # What the overview asks: how the last month's resolutions ended.
        _where("ix_milestones_met_at", "met_at", "kind = 'resolve' AND outcome IS NOT NULL"),
        # What a new year's calendar is asked for.
        _where("ix_milestones_provisional", "due_at", "provisional"),
    )

    id: int | None = _id()
    ticket_id: int = Field(sa_column=sa.Column(_Id, sa.ForeignKey("tickets.id"), nullable=False))
    region: str = Field(max_length=16)
    unit: str = Field(max_length=64)
    kind: str = Field(max_length=32)
    clock: str = Field(max_length=32)
    governing: bool
    limit: str
    basis: str
    started_at: datetime = _at()
    due_at: datetime = _at()
    original_due_at: datetime = _at()
    provisional: bool
    warn_at: datetime = _at()
    stage: str = Field(max_length=32)
    next_at: datetime | None = _at(nullable=True)
    met_at: datetime | None = _at(nullable=True)
    outcome: str | None = Field(default=None, max_length=32)
    redo: int
    assisting: bool
    count_from: str = Field(max_length=32)
    extended: str = Field(max_length=32)
    paused_s: int
    steps: list[list[str]] = _json()  # measure and time of each, in order
    done: int
    answers: str = Field(max_length=64)
    bearer: str = Field(max_length=64)
    bearer_until: datetime | None = _at(nullable=True)


class EventRow(_Row):
    """What happened, in the order of writing. Rows are added and never changed."""

    __tablename__ = "events"
    __table_args__ = (
        sa.Index("ix_events_ticket_id", "ticket_id", "id"),
        # What the sequencer of the feed asks: which events later transactions wrote (ADR 0022).
        _where("ix_events_tx", "tx", "tx IS NOT NULL"),
    )

    id: int | None = _id()
    ticket_id: int = Field(sa_column=sa.Column(_Id, sa.ForeignKey("tickets.id"), nullable=False))
    ticket_no: str = Field(max_length=32)
    region: str = Field(max_length=16)
    act: str = Field(max_length=32)
    at: datetime = _at()
    actor: str = Field(max_length=100)
    role: str = Field(max_length=32)
    unit: str = Field(max_length=64)
    version: int
    content: dict[str, Any] = _json()
    # The transaction that wrote it, which PostgreSQL fills in by itself; NULL on SQLite.
    tx: int | None = Field(default=None, sa_type=sa.BigInteger, nullable=True)


class FeedRow(_Row):
    """The place of an event in the feed, on PostgreSQL; on SQLite an event's id is its place."""

    __tablename__ = "feed"
    __table_args__ = (sa.UniqueConstraint("event_id"),)

    position: int = Field(sa_column=sa.Column(_Id, primary_key=True, autoincrement=False))
    event_id: int = Field(sa_column=sa.Column(_Id, nullable=False))


class MonthRow(_Row):
    """A month as events are kept by (ADR 0026): its events have ids from `first_event` on, and a
    ticket with an id above `ticket_id` has none before it. The first row is what was there before."""

    __tablename__ = "event_months"

    month: int = Field(sa_column=sa.Column(sa.Integer, primary_key=True, autoincrement=False))
    first_event: int = Field(sa_type=sa.BigInteger)
    ticket_id: int = Field(sa_type=sa.BigInteger)
    began_at: datetime = _at()
    detached_at: datetime | None = _at(nullable=True)
    # The last place in the feed of an event of a month that was taken off, and its mark.
    feed_to: int | None = Field(default=None, sa_type=sa.BigInteger, nullable=True)
    feed_mark: str = Field(max_length=8)


class ClosedRow(_Row):
    """What is kept apart of a ticket that ended long ago (ADR 0026), by the month of its end."""

    __tablename__ = "closed_tickets"

    month: int = Field(sa_column=sa.Column(sa.Integer, primary_key=True, autoincrement=False))
    ticket_id: int = Field(
        sa_column=sa.Column(_Id, sa.ForeignKey("tickets.id"), primary_key=True, autoincrement=False)
    )
    kept: dict[str, Any] = _document()  # columns of the ticket, as they stood there
    deliveries: list[dict[str, Any]] = _document()  # rows of `deliveries` that are over
    delivered: int  # how many of them were in this state
    unaddressed: int


class ClosedTurnRow(_Row):
    """How far the tickets have been gone through for those that ended long ago, one row."""

    __tablename__ = "closed_turns"

    id: int = Field(sa_column=sa.Column(_Id, primary_key=True, autoincrement=False))
    after: int = Field(sa_type=sa.BigInteger)
    month: int  # in which it was begun


class FeedTurnRow(_Row):
    """How far the sequencer of the feed has come, one row, on PostgreSQL alone (ADR 0022)."""

    __tablename__ = "feed_turns"

    id: int = Field(sa_column=sa.Column(_Id, primary_key=True, autoincrement=False))
    # Up to it events are placed by their ids: the greatest one when the feed began.
    base: int = Field(sa_type=sa.BigInteger)
    last: int = Field(sa_type=sa.BigInteger)  # the last position that was given
    since: str | None  # the snapshot (pg_snapshot) in which all was placed; None: nothing is sure
    tx: int = Field(sa_type=sa.BigInteger)  # the transaction that wrote this row
    # Of a backlog that is too much for a turn: the snapshot that it is of, and the id up to which all
    # that is visible in it has a place.
    until: str | None = None
    passed: int | None = Field(default=None, sa_type=sa.BigInteger, nullable=True)


class LinkRow(_Row):
    """The link of an event in the chain of its region (ADR 0031), by the event's place in the feed."""

    __tablename__ = "chain"
    __table_args__ = (sa.UniqueConstraint("region", "sequence"), sa.UniqueConstraint("event_id"))

    place: int = Field(sa_column=sa.Column(_Id, primary_key=True, autoincrement=False))
    region: str = Field(max_length=16)
    sequence: int = Field(sa_type=sa.BigInteger)
    event_id: int = Field(sa_type=sa.BigInteger)
    ticket_no: str = Field(max_length=32)
    hash: str = Field(max_length=64)


class TailRow(_Row):
    """How far the chain of a region goes."""

    __tablename__ = "chain_tails"

    region: str = Field(max_length=16, primary_key=True)
    sequence: int = Field(sa_type=sa.BigInteger)
    hash: str = Field(max_length=64)


class HeadRow(_Row):
    """What a region's chain came to on a day, signed where there is a key."""

    __tablename__ = "chain_heads"
    __table_args__ = (sa.UniqueConstraint("region", "day"),)

    id: int | None = _id()
    region: str = Field(max_length=16)
    day: str = Field(max_length=10)
    sequence: int = Field(sa_type=sa.BigInteger)
    hash: str = Field(max_length=64)
    events: int = Field(sa_type=sa.BigInteger)
    made_at: datetime = _at()
    key: str = Field(max_length=64)
    signature: str = Field(max_length=128)


class DeliveryRow(_Row):
    """What is to leave, or has left. Written in the transaction of what it tells of.

    `message` is the number under which the receiver gets it, however often. `attempts` is the
    fencing term of a claim: whoever settles one says which attempt it was.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        # What is to leave, by where it goes to; the few that wait, however many have left.
        _where("ix_deliveries_destination", ("destination", "next_at", "id"), "state = 'pending'"),
        # Whether an earlier one of the same ticket to the same destination still waits.
        sa.Index("ix_deliveries_ticket_id", "ticket_id", "destination", "state", "id"),
        sa.Index("ix_deliveries_state", "state", "id"),
    )

    id: int | None = _id()
    ticket_id: int = Field(sa_column=sa.Column(_Id, sa.ForeignKey("tickets.id"), nullable=False))
    ticket_no: str = Field(max_length=32)
    region: str = Field(max_length=16)
    kind: str = Field(max_length=32)
    recipient: str = Field(max_length=32)
    unit: str = Field(max_length=64)  # "" for the citizen
    payload: dict[str, Any] = _json()
    state: str = Field(max_length=32)
    attempts: int
    created_at: datetime = _at()
    next_at: datetime | None = _at(nullable=True)
    destination: str = Field(max_length=80)  # `source:NAME`, `unit:CODE` or `citizen`
    message: str = Field(max_length=64)
    reason: str = Field(max_length=64)  # why the last attempt failed, in a word of ours
    claimed_until: datetime | None = _at(nullable=True)
    expires_at: datetime | None = _at(nullable=True)
    settled_at: datetime | None = _at(nullable=True)


class RulingRow(_Row):
    """A ruling (裁定), as the precedent that it is."""

    __tablename__ = "rulings"

    id: int | None = _id()
    ticket_id: int = Field(sa_column=sa.Column(_Id, sa.ForeignKey("tickets.id"), nullable=False))
    ticket_no: str = Field(max_length=32)
    region: str = Field(max_length=16)
    unit: str = Field(max_length=64)
    title: str
    words: list[str] = _json()
    document: str
    reason: str
    actor: str = Field(max_length=100)
    at: datetime = _at()


class CounterRow(_Row):
    """Numbers given out without gaps, by region and day: an auditor can see that none is missing."""

    __tablename__ = "counters"

    region: str = Field(max_length=16, primary_key=True)
    day: str = Field(max_length=8, primary_key=True)
    last: int


class TokenRow(_Row):
    """A caller's token, by its SHA-256; the token itself is nowhere. `account_id` is that of the account
    that a one-time link is for."""

    __tablename__ = "tokens"

    id: int | None = _id()
    digest: str = Field(max_length=64, unique=True)
    use: str = Field(max_length=32)
    name: str = Field(max_length=100)
    role: str = Field(max_length=32)
    units: list[str] = _json()
    source: str = Field(max_length=64)
    region: str = Field(max_length=16)
    created_at: datetime = _at()
    expires_at: datetime | None = _at(nullable=True)
    revoked_at: datetime | None = _at(nullable=True)
    account_id: int | None = Field(default=None, sa_type=_Id)


class IdempotencyRow(_Row):
    """The answer to an act that carried an Idempotency-Key, so that a retry gets the same one."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (sa.Index("ix_idempotency_keys_at", "at"),)

    caller: str = Field(max_length=32, primary_key=True)
    key: str = Field(max_length=255, primary_key=True)
    request: str = Field(max_length=64)  # SHA-256 of ticket, act and body
    ticket_no: str = Field(max_length=32)
    version: int
    at: datetime = _at()


class AccountRow(_Row):
    """A person who may sign in: by a password (Argon2id, encoded with its salt and costs), or, where
    there is none, as `subject` of the identity provider, the SHA-256 of issuer and subject.

    `version` grows with every change: what was checked against an older one does not count.
    """

    __tablename__ = "accounts"

    id: int | None = _id()
    name: str = Field(max_length=64, unique=True)
    shown: str = Field(max_length=100)
    role: str = Field(max_length=32)
    units: list[str] = _json()
    region: str = Field(max_length=16)
    subject: str | None = Field(default=None, max_length=64, unique=True)
    password: str | None
    version: int
    created_at: datetime = _at()
    changed_at: datetime = _at()


class SessionRow(_Row):
    """A browser that is signed in, by the SHA-256 of its cookie. It is gone with its account, and no
    good without the API token that opened it."""

    __tablename__ = "sessions"
    __table_args__ = (
        sa.Index("ix_sessions_expires_at", "expires_at"),
        sa.Index("ix_sessions_account_id", "account_id"),
    )

    id: int | None = _id()
    digest: str = Field(max_length=64, unique=True)
    account_id: int | None = Field(
        default=None, sa_column=sa.Column(_Id, sa.ForeignKey("accounts.id"), nullable=True)
    )
    token_id: int | None = Field(
        default=None, sa_column=sa.Column(_Id, sa.ForeignKey("tokens.id"), nullable=True)
    )
    way: str = Field(max_length=32)
    name: str = Field(max_length=100)
    role: str = Field(max_length=32)
    units: list[str] = _json()
    region: str = Field(max_length=16)
    created_at: datetime = _at()
    seen_at: datetime = _at()
    expires_at: datetime = _at()


class DeviceRow(_Row):
    """A browser from which an account was signed in, by the SHA-256 of its cookie: what strangers fail
    at elsewhere does not keep it out."""

    __tablename__ = "devices"
    __table_args__ = (sa.Index("ix_devices_seen_at", "seen_at"),)

    digest: str = Field(max_length=64, primary_key=True)
    account: str = Field(max_length=64, primary_key=True)
    seen_at: datetime = _at()


class TriesRow(_Row):
    """Sign-ins that failed, by what they are counted by: a keyed hash of an account, an address or
    both."""

    __tablename__ = "sign_in_tries"
    __table_args__ = (sa.Index("ix_sign_in_tries_at", "at"),)

    key: str = Field(max_length=64, primary_key=True)
    failures: int
    at: datetime = _at()
    until: datetime | None = _at(nullable=True)


class SignInRow(_Row):
    """Who came in, went out or was refused, and what became of accounts. It is what an auditor asks
    for, kept for a year; the log has none of it."""

    __tablename__ = "sign_ins"
    __table_args__ = (sa.Index("ix_sign_ins_at", "at"),)

    id: int | None = _id()
    at: datetime = _at()
    what: str = Field(max_length=32)
    way: str = Field(max_length=32)
    who: str = Field(max_length=100)
    address: str = Field(max_length=64)


class SecretRow(_Row):
    """A key of the service's own, made by the migration: the same on every replica, and in a backup
    of all tables, but not in an extract of one."""

    __tablename__ = "secrets"

    name: str = Field(max_length=32, primary_key=True)
    secret: str = Field(max_length=64)


class SealKeyRow(_Row):
    """A key that sealed something, by what tells it from another of the same id. `secret` is the key
    itself where the service has no key file, else ""; `since` is when it became the one that seals."""

    __tablename__ = "seal_keys"

    id: str = Field(max_length=32, primary_key=True)
    algorithm: str = Field(max_length=16)
    proof: str = Field(max_length=32)
    secret: str = Field(max_length=64)
    since: datetime | None = _at(nullable=True)


class SealedRow(_Row):
    """What people told, sealed (ADR 0030): of a ticket its complaint (part "") and what else was
    written with numbers in it; what is of no ticket under 0. `person` is a keyed hash of the telephone
    number. Of what was made anonymous nothing is left but when."""

    __tablename__ = "sealed"
    __table_args__ = (
        sa.Index("ix_sealed_key", "key", "ticket_id"),
        _where("ix_sealed_person", ("person", "ticket_id"), "person <> ''"),
    )

    # No foreign key: it is written with its ticket, and a look for each would cost the intake.
    ticket_id: int = Field(sa_column=sa.Column(_Id, primary_key=True, autoincrement=False))
    part: str = Field(max_length=200, primary_key=True)
    key: str = Field(max_length=32)
    person: str = Field(max_length=32)
    document: str
    dropped_at: datetime | None = _at(nullable=True)


class GroupRow(_Row):
    """A group matter (群体性诉求): many people, one place, one topic."""

    __tablename__ = "group_matters"
    __table_args__ = (sa.Index("ix_group_matters_last_at", "last_at", "id"),)

    id: int | None = _id()
    region: str = Field(max_length=16)
    line: str = Field(max_length=64)
    place: str = Field(max_length=64)
    people: int
    tickets: int
    first_at: datetime = _at()
    last_at: datetime = _at()


class TraitsRow(_Row):
    """What a ticket is compared by. `person` is a keyed hash of the telephone number."""

    __tablename__ = "traits"
    __table_args__ = (_where("ix_traits_group_id", "group_id", "group_id IS NOT NULL"),)

    ticket_id: int = Field(
        sa_column=sa.Column(_Id, sa.ForeignKey("tickets.id"), primary_key=True, autoincrement=False)
    )
    person: str = Field(max_length=32)
    region: str = Field(max_length=16)
    line: str = Field(max_length=64)
    spots: list[str] = _json()
    towns: list[str] = _json()
    pairs: int
    least: list[int] = _json()
    at: datetime = _at()
    group_id: int | None = Field(
        default=None, sa_column=sa.Column(_Id, sa.ForeignKey("group_matters.id"), nullable=True)
    )


class MarkRow(_Row):
    """A mark by which tickets about the same thing are found without a scan."""

    __tablename__ = "marks"
    __table_args__ = (sa.Index("ix_marks_ticket_id", "ticket_id"),)

    mark: str = Field(max_length=64, primary_key=True)
    at: datetime = Field(sa_column=sa.Column(Instant, primary_key=True, nullable=False))
    ticket_id: int = Field(
        sa_column=sa.Column(_Id, sa.ForeignKey("tickets.id"), primary_key=True, autoincrement=False)
    )


class LikenessRow(_Row):
    """Two tickets that are about the same matter, the later and the earlier one, until somebody says
    that they are not."""

    __tablename__ = "likenesses"
    __table_args__ = (sa.Index("ix_likenesses_earlier_id", "earlier_id"),)

    later_id: int = Field(
        sa_column=sa.Column(_Id, sa.ForeignKey("tickets.id"), primary_key=True, autoincrement=False)
    )
    earlier_id: int = Field(
        sa_column=sa.Column(_Id, sa.ForeignKey("tickets.id"), primary_key=True, autoincrement=False)
    )
    person: bool
    spot: str = Field(max_length=32)
    town: str = Field(max_length=32)
    text: float
    score: float
    found_at: datetime = _at()
    rejected_at: datetime | None = _at(nullable=True)


class MessageRow(_Row):
    """A signed push by the id that its sender gave it: the same id is the same body, or refused."""

    __tablename__ = "messages"
    __table_args__ = (sa.Index("ix_messages_at", "at"),)

    source: str = Field(max_length=64, primary_key=True)
    id: str = Field(max_length=200, primary_key=True)
    digest: str = Field(max_length=64)  # SHA-256 of the body
    at: datetime = _at()


class PushDayRow(_Row):
    """How many pushes of a source on a day (ISO text, in Asia/Shanghai) came to the same. Each replica
    adds to it now and then, not with each push."""

    __tablename__ = "push_days"

    source: str = Field(max_length=64, primary_key=True)
    day: str = Field(max_length=10, primary_key=True)
    fate: str = Field(max_length=32, primary_key=True)
    pushes: int
    last_at: datetime = _at()


class LeaseRow(_Row):
    """Who does what only one of several replicas may do. The term grows with every holder and fences
    off those before; the beat grows as long as the holder lives."""

    __tablename__ = "leases"

    name: str = Field(max_length=64, primary_key=True)
    holder: str = Field(max_length=64)  # "" for nobody
    term: int
    beat: int = Field(sa_type=sa.BigInteger)


class PollRow(_Row):
    """Where the reading of a source's list stands, and how it went."""

    __tablename__ = "polls"

    source: str = Field(max_length=64, primary_key=True)
    term: int  # of the last reader; one of an earlier term writes nothing any more
    place: dict[str, Any] = _json()
    pages: dict[str, Any] = _json()  # what a conditional request needs of the last ones
    next_at: datetime | None = _at(nullable=True)
    succeeded_at: datetime | None = _at(nullable=True)  # a page came
    caught_up_at: datetime | None = _at(nullable=True)  # the end of the list was reached
    failed_at: datetime | None = _at(nullable=True)
    error: str  # of the last try, "" if it went well
    failures: int  # in a row


class RejectedRow(_Row):
    """A row of a list that could not become a ticket, kept as it came until it can."""

    __tablename__ = "rejected_rows"
    __table_args__ = (
        sa.UniqueConstraint("source", "digest"),
        _where("ix_rejected_rows_open", ("source", "id"), "taken_at IS NULL"),
    )

    id: int | None = _id()
    source: str = Field(max_length=64)
    source_no: str = Field(max_length=64)  # "" where it cannot be read
    digest: str = Field(max_length=64)
    body: str
    problems: list[dict[str, str]] = _json()
    first_at: datetime = _at()
    last_at: datetime = _at()
    taken_at: datetime | None = _at(nullable=True)


class SampleRow(_Row):
    """A draw of closed tickets for a second look (抽查), with all that is needed to draw it again:
    the days of resolution (ISO text, in Asia/Shanghai), region and unit asked for ("" for all), the
    size, the seed. `strata` is [unit, how many it closed, how many were drawn], …."""

    __tablename__ = "samples"
    __table_args__ = (sa.Index("ix_samples_region", "region", "id"),)

    id: int | None = _id()
    region: str = Field(max_length=16)
    unit: str = Field(max_length=64)
    since: str = Field(max_length=10)
    until: str = Field(max_length=10)
    size: int
    percent: int  # the share that the size came of, 0 if it was named itself
    seed: str = Field(max_length=64)
    population: int
    strata: list[list[Any]] = _json()
    actor: str = Field(max_length=100)
    at: datetime = _at()


class CheckRow(_Row):
    """A ticket that was drawn, and what the second look at it found; `checked_on` is the day of it
    (ISO text, in Asia/Shanghai), "" while it waits."""

    __tablename__ = "checks"
    __table_args__ = (
        sa.Index("ix_checks_ticket_id", "ticket_id", "id"),
        sa.Index("ix_checks_sample_id", "sample_id", "id"),
        sa.Index("ix_checks_state", "state", "id"),
        _where("ix_checks_checked_on", ("checked_on", "unit"), "checked_on <> ''"),
    )

    id: int | None = _id()
    sample_id: int = Field(sa_column=sa.Column(_Id, sa.ForeignKey("samples.id"), nullable=False))
    ticket_id: int = Field(sa_column=sa.Column(_Id, sa.ForeignKey("tickets.id"), nullable=False))
    region: str = Field(max_length=16)
    unit: str = Field(max_length=64)
    drawn_at: datetime = _at()
    state: str = Field(max_length=32)
    way: str = Field(max_length=32)
    reached: bool | None
    solved: bool | None
    truthful: bool | None
    checked_on: str = Field(max_length=10)
    checked_by: str = Field(max_length=100)


class ProposalRow(_Row):
    """A proposal (提议) to the responsible-unit table; `state` is how it stands after its last
    decision."""

    __tablename__ = "proposals"
    __table_args__ = (sa.Index("ix_proposals_state", "state", "id"),)

    id: int | None = _id()
    kind: str = Field(max_length=32)
    unit: str = Field(max_length=64)
    region: str = Field(max_length=16)
    name: str = Field(max_length=100)
    words: list[str] = _json()
    pairs: list[str] = _json()
    examples: list[str] = _json()
    reason: str
    author: str = Field(max_length=100)
    at: datetime = _at()
    state: str = Field(max_length=32)


class ProposalDecisionRow(_Row):
    """What somebody decided of a proposal; never changed. By these every replica sees that there is
    something new."""

    __tablename__ = "proposal_decisions"
    __table_args__ = (sa.Index("ix_proposal_decisions_proposal_id", "proposal_id", "id"),)

    id: int | None = _id()
    proposal_id: int = Field(
        sa_column=sa.Column(_Id, sa.ForeignKey("proposals.id"), nullable=False)
    )
    state: str = Field(max_length=32)
    actor: str = Field(max_length=100)
    at: datetime = _at()
    reason: str


class TallyEntryRow(_Row):
    """What a transaction changed in the counts of one ticket, until it is folded into the tallies.

    Days are ISO text (`2026-11-18`), in Asia/Shanghai. `counts` is [day, unit, measure, n], …;
    `names` what units were called then, by code.
    """

    __tablename__ = "tally_entries"

    id: int | None = _id()
    known_on: str = Field(max_length=10)
    region: str = Field(max_length=16)
    channel: str = Field(max_length=64)
    kind: str = Field(max_length=32)
    counts: list[list[Any]] = _json()
    names: dict[str, str] = _json()


class TallyRow(_Row):
    """How many of a measure belong to a day, as was learnt on another day (ADR 0021). What a day
    that is over has learnt is never changed. `counts` is how many, by measure."""

    __tablename__ = "tallies"
    __table_args__ = (sa.Index("ix_tallies_known_on", "known_on"), {"sqlite_with_rowid": False})

    day: str = Field(max_length=10, primary_key=True)
    region: str = Field(max_length=16, primary_key=True)
    unit: str = Field(max_length=64, primary_key=True)
    channel: str = Field(max_length=64, primary_key=True)
    kind: str = Field(max_length=32, primary_key=True)
    known_on: str = Field(max_length=10, primary_key=True)
    counts: dict[str, int] = _document()


class TallySumRow(_Row):
    """The tallies added up, all that is known, as questions ask for them: `view` names the columns
    that are kept, the others are "", and the theme. `since` is a day or what holds it (`kpi.block`), or "" for ever;
    `counts` is how many, by measure."""

    __tablename__ = "tally_sums"
    __table_args__ = ({"sqlite_with_rowid": False},)

    view: str = Field(max_length=32, primary_key=True)
    since: str = Field(max_length=10, primary_key=True)
    region: str = Field(max_length=16, primary_key=True)
    unit: str = Field(max_length=64, primary_key=True)
    channel: str = Field(max_length=64, primary_key=True)
    kind: str = Field(max_length=32, primary_key=True)
    counts: dict[str, int] = _document()


class UnitNameRow(_Row):
    """What a unit was called on tickets, and since which day."""

    __tablename__ = "unit_names"

    unit: str = Field(max_length=64, primary_key=True)
    name: str = Field(primary_key=True)
    since: str = Field(max_length=10)


class RecountRow(_Row):
    """A recount that was applied. Its number grows by one: of two that are made at once one fails."""

    __tablename__ = "recounts"

    id: int = Field(sa_column=sa.Column(_Id, primary_key=True, autoincrement=False))
    known_on: str = Field(max_length=10)
    cells: int
    first: bool  # before it nothing was counted, and nothing is known of how it was


_PARTITIONS = r"events_(before|rest|\d{6})|closed_tickets_\d{6}"


def is_compared(
    dialect: str,
) -> Callable[[Any, str | None, str, bool, Any], bool]:
    """Return what tells Alembic which tables of a database are to look as described here: the words
    are a virtual table on SQLite, with tables of its own behind it, and a partition is a part of one."""
    apart = re.compile(r"ticket_words.*" if dialect == "sqlite" else _PARTITIONS)

    def told(_item: Any, name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:
        return kind != "table" or not apart.fullmatch(str(name))

    return told
