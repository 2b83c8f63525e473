"""Makes the tables of this folder that no other tool wrote: the same few truths in as many layouts.

    PYTHONPATH=src:SITE_PACKAGES_WITH_OPENPYXL python tests/data/tables/make_tables.py

The data are drawn by `nosce.analysis.emergence.simulation`, whose truths are known; the layouts are what people have.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from nosce.analysis.emergence.simulation import simulate_outcomes
from nosce.seeds import Seed

FOLDER = Path(__file__).parent
SIZES = (1e5, 1e6, 4e6, 1.6e7, 7e7, 2.5e8, 1e9)
N_AGGREGATE = 500


def items(truth: str, seed: int, n: int = 40, seeds: int = 1) -> pl.DataFrame:
    """Items of a truth at seven sizes, with a log-likelihood rounded to four decimals."""
    told = simulate_outcomes(truth, sizes=7, items=n, seeds=seeds, seed=Seed(seed), exponents=(1.0, 1.2))
    rows = []
    for s in range(seeds):
        for j, size in enumerate(told.sizes):
            for i in range(n):
                rows.append(
                    {
                        "size": round(size),
                        "seed": s,
                        "item": f"q{i:02}",
                        "sharp": int(told.sharp[s, j, i]),
                        "continuous": round(float(told.continuous[s, j, i]), 4),
                    }
                )
    return pl.DataFrame(rows)


def aggregates(truth: str, seed: int, n: int = N_AGGREGATE) -> pl.DataFrame:
    """Means of sizes, with their number of items and standard errors."""
    table = items(truth, seed, n)
    return (
        table.group_by("size", maintain_order=True)
        .agg(
            acc=pl.col("sharp").mean(),
            ll=pl.col("continuous").mean(),
            ll_stderr=pl.col("continuous").std() / pl.len().sqrt(),
            n=pl.len(),
        )
        .with_columns(
            acc_stderr=(pl.col("acc") * (1 - pl.col("acc")) / (pl.col("n") - 1)).sqrt().round(6),
            ll=pl.col("ll").round(5),
        )
        .with_columns(acc=pl.col("acc").round(4), ll_stderr=pl.col("ll_stderr").round(6))
    )


def letters(size: float) -> str:
    """A size as the field writes it."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{size / unit:.4g}{letter}"
    return f"{size:g}"


def comma(value: float) -> str:
    """A number with a decimal comma."""
    return f"{value:g}".replace(".", ",")


def text(name: str, content: str, encoding: str = "utf-8") -> None:
    (FOLDER / name).write_bytes(content.encode(encoding))


def lines(header: str, rows: list[str], end: str = "\n") -> str:
    return end.join([header, *rows]) + end


def make_items() -> None:
    """One power law item by item, in layouts that must all give the same outcomes."""
    law = items("power law", 3)
    plain = law.drop("seed")
    plain.write_csv(FOLDER / "items_plain.csv")
    spaced = plain.rename(
        {"size": " Num Params ", "item": "Question ID", "sharp": "Exact Match", "continuous": "Log-Likelihood"}
    )
    spaced.write_csv(FOLDER / "items_spaced_headers.csv")
    rows = [f"{r['size']};{r['item']};{r['sharp']};{comma(r['continuous'])}" for r in plain.to_dicts()]
    text("items_excel_semicolons.csv", lines("Params;Item;Accuracy;LogProb", rows, "\r\n"), "utf-8-sig")
    rows = [f"{r['size']}\t{r['item']}\t{r['sharp']}\t{r['continuous']}" for r in plain.to_dicts()]
    text("items_utf16.tsv", lines("params\titem\tacc\tlogprob", rows), "utf-16")
    rows = [f"{letters(r['size'])},{r['item']},{r['sharp']},{r['continuous']}" for r in plain.to_dicts()]
    text("items_sizes_with_letters.csv", lines("model_size,doc_id,acc,loglikelihood", rows))
    rows = [f'"{r["size"]:,}",{r["item"]},{r["sharp"]},{r["continuous"]}' for r in plain.to_dicts()]
    text("items_thousands.csv", lines("n_params,qid,correct,ll", rows))
    rows = [f"{r['size']},{r['item']},{bool(r['sharp'])},{r['continuous']}" for r in plain.to_dicts()]
    text("items_truths.csv", lines("params,example_id,is_correct,logprob", rows))
    rows = [f"{r['size']},{r['item']},{r['sharp']},{-r['continuous']}" for r in plain.to_dicts()]
    text("items_nll.csv", lines("params,item_id,acc,nll", rows))
    rows = [f"{r['size']},{r['item']},{r['sharp']},{r['continuous']}" for r in plain.to_dicts()]
    text("items_own_names.csv", lines("N,which,hit_or_miss,quality", rows))
    plain.write_parquet(FOLDER / "items.parquet")
    plain.write_ndjson(FOLDER / "items.jsonl")
    text("items_records.json", json.dumps(plain.to_dicts()))
    text("items_nested.json", json.dumps({"model": "toy", "results": plain.to_dicts()}))
    text(
        "items_split.json", json.dumps({"columns": plain.columns, "index": [*range(len(plain))], "data": plain.rows()})
    )
    by_column = {name: {str(i): value for i, value in enumerate(plain[name].to_list())} for name in plain.columns}
    text("items_pandas.json", json.dumps(by_column))
    with gzip.GzipFile(FOLDER / "items_packed.csv.gz", "wb", mtime=0) as file:
        file.write(plain.write_csv().encode())
    shuffled = plain.sample(fraction=1, shuffle=True, seed=1)
    shuffled.with_columns(note=pl.lit("x, y")).write_csv(FOLDER / "items_shuffled_with_more.csv")
    wide = plain.pivot(on="size", index="item", values="sharp")
    wide.rename({str(size): letters(size) for size in plain["size"].unique().to_list()}).write_csv(
        FOLDER / "items_wide.csv"
    )
    plain.drop("item").write_csv(FOLDER / "items_without_names.csv")
    make_workbook(plain, "items.xlsx")
    late = [
        json.dumps({k: v for k, v in r.items() if i > 150 or k != "continuous"}) for i, r in enumerate(plain.to_dicts())
    ]
    text("items_late_key.jsonl", "\n".join(late) + "\n")


def make_workbook(table: pl.DataFrame, name: str) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["Params", "Item", "Acc", "Loglikelihood"])
    for row in table.rows():
        sheet.append(list(row))
    book.create_sheet("empty")
    book.save(FOLDER / name)


def make_seeds() -> None:
    """Seeds of equal names at all sizes, of own names at each size, and items of own names of each seed."""
    law = items("power law", 5, n=24, seeds=3)
    law.write_csv(FOLDER / "seeds_crossed.csv")
    nested = law.with_columns(seed=pl.col("size").cast(pl.String) + "-" + pl.col("seed").cast(pl.String))
    nested.rename({"seed": "run"}).write_csv(FOLDER / "seeds_nested.csv")
    own = law.with_columns(item=pl.col("seed").cast(pl.String) + pl.col("item"))
    own.write_csv(FOLDER / "seeds_with_own_items.csv")
    series = law.group_by("size", "seed", maintain_order=True).agg(
        right=pl.col("sharp").sum(), asked=pl.len(), continuous=pl.col("continuous").mean().round(4)
    )
    series.rename({"seed": "series"}).write_csv(FOLDER / "series.csv")
    series.write_csv(FOLDER / "seeds_of_counts.csv")


def make_aggregates() -> None:
    """One break as means of sizes, and a law, noise and an even rise beside it."""
    rows = aggregates("planted break", 2).to_dicts()
    counts = [f"{r['size']},{round(r['acc'] * r['n'])},{r['n']},{r['ll']}" for r in rows]
    text("counts.csv", lines("size,right,asked,continuous", counts))
    text("counts_correct_total.csv", lines("Params,Correct,Total,Mean LogProb", counts))
    text("acc_n.csv", lines("params,accuracy,n,logprob", [f"{r['size']},{r['acc']},{r['n']},{r['ll']}" for r in rows]))
    stderr = [f"{r['size']},{r['acc']},{r['acc_stderr']},{r['ll']},{r['ll_stderr']}" for r in rows]
    text("acc_stderr.csv", lines("params,acc,acc_stderr,logprob,logprob_stderr", stderr))
    text("acc_alone.csv", lines("params,accuracy", [f"{r['size']},{r['acc']}" for r in rows]))
    percent = [f"{r['size']},{100 * r['acc']:.1f}%,{r['n']},{r['ll']}" for r in rows]
    text("percent_signs.csv", lines("params,accuracy,n,logprob", percent))
    header = [f"{r['size']},{100 * r['acc']:.1f},{r['n']},{r['ll']}" for r in rows]
    text("percent_header.csv", lines("params,Accuracy (%),N,LogProb", header))
    text("percent_open.csv", lines("params,accuracy,n,logprob", header))
    billions = [f"{r['size'] / 1e9:g},{r['acc']},{r['n']},{r['ll']}" for r in rows]
    text("params_in_billions.csv", lines("#Params (B),acc,n,logprob", billions))
    names = [f"toy-{letters(r['size'])}-chat,{r['acc']},{r['n']},{r['ll']}" for r in rows]
    text("sizes_in_names.csv", lines("model,acc,n,logprob", names))
    odd = [line if i else f"toy-small,{line.partition(',')[2]}" for i, line in enumerate(names)]
    text("one_name_without_size.csv", lines("model,acc,n,logprob", odd))
    two = [f"{r['size']},{20 * r['size']},{r['acc']},{r['n']},{r['ll']}" for r in rows]
    text("params_and_tokens.csv", lines("params,tokens,acc,n,logprob", two))
    text(
        "constant_tokens.csv",
        lines("params,tokens,acc,n,logprob", [line.replace(line.split(",")[1], "300000", 1) for line in two]),
    )
    sharps = [f"{r['size']},{r['acc']},{r['acc'] / 2:g},{r['n']}" for r in rows]
    text("two_sharp_scores.csv", lines("params,acc,exact_match,n", sharps))
    long = [f"toy,{r['size']},{m},{r[m]},{r['n']}" for r in rows for m in ("acc", "ll")]
    text("a_row_a_metric.csv", lines("family,params,metric,value,n", long))
    grade = [f"{r['size']},{0.25 + 0.75 * r['acc']:g},{r['n']}" for r in rows]
    text("grade.csv", lines("params,acc,n", grade))
    text("two_numbers.csv", lines("params,acc,n,count", [f"{line},{100 + i}" for i, line in enumerate(grade)]))
    text("multiple_choice.csv", lines("params,acc_norm,n", grade))
    text("multiple_choice_options.csv", lines("params,acc_norm,n,n_choices", [f"{line},4" for line in grade]))
    perplexity = [f"{r['size']},{r['acc']},{r['n']},{math.exp(-r['ll']):.6g}" for r in rows]
    text("perplexity.csv", lines("params,acc,n,ppl", perplexity))
    decimals = [
        f"{1.2 + 0.111 * i:.3f}".replace(".", ",") + f";{r['n']};{round(r['acc'] * r['n'])}" for i, r in enumerate(rows)
    ]
    text("decimal_open.csv", lines("size;asked;right", decimals))
    text("four_sizes.csv", lines("size,right,asked,continuous", counts[:4]))
    score = [f"{r['size']},{r['acc']},{r['n']}" for r in rows]
    text("score.csv", lines("params,score,n", score))
    law = [f"{r['size']},{r['acc']},{r['n']},{r['ll']}" for r in aggregates("power law", 4).to_dicts()]
    text("law.csv", lines("params,acc,n,logprob", law))
    tasks = []
    for task, truth, seed in (("law", "power law", 4), ("break", "planted break", 2), ("noise", "pure noise", 1)):
        tasks += [f"{task},{r['size']},{r['acc']},{r['n']},{r['ll']}" for r in aggregates(truth, seed).to_dicts()]
    text("tasks.csv", lines("task,params,acc,n,logprob", tasks))
    some = [line if line.startswith("break") else line.rpartition(",")[0] + "," for line in tasks]
    text("tasks_with_some_scores.csv", lines("task,params,acc,n,logprob", some))
    even = [f"{r['size']},{0.1 + 0.12 * i:g},2000,{-3 + 0.4 * i:g}" for i, r in enumerate(rows)]
    text("even.csv", lines("params,acc,n,logprob", even))
    noise = aggregates("pure noise", 1).to_dicts()
    text("noise.csv", lines("params,acc,n,logprob", [f"{r['size']},{r['acc']},{r['n']},{r['ll']}" for r in noise]))


def make_wrong() -> None:
    """Tables that must end in a sentence."""
    rows = [f"{int(s)},0.{i + 1},100" for i, s in enumerate(SIZES)]
    text("missing.csv", lines("params,acc,n", [*rows[:3], rows[3].replace("0.4", "N/A"), *rows[4:]]))
    text("twice.csv", lines("params,acc,acc,n", [line.replace(",100", ",0.5,100") for line in rows]))
    text("mixed_percent.csv", lines("params,acc,n", [rows[0].replace("0.1", "10%"), *rows[1:]]))
    text("mixed_commas.csv", lines("params;acc;n", ["1,000,000;0,5;100", "2,000,000;0,6;100"]))
    text("point_and_comma.csv", lines("params;acc;ll", [f"{int(s)};{i % 2}.0;-0,{i + 5}" for i, s in enumerate(SIZES)]))
    text("no_size.csv", lines("colour,acc,n", [f"red,{line.partition(',')[2]}" for line in rows]))
    text("several_rows.csv", lines("params,acc,n", [*rows, *rows]))
    hostile = ['"<script>alert(1)</script>"', "=cmd|' /C calc'!A0", '"\x1b[31mred\x1b[0m"', "\u202egpj.exe"]
    content = [f"{int(s)},{name},{task},{i % 2}" for i, s in enumerate(SIZES) for name in hostile for task in hostile]
    text("hostile.csv", lines("params,item,task,acc", content))
    text("hostile_header.csv", lines("params,item,\x1b[31macc\x1b[0m", [f"{int(s)},a,1" for s in SIZES]))
    text("empty.csv", "params,acc,n\n")
    text("no_table.json", '{"a": 1, "b": "two"}')
    text("score_of_seven.csv", lines("params,acc,n", [f"{int(s)},{i + 1},100" for i, s in enumerate(SIZES)]))


def make_helm() -> None:
    """Six runs of a scenario in the layout of HELM: run_spec.json, stats.json, per_instance_stats.json."""
    law = items("power law", 3, n=12).filter(pl.col("size") > 1e5)
    for size, part in law.group_by("size", maintain_order=True):
        folder = FOLDER / "helm" / f"toy_task:subject=sums,model=lab_toy-{letters(size[0])}"
        folder.mkdir(parents=True, exist_ok=True)
        spec = {
            "name": folder.name,
            "scenario_spec": {"class_name": "helm.benchmark.scenarios.toy.ToyScenario", "args": {}},
            "adapter_spec": {"method": "generation", "model": f"lab/toy-{letters(size[0])}", "num_train_trials": 1},
            "metric_specs": [],
            "groups": ["toy"],
        }
        (folder / "run_spec.json").write_text(json.dumps(spec, indent=2))
        shares = part["sharp"].to_numpy()
        aggregated = [stat("num_instances", np.array([12.0])), stat("exact_match", np.array([shares.mean()]))]
        disturbed = stat("exact_match", np.array([0.0]))
        disturbed["name"]["perturbation"] = {"name": "robustness", "robustness": True}
        (folder / "stats.json").write_text(json.dumps([disturbed, *aggregated], indent=1))
        instances = [
            {
                "instance_id": r["item"],
                "train_trial_index": 0,
                "stats": [
                    stat("exact_match", np.array([r["sharp"]])),
                    stat("target_logprob", np.array([r["continuous"]])),
                ],
            }
            for r in part.to_dicts()
        ]
        (folder / "per_instance_stats.json").write_text(json.dumps(instances))


def stat(name: str, values: np.ndarray) -> dict:
    """One of HELM's statistics."""
    return {
        "name": {"name": name, "split": "test"},
        "count": len(values),
        "sum": float(values.sum()),
        "sum_squared": float((values**2).sum()),
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean()),
        "variance": float(values.var()),
        "stddev": float(values.std()),
    }


def make_leaderboard() -> None:
    """Six models' details in the layout of the first Open LLM leaderboard (lighteval's DetailsLogger)."""
    law = items("power law", 3, n=16).filter(pl.col("size") > 1e5)
    for size, part in law.group_by("size", maintain_order=True):
        folder = FOLDER / "leaderboard" / f"lab__toy-{letters(size[0])}" / "2023-08-21T17-55-45.506785"
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for number, r in enumerate(part.to_dicts()):
            gold = number % 4
            replies = [-9.5, -9.25, -9.75, -9.0]
            replies[gold] = r["continuous"]
            rows.append(
                {
                    "example": f"Question {number}?",
                    "full_prompt": f"Question {number}?\nAnswer:",
                    "choices": ["A", "B", "C", "D"],
                    "gold_index": [gold],
                    "predictions": replies,
                    "metrics": {"acc": float(r["sharp"]), "acc_norm": float(r["sharp"])},
                }
            )
        name = "details_harness|arc:challenge|25_2023-08-21T17-55-45.506785.parquet"
        pl.DataFrame(rows).write_parquet(folder / name)


def make_bigbench() -> None:
    """A task in BIG-bench's own schema, with log-likelihoods beside the exact match."""
    folder = FOLDER / "bigbench"
    folder.mkdir(exist_ok=True)
    for r in aggregates("power law", 4).to_dicts():
        content = {
            "scores": [
                {
                    "score_dict": {"exact_str_match": r["acc"], "log_likelihood": r["ll"]},
                    "preferred_score": "exact_str_match",
                    "number_of_shots": 0,
                    "low_score": 0.0,
                    "high_score": 1.0,
                    "subtask_description": "toy_sums",
                }
            ],
            "task": {"task_name": "toy_sums"},
            "model": {
                "model_family": "Toy",
                "model_name": letters(r["size"]),
                "non_embedding_params": r["size"],
                "flop_matched_non_embedding_params": r["size"],
            },
        }
        text(f"bigbench/scores_Toy_{letters(r['size'])}.json", json.dumps(content))


MAKERS: tuple[Callable[[], None], ...] = (
    make_items,
    make_seeds,
    make_aggregates,
    make_wrong,
    make_helm,
    make_leaderboard,
    make_bigbench,
)

if __name__ == "__main__":
    for maker in MAKERS:
        maker()
