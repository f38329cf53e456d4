"""CPython's own facts: who exports which name, which file names it imports, and what a wheel's tags promise of it."""
