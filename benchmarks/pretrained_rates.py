"""Learning rates for pretrained models: a short sweep on people whom no study reports.

    PYTHONPATH=src python benchmarks/pretrained_rates.py FOLDER --out DIR [--side-by-side 3]

Each setting continues the training of the model on `multi5+permute` and fine-tunes it on questions, on the people of
seed 900. The rule, fixed before any run: of the settings whose recall of values inside the texts is within two points
of the best, the one with the most right answers about people who were never asked about. Writes DIR/rates.csv.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

SEED = 900
ARM = "multi5+permute"
RECALL_TOLERANCE = 0.02
#: Rank of LoRA (0: all weights), peak rates of the continued training and of fine-tuning.
SETTINGS = (
    (0, 1e-4, 3e-5),
    (0, 1e-4, 1e-4),
    (0, 3e-4, 1e-4),
    (0, 6e-4, 1e-4),
    (0, 3e-4, 3e-4),
    (16, 1e-3, 5e-4),
    (16, 3e-3, 1e-3),
    (64, 1e-3, 5e-4),
)


def run(folder: Path, out: Path, setting: tuple[int, float, float], options: argparse.Namespace) -> dict[str, object]:
    """Recall and answers of one setting; None where its run failed."""
    lora, rate, finetuning_rate = setting
    store = out / f"lora{lora}-{rate:g}-{finetuning_rate:g}"
    settings = {
        "seeds": SEED,
        "people": options.people,
        "exposures": options.exposures,
        "lora": lora,
        "pretraining.peak_lr": rate,
        "finetuning.peak_lr": finetuning_rate,
    }
    words = [sys.executable, "-m", "nosce", "run", "biographies", "--model", str(folder), "--scale", options.scale]
    words += ["--arms", ARM, "--store", str(store), *(w for k, v in settings.items() for w in ("--set", f"{k}={v}"))]
    words += options.more.split()
    done = subprocess.run(words, capture_output=True, encoding="utf-8")
    (out / f"{store.name}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    row: dict[str, object] = {"lora": lora, "pretraining_lr": rate, "finetuning_lr": finetuning_rate}
    tables = list(store.glob("steps/estimates-*/readings.parquet"))
    if done.returncode or not tables:
        return row | {"recall": None, "seen": None, "unseen": None}
    last = pl.col("step") == pl.col("step").max().over("evaluation", "stage")
    readings = pl.read_parquet(tables[0], glob=False).filter(pl.col("metric") == "exact", last)
    for name, evaluation, split in (
        ("recall", "recall", None),
        ("seen", "questions", "seen"),
        ("unseen", "questions", "unseen"),
    ):
        rows = readings.filter(pl.col("evaluation") == evaluation)
        row[name] = (rows if split is None else rows.filter(pl.col("split") == split))["value"].mean()
    return row


def best(rows: list[dict[str, object]]) -> dict[str, object]:
    """The setting that the rule takes."""
    table = pl.DataFrame(rows).drop_nulls()
    near = table.filter(pl.col("recall") >= pl.col("recall").max() - RECALL_TOLERANCE)
    return near.sort("unseen", "lora", descending=[True, False]).row(0, named=True)


def main() -> None:
    """Run all settings, a few side by side, and name the best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--exposures", type=int, default=20)
    parser.add_argument("--scale", default="gpu")
    parser.add_argument("--side-by-side", type=int, default=1)
    parser.add_argument("--more", default="", help="Further words of `nosce run`.")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.side_by_side) as pool:
        rows = list(pool.map(lambda setting: run(options.folder, options.out, setting, options), SETTINGS))
    pl.DataFrame(rows).write_csv(options.out / "rates.csv")
    print(pl.DataFrame(rows))
    print("best:", best(rows))


if __name__ == "__main__":
    main()
