"""boyacky: a board for today's grumbles.

A grumble ("boyaki" in Japanese) is posted, seen by all for the rest of the day,
and deleted by whoever thinks better of it.
"""

import os
import re
from datetime import datetime, timezone
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from flask import Flask, abort, jsonify, redirect, render_template, request, url_for

from .store import open_store

MAX_LENGTH = 140  # characters of one grumble
ID = re.compile(r"[0-9a-f]{32}")


def create_app(env=os.environ):
    """Make the application from its environment.

    BOYACKY_STORE      "dynamodb" (the default) or "memory"
    AWS_REGION         where the table is
    DYNAMODB_ENDPOINT  another endpoint than that of the region, for tests
    TZ                 the zone in which a day begins and ends; UTC by default
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 16 * 1024
    store = open_store(env)
    zone = read_zone(app, env.get("TZ"))

    @app.get("/")
    def index():
        return show_board()

    @app.post("/grumbles")
    def create():
        text = clean(request.form.get("text", ""))
        if not text:
            return show_board(problem="Say something. Anything."), 400
        if len(text) > MAX_LENGTH:
            problem = f"{len(text)} characters are {len(text) - MAX_LENGTH} too many."
            return show_board(problem=problem, draft=text), 400
        now = datetime.now(zone)
        store.add(now.date().isoformat(), now.strftime("%H:%M:%S.%f"), text)
        return redirect(url_for("index"), 303)

    @app.post("/grumbles/<grumble_id>/delete")
    def delete(grumble_id):
        if not ID.fullmatch(grumble_id):
            abort(404)
        store.delete(grumble_id)
        return redirect(url_for("index"), 303)

    @app.get("/healthz")
    def healthz():
        # Whether this process serves; not whether DynamoDB does, which
        # restarting this one would not mend.
        return jsonify(status="ok", store=store.name)

    def show_board(**more):
        today = datetime.now(zone).date()
        return render_template(
            "index.html",
            today=today,
            zone=zone,
            grumbles=store.list(today.isoformat()),
            max_length=MAX_LENGTH,
            **more,
        )

    @app.before_request
    def refuse_other_sites():
        # There are no cookies and no logins, so nobody's rights to borrow; but
        # no other page shall make its visitors grumble here.
        if request.method != "POST":
            return
        origin = request.headers.get("Origin")
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if site not in ("same-origin", "none") or (
            origin is not None and urlsplit(origin).netloc != request.host
        ):
            abort(403)

    @app.after_request
    def harden(response):
        response.headers["Content-Security-Policy"] = (
            "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
        )
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        if request.endpoint != "static":
            response.headers["Cache-Control"] = "no-store"
        return response

    return app


def clean(text):
    """One line of text: white space collapsed, control characters gone."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def read_zone(app, name):
    """The zone of that name; UTC if there is none of that name here."""
    if name and name != "UTC":
        try:
            return ZoneInfo(name)
        except (OSError, ValueError, LookupError):
            app.logger.warning("no time zone %r on this system, days are those of UTC", name)
    return timezone.utc
