"""Readers to compare Isobar's verdicts with, and the messages to compare them on.

    mutants.py   every valid message of tests/data/wnm.tsv with one thing changed
    reader.py    the rules once more, read from the standard's text, slow and plain
    schema.py    the rules a JSON Schema can express, as one
    jansson.py   is it JSON at all? by a library in wide use
"""
