"""What a model is shown of an example, and on which of its tokens it learns."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuralforge.data.records import Example
from neuralforge.models.base import BaseModel
from neuralforge.tokens.encoding import OPENING, Encoded, EncodingReport, encode, encode_for_training, group_of, heal
from tests.tiny import tiny_base

PLAIN, FIM, PAIRS = tiny_base("llama"), tiny_base("llama", fim=True), tiny_base("t5")
FILE = "".join(f"def f{n}(a):\n    total = a + {n}\n    return total\n\n" for n in range(12))


def text(base: BaseModel, ids: Sequence[int]) -> str:
    return str(base.tokenizer.decode(list(ids), skip_special_tokens=False))


def learned(base: BaseModel, one: Encoded) -> str:
    return text(base, one.ids[one.loss])


def only(example: Example, base: BaseModel = PLAIN, **options: object) -> Encoded:
    (one,) = encode([example], base, max_length=256, **options)  # type: ignore[arg-type]
    return one


@pytest.mark.parametrize(
    ("prefix", "completion", "kept", "given"),
    [
        ("def f():\n    ", "return 1\n", "def f():", "\n    return 1\n"),
        ("a =", " 1\n", "a =", " 1\n"),
        ("\n\t \n", "x", "", "\n\t \nx"),
        ("", "x", "", "x"),
    ],
)
def test_blanks_at_the_end_of_the_prefix_belong_to_the_completion(
    prefix: str, completion: str, kept: str, given: str
) -> None:
    assert heal(prefix, completion) == (kept, given)


def test_loss_lies_exactly_on_the_healed_completion() -> None:
    one = only(Example("import os\n\ndef f():\n    ", "return os.name\n", suffix="\n\nprint(f())\n"))
    assert text(PLAIN, one.ids) == "import os\n\ndef f():\n    return os.name\n"
    assert learned(PLAIN, one) == "\n    return os.name\n"
    first = int(one.loss.argmax())
    assert one.loss[first:].all()
    assert one.supervised == len(one.ids) - first


def test_without_a_prefix_the_first_token_has_nothing_to_be_predicted_from() -> None:
    one = only(Example("", "x = 1\ny = 2\n", kind="text"))
    assert text(PLAIN, one.ids) == "x = 1\ny = 2\n"
    assert not one.loss[0]
    assert one.loss[1:].all()


def test_a_long_context_is_clipped_at_its_far_end_and_counted() -> None:
    report = EncodingReport()
    example = Example(FILE, "    return 7\n")
    (one,) = encode([example], PLAIN, max_length=40, report=report)
    whole = FILE.rstrip() + "\n\n" + "    return 7\n"
    assert len(one.ids) == 40
    assert whole.endswith(text(PLAIN, one.ids))
    assert (report.clipped_contexts, report.too_long) == (1, 0)


def test_context_that_is_cut_before_it_is_tokenised_is_counted_too() -> None:
    report = EncodingReport()
    (one,) = encode([Example("y = 1\n" + "x" * 5000 + "\nz =", " 3\n")], PLAIN, max_length=64, report=report)
    assert text(PLAIN, one.ids).endswith("z = 3\n")
    assert report.clipped_contexts == 1


def test_a_completion_that_does_not_fit_is_left_out_and_counted() -> None:
    report = EncodingReport()
    kept = encode([Example("a", FILE), Example("a =", " 1\n")], PLAIN, max_length=40, report=report)
    assert [one.example for one in kept] == [1]
    assert report.too_long == 1


def test_nothing_to_learn_is_counted_and_not_encoded() -> None:
    report = EncodingReport()
    assert encode([Example("a = 1", "")], PLAIN, max_length=40, report=report) == []
    assert report.too_long == 1


def test_fill_in_the_middle_is_prefix_suffix_middle() -> None:
    markers = FIM.fim
    assert markers is not None
    one = only(Example("def f():\n    ", "return 1\n", suffix="\nprint(f())\n"), FIM, fim=True)
    ids = one.ids.tolist()
    at = [ids.index(marker) for marker in (markers.prefix, markers.suffix, markers.middle)]
    assert at[0] == 0
    assert at == sorted(at)
    assert text(FIM, ids[1 : at[1]]) == "def f():\n    "
    assert text(FIM, ids[at[1] + 1 : at[2]]) == "\nprint(f())\n"
    assert learned(FIM, one) == "return 1\n"


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_fill_in_the_middle_is_shown_at_its_rate_and_only_where_there_is_a_suffix(rate: float) -> None:
    examples = [Example("a =", f" {n}\n", suffix="b = 2\n" if n % 2 else "") for n in range(200)]
    one, again = (encode(examples, FIM, max_length=64, fim=True, fim_rate=rate, seed=3) for _ in range(2))
    assert all((a.ids == b.ids).all() for a, b in zip(one, again, strict=True))
    assert FIM.fim is not None
    shown = [FIM.fim.middle in item.ids for item in one]
    assert not any(shown[::2])
    assert sum(shown[1::2]) == pytest.approx(100 * rate, abs=20)


def test_clipped_fill_in_the_middle_keeps_what_is_near_the_hole() -> None:
    report = EncodingReport()
    example = Example(FILE + "def g():\n    ", "return 1\n", suffix="\nprint(g())\n" + FILE)
    (one,) = encode([example], FIM, max_length=64, fim=True, report=report)
    assert FIM.fim is not None
    ids = one.ids.tolist()
    assert len(ids) == 64
    cut, middle = ids.index(FIM.fim.suffix), ids.index(FIM.fim.middle)
    assert example.prefix.endswith(text(FIM, ids[1:cut]))
    assert example.suffix.startswith(text(FIM, ids[cut + 1 : middle]))
    assert report.clipped_contexts == 1


def test_an_encoder_decoder_gets_the_hole_as_its_first_sentinel() -> None:
    one = only(Example("def f():\n    ", "return 1\n", suffix="print(f())\n"), PAIRS)
    source, target = one.ids[: one.source].tolist(), one.ids[one.source :].tolist()
    assert text(PAIRS, source) == "def f():\n    <extra_id_0>print(f())\n<eos>"
    assert text(PAIRS, target) == "return 1\n<eos>"
    assert one.loss.tolist() == [False] * len(source) + [True] * len(target)


def test_an_encoder_decoder_without_a_suffix_continues_its_source() -> None:
    one = only(Example("translate: a", "b"), PAIRS)
    assert text(PAIRS, one.ids[: one.source]) == "translate: a<eos>"


@pytest.mark.parametrize(("kind", "ends"), [("chat", True), ("instruction", True), ("hunk", False), ("pair", False)])
def test_answers_end_and_edits_go_on(kind: str, ends: bool) -> None:
    one = only(Example("Q: 1 + 1\nA:", " 2", kind=kind))
    assert (one.ids[-1] == PLAIN.tokenizer.eos_token_id) == ends
    assert one.loss[-1]


def test_the_group_is_the_commit_else_the_path_else_the_example() -> None:
    assert group_of(Example("", "x", commit="c", path="p"), 3) == "c"
    assert group_of(Example("", "x", path="p"), 3) == "p"
    assert group_of(Example("", "x"), 3) == "example 3"


WORDS = st.text(alphabet=st.sampled_from("ab =\n\t():é🎈"), max_size=60)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(WORDS, WORDS, WORDS, st.sampled_from(["hunk", "chat"])), max_size=6),
    st.integers(4, 48),
    st.sampled_from([PLAIN, FIM, PAIRS]),
)
def test_every_example_fits_or_is_counted(
    rows: list[tuple[str, str, str, str]], max_length: int, base: BaseModel
) -> None:
    examples = [Example(prefix, completion, suffix, kind) for prefix, completion, suffix, kind in rows]
    for run in (encode, encode_for_training):
        report = EncodingReport()
        made = run(examples, base, max_length=max_length, fim=True, report=report)
        assert len(made) + report.too_long == len(examples)
        assert [one.example for one in made] == sorted({one.example for one in made})
        for one in made:
            assert len(one.ids) == len(one.loss) <= max_length
            assert one.supervised > 0
            assert one.source > 0 or not one.loss[0]
            seen = learned(base, one).replace("<eos>", "").lstrip("\ufffd")  # half a letter may be context
            assert (examples[one.example].prefix + examples[one.example].completion).endswith(seen)


def hunks(
    spans: Sequence[tuple[int, int]], content: str = FILE, commit: str = "c1", path: str = "a.py"
) -> list[Example]:
    return [
        Example(content[:start], content[start:end], content[end:], "hunk", path=path, offset=start, commit=commit)
        for start, end in spans
    ]


def line(number: int) -> int:
    return len("".join(FILE.splitlines(keepends=True)[:number]))


def test_neighbours_in_one_file_share_a_sequence_that_reads_like_the_file() -> None:
    examples = hunks([(line(1), line(2)), (line(5), line(7)), (line(10), line(11))])
    report = EncodingReport()
    (one,) = encode_for_training(examples, PLAIN, max_length=256, completion_only_loss=True, report=report)
    assert text(PLAIN, one.ids) == FILE[: line(11)]
    assert report.merged == 3
    assert learned(PLAIN, one).split() == "".join(example.completion for example in examples).split()


@pytest.mark.parametrize(
    "content", ["a = 1\nb = 2\n\nc = 3\nd = 4\n", "x = [\n    1,\n\n\n    2,\n]\n"], ids=["blank line", "indented"]
)
def test_completions_with_only_blanks_between_them_are_not_doubled(content: str) -> None:
    lines = content.splitlines(keepends=True)
    ends = [len("".join(lines[: n + 1])) for n in range(len(lines))]
    last = len(lines) - 1
    spans = [(ends[0], ends[1]), (ends[last - 2], ends[last - 1])]
    (one,) = encode_for_training(hunks(spans, content), PLAIN, max_length=256)
    assert text(PLAIN, one.ids) == content[: spans[1][1]]


def test_adjoining_completions_are_not_doubled() -> None:
    examples = hunks([(line(1), line(2)), (line(2), line(3))])
    (one,) = encode_for_training(examples, PLAIN, max_length=256)
    assert text(PLAIN, one.ids) == FILE[: line(3)]


@pytest.mark.parametrize("other", ["commit", "path"])
def test_examples_of_another_file_or_commit_stay_apart(other: str) -> None:
    elsewhere = hunks([(line(5), line(6))], **{other: "other"})  # type: ignore[arg-type]
    assert len(encode_for_training([*hunks([(line(1), line(2))]), *elsewhere], PLAIN, max_length=256)) == 2


def test_text_that_does_not_agree_is_never_joined() -> None:
    first, second = hunks([(line(1), line(2)), (line(5), line(6))])
    second = replace(second, prefix=second.prefix.replace("total", "other"))
    assert len(encode_for_training([first, second], PLAIN, max_length=256)) == 2


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 47), min_size=2, max_size=16, unique=True), st.integers(24, 200))
def test_every_completion_is_learned_exactly_once(numbers: list[int], max_length: int) -> None:
    cuts = sorted(numbers)
    spans = [(line(a), line(b)) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    examples = hunks(spans)
    report = EncodingReport()
    made = encode_for_training(examples, PLAIN, max_length=max_length, completion_only_loss=True, report=report)
    assert all(len(one.ids) <= max_length for one in made)
    assert all(text(PLAIN, one.ids) in FILE for one in made)
    if not report.too_long:
        visible = "".join("".join(learned(PLAIN, one).split()) for one in made)
        first = made[0]
        unseen = "" if first.loss.argmax() > 1 or cuts[0] > 0 else text(PLAIN, first.ids[:1])
        assert "".join(unseen.split()) + visible == "".join("".join(e.completion.split()) for e in examples)


@pytest.mark.parametrize("kind", ["hunk", "definition", "file"])
def test_the_context_of_mined_code_is_learned_too_after_its_first_tokens(kind: str) -> None:
    (example,) = hunks([(line(10), line(11))])
    example = replace(example, kind=kind)
    (alone,) = encode_for_training([example], PLAIN, max_length=256, completion_only_loss=True)
    (whole,) = encode_for_training([example], PLAIN, max_length=256)
    assert whole.ids.tolist() == alone.ids.tolist()
    first = int(alone.loss.argmax())
    assert first > OPENING, "the example has too little context to tell"
    assert not whole.loss[:OPENING].any()
    assert whole.loss[OPENING:].all()


@pytest.mark.parametrize("kind", ["pair", "instruction", "chat"])
def test_a_question_is_never_learned(kind: str) -> None:
    example = Example(FILE, "answer\n", kind=kind)
    (one,) = encode_for_training([example], PLAIN, max_length=256)
    (judged,) = encode([example], PLAIN, max_length=256)
    assert one.loss.tolist() == judged.loss.tolist()


def test_a_shared_sequence_names_all_its_examples() -> None:
    examples = hunks([(line(1), line(2)), (line(5), line(7)), (line(10), line(11))])
    (one,) = encode_for_training(examples, PLAIN, max_length=256)
    assert (one.example, one.others) == (0, (1, 2))


def test_ids_are_small_and_masks_are_bool() -> None:
    one = only(Example("a =", " 1\n"))
    assert one.ids.dtype == np.int32
    assert one.loss.dtype == np.bool_
