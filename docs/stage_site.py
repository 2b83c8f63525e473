"""Copy docs/ to a folder from which the site is built, with every file of the repository that a page links to.

    python docs/stage_site.py build/site-source

Pages link into the repository (`../src/...`, `../results/...`), as a reader of the repository needs it. A site holds
its own files alone, so such a file is copied to `repository/` beside the pages, and the link is turned to the copy.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
LINK = re.compile(r"(\]\()([^)\s]+)(\))")


class SiteSource:
    """The folder that is filled: each file of the repository is copied once.

    Args:
        folder: Where to; what it held before is removed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._copied: set[Path] = set()
        shutil.rmtree(folder, ignore_errors=True)

    def place_of(self, path: Path) -> Path:
        """Where a file of the repository lies in the site."""
        if path.is_relative_to(DOCS):
            return self.folder / path.relative_to(DOCS)
        return self.folder / "repository" / path.relative_to(ROOT)

    def copy(self, path: Path) -> None:
        """Copy a file or a folder, and what its links lead to.

        Raises:
            FileNotFoundError: A page links what is not there.
        """
        if path in self._copied:
            return
        self._copied.add(path)
        place = self.place_of(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, place, dirs_exist_ok=True)
        elif path.suffix == ".md":
            place.write_text(self._turned(path), encoding="utf-8")
        elif path.name == "index.html" and path.is_relative_to(ROOT / "results"):
            self.copy(path.parent)  # a published page links the figures and numbers beside it
        else:
            shutil.copyfile(path, place)

    def _turned(self, page: Path) -> str:
        def turned(found: re.Match[str]) -> str:
            target, hash_sign, heading = found[2].partition("#")
            if not target or re.match(r"[a-z]+:", target):
                return found[0]
            path = (page.parent / target).resolve()
            if not path.exists():
                raise FileNotFoundError(f"{page.relative_to(ROOT)} links {target}, which is not there")
            self.copy(path)
            link = Path(os.path.relpath(self.place_of(path), self.place_of(page).parent)).as_posix()
            return f"{found[1]}{link}{hash_sign}{heading}{found[3]}"

        return LINK.sub(turned, page.read_text(encoding="utf-8"))


def stage(folder: Path) -> None:
    """Fill the folder from docs/."""
    source = SiteSource(folder)
    for path in sorted(DOCS.rglob("*")):
        if path.is_file() and path.suffix in {".md", ".py", ".png", ".svg"} and path.name != Path(__file__).name:
            source.copy(path)


if __name__ == "__main__":
    stage(Path(sys.argv[1]).resolve())
