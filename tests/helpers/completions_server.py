"""A completions endpoint on loopback that serves the embedded model, in OpenAI's dialect and vLLM's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from llm_trace.attribution.models.generation import generate
from llm_trace.demo.model import load_model
from llm_trace.errors import AttributionError

_LOCK = threading.Lock()
_loaded = cache(load_model)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    limits: list[str]
    """`Retry-After` of rate limits that are still to be given."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.limits:
            self._reply(429, {"error": "slow down"}, {"Retry-After": self.limits.pop()})
        else:
            with _LOCK:
                self._reply(200, build_completion(asked))

    def _reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def build_completion(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the reply to a request."""
    import torch

    model, tokenizer = _loaded()
    ids = tokenizer(asked["prompt"])["input_ids"]
    try:
        generated = generate(model, ids, asked["max_tokens"])
    except AttributionError:  # the answer ends at once
        generated = []
    choice: dict[str, Any] = {"text": tokenizer.decode(generated)}
    if "echo" in asked or "prompt_logprobs" in asked:
        every = [*ids, *generated] if "echo" in asked else ids
        with torch.inference_mode():
            scores = model(torch.tensor([every])).logits[0].double().log_softmax(-1)
        texts = [tokenizer.decode([i]) for i in every]
        numbers = [None, *(float(scores[at, i]) for at, i in enumerate(every[1:]))]
        if "echo" in asked:
            choice["text"] = asked["prompt"] + choice["text"]
            choice["logprobs"] = {"tokens": texts, "token_logprobs": numbers}
        else:
            entries = [
                {str(i): {"logprob": n, "decoded_token": t}}
                for i, n, t in zip(every, numbers, texts, strict=True)
            ]
            choice["prompt_logprobs"] = [None, *entries[1:]]
    usage = {"prompt_tokens": len(ids), "completion_tokens": len(generated)}
    return {"model": asked["model"], "choices": [choice], "usage": usage}


@contextmanager
def serving(*limits: str) -> Iterator[str]:
    """Serve on a free loopback port until the block ends; yield the base URL. `limits` are given first."""
    handler = type("Handler", (_Handler,), {"limits": list(limits)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
