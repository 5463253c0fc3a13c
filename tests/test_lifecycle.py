"""The table of moves, and who may do what."""

import pytest

from service.domain.access import GRANTS, Actor, Ask, Forbidden, Reach, Role, check_act, sees
from service.domain.lifecycle import FINISHED, MOVES, Act, IllegalMove, State, allowed, move
from service.domain.region import covers, parents


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("act", list(Act))
def test_an_act_moves_as_the_table_says_or_is_refused_with_what_is_allowed(
    state: State, act: Act
) -> None:
    if (state, act) in MOVES:
        assert move(state, act) is MOVES[state, act]
        assert act in allowed(state)
        return
    with pytest.raises(IllegalMove) as refused:
        move(state, act)
    assert refused.value.allowed == allowed(state)
    assert act not in refused.value.allowed


def test_a_ticket_can_walk_from_dispatch_to_close_and_back_for_a_redo() -> None:
    state = State.SORTING
    for act in (Act.DISPATCH, Act.SIGN, Act.CONTACT, Act.RESOLVE, Act.CALL_BACK, Act.CLOSE):
        state = move(state, act)
    assert state is State.CLOSED
    assert move(state, Act.REOPEN) is State.DISPATCHED


def test_every_state_can_be_left_or_is_finished() -> None:
    left = {
        state for (state, act), after in MOVES.items() if after is not state or act is not Act.NOTE
    }
    assert set(State) - left - FINISHED == set()


def test_every_act_has_its_roles_and_no_source_or_auditor_acts() -> None:
    assert set(GRANTS) == {*Act, *Ask}
    for act in Act:
        assert not GRANTS[act].keys() & {Role.SOURCE, Role.AUDITOR, Role.METRICS}


def test_an_auditor_sees_masked_what_it_sees_and_a_metrics_reader_only_metrics() -> None:
    assert [what for what, roles in GRANTS.items() if Role.METRICS in roles] == [Ask.METRICS]
    for what, roles in GRANTS.items():
        # The heads of the chain tell of no ticket: there is nothing to mask.
        plain = {Reach.REGION} if what is Ask.AUDIT else set()
        assert roles.get(Role.AUDITOR, Reach.MASKED) in {Reach.MASKED, Reach.ALL} | plain


@pytest.mark.parametrize(
    ("role", "act", "may"),
    [
        (Role.HANDLER, Act.SIGN, True),
        (Role.HANDLER, Act.DISPATCH, False),
        (Role.HANDLER, Act.CLOSE, False),
        (Role.DISPATCHER, Act.DISPATCH, True),
        (Role.DISPATCHER, Act.RESOLVE, False),
        (Role.AUDITOR, Act.NOTE, False),
        (Role.ADMIN, Act.RESOLVE, True),
    ],
)
def test_a_role_may_act(role: Role, act: Act, *, may: bool) -> None:
    if may:
        check_act(Actor("某人", role), act)
        return
    with pytest.raises(Forbidden):
        check_act(Actor("某人", role), act)


@pytest.mark.parametrize(
    ("outer", "inner", "inside"),
    [
        ("", "360732", True),
        ("360000", "360732", True),
        ("360700", "360732", True),
        ("360732", "360732", True),
        ("360732", "360732101", True),
        ("360732", "360733", False),
        ("360300", "360732", False),
        ("440000", "360732", False),
    ],
)
def test_a_region_covers_what_lies_in_it(outer: str, inner: str, *, inside: bool) -> None:
    assert covers(outer, inner) is inside


def test_the_regions_around_a_county_come_nearest_first() -> None:
    assert parents("360732") == ("360732", "360700", "360000")
    assert parents("360000") == ("360000",)


@pytest.mark.parametrize(
    ("actor", "visible"),
    [
        (Actor("管理员", Role.ADMIN), True),
        (Actor("审计", Role.AUDITOR, region="360700"), True),
        (Actor("督办", Role.SUPERVISOR, region="360300"), False),
        (Actor("主办", Role.HANDLER, units=("a",)), True),
        (Actor("协办", Role.HANDLER, units=("b",)), True),
        (Actor("别家", Role.HANDLER, units=("c",)), False),
        (Actor("热线", Role.SOURCE, source="hotline-12345"), True),
        (Actor("论坛", Role.SOURCE, source="wenzheng-jiangxi"), False),
    ],
    ids=lambda value: value.name if isinstance(value, Actor) else str(value),
)
def test_a_ticket_exists_only_for_whom_it_concerns(actor: Actor, *, visible: bool) -> None:
    assert sees(actor, region="360732", units=("a", "b"), source="hotline-12345") is visible
