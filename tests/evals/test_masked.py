"""Models that see both ways: learnt from masks by the same loop, and read with masks in place of what is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nosce.data.corpus import Corpus
from nosce.data.packing import dataset_from_arrays
from nosce.data.tokenizer import TokenizerSpec
from nosce.data.worlds.biographies.world import Biographies
from nosce.errors import SpecError
from nosce.evals.probing.low_rank import LowRankProbeConfig, LowRankProbeDataset, _LowRankProbes
from nosce.evals.qa import QAEval, RecallEval
from nosce.models.architecture import Architecture, build_model, is_bidirectional, load_pretrained
from nosce.models.likelihood import loss_mask_spans, score_spans
from nosce.models.varlen import varlen_forward
from nosce.pipeline.context import StepContext
from nosce.pipeline.steps.corpus import CorpusSpec
from nosce.pipeline.steps.corpus import make as make_corpus
from nosce.pipeline.steps.training import TrainingSpec, list_checkpoints, make
from nosce.seeds import Seed
from nosce.train.config import LoRA, TrainingConfig

SEED, MASK, END, STEPS = Seed(5), 3, 0, 300
SHAPE = Architecture(family="modernbert", layers=2, width=32, heads=2, max_positions=128)


def network(vocabulary=40):
    """A model of random weights."""
    return build_model(SHAPE, vocab_size=vocabulary, eos_id=END, pad_id=1, seed=Seed(2), mask_id=MASK).eval()


def texts(lengths=(9, 5, 7, 5)):
    """Random texts with an end each, of which the last three tokens and the end count."""
    rng = np.random.default_rng(6)
    return dataset_from_arrays(
        (np.append(rng.integers(4, 40, size=n), END).astype(np.int32), np.arange(n + 1) >= n - 3) for n in lengths
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A dozen people, in words of which one is the mask."""
    folder = tmp_path_factory.mktemp("masked") / "corpus"
    world = Biographies(people=12, name_pool_sizes=(4, 4, 8), wordings=4)
    make_corpus(
        CorpusSpec(world=world, seed=SEED, tokenizer=TokenizerSpec(has_mask_token=True)), {}, StepContext(folder=folder)
    )
    return Corpus(folder)


def trained(corpus, folder, **more):
    """The step's folder, after some steps on the dozen's biographies."""
    how = {
        "model": SHAPE,
        "data": "documents",
        "adapter": None,
        "seed": SEED,
        "training": TrainingConfig(steps=STEPS, batch_size=24, optimizer="muon", peak_lr=1e-2),
        **more,
    }
    make(TrainingSpec(**how), {"corpus": corpus.folder}, StepContext(folder=folder))
    return folder


def test_the_texts_beside_it_change_nothing_of_a_text():
    """Rows of unlike lengths are filled up, and nobody looks at what fills them; each token sees both ways."""
    net, sequences = network(), texts()
    tokens = [np.array([END, *sequences.text_tokens(n)[:-1]]) for n in range(len(sequences))]
    with torch.no_grad(), varlen_forward(net) as forward:
        together = forward(np.concatenate(tokens), np.array([len(t) for t in tokens]), None)
        alone = torch.cat([forward(t, np.array([len(t)]), None) for t in tokens])
        changed = tokens[0].copy()
        changed[-1] = 4 if changed[-1] != 4 else 5
        other = forward(changed, np.array([len(changed)]), None)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert (other - together[: len(changed)]).abs().amax(1).min() > 1e-6  # the last token is seen from every place


def test_spans_are_read_behind_masks_and_without_the_end():
    """What is likeliest where the span was masked is what the library's own model says of the masked text."""
    net, sequences = network(), texts()
    heard = score_spans(net, sequences, loss_mask_spans(sequences), eos_id=END)
    for number, one in enumerate(heard):
        ids = torch.tensor([[END, *sequences.text_tokens(number)[:-1].tolist()]])
        ids[0, -3:] = MASK
        with torch.no_grad():
            logits = net(input_ids=ids).logits[0, -3:]
        assert one.target_tokens.tolist() == sequences.text_tokens(number)[-4:-1].tolist()
        assert one.predicted_tokens.tolist() == logits.argmax(-1).tolist()
        expected = torch.nn.functional.cross_entropy(
            logits, torch.tensor(one.target_tokens, dtype=torch.long), reduction="none"
        )
        np.testing.assert_allclose(one.token_nats, expected.numpy(), atol=1e-5)


def test_several_spans_of_one_text_are_read_one_at_a_time():
    """A value is not hidden while another is asked for."""
    net, sequences = network(), texts()
    both = score_spans(net, sequences, [(0, 1, 3), (0, 5, 6)], eos_id=END)
    each = [score_spans(net, sequences, [span], eos_id=END)[0] for span in ((0, 1, 3), (0, 5, 6))]
    for one, other in zip(both, each, strict=True):
        np.testing.assert_allclose(one.token_nats, other.token_nats, atol=1e-5)


@pytest.mark.whole
def test_it_learns_what_it_is_told_and_is_asked_by_the_same_readouts(corpus, tmp_path):
    """Values are recalled far more often than before; questions are then learnt through low ranks."""
    folder = trained(corpus, tmp_path / "one")
    net = load_pretrained(list_checkpoints(folder)[STEPS])
    assert is_bidirectional(net)
    assert net.config.mask_token_id == corpus.tokenizer.token_to_id("<mask>")
    recall = RecallEval(per_token=True)
    words = [r for r in recall.evaluate(net, corpus, SEED) if r.metric == "exact"]
    untrained = recall.evaluate(network(corpus.tokenizer.get_vocab_size()), corpus, SEED)
    before = [r.value for r in untrained if r.metric == "exact"]
    values = [r for r in RecallEval().evaluate(net, corpus, SEED) if r.metric == "exact"]
    assert len(words) > len(values) == 6 * 12
    assert len({r.item for r in words}) == len(words)
    assert np.mean([r.value for r in words]) > np.mean(before) + 0.5
    later = tmp_path / "later"
    spec = TrainingSpec(
        model=None,
        data="questions",
        adapter=LoRA(rank=4, embedding_rank=8),
        seed=SEED,
        training=TrainingConfig(steps=300, batch_size=12, peak_lr=1e-2),
    )
    make(spec, {"corpus": corpus.folder, "start": folder}, StepContext(folder=later))
    finetuned = load_pretrained(list_checkpoints(later)[300])
    asked = [r for r in QAEval(split="seen").evaluate(finetuned, corpus, SEED) if r.metric == "exact"]
    assert np.mean([r.value for r in asked]) > 0.6
    assert all(r.answer and not r.answer.endswith("<eos>") for r in asked)


def test_equal_seeds_give_equal_bytes(corpus, tmp_path):
    """Masks are drawn from the step's own seed."""
    training = TrainingConfig(steps=6, batch_size=6)
    one, two = (trained(corpus, tmp_path / name, training=training) for name in ("one", "two"))
    weights = [(list_checkpoints(folder)[6] / "model.safetensors").read_bytes() for folder in (one, two)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("more", [{"window": 64}, {"prompt_loss_weight": 0.5}])
def test_what_a_mask_cannot_learn_from_is_refused(corpus, tmp_path, more):
    """Packed rows and loss on prompts have no meaning there."""
    with pytest.raises(SpecError, match="not a causal decoder"):
        trained(corpus, tmp_path / "no", training=TrainingConfig(steps=2, batch_size=4, **more))


def test_a_probe_is_not_disturbed_by_what_fills_a_row():
    """Names of unlike lengths: the filling behind the last place is not attended to."""
    net = network()
    tokens = np.random.default_rng(1).integers(4, 40, size=(12, 6))
    filled = np.concatenate([tokens[:, :4], np.zeros((12, 5), dtype=int)], 1)
    states = [_state(net, one, last=3) for one in (tokens, filled, tokens[:, :4])]
    torch.testing.assert_close(states[0], states[2], atol=1e-5, rtol=0)
    torch.testing.assert_close(states[1], states[2], atol=1e-5, rtol=0)
    further = _state(net, tokens, last=4, at=3)
    assert (further - states[2]).abs().max() > 1e-4


def _state(net, tokens, last, at=None):
    """What a probe is given at a place, of texts whose last place is another perhaps."""
    places = np.full((len(tokens), 1), last)
    asked = LowRankProbeDataset(
        tokens, places, np.zeros((1, len(tokens)), dtype=int), np.ones((1, len(tokens), 1), dtype=bool), (2,)
    )
    probes = _LowRankProbes(net, asked, LowRankProbeConfig(rank=0, steps=1, batch_size=4), "batch", "final")
    given = net.get_input_embeddings().weight[torch.from_numpy(tokens)]
    read = np.full((len(tokens), 1), last if at is None else at)
    with torch.no_grad():
        return probes._run_network(given, places[:, 0] + 1, read)[:, 0]
