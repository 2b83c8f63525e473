"""Model shapes by family and size: one call for a fresh model and for a local pretrained folder.

The classes are transformers'; we only say how large. Source of the default (rotary on a quarter of
each head, pre-layernorm): Allen-Zhu and Li 2023 (arXiv:2309.14316), appendix B.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from nosce.errors import SpecError
from nosce.seeds import Seed

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Family = Literal["gpt-neox", "gpt2", "opt", "llama", "codegen", "t5", "modernbert"]
ENCODER_DECODER_FAMILIES: tuple[Family, ...] = ("t5",)
ENCODER_FAMILIES: tuple[Family, ...] = ("modernbert",)  # see both ways, and learn by what was masked
CAUSAL_FAMILIES: tuple[Family, ...] = tuple(
    name for name in get_args(Family) if name not in (*ENCODER_DECODER_FAMILIES, *ENCODER_FAMILIES)
)  # causal ones

#: Layers, width and heads by size name; heads are 32 wide below 384 and 64 from there on.
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
    "12x768": (12, 768, 12),  # the paper's GPT2 for bioS
    "12x1280": (12, 1_280, 20),  # the paper's GPT2 for bioR
}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model to be made from scratch: a family and the numbers that give its size."""

    family: Family = "gpt-neox"
    layers: int  # of an encoder-decoder in each of the two
    width: int
    heads: int
    max_positions: int = 512  # the longest row it can read
    tie_embeddings: bool = True  # input and output embeddings are one matrix

    def __post_init__(self) -> None:
        if self.family not in (known := get_args(Family)):
            raise SpecError(f"Architecture.family={self.family!r} is not known; take one of {', '.join(known)}.")
        if min(self.layers, self.width, self.heads) < 1 or self.width % self.heads:
            raise SpecError(
                f"Architecture of {self.layers} layers, width {self.width} and {self.heads} heads cannot be built; "
                "all must be positive and the heads must divide the width."
            )
        if self.family == "codegen" and self.heads % 4:
            raise SpecError(
                f"Architecture of the family codegen with {self.heads} heads cannot be built, since transformers cuts "
                "them into four groups; take a multiple of 4."
            )

    def parameter_count(self, vocab_size: int) -> int:
        """Weights of the matrices, embeddings once if tied; biases and norms are left out."""
        each = 28 if self.family == "t5" else 12  # 12 in an encoder's layer, 16 in a decoder's that looks at it too
        return each * self.layers * self.width**2 + (1 if self.tie_embeddings else 2) * vocab_size * self.width


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A local folder in the Hugging Face layout; `digest` names its weights, so the hash sees them change."""

    folder: str
    digest: str

    @classmethod
    def from_folder(cls, folder: str | Path) -> Pretrained:
        """The folder with the digest of its configuration and weights.

        Raises:
            SpecError: The folder has no configuration or no safetensors weights.
        """
        path = Path(folder)
        weights = sorted(path.glob("*.safetensors"))
        if not (path / "config.json").is_file() or not weights:
            raise SpecError(
                f"a pretrained model was asked for at {path}, but config.json and *.safetensors are not both there; "
                "give a local folder in the Hugging Face layout (pickled weights are not read)."
            )
        hasher = hashlib.sha256()
        for file in (path / "config.json", *weights):
            with file.open("rb") as stream:
                hasher.update(hashlib.file_digest(stream, "sha256").digest())
        return cls(folder=str(path.resolve()), digest=hasher.hexdigest())


@dataclass(frozen=True, kw_only=True)
class ExtraLayers:
    """The checkpoint that a training starts from, with fresh blocks on top of its own."""

    layers: int

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise SpecError(f"ExtraLayers by {self.layers} layers adds nothing; take 1 or more.")


def named_architecture(name: str, family: Family = "gpt-neox") -> Architecture:
    """The architecture of a rung of the ladder, e.g. `named_architecture("4x128")`.

    Raises:
        SpecError: There is no such rung.
    """
    if name not in NAMED_SHAPES:
        raise SpecError(f"size {name!r} is not on the ladder; take one of {', '.join(NAMED_SHAPES)}.")
    layers, width, heads = NAMED_SHAPES[name]
    return Architecture(family=family, layers=layers, width=width, heads=heads)


def transformers_config(
    architecture: Architecture, *, vocab_size: int, eos_id: int, pad_id: int | None, mask_id: int | None = None
) -> PretrainedConfig:
    """The transformers configuration of a shape; no dropout anywhere (Part 3.3, appendix)."""
    from transformers import (
        CodeGenConfig,
        GPT2Config,
        GPTNeoXConfig,
        LlamaConfig,
        ModernBertConfig,
        OPTConfig,
        T5Config,
    )

    common = {
        "vocab_size": vocab_size,
        "bos_token_id": eos_id,
        "eos_token_id": eos_id,
        "pad_token_id": pad_id,
        "tie_word_embeddings": architecture.tie_embeddings,
    }
    inner = {
        "num_hidden_layers": architecture.layers,
        "hidden_size": architecture.width,
        "num_attention_heads": architecture.heads,
        "max_position_embeddings": architecture.max_positions,
    }
    match architecture.family:
        case "gpt-neox":
            rope = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.25}
            return GPTNeoXConfig(**common, **inner, intermediate_size=4 * architecture.width, rope_parameters=rope)
        case "gpt2":
            return GPT2Config(
                **common,
                n_layer=architecture.layers,
                n_embd=architecture.width,
                n_head=architecture.heads,
                n_positions=architecture.max_positions,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
            )
        case "opt":
            return OPTConfig(
                **common, **inner, ffn_dim=4 * architecture.width, word_embed_proj_dim=architecture.width, dropout=0.0
            )
        case "codegen":
            # Rotary positions on a quarter of a head, in the even numbers that the family wants.
            return CodeGenConfig(
                **common,
                n_layer=architecture.layers,
                n_embd=architecture.width,
                n_head=architecture.heads,
                n_positions=architecture.max_positions,
                n_ctx=architecture.max_positions,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                rotary_dim=max(2, architecture.width // architecture.heads // 8 * 2),
            )
        case "t5":
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
        case "modernbert":
            # Rotary positions and norms before each part, as in the paper's GPT2 without its causal mask, but on whole
            # heads; the gated perceptron's three matrices have as many weights as two of four times the width.
            rope = {"rope_type": "default", "rope_theta": 10_000.0}
            return ModernBertConfig(
                **common,
                **inner,
                intermediate_size=8 * architecture.width // 3,
                cls_token_id=eos_id,
                sep_token_id=eos_id,
                mask_token_id=mask_id,
                layer_types=["full_attention"] * architecture.layers,
                rope_parameters={"full_attention": rope, "sliding_attention": rope},
            )
        case "llama":
            # A gated MLP has three matrices where the others have two: 8/3 keeps the count equal.
            middle = 8 * architecture.width // 3
            return LlamaConfig(**common, **inner, intermediate_size=middle, num_key_value_heads=architecture.heads)


def build_model(
    model: Architecture | Pretrained,
    *,
    vocab_size: int,
    eos_id: int,
    pad_id: int | None,
    seed: Seed,
    mask_id: int | None = None,
) -> PreTrainedModel:
    """A language model, causal, encoder-decoder or masked: fresh weights drawn from `seed`, or those of a local folder.

    Raises:
        SpecError: The folder's weights are not those its digest names, or its vocabulary is too small.
    """
    import torch

    if isinstance(model, Pretrained):
        if Pretrained.from_folder(model.folder).digest != model.digest:
            raise SpecError(f"the weights in {model.folder} have changed since the study was planned; plan again.")
        loaded = load_pretrained(model.folder)
        if loaded.config.vocab_size < vocab_size:
            raise SpecError(
                f"the model in {model.folder} has {loaded.config.vocab_size} tokens but its texts use {vocab_size}; "
                "use the tokenizer of the same folder."
            )
        return loaded
    # The library draws initial weights from the global generator; it is set here and put back.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed.integer())
        config = transformers_config(model, vocab_size=vocab_size, eos_id=eos_id, pad_id=pad_id, mask_id=mask_id)
        attention_implementation = (
            "eager" if config.model_type == "codegen" else "sdpa"
        )  # transformers has no other for that family
        return _class_of(config.to_dict()).from_config(config, attn_implementation=attention_implementation)


def add_layers(model: PreTrainedModel, extra: ExtraLayers, seed: Seed) -> PreTrainedModel:
    """The model with fresh blocks behind its own and before the last norm; all other weights are its own.

    Fresh blocks add nothing to the residual stream at first, so that the model says what it said: what their attention
    and their perceptron write with is zero.

    Raises:
        SpecError: The model's blocks are not found, or are written to in a way that we do not know.
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
    """The model of a local folder in float32, causal, encoder-decoder or masked as its configuration says."""
    import torch

    model_class = _class_of(json.loads((Path(folder) / "config.json").read_text()))
    return model_class.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)


def is_bidirectional(model: PreTrainedModel) -> bool:
    """Is it an encoder, which is trained and read by what was masked?"""
    return model.config.model_type in ENCODER_FAMILIES


def _class_of(config: dict[str, Any]) -> Any:
    """The library's class with a head for a model of such a configuration."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    if config.get("model_type") in ENCODER_FAMILIES:
        return AutoModelForMaskedLM
    return AutoModelForSeq2SeqLM if config.get("is_encoder_decoder", False) else AutoModelForCausalLM
