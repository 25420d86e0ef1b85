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


def fuzz(name: str, target: str, arguments: list[str]) -> None:
    """In a process of its own, which libFuzzer ends."""
    import atheris

    atheris.enabled_hooks.add("str")  # It sees what a text is compared with. ("RegEx" fails at patterns of bytes.)
    with redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["lazycrop"]):
        group = import_module(name)
    run = group.TARGETS[target]

    def once(data: bytes) -> None:
        with suppress(group.ALLOWED):
            run(data)

    # To merge it starts itself again, by what it takes for its own name.
    atheris.Setup([f"{sys.executable} {__file__} {name} {target}", *arguments], once)
    atheris.Fuzz()


def call(name: str, target: str, *arguments: object) -> int:
    limits = [f"-max_len={LONGEST}", "-timeout=30", "-rss_limit_mb=1500"]
    command = [sys.executable, __file__, name, target, f"-dict={HERE}/tokens.dict", *limits]
    return subprocess.run([*command, *map(str, arguments)], check=False).returncode


def look(name: str, target: str, seconds: str) -> int:
    """Fuzz for so long, and keep the smallest corpus that reaches as much."""
    new, kept, smallest = FOUND / target, CORPUS / target, FOUND / f"{target}.smallest"
    for folder in (new, kept, smallest):
        folder.mkdir(parents=True, exist_ok=True)
    prefix = f"-artifact_prefix={FOUND}/{target}-"
    code = call(name, target, f"-max_total_time={seconds}", "-print_final_stats=1", prefix, new, kept)
    if code == 0 and call(name, target, "-merge=1", smallest, kept, new) == 0 and any(smallest.iterdir()):
        shutil.rmtree(kept)
        shutil.copytree(smallest, kept)
    shutil.rmtree(smallest)
    return code


def main() -> int:
    sys.path.insert(0, str(HERE))
    targets = {target: name for name in GROUPS for target in import_module(name).TARGETS}
    wanted = os.environ.get("FUZZ_TARGET", ",".join(targets)).split(",")
    if unknown := [target for target in wanted if target not in targets]:
        print(f"There is no target {unknown[0]!r}; there are {', '.join(targets)}.")
        return 2
    return max(look(targets[target], target, os.environ.get("FUZZ_SECONDS", "60")) for target in wanted)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        fuzz(*sys.argv[1:3], sys.argv[3:])
    else:
        sys.exit(main())
