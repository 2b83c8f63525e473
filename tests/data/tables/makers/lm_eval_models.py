"""Six tiny models that learn to add, for lm-evaluation-harness 0.4.13 to ask; run it in the folder of these YAML files.

    python lm_eval_models.py
    for h in 8 16 24 32 48 64; do
      lm_eval run --model hf --model_args pretrained=models/sum-$h --tasks sums_mc,sums_gen,sums_ll \\
        --include_path . --device cpu --batch_size 32 --output_path out --log_samples --limit 20
    done
"""

import json
import random  # noqa: TID251

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

torch.manual_seed(0)
torch.set_num_threads(1)
rng = random.Random(0)
chars = list("0123456789+= ABCD\n")
vocab = {c: i for i, c in enumerate(["<pad>", "</s>", "<unk>", *chars])}
tok = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))

tok.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
tok.decoder = decoders.Fuse()
fast = transformers.PreTrainedTokenizerFast(
    tokenizer_object=tok, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
)
pairs = [(a, b) for a in range(100) for b in range(100)]
rng.shuffle(pairs)
test = pairs[:60]
train = pairs[60:]


def row(a, b):
    good = f"{a + b:03d}"
    wrong = []
    while len(wrong) < 3:
        w = f"{max(0, a + b + rng.choice([-20, -11, -10, -9, -2, -1, 1, 2, 9, 10, 11, 20])):03d}"
        if w != good and w not in wrong:
            wrong.append(w)
    opts = [good, *wrong]
    rng.shuffle(opts)
    return {"question": f"{a:02d}+{b:02d}=", "answer": good, "choices": opts, "gold": opts.index(good)}


with open("sums.jsonl", "w") as f:
    for a, b in test:
        f.write(json.dumps(row(a, b)) + "\n")


def batch(n):
    ids = []
    for a, b in rng.choices(train, k=n):
        ids.append(fast(f"{a:02d}+{b:02d}={a + b:03d}\n")["input_ids"])
    return torch.tensor(ids)


for hidden, layers, steps in [(8, 1, 200), (16, 1, 400), (24, 2, 700), (32, 2, 1200), (48, 2, 2000), (64, 3, 3000)]:
    cfg = transformers.GPTNeoXConfig(
        vocab_size=len(vocab),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4 if hidden > 8 else 2,
        intermediate_size=4 * hidden,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=1,
    )
    torch.manual_seed(hidden)
    m = transformers.AutoModelForCausalLM.from_config(cfg)
    opt = torch.optim.AdamW(m.parameters(), lr=3e-3)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 6e-3, total_steps=steps)
    for _ in range(steps):
        x = batch(128)
        out = m(input_ids=x, labels=x)
        opt.zero_grad()
        out.loss.backward()
        opt.step()
        sched.step()
    p = sum(q.numel() for q in m.parameters())
    m.save_pretrained(f"models/sum-{hidden}")
    fast.save_pretrained(f"models/sum-{hidden}")
    print(hidden, p, out.loss.item(), flush=True)
