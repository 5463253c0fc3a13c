"""The limits that intake is measured against: services as small as they can be written.

Run from the repository: `python -m bench.limits bare|plain URL PORT`. `bare` validates the body of a
push and stores nothing. `plain` is what a tutorial writes: an SQLModel session for each request, which
inserts one row.
"""

import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Depends, FastAPI
from pydantic import BaseModel
from pydantic import Field as Bounded
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import Field, Session, SQLModel, create_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from service.connection import Server, configured


class Push(BaseModel):
    """The body of a hotline's push."""

    workOrderNo: str = Bounded(min_length=1, max_length=64)  # noqa: N815 the sender's names
    title: str = Bounded(max_length=200)
    content: str = Bounded(max_length=20_000)
    acceptTime: str = Bounded(pattern=r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$")  # noqa: N815
    areaCode: str = Bounded(max_length=12)  # noqa: N815
    appealTypeName: str = Bounded(max_length=50)  # noqa: N815
    address: str = Bounded("", max_length=300)
    contactName: str = Bounded("", max_length=50)  # noqa: N815
    contactPhone: str = Bounded("", max_length=64)  # noqa: N815
    source: str = Bounded("", max_length=50)


class PlainTicket(SQLModel, table=True):
    """The one row that `plain` writes."""

    metadata = sa.MetaData()  # whoever empties the service's tables knows nothing of it
    __tablename__ = "plain_tickets"

    id: int | None = Field(default=None, primary_key=True)
    source_no: str = Field(index=True)
    region: str
    kind: str
    title: str
    content: str
    accepted_at: str
    address: str
    contact_name: str
    contact_phone: str

    @classmethod
    def of(cls, push: Push) -> "PlainTicket":
        """Return the row of a push."""
        return cls(
            source_no=push.workOrderNo,
            region=push.areaCode,
            kind=push.appealTypeName,
            title=push.title,
            content=push.content,
            accepted_at=push.acceptTime,
            address=push.address,
            contact_name=push.contactName,
            contact_phone=push.contactPhone,
        )


def bare() -> FastAPI:
    """Return the service that stores nothing."""
    app = FastAPI()

    @app.post("/push", status_code=201)
    async def receive(push: Push) -> dict[str, str]:
        return {"no": push.workOrderNo}

    return app


def plain(url: str) -> FastAPI:
    """Return the service that inserts one row, on PostgreSQL through asyncpg as ours."""
    if url.startswith("postgresql"):
        return _plain_postgres(url)
    # A file of its own: who is paused while this is measured may hold the other one's lock. And a
    # connection for each caller: with fewer, threads wait for those that wait for threads.
    engine = create_engine(
        f"{url}.plain", pool_size=64, connect_args={"check_same_thread": False, "timeout": 60}
    )

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}").close()

    PlainTicket.metadata.create_all(engine)

    def session() -> Iterator[Session]:
        with Session(engine) as opened:
            yield opened

    app = FastAPI()

    @app.post("/push", status_code=201)
    def receive(push: Push, session: Annotated[Session, Depends(session)]) -> dict[str, int | None]:
        row = PlainTicket.of(push)
        session.add(row)
        session.commit()
        session.refresh(row)
        return {"id": row.id}

    return app


def _plain_postgres(url: str) -> FastAPI:
    engine = create_async_engine(
        sa.make_url(url).set(drivername="postgresql+asyncpg"), pool_size=64
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(PlainTicket.metadata.create_all)
        yield

    async def session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as opened:
            yield opened

    app = FastAPI(lifespan=lifespan)

    @app.post("/push", status_code=201)
    async def receive(
        push: Push, session: Annotated[AsyncSession, Depends(session)]
    ) -> dict[str, int | None]:
        row = PlainTicket.of(push)
        session.add(row)
        await session.commit()
        await session.refresh(row)
        return {"id": row.id}

    return app


def main() -> None:
    """Serve, with the settings of `banjie serve`."""
    which, url, port = sys.argv[1:]
    app = bare() if which == "bare" else plain(url)
    listening = socket.create_server(("127.0.0.1", int(port)), backlog=2048)
    Server(configured(app), lambda: None).run(sockets=[listening])


if __name__ == "__main__":
    main()
