"""Gradient methods on the embeddings of the context; gradients and their integrals are Captum's.

What is differentiated is the sum of the target's log-probabilities (minus those of a foil), each
read behind the tokens before it (teacher forcing), in one forward, without key-value cache.
Captum's `LLMGradientAttribution` comes to the same numbers with a gradient for each token of the
target; its `LLMAttribution` does not, with the cache it uses unless told otherwise
(tests/test_baselines_inside.py).

A token's attribution is the sum over its embedding's elements (for the gradient norm the L2 norm);
a unit's is the sum over its tokens.

Where integrated gradients start: as in Inseq, with which the ReAGent paper's numbers were made, at
the embedding of the unknown token (where a tokenizer has none: padding, or end of text). What is
protected starts at itself, as do Inseq's end-of-text tokens, so that what is attributed adds up.
Gradient SHAP is defined over a distribution of starts; Inseq gives it the same single one, which
makes it integrated gradients with a random quadrature. Here every sample starts at other random
tokens of the vocabulary.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency

from reagent_core.baselines.case import Case, Found, unit_sums
from reagent_core.baselines.inside import Inside, inside
from reagent_core.errors import Cancelled, OutOfMemory
from reagent_core.masks import Purpose, generator
from reagent_core.scorers.base import FloatArray

# Captum's default number of points between start and input (Gauss-Legendre), and as many samples.
STEPS = 50
SAMPLES = 50

# Numbers that add up to something else by more than so much (nats, and share) are not right.
_LITTLE, _SLIGHT = 0.1, 0.1

# A backward holds the activations of all layers, not of one.
_ROOM = 4


class Value:
    """The target's value (nats) as a function of the context's embeddings, with its gradient."""

    def __init__(self, case: Case, model: Inside) -> None:
        self._case, self._model = case, model

    def __call__(self, embedded: torch.Tensor) -> torch.Tensor:
        """Values [B] of embeddings [B, S, E]."""
        targets = self._case.targets
        low, high = targets.spans[0]
        value = self._read(embedded, targets.continuation[:high], low)
        if targets.foil is not None:
            value = value - self._read(embedded, targets.foil, 0)
        return value

    def _read(self, embedded: torch.Tensor, ids: tuple[int, ...], low: int) -> torch.Tensor:
        """Sum [B] of the log-probabilities of `ids` from `low` on."""
        case = self._case
        if case.cancelled():
            raise Cancelled("Stopped.")
        said = () if case.targets.in_context else ids[:-1]
        told = self._model.log_probabilities(embedded, said, ids[low:])
        case.work.forwards += 1
        case.work.sequences += len(embedded)
        case.work.tokens += len(embedded) * (embedded.shape[1] + len(said))
        case.work.backwards += len(embedded) if embedded.requires_grad else 0
        return told.sum(1)


def gradient_norm(case: Case) -> Found:
    """||d value / d embedding||_2 of each token."""
    value, embedded = _opened(case)
    gradient = Saliency(value).attribute(embedded, abs=False)
    return _found(case, gradient[0].float().norm(dim=1), "One gradient was taken.")


def input_x_gradient(case: Case) -> Found:
    """<embedding, d value / d embedding> of each token."""
    value, embedded = _opened(case)
    product = InputXGradient(value).attribute(embedded)
    return _found(case, product[0].float().sum(1), "One gradient was taken.")


def integrated_gradients(case: Case) -> Found:
    """<embedding - start, mean gradient on the straight way between them> of each token."""
    value, embedded = _opened(case)
    start = _reference(case, embedded)
    explainer = IntegratedGradients(value)
    size = _at_once(case)
    while True:
        try:
            found = explainer.attribute(embedded, start, n_steps=STEPS, internal_batch_size=size)
            break
        except OutOfMemory:
            if size == 1:
                raise
            size //= 2
    tokens = found[0].detach().float().sum(1)
    with torch.no_grad():
        gained = case.original - float(value(start)[0])
    off = abs(float(tokens.sum()) - gained)
    # Captum calls it the convergence delta.
    warnings = (
        (
            f"The numbers should add up to {gained:.2f} nats and add up to {tokens.sum():.2f}: "
            f"{STEPS} points are too few for so steep a model.",
        )
        if off > max(_LITTLE, _SLIGHT * abs(gained))
        else ()
    )
    told = (
        f"Gradients were taken at {STEPS} points between an unknown token and each token; on the "
        f"way {gained:.2f} nats are gained."
    )
    return replace(_found(case, tokens, told), warnings=warnings)


def gradient_shap(case: Case) -> Found:
    """Mean over samples of <embedding - start, gradient at a random point between them>.

    Every sample has random numbers of its own, whatever is computed together. Captum's
    `GradientShap` draws those of a batch at once, so that its numbers depend on how much memory is
    free.
    """
    value, embedded = _opened(case)
    explainer, size = Saliency(value), _at_once(case)
    own = embedded.detach()
    total, done = torch.zeros(own.shape[1], device=own.device), 0
    while done < SAMPLES:
        samples = range(done, min(done + size, SAMPLES))
        starts = torch.cat([_random_start(case, own, sample) for sample in samples])
        ways = own - starts
        points = starts + _shares(case, samples).to(own)[:, None, None] * ways
        try:
            gradients = explainer.attribute(points.requires_grad_(), abs=False)
        except OutOfMemory:
            if size == 1:
                raise
            size //= 2
            continue
        total += (ways * gradients).float().sum((0, 2))
        done = samples.stop
    told = f"Gradients were taken at {SAMPLES} random points between random tokens and these."
    return _found(case, total / SAMPLES, told)


def _opened(case: Case) -> tuple[Value, torch.Tensor]:
    model = inside(case.scorer)
    return Value(case, model), model.embedded(case.context.token_ids).requires_grad_()


def _reference(case: Case, embedded: torch.Tensor) -> torch.Tensor:
    """The embeddings [1, S, E] with those of all free tokens the unknown token's."""
    unknown = inside(case.scorer).reference_id
    ids = list(case.context.token_ids)
    start = embedded.detach().clone()
    for position in case.context.free_positions:
        if unknown is None:
            start[0, position] = 0.0
        else:
            ids[position] = unknown
    return start if unknown is None else inside(case.scorer).embedded(ids)


def _random_start(case: Case, embedded: torch.Tensor, sample: int) -> torch.Tensor:
    """The embeddings [1, S, E] with random ordinary tokens in all free places."""
    numbers = generator(case.request.config.seed, Purpose.GRADIENT, sample)
    ordinary = case.scorer.tokenizer.ordinary_ids
    ids, places = np.array(case.context.token_ids), list(case.context.free_positions)
    ids[places] = np.asarray(ordinary)[numbers.integers(len(ordinary), size=len(places))]
    return inside(case.scorer).embedded(ids.tolist()).to(embedded.dtype)


def _shares(case: Case, samples: range) -> torch.Tensor:
    """How far along its way each sample's point is [B], in [0, 1)."""
    seed = case.request.config.seed
    drawn = [generator(seed, Purpose.GRADIENT, sample, 1).random() for sample in samples]
    return torch.tensor(drawn)


def _at_once(case: Case) -> int:
    """Sequences whose gradients are taken together."""
    return max(1, case.meter.sequences_at_once(len(case.context.token_ids)) // _ROOM)


def _found(case: Case, tokens: torch.Tensor, told: str) -> Found:
    numbers: FloatArray = tokens.detach().cpu().double().numpy()
    return Found(unit_sums(case.context, numbers), told)
