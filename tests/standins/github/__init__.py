"""A small GitHub for tests and for development: stateful, over real HTTP, held to GitHub's own API description.

    with GitHubStandIn(repository="acme/models") as github:
        github.add_user("maintainer", permission="write")          # none/read/triage/write/maintain/admin; returns the token
        github.add_user("some-bot", permission="write", bot=True)  # type Bot
        github.url, github.token("maintainer")                     # API base URL with its prefix; token of an account
        n = github.open_issue("requester", "title", "body", labels=["mlops:train"])   # number; accounts are made when named
        c = github.comment(n, "platform", "text")                  # comment id
        github.react(c, "maintainer", "+1"); github.unreact(c, "maintainer", "+1")
        github.edit_issue(n, "requester", body="…"); github.close_issue(n, "requester"); github.label(n, "maintainer", "x")
        github.edit_comment(c, "platform", "…"); github.delete_comment(c, "platform")
        github.push("maintainer", {"src/a.py": "print()"}, "message")                 # commit SHA; hooks are told
        github.issue(n), github.comments(n)                        # JSON as GitHub sends it
        github.labels(n), github.reactions(c)                      # {names}; [(login, content)]
        github.files("training_history"), github.commits()         # {path: bytes}; newest first, with .sha .message .author

    Webhooks     add_hook(url, secret, events); wait_for_deliveries(); deliveries; redeliver(delivery)
    Counting     requests -> [RequestRecord(method, path, query, status, conditional, not_modified, actor, …)]; clear_requests()
    Faults       fail(500, "POST", r"/comments$"), fail("secondary", times=2, seconds=1), fail("primary"), fail("close"),
                 fail("delay", seconds=2), fail("lost", "POST") (done, answered 500), fail("lost-close"); clear_faults()
    Kill tests   on_write(callback, "before"|"after") -> how to end it; callback(request, actor) runs in the server's thread
    Apps         add_app(slug) -> id, private_key (PEM), installation; acts as slug[bot] (not in the API description's cut)
    Anything     do(author, method, path, body) performs any operation as somebody; Refused is raised as GitHub would answer
    Pages        github.html_url + "/acme/models/issues/1" shows a thread; ``control`` is the rest under /_standin
    Limits       limit(login, remaining); GitHubStandIn(writes_per_minute=80)
    Time         GitHubStandIn(clock=ManualClock()) and clock.advance(seconds); times are kept to the second
    Contract     see ``contract``: every exchange of a test against the API description

What people do through Python takes the same operations as HTTP does (permissions, times, webhooks); only faults, rate limits and
the request log see HTTP alone. Not here: GraphQL, pull requests, milestones, projects, organisations' teams, media types other
than JSON and raw.
"""

from tests.standins.github.exchange import Exchange, Refused, Request, RequestRecord
from tests.standins.github.faults import Fault
from tests.standins.github.standin import GitHubStandIn
from tests.standins.github.state import ManualClock

__all__ = ["Exchange", "Fault", "GitHubStandIn", "ManualClock", "Refused", "Request", "RequestRecord"]
