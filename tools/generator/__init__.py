"""From a chapter (MyST Markdown) to a notebook (plain Markdown).

source.py parses, inline.py and directives.py find the plain form of a role or directive, chapter.py
makes cells, book.py knows what the chapters share.
"""
