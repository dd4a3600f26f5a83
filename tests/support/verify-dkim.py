"""Verifies DKIM signatures with dkimpy.

Reads {"keys": {name: text}, "mails": [base64, ...]} as JSON from standard input, and prints for every mail a list with the verdict
on each of its signatures from the top: "a=: pass", or "a=: " and why not.
"""
import base64
import json
import sys

import dkim

asked = json.load(sys.stdin)
keys = {name.rstrip("."): text.encode() for name, text in asked["keys"].items()}


def find_key(name, timeout=5):
    name = name.decode() if isinstance(name, bytes) else name
    return keys.get(name.rstrip("."))


def verdicts(mail):
    reader = dkim.DKIM(mail, minkey=2048)
    count = sum(1 for name, _ in reader.headers if name.lower() == b"dkim-signature")
    found = []
    for index in range(count):
        reader = dkim.DKIM(mail, minkey=2048)
        try:
            verdict = "pass" if reader.verify(idx=index, dnsfunc=find_key) else "fail"
        except dkim.DKIMException as fault:
            verdict = f"{type(fault).__name__}: {fault}"
        found.append(f"{reader.signature_fields.get(b'a', b'').decode()}: {verdict}")
    return found


print(json.dumps([verdicts(base64.b64decode(mail)) for mail in asked["mails"]]))
