"""Every Prometheus series by name. Figures about tickets come from the store, so that a restart or
a second replica never skews them; only requests are counted in the process."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from service.domain.ticket import DeliveryState
from service.store.figures import WORKED_S, Figures, Labels, Worked

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The registry of this process and what it shows."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._http = Histogram(
            "banjie_http_request_seconds",
            "Time to answer a request",
            ["route", "method", "status"],
            registry=self._registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )

        self._set_back = 0

    def clock_set_back(self) -> None:
        """Count that the wall clock of this machine jumped back."""
        self._set_back += 1

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request. A method that HTTP does not know is one label, whatever it is."""
        known = method if method in _METHODS else "other"
        self._http.labels(route, known, str(status)).observe(seconds)

    def render(self, figures: Figures, at: datetime, calendar_days_left: int) -> bytes:
        """Return the text that Prometheus reads, figures as of `at`."""
        set_back = _counter(
            "banjie_clock_set_back",
            "How often the clock of this machine was set back",
            [],
            [((), self._set_back)],
        )
        families = (*_families(figures, at, calendar_days_left), set_back)
        text = "".join(line for family in families for line in family.lines())
        return text.encode() + generate_latest(self._registry)


@dataclass(frozen=True, slots=True)
class _Family:
    """A series as it is written: the library's own writer looks at every label of every sample with
    several regular expressions, and takes ten times as long."""

    name: str
    kind: str
    text: str
    labels: Sequence[str]
    # Suffix of the name, values of the labels, labels besides, and the figure.
    samples: Iterable[tuple[str, Labels, str, float]]

    def lines(self) -> Iterator[str]:
        """Give the lines of the text format."""
        yield f"# HELP {self.name} {self.text}\n# TYPE {self.name} {self.kind}\n"
        order = sorted(range(len(self.labels)), key=lambda n: self.labels[n])
        for suffix, values, more, figure in self.samples:
            pairs = [_pair(self.labels[n], values[n]) for n in order]
            if more:
                pairs = sorted([*pairs, more])
            labels = f"{{{','.join(pairs)}}}" if pairs else ""
            yield f"{self.name}{suffix}{labels} {float(figure)!r}\n"


@lru_cache(maxsize=100_000)
def _pair(label: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return f'{label}="{escaped}"'


def _families(figures: Figures, at: datetime, calendar_days_left: int) -> Iterable[_Family]:
    yield _counter(
        "banjie_tickets_received",
        "Tickets received (受理)",
        ["region", "channel", "kind", "decision"],
        figures.received,
    )
    yield _gauge(
        "banjie_tickets_open",
        "Tickets not finished, by lead unit (主办)",
        ["region", "unit", "state"],
        figures.open,
    )
    yield _gauge(
        "banjie_milestones_open",
        "Milestones still owed, by stage (时限)",
        ["region", "unit", "milestone", "stage"],
        figures.milestones_open,
    )
    yield _counter(
        "banjie_milestones_met",
        "Milestones ended, by outcome: on_time 按时, late 超时, missed 未做",
        ["region", "unit", "milestone", "outcome"],
        figures.milestones_met,
    )
    yield _counter(
        "banjie_tickets_closed",
        "Tickets closed (结案), by lead unit",
        ["region", "unit", "channel", "kind"],
        figures.closed,
    )
    yield _counter(
        "banjie_callbacks",
        "Call-backs made (回访), by lead unit",
        ["region", "unit", "solved", "grade"],
        figures.callbacks,
    )
    yield _counter(
        "banjie_sendbacks",
        "Send-backs (退单) decided on, by the unit that sent back: upheld if another unit got it",
        ["region", "unit", "upheld"],
        figures.send_backs,
    )
    yield _counter(
        "banjie_extensions",
        "Extensions (延期) decided on, by lead unit: granted or refused",
        ["region", "unit", "decision"],
        figures.extensions,
    )
    yield _counter(
        "banjie_redispatches",
        "Tickets that went from one unit to another (改派)",
        ["region"],
        figures.redispatches,
    )
    yield _Family(
        "banjie_resolve_working_seconds",
        "histogram",
        "Working time from the start of the clock to the resolution (办结), without pauses",
        ["region", "channel"],
        _histogram(figures.worked),
    )
    yield _gauge(
        "banjie_oldest_overdue_seconds",
        "How long the oldest overdue milestone has been overdue (超期)",
        ["region", "unit"],
        [(labels, (at - due_at).total_seconds()) for labels, due_at in figures.oldest_overdue],
    )
    yield _gauge(
        "banjie_calendar_days_left",
        "Days until the published calendar ends (节假日安排)",
        [],
        [((), calendar_days_left)],
    )
    yield _gauge(
        "banjie_source_last_success_seconds",
        "How long ago the list of a source was last read to its end",
        ["source"],
        [(labels, max(0.0, (at - done).total_seconds())) for labels, done in figures.caught_up],
    )
    yield _gauge(
        "banjie_source_failures",
        "How often reading the list of a source has failed in a row",
        ["source"],
        figures.poll_failures,
    )
    yield _gauge(
        "banjie_source_rejected_rows",
        "Rows of a source's list that could not become tickets and wait",
        ["source"],
        figures.rejected,
    )
    behind = (at - figures.next_step).total_seconds() if figures.next_step else 0
    yield _gauge(
        "banjie_scheduler_lag_seconds",
        "How long the earliest due stage change has been waiting",
        [],
        [((), max(0.0, behind))],
    )
    counted = dict.fromkeys(DeliveryState, 0) | {
        DeliveryState(labels[0]): count for labels, count in figures.deliveries
    }
    yield _gauge(
        "banjie_deliveries",
        "Deliveries to outside systems (投递), by how far they came",
        ["state"],
        [((state,), count) for state, count in counted.items()],
    )
    waits = (at - figures.oldest_delivery).total_seconds() if figures.oldest_delivery else 0
    yield _gauge(
        "banjie_outbox_oldest_seconds",
        "How long the oldest delivery that is not settled has been waiting",
        [],
        [((), max(0.0, waits))],
    )


def _histogram(
    rows: Sequence[tuple[Labels, Worked]],
) -> Iterator[tuple[str, Labels, str, float]]:
    for labels, took in rows:
        for most, count in zip(WORKED_S, took.up_to, strict=True):
            yield "_bucket", labels, f'le="{float(most)}"', count
        yield "_bucket", labels, 'le="+Inf"', took.count
        yield "_count", labels, "", took.count
        yield "_sum", labels, "", took.sum_s


def _counter(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Labels, float]]
) -> _Family:
    samples = (("", values, "", count) for values, count in rows)
    return _Family(f"{name}_total", "counter", text, labels, samples)


def _gauge(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Labels, float]]
) -> _Family:
    return _Family(name, "gauge", text, labels, (("", values, "", count) for values, count in rows))
