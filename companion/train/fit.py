"""One training loop: seeds, device, precision, progress, checkpoints and resuming."""

from collections.abc import Callable

import pandas as pd
from torch import Tensor, nn

from companion.data import Batches, Dataset
from companion.interrupt import Interrupt
from companion.progress import bar
from companion.train.arguments import batch_length, norm_bound, whole
from companion.train.checkpoint import compare, owned, read, readable
from companion.train.devices import choose_device, mode, random_state, to_device
from companion.train.evaluation import cross_entropy
from companion.train.run import PRECISIONS, Run


def fit(
    model: nn.Module,
    data,
    optimizer,
    *,
    steps: int,
    batch_size: int = 64,
    test=None,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    seed: int = 0,
    device=None,
    precision: str = "float32",
    every: int = 10,
    scheduler=None,
    clip_norm: float | None = None,
    checkpoint=None,
    checkpoint_every: int = 100,
    callback: Callable[[int], None] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Train a model and return its history, one row a report.

    Parameters
    ----------
    model : Module
        Trained in place, on ``device``.
    data : Dataset or Batches
        Fields x, (n, ...), and y, (n, ...): batches are drawn from them without replacement, in a
        new order each epoch. `Batches` of x and y bring their own size, seed and order; a copy of
        them is used.
    optimizer : Optimizer or callable
        An optimizer of the model's parameters, or a function ``params -> optimizer``: a class,
        ``lambda params: Adam(params, lr=0.1)``. Where the names of the parameters matter, make the
        optimizer of ``model.named_parameters()``.
    steps : int
        Steps in all, those before a resume included.
    batch_size : int, default 64
        Samples a step; an epoch's last batch holds what is left.
    test : Dataset, optional
        Evaluated at each report, in evaluation mode.
    loss : callable, default cross entropy
        ``(model(x), y) -> scalar``, a mean over the samples.
    seed : int, default 0
        Of the batches and of what the model draws while it trains. The initial parameters are
        the model's own: seed torch before it is built. The caller's random state is left alone.
    device : device or str, optional
        None takes the first GPU, else the CPU.
    precision : {"float32", "bfloat16", "float16"}
        The last two run the model under autocast; float16 with a gradient scaler. "float32" leaves
        the model's own dtype.
    every : int, default 10
        Steps between two reports. The last step is always reported.
    scheduler : LRScheduler or callable, optional
        Stepped after each step; or a function ``optimizer -> scheduler``.
    clip_norm : float, optional
        Largest norm of the whole gradient.
    checkpoint : path, optional
        File to write to, and to resume from where it exists. While the run lasts, a lock of the
        same name stands beside it.
    checkpoint_every : int, default 100
        Steps between two checkpoints. The last step is always saved.
    callback : callable, optional
        Called with the step's number after each step, and after its checkpoint.
    progress : bool, default True
        Show a bar if the run takes more than five seconds and somebody watches.

    Returns
    -------
    DataFrame
        ``step``; ``loss`` and ``accuracy``, means over the samples drawn since the last row, each
        as it was before the step that used it; ``test_loss``, ``test_accuracy`` if there is a test
        set, after the step; ``seconds`` of training so far, evaluation excluded;
        ``samples_per_second`` since the last row, or ``tokens_per_second`` for y of shape (n, T),
        int64. The accuracies are absent where y holds no class numbers.

    Raises
    ------
    ValueError, TypeError
        An argument that cannot be used; a loss that is no scalar tensor, or that no trained
        parameter has a gradient from; a checkpoint that is damaged, of another format or of
        another run, is in use by another process, or could be written and not be read back.
    FloatingPointError
        A loss is NaN or infinite, or, at a checkpoint and at the end, a trained parameter is. In
        the first case the parameters on the CPU are those before that step; a GPU is asked at
        reports and checkpoints only. No checkpoint holds NaN.
    OSError
        A checkpoint could not be written, for want of space for instance; the file is as it was.

    Whatever stops the steps has the rows so far as its attribute ``history``.

    Notes
    -----
    Ctrl-C finishes the step, writes the checkpoint if there is one, and returns the history; a
    second one stops at once. A checkpoint is written beside its target, synced and renamed, so a
    run that is killed leaves the old one or the new one; on the CPU a resumed run ends with the
    same bits as one that was not interrupted.

    A checkpoint is resumed by the same run only. Compared are: the data and the test set (their
    content), the batches' size, seed, order and place; what the model prints, the plain
    attributes of its modules, its shapes, dtypes and frozen parameters; the optimizer's
    class, its attributes, every option of its groups, and which parameters are in which; the
    scheduler's class and settings; the loss (a function by its code and what that reads from
    outside; an object by its class and attributes, a module also by its state);
    ``seed``, ``precision`` and ``clip_norm``. Not compared, so free to change: ``steps``, which
    may grow, ``every``, ``checkpoint_every``, ``callback``, ``progress``, the device, the number
    of threads, the versions of torch and of this package. Not compared, so yours to keep: what
    the model computes beyond that, buffers that are not in its state, its initial parameters (the
    checkpoint's replace them), the code of functions of libraries. Everything is read and compared
    before anything is changed.

    Examples
    --------
    >>> from companion.data import digits
    >>> from companion.models import MLP
    >>> from companion.optim import Adam
    >>> _ = torch.manual_seed(0)
    >>> model = MLP([64, 32, 10])
    >>> frame = fit(model, digits(), lambda p: Adam(p, lr=0.01), steps=60, every=20, device="cpu")
    >>> frame[["step", "loss"]].round(1)
       step  loss
    0    20   1.9
    1    40   0.7
    2    60   0.4
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a Module, got {model!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {list(PRECISIONS)}, got {precision!r}")
    for name, function in {"loss": loss, "callback": callback}.items():
        if not (callable(function) or (name == "callback" and function is None)):
            raise TypeError(f"{name}: expected a function, got {function!r}")
    steps, every = whole("steps", steps, 0), whole("every", every, 1)
    checkpoint_every, seed = whole("checkpoint_every", checkpoint_every, 1), whole("seed", seed)
    clip_norm, device = norm_bound(clip_norm), choose_device(device)
    test = None if test is None else to_device(test, device, "test")
    batches = _batches(data, batch_size, seed, device, steps)
    run = Run(model.to(device), batches, optimizer, scheduler, loss, device, precision, clip_norm)
    settings = {"seed": seed, "precision": precision, "clip_norm": clip_norm}
    with (
        owned(checkpoint) as path, random_state(seed, device), Interrupt() as interrupt,
        bar(steps, progress) as shown, mode(model, training=True),
    ):  # fmt: skip
        if path is not None:
            run.identity = run.identify(settings, test)
            _resume(run, path, steps)
            shown.update(run.step)
        try:
            while run.step < steps and not interrupt.asked:
                run.advance()
                if run.step % every == 0 or run.step == steps:
                    run.report(test)
                    shown.set_postfix(loss=f"{run.rows[-1]['loss']:.3g}", refresh=False)
                if path is not None and (run.step % checkpoint_every == 0 or run.step == steps):
                    run.save(path)
                shown.update()
                if callback is not None:
                    callback(run.step)
            if interrupt.asked and path is not None:
                run.save(path)
            if run.learns:
                run.check()
        except KeyboardInterrupt:
            pass  # the second one: the last checkpoint stands
        except Exception as error:
            error.history = run.history()
            raise
    return run.history()


def _resume(run: Run, path, steps: int) -> None:
    """Go on from a file if it is there; refuse what could be written and not be read back."""
    readable(run.content())
    if not path.exists():
        return
    content = read(path)
    compare(path, content["identity"], run.identity)
    if content["step"] > steps:
        raise ValueError(
            f"steps: {steps}, but checkpoint {path} is {content['step']} steps into the run"
        )
    run.restore(content)


def _batches(data, batch_size, seed, device, steps) -> Batches:
    if not isinstance(data, Batches):
        data = to_device(data, device)
        return Batches(data, batch_length(batch_size, len(data.x)), seed=seed)
    if len(data.tensors) != 2:
        raise ValueError(f"data: expected batches of x and y, got {len(data.tensors)} tensors")
    tensors = Dataset(*(tensor.to(device) for tensor in data.tensors))
    batches = Batches(  # a copy, so that the caller's stay where they are
        tensors, data.batch_size, order=data.order, epochs=data.epochs, drop_last=data.drop_last
    )
    batches.load_state_dict(data.state_dict())
    if data.epochs is not None:
        left = (data.epochs - data.epoch) * data.steps_per_epoch - data.position
        if left < steps:
            raise ValueError(
                f"data: the batches end after step {left}; take fewer steps, or more epochs"
            )
    return batches
