"""The figures of a check in words, for a terminal and for a page."""

from __future__ import annotations

from reagent_core.check import Check, Estimate, Kinship, SoftMeasures
from reagent_core.wording import percent


def nats(estimate: Estimate) -> str:
    """A loss in nats: "4.91 (4.20 to 5.62)"."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.mean:.2f}"
    return f"{estimate.mean:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def lost(estimate: Estimate) -> str:
    """A share of the probability that is lost: "99% (97% to 100%)"."""
    if estimate.low is None or estimate.high is None:
        return percent(estimate.mean)
    return f"{percent(estimate.mean)} ({percent(estimate.low)} to {percent(estimate.high)})"


def soft_words(soft: SoftMeasures) -> str:
    """Soft-NC and Soft-NS, and how they compare with the same scores dealt out at random."""
    return (
        f"Soft-NC {_against(soft.comprehensiveness, soft.log_ratio_comprehensiveness)}; "
        f"Soft-NS {_against(soft.sufficiency, soft.log_ratio_sufficiency)} (high is good; mean of "
        f"{soft.draws} draws; log ratio to the same scores shuffled)."
    )


_KINSHIP: dict[Kinship, str] = {
    "same": "made {explanation}, too",
    "proposals": "weighs the proposals that made {explanation} in another way",
    "other": "did not make {explanation}",
}


def kinship_words(kin: Kinship, explanation: str = "the explanation") -> str:
    """What a replacer has to do with what made `explanation` (what it is called)."""
    return _KINSHIP[kin].format(explanation=explanation)


def replaced_by(check: Check) -> str:
    """What stood in for replaced units, and what it has to do with the explanation."""
    helper = f" ({check.replacer_model.id})" if check.replacer_model else ""
    related: Kinship = "proposals" if check.same_proposals else "other"
    kin = kinship_words("same" if check.same_replacer else related)
    return f"replaced by {check.replacer}{helper}, which {kin}"


def work_words(check: Check) -> str:
    """Draws, seed and cost."""
    work = f"{check.counts.sequences:,} sequences in {check.seconds:,.1f} s"
    if check.counts.requests:
        work += f", {check.counts.requests:,} requests"
    return f"{check.draws} draws, seed {check.seed}, {work}"


def _against(estimate: Estimate, log_ratio: float | None) -> str:
    ratio = "no log ratio" if log_ratio is None else f"log ratio {log_ratio:+.2f}"
    return f"{estimate.mean:.3f}, {ratio}"
