"""Attributes of spans, recorded from instrumentations, that several tests read."""

from __future__ import annotations

from typing import Any

OPENINFERENCE_ANTHROPIC: dict[str, Any] = {
    "llm.provider": "anthropic",
    "llm.system": "anthropic",
    "input.value": (
        '{"max_tokens": 1024, "messages": [{"role": "user", "content": "What is the weather like in San '
        'Francisco in Fahrenheit?"}, {"content": [{"text": "Certainly! I can help you get the current '
        "weather information for San Francisco in Fahrenheit. To do this, I'll use the get_weather "
        'function. Let me fetch that information for you right away.", "type": "text"}, {"id": '
        '"toolu_01KBqpqR73qWGsMaW3vBzEjz", "input": {"location": "San Francisco, CA", "unit": '
        '"fahrenheit"}, "name": "get_weather", "type": "tool_use"}], "role": "assistant"}, {"content": '
        '[{"tool_use_id": "toolu_01KBqpqR73qWGsMaW3vBzEjz", "content": "{\\"weather\\": \\"sunny\\", '
        '\\"temperature\\": \\"75\\"}", "type": "tool_result", "is_error": false}], "role": "user"}], '
        '"model": "claude-sonnet-4-6", "tools": [{"name": "get_weather", "description": "Get the current '
        'weather in a given location", "input_schema": {"type": "object", "properties": {"location": '
        '{"type": "string", "description": "The city and state, e.g. San Francisco, CA"}, "unit": {"type": '
        '"string", "enum": ["celsius", "fahrenheit"], "description": "The unit of temperature, either '
        '\\"celsius\\" or \\"fahrenheit\\""}}, "required": ["location"]}}]}'
    ),
    "input.mime_type": "application/json",
    "llm.request.model_name": "claude-sonnet-4-6",
    "llm.input_messages.0.message.role": "user",
    "llm.input_messages.0.message.content": "What is the weather like in San Francisco in Fahrenheit?",
    "llm.input_messages.1.message.role": "assistant",
    "llm.input_messages.1.message.contents.0.message_content.type": "text",
    "llm.input_messages.1.message.contents.0.message_content.text": (
        "Certainly! I can help you get the current weather information for San Francisco in Fahrenheit. To "
        "do this, I'll use the get_weather function. Let me fetch that information for you right away."
    ),
    "llm.input_messages.1.message.tool_calls.0.tool_call.id": "toolu_01KBqpqR73qWGsMaW3vBzEjz",
    "llm.input_messages.1.message.tool_calls.0.tool_call.function.name": "get_weather",
    "llm.input_messages.1.message.tool_calls.0.tool_call.function.arguments": (
        '{"location": "San Francisco, CA", "unit": "fahrenheit"}'
    ),
    "llm.input_messages.1.message.contents.1.message_content.type": "tool_use",
    "llm.input_messages.1.message.contents.1.tool_call.id": "toolu_01KBqpqR73qWGsMaW3vBzEjz",
    "llm.input_messages.1.message.contents.1.tool_call.function.name": "get_weather",
    "llm.input_messages.1.message.contents.1.tool_call.function.arguments": (
        '{"location": "San Francisco, CA", "unit": "fahrenheit"}'
    ),
    "llm.input_messages.2.message.role": "tool",
    "llm.input_messages.2.message.tool_call_id": "toolu_01KBqpqR73qWGsMaW3vBzEjz",
    "llm.input_messages.2.message.content": '{"weather": "sunny", "temperature": "75"}',
    "llm.tools.0.tool.json_schema": (
        '{"name": "get_weather", "description": "Get the current weather in a given location", '
        '"input_schema": {"type": "object", "properties": {"location": {"type": "string", "description": '
        '"The city and state, e.g. San Francisco, CA"}, "unit": {"type": "string", "enum": ["celsius", '
        '"fahrenheit"], "description": "The unit of temperature, either \\"celsius\\" or '
        '\\"fahrenheit\\""}}, "required": ["location"]}}'
    ),
    "llm.invocation_parameters": '{"max_tokens": 1024}',
    "llm.model_name": "claude-sonnet-4-6",
    "llm.response.model_name": "claude-sonnet-4-6",
    "llm.output_messages.0.message.role": "assistant",
    "llm.finish_reason": "end_turn",
    "llm.output_messages.0.message.contents.0.message_content.type": "text",
    "llm.output_messages.0.message.contents.0.message_content.text": (
        "The current weather in San Francisco, CA is **sunny** with a temperature of **75°F**. It sounds "
        "like a lovely day! ☀️ Make sure to enjoy the sunshine if you're heading out!"
    ),
    "llm.token_count.prompt": 772,
    "llm.token_count.completion": 49,
    "llm.token_count.total": 821,
    "output.value": (
        '{"id":"msg_01FZk92oDKKk9tw7svotTntB","container":null,"content":[{"citations":null,"text":"The '
        "current weather in San Francisco, CA is **sunny** with a temperature of **75°F**. It sounds like "
        "a lovely day! ☀️ Make sure to enjoy the sunshine if you're heading "
        'out!","type":"text"}],"diagnostics":null,"model":"claude-sonnet-4-6","role":"assistant",'
        '"stop_details":null,"stop_reason":"end_turn","stop_sequence":null,"type":"message",'
        '"usage":{"cache_creation":{"ephemeral_1h_input_tokens":0,"ephemeral_5m_input_tokens":0},'
        '"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"inference_geo":"global",'
        '"input_tokens":772,"output_tokens":49,"output_tokens_details":null,"server_tool_use":null,'
        '"service_tier":"standard","speed":null}}'
    ),
    "output.mime_type": "application/json",
    "openinference.span.kind": "LLM",
}

ANTHROPIC_SDK: dict[str, Any] = {
    "server.address": "api.anthropic.com",
    "server.port": 443,
    "gen_ai.provider.name": "anthropic",
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "claude-sonnet-4-6",
    "gen_ai.request.max_tokens": 1024,
    "http.request.method": "POST",
    "http.route": "/v1/messages",
    "url.scheme": "https",
    "url.path": "/v1/messages",
    "url.full": "https://api.anthropic.com/v1/messages",
    "gen_ai.usage.input_tokens": 721,
    "gen_ai.input.messages": (
        '[{"role":"user","parts":[{"type":"text","content":"What is the weather like right now in New '
        'York? Also what time is it there? Use necessary tools simultaneously."}]}]'
    ),
    "gen_ai.output.messages": (
        '[{"role":"assistant","parts":[{"type":"text","content":"Sure! Let me fetch the current weather '
        'and time in New York simultaneously!"},{"type":"tool_call","id":"toolu_01VLL6XYAAGrtc7CDpmpKZMB",'
        '"name":"get_weather","arguments":{"location":"New York, '
        'NY"}},{"type":"tool_call","id":"toolu_01FZuC4jLWM67hKreLMKCLRe","name":"get_time",'
        '"arguments":{"timezone":"America/New_York"}}]}]'
    ),
    "http.response.status_code": 200,
    "gen_ai.response.id": "msg_011geMdd2NTwJrvqbfqskQ7r",
    "gen_ai.response.model": "claude-sonnet-4-6",
    "gen_ai.usage.cache_write.input_tokens": 0,
    "gen_ai.usage.cache_read.input_tokens": 0,
    "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 0,
    "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 0,
    "anthropic.response.service_tier": "standard",
    "gen_ai.usage.output_tokens": 112,
    "anthropic.message.stop_reason": "tool_use",
}
