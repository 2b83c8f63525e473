"""Model architectures by family and size, and one call that builds a fresh model or loads a local pretrained one.

The classes are those of transformers; nosce only chooses their sizes. The default family (rotary positions on a
quarter of each head, pre-layernorm) follows Allen-Zhu and Li 2023 (arXiv:2309.14316), appendix B.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from nosce.errors import SpecError
from nosce.models import pretrained
from nosce.models.folder import check_files, folder_digest
from nosce.seeds import Seed
from nosce.store.spec import LATER
from nosce.store.typecheck import require_types

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Family = Literal["gpt-neox", "gpt2", "opt", "llama", "codegen", "t5", "modernbert"]
ENCODER_DECODER_FAMILIES: tuple[Family, ...] = ("t5",)
ENCODER_FAMILIES: tuple[Family, ...] = ("modernbert",)  # bidirectional attention, trained by masked language modelling
_NON_CAUSAL_FAMILIES = (*ENCODER_DECODER_FAMILIES, *ENCODER_FAMILIES)
CAUSAL_FAMILIES: tuple[Family, ...] = tuple(name for name in get_args(Family) if name not in _NON_CAUSAL_FAMILIES)

#: Layers, width and heads by size name. Heads are at most 32 wide below width 384 and 64 wide from there on.
NAMED_SHAPES: dict[str, tuple[int, int, int]] = {
    "2x24": (2, 24, 1),
    "2x32": (2, 32, 1),
    "2x48": (2, 48, 2),
    "2x64": (2, 64, 2),
    "3x64": (3, 64, 2),
    "3x96": (3, 96, 3),
    "3x128": (3, 128, 4),
    "4x128": (4, 128, 4),
    "6x128": (6, 128, 4),
    "4x160": (4, 160, 5),
    "4x256": (4, 256, 8),
    "5x224": (5, 224, 7),
    "6x384": (6, 384, 6),
    "6x512": (6, 512, 8),
    "8x384": (8, 384, 6),
    "12x768": (12, 768, 12),  # GPT2 for bioS in arXiv:2309.14316, appendix B
    "12x1280": (12, 1_280, 20),  # GPT2 for bioR in arXiv:2309.14316, appendix B
    "12x2048": (12, 2_048, 32),  # its largest GPT2, appendix B
}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model with fresh weights: a family and its size.

    Args:
        family: The transformers family. "gpt-neox" has the rotary positions of arXiv:2309.14316, appendix B.
        layers: Transformer blocks; an encoder-decoder has as many in each half.
        width: Dimension of the residual stream.
        heads: Attention heads; they must divide `width`.
        max_positions: Longest row in tokens that the model reads. 512 is the row of arXiv:2309.14316, appendix B.
        tie_embeddings: Input and output embedding are one matrix, as in GPT2.
        sequential_blocks: Of "gpt-neox": the MLP reads what attention has added, as in GPT2. False: attention and MLP
            read the same, as in GPT-NeoX. Every other family has the one order that transformers gives it.
    """

    family: Family = "gpt-neox"
    layers: int
    width: int
    heads: int
    max_positions: int = 512
    tie_embeddings: bool = True
    sequential_blocks: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        if self.family not in (known := get_args(Family)):
            raise SpecError(f"Architecture.family={self.family!r} is not known; take one of {', '.join(known)}.")
        require_types(self)
        if min(self.layers, self.width, self.heads) < 1 or self.width % self.heads:
            raise SpecError(
                f"Architecture of {self.layers} layers, width {self.width} and {self.heads} heads cannot be built; "
                "all must be positive and the heads must divide the width."
            )
        if self.max_positions < 1:
            raise SpecError(
                f"Architecture.max_positions={self.max_positions} leaves no room for a token; take 1 or more."
            )
        if self.family == "codegen" and self.heads % 4:
            raise SpecError(
                f"Architecture of the family codegen with {self.heads} heads cannot be built, since transformers "
                "splits the heads into four groups; take a multiple of 4."
            )
        if self.sequential_blocks and self.family != "gpt-neox":
            raise SpecError(
                f"Architecture of the family {self.family} with sequential_blocks=True cannot be built, since only "
                "gpt-neox has a choice; leave it out."
            )
        if self.family == "t5" and not self.tie_embeddings:
            raise SpecError(
                "Architecture of the family t5 with tie_embeddings=False cannot be built, since transformers always "
                "ties T5's embeddings; take True."
            )

    @classmethod
    def named(cls, name: str, *, family: Family = "gpt-neox") -> Architecture:
        """The architecture of a size in `NAMED_SHAPES`, e.g. `Architecture.named("3x128")`: layers x width.

        Raises:
            SpecError: No size has this name.
        """
        if name not in NAMED_SHAPES:
            raise SpecError(f"the size {name!r} is not known; take one of {', '.join(NAMED_SHAPES)}.")
        layers, width, heads = NAMED_SHAPES[name]
        return cls(family=family, layers=layers, width=width, heads=heads)

    def parameter_count(self, vocab_size: int) -> int:
        """Weights in all matrices, tied embeddings counted once; biases and norms are left out."""
        # An encoder layer has 12 width**2 weights; a T5 decoder layer has 16, since it has cross-attention too.
        per_layer = 28 if self.family == "t5" else 12
        return per_layer * self.layers * self.width**2 + (1 if self.tie_embeddings else 2) * vocab_size * self.width


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A pretrained model in a local folder of the Hugging Face layout.

    Args:
        folder: Path of the folder.
        digest: SHA-256 of all files that the loaders of model and tokenizer read: configurations, weights, tokenizer,
            chat template. It enters the keys of steps, so a changed file gets new results.
        random_weights: Take the architecture and the tokenizer of the folder alone, and draw the weights as the
            family does before any training: a control that tells what the pretrained weights are good for.
        source: Id and commit of a model of the Hugging Face hub, e.g. `org/name@93efa2f...`. Empty: a folder.
    """

    folder: str
    digest: str
    random_weights: bool = field(default=False, metadata=LATER)
    source: str = field(default="", metadata=LATER)

    @classmethod
    def from_folder(cls, folder: str | Path) -> Pretrained:
        """The pretrained model of a folder, with the digest of all that is read of it.

        Raises:
            SpecError: The folder has no readable configuration or no whole safetensors weights; see
                `nosce.models.folder.check_files`.
        """
        path = Path(folder)
        check_files(path)
        return cls(folder=str(path.resolve()), digest=folder_digest(path))


@dataclass(frozen=True, kw_only=True)
class ExtraLayers:
    """Fresh transformer blocks on top of the checkpoint that a training starts from.

    Args:
        layers: Number of fresh blocks.
    """

    layers: int

    def __post_init__(self) -> None:
        require_types(self)
        if self.layers < 1:
            raise SpecError(f"ExtraLayers of {self.layers} layers adds nothing; take 1 or more.")


def transformers_config(
    architecture: Architecture, *, vocab_size: int, eos_id: int, pad_id: int | None, mask_id: int | None = None
) -> PretrainedConfig:
    """The transformers configuration of an architecture; no dropout anywhere (as in arXiv:2404.05405)."""
    common: dict[str, object] = {
        "vocab_size": vocab_size,
        "bos_token_id": eos_id,
        "eos_token_id": eos_id,
        "pad_token_id": pad_id,
        "tie_word_embeddings": architecture.tie_embeddings,
    }
    match architecture.family:
        case "gpt-neox" | "opt" | "llama":
            return _decoder_config(architecture, common)
        case "gpt2" | "codegen":
            return _gpt2_style_config(architecture, common)
        case "t5":
            return _t5_config(architecture, common, eos_id)
        case "modernbert":
            return _modernbert_config(architecture, common, eos_id, mask_id)


def _sizes(architecture: Architecture) -> dict[str, object]:
    """The sizes under the names that most families of transformers use."""
    return {
        "num_hidden_layers": architecture.layers,
        "hidden_size": architecture.width,
        "num_attention_heads": architecture.heads,
        "max_position_embeddings": architecture.max_positions,
    }


def _decoder_config(architecture: Architecture, common: dict[str, object]) -> PretrainedConfig:
    from transformers import GPTNeoXConfig, LlamaConfig, OPTConfig

    sizes, width = _sizes(architecture), architecture.width
    match architecture.family:
        case "opt":
            return OPTConfig(**common, **sizes, ffn_dim=4 * width, word_embed_proj_dim=width, dropout=0.0)
        case "llama":
            # A gated MLP has three matrices where the others have two: 8/3 keeps the number of weights equal.
            heads = architecture.heads
            return LlamaConfig(**common, **sizes, intermediate_size=8 * width // 3, num_key_value_heads=heads)
        case _:
            rope = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.25}
            parallel = not architecture.sequential_blocks
            mlp: dict[str, object] = {"intermediate_size": 4 * width, "use_parallel_residual": parallel}
            return GPTNeoXConfig(**common, **sizes, **mlp, rope_parameters=rope)


def _gpt2_style_config(architecture: Architecture, common: dict[str, object]) -> PretrainedConfig:
    from transformers import CodeGenConfig, GPT2Config

    sizes: dict[str, object] = {
        "n_layer": architecture.layers,
        "n_embd": architecture.width,
        "n_head": architecture.heads,
        "n_positions": architecture.max_positions,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }
    if architecture.family == "gpt2":
        return GPT2Config(**common, **sizes)
    # Rotary positions on a quarter of each head, rounded down to an even number, which CodeGen requires.
    rotary_dim = max(2, architecture.width // architecture.heads // 8 * 2)
    return CodeGenConfig(**common, **sizes, n_ctx=architecture.max_positions, rotary_dim=rotary_dim)


def _t5_config(architecture: Architecture, common: dict[str, object], eos_id: int) -> PretrainedConfig:
    from transformers import T5Config

    return T5Config(
        **common,
        num_layers=architecture.layers,
        num_decoder_layers=architecture.layers,
        num_heads=architecture.heads,
        d_model=architecture.width,
        d_kv=architecture.width // architecture.heads,
        d_ff=4 * architecture.width,
        decoder_start_token_id=eos_id,
        dropout_rate=0.0,
    )


def _modernbert_config(
    architecture: Architecture, common: dict[str, object], eos_id: int, mask_id: int | None
) -> PretrainedConfig:
    """Rotary positions and pre-layernorm as in GPT-NeoX, but rotary on whole heads and no causal mask."""
    from transformers import ModernBertConfig

    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    return ModernBertConfig(
        **common,
        **_sizes(architecture),
        intermediate_size=8 * architecture.width // 3,  # a gated MLP has three matrices: 8/3 keeps the weights equal
        cls_token_id=eos_id,
        sep_token_id=eos_id,
        mask_token_id=mask_id,
        layer_types=["full_attention"] * architecture.layers,
        rope_parameters={"full_attention": rope, "sliding_attention": rope},
    )


def build_model(
    model: Architecture | Pretrained,
    *,
    vocab_size: int,
    eos_id: int,
    pad_id: int | None,
    seed: Seed,
    mask_id: int | None = None,
) -> PreTrainedModel:
    """A causal, encoder-decoder or masked language model, with fresh weights drawn from `seed` or with pretrained ones.

    Args:
        model: The architecture, or the pretrained folder.
        vocab_size: Tokens of the tokenizer; unused for a folder, whose configuration says it.
        eos_id: The end-of-text token, which also opens each text.
        pad_id: The padding token, where the tokenizer has one.
        seed: Source of the initial weights; unused for pretrained ones.
        mask_id: The mask token of a masked language model.

    Raises:
        SpecError: The folder's files do not have the digest, or no model can be made of them.
    """
    import torch

    if isinstance(model, Pretrained):
        check_pretrained(model)
        loaded = draw_weights(model.folder, seed) if model.random_weights else load_pretrained(model.folder)
        pretrained.require_determinism(loaded, model.folder)
        return loaded
    # transformers draws initial weights from torch's global generator, so it is seeded here and restored afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed.integer())
        config = transformers_config(model, vocab_size=vocab_size, eos_id=eos_id, pad_id=pad_id, mask_id=mask_id)
        attention = "eager" if config.model_type == "codegen" else "sdpa"  # transformers has only eager for CodeGen
        return auto_class(config.to_dict()).from_config(config, attn_implementation=attention)


def add_layers(model: PreTrainedModel, extra: ExtraLayers, seed: Seed) -> PreTrainedModel:
    """Insert fresh blocks between the model's last block and its final norm; all other weights stay.

    The output matrices of a fresh block's attention and MLP are zero. The fresh blocks therefore add nothing to the
    residual stream at first, and the model's predictions stay as they were.

    Raises:
        SpecError: The model's blocks or their output matrices are not found.
    """
    import torch

    from nosce.models.hooks import output_projection_parameters, transformer_blocks

    config = type(model.config)(**model.config.to_dict())
    config.num_hidden_layers = model.config.num_hidden_layers + extra.layers
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed.integer())
        deeper_model = type(model)._from_config(config, attn_implementation=model.config._attn_implementation)
    state = model.state_dict()
    deeper_model.load_state_dict(state, strict=False)
    with torch.no_grad():
        for block in transformer_blocks(deeper_model)[-extra.layers :]:
            for matrix in output_projection_parameters(block):
                matrix.zero_()
    return deeper_model


def load_pretrained(folder: str | Path) -> PreTrainedModel:
    """The model of a local folder in float32, with the language-model head that its configuration calls for.

    Dropout and other noise of training are switched off, whatever the configuration says.

    Raises:
        SpecError: transformers cannot make a model of the folder, or lacks some of its weights.
    """
    config = pretrained.folder_config(Path(folder))
    return pretrained.load_weights(auto_class(config.to_dict()), Path(folder), config)


def draw_weights(folder: str | Path, seed: Seed) -> PreTrainedModel:
    """The architecture of a local folder in float32 with weights drawn from `seed`, and without dropout.

    Raises:
        SpecError: transformers cannot make a model of the folder's configuration.
    """
    import torch

    config = pretrained.folder_config(Path(folder))
    failure = f"the model in {folder} cannot be made with random weights"
    with pretrained.plain_errors(failure), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed.integer())
        model = random_model(config)
    pretrained.switch_off_modules(model)
    return model


def random_model(config: PretrainedConfig) -> PreTrainedModel:
    """A model of a configuration in float32 with weights drawn from torch's generator, the padding token's too.

    transformers makes the padding token's embedding zero, and many folders have the end token for it. It opens each
    text here. With plain zeros there, each norm of its square multiplies the gradient by some 300: after thirty blocks
    it is no number.
    """
    import torch

    text_config = config.get_text_config(decoder=True)
    padding = (config.pad_token_id, text_config.pad_token_id)
    config.pad_token_id = text_config.pad_token_id = None
    model: PreTrainedModel = auto_class(config.to_dict()).from_config(config, dtype=torch.float32)
    for owner in (config, model.config):
        owner.pad_token_id, owner.get_text_config(decoder=True).pad_token_id = padding
    return model


def check_pretrained(model: Pretrained, *, fits_here: bool = True) -> None:
    """Check that a folder's model can be loaded, without building it.

    Args:
        model: The folder.
        fits_here: Whether it must fit in this machine's memory; False where other machines load it.

    Raises:
        SpecError: It cannot, or its files have changed.
    """
    if Pretrained.from_folder(model.folder).digest != model.digest:
        raise SpecError(f"the files in {model.folder} have changed since the study was planned; plan again.")
    _check_loading(Path(model.folder), model.digest, fits_here)


@cache
def _check_loading(folder: Path, _digest: str, fits_here: bool) -> None:
    """Check the weights of a folder with a digest; once a process, since that reads all of them."""
    config = pretrained.folder_config(folder)
    pretrained.check_weights(auto_class(config.to_dict()), folder, config, fits_here=fits_here)


def is_bidirectional(model: PreTrainedModel) -> bool:
    """Is the model an encoder, trained and evaluated by masked language modelling?"""
    return model.config.model_type in ENCODER_FAMILIES


def auto_class(config: Mapping[str, object]) -> Any:  # a class of transformers, which mypy does not follow
    """The class of transformers that gives a model of this configuration its language-model head."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    if config.get("model_type") in ENCODER_FAMILIES:
        return AutoModelForMaskedLM
    return AutoModelForSeq2SeqLM if config.get("is_encoder_decoder", False) else AutoModelForCausalLM
