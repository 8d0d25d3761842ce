"""Detection: from token ids and a key to a verdict, with error rates one can rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tradeoff._lazy import lazy
from tradeoff.detection.bets.cell_bets import CellBets
from tradeoff.detection.bets.completed import CompletedBets
from tradeoff.detection.bets.gumbel import PROBABILITIES, RaceBets, race_log_bets
from tradeoff.detection.bets.simplexwater import SimplexBets, value_log_bets
from tradeoff.detection.bets.stream_bets import Bets, StreamBets
from tradeoff.detection.bets.synthid import TournamentBets, tournament_log_bets
from tradeoff.detection.bets.tilts import ScoreBets
from tradeoff.detection.bets.transport import TransportBets
from tradeoff.detection.choice import (
    bets_of,
    default_bets,
    default_detector,
    detector_called,
    detector_of,
    register_detector,
    register_format,
)
from tradeoff.detection.detector import (
    Detector,
    Exactness,
    Readings,
    Score,
    detect,
    for_parts,
    given_text,
    log_p_values,
)
from tradeoff.detection.evidence import (
    Evidence,
    check_token_ids,
    score_and_rank,
    scored_positions,
    text_contexts,
)
from tradeoff.detection.fixed.completed import CompletedSum
from tradeoff.detection.fixed.gumbel import (
    Aaronson,
    ArsPrior,
    ArsTau,
    LikelihoodRatio,
    Oracle,
    RacePrior,
    SumOfKeys,
    WeightedSumOfKeys,
    exponential_scores,
    fit_tau,
)
from tradeoff.detection.fixed.hf_kgw import GreenPairs, GreenParts
from tradeoff.detection.fixed.kgw import GreenTokens
from tradeoff.detection.fixed.lattice import Statistic
from tradeoff.detection.fixed.reweights.dipmark import LateTokens
from tradeoff.detection.fixed.reweights.inverse_transform import NearUniforms
from tradeoff.detection.fixed.reweights.unigram import GreenTypes
from tradeoff.detection.fixed.row_sums import TableSum
from tradeoff.detection.fixed.shifted_bits import ShiftedBits
from tradeoff.detection.fixed.simplexwater import SimplexSum
from tradeoff.detection.fixed.synthid import MeanBits, WeightedMeanBits, scored_rounds
from tradeoff.detection.fixed.transport import AuthorsTest, LatticeDetector, RankRatio, rank_log_bets
from tradeoff.detection.sequential import Sequential, SequentialResult, TokenStream, log_e_values, of_e_values

if TYPE_CHECKING:
    from tradeoff.detection.calibration import Rate, null_threshold, rate, roc
    from tradeoff.detection.fixed.bayes import (
        BayesDetector,
        Mixing,
        Training,
        fit_bayes,
        load_bayes,
        save_bayes,
    )
    from tradeoff.detection.fixed.token_aware import (
        TokenAware,
        TokenPriors,
        load_token_aware,
        save_token_aware,
    )
    from tradeoff.detection.fixed.won_scores import won_bits, won_score_law
    from tradeoff.detection.forecast import Forecast, power, predicted_power, probabilities_of_entropy
    from tradeoff.detection.growth import growth_of_classes, growth_of_stakes
    from tradeoff.detection.multiple import benjamini_hochberg, holm
    from tradeoff.detection.race_scores import (
        RaceScoreLaw,
        expected_race_score,
        hypoexponential_score,
        race_score_law,
        race_score_variance,
    )
    from tradeoff.detection.segments import Segment, Segments, SegmentSearch
    from tradeoff.detection.switching import Switching, SwitchingResult
    from tradeoff.detection.with_models.draft_aware import (
        Anchored,
        AnchorReading,
        DraftAware,
        Seeds,
        fit_eps,
        hit_log_bets,
        race_after_miss,
    )
    from tradeoff.detection.with_models.hits import SeedHits
    from tradeoff.detection.with_models.model_aware import ModelAware, TiltedTail, two_point_log_sf
    from tradeoff.detection.with_models.race_ratio import RaceLawRatio, emitted_score_laws

__all__ = [
    "PROBABILITIES",
    "Aaronson",
    "AnchorReading",
    "Anchored",
    "ArsPrior",
    "ArsTau",
    "AuthorsTest",
    "BayesDetector",
    "Bets",
    "CellBets",
    "CompletedBets",
    "CompletedSum",
    "Detector",
    "DraftAware",
    "Evidence",
    "Exactness",
    "Forecast",
    "GreenPairs",
    "GreenParts",
    "GreenTokens",
    "GreenTypes",
    "LateTokens",
    "LatticeDetector",
    "LikelihoodRatio",
    "MeanBits",
    "Mixing",
    "ModelAware",
    "NearUniforms",
    "Oracle",
    "RaceBets",
    "RaceLawRatio",
    "RacePrior",
    "RaceScoreLaw",
    "RankRatio",
    "Rate",
    "Readings",
    "Score",
    "ScoreBets",
    "SeedHits",
    "Seeds",
    "Segment",
    "SegmentSearch",
    "Segments",
    "Sequential",
    "SequentialResult",
    "ShiftedBits",
    "SimplexBets",
    "SimplexSum",
    "Statistic",
    "StreamBets",
    "SumOfKeys",
    "Switching",
    "SwitchingResult",
    "TableSum",
    "TiltedTail",
    "TokenAware",
    "TokenPriors",
    "TokenStream",
    "TournamentBets",
    "Training",
    "TransportBets",
    "WeightedMeanBits",
    "WeightedSumOfKeys",
    "benjamini_hochberg",
    "bets_of",
    "check_token_ids",
    "default_bets",
    "default_detector",
    "detect",
    "detector_called",
    "detector_of",
    "emitted_score_laws",
    "expected_race_score",
    "exponential_scores",
    "fit_bayes",
    "fit_eps",
    "fit_tau",
    "for_parts",
    "given_text",
    "growth_of_classes",
    "growth_of_stakes",
    "hit_log_bets",
    "holm",
    "hypoexponential_score",
    "load_bayes",
    "load_token_aware",
    "log_e_values",
    "log_p_values",
    "null_threshold",
    "of_e_values",
    "power",
    "predicted_power",
    "probabilities_of_entropy",
    "race_after_miss",
    "race_log_bets",
    "race_score_law",
    "race_score_variance",
    "rank_log_bets",
    "rate",
    "register_detector",
    "register_format",
    "roc",
    "save_bayes",
    "save_token_aware",
    "score_and_rank",
    "scored_positions",
    "scored_rounds",
    "text_contexts",
    "tournament_log_bets",
    "two_point_log_sf",
    "value_log_bets",
    "won_bits",
    "won_score_law",
]

# Reading a text needs none of these, and what is fitted needs PyTorch.
_HOMES = {
    "detection.calibration": (
        "Rate",
        "null_threshold",
        "rate",
        "roc",
    ),
    "detection.fixed.bayes": (
        "BayesDetector",
        "Mixing",
        "Training",
        "fit_bayes",
        "load_bayes",
        "save_bayes",
    ),
    "detection.fixed.token_aware": (
        "TokenAware",
        "TokenPriors",
        "load_token_aware",
        "save_token_aware",
    ),
    "detection.fixed.won_scores": (
        "won_bits",
        "won_score_law",
    ),
    "detection.forecast": (
        "Forecast",
        "power",
        "predicted_power",
        "probabilities_of_entropy",
    ),
    "detection.growth": (
        "growth_of_classes",
        "growth_of_stakes",
    ),
    "detection.multiple": (
        "benjamini_hochberg",
        "holm",
    ),
    "detection.race_scores": (
        "RaceScoreLaw",
        "expected_race_score",
        "hypoexponential_score",
        "race_score_law",
        "race_score_variance",
    ),
    "detection.segments": (
        "Segment",
        "SegmentSearch",
        "Segments",
    ),
    "detection.switching": (
        "Switching",
        "SwitchingResult",
    ),
    "detection.with_models.draft_aware": (
        "AnchorReading",
        "Anchored",
        "DraftAware",
        "Seeds",
        "fit_eps",
        "hit_log_bets",
        "race_after_miss",
    ),
    "detection.with_models.hits": ("SeedHits",),
    "detection.with_models.model_aware": (
        "ModelAware",
        "TiltedTail",
        "two_point_log_sf",
    ),
    "detection.with_models.race_ratio": (
        "RaceLawRatio",
        "emitted_score_laws",
    ),
}
__getattr__, __dir__, _known = lazy(__name__, _HOMES, others=__all__)
