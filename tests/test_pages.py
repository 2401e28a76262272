"""The library and the way in, without a browser: who gets them, and what they load."""

import re

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from accounts.models import User

PASSWORD = "correct horse battery staple"


@pytest.fixture
def reader(db) -> User:
    """Somebody with a password and no rights in the admin."""
    return User.objects.create_user("reader", password=PASSWORD)


@pytest.fixture
def session(reader) -> Client:
    client = Client()
    client.force_login(reader)
    return client


def test_who_is_not_signed_in_is_led_to_the_library_by_way_of_the_sign_in(reader):
    client = Client()
    answer = client.get("/", follow=True)
    assert answer.redirect_chain == [("/login/?next=/", 302)]
    answer = client.post("/login/", {"username": "reader", "password": PASSWORD, "next": "/"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert b"Sign out reader" in client.get("/").content


def test_a_wrong_password_is_told_in_words(reader):
    client = Client()
    answer = client.post("/login/", {"username": "reader", "password": "wrong"})
    assert answer.status_code == 200
    assert b"Please enter a correct username and password" in answer.content
    assert "sessionid" not in client.cookies


def test_the_sign_in_leads_to_no_other_site(reader):
    given = {"username": "reader", "password": PASSWORD, "next": "https://evil.example/"}
    assert Client().post("/login/", given).headers["Location"] == "/"


def test_signing_out_takes_a_click_and_no_mere_link(session):
    assert session.get("/logout/").status_code == 405
    assert session.get("/").status_code == 200
    assert session.post("/logout/").status_code == 302
    assert session.get("/").status_code == 302


OWN = {"old_password": PASSWORD, "new_password1": "one of my own", "new_password2": "one of my own"}


def test_a_password_that_was_given_is_changed_before_the_library_opens(reader):
    reader.must_change_password = True
    reader.save()
    client = Client()
    given = {"username": "reader", "password": PASSWORD, "next": "/"}
    assert client.post("/login/", given, follow=True).request["PATH_INFO"] == "/password/"
    wrong = client.post("/password/", OWN | {"old_password": "wrong"})
    assert b"Your old password was entered incorrectly" in wrong.content
    assert client.get("/").headers["Location"] == "/password/"
    assert client.post("/password/", OWN).headers["Location"] == "/"
    assert client.get("/").status_code == 200
    reader.refresh_from_db()
    assert reader.check_password("one of my own")


def test_anybody_can_change_their_password(session):
    assert 'href="/password/"' in session.get("/").content.decode()
    assert b"at the first start" not in session.get("/password/").content
    assert session.post("/password/", OWN).headers["Location"] == "/"
    assert Client().get("/password/").headers["Location"] == "/login/?next=/password/"


@pytest.mark.parametrize("path", ["/", "/login/", "/password/"])
def test_a_page_loads_everything_from_here_and_runs_nothing_of_its_own(session, path):
    client = Client() if path == "/login/" else session
    answer = client.get(path)
    html = answer.content.decode()
    loaded = re.findall(r'<(?:script|link)[^>]* (?:src|href)="([^"]+)"', html)
    assert loaded
    for address in loaded:
        assert address.startswith("/static/")
        assert finders.find(address.removeprefix("/static/"))
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", html)
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "script-src" not in answer.headers["Content-Security-Policy"]


def test_the_script_can_prove_where_its_requests_come_from(session):
    assert session.get("/").cookies["csrftoken"].value


def test_the_library_leads_only_where_there_is_something(session, settings):
    settings.GRAPHIQL = False
    html = session.get("/").content.decode()
    assert "/graphql" not in html
    assert "/admin/" not in html
    settings.GRAPHIQL = True
    assert 'href="/graphql"' in session.get("/").content.decode()


def test_a_forged_sign_in_is_refused_in_a_page(reader):
    client = Client(enforce_csrf_checks=True)
    answer = client.post("/login/", {"username": "reader", "password": PASSWORD})
    assert (answer.status_code, answer.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
