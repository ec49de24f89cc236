"""Objects as they are recorded: read from where they are stored, without running their code."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import enum
import functools
import json
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pydantic
import pytest
import torch

import llm_trace
from llm_trace.capture.values import ValueEncoder
from tests.conftest import Recorded

HERE = __name__
RAN: list[str] = []


def encoded(value: Any) -> Any:
    return json.loads(ValueEncoder().encode(value))


def hook(name: str) -> Any:
    def ran(*args: Any, **kwargs: Any) -> Any:
        RAN.append(name)
        raise RuntimeError(f"{name} ran")

    return ran


HOOKS = [
    "__getattr__",
    "__repr__",
    "__str__",
    "__iter__",
    "__len__",
    "__bool__",
    "__getitem__",
    "__contains__",
    "__fspath__",
    "__int__",
    "__index__",
    "__float__",
    "__format__",
    "__call__",
    "keys",
    "values",
    "items",
    "get",
    "model_dump",
    "dict",
    "json",
    "to_dict",
    "tolist",
    "item",
    "isoformat",
]


class Meta(type):
    def __getattr__(cls, name: str) -> Any:
        RAN.append(f"metaclass {name}")
        raise AttributeError(name)


def hostile(*bases: type, **namespace: Any) -> Any:
    """Return a class all of whose hooks note that they ran."""
    hooks: dict[str, Any] = {name: hook(name) for name in HOOKS}
    hooks |= {
        name: property(hook(name)) for name in ("__class__", "role", "usage", "shape", "dtype", "value")
    }
    meta = type(bases[0]) if bases and type(bases[0]) is not type else Meta
    return meta("Hostile", bases or (object,), hooks | {"__module__": HERE, **namespace})


def _plain() -> Any:
    made = hostile()()
    object.__getattribute__(made, "__dict__").update(x=1, _hidden=2)
    return made


def _slots() -> Any:
    cls = hostile(__slots__=("x", "empty"))
    made = cls()
    cls.__dict__["x"].__set__(made, 1)
    return made


def _dataclass() -> Any:
    cls = dataclasses.dataclass(repr=False, eq=False)(hostile(__annotations__={"x": int}))
    return cls(x=1)


def _model() -> Any:
    class Inner(pydantic.BaseModel):
        x: int = 1

        @pydantic.computed_field  # type: ignore[prop-decorator]
        @property
        def score(self) -> float:
            RAN.append("score")
            raise RuntimeError("score ran")

        @pydantic.field_serializer("x")
        def show(self, x: int) -> str:
            RAN.append("show")
            return "shown"

        def model_dump(self, **_: Any) -> Any:
            RAN.append("model_dump")
            return {}

    Inner.__qualname__ = "Hostile"
    return Inner()


class Nothing(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


HOSTILE = {
    "plain": (_plain, {"__type__": f"{HERE}.Hostile", "x": 1}),
    "slots": (_slots, {"__type__": f"{HERE}.Hostile", "x": 1}),
    "dataclass": (_dataclass, {"__type__": f"{HERE}.Hostile", "x": 1}),
    "model": (_model, {"__type__": f"{HERE}.Hostile", "x": 1, "__unread__": ["score"]}),
    "dict": (lambda: hostile(dict)({"x": 1}), {"x": 1}),
    "list": (lambda: hostile(list)([1]), [1]),
    "tuple": (lambda: hostile(tuple)([1]), [1]),
    "set": (lambda: hostile(set)([2, 1]), {"__type__": f"{HERE}.Hostile", "items": [1, 2]}),
    "str": (lambda: hostile(str)("x"), "x"),
    "int": (lambda: hostile(int)(1), 1),
    "float": (lambda: hostile(float)(0.5), 0.5),
    "bytes": (lambda: hostile(bytes)(b"ab"), {"__type__": f"{HERE}.Hostile", "length": 2, "base64": "YWI="}),
    "mapping": (lambda: hostile(Nothing)(), {"__type__": f"{HERE}.Hostile"}),
    "partial": (
        lambda: functools.partial(len, _plain()),
        {
            "__type__": "functools.partial",
            "func": {"__type__": "builtin_function_or_method", "name": "builtins:len"},
            "args": [{"__type__": f"{HERE}.Hostile", "x": 1}],
            "keywords": {},
        },
    ),
    "deque": (lambda: collections.deque([_plain()]), [{"__type__": f"{HERE}.Hostile", "x": 1}]),
    "namespace": (
        lambda: types.SimpleNamespace(a=_plain()),
        {"__type__": "types.SimpleNamespace", "a": {"__type__": f"{HERE}.Hostile", "x": 1}},
    ),
    "proxy": (lambda: types.MappingProxyType({"a": 1}), {"a": 1}),
    "view": (lambda: {"a": _plain()}.values(), [{"__type__": f"{HERE}.Hostile", "x": 1}]),
    "key": (lambda: {_plain(): 1}, {'{"__type__":"' + HERE + '.Hostile","x":1}': 1}),
}


@pytest.mark.parametrize("redact", [None, True], ids=["plain", "redacted"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_telemetry_never_breaks_the_host_by_running_code_of_its_values(
    recorded: Recorded, kind: str, redact: Any
) -> None:
    make, expected = HOSTILE[kind]
    value = make()
    llm_trace.configure(recorded.path, redact=redact)

    @llm_trace.trace(kind="llm")
    def ask(q: Any, config: Any, system: Any = None, messages: Any = None) -> Any:
        return q

    @llm_trace.trace(kind="llm")
    def tell(q: Any) -> Any:
        yield q

    RAN.clear()
    assert ask(value, config=value) is value
    assert ask(value, value, value, [{"role": "user", "content": value}]) is value
    assert next(iter([*tell(value)])) is value
    assert RAN == []
    streamed, _, called = recorded.calls()
    if kind != "bytes" or not redact:
        assert called.input == {"q": expected, "config": expected, "system": None, "messages": None}
        assert called.output == expected
        assert streamed.output == (expected if kind == "str" else [expected])
    assert llm_trace.flush().reasons == {}


def test_an_attribute_that_is_called_a_secret_is_masked_and_what_is_large_is_named() -> None:
    class Client:
        def __init__(self) -> None:
            self.api_key = "sk-1"
            self.url = "http://x"
            self.tags = ["a"]
            self.pool = object()
            self.seen = list(range(1000))
            self._private = 1

    assert encoded(Client()) == {
        "__type__": f"{Client.__module__}.{Client.__qualname__}",
        "api_key": "[redacted]",
        "url": "http://x",
        "tags": ["a"],
        "pool": {"__type__": "object", "truncated": True},
        "seen": {"__type__": "list", "truncated": True, "length": 1000},
    }


class Items(pydantic.RootModel[list[str]]): ...


class Part(pydantic.BaseModel):
    n: int
    secret: str = pydantic.Field("s", exclude=True)


class Answer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    parts: list[Part]
    items: Items
    key: pydantic.SecretStr
    itself: Any = None


class Plain:
    left = 3

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


def test_models_are_their_fields_with_models_inside_and_without_what_they_exclude() -> None:
    answer = Answer(parts=[Part(n=1)], items=Items(["a"]), key=pydantic.SecretStr("sk"), more=[Part(n=2)])  # type: ignore[call-arg]
    answer.itself = answer
    assert encoded(answer) == {
        "__type__": f"{HERE}.Answer",
        "parts": [{"n": 1}],
        "items": ["a"],
        "key": {"__type__": "pydantic.types.SecretStr", "repr": "SecretStr('**********')"},
        "itself": {"__type__": f"{HERE}.Answer", "cycle": True},
        "more": [{"n": 2}],
    }
    assert encoded(Items(["a"])) == {"__type__": f"{HERE}.Items", "root": ["a"]}


def test_a_field_that_only_the_objects_code_could_give_is_named() -> None:
    @dataclasses.dataclass
    class Lazy:
        text: str
        body: str = dataclasses.field(init=False)
        size: int = dataclasses.field(init=False, default=3)
        shared: dataclasses.InitVar[int] = 0

    assert encoded(Lazy("t")) == {
        "__type__": f"{Lazy.__module__}.{Lazy.__qualname__}",
        "text": "t",
        "size": 3,
        "__unread__": ["body"],
    }


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
        (collections.UserDict({"a": 1}), {"a": 1}),
        ({Colour.RED: 1, 2.5: 2}, {"red": 1, "2.5": 2}),
        (memoryview(b"ab"), {"__type__": "memoryview", "length": 2, "base64": "YWI="}),
        (
            {frozenset(["b"]), frozenset(["a"])},
            {
                "__type__": "set",
                "items": [
                    {"__type__": "frozenset", "items": ["a"]},
                    {"__type__": "frozenset", "items": ["b"]},
                ],
            },
        ),
        (
            torch.eye(2).to_sparse(),
            {"__type__": "torch.Tensor", "shape": [2, 2], "dtype": "torch.float32", "truncated": True},
        ),
        (np.array(["a"]), {"__type__": "numpy.ndarray", "shape": [1], "dtype": "<U1", "values": ["a"]}),
    ],
    ids=["chain map", "user dict", "keys", "memoryview", "sets", "sparse tensor", "array"],
)
def test_values_of_libraries(value: Any, expected: Any) -> None:
    assert encoded(value) == expected


def test_polars(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    assert encoded(polars.Series([1, 2])) == {
        "__type__": "polars.series.series.Series",
        "shape": [2],
        "dtype": "Int64",
        "values": [1, 2],
    }
    assert encoded(polars.DataFrame({"a": [1]}))["repr"].startswith("shape: (1, 1)")
    assert encoded(polars.LazyFrame({"a": [1]}))["__type__"] == "polars.lazyframe.frame.LazyFrame"


def test_a_sqlalchemy_object_is_its_loaded_columns_and_the_hosts_session_stays_as_it_was(
    store: Recorded,
) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    orm = pytest.importorskip("sqlalchemy.orm")
    mapped = orm.registry().generate_base()
    table = functools.partial(sqlalchemy.Column, sqlalchemy.Integer)

    class Part(mapped):  # type: ignore[misc,valid-type]
        __tablename__ = "part"
        id = table(primary_key=True)
        doc_id = sqlalchemy.Column(sqlalchemy.ForeignKey("doc.id"))
        text = sqlalchemy.Column(sqlalchemy.String, nullable=False)

    class Doc(mapped):  # type: ignore[misc,valid-type]
        __tablename__ = "doc"
        id = table(primary_key=True)
        title = sqlalchemy.Column(sqlalchemy.String)
        body = orm.deferred(sqlalchemy.Column(sqlalchemy.String))
        parts = orm.relationship(Part)

    engine = sqlalchemy.create_engine("sqlite://")
    mapped.metadata.create_all(engine)
    statements: list[str] = []
    sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    @llm_trace.trace(kind="llm")
    def title(doc: Any) -> Any:
        return doc

    with orm.Session(engine) as session:
        session.add(Doc(id=1, title="t", body="b"))
        session.commit()
        doc = session.scalars(sqlalchemy.select(Doc)).one()
        row = session.execute(sqlalchemy.select(Doc.id, Doc.title)).one()
        unfinished = Part(doc_id=1)
        session.add(unfinished)  # an autoflush now would fail
        statements.clear()
        title(doc)
        title(row)
        assert statements == []
        unfinished.text = "x"
        session.commit()  # expires everything
        statements.clear()
        title(doc)
        assert statements == []
    expired, of_row, loaded = store.calls()
    name = f"{Doc.__module__}.{Doc.__qualname__}"
    expected = {"__type__": name, "id": 1, "title": "t", "__unread__": ["parts", "body"]}
    assert (loaded.input, loaded.output) == ({"doc": expected}, expected)
    assert of_row.input == {"doc": {"__type__": "sqlalchemy.engine.row.Row", "id": 1, "title": "t"}}
    assert expired.output == {"__type__": name, "__unread__": ["parts", "id", "title", "body"]}


def test_a_django_object_is_its_loaded_columns(store: Recorded) -> None:
    django = pytest.importorskip("django")
    models = pytest.importorskip("django.db.models")
    connection = pytest.importorskip("django.db").connection
    queries_of = pytest.importorskip("django.test.utils").CaptureQueriesContext
    pytest.importorskip("django.conf").settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    )
    django.setup()

    class Author(models.Model):  # type: ignore[misc,name-defined]
        name = models.TextField()

        class Meta:
            app_label = "library"

    class Book(models.Model):  # type: ignore[misc,name-defined]
        author = models.ForeignKey(Author, models.CASCADE)
        title = models.TextField()
        body = models.TextField()

        class Meta:
            app_label = "library"

        def __str__(self) -> str:
            return f"{self.title} by {self.author.name}"

    with connection.schema_editor() as editor:
        editor.create_model(Author)
        editor.create_model(Book)
    Book.objects.create(author=Author.objects.create(name="ann"), title="t", body="b")

    @llm_trace.trace(kind="llm")
    def title(book: Any) -> Any:
        return book

    book = Book.objects.defer("body").get()
    with queries_of(connection) as queries:
        title(book)
        title(Book.objects.all())
    assert list(queries) == []
    of_query, of_book = store.calls()
    name = f"{Book.__module__}.{Book.__qualname__}"
    expected = {"__type__": name, "id": 1, "author_id": 1, "title": "t", "__unread__": ["body"]}
    assert (of_book.input, of_book.output) == ({"book": expected}, expected)
    assert of_query.output["__type__"] == "django.db.models.query.QuerySet"
    connection.close()


def test_a_tortoise_object_is_its_loaded_columns(store: Recorded) -> None:
    tortoise = pytest.importorskip("tortoise")
    from tests.helpers import tortoise_toys

    @llm_trace.trace(kind="llm")
    async def title(book: Any) -> Any:
        return book

    async def main() -> None:
        await tortoise.Tortoise.init(
            db_url="sqlite://:memory:", modules={"models": ["tests.helpers.tortoise_toys"]}
        )
        await tortoise.Tortoise.generate_schemas()
        author = await tortoise_toys.Author.create(name="ann")
        await tortoise_toys.Book.create(author=author, title="t", body="b")
        await title(await tortoise_toys.Book.all().only("id", "title").get())
        await title(await tortoise_toys.Book.get())
        await tortoise.Tortoise.close_connections()

    asyncio.run(main())
    whole, part = store.calls()
    name = "tests.helpers.tortoise_toys.Book"
    assert part.output == {"__type__": name, "id": 1, "title": "t", "__unread__": ["body", "author_id"]}
    assert whole.output == {"__type__": name, "id": 1, "title": "t", "body": "b", "author_id": 1}


class Counting(type):
    """A metaclass with its own idea of when classes are the same."""

    asked: ClassVar[list[str]] = []

    def __hash__(cls) -> int:
        Counting.asked.append("hash")
        return 7

    def __eq__(cls, other: object) -> bool:
        Counting.asked.append("eq")
        return cls is other


class Counted(metaclass=Counting):
    """Holds plain data."""

    def __init__(self, size: int) -> None:
        self.size = size


@dataclasses.dataclass
class CountedData(metaclass=Counting):
    """Declares what it holds."""

    size: int
    inner: Any = None


class CountedSteps(metaclass=Counting):
    """A stream."""

    def __init__(self) -> None:
        self.left = [2, 1]

    def __iter__(self) -> CountedSteps:
        return self

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        return self.left.pop()


@pytest.mark.parametrize("redact", [None, True], ids=["plain", "redacted"])
def test_the_hash_and_equality_of_a_metaclass_are_not_asked(recorded: Recorded, redact: bool | None) -> None:
    llm_trace.configure(recorded.path, redact=redact)
    name = Counted.__module__
    Counting.asked.clear()
    steps = llm_trace.trace(lambda *values: CountedSteps())(
        Counted(1), [Counted(2)], {"a": Counted(3)}, (CountedData(4, Counted(5)),), {"b": [CountedData(6)]}
    )
    assert list(steps) == [1, 2]
    assert llm_trace.trace(kind="llm")(lambda: Counted(7))().size == 7
    assert Counting.asked == []
    of, first = recorded.calls()
    assert of.output == {"__type__": f"{name}.Counted", "size": 7}
    assert first.output == [1, 2]
    assert first.input == {
        "values": [
            {"__type__": f"{name}.Counted", "size": 1},
            [{"__type__": f"{name}.Counted", "size": 2}],
            {"a": {"__type__": f"{name}.Counted", "size": 3}},
            [
                {
                    "__type__": f"{name}.CountedData",
                    "size": 4,
                    "inner": {"__type__": f"{name}.Counted", "size": 5},
                }
            ],
            {"b": [{"__type__": f"{name}.CountedData", "size": 6, "inner": None}]},
        ]
    }
