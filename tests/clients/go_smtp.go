// SPDX-License-Identifier: MIT

// Sends the message of a JSON file (see README) with Go's net/smtp. The
// library sends bytes, so the message is put together here with the mime
// packages.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"os"
	"sort"
	"strings"
)

type file struct {
	Path, Name, Type, Cid string
}

type message struct {
	Host, User, Password string
	Port                 int
	From                 mail.Address
	To, Cc, Bcc          []mail.Address
	ReplyTo              []mail.Address `json:"reply_to"`
	Subject, Text, Html  string
	Headers              map[string]string
	Attachments, Inline  []file
}

func main() {
	var m message
	data, err := os.ReadFile(os.Args[1])
	check(err)
	check(json.Unmarshal(data, &m))

	auth := smtp.PlainAuth("", m.User, m.Password, m.Host)
	check(smtp.SendMail(fmt.Sprintf("%s:%d", m.Host, m.Port), auth,
		m.From.Address, m.recipients(), m.bytes()))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (m *message) recipients() (all []string) {
	for _, list := range [][]mail.Address{m.To, m.Cc, m.Bcc} {
		for _, a := range list {
			all = append(all, a.Address)
		}
	}
	return
}

func (m *message) bytes() []byte {
	var out bytes.Buffer
	header := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&out, "%s: %s\r\n", name, value)
		}
	}
	header("From", m.From.String())
	header("To", mailboxes(m.To))
	header("Cc", mailboxes(m.Cc))
	header("Reply-To", mailboxes(m.ReplyTo))
	header("Subject", mime.QEncoding.Encode("utf-8", m.Subject))
	for _, name := range sorted(m.Headers) {
		header(name, mime.QEncoding.Encode("utf-8", m.Headers[name]))
	}
	header("MIME-Version", "1.0")
	kind, body := m.content()
	header("Content-Type", kind)
	out.WriteString("\r\n")
	out.Write(body)
	return out.Bytes()
}

func mailboxes(list []mail.Address) string {
	var texts []string
	for _, a := range list {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}

func sorted(headers map[string]string) (names []string) {
	for name := range headers {
		names = append(names, name)
	}
	sort.Strings(names)
	return
}

// content gives a multipart/mixed of a multipart/alternative and the files.
func (m *message) content() (string, []byte) {
	kind, body := multi("alternative", func(w *multipart.Writer) {
		if m.Text != "" {
			textPart(w, "text/plain", m.Text)
		}
		if m.Html != "" {
			m.htmlPart(w)
		}
	})
	if len(m.Attachments) == 0 {
		return kind, body
	}
	return multi("mixed", func(w *multipart.Writer) {
		rawPart(w, kind, body)
		for _, f := range m.Attachments {
			filePart(w, f, "attachment")
		}
	})
}

func (m *message) htmlPart(w *multipart.Writer) {
	if len(m.Inline) == 0 {
		textPart(w, "text/html", m.Html)
		return
	}
	kind, body := multi("related", func(w *multipart.Writer) {
		textPart(w, "text/html", m.Html)
		for _, f := range m.Inline {
			filePart(w, f, "inline")
		}
	})
	rawPart(w, kind, body)
}

func multi(subtype string, fill func(*multipart.Writer)) (string, []byte) {
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	fill(w)
	check(w.Close())
	return fmt.Sprintf("multipart/%s; boundary=%s", subtype, w.Boundary()),
		out.Bytes()
}

func rawPart(w *multipart.Writer, kind string, body []byte) {
	p, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {kind}})
	check(err)
	_, err = p.Write(body)
	check(err)
}

func textPart(w *multipart.Writer, kind, text string) {
	p, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {kind + "; charset=utf-8"},
		"Content-Transfer-Encoding": {"quoted-printable"},
	})
	check(err)
	qp := quotedprintable.NewWriter(p)
	_, err = qp.Write([]byte(text))
	check(err)
	check(qp.Close())
}

func filePart(w *multipart.Writer, f file, disposition string) {
	header := textproto.MIMEHeader{
		"Content-Type":              {f.Type},
		"Content-Transfer-Encoding": {"base64"},
		"Content-Disposition": {mime.FormatMediaType(disposition,
			map[string]string{"filename": f.Name})},
	}
	if f.Cid != "" {
		header.Set("Content-Id", "<"+f.Cid+">")
	}
	p, err := w.CreatePart(header)
	check(err)
	data, err := os.ReadFile(f.Path)
	check(err)
	text := base64.StdEncoding.EncodeToString(data)
	for len(text) > 76 {
		fmt.Fprintf(p, "%s\r\n", text[:76])
		text = text[76:]
	}
	fmt.Fprintf(p, "%s\r\n", text)
}
