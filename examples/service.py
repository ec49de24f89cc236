"""An async service as FastAPI would run it: a trace per request, a session per visitor, streamed answers.

    python examples/service.py && llm-trace show last

Only the standard library serves here, so that the example runs anywhere; with FastAPI decorate the endpoint's
function alike.
"""

import asyncio
import json
from collections.abc import AsyncIterator

import llm_trace

GREET = llm_trace.Prompt("greet", "Answer {visitor} in one sentence.\n\n{question}")


@llm_trace.trace(kind="llm", model="my-model")
async def complete(prompt: str) -> AsyncIterator[str]:
    """Stands for a provider's stream; the call ends when the stream does, with all that was said."""
    for word in f"I read {len(prompt)} characters.".split(" "):
        await asyncio.sleep(0.002)
        yield word + " "


@llm_trace.trace(kind="retriever")
async def search(question: str) -> list[str]:
    await asyncio.sleep(0.002)
    return [f"a page about {question}"]


@llm_trace.trace
async def answer(visitor: str, question: str) -> str:
    """Handle one request: the endpoint's function."""
    pages, text = await asyncio.gather(
        search(question), collect(GREET.format(visitor=visitor, question=question))
    )
    return f"{text.strip()} ({len(pages)} page)"


async def collect(prompt: str) -> str:
    return "".join([chunk async for chunk in complete(prompt)])


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak as much HTTP as one request needs."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    request = json.loads(await reader.readexactly(length))
    with llm_trace.using_session(request["visitor"], user=request["visitor"]):
        body = (await answer(request["visitor"], request["question"])).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def visit(port: int, visitor: str) -> str:
    """Send one request and return what came back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"visitor": visitor, "question": f"what does {visitor} like?"}).encode()
    writer.write(b"POST /answer HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    answered = (await reader.read()).partition(b"\r\n\r\n")[2].decode()
    writer.close()
    await writer.wait_closed()
    return answered


async def main(visitors: int = 20) -> None:
    llm_trace.configure(run="service")
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        answers = await asyncio.gather(*(visit(port, f"visitor-{i}") for i in range(visitors)))
    print(answers[0])
    print(llm_trace.flush())


if __name__ == "__main__":
    asyncio.run(main())
