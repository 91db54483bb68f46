"""What is taken out of a support report: passwords, tokens, keys, credentials in URLs.

By structure (the name of a key says that its value is a secret), by shape (credentials in a URL,
`password=…`, a private key, a bearer token), and by value: what was found under such a key, or in a
file that settings name as holding a secret, is taken out wherever else it stands.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import groupby
from typing import Any
from urllib.parse import quote, quote_plus

from nsdata.fallback.ledger import Why

REDACTED = "(redacted)"
LONG = 12  # characters of what is taken for no common word
SHORTEST = 6  # characters of a secret that is looked for elsewhere; fewer stand for many things
_SECRET = frozenset(
    (
        "auth",
        "authorization",
        "community",
        "cookie",
        "credential",
        "credentials",
        "key",
        "keys",
        "passphrase",
        "passwd",
        "password",
        "passwords",
        "private",
        "psk",
        "pwd",
        "secret",
        "secrets",
        "token",
        "tokens",
    )
)
_WEBHOOK = frozenset(("secret_file", "secret-file", "ca_file", "ca-file"))  # beside its url
_LAST = frozenset(("pass", "sessionid"))  # `pass-rules` are none
_JOINED = ("apikey", "password", "passwd", "secretkey", "privatekey", "accesskey", "authtoken")
_COUNTERS = frozenset(why.name.lower() for why in Why)  # of the ledger: flow_pass is a number
_PLACES = frozenset(("file", "path", "id"))  # a secret's place or number is none
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_NAMES = (
    r"passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|"
    r"x-amz-signature|(?<![a-z])(?<!flow_)pass(?![\w-])|pwd"
)
# A list or object; what is in quotes, as JSON in JSON, JSON or a shell write them, with what
# adheres; a word, without the signs that end it in a sentence. Quotes that are not closed go to the
# end of the line.
_VALUE = (
    r"""(?:[\[{](?:"(?:[^"\\]|\\.)*"|[^\]}"]){0,1024}[\]}]?|"""
    r"""(?:\\"(?:[^"\\\n]|\\[^"\n])*(?:\\?")?|"(?:[^"\\\n]|\\.)*"?|"""
    r"""'(?:[^'\\\n]|''|\\.)*'?)[^\s,;&}\])]*|"""
    r"""[^\s"'\[{]\S*?(?=[,;"'&}\]]{0,4}(?:\s|\Z)))"""
)
_BEGIN = r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_END = r"-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
# A line of a key's inside: base64, maybe after what a log writes before each line, or a header.
_BODY = (
    r"(?:(?:[^\n]{0,80}[ \t])?[A-Za-z0-9+/=]{16,}|[A-Za-z0-9+/=]{0,76}|"
    r"[A-Za-z-]{1,40}: [^\n]{0,200})[ \t\r]*"
)
# What a secret looks like: words of which one is in the text (lower case; most texts have none, and
# are done), the shape, and what is left of it.
_SHAPES = tuple(
    (hints, re.compile(pattern, re.IGNORECASE | re.DOTALL), to)
    for hints, pattern, to in (
        (("private key",),
         rf"{_BEGIN}.*?(?:{_END}|\Z)", REDACTED),
        (("://",), r"(://)[^\s/?#\"'<>]{1,512}@", rf"\1{REDACTED}@"),
        (("authorization", "cookie", "x-api-key", "x-auth-token"),
         r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token)"
         r"(\\?[\"']?\s{0,8}[:=]\s{0,8})[^\r\n]+", rf"\1\2{REDACTED}"),
        (("bearer", "basic"),
         r"\b(bearer|basic)(\s{1,8})[A-Za-z0-9._~+/=-]{6,}", rf"\1\2{REDACTED}"),
        (("pass", "pwd", "secret", "token", "key", "credential", "signature"),
         rf"((?:{_NAMES})[\w-]{{0,40}}\\?[\"']?\s{{0,8}}[:=]\s{{0,8}}){_VALUE}",
         rf"\1{REDACTED}"),
        (("pw", "pass", "sess", "sid"),
         r"([?&;](?:[\w.-]{0,40}[._-])?(?:pw|pass|sid|(?:j|php)?sess(?:ion)?(?:[._-]?id)?)=)"
         r"[^&\s\"'#]+", rf"\1{REDACTED}"),
        (("key", "auth", "sig", "code"),
         r"([?&][\w.-]{0,40}(?:key|auth|sig|code)[\w.-]{0,40}=)[^&\s\"'#]+", rf"\1{REDACTED}"),
        (("eyj",), r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*", REDACTED),  # a JSON Web Token
        (("whsec_",), r"\bwhsec_[A-Za-z0-9+/=]+", REDACTED),
        (("gh",), r"\bgh[opsur]_[A-Za-z0-9]{16,}|\bgithub_pat_\w{16,}", REDACTED),
        (("k_live_", "k_test_"), r"\b[prs]k_(?:live|test)_[A-Za-z0-9]{8,}", REDACTED),
        (("akia", "asia"), r"\bA(?:KIA|SIA)[0-9A-Z]{16}\b", REDACTED),
    )
)  # fmt: skip


_WHOLE_KEY = re.compile(rf"{_BEGIN}(?:(?!-----BEGIN )[\s\S]){{0,65536}}?{_END}")
_BEGUN_KEY = re.compile(rf"{_BEGIN}[^\n]*(?:\n{_BODY}$)*", re.MULTILINE)
_KEY_ENDS = re.compile(_END)
_INSIDE = re.compile(_BODY)


@lru_cache(4096)
def is_secret(key: str) -> bool:
    """Whether the name of a key says that its value is a secret: `password`, `apiToken`,
    `tls.private-key`; not that of a file which holds one (`token-file`)."""
    words = [word.lower() for word in _WORD.findall(key)]
    if not words or words[-1] in _PLACES or key in _COUNTERS:
        return False
    return (
        not _SECRET.isdisjoint(words)
        or words[-1] in _LAST
        or any(word in _JOINED for word in words)
    )


class Redactor:
    """Takes secrets out. It knows more of them the more settings it was shown (`learn`)."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: re.Pattern[str] | None = None
        self._secrets: set[str] = set()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Look for these everywhere, as they are and as JSON, URLs and base64 write them."""
        for secret in secrets:
            # A key of several lines may be told line by line.
            for one in (secret, *(secret.split("\n") if "\n" in secret.strip() else ())):
                if len(one.strip()) >= SHORTEST and one != REDACTED:
                    self._secrets |= {one, one.strip()}
        forms = {form for secret in self._secrets for form in _forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def learn(self, tree: Any) -> None:
        """Whatever stands under a key that says so is a secret, and what stands in a URL before
        the host."""
        self.add(_found(tree, secret=False))

    def text(self, text: str) -> str:
        """The same text without what is known or looks like a secret."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        lower = text.lower()
        for hints, shape, to in _SHAPES:
            if any(hint in lower for hint in hints):
                text = shape.sub(to, text)
        return text

    def tree(self, value: Any) -> Any:
        """The same of what JSON can say."""
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): REDACTED
                if _holds(one) and _secret_in(value, str(key))
                else self.tree(one)
                for key, one in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.tree(one) for one in value]
        return self.text(value) if isinstance(value, str) else value

    def lines(self, lines: list[str]) -> list[str]:
        """Lines that may be JSON. What is none is looked at together: a private key, or a password
        and its value, may stand on several."""
        found: list[str] = []
        for is_json, block in groupby(lines, lambda line: line.startswith("{")):
            if is_json:
                found += map(self.line, block)
            else:
                found += self.text(_without_keys("\n".join(block))).split("\n")
        return found

    def line(self, line: str) -> str:
        """A line that may be JSON."""
        if line.startswith("{"):
            try:
                return json.dumps(self.tree(json.loads(line)), separators=(",", ":"))
            except (ValueError, RecursionError):
                return self.text(line)
        return self.text(line)


def _secret_in(tree: Mapping[Any, Any], key: str) -> bool:
    """Whether what stands under a key of this tree is a secret: by the key itself; as in
    {"name": "password", "value": …}; the URL of a webhook, whose path may be its key."""
    if key == "value":
        return any(is_secret(str(tree.get(name, ""))) for name in ("name", "key"))
    return is_secret(key) or (key == "url" and bool(_WEBHOOK & tree.keys()))


def _without_keys(text: str) -> str:
    """Private keys on several lines out of a log: whole ones; those without an end as far as lines
    look like theirs, lest the rest of the log goes with them; those whose beginning was cut off."""
    if "PRIVATE KEY" not in text:
        return text
    text = _BEGUN_KEY.sub(REDACTED, _WHOLE_KEY.sub(REDACTED, text))
    found: list[str] = []
    for line in text.split("\n"):
        if ends := list(_KEY_ENDS.finditer(line)):
            while found and _INSIDE.fullmatch(found[-1]):
                found.pop()
            line = REDACTED + line[ends[-1].end() :]
        found.append(line)
    return "\n".join(found)


def _holds(value: Any) -> bool:
    """Whether there is anything to hide: that there is no token is worth knowing."""
    return value is not None and not isinstance(value, bool) and value not in ("", [], {})


def _found(value: Any, *, secret: bool) -> Iterable[str]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _found(one, secret=secret or _secret_in(value, str(key)))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _found(one, secret=secret)
    elif isinstance(value, str):
        if secret:
            yield value
            if "://" in value:
                yield from _of_url(value)
        for user in re.findall(r"://([^\s/?#\"'<>]{1,512})@", value):
            yield user
            yield from user.split(":", 1)[1:]


def _of_url(url: str) -> Iterable[str]:
    """What of a URL that is a secret is one by itself: servers log paths, not URLs."""
    target = "/" + url.partition("://")[2].partition("/")[2].partition("#")[0]
    path, _, query = target.partition("?")
    yield from (target, path)
    last = path.rstrip("/").rpartition("/")[2]
    for one in (last, *(pair.partition("=")[2] for pair in query.split("&"))):
        if not one.islower() or len(one) >= LONG:  # "events" is a word of many texts
            yield one


def _forms(secret: str) -> set[str]:
    """How else a secret is written."""
    data = secret.encode("utf-8", "surrogatepass")
    return {
        secret, json.dumps(secret)[1:-1], quote(data), quote(data, safe=""), quote_plus(data),
        base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode().rstrip("="),
    }  # fmt: skip
