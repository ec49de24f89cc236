"""LlamaIndex: a chat, a stream, an agent with a tool, and an index that is asked."""

import asyncio

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI


def get_height(mountain: str) -> str:
    """Return the height of a mountain."""
    return "6768 metres"


def run(url: str) -> None:
    """Chat, stream, run an agent, and ask an index."""
    server = {"api_key": "x", "api_base": f"{url}/v1", "max_retries": 0}
    llm = OpenAI(model="gpt-4o", **server)
    question = ChatMessage("How high is Huascarán?")
    assert "6768" in str(llm.chat([question]))
    assert "6768" in str(list(llm.stream_chat([question]))[-1])
    agent = FunctionAgent(tools=[get_height], llm=llm)
    assert "6768" in str(asyncio.run(_run_agent(agent)))
    texts = ["Huascarán is in Peru.", "Llamas have two toes on each foot."]
    embedding = OpenAIEmbedding(model="text-embedding-3-small", **server)
    index = VectorStoreIndex.from_documents([Document(text=text) for text in texts], embed_model=embedding)
    assert "6768" in str(index.as_query_engine(llm=llm).query("How high is Huascarán, in Peru?"))


async def _run_agent(agent: FunctionAgent) -> object:
    return await agent.run("How high is Huascarán, agent?")
