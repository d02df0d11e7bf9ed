from __future__ import annotations

from pathlib import Path

import pytest

from live_spec.config import ConfigError
from live_spec.nets.recipe import load_recipe

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("train-*.toml")), ids=lambda path: path.stem)
def test_recipes_in_the_repository_load(path):
    assert load_recipe(path).passes == 100


def test_the_paper_recipe_is_the_papers():
    schedule = load_recipe(CONFIGS / "train-paper.toml").training
    assert (schedule.epochs, schedule.batch, schedule.learning_rate, schedule.adam_eps) == (60, 64, 5e-4, 1e-8)
    assert (schedule.plateau_mae, schedule.plateau_epochs, schedule.plateau_factor) == (5e-5, 2, 0.5)
    assert (schedule.min_learning_rate, schedule.l2) == (1e-8, 5e-9)


def test_every_mistake_of_a_recipe_is_told(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('name = "x"\ncolour = 1\n[training]\nbatch = 0\nepoch = 3\n[observing]\nsnr = [300, 20]\n')
    with pytest.raises(ConfigError, match="4 problems") as caught:
        load_recipe(path)
    for words in (
        "colour: unknown key",
        "training.batch: Input should be greater",
        "training.epoch: unknown key; did you mean 'epochs'?",
        "two rising numbers",
    ):
        assert words in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(tmp_path / "none.toml")
    path.write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_recipe(path)
    path.write_text('name = "x"\n[variance]\nepochs = 3\n')
    with pytest.raises(ConfigError, match="variance_only belongs"):
        load_recipe(path)
