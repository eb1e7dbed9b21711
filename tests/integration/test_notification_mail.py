"""Mails over a real SMTP server: every kind of connection, refusals, certificates, and that a title adds nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from notification_senders import HOSTILE, THREAD, failure, mail_settings, send, told

from tests.standins.smtp import SmtpService, make_certificates

pytestmark = [
    pytest.mark.service,
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),  # a relay on this machine
]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def trusted(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "authority.pem"))


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("security", ["starttls", "tls", "none"])
def test_a_mail_arrives_over_every_kind_of_connection(certificates: Path, security: Any) -> None:
    with SmtpService(security, certificates) as service:
        send("email", told("deployed", version="v1.0.0", environment="dev"), **mail_settings(service, security))
    (mail,) = service.mails
    assert service.recipients == [("team@example.com", "lead@example.com")]
    assert service.was_encrypted == [security != "none"]
    assert mail["Subject"] == "[mlops] デプロイ完了: churn（#12 解約予測）"
    assert mail["From"] == "MLOps 基盤 <mlops@example.com>"
    parts = {part.get_content_type(): part.get_content() for part in mail.iter_parts()}
    assert "v1.0.0" in parts["text/plain"] and THREAD in parts["text/plain"]
    assert f'href="{THREAD}"' in parts["text/html"] and 'lang="ja"' in parts["text/html"]


def test_a_repeated_mail_has_the_same_message_id_and_a_trainings_mails_one_thread() -> None:
    with SmtpService("none") as service:
        for notification in (told("approval_needed"), told("failed"), told("failed")):
            send("email", notification, **mail_settings(service, "none"))
    ids = [mail["Message-ID"] for mail in service.mails]
    assert ids[1] == ids[2] != ids[0] and all(one.endswith("@example.com>") for one in ids)
    assert len({mail["References"] for mail in service.mails}) == 1
    assert {mail["Auto-Submitted"] for mail in service.mails} == {"auto-generated"}


def test_a_hostile_title_adds_no_header_no_recipient_and_no_markup_to_a_mail() -> None:
    with SmtpService("none") as service:
        send("email", told(issue_title=HOSTILE, error=HOSTILE, by=HOSTILE), **mail_settings(service, "none"))
    (mail,) = service.mails
    assert mail["Bcc"] is None and service.recipients == [("team@example.com", "lead@example.com")]
    assert mail.keys().count("Subject") == 1 and "<!channel>" in mail["Subject"]
    markup = next(part.get_content() for part in mail.iter_parts() if part.get_content_subtype() == "html")
    assert "<script" not in markup and "&lt;script&gt;" in markup


@pytest.mark.parametrize(
    ("answer", "retryable"), [("451 try later", True), ("421 closing", True), ("554 no", False), ("552 too large", False)]
)
def test_how_the_mail_server_refuses_decides_whether_it_is_tried_again(answer: str, retryable: bool) -> None:
    with SmtpService("none") as service:
        service.answers = [answer]
        failed = failure("email", told(), **mail_settings(service, "none"))
    assert failed.retryable is retryable and answer[:3] in failed.reason
    assert service.mails == []


@pytest.mark.parametrize(("answer", "retryable"), [("450 greylisted", True), ("550 unknown", False)])
def test_refused_recipients_are_counted_and_the_others_get_no_second_mail(answer: str, retryable: bool) -> None:
    with SmtpService("none") as service:
        service.refused_recipients = {"team@example.com": answer, "lead@example.com": answer}
        assert failure("email", told(), **mail_settings(service, "none")).retryable is retryable
        del service.refused_recipients["lead@example.com"]
        failed = failure("email", told(), **mail_settings(service, "none"))
    assert not failed.retryable and "1 of 2 recipients" in failed.reason
    assert service.recipients == [("lead@example.com",)]


@pytest.mark.usefixtures("trusted")
def test_a_wrong_password_is_not_tried_again_and_not_told(certificates: Path) -> None:
    with SmtpService("starttls", certificates) as service:
        failed = failure("email", told(), **mail_settings(service, "starttls", smtp_password="wrong horse"))
    assert not failed.retryable and "refused user and password" in failed.reason and "wrong horse" not in str(failed)


def test_a_certificate_that_cannot_be_trusted_gets_neither_mail_nor_password(certificates: Path) -> None:
    for security in ("starttls", "tls"):
        with SmtpService(security, certificates) as service:  # type: ignore[arg-type]
            failed = failure("email", told(), **mail_settings(service, security))
        assert "certificate" in failed.reason and service.mails == []


def test_a_server_without_starttls_gets_nothing() -> None:
    with SmtpService("none") as service:
        failed = failure("email", told(), **mail_settings(service, "starttls"))
    assert not failed.retryable and "STARTTLS" in failed.reason and service.mails == []


def test_a_password_never_leaves_this_machine_without_tls() -> None:
    with SmtpService("none") as service:
        failed = failure("email", told(), **mail_settings(service, "none", smtp_host="mail.example.com"))
    assert not failed.retryable and "TLS" in failed.reason


@pytest.mark.parametrize(
    "changed", [{"mail_from": "nobody"}, {"mail_from": "a@b.c\r\nBcc: x@y.z"}, {"mail_to": ("team@example.com", "x")}]
)
def test_addresses_that_are_none_are_a_mistake_in_the_settings(changed: dict[str, Any]) -> None:
    with SmtpService("none") as service:
        failed = failure("email", told(), **mail_settings(service, "none", **changed))
    assert not failed.retryable and "mail_from and mail_to" in failed.reason and service.mails == []


def test_a_server_that_hangs_up_or_is_not_there_is_tried_again() -> None:
    with SmtpService("none") as service:
        given = mail_settings(service, "none")
        service.answers = ["drop"]
        failed = failure("email", told(), **given)
        assert failed.retryable and "closed the connection" in failed.reason
        send("email", told(), **given)
    failed = failure("email", told(), **given)
    assert failed.retryable and "refused" in failed.reason


def test_a_password_that_smtp_cannot_carry_is_a_mistake_in_the_settings_and_not_told() -> None:
    with SmtpService("none") as service:
        failed = failure("email", told(), **mail_settings(service, "none", smtp_password="合言葉"))
    assert not failed.retryable and "smtp_password" in failed.reason and "合言葉" not in failed.reason
