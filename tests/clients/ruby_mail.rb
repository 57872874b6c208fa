# SPDX-License-Identifier: MIT
# Sends the message of a JSON file (see README) with Ruby's mail.

require 'json'
require 'mail'

m = JSON.parse(File.read(ARGV[0]))

Mail.defaults do
  delivery_method :smtp,
                  address: m['host'],
                  port: m['port'],
                  user_name: m['user'],
                  password: m['password'],
                  authentication: 'plain',
                  enable_starttls: true,
                  ca_file: m['ca']
end

def mailboxes(people)
  people.map do |who|
    Mail::Address.new.tap do |a|
      a.address = who['address']
      a.display_name = who['name'] unless who['name'].empty?
    end.format
  end
end

mail = Mail.new(charset: 'UTF-8')
mail.from = mailboxes([m['from']])
mail.to = mailboxes(m['to'])
mail.cc = mailboxes(m['cc']) unless m['cc'].empty?
mail.bcc = mailboxes(m['bcc']) unless m['bcc'].empty?
mail.reply_to = mailboxes(m['reply_to']) unless m['reply_to'].empty?
mail.subject = m['subject']
m['headers'].each { |name, value| mail.header[name] = value }
if m['text']
  mail.text_part = Mail::Part.new do
    content_type 'text/plain; charset=UTF-8'
    body m['text']
  end
end
if m['html']
  mail.html_part = Mail::Part.new do
    content_type 'text/html; charset=UTF-8'
    body m['html']
  end
end
m['attachments'].each do |a|
  mail.attachments[a['name']] =
    { mime_type: a['type'], content: File.binread(a['path']) }
end
m['inline'].each do |a|
  mail.attachments.inline[a['name']] =
    { mime_type: a['type'], content: File.binread(a['path']),
      content_id: "<#{a['cid']}>" }
end

begin
  mail.deliver!
rescue Net::ProtocolError => e
  abort e.message
end
