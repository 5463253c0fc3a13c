"""What the contract suite needs to know of each channel. A new adapter is held to it by one line in
CHANNELS; what a channel has besides goes into its tables."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from adapters.fakes import MemoryGazetteer
from adapters.sources import ADAPTERS, load_sources
from service.domain.complaint import Complaint
from service.domain.ports import PayloadRejected, Source

SAMPLES = Path(__file__).with_name("samples")
SOURCES = load_sources()


@dataclass(frozen=True)
class Channel:
    """What the suite needs to know of a channel; names are the canonical ones."""

    name: str
    number: str
    at: str
    region: str  # the field that is asked for if there is none
    prose: str  # a required text, and the field HTML may come in
    required: frozenset[str] = (
        frozenset()
    )  # asked for besides number, time and region; none is prose
    limits: Mapping[str, int] = field(default_factory=dict)
    wrong: Mapping[str, object] = field(default_factory=dict)  # a wrong type or value a field
    samples: str = ""  # the channel whose payloads it is tried with, if it has none of its own

    @property
    def source(self) -> Source:
        return SOURCES[self.name]

    def payloads(self) -> list[dict[str, Any]]:
        text = (SAMPLES / f"{self.samples or self.name}.json").read_text(encoding="utf-8")
        found: list[dict[str, Any]] = json.loads(text)
        return found

    def sample(self, index: int = 0) -> dict[str, Any]:
        return self.payloads()[index]

    def read(self, payload: Mapping[str, Any], source: Source | None = None) -> Complaint:
        adapter = ADAPTERS[self.source.adapter](MemoryGazetteer())
        return adapter.complaint(payload, source or self.source)

    def faults(self, payload: Mapping[str, Any], source: Source | None = None) -> dict[str, str]:
        with pytest.raises(PayloadRejected) as caught:
            self.read(payload, source)
        return {problem.pointer: problem.detail for problem in caught.value.problems}


HOTLINE = Channel(
    name="hotline-12345",
    number="workOrderNo",
    at="acceptTime",
    region="areaCode",
    prose="content",
    limits={
        "workOrderNo": 64,
        "title": 200,
        "content": 20_000,
        "address": 500,
        "contactName": 100,
        "contactPhone": 50,
        "relatedNo": 64,
    },
    wrong={
        "workOrderNo": {"no": 1},
        "title": 7,
        "content": ["来电"],
        "acceptTime": 1_795_000_000,
        "areaCode": True,
        "address": {},
        "appealTypeName": 3,
        "urgency": ["一般"],
        "category": [1, 2],
        "contactName": 5,
        "contactPhone": [138],
        "gender": 1,
        "anonymous": "也许",
        "confidential": 2,
        "replyDeadline": "2026-11-25",
        "relatedNo": 1.5,
        "attachments": 7,
    },
)
WENZHENG = Channel(
    name="wenzheng-jiangxi",
    number="receiptno",
    at="posttime",
    region="areaName",
    prose="content",
    limits={
        "receiptno": 64,
        "title": 200,
        "content": 20_000,
        "nickname": 100,
        "contactPhone": 50,
    },
    wrong={
        "receiptno": False,
        "title": {},
        "content": 12,
        "posttime": "前天晚上",
        "areaName": ["兴国县"],
        "nickname": 0,
        "stage": 1,
        "superviseTime": "2026-02-30 10:00:00",
        "processtime": {"at": "2026-11-24"},
        "contactPhone": True,
        "urgency": 2,
    },
)
HAOCHAPING = Channel(
    name="haochaping",
    number="evaluateId",
    at="assessTime",
    region="areaCode",
    prose="writingEvaluation",
    required=frozenset({"satisfaction", "proDepart"}),
    limits={
        "evaluateId": 64,
        "proDepart": 100,
        "taskName": 150,
        "taskCode": 64,
        "writingEvaluation": 20_000,
        "userName": 100,
        "contactPhone": 50,
    },
    wrong={
        "evaluateId": ["HCP"],
        "areaCode": ["360732"],
        "deptCode": {},
        "proDepart": 3,
        "taskName": True,
        "projectNo": [1],
        "pf": False,
        "satisfaction": "6",
        "writingEvaluation": 1,
        "assessTime": "20261119",
        "assessNumber": "第一次",
        "userName": {},
        "contactPhone": 1.5,
    },
)
MAILBOX = replace(HOTLINE, name="governor-mailbox", samples=HOTLINE.name)
SUGGESTED = replace(HOTLINE, name="supervisor-suggestion", samples=HOTLINE.name)
EXPOSED = replace(
    WENZHENG,
    name="tv-exposure",
    samples=WENZHENG.name,
    wrong={name: value for name, value in WENZHENG.wrong.items() if name != "superviseTime"},
)
CHANNELS = [
    HOTLINE,
    WENZHENG,
    HAOCHAPING,
    replace(WENZHENG, name="wenzheng-ganzhou", samples=WENZHENG.name),
    MAILBOX,
    replace(HOTLINE, name="shishi-yiren", samples=HOTLINE.name),
    replace(HOTLINE, name="youqiu-biying", samples=HOTLINE.name),
    SUGGESTED,
    EXPOSED,
]
