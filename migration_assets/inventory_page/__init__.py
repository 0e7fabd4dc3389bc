"""The page for whoever decides about a migration: what it is, what it loses, what it leaves behind.

`content.py` says what is on it, as plain values; `html.py` and `markdown.py` write that down. Pure:
no driver, no server, no network.
"""
