"""What a GPU gives nosce, in eight minutes: is it right, is it the same each time, how fast is it?

    PYTHONPATH=src python benchmarks/accelerator.py --out DIR [--only STAGE ...] [--minutes 8]

Each stage runs in a process of its own with a limit of its own, so that a stage that fails or hangs loses nothing.
Rows go to DIR/accelerator.csv and DIR/accelerator.md as they come, everything that was printed to
DIR/accelerator.log. `--device cpu --tiny` tries the script without a GPU. The stages are in accelerator_stages.py and
accelerator_speed.py. `accelerator_cpu.json` holds the verdicts of the smoke studies on a CPU.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, Queue

from accelerator_stages import ROW_MARK, Row, Setting, doctor

#: Stages in their order, with the seconds that each may take out of eight minutes.
LIMITS = {
    "quick": 90,
    "correctness": 75,
    "speed": 110,
    "smoke": 170,
    "graphs": 35,
    "generation": 45,
    "sharing": 80,
    "laptop": 110,
}
MINUTES = 8.0
COLUMNS = ("stage", *Row.__annotations__)


class Report:
    """The rows so far, in a table for machines and one for people."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.csv, self.md, self.log = (folder / f"accelerator.{end}" for end in ("csv", "md", "log"))
        self.rows: list[dict[str, str]] = []
        self.log.write_text("")

    def add(self, stage: str, row: Row) -> None:
        """Write a row."""
        self.rows.append({"stage": stage} | {name: str(value) for name, value in asdict(row).items()})
        new = len(self.rows) == 1
        with self.csv.open("w" if new else "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow(self.rows[-1])
        shown = [row for row in self.rows if not row["measure"].startswith("claim ")]
        lines = ["# On an accelerator", "", f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
        for shown_row in shown:
            cells = (cell.replace("|", "/").replace("\n", " ") for cell in shown_row.values())
            lines.append("| " + " | ".join(cells) + " |")
        self.md.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if not row.measure.startswith("claim "):
            print(f"{stage}: {row.case}: {row.measure} {row.value} {row.unit} {row.note}", flush=True)

    def note(self, text: str) -> None:
        """Keep what a stage printed."""
        with self.log.open("a", encoding="utf-8", errors="replace") as file:
            file.write(text)


def run_stage(stage: str, setting: Setting, limit: float, report: Report) -> None:
    """Run a stage in a process of its own; its rows are written as they come."""
    command = [sys.executable, "-u", __file__, "--stage", stage, "--out", str(setting.out), "--device", setting.device]
    command += ["--seconds", str(limit)] + (["--tiny"] if setting.tiny else [])
    names = ("CUBLAS_WORKSPACE_CONFIG", "HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM", "OMP_NUM_THREADS")
    environment = os.environ | dict(zip(names, (":4096:8", "1", "false", "1"), strict=True))
    started = time.monotonic()
    report.note(f"==== {stage}, at most {limit:.0f} s\n")
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    last, lines = "", Queue[str | None]()
    reader = threading.Thread(target=_read, args=(process, lines))
    reader.start()
    for line in _lines(lines, started + limit):
        if line.startswith(ROW_MARK):
            report.add(stage, Row(**json.loads(line.removeprefix(ROW_MARK))))
        else:
            report.note(line)
            last = line.strip() or last
    try:
        process.wait(timeout=max(0.0, started + limit - time.monotonic()))
        is_late = False
    except subprocess.TimeoutExpired:
        is_late = True
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # the stage's own session, with all that it has started
    code = process.wait()
    reader.join()
    seconds = time.monotonic() - started
    state = "stopped at its limit" if is_late else "ended" if code == 0 else f"failed with code {code}"
    report.add(stage, Row("whole stage", state, round(seconds, 1), "s", last[:300] if code else ""))


def _read(process: subprocess.Popen[str], lines: Queue[str | None]) -> None:
    """Pass on what a process prints, and None at its end."""
    assert process.stdout is not None
    with process.stdout as stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _lines(lines: Queue[str | None], until: float) -> Iterator[str]:
    """The lines that come, until the last or until a time."""
    while (left := until - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=left)
        except Empty:
            return
        if line is None:
            return
        yield line


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path(__file__).parent)
    options.add_argument("--only", nargs="+", choices=LIMITS, default=list(LIMITS))
    options.add_argument("--minutes", type=float, default=MINUTES)
    options.add_argument("--device", default="cuda")
    options.add_argument("--tiny", action="store_true")
    options.add_argument("--stage", help=argparse.SUPPRESS)
    options.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    setting = Setting(chosen.out, chosen.device, chosen.tiny, time.monotonic() + chosen.seconds)
    if chosen.stage:
        import accelerator_speed
        import accelerator_stages

        module = accelerator_speed if hasattr(accelerator_speed, chosen.stage) else accelerator_stages
        getattr(module, chosen.stage)(setting)
        return
    report, end = Report(chosen.out), time.monotonic() + 60 * chosen.minutes
    for row in doctor():
        report.add("doctor", row)
    for stage in chosen.only:
        limit = min(LIMITS[stage] * max(1.0, chosen.minutes / MINUTES), end - time.monotonic())
        if limit < 10:
            report.add(stage, Row("whole stage", "left out", 0, "s", "no time was left"))
            continue
        run_stage(stage, setting, limit, report)


if __name__ == "__main__":
    main()
