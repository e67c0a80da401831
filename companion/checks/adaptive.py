"""Checks of the exercises of the chapter on AdaGrad and RMSprop."""
