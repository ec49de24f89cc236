"""The review log: whatever is changed, dropped, moved or cut off is found; what is purged is not."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import llm_trace
from llm_trace.errors import ConfigurationError
from llm_trace.operations import ReviewWriter, make_review, read_operations, read_reviews, verify_reviews
from llm_trace.operations.review_audit import audit_reviews
from llm_trace.operations.review_chain import ReviewChain
from tests.helpers.cli_toys import invoke
from tests.helpers.review_toys import decide, record_calls

COUNT = 8


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "desk.duckdb"
    spans = record_calls(path, COUNT)
    decide(path, *((span, "anna", i % 2 == 0, {"comment": f"remark {i}"}) for i, span in enumerate(spans)))
    assert verify_reviews(path).problems == ()
    return path


@pytest.fixture
def place(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original.parent, tmp_path / "copy")
    return tmp_path / "copy" / original.name


def log_of(path: Path) -> Path:
    return path.with_name(path.name + ".reviews.jsonl")


def change_store(path: Path, statement: str, *values: Any) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement, list(values))


def tamper(lines: list[bytes], draw: random.Random) -> bytes:
    """Return a log of which one thing was changed."""
    data, way = b"".join(lines), draw.randrange(6)
    place = draw.randrange(len(data))
    if way == 0:  # another byte
        return data[:place] + bytes([(data[place] + draw.randrange(1, 256)) % 256]) + data[place + 1 :]
    if way == 1:
        return data[:place] + data[place + 1 :]
    if way == 2:
        return data[:place] + bytes([draw.randrange(256)]) + data[place:]
    if way == 3:  # the end is gone
        return data[:place]
    i, j = draw.sample(range(len(lines)), 2)
    if way == 4:
        return b"".join(lines[:i] + lines[i + 1 :])
    changed = list(lines)
    changed[i], changed[j] = lines[j], lines[i]
    return b"".join(changed)


def test_whatever_is_changed_dropped_moved_or_cut_off_in_the_log_is_found(original: Path) -> None:
    data = log_of(original).read_bytes()
    lines = data.splitlines(keepends=True)
    with llm_trace.open_store(original) as store:
        records = read_operations(store, kind="review")
    assert audit_reviews(lines, records).problems == ()
    draw = random.Random(4)
    for _ in range(1000):
        changed = tamper(lines, draw)
        if changed != data:
            assert audit_reviews(changed.splitlines(keepends=True), records).problems, changed


def test_each_byte_of_the_last_line_counts(original: Path) -> None:
    lines = log_of(original).read_bytes().splitlines(keepends=True)
    with llm_trace.open_store(original) as store:
        records = read_operations(store, kind="review")
    for place in range(len(lines[-1])):
        last = bytearray(lines[-1])
        last[place] ^= 1
        assert audit_reviews(b"".join([*lines[:-1], last]).splitlines(keepends=True), records).problems


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("""UPDATE operations SET body = replace(body::TEXT, '"value":false', '"value":true ')
            WHERE body ->> '$.entry' = '2'""", "(entry 2) was changed"),
        ("DELETE FROM operations WHERE body ->> '$.entry' = '3'", "entry 3 has no review in the store"),
        ("UPDATE operations SET time_ns = time_ns + 1 WHERE body ->> '$.entry' = '4'", "entry 4 and its"),
        ("UPDATE operations SET span_id = 'f' WHERE body ->> '$.entry' = '5'", "(entry 5) was moved"),
        ("UPDATE operations SET subject = 'tone' WHERE body ->> '$.entry' = '6'", "(entry 6) was moved"),
        ("UPDATE operations SET id = 'f' WHERE body ->> '$.entry' = '7'", "entry 7 and its review"),
        ("""UPDATE operations SET body = json_object('log', body -> '$.log', 'entry', 8, 'gone', 'purged')
            WHERE body ->> '$.entry' = '8'""", "(entry 8) is neither whole nor purged"),
        ("UPDATE operations SET body = json_merge_patch(body, '{\"entry\": 0}')", "no review in the store"),
        ("UPDATE operations SET body = '{}'", "8 reviews of another log"),
        ("INSERT INTO operations FROM operations WHERE body ->> '$.entry' = '1'", "entry 1 has 2 reviews"),
    ],
    ids=["value", "dropped", "time", "call", "score", "id", "tombstone", "entries", "emptied", "twice"],
)  # fmt: skip
def test_whatever_is_changed_in_the_store_is_found(place: Path, statement: str, problem: str) -> None:
    with llm_trace.open_store(place):
        pass
    change_store(place, statement)
    problems = verify_reviews(place).problems
    assert any(problem in each for each in problems), problems


def test_a_log_that_was_taken_away_emptied_or_replaced_is_found(place: Path) -> None:
    log = log_of(place)
    kept = log.read_bytes()
    log.write_bytes(b"")
    assert f"{str(log)!r} is empty" in verify_reviews(place).problems
    log.unlink()
    assert verify_reviews(place).problems == (f"{str(log)!r} is not there, and the store has 8 reviews",)
    with llm_trace.open_store(place) as store:
        span_id = store.calls(limit=1)[0].span_id
    decide(place, (span_id, "mallory", True))
    (problem,) = verify_reviews(place).problems
    assert problem.startswith("the store has 8 reviews of another log")
    archive = place.with_name("archive.jsonl")
    archive.write_bytes(kept)
    assert verify_reviews(place, log=archive).model_dump(include={"entries", "whole", "problems"}) == {
        "entries": 8, "whole": 8, "problems": (),
    }  # fmt: skip


def test_imported_reviews_are_proven_by_the_log_of_their_store_that_lies_beside(place: Path) -> None:
    log = log_of(place)
    imported = place.with_name(f"{place.name}.reviews.berlin.jsonl")
    log.rename(imported)
    with llm_trace.open_store(place) as store:
        span_id = store.calls(limit=1)[0].span_id
    decide(place, (span_id, "anna", True))
    audit = verify_reviews(place)
    assert (audit.entries, audit.imported, audit.whole, audit.problems) == (9, 8, 9, ())
    assert audit.head.startswith("1:")
    assert "9 reviews, 8 of them imported" in invoke(place, "review", "--verify").stdout
    imported.write_bytes(b"".join(imported.read_bytes().splitlines(keepends=True)[:-1]))
    (problem,) = verify_reviews(place).problems
    assert (
        problem
        == f"{imported}: the store has a review of entry 8, and the log ends with 7: its end was cut off"
    )


def test_a_damaged_log_takes_further_reviews_and_stays_damaged(place: Path) -> None:
    log = log_of(place)
    log.write_bytes(log.read_bytes()[:-20])
    with llm_trace.open_store(place) as store:
        span_id = store.calls(limit=1)[0].span_id
    decide(place, (span_id, "ben", True), (span_id, "cleo", True))
    audit = verify_reviews(place)
    assert audit.entries == 10
    assert "line 9 is not as the log writes lines" in audit.problems
    assert not any("entry 9" in problem or "entry 10" in problem for problem in audit.problems)


def test_a_new_history_needs_a_head_that_was_kept_elsewhere_to_be_found(original: Path, place: Path) -> None:
    head = verify_reviews(original).head
    assert verify_reviews(place, expected=head).problems == ()
    # Whoever can write to both files drops all reviews and writes others.
    change_store(place, "DELETE FROM operations")
    log_of(place).unlink()
    with llm_trace.open_store(place) as store:
        spans = [call.span_id for call in store.calls()]
    decide(place, *((span, "mallory", True) for span in (*spans, *spans)))
    assert verify_reviews(place).problems == ()
    (problem,) = verify_reviews(place, expected=head).problems
    assert problem.startswith("the log up to entry 8 is not the one that had the head")
    assert verify_reviews(place, expected=f"99:{'0' * 64}").problems == (
        "the log has 16 entries and had 99 when that head was printed",
    )


@pytest.mark.parametrize(
    "text", ["", "8", "x:y", "8:abc", f"-1:{'0' * 64}", f"٣:{'0' * 64}", "9" * 20 + ":" + "0" * 64]
)
def test_what_is_no_head_is_said(original: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no head of a review log"):
        verify_reviews(original, expected=text)


def test_reviews_of_purged_calls_are_erased_and_the_chain_still_holds(place: Path) -> None:
    head = verify_reviews(place).head
    with llm_trace.open_store(place) as store:
        first, *_, last = store.calls(order="oldest")
    for call in (first, last):
        llm_trace.purge(place, id=call.span_id)
    audit = verify_reviews(place, expected=head)
    assert (audit.entries, audit.whole, audit.purged, audit.problems) == (8, 6, 2, ())
    with llm_trace.open_store(place) as store:
        assert len(read_reviews(store)) == 6
        emptied = [op for op in read_operations(store, kind="review") if "gone" in op.body]
    assert [sorted(op.body) for op in emptied] == [["before", "digest", "entry", "gone", "log"]] * 2
    assert [(op.span_id, op.subject) for op in emptied] == [(None, "")] * 2
    for file in (place, log_of(place), *place.with_name(place.name + ".spool").rglob("*")):
        if file.is_file():
            assert b"remark 0" not in file.read_bytes(), file
    lines = log_of(place).read_bytes()
    log_of(place).write_bytes(lines[:-20] + b"0" + lines[-19:])  # also the line of what is purged is proven
    assert verify_reviews(place).problems


def test_purged_reviews_travel_with_an_export_and_do_not_come_back(place: Path, tmp_path: Path) -> None:
    with llm_trace.open_store(place) as store:
        span_id = store.calls(limit=1)[0].span_id
    before = tmp_path / "before.jsonl"
    exported = invoke(place, "export", "--to", "jsonl", "-o", str(before))
    assert exported.exit_code == 0, exported.output
    llm_trace.purge(place, id=span_id)
    operations = [json.loads(line) for line in before.read_text().splitlines() if '"operation"' in line]
    assert len(operations) == 8
    assert invoke(place, "import", str(before)).exit_code in (0, 1)
    audit = verify_reviews(place)
    assert (audit.whole, audit.purged, audit.problems) == (7, 1, ())


def test_a_head_from_before_the_first_review_still_holds_after_it(path: Path) -> None:
    span_id = record_calls(path, 1)[0]
    head = verify_reviews(path).head
    decide(path, (span_id, "anna", True))
    assert verify_reviews(path, expected=head).problems == ()


@pytest.mark.parametrize("stop", ["append", "finish"])
def test_what_a_process_that_died_left_is_finished_by_the_next(
    place: Path, stop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with llm_trace.open_store(place) as store:
        first, second = (call.span_id for call in store.calls(limit=2))
        reviews = [make_review(store, first, "ben", True), make_review(store, second, "ben", False)]
    with monkeypatch.context() as patch, ReviewWriter(place) as writer:
        patch.setattr(ReviewChain, stop, die)
        with pytest.raises(KeyboardInterrupt):
            writer.give(reviews[0])
    with log_of(place).open("ab") as file:
        file.write(b'{"entry":' if stop == "append" else b"")
    with ReviewWriter(place) as writer:
        writer.give(reviews[1])
    audit = verify_reviews(place)
    assert (audit.entries, audit.whole, audit.problems) == (10, 10, ())


def test_verifying_finishes_what_a_process_that_died_left(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with llm_trace.open_store(place) as store:
        review = make_review(store, store.calls(limit=1)[0].span_id, "ben", True)
    with monkeypatch.context() as patch, ReviewWriter(place) as writer:
        patch.setattr(ReviewChain, "append", die)
        with pytest.raises(KeyboardInterrupt):
            writer.give(review)
    assert verify_reviews(place).entries == 9
    assert verify_reviews(place).problems == ()


def test_a_store_without_reviews_has_nothing_to_prove(path: Path) -> None:
    record_calls(path, 1)
    audit = verify_reviews(path)
    assert (audit.entries, audit.problems, audit.is_proven) == (0, (), True)
    assert not log_of(path).exists()


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "as-it-is": lambda data: data,
    "changed": lambda data: data.replace(b"0", b"1", 1),
}


@pytest.mark.parametrize(("change", "code"), [("as-it-is", 0), ("changed", 1)])
def test_the_command_says_whether_the_log_is_proven(place: Path, change: str, code: int) -> None:
    log = log_of(place)
    log.write_bytes(CHANGES[change](log.read_bytes()))
    result = invoke(place, "review", "--verify")
    assert result.exit_code == code, result.output
    assert ("NOT PROVEN" in result.stdout) == bool(code)
    assert ("llm-trace: " in result.stderr) == bool(code)
    parsed = json.loads(invoke(place, "review", "--verify", "--json").stdout)
    assert parsed["proven"] == (not code)
    assert parsed["head"] in result.stdout
