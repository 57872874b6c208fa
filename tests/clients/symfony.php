<?php
// SPDX-License-Identifier: MIT
// Sends the message of a JSON file (see README) with Symfony Mailer.

use Symfony\Component\Mailer\Exception\TransportExceptionInterface;
use Symfony\Component\Mailer\Mailer;
use Symfony\Component\Mailer\Transport;
use Symfony\Component\Mime\Address;
use Symfony\Component\Mime\Email;

require 'Symfony/Component/Mailer/autoload.php';
require_once 'Symfony/Component/Mime/autoload.php';

$m = json_decode(file_get_contents($argv[1]));

$transport = Transport::fromDsn(sprintf('smtp://%s:%s@%s:%d',
	rawurlencode($m->user), rawurlencode($m->password), $m->host, $m->port));
$transport->getStream()->setStreamOptions(['ssl' => ['cafile' => $m->ca]]);

$address = fn ($who) => new Address($who->address, $who->name);
$email = (new Email())
	->from($address($m->from))
	->to(...array_map($address, $m->to))
	->cc(...array_map($address, $m->cc))
	->bcc(...array_map($address, $m->bcc))
	->replyTo(...array_map($address, $m->reply_to))
	->subject($m->subject);
if (isset($m->text))
	$email->text($m->text);
if (isset($m->html))
	$email->html($m->html);
foreach ($m->headers as $name => $value)
	$email->getHeaders()->addTextHeader($name, $value);
foreach ($m->attachments as $a)
	$email->attachFromPath($a->path, $a->name, $a->type);
foreach ($m->inline as $a)
	$email->embedFromPath($a->path, $a->cid, $a->type);

try {
	(new Mailer($transport))->send($email);
} catch (TransportExceptionInterface $e) {
	fwrite(STDERR, $e->getMessage() . "\n");
	exit(1);
}
