"""The proof that every ticket has a limit, and that no row is there in vain."""

from dataclasses import replace

import pytest

from adapters.sources import load_sources
from routing_rules.clock_check import World, prove
from routing_rules.clocks import load_timetable
from service.domain.complaint import Kind
from service.domain.limits import Limits
from service.domain.policy import Policies
from service.domain.scope import Origin, Scope, Status
from service.domain.ticket import MilestoneKind

TIMES = load_timetable()
WORLD = World(
    frozenset({"xinfang", *(source.channel for source in load_sources().values())}),
    frozenset({"360000", "360100", "360102", "360732", "360900", "360902"}),
    frozenset({("兴五型办字〔2021〕4号", "4"), ("2021年全市“五型”政府建设工作要点", "9")}),
)


def with_rows(*scopes: Scope) -> Limits:
    """The shipped limits with rows like the first one to resolve for other scopes."""
    rules = TIMES.limits.rules
    usual = next(r for r in rules if r.milestone is MilestoneKind.RESOLVE)
    more = [
        replace(usual, origin=Origin(Status.DEFAULT, f"新增{n}", s)) for n, s in enumerate(scopes)
    ]
    return replace(TIMES.limits, rules=(*rules, *more))


def test_the_shipped_rows_hold_for_every_combination_and_none_is_dead() -> None:
    proof = prove(TIMES, WORLD)
    assert proof.findings == ()
    # Channels and one of no row, kinds, urgencies, classes of regions, and no clause or one of two.
    assert proof.tried == (len(WORLD.channels) + 1) * 6 * 3 * 3 * 3


@pytest.mark.parametrize(
    ("scopes", "code"),
    [
        ([Scope(region="369999")], "unknown-region"),
        ([Scope(channel="fax")], "unknown-channel"),
        ([Scope(document="没有的文件", item="1")], "unknown-clause"),
        ([Scope(document="兴五型办字〔2021〕4号", item="40")], "unknown-clause"),
    ],
)
def test_a_row_for_what_there_is_not_is_found(scopes: list[Scope], code: str) -> None:
    found = prove(replace(TIMES, limits=with_rows(*scopes)), WORLD).findings
    assert code in {finding.code for finding in found}


def test_a_row_that_others_cover_whole_is_found_dead() -> None:
    kinds = [Scope(kind=kind, channel="haochaping") for kind in Kind]
    limits = with_rows(Scope(channel="haochaping", region="360100"), *kinds)
    found = prove(replace(TIMES, limits=limits), WORLD).findings
    dead = {finding.rule for finding in found if finding.code == "dead-row"}
    assert dead == {"新增0", "外地差评整改时限 5 个工作日（国办发〔2019〕51号未定时限）"}


def test_a_combination_without_a_limit_or_a_policy_is_found() -> None:
    rules = tuple(r for r in TIMES.limits.rules if r.milestone is not MilestoneKind.CALL_BACK)
    found = prove(replace(TIMES, limits=replace(TIMES.limits, rules=rules)), WORLD).findings
    assert {f.code for f in found} == {"no-limit"}
    bare = prove(replace(TIMES, policies=Policies(TIMES.policies.rows[1:])), WORLD).findings
    assert {f.code for f in bare} == {"no-policy"}
