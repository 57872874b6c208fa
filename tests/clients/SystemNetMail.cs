// SPDX-License-Identifier: MIT
// Sends the message of a JSON file (see README) with System.Net.Mail.

using System;
using System.Collections.Generic;
using System.IO;
using System.Json;
using System.Net;
using System.Net.Mail;
using System.Net.Mime;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text;

static class SystemNetMail {
	static int Main(string[] args)
	{
		JsonValue m = JsonValue.Parse(File.ReadAllText(args[0]));
		Trust(m["ca"]);
		using (var client = new SmtpClient(m["host"], m["port"]))
		using (MailMessage message = Build(m)) {
			client.EnableSsl = true;
			client.Credentials =
				new NetworkCredential(m["user"], m["password"]);
			try {
				client.Send(message);
			} catch (SmtpException e) {
				Console.Error.WriteLine(e.Message);
				return 1;
			}
		}
		return 0;
	}

	static void Trust(string file)
	{
		string known = new X509Certificate2(file).GetCertHashString();
		ServicePointManager.ServerCertificateValidationCallback =
			(sender, certificate, chain, errors) =>
				certificate.GetCertHashString() == known;
	}

	static MailMessage Build(JsonValue m)
	{
		var message = new MailMessage();
		message.From = Mailbox(m["from"]);
		foreach (JsonValue who in (JsonArray) m["to"])
			message.To.Add(Mailbox(who));
		foreach (JsonValue who in (JsonArray) m["cc"])
			message.CC.Add(Mailbox(who));
		foreach (JsonValue who in (JsonArray) m["bcc"])
			message.Bcc.Add(Mailbox(who));
		foreach (JsonValue who in (JsonArray) m["reply_to"])
			message.ReplyToList.Add(Mailbox(who));
		message.Subject = m["subject"];
		message.SubjectEncoding = Encoding.UTF8;
		message.HeadersEncoding = Encoding.UTF8;
		foreach (KeyValuePair<string, JsonValue> h in (JsonObject) m["headers"])
			message.Headers.Add(h.Key, h.Value);
		message.BodyEncoding = Encoding.UTF8;
		message.IsBodyHtml = !m.ContainsKey("text");
		message.Body = message.IsBodyHtml ? m["html"] : m["text"];
		if (m.ContainsKey("html") && !message.IsBodyHtml)
			message.AlternateViews.Add(HtmlView(m));
		foreach (JsonValue a in (JsonArray) m["attachments"])
			message.Attachments.Add(new Attachment(
				File.OpenRead(a["path"]), (string) a["name"],
				(string) a["type"]) { NameEncoding = Encoding.UTF8 });
		return message;
	}

	static AlternateView HtmlView(JsonValue m)
	{
		AlternateView html = AlternateView.CreateAlternateViewFromString(
			m["html"], Encoding.UTF8, "text/html");
		foreach (JsonValue a in (JsonArray) m["inline"])
			html.LinkedResources.Add(new LinkedResource(
				(string) a["path"], (string) a["type"])
				{ ContentId = a["cid"] });
		return html;
	}

	static MailAddress Mailbox(JsonValue who)
	{
		return new MailAddress(who["address"], who["name"], Encoding.UTF8);
	}
}
