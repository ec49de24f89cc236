"""Begins calls: writes what is known of each before it runs; on the hot path. `endings` ends them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from opentelemetry.context.context import Context
from opentelemetry.trace import Span

from llm_trace import semconv
from llm_trace.capture import failures, prompts, replay_hints, slots
from llm_trace.capture.callspan import CallSpan, leave_ended
from llm_trace.capture.context import (
    CALL_KEY,
    PLACE,
    RUN_KEY,
    SCOPE_KEY,
    SPAN_KEY,
    Scope,
    restore,
    variable,
)
from llm_trace.capture.ids import random_bits
from llm_trace.capture.merger import Merger
from llm_trace.capture.sampling import Sampler, TraceStart
from llm_trace.capture.spec import FunctionSpec
from llm_trace.capture.tail_sampling import Tail
from llm_trace.capture.type_hints import check_plain
from llm_trace.capture.values import ValueEncoder
from llm_trace.semconv.merge import MODEL_KINDS

if TYPE_CHECKING:
    from llm_trace.capture.input_key import InputKey
    from llm_trace.capture.otel_mirror import Mirror
    from llm_trace.capture.protocols import Sink


@dataclass
class Recorder:
    """Turns calls into events.

    Args:
        spool: where events go.
        encoder: bounds and masks values.
        sampler: decides where a trace begins; `None` keeps all.
        keep_errors: traces that the sampler left out are held back and kept when a call in them fails.
        capture_content: without it inputs, outputs, messages, prompt variables and error messages are not
            kept.
        run: id of the run of calls that are in no other.
        mirror: SDK spans beside ours in the user's `TracerProvider`.
        policy: says which calls are explained, where the traced function brings no policy of its own.
        explain: called with the policy, each recorded call that has one when it has ended, and its end event.
    """

    spool: Sink
    encoder: ValueEncoder = field(default_factory=ValueEncoder)
    sampler: Sampler | None = None
    keep_errors: bool = False
    capture_content: bool = True
    run: str | None = None
    mirror: Mirror | None = None
    policy: Any = None
    explain: Callable[[Any, CallSpan, bytes], None] | None = None
    record_env: bool = True
    merger: Merger | None = None
    """Knows the spans of other libraries inside our calls, where there are any."""
    input_key: InputKey | None = None
    """Hashes inputs that redaction may change."""
    announced: set[tuple[str, str]] = field(default_factory=set)
    """Name and version of the prompts whose template is in the spool."""
    variable: ContextVar[Context] = variable
    _open_runs: list[str] = field(default_factory=list)

    # A call begins

    def begin(self, spec: FunctionSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallSpan | None:
        """Record that a call begins and make it current; `None` where that failed or is not wanted."""
        outer: Any = variable.get().get(CALL_KEY)
        if outer is not None and outer.has_left is not None:
            leave_ended()
        return self._begin_guarded(spec, args, kwargs)

    def begin_from(
        self, origin: Context | None, spec: FunctionSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallSpan | None:
        """Begin a call as `begin` does, with the parent, session, user, tags and run of another context."""
        here = self.variable.get()
        if origin is None or origin is here:
            return self.begin(spec, args, kwargs)
        rest = {key: value for key, value in here.items() if key not in PLACE}
        token = self.variable.set(Context({**rest, **{key: origin[key] for key in PLACE if key in origin}}))
        call = self._begin_guarded(spec, args, kwargs)
        if call is not None:
            call.leave()
        restore(token)
        if call is not None:
            call.token = self.variable.set(call.context)  # type: ignore[arg-type]
        return call

    def _begin_guarded(
        self, spec: FunctionSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallSpan | None:
        try:
            if slots.interceptor is None:
                return self._begin(spec, args, kwargs)
            return slots.interceptor.begin(self, self._begin, spec, args, kwargs)
        except Exception as exc:
            failures.note("the start of a call", exc)
            return None

    def _begin(self, spec: FunctionSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallSpan | None:
        context = variable.get()
        start_ns = time.time_ns()
        parent = context.get(SPAN_KEY)
        trace_id = parent_id = None
        if type(parent) is CallSpan:
            if parent.sink is None and self.mirror is None and parent.recorder is self:
                return None  # sampled out, and so is what is inside
            trace_id, parent_id = parent.trace_id, parent.span_id
        elif (
            parent is not None
            and isinstance(parent, Span)
            and (outside := parent.get_span_context()).is_valid
        ):
            trace_id, parent_id = f"{outside.trace_id:032x}", f"{outside.span_id:016x}"
        sdk, fresh = None, random_bits(192).to_bytes(24, "big").hex()
        if (
            self.mirror is not None
            and (sdk := self.mirror.start(self.encoder.mask_text(spec.name), spec.kind, spec.model, start_ns))
            is not None
        ):
            mirrored = sdk.get_span_context()
            trace_id, span_id = f"{mirrored.trace_id:032x}", f"{mirrored.span_id:016x}"
        else:
            span_id = fresh[32:]
        scope: Scope | None = context.get(SCOPE_KEY)  # type: ignore[assignment]
        outer = context.get(CALL_KEY)
        trace_id = trace_id or fresh[:32]
        if type(outer) is CallSpan and outer.trace_id == trace_id and outer.recorder is self:
            sink = outer.sink
        else:
            sink = self.spool if self.sampler is None else self.sink_for(spec, trace_id, scope)
        call = CallSpan(self, spec, trace_id, span_id, sink, start_ns, sdk)
        call.outermost = outer is None
        call.ids = ids = f'"span_id":"{span_id}","trace_id":"{trace_id}"'
        call.parent_id = parent_id
        if spec.library is not None and type(outer) is CallSpan and outer.spec.kind in MODEL_KINDS:
            call.around = outer
        if type(sink) is Tail:
            sink.enter()
        if sink is not None:
            place = f',"parent_id":"{parent_id}"' if parent_id else ""
            if run := context.get(RUN_KEY) or (self._open_runs and self._get_open_run()) or self.run:
                place += f',"run":"{run}"'
            head = f'{{"event":"start",{ids}{place},"start_ns":{start_ns}'.encode()
            self._write_start(call, head, scope, args, kwargs)
        call.context = Context({**context, SPAN_KEY: sdk or call, CALL_KEY: call})
        call.token = variable.set(call.context)
        call.clock = time.perf_counter_ns()
        return call

    def _get_open_run(self) -> str | None:
        return self._open_runs[0] if len(self._open_runs) == 1 else None

    @contextlib.contextmanager
    def default_run(self, run: str) -> Iterator[None]:
        """Let calls in no run belong to this one while no other is open."""
        self._open_runs.append(run)
        try:
            yield
        finally:
            self._open_runs.remove(run)

    def sink_for(self, spec: FunctionSpec, trace_id: str, scope: Scope | None) -> Sink | None:
        """Return where a new trace's events go."""
        if self.sampler is None:
            return self.spool
        session, user = (scope.session, scope.user) if scope else (None, None)
        try:
            keep = self.sampler(TraceStart(trace_id, spec.name, spec.kind, spec.tags, session, user))
        except Exception as exc:
            failures.note("the sampling function", exc)
            keep = True
        if keep:
            return self.spool
        return Tail(self.spool) if self.keep_errors else None

    def _write_start(
        self,
        call: CallSpan,
        event: bytes,
        scope: Scope | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        spec, extra, bodies = call.spec, {}, None
        head, defaults, defaults_json = spec.head if spec.head_of is self else self._build_head(spec)
        if scope is not None:
            extra = self._scope_fields(call, scope)
        try:
            arguments = self._bind(spec, args, kwargs)
            if spec.asks_model:
                extra |= semconv.request_fields(arguments)
            if spec.read_request is not None:
                request = dict(spec.read_request(args[0] if args else None, arguments))
                arguments = request.pop("input", arguments)
                extra |= _take_readers(call, request)
            if self.capture_content:
                if prompts.in_use or spec.prompt is not None:
                    extra |= self._prompt_fields(call, arguments, scope)
                if spec.capture_input:
                    data, bodies = self.encoder.encode_arguments(arguments)
                    event += b',"input":' + data
                    if call.around is not None:
                        call.detail = {
                            **extra,
                            "detail": {
                                "input": orjson.loads(self.encoder.encode(arguments)),
                                **{name: extra[name] for name in ("metadata",) if name in extra},
                            },
                        }
                    if self.input_key is not None or not check_plain(arguments.values()):
                        replay_hints.note_input(call, self.input_key, arguments)
        except Exception as exc:  # the call is recorded all the same
            failures.note("the arguments of a call", exc)
        event += head + (
            b"," + self.encoder.encode_event({**defaults, **extra})[1:-1] if extra else defaults_json
        )
        call.sink.write(event, bodies)  # type: ignore[union-attr]
        if self.explain is not None and (call.spec.attribution or self.policy) is not None:
            call.start_event, call.start_messages = event, bodies

    def _bind(self, spec: FunctionSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        try:
            return spec.bind(*args, **kwargs)
        except TypeError:  # the traced function is about to say so itself
            return {"args": args, "kwargs": kwargs}

    def _build_head(self, spec: FunctionSpec) -> tuple[bytes, dict[str, Any], bytes]:
        """Return what every call of a function says alike: fixed JSON, and fields that a call may
        override, also as JSON.
        """
        fixed = {"name": spec.name, "kind": spec.kind} | ({"code": spec.code} if spec.code else {})
        defaults = {
            k: v for k, v in (("model", spec.model), ("tags", spec.tags), ("metadata", spec.metadata)) if v
        }
        defaults_json = b"," + self.encoder.encode_event(defaults)[1:-1] if defaults else b""
        spec.head = b"," + self.encoder.encode_event(fixed)[1:-1], defaults, defaults_json
        spec.head_of = self
        return spec.head

    def _prompt_fields(
        self, call: CallSpan, arguments: dict[str, Any], scope: Scope | None
    ) -> dict[str, Any]:
        fields = prompts.find_prompt_fields(arguments, call.spec.prompt, self, call.trace_id, scope)
        if "origins" in fields:
            fields["metadata"] = call.metadata = {**call.metadata, "origins": fields.pop("origins")}
        return fields

    def _scope_fields(self, call: CallSpan, scope: Scope) -> dict[str, Any]:
        fields: dict[str, Any] = {"session": scope.session}
        if scope.user is not None:
            fields["user"] = scope.user
        if scope.tags:
            fields["tags"] = call.tags = tuple(dict.fromkeys((*call.tags, *scope.tags)))
        if scope.metadata:
            fields["metadata"] = call.metadata = {**call.metadata, **dict(scope.metadata)}
        return fields

    # Everything else that is an event

    def event(self, fields: dict[str, Any]) -> bool:
        """Append an event of another kind (`run`, `score`, `prompt` …); return whether it is kept."""
        return self.spool.write(self.encoder.encode_event(fields)[:-1])


def _take_readers(call: CallSpan, request: dict[str, Any]) -> dict[str, Any]:
    """Keep with a call what its answer does not change; return the fields that its request says."""
    call.read_response = request.pop("read_response", None)
    call.read_inner = request.pop("read_inner", None)
    if "provider" in request:  # whose client it is; the answer's form may be another's
        call.fields = {"provider": request["provider"], **(call.fields or {})}
    if (likely := request.pop("likely_provider", None)) is not None:
        request["provider"] = likely
    if "metadata" in request:
        call.metadata = request["metadata"] = {**call.metadata, **request["metadata"]}
    return request
