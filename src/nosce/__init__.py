"""nosce: what does a language model know, does it know how much, and can it be asked for it?"""

from nosce.analysis.figures import Bars, Curves
from nosce.analysis.measures import Claim, Difference, Mean, Need, Select
from nosce.data.tokenizer import TokenizerSpec
from nosce.errors import NosceError
from nosce.evals.qa import Majority, Questions, Recall
from nosce.models.architecture import Architecture, Pretrained, size
from nosce.records import Document, Estimate, Question, Reading, Span, Verdict
from nosce.seeds import Seed
from nosce.store.store import Store
from nosce.study import Arm, Read, Stage, Study
from nosce.train.config import LoRA, Machine, Recipe

__all__ = [
    "Architecture",
    "Arm",
    "Bars",
    "Claim",
    "Curves",
    "Difference",
    "Document",
    "Estimate",
    "LoRA",
    "Machine",
    "Majority",
    "Mean",
    "Need",
    "NosceError",
    "Pretrained",
    "Question",
    "Questions",
    "Read",
    "Reading",
    "Recall",
    "Recipe",
    "Seed",
    "Select",
    "Span",
    "Stage",
    "Store",
    "Study",
    "TokenizerSpec",
    "Verdict",
    "size",
]
