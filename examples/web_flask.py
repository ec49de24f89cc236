"""Flask: calls made in a request belong to the caller's trace; what they ask carries it on.

python examples/web_flask.py && llm-trace show last
"""

from collections.abc import Iterator

import httpx
from flask import Flask, Response, request

import llm_trace
from llm_trace.web import WSGITraceContext, send_trace_context

HOOKS = {"request": [send_trace_context]}
CALLER = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
"""What a browser or another service sends that traces by W3C Trace Context."""
app = Flask(__name__)
app.wsgi_app = WSGITraceContext(app.wsgi_app)  # type: ignore[method-assign]


@llm_trace.trace(kind="llm", model="my-model")
def complete(question: str) -> str:
    """Stands for a call of a provider; its request carries `traceparent`."""
    with httpx.Client(transport=httpx.MockTransport(serve), event_hooks=HOOKS) as provider:
        return (provider.post("http://provider/complete", content=question)).text


def serve(request: httpx.Request) -> httpx.Response:
    """Stands for the provider: it answers with the trace that it was told of."""
    return httpx.Response(200, text=f"{request.content.decode()} in {request.headers['traceparent']}")


@app.get("/answer")
def answer() -> Response:
    """Stream the answer: its call is made while the response is under way."""
    question = request.args["question"]

    def stream() -> Iterator[str]:
        yield complete(question)

    return Response(stream())


def main() -> None:
    llm_trace.configure(run="web")
    transport = httpx.WSGITransport(app)
    with httpx.Client(transport=transport, base_url="http://here", headers=CALLER) as client:
        print(client.get("/answer", params={"question": "Why?"}).text)


if __name__ == "__main__":
    main()
