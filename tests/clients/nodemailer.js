// SPDX-License-Identifier: MIT
// Sends the message of a JSON file (see README) with nodemailer.
'use strict';

const fs = require('fs');
const nodemailer = require('nodemailer');

const m = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));

const transport = nodemailer.createTransport({
  host: m.host,
  port: m.port,
  secure: false,
  requireTLS: true,
  tls: { ca: fs.readFileSync(m.ca) },
  auth: { user: m.user, pass: m.password },
});

transport.sendMail({
  from: m.from,
  to: m.to,
  cc: m.cc,
  bcc: m.bcc,
  replyTo: m.reply_to,
  subject: m.subject,
  text: m.text,
  html: m.html,
  headers: m.headers,
  attachments: [...m.attachments, ...m.inline].map((a) => ({
    filename: a.name,
    path: a.path,
    contentType: a.type,
    cid: a.cid,
  })),
}).catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
