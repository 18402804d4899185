"""Examples mined from one small history, word for word. To accept a wanted change: NEURALFORGE_REWRITE_GOLDEN=1."""

import json
import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden" / "mined.jsonl"

SERVICE = '''"""Orders and what becomes of them."""

from dataclasses import dataclass, field

TAX_RATES = {"books": 0.07, "food": 0.07, "other": 0.19}


@dataclass
class Order:
    """What somebody wants."""

    lines: list[tuple[str, float]] = field(default_factory=list)

    def add(self, category: str, price: float) -> None:
        if price < 0:
            raise ValueError("a price below zero")
        self.lines.append((category, price))

    def total(self) -> float:
        return sum(price * (1 + TAX_RATES[category]) for category, price in self.lines)


def receipt(order: Order) -> str:
    rows = [f"{category:<10} {price:>8.2f}" for category, price in order.lines]
    return "\\n".join([*rows, f"{'total':<10} {order.total():>8.2f}"])
'''
SCRIPT = """import { orders } from "./orders";

// Newest first, as people expect.
export function newestOrders(limit) {
  return orders
    .slice()
    .sort((one, other) => other.time - one.time)
    .slice(0, limit);
}

const cheapest = (list) => {
  return list.reduce((best, one) => (one.price < best.price ? one : best));
};
"""
MAIN = """package main

import "fmt"

type Shelf struct {
\tbooks map[string]int
}

func (s *Shelf) Take(title string) error {
\tif s.books[title] == 0 {
\t\treturn fmt.Errorf("no %q on the shelf", title)
\t}
\ts.books[title]--
\treturn nil
}
"""


def test_mined_examples_are_the_golden_ones(history, mine):
    history.write("shop/service.py", SERVICE)
    history.write("web/orders.js", SCRIPT)
    history.write("README.md", "# A shop\n")
    history.commit("Begin the shop")
    history.write("shelf/main.go", MAIN)
    changed = SERVICE.replace(
        '            raise ValueError("a price below zero")\n',
        '            raise ValueError(f"a price below zero for {category}: {price}")\n',
    ).replace(
        "\n\ndef receipt",
        '\n    def discount(self, share: float) -> "Order":\n'
        "        kept = [(category, price * (1 - share)) for category, price in self.lines]\n"
        "        return Order(kept)\n\n\ndef receipt",
    )
    history.write("shop/service.py", changed)
    history.commit("Add shelves and discounts")
    history.git("mv", "web/orders.js", "web/order list.js")
    history.write("web/order list.js", SCRIPT.replace("best.price ? one", "best.price && one.inStock ? one"))
    history.commit("Only what is in stock", GIT_AUTHOR_NAME="Bea", GIT_AUTHOR_EMAIL="bea@example.org")
    mined = mine(history.path)
    text = "".join(json.dumps(one.to_json(), ensure_ascii=False, sort_keys=True) + "\n" for one in mined)
    text += json.dumps({"funnel": mined.funnel.to_json()}, sort_keys=True) + "\n"
    if os.environ.get("NEURALFORGE_REWRITE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
