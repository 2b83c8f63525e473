"""A chat model in a local folder of the Hugging Face layout; transformers generates its replies.

Temperature 0 takes the most likely token, and temperature 1 draws from the model's distribution: what the folder's
`generation_config.json` says of penalties, beams, filters and forced tokens is not used, only its end tokens are.
Greedy replies are generated in batches of similar length. Each sampled reply is generated alone with a seed of its own.
A reply therefore depends on its request alone but for rounding, which depends on the other requests of its batch, and
decides where two tokens are about equally likely. Nothing is downloaded, and no code from the folder runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nosce.errors import SpecError
from nosce.models.api.base import ChatRequest, ChatResponse
from nosce.models.api.local_targets import target_log_likelihoods
from nosce.models.architecture import ENCODER_FAMILIES, Pretrained, check_pretrained, load_pretrained
from nosce.models.end_tokens import end_token_ids
from nosce.models.folder import folder_digest
from nosce.models.folder_tokenizer import load_folder_tokenizer
from nosce.models.logits import logits_path
from nosce.models.neutral import neutral_generation_config, padding_is_harmless
from nosce.models.positions import check_positions
from nosce.models.pretrained import check_token_ids, folder_config, folder_vocab_size, plain_errors
from nosce.seeds import Seed

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CANNOT_GENERATE_ADVICE = "check that the folder's files are whole, and if they are report a fault of nosce"


@dataclass(eq=False)
class LocalChatModel:
    """A local folder with weights and a tokenizer; messages go through its chat template, where it has one.

    Args:
        folder: The folder.
        device: Device of torch; the CPU is everywhere.
        batch_size: Greedy replies that are generated side by side; 16 fits in the memory of small machines.
        seed: Source of the seeds of sampled replies.
        dtype: Number format of the weights. float32 rounds least; bfloat16 halves the memory.
        uses_chat_template: Whether messages go through the folder's chat template. False: the model reads the text of
            the messages alone, as a base model does.
    """

    folder: Path
    device: str = "cpu"
    batch_size: int = 16
    seed: Seed = field(default_factory=lambda: Seed(0))
    dtype: Literal["float32", "bfloat16"] = "float32"
    uses_chat_template: bool = True

    @cached_property
    def model_id(self) -> str:
        """The folder's name and the hash of all that is read of it, and what is otherwise than by default."""
        rounded = "" if self.dtype == "float32" else f" {self.dtype}"
        plain = "" if self.uses_chat_template else " without chat template"
        return f"{Path(self.folder).name} {self._pretrained.digest[:16]}{rounded}{plain}"

    @cached_property
    def _pretrained(self) -> Pretrained:
        return Pretrained.from_folder(self.folder)

    @cached_property
    def _model(self) -> PreTrainedModel:
        import torch

        check_pretrained(self._pretrained)
        dtype = torch.bfloat16 if self.dtype == "bfloat16" else torch.float32
        with plain_errors(
            f"the model in {self.folder} cannot be put on the device {self.device}", "take another device"
        ):
            model = load_pretrained(self.folder).to(self.device, dtype).eval()
        logits_path(model)
        model.generation_config = neutral_generation_config(model)
        return model

    @cached_property
    def _rows_per_batch(self) -> int:
        return self.batch_size if padding_is_harmless(self._model) else 1

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        tokenizer = load_folder_tokenizer(Path(self.folder))
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None or tokenizer.pad_token_id >= folder_vocab_size(Path(self.folder)):
            ends = end_token_ids(Path(self.folder), tokenizer)
            texts = [text for text in tokenizer.convert_ids_to_tokens(ends) if text is not None]
            if not texts:
                raise SpecError(
                    f"the end tokens of the model in {self.folder} are {ends}, which its tokenizer does not have; add "
                    "eos_token to its tokenizer_config.json."
                )
            tokenizer.pad_token = texts[0]
        return tokenizer

    def load(self) -> None:
        """Load weights and tokenizer now, which the first reply does otherwise."""
        _ = self._tokenizer, self._rows_per_batch

    def check_folder(self) -> None:
        """Check that the folder's model writes replies that end, and that its tokenizer writes a chat that it can read.

        Raises:
            SpecError: One of them does not.
        """
        model_type = folder_config(Path(self.folder)).model_type
        if model_type in ENCODER_FAMILIES:
            raise SpecError(
                f"the {model_type} model in {self.folder} is an encoder, which fills gaps in texts and writes no "
                "replies; take a folder with a decoder or an encoder-decoder."
            )
        with plain_errors(f"the tokenizer in {self.folder} cannot be used"):
            text = self._prompt_text(ChatRequest.from_user("A question?", max_new_tokens=1))
            ids = self._tokenizer(text, add_special_tokens=not self._has_chat_format)["input_ids"]
        check_token_ids(Path(self.folder), [*ids, *self._end_ids])

    @property
    def _has_chat_format(self) -> bool:
        """Whether messages go through a chat template, which writes the special tokens itself."""
        return self.uses_chat_template and bool(self._tokenizer.chat_template)

    @cached_property
    def _end_ids(self) -> list[int]:
        return end_token_ids(Path(self.folder), self._tokenizer)

    def complete(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, ChatResponse]]:
        """Yield the greedy replies first, in batches."""
        return self.complete_needed(requests, range(len(requests)))

    def complete_needed(
        self, requests: Sequence[ChatRequest], needed: Collection[int]
    ) -> Iterator[tuple[int, ChatResponse]]:
        """Yield the replies to some of the requests, as `complete` gives them to the last digit.

        The batches are those of all requests, so that a run that was interrupted in one gives what it would have given.

        Args:
            requests: The requests.
            needed: Indices of those whose reply is wanted.
        """
        self.check_folder()
        texts = [self._prompt_text(ask) for ask in requests]
        greedy = sorted(
            (n for n, ask in enumerate(requests) if not ask.temperature),
            key=lambda n: (requests[n].max_new_tokens, len(texts[n]), n),
        )
        while greedy:
            max_new_tokens = requests[greedy[0]].max_new_tokens
            batch = [n for n in greedy[: self._rows_per_batch] if requests[n].max_new_tokens == max_new_tokens]
            greedy = greedy[len(batch) :]
            if not any(n in needed for n in batch):
                continue
            replies = self._generate([requests[n] for n in batch], [texts[n] for n in batch])
            yield from ((n, reply) for n, reply in zip(batch, replies, strict=True) if n in needed)
        for index, ask in enumerate(requests):
            if ask.temperature and index in needed:
                yield index, self._generate([ask], [texts[index]])[0]

    def target_log_likelihoods(self, requests: Sequence[ChatRequest], targets: Sequence[str]) -> list[float]:
        """The natural log-probability that the reply to each request begins with the target, in nats.

        The target's tokens are those that the tokenizer gives it behind the prompt; its end is no part of it. Of a
        token over the border of prompt and target all counts.

        Args:
            requests: The requests.
            targets: A text for each, with the blank between prompt and target where it has one.
        """
        self.check_folder()
        texts = [self._prompt_text(request) for request in requests]
        rows = [self._target_tokens(text, target) for text, target in zip(texts, targets, strict=True)]
        order = sorted(range(len(rows)), key=lambda n: (len(rows[n][0]), len(rows[n][1]), n))
        values = [0.0] * len(rows)
        for first in range(0, len(order), self._rows_per_batch):
            batch = order[first : first + self._rows_per_batch]
            with plain_errors(f"the model in {self.folder} cannot score a text", CANNOT_GENERATE_ADVICE):
                found = target_log_likelihoods(self._model, [rows[n] for n in batch], self._tokenizer.pad_token_id)
            for n, value in zip(batch, found, strict=True):
                values[n] = value
        return values

    def _target_tokens(self, prompt: str, target: str) -> tuple[list[int], list[int]]:
        """The tokens of the prompt, and behind them those of the target."""
        special = not self._has_chat_format
        prompt_ids: list[int] = self._tokenizer(prompt, add_special_tokens=special)["input_ids"]
        if self._model.config.is_encoder_decoder:
            return prompt_ids, self._tokenizer(target, add_special_tokens=False)["input_ids"]
        whole: list[int] = self._tokenizer(prompt + target, add_special_tokens=special)["input_ids"]
        shared = 0
        while shared < min(len(prompt_ids), len(whole) - 1) and prompt_ids[shared] == whole[shared]:
            shared += 1
        check_positions(self._model, len(whole))
        check_token_ids(Path(self.folder), whole)
        return whole[:shared], whole[shared:]

    def _prompt_text(self, request: ChatRequest) -> str:
        if self._has_chat_format:
            messages = [{"role": role, "content": text} for role, text in request.messages]
            with plain_errors(f"the chat template in {self.folder} cannot be used"):
                return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        return "\n".join(text for _, text in request.messages)

    def _generate(self, requests: Sequence[ChatRequest], texts: Sequence[str]) -> list[ChatResponse]:
        import torch

        inputs = self._tokenizer(
            list(texts), return_tensors="pt", padding=True, add_special_tokens=not self._has_chat_format
        ).to(self.device)
        inputs.pop("token_type_ids", None)
        check_token_ids(Path(self.folder), [int(inputs["input_ids"].max())])
        temperature = requests[0].temperature
        check_positions(self._model, inputs["input_ids"].shape[1] + requests[0].max_new_tokens)
        options = neutral_generation_config(
            self._model,
            do_sample=bool(temperature),
            temperature=temperature or None,
            max_new_tokens=requests[0].max_new_tokens,
            output_logits=True,
            return_dict_in_generate=True,
            pad_token_id=self._tokenizer.pad_token_id,
            eos_token_id=self._end_ids,
        )
        failure = plain_errors(f"the model in {self.folder} cannot generate", CANNOT_GENERATE_ADVICE)
        with torch.random.fork_rng(devices=[]), torch.no_grad(), failure:
            torch.manual_seed((self.seed / requests[0].cache_key(self.model_id)).integer())
            generated = self._model.generate(**inputs, generation_config=options)
        encoder_decoder = bool(self._model.config.is_encoder_decoder)
        start = 1 if encoder_decoder else inputs["input_ids"].shape[1]
        logprobs = torch.stack(generated.logits, 1).float().log_softmax(-1)  # (B, T, V)
        prompt_tokens = inputs["attention_mask"].sum(-1).tolist()
        responses = []
        for row, request in enumerate(requests):
            tokens = generated.sequences[row, start:]
            responses.append(self._to_response(request, tokens, logprobs[row], prompt_tokens[row]))
        return responses

    def _to_response(
        self, request: ChatRequest, tokens: torch.Tensor, logprobs: torch.Tensor, prompt_tokens: int
    ) -> ChatResponse:
        token_ids = tokens.tolist()
        stop = next((place for place, token in enumerate(token_ids) if token in self._end_ids), None)
        kept = token_ids if stop is None else token_ids[:stop]
        scored = token_ids[: len(token_ids) if stop is None else stop + 1]
        first: tuple[tuple[str, float], ...] = ()
        if request.top_logprobs:
            best = logprobs[0].topk(min(request.top_logprobs, logprobs.shape[-1]))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            first = tuple((self._tokenizer.decode([token]), float(value)) for token, value in pairs)
        return ChatResponse(
            text=self._tokenizer.decode(kept, skip_special_tokens=True),
            finish_reason="length" if stop is None else "stop",
            logprob=float(sum(logprobs[place, token] for place, token in enumerate(scored))),
            first_token_logprobs=first,
            prompt_tokens=prompt_tokens,
            completion_tokens=len(kept),
        )


def check_chat_folder(folder: Path) -> None:
    """Check that the model in a folder can be asked in words: it generates, and its tokenizer can be read.

    A process reads a tokenizer that is as it was once; a large vocabulary takes seconds.

    Raises:
        SpecError: It cannot.
    """
    _check_chat(folder, folder_digest(folder))


@cache
def _check_chat(folder: Path, _digest: str) -> None:
    LocalChatModel(folder).check_folder()
