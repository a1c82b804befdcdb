"""Checks that a Dockerfile's build context has what it copies: check_context.py DOCKERFILE…, from the root.

The context is the root without what the ignore file leaves out: the one beside the Dockerfile (`Dockerfile.dockerignore`), or
else the root's."""
import pathlib
import re
import shlex
import sys
from fnmatch import fnmatchcase


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern of an ignore file takes a path, or a folder that it is in."""
    parts, wanted = path.split("/"), pattern.strip("/").split("/")
    for end in range(1, len(parts) + 1):
        here = parts[:end]
        if wanted[0] == "**":
            here, tail = here[-(len(wanted) - 1) :], wanted[1:]
        else:
            tail = wanted
        if len(here) == len(tail) and all(fnmatchcase(part, one) for part, one in zip(here, tail)):
            return True
    return False


def is_left_out(path: str, lines: list[str]) -> bool:
    """Whether the ignore file leaves a path out: its last line that takes the path says so."""
    left_out = False
    for line in lines:
        negated = line.startswith("!")
        if matches(line.removeprefix("!"), path):
            left_out = not negated
    return left_out


def problems(dockerfile: pathlib.Path) -> list[str]:
    """What a Dockerfile copies and its context lacks."""
    beside = dockerfile.with_name(dockerfile.name + ".dockerignore")
    ignore = beside if beside.exists() else pathlib.Path(".dockerignore")
    lines = [line.strip() for line in ignore.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    found = []
    text = re.sub(r"\\\n", " ", dockerfile.read_text(encoding="utf-8"))
    for copied in re.findall(r"(?m)^(?:COPY|ADD) (.*)$", text):
        words = shlex.split(copied)
        if any(word.startswith("--from=") for word in words):
            continue
        for source in [word for word in words if not word.startswith("--")][:-1]:
            if source == ".":
                continue
            if not pathlib.Path(source).exists():
                found.append(f"{dockerfile}: copies {source}, which does not exist")
            elif is_left_out(source, lines):
                found.append(f"{dockerfile}: copies {source}, which {ignore} leaves out")
    return found


if __name__ == "__main__":
    wrong = [text for name in sys.argv[1:] for text in problems(pathlib.Path(name))]
    for text in wrong:
        print(f"docker: {text}", file=sys.stderr)
    sys.exit(1 if wrong else 0)
