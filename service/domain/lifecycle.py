"""What may happen to a ticket (工单), and what follows: one table."""

from enum import StrEnum
from functools import cache


class State(StrEnum):
    """Where a ticket stands."""

    RECEIVED = "received"  # 已受理
    SORTING = "sorting"  # 待人工派单
    DISPATCHED = "dispatched"  # 已派单，待签收
    SIGNED = "signed"  # 已签收，办理中
    PAUSED = "paused"  # 挂起
    RESOLVED = "resolved"  # 已办结，待回访
    CLOSED = "closed"  # 已结案
    NOT_ACCEPTED = "not_accepted"  # 不予受理
    REFERRED = "referred"  # 已转紧急专线
    MERGED = "merged"  # 已并单


class Act(StrEnum):
    """What a person does to a ticket."""

    DISPATCH = "dispatch"  # 派单, 改派
    SIGN = "sign"  # 签收
    SEND_BACK = "send_back"  # 退单
    RULE = "rule"  # 裁定
    CONTACT = "contact"  # 首次联系
    REQUEST_EXTENSION = "request_extension"  # 申请延期
    DECIDE_EXTENSION = "decide_extension"  # 审批延期
    PAUSE = "pause"  # 挂起
    RESUME = "resume"  # 恢复办理
    RESOLVE = "resolve"  # 办结
    CALL_BACK = "call_back"  # 回访
    CLOSE = "close"  # 结案
    REOPEN = "reopen"  # 重办
    MERGE = "merge"  # 并单
    SUPERVISE = "supervise"  # 督办
    RECLASSIFY = "reclassify"  # 更正分类
    NOTE = "note"  # 备注
    CHECK = "check"  # 抽查


_WORKED = (State.SORTING, State.DISPATCHED, State.SIGNED)

MOVES: dict[tuple[State, Act], State] = {
    (State.RECEIVED, Act.DISPATCH): State.DISPATCHED,
    (State.SORTING, Act.DISPATCH): State.DISPATCHED,
    (State.DISPATCHED, Act.DISPATCH): State.DISPATCHED,
    (State.SIGNED, Act.DISPATCH): State.DISPATCHED,
    # A person may overrule the router's refusal or referral: nothing is lost for good.
    (State.NOT_ACCEPTED, Act.DISPATCH): State.DISPATCHED,
    (State.REFERRED, Act.DISPATCH): State.DISPATCHED,
    (State.DISPATCHED, Act.SIGN): State.SIGNED,
    (State.DISPATCHED, Act.SEND_BACK): State.SORTING,
    (State.SIGNED, Act.SEND_BACK): State.SORTING,
    (State.SORTING, Act.RULE): State.DISPATCHED,
    (State.SIGNED, Act.CONTACT): State.SIGNED,
    (State.SIGNED, Act.REQUEST_EXTENSION): State.SIGNED,
    (State.SIGNED, Act.DECIDE_EXTENSION): State.SIGNED,
    (State.SIGNED, Act.PAUSE): State.PAUSED,
    (State.PAUSED, Act.RESUME): State.SIGNED,
    (State.SIGNED, Act.RESOLVE): State.RESOLVED,
    (State.RESOLVED, Act.CALL_BACK): State.RESOLVED,
    (State.RESOLVED, Act.CLOSE): State.CLOSED,
    (State.RESOLVED, Act.REOPEN): State.DISPATCHED,
    (State.CLOSED, Act.REOPEN): State.DISPATCHED,
    # A second look (抽查) changes nothing: what follows from it is a redo.
    (State.CLOSED, Act.CHECK): State.CLOSED,
    **{(state, Act.MERGE): State.MERGED for state in _WORKED},
    **{(state, Act.SUPERVISE): state for state in (*_WORKED, State.PAUSED)},
    **{(state, Act.RECLASSIFY): state for state in (*_WORKED, State.PAUSED)},
    **{(state, Act.NOTE): state for state in State},
}

# What an assisting unit (协办) may do; the ticket stays where its lead has it.
ASSISTS: frozenset[tuple[State, Act]] = frozenset(
    {
        (State.DISPATCHED, Act.SIGN),
        (State.SIGNED, Act.SIGN),
        (State.DISPATCHED, Act.RESOLVE),
        (State.SIGNED, Act.RESOLVE),
        *((state, Act.NOTE) for state in State),
    }
)

# States in which nobody owes anything any more.
FINISHED = frozenset({State.CLOSED, State.NOT_ACCEPTED, State.REFERRED, State.MERGED})


class IllegalMove(Exception):
    """The ticket's state does not allow the act. Carries what it does allow."""

    def __init__(self, state: State, act: Act) -> None:
        super().__init__(f"{state} does not allow {act}")
        self.state = state
        self.act = act
        self.allowed = allowed(state)


def move(state: State, act: Act, *, assisting: bool = False) -> State:
    """Return the state that follows, or raise IllegalMove. `assisting` is an act of an assisting
    unit."""
    if assisting:
        if (state, act) not in ASSISTS:
            raise IllegalMove(state, act)
        return state
    try:
        return MOVES[state, act]
    except KeyError:
        raise IllegalMove(state, act) from None


@cache
def allowed(state: State) -> tuple[Act, ...]:
    """Return the acts that a state allows, in the order of a ticket's life."""
    return tuple(act for act in Act if (state, act) in MOVES)
