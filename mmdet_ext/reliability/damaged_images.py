"""Images that are cut short while a run is interrupted."""

from pathlib import Path

from .results import CaseResult
from .runs import Fault, Trainings


def truncated_images(trainings: Trainings) -> CaseResult:
    """Cut an image, or empty it: nothing is trained on what is left, and all goes on when it is whole again."""
    result = CaseResult('truncated image')
    image = Path(trainings.paths['images'], '1.png')
    content = image.read_bytes()
    for kind, rest in (('half', content[: len(content) // 2]), ('empty', b'')):
        work_dir = trainings.new('image')
        trainings.run(work_dir, Fault(kill_iter=trainings.iterations))
        try:
            image.write_bytes(rest)
            outcome = trainings.run(work_dir, resume='auto')
        finally:
            image.write_bytes(content)
        result.expect(kind, outcome, r"1 of the \d+ images .*(damaged or truncated|empty files).*'1\.png'|'1\.png'")
        lost = trainings.lost(work_dir)
        result.add(kind, lost=lost, resumed=trainings.recovers(work_dir))
    return result
