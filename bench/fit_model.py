"""Fit what the router has learnt: routing_rules/data/model.npz and the fitted part of tuning.yaml.

Run from the repository: `python -m bench.fit_model`. Everything it learns from is invented: the
corpus beside this file, and the rules' own words. Deterministic: the same inputs, the same bytes.

What the rules' words and the learned model count beside each other is fitted on texts that neither
has seen: on the corpus, where the model's scores are those of cross-validation and the rules were not
written from it, and above all on the tickets of `judged`, which were written as tickets come and on
which no rule was ever mended. The corpus alone would say that rules count for nothing: most of it was
written to avoid their words.
"""

import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from routing_rules.learn import DECISION, Example, Model, fit, folds
from routing_rules.rulebook import ACCUSATION, TOPIC, Rulebook, load, without_towns
from routing_rules.signals import Hit
from routing_rules.text import plain
from service.domain.complaint import Decision
from service.domain.region import covers

ROOT = Path(__file__).parent.parent
CORPUS = Path(__file__).parent / "corpus"
JUDGED = Path(__file__).parent / "judged"
# The corpus has more near misses of danger and of accusation than life has, so that their words look
# worthless in it. Where the model hesitates they decide, on the side that does less harm.
FLOORS = {"emergency": 0.1, "accuse": 0.3}
JUDGED_WEIGHT = 20.0  # of a judged ticket beside a text of the corpus
DATA = ROOT / "routing_rules" / "data"
FOLDS = 5
FLAG_MOST = 3.5
_WRAPPED_WEIGHT = 0.5
PENALTY = 1.0
_CITIES = ("360100", "360300", "360900")
_WORD_WEIGHT = 0.5  # of a rule's word beside a whole text


class Case(NamedTuple):
    """A text with its label, where it was said, and whether the caller called it an emergency."""

    text: str
    label: str
    region: str
    flagged: bool
    report: bool  # 举报
    lead: str = ""  # of a judged ticket: the pattern of the units that would do
    weight: float = 1.0


def cases(book: Rulebook) -> list[Case]:
    """Return the corpus, the items of documents as topics."""
    found = []
    rows = (
        json.loads(line)
        for path in sorted(CORPUS.glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    )
    for number, row in enumerate(rows):
        text = plain(row["text"])
        region = {"county": "360732", "province": "360000"}.get(
            row["region_level"], _CITIES[number % len(_CITIES)]
        )
        label = row["label"]
        if "item" in row:
            region, item = row["item"].split()
            label = _topic(book, text, region, item) or label
        found.append(
            Case(text, label, region, row["urgency"] == "emergency", row["kind"] == "举报")
        )
    return found


# How people name a unit that has nothing to do with their matter.
_PASSING_BEFORE = (
    "我住{}家属院，",
    "{}说不归他们管，叫我打12345，",
    "就在{}对面那一排，",
    "我在{}宾馆做事，",
    "这里以前是{}的房子，现在承包给私人了，",
    "我老公在{}上班，",
    "从{}门口往里走五十米，",
    "上次你们转给{}，人家回复不是他们的职责，",
)
_PASSING_AFTER = (
    "。地点在老{}后面那条路。",
    "。去问过{}，他们叫我找别的部门。",
    "。就是{}旁边，很好找。",
    "。请不要再转{}了，不是他们的事。",
    "。我弟弟也是{}退休的。",
    "。隔壁就是{}宿舍。",
)
_PASSING_ONE_IN = 3


def passing(book: Rulebook, examples: Sequence[Example]) -> list[Example]:
    """Return some examples again with a unit named in passing: who is named is not who answers."""
    names = [
        (line.code, next(name for name in line.short if len(name) > 2))
        for line in book.table.lines
        if any(len(name) > 2 for name in line.short)
    ]
    found = []
    for place, example in enumerate(examples[1::_PASSING_ONE_IN]):
        line, name = names[place * 7 % len(names)]
        if example.label.startswith(DECISION) or line == example.label:
            continue
        before, after = plain(example.text), ""
        if place % 2:
            before = plain(_PASSING_BEFORE[place // 2 % len(_PASSING_BEFORE)].format(name))
            after = example.text
        else:
            after = plain(_PASSING_AFTER[place // 2 % len(_PASSING_AFTER)].format(name))
        found.append(Example(f"{before}{after}", example.label, _WRAPPED_WEIGHT))
    return found


def as_heard(book: Rulebook, text: str, region: str) -> str:
    """Return a text as the model gets it when it routes."""
    return without_towns(text, book.gazetteer.mentions(text, region))


def judged(book: Rulebook, model: Model) -> list[Case]:
    """Return the judged tickets, but for reviews, which no words decide."""
    found = []
    for path in sorted(JUDGED.glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            region = book.gazetteer.find(row["region"])
            if region is None or row.get("evaluated_unit"):
                continue
            text = plain(f"{row['title']}。{row['content']}")
            label = _expected(book, row, model, text)
            lead = "" if label.startswith(DECISION) else row["expect"].get("lead", "")
            flagged, report = row["urgency"] == "emergency", row["kind"] == "举报"
            found.append(Case(text, label, region, flagged, report, lead, JUDGED_WEIGHT))
    return found


def test_examples(book: Rulebook, model: Model) -> list[Example]:
    """Return the invented tickets of the tests with the label that each expects: of several that
    would do, the one that a model of the corpus hears best.

    Only to learn from: the rules were mended on them, so they say nothing of what rules are worth.
    """
    examples = []
    for path in sorted((ROOT / "tests" / "cases" / "routing").glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            text = plain(f"{row['title']}。{row['content']}")
            label = _expected(book, row, model, text)
            if label and not row.get("evaluated_unit"):
                region = book.gazetteer.find(row["region"]) or ""
                examples.append(Example(as_heard(book, text, region), label))
    return examples


# What people say around their matter, and what says nothing of it.
_AROUND = (
    "尊敬的领导您好，百忙之中打扰了。",
    "我是一个普通老百姓，平时不爱给政府添麻烦，实在没有办法才来反映。",
    "来电人反映以下情况，要求核实并尽快回复。",
    "我今年六十多岁，小孩都在外面打工，家里就我们两个老的。",
    "这个事情前前后后拖了大半年，电话打了不知道多少个，每次都说在处理。",
    "之前也打过电话反映，回复说已经转给相关部门，后来就没有下文了。",
    "我们一家老小都指望这个，晚上觉都睡不着。",
    "问了好几个地方，你推我我推你，没有一个人给句准话。",
    "隔壁邻居都说算了，我咽不下这口气。",
    "希望领导重视，派人下来看一看，给老百姓一个说法。",
    "请有关部门尽快处理，并把结果电话告知，谢谢。",
    "我在外地上班，请假回来一趟不容易，来回路费都好几百。",
    "说实话我也不懂政策，就想问个明白。",
    "我把照片和录音都留着，需要的话可以提供。",
    "开始我们也理解，谁都有难处，可是时间也太长了。",
    "去年过年的时候就讲快了快了，今年又快到年底了。",
    "我老婆为这个事天天跟我吵。",
    "不是一家两家，我们这一片都是这样。",
    "恳请领导为民做主，顺祝工作顺利。",
    "打了一上午电话才打通，麻烦你帮我记一下。",
)
_WRAPPED_ONE_IN = 3


def wrapped(examples: Sequence[Example]) -> list[Example]:
    """Return some examples again as people ramble: with sentences around them that say nothing."""
    found = []
    for place, example in enumerate(examples[::_WRAPPED_ONE_IN]):
        if example.label == f"{DECISION}manual":
            continue
        said = [plain(_AROUND[(place * 7 + n * 3) % len(_AROUND)]) for n in range(2 + place % 4)]
        half = len(said) // 2
        text = "".join([*said[:half], example.text, "。", *said[half:]])
        found.append(Example(text, example.label, _WRAPPED_WEIGHT))
    return found


def _expected(book: Rulebook, row: dict[str, Any], model: Model, text: str) -> str:
    """Return the label of what a ticket expects, "" where that is no line's."""
    expect = row["expect"]
    if expect["route"] != Decision.AUTO:
        return f"{DECISION}{expect['route']}"
    region = book.gazetteer.find(row["region"])
    if "not_lead" in expect:
        return f"{DECISION}{ACCUSATION}" if "whistle" in row["tags"] else ""
    scores = dict(zip(model.labels, model.hear(text).scores.tolist(), strict=True))
    for label in sorted(scores, key=lambda known: -scores[known]):
        unit = book.unit(unit_of(book, label, region)) if region else None
        if unit and re.search(expect["lead"], unit.name):
            return label
    return ""


def _topic(book: Rulebook, text: str, region: str, item: str) -> str:
    """Return the label of the topic that an item belongs to, by its words where several cite it."""
    citing = [
        place
        for place, rule in enumerate(book.rules)
        if any((cite.region, cite.item) == (region, item) for cite in rule.cites)
        and not rule.code.startswith("clause-")
    ]
    if not citing:
        return ""
    worth = {hit.rule: hit.score for hit in book.matcher.hits(text)}
    best = max(citing, key=lambda place: worth.get(place, 0.0))
    return f"{TOPIC}{book.rules[best].code}"


def word_examples(book: Rulebook) -> list[Example]:
    """Return the rules' own words as examples of what they mean."""
    examples = []
    for rule in book.rules:
        if rule.line == "territory" or rule.unit or rule.code.startswith("clause-"):
            continue
        label = f"{TOPIC}{rule.code}" if rule.cites else rule.line
        words = [plain(rule.name), *rule.signals.strong]
        examples += [Example(word, label, _WORD_WEIGHT) for word in words]
        examples.append(Example(" ".join([*words, *rule.signals.words]), label, _WORD_WEIGHT))
    for gate in book.gates:
        label = f"{DECISION}{gate.decision}"
        examples += [Example(word, label, _WORD_WEIGHT) for word in gate.signals.strong]
    return examples


class Features(NamedTuple):
    """What rules and model say of one case."""

    case: Case
    told: dict[str, float]  # unit → what the rules' words say
    heard: dict[str, float]  # unit → the model's best score for it
    gates: dict[str, float]
    decisions: dict[str, float]
    best: float


def features(book: Rulebook, case: Case, model: Model) -> Features:
    """Return what rules and a model say of a case."""
    hits = book.matcher.hits(case.text)
    first_gate = len(book.rules)
    duties: list[Hit] = []
    gates: dict[str, float] = {}
    for hit in hits:
        if hit.rule < first_gate:
            if hit.score > 0 and covers(book.rules[hit.rule].region, case.region):
                duties.append(hit)
        elif hit.rule - first_gate < len(book.gates):
            decision = book.gates[hit.rule - first_gate].decision
            gates[decision] = max(gates.get(decision, 0.0), hit.score)
        else:
            gates[ACCUSATION] = hit.score
    scores = model.hear(as_heard(book, case.text, case.region)).scores
    told = {
        code: one.scored[0][0] + 0.3 * (one.scored[1][0] if len(one.scored) > 1 else 0.0)
        for code, one in book.told(duties, case.region).items()
    }
    heard: dict[str, float] = {}
    decisions: dict[str, float] = {}
    for label, score in zip(model.labels, scores.tolist(), strict=True):
        if label.startswith(DECISION):
            decisions[label.removeprefix(DECISION)] = score
            continue
        code = unit_of(book, label, case.region)
        if code:
            heard[code] = max(score, heard.get(code, -math.inf))
    return Features(case, told, heard, gates, decisions, duties[0].score if duties else 0.0)


def unit_of(book: Rulebook, label: str, region: str) -> str:
    """Return the code of the unit that a label means in a region, "" for none."""
    if label.startswith(DECISION):
        return ""
    if label.startswith(TOPIC):
        place = next(p for p, rule in enumerate(book.rules) if TOPIC + rule.code == label)
        unit = book.meant(place, region)[0]
    else:
        unit = book.table.line_unit(region, label)
    return unit.code if unit else ""


def wanted_of(book: Rulebook, case: Case, codes: Iterable[str]) -> set[str]:
    """Return which of these units would be right for a case, none where no unit would."""
    if case.lead:
        named = [book.unit(code) for code in codes]
        return {unit.code for unit in named if unit and re.search(case.lead, unit.name)}
    return {unit_of(book, case.label, case.region)} - {""}


def fit_lead(book: Rulebook, seen: Sequence[Features], unheard: float) -> dict[str, float]:
    """Return the numbers by which candidates are ranked and believed."""
    rows, right, weights = [], [], []
    for one in seen:
        codes = {*one.told, *sorted(one.heard, key=lambda c: -one.heard[c])[:8]}
        wanted = wanted_of(book, one.case, codes)
        if not wanted:
            continue
        for code in sorted(codes):
            rows.append([math.log1p(one.told.get(code, 0.0)), one.heard.get(code, unheard)])
            right.append(code in wanted)
            weights.append(one.case.weight)
    machine = LogisticRegression(C=100.0).fit(rows, right, weights)
    rule, model = machine.coef_[0].tolist()
    tops, won, weights = [], [], []
    for one in seen:
        codes = {*one.told, *one.heard}
        wanted = wanted_of(book, one.case, codes)
        scores = sorted(
            (
                rule * math.log1p(one.told.get(code, 0.0)) + model * one.heard.get(code, unheard),
                code,
            )
            for code in codes
        )[::-1]
        if len(scores) < 2 or (not wanted and one.case.label != f"{DECISION}manual"):
            continue
        tops.append([scores[0][0], scores[0][0] - scores[1][0]])
        won.append(scores[0][1] in wanted)
        weights.append(one.case.weight)
    trust = LogisticRegression(C=100.0).fit(tops, won, weights)
    return {
        "lead_rule": rule,
        "lead_model": model,
        "lead_bias": float(trust.intercept_[0]),
        "lead_best": float(trust.coef_[0][0]),
        "lead_margin": float(trust.coef_[0][1]),
        "_right": sum(won) / len(won),
    }


def fit_decision(
    seen: Sequence[Features], decision: str, name: str, third: str, lean: float
) -> dict[str, float]:
    """Return the numbers of one decision; `lean` shifts its odds towards (or from) it."""
    rows = [
        [
            math.log1p(one.gates.get(decision, 0.0)),
            one.decisions.get(decision, 0.0),
            {
                "flag": float(one.case.flagged),
                "report": float(one.case.report),
                "rule": math.log1p(one.best),
            }[third],
        ]
        for one in seen
    ]
    right = [one.case.label == f"{DECISION}{decision}" for one in seen]
    table = np.array(rows)
    machine = LogisticRegression(C=100.0)
    machine.fit(table, right, [one.case.weight for one in seen])
    if machine.coef_[0][0] < 0:  # words that speak for it never speak against it
        table[:, 0] = 0.0
        machine.fit(table, right, [one.case.weight for one in seen])
    gate, model, other = machine.coef_[0].tolist()
    gate = max(gate, FLOORS.get(name, 0.0))
    bias = float(machine.intercept_[0]) + lean
    said = np.array(rows) @ [gate, model, other] + bias >= 0
    truth = np.array(right)
    return {
        f"{name}_bias": bias,
        f"{name}_gate": gate,
        f"{name}_model": model,
        f"{name}_{third}": other,
        f"_{name}_recall": float(said[truth].mean()),
        f"_{name}_wrong": float(said[~truth].mean()),
    }


def main() -> int:
    """Fit, write, and print what cross-validation says."""
    book = load()
    corpus = cases(book)
    learnt_from = [Example(as_heard(book, case.text, case.region), case.label) for case in corpus]
    words = word_examples(book)
    first = fit([*learnt_from, *words], penalty=PENALTY)
    words += test_examples(book, first)
    seen: list[Features] = []

    def around(examples: Sequence[Example]) -> list[Example]:
        return [*wrapped(examples), *passing(book, examples)]

    for learn_on, try_on in folds(learnt_from, FOLDS):
        own = [learnt_from[place] for place in learn_on]
        model = fit([*own, *around(own), *words], penalty=PENALTY)
        seen += [features(book, corpus[place], model) for place in try_on]
    kept = fit([*learnt_from, *around(learnt_from), *words], penalty=PENALTY)
    seen += [features(book, case, kept) for case in judged(book, kept)]
    numbers: dict[str, Any] = fit_lead(book, seen, unheard=-1.2)
    numbers |= fit_decision(seen, Decision.EMERGENCY_LINE, "emergency", "flag", lean=2.2)
    # The caller's flag is no proof: it never outweighs words that speak of nothing urgent.
    numbers["emergency_flag"] = min(numbers["emergency_flag"], FLAG_MOST)
    numbers |= fit_decision(seen, Decision.NOT_ACCEPTED, "refuse", "rule", lean=0.0)
    numbers |= fit_decision(seen, Decision.MANUAL, "unclear", "rule", lean=0.0)
    if any(case.label == f"{DECISION}{ACCUSATION}" for case in corpus):
        numbers |= fit_decision(seen, ACCUSATION, "accuse", "report", lean=0.5)
    kept.save(DATA / "model.npz")
    _write(numbers)
    sys.stdout.write(json.dumps({"cases": len(corpus), **numbers}, indent=2) + "\n")
    return 0


def _write(numbers: dict[str, float]) -> None:
    path = DATA / "tuning.yaml"
    lines = path.read_text("utf-8").splitlines()
    fitted = {name: value for name, value in numbers.items() if not name.startswith("_")}
    kept = [line for line in lines if line.strip().split(":")[0] not in fitted]
    kept += [f"  {name}: {value:.3f}" for name, value in fitted.items()]
    path.write_text("\n".join(kept) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
