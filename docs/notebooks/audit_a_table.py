# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # Audit a table
#
# A sharp score jumps with size. Is the jump in the model, or in the metric? `nosce.audit` takes a table with a row an
# item and size, or whatever an evaluation tool wrote, and answers with the mirage test.

# %%
import numpy as np
import polars as pl

import nosce

# %% [markdown]
# The table here is simulated, so that the truth is known: the log-likelihood of each whole answer follows a smooth
# power law of the size. An answer is right with the probability that this log-likelihood says. So nothing jumps but the
# metric.

# %%
rng = np.random.default_rng(0)
n_items = 500
sizes = np.geomspace(1e6, 1e9, 8)
difficulty = np.exp(rng.normal(0, 0.2, n_items))  # of the same items at every size

rows = []
for size in sizes:
    log_likelihood = -30 * difficulty * (size / 1e7) ** -1.2
    right = rng.random(n_items) < np.exp(log_likelihood)
    rows.append(
        pl.DataFrame(
            {"params": size, "item": range(n_items), "acc": right.astype(float), "logprob": log_likelihood},
        )
    )
table = pl.concat(rows)
table.group_by("params").agg(pl.col("acc", "logprob").mean()).sort("params")

# %% [markdown]
# Columns are found by their headers; what was read as what is in `found.columns`. Name a column where a header could be
# two things: `nosce.audit(table, size="params", sharp="acc")`.

# %%
found = nosce.audit(table, resamples=500)
print(found.columns)
print(found.answer)

# %%
found  # a notebook shows the answer and the figure

# %%
print(found.verdict)
found.table

# %% [markdown]
# The same from a file, without Python: `nosce audit scores.csv`. A real log-likelihood is worth a column: of means
# alone the test says less (docs/audit.md).
