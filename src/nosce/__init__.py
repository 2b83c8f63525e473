"""nosce: what does a language model know, does it know how much it knows, and does it know itself?

Everything that a study of one's own needs is here: `from nosce import Arm, Claim, Mean, Study, ...`. A name is imported
when it is first used, so that the command line starts without the libraries that it does not need.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nosce.analysis.answer_numbers import NumberScore as NumberScore
    from nosce.analysis.bench.claim_bench import bench_claims as bench_claims
    from nosce.analysis.bench.table import bench_table as bench_table
    from nosce.analysis.calibration import CalibrationFigure as CalibrationFigure
    from nosce.analysis.calibration import CalibrationMAD as CalibrationMAD
    from nosce.analysis.calibration import LabelMatchedContrast as LabelMatchedContrast
    from nosce.analysis.calibration import LabelMatchedDifference as LabelMatchedDifference
    from nosce.analysis.calibration import MinimumDetectableEffect as MinimumDetectableEffect
    from nosce.analysis.card import CardAnswer as CardAnswer
    from nosce.analysis.claims import Claim as Claim
    from nosce.analysis.claims import Precondition as Precondition
    from nosce.analysis.conclusion import ArmConclusion as ArmConclusion
    from nosce.analysis.emergence.from_python import MirageAudit as MirageAudit
    from nosce.analysis.emergence.from_python import audit as audit
    from nosce.analysis.emergence.measures import ForecastFigure as ForecastFigure
    from nosce.analysis.emergence.measures import ForecastSkill as ForecastSkill
    from nosce.analysis.emergence.measures import LinkDrift as LinkDrift
    from nosce.analysis.emergence.measures import Steepness as Steepness
    from nosce.analysis.emergence.scaling_curve import ScalingCurveSpec as ScalingCurveSpec
    from nosce.analysis.figures import ArmBarFigure as ArmBarFigure
    from nosce.analysis.figures import ArmCurveFigure as ArmCurveFigure
    from nosce.analysis.figures import BarCell as BarCell
    from nosce.analysis.figures import BarFigure as BarFigure
    from nosce.analysis.figures import ConfusionMatrixFigure as ConfusionMatrixFigure
    from nosce.analysis.figures import Figure as Figure
    from nosce.analysis.figures import LineFigure as LineFigure
    from nosce.analysis.figures import LinePoint as LinePoint
    from nosce.analysis.figures import TrainingCurveFigure as TrainingCurveFigure
    from nosce.analysis.headroom import NormalizedContrast as NormalizedContrast
    from nosce.analysis.headroom import NormalizedGain as NormalizedGain
    from nosce.analysis.jackknife import Auc as Auc
    from nosce.analysis.jackknife import ConditionRankCorrelation as ConditionRankCorrelation
    from nosce.analysis.jackknife import JointExcess as JointExcess
    from nosce.analysis.jackknife import Slope as Slope
    from nosce.analysis.jackknife import SpearmanCorrelation as SpearmanCorrelation
    from nosce.analysis.label_equivalence import LabelCount as LabelCount
    from nosce.analysis.label_equivalence import LabelsToReach as LabelsToReach
    from nosce.analysis.measures import ComplementShare as ComplementShare
    from nosce.analysis.measures import Contrast as Contrast
    from nosce.analysis.measures import Difference as Difference
    from nosce.analysis.measures import Mean as Mean
    from nosce.analysis.measures import Measure as Measure
    from nosce.analysis.measures import MinOf as MinOf
    from nosce.analysis.measures import OfUnit as OfUnit
    from nosce.analysis.render.figure import FigureRow as FigureRow
    from nosce.analysis.selection import BestStep as BestStep
    from nosce.analysis.selection import PhaseStep as PhaseStep
    from nosce.analysis.selection import Selection as Selection
    from nosce.analysis.stats.level import interval_level as interval_level
    from nosce.analysis.training_curves import CurveCorrelation as CurveCorrelation
    from nosce.analysis.training_curves import Peak as Peak
    from nosce.analysis.training_curves import PhaseDuration as PhaseDuration
    from nosce.analysis.training_curves import TrainingCurve as TrainingCurve
    from nosce.data.tokenizer import TokenizerSpec as TokenizerSpec
    from nosce.data.worlds.arithmetic import Arithmetic as Arithmetic
    from nosce.data.worlds.base import World as World
    from nosce.data.worlds.base import check_world as check_world
    from nosce.data.worlds.behaviours.dispositions import Dispositions as Dispositions
    from nosce.data.worlds.behaviours.injections import InjectionReports as InjectionReports
    from nosce.data.worlds.biographies.world import Biographies as Biographies
    from nosce.data.worlds.diaries.world import Diaries as Diaries
    from nosce.data.worlds.facts import Facts as Facts
    from nosce.data.worlds.facts import facts_from_table as facts_from_table
    from nosce.data.worlds.karel.world import Karel as Karel
    from nosce.errors import NosceError as NosceError
    from nosce.evals.base import Evaluation as Evaluation
    from nosce.evals.base import Experiment as Experiment
    from nosce.evals.base import MultiCheckpointEvaluation as MultiCheckpointEvaluation
    from nosce.evals.base import PerCheckpointEvaluation as PerCheckpointEvaluation
    from nosce.evals.capacity import KnowledgeCapacity as KnowledgeCapacity
    from nosce.evals.generation import ConstantBaseline as ConstantBaseline
    from nosce.evals.generation import GenerationEval as GenerationEval
    from nosce.evals.injection.directions import InjectionPlace as InjectionPlace
    from nosce.evals.injection.evaluation import InjectionEval as InjectionEval
    from nosce.evals.item_scores import ItemScores as ItemScores
    from nosce.evals.patching.answer import AnswerPatching as AnswerPatching
    from nosce.evals.patching.count import CountPatching as CountPatching
    from nosce.evals.patching.name import NamePatching as NamePatching
    from nosce.evals.patching.program_state import StateEditing as StateEditing
    from nosce.evals.probing.label_probes import AnswerPropertyLabels as AnswerPropertyLabels
    from nosce.evals.probing.label_probes import EntryCountLabels as EntryCountLabels
    from nosce.evals.probing.label_probes import LabelledTexts as LabelledTexts
    from nosce.evals.probing.label_probes import LabelProbe as LabelProbe
    from nosce.evals.probing.label_probes import LabelSource as LabelSource
    from nosce.evals.probing.low_rank import LowRankProbeConfig as LowRankProbeConfig
    from nosce.evals.probing.pq_probes import NameProbe as NameProbe
    from nosce.evals.probing.pq_probes import PositionProbe as PositionProbe
    from nosce.evals.probing.program_states import ProgramStateProbe as ProgramStateProbe
    from nosce.evals.qa import FrequencyBaseline as FrequencyBaseline
    from nosce.evals.qa import MajorityBaseline as MajorityBaseline
    from nosce.evals.qa import QAEval as QAEval
    from nosce.evals.qa import RecallEval as RecallEval
    from nosce.evals.self_report import InvalidRate as InvalidRate
    from nosce.evals.self_report import SelfReportEval as SelfReportEval
    from nosce.evals.stopping import StopDecision as StopDecision
    from nosce.evals.text_baselines import TextBaselines as TextBaselines
    from nosce.models.architecture import Architecture as Architecture
    from nosce.models.architecture import ExtraLayers as ExtraLayers
    from nosce.models.architecture import Pretrained as Pretrained
    from nosce.pipeline.cards.card import ModelCard as ModelCard
    from nosce.pipeline.from_python import run as run
    from nosce.pipeline.results import RunResults as RunResults
    from nosce.records import Document as Document
    from nosce.records import Estimate as Estimate
    from nosce.records import Question as Question
    from nosce.records import Reading as Reading
    from nosce.records import Span as Span
    from nosce.records import Verdict as Verdict
    from nosce.seeds import Seed as Seed
    from nosce.store.disclosure import Disclosure as Disclosure
    from nosce.store.store import Store as Store
    from nosce.studies.card import card as card
    from nosce.study import AnswerSource as AnswerSource
    from nosce.study import Arm as Arm
    from nosce.study import EvalSpec as EvalSpec
    from nosce.study import ExperimentSpec as ExperimentSpec
    from nosce.study import ReportLabels as ReportLabels
    from nosce.study import Stage as Stage
    from nosce.study import Study as Study
    from nosce.train.config import LoRA as LoRA
    from nosce.train.config import QAMixture as QAMixture
    from nosce.train.config import RuntimeConfig as RuntimeConfig
    from nosce.train.config import TrainingConfig as TrainingConfig

try:
    __version__ = version("nosce")
except PackageNotFoundError:  # the source without an installation
    __version__ = "0+unknown"

#: The public names, by the module that defines them.
_EXPORTS = {
    "nosce.analysis.answer_numbers": "NumberScore",
    "nosce.analysis.bench.claim_bench": "bench_claims",
    "nosce.analysis.bench.table": "bench_table",
    "nosce.analysis.calibration": (
        "CalibrationFigure CalibrationMAD LabelMatchedContrast LabelMatchedDifference MinimumDetectableEffect"
    ),
    "nosce.analysis.card": "CardAnswer",
    "nosce.analysis.claims": "Claim Precondition",
    "nosce.analysis.conclusion": "ArmConclusion",
    "nosce.analysis.emergence.from_python": "MirageAudit audit",
    "nosce.analysis.emergence.measures": "ForecastFigure ForecastSkill LinkDrift Steepness",
    "nosce.analysis.emergence.scaling_curve": "ScalingCurveSpec",
    "nosce.analysis.figures": (
        "ArmBarFigure ArmCurveFigure BarCell BarFigure "
        "ConfusionMatrixFigure Figure LineFigure LinePoint TrainingCurveFigure"
    ),
    "nosce.analysis.headroom": "NormalizedContrast NormalizedGain",
    "nosce.analysis.jackknife": "Auc ConditionRankCorrelation JointExcess Slope SpearmanCorrelation",
    "nosce.analysis.label_equivalence": "LabelCount LabelsToReach",
    "nosce.analysis.measures": "ComplementShare Contrast Difference Mean Measure MinOf OfUnit",
    "nosce.analysis.render.figure": "FigureRow",
    "nosce.analysis.selection": "BestStep PhaseStep Selection",
    "nosce.analysis.stats.level": "interval_level",
    "nosce.analysis.training_curves": "CurveCorrelation Peak PhaseDuration TrainingCurve",
    "nosce.data.tokenizer": "TokenizerSpec",
    "nosce.data.worlds.arithmetic": "Arithmetic",
    "nosce.data.worlds.base": "World check_world",
    "nosce.data.worlds.behaviours.dispositions": "Dispositions",
    "nosce.data.worlds.behaviours.injections": "InjectionReports",
    "nosce.data.worlds.biographies.world": "Biographies",
    "nosce.data.worlds.diaries.world": "Diaries",
    "nosce.data.worlds.facts": "Facts facts_from_table",
    "nosce.data.worlds.karel.world": "Karel",
    "nosce.errors": "NosceError",
    "nosce.pipeline.cards.card": "ModelCard",
    "nosce.pipeline.from_python": "run",
    "nosce.pipeline.results": "RunResults",
    "nosce.evals.base": "Evaluation Experiment MultiCheckpointEvaluation PerCheckpointEvaluation",
    "nosce.evals.capacity": "KnowledgeCapacity",
    "nosce.evals.generation": "ConstantBaseline GenerationEval",
    "nosce.evals.injection.directions": "InjectionPlace",
    "nosce.evals.injection.evaluation": "InjectionEval",
    "nosce.evals.item_scores": "ItemScores",
    "nosce.evals.patching.answer": "AnswerPatching",
    "nosce.evals.patching.count": "CountPatching",
    "nosce.evals.patching.name": "NamePatching",
    "nosce.evals.patching.program_state": "StateEditing",
    "nosce.evals.probing.label_probes": "AnswerPropertyLabels EntryCountLabels LabelledTexts LabelProbe LabelSource",
    "nosce.evals.probing.low_rank": "LowRankProbeConfig",
    "nosce.evals.probing.pq_probes": "NameProbe PositionProbe",
    "nosce.evals.probing.program_states": "ProgramStateProbe",
    "nosce.evals.qa": "FrequencyBaseline MajorityBaseline QAEval RecallEval",
    "nosce.evals.self_report": "InvalidRate SelfReportEval",
    "nosce.evals.stopping": "StopDecision",
    "nosce.evals.text_baselines": "TextBaselines",
    "nosce.models.architecture": "Architecture ExtraLayers Pretrained",
    "nosce.store.disclosure": "Disclosure",
    "nosce.records": "Document Estimate Question Reading Span Verdict",
    "nosce.seeds": "Seed",
    "nosce.store.store": "Store",
    "nosce.studies.card": "card",
    "nosce.study": "AnswerSource Arm EvalSpec ExperimentSpec ReportLabels Stage Study",
    "nosce.train.config": "LoRA QAMixture RuntimeConfig TrainingConfig",
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names.split()}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    """A public name, imported when it is first asked for."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'nosce' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, for completion."""
    return [*__all__, "__version__"]
