"""Which commits are nobody's typing: merges, reverts, machines."""

import re

from neuralforge.data.sources.git.log import Commit

_BOT = re.compile(
    r"\[bot\]|(?:^|[^a-z])(?:dependabot|renovate|greenkeeper|pre-commit-ci|github-actions?|snyk-bot|pyup-bot|weblate"
    r"|all-?contributors|semantic-release|codecov|mergify|imgbot|deepsource|gitlocalize|transifex|crowdin|copybara"
    r"|k8s-ci-robot|scala-steward|travis[- ]ci|circleci|azure-pipelines)(?:$|[^a-z])"
    r"|(?:^|[^a-z])(?:bot|robot|autobot)@|[-_](?:bot|robot)(?:@|$)|\sbot$",
    re.IGNORECASE,
)
# Names that people have too: a machine only when there is nothing else.
_BOT_NAME = re.compile(r"jenkins|bors|homu|travis|bot", re.IGNORECASE)
_REVERT_SUBJECT = re.compile(r"^(?:Revert\b|revert:|\[revert\]|Back(?:ed)? ?out\b|This reverts\b)", re.IGNORECASE)
_REVERT_BODY = re.compile(r"^This reverts commit [0-9a-f]{7,64}", re.MULTILINE)


def commit_reason(commit: Commit) -> str | None:
    """Why everything in ``commit`` is left out (``merge``, ``bot``, ``revert``), or None."""
    if commit.parents > 1:
        return "merge"
    if (
        _BOT.search(commit.name)
        or _BOT_NAME.fullmatch(commit.name)
        or _BOT.search(commit.email.partition("@")[0] + "@")
    ):
        return "bot"
    if _REVERT_SUBJECT.match(commit.subject) or _REVERT_BODY.search(commit.body):
        return "revert"
    return None
