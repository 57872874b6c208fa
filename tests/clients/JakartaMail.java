// SPDX-License-Identifier: MIT
// Sends the message of a JSON file (see README) with Jakarta Mail.

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import jakarta.mail.Authenticator;
import jakarta.mail.Message;
import jakarta.mail.MessagingException;
import jakarta.mail.PasswordAuthentication;
import jakarta.mail.Session;
import jakarta.mail.Transport;
import jakarta.mail.internet.InternetAddress;
import jakarta.mail.internet.MimeBodyPart;
import jakarta.mail.internet.MimeMessage;
import jakarta.mail.internet.MimeMultipart;
import jakarta.mail.internet.MimeUtility;
import java.io.File;
import java.io.FileInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Map;
import java.util.Properties;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class JakartaMail {
	public static void main(String[] args) throws Exception {
		JsonObject m = JsonParser.parseString(Files.readString(
			Path.of(args[0]), StandardCharsets.UTF_8)).getAsJsonObject();
		try {
			Transport.send(build(session(m), m));
		} catch (MessagingException e) {
			System.err.println(e);
			System.exit(1);
		}
	}

	private static Session session(JsonObject m) throws Exception {
		Properties p = new Properties();
		p.put("mail.smtp.host", text(m, "host"));
		p.put("mail.smtp.port", text(m, "port"));
		p.put("mail.smtp.auth", "true");
		p.put("mail.smtp.starttls.enable", "true");
		p.put("mail.smtp.starttls.required", "true");
		p.put("mail.smtp.ssl.checkserveridentity", "true");
		p.put("mail.smtp.ssl.socketFactory",
			trusting(text(m, "ca")).getSocketFactory());
		if (m.get("utf8").getAsBoolean())
			p.put("mail.mime.allowutf8", "true");
		return Session.getInstance(p, new Authenticator() {
			@Override
			protected PasswordAuthentication getPasswordAuthentication() {
				return new PasswordAuthentication(
					text(m, "user"), text(m, "password"));
			}
		});
	}

	private static SSLContext trusting(String file) throws Exception {
		KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
		store.load(null, null);
		try (FileInputStream in = new FileInputStream(file)) {
			store.setCertificateEntry("ca", CertificateFactory
				.getInstance("X.509").generateCertificate(in));
		}
		TrustManagerFactory trust = TrustManagerFactory.getInstance(
			TrustManagerFactory.getDefaultAlgorithm());
		trust.init(store);
		SSLContext context = SSLContext.getInstance("TLS");
		context.init(null, trust.getTrustManagers(), null);
		return context;
	}

	private static MimeMessage build(Session session, JsonObject m)
			throws Exception {
		MimeMessage message = new MimeMessage(session);
		message.setFrom(mailbox(m.getAsJsonObject("from")));
		message.setRecipients(Message.RecipientType.TO,
			mailboxes(m.getAsJsonArray("to")));
		message.setRecipients(Message.RecipientType.CC,
			mailboxes(m.getAsJsonArray("cc")));
		message.setRecipients(Message.RecipientType.BCC,
			mailboxes(m.getAsJsonArray("bcc")));
		message.setReplyTo(mailboxes(m.getAsJsonArray("reply_to")));
		message.setSubject(text(m, "subject"), "utf-8");
		for (Map.Entry<String, JsonElement> h :
				m.getAsJsonObject("headers").entrySet())
			message.setHeader(h.getKey(), MimeUtility.encodeText(
				h.getValue().getAsString(), "utf-8", null));
		message.setContent(content(m));
		return message;
	}

	private static MimeMultipart content(JsonObject m) throws Exception {
		MimeMultipart body = new MimeMultipart("alternative");
		if (m.has("text")) {
			MimeBodyPart part = new MimeBodyPart();
			part.setText(text(m, "text"), "utf-8");
			body.addBodyPart(part);
		}
		if (m.has("html"))
			body.addBodyPart(html(m));
		JsonArray files = m.getAsJsonArray("attachments");
		if (files.size() == 0)
			return body;
		MimeMultipart mixed = new MimeMultipart("mixed", wrapped(body));
		for (JsonElement e : files)
			mixed.addBodyPart(file(e.getAsJsonObject()));
		return mixed;
	}

	private static MimeBodyPart html(JsonObject m) throws Exception {
		MimeBodyPart part = new MimeBodyPart();
		part.setText(text(m, "html"), "utf-8", "html");
		JsonArray images = m.getAsJsonArray("inline");
		if (images.size() == 0)
			return part;
		MimeMultipart related = new MimeMultipart("related", part);
		for (JsonElement e : images) {
			JsonObject a = e.getAsJsonObject();
			MimeBodyPart image = file(a);
			image.setDisposition(MimeBodyPart.INLINE);
			image.setContentID("<" + text(a, "cid") + ">");
			related.addBodyPart(image);
		}
		return wrapped(related);
	}

	private static MimeBodyPart wrapped(MimeMultipart content)
			throws MessagingException {
		MimeBodyPart part = new MimeBodyPart();
		part.setContent(content);
		return part;
	}

	private static MimeBodyPart file(JsonObject a) throws Exception {
		MimeBodyPart part = new MimeBodyPart();
		part.attachFile(new File(text(a, "path")), text(a, "type"), "base64");
		part.setFileName(text(a, "name"));
		return part;
	}

	private static InternetAddress[] mailboxes(JsonArray people)
			throws Exception {
		InternetAddress[] list = new InternetAddress[people.size()];
		for (int i = 0; i < list.length; i++)
			list[i] = mailbox(people.get(i).getAsJsonObject());
		return list;
	}

	private static InternetAddress mailbox(JsonObject who) throws Exception {
		String name = text(who, "name");
		return new InternetAddress(text(who, "address"),
			name.isEmpty() ? null : name, "utf-8");
	}

	private static String text(JsonObject o, String key) {
		return o.get(key).getAsString();
	}
}
