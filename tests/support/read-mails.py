"""Reads mails with Python's own email package, which had no part in writing them.

Reads {"mails": [base64, ...], "names": [field name, ...]} as JSON from standard input, and prints for each mail what a reader finds:
addresses, subject, the named fields, text, html and files.
"""
import base64
import email
import json
import re
import sys
from email.header import decode_header
from email.utils import getaddresses, parsedate_to_datetime

asked = json.load(sys.stdin)
named = {name.lower() for name in asked["names"]}


def raw_text(value):
    """Unfolded (RFC 5322 section 2.2.3), as UTF-8 where it is not ASCII (RFC 6532), without the space behind the colon."""
    text = str(value).encode("utf-8", "surrogateescape").decode("utf-8")
    return unfolded(text).lstrip(" ")


def unfolded(text):
    return re.sub(r"\r?\n(?=[ \t])", "", text)


def decoded(text):
    if "=?" not in text:
        return text
    parts = decode_header(text)
    return "".join(p if isinstance(p, str) else p.decode(charset or "utf-8") for p, charset in parts)


def filename(part):
    """As get_filename finds it, which takes angle brackets for quotes, and leaves a fold in a quoted one where it is."""
    value = part.get_param("filename", header="content-disposition")
    if isinstance(value, tuple):  # RFC 2231
        return value[2].encode("raw-unicode-escape").decode(value[0])
    return unfolded(value)


def read(octets):
    mail = email.message_from_bytes(octets)
    fields = [(name.lower(), raw_text(value)) for name, value in mail.raw_items()]
    first = dict(reversed(fields))

    def mailboxes(name):
        return [[decoded(shown), address] for shown, address in getaddresses([v for n, v in fields if n == name])]

    found = {
        "from": mailboxes("from"),
        "to": mailboxes("to"),
        "cc": mailboxes("cc"),
        "replyTo": mailboxes("reply-to"),
        "subject": decoded(first.get("subject", "")),
        "headers": [[name, decoded(value)] for name, value in fields if name in named],
        "messageId": first.get("message-id"),
        "dateMs": parsedate_to_datetime(first["date"]).timestamp() * 1000,
        "text": None,
        "html": None,
        "files": [],
    }
    for part in mail.walk():
        if part.is_multipart():
            continue
        content = part.get_payload(decode=True)
        kind = part.get_content_type()
        if part.get_content_disposition() is None and kind in ("text/plain", "text/html"):
            found[kind[5:].replace("plain", "text")] = content.decode("utf-8")
            continue
        content_id = part.get("content-id")
        found["files"].append(
            {
                "filename": filename(part),
                "type": kind,
                "disposition": part.get_content_disposition(),
                "contentId": content_id and raw_text(content_id),
                "content": base64.b64encode(content).decode(),
            }
        )
    return found


print(json.dumps([read(base64.b64decode(mail)) for mail in asked["mails"]]))
