"""What a playable figure needs: the package's rules in JavaScript, and the same random numbers.

``static/core.js`` steps the rules that `companion.play.rules` prints; it touches no page, so any
engine of JavaScript runs it.
"""
