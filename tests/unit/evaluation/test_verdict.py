"""From two score tables to an outcome, a sentence and JSON."""

import json

import numpy as np
import pytest

from neuralforge.data.records import Example
from neuralforge.evaluation.bootstrap import choose_units
from neuralforge.evaluation.compare import compare, tally
from neuralforge.evaluation.controls import compare_control
from neuralforge.evaluation.metrics import METRICS, ScoreTable
from neuralforge.evaluation.verdict import Verdict, decide, signed


def table(loss: float, examples: int = 60, *, spread: float = 0.05, seed: int = 0, measured: bool = True) -> ScoreTable:
    generator = np.random.default_rng(seed)
    tokens = np.random.default_rng(99).integers(10, 60, examples).astype(float)
    similarity = np.full(examples, np.nan)
    if measured:
        similarity[::4] = 0.5
    return ScoreTable(
        examples=np.arange(examples),
        nll=tokens * (loss + generator.normal(0, spread, examples)),
        tokens=tokens,
        correct=np.floor(tokens / 2),
        exact=np.zeros(examples),
        first_line=(np.arange(examples) % 5 == 0).astype(float),
        similarity=similarity,
    )


def examples(count: int = 60, commits: int = 12) -> list[Example]:
    return [Example("a", "b", commit=f"c{i % commits}", path=f"{i}.py") for i in range(count)]


def reach(base: ScoreTable, adapter: ScoreTable, commits: int = 12) -> Verdict:
    comparison = compare(base, adapter, choose_units(examples(len(base), commits)))
    return decide(
        comparison,
        examples=len(base),
        tokens=int(base.tokens.sum()),
        train_commits=("old", "newer"),
        held_out_commits=("new", "newest"),
    )


def test_a_lower_loss_helps() -> None:
    verdict = reach(table(2.5), table(2.2, seed=1))
    assert verdict.outcome == "helps"
    assert verdict.sentence.startswith("Helps: on 60 examples from 12 later commits the loss falls by 1")
    low, high = verdict.comparison.metrics["loss"].interval or (0, 0)
    assert low < verdict.comparison.metrics["loss"].change < high < 0


def test_a_higher_loss_hurts() -> None:
    verdict = reach(table(2.2), table(2.5, seed=1))
    assert verdict.outcome == "hurts"
    assert "rises by" in verdict.sentence


def test_noise_is_no_evidence() -> None:
    verdict = reach(table(2.2, spread=0.3), table(2.2, spread=0.3, seed=1))
    assert verdict.outcome == "no evidence"
    assert "zero included" in verdict.sentence


def test_the_same_model_twice_changes_nothing() -> None:
    verdict = reach(table(2.2), table(2.2))
    assert verdict.outcome == "no evidence"
    assert verdict.comparison.metrics["loss"].interval == (0.0, 0.0)


def test_too_few_examples_prove_nothing_however_clear_they_look() -> None:
    verdict = reach(table(3.0, 5), table(1.0, 5, seed=1), commits=5)
    assert verdict.outcome == "no evidence"
    assert "fewer than 6 examples" in verdict.sentence


def test_few_commits_are_said() -> None:
    verdict = reach(table(2.5), table(2.2, seed=1), commits=1)
    assert verdict.comparison.units.kind == "file"
    assert "from 1 later commit the" in verdict.sentence
    assert "draws 60 files instead" in verdict.sentence


def test_json_has_the_agreed_shape() -> None:
    record = json.loads(json.dumps(reach(table(2.5), table(2.2, seed=1)).to_json(), allow_nan=False))
    assert {"sentence", "commits", "examples", "metrics"} <= set(record)
    assert record["commits"] == {"train": ["old", "newer"], "held_out": ["new", "newest"]}
    assert record["examples"] == 60
    assert tuple(record["metrics"]) == METRICS
    for entry in record["metrics"].values():
        assert {"base", "adapter", "interval"} <= set(entry)
        assert entry["interval"][0] <= entry["adapter"] - entry["base"] + 1e-9
        assert entry["interval"][1] >= entry["adapter"] - entry["base"] - 1e-9
    assert record["metrics"]["edit_similarity"]["examples"] == 15
    assert record["metrics"]["loss"]["base"] == pytest.approx(2.5, abs=0.05)
    assert record["cluster"] == {"unit": "commit", "count": 12, "commits": 12}


def test_unmeasured_similarity_is_absent() -> None:
    record = reach(table(2.5, measured=False), table(2.2, measured=False)).to_json()
    assert "edit_similarity" not in record["metrics"]


def test_tables_of_different_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="same examples"):
        compare(table(2.0, 10), table(2.0, 11), choose_units(examples(10)))


def test_tally_counts_wins_for_the_second() -> None:
    base, adapter = table(2.5), table(2.2, seed=1)
    counted = tally(base, adapter)
    assert counted.wins > 50
    assert counted.wins + counted.ties + counted.losses == 60
    assert tally(base, base).ties == 60
    assert tally(adapter, base).losses == counted.wins


def test_the_control_takes_its_share() -> None:
    units = choose_units(examples())
    control = compare_control(table(2.6), table(2.5, seed=1), table(2.2, seed=2), units, examples=400)
    assert control.share == pytest.approx(0.75, abs=0.03)
    low, high = control.share_interval or (0, 0)
    assert low < 0.75 < high
    assert "of the improvement is this repository's own" in control.sentence
    json.dumps(control.to_json(), allow_nan=False)


def test_no_improvement_has_no_share() -> None:
    control = compare_control(table(2.2), table(2.3), table(2.4), choose_units(examples()), examples=9)
    assert control.share is None
    assert "no improvement to divide" in control.sentence


def test_a_control_as_good_as_the_adapter_is_said() -> None:
    units = choose_units(examples())
    control = compare_control(
        table(2.6, spread=0.2), table(2.2, spread=0.2, seed=1), table(2.2, spread=0.2, seed=2), units, examples=9
    )
    assert "not reliably apart" in control.sentence


def test_percentages_use_a_true_minus() -> None:
    assert signed(-0.145) == "−14.5 %"
    assert signed(0.02) == "+2.0 %"
