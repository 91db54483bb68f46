"""Pages over HTTP: who may see what, forms, sessions, errors a person understands."""

import re
from pathlib import Path
from uuid import uuid4

import pytest
from fastapi.routing import APIRoute
from site_ import LINK, Site, wait
from visitor import HOSTILE, PASSWORD, Prepared, user, visitor

from nsdata.manager.api.guard import OPEN
from nsdata.manager.audit import Role
from nsdata.manager.pages.mount import ROUTERS

OTHER = "another correct horse"


@pytest.fixture(scope="module")
def prepared(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    made = Prepared(site, tmp_path_factory.mktemp("prepared"), "edge-1")
    made.send(made.told())
    return made


def pages(appliance: str) -> list[tuple[str, str, str]]:
    """Every (method, path, role it needs) of the pages."""
    values = {"appliance_id": appliance, "report_id": str(uuid4()), "name": "nsdata.css"}
    found = []
    for route in (one for router in ROUTERS for one in router.routes):
        assert isinstance(route, APIRoute)
        path = re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], "1"), route.path)
        for method in sorted(route.methods):
            found.append((method, path, str(route.endpoint.needs)))
    return found


def test_every_page_is_for_whom_it_is(site: Site, prepared: Prepared) -> None:
    every = pages(prepared.id)
    assert len(every) > 35
    for method, path, needs in every:  # said here as well, apart from the code
        if path.startswith("/admin/") or path.endswith("/remove"):
            assert needs == Role.ADMIN, path
        elif path.startswith("/appliances/"):
            acts = method == "POST" or path.endswith(("/inspection", "/reboot", "/archive"))
            assert needs == (Role.OPERATOR if acts else Role.VIEWER), path
    with visitor(site, None) as nobody:
        for method, path, needs in every:
            answer = nobody.client.request(method, path)
            if needs == OPEN:
                assert answer.status_code == 200 or method == "POST" or "/password/" in path, path
                continue
            assert answer.status_code == 303, path
            assert answer.headers["location"].startswith("/login"), path
    for role in Role:
        with visitor(site, role) as somebody:
            for method, path, needs in every:
                answer = somebody.client.request(method, path, params={"to": "bypass"})
                told = f"{role} {method} {path}"
                if needs != OPEN and not role.includes(Role(needs)):
                    assert answer.status_code == 403, told
                    assert "needs the role" in answer.text, told
                elif method == "POST":  # which nobody gets past without the form's token
                    assert answer.status_code == 403, told
                    assert "CSRF" in answer.text, told
                elif path.endswith("/archive"):
                    assert answer.status_code == 404, told  # of a report that is none
                elif "/password/" not in path:
                    assert answer.status_code in (200, 303), told
                assert "application/json" not in answer.headers.get("content-type", "") or (
                    path.endswith(".json")
                ), told


def test_who_may_not_sees_no_control(site: Site, prepared: Prepared) -> None:
    at = f"/appliances/{prepared.id}"
    with visitor(site, Role.VIEWER) as viewer, visitor(site, Role.OPERATOR) as operator:
        for path in ("/appliances", at, f"{at}/traffic", f"{at}/events"):
            text = viewer.get(path).text
            forms = re.findall(r'<form method="(\w+)" action="([^"]+)"', text)
            acts = [one for one in forms if one[1] not in ("/theme", "/logout", "/appliances")]
            assert not acts, path
            for word in ("Reboot Appliance", "Create Report", 'role="switch"', "/remove", "/admin"):
                assert word not in text, (path, word)
        text = operator.get(at).text
        assert 'role="switch" aria-checked="true"' in text
        assert "Reboot Appliance" in text and "Create Report" in text
        assert "/admin" not in text and "/remove" not in operator.get("/appliances").text


def test_the_first_start(tmp_path: Path) -> None:
    with Site(tmp_path) as site, visitor(site, None) as first:
        link = wait(lambda: LINK.search(site.log()), "the link is printed", site.log)
        page = f"/password/{link[1]}"
        assert "Set the password of admin" in first.get(page).text
        short = first.post(page, page, password="short", again="short")
        assert short.status_code == 422 and "12 to 200 characters" in short.text
        unlike = first.post(page, page, password=PASSWORD, again=OTHER)
        assert unlike.status_code == 422 and "not the same" in unlike.text
        done = first.post(page, page, password=PASSWORD, again=PASSWORD)
        assert (done.status_code, done.headers["location"]) == (303, "/")
        assert "No appliance has enrolled yet" in first.get("/appliances").text
        again = first.get(page)
        assert again.status_code == 403 and "used up" in again.text


def test_signing_in_and_out(site: Site) -> None:
    name = user(site, Role.VIEWER)
    with visitor(site, None) as one:
        wrong = one.sign_in(name, "wrong")
        unknown = one.sign_in("nobody-at-all", "wrong")
        assert wrong.status_code == unknown.status_code == 401
        for answer in (wrong, unknown):
            assert "name or password is wrong" in answer.text
        for elsewhere in ("//evil.example/", "https://evil.example/", "/\\evil.example", "\\/e"):
            answer = one.post("/login", name=name, password=PASSWORD, next=elsewhere)
            assert (answer.status_code, answer.headers["location"]) == (303, "/"), elsewhere
            one.client.cookies.clear()
        answer = one.get("/appliances?state=fallback")
        assert answer.headers["location"] == "/login?next=%2Fappliances%3Fstate%3Dfallback"
        page = one.get(answer.headers["location"]).text
        assert 'name="next" value="/appliances?state=fallback"' in page
        answer = one.post("/login", name=name, password=PASSWORD, next="/appliances?state=fallback")
        assert answer.headers["location"] == "/appliances?state=fallback"
        cookie = answer.headers["set-cookie"]
        for word in ("__Host-nsdata=", "HttpOnly", "Secure", "SameSite=strict", "Path=/"):
            assert word in cookie
        assert one.get("/account").status_code == 200
        assert one.post("/logout", "/account").headers["location"] == "/login"
        assert one.get("/account").status_code == 303


def test_too_many_wrong_passwords(tmp_path: Path) -> None:
    with Site(tmp_path) as site, visitor(site, None) as one:
        name = user(site, Role.VIEWER)
        for _ in range(5):
            assert one.sign_in(name, "wrong").status_code == 401
        answer = one.sign_in(name, PASSWORD)
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0
        assert "too many failed tries" in answer.text


def test_ones_own_password(site: Site) -> None:
    with visitor(site, Role.VIEWER) as one, visitor(site, None) as other:
        assert other.sign_in(one.name, PASSWORD).status_code == 303
        at = "/account/password"
        wrong = one.post(at, "/account", present="wrong", password=OTHER, again=OTHER)
        assert wrong.status_code == 422 and "present password is wrong" in wrong.text
        assert other.get("/account").status_code == 200
        done = one.post(at, "/account", present=PASSWORD, password=OTHER, again=OTHER)
        assert done.status_code == 200 and "password is changed" in done.text
        assert one.get("/account").status_code == 200
        assert other.get("/account").status_code == 303  # their session is over
        assert other.sign_in(one.name, PASSWORD).status_code == 401
        assert other.sign_in(one.name, OTHER).status_code == 303


def test_a_form_from_elsewhere_does_nothing(site: Site, prepared: Prepared) -> None:
    at = f"/appliances/{prepared.id}/inspection"
    with visitor(site, Role.OPERATOR) as one, visitor(site, Role.OPERATOR) as other:
        for token in ("", "wrong", other.csrf("/account")):
            answer = one.client.post(at, data={"csrf": token, "to": "bypass"})
            assert answer.status_code == 403
        assert not prepared.send(prepared.told())["commands"]
        sent = one.client.post(at, json={"csrf": one.csrf("/account"), "to": "bypass"})
        assert sent.status_code == 415
    with visitor(site, None) as nobody:
        name = user(site, Role.VIEWER)
        answer = nobody.client.post("/login", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 403 and "load the page again" in " ".join(answer.text.split())


def test_errors_are_pages(site: Site, prepared: Prepared) -> None:
    with visitor(site, Role.ADMIN) as one:
        for path, status, words in (
            ("/nothing", 404, "There is no such page"),
            (f"/appliances/{uuid4()}", 404, "there is no such appliance"),
            ("/appliances/42", 422, "appliance_id"),
            ("/appliances?sort=colour", 422, "legal are name"),
            ("/appliances?cursor=x", 422, "cursor"),
            (f"/appliances/{prepared.id}/events?since=yesterday", 422, "2026-11-23T03:40"),
            ("/logout", 405, "Method Not Allowed"),
        ):
            answer = one.get(path)
            assert answer.status_code == status, path
            assert answer.headers["content-type"].startswith("text/html"), path
            assert words in answer.text and "<nav" in answer.text, path
        api = one.get("/api/v1/nothing")
        assert api.headers["content-type"].startswith("application/problem+json")


def test_headers_of_pages(site: Site) -> None:
    with visitor(site, Role.VIEWER) as one:
        answer = one.get("/appliances")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'" in policy and "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"\son\w+=|style=|<style|javascript:|https?://(?!127)", answer.text)
        urls = re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text)
        assert len(urls) == 4
        for url in urls:
            file = one.get(url)
            assert file.status_code == 200 and "immutable" in file.headers["cache-control"]
        for name in ("x", "..%2Fguard.py", "base.html"):
            assert one.get(f"/static/{name}").status_code == 404


def test_how_it_looks_is_kept(site: Site) -> None:
    with visitor(site, None) as one:
        assert 'data-theme="auto"' in one.get("/login").text
        answer = one.post("/theme", theme="dark", next="/login")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert 'data-theme="dark"' in one.get("/login").text
        one.post("/theme", theme='"><script>', next="/login")
        assert 'data-theme="dark"' in one.get("/login").text


# --- administration -------------------------------------------------------------------------


def made_of(text: str) -> str:
    """What is shown once."""
    found = re.search(r'id="made">([^<]+)<', text)
    assert found
    return found[1]


def test_users(site: Site) -> None:
    with visitor(site, Role.ADMIN) as admin, visitor(site, None) as new:
        at = "/admin/users"
        name = f"new-{uuid4().hex[:6]}"
        made = admin.post(at, at, name=name, role="operator")
        link = made_of(made.text).removeprefix(site.url)
        assert link not in admin.get(at).text
        assert new.post(link, link, password=PASSWORD, again=PASSWORD).status_code == 303
        number = next(one.id for one in site.service.accounts.users() if one.name == name)
        assert admin.post(at, at, name=name, role="viewer").status_code == 409
        assert admin.post(at, at, name="a b", role="viewer").status_code == 422
        assert admin.post(f"{at}/{number}", at, do="role", role="viewer").status_code == 303
        assert admin.post(f"{at}/{number}", at, do="role", role="king").status_code == 422
        assert new.get("/account").status_code == 303  # another role: sign in again
        assert new.sign_in(name, PASSWORD).status_code == 303
        assert "(viewer)" in new.get("/account").text
        admin.post(f"{at}/{number}", at, do="disable")
        assert new.sign_in(name, PASSWORD).status_code == 401
        admin.post(f"{at}/{number}", at, do="enable")
        assert "One-time link" in admin.post(f"{at}/{number}", at, do="link").text
        assert admin.post(f"{at}/{number}", at, do="remove").status_code == 303
        assert name not in admin.get(at).text
        assert admin.post(f"{at}/{number}", at, do="remove").status_code == 404
        log = admin.get(f"/admin/audit?q={name}").text
        for action in ("user.add", "user.change", "user.password-link", "user.remove"):
            assert action in log


def test_the_last_admin_stays(tmp_path: Path) -> None:
    with Site(tmp_path) as site, visitor(site, Role.ADMIN) as admin:
        for one in site.service.accounts.users():
            if one.name == admin.name:
                number = one.id
            else:  # the admin of the first start
                admin.post(f"/admin/users/{one.id}", "/admin/users", do="remove")
        for do in ("remove", "disable"):
            answer = admin.post(f"/admin/users/{number}", "/admin/users", do=do)
            assert answer.status_code == 409 and "one enabled admin" in answer.text


def test_api_tokens(site: Site) -> None:
    at = "/admin/tokens"
    with visitor(site, Role.ADMIN) as admin:
        made = admin.post(at, at, name="nightly", role="viewer", days="1")
        token = made_of(made.text)
        assert token not in admin.get(at).text and "nightly" in admin.get(at).text
        with visitor(site, None) as program:
            headers = {"Authorization": f"Bearer {token}"}
            assert program.get("/api/v1/about", **headers).status_code == 200
            number = site.service.accounts.tokens()[0][0].id
            assert admin.post(f"{at}/{number}/revoke", at).status_code == 303
            assert program.get("/api/v1/about", **headers).status_code == 401
        assert admin.post(at, at, name="n", role="viewer", days="0").status_code == 422


def test_enrolment_tokens(site: Site) -> None:
    at = "/admin/enrolment"
    with visitor(site, Role.ADMIN) as admin:
        made = admin.post(at, at, note=HOSTILE, hours="1")
        token = made_of(made.text)
        assert token.endswith(site.service.authority.fingerprint)
        text = admin.get(at).text
        assert token not in text and "<script>alert" not in text and "&lt;script&gt;alert" in text
        number = site.service.enrolments.tokens()[0].id
        assert admin.post(f"{at}/{number}/revoke", at).status_code == 303
        assert "revoked" in admin.get(at).text


def test_the_session_that_is_over_is_told_to_the_page(site: Site) -> None:
    with visitor(site, None) as one:
        answer = one.get(
            "/appliances?part=table",
            **{"HX-Request": "true", "HX-Current-URL": f"{site.url}/appliances?q=x"},
        )
        assert answer.status_code == 401
        assert answer.headers["hx-redirect"] == "/login?next=%2Fappliances%3Fq%3Dx"


def test_a_part_is_sent_when_it_has_changed(site: Site) -> None:
    with visitor(site, Role.VIEWER) as one:
        text = one.get("/appliances").text
        url = re.search(r'id="part-summary" hx-get="([^"]+)"', text)
        assert url
        at = url[1].replace("&amp;", "&")
        assert one.get(at).status_code == 204
        assert one.get(at.replace("seen=", "seen=x")).status_code == 200
