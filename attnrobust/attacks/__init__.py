"""ATTACK: rows around Foolbox, the compiled engine and the sweep over epsilon."""
