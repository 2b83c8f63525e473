"""nosce: what does a language model know, does it know how much, and can it be asked for it?"""

from nosce.analysis.figures import ArmBarFigure, ArmCurveFigure
from nosce.analysis.measures import Claim, Difference, Mean, Precondition, Selection
from nosce.data.tokenizer import TokenizerSpec
from nosce.errors import NosceError
from nosce.evals.qa import MajorityBaseline, QAEval, RecallEval
from nosce.models.architecture import Architecture, Pretrained, named_architecture
from nosce.records import Document, Estimate, Question, Reading, Span, Verdict
from nosce.seeds import Seed
from nosce.store.store import Store
from nosce.study import Arm, EvalSpec, Stage, Study
from nosce.train.config import LoRA, RuntimeConfig, TrainingConfig

__all__ = [
    "Architecture",
    "Arm",
    "ArmBarFigure",
    "ArmCurveFigure",
    "Claim",
    "Difference",
    "Document",
    "Estimate",
    "EvalSpec",
    "LoRA",
    "MajorityBaseline",
    "Mean",
    "NosceError",
    "Precondition",
    "Pretrained",
    "QAEval",
    "Question",
    "Reading",
    "RecallEval",
    "RuntimeConfig",
    "Seed",
    "Selection",
    "Span",
    "Stage",
    "Store",
    "Study",
    "TokenizerSpec",
    "TrainingConfig",
    "Verdict",
    "named_architecture",
]
