"""Where runs of lines are cut."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralforge.data.segments import MAX_CHARS, cut, is_definition, left_out


@pytest.mark.parametrize(
    "line",
    [
        "def f(x):",
        "    async def f(self) -> int:",
        "class A(B):",
        "export default class Menu extends React.Component {",
        "export async function load(url) {",
        "const sum = (a, b) => {",
        "func (s *Server) Close() error {",
        "pub(crate) fn new(size: usize) -> Self {",
        "impl Display for Shape {",
        "public static void main(String[] args) {",
        "    private List<String> names(int limit) throws IOException {",
        "static int compare(const void *a, const void *b)",
        "std::string Shape::name() const {",
        "interface Shape {",
        "fun area(side: Int): Int {",
        "defmodule Shop.Order do",
    ],
)
def test_definitions(line):
    assert is_definition(line)


@pytest.mark.parametrize(
    "line",
    [
        "return compute(value)",
        "if (ready) {",
        "} else if (x) {",
        "x = call(a, b)",
        "total += price(order);",
        "print(value)",
        "assert compute(a) == b",
        "from a import (b)",
        "classify(x)",
        "int total = sum(values);",
        "while (true) {",
    ],
)
def test_statements(line):
    assert not is_definition(line)


def pieces(text):
    lines = text.split("\n")
    return [("\n".join(lines[piece.start : piece.end]), piece.definition) for piece in cut(lines, 0, len(lines))]


def test_decorators_and_comments_stay_with_their_definition():
    first = (
        "# Why this exists at all, told in a comment.\n@cached\ndef first_of_two(argument):\n"
        + "    call(argument)\n" * 8
    )
    second = "class Second:\n    names = ()\n\n" + "    def method(self):\n        return self.names\n" * 4
    assert pieces(f"{first}\n\n{second}") == [(first.rstrip("\n"), True), (second.rstrip("\n"), True)]


def test_signatures_over_several_lines_and_braces_of_their_own():
    python = "def long_signature(\n    argument: int,\n    other: int,\n) -> int:\n" + "    call(argument, other)\n" * 6
    allman = "public int Compute(int value)\n{\n" + "    Call(value, value);\n" * 8 + "}"
    assert pieces(python) == [(python.rstrip("\n"), True)]
    assert pieces(allman) == [(allman, True)]


def test_small_definitions_are_joined():
    assert pieces("def a():\n    pass\n\n\ndef b():\n    pass") == [
        ("def a():\n    pass\n\n\ndef b():\n    pass", False)
    ]


def test_a_definition_that_goes_on_after_the_run_is_not_whole():
    lines = ["def f(values):", *("    call(values)",) * 12, "    return values"]
    (part,) = cut(lines, 0, 10)
    assert not part.definition
    (whole,) = cut(lines, 0, len(lines))
    assert whole.definition


def test_a_long_class_becomes_its_methods():
    method = "    def method_{0}(self, value):\n" + "        self.call(value, {0})\n" * 10
    text = 'class Long:\n    """With a docstring."""\n\n' + "\n".join(method.format(number) for number in range(12))
    found = pieces(text)
    assert found[0] == ('class Long:\n    """With a docstring."""', False)
    assert [definition for _, definition in found[1:]] == [True] * 12


def test_a_table_is_not_typing():
    assert pieces("TABLE = [\n" + "    (1, 2, 3, 4, 5, 6, 7, 8, 9),\n" * 500 + "]") == []


LINES = ("", "    ", "          ", "x = 1", "    y = 2", "def f():", "class A:", "    def g():", "}", "# c", "z" * 900)


@given(st.lists(st.sampled_from(LINES)))
def test_pieces_are_in_order_bounded_and_not_blank_at_their_ends(lines):
    end = 0
    for piece in cut(lines, 0, len(lines)):
        assert end <= piece.start < piece.end <= len(lines)
        assert lines[piece.start].strip()
        assert lines[piece.end - 1].strip()
        assert piece.chars == len("\n".join(lines[piece.start : piece.end])) + 1 <= MAX_CHARS
        end = piece.end


def test_hostile_lines_are_not_slow():
    lines = ["a b(" + ")" * 200_000, "@" * 200_000, " " * 200_000 + "x", "a " * 100_000, "[" + "a." * 100_000] * 3
    lines += ["(" * depth + "x" for depth in range(300)] + [" " * depth + "x" for depth in range(300)]
    started = time.perf_counter()
    list(cut(lines, 0, len(lines)))
    assert time.perf_counter() - started < 2


def test_blank_lines_with_spaces_are_counted_as_what_they_are():
    lines = ["x = compute(1)", "    ", "y = compute(2)", "        ", "z = compute(33)"]
    (piece,) = cut(lines, 0, len(lines))
    assert piece.chars == sum(map(len, lines)) + len(lines)


def test_an_opening_line_is_not_joined_over_what_was_left_out():
    table = [f"    (0x{number:04x}, 'entry {number}')," for number in range(500)]
    lines = ["class Codec:", "    TABLE = [", *("    " + line for line in table), "    ]", "    name = 'codec'"]
    pieces = list(cut(lines, 0, len(lines)))
    assert all(piece.chars == len("\n".join(lines[piece.start : piece.end])) + 1 for piece in pieces)
    assert left_out(lines, 0, len(lines), pieces) == 1
