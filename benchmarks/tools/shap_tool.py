"""SHAP's PartitionExplainer over the log-probability of the answer, with its own text masker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shap
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.tools.worker import Finding, Job, serve

MAX_EVALS = 500  # SHAP's default, written down because it decides the time


def load(folder: str) -> tuple[Any, Any, Any]:
    """The model, its tokenizer, and the attribution of one job."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    masker = shap.maskers.Text(tokenizer)

    def attribute(job: Job) -> Finding:
        answer = torch.tensor(job.answer_ids)

        @torch.inference_mode()
        def log_probabilities(texts: Sequence[str]) -> np.ndarray:
            """Log-probability of the answer after each of B texts (nats), [B]."""
            batch = tokenizer(list(texts), return_tensors="pt", padding=True)
            given = answer.expand(len(texts), -1)
            ids = torch.cat([batch["input_ids"], given[:, :-1]], dim=1)
            mask = torch.cat([batch["attention_mask"], torch.ones_like(given[:, :-1])], dim=1)
            logits = model(
                input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=len(answer)
            ).logits
            chosen = logits.log_softmax(-1).gather(2, given[:, :, None])
            return chosen.sum((1, 2)).double().numpy()

        explainer = shap.PartitionExplainer(log_probabilities, masker)
        values = explainer([job.prompt], max_evals=MAX_EVALS, silent=True).values[0]
        return Finding(tuple(values.tolist()))

    return model, tokenizer, attribute


if __name__ == "__main__":
    serve(load)
