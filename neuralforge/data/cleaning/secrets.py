"""Keys, tokens and passwords in text: find them, and blank them out.

A table of our own, in two kinds. *Issued* secrets have a shape that nothing else has (an AWS key id, a GitHub
token, a private key's header). *Assigned* ones are recognised by the name they are given (``password = "…"``)
and a value that looks like a secret and not like a placeholder, a variable or a word; a few long random
strings are taken without a name.

detect-secrets 1.5.0 is not used because of its speed: with its default plugins it took 56 ms for an example of
6,500 characters on one core, `SecretScanner` 0.07 ms. It also reported hundreds of findings in an example of plain
code. The table's hits and its silence on look-alikes (lock-file hashes, UUIDs, ``os.environ``) are pinned in the
tests.
"""

import base64
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from neuralforge.data.records import Example

MARK = "REDACTED"


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret at ``start:end`` (characters) of the text that was searched; ``kind`` names what it looks like."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Issued:
    """A pattern, tried only around its anchors: finding a fixed string is many times faster than any pattern.

    ``back`` is how many characters before an anchor the match may begin; with 0 it begins at the anchor.
    """

    kind: str
    anchors: tuple[str, ...]
    pattern: re.Pattern[str]
    back: int


def _issued(kind: str, anchors: str, pattern: str, back: int = 0) -> _Issued:
    return _Issued(kind, tuple(anchors.split()), re.compile(pattern), back)


# Group 1, where there is one, is the secret itself; else the whole match is.
_ISSUED = (
    _issued(
        "private key",
        "-----BEGIN",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[\sA-Za-z0-9+/=\\:,.\-\"']{0,16000}?-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
    ),
    _issued("private key", "-----END", r"-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"),
    _issued("age key", "AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    _issued("AWS key id", "AKIA ASIA ABIA ACCA", r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    _issued("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36,255}"),
    _issued("GitHub token", "github_pat_", r"github_pat_[A-Za-z0-9_]{50,255}"),
    _issued("GitLab token", "glpat- gldt- glrt-", r"(?<![A-Za-z0-9])gl(?:pat|dt|rt)-[A-Za-z0-9_-]{20,}"),
    _issued("Slack token", "xox xapp-", r"(?<![A-Za-z0-9])(?:xox[abeoprs]|xapp)-(?:[0-9A-Za-z]+-)*[0-9A-Za-z]{10,}"),
    _issued(
        "Slack webhook", "hooks.slack.com", r"hooks\.slack\.com/services/(T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,})"
    ),
    _issued("Discord webhook", "/api/webhooks/", r"/api/webhooks/([0-9]{16,20}/[A-Za-z0-9_-]{60,})"),
    _issued("Google API key", "AIza", r"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{35}(?![A-Za-z0-9_-])"),
    _issued("Google OAuth secret", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}"),
    _issued("Google OAuth token", "ya29.", r"(?<![A-Za-z0-9])ya29\.[A-Za-z0-9_-]{30,}"),
    _issued("Stripe key", "k_live_ k_test_", r"(?<![A-Za-z0-9])[rs]k_(?:live|test)_[A-Za-z0-9]{16,}", 1),
    _issued("webhook secret", "whsec_", r"(?<![A-Za-z0-9])whsec_[A-Za-z0-9+/]{24,}"),
    _issued("Anthropic key", "sk-ant-", r"sk-ant-[A-Za-z0-9_-]{24,}"),
    _issued("OpenAI key", "sk-", r"(?<![A-Za-z0-9-])sk-(?:(?:proj|svcacct|admin)-[A-Za-z0-9_-]{24,}|[A-Za-z0-9]{40,})"),
    _issued("Hugging Face token", "hf_", r"(?<![A-Za-z0-9_])hf_[A-Za-z]{34}(?![A-Za-z0-9_])"),
    _issued("npm token", "npm_", r"(?<![A-Za-z0-9_])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9_])"),
    _issued("PyPI token", "pypi-", r"pypi-AgE[A-Za-z0-9_-]{50,}"),
    _issued("RubyGems key", "rubygems_", r"rubygems_[0-9a-f]{48}"),
    _issued("SendGrid key", "SG.", r"(?<![A-Za-z0-9])SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}"),
    _issued("Mailgun key", "key-", r"(?<![A-Za-z0-9])key-[0-9a-f]{32}(?![0-9a-f])"),
    _issued("Mailchimp key", "-us", r"(?<![0-9a-f])[0-9a-f]{32}-us[0-9]{1,2}(?![0-9])", 32),
    _issued("Twilio key", "SK", r"(?<![A-Za-z0-9])SK[0-9a-f]{32}(?![0-9A-Za-z])"),
    _issued("DigitalOcean token", "dop_v1_ doo_v1_", r"do[op]_v1_[0-9a-f]{64}"),
    _issued("Shopify token", "shpat_ shpss_ shpca_ shppa_", r"shp(?:at|ss|ca|pa)_[0-9a-fA-F]{32}"),
    _issued("Square token", "sq0", r"(?<![A-Za-z0-9])sq0(?:atp|csp)-[A-Za-z0-9_-]{22,}"),
    _issued("Databricks token", "dapi", r"(?<![A-Za-z0-9])dapi[0-9a-f]{32}(?![0-9a-f])"),
    _issued("Vault token", "hvs. hvb.", r"(?<![A-Za-z0-9])hv[sb]\.[A-Za-z0-9_-]{24,}"),
    _issued("Grafana token", "glsa_", r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}"),
    _issued("Linear key", "lin_api_", r"lin_api_[A-Za-z0-9]{40}"),
    _issued("Telegram token", ":AA", r"(?<![0-9A-Za-z])[0-9]{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])", 10),
    _issued("Azure storage key", "AccountKey=", r"AccountKey=([A-Za-z0-9+/]{86}==)"),
    _issued(
        "JSON web token", "eyJ", r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}"
    ),
    _issued("Basic credentials", "Basic", r"\bBasic ([A-Za-z0-9+/]{16,}={0,2})(?![A-Za-z0-9+/])"),
    _issued("API token", "Token ", r"\bToken ([0-9a-f]{32,64})(?![0-9A-Za-z])"),
    _issued("Bearer token", "Bearer", r"\bBearer ([A-Za-z0-9_.~+/-]{20,}=*)"),
    _issued("credentials in a URL", "://", r"(?<=\w)://[^\s:/@\"'`<>]{0,80}:([^\s/@\"'`<>]{3,128})@[\w\[]"),
)
_LONGEST_ISSUED = 32_000

# A name must END in one of these words, a number behind it aside (`token_type` and `password_field` are no secrets),
# `key` only after another.
_NAMES = (
    *("password", "passwd", "passphrase", "pass", "pwd", "secret", "token", "credential", "credentials", "key"),
    "secret_key_base",
)
_BEFORE_KEY = re.compile(
    r"(?:api|access|auth|private|secret|account|signing|encryption|master|client|consumer|deploy|service|storage|"
    r"license|admin|app|hmac|jwt|subscription|cipher|crypto|aes|webhook|shared|bot|server|sas)[_-]?$"
)
# The value is quoted …
_LITERAL = (
    r"[rbufRBUF]{0,2}(?:\"\"\"([^\"\n]{6,512})\"\"\"|'''([^'\n]{6,512})'''"
    r"|\"([^\"\n]{6,512})\"|'([^'\n]{6,512})'|`([^`\n]{6,512})`)"
)
# … behind an operator, perhaps on the next line …
_ASSIGNED = re.compile(
    r"[\"'\]]{0,2}(?:\[\d{0,4}\])?\s{0,4}"
    r"(?::\s{0,2}[&*]?[\w'<>\[\]|.]{1,40}\s{0,2}=|:=|=>|=(?!=)|\|\|=|\?\?=|\?=|:)[\s\\(]{0,80}" + _LITERAL
)
# … or as an argument (`setPassword("…")`), the next one, compared, or behind blanks (`#define PASSWORD "…"`).
_GIVEN = re.compile(r"[\"'\]]{0,2}(?:\s{0,2}(?:[({,]|={2,3})\s{0,40}|[ \t]{1,8})" + _LITERAL)
# It stands bare to the end of the line, as in .env, .properties, YAML and shell files …
_BARE = re.compile(
    r"[ \t]{0,4}[=:][ \t]{0,4}([^\s\"'#;,()\[\]{}][^\s\"';,()\[\]{}]{7,511})[ \t]{0,8}\r?$", re.MULTILINE
)
_BARE_NAME = re.compile(r"[ \t]*(?:export |set |ENV |- )?[\w.-]{0,80}")
# … or within a string: a connection string or an address ("Server=db;Password=…;", "?api_key=…").
_INLINE = re.compile(r"=([^\s;&\"'`<>{}()$%,\\]{6,256})(?=[;&\s\"'`\\])")
# A name whose value, if it has one, is on another line.
_OPEN = re.compile(r"[\"'\]]{0,2}(?:\s*[:=(,{|?>])*\s*\\?\s*$")
# Capitals as small letters without moving any character (`str.lower` makes two of some).
_SMALL = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}

# Long random strings without a telling name: quoted, of mixed case and digits.
_RANDOM = re.compile(r"[\"']([A-Za-z0-9+/_-]{32,200}={0,2})[\"']")
_DISCORD = re.compile(r"[\"']([MNO][\w-]{23,25}\.[\w-]{6}\.[\w-]{27,38})[\"']")

_PLACEHOLDER = re.compile(
    r"example|sample|dummy|placeholder|change[_-]?(?:me|this|it)|\byour|insert|replace|redacted|todo|fixme|"
    r"x{4,}|\*{3,}|\.{3}|0{6,}|(?:^|[^a-z])(?:test|foo|bar|fake|none|null|true|false)(?:[^a-z]|$)|"
    # A value that only repeats the name: "my-secret-token", "password1", "s3cret" is none of these.
    r"^(?:(?:my|the|a|some|new|old|user|db|api|access|auth|super|secret|password|passwd|token|key|value)[_.-]?)+\d{0,3}$",
    re.IGNORECASE,
)
# What no plain value holds; and what even one of many kinds of character may not be: interpolation, call, pattern, path
_CODE = re.compile(r"\s|^\$\w|\$[{(]|\$[A-Z_]{2}|%[(sd{]|\{[\w.]*\}|<\w|\w\(|[|`\\]|::|->|://|^(?:\.{0,2}|~)/")
_SURELY_CODE = re.compile(
    r"\s|\$\{|\{[\w.!:]*\}|^\$\w+$|^\$\(.*\)$|^%\(\w+\)[sd]$|^<[^<>]*>$|^\[[^\]]*\]$|^\w[\w.]*\([^()]*\)$"
    r"|\\[wdsbWDSB]|\(\?|\[\^?\w-\w|\][*+?{]|\.[*+]|::|->|://|^(?:\.{0,2}|~)/"
)
_DIGEST_BEFORE = re.compile(
    r"(?:sha(?:1|224|256|384|512)|md5|integrity|checksum|digest|hash|fingerprint|sri|blake2?b?)\W{0,12}$", re.IGNORECASE
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


# Bits a character. Sixteen random hexadecimal digits have about 3.4, sixteen letters of English about 3.
_TELLING_ENTROPY = 3.3
_REMEMBERED = 2_000_000
_APART = "\n\0x\0\n"  # no pattern crosses this, forwards or backwards
_BASE64_LINE = re.compile(r"[ \t]{0,16}[A-Za-z0-9+/=]{16,80}\r?\n")


def find_secrets(text: str) -> list[Secret]:
    """Every secret in ``text``, in order, not overlapping."""
    found = [*_find_issued(text), *_find_assigned(text), *_find_random(text)]
    found.sort(key=lambda secret: (secret.start, -secret.end))
    apart: list[Secret] = []
    for secret in found:
        if not apart or secret.start >= apart[-1].end:
            apart.append(secret)
    return apart


class SecretScanner:
    """Searches many examples, most of whose lines it has met before: the same file's text stands around each.

    A line is searched once, together with the next one where it ends in a name whose value may follow there; a
    text is searched whole only when one of its lines holds a secret. What was found harmless is remembered, up
    to two million characters.
    """

    def __init__(self) -> None:
        self._harmless: set[str] = set()
        self._open: set[str] = set()
        self._size = 0

    def find(self, example: Example) -> list[Secret]:
        """Secrets in prefix, completion and suffix taken as the one text they are; positions count from the prefix.

        The parts are searched together because a name may stand in the prefix and its value in the completion.
        """
        text = example.prefix + example.completion + example.suffix
        lines = text.split("\n")
        unknown = set(lines) - self._harmless
        if unknown and self._suspicious(unknown):
            return find_secrets(text)
        self._open.update(filter(_open_ended, unknown))
        open_ended = self._open.intersection(lines)
        if open_ended:
            pairs = {f"{one}\n{two}" for one, two in pairwise(lines) if one in open_ended}
            unknown = pairs - self._harmless
            if unknown and self._suspicious(unknown):
                return find_secrets(text)
        return []

    def _suspicious(self, units: set[str]) -> bool:
        """Whether one of ``units`` (lines, or pairs of them) holds a secret; the others are remembered."""
        harmless = units
        if find_secrets(_APART.join(units)):
            harmless = {unit for unit in units if not find_secrets(unit)}
        self._size += sum(map(len, harmless))
        if self._size > _REMEMBERED:
            self._harmless, self._open, self._size = set(), set(), 0
        self._harmless |= harmless
        return len(harmless) < len(units)


def redact(example: Example, secrets: Iterable[Secret]) -> Example:
    """``example`` with every secret replaced by ``REDACTED``; one that runs over a seam is replaced on both sides."""
    prefix, completion, suffix = example.prefix, example.completion, example.suffix
    middle, end = len(prefix), len(prefix) + len(completion)
    for secret in sorted(secrets, key=lambda secret: -secret.start):
        # Last first, and within a secret the last part first, so that earlier positions stay true.
        if secret.end > end:
            suffix = _blank(suffix, secret.start - end, secret.end - end)
        if secret.end > middle and secret.start < end:
            completion = _blank(completion, secret.start - middle, secret.end - middle)
        if secret.start < middle:
            prefix = _blank(prefix, secret.start, secret.end)
    return replace(example, prefix=prefix, completion=completion, suffix=suffix)


def _blank(text: str, start: int, end: int) -> str:
    return text[: max(0, start)] + MARK + text[min(len(text), end) :]


def _find_issued(text: str) -> Iterator[Secret]:
    for rule in _ISSUED:
        for anchor in rule.anchors:
            at = text.find(anchor)
            while at >= 0:
                if rule.back:
                    match = rule.pattern.search(text, max(0, at - rule.back), at + _LONGEST_ISSUED)
                else:
                    match = rule.pattern.match(text, at)
                if match is not None:
                    start, end = match.span(1 if rule.pattern.groups else 0)
                    if rule.kind == "private key":
                        yield Secret(rule.kind, _body_start(text, start), end)
                    elif not _invented(text, start, end, rule.kind):
                        yield Secret(rule.kind, start, end)
                at = text.find(anchor, max(at + len(anchor), match.end() if match is not None else 0))


def _body_start(text: str, end: int) -> int:
    """Where the lines of base64 begin that end at ``end``: a private key may be cut off at its beginning."""
    while end > 0:
        start = text.rfind("\n", 0, end - 1) + 1
        if not _BASE64_LINE.fullmatch(text, start, end):
            break
        end = start
    return end


def _invented(text: str, start: int, end: int, kind: str) -> bool:
    """Is what has an issued shape an obvious stand-in? (AWS's own documentation key ends in EXAMPLE.)"""
    value = text[start:end]
    if kind == "credentials in a URL":
        return _stand_in(value) or _RESERVED_HOST.match(text, end) is not None
    if kind == "Basic credentials":
        try:
            plain = base64.b64decode(value, validate=True).decode()
        except ValueError:
            return False
        return _stand_in(plain.partition(":")[2])
    if kind == "Bearer token":
        return not _secret_value(value, least=16, classes=2) or _entropy(value) < 3.0
    return "EXAMPLE" in value or _FILLER.search(value) is not None or _entropy(value) < 2.5


def _stand_in(password: str) -> bool:
    return not _secret_value(password, least=3, classes=1) or password.lower() in _COMMON_PASSWORDS


_FILLER = re.compile(r"x{8,}|\*{4,}|\.{3}|0{12,}", re.IGNORECASE)
# Names that can never be registered (RFC 2606, RFC 6761): what stands before them is documentation or a test.
_RESERVED_HOST = re.compile(
    r"@(?:[\w-]+\.)*(?:example(?:\.(?:com|net|org))?|test|invalid|localhost)(?![\w.-]*\w)", re.IGNORECASE
)
# What documentation and local test set-ups write where a password would stand.
_COMMON_PASSWORDS = frozenset(
    (
        *("pass", "pwd", "pw", "user", "username", "admin", "root", "guest", "test", "foo", "bar", "baz", "postgres"),
        *("postgresql", "mysql", "mongo", "mongodb", "redis", "rabbitmq", "db", "database", "host", "port", "name"),
    )
)


def _find_assigned(text: str) -> Iterator[Secret]:
    for at, end in _named(text):
        for form, applies, telling in _FORMS:
            match = form.match(text, end)
            if match is None or (applies and not applies(text, at)):
                continue
            if telling(match[match.lastindex or 0]):
                yield Secret("assigned secret", *match.span(match.lastindex or 0))
            break  # the first form that a value has decides


def _named(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of every word in ``text`` that may end the name of a secret."""
    small = text.lower() if text.isascii() else text.translate(_SMALL)
    for name in _NAMES:
        at = small.find(name)
        while at >= 0:
            end = after = at + len(name)
            while after < end + 2 and small[after : after + 1].isdigit():
                after += 1
            if not small[after : after + 1].isalnum() and (
                name != "key" or _BEFORE_KEY.search(small, max(0, at - 12), at) is not None
            ):
                yield at, after
            at = small.find(name, end)


def _open_ended(line: str) -> bool:
    """Does ``line`` end in a secret's name, or with one and an operator, so that the value may be on the next?"""
    end = line[-60:].rstrip(" \t\\=:>(,\"'])[{|?")
    if not end.lower().rstrip("0123456789").endswith(_NAMES):
        return False
    return any(_OPEN.fullmatch(line, max(0, len(line) - 60) + stop) for _, stop in _named(end) if stop == len(end))


def _in_string(text: str, at: int) -> bool:
    """Whether a quotation is open at ``at``, on its line."""
    before = text[text.rfind("\n", 0, at) + 1 : at]
    return any(before.count(mark) % 2 for mark in "\"'`")


def _long_random(value: str) -> bool:
    """Long, of two kinds of character, and too mixed for a name."""
    return (
        _secret_value(value, least=16, classes=2) and not {".", "_"} & set(value) and _entropy(value) > _TELLING_ENTROPY
    )


def _unpronounceable(value: str) -> bool:
    """Sixteen or more letters of one case that nobody could say, as generated passwords have them."""
    letters = value.replace(" ", "")
    return (
        re.fullmatch(r"[a-z]{16,64}|[A-Z]{16,64}", letters) is not None
        and re.search(r"[bcdfghjklmnpqrstvwxz]{6}", letters, re.IGNORECASE) is not None
        and _entropy(letters) > 3
    )


def _at_line_start(text: str, at: int) -> bool:
    """Whether only what may belong to a name stands before ``at`` on its line."""
    return _BARE_NAME.fullmatch(text, text.rfind("\n", 0, at) + 1, at) is not None


def _quoted_secret(value: str) -> bool:
    return _secret_value(value, least=6, classes=2, quoted=True)


def _bare_secret(value: str) -> bool:
    # Unquoted, a value may be code (`token = self.next`): ask for what no identifier has.
    mixed = _secret_value(value, least=8, classes=3) and not re.fullmatch(r"[A-Za-z_][\w.]*", value)
    return mixed or _long_random(value)


# How a value may stand behind its name, where that form applies, and what makes the value a secret there.
_FORMS: tuple[tuple[re.Pattern[str], Callable[[str, int], bool] | None, Callable[[str], bool]], ...] = (
    (_ASSIGNED, None, lambda value: _quoted_secret(value) or _unpronounceable(value)),
    (_GIVEN, None, lambda value: _secret_value(value, least=8, classes=3, quoted=True) or _long_random(value)),
    (_INLINE, _in_string, _quoted_secret),
    (_BARE, _at_line_start, _bare_secret),
)


def _find_random(text: str) -> Iterator[Secret]:
    for match in _DISCORD.finditer(text):
        if _entropy(match[1]) >= 4:
            yield Secret("Discord token", *match.span(1))
    for match in _RANDOM.finditer(text):
        value = match[1]
        if (
            _classes(value) & _MIXED == _MIXED
            and _entropy(value) >= 4.5
            and not _words(value)
            and not _UUID.search(value)
            and not re.match(r"sha\d+-|md5-", value)
            and not _DIGEST_BEFORE.search(text, max(0, match.start() - 40), match.start())
        ):
            yield Secret("random string", *match.span(1))


_LOWER, _UPPER, _DIGIT, _SYMBOL = 1, 2, 4, 8
_MIXED = _LOWER | _UPPER | _DIGIT


def _classes(value: str) -> int:
    found = 0
    for character in set(value):
        if character.islower():
            found |= _LOWER
        elif character.isupper():
            found |= _UPPER
        elif character.isdigit():
            found |= _DIGIT
        elif character not in "-_./:, ":
            found |= _SYMBOL
    return found


def _secret_value(value: str, *, least: int, classes: int, quoted: bool = False) -> bool:
    """Could ``value`` be a secret: long enough, of ``classes`` kinds of character, no placeholder, no code?

    A ``quoted`` value of ten characters of three kinds is code only if it surely is: passwords hold any character.
    """
    kinds = _classes(value).bit_count()
    code = _SURELY_CODE if quoted and kinds >= 3 and len(value) >= 10 else _CODE
    return (
        len(value) >= least
        and kinds >= classes
        and len(set(value)) >= min(5, least)
        and not code.search(value)
        and (re.search(r"[^A-Za-z_.-]", value) is not None or (_entropy(value) > 3.5 and not _words(value)))
        and not _PLACEHOLDER.search(value)
        and not _UUID.fullmatch(value)
    )


def _words(value: str) -> bool:
    """Is ``value`` an identifier or a path: words joined by case or separators, few digits?"""
    parts = re.findall(r"[A-Z]?[a-z]{3,}|[A-Z]{4,}", value)
    return sum(map(len, parts)) > 0.7 * len(value)


def _entropy(value: str) -> float:
    """Shannon entropy of the characters of ``value``, in bits a character."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values())
