"""Formulas as MathML, which browsers show without a script.

`$x^2$` and `$$ x^2 $$` in a page are marked by pymdownx's arithmatex; here they are translated.
"""

import html
import re

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', re.DOTALL)


def to_mathml(page: str) -> str:
    """HTML with every marked formula as `<math>`.

    Raises:
        ValueError: A formula is no LaTeX that can be translated; the sentence shows it.
    """

    def translate(match: re.Match[str]) -> str:
        latex = html.unescape(match[2]).strip()
        try:
            formula = convert(latex, display='inline' if match[1] == 'span' else 'block')
        except Exception as error:  # latex2mathml's own exceptions share no base class
            raise ValueError(f'the formula {latex!r} cannot be translated: {type(error).__name__} {error}') from error
        # It says nothing about what it does not know.
        if '\\' in html.unescape(formula) or latex.count('{') != latex.count('}'):
            raise ValueError(f'the formula {latex!r} has an unknown command or a brace too many or too few')
        return formula

    return _FORMULA.sub(translate, page)
