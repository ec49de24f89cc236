"""Attribute names of the conventions, and how their kinds and providers map to ours.

Sources: OpenTelemetry GenAI v0.1.0 and its predecessors since 1.27, OpenInference 0.1.42, OpenLLMetry 0.40 to
0.62, Langfuse 4, the Anthropic SDK's own spans. Where one thing has had several names, the current one comes
first.
"""

from __future__ import annotations

from typing import Final

# OpenTelemetry GenAI
GEN_AI: Final = "gen_ai."
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST: Final = "gen_ai.request."
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
USAGE: Final = "gen_ai.usage."
USAGE_INPUT: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE: Final = "gen_ai.usage.cache_write.input_tokens"
USAGE_CACHE_CREATION: Final = "gen_ai.usage.cache_creation.input_tokens"
"""The name of cache writes until v0.1.0."""
USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
CONVERSATION: Final = "gen_ai.conversation.id"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"
AGENT_NAME: Final = "gen_ai.agent.name"
WORKFLOW_NAME: Final = "gen_ai.workflow.name"
"""The name of a workflow until v0.1.0, which has `gen_ai.agent.name` for it."""
PROMPT_NAME: Final = "gen_ai.prompt.name"
PROMPT_VERSION: Final = "gen_ai.prompt.version"
PROMPT_VARIABLE: Final = "gen_ai.prompt.variable."
RETRIEVAL_QUERY: Final = "gen_ai.retrieval.query.text"
RETRIEVAL_DOCUMENTS: Final = "gen_ai.retrieval.documents"
RETRIEVAL_TOP_K: Final = "gen_ai.retrieval.top_k"
MEMORY_QUERY: Final = "gen_ai.memory.query.text"
MEMORY_RECORDS: Final = "gen_ai.memory.records"
EVALUATION_RESULT: Final = "gen_ai.evaluation.result"
MCP: Final = "mcp."
MCP_METHOD: Final = "mcp.method.name"
ERROR_TYPE: Final = "error.type"
EXCEPTION: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
USER_ID: Final = "user.id"
SESSION_ID: Final = "session.id"

# OpenTelemetry GenAI before 1.37, and OpenLLMetry until 0.50
SYSTEM: Final = "gen_ai.system"
INDEXED_PROMPT: Final = "gen_ai.prompt"
INDEXED_COMPLETION: Final = "gen_ai.completion"
REQUEST_TYPE: Final = "llm.request.type"
EVENT_CHOICE: Final = "gen_ai.choice"
EVENT_CONTENT: Final = "gen_ai.event.content"
MESSAGE_EVENTS: Final = (
    "gen_ai.system.message",
    "gen_ai.user.message",
    "gen_ai.assistant.message",
    "gen_ai.tool.message",
)
FIRST_TOKEN_EVENTS: Final = ("First Token Stream Event", "llm.content.completion.chunk", "gen_ai.first_token")

# OpenInference
OI_KIND: Final = "openinference.span.kind"
OI_INPUT: Final = "input.value"
OI_INPUT_MIME: Final = "input.mime_type"
OI_OUTPUT: Final = "output.value"
OI_OUTPUT_MIME: Final = "output.mime_type"
OI_MODEL: Final = "llm.model_name"
OI_REQUEST_MODEL: Final = "llm.request.model_name"
OI_PROVIDER: Final = "llm.provider"
OI_PARAMS: Final = "llm.invocation_parameters"
OI_INPUT_MESSAGES: Final = "llm.input_messages"
OI_OUTPUT_MESSAGES: Final = "llm.output_messages"
OI_PROMPTS: Final = "llm.prompts"
OI_CHOICES: Final = "llm.choices"
OI_FINISH: Final = "llm.finish_reason"
OI_TOKENS: Final = "llm.token_count."
OI_TOKENS_INPUT: Final = "llm.token_count.prompt"
OI_TOKENS_OUTPUT: Final = "llm.token_count.completion"
OI_TOKENS_TOTAL: Final = "llm.token_count.total"
OI_TOKENS_CACHE_READ: Final = "llm.token_count.prompt_details.cache_read"
OI_TOKENS_CACHE_WRITE: Final = "llm.token_count.prompt_details.cache_write"
OI_TOKENS_REASONING: Final = "llm.token_count.completion_details.reasoning"
OI_COST: Final = "llm.cost.total"
OI_TEMPLATE: Final = "llm.prompt_template.template"
OI_TEMPLATE_VERSION: Final = "llm.prompt_template.version"
OI_TEMPLATE_VARIABLES: Final = "llm.prompt_template.variables"
OI_DOCUMENTS: Final = "retrieval.documents"
OI_RERANKED: Final = "reranker.output_documents"
OI_METADATA: Final = "metadata"
OI_TAGS: Final = "tag.tags"

# Traceloop, Langfuse, LangSmith, Logfire
TRACELOOP_KIND: Final = "traceloop.span.kind"
TRACELOOP_INPUT: Final = "traceloop.entity.input"
TRACELOOP_OUTPUT: Final = "traceloop.entity.output"
TRACELOOP_PROPERTIES: Final = "traceloop.association.properties."
LANGFUSE: Final = "langfuse.observation."
LANGFUSE_KIND: Final = "langfuse.observation.type"
LANGFUSE_INPUT: Final = "langfuse.observation.input"
LANGFUSE_OUTPUT: Final = "langfuse.observation.output"
LANGFUSE_MODEL: Final = "langfuse.observation.model.name"
LANGFUSE_PARAMS: Final = "langfuse.observation.model.parameters"
LANGFUSE_USAGE: Final = "langfuse.observation.usage_details"
LANGFUSE_COST: Final = "langfuse.observation.cost_details"
LANGFUSE_FIRST_TOKEN: Final = "langfuse.observation.completion_start_time"
LANGFUSE_METADATA: Final = "langfuse.observation.metadata"
LANGFUSE_PROMPT: Final = "langfuse.observation.prompt.name"
LANGFUSE_PROMPT_VERSION: Final = "langfuse.observation.prompt.version"
LANGSMITH_KIND: Final = "langsmith.span.kind"
LOGFIRE_REQUEST: Final = "request_data"
LOGFIRE_RESPONSE: Final = "response_data"

# our own
OWN: Final = "llm_trace."
OWN_KIND: Final = "llm_trace.kind"
OWN_INPUT: Final = "llm_trace.input"
OWN_OUTPUT: Final = "llm_trace.output"
OWN_PARAMS: Final = "llm_trace.params"
OWN_TAGS: Final = "llm_trace.tags"
OWN_RUN: Final = "llm_trace.run"
OWN_COST: Final = "llm_trace.cost_usd"
OWN_USAGE: Final = "llm_trace.usage"
"""Counts that no convention has a name for, and the service tier, as one JSON object."""
OWN_PROMPT_VERSION: Final = "llm_trace.prompt.version"
OWN_NAME: Final = "llm_trace.name"
OWN_STATUS: Final = "llm_trace.status"
OWN_REST: Final = "llm_trace.call"
"""Fields of a call that no convention has a name for, as one JSON object; on spans of our own exporter."""

INPUT_TOKEN_NAMES: Final = (
    USAGE_INPUT, "gen_ai.usage.prompt_tokens", OI_TOKENS_INPUT, "llm.usage.prompt_tokens"
)  # fmt: skip
OUTPUT_TOKEN_NAMES: Final = (
    USAGE_OUTPUT, "gen_ai.usage.completion_tokens", OI_TOKENS_OUTPUT, "llm.usage.completion_tokens"
)  # fmt: skip
CACHE_READ_NAMES: Final = (
    USAGE_CACHE_READ, "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cached_tokens",
    "gen_ai.usage.details.cache_read_input_tokens", "gen_ai.usage.details.cache_read_tokens",
    OI_TOKENS_CACHE_READ,
    "llm.usage.cache_read_input_tokens", "gen_ai.usage.cache_read_tokens",
)  # fmt: skip
CACHE_WRITE_NAMES: Final = (
    USAGE_CACHE_WRITE, USAGE_CACHE_CREATION, "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.details.cache_creation_input_tokens", "gen_ai.usage.details.cache_write_tokens",
    OI_TOKENS_CACHE_WRITE, "llm.usage.cache_creation_input_tokens", "gen_ai.usage.cache_write_tokens",
)  # fmt: skip
REASONING_NAMES: Final = (
    USAGE_REASONING, "gen_ai.usage.reasoning_tokens", "gen_ai.usage.details.reasoning_tokens",
    OI_TOKENS_REASONING,
    "llm.usage.reasoning_tokens",
)  # fmt: skip
USAGE_PREFIXES: Final = (USAGE, OI_TOKENS, "llm.usage.")
RESPONSE_MODELS: Final = (
    RESPONSE_MODEL,
    "llm.response.model_name",
    "llm.response.model",
    LANGFUSE_MODEL,
    OI_MODEL,
)
REQUEST_MODELS: Final = (
    REQUEST_MODEL, OI_REQUEST_MODEL, "llm.request.model", "embedding.model_name", "reranker.model_name"
)  # fmt: skip
PROVIDERS: Final = (PROVIDER, SYSTEM, OI_PROVIDER, "llm.system", "llm.vendor")
SESSIONS: Final = (
    CONVERSATION, SESSION_ID, "langfuse.session.id", TRACELOOP_PROPERTIES + "session_id",
    TRACELOOP_PROPERTIES + "thread_id",
)  # fmt: skip
USERS: Final = (USER_ID, "langfuse.user.id", "enduser.id", TRACELOOP_PROPERTIES + "user_id")
TAGS: Final = (OWN_TAGS, OI_TAGS, "langfuse.trace.tags", "logfire.tags")
TIERS: Final = (
    "gen_ai.openai.response.service_tier", "openai.response.service_tier", "gen_ai.response.service_tier",
)  # fmt: skip
COSTS: Final = (
    OWN_COST,
    "gen_ai.usage.cost",
    "gen_ai.usage.total_cost",
    OI_COST,
    "operation.cost",
    "gen_ai.cost.total_cost",
)

KIND_NAMES: Final = frozenset(
    {OWN_KIND, OI_KIND, LANGFUSE_KIND, OPERATION, MCP_METHOD, TRACELOOP_KIND, REQUEST_TYPE, LANGSMITH_KIND}
)
"""Attributes of which each says what kind of call a span is."""
KINDS: Final = frozenset(
    {"llm", "chain", "tool", "retriever", "embedding", "agent", "reranker", "guardrail", "evaluator"}
)
KIND_OF_OPERATION: Final = {
    "chat": "llm", "text_completion": "llm", "generate_content": "llm", "completion": "llm", "message": "llm",
    "embeddings": "embedding", "execute_tool": "tool", "invoke_agent": "agent", "create_agent": "agent",
    "invoke_workflow": "chain", "retrieval": "retriever", "plan": "agent", "rerank": "reranker",
    "search_memory": "retriever", "create_memory": "tool", "update_memory": "tool", "upsert_memory": "tool",
    "delete_memory": "tool", "create_memory_store": "tool", "delete_memory_store": "tool",
    "fetch_response": "chain",
    "llm_call": "llm", "tool_call": "tool", "agent_call": "agent", "user_prompt": "agent",  # Gemini CLI's own
}  # fmt: skip
KIND_OF_MCP_METHOD: Final = {"tools/call": "tool"}
"""What else a client and a server of MCP say to each other (handshakes, lists) runs nothing."""
OPERATION_OF_KIND: Final = {
    "llm": "chat", "embedding": "embeddings", "tool": "execute_tool", "agent": "invoke_agent",
    "retriever": "retrieval"
}  # fmt: skip
"""Kinds without an entry have no operation of OpenTelemetry's; `llm_trace.kind` says what they are."""
KIND_OF_OPENINFERENCE: Final = {kind.upper(): kind for kind in sorted(KINDS)} | {
    "UNKNOWN": "chain", "PROMPT": "chain",
}  # fmt: skip
KIND_OF_LANGFUSE: Final = {
    "generation": "llm", "span": "chain", "event": "chain", "agent": "agent", "tool": "tool",
    "chain": "chain",
    "retriever": "retriever", "embedding": "embedding", "evaluator": "evaluator", "guardrail": "guardrail",
}  # fmt: skip
KIND_OF_LANGSMITH: Final = {
    "llm": "llm", "chain": "chain", "tool": "tool", "retriever": "retriever", "embedding": "embedding",
    "prompt": "chain", "parser": "chain",
}  # fmt: skip
KIND_OF_TRACELOOP: Final = {
    "workflow": "chain", "task": "chain", "agent": "agent", "tool": "tool", "session": "chain",
    "unknown": "chain"
}  # fmt: skip
KIND_OF_SPELLING: Final = {
    **{kind.lower(): ours for kind, ours in KIND_OF_OPENINFERENCE.items()},
    **KIND_OF_TRACELOOP, **KIND_OF_LANGSMITH, **KIND_OF_LANGFUSE,
}  # fmt: skip
"""What other tools call kinds, in lower case -> ours."""
KIND_OF_REQUEST_TYPE: Final = {
    "chat": "llm", "completion": "llm", "embedding": "embedding", "rerank": "reranker", "unknown": "llm"
}  # fmt: skip
PROVIDER_OF: Final = {
    "az.ai.openai": "azure.ai.openai", "az.ai.inference": "azure.ai.inference", "azure": "azure.ai.openai",
    "vertex_ai": "gcp.vertex_ai", "vertexai": "gcp.vertex_ai", "gemini": "gcp.gemini", "google": "gcp.gen_ai",
    "google_generativeai": "gcp.gemini", "aws": "aws.bedrock", "bedrock": "aws.bedrock",
    "mistralai": "mistral_ai",
    "mistral": "mistral_ai", "xai": "x_ai", "watsonx": "ibm.watsonx.ai", "amazon": "aws.bedrock",
}  # fmt: skip
PARAM_OF_ATTRIBUTE: Final = {"choice.count": "n", "is_stream": "stream"}
ATTRIBUTE_OF_PARAM: Final = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens", "seed": "seed",
    "random_seed": "seed",
    "frequency_penalty": "frequency_penalty", "presence_penalty": "presence_penalty",
    "stop": "stop_sequences",
    "stop_sequences": "stop_sequences", "n": "choice.count", "candidate_count": "choice.count",
    "stream": "stream",
}  # fmt: skip
"""What follows `gen_ai.request.` for each parameter that the convention knows."""
