"""E-mail over SMTP: one message with a plain and an HTML part to everybody in ``mail_to``.

The Message-ID follows from the notification's id: a mail program that has the message already recognises a repeat, and all
messages of a training are one conversation.
"""

from __future__ import annotations

import hashlib
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from mlops_assets.reports.notifications import Notification, for_mail_html, for_mail_text, one_line
from resources.channels.posting import SOCKET_SECONDS, fault, is_loopback
from resources.notifier import Undelivered

if TYPE_CHECKING:
    from mlops_assets.reports.notifications import Event
    from resources.settings import Settings
    from resources.tracker import Tracker

SUBJECT_CHARACTERS: Final = 200


class EmailChannel:
    """Sends through one mail server, over TLS unless it is a relay on this machine."""

    def __init__(self, settings: Settings, tracker: Callable[[], Tracker]) -> None:
        self._settings = settings

    @classmethod
    def lacking(cls, settings: Settings) -> tuple[str, ...]:
        """Server, sender and recipients; the password where there is a user."""
        needed = {
            "smtp_host": bool(settings.smtp_host),
            "mail_from": bool(settings.mail_from),
            "mail_to": bool(settings.mail_to),
            "smtp_password": settings.smtp_user is None or settings.smtp_password is not None,
        }
        return tuple(name for name, is_there in needed.items() if not is_there)

    @classmethod
    def takes(cls, event: Event) -> bool:
        """Every event."""
        return True

    def send(self, notification: Notification, attempt: int) -> None:
        """Hand the message to the mail server.

        Raises:
            Undelivered: retryable for answers 4xx and where nothing answers; for good for 5xx and for settings that cannot work.
        """
        message = mail(notification, self._settings.mail_from or "", self._settings.mail_to)
        try:
            self._hand_over(message)
            return
        except smtplib.SMTPException as error:
            refused = self._judged(error)
        except OSError as error:
            refused = Undelivered(True, fault(error))
        except ValueError:
            refused = Undelivered(
                False, "smtp_user or smtp_password has characters that SMTP cannot carry; only ASCII is possible"
            )
        raise refused  # outside the handler, so that no traceback shows what was sent to the server

    def _hand_over(self, message: EmailMessage) -> None:
        settings = self._settings
        host, port = settings.smtp_host or "", settings.smtp_port
        if settings.smtp_user is not None and settings.smtp_security == "none" and not is_loopback(host):
            raise Undelivered(False, "no password is sent without TLS: set smtp_security to starttls or tls")
        name = socket.gethostname()
        said = name if "." in name else "[127.0.0.1]"  # as RFC 5321 4.1.3 has it; smtplib would ask the DNS, which may hang
        context = ssl.create_default_context()
        server = (
            smtplib.SMTP_SSL(host, port, local_hostname=said, timeout=SOCKET_SECONDS, context=context)
            if settings.smtp_security == "tls"
            else smtplib.SMTP(host, port, local_hostname=said, timeout=SOCKET_SECONDS)
        )
        try:
            if settings.smtp_security == "starttls":
                server.starttls(context=context)
            if settings.smtp_user is not None and settings.smtp_password is not None:
                server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
            refused = server.send_message(message)
            with suppress(smtplib.SMTPException, OSError):  # it has been taken; a rude goodbye changes nothing
                server.quit()
        finally:
            server.close()
        if refused:
            count = f"{len(refused)} of {len(settings.mail_to)} recipients"
            codes = ", ".join(sorted({str(code) for code, _ in refused.values()}))
            # Sending again would send it twice to the others.
            raise Undelivered(False, f"the mail server refused {count} ({codes}); the others have it")

    def _judged(self, error: smtplib.SMTPException) -> Undelivered:
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            codes = [code for code, _ in error.recipients.values()]
            listed = ", ".join(sorted({str(code) for code in codes}))
            return Undelivered(any(code < 500 for code in codes), f"the mail server refused every recipient ({listed})")
        if isinstance(error, smtplib.SMTPAuthenticationError):
            later = error.smtp_code < 500
            return Undelivered(later, f"the mail server refused user and password ({error.smtp_code})")
        if isinstance(error, smtplib.SMTPResponseException):
            said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else str(error.smtp_error)
            text = one_line(self._without_secrets(said), 200)
            return Undelivered(error.smtp_code < 500, f"the mail server answered {error.smtp_code} ({text})")
        if isinstance(error, smtplib.SMTPNotSupportedError):
            return Undelivered(False, f"the mail server cannot do what the settings ask for ({one_line(error, 120)})")
        if isinstance(error, smtplib.SMTPServerDisconnected):
            return Undelivered(True, "the mail server closed the connection")
        return Undelivered(True, f"the mail server failed ({type(error).__name__})")

    def _without_secrets(self, text: str) -> str:
        password = self._settings.smtp_password
        return text.replace(password.get_secret_value(), "…") if password is not None and password.get_secret_value() else text


def mail(notification: Notification, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """The message; the same notification gives the same Message-ID.

    Raises:
        Undelivered: sender or recipients are not mail addresses.
    """
    domain = re.search(r"@([A-Za-z0-9.-]+)>?\s*$", sender)
    place = domain[1] if domain else "mlops.invalid"
    message = EmailMessage()
    try:
        message["From"] = sender
        message["To"] = ", ".join(recipients)
        addresses = [address for header in ("From", "To") for address in message[header].addresses]
        usable = len(addresses) == 1 + len(recipients) and all(one.username and one.domain for one in addresses)
    except (ValueError, IndexError):  # a line end in an address
        usable = False
    if not usable:
        raise Undelivered(False, "the settings mail_from and mail_to have to be mail addresses such as team@example.com")
    message["Subject"] = one_line(notification.title, SUBJECT_CHARACTERS)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{_identity(notification.id)}@{place}>"
    message["References"] = f"<{_identity(notification.training_id)}@{place}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence notice shall answer it
    message["X-Mlops-Notification"] = notification.id
    message["Content-Language"] = notification.language
    message.set_content(for_mail_text(notification))
    message.add_alternative(for_mail_html(notification), subtype="html")
    return message


def _identity(text: str) -> str:
    """The left side of a Message-ID (RFC 5322, 3.6.4): ``text`` where it is a dot-atom, else its digest."""
    safe = re.fullmatch(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*", text) and len(text) <= 200
    return text if safe else hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
