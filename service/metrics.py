"""Every Prometheus series by name. Figures about tickets come from the store, so that a restart or
a second replica never skews them; only requests are counted in the process."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from service.domain.ticket import DeliveryState
from service.store.figures import WORKED_S, Figures, Labels

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
        stored = CollectorRegistry()
        set_back = _counter(
            "banjie_clock_set_back",
            "How often the clock of this machine was set back",
            [],
            [((), self._set_back)],
        )
        stored.register(_Stored([*_families(figures, at, calendar_days_left), set_back]))
        return generate_latest(stored) + generate_latest(self._registry)


class _Stored(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(figures: Figures, at: datetime, calendar_days_left: int) -> Iterable[Metric]:
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
    worked = HistogramMetricFamily(
        "banjie_resolve_working_seconds",
        "Working time from the start of the clock to the resolution (办结), without pauses",
        labels=["region", "channel"],
    )
    for labels, took in figures.worked:
        up_to = zip(map(float, WORKED_S), took.up_to, strict=True)
        buckets = [(str(most), count) for most, count in up_to]
        worked.add_metric(labels, [*buckets, ("+Inf", took.count)], took.sum_s)
    yield worked
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


def _counter(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Labels, float]]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in rows:
        family.add_metric(values, count)
    return family


def _gauge(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Labels, float]]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, count in rows:
        family.add_metric(values, count)
    return family
