"""Experiments by name: variants of others, the list, and the one command that runs them all."""

from __future__ import annotations

import dataclasses
import runpy
import sys

import pytest

import experiments
from attnrobust import config
from attnrobust.errors import UserError
from attnrobust.stages.context import Context
from experiments.__main__ import main
from experiments.variants import Variant, made

BASE = config.Experiment(name="base", data=config.Data("any", image_size=32))
TABLE = {
    "plain": Variant("", BASE),
    "long": Variant("", "plain", ("training.epochs=3", "attack.epsilons=1/255,2/255")),
    "longer": Variant("", "long", ("training.epochs=5",)),
}


def test_a_variant_is_its_base_but_for_its_settings_and_its_place() -> None:
    data = dataclasses.replace(BASE.data, dataset="skin")
    assert made(TABLE, "plain", "skin") == dataclasses.replace(BASE, name="plain", data=data)
    assert made(TABLE, "longer", "skin") == dataclasses.replace(
        BASE,
        name="longer",
        data=data,
        training=dataclasses.replace(BASE.training, epochs=5),
        attack=dataclasses.replace(BASE.attack, epsilons=(1 / 255, 2 / 255)),
    )


def test_a_setting_of_a_variant_that_there_is_not_is_named() -> None:
    with pytest.raises(UserError, match="no field 'epoch' in training"):
        made({"a": Variant("", BASE, ("training.epoch=3",))}, "a", "skin")


@pytest.mark.parametrize("ask", [experiments.load, experiments.about])
def test_a_name_that_is_nearly_known_is_told_what_it_may_be(ask) -> None:
    with pytest.raises(
        UserError, match=r"no experiment 'eyepacs\.wu_basline'; did you mean eyepacs\.wu_baseline"
    ):
        ask("eyepacs.wu_basline")


def test_a_variant_says_its_own_and_what_all_of_its_module_share() -> None:
    own, _, shared = experiments.about("eyepacs.wu_corrupted_1_3").partition("\n\nWu, ")
    assert own.startswith("The network of wu_baseline, trained on images that were corrupted once")
    assert "82.6 % accuracy, 50.0 % balanced" in own
    assert "--out tfrecords/shards/eyepacs_1_3 --levels 1-3 --splits train" in own
    assert "Five steps\nare weak" in shared
    assert "python -m experiments eyepacs.wu_corrupted_1_3 train predict attack" in shared
    assert "NAME" not in own + shared


def test_the_command_alone_lists_all_of_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["experiments"])
    monkeypatch.delitem(sys.modules, "experiments.__main__")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("experiments", run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert ended.value.code == 0
    names = [n for n, line in enumerate(lines) if line.strip() in experiments.known()]
    assert [lines[n].strip() for n in names] == experiments.known()
    assert [lines[n + 1].strip() for n in names] == [
        experiments.about(name).splitlines()[0] for name in experiments.known()
    ]
    assert "covid_cxr" in lines


def test_a_name_and_stages_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Context, list[str]]] = []
    monkeypatch.setattr("attnrobust.run.run_stages", lambda *given: seen.append(given))
    assert main(["eyepacs.balance_focal", "train", "--seed", "3", "--set", "name=mine"]) == 0
    ((context, stages),) = seen
    assert stages == ["train"]
    focal = experiments.load("eyepacs.balance_focal")
    assert context.run.experiment == dataclasses.replace(focal, name="mine", seed=3)
    assert context.again == ["eyepacs.balance_focal", "--set", "name=mine"]


def test_help_behind_a_name_says_what_it_claims(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["eyepacs.balance_focal", "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert said.startswith("usage: python -m experiments eyepacs.balance_focal ")
    assert experiments.about("eyepacs.balance_focal") in said
    assert "--seed SEED" in said


def test_an_unknown_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eyepacs.balance_focl", "train"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(
        "error: no experiment 'eyepacs.balance_focl'; did you mean eyepacs.balance_focal"
    )
    assert said.err.count("\n") == 1
