"""Django: calls made in a request belong to the caller's trace; what they ask carries it on.

python examples/web_django.py && llm-trace show last
"""

import httpx
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

import llm_trace
from llm_trace.web import WSGITraceContext, send_trace_context

HOOKS = {"request": [send_trace_context]}
CALLER = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
"""What a browser or another service sends that traces by W3C Trace Context."""


@llm_trace.trace(kind="llm", model="my-model")
def complete(question: str) -> str:
    """Stands for a call of a provider; its request carries `traceparent`."""
    with httpx.Client(transport=httpx.MockTransport(serve), event_hooks=HOOKS) as provider:
        return (provider.post("http://provider/complete", content=question)).text


def serve(request: httpx.Request) -> httpx.Response:
    """Stands for the provider: it answers with the trace that it was told of."""
    return httpx.Response(200, text=f"{request.content.decode()} in {request.headers['traceparent']}")


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse(complete(request.GET["question"]))


urlpatterns = [path("answer", answer)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["here"], SECRET_KEY="for this example only")
application = WSGITraceContext(get_wsgi_application())  # as in wsgi.py; ASGITraceContext in asgi.py


def main() -> None:
    llm_trace.configure(run="web")
    transport = httpx.WSGITransport(application)
    with httpx.Client(transport=transport, base_url="http://here", headers=CALLER) as client:
        print(client.get("/answer", params={"question": "Why?"}).text)


if __name__ == "__main__":
    main()
