"""The networks of a search: those that were trained, and those that are in training."""

from dataclasses import dataclass, field

from jnas._search.config import Round
from jnas._search.ranking import rank
from jnas._search.result import EvaluatedCandidate
from jnas._search.screening import Proposal
from jnas.space import Candidate


@dataclass(frozen=True)
class RoundResult:
    """What a round gave."""

    round: Round
    evaluated: tuple[EvaluatedCandidate, ...]
    """In the order in which they were proposed."""

    @property
    def accuracies(self) -> list[float]:
        """Of the candidates that were trained well."""
        return [trained.accuracy for trained in self.evaluated if trained.is_ok]


@dataclass(eq=False)
class RoundInTraining:
    """A round that has begun: its proposals by hash, less those that `max_trials` does not admit (`is_cut`)."""

    round: Round
    proposals: dict[str, Proposal]
    is_cut: bool
    start: float
    evaluated: dict[str, EvaluatedCandidate] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether all are trained."""
        return len(self.evaluated) == len(self.proposals)

    def result(self) -> RoundResult:
        """Returns what is trained, in the order of the proposals."""
        return RoundResult(self.round, tuple(self.evaluated[hash] for hash in self.proposals if hash in self.evaluated))


@dataclass(eq=False)
class Population:
    """What a search has trained, by hash in the order in which rounds end, and the rounds that are in training."""

    final_is_timed: bool
    """Whether time is the limit of the winner's training."""
    evaluated: dict[str, EvaluatedCandidate] = field(default_factory=dict)
    in_training: list[RoundInTraining] = field(default_factory=list)

    def add(self, begun: RoundInTraining, trained: EvaluatedCandidate) -> None:
        """Takes a candidate of a round."""
        self.evaluated[trained.candidate.hash] = begun.evaluated[trained.candidate.hash] = trained

    def end(self, begun: RoundInTraining) -> RoundResult:
        """Returns what a round gave, and moves it to the end of `evaluated`, in the order of the proposals.

        So nothing depends on which candidate was done first.
        """
        result = begun.result()
        for trained in result.evaluated:
            self.evaluated[trained.candidate.hash] = self.evaluated.pop(trained.candidate.hash)
        return result

    @property
    def num_trained(self) -> int:
        """Candidates that all runs of the search have trained, those that failed too."""
        return sum(trained.phase != "stored" for trained in self.evaluated.values())

    def good(self) -> list[EvaluatedCandidate]:
        """Returns what was trained well, in the order of training."""
        return [trained for trained in self.evaluated.values() if trained.is_ok]

    def known(self) -> list[EvaluatedCandidate]:
        """Returns networks that people build, and those of `start`, in the order of training."""
        return [one for one in self.good() if one.phase == "known"]

    def ranking(self) -> list[EvaluatedCandidate]:
        """Returns what was trained well, the best first."""
        return rank(self.good(), self.final_is_timed)

    def busy(self) -> list[Candidate]:
        """Returns what is in training."""
        return [
            proposal.candidate
            for begun in self.in_training
            for hash, proposal in begun.proposals.items()
            if hash not in begun.evaluated
        ]

    def functions(self) -> set[str]:
        """Returns the hashes of the functions that were trained, or are in training."""
        trained = [one.candidate for one in self.evaluated.values()]
        return {candidate.function_hash for candidate in (*trained, *self.busy())}
