"""`Proxied`: a model that costs, and a small open one that may explain its calls."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from llm_trace.attribution.methods.text_encoders import Lexical, compute_cosine_distances
from llm_trace.attribution.models.config import read_model_name
from llm_trace.attribution.remote.model import make_remote
from llm_trace.errors import AttributionError
from llm_trace.record import Call
from llm_trace.spool.paths import get_store_path

if TYPE_CHECKING:
    from llm_trace.attribution.methods.text_encoders import TextEncoder


class Side(NamedTuple):
    """One of the two models, and how it explains."""

    model: Any
    tokenizer: Any
    method: str


@dataclass(frozen=True)
class Proxied:
    """A model: calls of `oracle` are explained by `proxy` where it passed the screen and agrees.

    Raises:
        AttributionError: a setting that cannot work.
    """

    oracle: Any
    """What `attribute` takes as a model: a callable, a `Remote`, or a model that can be opened."""
    proxy: Any = "demo"
    """A model that can be opened: of transformers, or a path or name."""
    task: str | None = None
    """What the screen holds for; absent: the name of the call's prompt, else of its function."""
    folder: str | Path | None = None
    """Where screens are kept; absent: `<store>.proxies` beside the store."""
    oracle_tokenizer: Any = None
    proxy_tokenizer: Any = None
    oracle_method: str = "auto"
    proxy_method: str = "occlusion"
    agreement: float = 1.0
    """1: both answers are the same but for space; less: the cosine of their vectors is at least this."""
    encoder: TextEncoder = field(default_factory=Lexical)
    """Texts to vectors, for an agreement below 1."""
    audit: float = 0.02
    """Share of proxied calls whose explanation is bought from the oracle as well."""

    def __post_init__(self) -> None:
        for name, share in (("agreement", self.agreement), ("audit", self.audit)):
            if not 0 <= share <= 1:
                raise AttributionError(f"{name}={share!r} must lie between 0 and 1")
        if make_remote(self.proxy) is not None:
            raise AttributionError(
                f"proxy={self.proxy!r} cannot be opened: take a model of transformers, a path or a name"
            )

    @property
    def name_or_path(self) -> str:
        """Names of both models, by which policies tell them apart."""
        return " explained by ".join(map(_label, (self.oracle, self.proxy)))

    @property
    def oracle_side(self) -> Side:
        """The oracle and its method."""
        return Side(self.oracle, self.oracle_tokenizer, self.oracle_method)

    @property
    def proxy_side(self) -> Side:
        """The proxy and its method."""
        return Side(self.proxy, self.proxy_tokenizer, self.proxy_method)

    @property
    def place(self) -> Path:
        """The folder of the screens."""
        return (
            get_proxy_folder(os.environ.get("LLM_TRACE_STORE") or "llm_trace.duckdb")
            if self.folder is None
            else Path(self.folder)
        )

    @cached_property
    def oracle_id(self) -> tuple[str, str]:
        """Name and fingerprint of the oracle; looked up once."""
        return identify_model(self.oracle, self.oracle_tokenizer)

    @cached_property
    def proxy_id(self) -> tuple[str, str]:
        """Name and fingerprint of the proxy; looked up once."""
        return identify_model(self.proxy, self.proxy_tokenizer)

    def task_of(self, asked: Any) -> str:
        """Return the task that a call or a prompt belongs to."""
        if self.task is not None or not isinstance(asked, Call):
            return self.task or "default"
        return asked.prompt.name if asked.prompt is not None else asked.name

    def agrees(self, answer: str, response: str) -> bool:
        """Whether two answers count as the same."""
        answer, response = answer.strip(), response.strip()
        if self.agreement >= 1 or answer == response:
            return answer == response
        vectors = np.asarray(self.encoder([answer, response]), dtype=np.float64)
        return float(compute_cosine_distances(vectors[:1], vectors[1:])[0, 0]) <= 1 - self.agreement


def refuse(model: Any, method: str, **settings: Any) -> None:
    """Refuse what a proxy cannot do.

    Raises:
        AttributionError: a model without a proxy, another method, or a setting that no screen holds for.
    """
    if not isinstance(model, Proxied):
        raise AttributionError("method='proxy' needs both models: model=Proxied(oracle=…, proxy=…)")
    if method not in ("auto", "proxy"):
        raise AttributionError(
            f"method={method!r} does not know proxies: pass the oracle itself, or method='proxy'"
        )
    usual = {"target": None, "baseline": "auto", "unit": "nats", "quality": False, "origins": None}
    other = [f"{name}={value!r}" for name, value in settings.items() if value != usual[name]]
    if other:
        raise AttributionError(
            "the screen of a proxy holds for whole responses and default settings, not for "
            f"{', '.join(other)}"
        )


def get_proxy_folder(store: str | os.PathLike[str]) -> Path:
    """Return the folder `<store>.proxies` beside the store, by absolute path."""
    path = get_store_path(store)
    return path.with_name(path.name + ".proxies")


def _label(model: Any) -> str:
    if isinstance(model, str):
        return model
    far = make_remote(model)
    return far.label if far is not None else read_model_name(model)


def identify_model(model: Any, tokenizer: Any = None) -> tuple[str, str]:
    """Return a model's name and fingerprint: of its weights, or of a remote one's name and parameters."""
    if (far := make_remote(model)) is not None:
        parts = json.dumps([far.label, dict(far.params)], sort_keys=True, default=str)
        return far.label, hashlib.sha256(parts.encode()).hexdigest()[:16]
    from llm_trace.attribution.models.fingerprints import compute_fingerprint
    from llm_trace.attribution.models.loading import resolve_model

    loaded, _, name = resolve_model(model, tokenizer)
    return name, compute_fingerprint(loaded)[:16]
