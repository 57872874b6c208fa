# SPDX-License-Identifier: MIT
"""What a FakeApi answers as another provider's API than EmailDelivery's.

Each format has a place in the API's URL (FakeApi.url_of), a way to carry the
key, and words of its own.  It checks what the provider documents, and refuses
a request that has a member which is not known, or null.
"""

import base64
import itertools
import re

_ids = itertools.count(1)


class Refused(Exception):
    def __init__(self, status, document):
        super().__init__(status)
        self.status = status
        self.document = document


def _basic(request):
    kind, _, text = (request.header("Authorization") or "").partition(" ")
    return base64.b64decode(text).decode() if kind == "Basic" else ""


def _only(doc, known, where):
    """Members that are not known are a mistake of ours; null is one, too."""
    for name, value in doc.items():
        if name not in known or value is None:
            return f"{where}{name} is {'null' if value is None else 'unknown'}"
    return None


class SparkPost:
    name = "sparkpost"
    path = "/transmissions"
    CONTENT = {"from", "subject", "reply_to", "html", "text", "amp_html",
               "headers", "attachments", "inline_images"}
    OPTIONS = {"open_tracking", "click_tracking", "perform_substitutions",
               "transactional", "skip_suppression", "inline_css", "ip_pool",
               "dkim_key"}

    def __init__(self):
        self.seen = {}  # Idempotency-Key -> (body, answer)

    def key(self, request):
        return request.header("Authorization") or ""

    def recipient(self, doc):
        return doc["recipients"][0]["address"]["email"]

    def refuse(self, status, code, message, description=""):
        raise Refused(status, {"errors": [{
            "message": message, "code": code,
            **({"description": description} if description else {})}]})

    def unknown_key(self):
        raise Refused(401, {"errors": [{"message": "Unauthorized."}]})

    def send(self, request):
        doc = request.json
        known = request.header("Idempotency-Key")
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,255}", known)
        if known in self.seen:
            body, answer = self.seen[known]
            if body != request.body:
                self.refuse(409, "1600", "Idempotency-Key was used")
            return answer, False
        self.check(doc)
        answer = {"results": {"total_rejected_recipients": 0,
                              "total_accepted_recipients": 1,
                              "id": str(11668787484950000 + next(_ids))}}
        self.seen[known] = request.body, answer
        return answer, True

    def check(self, doc):
        content, options = doc["content"], doc["options"]
        wrong = (_only(doc, {"recipients", "content", "options", "metadata",
                             "campaign_id", "return_path"}, "") or
                 _only(content, self.CONTENT, "content.") or
                 _only(options, self.OPTIONS, "options."))
        if wrong or len(doc["recipients"]) != 1:
            self.refuse(422, "1300", "invalid data format/type", wrong)
        for name in ("open_tracking", "click_tracking",
                     "perform_substitutions"):
            if not isinstance(options.get(name), bool):
                self.refuse(422, "1300", "invalid data format/type", name)
        if not content.get("subject") or not (content.get("html") or
                                              content.get("text")):
            self.refuse(422, "1400", "required field is missing")
        if not isinstance(content.get("headers", {}), dict):
            self.refuse(422, "1300", "headers is no object")
        if len(doc.get("campaign_id", "").encode()) > 64:
            self.refuse(422, "1300", "campaign_id is too long")


class CampaignMonitor:
    name = "campaignmonitor"
    path = "/transactional/classicEmail/send"
    MEMBERS = {"To", "From", "Subject", "ReplyTo", "Html", "Text",
               "Attachments", "Images", "TrackOpens", "TrackClicks",
               "InlineCSS", "Group", "ConsentToTrack"}

    def key(self, request):
        user, _, password = _basic(request).partition(":")
        return user if password == "x" else ""

    def recipient(self, doc):
        return re.search(r"[^\s<>]+@[^\s<>]+", doc["To"][0])[0]

    def refuse(self, status, code, message):
        raise Refused(status, {"Code": code, "Message": message})

    def unknown_key(self):
        self.refuse(401, 50, "Must supply a valid HTTP Basic Authorization "
                    "header")

    def send(self, request):
        doc = request.json
        wrong = _only(doc, self.MEMBERS, "")
        if wrong or len(doc["To"]) != 1:
            self.refuse(400, 1, wrong)
        if doc.get("ConsentToTrack") not in ("Yes", "No", "Unchanged"):
            self.refuse(400, 2, "ConsentToTrack is required")
        if not doc.get("Subject"):
            self.refuse(400, 3, "Subject is required")
        return [{"MessageID": f"6e1f-{next(_ids)}", "Recipient": doc["To"][0],
                 "Status": "Received"}], True


class Flexmail:
    name = "flexmail"
    path = "/messages"
    MEMBERS = {"recipient", "from", "reply_to", "subject", "content", "tag",
               "metadata", "open_tracking", "link_tracking", "attachments"}

    def key(self, request):
        return _basic(request)

    def recipient(self, doc):
        return doc["recipient"]["address"]["email_address"]

    def unknown_key(self):
        raise Refused(401, {"message": "Unauthorized"})

    def send(self, request):
        wrong = _only(request.json, self.MEMBERS, "")
        if wrong or not request.json.get("subject"):
            raise Refused(422, {"title": "Invalid", "detail": wrong})
        return {"id": f"fx-{next(_ids)}"}, True


class Generic:
    name = "generic"
    path = ""

    def key(self, request):
        kind, _, text = (request.header("Authorization") or "").partition(" ")
        return text if kind == "Bearer" else ""

    def recipient(self, doc):
        return doc["recipient"]["email"]

    def unknown_key(self):
        raise Refused(401, {"error": "who are you?"})

    def send(self, request):
        return {"id": next(_ids)}, True


class Formats:
    """Those of one FakeApi."""

    def __init__(self):
        self.all = {f.name: f for f in (SparkPost(), CampaignMonitor(),
                                        Flexmail(), Generic())}

    def find(self, path):
        """The format of a request's path; None: it is EmailDelivery's."""
        name, _, rest = path.lstrip("/").partition("/")
        format = self.all.get(name)
        if format is None or format.path != (f"/{rest}" if rest else ""):
            return None
        return format
