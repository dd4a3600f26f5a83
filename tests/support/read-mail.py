"""Reads a mail from the file named as its argument and prints what is in it as one line of ASCII JSON (see mail-reader.ts)."""
import email
import email.policy
import hashlib
import json
import sys

with open(sys.argv[1], "rb") as file:
    # As text: header fields may be in UTF-8 (RFC 6532), and every body is in an encoding of ASCII.
    source = file.read().decode("utf-8")
mail = email.message_from_string(source, policy=email.policy.SMTPUTF8)


def addresses(name):
    fields = mail.get_all(name, [])
    # Before Python 3.13 the blank between two encoded words of a name was kept (against RFC 2047 section 6.2).
    return [[" ".join(entry.display_name.split()), entry.addr_spec] for field in fields for entry in field.addresses]


def body(kind):
    part = mail.get_body(preferencelist=(kind,))
    return None if part is None else part.get_content().replace("\r\n", "\n").replace("\r", "\n")


def attachment(part):
    content = part.get_payload(decode=True) or b""
    content_id = part["content-id"]
    return {
        "filename": part.get_filename() or "",
        "content_type": part.get_content_type(),
        "content_id": None if content_id is None else str(content_id).strip().removeprefix("<").removesuffix(">"),
        "disposition": part.get_content_disposition() or "",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


files = [part for part in mail.walk() if part.get_content_disposition() is not None]
print(
    json.dumps(
        {
            "from": addresses("from"),
            "to": addresses("to"),
            "cc": addresses("cc"),
            "reply_to": addresses("reply-to"),
            "subject": str(mail.get("subject", "")),
            "headers": [[name.lower(), str(value)] for name, value in mail.items()],
            "text": body("plain"),
            "html": body("html"),
            "attachments": [attachment(part) for part in files],
        }
    )
)
