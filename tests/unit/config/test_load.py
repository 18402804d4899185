import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralforge.config.describe import rows, to_yaml
from neuralforge.config.layers import read_environment
from neuralforge.config.load import ConfigError, load_config, preset_names, preset_text
from neuralforge.config.schema import SECTIONS, TrainConfig

GUIDE = """\
model:
  base: "codet5-770m"
  adapter_name: "my-team-style"
lora:
  rank: 8
  alpha: 16
  dropout: 0.1
  target_modules:
    - q_proj
    - v_proj
training:
  batch_size: 8
  learning_rate: 0.0001
  epochs: 3
  warmup_steps: 100
  gradient_checkpointing: true
  fp16: true
dataset:
  train_file: "train.jsonl"
  eval_file: "eval.jsonl"
  max_length: 512
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path | None = None, **options: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, **options)  # type: ignore[arg-type]
    return [str(problem) for problem in caught.value.problems]


def test_the_guides_file_is_understood(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GUIDE)).config
    assert config.model.base == "codet5-770m"
    assert config.lora.target_modules == ("q_proj", "v_proj")
    assert config.training.precision == "fp16"
    assert config.training.warmup_steps == 100
    assert config.dataset.train_file == Path("train.jsonl")


def test_each_layer_overrides_the_one_before_and_every_origin_is_kept(tmp_path: Path) -> None:
    path = written(tmp_path, "lora:\n  rank: 4\ntraining:\n  seed: 7\n")
    resolved = load_config(
        path,
        preset="low-memory",
        environment={"NEURALFORGE_TRAINING__SEED": "8", "NEURALFORGE_HOME": "/x", "PATH": "/bin"},
        flags={"training.batch_size": ("--batch-size", 3)},
    )
    config = resolved.config
    assert (config.lora.rank, config.training.seed, config.training.batch_size) == (4, 8, 3)
    assert str(resolved.origin("lora.rank")) == f"{path}:2"
    assert str(resolved.origin("training.seed")) == "NEURALFORGE_TRAINING__SEED"
    assert str(resolved.origin("training.batch_size")) == "--batch-size"
    assert str(resolved.origin("training.low_memory")).startswith("preset low-memory:")
    assert str(resolved.origin("training.epochs")) == "default"


def test_alpha_follows_the_rank_unless_given() -> None:
    assert load_config(flags={"lora.rank": ("--rank", 4)}).config.lora.alpha == 8
    little = {"training.low_memory": ("--low-memory", True)}
    small = load_config(flags=little).config.lora
    assert (small.rank, small.alpha) == (8, 16)
    assert load_config(flags=little | {"lora.rank": ("--rank", 32)}).config.lora.rank == 32
    assert load_config(environment={"NEURALFORGE_TRAINING__LOW_MEMORY": "off"}).config.lora.rank == 16
    both = {"lora.rank": ("--rank", 4), "lora.alpha": ("--alpha", 3)}
    assert load_config(flags=both).config.lora.alpha == 3


def test_what_was_given_can_be_told_from_what_was_left(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "training:\n  epochs: 3\n")).config
    assert config.training.model_fields_set == {"epochs"}


def test_all_problems_are_named_at_once_with_their_lines(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "lora:\n  alhpa: 16\n  rank: 0\n  rank: 4\ntrainig:\n  epochs: 2\ntraining:\n  scheduler: cosin\n  rank: 8\n",
    )
    found = problems_of(path)
    assert f"{path}:2: lora.alhpa: is not a known key (did you mean lora.alpha?)" in found
    assert any(text.startswith(f"{path}:3: lora.rank: should be greater than or equal to 1") for text in found)
    assert f"{path}:4: lora.rank: is given twice (first on line 3)" in found
    assert any("trainig.epochs" in text and "did you mean training.epochs?" in text for text in found)
    assert any(text.startswith(f"{path}:8: training.scheduler") and "did you mean cosine?" in text for text in found)
    assert any("training.rank" in text and "did you mean lora.rank?" in text for text in found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("optimization:\n  ewc_lambda: 0.5\n", "neuralforge learn"),
        ("optimization:\n  replay_buffer_size: 10\n", "neuralforge learn"),
        ("training:\n  focus_on: [annotations]\n", "not in this version"),
        ("dataset:\n  features: [ownership]\n", "not in this version"),
        ("lora: 8\n", "is a section"),
        ("- a\n- b\n", "should hold sections"),
        ("lora:\n  rank: true\n", "not true or false"),
        ("lora:\n  rank: 8.5\n", "integer"),
        ("lora:\n  dropout: .nan\n", "dropout"),
        ("training:\n  learning_rate: .inf\n", "learning_rate"),
        ("lora:\n  rank: !!python/object/apply:os.system [ls]\n", "not allowed"),
        ("lora: {rank: 8\n", "not valid YAML"),
        ("model:\n  adapter_name: ../../etc\n", "such as etc"),
        ("model:\n  adapter_name: MyStyle\n", "such as mystyle"),
        ("model:\n  adapter_name: 12\n", "put quotes around it"),
        ('dataset:\n  from_git: "a\\nb"\n', "control characters"),
        ("run:\n  budget: soon\n", "such as 90s, 5m or 1h30m"),
        ("training:\n  warmup_steps: 5\n  warmup_ratio: 0.1\n", "keep one"),
        ("training:\n  fp16: true\n  bf16: true\n", "keep one"),
        ("training:\n  fp16: true\n  precision: fp32\n", "keep one"),
        ("lora:\n  target_modules: []\n", "all-linear"),
        ("lora:\n  layers: top\n", "upper-half"),
        ("training:\n  epochs:\n", "has no value"),
    ],
)
def test_one_problem(tmp_path: Path, text: str, reason: str) -> None:
    found = problems_of(written(tmp_path, text))
    assert len(found) == 1
    assert reason in found[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"lora: " + b"[" * 100_000, "nested too deeply"),
        (b"#" * 300_000, "larger than 256 KiB"),
        (
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(
                b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((n, n) + (n - 1,) * 9) for n in range(98, 108)
            ),
            "more than 10,000 values",
        ),
        (b"a: &a\n  b: *a\n", "nested too deeply"),
        (b"training:\n  \x00: 1\n", "not valid YAML"),
    ],
    ids=["utf-8", "deep", "large", "alias bomb", "circle", "nul"],
)
def test_hostile_files_are_refused_quickly(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert any(reason in text for text in problems_of(path))


def test_missing_file_and_unknown_preset_are_both_named(tmp_path: Path) -> None:
    found = problems_of(tmp_path / "none.yaml", preset="qiuck")
    assert len(found) == 2
    assert "did you mean quick?" in found[0]
    assert "No such file" in found[1]


def test_yaml_words_that_are_booleans_come_back_as_words(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "dataset:\n  fim: off\n")).config.dataset.fim == "off"
    assert load_config(written(tmp_path, "dataset:\n  fim: on\n")).config.dataset.fim == "on"


def test_a_bare_date_stays_text(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "dataset:\n  since: 2024-01-31\n")).config.dataset.since == "2024-01-31"


def test_second_spellings_have_one_home(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "dataset:\n  language: rust\ntraining:\n  bf16: true\n")).config
    assert config.dataset.languages == ("rust",)
    assert config.training.precision == "bf16"
    off = load_config(written(tmp_path, "training:\n  fp16: false\n")).config
    assert off.training.precision == "auto"


def test_a_flag_beats_the_second_spelling_of_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, "training:\n  fp16: true\n")
    assert load_config(path, flags={"training.bf16": ("--bf16", True)}).config.training.precision == "bf16"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1.5h", 5400), (" 2M ", 120), (45, 45)],
)
def test_times(text: object, seconds: float) -> None:
    assert load_config(flags={"run.budget": ("--budget", text)}).config.run.budget == seconds


@pytest.mark.parametrize("text", ["", "m", "-5m", "5m1h", "1e9", "inf", True, "5 minutes"])
def test_what_is_no_time(text: object) -> None:
    assert "--budget: run.budget" in problems_of(flags={"run.budget": ("--budget", text)})[0]


def test_environment_takes_only_our_variables_and_knows_no_others() -> None:
    layer = read_environment({"NEURALFORGE_LORA__RANK": "4", "NEURALFORGE_HOME": "x", "OTHER__THING": "y"})
    assert list(layer) == ["lora.rank"]
    found = problems_of(environment={"NEURALFORGE_LORA__RNAK": "4"})
    assert found == ["NEURALFORGE_LORA__RNAK: lora.rnak: is not a known key (did you mean lora.rank?)"]


def test_lists_from_one_word() -> None:
    given = {"NEURALFORGE_DATASET__LANGUAGES": "java, python,js", "NEURALFORGE_LORA__TARGET_MODULES": "q_proj,v_proj"}
    config = load_config(environment=given).config
    assert config.dataset.languages == ("java", "python", "js")
    assert config.lora.target_modules == ("q_proj", "v_proj")


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_valid_change_something_and_say_what_they_are_for(name: str) -> None:
    assert load_config(preset=name).config != TrainConfig()
    assert preset_text(name).startswith("# ")


def test_preset_names() -> None:
    expected = "balanced framework-patterns language-specialty low-memory personal-style quality quick team-conventions"
    assert preset_names() == expected.split()


def test_every_setting_is_described() -> None:
    described = list(rows(load_config()))
    assert [row.key for row in described] == [f"{s}.{n}" for s, kind in SECTIONS.items() for n in kind.model_fields]
    assert all(row.meaning for row in described)
    assert set(SECTIONS) == set(TrainConfig.model_fields)


WORDS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    rank=st.integers(1, 512),
    rate=st.floats(1e-9, 1),
    since=WORDS,
    # Commas part the words of a list in environment and flags, so a word cannot hold one there; in YAML it can.
    paths=st.lists(WORDS, max_size=3),
    layers=st.one_of(st.sampled_from(["auto", "all", "upper-half"]), st.integers(1, 1024)),
    fim=st.sampled_from(["auto", "on", "off"]),
    warmup=st.one_of(st.none(), st.integers(0, 1000)),
)
def test_what_is_written_loads_to_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    rank: int,
    rate: float,
    since: str,
    paths: list[str],
    layers: object,
    fim: str,
    warmup: int | None,
) -> None:
    config = TrainConfig.model_validate(
        {
            "lora": {"rank": rank, "layers": layers},
            "training": {"learning_rate": rate, "warmup_steps": warmup},
            "dataset": {"since": since, "paths": paths, "fim": fim},
        }
    )
    path = written(tmp_path_factory.mktemp("yaml"), to_yaml(config, comment="written by a test"))
    assert load_config(path).config == config


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "config.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with contextlib.suppress(ConfigError):
        load_config(path)


def test_yaml_output_is_plain(tmp_path: Path) -> None:
    plain = yaml.safe_load(to_yaml(load_config(preset="quick").config))
    assert plain["run"]["budget"] == 120.0
