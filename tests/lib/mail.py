# SPDX-License-Identifier: MIT
"""Messages for the tests, as bytes with CRLF line ends."""

import base64

HTML = "<p>Hello</p>"
DEFAULTS = {
    "From": "The Shop <shop@customer.example>",
    "To": "Jane Smith <jane@there.example>",
    "Subject": "Your order",
    "Content-Type": "text/html; charset=utf-8",
}


def message(body=HTML, headers=(), drop=(), **more):
    """headers: (name, value) pairs, or raw bytes; more: name=value, with _
    for - in names (subject="x", x_transactional_tag="y"). Both take the place
    of a default header of the same name; drop: default headers to leave
    out."""
    headers = [(k.replace("_", "-").title(), v) for k, v in more.items()] + \
        list(headers)
    given = {h[0].lower() for h in headers if isinstance(h, tuple)}
    given |= {d.lower() for d in drop}
    lines = [(k, v) for k, v in DEFAULTS.items() if k.lower() not in given]
    head = b"".join(
        h if isinstance(h, bytes) else
        f"{h[0]}: ".encode() + crlf(h[1]) + b"\r\n" for h in lines + headers)
    return head + b"\r\n" + crlf(body)


def crlf(text):
    data = text if isinstance(text, bytes) else text.encode()
    if isinstance(text, str):
        data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return data


def part(body, kind="text/plain; charset=utf-8", *headers):
    """One part of a multipart; body bytes are base64."""
    head = [f"Content-Type: {kind}", *headers] if kind else list(headers)
    if isinstance(body, bytes):
        head.append("Content-Transfer-Encoding: base64")
        body = base64.encodebytes(body).decode()
    return "\n".join(head) + "\n\n" + body


def multipart(subtype, *parts, boundary="=_b", close=True):
    """(Content-Type value, body)."""
    text = "".join(f"--{boundary}\n{p}\n" for p in parts)
    if close:
        text += f"--{boundary}--\n"
    return f'multipart/{subtype}; boundary="{boundary}"', text


def nested(subtype, *parts, **kw):
    """A multipart as a part of another one."""
    kind, text = multipart(subtype, *parts, **kw)
    return part(text, kind)


def multipart_message(subtype, *parts, boundary="=_b", close=True, **kw):
    kind, text = multipart(subtype, *parts, boundary=boundary, close=close)
    headers = [("MIME-Version", "1.0"), ("Content-Type", kind),
               *kw.pop("headers", ())]
    return message(text, headers, **kw)
