"""Many processes, one store: a pool's workers record to it as their parent does, however started.

python examples/pool.py && llm-trace ls --run pool
"""

import multiprocessing
import os
import sys

import llm_trace


@llm_trace.trace(kind="llm", model="my-model")
def ask(question: str) -> str:
    llm_trace.update_current_call(metadata={"pid": os.getpid()})
    return question.upper()


def main(method: str = "spawn", questions: int = 40) -> None:
    llm_trace.configure(run="pool")
    with multiprocessing.get_context(method).Pool(4) as pool:
        pool.map(ask, [f"question {i}" for i in range(questions)])
        pool.close()
        pool.join()
    with llm_trace.open_store(os.environ["LLM_TRACE_STORE"]) as store:
        query = "SELECT count(*), count(DISTINCT metadata ->> '$.pid') FROM calls WHERE run = ?"
        calls, processes = store.sql(query, store.runs()[0].id).fetchone() or (0, 0)
    print(f"{calls} calls of {processes} processes")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "spawn")
