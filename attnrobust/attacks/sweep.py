"""The sweep over epsilon: who falls where, one file for each epsilon, resumable.

Images are streamed from the records at each epsilon; only one row of numbers an image, and the few
sample images, stay in memory.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from attnrobust import config, task
from attnrobust.attacks import checks, judging, methods
from attnrobust.attacks import state as states
from attnrobust.attacks.checks import NORMS, TOLERANCE
from attnrobust.attacks.judging import Arrays
from attnrobust.attacks.loader import Attacked, Loader, attacked, sample_positions
from attnrobust.attacks.methods import target_of
from attnrobust.attacks.outputs import make
from attnrobust.attacks.pool import Pooled
from attnrobust.attacks.progress import Progress
from attnrobust.attacks.row import Attack
from attnrobust.data import inputs
from attnrobust.data.records import Dataset
from attnrobust.disk import runs
from attnrobust.errors import UserError
from attnrobust.models.replicas import Replicas

log = logging.getLogger("attnrobust")


class Sweep:
    """One attack on the test split at rising epsilons.

    In `carry` mode an image that fell at one epsilon counts as fallen, with that adversarial, at
    every larger one: the smaller ball lies inside the larger. So robust accuracy cannot rise, and
    only survivors are attacked. In `independent` mode every image is attacked at every epsilon.
    The sample images are attacked at every epsilon in both modes and, by attacks that can do so, in
    full, so that figures show each one.
    An image has fallen when its prediction is not its label; under `attack.target` when it is the
    target, and images of that class are left alone. A segmented image falls by degrees: it is
    attacked until its mean Dice is 0, and in `carry` mode the worst so far is kept, so that its
    Dice cannot rise.

    Args:
        experiment: Attack settings, data, seed.
        dataset: Records.
        replicas: The model.

    Raises:
        UserError: Settings, records and model do not go together.
    """

    def __init__(self, experiment: config.Experiment, dataset: Dataset, replicas: Replicas) -> None:
        checks.settings(experiment.attack)
        self.setting = methods.settled(experiment.attack)
        self.data = experiment.data
        self.dataset = dataset
        self.replicas = replicas
        self.batch_size = replicas.batch(self.setting.batch_size)
        self.row = methods.of_task(self.setting, task.name_of(len(replicas.model.output_shape)))
        checks.fits(replicas, dataset, self.data.image_size)
        self.target = target_of(self.setting, dataset.classes)
        aim = {} if self.target is None else {"target": self.target}
        self.attack = make(replicas, self.setting, experiment.seed, **aim)
        # For the samples, which would show less than it can do if they left at the boundary.
        self.in_full = judging.in_full(replicas, self.setting, experiment.seed, **aim)
        self.restarts = self._restarts()
        self.loader = Loader(dataset, self.data, self.batch_size)
        labels = inputs.labels(dataset, "test", self.data.limit, size=self.data.image_size)
        if not len(labels):
            raise UserError(f"{dataset.root}: no example in the test split")
        self.labels = labels
        self.samples = sample_positions(labels, self.setting.samples)

    @property
    def others(self) -> np.ndarray:
        """Which images the attack can do anything with (N,): of other classes than it aims at."""
        every = np.ones(len(self.labels), bool)
        return every if self.target is None else self.labels != self.target

    def _restarts(self) -> int:
        """Restarts that are worth their while."""
        same = not self.row.random or (self.row.starts and not self.setting.random_start)
        if self.setting.restarts > 1 and same:
            log.warning(
                "warning: %s starts at the image itself, so one start does for all %d",
                self.setting.name,
                self.setting.restarts,
            )
            return 1
        return self.setting.restarts

    def run(self, folder: Path) -> None:
        """Write `<attack>-<epsilon>.npz` for the clean condition (0) and for each epsilon.

        Each file holds, in record order: id, group, label, logits (N, K), or prediction (N, H, W)
        uint8 of segmented images, linf, l2 and l0 (N,)
        recomputed from the adversarials, queries (N,) (forward and gradient passes spent at this
        epsilon; the clean pass, that every file shares, not counted) and sample_id (S,),
        sample_image (S, H, W, 3) float32. The clean file also holds sample_mask (S, H, W), all
        False where the records hold no mask. Files that are there already are kept.

        Raises:
            UserError: The model's outputs are not finite, or probabilities.
        """
        reach = methods.reach(self.setting)
        if reach < 1:
            epsilon = self.setting.epsilons[-1]
            log.warning(
                "warning: %d steps of %.3g ε reach %.2f of the ball; robust accuracy will come out "
                "too high: take more attack.steps or larger ones (attack.rel_stepsize)",
                self.setting.steps,
                self.setting.stepsize(epsilon) / epsilon,
                reach,
            )
        for said in methods.departures(self.setting):
            log.info("%s: %s", self.setting.name, said)
        state: Arrays = {}
        for epsilon in (0.0, *self.setting.epsilons):
            path = folder / runs.attack_file(self.setting.name, epsilon)
            start = time.monotonic()
            done = path.exists()
            if done:
                state = states.load(path, self.labels, self.samples)
                log.info("ε %g: done before, kept", epsilon)
            elif not epsilon:
                state = states.clean(self.loader, self.replicas, self.labels, self.samples)
            elif self.row.kind == "minimal":
                state = self._within(folder, epsilon)
            else:
                state = self._attacked(state, epsilon)
            if not epsilon:
                right = task.right_in(state)
                gap = checks.gaps(state["logits"]) if "logits" in state else None
            if not done:
                runs.save_npz(path, **state)
                states.say(
                    state,
                    right,
                    setting=self.setting,
                    target=self.target,
                    epsilon=epsilon,
                    seconds=time.monotonic() - start,
                )
        if gap is not None:
            log.info(
                "logit gap without an attack: median %.3g, largest %.3g", np.median(gap), gap.max()
            )

    def _attacked(self, before: Arrays, epsilon: float) -> Arrays:
        """The state after this epsilon."""
        # Masks are the same at every epsilon: once on disk is enough.
        state = {name: array.copy() for name, array in before.items() if name != "sample_mask"}
        state["queries"][:] = 0
        anew = self.setting.mode == "independent"
        first: tuple[Attack, ...] = self.attack.first if isinstance(self.attack, Pooled) else ()
        for restart in range(self.restarts):
            todo = self._standing(state)
            if restart == 0:
                todo |= anew
                todo[self.samples] |= self.in_full is None
            todo &= self.others
            for attack in (*(first if restart == 0 else ()), self.attack):
                self._pass(state, todo, attack, epsilon, restart, anew=anew)
                anew = False
        if self.in_full:
            shown = np.isin(np.arange(len(self.labels)), self.samples)
            shown &= self.others
            self._pass(state, shown, self.in_full, epsilon, 0, anew=False)
        return state

    def _within(self, folder: Path, epsilon: float) -> Arrays:
        """The state at this epsilon of an attack that looks for the smallest perturbation.

        It runs once, with all restarts, into `<attack>-minimal.npz`; here, what it found counts
        where its distance is at most epsilon, and elsewhere the image stands as it was.
        """
        path = folder / f"{self.setting.name}-minimal.npz"
        clean = states.load(
            folder / runs.attack_file(self.setting.name, 0.0), self.labels, self.samples
        )
        clean.pop("sample_mask", None)
        if not path.exists():
            runs.save_npz(path, **self._minimal(clean))
        found = states.load(path, self.labels, self.samples)
        near = ~self._standing(found) & (found[self.row.norm] <= epsilon + TOLERANCE)
        state = {name: np.copy(array) for name, array in clean.items()}
        for name in (task.of_file(found).scores, *NORMS):
            state[name][near] = found[name][near]
        shown = near[self.samples]
        state["sample_image"][shown] = found["sample_image"][shown]
        if epsilon == self.setting.epsilons[0]:
            state["queries"] = found["queries"]  # the one run is paid for here
        return state

    def _minimal(self, clean: Arrays) -> Arrays:
        """The nearest adversarial of every image that was right; the images as they were else."""
        state = {name: np.copy(array) for name, array in clean.items()}
        todo = self._standing(clean) & self.others
        lost = np.zeros(len(todo), bool)
        for restart in range(self.restarts):
            with Progress("nearest", int(todo.sum())) as bar:
                for made, found in self._made(self.attack, todo, state, math.inf, restart):
                    distance = found[self.row.norm]
                    stands = self._standing(state)[made.positions]
                    nearer = stands | (distance < state[self.row.norm][made.positions])
                    fell = self._reached(found, made) == task.FALLEN
                    states.update(state, made, found, fell & nearer, self.samples)
                    lost[made.positions] |= ~fell & (distance > 0)
                    bar.update(len(made.positions))
        lost &= self._standing(state)
        if lost.any():
            log.warning(
                "warning: %s found an adversarial of %d images that is none when judged "
                "again; they count as robust",
                self.setting.name,
                lost.sum(),
            )
        return state

    def _pass(
        self,
        state: Arrays,
        todo: np.ndarray,
        attack: Attack,
        epsilon: float,
        restart: int,
        *,
        anew: bool,
    ) -> None:
        """Attack the images of `todo` once, keep what was reached, strike out what fell.

        Args:
            state: Changed in place.
            todo: Changed in place.
            attack: The attack or one of its first passes.
            epsilon: Radius.
            restart: From 0.
            anew: What the state holds is of another epsilon, and does not count.
        """
        name = attack.name if isinstance(attack, Pooled) else self.setting.name
        doubtful = np.zeros(len(todo), bool)
        with Progress(f"ε {epsilon:g} {name}", int(todo.sum())) as bar:
            for made, found in self._made(attack, todo, state, epsilon, restart):
                checks.in_ball(found[self.row.norm], epsilon)
                now = self._reached(found, made)
                # What fell before stays fallen; of a survivor the last attack is kept, too.
                before = states.reached(state, self.target, made.positions)
                states.update(state, made, found, (now >= before) | anew, self.samples)
                todo[made.positions[now == task.FALLEN]] = False
                if attack is self.attack:
                    doubtful[made.positions] = (now < task.FALLEN) & made.stopped
                bar.update(len(made.positions))
        if doubtful.any() and self.in_full:
            self._pass(state, doubtful, self.in_full, epsilon, restart, anew=False)
            todo &= self._standing(state)

    def _made(
        self, attack: Attack, todo: np.ndarray, state: Arrays, epsilon: float, restart: int
    ) -> Iterator[tuple[Attacked, Arrays]]:
        """What the attack makes of the images of `todo`, a batch at a time, and its measures."""
        items = self.loader.items(todo.copy(), state)
        for made in attacked(attack, items, self.batch_size, epsilon, restart):
            yield made, self._measured(made)

    def _measured(self, made: Attacked) -> Arrays:
        packed = isinstance(self.attack, Pooled)
        return judging.measured(self.replicas, made, self.batch_size, packed=packed)

    def _reached(self, found: Arrays, made: Attacked) -> np.ndarray:
        """What the attack has reached of these images."""
        return states.reached({**found, "label": self.labels[made.positions]}, self.target)

    def _standing(self, state: Arrays) -> np.ndarray:
        return states.standing(state, self.target)
