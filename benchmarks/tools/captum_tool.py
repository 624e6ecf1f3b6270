"""Captum's perturbation methods for language models, as its tutorial calls them."""

from __future__ import annotations

from typing import Any

import torch
from captum.attr import FeatureAblation, LLMAttribution, ShapleyValueSampling, TextTokenInput
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.tools.worker import Finding, Job, serve

# What `method` of a job may be: the method, its options, and whether the answer is read token by
# token (Captum's default) or in one forward pass.
METHODS: dict[str, tuple[Any, dict[str, int], bool]] = {
    "FeatureAblation": (FeatureAblation, {}, True),
    "FeatureAblation, one pass": (FeatureAblation, {}, False),
    "ShapleyValueSampling": (ShapleyValueSampling, {"n_samples": 25}, True),
    "ShapleyValueSampling, one pass": (ShapleyValueSampling, {"n_samples": 25}, False),
}


def load(folder: str) -> tuple[Any, Any, Any]:
    """The model, its tokenizer, and the attribution of one job."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def attribute(job: Job) -> Finding:
        method, options, in_tokens = METHODS[job.method]
        result = LLMAttribution(method(model), tokenizer).attribute(
            TextTokenInput(job.prompt, tokenizer),
            target=torch.tensor(job.answer_ids),
            # With its key-value cache Captum 0.9 feeds the whole text again at every answer
            # token, and scores a text that nobody asked about.
            use_cached_outputs=False,
            forward_in_tokens=in_tokens,
            **options,
        )
        return Finding(tuple(result.seq_attr.tolist()))

    return model, tokenizer, attribute


if __name__ == "__main__":
    serve(load)
