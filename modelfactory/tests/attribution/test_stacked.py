from __future__ import annotations

import numpy as np
import pytest
import torch
from peft import PeftModel

from modelfactory.attribution.gradients import log_probabilities, record_gradients
from modelfactory.attribution.stacked import StackedAdapters
from modelfactory.tests.attribution.conftest import example, tiny_peft_model


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    found = []
    for seed in range(3):
        model = tiny_peft_model()
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.normal_(std=0.2)
        model.save_pretrained(root / str(seed))
        found.append(root / str(seed))
    return found


def test_each_row_runs_under_its_own_adapter_as_peft_would_run_it(folders):
    answer = example(5, prompt=6, response=4)
    base = tiny_peft_model().unload()
    together = StackedAdapters(folders).log_probabilities(base, answer)
    for folder, found in zip(folders, together, strict=True):
        alone = PeftModel.from_pretrained(tiny_peft_model().unload(), folder)
        assert found == pytest.approx(log_probabilities(alone, [answer])[0], abs=1e-4)
    assert np.ptp(together) > 1e-2


def test_gradients_under_each_adapter_are_those_that_peft_gives(folders):
    answer = example(5, prompt=6, response=4)
    together = StackedAdapters(folders).gradients(tiny_peft_model().unload(), answer)
    for row, folder in enumerate(folders):
        alone = record_gradients(
            PeftModel.from_pretrained(tiny_peft_model().unload(), folder), [answer]
        )
        assert set(together.modules) == set(alone.modules)
        for name, expected in alone.modules.items():
            torch.testing.assert_close(
                together.modules[name][row], expected[0], rtol=1e-5, atol=1e-5
            )
        assert together.log_probabilities[row] == pytest.approx(
            float(alone.log_probabilities[0]), abs=1e-4
        )


def test_one_of_them_can_be_asked_alone_about_answers_of_different_lengths(folders):
    answers, base = [example(5, prompt=6, response=4), example(7)], tiny_peft_model().unload()
    adapters = StackedAdapters(folders)
    for number, folder in enumerate(folders):
        expected = PeftModel.from_pretrained(tiny_peft_model().unload(), folder)
        with adapters.alone(base, number):
            found = log_probabilities(base, answers)
        assert found == pytest.approx(log_probabilities(expected, answers), abs=1e-4)


def test_the_base_is_as_before_afterwards(folders):
    answer, base = example(5), tiny_peft_model().unload()
    before = log_probabilities(base, [answer])
    StackedAdapters(folders).log_probabilities(base, answer)
    assert log_probabilities(base, [answer]) == before


def test_adapters_of_different_shapes_are_refused(folders, tmp_path):
    from peft import LoraConfig, get_peft_model

    other = get_peft_model(tiny_peft_model().unload(), LoraConfig(r=2, target_modules="all-linear"))
    other.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="shape"):
        StackedAdapters([folders[0], tmp_path])
