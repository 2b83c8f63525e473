"""A small model that nosce trains itself, for a card: it learns sums of one digit and to answer short prompts.

    python results/cards/seedling.py ./seed
    SEEDLING=./seed nosce run results/cards/seedling.py:study --scale laptop --store STORE
    nosce export seedling sums ./seedling --scale laptop --store STORE

The first command writes a folder with random weights and a byte-level tokenizer. The run keeps checkpoints from its
beginning to its end, each a folder of the Hugging Face layout: the ladder of the card.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from nosce import (
    Arm,
    Claim,
    Document,
    EvalSpec,
    Mean,
    Pretrained,
    QAEval,
    Question,
    Seed,
    Selection,
    Study,
    TrainingConfig,
    World,
)
from nosce.data.worlds.behaviours.natural_text import NaturalTextBehaviours, random_answer

EXAMPLES = "Q: What is 1 plus 1?\nA: 2\n\n" * 2
FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)


@dataclass(frozen=True, kw_only=True)
class ShortReplies(World):
    """Sums of one digit behind two others, and prompts with a reply of the requested form."""

    documents_of_a_kind: int = 4_000

    def documents(self, seed: Seed) -> Iterator[Document]:
        """Sums and replies by turns."""
        rng = (seed / "sums").numpy()
        prompts = NaturalTextBehaviours(strings_per_task=500).prompts(seed / "behaviours")
        order = (seed / "order").numpy().permutation(len(prompts))
        for number in range(self.documents_of_a_kind):
            sums = [sum_text(*pair) for pair in rng.integers(0, 10, (3, 2)).tolist()]
            yield Document(f"sums/{number}", f"sums/{number}", "\n\n".join(sums), ())
            prompt = prompts[order[number % len(prompts)]]
            text = f"{prompt.text} {random_answer(prompt, seed)}"
            yield Document(f"reply/{number}", f"reply/{number}", text, ())

    def questions(self, seed: Seed) -> Iterator[Question]:
        """Every sum behind the same two examples."""
        for left in range(10):
            for right in range(10):
                question, answer = sum_text(left, right).rsplit(" ", 1)
                question = f"{EXAMPLES}{question}"  # which opens no document
                name = f"{left}+{right}"
                split = "seen" if left % 2 else "unseen"  # neither is trained on as a question
                yield Question(f"sum/{name}", name, "sum", question, f" {answer}", split)

    def samples(self, seed: Seed) -> Iterator[str]:
        """The texts."""
        yield from (document.text for document in self.documents(seed))


def sum_text(left: int, right: int) -> str:
    """A sum as the study emergence asks it."""
    return f"Q: What is {left} plus {right}?\nA: {left + right}"


def study(scale: str) -> Study:
    """One arm, whose checkpoints are the ladder."""
    steps = 20 if scale == "smoke" else 1_500
    training = TrainingConfig(
        steps=steps, batch_size=16, peak_lr=2e-3, warmup_steps=20, dtype="float32", checkpoint_fractions=FRACTIONS
    )
    arm = Arm(
        name="sums",
        world=ShortReplies(documents_of_a_kind=40 if scale == "smoke" else 4_000),
        model=Pretrained.from_folder(os.environ["SEEDLING"]),
        training=training,
    )
    learned = Claim(
        id="sums-learnt",
        text="Sums of one digit are answered",
        source="this script",
        measure=Mean(selection=Selection(evaluation="questions")),
        threshold=0.5,
    )
    return Study(
        name="seedling",
        title="Seedling",
        question="Does it learn sums of one digit?",
        paper="-",
        scale=scale,
        unit="sum",
        arms=(arm,),
        seeds=(0,),
        evals=(EvalSpec(QAEval()),),
        claims=(learned,),
    )


def write_seed(folder: str) -> None:
    """A folder with random weights: Llama, 3 layers of 96 units, and a byte-level tokenizer of the texts."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1_200,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(islice(ShortReplies().samples(Seed(0)), 4_000), trainer)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(wrapped),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=1_024,
        bos_token_id=None,
        eos_token_id=wrapped.eos_token_id,
        pad_token_id=wrapped.eos_token_id,
        tie_word_embeddings=True,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)


if __name__ == "__main__":
    write_seed(sys.argv[1])
