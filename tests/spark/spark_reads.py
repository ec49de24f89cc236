"""Answer questions about a lake in Spark, from the files that the log lists; print them as JSON.

Run by the Python of an environment that has pyspark: `spark_reads.py FILES`, the paths of
each table in JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pyspark.sql import SparkSession


def main(files: dict[str, list[str]]) -> None:
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    for name, paths in files.items():
        spark.read.option("mergeSchema", "true").parquet(*paths).createOrReplaceTempView(name)
    questions = {
        "newest": "SELECT span_id FROM calls ORDER BY start_ns DESC, span_id LIMIT 50",
        "tag": "SELECT span_id FROM calls WHERE array_contains(tags, 'y') ORDER BY span_id",
        "models": """SELECT model, count(*), sum(cost_usd) FROM calls
            GROUP BY model ORDER BY model NULLS FIRST""",
        "talk": """SELECT c.span_id, m.role, m.text FROM
            (SELECT span_id, explode(messages_in) AS id FROM calls) c JOIN messages m ON m.id = c.id
            ORDER BY c.span_id, m.role, m.text""",
    }
    answers = {name: [list(row) for row in spark.sql(query).collect()] for name, query in questions.items()}
    print(json.dumps(answers))
    spark.stop()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
