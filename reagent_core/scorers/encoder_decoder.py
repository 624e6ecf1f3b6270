"""A transformers encoder-decoder model (T5, BART) as a `Scorer`.

A sequence is the source up to its closing token, then what the decoder has said. The source is the
prompt whose tokens are explained. No replacement and no answer holds the closing token, so its last
occurrence tells the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

from reagent_core.errors import ModelError
from reagent_core.request import ModelInfo
from reagent_core.scorers.base import (
    BoolArray,
    FloatArray,
    GeneratedToken,
    IntArray,
    Predictions,
    Prefix,
    TokenScores,
    never,
)
from reagent_core.scorers.eager import check_room, eager_copy, mean_over_heads
from reagent_core.scorers.greedy import end_ids, greedy_answer
from reagent_core.scorers.hf_tokenizer import HFTokenizer
from reagent_core.scorers.infilling import apart, infilling_of
from reagent_core.scorers.local import LocalScorer
from reagent_core.scorers.logits import best, distributions, log_probabilities_of, scores_of
from reagent_core.scorers.memory import (
    lack_of_memory_told,
    positions_at_once,
    sequences_at_once,
)
from reagent_core.scorers.read_places import ReadPlaces


class EncoderDecoderScorer(LocalScorer):
    """An encoder-decoder LM in eval mode with its fast tokenizer. Safe to share between threads.

    Raises:
        ModelError: the tokenizer does not mark where a source ends, or the model does not say what
            its answers begin with.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, info: ModelInfo
    ) -> None:
        self._model = model.eval()
        self._tokenizer = HFTokenizer(tokenizer, closed=True)
        self._info = info
        if not self._tokenizer.closing_ids:
            raise ModelError(
                "This model's tokenizer puts no token behind a text, so prompt and answer cannot "
                "be told apart. Choose an encoder-decoder model that ends its source with one, as "
                "T5 and BART do."
            )
        self._closing = self._tokenizer.closing_ids[-1]
        self._opening = _opening(model)
        self._end_ids = tuple(sorted({*end_ids(model, tokenizer), self._closing}))
        self._infilling = infilling_of(tokenizer)
        self._read = ReadPlaces(model)
        # Plain greedy decoding, as for causal models; what an answer begins with stays known.
        start, *forced = self._opening
        model.generation_config = GenerationConfig(
            decoder_start_token_id=start, forced_bos_token_id=forced[0] if forced else None
        )

    @property
    def info(self) -> ModelInfo:
        """Which model this is."""
        return self._info

    @property
    def tokenizer(self) -> HFTokenizer:
        """Its tokenizer."""
        return self._tokenizer

    @property
    def context_length(self) -> int:
        """Longest source in tokens; very large where places are relative, as in T5."""
        config = getattr(self._model.config, "encoder", None) or self._model.config
        return int(getattr(config, "max_position_embeddings", None) or 2**20)

    def batch_size(self, length: int, reads: int, shared: int = 0) -> int:
        """Sequences of `length` tokens that make one forward call and fit into memory."""
        return sequences_at_once(self._model, length, reads, shared)

    def prefix(self, token_ids: Sequence[int], frozen: int) -> Prefix | None:
        """None: an encoder reads every token in the light of those after it, too."""
        return None

    @torch.inference_mode()
    def score(
        self, inputs: IntArray, targets: Sequence[int], prefix: Prefix | None = None
    ) -> TokenScores:
        """The encoder runs once for each distinct source; a sequence without closing token is all
        source, up to where the first target is read."""
        reads = len(targets)
        length = self._source_length(inputs, inputs.shape[1] - reads + 1)
        if not reads or length > inputs.shape[1] - reads + 1:
            raise ValueError("every target needs a place behind the source")
        with lack_of_memory_told():
            sources, which = np.unique(inputs[:, :length], axis=0, return_inverse=True)
            encoded = self._encoded(sources)[torch.from_numpy(which.reshape(-1))]
            said = self._begun(inputs[:, length:])
            return scores_of(self._logits(encoded, said, range(said.shape[1])[-reads:]), targets)

    @torch.inference_mode()
    @lack_of_memory_told()
    def predict(self, token_ids: Sequence[int], k: int, allowed: BoolArray) -> Predictions:
        """Tokens of the source by infilling, those of the decoder from their left context."""
        ids = np.asarray([list(token_ids)], np.int64)
        length = self._source_length(ids, ids.shape[1])
        found = np.zeros((ids.shape[1], k), np.int64)
        probabilities = np.zeros((ids.shape[1], k))
        for places, (top, p) in [
            *self._filled(ids[0, :length].tolist(), k, allowed),
            *self._continued(ids, length, k, allowed),
        ]:
            found[places], probabilities[places] = top, p
        return Predictions(found, probabilities)

    @torch.inference_mode()
    def generate(
        self,
        token_ids: Sequence[int],
        max_new_tokens: int,
        cancelled: Callable[[], bool] = never,
    ) -> tuple[GeneratedToken, ...]:
        """Greedy decoding with each token's probability and its five strongest rivals."""
        ids = np.asarray([list(token_ids)], np.int64)
        length = self._source_length(ids, ids.shape[1])
        source = torch.from_numpy(ids[:, :length]).to(self._model.device)
        inputs = {
            "input_ids": source,
            "attention_mask": torch.ones_like(source),
            "decoder_input_ids": self._begun(ids[:, length:]),
        }
        return greedy_answer(
            self._model, inputs, max_new_tokens, self._end_ids, self._tokenizer.decode, cancelled
        )

    @property
    def embedding_width(self) -> int:
        """Elements of a token's embedding."""
        return int(self._model.get_encoder().get_input_embeddings().weight.shape[1])

    @torch.inference_mode()
    def next_tokens(self, token_ids: Sequence[int], reads: int, kept: BoolArray) -> FloatArray:
        """Next-token distributions [B, reads, V] with elements of the source's embeddings zeroed;
        what the decoder has said stays as it is."""
        ids = np.asarray([list(token_ids)], np.int64)
        length = self._source_length(ids, ids.shape[1] - reads + 1)
        encoder, device = self._model.get_encoder(), self._model.device
        with lack_of_memory_told():
            source = torch.from_numpy(ids[0, :length]).to(device)
            mask = torch.from_numpy(kept[:, :length]).to(device)
            embedded = encoder.get_input_embeddings()(source) * mask
            encoded = encoder(inputs_embeds=embedded).last_hidden_state
            said = self._begun(np.repeat(ids[:, length:], len(kept), axis=0))
            return distributions(self._logits(encoded, said, range(said.shape[1])[-reads:]))

    @property
    def reference_id(self) -> int | None:
        """The token that stands for nothing known."""
        return self._tokenizer.reference_id

    def embedded(self, token_ids: Sequence[int]) -> torch.Tensor:
        """Embeddings [1, S, E] of the S tokens of a source."""
        ids = torch.tensor([list(token_ids)], device=self._model.device)
        embeddings: torch.Tensor = self._model.get_encoder().get_input_embeddings()(ids)
        return embeddings.detach()

    def log_probabilities(
        self, embedded: torch.Tensor, said: Sequence[int], targets: Sequence[int]
    ) -> torch.Tensor:
        """Log-probabilities [B, M] of tokens read at the last M places, with their gradient.

        `embedded` [B, S, E]: the source; the decoder has `said` so much.
        """
        with lack_of_memory_told():
            encoded = self._model.get_encoder()(
                inputs_embeds=embedded.to(self._model.dtype)
            ).last_hidden_state
            begun = self._begun(np.asarray([list(said)] * len(embedded), np.int64))
            logits = self._logits(encoded, begun, range(begun.shape[1])[-len(targets) :])
            return log_probabilities_of(logits, targets)

    @torch.inference_mode()
    def attentions(self, token_ids: Sequence[int], said: Sequence[int]) -> FloatArray:
        """Cross-attention [layers, D, S] from the D decoder tokens to the S of the source, the
        mean over heads.

        Raises:
            OutOfMemory: there is no room for all.
        """
        source = np.asarray([list(token_ids)], np.int64)
        check_room(self._model, len(token_ids) + len(said))
        with lack_of_memory_told():
            output = eager_copy(self._model, self._read)(
                encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded(source)),
                decoder_input_ids=self._begun(np.asarray([list(said)], np.int64)),
                use_cache=False,
                output_attentions=True,
            )
            told = mean_over_heads(getattr(output, "cross_attentions", None))
            return told.cpu().double().numpy()

    def _source_length(self, inputs: IntArray, otherwise: int) -> int:
        """Tokens of the source in each of `inputs` [B, S]; `otherwise` where none closes it."""
        closing = inputs == self._closing
        last = inputs.shape[1] - closing[:, ::-1].argmax(1)
        lengths = np.where(closing.any(1), last, otherwise)
        if (lengths != lengths[0]).any():
            raise ValueError("the sources of a batch must be equally long")
        return int(lengths[0])

    def _filled(
        self, source: list[int], k: int, allowed: BoolArray
    ) -> list[tuple[list[int], tuple[IntArray, FloatArray]]]:
        """Places of the source with what the model would fill them with."""
        if self._infilling is None:
            raise ModelError(
                "This model was not trained to fill gaps in its prompt, so it cannot propose "
                "replacements. Choose the replacer “uniform”."
            )
        most = min(self._infilling.most(source), positions_at_once(self._model))
        special = [i for i, token in enumerate(source) if token in self._tokenizer.special_ids]
        ordinary = [i for i in range(len(source)) if i not in special]
        filled = []
        # Special tokens are never replaced; left out in rows of their own they harm no other.
        for places in apart(ordinary, most) + apart(special, most):
            gaps = self._infilling.gaps(source, places, self._opening)
            said = torch.tensor([gaps.decoder], device=self._model.device)
            logits = self._logits(self._encoded(np.asarray([gaps.source])), said, gaps.read)
            filled.append((places, best(logits[0], k, allowed)))
        return filled

    def _continued(
        self, ids: IntArray, length: int, k: int, allowed: BoolArray
    ) -> list[tuple[list[int], tuple[IntArray, FloatArray]]]:
        """Places behind the source with what the model would say there."""
        places = list(range(length, ids.shape[1]))
        if not places:
            return []
        encoded, said = self._encoded(ids[:, :length]), self._begun(ids[:, length:-1])
        size = positions_at_once(self._model)
        first = said.shape[1] - len(places) - length
        return [
            (part, best(self._logits(encoded, said, [first + i for i in part])[0], k, allowed))
            for part in (places[low : low + size] for low in range(0, len(places), size))
        ]

    def _encoded(self, sources: IntArray) -> torch.Tensor:
        """The encoder's hidden states [B, S, hidden] of sources [B, S]."""
        encoder = self._model.get_encoder()
        hidden: torch.Tensor = encoder(
            input_ids=torch.from_numpy(sources).to(self._model.device)
        ).last_hidden_state
        return hidden

    def _begun(self, said: IntArray) -> torch.Tensor:
        """Decoder tokens [B, D] behind those that every answer begins with: [B, opening + D]."""
        opening = np.tile(np.asarray(self._opening, np.int64), (len(said), 1))
        return torch.from_numpy(np.concatenate([opening, said], axis=1)).to(self._model.device)

    def _logits(
        self, encoded: torch.Tensor, said: torch.Tensor, places: Sequence[int]
    ) -> torch.Tensor:
        """Logits [B, P, vocabulary] in fp32 behind P `places` of what was `said` [B, D]."""
        with self._read.only(torch.tensor([list(places)], device=said.device)):
            output = self._model(
                encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
                decoder_input_ids=said,
                use_cache=False,
            )
        logits: torch.Tensor = output.logits.float()
        return logits


def _opening(model: PreTrainedModel) -> tuple[int, ...]:
    """What the decoder reads before its answer: its start token, and the token it is made to say
    first, if there is one (BART's BOS, the language of a translation)."""

    def named(key: str) -> int | None:
        for config in (model.generation_config, model.config):
            value = getattr(config, key, None)
            if value is not None:
                return int(value)
        return None

    start = named("decoder_start_token_id")
    start = named("bos_token_id") if start is None else start
    if start is None:
        raise ModelError(
            "This model does not say which token its answers begin with. Add "
            "decoder_start_token_id to its config.json."
        )
    forced = named("forced_bos_token_id")
    return (start,) if forced is None else (start, forced)
