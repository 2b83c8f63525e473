"""A model in a local folder of the hub's layout as one who answers; transformers writes the replies.

Greedy replies are written in batches of like length, drawn ones each from a seed of its own, so that a reply depends on
what was asked alone (log-probabilities to rounding). Nothing is fetched, and no code of the folder's is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from nosce.errors import UsageError
from nosce.models.api.base import Ask, Reply
from nosce.models.architecture import Pretrained, load
from nosce.seeds import Seed


@dataclass(eq=False)
class Local:
    """A folder with weights and a tokenizer; messages go through its chat template, where it has one."""

    folder: Path
    device: str = "cpu"
    batch: int = 16
    seed: Seed = field(default_factory=lambda: Seed(0))
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the weights while replies are written

    @cached_property
    def answerer(self) -> str:
        """The folder's name and the hash of its weights."""
        rounded = "" if self.dtype == "float32" else f" {self.dtype}"
        return f"{Path(self.folder).name} {Pretrained.at(self.folder).digest[:16]}{rounded}"

    @cached_property
    def _model(self) -> Any:
        import torch

        return load(self.folder).to(self.device, getattr(torch, self.dtype)).eval()

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            found = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        except (OSError, ValueError):
            raise UsageError(f"{self.folder} has no tokenizer that transformers can read; put one there.") from None
        found.padding_side = "left"
        if found.pad_token is None:
            found.pad_token = found.eos_token
        return found

    def replies(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Reply]]:
        """Greedy ones first, in batches."""
        texts = [self._shown(ask) for ask in asks]
        greedy = sorted((n for n, ask in enumerate(asks) if not ask.temperature),
                        key=lambda n: (asks[n].tokens, len(texts[n]), n))  # fmt: skip
        while greedy:
            alike = [n for n in greedy[: self.batch] if asks[n].tokens == asks[greedy[0]].tokens]
            yield from zip(alike, self._written([asks[n] for n in alike], [texts[n] for n in alike]), strict=True)
            greedy = greedy[len(alike) :]
        for number, ask in enumerate(asks):
            if ask.temperature:
                yield number, self._written([ask], [texts[number]])[0]

    def _shown(self, ask: Ask) -> str:
        if self._tokenizer.chat_template:
            told = [{"role": role, "content": text} for role, text in ask.messages]
            return str(self._tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=True))
        return "\n".join(text for _, text in ask.messages)

    def _written(self, asks: Sequence[Ask], texts: Sequence[str]) -> list[Reply]:
        import torch

        given = self._tokenizer(list(texts), return_tensors="pt", padding=True,
                                add_special_tokens=not self._tokenizer.chat_template).to(self.device)  # fmt: skip
        given.pop("token_type_ids", None)
        drawn = asks[0].temperature
        how: dict[str, Any] = {"do_sample": bool(drawn), "max_new_tokens": asks[0].tokens,
                               "output_logits": True, "return_dict_in_generate": True,
                               "pad_token_id": self._tokenizer.pad_token_id}  # fmt: skip
        if drawn:
            how |= {"temperature": drawn, "top_k": 0, "top_p": 1.0}
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed((self.seed / asks[0].key(self.answerer)).integer())
            found = self._model.generate(**given, **how)
        encoder_decoder = bool(self._model.config.is_encoder_decoder)
        start = 1 if encoder_decoder else given["input_ids"].shape[1]
        logs = torch.stack(found.logits, 1).float().log_softmax(-1)  # (B, T, V)
        return [self._reply(ask, found.sequences[row, start:], logs[row], int(given["attention_mask"][row].sum()))
                for row, ask in enumerate(asks)]  # fmt: skip

    def _reply(self, ask: Ask, tokens: Any, logs: Any, shown: int) -> Reply:
        ends = self._model.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        told = tokens.tolist()
        stop = next((place for place, token in enumerate(told) if token in ends), None)
        kept = told if stop is None else told[:stop]
        spoken = told[: len(told) if stop is None else stop + 1]
        first: tuple[tuple[str, float], ...] = ()
        if ask.top:
            best = logs[0].topk(min(ask.top, logs.shape[-1]))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            first = tuple((self._tokenizer.decode([token]), float(value)) for token, value in pairs)
        return Reply(
            text=self._tokenizer.decode(kept, skip_special_tokens=True), finish="length" if stop is None else "stop",
            log_probability=float(sum(logs[place, token] for place, token in enumerate(spoken))), first=first,
            prompt_tokens=shown, reply_tokens=len(kept),
        )  # fmt: skip
