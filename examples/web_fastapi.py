"""FastAPI: calls made in a request belong to the caller's trace; what they ask carries it on.

python examples/web_fastapi.py && llm-trace show last
"""

import asyncio

import httpx
from fastapi import FastAPI

import llm_trace
from llm_trace.web import ASGITraceContext, send_trace_context

HOOKS = {"request": [send_trace_context]}
CALLER = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
"""What a browser or another service sends that traces by W3C Trace Context."""
app = FastAPI()
app.add_middleware(ASGITraceContext)


@llm_trace.trace(kind="llm", model="my-model")
async def complete(question: str) -> str:
    """Stands for a call of a provider; its request carries `traceparent`."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(serve), event_hooks=HOOKS) as provider:
        return (await provider.post("http://provider/complete", content=question)).text


def serve(request: httpx.Request) -> httpx.Response:
    """Stands for the provider: it answers with the trace that it was told of."""
    return httpx.Response(200, text=f"{request.content.decode()} in {request.headers['traceparent']}")


@app.get("/answer")
async def answer(question: str) -> str:
    return await complete(question)


async def main() -> None:
    llm_trace.configure(run="web")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here", headers=CALLER) as client:
        print((await client.get("/answer", params={"question": "Why?"})).text)


if __name__ == "__main__":
    asyncio.run(main())
