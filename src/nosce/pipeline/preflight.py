"""What is looked at before a run makes anything: the folders of pretrained models that its steps would read.

transformers and torch are imported only for steps that read such a folder.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from nosce.data import tokenizer as tokenizers
from nosce.errors import DataError, SpecError
from nosce.models.architecture import Pretrained, check_pretrained
from nosce.pipeline.step import EXPERIMENT, Step
from nosce.pipeline.steps.corpus import CorpusSpec, write_tokenizer
from nosce.pipeline.steps.training import TrainingSpec


def check_model_folders(steps: Iterable[Step], *, made_here: bool = True) -> list[str]:
    """Check every model folder that the steps read, and return a sentence on each whose dropout is switched off.

    Args:
        steps: The steps.
        made_here: Whether this machine makes the steps, so that the models must fit in its memory.

    Raises:
        SpecError: A folder's model, tokenizer or chat template cannot be used.
    """
    sentences: dict[str, str] = {}
    chat_folders: set[str] = set()
    corpora: dict[str, CorpusSpec] = {}
    for step in steps:
        for model in _pretrained_models(step.spec):
            check_pretrained(model, fits_here=made_here)
            sentences[model.folder] = dropout_sentence(model)
            if step.kind == EXPERIMENT:
                chat_folders.add(model.folder)
        if isinstance(step.spec, TrainingSpec) and isinstance(step.spec.model, Pretrained) and step.spec.adapter:
            _check_adapter(step.spec.model)
        if isinstance(step.spec, CorpusSpec) and isinstance(step.spec.tokenizer, Pretrained):
            corpora[step.spec.tokenizer.folder] = step.spec
    for folder, spec in corpora.items():
        _check_tokenizer(spec, Path(folder))
    for folder in sorted(chat_folders):
        from nosce.models.api.local import check_chat_folder

        check_chat_folder(Path(folder))
    return [sentence for sentence in sentences.values() if sentence]


def dropout_sentence(model: Pretrained) -> str:
    """That a folder's dropout is switched off, and what it was; empty where it has none."""
    from nosce.models.pretrained import folder_dropout

    found = ", ".join(f"{name}={value:g}" for name, value in folder_dropout(Path(model.folder)).items())
    if not found:
        return ""
    return f"The dropout of {model.folder} ({found}) is switched off, so that equal trainings give equal weights."


def _pretrained_models(spec: object) -> Iterator[Pretrained]:
    """The pretrained models in a spec and in all specs inside it."""
    if isinstance(spec, Pretrained):
        yield spec
    elif dataclasses.is_dataclass(spec) and not isinstance(spec, type):
        for field in dataclasses.fields(spec):
            yield from _pretrained_models(getattr(spec, field.name))
    elif isinstance(spec, Mapping):
        for value in spec.values():
            yield from _pretrained_models(value)
    elif isinstance(spec, tuple | list):
        for value in spec:
            yield from _pretrained_models(value)


def _check_adapter(model: Pretrained) -> None:
    """Check that low-rank updates can be trained of a folder's model.

    Raises:
        SpecError: They cannot.
    """
    from nosce.models.lora import check_lora_family
    from nosce.models.pretrained import folder_config

    check_lora_family(folder_config(Path(model.folder)).model_type)


def _check_tokenizer(spec: CorpusSpec, folder: Path) -> None:
    """Check that a corpus can be written with a folder's tokenizer and read by its model.

    Raises:
        SpecError: The tokenizer is missing or broken, never ends a text, or gives a text tokens that the model lacks.
    """
    from nosce.models.pretrained import check_token_ids, folder_vocab_size, plain_errors

    with tempfile.TemporaryDirectory() as copied, plain_errors(f"the tokenizer in {folder} cannot be read"):
        try:
            write_tokenizer(spec, Path(copied))
            tokenizer = tokenizers.load_tokenizer(Path(copied))
            eos_id = tokenizers.eos_token_id(tokenizer, Path(copied))
        except DataError as error:
            raise SpecError(str(error).replace(copied, str(folder))) from None
        tokenizer.encode("A text, to see that the tokenizer works.")
    check_token_ids(folder, [eos_id])
    if tokenizer.get_vocab_size() > folder_vocab_size(folder):
        for text in spec.world.samples(spec.seed):
            check_token_ids(folder, tokenizer.encode(text, add_special_tokens=False).ids)
