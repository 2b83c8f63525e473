# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # Open a run and look at one person
#
# A finished study is one object: its claims, every single observation, the checkpoints and the figures. First make one,
# in a terminal: `nosce run biographies_adamw --scale smoke` takes about a minute. Smoke scale runs every step and shows
# nothing: look at the form of things here, not at the numbers.

# %%
import os

import polars as pl
from transformers import AutoModelForCausalLM, AutoTokenizer

import nosce
from nosce.pipeline.plan_record import PlanRecord

store = nosce.Store.open(os.environ.get("NOSCE_STORE", ".nosce"))
results = nosce.RunResults.load(store, PlanRecord.find_finished(store, "biographies_adamw", "smoke"))

# %% [markdown]
# ## Claims
# Paper, estimate, interval, n, verdict, and why.

# %%
results.claims.select("id", "paper_value", "estimate", "low", "high", "n", "verdict", "why")

# %% [markdown]
# ## Readings
# A row is one observation: this model, after this step, on this item, measured this way. docs/readings.md explains
# every column.

# %%
readings = results.readings
readings.group_by("arm", "stage", "evaluation", "metric").len().sort("arm", "stage", "evaluation", "metric")

# %% [markdown]
# ## One person
# What was asked about one person who was not among the trained questions, what the model wrote, and what was right.
# `answer` ends with the first mistake, since greedy decoding is compared with a known target.

# %%
asked = readings.filter(evaluation="questions", metric="exact", split="unseen")
person = asked["entity"].unique().sort()[0]
of_person = asked.filter(
    pl.col("entity") == person, pl.col("step") == pl.col("step").max().over("arm", "seed", "stage")
)
of_person.select("arm", "item", "attribute", "answer", "target", "value")

# %% [markdown]
# Was the same person's text memorised? The same person under `recall`:

# %%
readings.filter(pl.col("entity") == person, evaluation="recall", metric="exact").group_by("arm", "stage", "step").agg(
    pl.col("value").mean()
).sort("arm", "stage", "step")

# %% [markdown]
# ## A checkpoint
# Each checkpoint that was asked is a plain Hugging Face folder.

# %%
(arm, seed, stage, step), folder = max(results.checkpoints.items(), key=lambda item: item[0][3])
model = AutoModelForCausalLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
print(arm, seed, stage, step, f"{model.num_parameters():,} weights, {len(tokenizer):,} tokens")

# %% [markdown]
# ## A figure
# Figures are tables first.

# %%
figure = results.figures[0]
print(figure.title)
figure.table

# %% [markdown]
# The same without Python: `nosce show biographies_adamw --scale smoke`, and `nosce report --out report` for the page.
