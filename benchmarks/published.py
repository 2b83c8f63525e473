"""Onsets of LAMBADA over the training of Pythia: where a tenth is right, foretold from the steps before, by size.

    python benchmarks/published.py --data ../shared/data

Prints coverage over all sizes. What the mirage test and the census say of published tables: `nosce published`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from nosce.analysis.emergence.forecasts import ScalingCurve, forecast_onsets, forecast_sizes, summarize_forecasts
from nosce.analysis.emergence.published import LAMBADA_TEXTS, lambada_table
from nosce.seeds import Seed


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = options.parse_args().data
    every, told = [], []
    for (name,), part in lambada_table(data).group_by("size", maintain_order=True):
        right = (part["acc"].to_numpy() * LAMBADA_TEXTS).round()
        curve = ScalingCurve(
            part["tokens_seen"].to_numpy().astype(float),
            right,
            np.full(len(part), float(LAMBADA_TEXTS)),
            -np.log(part["ppl"].to_numpy()),
        )
        every += [(name, one) for one in forecast_onsets(curve, Seed(0), level=0.1)]
        told += [one for one in forecast_sizes(curve, Seed(0)) if curve.shares[one.n_fit_sizes] > 0]
    for how in ("direct", "linked"):
        mine = [one for _, one in every if one.method == how]
        print(
            f"onset {how}: {len(mine)} forecasts, {np.mean([o.covered for o in mine]):.0%} covered, CRPS "
            f"{np.mean([o.crps for o in mine]):.2f} decades, median width "
            f"{np.median([min(o.high, 99) - o.low for o in mine]):.2f}"
        )
    print(json.dumps(summarize_forecasts(tuple(told)), indent=1))


if __name__ == "__main__":
    main()
