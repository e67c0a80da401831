"""One training loop: seeds, device, precision, progress, checkpoints and resuming."""

import contextlib
import math
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from companion.data import Batches, Dataset
from companion.files import replacing
from companion.interrupt import Interrupt
from companion.progress import bar
from companion.train.arguments import check_batch_size, check_counts, made
from companion.train.devices import choose_device, random_state, to_device
from companion.train.evaluation import count_correct, cross_entropy, evaluate

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
FORMAT = 1  # of the checkpoint file


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
        File to write to, and to resume from where it exists.
    checkpoint_every : int, default 100
        Steps between two checkpoints. The last step is always saved.
    callback : callable, optional
        Called with the step's number after each step.
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
        An argument that cannot be used; a checkpoint that is damaged or belongs to another run.
    FloatingPointError
        The loss is NaN or infinite. On the CPU the parameters are those before that step; a GPU
        is asked at reports and checkpoints only.

    Notes
    -----
    Ctrl-C finishes the step, writes the checkpoint if there is one, and returns the history; a
    second one stops at once. A checkpoint is written beside its target, synced and renamed, so a
    run that is killed leaves the old one or the new one; on the CPU a resumed run ends with the
    same bits as one that was not interrupted. Settings that must agree are compared; a step
    count may grow.

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
    check_counts(steps=(steps, 0), every=(every, 1), checkpoint_every=(checkpoint_every, 1))
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {list(PRECISIONS)}, got {precision!r}")
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm: expected None or a number above 0, got {clip_norm!r}")
    device = choose_device(device)
    if test is not None:
        test = to_device(test, device, "test")
    batches = _batches(data, batch_size, seed, device)
    settings = {"seed": seed, "precision": precision, "clip_norm": clip_norm}
    run = _Run(model.to(device), batches, optimizer, scheduler, loss, device, settings)
    path = None if checkpoint is None else Path(checkpoint)
    training = model.training
    with random_state(seed, device), Interrupt() as interrupt, bar(steps, progress) as shown:
        if path is not None and path.exists():
            run.load(path, steps)
            shown.update(run.step)
        try:
            model.train()
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
        except KeyboardInterrupt:
            pass  # the second one: the last checkpoint stands
        finally:
            model.train(training)
    return pd.DataFrame(run.rows, columns=None if run.rows else ["step", "loss", "seconds"])


class _Run:
    """A training run between two steps: everything that a checkpoint has to hold."""

    def __init__(self, model, batches, optimizer, scheduler, loss, device, settings):
        self.model, self.batches, self.loss, self.device = model, batches, loss, device
        self.optimizer = made("optimizer", optimizer, torch.optim.Optimizer, model.parameters())
        owned = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        if owned.isdisjoint(id(p) for p in model.parameters()):
            raise ValueError("optimizer: holds none of the model's parameters")
        self.scheduler = None
        if scheduler is not None:
            base = torch.optim.lr_scheduler.LRScheduler
            self.scheduler = made("scheduler", scheduler, base, self.optimizer)
        self.dtype = PRECISIONS[settings["precision"]]
        scaled = self.dtype is torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)
        self.clip_norm = settings["clip_norm"]
        self.step, self.rows, self.seconds = 0, [], 0.0
        self._forget()
        self.first_bad = torch.zeros((), dtype=torch.int64, device=device)  # step of a bad loss
        self.identity = {**settings, **self._identity()}

    def _forget(self) -> None:
        """Start the sums of a new row."""
        self.sums = torch.zeros(2, dtype=torch.float64, device=self.device)  # loss, correct
        self.samples = self.targets = 0
        self.classes = True
        self.reported = self.seconds

    def advance(self) -> None:
        """Take one step."""
        started = time.perf_counter()
        x, y = self._batch()
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            output = self.model(x)
            loss = self.loss(output, y)
        self.step += 1
        if loss.dim():
            raise ValueError(f"loss: expected a scalar, got shape {tuple(loss.shape)}")
        bad = ~torch.isfinite(loss.detach()) & (self.first_bad == 0)
        self.first_bad = torch.where(bad, self.step, self.first_bad)
        if self.device.type == "cpu":
            self._check_finite()
        self.scaler.scale(loss).backward()
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        skipped = self.scaler.get_scale() < scale  # float16 gradients overflowed
        if self.scheduler is not None and not skipped:
            self.scheduler.step()
        right = count_correct(output, y)
        self.classes = right is not None
        self.sums += torch.stack(
            [loss.detach().double() * len(x), (right if self.classes else loss.detach()).double()]
        )
        self.samples += len(x)
        self.targets += y.numel()
        self.seconds += time.perf_counter() - started

    def report(self, test) -> None:
        """Add a row and start the sums anew."""
        started = time.perf_counter()
        self._check_finite()
        loss, correct = self.sums.tolist()  # on a GPU this waits for the steps
        self.seconds += time.perf_counter() - started
        row = {"step": self.step, "loss": loss / self.samples}
        if self.classes:
            row["accuracy"] = correct / self.targets
        if test is not None:
            with self._autocast():
                values = evaluate(self.model, test, self.loss)
            row |= {f"test_{name}": value for name, value in values.items()}
        row["seconds"] = self.seconds
        y = self.batches.tensors[1]
        tokens = y.dim() == 2 and not y.is_floating_point()
        elapsed = self.seconds - self.reported
        rate = (self.targets if tokens else self.samples) / elapsed if elapsed else math.nan
        row["tokens_per_second" if tokens else "samples_per_second"] = rate
        self.rows.append(row)
        self._forget()

    def _batch(self):
        try:
            return next(self.batches)
        except StopIteration:
            raise ValueError(
                f"data: the batches end after step {self.step}; take fewer steps, or more epochs"
            ) from None

    def _autocast(self):
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def _check_finite(self) -> None:
        if step := int(self.first_bad):
            lr = ", ".join(f"{float(group['lr']):g}" for group in self.optimizer.param_groups)
            raise FloatingPointError(
                f"the loss is NaN or infinite at step {step} (lr={lr}): try a smaller lr, a "
                "warm-up, clip_norm=1.0 or precision='float32'; look for bad values in the data"
            )

    PARTS = ("model", "optimizer", "scheduler", "scaler", "batches")
    NUMBERS = ("step", "rows", "seconds", "sums", "samples", "targets", "classes", "reported")

    def _identity(self) -> dict:
        """What must agree between a checkpoint and the run that goes on from it."""
        scheduled = set() if self.scheduler is None else {"betas", "momentum", "max_lr", "min_lr"}
        options = {}
        for number, group in enumerate(self.optimizer.param_groups):
            for name, value in {**group, "lr": group.get("initial_lr", group["lr"])}.items():
                value = float(value) if isinstance(value, Tensor) else value
                plain = isinstance(value, (bool, int, float, str, tuple, type(None)))
                if plain and name not in {"params", "param_names", "initial_lr", *scheduled}:
                    options[f"{name} of group {number}"] = value
        state = self.model.state_dict()
        return {
            "batch_size": self.batches.batch_size,
            "samples": self.batches.n,
            "optimizer": type(self.optimizer).__name__,
            "scheduler": None if self.scheduler is None else type(self.scheduler).__name__,
            "shapes": {k: tuple(v.shape) for k, v in state.items() if isinstance(v, Tensor)},
            "options": options,
        }

    def save(self, path: Path) -> None:
        """Write the run to a file, which then holds all of it or what it held before."""
        self._check_finite()
        content = {name: getattr(self, name) for name in self.NUMBERS}
        for name in self.PARTS:
            part = getattr(self, name)
            content[name] = None if part is None else part.state_dict()
        content |= {"format": FORMAT, "identity": self.identity, "random": torch.get_rng_state()}
        if self.device.type == "cuda":
            content["random_cuda"] = torch.cuda.get_rng_state(self.device)
        with replacing(path) as file:
            torch.save(content, file)

    def load(self, path: Path, steps: int) -> None:
        """Go on from a file."""
        content = _read(path, self.device)
        for name, now in self.identity.items():
            then = content["identity"].get(name)
            if then != now:
                if isinstance(now, dict):  # show what differs, not everything
                    keys = [k for k in {**then, **now} if then.get(k) != now.get(k)][:3]
                    then, now = ({k: d.get(k) for k in keys} for d in (then, now))
                raise ValueError(
                    f"checkpoint: {path} is of another run: {name} was {then!r} and is {now!r}; "
                    "use the settings it was made with, or another path"
                )
        if content["step"] > steps:
            raise ValueError(
                f"steps: {steps}, but checkpoint {path} is {content['step']} steps into the run"
            )
        for name in self.PARTS:
            if getattr(self, name) is not None:
                getattr(self, name).load_state_dict(content[name])
        for name in self.NUMBERS:
            setattr(self, name, content[name])
        torch.set_rng_state(content["random"].cpu())
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(content["random_cuda"].cpu(), self.device)


def _read(path: Path, device) -> dict:
    """Return the content of a checkpoint; ValueError naming the file if it is not a whole one."""
    try:
        with zipfile.ZipFile(path) as archive:
            if name := archive.testzip():
                raise zipfile.BadZipFile(f"{name} fails its checksum")
        content = torch.load(path, map_location=device, weights_only=True)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, expected {FORMAT}")
    except (
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        RuntimeError,
        LookupError,
        TypeError,
        ValueError,
    ) as e:
        raise ValueError(
            f"checkpoint: {path} is damaged or no checkpoint ({e}); delete it to start anew"
        ) from e
    return content


def _batches(data, batch_size, seed, device) -> Batches:
    if isinstance(data, Batches):  # a copy, so that the caller's stay where they are
        if len(data.tensors) != 2:
            raise ValueError(f"data: expected batches of x and y, got {len(data.tensors)} tensors")
        tensors = Dataset(*(tensor.to(device) for tensor in data.tensors))
        batches = Batches(
            tensors, data.batch_size, mode=data.mode, epochs=data.epochs, drop_last=data.drop_last
        )
        batches.load_state_dict(data.state_dict())
        return batches
    data = to_device(data, device)
    check_batch_size(batch_size, len(data.x))
    return Batches(data, batch_size, seed=seed)
