"""How long a saved explanation takes to open: `python -m benchmarks.opening`.

Made-up explanations are put into a store; a server opens them in Chromium, each for the first
time. Timed in the browser, from the change of the address, made as the back button makes it, to
the drawn picture. A click on a link or on "Open" comes before that and is not in it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import psutil
from playwright.sync_api import Page, sync_playwright

from benchmarks.record import Row, save
from reagent_core.bundled import prepared_folder
from reagent_core.config import PRESETS
from reagent_core.curves import softmax
from reagent_core.effects import effects
from reagent_core.explanation import (
    AnswerToken,
    Counts,
    Explanation,
    Step,
    TargetInfo,
    UnitScore,
    Verdict,
)
from reagent_core.masks import unit_mask
from reagent_core.reagent import update
from reagent_core.request import ModelInfo
from reagent_core.store import Store
from scripts.served_app import launch, serve, stop

SIZES = ((300, 100, 1.0), (500, 50, 2.0))  # steps of each of three probes, tokens, goal in s

IDLE_S = 0.25  # of processor time in 4 s

# Goes to an address of the app without loading it anew, as the back button does, and notes when
# the coloured prompt, the curves and the last picture show a word of the new prompt.
_OPEN = """
([address, word]) => new Promise((done, failed) => {
  const started = performance.now(), seen = {};
  const charts = () => [...document.querySelectorAll(
    "[data-testid=stVegaLiteChart] :is(svg, canvas).marks")];
  const strips = () => [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")]
    .map((host) => host.shadowRoot?.querySelector("[role=toolbar]")).filter(Boolean);
  const look = () => {
    const drawn = charts(), now = (performance.now() - started) / 1000;
    const has = (chart) => chart && chart.textContent.includes(word);
    if (!seen.strip && strips()[0]?.textContent.includes(word)) seen.strip = now;
    if (!seen.curves && has(drawn[0])) seen.curves = now;
    if (drawn.length >= 9 && has(drawn[0]) && has(drawn.at(-1))) {
      seen.all = now;
      done(seen);
    } else if (now > 60) {
      failed(new Error(`after a minute: ${JSON.stringify(seen)}, ${drawn.length} charts`));
    } else requestAnimationFrame(look);
  };
  history.pushState({}, "", address);
  dispatchEvent(new PopStateEvent("popstate"));
  look();
})
"""


def made_up(word: str, steps: int, tokens: int, seed: int) -> Explanation:
    """A run of three probes whose first token matters most; every token begins with `word`."""
    config = PRESETS["standard"].model_copy(
        update={"min_steps": steps, "max_steps": steps, "ratio": 0.1, "seed": seed}
    )
    draw = np.random.default_rng(seed)
    worth = draw.exponential(0.2, tokens)
    worth[0] = 3.0
    before = np.log(0.42)
    masks, values, trace = [], [], []
    scores = np.zeros((config.probes, 1, tokens))
    for step in range(steps):
        for probe in range(config.probes):
            mask = unit_mask(tokens, config, probe, step)
            value = min(before - worth[mask].sum() + draw.normal(0, 0.2), -1e-6)
            change = np.exp(before) - np.exp(value)
            scores[probe] += update(np.array([change]), mask, config)
            replaced = np.flatnonzero(mask).tolist()
            masks.append(mask)
            values.append(value)
            trace.append(
                Step(
                    probe=probe,
                    step=step,
                    replaced=tuple(replaced),
                    replacements=(" other",) * len(replaced),
                    probability=float(np.exp(value)),
                    value=float(value),
                    change=float(change),
                    scores=tuple(np.round(scores[probe, 0], 5).tolist()),
                    rank=2 if step == steps - 1 else None,
                )
            )
    found = effects(
        np.array(masks),
        np.array(values)[:, None],
        np.array([before]),
        anchored=config.anchored,
        probes=np.array([each.probe for each in trace]),
    )
    shares = softmax(scores[:, 0]).mean(0)
    units, at = [], 0
    for i in range(tokens):
        text = f"{word}{i} "
        units.append(
            UnitScore(
                text=text,
                start=at,
                end=at + len(text),
                protected=False,
                score=float(shares[i]),
                effect=float(found.mean[0, i]),
                effect_low=float(found.low[0, i]),
                effect_high=float(found.high[0, i]),
            )
        )
        at += len(text)
    answer = AnswerToken(text=" yes", start=0, end=4, token_id=1, probability=0.42)
    return Explanation(
        prompt="".join(unit.text for unit in units),
        answer=answer.text,
        answer_tokens=(answer,),
        target=TargetInfo(
            text=" yes", token_ids=(1,), probability=0.42, value=float(before),
            answer_start=0, answer_stop=1,
        ),
        units=tuple(units),
        verdict=Verdict(
            settled=True, text="Settled.", top=1, steps=steps, unchanged_steps=steps, probes=3,
            probes_agreeing=3, probes_stopped=0, more_steps=0,
        ),
        config=config,
        model=ModelInfo(id="bundled", revision_or_sha256="0"),
        versions={},
        counts=Counts(forwards=0, sequences=0, tokens=0),
        seconds=0.0,
        trace=tuple(trace),
    )  # fmt: skip


def opened(page: Page, key: str, word: str) -> dict[str, float]:
    """Seconds from the new address to the coloured prompt, the curves and the last picture."""
    seen: dict[str, float] = page.evaluate(_OPEN, [f"/convergence?run={key}", word])
    page.wait_for_timeout(1500)  # what the browser still tidies up belongs to this one
    return seen


def wait_until_idle(page: Page, server: psutil.Process) -> None:
    """Until the server has loaded the bundled model and measured its speed."""
    spent = -np.inf
    while (now := sum(server.cpu_times()[:2])) - spent > IDLE_S:
        spent = now
        page.wait_for_timeout(4000)


def measured(
    address: str, server: psutil.Process, saved: dict[str, tuple[int, int, str]]
) -> list[Row]:
    """Open all that is `saved`: a row a size and picture. Of each: its key, and steps, tokens and
    the word its tokens begin with."""
    rows: list[Row] = []
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{address}/convergence")
        page.get_by_text("before and after softmax").wait_for(timeout=60_000)
        page.wait_for_timeout(4000)  # the model is loaded once the page is out
        wait_until_idle(page, server)
        for steps, tokens, goal in SIZES:
            seen = [
                opened(page, key, word)
                for key, (*size, word) in saved.items()
                if size == [steps, tokens]
            ][1:]  # the first one warms up
            what = f"{steps} steps x {tokens} tokens, 3 probes"
            for part, told in (
                ("strip", "coloured prompt (s)"),
                ("curves", "curves (s)"),
                ("all", "all nine pictures (s)"),
            ):
                rows.append(
                    {
                        "what": f"{what}: {told}",
                        "goal": str(goal) if part == "curves" else "",
                        "median": round(median(each[part] for each in seen), 2),
                        "slowest": round(max(each[part] for each in seen), 2),
                    }
                )
        browser.close()
    return rows


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        # The bundled model is there already, as on any machine that has run once.
        model = prepared_folder()
        (Path(folder) / model.name).symlink_to(model, target_is_directory=True)
        store = Store(Path(folder) / "explanations.sqlite3")
        saved: dict[str, tuple[int, int, str]] = {}
        for steps, tokens, _ in SIZES:
            for run in range(runs + 1):
                key, word = f"{len(saved):064x}", f"w{len(saved)}x"
                store.put(key, made_up(word, steps, tokens, run))
                saved[key] = (steps, tokens, word)
        store.close()
        server, address = serve({**os.environ, "REAGENT_CACHE_DIR": folder})
        try:
            rows = measured(address, psutil.Process(server.pid), saved)
        finally:
            stop(server)
    notes = [
        "From the change of the address to the picture, in Chromium; each explanation is read from "
        f"the store for the first time; {runs} of each size after one to warm up.",
    ]
    save("opening", rows, notes)


if __name__ == "__main__":
    main()
