"""A proposal (提议) to the responsible-unit table: a duty's words for a unit, or another name of one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from service.domain.personal import OF_THE_PERSON, find
from service.domain.ports import FieldProblem

_MOST_WORDS = 30
_MOST_PAIRS = 10
_MOST_EXAMPLES = 5
_WORD_CHARS = 20
_NAME_CHARS = 40
_EXAMPLE_CHARS = 200
_REASON_CHARS = 200
_Said = Callable[[str, str], None]  # of a field, what is wrong with it
_PERSONAL = "请删去电话、证件号等个人信息：规则会写进文件，人人可见"


class Sort(StrEnum):
    """What is proposed."""

    DUTY = "duty"  # 职责
    ALIAS = "alias"  # 别名


class Standing(StrEnum):
    """How a proposal stands."""

    WAITING = "waiting"  # 待定
    ACCEPTED = "accepted"  # 已同意
    REFUSED = "refused"  # 不同意
    WITHDRAWN = "withdrawn"  # 已撤回


# What may follow on what; a withdrawal is a decision of its own.
FOLLOWS = {
    Standing.ACCEPTED: Standing.WAITING,
    Standing.REFUSED: Standing.WAITING,
    Standing.WITHDRAWN: Standing.ACCEPTED,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decided of a proposal, and why."""

    standing: Standing
    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """That `words` (or the parts of one of `pairs` near each other) mean a duty `name` of `unit` in
    `region`, or that `name` is another name of `unit`, whose region it is then.

    `words` and the parts of `pairs` are as in a rule file. `decisions` are all, the first first.
    """

    sort: Sort
    unit: str
    region: str
    name: str
    reason: str
    author: str
    at: datetime
    words: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    standing: Standing = Standing.WAITING
    decisions: tuple[Decision, ...] = field(default=())
    id: int = 0  # 0 until stored

    @property
    def agreed(self) -> Decision | None:
        """Return who agreed last, None while nobody has."""
        said = [each for each in self.decisions if each.standing is Standing.ACCEPTED]
        return said[-1] if said else None


def one_line(text: str) -> str:
    """Return a text on one line, without what a file of rules cannot hold."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


def faults(proposal: Proposal) -> list[FieldProblem]:
    """Return what is wrong with what was filled in, whatever the rules say to it."""
    told: list[FieldProblem] = []

    def said(field: str, detail: str) -> None:
        told.append(FieldProblem(f"/{field}", detail))

    _one(proposal.name, _NAME_CHARS, "name", said)
    _one(proposal.reason, _REASON_CHARS, "reason", said)
    if proposal.sort is Sort.DUTY:
        if not proposal.words and not proposal.pairs:
            said("words", "词和组合至少填一项")
        for word in proposal.words:
            if fault := _word(word):
                said("words", fault)
        _few(proposal.words, _MOST_WORDS, "words", said)
        for pair in proposal.pairs:
            parts = pair.split()
            if len(parts) < 2:
                said("pairs", f"每行至少两个词，用空格隔开，现为“{pair[:_WORD_CHARS]}”")
            for word in (word for part in parts for word in part.split("|")):
                if not word or not any(map(str.isalnum, word)) or len(word) > _WORD_CHARS:
                    said("pairs", f"“{word[:_WORD_CHARS]}”不是一个词")
        _few(proposal.pairs, _MOST_PAIRS, "pairs", said)
        if not proposal.examples:
            said("examples", "请至少写一句群众会说的话，用来检查会不会派对")
        for example in proposal.examples:
            if len(example) > _EXAMPLE_CHARS:
                said("examples", f"每句最多 {_EXAMPLE_CHARS} 字")
        _few(proposal.examples, _MOST_EXAMPLES, "examples", said)
    for name, texts in (
        ("name", (proposal.name,)),
        ("reason", (proposal.reason,)),
        ("words", proposal.words),
        ("pairs", proposal.pairs),
        ("examples", proposal.examples),
    ):
        if any(found.sort in OF_THE_PERSON for text in texts for found in find(text)):
            said(name, _PERSONAL)
    return told


def reason_faults(reason: str) -> list[FieldProblem]:
    """Return what is wrong with the reason of a decision."""
    told: list[FieldProblem] = []
    _one(
        reason, _REASON_CHARS, "reason", lambda at, text: told.append(FieldProblem(f"/{at}", text))
    )
    if any(found.sort in OF_THE_PERSON for found in find(reason)):
        told.append(FieldProblem("/reason", _PERSONAL))
    return told


def _one(text: str, most: int, field: str, said: _Said) -> None:
    if not text:
        said(field, "不能为空")
    elif len(text) > most:
        said(field, f"最多 {most} 字")


def _few(texts: Sequence[str], most: int, field: str, said: _Said) -> None:
    if len(texts) > most:
        said(field, f"最多 {most} 个，现为 {len(texts)} 个")


def _word(word: str) -> str:
    """Return what is wrong with a word that is to speak by itself, "" if nothing."""
    if not any(map(str.isalnum, word)):
        return f"“{word[:_WORD_CHARS]}”不是一个词"
    if len(word) < 2:
        return f"“{word}”只有一个字，会在太多诉求里出现；请写两个字以上，或写成组合"
    if len(word) > _WORD_CHARS:
        return f"“{word[:_WORD_CHARS]}…”太长，每个词最多 {_WORD_CHARS} 字"
    return ""
