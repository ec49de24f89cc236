"""Texts that would do something where they were taken for anything but text, and a store full of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import llm_trace

HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>",
    "javascript:alert(1)",
    "[a](javascript:alert(1))", "![a](https://evil.example/x.png)", "<a href='https://evil.example'>a</a>",
    "[a]: data:text/html,<script>alert(1)</script>\n\n[a]", "\x1b[31mred\x1b[0m", "a\u202egnp.exe",
    "nul\x00byte",
    "{{ 'run' * 3 }}me", "{% include 'base.html' %}", "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "</pre></script><style>*{display:none}</style>", "lone \ud800",
]  # fmt: skip


def record_hostile(path: Path) -> None:
    llm_trace.configure(path)
    for text in HOSTILE:

        @llm_trace.trace(name=text, kind="llm", model=text, tags=[text], metadata={text: text})
        def ask(messages: list[dict[str, Any]], text: str = text) -> dict[str, Any]:
            llm_trace.log_score(text, text, comment=text)
            return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": text}]}

        with llm_trace.start_run(text, config={text: text}), llm_trace.using_session(text, user=text):
            prompt = llm_trace.Prompt(text, text.replace("{", "{{").replace("}", "}}"))
            ask([{"role": text, "content": text}, {"role": "user", "content": prompt.format()}])

            @llm_trace.trace(kind="llm")
            def fail(text: str) -> None:
                raise ValueError(text)

            with pytest.raises(ValueError):
                fail(text)
    llm_trace.shutdown()
