"""Ctrl-C between two steps: what runs long ends in order, with what it has."""

import signal
import threading


class Interrupt:
    """Turn the first Ctrl-C within the block into ``asked = True``; a second one raises at once.

    Whoever steps looks at ``asked`` between two steps, so that no step is left half done. Outside
    the main thread, to which signals do not go, it does nothing.

    Examples
    --------
    >>> with Interrupt() as interrupt:
    ...     interrupt.asked
    False
    """

    def __init__(self):
        self.asked, self._before = False, None

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error):
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
