"""What stands in summary.json."""

import json

from mmdet_ext.analysis.diagnosis.rules import RULES
from mmdet_ext.analysis.diagnosis.summary import summarise
from mmdet_ext.analysis.diagnosis.verdict import judge
from mmdet_ext.datasets.problems import Problem
from tests.test_analysis.test_diagnosis.evidence_case import check, evidence


def test_summary_has_everything_and_is_json():
    known = evidence(
        problems=[Problem('error', 'a.json', 'bad')], checks=check('leakage', val=0.1), cosines={('a', 'b'): -0.5}
    )
    summary = summarise(known, judge(known, RULES), {'config': 'c.py'})
    again = json.loads(json.dumps(summary))
    assert again == summary
    assert next(iter(summary)) == 'config'
    assert [each['rule'] for each in summary['verdicts']] == ['faulty_data', 'leakage']
    assert not summary['healthy']
    assert {'rule', 'evidence', 'cause', 'fix', 'gain'} <= set(summary['verdicts'][0])
    assert summary['splits']['val']['stages']['rpn_head']['best_recall'] == {'0.3': 1.0, '0.5': 0.95, '0.7': 0.6}
    assert 'object_sizes' not in summary['splits']['val']
    assert summary['cosines'] == {'a | b': -0.5}
    assert summary['problems'] == [{'severity': 'error', 'text': 'a.json: bad'}]
