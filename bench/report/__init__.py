"""Results as a page for people: one HTML file that needs nothing else, and a Markdown table.

svg.py       plots: lines on linear or log axes, bars with spread    pure
sections.py  a result -> the sections of the page                    pure
page.py      the page around them, its style                         pure
markdown.py  the tables of README files                              pure
"""
