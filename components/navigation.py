"""The pages of the app, and links from one to another."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import streamlit as st

from components.keep import is_at, show

_FOLDER = Path(__file__).parent.parent / "pages"


class _Entry(NamedTuple):
    title: str
    icon: str


# In the order of the sidebar; the first one is what `/` shows. The names are file names in `pages`
# and the addresses.
_PAGES = {
    "explain": _Entry("Explain", ":material/travel_explore:"),
    "convergence": _Entry("Convergence", ":material/timeline:"),
    "compare": _Entry("Compare", ":material/compare:"),
    "methods": _Entry("Methods", ":material/balance:"),
    "library": _Entry("Library", ":material/bookmarks:"),
    "study": _Entry("Study", ":material/experiment:"),
    "method": _Entry("Method", ":material/school:"),
}


def page_names() -> tuple[str, ...]:
    """The names of all pages, in the order of the sidebar."""
    return tuple(_PAGES)


def all_pages() -> list[st.Page]:
    """Every page, for `st.navigation`.

    Streamlit knows its default page at `/` alone and calls any other address of it unknown. So the
    first page is there twice, and the sidebar shows the one of the two that the browser is at.
    """
    first = page_names()[0]
    at_root = _place()[1] not in _PAGES
    root = _made(first, default=True, hidden=not at_root)
    return [root, *(_made(name, hidden=at_root and name == first) for name in _PAGES)]


def page(name: str) -> st.Page:
    """The page of this name."""
    return _made(name)


def name_of(chosen: st.Page) -> str:
    """The name of a page that `st.navigation` returned."""
    return chosen.url_path or page_names()[0]


def link_to(
    name: str,
    label: str,
    query: dict[str, str],
    icon: str | None = None,
    *,
    help: str | None = None,
    key: str = "",
) -> None:
    """A link to a page, inside this session: nothing typed is lost. `query` goes into the
    address; `label` and `help` must hold no text of a user or a model (they are Markdown).

    On the page itself it is a button, which `key` tells from equal ones: an address that comes from
    the browser could be that of a late request.
    """
    icon = icon or _PAGES[name].icon
    if not is_at(name):
        st.page_link(page(name), label=label, icon=icon, query_params=query, help=help)
    elif st.button(
        label, key=f"{key} {label} {urlencode(query)}", type="tertiary", icon=icon, help=help,
        on_click=show, args=(query,),
    ):  # fmt: skip
        st.rerun()  # more than the fragment that it may be part of


def address_of(name: str, query: dict[str, str]) -> str:
    """The full address of a page, to copy and send."""
    return f"{_place()[0]}/{name}?{urlencode(query, safe=',')}"


def _made(name: str, *, default: bool = False, hidden: bool = False) -> st.Page:
    title, icon = _PAGES[name]
    return st.Page(
        _FOLDER / f"{name}.py", title=title, icon=icon, url_path="" if default else name,
        default=default, visibility="hidden" if hidden else "visible",
    )  # fmt: skip


def _place() -> tuple[str, str]:
    """Where the app is served, without a slash at the end, and the last part of the address that
    the browser was at when it asked: after a click on a link still the page left."""
    parts = urlsplit(st.context.url or "")
    folder, _, last = parts.path.rpartition("/")
    return f"{parts.scheme}://{parts.netloc}{folder}", last
