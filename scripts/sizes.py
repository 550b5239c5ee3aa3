"""Prints the longest modules and functions and the medians: a mirror, not a fence."""

import ast
import subprocess
from pathlib import Path
from statistics import median


def main() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "ai_engine/*.py", "local_ai_server/*.py"], capture_output=True, text=True, check=True
    )
    modules: list[tuple[int, str]] = []
    functions: list[tuple[int, str]] = []
    for path in listed.stdout.split():
        source = Path(path).read_text()
        modules.append((source.count("\n"), path))
        functions.extend(
            ((node.end_lineno or node.lineno) - node.lineno + 1, f"{path}:{node.lineno} {node.name}")
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )
    for title, sizes, anchor in (
        ("modules", modules, "house: median 80-200"),
        ("functions", functions, "house: median about 10"),
    ):
        print(f"{title}: {len(sizes)}, median {median(size for size, _ in sizes):.0f} lines ({anchor})")
        for size, where in sorted(sizes, reverse=True)[:10]:
            print(f"  {size:5d}  {where}")


if __name__ == "__main__":
    main()
