"""Puts the measured tables into the README: `python -m benchmarks.readme`.

Between `<!-- benchmark NAME -->` and `<!-- /benchmark -->` goes the table of
`benchmarks/results/NAME.json`, so that no number is typed by hand.
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks import record

README = Path(__file__).parents[1] / "README.md"

_SECTION = re.compile(
    r"(<!-- benchmark (?P<name>[\w-]+) -->\n).*?(<!-- /benchmark -->)", re.DOTALL
)


def filled(text: str) -> str:
    """`text` with every marked section holding the table of its result."""
    return _SECTION.sub(
        lambda section: (
            f"{section[1]}\n{record.markdown(record.read(section['name']))}\n\n{section[3]}"
        ),
        text,
    )


def main() -> None:
    """Rewrite the README; a marker without a result ends it with an error."""
    text = README.read_text("utf-8")
    names = [section["name"] for section in _SECTION.finditer(text)]
    README.write_text(filled(text), "utf-8")
    unused = sorted({file.stem for file in record.RESULTS.glob("*.json")} - set(names))
    print(f"filled: {', '.join(names) or 'nothing'}; not in the README: {', '.join(unused)}")


if __name__ == "__main__":
    main()
