#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes the benchmark's messages into a directory; the same bytes each time.

    gen_messages.py DIRECTORY

    S.eml  4 KB   text/html, 8bit
    M.eml  40 KB  multipart/alternative, text and HTML, quoted-printable
    L.eml  2 MB   multipart/mixed: M's body, then a PDF

Lines end with CRLF. "@@SEQ@@@@@@@" in the subject is where smtpload writes
the message's number.
"""

import base64
import quopri
import random
import sys
from pathlib import Path

WORDS = """lorem ipsum dolor sit amet consetetur sadipscing elitr sed diam
    nonumy eirmod tempor invidunt ut labore et dolore magna aliquyam Bestellung
    Lieferung größe Stück für Köln naïve café señor Übergröße €19,99 –
    “Angebot” façade déjà-vu Привет заказ""".split()

HEADER = """\
Received: from web01.shop.example (web01.shop.example [192.0.2.10])
\tby php.shop.example; Mon, 05 Jan 2026 10:00:00 +0000
Date: Mon, 05 Jan 2026 10:00:00 +0000
From: =?UTF-8?Q?K=C3=B6lner_Shop?= <app@sender.example>
To: =?UTF-8?B?SsO2cmcgTcO8bGxlcg==?= <user@rcpt.example>
Subject: =?UTF-8?Q?Ihre_Bestellung_f=C3=BCr?= @@SEQ@@@@@@@
Message-ID: <msg.20260105.4711@shop.example>
Reply-To: Support <support@sender.example>
X-Mailer: PHPMailer 6.9.1 (https://github.com/PHPMailer/PHPMailer)
X-Transactional-Tag: order
X-Priority: 3
List-Unsubscribe: <https://shop.example/u/1>
MIME-Version: 1.0
"""

HTML_BEGIN = """\
<!DOCTYPE html><html><head><meta charset="utf-8"><title>Order</title>
<style>td{padding:4px;font-family:Arial,sans-serif}</style></head><body>
<table width="100%" cellpadding="0" cellspacing="0">
"""
HTML_END = "</table></body></html>\n"
HTML_ROW = """\
<tr style="background-color:#f8f8f8"><td class="a" align="left"><a \
href="https://shop.example/item?id={item}&amp;ref=mail">{name}</a></td>\
<td>{text}</td></tr>
"""

ALTERNATIVE = "=_alt_0123456789abcdef"
MIXED = "=_mix_fedcba9876543210"
PDF_SIZE = 1400000


class Writer:
    def __init__(self):
        self.random = random.Random(42)

    def words(self, n):
        return " ".join(self.random.choice(WORDS) for _ in range(n))

    def text(self, size):
        lines = ""
        while len(lines.encode()) < size:
            lines += self.words(self.random.randint(6, 14)) + "\n"
        return lines

    def html(self, size):
        rows = ""
        while len(rows.encode()) < size - 400:
            rows += HTML_ROW.format(item=self.random.randint(1, 10**6),
                                    name=self.words(4), text=self.words(8))
        return HTML_BEGIN + rows + HTML_END

    def alternative(self):
        """The body of M: text and HTML."""
        return (part(ALTERNATIVE, "text/plain", self.text(7000)) +
                part(ALTERNATIVE, "text/html", self.html(22500)) +
                f"\n--{ALTERNATIVE}--\n")

    def small(self):
        return (HEADER + "Content-Type: text/html; charset=utf-8\n"
                "Content-Transfer-Encoding: 8bit\n\n" + self.html(3400))

    def medium(self):
        return (HEADER + "Content-Type: multipart/alternative; "
                f'boundary="{ALTERNATIVE}"\n\n' + self.alternative())

    def large(self):
        pdf = b"%PDF-1.7\n" + self.random.randbytes(PDF_SIZE)
        return (HEADER + "Content-Type: multipart/mixed; "
                f'boundary="{MIXED}"\n\n'
                "This is a multi-part message in MIME format.\n"
                f"--{MIXED}\nContent-Type: multipart/alternative; "
                f'boundary="{ALTERNATIVE}"\n\n' + self.alternative() +
                f"\n--{MIXED}\n"
                'Content-Type: application/pdf; name="Rechnung.pdf"\n'
                "Content-Disposition: attachment; "
                'filename="Rechnung.pdf"\n'
                "Content-Transfer-Encoding: base64\n\n" +
                base64.encodebytes(pdf).decode() + f"--{MIXED}--\n")


def part(boundary, content_type, text):
    return (f"\n--{boundary}\nContent-Type: {content_type}; charset=utf-8\n"
            "Content-Transfer-Encoding: quoted-printable\n\n" +
            quopri.encodestring(text.encode()).decode())


def write_messages(directory):
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    writer = Writer()
    for name, text in (("S", writer.small()), ("M", writer.medium()),
                       ("L", writer.large())):
        (directory / f"{name}.eml").write_bytes(
            text.encode().replace(b"\n", b"\r\n"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    write_messages(sys.argv[1])
