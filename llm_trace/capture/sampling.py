"""Which traces are kept: decided once, where a trace begins, alike in every process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llm_trace.errors import ConfigurationError


@dataclass(frozen=True)
class TraceStart:
    """What a sampling function is told about the first call of a trace."""

    trace_id: str
    name: str
    kind: str
    tags: tuple[str, ...]
    session: str | None
    user: str | None


@dataclass(frozen=True)
class Sample:
    """Keep a share of the traces.

    Args:
        ratio: share of the traces kept, 0 to 1; a trace id has the same fate in every process.
        keep_errors: keep a trace too in which a call failed or was cancelled (a stream that its reader left
            early was not). Its events wait in memory until the first call of the trace ends (at most 8 MB a
            trace), so a crash loses them.
    """

    ratio: float = 1.0
    keep_errors: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise ConfigurationError(f"sample ratio {self.ratio!r} is not between 0 and 1")

    def __call__(self, start: TraceStart) -> bool:
        return (
            int(start.trace_id[16:], 16) < self.ratio * 2**64
        )  # OpenTelemetry's TraceIdRatioBased uses the same bits


Sampler = Callable[[TraceStart], bool]


def build_sampler(sample: float | Sampler) -> Sampler | None:
    """Return the sampler that `configure(sample=…)` means; `None` keeps everything.

    Raises:
        ConfigurationError: it is no share and no function.
    """
    if not isinstance(sample, (int, float)):
        if not callable(sample):
            raise ConfigurationError(
                f"sample={sample!r} is neither a share such as 0.1, a Sample, nor a function of a TraceStart"
            )
        return None if sample == Sample(1.0) else sample
    return None if sample == 1 else Sample(float(sample))
