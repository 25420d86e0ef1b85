"""Print each library that users install, at the lowest version that setup.py permits: constraints for pip.

What only the tests use stays as new as it is.
"""

from __future__ import annotations

from importlib.metadata import requires

from packaging.requirements import Requirement

TOOLS = {"test", "fuzz", "bench", "lint", "dev"}


def floors() -> dict[str, str]:
    """The versions by name, for this machine."""
    found = {}
    for text in requires("lazycrop") or []:
        one = Requirement(text)
        extra = str(one.marker).partition('extra == "')[2].rstrip('"') if one.marker else ""
        if extra not in TOOLS and (one.marker is None or one.marker.evaluate({"extra": extra})):
            [floor] = [part.version for part in one.specifier if part.operator == ">="]
            found[one.name] = floor
    return found


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in floors().items()))
