"""The attribution methods on offer, what each says of itself, and whether a model allows it.

Importing this takes no time: what computes them is loaded when it is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from reagent_core.errors import InputError

if TYPE_CHECKING:
    from reagent_core.scorers.base import Scorer

Needs = Literal["forwards", "gradients", "attention", "nothing"]

# The one that everything else here is compared with; `explain` runs it.
REAGENT: Final = "reagent"
# The same as it was published, within a budget, as one of the others.
PUBLISHED: Final = "reagent_paper"


@dataclass(frozen=True)
class Method:
    """One method.

    `name`: as on the command line and in files. `line`: what its numbers mean, for a reader.
    `source`: where its formula is from. `needs`: what it asks of a model. `nats`: whether what it
    finds is an effect, in nats (`UnitScore.effect`); else it is `UnitScore.attribution`.
    `budgeted`: whether it does as much work as it is given sequences for.
    """

    name: str
    label: str
    line: str
    source: str
    needs: Needs
    nats: bool = False
    budgeted: bool = False

    def why_not_from_outside(self) -> str | None:
        """None where a model that cannot be looked into, as one behind a server, allows this
        method, else a sentence why not."""
        if self.needs in ("forwards", "nothing"):
            return None
        return f"{self.label} looks inside a model, which only one in memory allows."

    def can(self, scorer: Scorer) -> str | None:
        """None where the model behind `scorer` allows this method, else a sentence why not."""
        why_not = self.why_not_from_outside()
        if why_not is None:
            return None
        from reagent_core.baselines.inside import Inside, why_no_attention

        if not isinstance(scorer, Inside):
            return why_not
        if self.needs == "gradients":
            return None
        if (
            self.name == "attention_rollout"
            and scorer.tokenizer.encode("a", add_special_tokens=True).closed
        ):
            return (
                "Attention rollout follows one stack of layers; this model has two, an encoder "
                "and a decoder."
            )
        return why_no_attention(scorer)


METHODS: Final = (
    Method(
        "gradient_norm",
        "Gradient norm",
        "How fast the log-probability changes with the token's embedding: the L2 norm of the "
        "gradient. Has no sign.",
        "Simonyan et al. 2014 (arXiv 1312.6034)",
        "gradients",
    ),
    Method(
        "input_x_gradient",
        "Input × gradient",
        "What the token's embedding adds to the log-probability, if the model were linear.",
        "Denil et al. 2014 (arXiv 1412.6815); Shrikumar et al. 2016 (arXiv 1605.01713)",
        "gradients",
    ),
    Method(
        "integrated_gradients",
        "Integrated gradients",
        "Input × gradient, averaged on the straight way from an unknown token to this one. The "
        "numbers add up to the change of the log-probability on that way.",
        "Sundararajan et al. 2017 (arXiv 1703.01365)",
        "gradients",
    ),
    Method(
        "gradient_shap",
        "Gradient SHAP",
        "Input × gradient, averaged at random points on the ways from random tokens to these.",
        "Lundberg & Lee 2017 (arXiv 1705.07874); Erion et al. 2021 (arXiv 1906.10670)",
        "gradients",
    ),
    Method(
        "attention",
        "Attention",
        "Share of the attention that the token gets when the target is said, mean over all heads "
        "and layers. Has no sign.",
        "Bahdanau et al. 2015 (arXiv 1409.0473); Jain & Wallace 2019 (arXiv 1902.10186)",
        "attention",
    ),
    Method(
        "attention_last",
        "Attention, last layer",
        "As attention, of the last layer alone.",
        "Jain & Wallace 2019 (arXiv 1902.10186)",
        "attention",
    ),
    Method(
        "attention_rollout",
        "Attention rollout",
        "Attention multiplied through all layers, half of each layer being the residual stream.",
        "Abnar & Zuidema 2020 (arXiv 2005.00928)",
        "attention",
    ),
    Method(
        "leave_one_out",
        "Leave-one-out",
        "What the log-probability loses when the token alone is replaced, mean over replacements.",
        "Zeiler & Fergus 2014 (arXiv 1311.2901); Li et al. 2016 (arXiv 1612.08220)",
        "forwards",
        nats=True,
        budgeted=True,
    ),
    Method(
        "shapley",
        "Shapley value sampling",
        "What the log-probability gains when the token is put back, mean over random orders in "
        "which all tokens are put back.",
        "Castro et al. 2009 (Computers & Operations Research 36); Štrumbelj & Kononenko 2010 "
        "(JMLR 11)",
        "forwards",
        nats=True,
        budgeted=True,
    ),
    Method(
        "surrogate",
        "Sparse linear surrogate",
        "Weight of the token in the sparse linear model that best tells the log-probability in "
        "ReAGent's own steps from what they replaced. Costs what the run costs.",
        "Cohen-Wang et al. 2024 (ContextCite, arXiv 2409.00729); Tibshirani 1996 (JRSS B 58)",
        "forwards",
        nats=True,
        budgeted=True,
    ),
    Method(
        PUBLISHED,
        "ReAGent as published",
        "Softmax score of the published procedure (preset paper): random starts and subsets, and "
        "probes that end when their stop test passes; as many probes as the budget allows.",
        "Zhao & Shan 2024 (arXiv 2402.00794)",
        "forwards",
        budgeted=True,
    ),
    Method(
        "random",
        "Random",
        "Random numbers: what any method must beat.",
        "none",
        "nothing",
    ),
)  # fmt: skip

_BY_NAME = {method.name: method for method in METHODS}


def method_named(name: str) -> Method:
    """The method of that name.

    Raises:
        InputError: there is none (field "settings").
    """
    if name not in _BY_NAME:
        known = ", ".join(_BY_NAME)
        raise InputError(f"There is no method “{name}”. There are: {known}.", "settings")
    return _BY_NAME[name]


def replaces(name: str) -> bool:
    """Whether the method replaces units; those that look inside, and random numbers, replace
    none. One that only a newer program knows is taken to."""
    return name not in _BY_NAME or _BY_NAME[name].needs == "forwards"


def label_of(name: str) -> str:
    """What a reader is told: the label, or the name where a newer program made it."""
    if name == REAGENT:
        return "ReAGent"
    return _BY_NAME[name].label if name in _BY_NAME else name
