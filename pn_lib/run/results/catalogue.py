"""All result files of a run, in the order in which they are made."""

from pn_lib.run.results.coherence_results import CoherenceResult, CoherenceTimings
from pn_lib.run.results.data_results import DataResult, TokenizationResult
from pn_lib.run.results.frontier_results import FrontierResult, FrontierTimings
from pn_lib.run.results.inside_results import InsideResult
from pn_lib.run.results.judge_results import JudgeResult
from pn_lib.run.results.listening_results import ListeningResult
from pn_lib.run.results.mamba_results import MambaConstruction, ScanTimings
from pn_lib.run.results.memory_results import MemoryResult
from pn_lib.run.results.mixers_results import DecodingStep, MixersResult, MixersTimings
from pn_lib.run.results.provenance import Machine, RunCard, StageTimes
from pn_lib.run.results.rating_results import RatingResult
from pn_lib.run.results.result import Result, Row
from pn_lib.run.results.stories_results import CompletionsResult, EvaluationResult
from pn_lib.run.results.study_results import LanguageResult, ScalingResult, StudyCost, StudyResult, StudyTraining
from pn_lib.run.results.training_results import (
    ConstructionResult,
    CurvePoint,
    RecipeResult,
    RecipeTimings,
    TrainingResult,
    TrainingTimings,
)
from pn_lib.run.results.whole_mamba_results import MambaResult
from pn_lib.run.results.zoo_results import ZooResult

CATALOGUE: tuple[type[Result] | type[Row], ...] = (
    RunCard,
    DataResult,
    TokenizationResult,
    ConstructionResult,
    TrainingResult,
    CurvePoint,
    TrainingTimings,
    RecipeResult,
    RecipeTimings,
    ZooResult,
    CompletionsResult,
    EvaluationResult,
    JudgeResult,
    ListeningResult,
    RatingResult,
    InsideResult,
    StudyResult,
    StudyTraining,
    StudyCost,
    ScalingResult,
    LanguageResult,
    CoherenceResult,
    CoherenceTimings,
    MambaConstruction,
    ScanTimings,
    MixersResult,
    MixersTimings,
    DecodingStep,
    MemoryResult,
    MambaResult,
    FrontierResult,
    FrontierTimings,
    StageTimes,
    Machine,
)
