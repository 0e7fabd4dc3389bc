"""What each stable error code means: its cause, how to see it, and what to do.

A code never changes its meaning and is never given to another cause: people search for it, and write
it into their runbooks. `registry.CODES` has all of them, `docs/errors.md` is made of it.
"""
