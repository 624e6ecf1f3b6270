"""Method: how ReAGent finds the words that mattered, watched at work, and what a score is not."""

from __future__ import annotations

import streamlit as st

from components.examples import examples, explanation_of
from components.navigation import link_to
from components.step_player import step_player
from components.token_strip import WITH_SIGNS, token_strip
from reagent_core.explanation import Explanation
from reagent_core.strip import answer_words, prompt_strip

EXAMPLE = "travel"
PAPER = "https://arxiv.org/abs/2402.00794"

STEPS = (
    ("Replace", "A few words of the prompt are replaced by other words that could stand there."),
    ("Ask again", "The model reads the changed prompt. How likely is its answer now?"),
    ("Give points", "Less likely: the replaced words gain, the rest lose. More likely: the "
     "reverse."),
    ("Repeat", "Many times over. What the answer cannot do without ends on top."),
)  # fmt: skip

# Two columns of as many lines, so that all of it stands on the first screen of a laptop.
NOT = (
    ("**Not the model's reasoning:** only which words moved its answer.",
     "**Not proof of a right answer:** words make wrong ones, too.",
     "**Not exact:** replacements are drawn by chance. Compare two words by their intervals.",
     "**Not absolute:** other replacements give other scores."),
    ("**Not one word's alone:** words that say the same hide each other; words that work together "
     "share.",
     "**Not about the rest of the answer:** each word has its own.",
     "**Not there for everything:** what is never replaced (the frame of a chat) may matter, too."),
)  # fmt: skip

FORMULA = r"""
Let $p_o$ be the probability of the answer with the prompt as it was, $p_r$ with the replaced one,
and $d = p_o - p_r$. For every word $i$ the change counts as $\Delta_i = d$ if the word was
replaced and $\Delta_i = -d$ if it was kept. Each step changes its raw score to

$$
S_i + \operatorname{logit}\left(\frac{\Delta_i + 1}{2}\right)
$$

with $\operatorname{logit}(x) = \ln \frac{x}{1 - x}$. The ReAGent score is the softmax of these
raw scores, averaged over independent repetitions. Because
$\operatorname{logit}(1 - x) = -\operatorname{logit}(x)$, kept words lose exactly what replaced ones
gain. One README of the method writes $\log$ instead of $\operatorname{logit}$; that is a slip: with
$\log$ no step could ever add anything above zero.

The more steps are made, the further apart softmax pulls the scores, so scores of two runs cannot
be compared. That is why colours and sentences here go by the **effect**, from the same steps: the
mean logarithm of the answer's probability without the word replaced, minus that with it replaced,
with a 95% interval. Effects of different runs can be compared.
"""


def example_word() -> Explanation:
    """The word of the shipped example that it opens on, explained."""
    focus = next(example.focus for example in examples() if example.id == EXAMPLE)
    whole = explanation_of(EXAMPLE)
    words = {word.text.strip(): word.explained for word in answer_words(whole)}
    return words.get(focus or "") or whole


st.title("How do we know which words mattered?", anchor=False)
for number, (column, (name, text)) in enumerate(zip(st.columns(4), STEPS, strict=True), start=1):
    column.markdown(f"**{number}. {name}**  \n{text}")
explanation = example_word()
step_player(explanation, key="method steps")
with st.container(gap=None):
    st.markdown("**What a score is not**")
    for column, texts in zip(st.columns(2), NOT, strict=True):
        column.markdown("\n".join(f"- :small[{text}]" for text in texts))
with st.expander("What a colour means", icon=":material/palette:"):
    left, right = st.columns(2, gap="medium")
    with left:
        token_strip(
            prompt_strip(explanation),
            key="method prompt",
            label="The prompt, coloured by importance",
            legend=WITH_SIGNS,
        )
    right.markdown(
        "Blue: without this word the answer gets less likely. Orange: more likely. The deeper the "
        "colour, the stronger; hover over a word to see how strong, and how sure that is.\n\n"
        "Colours show this *effect* and not the score above, because scores grow sharper with "
        "every step. Both come from the same replacements."
    )
with st.expander("The formula, for the curious", icon=":material/function:"):
    st.markdown(FORMULA)
with st.container(horizontal=True):
    link_to("explain", "Try it on your own prompt", {})
    link_to("convergence", "See how this run settled", {"example": EXAMPLE})
st.caption(
    f"The method: Zhao and Shan (2024), [ReAGent: A Model-agnostic Feature Attribution Method for "
    f"Generative Language Models]({PAPER}), arXiv 2402.00794."
)
