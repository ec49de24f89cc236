from __future__ import annotations

from llm_trace.rendering.attribution_html import render_words
from tests.helpers.elements import Elements


def test_the_words_of_a_long_prompt_come_in_blocks_and_none_is_lost() -> None:
    words = [f"<w{i}>{chr(10) if i % 50 == 0 else ' '}" for i in range(5000)]
    pieces = [{"text": word, "segment": i, "level": 0, "label": f"{i}"} for i, word in enumerate(words)]
    page = Elements(render_words(pieces))
    assert page.text == "".join(words)
    assert page.list_values("span", "data-s") == [str(i) for i in range(5000)]
    assert 8 <= page.list_values("span", "class").count("block") <= 17
    assert "block" not in Elements(render_words(pieces[:100])).list_values("span", "class")
