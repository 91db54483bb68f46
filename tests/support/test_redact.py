"""Secrets are taken out wherever they stand, and nothing else is."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsdata.fallback.ledger import Why
from nsdata.support.redact import REDACTED, Redactor, is_secret

SECRET = 's3cr3t/Va+lue"é'


@pytest.mark.parametrize("key", [
    "password", "PASSWORD", "db-password", "dbPassword", "api_key", "apiKey", "APIKey", "x-api-key",
    "token", "tokens", "auth.token", "client_secret", "private-key", "passphrase", "Authorization",
    "snmp_community", "credentials", "psk", "secretKey", "accesskey", "pwd", "pass", "db_pass",
])  # fmt: skip
def test_keys_that_say_so(key: str) -> None:
    assert is_secret(key)
    assert Redactor().tree({key: "v"}) == {key: REDACTED}
    assert Redactor().tree({key: ["v", {"a": 1}]}) == {key: REDACTED}


@pytest.mark.parametrize("key", [
    "token-file", "secret_file", "key-path", "keyword", "monkey", "turkey", "community_id",
    "signature", "signature_id", "author", "name", "tokenizer", "", "42", "bypass", "pass-rules",
])  # fmt: skip
def test_keys_that_do_not(key: str) -> None:
    assert not is_secret(key)
    assert Redactor().tree({key: "v"}) == {key: "v"}


def test_the_ledger_is_whole_in_every_form() -> None:
    ledger = {"reasons": {why.name.lower(): 7 for why in Why}}
    assert Redactor().tree(ledger) == ledger
    for text in (json.dumps(ledger), json.dumps(json.dumps(ledger)), str(ledger)):
        assert Redactor().text(text) == text
        assert REDACTED not in Redactor().lines([text])[0]


def test_that_there_is_no_secret_is_worth_knowing() -> None:
    tree = {"token": None, "password": "", "auth": False}
    assert Redactor().tree(tree) == tree


def test_pairs_of_name_and_value() -> None:
    tree = {"options": [{"name": "notify.token", "value": "v"}, {"name": "rate", "value": "5"}]}
    found = Redactor().tree(tree)["options"]
    assert [one["value"] for one in found] == [REDACTED, "5"]


@pytest.mark.parametrize(("text", "gone"), [
    ("https://me:hunter2@db.example/x", "hunter2"),
    ("https://me:p@ss:word@db.example/x", "ss:word"),
    ("https://onlytoken@db.example/x", "onlytoken"),
    ("postgresql+psycopg://u:hunter2@h/db", "hunter2"),
    ("password=hunter2", "hunter2"),
    ("db_password: hunter2, next", "hunter2"),
    ('{"password": "hunter2 with space"', "with space"),
    ('said \\"token\\": \\"hunter2\\"', "hunter2"),
    ("password='hunter2 too'", "too"),
    ("GET /x?api_key=hunter2&a=b", "hunter2"),
    ("PUT /x?X-Amz-Signature=hunter2&a=b", "hunter2"),
    ("Authorization: Basic aHVudGVyMg==", "aHVudGVyMg"),
    ("Authorization: Digest a=hunter2, b", "hunter2"),
    ("Cookie: a=b; session=hunter2", "hunter2"),
    ("sent Bearer hunter2.hunter2", "hunter2"),
    ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----", "hunter2"),
    ("-----BEGIN PRIVATE KEY-----\nhunter2 cut off", "hunter2"),
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.c2ln", "c2ln"),
    ("whsec_aHVudGVyMg==", "aHVudGVyMg"),
    ("AKIAABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMNOP"),
    ("pwd=hunter2", "hunter2"), ("db_pass=hunter2", "hunter2"), ("pass: hunter2", "hunter2"),
    ("GET /?a=1&pw=hunter2", "hunter2"), ("/x?sessionid=hunter2", "hunter2"),
    ("/x?a=b&sid=hunter2", "hunter2"), ("/x;jsessionid=hunter2", "hunter2"),
    ("with ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_"),
    ("sk_live_abcdefgh12345", "abcdefgh"),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nhunter2\n-----END PGP PRIVATE KEY BLOCK-----",
     "hunter2"),
    ("password: p,hunter2", "hunter2"), ("secret=a;hunter2", "hunter2"),
    ('password=ab"hunter2', "hunter2"), ("password='it''s hunter2'", "hunter2"),
    ('passwd: "unterminated hunter2', "hunter2"), ('"password": ["a", "hunter2"]', "hunter2"),
    ('"token": {"a": "hunter2"', "hunter2"), ('password="a\\"b hunter2"x', "hunter2"),
    ("password=;hunter2", "hunter2"),
])  # fmt: skip
def test_shapes_in_text(text: str, gone: str) -> None:
    found = Redactor().text(text)
    assert gone not in found and REDACTED in found


@pytest.mark.parametrize("text", [
    "alert tcp any any -> any any (msg:\"key exchange\"; sid:1;)", "http://files.example/r.tar.gz",
    "the token bucket is full", "2026-11-23T03:47:48+0000", "mail to me@example.org",
    "monkey=banana", "bypass=3", "pass-through: 7", "sid:2001; rev:3;", "3 pass, 4 drop",
])  # fmt: skip
def test_other_text_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_what_was_learnt_is_found_in_any_dress() -> None:
    redactor = Redactor()
    redactor.learn({"deep": [{"client_secret": {"value": SECRET}}],
                    "url": "http://u:urlpassword@h/"})  # fmt: skip
    for dress in (
        SECRET, json.dumps(SECRET)[1:-1], quote(SECRET), quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(), "urlpassword",
    ):  # fmt: skip
        assert redactor.text(f"before {dress} after") == f"before {REDACTED} after"


def test_lines_of_json_are_redacted_as_such() -> None:
    redactor = Redactor()
    assert json.loads(redactor.line('{"a":{"token":"x y"},"b":1}')) == {
        "a": {"token": REDACTED}, "b": 1,
    }  # fmt: skip
    assert redactor.line('{"a": broken, password=hunter2') == f'{{"a": broken, password={REDACTED}'
    assert redactor.line("[" * 100_000)
    assert redactor.line('{"a":' * 100_000)


BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"


@pytest.mark.parametrize("log", [
    ["T: -----BEGIN PRIVATE KEY-----", BODY, "AA==", "-----END PRIVATE KEY-----"],
    ["T: -----BEGIN RSA PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED", "", f"T: {BODY}"],
    [f"T: {BODY}", "AA==", "T: -----END EC PRIVATE KEY-----"],
    ["password:", BODY],
])  # fmt: skip
def test_what_stands_on_several_lines(log: list[str]) -> None:
    """A key, whole or with one end, and nothing of the log around it."""
    around = ["the one before, here", '{"a":"b"}', *log, "the one behind, here", '{"a":"c"}']
    found = Redactor().lines(around)
    assert BODY[:16] not in "\n".join(found) and "AA==" not in found
    assert found[:2] == around[:2] and found[-2:] == around[-2:] and len(found) > 4


def test_a_secret_of_several_lines_is_known_by_each() -> None:
    assert Redactor([f"begin\n{BODY}\n"]).text(f"said {BODY}") == f"said {REDACTED}"


def test_the_path_of_a_webhook_is_as_secret_as_its_url() -> None:
    redactor = Redactor()
    url = "https://hooks.example/services/T000/B000/XYZxyz"
    redactor.learn({"webhook": {"url": url, "secret-file": None}})
    for text in (url, "/services/T000/B000/XYZxyz", "XYZxyz"):
        assert redactor.text(f"POST {text} HTTP/1.1") == f"POST {REDACTED} HTTP/1.1"
    redactor.learn({"webhook": {"url": "https://hooks.example/in/events", "secret-file": None}})
    assert redactor.text("10 events") == "10 events"


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["password", "name", "value", "token-file", "x", "apiKey"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="<> "), min_size=8, max_size=20)


@given(TREES, SECRETS.filter(lambda text: len(text.strip()) >= 8))
def test_a_secret_is_gone_from_every_place(tree: object, secret: str) -> None:
    """Wherever the same value stands, once it stood under a key that says so."""
    redactor = Redactor()
    whole = {"a": tree, "auth": {"token": secret}, "log": f"<{secret}>", "list": [secret]}
    redactor.learn(whole)
    found = redactor.tree(whole)
    assert found["list"] == [REDACTED] and found["auth"] == REDACTED
    assert found["log"] == f"<{REDACTED}>"
    assert redactor.tree(found) == found  # once is enough


@given(st.text(max_size=400))
def test_any_text_can_be_redacted(text: str) -> None:
    assert isinstance(Redactor(["hunter2hunter2"]).text(text), str)
