"""Which unit answers a complaint, and why: the rulebook."""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from routing_rules.clauses import Clause, number, read_clauses
from routing_rules.gazetteer import DATA, Gazetteer, Mention, level, load_gazetteer
from routing_rules.learn import DECISION, Heard, Model, load_model
from routing_rules.signals import (
    SIGNAL_KEYS,
    Hit,
    Matcher,
    Signals,
    read_concepts,
    read_signals,
    split,
)
from routing_rules.table import TERRITORY, UnitTable, load_table
from routing_rules.text import plain
from routing_rules.yamlfile import Row, RuleFileError, parse, read
from service.domain.complaint import (
    Basis,
    Candidate,
    Complaint,
    Decision,
    Evidence,
    EvidenceKind,
    Kind,
    Review,
    Route,
    UnitRef,
    Urgency,
)
from service.domain.ports import Duty, Unit
from service.domain.region import covers

_RULE_KEYS = (
    *("id", "name", "line", "assist", "cites", "examples", "region", "proposed"),
    *SIGNAL_KEYS,
)
_GATE_KEYS = (
    *("id", "name", "decision", "hotline", "line", "assist", "reason", "examples"),
    *SIGNAL_KEYS,
)


# What is read of a text, in characters: a matter is told well before, and whoever sends more must
# not hold up the others. The whole text is stored and shown all the same.
ROUTED_CHARS = 4_000
_LOOKED_AT = 16  # rules; those behind them never lead
_HEARD_AT = 4  # columns of the model; those behind them never lead
_UNHEARD = -1.2  # the model's score of a unit it never learnt of
_ASSIST_MOST = 3  # a clause that names more is everybody's
_RULED_BY = 3  # words of a ruling: two catch what is not meant, four hardly anything again
ACCUSATION = "accusation"  # the model's decision on a text that accuses a unit
TOPIC = "topic:"  # begins the model's label of a topic of the documents
TERRITORY_LINE = "territory"  # stands for a line where the place decides (属地)
_REVIEW_GRAVE = 2.0  # an anonymous bad mark says more than it can know: it takes twice the words
_LONG = 220  # characters from which a text may well name its points one by one
_ELSEWHERE = "事项发生在本省以外，请向当地12345反映"
# Whose matter it is: an institution over there that those here are asked to move.
_OVER_THERE = re.compile(
    r"[^,。;!?]{0,8}?(?:局|物业|医院|公司|工厂|厂|学校|学位|法院|小区|开发商|老板|政府|12345|派出所|房子|楼盘"
    r"|商家|店|驾校|房东|中介|银行|社区|工地|那边|那里|当地)"
)
_ASKS_HERE = re.compile(
    r"你们|咱们|家乡|老家|江西|能不能(?:帮|管)|能否|可不可以|帮我(?:找|催|反映|管|协调|出面|问)|帮忙|出面"
)
_COMES_HOME = re.compile(
    r"回来|转回|迁回|转移|异地|报销|备案|回老家|回家|返乡|驾驶证|换证|身份证|户口|招商|来投资|落户|转诊|转入"
)
_TOO_LITTLE = 8  # known characters and pairs; a text of fewer, and of no rule's word, says nothing
_UNCLEAR = "诉求内容不明确，需人工联系核实或拆分"
_NOT_OURS = "不属于政府服务热线受理范围，请通过法定途径或向有关方面反映"
# Each alternative begins with a letter of its own: `re` then passes over all others at a stroke.
_NEXT_MATTER = re.compile(
    r"另外(?=我|,|还|想|问|有|你)|还有(?!一个多|几天|多久|没|人|什么|老人|孩子|的)|再一个|再就是|再有|对了"
    r"|第[一二三四五](?![期任章条次年届代批阶轮遍天名位季页任套家])|一是|二是|三是|四是|五是|;"
)


@dataclass(frozen=True, slots=True)
class Cite:
    """An item of a policy document that settles a topic; `line` leads there, "" for the topic's."""

    region: str
    item: str
    line: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A duty (职责), or a topic of the documents when it has `cites`: these words mean this line.

    `region` is "" for a rule that holds everywhere.
    """

    code: str
    name: str
    line: str
    assist: tuple[str, ...]
    cites: tuple[Cite, ...]
    region: str
    signals: Signals
    examples: tuple[str, ...]
    file: Path
    at_line: int
    unit: str = ""  # a precedent's unit, which may be another than the line's
    document: str = ""  # what a precedent rests on
    proposed: str = ""  # by whom, who agreed, when and why; "" for what the files came with


@dataclass(frozen=True, slots=True)
class Precedent:
    """A ruling (裁定) on which unit answers: where its words all stand near each other, it counts.

    `words` are two to four of the ruled complaint's words; `document` is what the ruling cites.
    """

    code: str
    name: str
    region: str
    unit: str
    words: tuple[str, ...]
    document: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """What is settled before a unit is looked for: an emergency, not accepted, a person must read."""

    code: str
    name: str
    decision: Decision
    hotline: str
    line: str
    assist: tuple[str, ...]
    reason: str
    signals: Signals
    local: bool  # of the county's own folder
    examples: tuple[str, ...]
    file: Path
    at_line: int


@dataclass(frozen=True, slots=True)
class Tuning:
    """The numbers of the scoring (tuning.yaml)."""

    threshold: float  # confidence below which a person sorts
    part: float  # score from which a part of a text is a demand of its own
    accuse: float  # score from which words in a review accuse its unit
    topic_bonus: float
    # What a ruling, and a row of the county's own folder, count above what was learnt elsewhere.
    ruled: float
    local: float
    # Fitted on invented cases (bench/fit_model.py): what the words of the rules and the learned
    # model count beside each other, as logarithms of odds.
    lead_rule: float
    lead_model: float
    lead_bias: float
    lead_best: float
    lead_margin: float
    emergency_bias: float
    emergency_gate: float
    emergency_model: float
    emergency_flag: float  # the caller calls it one
    refuse_bias: float
    refuse_gate: float
    refuse_model: float
    refuse_rule: float
    accuse_bias: float
    accuse_gate: float
    accuse_model: float
    accuse_report: float
    unclear_bias: float
    unclear_gate: float
    unclear_model: float
    unclear_rule: float


class Rulebook:
    """Fulfils `service.domain.ports.Router`; read-only after loading."""

    def __init__(
        self,
        gazetteer: Gazetteer,
        table: UnitTable,
        rules: Sequence[Rule],
        gates: Sequence[Gate],
        accusation: Signals,
        tuning: Tuning,
        landmarks: Sequence[str],
        clauses: Sequence[Clause],
        model: Model,
        digest: str,
    ) -> None:
        self.gazetteer = gazetteer
        self.table = table
        self.rules = tuple(rules)
        self.gates = tuple(gates)
        self.tuning = tuning
        self.digest = digest
        self.matcher = Matcher(
            [
                *(rule.signals for rule in rules),
                *(gate.signals for gate in gates),
                accusation,
            ],
            landmarks,
            doubted=len(rules),
        )
        self._model = model
        self._decision = {
            label.removeprefix(DECISION): place
            for place, label in enumerate(model.labels)
            if label.startswith(DECISION)
        }
        topics = {f"{TOPIC}{rule.code}": place for place, rule in enumerate(rules)}
        # What a column of the model means: a rule's place for a topic, else a line; None leads no one.
        self._means: list[int | str | None] = [
            topics.get(label, None if label.startswith((DECISION, TOPIC)) else label)
            for label in model.labels
        ]
        self._sounding: dict[str, _Sounding] = {}
        # The matcher counts the gates on behind the rules, and the accusation behind the gates.
        self._gate_of = dict(enumerate(gates, len(rules)))
        self._accusation = len(rules) + len(gates)
        self._accused = accusation
        self._regional = frozenset(place for place, rule in enumerate(rules) if rule.region)
        self._rulings = frozenset(place for place, rule in enumerate(rules) if rule.unit)
        # What a rule means in a region never changes: worked out once, when first asked.
        self._here: dict[tuple[int, str], tuple[Unit | None, str, float]] = {}
        self._assists: dict[tuple[int, str], tuple[UnitRef, ...]] = {}
        self._grounds: dict[tuple[int, str, str], _Ground] = {}
        self._preferred = [self._preference(rule) for rule in rules]
        self._landmarks = tuple(landmarks)
        self._names = _UnitNames(table)
        self.clauses = {(clause.region, clause.key): clause for clause in clauses}
        self._named = {place: _named(clause, table) for place, clause in self.clauses.items()}

    def with_precedents(self, precedents: Sequence[Precedent]) -> "Rulebook":
        """Return a rulebook that also knows these rulings, with a digest of its own.

        Raises ValueError for a ruling with fewer than two words or an unknown unit.
        """
        digest = hashlib.sha256(self.digest.encode())
        digest.update(repr(tuple(precedents)).encode())
        made = [_ruled(precedent, self.table) for precedent in precedents]
        return Rulebook(
            self.gazetteer,
            self.table,
            [*self.rules, *made],
            self.gates,
            self._accused,
            self.tuning,
            self._landmarks,
            tuple(self.clauses.values()),
            self._model,
            digest.hexdigest(),
        )

    def refuses(self, precedent: Precedent) -> str:
        """Return why a ruling cannot be a precedent here, "" if it can."""
        try:
            _ruled(precedent, self.table)
        except ValueError as error:
            return str(error)
        return ""

    def ruling_words(self, complaint: Complaint) -> tuple[str, ...]:
        """Return the two or three words by which a ruling (裁定) on a complaint is found again, () where
        the rules know too few of its words.

        Words that the rules listen for, so that none is anybody's name: first those that spoke for
        the likeliest rules. They stand beside each other, as the words of a precedent must.
        """
        title = _routed(complaint.title)
        text = f"{title}。{_routed(complaint.content)}"
        spans = self.matcher.places(text)
        told = (
            word
            for hit in self.matcher.hits(text, len(title))
            if hit.rule < len(self.rules) and hit.score > 0
            for term in hit.terms
            for word in term.split("…")
        )
        others = sorted((word for word in spans if len(word) > 1), key=len, reverse=True)
        chosen: dict[str, tuple[int, int]] = {}
        for word in (*told, *others):
            free = (
                (start, end)
                for start, end in spans.get(word, ())
                if all(end <= left or right <= start for left, right in chosen.values())
            )
            if word not in chosen and (place := next(free, None)):
                chosen[word] = place
            if len(chosen) == _RULED_BY:
                break
        return tuple(chosen) if len(chosen) > 1 else ()

    # --- the table's answers, for the desk

    def unit(self, code: str) -> Unit | None:
        """Return the unit with this code, or None."""
        return self.table.unit(code)

    def units(self, region: str | None = None) -> Sequence[Unit]:
        """Return the units of this region and those below it, or all."""
        return self.table.units(region)

    def duties(self, region: str) -> Sequence[Duty]:
        """Return the responsible-unit table of a region: a row for each duty, topic and ruling."""
        return [
            self._duty(place, region)
            for place, rule in enumerate(self.rules)
            if not rule.region or covers(rule.region, region)
        ]

    def _duty(self, place: int, region: str) -> Duty:
        rule = self.rules[place]
        unit, _, _ = self.meant(place, region)
        ground = self._ground(rule, unit, region) if unit else None
        spoken = rule.signals
        pairs = ("…".join(part[0] for part in pair) for pair in spoken.pairs)
        return Duty(
            rule.code,
            rule.name,
            unit,
            tuple(
                ref for ref in self._assisting(place, region) if not unit or ref.unit != unit.code
            ),
            ground.document if ground else "",
            ground.items if ground else "",
            ground.why if ground else "由诉求所说地点的乡镇、街道负责（属地）",
            (*spoken.strong, *spoken.words, *spoken.weak, *pairs),
            rule.examples,
        )

    def coordinator(self, region: str, named: str = "") -> Unit:
        """Return the unit that coordinates in a region: the one named by its line or its own code,
        or the one that runs the hotline. Raises KeyError for a name that means no unit there."""
        if not named:
            return self.table.coordinator(region)
        unit = self.table.unit(named) or self.table.line_unit(region, named)
        if unit is None:
            raise KeyError(named)
        return unit

    def named(self, name: str, region: str, on: date) -> Unit | None:
        """Return the unit that answers today for the one that bore a name on a day, or None."""
        return self.table.by_name(name, region, on)

    @property
    def terms(self) -> tuple[str, ...]:
        """Every word that a duty or topic listens for."""
        return self.matcher.terms

    # --- the decision

    def route(self, complaint: Complaint) -> Route:
        """Return where the complaint goes; pure, no I/O."""
        region = self.gazetteer.find(complaint.region)
        if region is None:
            return self._manual((), 0.0, "区划代码不明，需人工判断属地")
        title = _routed(complaint.title)
        text = f"{title}。{_routed(complaint.content)}"
        hits: list[Hit] = []
        gate_hits: list[Hit] = []
        for hit in self.matcher.hits(text, len(title)):
            rule = hit.rule
            if rule >= len(self.rules):
                gate_hits.append(hit)
            elif hit.score > 0 and (
                rule not in self._regional or covers(self.rules[rule].region, region)
            ):
                hits.append(hit)
        mentions = self.gazetteer.mentions(text, region)
        heard = self._model.hear(without_towns(text, mentions))
        stop = self._emergency(gate_hits, heard, region, complaint.urgency)
        if stop:
            return stop
        if complaint.review is not None:
            return self._review(complaint.review, region, gate_hits)
        place = _routed(complaint.place)
        accused = self._accusing(gate_hits, heard, complaint, text)
        if accused is not None:
            return self._supervised(accused, region)
        stop = self._elsewhere(place, text, region)
        stop = stop or self._not_accepted(gate_hits, heard, hits[0].score if hits else 0.0)
        if stop:
            return stop
        if place:
            mentions = self.gazetteer.mentions(place, region) + mentions
        return self._dispatched(hits, gate_hits, heard, region, _inside(region, mentions), text)

    def _dispatched(
        self,
        hits: Sequence[Hit],
        gate_hits: Sequence[Hit],
        heard: Heard,
        region: str,
        towns: Sequence[str],
        text: str,
    ) -> Route:
        """Return the route of a complaint that a unit must answer, or that a person must read."""
        unclear = self._unclear(gate_hits, heard, hits[0].score if hits else 0.0)
        unclear = unclear or self._mixed(text, region)
        candidates, assist, confidence = self._candidates(hits, heard, region, towns)
        if unclear:
            return self._manual(candidates, 0.2, unclear)
        if not candidates:
            return self._manual((), 0.0, "未能从诉求中识别出事项，需人工联系核实")
        if confidence < self.tuning.threshold:
            return self._manual(candidates, confidence, "依据不足以自动派单，请从候选单位中选择")
        lead = UnitRef(candidates[0].unit, candidates[0].name)
        assisting = tuple([ref for ref in assist if ref != lead])
        return Route(Decision.AUTO, lead, assisting, confidence, candidates, self.digest)

    # --- settled before a unit is looked for

    def _best_gate(self, hits: Sequence[Hit], decision: Decision) -> tuple[Gate, Hit] | None:
        for hit in hits:
            if hit.score <= 0:
                break
            gate = self._gate_of.get(hit.rule)
            if gate and gate.decision == decision:
                return gate, hit
        return None

    def _gate_says(self, found: tuple[Gate, Hit] | None, weight: float) -> float:
        """Return the odds that a gate's words give; a county's own row settles it."""
        if found is None:
            return 0.0
        gate, hit = found
        return weight * math.log1p(hit.score) + (self.tuning.local if gate.local else 0.0)

    def _is_over(self, hits: Sequence[Hit]) -> bool:
        """Whether words say that a danger is past or only feared."""
        return any(
            hit.against
            for hit in hits
            if (gate := self._gate_of.get(hit.rule)) and gate.decision == Decision.EMERGENCY_LINE
        )

    def _heard(self, heard: Heard, decision: str) -> float:
        column = self._decision.get(decision)
        return heard.scores.item(column) if column is not None else 0.0

    def _emergency(
        self, hits: Sequence[Hit], heard: Heard, region: str, urgency: Urgency
    ) -> Route | None:
        """Return the way to an emergency line; the caller's word counts, but never alone.

        Asked first of everything, reviews too: a life comes before the form it was told in.
        """
        found = self._best_gate(hits, Decision.EMERGENCY_LINE)
        tuning = self.tuning
        odds = (
            tuning.emergency_bias
            + self._gate_says(found, tuning.emergency_gate)
            + tuning.emergency_model * self._heard(heard, Decision.EMERGENCY_LINE)
            + tuning.emergency_flag * (urgency == Urgency.EMERGENCY and not self._is_over(hits))
        )
        if odds < 0:
            return None
        if found is None:
            return self._urgent_of_unknown_sort(region, odds)
        gate, hit = found
        unit = self.table.line_unit(region, gate.line)
        note = f"诉求中的“{'”“'.join(hit.terms)}”属{gate.name}，应立即转{gate.hotline}"
        candidates = self._single(unit, gate.line, hit, EvidenceKind.DUTY, note)
        assist = self._refs(region, gate.assist)
        lead = UnitRef(unit.code, unit.name) if unit else None
        return Route(
            Decision.EMERGENCY_LINE,
            lead,
            tuple(ref for ref in assist if ref != lead),
            0.95,
            candidates,
            self.digest,
            reason=f"{gate.name}，请立即拨打或转接{gate.hotline}",
            hotline=gate.hotline,
        )

    def _urgent_of_unknown_sort(self, region: str, odds: float) -> Route:
        """Return the way to 110, which passes on what is another line's."""
        unit = self.table.line_unit(region, "public_security")
        lead = UnitRef(unit.code, unit.name) if unit else None
        return Route(
            Decision.EMERGENCY_LINE,
            lead,
            (),
            _chance(odds),
            (),
            self.digest,
            reason="描述的是正在发生的险情，请立即拨打或转接110，由其联动119、120、122",
            hotline="110",
        )

    def _not_accepted(self, hits: Sequence[Hit], heard: Heard, best: float) -> Route | None:
        found = self._best_gate(hits, Decision.NOT_ACCEPTED)
        tuning = self.tuning
        odds = (
            tuning.refuse_bias
            + self._gate_says(found, tuning.refuse_gate)
            + tuning.refuse_model * self._heard(heard, Decision.NOT_ACCEPTED)
            + tuning.refuse_rule * math.log1p(best)
        )
        if odds < 0:
            return None
        return self._refused(found[0].reason if found else _NOT_OURS)

    def _refused(self, reason: str) -> Route:
        return Route(Decision.NOT_ACCEPTED, None, (), 0.9, (), self.digest, reason=reason)

    def _elsewhere(self, place: str, text: str, region: str) -> Route | None:
        """Return the refusal of a matter of another province: its place, or its words say so."""
        abroad = place and (self.gazetteer.outside(place) or self.gazetteer.outside(f"{place}那边"))
        if abroad and not self.gazetteer.mentions(place, region):
            return self._refused(_ELSEWHERE)
        if not _ASKS_HERE.search(text) or _COMES_HOME.search(text):
            return None
        there = self.gazetteer.outside(text)
        if there and _OVER_THERE.match(text, there.end):
            return self._refused(_ELSEWHERE)
        return None

    def _mixed(self, text: str, region: str) -> str:
        """Return why a person must split it, where its parts ask unrelated units; else ""."""
        starts = [match.start() for match in _NEXT_MATTER.finditer(text)]
        if len(starts) < (2 if len(text) < _LONG else 5):
            return ""
        lines: set[str] = set()
        edges = [0, *starts, len(text)]
        for left, right in pairwise(edges):
            hits = [h for h in self.matcher.hits(text[left:right]) if h.rule < len(self.rules)]
            if hits and hits[0].score >= self.tuning.part:
                lines.add(self._line_here(self.rules[hits[0].rule], region))
        return "包含多个互不相关的诉求，需人工拆分派单" if len(lines) >= 3 else ""

    def _unclear(self, hits: Sequence[Hit], heard: Heard, best: float) -> str:
        """Return why a person must read it, or ""."""
        found = self._best_gate(hits, Decision.MANUAL)
        tuning = self.tuning
        if len(heard.rows) < _TOO_LITTLE and best < 1.0:
            return _UNCLEAR
        odds = (
            tuning.unclear_bias
            + self._gate_says(found, tuning.unclear_gate)
            + tuning.unclear_model * self._heard(heard, Decision.MANUAL)
            + tuning.unclear_rule * math.log1p(best)
        )
        if odds < 0:
            return ""
        return found[0].reason if found else _UNCLEAR

    # --- reviews and accusations

    def _review(self, review: Review, region: str, gate_hits: Sequence[Hit]) -> Route:
        """Return a review to whom it rates (谁办理谁负责), unless it speaks of corruption."""
        unit = self.table.by_name(review.evaluated_unit, region)
        if unit is None:
            return self._manual((), 0.0, f"被评价单位“{review.evaluated_unit}”不在单位表中")
        grave = _REVIEW_GRAVE * self.tuning.accuse
        if review.is_bad and any(
            hit.rule == self._accusation and hit.score >= grave for hit in gate_hits
        ):
            return self._manual((), 0.3, "评价涉及对被评价单位的举报，需人工确定受理机关")
        note = f"好差评谁办理谁负责：被评价单位为{unit.name}"
        if proposed := self.table.proposed(unit.code, review.evaluated_unit):
            note = f"{note}（{proposed}）"
        hit = Hit(0, 10.0, ((10.0, review.evaluated_unit),))
        candidates = self._single(unit, unit.line, hit, EvidenceKind.REVIEW, note)
        reason = ""
        if not review.is_bad:
            reason = (
                "系统默认评价，只计数，不办理"
                if review.system_default
                else "非差评，只计数，不办理"
            )
        lead = UnitRef(unit.code, unit.name)
        return Route(Decision.AUTO, lead, (), 0.98, candidates, self.digest, reason=reason)

    def _accusing(
        self, hits: Sequence[Hit], heard: Heard, complaint: Complaint, text: str
    ) -> tuple[Sequence[str], frozenset[str]] | None:
        """Return the words of an accusation and the lines it accuses, or None."""
        hit = next((hit for hit in hits if hit.rule == self._accusation and hit.score > 0), None)
        tuning = self.tuning
        odds = (
            tuning.accuse_bias
            + tuning.accuse_gate * (math.log1p(hit.score) if hit else 0.0)
            + tuning.accuse_model * self._heard(heard, ACCUSATION)
            + tuning.accuse_report * (complaint.kind == Kind.REPORT)
        )
        if odds < 0:
            return None
        return hit.terms if hit else (), self._names.accused(text)

    def _supervised(self, accused: tuple[Sequence[str], frozenset[str]], region: str) -> Route:
        """Route past whoever is accused, to the side that supervises."""
        words, lines = accused
        said = f"诉求中的“{'”“'.join(words)}”" if words else "诉求"
        for place in self.gazetteer.parents(region):
            for line in ("wuxing_office", "government_office"):
                unit = self.table.line_unit(place, line)
                if unit is None or unit.region != place or line in lines:
                    continue
                note = f"{said}是对单位或人员的举报，不得转给被举报方，由负责监督的{unit.name}办理"
                citation = self.table.citation(unit.code)
                evidence = Evidence(
                    EvidenceKind.CLAUSE if citation else EvidenceKind.DUTY,
                    citation.document if citation else "",
                    "、".join(citation.items) if citation else "",
                    tuple(words),
                    Basis(unit.basis),
                    note,
                )
                chosen = Candidate(unit.code, unit.name, unit.line, 1.0, (evidence,))
                lead = UnitRef(unit.code, unit.name)
                return Route(Decision.AUTO, lead, (), 0.9, (chosen,), self.digest)
        return self._manual((), 0.3, "举报涉及监督单位自身，需人工确定受理机关")

    # --- candidates

    def _candidates(
        self, hits: Sequence[Hit], heard: Heard, region: str, towns: Sequence[str]
    ) -> tuple[tuple[Candidate, ...], tuple[UnitRef, ...], float]:
        """Return the three units that most speaks for, best first, who assists the first, and the
        chance that it is right.

        What the rules' words and what the learned model say add up as logarithms of odds; a
        candidate's score is its share of all candidates' odds, 0 to 1.
        """
        told = self.told(hits, region, towns)
        loud = heard.scores.tolist()
        sounds = self._sounds(heard, loud, told, region)
        ranked = [
            (-self._odds(told.get(code), sounds.get(code), loud), code)
            for code in {**told, **sounds}
        ]
        if not ranked:
            return (), (), 0.0
        ranked.sort()
        every = sum([math.exp(-score) for score, _ in ranked])
        candidates = tuple(
            [
                self._candidate(
                    code, math.exp(-score) / every, told.get(code), sounds.get(code), region, heard
                )
                for score, code in ranked[:3]
            ]
        )
        tuning = self.tuning
        first = -ranked[0][0]
        confidence = _chance(
            tuning.lead_bias
            + tuning.lead_best * first
            + tuning.lead_margin * (first + (ranked[1][0] if len(ranked) > 1 else 0.0))
        )
        best = ranked[0][1]
        assist = self._assisting(_first_rule(told.get(best), sounds.get(best)), region)
        if towns:
            inner = towns[0]
            lead_region = (self.table.unit(best) or _no_unit(best)).region
            body = self.table.territory(inner)
            if body and inner != lead_region and not covers(inner, lead_region):
                assist = (*assist, UnitRef(body.code, body.name))
        return candidates, tuple(dict.fromkeys(assist)), confidence

    def _odds(
        self,
        told: "_Told | None",
        sounds: tuple[int, int | str] | None,
        loud: Sequence[float],
    ) -> float:
        """Return what speaks for a unit, words and model, as a logarithm of odds."""
        tuning = self.tuning
        odds = tuning.lead_model * (loud[sounds[0]] if sounds else _UNHEARD)
        if told:
            scored = told.scored
            words = scored[0][0]
            if len(scored) > 1:
                words += 0.3 * scored[1][0]
            odds += tuning.lead_rule * math.log1p(words)
            odds += max([self._preferred[hit.rule] for _, hit in scored])
        return odds

    def _preference(self, rule: Rule) -> float:
        if rule.unit:
            return self.tuning.ruled
        return 0.0 if rule.file.is_relative_to(DATA) else self.tuning.local

    def told(
        self, hits: Sequence[Hit], region: str, towns: Sequence[str] = ()
    ) -> dict[str, "_Told"]:
        """Return by unit what the rules' words say: rulings, then the strongest first."""
        told: dict[str, _Told] = {}
        for place, hit in enumerate(hits):
            if place >= _LOOKED_AT and hit.rule not in self._rulings:
                continue
            unit, line, weight = self.meant(hit.rule, region)
            if line == TERRITORY_LINE:
                unit = self._territory(self.rules[hit.rule], region, towns)
            if unit is None:
                continue
            speaks = (hit.score * weight, hit)
            if unit.code in told:
                told[unit.code].scored.append(speaks)
            else:
                told[unit.code] = _Told(unit, line, [speaks])
        for one in told.values():
            if len(one.scored) > 1:
                one.scored.sort(key=_WORTH, reverse=True)
                if self._rulings:  # a ruling settles it, whatever else speaks for its unit too
                    one.scored.sort(key=lambda pair: pair[1].rule not in self._rulings)
        return told

    def _sounds(
        self, heard: Heard, loud: Sequence[float], told: Iterable[str], region: str
    ) -> dict[str, tuple[int, int | str]]:
        """Return by unit the column of the model that speaks most for it, and what that means.

        For the units that words speak for, and for those that the model hears best.
        """
        here = self._sounding.get(region)
        if here is None:
            here = self._sounding[region] = self._sounding_in(region)
        codes = dict.fromkeys(told)
        left = _HEARD_AT
        for column in heard.scores.argsort()[::-1].tolist():
            if column in here.unit_of:
                codes[here.unit_of[column]] = None
                left -= 1
                if not left:
                    break
        found: dict[str, tuple[int, int | str]] = {}
        for code in codes:
            columns = here.columns_of.get(code)
            if columns:
                column = columns[0] if len(columns) == 1 else max(columns, key=loud.__getitem__)
                found[code] = (column, here.means[column])
        return found

    def _sounding_in(self, region: str) -> "_Sounding":
        """Return which unit each column of the model speaks for in a region."""
        unit_of: dict[int, str] = {}
        columns_of: dict[str, list[int]] = {}
        means_of: dict[int, int | str] = {}
        for column, means in enumerate(self._means):
            if means is None:
                continue
            unit = (
                self.meant(means, region)[0]
                if isinstance(means, int)
                else self.table.line_unit(region, means)
            )
            if unit is not None:
                unit_of[column] = unit.code
                means_of[column] = means
                columns_of.setdefault(unit.code, []).append(column)
        return _Sounding(unit_of, columns_of, means_of)

    def _candidate(
        self,
        code: str,
        score: float,
        told: "_Told | None",
        sounds: tuple[int, int | str] | None,
        region: str,
        heard: Heard,
    ) -> Candidate:
        unit = self.table.unit(code) or _no_unit(code)
        line = unit.line
        evidence: tuple[Evidence, ...] = ()
        if told:
            line = told.line
            evidence = tuple([self._evidence(hit, unit, region) for _, hit in told.scored[:2]])
        elif sounds:
            evidence = (self._likeness(sounds, unit, region, heard),)
        return Candidate(code, unit.name, line, round(score, 3), evidence)

    def _likeness(
        self, sounds: tuple[int, int | str], unit: Unit, region: str, heard: Heard
    ) -> Evidence:
        """Return what the learned model says, where no rule's words speak for the unit."""
        column, means = sounds
        words = self._model.reasons(heard, column)
        document = item = ""
        matter = ""
        if isinstance(means, int):
            rule = self.rules[means]
            matter = f"“{rule.name}”"
            cited = [c for c in rule.cites if c.region == region]
            if cited:
                clause = self.clauses[cited[0].region, cited[0].item]
                document, item = clause.document, clause.key
        said = f"“{'”“'.join(words)}”等字词" if words else "整体措辞"
        note = f"{said}与{unit.name}负责的{matter or '事项'}相近（统计推断，仅作参考）"
        return Evidence(EvidenceKind.MODEL, document, item, words, Basis.DEFAULT, note)

    def _assisting(self, place: int | None, region: str) -> tuple[UnitRef, ...]:
        """Return who assists by a rule: the lines it names, and the other units of its clause."""
        if place is None:
            return ()
        assisting = self._assists.get((place, region))
        if assisting is None:
            assisting = self._assists[place, region] = self._assist_here(self.rules[place], region)
        return assisting

    def _assist_here(self, rule: Rule, region: str) -> tuple[UnitRef, ...]:
        named = [
            self.table.unit(code)
            for cite in rule.cites
            if cite.region == region
            for code in sorted(self._named[cite.region, cite.item])
        ]
        lines = self._refs(region, [line for line in rule.assist if line != TERRITORY])
        clause = tuple(UnitRef(unit.code, unit.name) for unit in named if unit)
        return (*lines, *(clause if len(clause) <= _ASSIST_MOST else ()))

    def meant(self, place: int, region: str) -> tuple[Unit | None, str, float]:
        """Return whom a rule means in a region, its line there, and what its words weigh there."""
        here = self._here.get((place, region))
        if here is None:
            here = self._here[place, region] = self._speaks_here(place, region)
        return here

    def _speaks_here(self, place: int, region: str) -> tuple[Unit | None, str, float]:
        """Return whom a rule means in a region, the line, and what its words weigh there.

        The territory's own government depends on the complaint: no unit then.
        """
        rule = self.rules[place]
        line = self._line_here(rule, region)
        if rule.unit:
            return self.table.unit(rule.unit), line, 1.0
        cited = any(cite.region == region for cite in rule.cites)
        weight = 1.0 + (self.tuning.topic_bonus if cited else 0.0)
        return self.table.line_unit(region, line), line, weight

    def _line_here(self, rule: Rule, region: str) -> str:
        for cite in rule.cites:
            if cite.region == region:
                return cite.line or rule.line
        return rule.line

    def _territory(self, rule: Rule, region: str, towns: Sequence[str]) -> Unit | None:
        """Return the government of the place that is named (属地), else who helps it."""
        deepest = max(towns, key=len, default="")
        if deepest and level(region) != "province":
            return self.table.territory(deepest)
        units = (self.table.line_unit(region, other) for other in rule.assist)
        return next((unit for unit in units if unit), None)

    def _evidence(self, hit: Hit, unit: Unit, region: str) -> Evidence:
        key = (hit.rule, unit.code, region)
        ground = self._grounds.get(key)
        if ground is None:
            ground = self._grounds[key] = self._ground(self.rules[hit.rule], unit, region)
        kind, document, items, basis, why = ground
        terms = hit.terms
        return Evidence(kind, document, items, terms, basis, f"诉求中的“{'”“'.join(terms)}”{why}")

    def _ground(self, rule: Rule, unit: Unit, region: str) -> "_Ground":
        """Return why a rule means this unit in a region: from the nearest document that it cites."""
        if rule.unit:
            why = f"与裁定“{rule.name}”相同，裁定由{unit.name}负责"
            return _Ground(EvidenceKind.PRECEDENT, rule.document, "", Basis(unit.basis), why)
        for place in self.gazetteer.parents(region):
            cited = [
                self.clauses[cite.region, cite.item] for cite in rule.cites if cite.region == place
            ]
            if not cited:
                continue
            naming = [c for c in cited if unit.code in self._named[c.region, c.key]]
            shown = (naming or cited)[:3]
            items = "、".join(clause.key for clause in shown)
            document = shown[0].document
            if naming:
                how = f"文件列明由{unit.name}牵头或负责"
            elif place == unit.region:
                how = f"该项未列此单位，按条线职责由{unit.name}负责"
            else:
                how = f"{self.gazetteer.name(place)}的文件，本级按条线由{unit.name}负责"
            why = f"属“{rule.name}”，见{document}第{items}项，{how}"
            basis = Basis.DOCUMENT if naming else Basis.LINE
            return _Ground(EvidenceKind.CLAUSE, document, items, basis, why)
        why = f"属“{rule.name}”，按条线职责由{unit.name}负责"
        if rule.proposed:
            why = f"{why}（{rule.proposed}）"
        kind = EvidenceKind.PLACE if rule.line == TERRITORY_LINE else EvidenceKind.DUTY
        basis = Basis.DEFAULT if unit.basis == Basis.DEFAULT else Basis.LINE
        return _Ground(kind, "", "", basis, why)

    # --- small change

    def _refs(self, region: str, lines: Sequence[str]) -> tuple[UnitRef, ...]:
        units = [self.table.line_unit(region, line) for line in lines]
        return tuple(UnitRef(unit.code, unit.name) for unit in units if unit)

    def _single(
        self, unit: Unit | None, line: str, hit: Hit, kind: EvidenceKind, note: str
    ) -> tuple[Candidate, ...]:
        if unit is None:
            return ()
        evidence = Evidence(kind, "", "", hit.terms, Basis.LINE, note)
        return (Candidate(unit.code, unit.name, line, 1.0, (evidence,)),)

    def _manual(self, candidates: tuple[Candidate, ...], confidence: float, reason: str) -> Route:
        return Route(Decision.MANUAL, None, (), confidence, candidates, self.digest, reason=reason)


def without_towns(text: str, mentions: Sequence[Mention]) -> str:
    """Return the text with a blank for each town that it names: where it is, not what it is.

    The corpus tells more of some towns than of others, and the model would take the name of one that
    is an example of something (高兴镇) for the matter of whatever happens there.
    """
    kept, past = "", 0
    for mention in mentions:
        if level(mention.code) in {"town", "zone"}:
            kept += f"{text[past : mention.start]} "
            past = mention.end
    return kept + text[past:]


def _inside(region: str, mentions: Sequence[Mention]) -> list[str]:
    """Return the regions below `region` that are mentioned, each once, in order."""
    codes = dict.fromkeys([mention.code for mention in mentions])
    return [code for code in codes if code and code != region and covers(region, code)]


class _Sounding(NamedTuple):
    """The model's columns in one region: those that lead to a unit, and to which."""

    unit_of: dict[int, str]
    columns_of: dict[str, list[int]]
    means: dict[int, int | str]


class _Ground(NamedTuple):
    """What a rule's evidence for a unit says whatever the words were."""

    kind: EvidenceKind
    document: str
    items: str
    basis: Basis
    why: str


class _Told(NamedTuple):
    """What the rules' words say for a unit: (score, hit), rulings and then the strongest first."""

    unit: Unit
    line: str
    scored: list[tuple[float, Hit]]


_WORTH = itemgetter(0)  # of a (score, hit)


def _first_rule(told: _Told | None, sounds: tuple[int, int | str] | None) -> int | None:
    """Return the place of the rule that speaks most for a unit, None where a line's sound does."""
    if told:
        return told.scored[0][1].rule
    return sounds[1] if sounds and isinstance(sounds[1], int) else None


def _routed(text: str) -> str:
    """Return the part of a text that is routed by, in `plain` form, which may grow (`㍿`)."""
    return plain(text[:ROUTED_CHARS])[:ROUTED_CHARS]


def _chance(odds: float) -> float:
    """Return the probability of odds as a logarithm. Nothing here is ever certain."""
    return round(min(0.99, 1 / (1 + math.exp(-odds))), 3)


def _no_unit(code: str) -> Unit:
    msg = f"unit {code} left the table while it was routed to"
    raise LookupError(msg)


def _named(clause: Clause, table: UnitTable) -> frozenset[str]:
    units = (table.by_name(name, clause.region) for name in clause.units)
    return frozenset(unit.code for unit in units if unit)


def _from_clause(clause: Clause, table: UnitTable) -> Rule | None:
    """Return the rule that a clause makes by its own words, where no topic cites it, or None."""
    unit = next((u for u in (table.by_name(n, clause.region) for n in clause.units) if u), None)
    words = tuple(plain(word) for word in clause.topics)
    if unit is None or not unit.line or not words:
        return None
    return Rule(
        f"clause-{clause.region}-{clause.key}",
        words[0],
        unit.line,
        (),
        (Cite(clause.region, clause.key, ""),),
        clause.region,
        Signals(
            tuple(w for w in words if len(w) > 3), tuple(w for w in words if len(w) < 4), (), (), ()
        ),
        (),
        DATA,
        0,
    )


def _ruled(precedent: Precedent, table: UnitTable) -> Rule:
    unit = table.unit(precedent.unit)
    if unit is None:
        raise ValueError(f"裁定 {precedent.code} 的单位 {precedent.unit} 不在单位表中")
    words = tuple(dict.fromkeys(filter(None, map(plain, precedent.words))))
    if not 2 <= len(words) <= 4:
        raise ValueError(f"裁定 {precedent.code} 应有两到四个词")
    return Rule(
        f"precedent-{precedent.code}",
        precedent.name,
        unit.line,
        (),
        (),
        precedent.region,
        Signals((), (), (), (tuple((word,) for word in words),), ()),
        (),
        DATA,
        0,
        unit.code,
        precedent.document,
    )


class _UnitNames:
    """Finds which lines an accusing text names."""

    _ASKED = re.compile(r"(?:请|让|转给|找|由|向|希望|建议|要求|移交|交给|报给|叫)$")

    def __init__(self, table: UnitTable) -> None:
        self._lines = {
            plain(short): line.code
            for line in table.lines
            for short in line.short
            if len(short) > 1
        }
        names = sorted(self._lines, key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, names)))

    def accused(self, text: str) -> frozenset[str]:
        """Return the lines named other than as those who are asked to look into it."""
        text = text.replace("“", "").replace("”", "")
        return frozenset(
            self._lines[match[0]]
            for match in self._any.finditer(text)
            if not self._ASKED.search(_before(text, match.start()))
        )


def _before(text: str, at: int) -> str:
    """Return the few characters before a unit's name; the longest asking word has two."""
    return text[max(0, at - 6) : at].removesuffix("县").removesuffix("市")


# --- loading


# Where rows stand that are in no file: what was proposed and agreed to.
PROPOSED = Path("proposals")


def load(folder: Path | None = None, proposed: Mapping[str, str] | None = None) -> Rulebook:
    """Return the rulebook of the shipped data, with the rows of `folder` added or put in place, and
    then those of `proposed`: the text of `units.yaml` and `duties/proposals.yaml` of a further folder.

    Raises RuleFileError for the first row that is wrong: file, line, reason.
    """
    if folder and not folder.is_dir():
        raise RuleFileError(folder, 0, "没有这个规则文件夹")
    for path in sorted(folder.glob("*.y*ml")) if folder else ():
        # Sources are no rules, and some keep all that they set in one folder.
        if path.name != "sources.yaml" and not (DATA / path.name).is_file():
            known = " ".join(sorted(shipped.name for shipped in DATA.glob("*.yaml")))
            raise RuleFileError(path, 0, f"没有规则用这个文件名，可用的是 {known}")
    folders = [DATA, folder] if folder else [DATA]
    last = {name: parse(PROPOSED / name, text.encode()) for name, text in (proposed or {}).items()}
    gazetteer = load_gazetteer(folder)
    table = load_table(gazetteer, folder, last.get("units.yaml", ()))
    files = _Files(tuple(folders))
    concepts: dict[str, tuple[str, ...]] = {}
    for path in files("concepts.yaml"):
        concepts.update(read_concepts(path))
    lines = {line.code for line in table.lines} | {TERRITORY_LINE}
    called = {document.region: document.reference for document in table.documents}
    # One name for a document everywhere: a print that lost its number does not give it a second.
    clauses = [
        replace(clause, document=called.get(clause.region, clause.document))
        for path in files("clauses/*.yaml")
        for clause in read_clauses(path)
    ]
    rules = {
        **_written_rules(files, last.get("duties/proposals.yaml", ()), concepts, lines, gazetteer),
        **{
            rule.code: rule
            for rule in (_precedent(r, table) for r in files.rows("precedents.yaml"))
        },
    }
    rules = {**_clause_rules(rules.values(), clauses, table), **rules}
    gates = {
        gate.code: gate
        for gate in (_gate(r, concepts, lines) for r in files.rows("acceptance.yaml"))
    }
    model, learnt = _learnt(files, {*lines, *(f"{TOPIC}{code}" for code in rules)})
    spoken = files.rows("accusation.yaml")[-1]
    spoken.only("id", "examples", *SIGNAL_KEYS)
    accusation = read_signals(spoken, concepts)
    numbers = files.rows("tuning.yaml")[-1]
    numbers.only(*Tuning.__slots__)
    tuning = Tuning(**{key: numbers.number(key) for key in Tuning.__slots__})
    landmarks = concepts.get("地标", ())
    digest = hashlib.sha256(gazetteer.canonical_json().encode())
    digest.update(table.canonical_json().encode())
    for part in (rules, gates, accusation, tuning, landmarks, clauses):
        digest.update(repr(_content(part)).encode())
    digest.update(learnt)
    return Rulebook(
        gazetteer,
        table,
        list(rules.values()),
        list(gates.values()),
        accusation,
        tuning,
        landmarks,
        clauses,
        model,
        digest.hexdigest(),
    )


def _learnt(files: "_Files", answers: Set[str]) -> tuple[Model, bytes]:
    """Return the last model of the folders, and the digest of its file. Raises RuleFileError."""
    path = files("model.npz")[-1]
    try:
        model = load_model(path)
    except (OSError, ValueError, KeyError) as failure:
        raise RuleFileError(path, 1, f"不是学习得到的模型：{failure}") from failure
    decisions = {f"{DECISION}{name}" for name in (*Decision, ACCUSATION)}
    unknown = [label for label in model.labels if label not in answers | decisions]
    if unknown:
        raise RuleFileError(path, 1, f"模型中的去向 {unknown[0]} 不是条线、议题或处理决定")
    return model, hashlib.sha256(path.read_bytes()).digest()


def _content(part: object) -> object:
    if isinstance(part, Mapping):
        return [_content(value) for value in part.values()]
    if isinstance(part, Rule):
        return (
            part.code,
            part.name,
            part.line,
            part.assist,
            part.cites,
            part.region,
            part.signals,
            part.unit,
            part.document,
        )
    if isinstance(part, Gate):
        return (
            part.code,
            part.name,
            part.decision,
            part.hotline,
            part.line,
            part.assist,
            part.reason,
            part.signals,
            part.local,
        )
    return part


@dataclass(frozen=True, slots=True)
class _Files:
    """The rule files of the folders, the shipped one first."""

    folders: tuple[Path, ...]

    def __call__(self, pattern: str) -> list[Path]:
        return [path for folder in self.folders for path in sorted(folder.glob(pattern))]

    def rows(self, pattern: str) -> list[Row]:
        return [row for path in self(pattern) for row in read(path)]


def _written_rules(
    files: _Files,
    proposed: Sequence[Row],
    concepts: Mapping[str, tuple[str, ...]],
    lines: set[str],
    gazetteer: Gazetteer,
) -> dict[str, Rule]:
    """Return the topics and duties; a later folder's rule replaces one of the same id."""
    rules: dict[str, Rule] = {}
    folder_of: dict[str, Path] = {}
    for place in files.folders:
        for row in _Files((place,)).rows("topics.yaml") + _Files((place,)).rows("duties/*.yaml"):
            rule = _rule(row, concepts, lines, gazetteer)
            if folder_of.get(rule.code) == place:
                raise row.error(f"id {rule.code} 重复", "id")
            rules[rule.code] = rule
            folder_of[rule.code] = place
    rules.update((row.text("id"), _rule(row, concepts, lines, gazetteer)) for row in proposed)
    return rules


def _clause_rules(
    rules: Iterable[Rule], clauses: Sequence[Clause], table: UnitTable
) -> dict[str, Rule]:
    """Return rules for the clauses that no topic cites; raise for a topic that cites none."""
    cited = {(cite.region, cite.item): rule for rule in rules for cite in rule.cites}
    known = {(clause.region, clause.key) for clause in clauses}
    for (region, item), rule in cited.items():
        if (region, item) not in known:
            raise RuleFileError(
                rule.file, rule.at_line, f"cites 的 {region} 第 {item} 项不在条目文件中"
            )
    made = [_from_clause(c, table) for c in clauses if (c.region, c.key) not in cited]
    return {rule.code: rule for rule in made if rule}


def _line(row: Row, key: str, name: str, lines: set[str]) -> str:
    if name not in lines:
        raise row.error(f"条线 {name} 不存在", key)
    return name


def _rule(
    row: Row, concepts: Mapping[str, tuple[str, ...]], lines: set[str], gazetteer: Gazetteer
) -> Rule:
    row.only(*_RULE_KEYS)
    cites = []
    for written in row.texts("cites"):
        parts = written.split()
        if len(parts) not in (2, 3) or gazetteer.region(parts[0]) is None:
            raise row.error(f"cites 每项为 区划 条目 [条线],现为“{written}”", "cites")
        line = _line(row, "cites", parts[2], lines) if len(parts) == 3 else ""
        cites.append(Cite(parts[0], number(parts[1]), line))
    return Rule(
        row.text("id"),
        row.text("name"),
        _line(row, "line", row.text("line"), lines),
        tuple(_line(row, "assist", name, lines) for name in row.texts("assist")),
        tuple(cites),
        row.text("region", ""),
        read_signals(row, concepts),
        row.texts("examples"),
        row.file,
        row.line,
        proposed=row.text("proposed", ""),
    )


def _precedent(row: Row, table: UnitTable) -> Rule:
    row.only("id", "name", "region", "unit", "words", "document")
    precedent = Precedent(
        row.text("id"),
        row.text("name"),
        row.text("region", ""),
        row.text("unit"),
        split(row, "words"),
        row.text("document", ""),
    )
    try:
        return _ruled(precedent, table)
    except ValueError as error:
        raise row.error(str(error)) from None


def _gate(row: Row, concepts: Mapping[str, tuple[str, ...]], lines: set[str]) -> Gate:
    row.only(*_GATE_KEYS)
    decision = Decision(
        row.choice("decision", [Decision.EMERGENCY_LINE, Decision.NOT_ACCEPTED, Decision.MANUAL])
    )
    emergency = decision == Decision.EMERGENCY_LINE
    return Gate(
        row.text("id"),
        row.text("name"),
        decision,
        row.choice("hotline", ("110", "119", "120", "122")) if emergency else "",
        _line(row, "line", row.text("line"), lines) if emergency else "",
        tuple(_line(row, "assist", name, lines) for name in row.texts("assist")),
        row.text("reason", "" if emergency else None),
        read_signals(row, concepts),
        not row.file.is_relative_to(DATA),
        row.texts("examples"),
        row.file,
        row.line,
    )
