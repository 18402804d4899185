"""Every secret below is put together at run time, so that a scanner of this repository finds none in it."""

import base64
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuralforge.data.cleaning.secrets import MARK, Secret, SecretScanner, find_secrets, redact
from neuralforge.data.records import Example

_RANDOM = random.Random(20)  # drawn in one fixed order at import, so every run tests the same strings


def _of(alphabet: str, count: int) -> str:
    return "".join(_RANDOM.choice(alphabet) for _ in range(count))


_WORD = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"
_UPPER = string.ascii_uppercase + string.digits


def _jwt() -> str:
    def part(text: str) -> str:
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    return ".".join([part('{"alg":"HS256","typ":"JWT"}'), part('{"sub":"1234567890","name":"J"}'), _of(_WORD, 43)])


def _pem(kind: str) -> str:
    body = "\n".join(_of(_WORD + "+/", 64) for _ in range(6))
    return f"-----BEGIN {kind}PRIVATE" + f" KEY-----\n{body}\n-----END {kind}PRIVATE" + " KEY-----"


_AWS = "AK" + "IA" + _of(string.ascii_uppercase + "234567", 16)

SECRETS = {
    "aws id": (f'key = "{_AWS}"', _AWS),
    "aws temporary": ("id: " + (t := "AS" + "IA" + _of(string.ascii_uppercase, 16)), t),
    "aws secret": ('aws_secret_access_key = "' + (t := _of(_WORD + "/+", 40)) + '"', t),
    "aws secret in ini": ("aws_secret_access_key = " + (t := _of(_WORD, 40)), t),
    "github classic": ((t := "gh" + "p_" + _of(_WORD, 36)), t),
    "github app": ("x=" + (t := "gh" + "s_" + _of(_WORD, 36)), t),
    "github fine-grained": ((t := "github" + "_pat_" + _of(_WORD, 22) + "_" + _of(_WORD, 59)), t),
    "gitlab": ((t := "gl" + "pat-" + _of(_WORD, 20)), t),
    "slack bot": ((t := "xox" + "b-" + _of("123456789", 12) + "-" + _of("123456789", 12) + "-" + _of(_WORD, 24)), t),
    "slack app": ((t := "xa" + "pp-1-" + _of(_UPPER, 11) + "-" + _of("123456789", 13) + "-" + _of(_HEX, 64)), t),
    "slack hook": (
        "https://hooks.slack" + ".com/services/" + (t := f"T{_of(_UPPER, 8)}/B{_of(_UPPER, 8)}/{_of(_WORD, 24)}"),
        t,
    ),
    "google api": ((t := "AI" + "za" + _of(_WORD, 35)), t),
    "google oauth": ((t := "GOC" + "SPX-" + _of(_WORD, 28)), t),
    "google access": ((t := "ya" + "29." + _of(_WORD, 60)), t),
    "service account": ('"private_key": "' + _pem("").replace("\n", "\\n") + '"', "-----BEGIN PRIVATE" + " KEY"),
    "rsa key": (_pem("RSA "), "-----BEGIN RSA PRIVATE" + " KEY"),
    "ec key": (_pem("EC "), "-----BEGIN EC PRIVATE" + " KEY"),
    "openssh key": (_pem("OPENSSH "), "-----BEGIN OPENSSH PRIVATE" + " KEY"),
    "key without its beginning": ("\n".join(_pem("RSA ").splitlines()[3:]), "-----END RSA PRIVATE" + " KEY"),
    "key without its end": (_pem("RSA ")[:200], "-----BEGIN RSA PRIVATE" + " KEY"),
    "stripe": ((t := "sk" + "_live_" + _of(_WORD, 24)), t),
    "stripe restricted": ((t := "rk" + "_live_" + _of(_WORD, 24)), t),
    "openai": ((t := "sk" + "-proj-" + _of(_WORD, 48)), t),
    "openai old": ((t := "sk" + "-" + _of(_WORD, 48)), t),
    "anthropic": ((t := "sk" + "-ant-api03-" + _of(_WORD, 80)), t),
    "hugging face": ((t := "hf" + "_" + _of(string.ascii_letters, 34)), t),
    "npm": ((t := "np" + "m_" + _of(_WORD, 36)), t),
    "pypi": ((t := "py" + "pi-AgEIcHlwaS5vcmc" + _of(_WORD, 70)), t),
    "sendgrid": ((t := "S" + "G." + _of(_WORD, 22) + "." + _of(_WORD, 43)), t),
    "mailgun": ((t := "ke" + "y-" + _of(_HEX, 32)), t),
    "mailchimp": ((t := _of(_HEX, 32) + "-us" + "12"), t),
    "twilio": ((t := "S" + "K" + _of(_HEX, 32)), t),
    "digitalocean": ((t := "dop" + "_v1_" + _of(_HEX, 64)), t),
    "shopify": ((t := "shp" + "at_" + _of(_HEX, 32)), t),
    "databricks": ((t := "da" + "pi" + _of(_HEX, 32)), t),
    "vault": ((t := "hv" + "s." + _of(_WORD, 90)), t),
    "telegram": ((t := _of("123456789", 9) + ":A" + "A" + _of(_WORD, 33)), t),
    "azure": ("AccountName=x;Account" + "Key=" + (t := _of(_WORD, 86) + "=="), t),
    "jwt": ((t := _jwt()), t),
    "basic": ("Authorization: Ba" + "sic " + (t := base64.b64encode(b"alice:Wonder7land!").decode()), t),
    "bearer": ("Authorization: Bea" + "rer " + (t := _of(_WORD, 32)), t),
    "postgres url": ("postgresql://svc:" + (t := _of(_WORD, 14)) + "@db.internal:5432/app", t),
    "amqp url": ("amqp://worker:" + (t := "h4rd" + "2guess") + "@10.0.0.4/vhost", t),
    "password": ("password = '" + (t := "Tr0ub" + "4dor&3") + "'", t),
    "password json": ('{"db_password": "' + (t := "n0t-so-" + "Gu3ssable") + '"}', t),
    "password with dollar": ('PASSWORD = "' + (t := "P@$$" + "w0rd!9") + '"', t),
    "super": ('password="' + (t := "Super" + "Secret" + "99!") + '"', t),
    "password argument": ('connect(user="bob", passwd="' + (t := "hun" + "ter2") + '")', t),
    "typed": ('api_key: str = "' + (t := _of(_WORD, 24)) + '"', t),
    "hash rocket": (":client_secret => '" + (t := _of(_WORD, 32)) + "'", t),
    "go": ('apiToken := "' + (t := _of(_WORD, 32)) + '"', t),
    "hex under a telling name": ('SECRET_KEY = "' + (t := _of(_HEX, 48)) + '"', t),
    "dotenv": ("export STRIPE_SECRET=" + (t := _of(_WORD, 32)), t),
    "yaml": ("  token: " + (t := _of(_WORD, 32)), t),
    "properties": ("spring.datasource.password=" + (t := "Gre3n#" + "Apple7"), t),
    "dictionary": ("os.environ['DB_PASSWORD'] = '" + (t := "k33p" + "0ut!now") + "'", t),
    "connection string": ('"Server=db1;User=u;Pass' + "word=" + (t := "Xk9mQ2" + "vLp7") + ';"', t),
    "libpq": ('connect("dbname=x pass' + "word=" + (t := "Xk9mQ3" + "vLp7") + ' host=db")', t),
    "query": ('get("https://x.org/z?api' + "_key=" + (t := _of(_HEX, 32)) + '")', t),
    "setter": ('source.setPassword("' + (t := "Xk9#mQ2" + "vLp7") + '")', t),
    "definition": ('#define API_KEY "' + (t := _of(_HEX, 32)) + '"', t),
    "array": ('char password[] = "' + (t := "Xk9mQ4" + "vLp7") + '";', t),
    "rust": ('let password: &str = "' + (t := "Xk9mQ5" + "vLp7") + '";', t),
    "ruby or": ("password ||= '" + (t := "Xk9mQ6" + "vLp7") + "'", t),
    "template literal": ("const password = `" + (t := "Xk9mQ7" + "vLp7") + "`", t),
    "three quotes": ('password = """' + (t := "Xk9mQ8" + "vLp7") + '"""', t),
    "numbered": ('password1 = "' + (t := "Xk9mQ9" + "vLp7") + '"', t),
    "rails": ("secret_key_base = '" + (t := _of(_HEX, 128)) + "'", t),
    "hmac": ('HMAC_KEY = "' + (t := _of(_HEX, 40)) + '"', t),
    "app password": ("EMAIL_HOST_PASSWORD = '" + (t := "qzkdvwxm" + "jtyhbnrp") + "'", t),
    "next line": ('SECRET_KEY = (\n    "' + (t := _of(_HEX, 40)) + '"\n)', t),
    "continued line": ('password = \\\n    "' + (t := "Xk9mQ1" + "vLp7") + '"', t),
    "discord": ("client.run('" + (t := "MTk4" + _of(_WORD, 20) + "." + _of(_WORD, 6) + "." + _of(_WORD, 27)) + "')", t),
    "api token": ("headers = {'Authorization': 'To" + "ken " + (t := _of(_HEX, 40)) + "'}", t),
    "like a call": ("SECRET_KEY = 'django-insecure-" + (t := "i!+eqh5+24^yng5b(y1#+)a2r|o@gubbb^8ay*n1$b7o") + "'", t),
    "random string": ('blob = "' + (t := "q" + _of(_WORD + "+/", 46) + "7Z") + '"', t),
}

INNOCENT = {
    "environment": 'password = os.environ["DB_PASSWORD"]',
    "getenv": 'token = os.getenv("API_TOKEN")',
    "getenv default": 'secret = os.environ.get("SECRET_KEY", "")',
    "process": "const token = process.env.GITHUB_TOKEN;",
    "annotation": "def login(user: str, password: str, token: str | None = None) -> None:",
    "variable": "password = request.form['password']",
    "attribute": "self.token = self.lexer.next_token",
    "placeholder": 'password = "changeme"',
    "your": 'API_KEY = "your-api-key-123"',
    "angle": 'token = "<your token>"',
    "stars": 'password: "********"',
    "xs": 'api_key = "xxxxxxxxxxxxxxxx"',
    "shell variable": "export TOKEN=${GITHUB_TOKEN}",
    "workflow": "  token: ${{ secrets.GITHUB_TOKEN }}",
    "template": 'password = "{{ vault_password }}"',
    "format": 'secret = f"{prefix}{value}"',
    "test value": 'password = "test"',
    "name of a field": 'password_field = "user_password_1"',
    "word": 'token = "bearer"',
    "header name": 'token = "Authorization"',
    "camel case": 'auth_token: "AccessToken"',
    "token type": 'token_type = "oauth2"',
    "label": '{"password": "Enter your password"}',
    "message": 'password = "Must hold 8 characters"',
    "path": 'private_key = "/etc/ssl/private/server1.pem"',
    "relative path": 'secret = "./config/secret_2.yaml"',
    "url": 'token = "https://auth.example.com/oauth2/token"',
    "aws documentation": 'key = "AKIA' + 'IOSFODNN7EXAMPLE"',
    "sha1": "commit = '3f786850e387550fdab836ed7e6dc881de23001b'",
    "sha256": '"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
    "md5": 'etag = "d41d8cd98f00b204e9800998ecf8427e"',
    "npm integrity": '"integrity": "sha512-' + base64.b64encode(bytes(range(64))).decode() + '"',
    "pip hash": "    --hash=sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 \\",
    "poetry": '{file = "a.whl", hash = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"}',
    "go sum": "golang.org/x/text v0.3.0 h1:g61tztE5qeGQ89tm6NTjjM9VPIm088od1l6aSorWRWg=",
    "uuid": 'id = "123e4567-e89b-12d3-a456-426614174000"',
    "uuid under a name": 'client_secret = "123e4567-e89b-12d3-a456-426614174000"',
    "identifier": 'name = "AbstractSingletonProxyFactoryBeanConfiguration2"',
    "dotted": 'cls = "org.springframework.security.core.Authentication9"',
    "route": 'url = "/api/v1/users/profile/settings/Notifications24"',
    "alphabet": 'ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij"',
    "local database": "postgresql://postgres:postgres@localhost:5432/test",
    "documented database": "mysql://user:password@localhost/db",
    "reserved host": "https://alice:n0tSoS3cret@api.example.com/v1",
    "basic stand-in": "Authorization: Basic " + base64.b64encode(b"user:pass").decode(),
    "url template": 'f"postgresql://{user}:{password}@{host}/db"',
    "port": "http://localhost:8080/@scope/package",
    "e-mail": "mailto:someone@example.com",
    "scoped": "https://registry.npmjs.org/@babel/core",
    "comparison": "if token == 'NEWLINE':",
    "basic prose": "Basic authentication is described in the manual",
    "bearer prose": "Bearer tokens are validated by middleware",
    "public key": "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
    "short prefix": "sk-learn-contrib and hf_hub_download and npm_config_registry",
    "key of a map": 'cache_key = "user_profile_v2"',
    "enumeration": "TOKEN = 57\nPASSWORD = 3",
    "type": "secret: Optional[SecretStr] = None",
    "pattern": 'TOKEN = r"[A-Za-z_]\\\\w*|0[xX][0-9a-f]+"',
    "algorithm": 'digest = password_hash(password, "sha256")',
    "kind of token": 'found = token("oauth2_token")',
    "interpolated": '"Authorization": f"Token {self.token1}"',
    "empty query": 'url = "https://x.org/?password=&user=anna1"',
    "variable in a call": "login(password=get_password1(), token=token2)",
    "call": "access_token = create_access_token(identity=user.id)",
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_found_and_redacted(name: str) -> None:
    text, secret = SECRETS[name]
    text = f"import os\n\n{text}\n\nprint(os.name)\n"
    found = find_secrets(text)
    assert found, name
    at = text.index(secret)
    assert any(hit.start <= at and at < hit.end for hit in found), (found, secret)
    clean = redact(Example(prefix="", completion=text), found).completion
    assert secret not in clean
    assert MARK in clean
    assert clean.startswith("import os\n\n")


@pytest.mark.parametrize("name", INNOCENT)
def test_a_look_alike_is_left_alone(name: str) -> None:
    assert find_secrets(f"import os\n{INNOCENT[name]}\n") == []


def test_what_is_found_does_not_depend_on_neighbours_or_order() -> None:
    blob = _of(_WORD, 40) + "9aZ"
    for _ in range(20):
        others = [f"y_{_of(_HEX, 6)} = {number}" for number in range(8)]
        text = "\n".join(["value = git_hash", *others, "client.send(", f'    "{blob}"', ")"])
        assert find_secrets(text)
        assert SecretScanner().find(Example("", text, ""))


def test_the_tables_are_as_large_as_promised() -> None:
    assert len(SECRETS) >= 40
    assert len(INNOCENT) >= 40


@pytest.mark.parametrize("part", ["prefix", "completion", "suffix"])
def test_all_three_parts_are_searched(part: str) -> None:
    parts = {"prefix": "a = 1\n", "completion": "b = 2\n", "suffix": "c = 3\n"}
    parts[part] += f'key = "{_AWS}"\n'
    example = Example(**parts)
    (secret,) = SecretScanner().find(example)
    clean = redact(example, [secret])
    assert getattr(clean, part).endswith(f'key = "{MARK}"\n')
    assert all(getattr(clean, other) == getattr(example, other) for other in parts if other != part)


def test_a_secret_over_a_seam_is_found_and_gone_from_both_sides() -> None:
    example = Example(prefix=f'key = "{_AWS[:8]}', completion=f'{_AWS[8:]}"\n', suffix="x\n")
    clean = redact(example, SecretScanner().find(example))
    assert (clean.prefix, clean.completion, clean.suffix) == (f'key = "{MARK}', f'{MARK}"\n', "x\n")


def test_a_value_is_judged_by_the_name_in_the_prefix() -> None:
    example = Example(prefix="password = ", completion='"Tr0ub' + '4dor&3"\n')
    assert [secret.kind for secret in SecretScanner().find(example)] == ["assigned secret"]


@given(st.text(), st.text(), st.text(), st.data())
def test_redacting_leaves_everything_else(prefix: str, completion: str, suffix: str, data: st.DataObject) -> None:
    whole = prefix + completion + suffix
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    clean = redact(Example(prefix, completion, suffix), [Secret("any", start, end)] if end > start else [])
    rest = (clean.prefix + clean.completion + clean.suffix).replace(MARK, "")
    assert rest == (whole[:start] + whole[end:]).replace(MARK, "")


def test_hostile_text_takes_no_long_time() -> None:
    import time

    started = time.perf_counter()
    for text in (
        "A" * 200_000,
        "password" * 30_000,
        "a:" * 100_000,
        "://" * 60_000,
        "x" * 100_000 + ":" + "y" * 100_000,
    ):
        find_secrets(text)
    find_secrets("-----BEGIN RSA PRIVATE" + " KEY-----" + "A\n" * 100_000)
    find_secrets(("-----BEGIN RSA PRIVATE" + " KEY-----\n") * 3_000)
    assert time.perf_counter() - started < 5
