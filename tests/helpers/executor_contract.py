"""What every executor must do: each call explained once, also when its workers are killed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llm_trace.attribution.policy.executors import Executor
from llm_trace.attribution.policy.policy import AttributionPolicy, Hook
from llm_trace.attribution.policy.pool import spread_calls
from llm_trace.errors import AttributionError
from tests.helpers import attribution_toys as toys
from tests.helpers.question_toys import call

CALLS = [call(span_id=f"{i:016x}", output=" One day" + " the dog came." * (1 + i % 3)) for i in range(40)]


class ExecutorContract:
    """A subclass says how its executor is made and how one of its workers is killed."""

    def make_executor(self, workers: int) -> Executor:
        raise NotImplementedError

    def kill_worker(self) -> None:
        """Kill a worker that explains, as `kill -9` does."""
        raise NotImplementedError

    @pytest.fixture
    def policy(self, tmp_path: Path) -> AttributionPolicy:
        toys.transformers.utils.logging.disable_progress_bar()
        toys.llama().save_pretrained(tmp_path)
        toys.byte_level().save_pretrained(tmp_path)
        return AttributionPolicy(model=str(tmp_path), method="occlusion")

    def test_each_call_is_explained_once_though_workers_are_killed(self, policy: AttributionPolicy) -> None:
        counts: Counter[str] = Counter()
        hook, kills = Hook(policy), [1, 20]
        for each, event in spread_calls(CALLS, policy, self.make_executor(2)):
            counts[each.span_id] += 1
            assert event is not None
            assert (event["status"], event["config_hash"]) == ("ok", policy.config_hash), event["error"]
            if kills and sum(counts.values()) >= kills[0]:
                kills.pop(0)
                self.kill_worker()
            if each is CALLS[7]:
                alone: Any = hook(each)
                values = event["attribution"]["values"]
                assert values == pytest.approx(alone["attribution"]["values"], abs=2e-4)
        assert counts == Counter(each.span_id for each in CALLS)
        assert not kills

    def test_what_cannot_work_is_refused_before_a_call_is_explained(self, policy: AttributionPolicy) -> None:
        with pytest.raises(AttributionError, match="a total budget of 3 passes explains no call"):
            list(spread_calls(CALLS, policy, self.make_executor(1), total=3))
