"""A thousand tokens in which one sentence matters: `python -m benchmarks.needle`.

The seconds an explanation of it takes with the Quick preset, and which words end on top.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from benchmarks.record import Row, save
from reagent_core import models
from reagent_core.config import PRESETS
from reagent_core.explain import explain_now
from reagent_core.request import AnswerTokens, Request
from reagent_core.sentences import ranking

NEEDLE = "She hides the key of the library inside the yellow teapot."
BEFORE = (
    "The village lies in a quiet valley between two hills. A narrow road leads past the old mill "
    "and the church to the market square, where farmers sell apples, cheese and bread every "
    "Saturday. In spring the meadows are full of flowers, and the children run along the brook to "
    "the wooden bridge. The baker opens his shop long before sunrise, and the smell of fresh bread "
    "drifts through the lanes. On the north side of the square stands the town hall, built of grey "
    "stone, with a clock that has been ten minutes late for as long as anybody can remember. The "
    "mayor says it teaches people patience. Behind the town hall there is a garden with benches, "
    "where the old men sit in the evening and talk about the weather. The school has two classes "
    "and one teacher, who came from the coast many years ago and never left. Every autumn the "
    "whole village helps to bring in the harvest, and afterwards there is a feast with music and "
    "dancing in the big barn. The blacksmith plays the accordion, his daughter sings, and nobody "
    "goes home before midnight. In winter the road over the pass is closed by snow, and the post "
    "arrives only twice a week. People then read a great deal, play cards, or repair what was "
    "broken during the year. The doctor lives in the next town, but she visits on Mondays and "
    "Thursdays, and she has never been late. There is one inn, with six rooms and a dark wooden "
    "staircase, whose owner collects clocks from all over the world. Guests are woken by forty of "
    "them at once. A stonemason built the staircase two hundred years ago and carved a small owl "
    "into the lowest step; children touch it for luck before a test. From the upper windows one "
    "sees the whole valley, the brook, the bridge, and the orchards on the southern slope. The "
    "orchards belong to three families who have argued about a fence for two generations. Nobody "
    "remembers how the quarrel began, but everybody has an opinion about it. In September the "
    "apples are pressed into cider, and the families forget the fence for a week. The cider is "
    "sold in the next valley, too, where people claim that theirs is better. A long path leads "
    "over the ridge from one valley to the other, past a hut with a stove and a guest book. "
    "Hikers write their names into the book, and sometimes a poem. The warden of the hut is "
    "eighty years old and carries the firewood up himself. Maria works in the small "
    "library next to the school."
)
AFTER = (
    "In the evening she walks along the river with her dog and talks to the fishermen. Her brother "
    "repairs bicycles in a workshop near the station, and their father plays the violin in the "
    "town orchestra. The orchestra meets on Wednesdays in the gymnasium and prepares a concert for "
    "the summer. Last year they played waltzes, and the people clapped for a long time. A young "
    "painter has moved into the old mill and paints the hills in every light. Some neighbours "
    "think his pictures are too bright, others have bought one for the living room. At the end of "
    "the valley a forester looks after the woods. He knows every deer, and he can tell from the "
    "sound of the wind whether it is going to rain. The forester's wife keeps bees and sells honey "
    "in small glasses with handwritten labels. Twice a year a circus comes and puts up its tent on "
    "the meadow by the brook. Then the school closes early, and even the mayor queues for a "
    "ticket. The railway brought the first visitors sixty years ago; they came for the clean air "
    "and stayed for the food. Today there are two trains a day, a red one in the morning and a "
    "blue one in the afternoon. The station master waters the geraniums on the platform himself. "
    "When the last train has left, he locks the waiting room and cycles home. On clear nights one "
    "can see the lights of the city far away beyond the plain. Most people of the village have "
    "been there once or twice, and most of them were glad to come back. The grocer is the only one "
    "who goes there every week, because he buys coffee and spices at the great market. He has a "
    "grey van with a dent in the door, which he got when he tried to avoid a hedgehog. The "
    "hedgehog was unharmed, and the grocer still tells the story to everybody who asks about the "
    "dent. Near the church there is a fountain with very cold water. Travellers fill their bottles "
    "there, and brides throw a coin into it on the day of their wedding. The priest collects the "
    "coins once a year and buys books for the school with them. He says that this is the best use "
    "of a wish he can think of. This morning Maria wanted to open the library, so she went to get "
    "the key from inside the yellow"
)
TEXT = f"{BEFORE} {NEEDLE} {AFTER}"


def resident_mib(field: str) -> float:
    """Memory of this process on Linux: "VmRSS" now, "VmHWM" the most since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(field)]
    return int(line.split()[1]) / 1024


def main() -> None:
    """Measure and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    scorer = models.load("bundled")
    loaded = resident_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget what loading took
    found = [
        explain_now(
            Request(
                prompt=TEXT,
                target=AnswerTokens(),
                max_new_tokens=1,
                config=PRESETS["quick"].model_copy(update={"seed": seed}),
            ),
            scorer,
        )
        for seed in range(runs)
    ]
    peak = resident_mib("VmHWM") - loaded
    inside = range(TEXT.index(NEEDLE), TEXT.index(NEEDLE) + len(NEEDLE))
    rows: list[Row] = []
    for seed, each in enumerate(found):
        top = [each.units[i] for i in ranking(each)[:5]]
        rows.append(
            {
                "seed": seed,
                "answer": each.answer,
                "seconds": round(each.seconds, 1),
                "sequences": each.counts.sequences,
                "tokens through the model": each.counts.tokens,
                "strongest units": ", ".join(unit.text.strip() for unit in top),
                "of them in the sentence": sum(unit.start in inside for unit in top),
            }
        )
    length = len(scorer.tokenizer.encode(TEXT, add_special_tokens=True).token_ids)
    seconds = median(each.seconds for each in found)
    notes = [
        f"A prompt of {length:,} tokens; median {seconds:.0f} s.",
        f"Peak memory over the loaded model: {peak:,.0f} MiB.",
    ]
    save("needle", rows, notes)


if __name__ == "__main__":
    main()
