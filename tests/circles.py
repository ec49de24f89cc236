"""Find circles of imports: modules that need one another, at run time, in a function, or for a type alone.

A circle means that none of its modules can be read, tested or moved without the others. import-linter checks
the directions between packages and lets imports for types pass; this looks at every pair of modules.
"""

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (ROOT / "llm_trace", ROOT / "integrations" / "llm_trace_integrations")

Graph = dict[str, set[str]]


def read_graph(package: Path) -> Graph:
    """Return for each module of a package the modules of it that it imports, anywhere in its text.

    The package itself is left out: it hands on what is public, and every module is inside it.
    """
    files = {_name_module(path, package): path for path in sorted(package.rglob("*.py"))}
    return {
        name: {_find_module(target, files) for target in _iter_imports(path)} - {name, package.name, ""}
        for name, path in files.items()
    }


def _name_module(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")


def _iter_imports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(level=0):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            case ast.ImportFrom():
                sys.exit(f"{path}:{node.lineno}: a relative import; this check reads absolute ones")
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name


def _find_module(target: str, files: dict[str, Path]) -> str:
    """Return the module that a dotted name lies in; an empty text where it is none of ours."""
    while target and target not in files:
        target = target.rpartition(".")[0]
    return target


def find_circles(graph: Graph) -> list[list[str]]:
    """Return circles until none is left: each one's modules in the order of import, the first again last."""
    remaining = {name: set(targets) for name, targets in graph.items()}
    circles = []
    while True:
        try:
            TopologicalSorter({name: sorted(targets) for name, targets in remaining.items()}).prepare()
        except CycleError as error:
            circle = error.args[1][::-1]
            circles.append(circle)
            remaining[circle[0]].discard(circle[1])
        else:
            return circles


circles = [circle for package in PACKAGES for circle in find_circles(read_graph(package))]
if circles:
    sys.exit("\n".join(f"circle of imports: {' → '.join(circle)}" for circle in circles))
print("no circle of imports")
