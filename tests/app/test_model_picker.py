"""The field that picks a model, on the page Explain and without a browser."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit as st
from huggingface_hub import constants
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox

from components import runs
from components.local_mode import local_mode
from reagent_core import models
from reagent_core.catalogue import shipped
from reagent_core.hardware import Place
from reagent_core.in_memory import ModelsInMemory
from reagent_core.store import Store

PAGE = str(Path(__file__).parent.parent.parent / "pages" / "explain.py")


@pytest.fixture(autouse=True)
def app(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty hub cache of the test's own; the hub is offline."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(models, "IN_MEMORY", ModelsInMemory())


@pytest.fixture(autouse=True)
def typing(monkeypatch: pytest.MonkeyPatch) -> None:
    """AppTest only knows how to choose from a select box; browsers send what is typed, too."""

    def state(box: Selectbox[str]) -> WidgetState:
        return WidgetState(id=box.id, string_value=box.format_func(box.value))

    monkeypatch.setattr(Selectbox, "_widget_state", property(state))


def page() -> AppTest:
    return AppTest.from_file(PAGE, default_timeout=60).run()


def pick(test: AppTest, value: str) -> AppTest:
    """Choose or type it, and explain something with it."""
    test.text_area(key="prompt").set_value("the cat sat on")
    test.text_input(key="target_text").set_value("mat")
    test.selectbox(key="model").set_value(value).run()
    (button,) = [button for button in test.button if button.label == "Explain"]
    button.click().run()
    if "run" in test.query_params:
        runs.job_queue().get(test.query_params["run"]).wait(60)
        test.run()
    assert not test.exception
    return test


def note(test: AppTest) -> str:
    """What stands under the field (Markdown's backslashes taken away)."""
    captions = [caption.value.replace("\\", "") for caption in test.caption]
    costs = re.compile(r"about .* (forward passes|tokens)")
    return next(text for text in captions if not costs.fullmatch(text))


def problem(test: AppTest) -> str:
    (error,) = test.error
    return str(error.value).replace("\\", "")


def test_it_offers_the_list_with_what_each_one_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    free = Place("cpu", "float32", 4 * 2**30)
    monkeypatch.setattr("reagent_core.availability.place", lambda: free)
    test = page()
    options = test.selectbox(key="model").options
    assert [option.partition(" · ")[0] for option in options] == [e.name for e in shipped()]
    assert options[0].endswith(" · on disk")
    assert options[-1].endswith(" · 13.3 GB to download, does not fit")
    assert test.session_state["model"] == "bundled"
    assert "of memory" in note(test) and shipped()[0].good_for in note(test)


def test_the_list_tells_what_fits_as_soon_as_the_gpu_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = False
    monkeypatch.setattr("components.model_picker.place_is_known", lambda: known)
    monkeypatch.setattr("reagent_core.availability.place_is_known", lambda: known)
    monkeypatch.setattr(
        "reagent_core.availability.place", lambda: Place("cuda", "float16", 4 * 2**30)
    )
    test = page()
    model = test.selectbox(key="model")
    assert not any("does not fit" in option for option in model.options)
    before = model.options[-1]
    model.set_value(shipped()[-1].id).run()
    known = True
    test.run()
    model = test.selectbox(key="model")
    assert model.options[-1] == f"{before}, does not fit"
    assert shipped()[-1].good_for in note(test)
    model.set_value(before).run()  # a browser may still send the label of before
    assert shipped()[-1].good_for in note(test)


def test_a_folder_that_is_typed_is_explained(tmp_path: Path) -> None:
    from tests.tiny_models import tiny_model
    from tests.trained_tokenizers import byte_level

    tiny_model("llama").save_pretrained(tmp_path / "tiny")
    byte_level().save_pretrained(tmp_path / "tiny")
    test = pick(page(), f"  {tmp_path / 'tiny'} ")
    assert not test.error and "On disk; takes" in note(test)
    kept = runs.explanation_store().get(test.query_params["run"])
    assert kept.model.id == str(tmp_path / "tiny")


def test_a_gguf_file_that_is_typed_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reagent_core import converted
    from reagent_core.gguf_conversion import convert
    from tests.test_gguf import write

    def in_this_process(what: str, weights_bytes: int, gguf: Path, folder: Path) -> None:
        convert(gguf, folder)

    monkeypatch.setattr(converted, "_convert_in_child", in_this_process)
    monkeypatch.setenv("REAGENT_CACHE_DIR", str(tmp_path / "cache"))
    file = write(tmp_path / "tiny.gguf")
    test = page()
    test.segmented_control(key="preset").set_value("quick").run()
    test = pick(test, str(file))
    assert not test.error and "On disk; takes" in note(test)
    kept = runs.explanation_store().get(test.query_params["run"])
    assert (kept.model.id, kept.status) == (str(file), "complete")


def test_a_vllm_server_of_ones_own_list_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fake_server import fake_server
    from tests.test_vllm_dialect import vllm_over
    from tests.tiny_models import tiny_scorer
    from tests.trained_tokenizers import byte_level

    byte_level().save_pretrained(tmp_path / "tokenizer")
    served = {"id": "tiny", "owned_by": "vllm", "root": str(tmp_path / "tokenizer")}
    with fake_server(served=served, completions=vllm_over(tiny_scorer("llama"))) as fake:
        listed = tmp_path / "models.toml"
        listed.write_text(
            f'[[model]]\nkind = "server"\nid = "ours"\nname = "Our vLLM"\nurl = "{fake.url}"\n'
            'good_for = "Tests."\n'
        )
        monkeypatch.setenv("REAGENT_MODELS", str(listed))
        test = page()
        assert "Our vLLM · on a server" in test.selectbox(key="model").options
        test.segmented_control(key="preset").set_value("quick").run()
        test = pick(test, "ours")
    assert not test.error
    assert "Runs on the server" in note(test)
    assert "Tells the probability of any token; explains whole answers. Tests." in note(test)
    counts = runs.explanation_store().get(test.query_params["run"]).counts
    assert counts.requests > 0
    told = f"{counts.requests:,} requests were sent to the server; the prompts scored had "
    assert any(each.value.startswith(f"{told}{counts.tokens:,}") for each in test.caption)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("no such model", "There is no model 'no such model' here"),
        ("someone/else", "someone/else is not on disk, and HF_HUB_OFFLINE forbids to download it"),
        ("http://", "The address cannot be used: it should be an address such as"),
    ],
)
def test_what_cannot_be_had_is_said_at_the_field(typed: str, sentence: str) -> None:
    test = pick(page(), typed)
    assert sentence in problem(test) and sentence in note(test)
    assert "run" not in test.query_params
    assert test.selectbox(key="model").value == typed


def test_a_model_that_fails_to_load_says_so_at_the_field(saved: Path, tmp_path: Path) -> None:
    for file in saved.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    assert "its weights are missing, damaged or cut off" in problem(pick(page(), str(tmp_path)))


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Host": "localhost:8501"}, True),
        ({"Host": "[::1]:8501"}, True),
        ({"Host": "reagent.example.org"}, False),
        ({"Host": "localhost:8501", "X-Forwarded-For": "10.0.0.9"}, False),
    ],
)
def test_a_proxy_lets_others_in(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], allowed: bool
) -> None:
    monkeypatch.setattr(st, "get_option", lambda name: "localhost")
    monkeypatch.setattr(st, "context", SimpleNamespace(headers=headers))
    assert local_mode() is allowed


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), (None, False),
     ("10.0.0.7", False), ("example.org", False)],
)  # fmt: skip
def test_addresses_may_be_typed_only_where_nobody_else_comes(
    monkeypatch: pytest.MonkeyPatch, address: str | None, allowed: bool
) -> None:
    monkeypatch.setattr(st, "get_option", lambda name: address)
    assert local_mode() is allowed
    if not allowed:
        contacted = []
        monkeypatch.setattr(models, "model_info", contacted.append)
        assert "others use this server" in problem(pick(page(), "http://127.0.0.1:9"))
        assert not contacted


def test_a_label_of_an_earlier_time_still_names_its_model() -> None:
    test = page()
    test.selectbox(key="model").set_value("GPT-2 XL · on disk, once").run()
    assert "A model of the ReAGent paper" in note(test)


def test_a_broken_list_of_ones_own_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text("[[model]\n")
    monkeypatch.setenv("REAGENT_MODELS", str(tmp_path / "models.toml"))
    test = page()
    assert not test.exception
    assert "models.toml cannot be read" in note(test)
    assert len(test.selectbox(key="model").options) == len(shipped())
