"""Compare: pairs beside one another, locked together."""

from symeq_core.errors import SymeqError
from ui import address, compare, curves, say
from ui.setup import page, pictures_first, warm

root = page(address.COMPARE)
chosen = compare.choose(root)
if chosen:
    try:
        compare.contrast(chosen)
        compare.figures(chosen)
        compare.pictures(chosen)
        pictures_first()
        curves.curves(chosen)
    except SymeqError as e:
        say.error(e)
warm(root)
