"""TellMeWhy and WikiBio from files in their published forms."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from reagent_core.errors import InputError
from reagent_core.study.loaders import read_rows, shipped_sets, text_of_tokens

STORY = "Kim was on her way to work. Her coffee was cold. She turned around."
ASKED = {
    "narrative": STORY,
    "question": "Why did She turn around?",
    "original_sentence_for_question": "She turned around.",
    "narrative_lexical_overlap": 0.33,
    "is_ques_answerable": "Answerable",
    "answer": "Her coffee was cold.",
    "is_ques_answerable_annotator": "Answerable",
    "original_narrative_form": STORY.split(". "),
    "question_meta": "rocstories_narrative_1_sentence_2_question_0",
    "helpful_sentences": [2],
    "human_eval": False,
    "val_ann": [],
    "gram_ann": [],
}
ANOTHER = {**ASKED, "question": "Why was Her coffee cold?", "question_meta": "…_1_question_0"}
WHYS = [ASKED, {**ASKED, "answer": "To get coffee."}, {**ASKED, "answer": "Gross."}, ANOTHER]

# As the first articles of the published valid set are written, shortened.
SENTENCES = [
    "walter extra is a german award-winning aerobatic pilot , and founder of extra flugzeugbau "
    "-lrb- extra aircraft construction -rrb- .",
    "extra was trained as a mechanical engineer .",
    "he began his flight training in gliders , transitioning to powered aircraft .",
    "aaron hohlbein -lrb- born august 28 , 1985 -rrb- is nicknamed `` hoho '' .",
]
BOX = "name_1:walter\tname_2:extra\timage:<none>\tbirth_date_1:1954\n"


@pytest.fixture
def wikibio(tmp_path: Path) -> Path:
    (tmp_path / "valid.sent").write_text("\n".join(SENTENCES) + "\n", "utf-8")
    (tmp_path / "valid.nb").write_text("3\n1\n")
    (tmp_path / "valid.box").write_text(BOX + "name_1:aaron\n")
    return tmp_path


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "parquet"])
def test_a_question_of_tellmewhy_is_one_prompt(tmp_path: Path, ending: str) -> None:
    file, frame = tmp_path / f"train.{ending}", pd.DataFrame(WHYS)
    match ending:
        case "json":
            file.write_text(json.dumps(WHYS, indent=1))
        case "jsonl":
            file.write_text("".join(json.dumps(each) + "\n" for each in WHYS))
        case "csv":
            frame.to_csv(file, index=False)
        case _:
            frame.to_parquet(file)
    rows = read_rows(file, "tellmewhy")
    assert [(row.index, row.prompt, row.target, row.key) for row in rows] == [
        (0, f"{STORY} Why did She turn around?", None, None),
        (3, f"{STORY} Why was Her coffee cold?", None, None),
    ]
    assert read_rows(file, "tellmewhy", limit=1) == rows[:1]


def test_a_question_that_is_no_text_is_kept_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(
        json.dumps({**ASKED, "question": question}) + "\n" for question in (["Why?"], "Why?")
    ))  # fmt: skip
    broken, well = read_rows(tmp_path / "a.jsonl", "tellmewhy")
    assert (broken.problem or "").startswith("Row 1, column “question”: this is no text but a list")
    assert (well.problem, well.prompt) == (None, f"{STORY} Why?")


def test_another_table_is_not_tellmewhy(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt\nx\n")
    with pytest.raises(InputError, match=r"no column “narrative”. Its columns are: “prompt”"):
        read_rows(tmp_path / "a.csv", "tellmewhy")


@pytest.mark.parametrize("name", ["valid.sent", "valid.nb", "valid.box", ""])
def test_the_first_two_sentences_of_a_biography(wikibio: Path, name: str) -> None:
    rows = read_rows(wikibio / name, "wikibio")
    assert [row.prompt for row in rows] == [
        "walter extra is a german award-winning aerobatic pilot, and founder of extra flugzeugbau "
        "(extra aircraft construction). extra was trained as a mechanical engineer.",
        'aaron hohlbein (born august 28, 1985) is nicknamed "hoho".',
    ]
    assert [row.index for row in read_rows(wikibio / name, "wikibio", limit=1)] == [0]


def test_biographies_as_the_hub_has_them(tmp_path: Path) -> None:
    tokens = {"target_text": "\n".join(SENTENCES[:3]) + "\n"}
    (tmp_path / "a.jsonl").write_text(json.dumps(tokens))
    (row,) = read_rows(tmp_path / "a.jsonl", "wikibio")
    assert row.prompt.endswith("(extra aircraft construction). extra was trained as a mechanical "
                               "engineer.")  # fmt: skip
    whole = {"wiki_bio_text": "John Russell Reynolds was a physician. He was born in Romsey. He d"}
    (tmp_path / "b.jsonl").write_text(json.dumps(whole))
    (row,) = read_rows(tmp_path / "b.jsonl", "wikibio")
    assert row.prompt == "John Russell Reynolds was a physician. He was born in Romsey."


def test_tokens_become_a_text() -> None:
    said = "he said : `` it 's 5 % -lsb- of $ 3 -rsb- , is n't it ? ''"
    assert text_of_tokens(said) == "he said: \"it's 5% [of $3], isn't it?\""


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("valid.nb", "9\n", "ends in article 1: it has 4 sentences"),
        ("valid.nb", "x\n", "line 1 is no number of sentences"),
        ("valid.nb", "", "is empty"),
        ("valid.sent", None, "There is no file"),
    ],
)
def test_files_of_wikibio_that_do_not_fit(
    wikibio: Path, name: str, text: str | None, said: str
) -> None:
    if text is None:
        (wikibio / name).unlink()
    else:
        (wikibio / name).write_text(text)
    with pytest.raises(InputError, match=said):
        read_rows(wikibio / "valid.nb", "wikibio")


def test_the_sets_that_come_with_the_program_can_be_read() -> None:
    assert list(shipped_sets()) == ["longra-dev", "longra-test"]
    for name, path in shipped_sets().items():
        assert read_rows(path, limit=3), name
