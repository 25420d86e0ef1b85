"""Look for inputs that a parser does not know what to say of, guided by what of the code each of them reaches.

``FUZZ_TARGET`` names a target, or several with commas (all of them), ``FUZZ_SECONDS`` how long each is tried (60). What
reaches something new is kept in ``corpus/<target>``, the smallest inputs that reach all of it; an input that ends in
anything but an error of ours is left in ``.fuzz`` and ends the run.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, suppress
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
CORPUS, FOUND = HERE / "corpus", HERE.parent.parent / ".fuzz"
GROUPS = [path.stem for path in sorted(HERE.glob("fuzz_*.py"))]
LONGEST = 2000  # Bytes of an input that is kept; headers are short.


def fuzz(target: str, arguments: list[str]) -> None:
    """In a process of its own, which libFuzzer ends."""
    import atheris

    atheris.enabled_hooks.add("str")  # It sees what a text is compared with. ("RegEx" fails at patterns of bytes.)
    with redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["lazycrop"]):
        group = next(group for group in map(import_module, GROUPS) if target in group.TARGETS)
    run = group.TARGETS[target]

    def once(data: bytes) -> None:
        with suppress(group.ALLOWED):
            run(data)

    # To merge it starts itself again, by what it takes for its own name.
    atheris.Setup([f"{sys.executable} {__file__} {target}", *arguments], once)
    atheris.Fuzz()


def call(target: str, *arguments: object) -> int:
    limits = [f"-max_len={LONGEST}", "-timeout=30", "-rss_limit_mb=1500"]
    command = [sys.executable, __file__, target, f"-dict={HERE}/tokens.dict", *limits]
    return subprocess.run([*command, *map(str, arguments)], check=False).returncode


def look(target: str, seconds: str) -> int:
    """Fuzz for so long, and keep the smallest corpus that reaches as much."""
    new, kept, smallest = FOUND / target, CORPUS / target, FOUND / f"{target}.smallest"
    for folder in (new, kept, smallest):
        folder.mkdir(parents=True, exist_ok=True)
    prefix = f"-artifact_prefix={FOUND}/{target}-"
    code = call(target, f"-max_total_time={seconds}", "-print_final_stats=1", prefix, new, kept)
    if code == 0 and call(target, "-merge=1", smallest, kept, new) == 0:
        shutil.rmtree(kept)
        shutil.copytree(smallest, kept)
    shutil.rmtree(smallest)
    return code


def main() -> int:
    sys.path.insert(0, str(HERE))
    targets = [name for group in GROUPS for name in import_module(group).TARGETS]
    wanted = os.environ.get("FUZZ_TARGET", "").split(",") if os.environ.get("FUZZ_TARGET") else targets
    if unknown := [name for name in wanted if name not in targets]:
        print(f"There is no target {unknown[0]!r}; there are {', '.join(targets)}.")
        return 2
    return max(look(target, os.environ.get("FUZZ_SECONDS", "60")) for target in wanted)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        fuzz(sys.argv[1], sys.argv[2:])
    else:
        sys.exit(main())
