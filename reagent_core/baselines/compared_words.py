"""What a comparison of methods says, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, groupby

from reagent_core.baselines.compared import MethodResult, MethodsCompared, signed_shares
from reagent_core.check import Estimate, kinship, replacer_of
from reagent_core.check_words import kinship_words
from reagent_core.explanation import Explanation
from reagent_core.method_words import has_signs
from reagent_core.sentences import main_measure, ranking, target_name, unit_names
from reagent_core.wording import percent, quoted

# Kendall's tau from which on two orders are said to agree, and to agree in part.
_AGREE, _IN_PART = 0.7, 0.3
# More methods than these are counted, not named.
_MOST_NAMED = 4
# A share of all that a method finds; less is not spelled out.
_WORTH_NAMING = 0.01


def by_faithfulness(results: Sequence[MethodResult]) -> list[MethodResult]:
    """The most faithful first (by area); in the given order where that is not known."""
    return sorted(results, key=lambda each: -each.faithful.area if each.faithful else 0.0)


def headline(compared: MethodsCompared) -> str:
    """Which order is the most faithful, and whether that is more than chance: one sentence."""
    explanation = compared.results[0].explanation
    unit, target = explanation.config.granularity, target_name(explanation)
    best = _best(compared)
    if best is None or best.faithful is None:
        return f"Only one {unit} of this prompt can be replaced, so there is no order to compare."
    faithful = best.faithful
    against = f"better than {faithful.beaten} of {faithful.orders} random orders"
    if faithful.standing == "untestable":
        return (
            f"How faithful the methods are cannot be told here: either so few {unit}s are replaced "
            f"that chance orders them right, or {target} stays whatever is replaced."
        )
    if faithful.standing != "better":
        return (
            f"No method is clearly better than chance here: the order of {best.label}, the most "
            f"faithful, is {against}."
        )
    return (
        f"{best.label} is the most faithful here: replacing its strongest {unit}s first destroys "
        f"{target}, and keeping them saves it, {against} do."
    )


def beside_the_best(compared: MethodsCompared) -> str | None:
    """Which methods may be as faithful as the best, and which are no better than chance.

    As faithful: better than chance, too, and the intervals of comprehensiveness and of sufficiency
    overlap with those of the best. None where there is no other method, or none is better than
    chance.
    """
    best = _best(compared)
    if best is None or best.faithful is None or best.faithful.standing != "better":
        return None
    others = [
        each for each in by_faithfulness(compared.results)
        if each.faithful and each is not best and each.method != "random"
    ]  # fmt: skip
    alike = [each for each in others if _better(each) and _overlap(each, best)]
    chance = [each for each in others if not _better(each)]
    told = []
    if alike:
        are = "is" if len(alike) == 1 else "are"
        told.append(f"{_some(alike, others)} {are} as faithful, as far as can be told.")
    if chance and len(chance) == len(others):
        told.append("No other method is clearly better than chance.")
    elif chance:
        are = "is" if len(chance) == 1 else "are"
        told.append(f"{_some(chance, others)} {are} not clearly better than chance.")
    return " ".join(told) or None


def judged_by(compared: MethodsCompared) -> str:
    """What replaced units for the faithfulness, and what it has to do with the explanations."""
    made_by = {replacer_of(result.explanation) for result in compared.results}
    own = next((name for name in made_by if name is not None), None)
    kin = kinship(own, compared.replacer)
    # Others replace nothing, so that no replacer made their explanations.
    some = kin != "other" and None in made_by
    which = f"the explanations{' (of the methods that replace)' if some else ''}"
    return (
        f"Faithfulness: units replaced by {compared.replacer}, which {kinship_words(kin, which)}; "
        f"{compared.draws} draw{'' if compared.draws == 1 else 's'}."
    )


def agreement_sentence(compared: MethodsCompared) -> str | None:
    """Which methods agree most on the order of the units, and which least; None where no two orders
    can be compared."""
    pairs = [
        (tau, compared.results[i].label, compared.results[j].label)
        for i, j in combinations(range(len(compared.results)), 2)
        if (tau := compared.agreement[i][j]) is not None
        and "random" not in (compared.results[i].method, compared.results[j].method)
    ]
    if not pairs:
        return None
    most, least = max(pairs), min(pairs)
    if len(pairs) == 1:
        tau, one, other = most
        how = "agree" if tau >= _AGREE else "agree in part" if tau >= _IN_PART else "do not agree"
        return f"{one} and {other} {how} on the order (Kendall's tau {_tau(tau)})."
    return (
        f"On the order, {most[1]} and {most[2]} agree most (Kendall's tau {_tau(most[0])}), "
        f"{least[1]} and {least[2]} least ({_tau(least[0])})."
    )


def strongest(explanation: Explanation, most: int = 3) -> str:
    """The strongest units, each with its share of all absolute numbers: "“Thailand” 42%, “capital”
    10%"."""
    names, shares = unit_names(explanation.units), signed_shares(explanation)
    order = ranking(explanation, main_measure(explanation))[:most]
    named = [i for i in order if abs(shares[i] or 0.0) >= _WORTH_NAMING] or order[:1]
    return ", ".join(f"{quoted(names[i])} {_share(shares[i] or 0.0)}" for i in named)


def tells_signs(explanation: Explanation) -> bool:
    """Whether its colours tell for from against, or only how much."""
    return main_measure(explanation) == "effect" or has_signs(explanation)


def places_sentence(results: Sequence[MethodResult], start: int) -> str:
    """Where each method puts the unit at this character of the prompt: "“Thailand”: place 1 by
    ReAGent; 3 by Attention"."""
    units = {result.method: unit_at(result.explanation, start) for result in results}
    # Of a long prompt ReAGent looks at some parts as a whole: the smaller piece was meant.
    pieces = [(result.explanation, unit) for result in results
              if (unit := units[result.method]) is not None]  # fmt: skip
    explanation, chosen = min(pieces, key=lambda piece: len(piece[0].units[piece[1]].text))
    name = quoted(unit_names(explanation.units)[chosen])
    found = []
    for result in results:
        order = ranking(result.explanation, main_measure(result.explanation))
        if (unit := units[result.method]) in order:
            found.append((order.index(unit) + 1, result.label))
    told = [
        f"place {place} by {listed([label for _, label in group])}"
        for place, group in groupby(sorted(found, key=lambda pair: pair[0]), key=lambda p: p[0])
    ]
    return f"{name}: {'; '.join(told)}." if told else f"{name} has no place in any order."


def unit_at(explanation: Explanation, start: int) -> int | None:
    """The unit that holds this character of the prompt; None where none does."""
    units = enumerate(explanation.units)
    return next((i for i, unit in units if unit.start <= start < unit.end), None)


def listed(names: Sequence[str]) -> str:
    """ "A, B and C"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _best(compared: MethodsCompared) -> MethodResult | None:
    """The most faithful method that is one."""
    known = [each for each in compared.results if each.faithful is not None]
    methods = [each for each in known if each.method != "random"] or known
    return next(iter(by_faithfulness(methods)), None)


def _better(result: MethodResult) -> bool:
    return result.faithful is not None and result.faithful.standing == "better"


def _some(results: Sequence[MethodResult], others: Sequence[MethodResult]) -> str:
    """Their names, or how many of the others they are."""
    if len(results) > _MOST_NAMED:
        return f"{len(results)} of the {len(others)} others"
    return listed([each.label for each in results])


def _overlap(one: MethodResult, other: MethodResult) -> bool:
    assert one.faithful is not None and other.faithful is not None
    a, b = one.faithful.mean, other.faithful.mean
    return _meet(a.comprehensiveness, b.comprehensiveness) and _meet(a.sufficiency, b.sufficiency)


def _meet(one: Estimate, other: Estimate) -> bool:
    """Whether the intervals of two estimates overlap."""
    return _low(one) <= _high(other) and _low(other) <= _high(one)


def _low(estimate: Estimate) -> float:
    return estimate.mean if estimate.low is None else estimate.low


def _high(estimate: Estimate) -> float:
    return estimate.mean if estimate.high is None else estimate.high


def _share(share: float) -> str:
    return f"−{percent(-share)}" if share < 0 else percent(share)


def _tau(tau: float) -> str:
    return f"{tau:.2f}"
