"""A bulletin (通报) as an office prints it: one set of tables and charts, a workbook and a page of them."""

from service.paper.figures import figures
from service.paper.page import POLICY, page
from service.paper.sheets import book, workbook

__all__ = ["POLICY", "book", "figures", "page", "workbook"]
