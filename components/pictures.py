"""Charts as pictures: PNG and SVG files, made here and without a network (vl-convert)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import pandas as pd
import streamlit as st

from components.charts import Chart

Format = Literal["png", "svg"]
Theme = Literal["light", "dark"]

# Of the drawing itself, in pixels; names and axes come on top.
WIDTH, HEIGHT = 560, 320
# A PNG has twice as many, for print.
SCALE = 2.0

_MIME = {"png": "image/png", "svg": "image/svg+xml"}

# Background, text, lines of the axes: those of the app (.streamlit/config.toml).
_COLOURS = {"light": ("#ffffff", "#1c2530", "#d3d9e1"), "dark": ("#10151c", "#e6eaf0", "#364250")}


def picture(
    spec: Mapping[str, Any], rows: pd.DataFrame, form: Format, theme: Theme = "light"
) -> bytes:
    """A chart (see `charts.Chart`) as a file: PNG, twice the size of the SVG, or SVG in UTF-8.

    A chart that takes its width from the page is 560 pixels wide. Nothing is loaded: data that a
    specification names by an address are refused with a ValueError; it must hold no image marks.
    Conversions wait for each other, so that any thread may ask for one.
    """
    # Half a second to load, and the first page needs none.
    from vl_convert import vegalite_to_png, vegalite_to_svg

    values = json.loads(rows.to_json(orient="records", date_format="iso"))
    whole = {**_with_width(spec), "data": {"values": values}}
    options: dict[str, Any] = {"config": _config(theme), "allowed_base_urls": []}
    if form == "svg":
        return vegalite_to_svg(whole, **options).encode()
    return bytes(vegalite_to_png(whole, scale=SCALE, **options))


def draw_chart(
    chart: Chart,
    *,
    key: str,
    name: str,
    live: bool = False,
    on_select: Callable[[], None] | None = None,
) -> None:
    """Draw a chart with a small menu to save it, below it.

    `key` tells it from other charts of the page; `name` says in a few words what it shows
    ("effects"), in the menu and in the names of the files. A file is made when it is asked for.
    `live`: the chart will soon be another one, and has no menu. `on_select` is called when
    something in it was clicked, which then is the state of `key`.
    """
    st.vega_lite_chart(
        chart.rows, chart.spec, width="stretch", key=key, on_select=on_select or "ignore"
    )
    if live:
        return
    stem = re.sub(r"\W+", "-", name).strip("-").lower()
    with st.popover(
        f"Save picture of {name}", icon=":material/image:", type="tertiary", key=f"pictures {key}"
    ):
        themes: tuple[Theme, ...] = ("light", "dark")
        forms: tuple[Format, ...] = ("png", "svg")
        for theme in themes:
            with st.container(horizontal=True):
                for form in forms:
                    st.download_button(
                        f"{form.upper()}, {theme}",
                        partial(picture, chart.spec, chart.rows, form, theme),
                        f"{stem}.{form}" if theme == "light" else f"{stem}-{theme}.{form}",
                        _MIME[form],
                        key=f"{form} {theme} {key}",
                        on_click="ignore",
                    )


def _with_width(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The specification without sizes that only a page can give."""
    return {
        name: _with_width(value)
        if isinstance(value, Mapping)
        else [_with_width(each) if isinstance(each, Mapping) else each for each in value]
        if isinstance(value, list)
        else value
        for name, value in spec.items()
        if not (name in ("width", "height") and value == "container")
    }


def _config(theme: Theme) -> dict[str, Any]:
    background, text, line = _COLOURS[theme]
    titles = {"labelColor": text, "titleColor": text}
    return {
        "background": background,
        "padding": 12,
        "font": "sans-serif",
        "view": {"stroke": "transparent", "continuousWidth": WIDTH, "continuousHeight": HEIGHT},
        "axis": {
            **titles,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "domainColor": line,
            "tickColor": line,
            "gridColor": line,
        },
        "legend": {**titles, "labelFontSize": 12, "titleFontSize": 12},
        "header": {**titles, "labelFontSize": 12, "titleFontSize": 12},
        "title": {"color": text, "subtitleColor": text},
        # What has a colour of its own keeps it.
        "text": {"color": text},
    }
