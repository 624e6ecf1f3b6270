"""Charts as files: readable on their own, and made without a network."""

from __future__ import annotations

import io
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.charts import TOP_COLOURS, curves_chart, effects_chart
from components.pictures import WIDTH, picture
from reagent_core.colours import contrast
from tests.examples import UnitSpec, make_explanation

SPEC = {
    "mark": "line",
    "encoding": {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "value", "type": "quantitative"},
    },
}
ROWS = pd.DataFrame({"step": [1, 2, 3], "value": [0.5, 0.7, float("nan")]})


def test_an_svg_holds_its_words_and_asks_nobody() -> None:
    svg = picture(*reversed(effects_chart(make_explanation())), "svg").decode()
    assert all(f">{word}<" in svg for word in ("Thailand", "same", "×100"))
    assert set(re.findall(r"https?://[^\"' ]+", svg)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


@pytest.mark.parametrize(("theme", "page"), [("light", "#ffffff"), ("dark", "#10151c")])
def test_words_are_readable_on_the_background(theme: str, page: str) -> None:
    chart = curves_chart(make_explanation(), np.tile(np.arange(14.0), (8, 1)))
    svg = picture(chart.spec, chart.rows, "svg", theme).decode()
    assert f'fill="{page}"' in svg
    words = re.findall(r'<text[^>]* fill="(#\w{6})"[^>]*>([^<]+)<', svg)
    assert {"step", "capital"} <= {text for _, text in words}
    for colour, _ in words:
        # The names of curves have the colours of their lines, and are bold.
        assert contrast(colour, page) >= (3 if colour in TOP_COLOURS else 4.5)


def test_a_png_is_twice_as_large() -> None:
    image = Image.open(io.BytesIO(picture(SPEC, ROWS, "png")))
    assert image.format == "PNG" and image.width > 2 * WIDTH
    dark = Image.open(io.BytesIO(picture(SPEC, ROWS, "png", "dark")))
    assert dark.convert("RGB").getpixel((0, 0)) == (0x10, 0x15, 0x1C)


def test_a_width_that_only_a_page_has_is_left_to_the_picture() -> None:
    whole = picture({**SPEC, "width": "container"}, ROWS, "svg")
    assert whole == picture(SPEC, ROWS, "svg")
    beside = {"hconcat": [{**SPEC, "width": "container"}, {**SPEC, "width": 90}]}
    width = re.search(rb'viewBox="0 0 (\d+)', picture(beside, ROWS, "svg"))
    assert width and WIDTH + 90 < int(width[1]) < 2 * WIDTH


def test_nothing_is_loaded() -> None:
    loading = {"layer": [{**SPEC, "data": {"url": "http://localhost:9/rows.json"}}]}
    with pytest.raises(ValueError, match="not allowed"):
        picture(loading, ROWS, "svg")


def test_hostile_names_are_text() -> None:
    hostile: list[UnitSpec] = [("</text><script>", (2, 1, 3)), ("\u2028&amp;", (1, 0, 2))]
    chart = effects_chart(make_explanation(hostile))
    svg = picture(chart.spec, chart.rows, "svg").decode()
    assert "<script" not in svg and "&lt;script" in svg and "&amp;amp;" in svg


def test_sessions_may_ask_at_the_same_time() -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: picture(SPEC, ROWS, "svg"), range(8)))
    assert len(set(made)) == 1
