"""Every Prometheus series by name. Figures about tickets come from the store, so that a restart or
a second replica never skews them; only requests are counted in the process."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from service.domain.ticket import DeliveryState
from service.store.figures import WORKED_S, Counted, Figures, Labels, Part, Worked

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The registry of this process and what it shows."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._http = Histogram(
            "banjie_http_request_seconds",
            "Time to answer a request (响应时间)",
            ["route", "method", "status"],
            registry=self._registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )

        self._batches = Histogram(
            "banjie_intake_batch_size",
            "Complaints received in one transaction (每批受理件数)",
            registry=self._registry,
            buckets=(1, 2, 5, 10, 20, 50, 100, 200),
        )
        self._set_back = 0
        self._lines: dict[str, dict[Labels, tuple[float, str]]] = {}
        # What was written of a part, by the names of its totals, for as long as the part is there.
        self._parts: WeakKeyDictionary[Part, dict[str, bytes]] = WeakKeyDictionary()

    def clock_set_back(self) -> None:
        """Count that the wall clock of this machine jumped back."""
        self._set_back += 1

    def intake_batch(self, size: int) -> None:
        """Count a transaction that received so many complaints."""
        self._batches.observe(size)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request. A method that HTTP does not know is one label, whatever it is."""
        known = method if method in _METHODS else "other"
        self._http.labels(route, known, str(status)).observe(seconds)

    def render(
        self,
        figures: Figures,
        at: datetime,
        calendar_days_left: int,
        called: Callable[[str], str] = str,
    ) -> bytes:
        """Return the text that Prometheus reads, figures as of `at`; `called` gives a unit's name."""
        set_back = _counter(
            "banjie_clock_set_back",
            "How often the clock of this machine was set back (时钟回拨)",
            [],
            [((), self._set_back)],
        )
        named = _gauge(
            "banjie_unit_info",
            "What a unit is called (单位名称): 1 for each that the figures tell of",
            ["region", "unit", "name"],
            [((*each, called(each[1])), 1) for each in sorted(figures.units())],
        )
        families = (*_families(figures, at, calendar_days_left), named, set_back)
        text = "".join(line for family in families for line in self._written(family))
        written = (*self._totals(figures), text.encode(), generate_latest(self._registry))
        return b"".join(written)

    def _totals(self, figures: Figures) -> Iterator[bytes]:
        """Give the totals. Most parts are what they were ten seconds ago, and the lines of each are
        kept as they are sent: there are tens of thousands."""
        lines: dict[str, list[bytes]] = {}
        for part in figures.parts:
            kept = self._parts.get(part)
            if kept is None:
                self._parts[part] = kept = {
                    name: _lines(name, counted) for name, counted in part.totals.items()
                }
            for name, written in kept.items():
                lines.setdefault(name, []).append(written)
        for name, counted in figures.added.items():
            if name in _SERIES:
                lines.setdefault(name, []).append(_lines(name, counted))
        for name, (series, kind, text, _) in _SERIES.items():
            yield _head(series, kind, text).encode()
            yield from lines.get(name, ())

    def _written(self, family: "_Family") -> Iterator[str]:
        """Give the lines of a series. Most are what they were ten seconds ago, and are kept."""
        yield _head(family.name, family.kind, family.text)
        for suffix, labels, rows in family.parts:
            kept = self._lines.setdefault(family.name + suffix, {})
            for values, figure in rows:
                known = kept.get(values)
                if known is None or known[0] != figure:
                    line = _line(family.name + suffix, labels, values, figure)
                    kept[values] = known = (figure, line)
                yield known[1]


@dataclass(frozen=True, slots=True)
class _Family:
    """A series as it is written: the library's own writer looks at every label of every sample with
    several regular expressions, and takes ten times as long."""

    name: str
    kind: str
    text: str
    # Suffix of the name, labels, and the figures by the values of the labels.
    parts: Sequence[tuple[str, Sequence[str], Iterable[tuple[Labels, float]]]]


def _head(series: str, kind: str, text: str) -> str:
    return f"# HELP {series} {text}\n# TYPE {series} {kind}\n"


def _line(series: str, labels: Sequence[str], values: Labels, figure: float) -> str:
    form, order = _form(series, tuple(labels))
    return form % (*[_escaped(values[n]) for n in order], float(figure))


@cache
def _form(series: str, labels: tuple[str, ...]) -> tuple[str, Sequence[int]]:
    """Return how a line of a series is written, and the order in which it takes the values: labels are
    sorted once and not for each of tens of thousands of lines."""
    order = sorted(range(len(labels)), key=labels.__getitem__)
    pairs = ",".join(f'{labels[n]}="%s"' for n in order)
    return (f"{series}{{{pairs}}} %r\n" if pairs else f"{series} %r\n"), order


@lru_cache(maxsize=16_384)
def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


_TOTALS = (
    (
        "tickets_received",
        "Tickets received (受理)",
        ["region", "channel", "kind", "decision"],
    ),
    (
        "milestones_met",
        "Milestones ended, by outcome: on_time 按时, late 超时, missed 未做",
        ["region", "unit", "milestone", "outcome"],
    ),
    (
        "tickets_closed",
        "Tickets closed (结案), by lead unit",
        ["region", "unit", "channel", "kind"],
    ),
    ("callbacks", "Call-backs made (回访), by lead unit", ["region", "unit", "solved", "grade"]),
    (
        "sendbacks",
        "Send-backs (退单) decided on, by the unit that sent back: upheld if another unit got it",
        ["region", "unit", "upheld"],
    ),
    (
        "extensions",
        "Extensions (延期) decided on, by lead unit: granted or refused",
        ["region", "unit", "decision"],
    ),
    ("redispatches", "Tickets that went from one unit to another (改派)", ["region"]),
    ("dispatches", "Tickets given to a unit (派单), each time", ["region", "unit"]),
    ("first_dispatches", "First dispatches (首次派单), by the unit", ["region", "unit"]),
    (
        "first_dispatches_wrong",
        "First dispatches after which another unit got the ticket (首派不准)",
        ["region", "unit"],
    ),
    ("sent_back", "Send-backs made (退单), by the unit that sent back", ["region", "unit"]),
    ("resolutions", "Resolutions (办结), by lead unit", ["region", "unit"]),
    (
        "resolutions_moved",
        "Resolutions of tickets that another unit had before (重派)",
        ["region", "unit"],
    ),
    (
        "resolutions_extended",
        "Resolutions of tickets whose limit was extended (延期)",
        ["region", "unit"],
    ),
    ("redone", "Tickets reopened (重办), by the unit that answered first", ["region", "unit"]),
    ("tickets_merged", "Tickets merged into another (并单)", ["region"]),
    (
        "rectifications",
        "Bad reviews (差评) whose limit ended: on_time, late, or missed if nothing was done",
        ["region", "unit", "outcome"],
    ),
    (
        "resolutions_due",
        "Resolution limits (办结时限) ended, by channel and outcome",
        ["region", "channel", "outcome"],
    ),
)
# Each by its name in the figures: series, type, text and labels.
_SERIES: Mapping[str, tuple[str, str, str, Sequence[str]]] = {
    **{name: (f"banjie_{name}_total", "counter", text, labels) for name, text, labels in _TOTALS},
    "tickets_open": (
        "banjie_tickets_open",
        "gauge",
        "Tickets not finished, by lead unit (主办)",
        ["region", "unit", "state"],
    ),
}


def _lines(name: str, counted: Counted) -> bytes:
    series, _, _, labels = _SERIES[name]
    return "".join(_line(series, labels, values, n) for values, n in counted.items()).encode()


def _families(figures: Figures, at: datetime, calendar_days_left: int) -> Iterable[_Family]:
    yield _gauge(
        "banjie_milestones_open",
        "Milestones still owed, by stage (时限)",
        ["region", "unit", "milestone", "stage"],
        figures.milestones_open.items(),
    )
    yield _histogram(
        "banjie_resolve_working_seconds",
        "Working time from the start of the clock to the resolution (办结), without pauses",
        ["region", "channel"],
        figures.worked(),
    )
    yield _gauge(
        "banjie_oldest_overdue_seconds",
        "How long the oldest overdue milestone has been overdue (超期)",
        ["region", "unit"],
        [
            (labels, (at - due_at).total_seconds())
            for labels, due_at in figures.oldest_overdue.items()
        ],
    )
    yield _gauge(
        "banjie_calendar_days_left",
        "Days until the published calendar ends (节假日安排)",
        [],
        [((), calendar_days_left)],
    )
    yield _gauge(
        "banjie_source_last_success_seconds",
        "How long ago the list of a source was last read to its end (来源距上次读完)",
        ["source"],
        [(labels, max(0.0, (at - done).total_seconds())) for labels, done in figures.caught_up],
    )
    yield _gauge(
        "banjie_source_failures",
        "How often reading the list of a source has failed in a row (来源连续失败)",
        ["source"],
        figures.poll_failures,
    )
    yield _gauge(
        "banjie_source_rejected_rows",
        "Rows of a source's list that could not become tickets and wait (来源无法受理的行)",
        ["source"],
        figures.rejected,
    )
    yield _gauge(
        "banjie_audit_unchained_events",
        "Events in the feed that are not in the audit chain yet (审计链)",
        [],
        [((), figures.unchained)],
    )
    behind = (at - figures.next_step).total_seconds() if figures.next_step else 0
    yield _gauge(
        "banjie_scheduler_lag_seconds",
        "How long the earliest due stage change has been waiting (定时任务滞后)",
        [],
        [((), max(0.0, behind))],
    )
    sent = figures.added.get("deliveries", {})
    yield _gauge(
        "banjie_deliveries",
        "Deliveries to outside systems (投递), by how far they came",
        ["state"],
        [((state,), sent.get((state,), 0)) for state in DeliveryState],
    )
    waits = (at - figures.oldest_delivery).total_seconds() if figures.oldest_delivery else 0
    yield _gauge(
        "banjie_outbox_oldest_seconds",
        "How long the oldest delivery that is not settled has been waiting (最久未投递)",
        [],
        [((), max(0.0, waits))],
    )


def _histogram(
    name: str, text: str, labels: Sequence[str], rows: Sequence[tuple[Labels, Worked]]
) -> _Family:
    held = [
        ((*values, str(most)), count)
        for values, took in rows
        for most, count in (*zip(_BOUNDS, took.up_to, strict=True), ("+Inf", took.count))
    ]
    buckets = ("_bucket", [*labels, "le"], held)
    count = ("_count", labels, [(values, took.count) for values, took in rows])
    total = ("_sum", labels, [(values, took.sum_s) for values, took in rows])
    return _Family(name, "histogram", text, [buckets, count, total])


_BOUNDS = tuple(map(float, WORKED_S))


def _counter(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Labels, float]]
) -> _Family:
    return _Family(f"{name}_total", "counter", text, [("", labels, rows)])


def _gauge(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Labels, float]]
) -> _Family:
    return _Family(name, "gauge", text, [("", labels, rows)])
