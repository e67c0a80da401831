"""A training run between two steps: everything that one step needs and a checkpoint has to hold."""

import contextlib
import copy
import math
import time

import pandas as pd
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from companion.train import checkpoint, identity
from companion.train.arguments import made
from companion.train.evaluation import count_correct, evaluate, scalar

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Run:
    """The model, what steps it, and the sums of the next row of the history."""

    PARTS = ("model", "optimizer", "scheduler", "scaler", "batches")
    NUMBERS = ("step", "rows", "seconds", "loss_sum", "correct", "samples", "targets", "reported")

    def __init__(self, model, batches, optimizer, scheduler, loss, device, precision, clip_norm):
        self.model, self.batches, self.loss, self.device = model, batches, loss, device
        self.optimizer = made("optimizer", optimizer, torch.optim.Optimizer, model.parameters())
        owned = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        if owned.isdisjoint(id(p) for p in model.parameters()):
            raise ValueError("optimizer: holds none of the model's parameters")
        self.scheduler = None
        if scheduler is not None:
            self.scheduler = made("scheduler", scheduler, LRScheduler, self.optimizer)
            if isinstance(self.scheduler, ReduceLROnPlateau):
                raise ValueError("scheduler: ReduceLROnPlateau waits for a metric; none is given")
            if self.scheduler.optimizer is not self.optimizer:
                raise ValueError("scheduler: it moves another optimizer than the one given")
        dtype = PRECISIONS[precision]
        self.autocast = contextlib.nullcontext()
        if dtype is not None:
            self.autocast = torch.autocast(device.type, dtype=dtype)
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
        self.clip_norm = clip_norm
        self.step, self.rows, self.seconds = 0, [], 0.0
        self._forget()
        self.first_bad = torch.zeros((), dtype=torch.int64, device=device)  # step of a bad loss
        self.identity = None  # what `identify` says, if there is a checkpoint
        self.learns = False  # whether a gradient has reached the optimizer in this process

    def _forget(self) -> None:
        """Start the sums of a new row."""
        self.loss_sum, self.correct, self.samples, self.targets = 0.0, 0, 0, 0
        self.reported = self.seconds

    def advance(self) -> None:
        """Take one step."""
        started = time.perf_counter()
        x, y = next(self.batches)
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast:
            output = self.model(x)
            loss = scalar(self.loss, self.loss(output, y))
        value = self._finite(loss)
        right = count_correct(output, y)
        self._update(loss)
        self.loss_sum += value * len(x)
        if right is None:
            self.correct = None
        elif self.correct is not None:
            self.correct += right.item() if self.device.type == "cpu" else right
        self.samples += len(x)
        self.targets += y.numel()
        self.seconds += time.perf_counter() - started

    def _finite(self, loss):
        """Count the step; return the loss, a float on the CPU. A GPU is not waited for."""
        self.step += 1
        if self.device.type == "cpu":
            value = loss.item()
            if not math.isfinite(value):
                self._stop("the loss is", self.step)
            return value
        bad = ~torch.isfinite(loss.detach()) & (self.first_bad == 0)
        self.first_bad = torch.where(bad, self.step, self.first_bad)
        return loss.detach().double()

    def _update(self, loss) -> None:
        """Take the step that a loss asks for."""
        if not loss.requires_grad:
            raise ValueError(
                "loss: expected one that depends on parameters that require a gradient; is it "
                "detached, or the model frozen?"
            )
        scaled = self.scaler.is_enabled()
        (self.scaler.scale(loss) if scaled else loss).backward()
        if not self.learns:
            groups = self.optimizer.param_groups
            self.learns = any(p.grad is not None for group in groups for p in group["params"])
            if not self.learns:
                raise ValueError("loss: no parameter of the optimizer has a gradient from it")
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        skipped = False
        if scaled:
            before = self.scaler.get_scale()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            skipped = self.scaler.get_scale() < before  # float16 gradients overflowed
        else:
            self.optimizer.step()
        if self.scheduler is not None and not skipped:
            self.scheduler.step()

    def report(self, test) -> None:
        """Add a row and start the sums anew."""
        started = time.perf_counter()
        self._check_loss()
        loss = float(self.loss_sum)  # on a GPU this waits for the steps
        self.seconds += time.perf_counter() - started
        row = {"step": self.step, "loss": loss / self.samples}
        if self.correct is not None:
            row["accuracy"] = float(self.correct) / self.targets
        if test is not None:
            with self.autocast:
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

    def history(self) -> pd.DataFrame:
        """Return the rows so far."""
        return pd.DataFrame(self.rows, columns=None if self.rows else ["step", "loss", "seconds"])

    def _check_loss(self) -> None:
        if step := int(self.first_bad):
            self._stop("the loss is", step)

    def check(self) -> None:
        """Raise unless the losses so far and the trained parameters are finite."""
        self._check_loss()
        for name, p in self.model.named_parameters():
            if p.requires_grad and not bool(p.isfinite().all()):
                self._stop(f"a finite loss had a gradient that was not: {name} is", self.step)

    def _stop(self, what: str, step: int):
        lr = ", ".join(f"{float(group['lr']):g}" for group in self.optimizer.param_groups)
        raise FloatingPointError(
            f"{what} NaN or infinite at step {step} (lr={lr}): try a smaller lr, a "
            "warm-up, clip_norm=1.0 or precision='float32'; look for bad values in the data"
        )

    # -- checkpoints -------------------------------------------------------------------------------

    def content(self) -> dict:
        """Return what a checkpoint holds of the run."""
        content = {name: getattr(self, name) for name in self.NUMBERS}
        content["loss_sum"] = float(self.loss_sum)
        content["correct"] = None if self.correct is None else int(self.correct)
        for name in self.PARTS:
            part = getattr(self, name)
            content[name] = None if part is None else part.state_dict()
        content["random"] = torch.get_rng_state()
        if self.device.type == "cuda":
            content["random_cuda"] = torch.cuda.get_rng_state(self.device)
        return content

    def identify(self, settings: dict, test) -> dict:
        """Return what must agree between a checkpoint and the run that goes on from it.

        It is that of a run which has not begun: take it before the first step.
        """
        state = self.model.state_dict()
        tensors = {k: v for k, v in state.items() if isinstance(v, torch.Tensor)}
        trained = frozenset(map(id, [self.optimizer, *self.model.modules()]))
        names = {id(p): name for name, p in self.model.named_parameters()}
        groups = [[names.get(id(p)) for p in g["params"]] for g in self.optimizer.param_groups]
        if any(None in group for group in groups):
            raise ValueError(
                "checkpoint: the optimizer holds parameters that are not the model's, and only the"
                " model's are saved; make them the model's, or leave out checkpoint"
            )
        return {
            **settings,
            "batch_size": self.batches.batch_size,
            "samples": self.batches.n,
            "optimizer": type(self.optimizer).__name__,
            "scheduler": self.scheduler and type(self.scheduler).__name__,
            "shapes": {name: tuple(z.shape) for name, z in tensors.items()},
            "dtypes": {name: str(z.dtype) for name, z in tensors.items()},
            "options": identity.options(self.optimizer, self.scheduler),
            "optimizer_module": type(self.optimizer).__module__,
            "parameters": {f"group {i}": tuple(group) for i, group in enumerate(groups)},
            "frozen": tuple(k for k, p in self.model.named_parameters() if not p.requires_grad),
            "scheduler_settings": self.scheduler and identity.describe(self.scheduler, trained),
            "loss": identity.describe(self.loss, trained),
            "model": identity.architecture(self.model),
            "batches": identity.describe(self.batches.state_dict()),
            "data": identity.digest(*self.batches.tensors),
            "test": None if test is None else identity.digest(*test),
        }

    def save(self, path) -> None:
        """Write the run to a file, unless it holds NaN."""
        self.check()
        checkpoint.write(path, {**self.content(), "identity": self.identity})

    def restore(self, content: dict) -> None:
        """Go on from the content of a checkpoint; after an error the run is what it was."""
        parts = {name: getattr(self, name) for name in self.PARTS}
        parts = {name: part for name, part in parts.items() if part is not None}
        before = {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}
        try:
            for name, part in parts.items():
                part.load_state_dict(content[name])
        except Exception:
            for name, part in parts.items():
                part.load_state_dict(before[name])
            raise
        for name in self.NUMBERS:
            setattr(self, name, content[name])
        torch.set_rng_state(content["random"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(content["random_cuda"], self.device)
