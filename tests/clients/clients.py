# SPDX-License-Identifier: MIT
"""The list of mail clients: see README.

    client.missing()         why it cannot be used here, or ""
    client.send(work, m)     sends; the finished process
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
JARS = [Path("/usr/share/java") / name for name in
        ("jakarta-mail.jar", "jakarta-activation.jar", "gson.jar")]
SYSTEM_JSON = Path("/usr/lib/mono/4.5/System.Json.dll")
TIMEOUT = 60


@dataclass(frozen=True)
class Client:
    """
    command   that sends, without the JSON file; {work} is a directory where
              what build makes may stay, {here} this one
    probe     a command that succeeds where the client can be used
    files     what it needs besides
    build     a command, once
    trust     it has no option for a certificate to trust, but this variable
    utf8      it can use SMTPUTF8
    inline    it can send images that the HTML shows
    explains  its error quotes the server
    escapes   a quote in the name of a file is no harm to it
    """
    name: str
    command: tuple
    probe: tuple
    files: tuple = ()
    build: tuple = ()
    trust: str = ""
    utf8: bool = False
    inline: bool = True
    explains: bool = True
    escapes: bool = True

    def missing(self):
        for file in self.files:
            if not file.exists():
                return f"no {file}"
        if not shutil.which(self.probe[0]):
            return f"no {self.probe[0]}"
        done = self._run(self.probe, cwd=HERE, env=_environment())
        if done.returncode == 0:
            return ""
        return next((line for line in done.stderr.splitlines()
                     if re.search("error|cannot|failed", line, re.I)),
                    " ".join(self.probe))

    def prepare(self, work):
        """Compiles it, if there is anything to compile."""
        made = work / f"{self.name}.built"
        if self.build and not made.exists():
            done = self._run(self._words(self.build, work), cwd=work,
                             env={**os.environ, "HOME": str(work),
                                  "GOTOOLCHAIN": "local",
                                  "GOFLAGS": "-mod=mod"})
            assert done.returncode == 0, done.stderr + done.stdout
            made.touch()

    def send(self, work, message):
        self.prepare(work)
        file = work / f"{self.name}.json"
        file.write_text(json.dumps(message))
        more = {self.trust: message["ca"]} if self.trust else {}
        return self._run((*self._words(self.command, work), file), cwd=work,
                         env={**_environment(), "HOME": str(work), **more})

    @staticmethod
    def _words(command, work):
        return [w.format(work=work, here=HERE) for w in command]

    @staticmethod
    def _run(command, **kw):
        return subprocess.run(command, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=TIMEOUT, **kw)


def _environment():
    """Where a Node.js that is not Debian's finds Debian's modules, and npm's."""
    return {**os.environ, "LC_ALL": "C.UTF-8", "NODE_PATH": ":".join((
        "/usr/share/nodejs", "/usr/local/lib/node_modules",
        "/usr/lib/node_modules"))}


def _python_with(module):
    """Debian's modules are there for Debian's Python."""
    for python in (sys.executable, "/usr/bin/python3"):
        if shutil.which(python) and subprocess.run(
                [python, "-c", f"import {module}"],
                capture_output=True).returncode == 0:
            return python
    return sys.executable


def _script(name, file, interpreter, *probe, **kw):
    return Client(name, (interpreter, "{here}/" + file),
                  (interpreter, *probe), **kw)


def _front(program, **kw):
    """A Python script that starts the program."""
    return Client(program, (sys.executable, "{here}/" + program + ".py"),
                  (program, "--version"), **kw)


_DJANGO = _python_with("django")
_CLASSPATH = ":".join(map(str, JARS))

CLIENTS = (
    Client("nodemailer", ("node", "{here}/nodemailer.js"),
           ("node", "-e", "require('nodemailer')"), utf8=True),
    _script("phpmailer", "phpmailer.php", "php", "-r",
            "require 'libphp-phpmailer/autoload.php';"),
    _script("symfony", "symfony.php", "php", "-r",
            "require 'Symfony/Component/Mailer/autoload.php';"),
    _script("python_email", "python_email.py", sys.executable, "-c",
            "import smtplib", utf8=True),
    _script("python_legacy", "python_legacy.py", sys.executable, "-c",
            "import smtplib"),
    _script("django", "django_mail.py", _DJANGO, "-c", "import django"),
    _script("ruby_mail", "ruby_mail.rb", "ruby", "-e", "require 'mail'"),
    Client("jakarta_mail",
           ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp",
            f"{_CLASSPATH}:{{work}}", "JakartaMail"),
           ("javac", "-version"), tuple(JARS),
           ("javac", "-cp", _CLASSPATH, "-d", "{work}",
            "{here}/JakartaMail.java"), utf8=True),
    Client("system_net_mail", ("mono", "{work}/SystemNetMail.exe"),
           ("mcs", "--version"), (SYSTEM_JSON,),
           ("mcs", "-r:System.Json.dll", "-out:{work}/SystemNetMail.exe",
            "{here}/SystemNetMail.cs")),
    Client("go_smtp", ("{work}/go_smtp",), ("go", "version"),
           build=("go", "build", "-o", "{work}/go_smtp", "{here}/go_smtp.go"),
           trust="SSL_CERT_FILE", utf8=True),
    _front("curl", utf8=True, explains=False),
    _front("msmtp"),
    _front("swaks", inline=False, escapes=False),
)
