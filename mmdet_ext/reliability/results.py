"""What a case of the drill finds."""

import re
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from .runs import Outcome


@dataclass
class CaseResult:
    """Figures of one case.

    Attributes:
        name: What goes wrong.
        trials: How often.
        lost: Trials after which something that had been saved was gone.
        resumed: Trials after which the run, resumed, ended with the weights of an uninterrupted one.
        explained: Trials that ended in a sentence that says what is wrong; None where a process is killed and can say
            nothing.
        seconds: All of them together.
        sentence: The first such sentence.
        faults: What was not as it should be, one sentence each.
        skipped: Why the case, or a part of it, could not be tried here; '' where it was.
    """

    name: str
    trials: int = 0
    lost: int = 0
    resumed: int = 0
    explained: int | None = None
    seconds: float = 0.0
    sentence: str = ''
    faults: list[str] = field(default_factory=list)
    skipped: str = ''
    _start: float = field(default_factory=time.perf_counter)

    def add(self, trial: str, *, lost: int, resumed: bool) -> None:
        """Count a trial.

        Args:
            trial: Names it, for a fault.
            lost: Saved epochs that are gone.
            resumed: Whether it ended with the weights of an uninterrupted run.
        """
        self.trials += 1
        self.lost += lost > 0
        self.resumed += resumed
        if lost:
            self.faults.append(f'{trial}: {lost} saved epochs were lost')
        if not resumed:
            self.faults.append(f'{trial}: the resumed run does not end with the weights of an uninterrupted one')
        self.seconds = time.perf_counter() - self._start

    def expect(self, trial: str, outcome: Outcome, pattern: str) -> None:
        """Count whether a run failed with a sentence that fits a pattern."""
        found = outcome.code != 0 and re.search(pattern, outcome.sentence, re.DOTALL)
        self.explained = (self.explained or 0) + bool(found)
        if found:
            self.sentence = self.sentence or outcome.sentence
        else:
            self.faults.append(f'{trial}: ended with code {outcome.code} and {outcome.sentence[:300]!r}')

    def expect_signal(self, trial: str, outcome: Outcome, number: int) -> None:
        """Note a fault where a run was not ended by this signal."""
        if outcome.code != -number:
            self.faults.append(f'{trial}: ended with code {outcome.code} instead of signal {number}')

    @property
    def passed(self) -> bool:
        """Nothing is wrong."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        return {key: value for key, value in asdict(self).items() if not key.startswith('_')}
