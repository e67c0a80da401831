"""Ctrl-C between two steps: what runs long ends in order, with what it has."""

import signal
import threading


class Interrupt:
    """Turn the first Ctrl-C within the block into ``asked = True``; a second one raises at once.

    Whoever steps looks at ``asked`` between two steps, so that no step is left half done. Outside
    the main thread, to which signals do not go, it does nothing.

    Parameters
    ----------
    *signals : signal.Signals
        What counts as Ctrl-C; SIGINT unless told.

    Examples
    --------
    >>> with Interrupt() as interrupt:
    ...     interrupt.asked
    False
    """

    def __init__(self, *signals):
        self.asked, self._signals, self._before = False, signals or (signal.SIGINT,), {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self._signals}
        return self

    def __exit__(self, *error):
        for number, before in self._before.items():
            signal.signal(number, before)

    def _note(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
