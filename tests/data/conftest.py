"""A small population with its tokenizers, made once for all tests of this folder."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from nosce.data.packing import TokenDataset, encode, tokenize_documents
from nosce.data.tokenizer import TokenizerSpec, build_tokenizer, eos_token_id
from nosce.data.worlds.biographies.world import Biographies
from nosce.seeds import Seed

SEED = Seed(0) / "world"


@pytest.fixture(scope="session")
def seed() -> Seed:
    """The seed of the facts."""
    return SEED


@pytest.fixture(scope="session")
def world() -> Biographies:
    """Forty people with five entries each."""
    return Biographies(
        people=40,
        augmentation="multi5+permute",
        name_pool_sizes=(10, 10, 10),
        cities=30,
        companies=20,
        majors=20,
        universities=20,
        years=50,
    )


@pytest.fixture(scope="session")
def word(world) -> Tokenizer:
    """One token a word."""
    return build_tokenizer(TokenizerSpec(), world.samples(SEED))


@pytest.fixture(scope="session", params=["word", "bpe"])
def tokenizer(request, world) -> Tokenizer:
    """Both kinds of tokenizer, one after the other."""
    return build_tokenizer(TokenizerSpec(kind=request.param, vocab_size=500), world.samples(SEED))


@pytest.fixture(scope="session")
def told(world, word) -> TokenDataset:
    """All entries as tokens."""
    end = eos_token_id(word)
    documents = list(world.documents(SEED))
    return tokenize_documents(documents, list(encode(word, (d.text for d in documents))), end)


@pytest.fixture(scope="session")
def entity(world) -> list[str]:
    """Whom each entry is about."""
    return [d.entity for d in world.documents(SEED)]
