"""Formulas of the site."""

import re
import xml.etree.ElementTree as ET

import pytest

from tests.test_docs.building import load

pytest.importorskip('latex2mathml', reason='formulas are translated by requirements/docs.txt')
mathml = load('mathml')


def test_inline_and_block():
    page = '<p>a <span class="arithmatex">\\(x &lt; 1\\)</span></p><div class="arithmatex">\\[\n\\frac{1}{n}\n\\]</div>'
    formulas = ET.fromstring(f'<r>{mathml.to_mathml(page)}</r>').findall('.//{*}math')
    assert [formula.get('display') for formula in formulas] == ['inline', 'block']
    assert ''.join(formulas[0].itertext()) == 'x<1'
    assert formulas[1].find('.//{*}mfrac') is not None


def test_other_html_stays():
    page = '<p>$5 and \\(x\\)</p><code>\\[x\\]</code>'
    assert mathml.to_mathml(page) == page


@pytest.mark.parametrize('latex', [r'\frac{1', r'x_1_2', r'\nosuch{x}'])
def test_bad_latex_is_shown(latex):
    with pytest.raises(ValueError, match=re.escape(repr(latex))):
        mathml.to_mathml(f'<span class="arithmatex">\\({latex}\\)</span>')
