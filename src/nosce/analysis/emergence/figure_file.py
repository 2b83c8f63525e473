"""The figure of an audit as a file: SVG or PNG, whole or not at all, and never in place of somebody else's file."""

from __future__ import annotations

from pathlib import Path

from nosce.analysis.render.figure import FigureData, figure_svg
from nosce.errors import UsageError
from nosce.store.files import write_bytes_atomically

MARK = "nosce audit"  # in the first bytes of our own figures
_MARK_BYTES = 512
FIGURE_ENDINGS = (".svg", ".png")
MAX_NUMBERED = 99  # figures of one name beside others' files


def figure_bytes(figure: FigureData, ending: str) -> bytes:
    """The figure as SVG or PNG, with the mark by which `nosce audit` knows its own."""
    if ending == ".png":
        from nosce.analysis.render.svg import render_png  # matplotlib takes a third of a second

        return render_png(figure, MARK)
    declaration, _, rest = figure_svg(figure).partition("\n")
    return f"{declaration}\n<!-- {MARK} -->\n{rest}".encode()


def write_figure(figure: FigureData, path: Path) -> Path:
    """Write the figure where the user wants it.

    Raises:
        UsageError: The ending is neither .svg nor .png, another file is there, or it cannot be written.
    """
    if path.suffix.lower() not in FIGURE_ENDINGS:
        raise UsageError(f"--figure {path} ends neither with .svg nor with .png; name it so.")
    try:
        if not may_write(path):
            raise UsageError(f"--figure {path} is there and not a figure of `nosce audit`; name another file.")
        write_bytes_atomically(path, figure_bytes(figure, path.suffix.lower()))
    except OSError as error:
        raise UsageError(
            f"the figure cannot be written to {path} ({error.strerror or error}); name a file in an existing folder."
        ) from None
    return path


def write_beside(figure: FigureData, source: Path) -> Path:
    """Write the figure beside the audited file or folder, as `<name>.audit.svg`, or `<name>.audit-2.svg` and so on.

    Raises:
        OSError: It cannot be written there.
    """
    name = source.resolve().name if source.is_dir() else source.name.removesuffix(".gz").rpartition(".")[0]
    folder = source.resolve().parent if source.is_dir() and source.name in ("", "..") else source.parent
    for number in range(1, MAX_NUMBERED + 1):
        path = folder / f"{name or 'table'}.audit{'' if number == 1 else f'-{number}'}.svg"
        if may_write(path):
            write_bytes_atomically(path, figure_bytes(figure, ".svg"))
            return path
    raise OSError(f"{MAX_NUMBERED} files of such a name are there already")


def may_write(path: Path) -> bool:
    """Whether nothing is at the path, or a figure of our own."""
    if path.is_symlink():
        return False
    if not path.exists():
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(_MARK_BYTES)
