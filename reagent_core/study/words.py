"""How far a study is and what it costs, in words, for a terminal and for a page."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import pandas as pd

from reagent_core.baselines.methods import replaces
from reagent_core.check import kinship
from reagent_core.check_words import kinship_words

if TYPE_CHECKING:
    from reagent_core.config import ReplacerName
    from reagent_core.study.cost import StudyCost
    from reagent_core.study.plan import Study
    from reagent_core.study.summary import Measure


_MOST_NOTES = 5
# A number in a sentence; not the 2 of "gpt2".
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")


def duration(seconds: float) -> str:
    """Two figures at most: "45 s", "3 min", "2 h 10 min", "3 days"."""
    if seconds < 59.5:
        return f"{max(1, round(seconds))} s"
    minutes = math.ceil(seconds / 60 - 1e-6)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    hours += minutes >= 30
    return f"{hours} h" if hours < 48 else f"{round(hours / 24)} days"


def cost_sentence(cost: StudyCost) -> str:
    """ "About 12 min: 40 tasks, 52,000 sequences, 1,400,000 tokens." """
    work = [f"{cost.tasks:,} task{'' if cost.tasks == 1 else 's'}"]
    if cost.requests:
        work.append(f"{_round(cost.requests)} requests to the server")
    work += [f"{_round(cost.sequences)} sequences", f"{_round(cost.tokens)} tokens"]
    lead = "About" if cost.seconds is None else f"About {duration(cost.seconds)}:"
    told = f"{lead} {', '.join(work)}."
    if cost.unread:
        told += f" {cost.unread} of the prompts looked at cannot be explained."
    return told


def size_words(study: Study) -> str:
    """ "40 prompts, 1 model, 3 methods." """
    counts = {"prompt": study.rows, "model": study.models, "method": study.methods}
    told = (f"{len(own):,} {name}{'' if len(own) == 1 else 's'}" for name, own in counts.items())
    return f"{', '.join(told)}."


def again_words(count: int) -> str:
    """What goes with the rest of a study that is gone on with (see `plan.made_before`)."""
    of_them = "1 was" if count == 1 else f"{count:,} were"
    return f"{of_them} done by another version of this program, and will be done again."


def missing_keys_words(study: Study) -> str:
    """How many keys are not in their prompts; empty where all are."""
    missing = sum(row.lacks_its_key for row in study.rows)
    if not missing:
        return ""
    keys = sum(row.key is not None for row in study.rows)
    return (
        f"Keys that are not in their prompts, letter for letter and as whole words: {missing:,} of "
        f"{keys:,}. “Key first” leaves these prompts out."
    )


def judged_words(study: Study, results: pd.DataFrame) -> str:
    """What stood in for units when the faithfulness was measured, and what it has to do with what
    the methods replaced with; empty while nothing is done.

    `results`: see `export.results_frame`. It depends on the model (see `another_replacer`).
    """
    used = results.dropna(subset=["replacer"]).groupby("replacer", sort=False)["model"].unique()
    told = []
    for replacer, models in used.items():
        those = f"With {', '.join(models)} the" if len(used) > 1 else "The"
        told.append(f"{those} faithfulness is judged with replacements by {_kin(study, replacer)}.")
    return " ".join(told)


def _kin(study: Study, judging: ReplacerName) -> str:
    replacing = [replaces(method) for method in study.methods]
    kin = kinship(study.config.replacer if any(replacing) else None, judging)
    some = kin != "other" and not all(replacing)
    return f"{judging}, which {kinship_words(kin)}" + (" (some methods replace nothing)" * some)


def note_lines(results: pd.DataFrame) -> list[str]:
    """What to know before comparing methods, each note with the number of prompts it is about.
    Of those that differ in their numbers alone the first is told.

    `results`: see `export.results_frame`.
    """
    noted = results.dropna(subset=["notes"]).drop_duplicates(["model", "row"])
    notes = noted["notes"].str.split("\n").explode()
    alike = notes.groupby(notes.str.replace(_NUMBER, "0", regex=True), sort=False)
    groups = sorted((group for _, group in alike), key=len, reverse=True)
    lines = []
    for group in groups[:_MOST_NOTES]:
        whose = "" if group.nunique() == 1 else " (numbers of the first)"
        lines.append(f"Of {_prompts(len(group))}{whose}: {group.iloc[0]}")
    if left := groups[_MOST_NOTES:]:
        more = pd.concat(left).index.nunique()
        lines.append(f"Of {_prompts(more)} there are other notes: beside each, and in the tables.")
    return lines


def _prompts(count: int) -> str:
    return f"{count:,} prompt{'' if count == 1 else 's'}"


def ended_words(ended: pd.Series) -> str:
    """A row of `summary.counts` as "40 prompts, 1 failed, 9 not done yet"."""
    parts = [f"{ended['done']:,} prompt{'' if ended['done'] == 1 else 's'} done"]
    parts += [f"{ended['failed']:,} failed"] if ended["failed"] else []
    parts += [f"{ended['waiting']:,} not done yet"] if ended["waiting"] else []
    return ", ".join(parts)


def number(value: float, measure: Measure, *, sign: bool = False) -> str:
    """A number of a measure; empty where it is not known."""
    return "" if pd.isna(value) else f"{value:{'+' if sign else ''},.{measure.digits}f}"


def over_words(mean: pd.Series, means: pd.DataFrame) -> str:
    """ "over 5 prompts" where a row of `summary` is of fewer than its method has done; else empty.

    `means`: rows of the same model.
    """
    done = means[means["method"] == mean["method"]]["n"].max()
    return f"over {mean['n']:,} prompt{'' if mean['n'] == 1 else 's'}" if mean["n"] < done else ""


def interval_words(low: float, high: float, measure: Measure) -> str:
    """ "0.41 to 0.63"; empty where there is none."""
    return "" if pd.isna(low) else f"{number(low, measure)} to {number(high, measure)}"


def _round(number: int) -> str:
    """Two digits: the rest is not known before."""
    if number < 100:
        return str(number)
    unit = 10 ** (len(str(number)) - 2)
    return f"{round(number / unit) * unit:,}"
