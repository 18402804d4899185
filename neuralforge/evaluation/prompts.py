"""Prompts about nothing in particular, for trying an adapter when no examples are at hand."""

from __future__ import annotations

from collections.abc import Iterable

NEUTRAL: dict[str, tuple[str, ...]] = {
    "python": (
        '"""Read the settings of an application from a file."""\n\nimport ',
        "class Client:\n    def __init__(self, ",
        "def parse_arguments(",
        "def test_empty_input",
    ),
    "javascript": ("import ", "export async function fetchAll(", "class Client {\n  constructor("),
    "typescript": ("import ", "export interface Options {\n  ", "export async function fetchAll("),
    "java": ("public class Client {\n    private final ", "    @Override\n    public String toString() {\n        "),
    "go": ("package main\n\nimport (\n", "func NewClient(", "func (c *Client) Close() error {\n"),
    "rust": ("use std::", "impl Client {\n    pub fn new(", "#[cfg(test)]\nmod tests {\n"),
    "c": ("#include ", "static int parse_line(", "/* Frees "),
    "cpp": ("#include ", "class Client {\npublic:\n    ", "template <typename "),
    "ruby": ("class Client\n  def initialize(", "module ", "describe "),
    "php": ("<?php\n\nnamespace ", "class Client\n{\n    public function __construct("),
    "csharp": ("using System;\n\nnamespace ", "public class Client\n{\n    "),
    "kotlin": ("class Client(", "fun parse(", "data class "),
    "shell": ("#!/bin/sh\nset -e\n", 'while [ "$#" -gt 0 ]; do\n'),
}


def neutral_prompts(languages: Iterable[str], most: int = 6) -> list[tuple[str, str]]:
    """(language, prompt) pairs, languages taking turns; Python's when none of the languages is known."""
    queues = [(name, NEUTRAL[name]) for name in dict.fromkeys(languages) if name in NEUTRAL]
    queues = queues or [("python", NEUTRAL["python"])]
    longest = max(len(prompts) for _, prompts in queues)
    pairs = [(name, prompts[turn]) for turn in range(longest) for name, prompts in queues if turn < len(prompts)]
    return pairs[:most]
